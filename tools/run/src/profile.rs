//! From `--security-opt seccomp=` to a compiled filter.

use anyhow::{Context, Result, bail};
use plim_model::CapabilitySet;
use plim_runtime::config::Seccomp;
use plim_seccomp::{compile, dialect, presets, resolve};

use crate::defaults;
use crate::security::SeccompChoice;
use crate::world::{Facts, World};
use plim_tools_common::nearest::hint;

/// The filter of the chosen profile for a container with this bounding set on this machine.
///
/// A privileged container has none unless a profile was named, as in Docker. A system call that no table knows is an
/// error: a rule that is left out silently is a rule that does not hold.
///
/// # Errors
/// No such file or preset; a profile that is not one, contradicts itself, or does not fit the kernel's limits.
pub(crate) fn filter(
    choice: &SeccompChoice,
    privileged: bool,
    bounding: CapabilitySet,
    facts: &Facts,
    world: &impl World,
) -> Result<Option<Seccomp>> {
    match choice {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Default if privileged => Ok(None),
        SeccompChoice::Default => preset(defaults::SECCOMP_PRESET, bounding, facts),
        SeccompChoice::Preset(name) => preset(name, bounding, facts),
        SeccompChoice::File(path) => {
            let what = || format!("--security-opt seccomp={}", path.display());
            let text = world.read(path).map_err(|error| {
                let name = path.to_str().unwrap_or_default();
                let hint = match error.kind() {
                    std::io::ErrorKind::NotFound if presets::get(name).is_some() => {
                        format!("{}: there is no such file, but a preset: seccomp=preset:{name}", what())
                    }
                    _ => what(),
                };
                anyhow::Error::new(error).context(hint)
            })?;
            compiled(&text, bounding, facts).with_context(what)
        }
    }
}

fn preset(name: &str, bounding: CapabilitySet, facts: &Facts) -> Result<Option<Seccomp>> {
    let Some(text) = presets::get(name) else {
        let names: Vec<&str> = presets::names().collect();
        bail!(
            "--security-opt seccomp=preset:{name}: no such preset{}; the presets are {}",
            hint(name, names.iter().copied()),
            names.join(", ")
        );
    };
    compiled(text.as_bytes(), bounding, facts).with_context(|| format!("preset:{name}"))
}

fn compiled(text: &[u8], bounding: CapabilitySet, facts: &Facts) -> Result<Option<Seccomp>> {
    let written = dialect::parse(text)?;
    let facts = resolve::Facts::new(facts.arch, bounding, facts.kernel);
    let Some(resolved) = resolve::resolve(&written, &facts)? else { return Ok(None) };
    if resolved.uses_notify() || resolved.listener_path.is_some() {
        bail!("SCMP_ACT_NOTIFY and listenerPath need a supervisor, which is not supported");
    }
    let program = compile::compile(&resolved)?;
    Ok(Some(Seccomp { program, flags: resolved.flag_bits(), oci: resolved.to_oci_json() }))
}

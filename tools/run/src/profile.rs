//! From `--security-opt seccomp=` to a compiled filter.

use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use plim_model::CapabilitySet;
use plim_runtime::config::{OciProfile, Seccomp};
use plim_seccomp::arch::Arch;
use plim_seccomp::bpf::Program;
use plim_seccomp::resolve::KernelVersion;
use plim_seccomp::{compile, dialect, lint, presets, resolve};

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
            compiled(&text, bounding, facts, Contradictions::Refused).with_context(what)
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
    if let Some(filter) = prebuilt(name, bounding, facts)? {
        return Ok(Some(filter));
    }
    // An engine's own profile is taken as that engine installs it: Podman's contradicts itself.
    compiled(text.as_bytes(), bounding, facts, Contradictions::EarlierRuleDecides)
        .with_context(|| format!("preset:{name}"))
}

/// Facts of the filter that the build script compiled, beside [`defaults::SECCOMP_PRESET`],
/// [`defaults::capabilities`] and the architecture this program is built for.
struct PrebuiltFacts {
    /// From this kernel on.
    kernel: KernelVersion,
    flags: u64,
}

/// The default filter as the build script compiled it, when just that is wanted.
fn prebuilt(name: &str, bounding: CapabilitySet, facts: &Facts) -> Result<Option<Seccomp>> {
    static OCI: LazyLock<serde_json::Value> = LazyLock::new(|| {
        let text = include_str!(concat!(env!("OUT_DIR"), "/default-filter.json"));
        serde_json::from_str(text).expect("what the build script wrote is JSON")
    });
    const PREBUILT: PrebuiltFacts = include!(concat!(env!("OUT_DIR"), "/default-filter.rs"));
    let fits = name == defaults::SECCOMP_PRESET
        && bounding == defaults::capabilities()
        && Arch::from_name(std::env::consts::ARCH) == Some(facts.arch)
        && facts.kernel >= PREBUILT.kernel;
    if !fits {
        return Ok(None);
    }
    let program = Program::from_bytes(include_bytes!(concat!(env!("OUT_DIR"), "/default-filter.bpf")))?;
    Ok(Some(Seccomp { program, flags: PREBUILT.flags, oci: OciProfile::Later(&OCI) }))
}

/// What becomes of two rules that give one call different actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contradictions {
    /// One of the two was asked for and would not hold, although Docker runs it.
    Refused,
    /// As libseccomp decides.
    EarlierRuleDecides,
}

fn compiled(
    text: &[u8],
    bounding: CapabilitySet,
    facts: &Facts,
    contradictions: Contradictions,
) -> Result<Option<Seccomp>> {
    let written = dialect::parse(text)?;
    let facts = resolve::Facts::new(facts.arch, bounding, facts.kernel);
    let Some(resolved) = resolve::resolve(&written, &facts)? else { return Ok(None) };
    if contradictions == Contradictions::Refused
        && let Some(finding) = lint::contradictions(&written, &facts, &resolved).first()
    {
        bail!(
            "{}: {}, expected one action for it",
            finding.pointer.as_deref().unwrap_or("/syscalls"),
            finding.message
        );
    }
    if resolved.uses_notify() || resolved.listener_path.is_some() {
        bail!(
            "the profile uses SCMP_ACT_NOTIFY or listenerPath: a supervisor would have to answer the container's calls, \
             and plim run starts none; expected a profile of SCMP_ACT_ALLOW, _ERRNO, _KILL…, _TRAP, _TRACE and _LOG"
        );
    }
    let program = compile::compile(&resolved)?;
    Ok(Some(Seccomp { program, flags: resolved.flag_bits(), oci: OciProfile::Value(resolved.to_oci_json()) }))
}

#[cfg(test)]
mod tests {
    use plim_model::Capability;

    use super::*;

    fn facts(kernel: KernelVersion) -> Facts {
        Facts {
            uid: 0,
            gid: 0,
            held: CapabilitySet::EMPTY,
            arch: Arch::from_name(std::env::consts::ARCH).unwrap(),
            kernel,
            host_name: String::new(),
            memory_bytes: 0,
        }
    }

    #[test]
    fn the_prebuilt_filter_is_what_the_profile_compiles_to() {
        let text = presets::get(defaults::SECCOMP_PRESET).unwrap();
        for kernel in [(4, 8), (5, 10), (6, 18), (99, 0)] {
            let facts = facts(KernelVersion { major: kernel.0, minor: kernel.1 });
            let fresh =
                compiled(text.as_bytes(), defaults::capabilities(), &facts, Contradictions::Refused).unwrap();
            let ours = prebuilt(defaults::SECCOMP_PRESET, defaults::capabilities(), &facts).unwrap();
            assert!(ours.is_some() && ours == fresh, "Linux {kernel:?}");
        }
    }

    /// A rule that one capability adds may contradict another: with each set a profile of ours must compile.
    #[test]
    fn every_preset_fits_every_capability() {
        let facts = facts(KernelVersion { major: 6, minor: 18 });
        let defaults = defaults::capabilities();
        let all: Vec<Capability> = (0..64).filter_map(Capability::from_number).collect();
        let mut sets = vec![CapabilitySet::EMPTY, defaults, all.iter().copied().collect()];
        for one in &all {
            let alone: CapabilitySet = std::iter::once(*one).collect();
            sets.extend([alone, defaults.union(alone)]);
            sets.push(all.iter().copied().filter(|other| other != one).collect());
        }
        for name in presets::names() {
            for set in &sets {
                let filter = preset(name, *set, &facts);
                assert!(matches!(filter, Ok(Some(_))), "{name} with {set:?}: {filter:?}");
            }
        }
    }

    #[test]
    fn a_profile_that_needs_a_supervisor_is_refused() {
        let facts = facts(KernelVersion { major: 6, minor: 18 });
        for text in [
            r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/seccomp.sock",
                "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}"#,
        ] {
            let refused = compiled(text.as_bytes(), CapabilitySet::EMPTY, &facts, Contradictions::Refused)
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains("SCMP_ACT_NOTIFY") && refused.contains("supervisor"),
                "{text}: {refused}"
            );
        }
    }

    #[test]
    fn other_facts_are_compiled_for() {
        let new = facts(KernelVersion { major: 6, minor: 18 });
        let old = facts(KernelVersion { major: 3, minor: 10 });
        let mut more = defaults::capabilities();
        more.insert(plim_model::Capability::from_name("SYS_ADMIN").unwrap());
        let name = defaults::SECCOMP_PRESET;
        assert!(prebuilt(name, more, &new).unwrap().is_none());
        assert!(prebuilt("tcpdump", defaults::capabilities(), &new).unwrap().is_none());
        assert!(prebuilt(name, defaults::capabilities(), &old).unwrap().is_none());
    }
}

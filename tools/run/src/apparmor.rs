//! Which AppArmor profile a container runs under, and loading ours.
//!
//! Docker applies `docker-default` where AppArmor is active; `plim-default` is our profile of the same strength
//! (`profiles/library/apparmor/`). A profile that was asked for by name is had or is an error. Where the default cannot be had the
//! container runs without one, and that is said.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use plim_tools_common::nearest::hint;

use crate::world::{Facts, World};

/// The profile that is applied when none is asked for.
pub(crate) const DEFAULT: &str = "plim-default";

const TEXT: &str = include_str!("../../../profiles/library/apparmor/plim-default");

/// Where the kernel lists the profiles that it has; readable with CAP_MAC_ADMIN.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// Debian, Fedora and the VMs of the tests. Not from `PATH`: the program changes the host's policy.
const PARSERS: [&str; 3] = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser", "/usr/bin/apparmor_parser"];

/// What `--security-opt apparmor=` chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// `plim-default` where AppArmor is active, and none for a privileged container.
    #[default]
    Default,
    /// No profile.
    Unconfined,
    /// A profile by name.
    Profile(String),
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The profile to enter.
    pub(crate) profile: Option<String>,
    /// Why there is none, or why it refuses nothing, where one was to be expected.
    pub(crate) note: Option<String>,
}

/// The profiles that the kernel has, by name, with their modes (`enforce`, `complain`, …).
fn loaded(world: &impl World) -> std::io::Result<Vec<(String, String)>> {
    let text = String::from_utf8_lossy(&world.read(Path::new(LOADED))?).into_owned();
    let parse = |line: &str| {
        let (name, mode) = line.rsplit_once(" (")?;
        Some((name.to_owned(), mode.trim_end_matches(')').to_owned()))
    };
    Ok(text.lines().filter_map(parse).collect())
}

fn parser(world: &impl World) -> Option<&'static str> {
    PARSERS.into_iter().find(|path| world.kind(Path::new(path)).is_ok())
}

/// The label of the launcher itself, which its children inherit, unless it is unconfined.
fn own_label(world: &impl World) -> Option<String> {
    let text = world
        .read(Path::new("/proc/self/attr/apparmor/current"))
        .or_else(|_| world.read(Path::new("/proc/self/attr/current")))
        .ok()?;
    let label = String::from_utf8_lossy(&text).trim_end_matches(['\n', '\0']).to_owned();
    (!label.is_empty() && !label.starts_with("unconfined")).then_some(label)
}

/// Decides; loads nothing.
///
/// # Errors
/// A profile asked for by name that cannot be had.
pub(crate) fn choose(choice: &Choice, privileged: bool, facts: &Facts, world: &impl World) -> Result<Chosen> {
    let enabled = world.read(Path::new("/sys/module/apparmor/parameters/enabled"));
    let active = enabled.is_ok_and(|text| text.first() == Some(&b'Y'));
    let name = match choice {
        Choice::Profile(name) if !active => {
            bail!(
                "--security-opt apparmor={name}: AppArmor is not active in this kernel (/sys/kernel/security/lsm)"
            )
        }
        Choice::Profile(name) => Some(name),
        Choice::Unconfined => return Ok(Chosen::default()),
        Choice::Default if !active || privileged => return Ok(Chosen::default()),
        Choice::Default => None,
    };
    let listed = loaded(world);
    match (name, &listed) {
        (Some(name), Ok(listed)) if !listed.iter().any(|(other, _)| other == name) => {
            if name == DEFAULT && parser(world).is_some() {
                return Ok(Chosen { profile: Some(name.clone()), note: None });
            }
            let near = hint(name, listed.iter().map(|(name, _)| name.as_str()));
            bail!("--security-opt apparmor={name}: the kernel has no profile of that name{near}")
        }
        // Whether there is one is for the kernel to say: execve(2) is not reached without it.
        (Some(name), _) => return Ok(Chosen { profile: Some(name.clone()), note: None }),
        (None, _) => {}
    }
    let without = |why: String| {
        Ok(Chosen { profile: None, note: Some(format!("the container has no AppArmor profile: {why}")) })
    };
    let listed = match listed {
        Ok(listed) => listed,
        Err(_) if facts.uid != 0 => {
            return without("to find or load one needs root, as with rootless Docker and Podman".to_owned());
        }
        Err(error) => {
            return match own_label(world) {
                Some(label) => without(format!("it inherits that of plim run, {label}")),
                None => without(format!("cannot read {LOADED}: {error}")),
            };
        }
    };
    let mode = |name: &str| listed.iter().find(|(other, _)| other == name).map(|(_, mode)| mode.as_str());
    match mode(DEFAULT) {
        Some("enforce") => Ok(Chosen { profile: Some(DEFAULT.to_owned()), note: None }),
        Some(mode) => Ok(Chosen {
            profile: Some(DEFAULT.to_owned()),
            note: Some(format!(
                "the AppArmor profile {DEFAULT} refuses nothing: it was loaded in the mode {mode}"
            )),
        }),
        None if parser(world).is_some() => Ok(Chosen { profile: Some(DEFAULT.to_owned()), note: None }),
        None if mode("docker-default") == Some("enforce") => {
            Ok(Chosen { profile: Some("docker-default".to_owned()), note: None })
        }
        None => without(format!("apparmor_parser is not installed, and {DEFAULT} is not loaded")),
    }
}

/// Loads `plim-default` unless the kernel has it.
///
/// # Errors
/// There is no parser, or it or the kernel refuses the profile.
pub(crate) fn load(world: &impl World) -> Result<()> {
    if loaded(world).is_ok_and(|listed| listed.iter().any(|(name, _)| name == DEFAULT)) {
        return Ok(());
    }
    let what = || format!("load the AppArmor profile {DEFAULT}");
    let Some(parser) = parser(world) else { bail!("{}: apparmor_parser is not installed", what()) };
    // From its standard input; no cache, which is one more file of the host.
    let mut child = Command::new(parser)
        .args(["--replace", "--skip-cache", "--quiet"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{}: start {parser}", what()))?;
    let fed = child.stdin.take().map(|mut input| input.write_all(TEXT.as_bytes()));
    let output = child.wait_with_output().with_context(what)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {parser} ended with {}: {}", what(), output.status, said.trim());
    }
    fed.transpose().with_context(what).map(drop)
}

#[cfg(test)]
#[path = "apparmor_tests.rs"]
mod tests;

//! Profiles as they are written: Docker's, OCI's and Podman's JSON.
//!
//! The reader is strict where the engines are not: unknown and repeated keys, contradictions and misspelt words are errors with a
//! JSON pointer, since each of them is a rule that its author believes in and nobody enforces.

mod json;
mod profile;
mod read;
mod write;

use std::sync::Arc;

use plim_model::CapabilitySet;

use crate::action::Action;
use crate::arch::Arch;
use crate::condition::Condition;
pub use crate::error::ProfileError;
use crate::kernel::KernelVersion;
use json::Node;
use read::At;
pub use write::{Fate, Rewritten, Unsaid, write};

/// The largest profile that is read, in bytes.
pub const MAX_BYTES: usize = 8 << 20;
/// The most JSON values that a profile may hold; moby's default has about a thousand.
pub const MAX_VALUES: usize = 400_000;

/// Whose JSON a profile is, recognised from the keys that only one of them has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Docker: `archMap`, `includes`, `excludes`, `minKernel`, `comment`.
    Docker,
    /// The OCI runtime specification's `linux.seccomp`, alone or inside of a `config.json`.
    Oci,
    /// Podman, CRI-O and Buildah (containers/common): Docker's keys and errors by name (`errno`, `defaultErrno`).
    Podman,
}

/// Which architectures a profile speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Architectures {
    /// None named: the machine's own.
    Native,
    /// `architectures`: these and the machine's own.
    List(Vec<Arch>),
    /// `archMap`: the entry of the machine's own architecture, if there is one, with its companions.
    Map(Vec<(Arch, Vec<Arch>)>),
}

/// `SECCOMP_FILTER_FLAG_…`, given to seccomp(2) with the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilterFlag {
    /// All threads get the filter.
    Tsync,
    /// Refusals are logged.
    Log,
    /// No speculative store bypass mitigation.
    SpecAllow,
    /// A supervised call waits killably only.
    WaitKillableRecv,
}

impl FilterFlag {
    const NAMES: [(&'static str, FilterFlag); 4] = [
        ("SECCOMP_FILTER_FLAG_TSYNC", FilterFlag::Tsync),
        ("SECCOMP_FILTER_FLAG_LOG", FilterFlag::Log),
        ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", FilterFlag::SpecAllow),
        ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FilterFlag::WaitKillableRecv),
    ];

    /// The name in profiles.
    pub fn name(self) -> &'static str {
        FilterFlag::NAMES[self as usize].0
    }

    /// The bit for seccomp(2).
    pub fn bit(self) -> u64 {
        match self {
            FilterFlag::Tsync => 1,
            FilterFlag::Log => 1 << 1,
            FilterFlag::SpecAllow => 1 << 2,
            FilterFlag::WaitKillableRecv => 1 << 5,
        }
    }
}

/// `includes` or `excludes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Architectures of the machine.
    pub arches: Vec<Arch>,
    /// Capabilities in the bounding set.
    pub caps: CapabilitySet,
    /// The oldest kernel.
    pub min_kernel: Option<KernelVersion>,
}

/// One entry of `syscalls`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WrittenRule {
    /// The calls, in the order of the text.
    pub names: Vec<String>,
    /// The name stands in `name`, which only Docker and Podman read, and not in `names`.
    pub name_alone: bool,
    /// The action, its error number filled in (EPERM when none is written, as every engine does).
    pub action: Action,
    /// The action for a reader that knows error numbers and not Podman's error names.
    pub action_by_number: Action,
    /// All of these must hold, except that a rule which names one argument twice means any of them
    /// (see [`crate::resolve::resolve`]).
    pub conditions: Vec<Condition>,
    /// The same for a reader that takes `value` of a masked comparison for what is compared, and `valueTwo` for the mask.
    pub conditions_exchanged: Vec<Condition>,
    /// Applies only if all of this is so.
    pub includes: Scope,
    /// Does not apply if any of this is so.
    pub excludes: Scope,
    /// The author's reason.
    pub comment: Option<String>,
    /// JSON pointer to the entry.
    pub pointer: Arc<str>,
}

/// A profile as its author wrote it, with every word checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// Whose JSON.
    pub dialect: Dialect,
    /// What happens to calls that no rule names. `None`: neither a default nor a rule is written, which turns seccomp off.
    pub default_action: Option<Action>,
    /// The same for a reader that knows error numbers and not Podman's error names.
    pub default_by_number: Option<Action>,
    /// Architectures.
    pub architectures: Architectures,
    /// Flags for seccomp(2), sorted.
    pub flags: Vec<FilterFlag>,
    /// Socket of the supervisor for `SCMP_ACT_NOTIFY`.
    pub listener_path: Option<String>,
    /// What that supervisor is told.
    pub listener_metadata: Option<String>,
    /// The rules in the order of the text.
    pub rules: Vec<WrittenRule>,
}

/// Reads a profile of any dialect, or the profile inside of an OCI `config.json`.
///
/// ```
/// use plim_seccomp::{Action, dialect};
/// let written = dialect::parse(br#"{"defaultAction": "SCMP_ACT_KILL_PROCESS",
///     "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}]}"#).unwrap();
/// assert_eq!(written.default_action, Some(Action::KillProcess));
///
/// let error = dialect::parse(br#"{"defaultAction": "SCMP_ACT_ALOW"}"#).unwrap_err();
/// assert!(error.to_string().ends_with(r#"did you mean "SCMP_ACT_ALLOW"?"#), "{error}");
/// ```
///
/// # Errors
/// [`ProfileError`]: too large, not JSON, or a value that is not a profile's, with its JSON pointer.
pub fn parse(bytes: &[u8]) -> Result<Written, ProfileError> {
    if bytes.len() > MAX_BYTES {
        return Err(ProfileError::TooLarge { limit: MAX_BYTES, unit: "bytes" });
    }
    let node = json::parse(bytes, MAX_VALUES)?;
    let file = At::root(&node, "");
    if !(file.has("ociVersion") || file.has("linux")) {
        return profile::read(&file, None);
    }
    // A config.json: its other parts are somebody else's to check, but the way to the profile must be unambiguous.
    for key in ["linux", "ociVersion"] {
        once(&file, key)?;
    }
    let Some(linux) = file.get("linux") else { return Ok(unconfined()) };
    once(&linux, "seccomp")?;
    match linux.get("seccomp") {
        None => Ok(unconfined()),
        Some(seccomp) => {
            let node = seccomp.node;
            profile::read(&At::root(node, "/linux/seccomp"), Some(Dialect::Oci))
        }
    }
}

fn unconfined() -> Written {
    Written {
        dialect: Dialect::Oci,
        default_action: None,
        default_by_number: None,
        architectures: Architectures::Native,
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        rules: Vec::new(),
    }
}

fn once(at: &At<'_, '_>, key: &str) -> Result<(), ProfileError> {
    let Node::Object(entries) = at.node else { return Err(at.unexpected("an object")) };
    match entries.iter().filter(|(k, _)| k == key).count() {
        0 | 1 => Ok(()),
        _ => Err(at.error(format!("the key {key:?} twice"), "it once", None)),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

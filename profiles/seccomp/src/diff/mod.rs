//! What changes from one profile to another: compared as resolved rules, never as text.
//!
//! Calls whose rules test one argument with plain comparisons are compared exactly, over all values. Where masks or several
//! arguments take part, the arguments around the rules' constants are tried, so a difference that needs a combination of values
//! that no rule mentions can be missed.

mod cases;

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

use crate::action::Action;
use crate::arch::Arch;
use crate::resolve::{Resolved, Rule, same_meaning};
use crate::syscalls::{self, SyscallNr};

/// Whether the second profile permits more or less than the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// More.
    More,
    /// Less.
    Less,
    /// Neither: another error number, or with and without a log entry.
    Other,
}

impl Effect {
    /// By [`Action::permissiveness`].
    pub fn of(before: Action, after: Action) -> Effect {
        match after.permissiveness().cmp(&before.permissiveness()) {
            std::cmp::Ordering::Greater => Effect::More,
            std::cmp::Ordering::Less => Effect::Less,
            std::cmp::Ordering::Equal => Effect::Other,
        }
    }
}

/// One class of calls that gets another answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeccompChange {
    /// The architecture.
    pub arch: Arch,
    /// The call's name; [`UNNAMED`] stands for all numbers that have none.
    pub syscall: String,
    /// Its number, for [`UNNAMED`] the lowest one that changes.
    pub number: SyscallNr,
    /// The condition on its arguments, `None` for every call.
    pub when: Option<String>,
    /// The first profile's answer.
    #[serde(serialize_with = "as_json")]
    pub before: Action,
    /// The second profile's answer.
    #[serde(serialize_with = "as_json")]
    pub after: Action,
    /// Whether the second permits more.
    pub effect: Effect,
}

fn as_json<S: Serializer>(action: &Action, serializer: S) -> Result<S::Ok, S::Error> {
    action.serialize(serializer)
}

/// The name under which numbers without a name are reported.
pub const UNNAMED: &str = "(numbers without a name)";

/// What one profile says of one number.
struct Side<'r> {
    rules: &'r [Rule],
    otherwise: Action,
}

impl<'r> Side<'r> {
    fn of(resolved: &'r Resolved, arch: Arch, nr: SyscallNr) -> Side<'r> {
        match resolved.abi(arch.audit_token(), nr.0) {
            Some(abi) => Side { rules: resolved.rules_of(abi, nr), otherwise: resolved.unnamed(abi, nr) },
            None => Side { rules: &[], otherwise: resolved.foreign_arch },
        }
    }

    /// The answer, when it is the same for all arguments by form alone.
    fn unconditional(&self) -> Option<Action> {
        match self.rules {
            [] => Some(self.otherwise),
            [only] if only.conditions.is_empty() => Some(only.action),
            _ => None,
        }
    }

    fn same_rules(&self, other: &Side<'_>) -> bool {
        self.otherwise == other.otherwise && same_meaning(self.rules, other.rules)
    }
}

/// The calls that `b` answers differently than `a`, by architecture and name.
///
/// ```
/// use plim_model::CapabilitySet;
/// use plim_seccomp::{Arch, dialect, diff::diff, presets, resolve::{Facts, KernelVersion, resolve}};
/// let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 18 });
/// let preset = |name| {
///     let written = dialect::parse(presets::get(name).unwrap().as_bytes()).unwrap();
///     resolve(&written, &facts).unwrap().unwrap()
/// };
/// let changes = diff(&preset("docker-default"), &preset("tcpdump"));
/// assert!(changes.iter().all(|change| change.syscall == "socket"));
/// assert_eq!(changes[0].when.as_deref(), Some("arg0 != AF_ALG (38) and arg0 != AF_VSOCK (40)"));
/// ```
pub fn diff(a: &Resolved, b: &Resolved) -> Vec<SeccompChange> {
    let arches: BTreeSet<Arch> = a.arches.union(&b.arches).copied().collect();
    let mut changes = Vec::new();
    for arch in arches {
        let mut seen = BTreeSet::new();
        for (name, nr) in syscalls::calls(arch) {
            // Two names of one number are one call.
            if !seen.insert(nr) {
                continue;
            }
            let (before, after) = (Side::of(a, arch, nr), Side::of(b, arch, nr));
            for case in cases::differing(name, arch, &before, &after) {
                changes.push(SeccompChange {
                    arch,
                    syscall: name.to_owned(),
                    number: nr,
                    when: case.when,
                    before: case.before,
                    after: case.after,
                    effect: Effect::of(case.before, case.after),
                });
            }
        }
        changes.extend(unnamed(a, b, arch, &seen));
    }
    changes
}

/// Numbers that no name belongs to: they get what unnamed numbers get, which changes at most above the highest named number.
fn unnamed(a: &Resolved, b: &Resolved, arch: Arch, named: &BTreeSet<SyscallNr>) -> Option<SeccompChange> {
    let first = named.first()?;
    let above = [a, b].into_iter().filter_map(|side| side.enosys_above.get(&arch).copied());
    let candidates: BTreeSet<SyscallNr> = above
        .chain(named.iter().copied())
        .chain([*first])
        .filter_map(|nr| nr.0.checked_add(1).map(SyscallNr))
        .filter(|nr| !named.contains(nr))
        .collect();
    candidates.into_iter().find_map(|nr| {
        let (before, after) = (Side::of(a, arch, nr).otherwise, Side::of(b, arch, nr).otherwise);
        (before != after).then(|| SeccompChange {
            arch,
            syscall: UNNAMED.to_owned(),
            number: nr,
            when: None,
            before,
            after,
            effect: Effect::of(before, after),
        })
    })
}

#[cfg(test)]
mod tests;

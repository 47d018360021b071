//! Why a call gets what it gets, and what would change it.
//!
//! A [`Question`] is a call of which some arguments may be open; the answer is every outcome that is possible, with its exact condition,
//! what decides it, and changes that were tried out: each of them says what the call would get then.
//!
//! ```
//! use plim_model::CapabilitySet;
//! use plim_seccomp::{Arch, dialect, explain::{self, Question}, resolve::{Facts, KernelVersion}};
//! let written = dialect::parse(br#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
//!     {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#).unwrap();
//! let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 1 });
//! let question = Question::of_call(Arch::X86_64, "mount").unwrap();
//! let answer = explain::explain_profile(&written, &facts, &question).unwrap();
//! assert!(answer.outcomes[0].changes[0].what.contains("CAP_SYS_ADMIN"));
//! ```

mod changes;
mod filter;
mod installed;
mod profile;
mod question;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::action::Action;
use crate::arch::Arch;
use crate::diagram::{Diagram, MOST_ANSWERS, Store, Undecided, condition};
use crate::fallback::{self, Harm};
use crate::interpret::SeccompData;
use crate::resolve::enosys;
use crate::syscalls;
use crate::witness::{ActionJson, Witness};
pub use filter::explain_filter;
pub use installed::explain_installed;
pub use profile::{ExplainError, explain_profile};
pub use question::{Question, QuestionError};

/// The version of [`Explanation`]'s JSON. A reader refuses another major number and ignores keys that it does not know.
pub const VERSION: &str = "1.0";

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explanation {
    /// [`VERSION`].
    pub version: &'static str,
    /// What was asked.
    pub call: Asked,
    /// What the call can get: one entry for each thing that can decide it, in the order in which they are asked.
    pub outcomes: Vec<Outcome>,
    /// What else is to be known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A call of which some arguments may be open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Asked {
    /// The kernel's everyday name: `x86_64`, `i386`, ….
    pub arch: String,
    /// The call's name, where the number has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscall: Option<String>,
    /// The number as it stands in `seccomp_data.nr`.
    pub nr: u32,
    /// The arguments in hexadecimal, null where open.
    pub args: [Option<String>; 6],
}

/// One thing that the call can get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Outcome {
    /// What it gets.
    pub action: ActionJson,
    /// For which values of the open arguments, by name; absent when for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// A call of these.
    pub witness: Witness,
    /// What decides.
    pub decided_by: DecidedBy,
    /// What would make it another action, each tried out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Whether the error is the one that callers wait for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_advice: Option<ErrnoAdvice>,
}

/// What decides a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DecidedBy {
    /// A rule of the profile.
    Rule {
        /// JSON pointer to it.
        pointer: String,
        /// Its author's reason.
        #[serde(skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// No rule: the default action.
    DefaultAction {
        /// JSON pointer to it.
        pointer: String,
    },
    /// The number lies above all that the profile names: ENOSYS, as on a kernel without the call.
    EnosysAbove {
        /// The highest number that the profile names.
        highest: u32,
        /// Its name.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// The architecture is none of the filter's.
    ForeignArchitecture {
        /// The filter's architectures.
        arches: Vec<String>,
    },
    /// Several rules as libseccomp joins them, none of which holds by itself.
    Joined {
        /// JSON pointers to those with this action.
        pointers: Vec<String>,
    },
    /// Instructions of a filter.
    Filter {
        /// Which one, 0 for the oldest.
        filter: usize,
        /// What it executes for the witness, the last of them the return that decides.
        path: Vec<Step>,
    },
    /// Nothing: seccomp is off.
    Nothing,
}

/// One executed instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Step {
    /// Its index, from 0.
    pub instruction: usize,
    /// What it does.
    pub text: String,
}

/// A change that was tried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Of what.
    pub kind: ChangeKind,
    /// The change in words.
    pub what: String,
    /// JSON pointer to the entry that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The change to the profile's text as a JSON Patch (RFC 6902).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<serde_json::Value>,
    /// What the witness gets then.
    pub then: ActionJson,
}

/// What a change is made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The container's bounding set.
    Capabilities,
    /// The kernel's release.
    Kernel,
    /// The profile.
    Profile,
    /// The engine's libseccomp.
    Library,
    /// The arguments of the call.
    Arguments,
}

/// What a caller does after this error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ErrnoAdvice {
    /// Whether the error is ENOSYS, which says that the kernel has no such call.
    pub is_enosys: bool,
    /// Whether something breaks for want of ENOSYS.
    pub breaks: bool,
    /// The older call that does for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older: Option<&'static str>,
    /// Who falls back to what, and where that is written.
    pub behaviour: &'static str,
}

/// The JSON Schema of [`Explanation`].
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Explanation).to_value()
}

fn advice(arch: Arch, call: &SeccompData, action: Action) -> Option<ErrnoAdvice> {
    let refused = !matches!(action, Action::Allow | Action::Log | Action::Notify | Action::Trace(_));
    let name = syscalls::name(arch, crate::syscalls::SyscallNr(call.nr)).filter(|_| refused)?;
    let known = fallback::of(arch, name)?;
    let is_enosys = action == Action::Errno(enosys(arch));
    let breaks = !is_enosys && known.harm == Harm::Breaks;
    Some(ErrnoAdvice { is_enosys, breaks, older: known.older, behaviour: known.behaviour })
}

/// The values of the open arguments for which `rest` answers with one of the wanted; `None` for all of them.
fn when(
    store: &mut Store,
    rest: Diagram,
    question: &Question,
    wanted: impl Fn(Action) -> bool,
) -> Result<Option<String>, Undecided> {
    if store.verdicts(rest).into_iter().all(&wanted) {
        return Ok(None);
    }
    Ok(match store.cases(rest, question.arch, wanted)? {
        Some(cases) => condition(&cases, question.arch, question.name().unwrap_or_default(), true),
        None => Some("for arguments that no short list of comparisons describes".to_owned()),
    })
}

/// What the call gets with the arguments that are known or with others; `open` is not cut down to these. `gets` is the action of a
/// verdict.
fn by_arguments(
    store: &mut Store,
    open: Diagram,
    question: &Question,
    gets: impl Fn(Action) -> Action,
) -> Result<Vec<Change>, Undecided> {
    if question.args.iter().all(Option::is_none) {
        return Ok(Vec::new());
    }
    let all: BTreeSet<Action> = store.verdicts(open).into_iter().map(&gets).collect();
    if all.len() > MOST_ANSWERS {
        store.answers(open)?;
    }
    let mut changes = Vec::new();
    for action in all {
        let Some(when) = when(store, open, question, |verdict| gets(verdict) == action)? else { continue };
        let (kind, what) = (ChangeKind::Arguments, format!("with {when}"));
        changes.push(Change { kind, what, pointer: None, patch: None, then: ActionJson(action) });
    }
    Ok(changes)
}

/// Those of them that are another answer than the one that the call gets now.
fn others(changes: &[Change], now: Action) -> impl Iterator<Item = Change> {
    changes.iter().filter(move |change| change.then != ActionJson(now)).cloned()
}

/// A call of the question for which `rest` answers with one of the wanted.
fn example(
    store: &Store,
    rest: Diagram,
    question: &Question,
    wanted: impl Fn(Action) -> bool,
) -> Option<SeccompData> {
    let call = store.witness(rest, wanted)?;
    let turn = |word: u64| if question.arch.is_big_endian() { word.rotate_left(32) } else { word };
    let mut args = call.args.map(turn);
    for (arg, known) in args.iter_mut().zip(question.args) {
        *arg = known.unwrap_or(*arg);
    }
    Some(SeccompData { args, ip: turn(call.ip), ..question.data() })
}

#[cfg(test)]
mod tests;

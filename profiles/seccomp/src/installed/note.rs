//! What became of a profile on its way into the kernel.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::action::Action;
use crate::arch::Arch;
use crate::dialect::FilterFlag;
use crate::syscalls::SyscallNr;

/// One thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// JSON pointer to the place in the profile; empty for the profile as a whole.
    pub pointer: Arc<str>,
    /// What became of it.
    pub what: Change,
}

/// What became of a place of the profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The entry does not hold on this machine or for this container (`includes`, `excludes`).
    DoesNotApply,
    /// The engine does not read this key, so the profile means what it would mean without it.
    KeyIgnored(&'static str),
    /// The engine reads no error name, so another number is returned.
    ErrorNameIgnored {
        /// As written.
        written: Action,
        /// As installed.
        installed: Action,
    },
    /// The rule has the default action and is left out.
    SameAsDefault,
    /// This libseccomp does not know the call; the name is passed over.
    UnknownName {
        /// The name.
        name: String,
        /// Whether a later libseccomp, or a kernel, knows it.
        known_later: bool,
    },
    /// No architecture has a call of this name; the name is passed over.
    NoSuchCall {
        /// The name.
        name: String,
        /// The nearest name that there is.
        nearest: Option<&'static str>,
    },
    /// No architecture of the filter has the call.
    NotOnTheseArchitectures {
        /// The name.
        name: String,
    },
    /// Two or more conditions on one argument: any of them suffices.
    AnyOf,
    /// Several conditions on different arguments: the runtime makes a rule of each, so that any of them suffices.
    SplitWhole,
    /// The runtime takes the mask of a comparison for the value, and the value for the mask.
    MaskExchanged {
        /// The condition as written.
        meant: String,
        /// The condition as it is read.
        read: String,
    },
    /// The runtime reads six conditions and no more.
    ConditionsCut,
    /// The rule is dropped, since an earlier one without conditions decides.
    Shadowed {
        /// The call.
        name: String,
        /// The earlier rule.
        by: Arc<str>,
    },
    /// The rule has no conditions and replaces earlier ones that had some.
    Replaces {
        /// The call.
        name: String,
        /// The architectures on which that happens.
        arches: Vec<Arch>,
    },
    /// The call can also be made through a multiplexer, which gets a rule too.
    Multiplexed {
        /// The call.
        name: String,
        /// `socketcall` or `ipc`.
        through: &'static str,
        /// Where.
        arch: Arch,
        /// Whether the rule's condition on the first argument is lost there.
        first_condition_lost: bool,
    },
    /// A condition's constant is cut to the 32 bits that the architecture's arguments have.
    Narrowed {
        /// The condition as written.
        condition: String,
        /// Where.
        arch: Arch,
    },
    /// Several conditional rules of one call hold together with different actions; the order is libseccomp's.
    OrderedByShape {
        /// The call.
        name: String,
        /// Where.
        arch: Arch,
    },
    /// libseccomp builds a filter in which no rule of this architecture has an effect: every call gets the default action. It
    /// happens where the rule that costs least is for a call that the architecture lacks.
    RulesLost {
        /// Where.
        arch: Arch,
    },
    /// Numbers above this get ENOSYS.
    EnosysAbove {
        /// Where.
        arch: Arch,
        /// The highest number that does not.
        highest: SyscallNr,
    },
    /// A flag for seccomp(2) that is given though the profile does not ask for it.
    FlagAdded(FilterFlag),
    /// A flag for seccomp(2) that is not given.
    FlagDropped(FilterFlag),
}

impl Change {
    /// A short word for machines: `unknown-name`.
    pub fn kind(&self) -> &'static str {
        match self {
            Change::DoesNotApply => "does-not-apply",
            Change::KeyIgnored(_) => "key-ignored",
            Change::ErrorNameIgnored { .. } => "error-name-ignored",
            Change::SameAsDefault => "same-as-default",
            Change::UnknownName { .. } => "unknown-name",
            Change::NoSuchCall { .. } => "no-such-call",
            Change::NotOnTheseArchitectures { .. } => "not-on-these-architectures",
            Change::AnyOf => "any-of",
            Change::SplitWhole => "split-whole",
            Change::MaskExchanged { .. } => "mask-exchanged",
            Change::ConditionsCut => "conditions-cut",
            Change::Shadowed { .. } => "shadowed",
            Change::Replaces { .. } => "replaces",
            Change::Multiplexed { .. } => "multiplexed",
            Change::Narrowed { .. } => "narrowed",
            Change::OrderedByShape { .. } => "ordered-by-shape",
            Change::RulesLost { .. } => "rules-lost",
            Change::EnosysAbove { .. } => "enosys-above",
            Change::FlagAdded(_) => "flag-added",
            Change::FlagDropped(_) => "flag-dropped",
        }
    }

    /// Whether the filter answers some call otherwise because of this than [`crate::resolve::resolve`] says; the others merely explain.
    pub fn changes_meaning(&self) -> bool {
        !matches!(
            self,
            Change::DoesNotApply
                | Change::SameAsDefault
                | Change::NoSuchCall { .. }
                | Change::NotOnTheseArchitectures { .. }
                | Change::AnyOf
                | Change::Shadowed { .. }
                | Change::Replaces { .. }
                | Change::EnosysAbove { .. }
                | Change::FlagAdded(_)
                | Change::FlagDropped(_)
        )
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::DoesNotApply => f.write_str("does not hold for this machine and container"),
            Change::KeyIgnored(key) => write!(f, "{key} is not read"),
            Change::ErrorNameIgnored { written, installed } => {
                write!(f, "error names are not read: {installed} instead of {written}")
            }
            Change::SameAsDefault => f.write_str("has the default action and is left out"),
            Change::UnknownName { name, known_later } => {
                let later = if *known_later { " (not to later ones)" } else { "" };
                write!(f, "passed over as unknown to this libseccomp{later}: {name}")
            }
            Change::NoSuchCall { name, nearest } => {
                write!(f, "{name:?} is passed over: there is no such call")?;
                nearest.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest:?}?"))
            }
            Change::NotOnTheseArchitectures { name } => {
                write!(f, "{name} has no effect: no architecture of the filter has it")
            }
            Change::AnyOf => {
                f.write_str("two conditions on one argument: any of the rule's conditions suffices")
            }
            Change::SplitWhole => f.write_str("each condition is a rule of its own: any of them suffices"),
            Change::MaskExchanged { meant, read } => {
                write!(f, "mask and value are exchanged: {meant} is read as {read}")
            }
            Change::ConditionsCut => f.write_str("conditions after the sixth are dropped"),
            Change::Shadowed { name, by } => {
                write!(f, "{name} is dropped: {by} comes first and has no condition")
            }
            Change::Replaces { name, arches } => {
                write!(f, "{name} without a condition replaces earlier rules with conditions{}", On(arches))
            }
            Change::Multiplexed { name, through, arch, first_condition_lost } => {
                let lost = if *first_condition_lost { ", whatever its first argument" } else { "" };
                write!(f, "ruled in {through} too{lost} ({arch}): {name}")
            }
            Change::Narrowed { condition, arch } => {
                write!(f, "{condition} is cut to 32 bits ({arch})")
            }
            Change::OrderedByShape { name, arch } => {
                write!(
                    f,
                    "among rules that hold together the shape of their conditions decides ({arch}): {name}"
                )
            }
            Change::RulesLost { arch } => write!(
                f,
                "no rule has an effect on {arch}: libseccomp does not load the number when the cheapest rule is for a call that the \
                 architecture lacks"
            ),
            Change::EnosysAbove { arch, highest } => {
                write!(f, "numbers above {highest} return ENOSYS ({arch})")
            }
            Change::FlagAdded(flag) => write!(f, "{} is added", flag.name()),
            Change::FlagDropped(flag) => write!(f, "{} is dropped", flag.name()),
        }
    }
}

/// ` (SCMP_ARCH_X86, SCMP_ARCH_X32)`
struct On<'a>(&'a [Arch]);

impl std::fmt::Display for On<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|arch| arch.scmp_name()).collect();
        write!(f, " ({})", names.join(", "))
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        self.what.fmt(f)
    }
}

/// `{"pointer": "/syscalls/3", "kind": "same-as-default", "text": "has the default action and is left out"}`
impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut note = serializer.serialize_struct("Note", 3)?;
        note.serialize_field("pointer", &*self.pointer)?;
        note.serialize_field("kind", self.what.kind())?;
        note.serialize_field("text", &self.what.to_string())?;
        note.end()
    }
}

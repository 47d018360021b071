//! Colours, signs and hatches.

use plim_seccomp::{Action, Errno};

/// How an action looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Paint {
    /// Made.
    Allow,
    /// Made, and logged.
    Log,
    /// A tracer is told.
    Trace,
    /// A supervisor answers.
    Notify,
    /// Refused as if the kernel had no such call.
    Enosys,
    /// Refused with another error.
    Errno,
    /// SIGSYS.
    Trap,
    /// The end of the thread or the process.
    Kill,
}

pub(super) const ALL: [Paint; 8] = [
    Paint::Allow,
    Paint::Log,
    Paint::Trace,
    Paint::Notify,
    Paint::Enosys,
    Paint::Errno,
    Paint::Trap,
    Paint::Kill,
];

impl Paint {
    pub(super) fn of(action: Action) -> Paint {
        match action {
            Action::Allow => Paint::Allow,
            Action::Log => Paint::Log,
            Action::Trace(_) => Paint::Trace,
            Action::Notify => Paint::Notify,
            Action::Errno(Errno::ENOSYS) => Paint::Enosys,
            Action::Errno(_) => Paint::Errno,
            Action::Trap => Paint::Trap,
            Action::KillThread | Action::KillProcess => Paint::Kill,
        }
    }

    /// A word for class names and ids.
    pub(super) fn word(self) -> &'static str {
        match self {
            Paint::Allow => "allow",
            Paint::Log => "log",
            Paint::Trace => "trace",
            Paint::Notify => "notify",
            Paint::Enosys => "enosys",
            Paint::Errno => "errno",
            Paint::Trap => "trap",
            Paint::Kill => "kill",
        }
    }

    /// Okabe and Ito, "Color Universal Design" (2008); the two strongest are darker than any of theirs.
    pub(super) fn fill(self) -> &'static str {
        match self {
            Paint::Allow => "#56b4e9",
            Paint::Log => "#009e73",
            Paint::Trace => "#cc79a7",
            Paint::Notify => "#f0e442",
            Paint::Enosys => "#e69f00",
            Paint::Errno => "#d55e00",
            Paint::Trap => "#6b3a8c",
            Paint::Kill => "#222222",
        }
    }

    /// Whether letters on it are white.
    pub(super) fn is_dark(self) -> bool {
        matches!(self, Paint::Trap | Paint::Kill)
    }

    /// The sign at the end of the cell, for those to whom the colour says nothing; letters that every font has.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Paint::Allow => "",
            Paint::Log => "\u{a7}",
            Paint::Trace => "\u{bb}",
            Paint::Notify => "?",
            Paint::Enosys => "\u{f8}",
            Paint::Errno => "\u{d7}",
            Paint::Trap => "!",
            Paint::Kill => "\u{2020}",
        }
    }

    /// For the legend.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Paint::Allow => "allowed",
            Paint::Log => "allowed and logged",
            Paint::Trace => "left to a tracer",
            Paint::Notify => "left to a supervisor",
            Paint::Enosys => "refused: ENOSYS",
            Paint::Errno => "refused: another error",
            Paint::Trap => "SIGSYS",
            Paint::Kill => "killed",
        }
    }
}

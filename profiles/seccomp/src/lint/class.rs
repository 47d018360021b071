//! The classes of findings. `README.md` holds the same table for readers; a test keeps them equal.

use schemars::JsonSchema;
use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Wasted or confusing, nothing gets through that was meant to be kept out.
    Low,
    /// Programs break, or a protection is thinner than it looks.
    Medium,
    /// Calls get through that the author refused.
    High,
    /// There is no protection.
    Critical,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// `low`, `medium`, `high`, `critical`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A 64-bit comparison of an argument of which the kernel reads fewer bits.
    NarrowComparison,
    /// `socketcall` or `ipc` does what a refused call does.
    Multiplexer,
    /// Calls of other architectures are not refused.
    ForeignArchitecture,
    /// x32 calls get more than the x86-64 calls of the same name.
    X32,
    /// A rule that never decides.
    Shadowed,
    /// Rules that say two things of one call.
    Conflict,
    /// A rule that says what holds anyway.
    EqualToDefault,
    /// Several conditions on one argument, which mean "any of them".
    AnyOf,
    /// Conditions that hold together and are ordered by their shape.
    OrderedByShape,
    /// A name that no architecture has.
    UnknownName,
    /// A name that the libseccomp in use does not know.
    TooNew,
    /// EPERM where the caller waits for ENOSYS.
    WrongError,
    /// Calls that do the same, treated differently.
    Unequal,
    /// A call that gets around what the filter is for.
    DefeatsPurpose,
    /// Calls that the kernel's bitmap could let pass and does not.
    BitmapLost,
    /// Refusals leave no trace.
    NoLog,
    /// A condition that always or never holds.
    ConstantCondition,
    /// What no rule names is let through.
    OpenDefault,
}

struct Row {
    class: Class,
    id: &'static str,
    title: &'static str,
    remedy: &'static str,
}

const fn row(class: Class, id: &'static str, title: &'static str, remedy: &'static str) -> Row {
    Row { class, id, title, remedy }
}

#[rustfmt::skip]
static ROWS: [Row; 18] = [
    row(Class::NarrowComparison, "PLIM-S001", "64-bit comparison of a narrower argument",
        "compare the bits that the kernel reads: SCMP_CMP_MASKED_EQ with a mask of them, or one such rule for each allowed value"),
    row(Class::Multiplexer, "PLIM-S002", "a multiplexer does what is refused directly",
        "leave the multiplexer out of the profile; 32-bit libc has used the direct calls since Linux 4.3"),
    row(Class::ForeignArchitecture, "PLIM-S003", "other architectures are not guarded",
        "compare seccomp_data.arch first, and kill what is not expected"),
    row(Class::X32, "PLIM-S004", "x32 calls are not guarded",
        "refuse numbers with bit 30 (0x40000000) under the x86-64 token, or list SCMP_ARCH_X32 so that they get the same rules"),
    row(Class::Shadowed, "PLIM-S005", "shadowed rule",
        "remove the rule, or the one before it that decides everything"),
    row(Class::Conflict, "PLIM-S006", "conflicting rules",
        "keep one action for one condition"),
    row(Class::EqualToDefault, "PLIM-S007", "rule equal to the default action",
        "remove the rule: engines skip it"),
    row(Class::AnyOf, "PLIM-S008", "several conditions on one argument mean any of them",
        "for 'all of them' write one condition: SCMP_CMP_MASKED_EQ for flags, one rule for each value of a range"),
    row(Class::OrderedByShape, "PLIM-S009", "overlapping conditions are ordered by their shape",
        "make the conditions exclude each other, so that their order does not matter"),
    row(Class::UnknownName, "PLIM-S010", "unknown system call",
        "correct the name or remove it: engines skip it, most of them silently"),
    row(Class::TooNew, "PLIM-S011", "name newer than the libseccomp in use",
        "install with a newer libseccomp, or do not rely on the name: it is skipped there"),
    row(Class::WrongError, "PLIM-S012", "refused with another error than ENOSYS",
        "refuse it with SCMP_ACT_ERRNO and errnoRet 38 (ENOSYS), so that callers take the older call"),
    row(Class::Unequal, "PLIM-S013", "calls that do the same are treated differently",
        "treat them alike: refuse both, or allow both"),
    row(Class::DefeatsPurpose, "PLIM-S014", "a call that gets around the filter",
        "leave the call out of the profile, or allow it for the capability that it is meant for only (includes.caps)"),
    row(Class::BitmapLost, "PLIM-S015", "the kernel's allow bitmap is lost",
        "before the verdict of an unconditional call use only loads of nr and arch, jumps on constants, AND, and RET of a constant \
         SECCOMP_RET_ALLOW; `plim seccomp compile` writes such filters"),
    row(Class::NoLog, "PLIM-S016", "refusals are not logged",
        "add SECCOMP_FILTER_FLAG_LOG to flags, so that the kernel's audit log names what was refused"),
    row(Class::ConstantCondition, "PLIM-S017", "a condition that never or always holds",
        "correct the argument's index, the operator or the value"),
    row(Class::OpenDefault, "PLIM-S018", "what no rule names is let through",
        "make the default action a refusal and list what is needed"),
];

impl Class {
    /// Every class, in the order of the ids.
    pub fn all() -> impl Iterator<Item = Class> {
        ROWS.iter().map(|row| row.class)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// `PLIM-S001`, ….
    pub fn id(self) -> &'static str {
        self.row().id
    }

    /// What it is called.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// What to do about it in general.
    pub fn remedy(self) -> &'static str {
        self.row().remedy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_type() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.class as usize, index);
            assert_eq!(row.id, format!("PLIM-S{:03}", index + 1));
        }
    }

    #[test]
    fn the_readme_has_the_same_table() {
        let readme = include_str!("README.md");
        for row in &ROWS {
            let lines = readme.lines().filter(|line| line.starts_with(&format!("| {} |", row.id)));
            let lines: Vec<&str> = lines.collect();
            assert_eq!(lines.len(), 1, "{}", row.id);
            assert!(lines[0].contains(row.title), "{}: {}", row.id, lines[0]);
        }
    }
}

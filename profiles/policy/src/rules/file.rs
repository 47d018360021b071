//! What a policy file says, every word checked.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Expression, Glob};
use crate::finding::Severity;
use crate::pss::{Control, Level, Version};
use crate::text::Place;

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// Year.
    pub year: u16,
    /// Month, from 1.
    pub month: u8,
    /// Day, from 1.
    pub day: u8,
}

impl Date {
    /// From `YYYY-MM-DD`.
    ///
    /// ```
    /// use plim_policy::rules::Date;
    /// assert!(Date::parse("2026-02-28") < Date::parse("2026-03-01"));
    /// assert_eq!(Date::parse("2026-02-30"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Date> {
        let mut parts = text.split('-');
        let mut part = |length: usize| -> Option<u16> {
            let part = parts.next()?;
            let digits = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return None,
        };
        let whole = parts.next().is_none() && (1..=days).contains(&day);
        whole.then_some(Date { year, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? })
    }

    /// The day on which a moment lies, given in seconds since 1970 (UTC).
    pub fn of_unix_seconds(seconds: u64) -> Date {
        // Days to civil date, counting years from March so that the leap day comes last (H. Hinnant, chrono algorithms).
        let days = seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Date {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: u8::try_from(month).unwrap_or(1),
            day: u8::try_from(day).unwrap_or(1),
        }
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// How a filter stands to a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It permits nothing that the profile does not.
    SubsetOf,
    /// It permits the same calls.
    Equals,
}

/// A system call with conditions on its arguments: `socket(family=AF_ALG)`, `clone(flags&CLONE_NEWUSER)`, `bpf`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// As it is written.
    pub text: String,
    /// The call's name.
    pub name: String,
    /// Argument (from 0), mask and value: the argument under the mask is the value.
    pub conditions: Vec<(u8, u64, u64)>,
}

/// What must hold. Several in one rule must all hold.
#[derive(Debug)]
pub enum Check {
    /// A CEL expression.
    Assert(Expression),
    /// The bounding set holds nothing else.
    Capabilities {
        /// Names as `CAP_…`.
        at_most: BTreeSet<String>,
    },
    /// The filters against a profile.
    Seccomp {
        /// Which way.
        relation: Relation,
        /// `preset:NAME`, or a path from the policy file's directory.
        profile: String,
    },
    /// Calls that must be refused on every architecture, or allowed on the machine's own.
    Syscall {
        /// Refused, whatever the arguments that are not named.
        must_deny: Vec<Call>,
        /// Allowed, whatever the arguments that are not named.
        must_allow: Vec<Call>,
    },
    /// The installed filters mean what the engine was asked for.
    VerifyInstalled,
    /// None of the known ways out.
    NoEscapePaths,
    /// A control of the Pod Security Standards.
    PodSecurity {
        /// The control.
        control: Control,
        /// Level and version of the policy.
        level: Level,
        /// The version.
        version: Version,
    },
}

impl Check {
    /// What is checked, in one line.
    pub fn words(&self) -> String {
        match self {
            Check::Assert(expression) => {
                let words: Vec<&str> = expression.source().split_whitespace().collect();
                format!("assert {}", words.join(" "))
            }
            Check::Capabilities { at_most } => {
                let names: Vec<&str> = at_most.iter().map(String::as_str).collect();
                format!(
                    "capabilities at most {}",
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                )
            }
            Check::Seccomp { relation: Relation::SubsetOf, profile } => {
                format!("seccomp permits no more than {profile}")
            }
            Check::Seccomp { relation: Relation::Equals, profile } => {
                format!("seccomp permits the same as {profile}")
            }
            Check::Syscall { must_deny, must_allow } => {
                let list = |calls: &[Call]| {
                    calls.iter().map(|call| call.text.as_str()).collect::<Vec<_>>().join(", ")
                };
                let mut parts = Vec::new();
                if !must_deny.is_empty() {
                    parts.push(format!("system calls denied: {}", list(must_deny)));
                }
                if !must_allow.is_empty() {
                    parts.push(format!("system calls allowed: {}", list(must_allow)));
                }
                parts.join("; ")
            }
            Check::VerifyInstalled => "the installed filter means what the engine was asked for".to_owned(),
            Check::NoEscapePaths => "none of the known ways out is open".to_owned(),
            Check::PodSecurity { control, version, .. } => {
                format!("Pod Security Standards {version}, control {}", control.id())
            }
        }
    }
}

/// Which targets a rule is about; an empty list is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `live`, or a declared form's word.
    pub kinds: Vec<String>,
    /// Engines of live targets.
    pub engines: Vec<Glob>,
    /// Images.
    pub images: Vec<Glob>,
    /// Target names.
    pub names: Vec<Glob>,
    /// Namespaces.
    pub namespaces: Vec<Glob>,
    /// Labels, all of which must match.
    pub labels: Vec<(String, Glob)>,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Stable id.
    pub id: String,
    /// What it asks for.
    pub title: String,
    /// How much a failure matters.
    pub severity: Severity,
    /// What to do about it.
    pub remedy: String,
    /// Why it matters.
    pub why: Option<String>,
    /// Where it comes from (`CIS Docker 1.6.0, 5.4`).
    pub reference: Option<String>,
    /// Which targets it is about.
    pub on: Scope,
    /// What must hold for the kernel's state of a live target.
    pub live: Vec<Check>,
    /// What must hold for a declaration.
    pub declared: Vec<Check>,
    /// The file.
    pub file: Arc<str>,
    /// Where in it.
    pub at: Place,
}

/// A change to a rule of an extended policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The rule's id.
    pub rule: String,
    /// Its new severity; `None` turns it off.
    pub severity: Option<Severity>,
    /// The file.
    pub file: Arc<str>,
    /// Where in it.
    pub at: Place,
}

/// A failure that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignore {
    /// Rules, by id.
    pub rule: Glob,
    /// Targets, by name.
    pub target: Glob,
    /// Why.
    pub reason: String,
    /// The last day on which it holds.
    pub expires: Option<Date>,
    /// The file.
    pub file: Arc<str>,
    /// Where in it.
    pub at: Place,
}

/// One policy file.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub title: Option<String>,
    /// Packs and files that it builds on, with the place at which each is named.
    pub extends: Vec<(String, Place)>,
    /// The level of the Pod Security Standards that it is about.
    pub level: Option<Level>,
    /// Its own rules.
    pub rules: Vec<Rule>,
    /// Changes to others' rules.
    pub overrides: Vec<Override>,
    /// Failures that are accepted.
    pub ignores: Vec<Ignore>,
}

//! Accepted failures, and what is wrong with accepting them.

use crate::finding::{Finding, Outcome, Severity, Where};
use crate::rules::{Date, PolicySet};

/// A rule about ignores: id, title, severity and remedy.
pub(crate) type Fixed = (&'static str, &'static str, Severity, &'static str);

const EXPIRED: Fixed = (
    "PLIM-P001",
    "No ignore has expired",
    Severity::Medium,
    "Remove the reason for it, or take the decision anew and set another day",
);
const UNUSED: Fixed = (
    "PLIM-P002",
    "Every ignore covers something",
    Severity::Low,
    "Remove it: what it was for is gone, or its words match nothing",
);

/// The rules about ignores.
pub(crate) const RULES: [Fixed; 2] = [EXPIRED, UNUSED];

/// Marks what ignores cover, and reports ignores that are over or that cover nothing.
pub(super) fn apply(set: &PolicySet, findings: &mut Vec<Finding>, today: Date) {
    let mut used = vec![false; set.ignores.len()];
    for finding in findings.iter_mut() {
        if !matches!(finding.outcome, Outcome::Fail | Outcome::NotObservable) {
            continue;
        }
        for (ignore, used) in set.ignores.iter().zip(&mut used) {
            if ignore.rule.matches(&finding.rule) && ignore.target.matches(&finding.target) {
                *used = true;
                if ignore.expires.is_none_or(|last| today <= last) && finding.outcome != Outcome::Ignored {
                    finding.outcome = Outcome::Ignored;
                    finding.evidence.push(format!("ignored: {}", ignore.reason));
                }
            }
        }
    }
    for (ignore, used) in set.ignores.iter().zip(used) {
        let over = ignore.expires.filter(|last| today > *last);
        let of = format!("the ignore of {} for {}", ignore.rule.as_str(), ignore.target.as_str());
        let ((rule, title, severity, remedy), message) = match (over, used) {
            (Some(last), _) => (EXPIRED, format!("{of} ended on {last}")),
            (None, false) => (UNUSED, format!("{of} covers nothing")),
            (None, true) => continue,
        };
        findings.push(Finding {
            rule: rule.to_owned(),
            title: title.to_owned(),
            severity,
            target: ignore.file.to_string(),
            outcome: Outcome::Fail,
            message,
            evidence: vec![format!("reason given: {}", ignore.reason)],
            remedy: remedy.to_owned(),
            place: Some(Where { file: ignore.file.to_string(), line: ignore.at.line }),
        });
    }
}

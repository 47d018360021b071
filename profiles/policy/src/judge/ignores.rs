//! Accepted failures, and what is wrong with accepting them.

use crate::finding::{Finding, Outcome, Severity, Where};
use crate::rules::{Date, PolicySet};

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
        let (rule, title, severity, message, remedy) = match (over, used) {
            (Some(last), _) => (
                "PLIM-P001",
                "No ignore has expired",
                Severity::Medium,
                format!(
                    "the ignore of {} for {} ended on {last}",
                    ignore.rule.as_str(),
                    ignore.target.as_str()
                ),
                "Remove the reason for it, or take the decision anew and set another day",
            ),
            (None, false) => (
                "PLIM-P002",
                "Every ignore covers something",
                Severity::Low,
                format!(
                    "the ignore of {} for {} covers nothing",
                    ignore.rule.as_str(),
                    ignore.target.as_str()
                ),
                "Remove it: what it was for is gone, or its words match nothing",
            ),
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

//! Findings in the forms that build systems and people read. Every form is drawn from [`Findings`] and nothing else decides.

mod github;
mod html;
mod junit;
mod markdown;
mod sarif;

pub use github::github;
pub use html::html;
pub use junit::junit;
pub use markdown::markdown;
pub use sarif::sarif;

use crate::finding::{Finding, Outcome, Severity, Where};
use crate::judge::ignores::RULES;
use crate::rules::PolicySet;

/// A rule as reports describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Stable id.
    pub id: String,
    /// What it asks for.
    pub title: String,
    /// Severity.
    pub severity: Severity,
    /// Why it matters.
    pub why: Option<String>,
    /// What to do about it.
    pub remedy: String,
    /// Where it is written.
    pub place: Option<Where>,
}

/// The rules of a policy set, of ignores and of lock files, in this order.
pub fn rules(set: &PolicySet) -> Vec<RuleInfo> {
    let own = set.rules.iter().map(|rule| RuleInfo {
        id: rule.id.clone(),
        title: rule.title.clone(),
        severity: rule.severity,
        why: rule.why.clone(),
        remedy: rule.remedy.clone(),
        place: Some(Where { file: rule.file.to_string(), line: rule.at.line }),
    });
    let ignores = RULES.map(|(id, title, severity, remedy)| (id, title.to_owned(), severity, remedy));
    let fixed = ignores.into_iter().chain(crate::lock::rules());
    own.chain(fixed.map(|(id, title, severity, remedy)| RuleInfo {
        id: id.to_owned(),
        title,
        severity,
        why: None,
        remedy: remedy.to_owned(),
        place: None,
    }))
    .collect()
}

/// Findings that a report lists: failures first, the worst first; then what is not observable, then what is ignored.
fn listed(findings: &[Finding]) -> Vec<&Finding> {
    let mut rows: Vec<&Finding> =
        findings.iter().filter(|finding| finding.outcome != Outcome::Pass).collect();
    rows.sort_by_key(|finding| (finding.outcome, std::cmp::Reverse(finding.severity)));
    rows
}

#[cfg(test)]
mod tests;

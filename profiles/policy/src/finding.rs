//! Findings: what came of judging, as every report draws it. The JSON form is `schema/findings-1.0.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the findings' JSON form, `MAJOR.MINOR`: a minor bump adds fields, which an old reader ignores.
pub const FINDINGS_FORMAT: &str = "1.0";

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good practice that is missing.
    Low,
    /// Weakens the confinement.
    Medium,
    /// Takes a layer of the confinement away.
    High,
    /// A way out of the container.
    Critical,
}

impl Severity {
    /// Every severity, the least first.
    pub const ALL: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// From the word.
    pub fn from_name(word: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == word)
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What came of one rule on one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The rule does not hold.
    Fail,
    /// Something that the rule needs is not known: never a pass.
    NotObservable,
    /// It does not hold, and an ignore with a reason covers it.
    Ignored,
    /// The rule holds.
    Pass,
}

impl Outcome {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Fail => "fail",
            Outcome::NotObservable => "not-observable",
            Outcome::Ignored => "ignored",
            Outcome::Pass => "pass",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A line of a file that a person can change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Where {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule's stable id.
    pub rule: String,
    /// What the rule asks for.
    pub title: String,
    /// How much a failure matters.
    pub severity: Severity,
    /// The target as a person names it: `docker:web`, `Deployment/web`, `service/db`.
    pub target: String,
    /// What came of it.
    pub outcome: Outcome,
    /// One sentence.
    pub message: String,
    /// Facts that show it, sorted as the rule found them.
    pub evidence: Vec<String>,
    /// What to do about it.
    pub remedy: String,
    /// Where the target, or the entry that the finding is about, is written.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub place: Option<Where>,
}

/// A rule that has no meaning for a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct NotApplicable {
    /// The target.
    pub target: String,
    /// Why.
    pub why: String,
    /// The rules, sorted; none where the whole target is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// Failures by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failures {
    /// Of severity critical.
    pub critical: usize,
    /// Of severity high.
    pub high: usize,
    /// Of severity medium.
    pub medium: usize,
    /// Of severity low.
    pub low: usize,
}

/// Counts over all findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Targets that were judged.
    pub targets: usize,
    /// Findings that fail.
    pub fail: usize,
    /// Findings that something unknown keeps open.
    pub not_observable: usize,
    /// Failures that an ignore covers.
    pub ignored: usize,
    /// Rules that hold.
    pub pass: usize,
    /// Failures by severity.
    pub failures: Failures,
}

/// The whole result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// [`FINDINGS_FORMAT`].
    pub format: String,
    /// In the order of targets, then of rules.
    pub findings: Vec<Finding>,
    /// Counts.
    pub summary: Summary,
    /// Rules and targets that have nothing to do with each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_applicable: Vec<NotApplicable>,
}

impl Findings {
    /// Counts.
    pub fn new(targets: usize, findings: Vec<Finding>, mut not_applicable: Vec<NotApplicable>) -> Findings {
        let mut summary = Summary { targets, ..Summary::default() };
        for finding in &findings {
            match finding.outcome {
                Outcome::Fail => {
                    summary.fail += 1;
                    match finding.severity {
                        Severity::Critical => summary.failures.critical += 1,
                        Severity::High => summary.failures.high += 1,
                        Severity::Medium => summary.failures.medium += 1,
                        Severity::Low => summary.failures.low += 1,
                    }
                }
                Outcome::NotObservable => summary.not_observable += 1,
                Outcome::Ignored => summary.ignored += 1,
                Outcome::Pass => summary.pass += 1,
            }
        }
        not_applicable.sort();
        Findings { format: FINDINGS_FORMAT.to_owned(), findings, summary, not_applicable }
    }

    /// Whether something fails at or above a severity.
    pub fn fails_at(&self, threshold: Severity) -> bool {
        self.findings.iter().any(|f| f.outcome == Outcome::Fail && f.severity >= threshold)
    }

    /// Whether something at or above a severity could not be observed.
    pub fn unobserved_at(&self, threshold: Severity) -> bool {
        self.findings.iter().any(|f| f.outcome == Outcome::NotObservable && f.severity >= threshold)
    }
}

/// The JSON Schema of [`Findings`]; committed as `schema/findings-1.0.json`.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Findings);
    schema.insert("title".to_owned(), "Plimsoll findings".into());
    schema.insert("x-format".to_owned(), FINDINGS_FORMAT.into());
    schema.to_value()
}

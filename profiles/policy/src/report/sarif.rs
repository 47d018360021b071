//! SARIF 2.1.0 (OASIS), within what GitHub's code scanning takes: 5,000 results that it shows, 20 tags, a location for each.

use plim_model::text::escape;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{RuleInfo, listed};
use crate::finding::{Finding, Findings, Outcome, Severity};

/// The most results that GitHub shows of one run; the rest is dropped by it without a word, so we choose which.
const MOST: usize = 5_000;
/// Bytes of one message.
const LONGEST: usize = 4_000;

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// GitHub's scale: critical above 9, high above 7, medium above 4.
fn security_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
    }
}

/// The report. Paths below `base` become relative to it; `fallback` is the file to which findings belong that have none of their own
/// (a policy or lock file of the repository).
pub fn sarif(findings: &Findings, rules: &[RuleInfo], base: Option<&str>, fallback: &str) -> Value {
    let rows = listed(&findings.findings);
    // Only rules that some result is about, and those of the policies: the fixed ones only when used.
    let used = |rule: &RuleInfo| rule.place.is_some() || rows.iter().any(|row| row.rule == rule.id);
    let rules: Vec<&RuleInfo> = rules.iter().filter(|rule| used(rule)).collect();
    let dropped = rows.len().saturating_sub(MOST);
    let results: Vec<Value> = rows
        .iter()
        .take(MOST)
        .map(|finding| {
            let index = rules.iter().position(|rule| rule.id == finding.rule);
            let place = index.and_then(|index| rules[index].place.as_ref());
            result(finding, index, location(finding, place, base, fallback))
        })
        .collect();
    let mut notifications = Vec::new();
    if dropped > 0 {
        notifications.push(json!({
            "level": "warning",
            "message": {"text": format!("{dropped} more results, the least severe, are left out: code scanning shows {MOST}")},
        }));
    }
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "plim check",
                "organization": "Plimsoll",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "automationDetails": {"id": "plim-check/"},
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": notifications}],
            "results": results,
        }],
    })
}

fn descriptor(rule: &RuleInfo) -> Value {
    let mut help = format!("Remedy: {}", escape(&rule.remedy));
    if let Some(why) = &rule.why {
        help = format!("{}\n\n{help}", escape(why));
    }
    json!({
        "id": rule.id,
        "name": rule.id,
        "shortDescription": {"text": escape(&rule.title)},
        "fullDescription": {"text": escape(rule.why.as_ref().unwrap_or(&rule.title))},
        "help": {"text": help, "markdown": help},
        "defaultConfiguration": {"level": level(rule.severity)},
        "properties": {
            "security-severity": security_severity(rule.severity),
            "precision": "very-high",
            "problem.severity": level(rule.severity).replace("note", "recommendation"),
            "tags": ["security", "container"],
        },
    })
}

fn result(finding: &Finding, index: Option<usize>, location: Value) -> Value {
    let mut text = format!("{}: {}", escape(&finding.target), escape(&finding.message));
    for fact in &finding.evidence {
        text.push_str(&format!("\n- {}", escape(fact)));
    }
    let mut text: String = text.chars().take(LONGEST).collect();
    text.push_str(&format!("\n{}", escape(&finding.remedy)));
    let mut result = Map::new();
    result.insert("ruleId".to_owned(), finding.rule.clone().into());
    if let Some(index) = index {
        result.insert("ruleIndex".to_owned(), index.into());
    }
    // A result that is no failure has no level (SARIF 2.1.0, 3.27.10).
    let (kind, level) = match finding.outcome {
        Outcome::NotObservable => ("open", "none"),
        _ => ("fail", level(finding.severity)),
    };
    result.insert("kind".to_owned(), kind.into());
    result.insert("level".to_owned(), level.into());
    result.insert("message".to_owned(), json!({"text": text}));
    result.insert("locations".to_owned(), json!([location]));
    result.insert("partialFingerprints".to_owned(), json!({"plimFinding/v1": fingerprint(finding)}));
    if finding.outcome == Outcome::Ignored {
        let reason = finding.evidence.last().map_or("", |fact| fact.trim_start_matches("ignored: "));
        result.insert(
            "suppressions".to_owned(),
            json!([{"kind": "external", "justification": escape(reason)}]),
        );
    }
    Value::Object(result)
}

/// The same finding on the same target, wherever the file moved and whatever its evidence says today.
fn fingerprint(finding: &Finding) -> String {
    let mut hash = Sha256::new();
    for part in [&finding.rule, &finding.target] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn location(
    finding: &Finding,
    rule: Option<&crate::finding::Where>,
    base: Option<&str>,
    fallback: &str,
) -> Value {
    let place = finding.place.as_ref().or(rule.filter(|rule| !rule.file.starts_with("pack:")));
    let (file, line) = place.map_or((fallback, 1), |place| (place.file.as_str(), place.line.max(1)));
    json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(file, base)},
            "region": {"startLine": line},
        },
        "logicalLocations": [{"fullyQualifiedName": escape(&finding.target), "kind": "resource"}],
    })
}

/// A relative reference (RFC 3986) from the repository's root.
fn uri(file: &str, base: Option<&str>) -> String {
    let relative = base
        .and_then(|base| file.strip_prefix(base))
        .map(|file| file.trim_start_matches('/'))
        .unwrap_or(file)
        .trim_start_matches("./");
    let mut text = String::new();
    for byte in relative.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte))
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    if file.starts_with('/') && text.starts_with('/') { format!("file://{text}") } else { text }
}

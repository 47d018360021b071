//! Annotations of GitHub Actions (workflow commands) and the step's summary.

use super::listed;
use crate::finding::{Findings, Outcome, Severity};

/// GitHub shows ten annotations of each kind per step and drops the others without a word.
const MOST: usize = 10;

/// The annotations: at most ten of each kind, the worst first; what is left out is said in the last line.
pub fn github(findings: &Findings) -> String {
    let mut text = String::new();
    let mut shown = [0_usize; 3];
    let mut left_out = 0;
    for finding in listed(&findings.findings) {
        let (command, kind) = match (finding.outcome, finding.severity) {
            (Outcome::Fail, Severity::Critical | Severity::High) => ("error", 0),
            (Outcome::Fail, Severity::Medium) => ("warning", 1),
            (Outcome::NotObservable, _) => ("warning", 1),
            (Outcome::Fail, Severity::Low) => ("notice", 2),
            (Outcome::Ignored | Outcome::Pass, _) => continue,
        };
        if shown[kind] == MOST {
            left_out += 1;
            continue;
        }
        shown[kind] += 1;
        let mut properties = Vec::new();
        if let Some(place) = &finding.place {
            properties.push(format!("file={}", property(&place.file)));
            properties.push(format!("line={}", place.line));
        }
        properties.push(format!("title={}", property(&format!("{} ({})", finding.rule, finding.severity))));
        let mut message = format!("{}: {}", finding.target, finding.message);
        for fact in finding.evidence.iter().take(5) {
            message.push_str(&format!("\n{fact}"));
        }
        message.push_str(&format!("\nremedy: {}", finding.remedy));
        text.push_str(&format!("::{command} {}::{}\n", properties.join(","), data(&message)));
    }
    if left_out > 0 {
        // Not an annotation: there is no room for one.
        text.push_str(&format!("{left_out} more findings stand in the step's summary\n"));
    }
    text
}

/// The text of a command: line breaks would end it.
fn data(text: &str) -> String {
    super::clean(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property: commas and colons would end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

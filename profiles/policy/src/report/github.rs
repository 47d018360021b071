//! Annotations of GitHub Actions (workflow commands) and the step's summary.

use plim_model::text::{workflow_message, workflow_property};

use super::listed;
use crate::finding::{Findings, Outcome, Severity};

/// GitHub shows ten errors and ten warnings of a step and drops the others without a word. Ten of all kinds are within any reading of it.
const MOST: usize = 10;

/// The annotations: at most ten, the worst first; what is left out is said in the last line.
pub fn github(findings: &Findings) -> String {
    let mut text = String::new();
    let (mut shown, mut left_out) = (0, 0);
    for finding in listed(&findings.findings) {
        let command = match (finding.outcome, finding.severity) {
            (Outcome::Fail, Severity::Critical | Severity::High) => "error",
            (Outcome::Fail, Severity::Medium) | (Outcome::NotObservable, _) => "warning",
            (Outcome::Fail, Severity::Low) => "notice",
            (Outcome::Ignored | Outcome::Pass, _) => continue,
        };
        if shown == MOST {
            left_out += 1;
            continue;
        }
        shown += 1;
        let mut properties = Vec::new();
        if let Some(place) = &finding.place {
            // From the repository's root, as the files of a change are named.
            properties.push(format!("file={}", workflow_property(place.file.trim_start_matches("./"))));
            properties.push(format!("line={}", place.line));
        }
        properties.push(format!(
            "title={}",
            workflow_property(&format!("{} ({})", finding.rule, finding.severity))
        ));
        let mut message = vec![format!("{}: {}", finding.target, finding.message)];
        message.extend(finding.evidence.iter().take(5).cloned());
        message.push(format!("remedy: {}", finding.remedy));
        text.push_str(&format!("::{command} {}::{}\n", properties.join(","), workflow_message(message)));
    }
    if left_out > 0 {
        // Not an annotation: there is no room for one.
        text.push_str(&format!("{left_out} more findings stand in the step's summary\n"));
    }
    text
}

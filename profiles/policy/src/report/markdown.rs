//! Markdown for comments of pull requests and step summaries.

use plim_model::text::markdown as cell;

use super::listed;
use crate::finding::{Findings, Outcome};

/// GitHub refuses comments of more than 65,536 characters.
const LONGEST: usize = 60_000;

/// The report, at most 60,000 characters.
pub fn markdown(findings: &Findings) -> String {
    let s = &findings.summary;
    let verdict = match (s.fail, s.not_observable) {
        (0, 0) => "✅ Nothing fails",
        (0, _) => "⚠️ Nothing fails, but not everything could be observed",
        _ => "❌ Policy findings",
    };
    let mut text = format!(
        "## {verdict}\n\n{} targets: {} passed, **{} failed** ({} critical, {} high, {} medium, {} low), {} not observable, {} ignored\n",
        s.targets,
        s.pass,
        s.fail,
        s.failures.critical,
        s.failures.high,
        s.failures.medium,
        s.failures.low,
        s.not_observable,
        s.ignored
    );
    let rows = listed(&findings.findings);
    if rows.is_empty() {
        return text;
    }
    text.push_str("\n| Severity | Rule | Target | Finding |\n| --- | --- | --- | --- |\n");
    for (index, finding) in rows.iter().enumerate() {
        let word = match finding.outcome {
            Outcome::Fail => finding.severity.as_str(),
            other => other.as_str(),
        };
        let place = finding
            .place
            .as_ref()
            .map_or_else(String::new, |place| format!("<br>{}:{}", cell(&place.file), place.line));
        let mut facts: Vec<String> = finding.evidence.iter().take(5).map(|fact| cell(fact)).collect();
        if finding.evidence.len() > 5 {
            facts.push(format!("and {} more", finding.evidence.len() - 5));
        }
        let remedy = if finding.outcome == Outcome::Fail {
            format!("<br>*{}*", cell(&finding.remedy))
        } else {
            String::new()
        };
        let row = format!(
            "| {word} | {} | {}{place} | {}<br>{}{remedy} |\n",
            cell(&finding.rule),
            cell(&finding.target),
            cell(&finding.title),
            facts.join("<br>")
        );
        if text.chars().count() + row.chars().count() > LONGEST {
            text.push_str(&format!("\n… and {} more findings\n", rows.len() - index));
            break;
        }
        text.push_str(&row);
    }
    text
}

//! Findings and rules for people.

use plim_policy::report::RuleInfo;
use plim_policy::rules::Rule;
use plim_policy::{Findings, Outcome, Severity};
use plim_tools_common::output::{Style, Tone};
use plim_tools_common::table::{Cell, Table};

/// The most lines of evidence of one row.
const EVIDENCE: usize = 8;

/// Findings as a table; what holds is counted and not listed.
pub(crate) fn table(findings: &Findings, style: Style) -> String {
    let mut rows: Vec<_> =
        findings.findings.iter().filter(|finding| finding.outcome != Outcome::Pass).collect();
    // The worst first; within one severity as they come.
    rows.sort_by_key(|finding| (finding.outcome, std::cmp::Reverse(finding.severity)));
    let mut text = String::new();
    if !rows.is_empty() {
        let mut table = Table::new(style, ["SEVERITY", "RULE", "TARGET", "FINDING"]);
        for finding in rows {
            let tone = match (finding.outcome, finding.severity) {
                (Outcome::Fail, Severity::Critical | Severity::High) => Tone::Bad,
                (Outcome::Fail | Outcome::NotObservable, _) => Tone::Warn,
                (Outcome::Ignored | Outcome::Pass, _) => Tone::Dim,
            };
            let word = match finding.outcome {
                Outcome::Fail => finding.severity.to_string(),
                other => other.to_string(),
            };
            let place = finding.place.as_ref().map(|place| format!("{}:{}", place.file, place.line));
            let target = match &place {
                Some(place) if !finding.target.starts_with(place.split(':').next().unwrap_or_default()) => {
                    vec![finding.target.clone(), place.clone()]
                }
                _ => vec![finding.target.clone()],
            };
            let mut lines = vec![finding.title.clone()];
            lines.extend(finding.evidence.iter().take(EVIDENCE).map(|fact| format!("  {fact}")));
            if finding.evidence.len() > EVIDENCE {
                lines.push(format!("  and {} more (--format json)", finding.evidence.len() - EVIDENCE));
            }
            if finding.outcome == Outcome::Fail {
                lines.push(format!("  remedy: {}", finding.remedy));
            }
            table.row([
                Cell::new(word).tone(tone),
                Cell::new(&finding.rule),
                Cell::lines(target),
                Cell::lines(lines),
            ]);
        }
        text.push_str(&table.render());
    }
    text.push_str(&summary(findings));
    text.push('\n');
    text
}

/// One line of counts.
pub(crate) fn summary(findings: &Findings) -> String {
    let s = &findings.summary;
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let f = &s.failures;
    let severities: Vec<String> =
        [(f.critical, "critical"), (f.high, "high"), (f.medium, "medium"), (f.low, "low")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{n} {word}"))
            .collect();
    let severities =
        if severities.is_empty() { String::new() } else { format!(" ({})", severities.join(", ")) };
    format!(
        "{}: {} passed, {} failed{severities}, {} not observable, {} ignored",
        count(s.targets, "target"),
        s.pass,
        s.fail,
        s.not_observable,
        s.ignored
    )
}

/// One rule, at length; those of ignores and lock files stand in no policy.
pub(crate) fn explain(about: &RuleInfo, rule: Option<&Rule>) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<10} {}", plim_tools_common::escape(value));
    };
    line("rule", &about.id);
    line("title", &about.title);
    line("severity", about.severity.as_str());
    if let Some(why) = &about.why {
        line("why", why);
    }
    line("remedy", &about.remedy);
    let Some(rule) = rule else { return text };
    if let Some(reference) = &rule.reference {
        line("source", reference);
    }
    line("written in", &format!("{}:{}", rule.file, rule.at.line));
    for (side, checks) in [("live", &rule.live), ("declared", &rule.declared)] {
        for check in checks {
            line(side, &check.words());
        }
        if checks.is_empty() {
            line(side, "not applicable");
        }
    }
    text
}

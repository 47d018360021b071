//! JUnit XML as GitLab, Jenkins and others read it: a suite per target, a case per rule.

use crate::finding::{Finding, Findings, Outcome};

/// The report. What is not observable is an error, so that no reader counts it as passed; what is ignored is skipped.
pub fn junit(findings: &Findings) -> String {
    let mut suites: Vec<(&str, Vec<&Finding>)> = Vec::new();
    for finding in &findings.findings {
        match suites.iter_mut().rev().find(|(target, _)| *target == finding.target) {
            Some((_, list)) => list.push(finding),
            None => suites.push((&finding.target, vec![finding])),
        }
    }
    let s = &findings.summary;
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml.push_str(&format!(
        "<testsuites name=\"plim check\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n",
        findings.findings.len(),
        s.fail,
        s.not_observable,
        s.ignored
    ));
    for (target, list) in suites {
        let count = |outcome: Outcome| list.iter().filter(|finding| finding.outcome == outcome).count();
        xml.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n",
            attribute(target),
            list.len(),
            count(Outcome::Fail),
            count(Outcome::NotObservable),
            count(Outcome::Ignored)
        ));
        for finding in list {
            case(&mut xml, finding);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn case(xml: &mut String, finding: &Finding) {
    let place = finding.place.as_ref();
    let file = place.map_or_else(String::new, |place| {
        format!(" file=\"{}\" line=\"{}\"", attribute(&place.file), place.line)
    });
    xml.push_str(&format!(
        "    <testcase classname=\"{}\" name=\"{}: {}\"{file}",
        attribute(&finding.target),
        attribute(&finding.rule),
        attribute(&finding.title)
    ));
    let element = match finding.outcome {
        Outcome::Pass => {
            xml.push_str("/>\n");
            return;
        }
        Outcome::Fail => "failure",
        Outcome::NotObservable => "error",
        Outcome::Ignored => "skipped",
    };
    xml.push_str(&format!(">\n      <{element} message=\"{}\"", attribute(&finding.message)));
    if finding.outcome == Outcome::Ignored {
        // The reason is the last fact; skipped elements hold no text in some readers.
        xml.push_str("/>\n    </testcase>\n");
        return;
    }
    xml.push_str(&format!(" type=\"{}\">", finding.severity));
    let mut body: Vec<String> = finding.evidence.iter().map(|fact| content(fact)).collect();
    body.push(content(&format!("remedy: {}", finding.remedy)));
    xml.push_str(&body.join("\n"));
    xml.push_str(&format!("</{element}>\n    </testcase>\n"));
}

/// Characters that XML 1.0 has no way to hold (2.2) are shown as escapes.
fn legal(text: &str) -> String {
    super::clean(text)
        .chars()
        .map(|letter| match letter {
            '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            other => other,
        })
        .collect()
}

fn content(text: &str) -> String {
    legal(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn attribute(text: &str) -> String {
    content(text).replace('"', "&quot;").replace('\n', "&#10;")
}

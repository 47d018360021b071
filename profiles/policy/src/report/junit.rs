//! JUnit XML as GitLab, Jenkins and others read it: a suite per target, a case per rule.
//!
//! There is no one standard. The schema that is kept to is that of Jenkins' xUnit plug-in (`junit-10.xsd`), which refuses reports
//! with anything more in them; so the line stands in the text of a failure, and the file on the suite.

use std::collections::HashMap;

use plim_model::text;

use crate::finding::{Finding, Findings, Outcome};

/// The report. What is not observable is an error, so that no reader counts it as passed; what is ignored is skipped.
pub fn junit(findings: &Findings) -> String {
    let mut suites: Vec<(&str, Vec<&Finding>)> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for finding in &findings.findings {
        let index = *known.entry(&finding.target).or_insert(suites.len());
        match suites.get_mut(index) {
            Some((_, list)) => list.push(finding),
            None => suites.push((&finding.target, vec![finding])),
        }
    }
    let s = &findings.summary;
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml.push_str(&format!(
        "<testsuites name=\"plim check\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n",
        findings.findings.len(),
        s.fail,
        s.not_observable
    ));
    for (target, list) in suites {
        let count = |outcome: Outcome| list.iter().filter(|finding| finding.outcome == outcome).count();
        xml.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"{}>\n",
            text::xml(target),
            list.len(),
            count(Outcome::Fail),
            count(Outcome::NotObservable),
            count(Outcome::Ignored),
            file(&list)
        ));
        for finding in list {
            case(&mut xml, finding);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// The file in which all cases of a suite are written.
fn file(list: &[&Finding]) -> String {
    let mut files = list.iter().map(|finding| finding.place.as_ref().map(|place| place.file.as_str()));
    match files.next().flatten() {
        Some(first) if files.all(|file| file == Some(first)) => {
            // From the repository's root, as the files of a change are named.
            format!(" file=\"{}\"", text::xml(first.trim_start_matches("./")))
        }
        _ => String::new(),
    }
}

fn case(xml: &mut String, finding: &Finding) {
    xml.push_str(&format!(
        "    <testcase classname=\"{}\" name=\"{}: {}\"",
        text::xml(&finding.target),
        text::xml(&finding.rule),
        text::xml(&finding.title)
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
    xml.push_str(&format!(">\n      <{element} message=\"{}\"", text::xml(&finding.message)));
    if finding.outcome == Outcome::Ignored {
        // The reason is the last fact; skipped elements hold no text in some readers.
        xml.push_str("/>\n    </testcase>\n");
        return;
    }
    xml.push_str(&format!(" type=\"{}\">", finding.severity));
    let place = finding.place.iter().map(|place| format!("{}:{}", place.file, place.line));
    let mut body: Vec<String> =
        place.chain(finding.evidence.iter().cloned()).map(|line| text::xml(&line)).collect();
    body.push(text::xml(&format!("remedy: {}", finding.remedy)));
    xml.push_str(&body.join("\n"));
    xml.push_str(&format!("</{element}>\n    </testcase>\n"));
}

//! One page that needs nothing else: no script, no font, no address.

use plim_model::text::xml as text;

use super::listed;
use crate::finding::{Findings, Outcome};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.5rem;border-bottom:1px solid #d0d7de}\
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}td:nth-child(-n+2){white-space:nowrap;width:1%}.critical,.high{color:#a40e26;font-weight:600}.medium,.not-observable{color:#7d4e00;font-weight:600}\
.low,.ignored{color:#57606a}ul{margin:.25rem 0;padding-left:1.2rem}.remedy{color:#57606a}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}.critical,.high{color:#ff7b72}.medium,.not-observable{color:#d29922}.low,.ignored,.remedy{color:#8b949e}}";

/// The page.
pub fn html(findings: &Findings) -> String {
    let s = &findings.summary;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>plim check</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>plim check</h1>\n\
         <p>{} targets: {} passed, <strong>{} failed</strong> ({} critical, {} high, {} medium, {} low), {} not observable, {} ignored</p>\n",
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
    if !rows.is_empty() {
        page.push_str("<table>\n<thead><tr><th>Severity</th><th>Rule</th><th>Target</th><th>Finding</th></tr></thead>\n<tbody>\n");
        for finding in rows {
            let word = match finding.outcome {
                Outcome::Fail => finding.severity.as_str(),
                other => other.as_str(),
            };
            let place = finding.place.as_ref().map_or_else(String::new, |place| {
                format!("<br><code>{}:{}</code>", text(&place.file), place.line)
            });
            let facts: String =
                finding.evidence.iter().map(|fact| format!("<li><code>{}</code></li>", text(fact))).collect();
            page.push_str(&format!(
                "<tr><td class=\"{word}\">{word}</td><td><code>{}</code></td><td>{}{place}</td><td>{}<ul>{facts}</ul><span class=\"remedy\">{}</span></td></tr>\n",
                text(&finding.rule),
                text(&finding.target),
                text(&finding.title),
                text(&finding.remedy)
            ));
        }
        page.push_str("</tbody>\n</table>\n");
    }
    if !findings.not_applicable.is_empty() {
        page.push_str("<h2>Not applicable</h2>\n<ul>\n");
        for entry in &findings.not_applicable {
            page.push_str(&format!("<li>{}: {}</li>\n", text(&entry.target), text(&entry.why)));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

//! Names that have no effect.

use super::rules::{applying, filter_arches, holds_here, some};
use super::{Class, Finding, Permit, Severity, example};
use crate::dialect::{Written, WrittenRule};
use crate::installed::{Known, Vintage, known};
use crate::resolve::Facts;
use crate::spelling::Suggestions;
use crate::syscalls;

/// How grave it is that a rule of this entry is skipped.
fn severity(written: &Written, entry: &WrittenRule) -> Severity {
    let default = written.default_action.map_or(Permit::Made, Permit::of);
    if Permit::of(entry.action) < default { Severity::High } else { Severity::Medium }
}

/// S010. A misspelt name counts wherever it stands, also in entries that do not hold here.
pub(super) fn unknown(written: &Written, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut suggestions = Suggestions::default();
    for entry in &written.rules {
        for (index, name) in entry.names.iter().enumerate().filter(|(_, name)| !syscalls::is_known(name)) {
            let shown: String = name.chars().take(80).collect();
            let message = format!("{shown:?} is a system call of no architecture");
            let holds = holds_here(written, entry, facts);
            let severity = if holds { severity(written, entry) } else { Severity::Medium };
            let mut finding = Finding::new(Class::UnknownName, severity, message)
                .pointer(Some(format!("{}/names/{index}", entry.pointer)));
            if let Some(nearest) = suggestions.next(|| syscalls::nearest(name)) {
                finding = finding.remedy(format!(
                    "{nearest:?} may be meant; engines skip unknown names, most of them silently"
                ));
            }
            findings.push(finding);
        }
    }
    findings
}

/// S011.
pub(super) fn too_new(written: &Written, facts: &Facts, vintage: Vintage) -> Vec<Finding> {
    let arches = filter_arches(written, facts);
    let mut findings = Vec::new();
    for entry in applying(written, facts).filter(|entry| Some(entry.action) != written.default_action) {
        let here = |name: &&String| arches.iter().any(|arch| syscalls::number(*arch, name).is_some());
        let unknown: Vec<&String> = entry
            .names
            .iter()
            .filter(here)
            .filter(|name| known(vintage, facts.arch, name) == Known::Not)
            .collect();
        if unknown.is_empty() {
            continue;
        }
        let message = format!(
            "libseccomp {} does not know {}: engines that use it skip what it does not know, and the default holds, {}",
            vintage,
            some(&unknown),
            written
                .default_action
                .map_or_else(|| "what the default says".to_owned(), |action| action.to_string()),
        );
        findings.push(
            Finding::new(Class::TooNew, severity(written, entry), message)
                .pointer(Some(entry.pointer.to_string()))
                .evidence([format!(
                    "{} of the {} names of the rule are skipped",
                    unknown.len(),
                    entry.names.len()
                )])
                .witness(example::of_name(unknown[0], &entry.conditions, &arches).as_ref()),
        );
    }
    findings
}

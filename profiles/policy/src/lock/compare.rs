//! What a target has now, against what is locked.

use std::collections::{BTreeMap, HashMap};

use plim_model::diff::{Area, AreaSet, Change, Effect, Filters, compare};
use plim_model::{Observed, Snapshot};
use plim_seccomp::bpf::Program;
use serde_json::{Value, json};

use super::entry::compared;
use super::order::effect;
use super::{Lock, base64, declared, key};
use crate::finding::{Finding, Outcome, Severity, Where};
use crate::judge::{Growth, Subject, growth};

/// What came of holding targets against a lock file.
#[derive(Clone, Debug, Default)]
pub struct Locked {
    /// One finding per target and area that grew, or per target that did not.
    pub findings: Vec<Finding>,
    /// Targets that have less than is locked: `plim lock --update` would write that down.
    pub shrunk: Vec<String>,
    /// Targets of the lock file that were not looked at.
    pub unseen: Vec<String>,
}

/// What an area found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) grown: Vec<String>,
    pub(super) unknown: Vec<String>,
    pub(super) less: bool,
}

/// What one stack of filters permits beyond another, or why that cannot be told.
type More = Result<Vec<Growth>, String>;

/// Each pair decided once: many targets have the same.
#[derive(Default)]
struct Growths(HashMap<(Vec<Program>, Vec<Program>), More>);

impl Growths {
    fn of(&mut self, before: &[Program], after: &[Program]) -> &More {
        let pair = (before.to_vec(), after.to_vec());
        self.0.entry(pair).or_insert_with_key(|(before, after)| growth(before, after))
    }
}

/// Holds every subject against its entry.
pub fn check(lock: &Lock, file: &str, subjects: &[Subject]) -> Locked {
    let mut locked = Locked::default();
    let mut seen = std::collections::BTreeSet::new();
    let mut growths = Growths::default();
    for subject in subjects {
        let key = key(subject);
        let line = lock.lines.get(&key).copied().unwrap_or(1);
        let place = Some(Where { file: file.to_owned(), line });
        let Some(old) = lock.targets.get(&key) else {
            let message = format!("{key} is not in {file}");
            let evidence = vec!["a target that nobody has reviewed".to_owned()];
            locked.findings.push(finding(
                "PLIM-K000",
                subject,
                Outcome::Fail,
                Severity::High,
                message,
                evidence,
                place,
            ));
            continue;
        };
        let now = compared(subject);
        let mut areas = match (&subject.snapshot, old.get("declared")) {
            (None, Some(old)) => declared::compare(old, &now["declared"]),
            (Some(_), None) => live(old, &now, subject, &mut growths),
            _ => {
                let what = "one is something that runs and the other a declaration".to_owned();
                BTreeMap::from([(None, Found { unknown: vec![what], ..Found::default() })])
            }
        };
        let undecided: std::collections::BTreeSet<&str> = subject.undecided().map(|(_, why)| why).collect();
        if !undecided.is_empty() {
            let whole = areas.entry(None).or_default();
            whole.unknown.extend(undecided.into_iter().map(str::to_owned));
        }
        let mut failed = false;
        let mut less = false;
        let areas = areas.into_iter().map(|(area, found)| (rule(area), found));
        for ((rule, severity, name), found) in areas.chain([(FINDINGS, findings(old, &now))]) {
            less |= found.less;
            if !found.grown.is_empty() {
                failed = true;
                let message = format!("{name} of {} grew beyond what is locked", subject.name);
                locked.findings.push(finding(
                    rule,
                    subject,
                    Outcome::Fail,
                    severity,
                    message,
                    found.grown,
                    place.clone(),
                ));
            } else if !found.unknown.is_empty() {
                failed = true;
                let message = format!("whether {name} of {} grew cannot be told", subject.name);
                let unknown = found.unknown;
                locked.findings.push(finding(
                    rule,
                    subject,
                    Outcome::NotObservable,
                    severity,
                    message,
                    unknown,
                    place.clone(),
                ));
            }
        }
        if !failed {
            let message = format!("{} has no more than is locked", subject.name);
            locked.findings.push(finding(
                "PLIM-K000",
                subject,
                Outcome::Pass,
                Severity::High,
                message,
                Vec::new(),
                place,
            ));
        }
        if less {
            locked.shrunk.push(key.clone());
        }
        seen.insert(key);
    }
    locked.unseen = lock.targets.keys().filter(|key| !seen.contains(*key)).cloned().collect();
    locked
}

/// Stable id, severity of a growth and name of an area.
fn rule(area: Option<Area>) -> (&'static str, Severity, &'static str) {
    match area {
        None => ("PLIM-K000", Severity::High, "privileges"),
        Some(Area::Namespaces) => ("PLIM-K001", Severity::High, "namespaces"),
        Some(Area::Capabilities) => ("PLIM-K002", Severity::High, "capabilities"),
        Some(Area::Seccomp) => ("PLIM-K003", Severity::High, "system calls"),
        Some(Area::Mounts) => ("PLIM-K004", Severity::High, "mounts"),
        Some(Area::Devices) => ("PLIM-K005", Severity::High, "devices"),
        Some(Area::User) => ("PLIM-K006", Severity::High, "user"),
        Some(Area::Lsm) => ("PLIM-K007", Severity::High, "security modules"),
        Some(Area::Cgroups) => ("PLIM-K008", Severity::Medium, "limits"),
        Some(Area::Rlimits) => ("PLIM-K009", Severity::Medium, "resource limits"),
        Some(Area::Sysctls) => ("PLIM-K010", Severity::Medium, "sysctls"),
        Some(Area::Processes) => ("PLIM-K011", Severity::Medium, "processes"),
    }
}

const FINDINGS: (&str, Severity, &str) = ("PLIM-K012", Severity::Critical, "known ways out");

/// Ways out that are open now and were not. What opened one is told by its own area too.
fn findings(old: &Value, now: &Value) -> Found {
    // Files of before had none.
    let Some(old) = old["findings"].as_array() else { return Found::default() };
    let now = now["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let new = now.iter().filter(|finding| !old.contains(finding)).filter_map(Value::as_str);
    Found {
        grown: new.map(str::to_owned).collect(),
        less: old.iter().any(|finding| !now.contains(finding)),
        ..Found::default()
    }
}

/// The rules of lock files, for reports: id, title, severity and remedy.
pub(crate) fn rules() -> impl Iterator<Item = (&'static str, String, Severity, &'static str)> {
    let areas = std::iter::once(None).chain(Area::ALL.into_iter().map(Some)).map(rule);
    areas.chain([FINDINGS]).map(|(id, severity, name)| {
        (id, format!("The {name} of a target are no more than what is locked"), severity, REMEDY)
    })
}

const REMEDY: &str = "Take back what gave it, or review the growth and write it down with plim lock --update";

fn finding(
    rule: &str,
    subject: &Subject,
    outcome: Outcome,
    severity: Severity,
    message: String,
    evidence: Vec<String>,
    place: Option<Where>,
) -> Finding {
    Finding {
        rule: rule.to_owned(),
        title: message.clone(),
        severity,
        target: subject.name.clone(),
        outcome,
        message,
        evidence,
        remedy: REMEDY.to_owned(),
        place,
    }
}

/// An entry as a snapshot again, what was left out filled in from the other side so that it compares as equal.
fn snapshot_of(entry: &Value, like: &Value) -> Result<Snapshot, String> {
    let mut json = like.clone();
    let Some(fields) = json.as_object_mut() else { return Err("the snapshot is none".to_owned()) };
    for (name, value) in entry.as_object().into_iter().flatten() {
        if !["engine", "image", "seccomp", "unknown", "namespaces", "cgroup", "findings"]
            .contains(&name.as_str())
        {
            fields.insert(name.clone(), value.clone());
        }
    }
    fields.insert("target".to_owned(), json!({"engine": entry["engine"], "id": "", "pid": 0, "command": []}));
    fields.insert("unknown".to_owned(), entry.get("unknown").cloned().unwrap_or_else(|| json!([])));
    let mut namespaces = entry["namespaces"].clone();
    for namespace in namespaces.as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        if let Some(fields) = namespace.as_object_mut() {
            fields.insert("inode".to_owned(), json!(0));
        }
    }
    fields.insert("namespaces".to_owned(), namespaces);
    let mut cgroup = entry["cgroup"].clone();
    if let Some(cgroup) = cgroup.as_object_mut() {
        cgroup.insert("paths".to_owned(), json!({}));
        if let Some(memory) = cgroup.get_mut("memory").and_then(Value::as_object_mut) {
            memory.insert("current_bytes".to_owned(), Value::Null);
        }
        if let Some(pids) = cgroup.get_mut("pids").and_then(Value::as_object_mut) {
            pids.insert("current".to_owned(), Value::Null);
        }
    }
    fields.insert("cgroup".to_owned(), cgroup);
    let seccomp = json!({"mode": entry["seccomp"]["mode"], "filter_count": null, "filters": null});
    fields.insert("seccomp".to_owned(), seccomp);
    Snapshot::from_json(json).map_err(|error| error.to_string())
}

/// The locked programs; `None` where digests are all there is.
fn programs(entry: &Value) -> Option<Vec<Program>> {
    let filters = entry["seccomp"]["filters"].as_array()?;
    filters
        .iter()
        .map(|filter| Program::from_bytes(&base64::decode(filter["program"].as_str()?)?).ok())
        .collect()
}

/// Whether two entries hold filters of one meaning.
pub(super) fn same_filters(old: &Value, new: &Value) -> bool {
    if old.get("seccomp").map(|s| &s["mode"]) != new.get("seccomp").map(|s| &s["mode"]) {
        return false;
    }
    match (programs(old), programs(new)) {
        (Some(old), Some(new)) => {
            growth(&old, &new).is_ok_and(|more| more.is_empty())
                && growth(&new, &old).is_ok_and(|more| more.is_empty())
        }
        _ => false,
    }
}

fn live(old: &Value, now: &Value, subject: &Subject, growths: &mut Growths) -> BTreeMap<Option<Area>, Found> {
    let mut areas: BTreeMap<Option<Area>, Found> = BTreeMap::new();
    let sides = (snapshot_of(old, &subject.snapshot_json), snapshot_of(now, &subject.snapshot_json));
    let (before, after) = match sides {
        (Ok(before), Ok(after)) => (before, after),
        (Err(why), _) | (_, Err(why)) => {
            let found = Found {
                unknown: vec![format!("the lock's entry is no snapshot: {why}")],
                ..Found::default()
            };
            return BTreeMap::from([(None, found)]);
        }
    };
    let everything: AreaSet = Area::ALL.into_iter().filter(|area| *area != Area::Processes).collect();
    let none = Filters::Compared { changes: Vec::new(), unknown: Vec::new() };
    let diff = compare(&before, &after, &everything, none);
    for change in &diff.changes {
        let found = areas.entry(Some(change.area)).or_default();
        match effect(change, old, now) {
            Some(Effect::Less) => found.less = true,
            // What is not known to be less is more.
            Some(Effect::More | Effect::Other) => found.grown.push(told(change)),
            None => {}
        }
    }
    for fact in &diff.unknown {
        areas.entry(Some(fact.area)).or_default().unknown.push(format!("{}: {}", fact.path, fact.why));
    }
    seccomp(old, now, subject, growths, areas.entry(Some(Area::Seccomp)).or_default());
    areas
}

fn seccomp(old: &Value, now: &Value, subject: &Subject, growths: &mut Growths, found: &mut Found) {
    let digests_alone = "the lock file holds digests of filters, not their programs";
    let (after, why) = match &subject.filters {
        Observed::Present(programs) => (Some(programs.as_slice()), digests_alone),
        Observed::Absent => (Some(&[][..]), digests_alone),
        Observed::Unknown(why) => (None, why.as_str()),
    };
    match (programs(old), after) {
        (Some(before), Some(after)) => {
            match growths.of(&before, after) {
                Ok(more) => found.grown.extend(more.iter().map(Growth::grown)),
                Err(why) => found.unknown.push(why.clone()),
            }
            found.less |= growths.of(after, &before).as_ref().is_ok_and(|less| !less.is_empty());
        }
        _ if digests(old) == digests(now) && digests(old).is_some() => {}
        _ => found.unknown.push(format!("seccomp filters: {why}")),
    }
}

/// What tells filters apart when their programs are not at hand.
fn digests(entry: &Value) -> Option<Vec<String>> {
    let filters = entry["seccomp"]["filters"].as_array()?;
    filters.iter().map(|filter| filter["sha256"].as_str().map(str::to_owned)).collect()
}

fn told(change: &Change) -> String {
    let short = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if text.len() > 160 { format!("{}…", text.chars().take(160).collect::<String>()) } else { text }
    };
    let path = plim_model::json::unescape(change.path.trim_start_matches('/'));
    match (change.before.is_null(), change.after.is_null()) {
        (true, _) => format!("{path}: now {}", short(&change.after)),
        (_, true) => format!("{path}: gone, was {}", short(&change.before)),
        _ => format!("{path}: {}, was {}", short(&change.after), short(&change.before)),
    }
}

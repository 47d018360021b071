//! What the fuzz targets and the stable runner (`tests/fuzz.rs`) do with an input. Every function returns or panics; a panic is a bug.
#![allow(dead_code, reason = "each target uses one of them")]

use plim_model::CapabilitySet;
use plim_policy::declared::{self, command_line};
use plim_policy::judge::{Options, Subject, judge};
use plim_policy::lock::{self, Lock};
use plim_policy::rules::{Date, Expression, PolicySet, Source, load};
use plim_policy::text::{Limits, read};
use plim_policy::{Findings, Outcome, report};
use plim_seccomp::Arch;
use plim_seccomp::resolve::{Facts, KernelVersion};

/// The input as the one file that there is.
struct One<'t>(&'t str);

impl Source for One<'_> {
    fn text(&self, name: &str, _: Option<&str>) -> Result<(String, String), String> {
        if name == "input" { Ok((self.0.to_owned(), name.to_owned())) } else { Err("ENOENT".to_owned()) }
    }
}

fn judged(set: &PolicySet, subjects: &[Subject]) -> Findings {
    let facts = Facts::new(Arch::X86_64, CapabilitySet::DOCKER_DEFAULT, KernelVersion { major: 6, minor: 1 });
    let today = Date { year: 2026, month: 11, day: 23 };
    judge(
        set,
        subjects,
        &Options { today, facts, engine: None, libseccomp: None, source: &One(""), threads: 1 },
    )
}

/// Every report of it, none of which may fail.
fn drawn(set: &PolicySet, findings: &Findings) {
    report::sarif(findings, &report::rules(set), None, "policy.yaml");
    report::junit(findings);
    report::github(findings);
    report::html(findings);
    assert!(report::markdown(findings).chars().count() < 65_536);
}

/// A policy, or a lock file.
pub(crate) fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(set) = load(&["input".to_owned()], &One(text)) {
        let line = "docker run -v /etc:/etc -p 80:80 --cap-add SYS_ADMIN web:1";
        let workload = command_line::read(line).expect("a command line");
        drawn(&set, &judged(&set, &[Subject::of_workload(workload, None)]));
    }
    if let Ok(lock) = Lock::read(text, "plim.lock") {
        let written = lock.write();
        let again = Lock::read(&written, "plim.lock").expect("what is written is read");
        assert_eq!(again.targets, lock.targets);
    }
}

/// What is locked has no more than is locked, whatever it is.
fn held_to_its_own_lock(subject: &Subject) {
    let mut lock = Lock::default();
    lock.put(subject);
    let read = Lock::read(&lock.write(), "plim.lock").expect("what is written is read");
    let found = lock::check(&read, "plim.lock", std::slice::from_ref(subject)).findings;
    // What a variable decides is never known to be within it.
    let expected = if subject.undecided().next().is_some() { Outcome::NotObservable } else { Outcome::Pass };
    assert!(found.iter().all(|finding| finding.outcome == expected), "{found:?}");
}

/// Something that asks for containers.
pub(crate) fn input(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    static PACKS: std::sync::OnceLock<PolicySet> = std::sync::OnceLock::new();
    let set = PACKS.get_or_init(|| {
        load(&["pack:pss-restricted".to_owned(), "pack:cis-docker-5".to_owned()], &One("")).expect("packs")
    });
    let documents =
        read(text, Limits { values: 20_000, repeated: 2_000, ..Limits::INPUT }).unwrap_or_default();
    if let Ok(declared) = declared::read(&documents, "input") {
        let subjects: Vec<Subject> = declared
            .workloads
            .into_iter()
            .map(|workload| Subject::of_workload(workload, Some("input")))
            .collect();
        drawn(set, &judged(set, &subjects));
        subjects.iter().for_each(held_to_its_own_lock);
    }
    if let Ok(workload) = command_line::read(text) {
        let subject = Subject::of_workload(workload, None);
        held_to_its_own_lock(&subject);
        drawn(set, &judged(set, &[subject]));
    }
}

/// A CEL expression.
pub(crate) fn expression(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(expression) = Expression::new(text) else { return };
    let mut context = cel::Context::default();
    let list: Vec<i64> = (0..20).collect();
    for name in ["snapshot", "workload", "container"] {
        context.add_variable(name, list.clone()).expect("a list");
    }
    expression.evaluate(&context, &[], list.len());
}

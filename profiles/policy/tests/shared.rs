//! What many targets have in common is worked out once: a run's time grows with its targets, not with their profiles.

mod common;
#[path = "common/load.rs"]
mod load;

use std::time::{Duration, Instant};

use plim_model::CapabilitySet;
use plim_policy::judge::Subject;
use plim_policy::lock::{Lock, check};
use plim_policy::rules::load as load_policies;
use plim_policy::text::{Limits, read};
use plim_policy::{Findings, Outcome, declared};

const PROFILE: &str =
    r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}]}"#;

fn pods(count: usize, seccomp: &str) -> Vec<Subject> {
    let pod = |n: usize| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{n}}}\nspec:\n  securityContext: {{seccompProfile: {seccomp}}}\n  \
             containers: [{{name: a, image: b}}, {{name: c, image: d}}]\n"
        );
        declared::read(&read(&text, Limits::INPUT).expect("YAML"), "x").expect("a pod").workloads
    };
    (0..count).flat_map(pod).map(|pod| Subject::of_workload(pod, Some("x.yaml"))).collect()
}

fn judged(subjects: &[Subject]) -> (Findings, Duration) {
    let files = common::Files(vec![("own.json", PROFILE.to_owned())]);
    let packs = ["pack:docker-default", "pack:hardened", "pack:ci-runner"].map(str::to_owned);
    let set = load_policies(&packs, &files).expect("loads");
    let start = Instant::now();
    (common::by(&set, &files, subjects), start.elapsed())
}

#[test]
fn hundreds_of_pods_with_one_profile_take_little_more_than_one() {
    for seccomp in ["{type: RuntimeDefault}", "{type: Localhost, localhostProfile: own.json}"] {
        let one = (0..3).map(|_| judged(&pods(1, seccomp)).1).min().expect("three");
        let many = (0..3).map(|_| judged(&pods(300, seccomp)).1).min().expect("three");
        assert!(many < one * 60, "{seccomp}: one takes {one:?}, three hundred {many:?}");
    }
}

/// Answers are kept by what they depend on: neighbours with other profiles, or other containers, get their own.
#[test]
fn an_answer_is_of_its_own_target() {
    let mut subjects = pods(2, "{type: RuntimeDefault}");
    subjects.extend(pods(1, "{type: Localhost, localhostProfile: own.json}"));
    subjects.extend(pods(1, "{type: Unconfined}"));
    let together = judged(&subjects).0;
    let alone = subjects.iter().map(|subject| judged(std::slice::from_ref(subject)).0.findings);
    assert_eq!(together.findings, alone.flatten().collect::<Vec<_>>());
    let outcomes: Vec<Outcome> =
        together.findings.iter().filter(|f| f.rule == "DOCK-seccomp").map(|f| f.outcome).collect();
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Pass, Outcome::Fail, Outcome::Fail]);
}

/// Containers of one profile, whose runtime made other bytes of it than those that are locked.
#[test]
fn hundreds_of_containers_with_one_filter_take_little_more_than_one() {
    let allow = common::filter(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#, CapabilitySet::EMPTY);
    let container = |n: usize, filters: Vec<plim_seccomp::bpf::Program>| {
        let mut subject = common::live(common::hardened(), filters);
        subject.name = format!("docker:web-{n}");
        subject
    };
    let now = |n: usize| container(n, [common::default_filter(), allow.clone()].concat());
    let verify = "format: \"1.0\"\nname: p\nrules: [{id: V, title: t, severity: low, remedy: r, verify_installed: true}]\n";
    let files = common::Files(vec![("p.yaml", verify.to_owned())]);
    let set = load_policies(&["p.yaml".to_owned()], &files).expect("loads");
    let took = |count: usize| {
        let mut lock = Lock::default();
        (0..count).for_each(|n| lock.put(&container(n, common::default_filter())));
        let subjects: Vec<Subject> = (0..count).map(now).collect();
        let start = Instant::now();
        let held = check(&lock, "plim.lock", &subjects).findings;
        let locked = start.elapsed();
        let verified = common::by(&set, &files, &subjects).findings;
        assert_eq!((held.len(), verified.len()), (count, count));
        assert!(held.iter().chain(&verified).all(|finding| finding.outcome == Outcome::Pass), "{held:?}");
        (locked, start.elapsed() - locked)
    };
    let least = |count: usize| {
        let all: Vec<(Duration, Duration)> = (0..3).map(|_| took(count)).collect();
        (
            all.iter().map(|took| took.0).min().expect("three"),
            all.iter().map(|took| took.1).min().expect("three"),
        )
    };
    let (one, many) = (least(1), least(100));
    assert!(many.0 < one.0 * 50, "held to a lock, one takes {:?}, a hundred {:?}", one.0, many.0);
    assert!(many.1 < one.1 * 50, "verified, one takes {:?}, a hundred {:?}", one.1, many.1);
}

/// A tenth of what `cargo bench` holds to 5 s and 2 s, without optimisation and with a margin: a bound on what runs away.
#[test]
fn manifests_and_snapshots_keep_to_their_time() {
    let files = common::Files(vec![]);
    let took = load::manifests(1_000, &files, &load::all_packs());
    assert!(took < Duration::from_secs(20), "1,000 manifests by all packs took {took:?} of processor time");
    let took = load::snapshots(100, &files);
    assert!(took < Duration::from_secs(8), "100 snapshots by all packs took {took:?} of processor time");
}

//! What many targets have in common is worked out once: a run's time grows with its targets, not with their profiles.

mod common;
#[path = "common/load.rs"]
mod load;

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

fn judged(subjects: &[Subject]) -> Findings {
    let files = common::Files(vec![("own.json", PROFILE.to_owned())]);
    let packs = ["pack:docker-default", "pack:hardened", "pack:ci-runner"].map(str::to_owned);
    let set = load_policies(&packs, &files).expect("loads");
    common::by(&set, &files, subjects)
}

#[test]
fn hundreds_of_pods_with_one_profile_take_little_more_than_one() {
    for seccomp in ["{type: RuntimeDefault}", "{type: Localhost, localhostProfile: own.json}"] {
        plim_fuzz::at_most(60, 1, 300, |count| drop(judged(&pods(count, seccomp)))).expect(seccomp);
    }
}

/// Answers are kept by what they depend on: neighbours with other profiles, or other containers, get their own.
#[test]
fn an_answer_is_of_its_own_target() {
    let mut subjects = pods(2, "{type: RuntimeDefault}");
    subjects.extend(pods(1, "{type: Localhost, localhostProfile: own.json}"));
    subjects.extend(pods(1, "{type: Unconfined}"));
    let together = judged(&subjects);
    let alone = subjects.iter().map(|subject| judged(std::slice::from_ref(subject)).findings);
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
    let subjects: Vec<Subject> = (0..100).map(now).collect();
    let locks = [1, 100].map(|count| {
        let mut lock = Lock::default();
        (0..count).for_each(|n| lock.put(&container(n, common::default_filter())));
        lock
    });
    let passed = |findings: &[plim_policy::Finding], count: usize| {
        assert_eq!(findings.len(), count);
        assert!(findings.iter().all(|finding| finding.outcome == Outcome::Pass), "{findings:?}");
    };
    let held = |count: usize| {
        let lock = &locks[usize::from(count > 1)];
        passed(&check(lock, "plim.lock", &subjects[..count]).findings, count);
    };
    let verified = |count: usize| passed(&common::by(&set, &files, &subjects[..count]).findings, count);
    plim_fuzz::at_most(50, 1, 100, held).expect("held to a lock");
    plim_fuzz::at_most(50, 1, 100, verified).expect("verified");
}

/// What `cargo bench` holds to seconds.
#[test]
fn manifests_and_snapshots_take_linear_time() {
    let files = common::Files(vec![]);
    let threads = 1; // whose time is measured
    plim_fuzz::linear(50, |count| _ = load::manifests(count, &files, &load::all_packs(), threads)).unwrap();
    plim_fuzz::linear(5, |count| _ = load::snapshots(count, &files, threads)).unwrap();
}

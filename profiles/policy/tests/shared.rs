//! What many targets have in common is worked out once: a run's time grows with its targets, not with their profiles.

mod common;

use std::time::{Duration, Instant};

use plim_policy::judge::Subject;
use plim_policy::rules::load;
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
    let set = load(&packs, &files).expect("loads");
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

//! Many manifests and snapshots judged, and the processor time that it took.
#![allow(
    dead_code,
    clippy::print_stdout,
    reason = "benches and tests use some of it, and a bench prints its figures"
)]

use std::time::{Duration, Instant};

use plim_model::{CapabilitySet, Snapshot};
use plim_policy::judge::{Options, Subject, judge};
use plim_policy::rules::load;
use plim_policy::text::{Limits, read};
use plim_policy::{declared, packs};

use super::common;

fn options(files: &common::Files, threads: usize) -> Options<'_> {
    Options {
        today: common::TODAY,
        facts: common::facts(CapabilitySet::DOCKER_DEFAULT),
        engine: None,
        libseccomp: None,
        source: files,
        threads,
    }
}

/// Processor time of this process, all threads (proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms).
pub(crate) fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("ticks");
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// All packs; the restricted level holds baseline.
pub(crate) fn all_packs() -> Vec<String> {
    packs::names().filter(|name| *name != "pss-baseline").map(|name| format!("pack:{name}")).collect()
}

pub(crate) fn manifests(
    count: usize,
    files: &common::Files,
    policies: &[String],
    threads: usize,
) -> Duration {
    let text = |n: usize| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web-{n}\n  namespace: shop\n  labels: {{app: web, tier: front}}\nspec:\n  replicas: 2\n  template:\n    metadata:\n      labels: {{app: web}}\n    spec:\n      securityContext:\n        runAsNonRoot: true\n        seccompProfile: {{type: RuntimeDefault}}\n      containers:\n        - name: web\n          image: registry.example/web:{n}\n          env:\n            - {{name: A, value: b}}\n            - {{name: C, value: d}}\n          ports: [{{containerPort: 8080}}]\n          resources: {{limits: {{memory: 256Mi, cpu: 500m}}}}\n          securityContext:\n            allowPrivilegeEscalation: {}\n            capabilities: {{drop: [ALL]}}\n          volumeMounts:\n            - {{name: cache, mountPath: /cache}}\n      volumes:\n        - {{name: cache, emptyDir: {{}}}}\n",
            n.is_multiple_of(2)
        )
    };
    let texts: Vec<String> = (0..count).map(text).collect();
    let (start, before) = (Instant::now(), used());
    let mut subjects = Vec::new();
    for text in &texts {
        let declared = declared::read(&read(text, Limits::INPUT).expect("YAML"), "x").expect("a manifest");
        subjects.extend(
            declared.workloads.into_iter().map(|workload| Subject::of_workload(workload, Some("x.yaml"))),
        );
    }
    let set = load(policies, files).expect("loads");
    let findings = judge(&set, &subjects, &options(files, threads));
    let json = serde_json::to_vec(&findings).expect("JSON");
    let (took, wall) = (used() - before, start.elapsed());
    println!(
        "{count} manifests by {} rules: {took:?} of processor time, {wall:?} in all ({} failures, {} MiB of JSON)",
        set.rules.len(),
        findings.summary.fail,
        json.len() >> 20
    );
    took
}

pub(crate) fn snapshots(count: usize, files: &common::Files, threads: usize) -> Duration {
    let text = common::hardened().to_string();
    let (start, before) = (Instant::now(), used());
    let subjects: Vec<Subject> = (0..count)
        .map(|n| {
            let snapshot =
                Snapshot::from_json(serde_json::from_str(&text).expect("JSON")).expect("a snapshot");
            let filters = Subject::saved_filters(&snapshot);
            Subject::of_snapshot(&format!("docker:web-{n}"), snapshot, filters)
        })
        .collect();
    let set = load(&all_packs(), files).expect("loads");
    let findings = judge(&set, &subjects, &options(files, threads));
    let (took, wall) = (used() - before, start.elapsed());
    println!(
        "{count} snapshots by {} rules of all packs: {took:?} of processor time, {wall:?} in all ({} findings)",
        set.rules.len(),
        findings.findings.len()
    );
    took
}

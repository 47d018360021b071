//! Every rule of every pack, where it holds and where it does not: on what the kernel says, and on what was asked for.

mod common;

use std::collections::BTreeSet;

use common::{PACKS, default_filter, hardened, judged, live, manifest, outcome, pod, with};
use plim_policy::declared::command_line;
use plim_policy::judge::Subject;
use plim_policy::rules::load;
use plim_policy::{Outcome, packs};
use serde_json::{Value, json};

/// What is changed of the hardened snapshot, and which rules must see it.
fn live_changes() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let host = json!(true);
    let odd = |differs: &str| json!({"pid": 7, "container_pid": 7, "comm": "sh", "differs": [differs]});
    let mount = |root: &str, propagation: &str| {
        json!({"target": "/x", "root": root, "fs_type": "ext4", "source": "/dev/sda1", "options": ["rw"], "super_options": [],
            "propagation": propagation})
    };
    vec![
        (
            "/namespaces/pid/shared_with_host",
            host.clone(),
            vec![
                "DOCK-namespaces",
                "CIS-5.16",
                "PSS-hostNamespaces",
                "NSA-host-features",
                "CI-host-namespaces",
            ],
        ),
        (
            "/namespaces/net/shared_with_host",
            host.clone(),
            vec!["DOCK-namespaces", "CIS-5.10", "PSS-hostNamespaces", "CI-host-namespaces"],
        ),
        (
            "/namespaces/ipc/shared_with_host",
            host.clone(),
            vec!["DOCK-namespaces", "CIS-5.17", "PSS-hostNamespaces"],
        ),
        ("/namespaces/uts/shared_with_host", host.clone(), vec!["DOCK-namespaces", "CIS-5.21"]),
        ("/namespaces/mnt/shared_with_host", host.clone(), vec!["DOCK-namespaces", "HARD-no-escape"]),
        ("/namespaces/user/shared_with_host", host, vec!["CIS-5.31"]),
        (
            "/capabilities/bounding",
            json!(["CAP_NET_RAW"]),
            vec!["CIS-5.4", "HARD-no-capabilities", "PSS-capabilities-restricted", "CI-capabilities"],
        ),
        (
            "/capabilities/bounding",
            json!(["CAP_SYS_ADMIN"]),
            vec!["CIS-5.4", "DOCK-capabilities", "PSS-capabilities"],
        ),
        ("/capabilities/ambient", json!(["CAP_SYS_PTRACE"]), vec!["DOCK-capabilities"]),
        (
            "/no_new_privs",
            json!(false),
            vec!["CIS-5.26", "HARD-no-new-privs", "PSS-allowPrivilegeEscalation", "NSA-no-escalation"],
        ),
        (
            "/seccomp/mode",
            json!("disabled"),
            vec![
                "CIS-5.22",
                "DOCK-seccomp",
                "PSS-seccompProfile",
                "PSS-seccompProfile-restricted",
                "NSA-seccomp",
                "CI-seccomp",
                "HARD-kernel-surface",
                "HARD-installed",
            ],
        ),
        (
            "/lsm/apparmor",
            json!("unconfined"),
            vec!["CIS-5.2", "DOCK-apparmor", "PSS-appArmorProfile", "NSA-mandatory-access-control"],
        ),
        ("/lsm/apparmor", json!(null), vec!["CIS-5.2", "DOCK-apparmor"]),
        (
            "/lsm",
            json!({"active": ["selinux"], "apparmor": null, "selinux": "system_u:system_r:spc_t:s0", "smack": null}),
            vec!["CIS-5.3", "PSS-seLinuxOptions"],
        ),
        (
            "/mounts/0/options",
            json!(["relatime", "rw"]),
            vec!["CIS-5.13", "HARD-read-only-root", "NSA-immutable-root"],
        ),
        (
            "/mounts/-",
            mount("/etc", "private"),
            vec!["CIS-5.6", "PSS-hostPathVolumes", "HARD-no-escape", "CI-no-escape"],
        ),
        ("/mounts/-", mount("/var/lib/docker/x", "shared"), vec!["CIS-5.20"]),
        ("/masked_paths", json!([]), vec!["DOCK-masked", "PSS-procMount"]),
        ("/devices/cgroup_rules/-", json!("c 10:232 rwm"), vec!["DOCK-devices", "CIS-5.18"]),
        ("/devices/cgroup_rules", json!(["a *:* rwm"]), vec!["DOCK-devices", "CIS-5.18", "HARD-no-escape"]),
        (
            "/engine_sockets/-",
            json!({"path": "/run/docker.sock", "engine": "docker"}),
            vec!["DOCK-engine-socket", "CIS-5.32", "CI-engine-socket", "CI-no-escape", "HARD-no-escape"],
        ),
        (
            "/cgroup/memory/effective_max_bytes",
            json!("max"),
            vec!["CIS-5.11", "HARD-memory-limit", "CI-memory"],
        ),
        ("/cgroup/pids/effective_max", json!("max"), vec!["CIS-5.29", "HARD-pids-limit", "CI-processes"]),
        (
            "/cgroup/cpu",
            json!({"quota_us": "max", "period_us": 100_000, "effective_millicpus": "max", "shares": null, "weight": 100,
            "cpuset_cpus": "0", "effective_cpuset_cpus": "0", "cpuset_mems": "0"}),
            vec!["CIS-5.12"],
        ),
        ("/target/command", json!(["/usr/sbin/sshd", "-D"]), vec!["CIS-5.7"]),
        ("/odd_processes/-", odd("capabilities: none, here all"), vec!["CIS-5.23", "HARD-one-confinement"]),
        ("/odd_processes/-", odd("user: 1000, here 0"), vec!["CIS-5.24", "HARD-one-confinement"]),
    ]
}

/// Pointers and their new values.
type Changes = Vec<(&'static str, Value)>;

/// Rules that hold only together with another change first.
fn live_pairs() -> Vec<(Changes, Vec<&'static str>)> {
    vec![
        (
            vec![("/user/uid", json!([0, 0, 0, 0])), ("/namespaces/user/shared_with_host", json!(true))],
            vec!["HARD-not-root", "PSS-runAsNonRoot", "NSA-non-root"],
        ),
        (
            vec![
                ("/seccomp/mode", json!("disabled")),
                ("/capabilities/bounding", json!(["CAP_SYS_ADMIN", "CAP_SYS_MODULE"])),
                ("/devices/cgroup_rules", json!(["a *:* rwm"])),
            ],
            vec!["DOCK-privileged", "CIS-5.5", "PSS-privileged", "NSA-no-privileged"],
        ),
        (
            vec![
                ("/namespaces/user/shared_with_host", json!(true)),
                ("/capabilities/bounding", json!(["CAP_SYS_MODULE"])),
            ],
            vec!["HARD-no-escape", "CI-no-escape"],
        ),
    ]
}

#[test]
fn on_kernel_state() {
    let mut failed: BTreeSet<String> = BTreeSet::new();
    let base = judged(&PACKS, vec![], &[live(hardened(), default_filter())]);
    for finding in &base.findings {
        assert_eq!(finding.outcome, Outcome::Pass, "{} {:?}", finding.rule, finding.evidence);
    }
    let single = live_changes().into_iter().map(|(pointer, value, rules)| (vec![(pointer, value)], rules));
    for (changes, rules) in single.chain(live_pairs()) {
        let json =
            changes.iter().fold(hardened(), |json, (pointer, value)| with(json, pointer, value.clone()));
        let findings = judged(&PACKS, vec![], &[live(json, default_filter())]);
        for rule in rules {
            assert_eq!(outcome(&findings, rule), Some(Outcome::Fail), "{rule} after {changes:?}");
            failed.insert(rule.to_owned());
        }
    }
    // Every rule about kernel state was seen to fail.
    for rule in load(&PACKS.map(str::to_owned), &common::Files(vec![])).unwrap().rules {
        assert!(
            rule.live.is_empty() || failed.contains(&rule.id),
            "{} never failed on kernel state",
            rule.id
        );
    }
}

const DOCKER: &str = "docker run --name web -u 1000 --cap-drop=ALL --security-opt no-new-privileges --read-only --memory 64m --pids-limit 100 --cpus 1 --network front --health-cmd true --restart on-failure:3 -p 127.0.0.1:8080:80";
const IMAGE: &str =
    "registry.example/web:1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// What is said on the command line too, and which rules must see it.
const COMMAND_LINES: [(&str, &[&str]); 29] = [
    (
        "--privileged",
        &[
            "DOCK-privileged",
            "CIS-5.5",
            "NSA-no-privileged",
            "HARD-no-escape",
            "CI-no-escape",
            "HARD-kernel-surface",
        ],
    ),
    ("--cap-add NET_RAW", &["CIS-5.4", "HARD-no-capabilities", "CI-capabilities"]),
    ("--cap-add CAP_SYS_ADMIN", &["DOCK-capabilities", "HARD-no-escape", "CI-no-escape"]),
    (
        "--security-opt seccomp=unconfined",
        &["DOCK-seccomp", "CIS-5.22", "NSA-seccomp", "CI-seccomp", "HARD-kernel-surface"],
    ),
    ("--security-opt apparmor=unconfined", &["DOCK-apparmor", "CIS-5.2", "NSA-mandatory-access-control"]),
    ("--security-opt label=disable", &["CIS-5.3", "NSA-mandatory-access-control"]),
    ("--security-opt no-new-privileges=false", &["CIS-5.26", "HARD-no-new-privs", "NSA-no-escalation"]),
    ("--security-opt systempaths=unconfined", &["DOCK-masked"]),
    ("--pid host", &["DOCK-namespaces", "CIS-5.16", "NSA-host-features", "CI-host-namespaces"]),
    ("--network=host", &["DOCK-namespaces", "CIS-5.10"]),
    ("--ipc=host", &["DOCK-namespaces", "CIS-5.17"]),
    ("--uts=host", &["DOCK-namespaces", "CIS-5.21"]),
    ("--network bridge", &["CIS-5.30"]),
    (
        "-v /var/run/docker.sock:/var/run/docker.sock",
        &["DOCK-engine-socket", "CIS-5.32", "CI-engine-socket", "HARD-no-escape"],
    ),
    ("-v /etc:/host/etc:ro", &["CIS-5.6", "NSA-host-features"]),
    ("--mount type=bind,source=/data,target=/data,bind-propagation=rshared", &["CIS-5.20"]),
    ("--device /dev/kvm", &["DOCK-devices", "CIS-5.18"]),
    ("--user 0", &["HARD-not-root", "NSA-non-root"]),
    ("--user root:root", &["HARD-not-root"]),
    ("--read-only=false", &["CIS-5.13", "HARD-read-only-root", "NSA-immutable-root"]),
    ("--memory 0", &["CIS-5.11", "HARD-memory-limit", "CI-memory"]),
    ("--pids-limit -1", &["CIS-5.29", "HARD-pids-limit", "CI-processes"]),
    ("--cpus 0", &["CIS-5.12"]),
    ("-p 127.0.0.1:80:80", &["CIS-5.8"]),
    ("-p 80", &["CIS-5.9"]),
    ("-p 8080:80", &["CIS-5.14"]),
    ("--restart=always --ulimit nofile=1024", &["CIS-5.15", "CIS-5.19"]),
    ("--cgroup-parent /other", &["CIS-5.25"]),
    ("--no-healthcheck", &["CIS-5.27"]),
];

#[test]
fn on_command_lines() {
    let of = |extra: &str, image: &str| {
        let workload = command_line::read(&format!("{DOCKER} {extra} {image}")).unwrap();
        judged(&PACKS, vec![], &[Subject::of_workload(workload, None)])
    };
    let base = of("", IMAGE);
    for finding in &base.findings {
        assert_eq!(finding.outcome, Outcome::Pass, "{} {:?}", finding.rule, finding.evidence);
    }
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    for (extra, rules) in COMMAND_LINES {
        let findings = of(extra, IMAGE);
        for rule in rules {
            assert_eq!(outcome(&findings, rule), Some(Outcome::Fail), "{rule} with {extra}");
            failed.insert(rule);
        }
    }
    let findings = of("", "web:latest");
    for rule in ["CIS-5.28", "CI-image-pinned"] {
        assert_eq!(outcome(&findings, rule), Some(Outcome::Fail), "{rule}");
        failed.insert(rule);
    }
    for rule in load(&PACKS.map(str::to_owned), &common::Files(vec![])).unwrap().rules {
        let here = !rule.declared.is_empty() && !rule.id.starts_with("PSS-");
        assert!(!here || failed.contains(rule.id.as_str()), "{} never failed on a command line", rule.id);
    }
}

#[test]
fn on_manifests() {
    let container = "/spec/containers/0/securityContext";
    let cases: Vec<(&str, &str, String, Value)> = vec![
        ("pack:pss-baseline", "PSS-privileged", format!("{container}/privileged"), json!(true)),
        ("pack:pss-baseline", "PSS-hostNamespaces", "/spec/hostIPC".to_owned(), json!(true)),
        (
            "pack:pss-baseline",
            "PSS-capabilities",
            format!("{container}/capabilities/add"),
            json!(["SYS_TIME"]),
        ),
        (
            "pack:pss-baseline",
            "PSS-hostPathVolumes",
            "/spec/volumes".to_owned(),
            json!([{"name": "h", "hostPath": {"path": "/"}}]),
        ),
        (
            "pack:pss-baseline",
            "PSS-hostPorts",
            "/spec/containers/0/ports".to_owned(),
            json!([{"hostPort": 1}]),
        ),
        (
            "pack:pss-baseline",
            "PSS-hostProbesAndHostLifecycle",
            "/spec/containers/0/livenessProbe".to_owned(),
            json!({"httpGet": {"host": "h"}}),
        ),
        (
            "pack:pss-baseline",
            "PSS-appArmorProfile",
            format!("{container}/appArmorProfile"),
            json!({"type": "Unconfined"}),
        ),
        (
            "pack:pss-baseline",
            "PSS-seLinuxOptions",
            format!("{container}/seLinuxOptions"),
            json!({"type": "spc_t"}),
        ),
        ("pack:pss-baseline", "PSS-procMount", format!("{container}/procMount"), json!("Unmasked")),
        (
            "pack:pss-baseline",
            "PSS-seccompProfile",
            format!("{container}/seccompProfile"),
            json!({"type": "Unconfined"}),
        ),
        (
            "pack:pss-baseline",
            "PSS-sysctls",
            "/spec/securityContext/sysctls".to_owned(),
            json!([{"name": "kernel.msgmax"}]),
        ),
        (
            "pack:pss-baseline",
            "PSS-windowsHostProcess",
            format!("{container}/windowsOptions"),
            json!({"hostProcess": true}),
        ),
        (
            "pack:pss-restricted",
            "PSS-allowPrivilegeEscalation",
            format!("{container}/allowPrivilegeEscalation"),
            json!(true),
        ),
        (
            "pack:pss-restricted",
            "PSS-capabilities-restricted",
            format!("{container}/capabilities/add"),
            json!(["CHOWN"]),
        ),
        (
            "pack:pss-restricted",
            "PSS-restrictedVolumes",
            "/spec/volumes".to_owned(),
            json!([{"name": "n", "nfs": {}}]),
        ),
        (
            "pack:pss-restricted",
            "PSS-runAsNonRoot",
            "/spec/securityContext/runAsNonRoot".to_owned(),
            json!(false),
        ),
        ("pack:pss-restricted", "PSS-runAsUser", format!("{container}/runAsUser"), json!(0)),
        (
            "pack:pss-restricted",
            "PSS-seccompProfile-restricted",
            "/spec/securityContext/seccompProfile".to_owned(),
            json!(null),
        ),
        (
            "pack:pss-restricted",
            "PSS-procMount-restricted",
            format!("{container}/procMount"),
            json!("Unmasked"),
        ),
    ];
    for (pack, rule, pointer, value) in &cases {
        let good = judged(&[pack], vec![], &manifest(&pod(), "p.yaml"));
        assert_eq!(outcome(&good, rule), Some(Outcome::Pass), "{rule}");
        let bad = judged(&[pack], vec![], &manifest(&with(pod(), pointer, value.clone()), "p.yaml"));
        assert_eq!(outcome(&bad, rule), Some(Outcome::Fail), "{rule}");
        let finding = bad.findings.iter().find(|finding| finding.rule == *rule).unwrap();
        assert_eq!((finding.target.as_str(), finding.place.as_ref().unwrap().line), ("prod/Pod/p", 1));
    }
    let rules = load(&["pack:pss-restricted".to_owned()], &common::Files(vec![])).unwrap().rules;
    for rule in rules {
        assert!(cases.iter().any(|(_, id, _, _)| *id == rule.id), "{} has no manifest", rule.id);
    }
    assert!(packs::names().count() == 7);
}

//! A snapshot that passes every pack, to start every case from.
#![allow(dead_code, reason = "each test file uses some of it")]

use plim_model::{CapabilitySet, Observed, Snapshot};
use plim_policy::declared;
use plim_policy::judge::{Options, Subject, judge};
use plim_policy::lock::{self, Lock};
use plim_policy::rules::{Date, PolicySet, Source, load};
use plim_policy::text::{Limits, read};
use plim_policy::{Findings, Outcome};
use plim_seccomp::Arch;
use plim_seccomp::bpf::Program;
use plim_seccomp::compile::compile;
use plim_seccomp::dialect;
use plim_seccomp::presets;
use plim_seccomp::resolve::{Facts, KernelVersion, resolve};
use serde_json::{Value, json};

/// Files by name: policies and profiles of a test.
pub(crate) struct Files(pub(crate) Vec<(&'static str, String)>);

impl Source for Files {
    fn text(&self, name: &str, _: Option<&str>) -> Result<(String, String), String> {
        let file = self.0.iter().find(|(known, _)| *known == name);
        file.map(|(name, text)| (text.clone(), (*name).to_owned())).ok_or_else(|| "ENOENT".to_owned())
    }
}

pub(crate) const TODAY: Date = Date { year: 2026, month: 11, day: 23 };

pub(crate) fn facts(caps: CapabilitySet) -> Facts {
    Facts::new(Arch::X86_64, caps, KernelVersion { major: 6, minor: 18 })
}

/// The filter of a profile.
pub(crate) fn filter(json: &str, caps: CapabilitySet) -> Vec<Program> {
    let written = dialect::parse(json.as_bytes()).expect("profile");
    let resolved = resolve(&written, &facts(caps)).expect("resolves");
    resolved.map(|resolved| compile(&resolved).expect("compiles")).into_iter().collect()
}

pub(crate) fn default_filter() -> Vec<Program> {
    filter(presets::get("docker-default").expect("shipped"), CapabilitySet::EMPTY)
}

pub(crate) fn judged(
    policies: &[&str],
    files: Vec<(&'static str, String)>,
    subjects: &[Subject],
) -> Findings {
    let files = Files(files);
    let names: Vec<String> = policies.iter().map(|name| (*name).to_owned()).collect();
    let set = load(&names, &files).unwrap_or_else(|error| panic!("{error}"));
    by(&set, &files, subjects)
}

pub(crate) fn by(set: &PolicySet, files: &Files, subjects: &[Subject]) -> Findings {
    let options = Options {
        today: TODAY,
        facts: facts(CapabilitySet::DOCKER_DEFAULT),
        engine: None,
        libseccomp: None,
        source: files,
        threads: 1,
    };
    judge(set, subjects, &options)
}

pub(crate) fn outcome(findings: &Findings, rule: &str) -> Option<Outcome> {
    findings.findings.iter().find(|finding| finding.rule == rule).map(|finding| finding.outcome)
}

fn namespace(shared: bool, inode: u64) -> Value {
    json!({"inode": 4_026_532_000_u64 + inode, "shared_with_host": shared, "shared_with": []})
}

fn mount(target: &str, root: &str, fs_type: &str, source: &str, options: &[&str]) -> Value {
    json!({
        "target": target, "root": root, "fs_type": fs_type, "source": source, "options": options,
        "super_options": ["rw"], "propagation": "private",
    })
}

/// A container as hardened as the packs ask for.
pub(crate) fn hardened() -> Value {
    let id = "0123456789abcdef".repeat(4);
    json!({
        "format": "1.0",
        "target": {"engine": "docker", "id": id, "name": "web", "pid": 100, "image": "web:1", "command": ["web"]},
        "user": {"uid": [1000, 1000, 1000, 1000], "gid": [1000, 1000, 1000, 1000], "groups": [1000]},
        "namespaces": {
            "cgroup": namespace(false, 1), "ipc": namespace(false, 2), "mnt": namespace(false, 3), "net": namespace(false, 4),
            "pid": namespace(false, 5), "time": namespace(true, 6), "user": namespace(false, 7), "uts": namespace(false, 8),
        },
        "id_maps": {
            "uid": [{"inside": 0, "outside": 100_000, "count": 65536}],
            "gid": [{"inside": 0, "outside": 100_000, "count": 65536}],
        },
        "capabilities": {"effective": [], "permitted": [], "inheritable": [], "bounding": [], "ambient": []},
        "no_new_privs": true,
        "seccomp": {"mode": "filter", "filter_count": 1, "filters": [
            {"length": 266, "sha256": "ab".repeat(32), "log": false, "summary": []}]},
        "lsm": {"active": ["capability", "apparmor"], "apparmor": "docker-default (enforce)", "selinux": null, "smack": null},
        "cgroup": {
            "version": "v2",
            "paths": {"unified": format!("/system.slice/docker-{id}.scope")},
            "memory": {
                "max_bytes": 67_108_864, "effective_max_bytes": 67_108_864, "swap_max_bytes": 0, "effective_swap_max_bytes": 0,
                "low_bytes": 0, "high_bytes": "max", "current_bytes": 4096,
                "levels": [{"path": format!("/docker-{id}.scope"), "max": 67_108_864}],
            },
            "cpu": {
                "quota_us": 50_000, "period_us": 100_000, "effective_millicpus": 500, "shares": null, "weight": 50,
                "cpuset_cpus": "0-1", "effective_cpuset_cpus": "0-1", "cpuset_mems": "0", "levels": [],
            },
            "pids": {"max": 100, "effective_max": 100, "current": 3, "levels": []},
            "io": {"weight": 100, "devices": {}},
        },
        "mounts": [
            mount("/", "/", "overlay", "overlay", &["relatime", "ro"]),
            mount("/proc", "/", "proc", "proc", &["nodev", "noexec", "nosuid", "rw"]),
            mount("/proc/sys", "/sys", "proc", "proc", &["nodev", "noexec", "nosuid", "ro"]),
            mount("/dev", "/", "tmpfs", "tmpfs", &["nosuid", "rw"]),
            mount("/etc/hostname", &format!("/var/lib/docker/containers/{id}/hostname"), "ext4", "/dev/sda1", &["rw"]),
            mount("/data", "/var/lib/docker/volumes/data/_data", "ext4", "/dev/sda1", &["ro"]),
        ],
        "masked_paths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
        "read_only_paths": ["/proc/bus", "/proc/sys"],
        "devices": {
            "nodes": [{"path": "/dev/null", "kind": "c", "major": 1, "minor": 3}],
            "cgroup_rules": ["b *:* m", "c *:* m", "c 1:3 rwm", "c 136:* rwm", "c 5:0 rwm"],
        },
        "rlimits": {"RLIMIT_NOFILE": {"soft": 1024, "hard": 4096}, "RLIMIT_CORE": {"soft": 0, "hard": 0}},
        "sysctls": {"net.ipv4.ip_forward": "0", "kernel.hostname": "web"},
        "engine_sockets": [],
        "process_count": 3,
        "odd_processes": [],
        "unknown": [],
    })
}

/// A live subject of a snapshot.
pub(crate) fn live(json: Value, filters: Vec<Program>) -> Subject {
    let snapshot = Snapshot::from_json(json).expect("a snapshot");
    let off = snapshot.seccomp.mode == Observed::Present(plim_model::seccomp::SeccompMode::Disabled);
    let filters = if off { Vec::new() } else { filters };
    let mut subject = Subject::of_snapshot("docker:web", snapshot, Observed::Present(filters));
    let written =
        dialect::parse(presets::get("docker-default").expect("shipped").as_bytes()).expect("profile");
    subject.declared_seccomp = Observed::Present(Box::new(written));
    subject
}

/// The value with the value at a JSON pointer replaced; `-` at its end appends to a list, and a name that is not there is added.
pub(crate) fn with(mut json: Value, pointer: &str, value: Value) -> Value {
    if let Some(list) = pointer.strip_suffix("/-") {
        json.pointer_mut(list).and_then(Value::as_array_mut).expect(pointer).push(value);
        return json;
    }
    match json.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            let parent = json.pointer_mut(parent).and_then(Value::as_object_mut).expect(pointer);
            parent.insert(plim_model::json::unescape(key), value);
        }
    }
    json
}

/// The text of a lock file with this one target, read back.
pub(crate) fn locked(subject: &Subject) -> Lock {
    let mut lock = Lock::default();
    lock.put(subject);
    let text = lock.write();
    let read = Lock::read(&text, "plim.lock").unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(read.targets, lock.targets, "what is written is read");
    assert_eq!(read.write(), text, "the same bytes");
    read
}

/// Rules that fail when `now` is held to a lock of `then`.
pub(crate) fn grown(then: &Subject, now: &Subject) -> Vec<(String, Outcome, Vec<String>)> {
    let found = lock::check(&locked(then), "plim.lock", std::slice::from_ref(now));
    let bad = found.findings.into_iter().filter(|finding| finding.outcome != Outcome::Pass);
    bad.map(|finding| (finding.rule, finding.outcome, finding.evidence)).collect()
}

/// The packs that are judged together.
pub(crate) const PACKS: [&str; 6] = [
    "pack:cis-docker-5",
    "pack:ci-runner",
    "pack:hardened",
    "pack:nsa-cisa",
    "pack:pss-restricted",
    "pack:docker-default",
];

/// A pod that the restricted level lets in.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "prod"},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "image": "web:1", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    })
}

/// The subjects of a declaration in JSON.
pub(crate) fn manifest(json: &Value, file: &str) -> Vec<Subject> {
    let declared = declared::read(&read(&json.to_string(), Limits::INPUT).unwrap(), "x").unwrap();
    declared.workloads.into_iter().map(|workload| Subject::of_workload(workload, Some(file))).collect()
}

//! The lock file catches every growth of one privilege, and nothing else.

mod common;

use common::{default_filter, filter, grown, hardened, live, locked, with};
use plim_model::CapabilitySet;
use plim_policy::Outcome;
use plim_policy::lock::{Lock, check, key};
use plim_seccomp::bpf::Program;
use plim_seccomp::presets;
use serde_json::{Value, json};

/// A container with Docker's own confinement, from which both directions are open.
fn middle() -> Value {
    let caps = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut json = hardened();
    for set in ["effective", "permitted", "bounding"] {
        json = with(json, &format!("/capabilities/{set}"), caps.clone());
    }
    json = with(json, "/devices/cgroup_rules", json!(["c 1:3 rwm", "c 5:0 rwm"]));
    json = with(json, "/mounts/3/super_options", json!(["rw", "size=1024k"]));
    json = with(json, "/sysctls/kernel.msgmax", json!("8192"));
    json = with(json, "/sysctls/net.ipv4.ip_unprivileged_port_start", json!("1024"));
    json = with(json, "/sysctls/net.ipv4.ping_group_range", json!("1 0"));
    json
}

/// The default profile with a change of its rules.
fn profile(change: impl Fn(&mut Value)) -> Vec<Program> {
    let mut json: Value = serde_json::from_str(presets::get("docker-default").unwrap()).unwrap();
    change(&mut json);
    filter(&json.to_string(), CapabilitySet::EMPTY)
}

fn allowing(names: &[&str]) -> Vec<Program> {
    let rule = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
    profile(|json| json["syscalls"].as_array_mut().unwrap().push(rule.clone()))
}

fn refusing(name: &str) -> Vec<Program> {
    profile(|json| {
        for rule in json["syscalls"].as_array_mut().unwrap() {
            if let Some(names) = rule["names"].as_array_mut() {
                names.retain(|known| known != name);
            }
        }
        json["syscalls"]
            .as_array_mut()
            .unwrap()
            .retain(|rule| rule["names"].as_array().is_none_or(|names| !names.is_empty()));
    })
}

/// Pointer and new value: each gives more than `middle`.
fn growths() -> Vec<(&'static str, Value, &'static str)> {
    let mount = |target: &str, root: &str, options: &[&str]| {
        json!({"target": target, "root": root, "fs_type": "ext4", "source": "/dev/sda1", "options": options, "super_options": [],
            "propagation": "private"})
    };
    vec![
        ("/capabilities/bounding/-", json!("CAP_NET_ADMIN"), "K002"),
        ("/capabilities/effective/-", json!("CAP_NET_ADMIN"), "K002"),
        ("/capabilities/permitted/-", json!("CAP_SYS_PTRACE"), "K002"),
        ("/capabilities/inheritable/-", json!("CAP_CHOWN"), "K002"),
        ("/capabilities/ambient/-", json!("CAP_CHOWN"), "K002"),
        ("/no_new_privs", json!(false), "K002"),
        ("/namespaces/pid/shared_with_host", json!(true), "K001"),
        ("/namespaces/net/shared_with_host", json!(true), "K001"),
        ("/namespaces/ipc/shared_with_host", json!(true), "K001"),
        ("/namespaces/uts/shared_with_host", json!(true), "K001"),
        ("/namespaces/mnt/shared_with_host", json!(true), "K001"),
        ("/namespaces/cgroup/shared_with_host", json!(true), "K001"),
        ("/namespaces/user/shared_with_host", json!(true), "K001"),
        ("/namespaces/net/shared_with", json!(["docker:db"]), "K001"),
        ("/id_maps/uid", json!([{"inside": 0, "outside": 0, "count": 65536}]), "K001"),
        ("/seccomp/mode", json!("disabled"), "K003"),
        ("/user/uid", json!([0, 0, 0, 0]), "K006"),
        ("/user/gid", json!([0, 0, 0, 0]), "K006"),
        ("/user/groups/-", json!(999), "K006"),
        ("/lsm/apparmor", json!("unconfined"), "K007"),
        ("/lsm/apparmor", json!("docker-default (complain)"), "K007"),
        ("/mounts/-", mount("/host", "/", &["rw"]), "K004"),
        ("/mounts/5/options", json!(["rw"]), "K004"),
        ("/mounts/0/options", json!(["relatime", "rw"]), "K004"),
        ("/mounts/1/options", json!(["nodev", "noexec", "rw"]), "K004"),
        ("/mounts/5/propagation", json!("shared"), "K004"),
        ("/mounts/5/root", json!("/etc"), "K004"),
        ("/masked_paths", json!(["/proc/keys", "/proc/timer_list"]), "K004"),
        ("/read_only_paths", json!(["/proc/bus"]), "K004"),
        ("/engine_sockets/-", json!({"path": "/run/docker.sock", "engine": "docker"}), "K004"),
        ("/devices/nodes/-", json!({"path": "/dev/kvm", "kind": "c", "major": 10, "minor": 232}), "K005"),
        ("/devices/cgroup_rules/-", json!("c 10:232 rwm"), "K005"),
        ("/devices/cgroup_rules", json!(["a *:* rwm"]), "K005"),
        ("/cgroup/memory/max_bytes", json!(134_217_728), "K008"),
        ("/cgroup/memory/max_bytes", json!("max"), "K008"),
        ("/cgroup/memory/swap_max_bytes", json!("max"), "K008"),
        ("/cgroup/cpu/quota_us", json!(100_000), "K008"),
        ("/cgroup/cpu/cpuset_cpus", json!("0-3"), "K008"),
        ("/cgroup/cpu/weight", json!(100), "K008"),
        ("/cgroup/pids/max", json!("max"), "K008"),
        ("/rlimits/RLIMIT_NOFILE/hard", json!(1_048_576), "K009"),
        ("/rlimits/RLIMIT_CORE/soft", json!("max"), "K009"),
        ("/sysctls/net.ipv4.ip_forward", json!("1"), "K010"),
        ("/sysctls/kernel.msgmax", json!("65536"), "K010"),
        ("/sysctls/net.ipv4.ip_unprivileged_port_start", json!("0"), "K010"),
        ("/sysctls/net.ipv4.ping_group_range", json!("0 10"), "K010"),
        ("/cgroup/cpu/period_us", json!(50_000), "K008"),
        ("/mounts/3/super_options", json!(["rw", "size=2048k"]), "K004"),
        ("/mounts/3/super_options", json!(["rw"]), "K004"),
        ("/mounts/3/super_options", json!(["rw", "size=512k", "mode=777"]), "K004"),
    ]
}

/// Each gives less than `middle`, or the same.
fn others() -> Vec<(&'static str, Value)> {
    let tmpfs = json!({"target": "/run", "root": "/", "fs_type": "tmpfs", "source": "tmpfs", "options": ["rw"], "super_options": ["rw"],
        "propagation": "private"});
    vec![
        // Nothing, identity, and what changes by itself.
        ("/process_count", json!(90)),
        ("/target/pid", json!(4711)),
        ("/target/name", json!("web")),
        ("/target/image", json!("web:2")),
        ("/target/command", json!(["web", "-v"])),
        ("/namespaces/net/inode", json!(4_026_539_999_u64)),
        ("/namespaces/pid/inode", json!(4_026_539_998_u64)),
        ("/cgroup/paths/unified", json!("/elsewhere")),
        ("/cgroup/memory/current_bytes", json!(99_999_999)),
        ("/cgroup/pids/current", json!(77)),
        ("/cgroup/memory/levels", json!([])),
        ("/sysctls/kernel.hostname", json!("other")),
        ("/seccomp/filter_count", json!(1)),
        ("/seccomp/filters/0/sha256", json!("cd".repeat(32))),
        (
            "/odd_processes/-",
            json!({"pid": 7, "container_pid": 7, "comm": "sh", "differs": ["user: 1000, here 1001"]}),
        ),
        (
            "/mounts/4/root",
            json!(format!("/var/lib/docker/containers/{}/hostname", "fedcba9876543210".repeat(4))),
        ),
        ("/mounts/0/super_options", json!(["rw", "upperdir=/x", "workdir=/y", "lowerdir=/z"])),
        ("/lsm/active", json!(["apparmor", "capability"])),
        // Less.
        ("/capabilities/bounding", json!(["CAP_CHOWN", "CAP_KILL"])),
        ("/capabilities/effective", json!([])),
        ("/capabilities/permitted", json!(["CAP_CHOWN"])),
        ("/namespaces/time/shared_with_host", json!(false)),
        ("/id_maps/uid", json!([{"inside": 0, "outside": 100_000, "count": 1000}])),
        ("/user/groups", json!([])),
        ("/mounts/4/options", json!(["ro"])),
        ("/mounts/3/options", json!(["noexec", "nosuid", "rw"])),
        ("/mounts/-", tmpfs),
        ("/masked_paths/-", json!("/proc/acpi")),
        ("/read_only_paths/-", json!("/proc/irq")),
        ("/devices/nodes", json!([])),
        ("/devices/cgroup_rules", json!(["c 1:3 rwm"])),
        ("/devices/cgroup_rules", json!(["c 1:3 rw", "c 5:0 rwm"])),
        ("/cgroup/memory/max_bytes", json!(33_554_432)),
        ("/cgroup/memory/high_bytes", json!(16_777_216)),
        ("/cgroup/cpu/quota_us", json!(25_000)),
        ("/cgroup/cpu/period_us", json!(200_000)),
        (
            "/cgroup/cpu",
            json!({"quota_us": 25_000, "period_us": 50_000, "effective_millicpus": 500, "shares": null, "weight": 50,
                "cpuset_cpus": "0-1", "effective_cpuset_cpus": "0-1", "cpuset_mems": "0", "levels": []}),
        ),
        ("/mounts/3/super_options", json!(["rw", "size=512k"])),
        ("/sysctls/kernel.msgmax", json!("1024")),
        ("/sysctls/net.ipv4.ip_unprivileged_port_start", json!("2000")),
        ("/cgroup/cpu/cpuset_cpus", json!("0")),
        ("/cgroup/cpu/weight", json!(10)),
        ("/cgroup/pids/max", json!(10)),
        ("/rlimits/RLIMIT_NOFILE/hard", json!(2048)),
        ("/rlimits/RLIMIT_NOFILE/soft", json!(512)),
        ("/lsm/apparmor", json!("docker-default (enforce)")),
        ("/seccomp/mode", json!("filter")),
    ]
}

#[test]
fn every_growth_is_caught_and_named() {
    let base = live(middle(), default_filter());
    assert_eq!(grown(&base, &live(middle(), default_filter())), [], "nothing has changed");
    let growths = growths();
    assert!(growths.len() >= 40, "{}", growths.len());
    for (pointer, value, rule) in growths {
        let now = live(with(middle(), pointer, value.clone()), default_filter());
        let found = grown(&base, &now);
        let hit = found.iter().find(|(id, outcome, _)| id.ends_with(rule) && *outcome == Outcome::Fail);
        assert!(hit.is_some(), "{pointer} {value}: {found:?}");
        assert!(!hit.unwrap().2.is_empty(), "{pointer}: the growth is named");
    }
}

#[test]
fn shrinking_and_standing_still_pass() {
    let base = live(middle(), default_filter());
    let others = others();
    assert!(others.len() >= 40, "{}", others.len());
    for (pointer, value) in others {
        let now = live(with(middle(), pointer, value.clone()), default_filter());
        assert_eq!(grown(&base, &now), [], "{pointer} {value}");
    }
}

#[test]
fn new_ways_out_are_findings_of_their_own() {
    let base = live(middle(), default_filter());
    let text = locked(&base).write();
    assert!(text.contains("    findings: []\n"), "{text}");
    let socket = json!({"path": "/run/docker.sock", "engine": "docker"});
    let open = || live(with(middle(), "/engine_sockets/-", socket.clone()), default_filter());
    let found = grown(&base, &open());
    let finding = found.iter().find(|(rule, ..)| rule == "PLIM-K012").expect("a new way out");
    assert!(finding.2[0].starts_with("PLIM-E010 the control socket of docker"), "{found:?}");
    // What was locked with it passes, and what is gone is offered.
    assert_eq!(grown(&open(), &open()), []);
    assert_eq!(check(&locked(&open()), "plim.lock", std::slice::from_ref(&base)).shrunk, ["docker:web"]);
    // A lock file of before findings were locked says nothing of them.
    let older = Lock::read(&text.replace("    findings: []\n", ""), "plim.lock").unwrap();
    let rules: Vec<String> =
        check(&older, "plim.lock", &[open()]).findings.into_iter().map(|f| f.rule).collect();
    assert_eq!(rules, ["PLIM-K004"]);
}

#[test]
fn new_system_calls_have_a_witness() {
    let base = live(middle(), default_filter());
    for name in ["perf_event_open", "bpf", "mount", "io_uring_setup", "keyctl"] {
        let found = grown(&base, &live(middle(), allowing(&[name])));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let (rule, _, evidence) = &found[0];
        assert_eq!(rule, "PLIM-K003");
        assert!(evidence.iter().any(|line| line.starts_with(&format!("x86_64 {name}"))), "{evidence:?}");
    }
    // One value of one argument.
    let with_alg = profile(|json| {
        json["syscalls"]
            .as_array_mut()
            .unwrap()
            .push(json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_EQ"}]}));
    });
    let found = grown(&base, &live(middle(), with_alg));
    assert!(
        found[0].2.iter().any(|line| line.contains("AF_ALG") && line.contains("socket(0x26")),
        "{found:?}"
    );
    for name in ["socket", "chmod", "kill", "execve"] {
        assert_eq!(grown(&base, &live(middle(), refusing(name))), [], "{name}");
    }
    // A second filter can only take away.
    let stacked = [default_filter(), refusing("socket")].concat();
    assert_eq!(grown(&base, &live(middle(), stacked)), []);
    // Filters that cannot be read are no pass.
    let mut unread = live(middle(), vec![]);
    unread.filters = plim_model::Observed::Unknown("EPERM".to_owned());
    let found = grown(&base, &unread);
    assert_eq!((found[0].0.as_str(), found[0].1), ("PLIM-K003", Outcome::NotObservable));
}

#[test]
fn updates_keep_what_means_the_same() {
    let base = live(middle(), default_filter());
    let mut lock = locked(&base);
    let before = lock.write();
    // Other bytes of the same meaning: a filter that allows everything on top.
    let allow = filter(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#, CapabilitySet::EMPTY);
    assert!(!allow.is_empty());
    let stacked = [default_filter(), allow].concat();
    assert_eq!(grown(&base, &live(middle(), stacked)), []);
    lock.put(&live(with(middle(), "/process_count", json!(7)), default_filter()));
    assert_eq!(lock.write(), before);
    let shrunk = live(with(middle(), "/capabilities/bounding", json!([])), default_filter());
    let found = check(&lock, "plim.lock", std::slice::from_ref(&shrunk));
    assert_eq!(found.shrunk, [key(&shrunk)]);
    // A target that nobody locked, and one that nobody looked at.
    let mut stranger = live(middle(), default_filter());
    stranger.name = "docker:new".to_owned();
    let found = check(&lock, "plim.lock", &[stranger]);
    assert_eq!((found.findings[0].rule.as_str(), found.findings[0].outcome), ("PLIM-K000", Outcome::Fail));
    assert_eq!(found.unseen, ["docker:web"]);
}

#[test]
fn lock_files_of_others_are_read_with_care() {
    for (text, expected) in [
        ("", "0 documents"),
        ("format: \"2.0\"\n", "format \"2.0\" is not supported"),
        ("format: \"1.0\"\ntargets:\n  a: {}\n  a: {}\n", "line 4, column 3: key \"a\" stands twice"),
        ("format: \"1.0\"\ntargets: {a: &x {}, b: *x}\n", "aliases are not allowed here"),
    ] {
        let error = Lock::read(text, "plim.lock").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // An entry that is none is no pass.
    let lock =
        Lock::read("format: \"1.0\"\ntargets:\n  \"docker:web\": {seccomp: 5}\n", "plim.lock").unwrap();
    let found = check(&lock, "plim.lock", &[live(middle(), default_filter())]);
    assert!(found.findings.iter().any(|finding| finding.outcome != Outcome::Pass));
}

//! What judging makes of what is not known, ignores, scopes and system calls.

mod common;

use common::{PACKS, default_filter, filter, hardened, judged, live, manifest, outcome, pod, with};
use plim_model::CapabilitySet;
use plim_policy::Outcome;
use plim_policy::declared::command_line;
use plim_policy::judge::Subject;
use serde_json::{Value, json};

/// What is changed of the hardened snapshot, and which rules must see it.

#[test]
fn what_is_not_known_is_never_a_pass() {
    let unknown = |path: &str| {
        let json = with(hardened(), path, Value::Null);
        with(json, "/unknown/-", json!({"path": path, "why": "open /proc/7/x: EACCES"}))
    };
    for (path, rules) in [
        ("/capabilities", vec!["CIS-5.4", "DOCK-capabilities", "HARD-no-escape"]),
        ("/no_new_privs", vec!["CIS-5.26", "PSS-allowPrivilegeEscalation"]),
        ("/namespaces/pid", vec!["CIS-5.16", "DOCK-namespaces"]),
        ("/namespaces/pid/shared_with_host", vec!["CIS-5.16"]),
        ("/mounts", vec!["CIS-5.13", "CIS-5.6", "HARD-no-escape"]),
        ("/engine_sockets", vec!["CIS-5.32", "HARD-no-escape"]),
        ("/devices/cgroup_rules", vec!["CIS-5.18", "HARD-no-escape"]),
        ("/lsm/apparmor", vec!["CIS-5.2"]),
        ("/lsm/active", vec!["CIS-5.3"]),
        ("/cgroup/memory", vec!["CIS-5.11"]),
        ("/user", vec!["NSA-non-root"]),
        ("/masked_paths", vec!["DOCK-masked"]),
        ("/odd_processes", vec!["CIS-5.23", "HARD-one-confinement"]),
    ] {
        let mut json = unknown(path);
        if path == "/user" {
            // Root of its own user namespace would be fine whoever it is.
            json = with(json, "/namespaces/user/shared_with_host", json!(true));
        }
        let findings = judged(&PACKS, vec![], &[live(json, default_filter())]);
        for rule in rules {
            assert_eq!(outcome(&findings, rule), Some(Outcome::NotObservable), "{rule} without {path}");
        }
        assert!(findings.summary.not_observable > 0);
    }
    // Filters of a saved snapshot.
    let mut subject = live(hardened(), vec![]);
    subject.filters = Subject::saved_filters(subject.snapshot.as_ref().unwrap());
    let findings = judged(&["pack:docker-default"], vec![], &[subject]);
    assert_eq!(outcome(&findings, "DOCK-seccomp"), Some(Outcome::NotObservable));
    // Leaving a fact out must not make a statement about all facts true.
    let policy = "format: \"1.0\"\nname: x\nrules:\n  - {id: A, title: t, severity: low, remedy: r, assert: 'snapshot.namespaces.all(kind, snapshot.namespaces[kind].shared_with_host == false)'}\n  - {id: B, title: t, severity: low, remedy: r, assert: '!has(snapshot.user)'}\n  - {id: C, title: t, severity: low, remedy: r, assert: 'snapshot.no_new_privs == false || snapshot.user.uid[0] == 5'}\n  - {id: D, title: t, severity: low, remedy: r, assert: 'snapshot.no_new_privs == true || snapshot.user.uid[0] == 5'}\n";
    let json = with(unknown("/user"), "/namespaces/time/shared_with_host", json!(false));
    let json = with(json, "/namespaces/uts", Value::Null);
    let json = with(json, "/unknown/-", json!({"path": "/namespaces/uts", "why": "EACCES"}));
    let findings = judged(&["p"], vec![("p", policy.to_owned())], &[live(json, default_filter())]);
    let outcomes: Vec<Outcome> = findings.findings.iter().map(|finding| finding.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::NotObservable, Outcome::NotObservable, Outcome::NotObservable, Outcome::Pass]
    );
}

#[test]
fn ignores_end_and_are_missed() {
    let policy = "format: \"1.0\"\nname: x\nextends: [pack:docker-default]\nignores:\n  - {rule: DOCK-masked, target: 'docker:*', reason: known, expires: 2026-11-23}\n  - {rule: DOCK-devices, target: 'docker:web', reason: old, expires: 2026-11-22}\n  - {rule: DOCK-namespaces, target: other, reason: gone}\n";
    let json =
        with(with(hardened(), "/masked_paths", json!([])), "/devices/cgroup_rules/-", json!("c 10:232 rwm"));
    let findings = judged(&["p"], vec![("p", policy.to_owned())], &[live(json, default_filter())]);
    assert_eq!(outcome(&findings, "DOCK-masked"), Some(Outcome::Ignored));
    assert_eq!(outcome(&findings, "DOCK-devices"), Some(Outcome::Fail));
    let of = |rule: &str| findings.findings.iter().find(|finding| finding.rule == rule).unwrap();
    assert!(of("PLIM-P001").message.contains("ended on 2026-11-22"));
    assert_eq!(of("PLIM-P001").place.as_ref().unwrap().line, 6);
    assert!(of("PLIM-P002").message.contains("covers nothing"));
    assert_eq!(findings.summary.ignored, 1);
    assert!(
        findings.fails_at(plim_policy::Severity::High) && !findings.fails_at(plim_policy::Severity::Critical)
    );
}

#[test]
fn scopes_choose_targets() {
    let policy = "format: \"1.0\"\nname: x\nrules:\n  - {id: A, title: t, severity: low, remedy: r, no_escape_paths: true, on: {kind: kubernetes, namespace: [prod*]}}\n  - {id: B, title: t, severity: low, remedy: r, no_escape_paths: true, on: {image: 'registry/*'}}\n  - {id: C, title: t, severity: low, remedy: r, no_escape_paths: true, on: {engine: docker, name: web}}\n  - {id: D, title: t, severity: low, remedy: r, no_escape_paths: true, on: {label: {tier: front}}}\n";
    let mut subjects = manifest(&with(pod(), "/metadata/labels", json!({"tier": "front"})), "p.yaml");
    subjects.push(live(hardened(), default_filter()));
    let findings = judged(&["p"], vec![("p", policy.to_owned())], &subjects);
    let found: Vec<(&str, &str)> =
        findings.findings.iter().map(|f| (f.target.as_str(), f.rule.as_str())).collect();
    assert_eq!(found, [("prod/Pod/p", "A"), ("prod/Pod/p", "D"), ("docker:web", "C")]);
}

#[test]
fn windows_and_images_say_what_they_do_not_decide() {
    let windows = with(pod(), "/spec/os", json!({"name": "windows"}));
    let findings = judged(&["pack:hardened"], vec![], &manifest(&windows, "p.yaml"));
    assert!(findings.findings.is_empty());
    assert!(
        findings.not_applicable.iter().any(|entry| entry.why.contains("windows") && entry.rules.len() > 10)
    );
    let image = json!({"architecture": "amd64", "os": "linux", "rootfs": {}, "config": {"User": "app"}});
    let findings = judged(&["pack:nsa-cisa"], vec![], &manifest(&image, "i.json"));
    assert!(findings.findings.iter().all(|finding| finding.outcome == Outcome::NotObservable));
    let image = json!({"architecture": "amd64", "rootfs": {}, "config": {}});
    let findings = judged(&["pack:nsa-cisa"], vec![], &manifest(&image, "i.json"));
    assert_eq!(outcome(&findings, "NSA-non-root"), Some(Outcome::Fail));
}

#[test]
fn system_calls_by_meaning() {
    let profile = |rules: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [{rules}]}}"#
        )
    };
    let rule = |check: &str| {
        format!(
            "format: \"1.0\"\nname: x\nrules:\n  - {{id: A, title: t, severity: low, remedy: r, {check}}}\n"
        )
    };
    let inet = r#"{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}"#;
    let no_userns = r#"{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 268435456, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}"#;
    let any = r#"{"names": ["socket", "read"], "action": "SCMP_ACT_ALLOW"}"#;
    let call = r#"{"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"}"#;
    for (rules, check, expected) in [
        (inet, "syscall: {must_deny: [\"socket(family=AF_ALG)\"]}", Outcome::Pass),
        (inet, "syscall: {must_deny: [socket]}", Outcome::Fail),
        (inet, "syscall: {must_deny: [\"socket(family=AF_INET)\"]}", Outcome::Fail),
        (inet, "syscall: {must_allow: [\"socket(family=AF_INET)\"]}", Outcome::Pass),
        (inet, "syscall: {must_allow: [socket]}", Outcome::Fail),
        (any, "syscall: {must_allow: [socket, read], must_deny: [write]}", Outcome::Pass),
        (any, "syscall: {must_deny: [\"socket(family=AF_PACKET)\"]}", Outcome::Fail),
        // Through the other door of 32-bit programs.
        (call, "syscall: {must_deny: [\"socket(family=AF_ALG)\"]}", Outcome::Fail),
        (no_userns, "syscall: {must_deny: [\"clone(flags&CLONE_NEWUSER)\"]}", Outcome::Pass),
        (no_userns, "syscall: {must_allow: [\"clone(flags=0)\"]}", Outcome::Pass),
        (no_userns, "syscall: {must_deny: [\"clone(arg0&0x10000)\"]}", Outcome::Fail),
        (inet, "seccomp: {subset_of: \"all.json\"}", Outcome::Pass),
        (any, "seccomp: {subset_of: \"inet.json\"}", Outcome::Fail),
        (inet, "seccomp: {equals: \"inet.json\"}", Outcome::Pass),
        (inet, "seccomp: {equals: \"all.json\"}", Outcome::Fail),
        (inet, "seccomp: {subset_of: \"missing.json\"}", Outcome::NotObservable),
    ] {
        let files = vec![("p", rule(check)), ("inet.json", profile(inet)), ("all.json", profile(any))];
        let subject = live(hardened(), filter(&profile(rules), CapabilitySet::EMPTY));
        let findings = judged(&["p"], files, &[subject]);
        assert_eq!(findings.findings[0].outcome, expected, "{check}: {:?}", findings.findings[0].evidence);
    }
}

#[test]
fn evidence_names_the_elements() {
    let sensitive = json!({"target": "/x", "root": "/etc", "fs_type": "ext4", "source": "/dev/sda1", "options": ["rw"],
        "super_options": [], "propagation": "private"});
    let json = with(
        with(hardened(), "/mounts/-", sensitive),
        "/odd_processes/-",
        json!({"pid": 7, "container_pid": 7, "comm": "sh", "differs": ["user: 1000, here 0"]}),
    );
    let findings = judged(&["pack:cis-docker-5"], vec![], &[live(json, default_filter())]);
    let evidence = |rule: &str| {
        findings.findings.iter().find(|finding| finding.rule == rule).expect(rule).evidence.clone()
    };
    let mounts = evidence("CIS-5.6");
    assert_eq!(mounts.len(), 1, "{mounts:?}");
    assert!(
        mounts[0].starts_with("snapshot.mounts: {") && mounts[0].contains("\"root\":\"/etc\""),
        "{mounts:?}"
    );
    assert!(evidence("CIS-5.24")[0].contains("\"comm\":\"sh\""), "{:?}", evidence("CIS-5.24"));
    let line = "docker run -p 80:80 -p 127.0.0.1:8080:80 -v /etc:/x web:1";
    let subject = Subject::of_workload(command_line::read(line).unwrap(), None);
    let findings = judged(&["pack:cis-docker-5"], vec![], &[subject]);
    let ports = findings.findings.iter().find(|finding| finding.rule == "CIS-5.8").expect("judged");
    assert_eq!(
        ports.evidence,
        ["container.ports: {\"container_port\":80,\"host_ip\":\"\",\"host_port\":80}"]
    );
}

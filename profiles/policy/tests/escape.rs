//! `no_escape_paths` on declarations: each way out by the option that opens it, and what only looks like one.

mod common;

use common::{judged, outcome};
use plim_policy::Outcome;
use plim_policy::declared::{self, command_line};
use plim_policy::judge::Subject;
use plim_policy::text::{Limits, read};

/// What came of it, and the ids of the ways out.
fn found(subject: Subject) -> (Outcome, Vec<String>) {
    let policy = "format: \"1.0\"\nname: p\nrules: [{id: E, title: t, severity: low, remedy: r, no_escape_paths: true}]\n";
    let findings = judged(&["p.yaml"], vec![("p.yaml", policy.to_owned())], &[subject]);
    let evidence = &findings.findings[0].evidence;
    let ids = evidence.iter().filter(|line| line.starts_with("PLIM-E")).map(|line| line[5..9].to_owned());
    (outcome(&findings, "E").unwrap(), ids.collect())
}

fn of_line(options: &str) -> (Outcome, Vec<String>) {
    // Docker has no user namespaces of its own to choose.
    let engine = if options.contains("--userns") { "podman" } else { "docker" };
    let line = format!("{engine} run {options} web:1");
    found(Subject::of_workload(command_line::read(&line).unwrap(), None))
}

#[test]
fn options_that_open_a_way_out() {
    for (options, id) in [
        ("--privileged", "E016"),
        ("--cap-add SYS_ADMIN", "E001"),
        ("--cap-add ALL", "E001"),
        ("--pid host --cap-add SYS_PTRACE", "E002"),
        ("--network host --cap-add NET_ADMIN", "E003"),
        ("--device /dev/sda", "E011"),
        ("--device /dev/mem:/dev/mem:r", "E011"),
        ("--device-cgroup-rule 'b *:* rwm'", "E011"),
        ("--device-cgroup-rule a", "E011"),
        ("-v /:/host", "E012"),
        ("-v /etc/cron.d:/x", "E012"),
        ("-v /root/.ssh:/x", "E012"),
        ("-v /usr/local/bin:/x", "E012"),
        ("-v /var/run/docker.sock:/s:ro", "E012"),
        ("-u 0 --security-opt systempaths=unconfined", "E014"),
    ] {
        let (outcome, ids) = of_line(options);
        assert_eq!(outcome, Outcome::Fail, "{options}");
        assert!(!ids.is_empty() && ids.iter().all(|known| known == id), "{options}: {ids:?}");
    }
}

#[test]
fn options_that_open_none() {
    for options in [
        "",
        "--pid host",
        "--cap-add SYS_PTRACE",
        "--cap-add NET_ADMIN",
        "--userns auto --cap-add SYS_ADMIN",
        "--device /dev/fuse",
        "--device-cgroup-rule 'b *:* m'",
        "--device-cgroup-rule 'c 10:200 rwm'",
        "-v /:/host:ro",
        "-v /etc/localtime:/etc/localtime",
        "-v /library:/x",
        "-v /srv:/srv",
        "-u 1000 --security-opt systempaths=unconfined",
    ] {
        assert_eq!(of_line(options), (Outcome::Pass, vec![]), "{options}");
    }
    // Who it runs as is the image's to say.
    assert_eq!(of_line("--security-opt systempaths=unconfined").0, Outcome::NotObservable);
}

#[test]
fn what_a_runtime_is_told() {
    let of = |linux: &str| {
        let text = format!(
            r#"{{"ociVersion": "1.0.2", "process": {{"user": {{"uid": 0, "gid": 0}}, "capabilities": {{"bounding": []}}}}, "linux": {linux}}}"#
        );
        let documents = read(&text, Limits::INPUT).unwrap();
        found(Subject::of_workload(declared::read(&documents, "c").unwrap().workloads.remove(0), None))
    };
    let own = r#""namespaces": [{"type": "mount"}, {"type": "user"}]"#;
    let masks = r#""readonlyPaths": ["/proc/sys"]"#;
    let way = |id: &str| (Outcome::Fail, vec![id.to_owned()]);
    assert_eq!(of(&format!("{{{own}, {masks}}}")), (Outcome::Pass, vec![]));
    assert_eq!(of(&format!("{{{own}}}")), (Outcome::Pass, vec![]), "its root is nobody on the host");
    assert_eq!(of(r#"{"namespaces": [{"type": "mount"}]}"#), way("E014"));
    assert_eq!(of(&format!("{{{masks}}}")), way("E015"));
    let rule = r#""resources": {"devices": [{"allow": true, "type": "b", "access": "rwm"}]}"#;
    assert_eq!(of(&format!("{{{own}, {masks}, {rule}}}")), way("E011"));
}

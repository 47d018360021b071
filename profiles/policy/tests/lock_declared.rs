//! Declarations held to a lock file: every option that gives more is a growth, whether or not the kernel would show it.

mod common;

use common::grown;
use plim_policy::Outcome;
use plim_policy::declared::{self, command_line};
use plim_policy::judge::Subject;
use plim_policy::text::{Limits, read};

#[test]
fn declarations_are_locked_too() {
    let of = |extra: &str| {
        let line = format!(
            "docker run --name web -u 1000 --cap-drop=ALL --cap-add=CHOWN --security-opt no-new-privileges --read-only -m 64m --cpus 1 --pids-limit 9 -v /srv/data:/data:ro -p 127.0.0.1:8080:80 {extra} web:1"
        );
        Subject::of_workload(command_line::read(&line).unwrap(), None)
    };
    let base = of("");
    for (extra, rule) in [
        ("--privileged", "K002"),
        ("--cap-add NET_ADMIN", "K002"),
        ("--security-opt no-new-privileges=false", "K002"),
        ("--security-opt seccomp=unconfined", "K003"),
        ("--security-opt seccomp=own.json", "K003"),
        ("--security-opt apparmor=unconfined", "K007"),
        ("--security-opt systempaths=unconfined", "K004"),
        ("--read-only=false", "K004"),
        ("-u 0", "K006"),
        ("--pid host", "K001"),
        ("--network host", "K001"),
        ("--ipc container:db", "K001"),
        ("-p 9090:90", "K001"),
        ("-v /etc:/x", "K004"),
        ("--device /dev/kvm", "K005"),
        ("--device-cgroup-rule 'c 10:200 rwm'", "K005"),
        ("--gpus all", "K005"),
        ("--group-add docker", "K006"),
        ("--sysctl net.ipv4.ip_forward=1", "K010"),
        ("-m 128m", "K008"),
        ("-m 0", "K008"),
        ("--cpus 2", "K008"),
        ("--pids-limit -1", "K008"),
    ] {
        let found = grown(&base, &of(extra));
        assert!(
            found.iter().any(|(id, outcome, _)| id.ends_with(rule) && *outcome == Outcome::Fail),
            "{extra}: {found:?}"
        );
    }
    for extra in [
        "",
        "--cap-drop CHOWN",
        "-m 32m",
        "--pids-limit 5",
        "--tmpfs /tmp",
        "-l a=b",
        "--hostname x",
        "-e A=1",
    ] {
        let found = grown(&base, &of(extra));
        let only_caps = extra == "--cap-drop CHOWN";
        assert!(found.is_empty() || only_caps, "{extra}: {found:?}");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Back {
    Less,
    /// Another thing is gained for it, or it is not known to be less.
    Other,
}

fn assert_grows(then: &Subject, now: &Subject, rule: &str, back: Back, what: &str) {
    let found = grown(then, now);
    let hit =
        |(id, outcome, _): &&(String, Outcome, Vec<String>)| id.ends_with(rule) && *outcome == Outcome::Fail;
    assert!(found.iter().any(|entry| hit(&entry)), "{what}: {found:?}");
    let other_way = grown(now, then);
    assert_eq!(other_way.is_empty(), back == Back::Less, "{what}, the other way: {other_way:?}");
    assert_eq!(grown(now, now), [], "{what}, standing still");
}

#[test]
fn options_of_a_command_line_grow() {
    let of = |options: &str| {
        let line = format!("docker run --name web {options} web:1");
        Subject::of_workload(command_line::read(&line).unwrap(), None)
    };
    use Back::{Less, Other};
    for (then, now, rule, back) in [
        ("--device /dev/x:/dev/x:r", "--device /dev/x", "K005", Less),
        ("--device /dev/x:r", "--device /dev/x:rw", "K005", Less),
        ("--device-cgroup-rule 'c 10:200 r'", "--device-cgroup-rule 'c 10:200 rwm'", "K005", Less),
        ("--network none", "", "K001", Less),
        ("--network a", "--network b", "K001", Other),
        ("-p 127.0.0.1:80:80", "-p 80:80", "K001", Less),
        ("--runtime runsc", "", "K000", Other),
        ("--ulimit nofile=512:1024", "--ulimit nofile=512:2048", "K009", Less),
        ("--ulimit nofile=512", "--ulimit nofile=513", "K009", Less),
        ("--ulimit core=0", "", "K009", Less),
        ("--ulimit nofile=512", "--ulimit nofile=512 --ulimit memlock=-1", "K009", Other),
        ("--cgroup-parent a", "", "K008", Other),
        ("--cpu-shares 512", "", "K008", Less),
        ("-u 1000:1000", "-u 1000", "K006", Less),
        ("-u 1000:1000", "-u 1000:0", "K006", Less),
        ("-u 1000", "-u 1001", "K006", Other),
        ("-u 1000:1000", "-u 1000:27", "K006", Other),
        ("-v a:/x", "-v b:/x", "K004", Other),
        ("--security-opt apparmor=own", "", "K007", Other),
        ("--security-opt label=type:own_t", "--security-opt label=disable", "K007", Less),
        ("--sysctl user.max_user_namespaces=0", "", "K010", Other),
        ("--sysctl net.ipv4.ip_forward=0", "--sysctl net.ipv4.ip_forward=1", "K010", Less),
        ("", "--sysctl net.ipv4.ip_forward=1", "K010", Less),
        ("--ipc private", "--ipc shareable", "K001", Less),
        ("-u 0", "-u 0 --security-opt systempaths=unconfined", "K012", Less),
    ] {
        assert_grows(&of(then), &of(now), rule, back, &format!("{then:?} to {now:?}"));
    }
}

#[test]
fn manifests_and_compose_files_grow() {
    let of = |text: &str| {
        let documents = read(text, Limits::INPUT).unwrap();
        let workload = declared::read(&documents, "x").unwrap().workloads.remove(0);
        Subject::of_workload(workload, Some("x.yaml"))
    };
    let pod = |spec: &str, container: &str| {
        of(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  securityContext: {{seccompProfile: {{type: RuntimeDefault}}}}\n  volumes: [{{name: v, hostPath: {{path: /srv}}}}]\n  {spec}\n  containers:\n  - {{name: c, {container}}}\n"
        ))
    };
    let service = |extra: &str| of(&format!("services:\n  web:\n    image: web:1\n{extra}"));
    let oci = |rule: &str| {
        of(&format!(
            r#"{{"ociVersion": "1.0.2", "linux": {{"resources": {{"devices": [{{"allow": false, "access": "rwm"}}{rule}]}}}}}}"#
        ))
    };
    use Back::{Less, Other};
    for (what, then, now, rule, back) in [
        (
            "subPath",
            pod("", "volumeMounts: [{name: v, mountPath: /x, subPath: logs}]"),
            pod("", "volumeMounts: [{name: v, mountPath: /x}]"),
            "K004",
            Other,
        ),
        ("device plug-in", pod("", ""), pod("", "resources: {limits: {nvidia.com/gpu: 1}}"), "K005", Less),
        ("runtime class", pod("runtimeClassName: gvisor", ""), pod("", ""), "K000", Other),
        ("processes of the pod", pod("", ""), pod("shareProcessNamespace: true", ""), "K001", Less),
        (
            "processes of the node",
            pod("shareProcessNamespace: true", ""),
            pod("hostPID: true", ""),
            "K001",
            Less,
        ),
        (
            "ulimit in words",
            service("    ulimits: {nofile: {soft: 10, hard: 20}}\n"),
            service("    ulimits: {nofile: {soft: 10, hard: 21}}\n"),
            "K009",
            Less,
        ),
        (
            "device in words",
            service("    devices: [{source: /dev/x, permissions: r}]\n"),
            service("    devices: [/dev/x]\n"),
            "K005",
            Less,
        ),
        ("runtime", service("    runtime: runsc\n"), service(""), "K000", Other),
        ("network", service("    network_mode: none\n"), service(""), "K001", Less),
        (
            "device rule",
            oci(""),
            oci(r#", {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rw"}"#),
            "K005",
            Less,
        ),
    ] {
        assert_grows(&then, &now, rule, back, what);
    }
}

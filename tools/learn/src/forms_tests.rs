use super::*;
use crate::proposal::{Condition, Entry, Reasoned, Source};

fn entry(name: &str, when: Option<&str>, verdict: Verdict) -> Entry {
    let masked = Condition { index: 0, value: 0xff, value_two: 2, op: "SCMP_CMP_MASKED_EQ".to_owned() };
    Entry {
        syscall: name.to_owned(),
        verdict,
        args: when.map(|_| vec![masked]).unwrap_or_default(),
        when: when.map(str::to_owned),
        source: if verdict == Verdict::Allow { Source::Used } else { Source::Fallback },
        evidence: "once".to_owned(),
    }
}

fn named(name: &str) -> Reasoned {
    Reasoned { name: name.to_owned(), evidence: "seen".to_owned() }
}

fn proposal() -> Proposal {
    Proposal {
        format: "1.0".to_owned(),
        workload: None,
        architectures: vec!["SCMP_ARCH_X86_64".to_owned()],
        calls: vec![
            entry("read", None, Verdict::Allow),
            entry("socket", Some("family == AF_INET and type == SOCK_STREAM"), Verdict::Allow),
            entry("clone3", None, Verdict::Enosys),
        ],
        usual: Vec::new(),
        capabilities: vec![named("CAP_NET_RAW")],
        dropped: Vec::new(),
        no_new_privileges: true,
        privileged_programs: Vec::new(),
        read_only: true,
        tmpfs: vec![named("/run"), named("/var/a b")],
        written: Vec::new(),
        devices: vec![named("/dev/fuse:rw")],
        ports: Vec::new(),
        refused: Vec::new(),
        limits: Vec::new(),
    }
}

#[test]
fn docker_options() {
    assert_eq!(
        command_line(&proposal(), "p.json"),
        "docker run \\\n  --security-opt seccomp=p.json \\\n  --security-opt no-new-privileges \\\n  --cap-drop ALL \\\n  \
         --cap-add NET_RAW \\\n  --device /dev/fuse:/dev/fuse:rw \\\n  --read-only \\\n  --tmpfs /run \\\n  \
         --tmpfs '/var/a b' \\\n  IMAGE\n"
    );
    let mut open = proposal();
    (open.read_only, open.no_new_privileges) = (false, false);
    let words = flags(&open, "p.json").join(" ");
    assert!(
        !words.contains("--read-only") && !words.contains("--tmpfs") && !words.contains("no-new"),
        "{words}"
    );
}

#[test]
fn kubernetes_security_context() {
    let text = kubernetes(&proposal(), "profiles/web.json");
    for line in [
        "      allowPrivilegeEscalation: false",
        "      readOnlyRootFilesystem: true",
        "        localhostProfile: \"profiles/web.json\"",
        "        drop: [\"ALL\"]",
        "        add: [\"NET_RAW\"]",
        "      mountPath: \"/var/a b\"",
        "    emptyDir:",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
}

#[test]
fn systemd_drop_in() {
    let text = systemd(&proposal());
    for line in [
        "SystemCallFilter=read socket",
        "SystemCallErrorNumber=EPERM",
        "SystemCallFilter=~clone3:ENOSYS",
        "SystemCallArchitectures=native",
        "CapabilityBoundingSet=CAP_NET_RAW",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ReadWritePaths=-/run",
        "RestrictAddressFamilies=AF_INET",
        "DeviceAllow=/dev/fuse rw",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
}

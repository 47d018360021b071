use plim_model::{Capability, CapabilitySet};
use plim_seccomp::diagram::Store;
use plim_seccomp::resolve::{Call, Facts, KernelVersion, resolve};
use plim_seccomp::{Action, Arch, Errno, dialect, exact, presets, telling};

use super::*;
use crate::recording::{ArgumentUse, CallUse, DeviceUse, FileUse, SocketUse};

fn call(name: &str, args: &[(&str, u64, &str)]) -> CallUse {
    let told = telling::of(name);
    let args = args.iter().zip(told).map(|((name, value, word), told)| ArgumentUse {
        index: told.index,
        name: (*name).to_owned(),
        value: format!("{value:#x}"),
        word: (*word).to_owned(),
    });
    CallUse {
        arch: "x86_64".to_owned(),
        syscall: Some(name.to_owned()),
        number: 0,
        runtime: false,
        args: args.collect(),
        count: 1,
    }
}

fn recording(calls: Vec<CallUse>) -> Recording {
    Recording {
        format: "1.0".to_owned(),
        granted: vec!["CAP_CHOWN".to_owned(), "CAP_NET_RAW".to_owned()],
        sees_capabilities: true,
        calls,
        ..Recording::default()
    }
}

fn bare() -> Choices {
    Choices { runtimes: vec!["none".to_owned()], ..Choices::default() }
}

const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 1 };

/// What the proposed profile decides about a call of x86-64.
fn decide(proposal: &Proposal, name: &str, args: &[u64]) -> Action {
    let written = dialect::parse(proposal.profile(true).to_string().as_bytes()).expect("a profile");
    let resolved = resolve(&written, &Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KERNEL));
    let resolved = resolved.expect("resolves").expect("confines");
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    let nr = plim_seccomp::syscalls::number(Arch::X86_64, name).expect("a known call");
    resolved.decide(&Call { nr: nr.0, arch: Arch::X86_64.audit_token(), ip: 0, args: all })
}

const EPERM: Action = Action::Errno(Errno::EPERM);
const ENOSYS: Action = Action::Errno(Errno::ENOSYS);
const HIGH: u64 = 1 << 40;

/// Calls and expected actions: boundaries, other families, bits beyond those that the kernel reads.
#[test]
fn conditions_allow_what_was_seen_and_nothing_else() {
    let used = [
        call("read", &[]),
        call("socket", &[("family", 2, "AF_INET"), ("type", 1, "SOCK_STREAM")]),
        call("prctl", &[("option", 15, "PR_SET_NAME")]),
        call("ioctl", &[("cmd", 0x5401, "TCGETS")]),
        call("clone", &[("flags", 0, "0")]),
        call("mprotect", &[("prot", 0, "PROT_NONE")]),
        call("unshare", &[("flags", 0x2000_0000, "CLONE_NEWPID")]),
        call("mknodat", &[("mode", 0o010_000, "S_IFIFO")]),
        call("setsockopt", &[("level", 1, "SOL_SOCKET"), ("optname", 2, "2")]),
    ];
    let proposal = propose(&recording(used.to_vec()), &bare());
    for (name, args, wanted) in [
        ("read", &[9][..], Action::Allow),
        ("write", &[1], EPERM),
        ("socket", &[2, 1, 0], Action::Allow),
        ("socket", &[2, 0o2_004_001, 6], Action::Allow), // SOCK_NONBLOCK and SOCK_CLOEXEC are no type
        ("socket", &[HIGH | 2, 1, 0], Action::Allow),    // the kernel reads 32 bits
        ("socket", &[2, 3, 0], EPERM),
        ("socket", &[1, 1, 0], EPERM),
        ("socket", &[3, 1, 0], EPERM),
        ("socket", &[17, 1, 0], EPERM),
        ("prctl", &[15], Action::Allow),
        ("prctl", &[14], EPERM),
        ("prctl", &[16], EPERM),
        ("ioctl", &[0, 0x5401], Action::Allow),
        ("ioctl", &[7, HIGH | 0x5401], Action::Allow),
        ("ioctl", &[0, 0x5412], EPERM), // TIOCSTI
        ("clone", &[0x11], Action::Allow),
        ("clone", &[0x3d_0f00], Action::Allow),
        ("clone", &[0x1000_0011], EPERM), // CLONE_NEWUSER
        ("clone", &[0x0002_0000], EPERM), // CLONE_NEWNS
        ("mprotect", &[0, 0, 3], Action::Allow),
        ("mprotect", &[0, 0, 7], EPERM),
        ("unshare", &[0x2000_0000], Action::Allow),
        ("unshare", &[0x3000_0000], EPERM),
        ("mknodat", &[0, 0, 0o010_644], Action::Allow),
        ("mknodat", &[0, 0, 0o020_644], EPERM), // a device
        ("setsockopt", &[3, 1, 2], Action::Allow),
        ("setsockopt", &[3, 2, 1], EPERM), // each value alone was seen, not both
        ("clone3", &[], ENOSYS),
        ("faccessat2", &[], ENOSYS),
        ("openat2", &[], ENOSYS),
    ] {
        assert_eq!(decide(&proposal, name, args), wanted, "{name} {args:x?}");
    }
}

#[test]
fn every_value_or_none_where_there_are_too_many() {
    let many = |count: u64| (0..count).map(|value| call("ioctl", &[("cmd", value, "?")])).collect();
    let few = propose(&recording(many(48)), &bare());
    assert_eq!(few.calls.iter().filter(|entry| entry.syscall == "ioctl").count(), 48);
    let whole = propose(&recording(many(49)), &bare());
    assert_eq!(decide(&whole, "ioctl", &[0, 1000]), Action::Allow);
    let plain = propose(&recording(many(3)), &Choices { arguments: false, ..bare() });
    assert_eq!(decide(&plain, "ioctl", &[0, 1000]), Action::Allow);
}

#[test]
fn clone3_is_answered_so_that_libc_takes_clone() {
    let proposal = propose(&recording(vec![call("clone3", &[])]), &bare());
    assert_eq!(decide(&proposal, "clone3", &[]), ENOSYS);
    assert_eq!(decide(&proposal, "clone", &[0x3d_0f00]), Action::Allow);
    assert_eq!(decide(&proposal, "clone", &[0x1000_0000]), EPERM);
}

#[test]
fn runtimes_can_start_it_and_no_more_than_needed() {
    let mut seen = recording(vec![call("prctl", &[("option", 15, "PR_SET_NAME")])]);
    let proposal = propose(&seen, &Choices::default());
    assert!(proposal.no_new_privileges);
    assert_eq!(decide(&proposal, "execve", &[]), Action::Allow);
    assert_eq!(decide(&proposal, "capset", &[]), EPERM);
    assert_eq!(decide(&proposal, "prctl", &[16]), EPERM);
    // A set-user-ID program: the filter is installed before the runtime changes its user.
    seen.privileged_programs = vec!["su".to_owned()];
    let proposal = propose(&seen, &Choices::default());
    assert!(!proposal.no_new_privileges);
    assert_eq!(decide(&proposal, "capset", &[]), Action::Allow);
    assert_eq!(decide(&proposal, "prctl", &[16]), Action::Allow);
}

#[test]
fn a_proposal_is_no_more_than_docker_default() {
    // Every call that the runtimes need and that is usual, with what a program may well use.
    let seen = recording(vec![call("clone", &[("flags", 0, "0")])]);
    let proposal = propose(&seen, &Choices { usual: true, ..Choices::default() });
    let mut store = Store::new();
    let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KERNEL);
    let own = dialect::parse(proposal.profile(false).to_string().as_bytes()).expect("a profile");
    let default =
        dialect::parse(presets::get("docker-default").expect("shipped").as_bytes()).expect("a profile");
    let [a, b] = [own, default].map(|written| {
        let resolved = resolve(&written, &facts).expect("resolves").expect("confines");
        store.of_resolved(&resolved).expect("within the budget")
    });
    let verdict = exact::subset(&mut store, a, b).expect("decided");
    assert!(verdict.holds, "{:?}", verdict.witness);
}

fn asked(capability: &str, granted: bool, calls: &[&str]) -> CapabilityUse {
    CapabilityUse {
        capability: capability.to_owned(),
        granted,
        as_itself: true,
        own_namespace: true,
        calls: calls.iter().map(|call| ((*call).to_owned(), 1)).collect(),
    }
}

#[test]
fn capabilities_that_were_asked_for_and_given_are_kept() {
    let mut seen = recording(vec![call("clone", &[("flags", 0, "0")])]);
    seen.granted = Capability::known().map(|one| one.to_string()).collect();
    seen.capabilities = vec![
        asked("CAP_NET_RAW", true, &["socket"]),
        asked("CAP_CHOWN", false, &["chown"]),
        // vm_enough_memory asks in every one of these.
        asked("CAP_SYS_ADMIN", true, &["mmap", "execve", "clone"]),
        CapabilityUse { as_itself: false, ..asked("CAP_MKNOD", true, &["openat"]) },
        CapabilityUse { own_namespace: false, ..asked("CAP_SYS_TIME", true, &["adjtimex"]) },
    ];
    let names = |proposal: &Proposal| -> Vec<String> {
        proposal.capabilities.iter().map(|kept| kept.name.clone()).collect()
    };
    let proposal = propose(&seen, &bare());
    assert_eq!(names(&proposal), ["CAP_NET_RAW"]);
    assert_eq!(proposal.dropped.len(), seen.granted.len() - 1);
    // A workload that makes namespaces is asked for it in earnest.
    seen.calls = vec![call("clone", &[("flags", 0x0200_0000, "CLONE_NEWCGROUP")])];
    assert_eq!(names(&propose(&seen, &bare())), ["CAP_NET_RAW", "CAP_SYS_ADMIN"]);
    seen.sees_capabilities = false;
    let proposal = propose(&seen, &bare());
    assert_eq!((proposal.capabilities.len(), proposal.dropped.len()), (seen.granted.len(), 0));
    assert!(proposal.limits.iter().any(|limit| limit.contains("capabilities")));
}

#[test]
fn devices_and_ports() {
    let mut seen = recording(Vec::new());
    let device = |path: &str, kind: &str, major, minor| DeviceUse {
        path: path.to_owned(),
        kind: kind.to_owned(),
        major,
        minor,
        access: "rw".to_owned(),
    };
    seen.devices = vec![
        device("/dev/null", "c", 1, 3),
        device("/dev/pts/0", "c", 136, 0),
        device("/dev/fuse", "c", 10, 229),
        device("/dev/mem", "c", 1, 1),
    ];
    let socket = |kind: &str, port, listens| SocketUse {
        family: "AF_INET".to_owned(),
        r#type: kind.to_owned(),
        address: "0.0.0.0".to_owned(),
        port,
        listens,
    };
    seen.sockets = vec![
        socket("SOCK_STREAM", 80, true),
        socket("SOCK_DGRAM", 53, true),
        socket("SOCK_STREAM", 9, false),
    ];
    seen.files = vec![FileUse {
        path: "/etc/x".to_owned(),
        created: true,
        calls: vec!["openat".to_owned()],
        cut: false,
    }];
    let proposal = propose(&seen, &bare());
    let names = |rows: &[Reasoned]| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&proposal.devices), ["/dev/fuse:rw", "/dev/mem:rw"]);
    assert_eq!(names(&proposal.ports), ["tcp/80", "udp/53"]);
    assert_eq!((proposal.read_only, names(&proposal.written)), (false, vec!["/etc/x".to_owned()]));
}

#[test]
fn what_was_not_seen_is_said() {
    let mut seen = recording(vec![
        call("io_uring_setup", &[]),
        CallUse { syscall: None, number: 999, ..call("read", &[]) },
        CallUse { arch: "i386".to_owned(), ..call("read", &[]) },
    ]);
    seen.missed.calls = 7;
    let proposal = propose(&seen, &bare());
    assert_eq!(proposal.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    for words in ["io_uring", "999", "7 calls", "several architectures", "only what was exercised"] {
        assert!(proposal.limits.iter().any(|limit| limit.contains(words)), "{words}: {:?}", proposal.limits);
    }
}

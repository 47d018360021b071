use plim_model::CapabilitySet;
use plim_seccomp::bpf::{Insn, code};

use super::*;
use crate::event::Asked;
use crate::tracer::FIRST_USER_NAMESPACE;

const BITMAP: u32 = flag::BITMAP;

/// A call of root in the first user namespace, refused with EPERM after having been entered.
fn event(name: &str) -> Event {
    Event {
        boot_ns: 0,
        ret: -1,
        ip: 0,
        args: [0; 6],
        digest: 1,
        effective: 0,
        bounding: 0,
        number: syscalls::number(Arch::X86_64, name).expect("a call of x86-64").0,
        flags: flag::ENTERED,
        target: 0,
        pid: 7,
        tid: 7,
        filters: 1,
        user_namespace: 1,
        fsuid: 0,
        fsgid: 0,
        asked: Vec::new(),
        comm: "x".to_owned(),
        parent: 1,
        module: None,
        texts: Vec::new(),
    }
}

fn asking(name: &str, capabilities: &[&str]) -> Event {
    let asked = capabilities
        .iter()
        .map(|name| Asked {
            capability: Capability::from_name(name).expect("known"),
            as_itself: true,
            quietly: false,
            user_namespace: 1,
        })
        .collect();
    Event { asked, ..event(name) }
}

fn with(event: Event, change: impl FnOnce(&mut Event)) -> Event {
    let mut event = event;
    change(&mut event);
    event
}

fn seen<'a>() -> Known<'a> {
    Known { sees_capabilities: true, root_uid: Some(0), ..Known::default() }
}

/// Returns `action` for `socket` of x86-64 and allows the rest.
fn filter(action: Action) -> Vec<Program> {
    let program = vec![
        Insn::stmt(code::LD_W_ABS, 0),
        Insn { code: code::JMP_JEQ_K, jt: 0, jf: 1, k: 41 },
        Insn::stmt(code::RET_K, action.to_ret()),
        Insn::stmt(code::RET_K, Action::Allow.to_ret()),
    ];
    vec![Program::from_instructions(program).expect("valid")]
}

fn told(event: &Event, known: &Known<'_>) -> Option<(Kind, Option<String>)> {
    judge(event, known).map(|cause| (cause.kind, cause.capability))
}

#[test]
fn capabilities() {
    type Row<'a> = (&'a str, Event, Option<(Kind, Option<&'a str>)>);
    let user = |event: Event| with(event, |event| event.fsuid = 1000);
    let ret = |event: Event, ret: i64| with(event, |event| event.ret = ret);
    let rows: [Row<'_>; 28] = [
        (
            "asked and not held",
            asking("socket", &["CAP_NET_RAW"]),
            Some((Kind::Capability, Some("CAP_NET_RAW"))),
        ),
        ("EACCES counts too", ret(asking("bind", &["CAP_NET_BIND_SERVICE"]), -13), {
            Some((Kind::Capability, Some("CAP_NET_BIND_SERVICE")))
        }),
        ("the last decides", asking("setpriority", &["CAP_SYS_PTRACE", "CAP_SYS_NICE"]), {
            Some((Kind::Capability, Some("CAP_SYS_NICE")))
        }),
        ("one of two would do", asking("bpf", &["CAP_BPF", "CAP_SYS_ADMIN"]), {
            Some((Kind::Capability, Some("CAP_BPF")))
        }),
        ("root without DAC_OVERRIDE", ret(asking("openat", &["CAP_DAC_OVERRIDE"]), -13), {
            Some((Kind::Capability, Some("CAP_DAC_OVERRIDE")))
        }),
        (
            "a user and a mode",
            ret(user(asking("openat", &["CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE"])), -13),
            { Some((Kind::Permission, Some("CAP_DAC_READ_SEARCH"))) },
        ),
        ("a user and another's file", user(asking("fchmodat", &["CAP_FOWNER"])), {
            Some((Kind::Permission, Some("CAP_FOWNER")))
        }),
        (
            "root without FOWNER",
            asking("fchmodat", &["CAP_FOWNER"]),
            Some((Kind::Capability, Some("CAP_FOWNER"))),
        ),
        ("a user and another's process", user(asking("kill", &["CAP_KILL"])), {
            Some((Kind::Permission, Some("CAP_KILL")))
        }),
        ("a user without the capability", user(asking("sethostname", &["CAP_SYS_ADMIN"])), {
            Some((Kind::Capability, Some("CAP_SYS_ADMIN")))
        }),
        ("memory is no refusal", ret(asking("mmap", &["CAP_SYS_ADMIN"]), -12), None),
        (
            "noise of memory beside a refusal",
            ret(asking("execve", &["CAP_SYS_ADMIN"]), -13),
            Some((Kind::Unknown, None)),
        ),
        (
            "clone for namespaces",
            with(asking("clone", &["CAP_SYS_ADMIN"]), |event| event.args[0] = 0x2000_0000),
            { Some((Kind::Capability, Some("CAP_SYS_ADMIN"))) },
        ),
        ("clone without", asking("clone", &["CAP_SYS_ADMIN"]), Some((Kind::Unknown, None))),
        ("clone3", asking("clone3", &["CAP_SYS_ADMIN"]), Some((Kind::Capability, Some("CAP_SYS_ADMIN")))),
        (
            "NPROC",
            ret(asking("clone", &["CAP_SYS_RESOURCE", "CAP_SYS_ADMIN"]), -11),
            Some((Kind::Limit, None)),
        ),
        ("pids.max", ret(event("clone3"), -11), Some((Kind::Limit, None))),
        ("EAGAIN of a read", ret(event("read"), -11), None),
        ("mlock", ret(asking("mlock", &["CAP_IPC_LOCK"]), -12), Some((Kind::Limit, Some("CAP_IPC_LOCK")))),
        ("mlockall where none may be locked", asking("mlockall", &["CAP_IPC_LOCK"]), {
            Some((Kind::Limit, Some("CAP_IPC_LOCK")))
        }),
        ("a handle is no mode", asking("open_by_handle_at", &["CAP_DAC_READ_SEARCH"]), {
            Some((Kind::Capability, Some("CAP_DAC_READ_SEARCH")))
        }),
        ("mlock of what is not mapped", ret(event("mlock"), -12), None),
        ("too many files", ret(event("openat"), -24), Some((Kind::Limit, None))),
        ("a file that cannot be polled", event("epoll_ctl"), None),
        ("a lock of another thread", event("futex"), None),
        ("read-only", ret(event("openat"), -30), Some((Kind::Permission, None))),
        (
            "asked on behalf of another",
            with(asking("openat", &["CAP_DAC_OVERRIDE"]), |event| {
                event.asked[0].as_itself = false;
            }),
            Some((Kind::Unknown, None)),
        ),
        (
            "asked without meaning it",
            with(asking("ptrace", &["CAP_SYS_PTRACE"]), |event| {
                event.asked[0].quietly = true;
            }),
            Some((Kind::Unknown, None)),
        ),
    ];
    for (what, event, expected) in rows {
        let expected = expected.map(|(kind, capability)| (kind, capability.map(str::to_owned)));
        assert_eq!(told(&event, &seen()), expected, "{what}");
    }
}

#[test]
fn a_capability_held_elsewhere_is_a_matter_of_namespaces() {
    let admin = Capability::from_name("CAP_SYS_ADMIN").expect("known");
    let held = with(asking("sethostname", &["CAP_SYS_ADMIN"]), |event| {
        event.effective = 1 << admin.number();
        event.user_namespace = 2;
    });
    assert_eq!(told(&held, &seen()), Some((Kind::Namespace, Some("CAP_SYS_ADMIN".to_owned()))));
}

#[test]
fn what_the_first_user_namespace_asks_for_no_container_in_another_can_be_given() {
    let beyond = with(asking("mknodat", &["CAP_MKNOD"]), |event| {
        event.asked[0].user_namespace = FIRST_USER_NAMESPACE;
    });
    assert_eq!(told(&beyond, &seen()), Some((Kind::Namespace, Some("CAP_MKNOD".to_owned()))));
    let cause = judge(&beyond, &seen()).expect("a cause");
    assert!(cause.detail.expect("a detail").ends_with("granting it to the container would not be enough"));
}

#[test]
fn says_whether_granting_it_would_have_been_enough() {
    let raw = 1 << Capability::from_name("CAP_NET_RAW").expect("known").number();
    let detail = |change: fn(&mut Event), bounding: u64| {
        let event = with(asking("socket", &["CAP_NET_RAW"]), |event| event.bounding = bounding);
        judge(&with(event, change), &seen()).and_then(|cause| cause.detail).expect("a detail")
    };
    let own = "CAP_NET_RAW was asked for in the process' own user namespace, and is ";
    assert_eq!(detail(|_| (), 0), format!("{own}not in the bounding set: granting it passes this check"));
    assert_eq!(detail(|_| (), raw), format!("{own}in the bounding set, but was given up by the process"));
    assert!(detail(|event| event.fsuid = 5, 0).ends_with("granting it is enough for root alone"));
    assert!(detail(|event| event.fsuid = 5, raw).ends_with("root would have it"));
    assert!(
        detail(|event| (event.fsuid, event.flags) = (5, event.flags | flag::NO_NEW_PRIVS), raw)
            .ends_with("no_new_privs keeps it from getting it by execve")
    );
}

#[test]
fn as_the_owner_of_a_sysctl_one_may_no_more_than_the_owner() {
    let asked = with(asking("openat", &["CAP_NET_ADMIN"]), |event| event.ret = -13);
    for (wanted, expected) in
        [(4, (Kind::Permission, None)), (2, (Kind::Capability, Some("CAP_NET_ADMIN".to_owned())))]
    {
        let file = FileFacts {
            path: "/proc/sys/net/ipv4/route/flush".to_owned(),
            mode: 0o200,
            wanted,
            ..FileFacts::default()
        };
        assert_eq!(told(&asked, &Known { file: Some(&file), ..seen() }), Some(expected));
    }
}

#[test]
fn a_module_that_was_seen_to_refuse_is_named() {
    let refused = with(event("openat"), |event| event.module = Some("landlock"));
    assert_eq!(told(&refused, &seen()), Some((Kind::Lsm, None)));
    for (module, label, words) in [
        ("apparmor", Some("web"), "apparmor refused it by the profile web"),
        ("apparmor", None, "apparmor refused it"),
        ("selinux", Some("u:r:t:s0"), "selinux refused it to the context u:r:t:s0"),
    ] {
        let refused = with(event("openat"), |event| event.module = Some(module));
        let cause = judge(&refused, &Known { security_label: label, ..seen() }).expect("a refusal");
        assert_eq!((cause.kind, cause.detail.as_deref()), (Kind::Lsm, Some(words)));
    }
}

#[test]
fn limits() {
    let ret = |name: &str, ret: i64| with(event(name), |event| event.ret = ret);
    let xfsz = |event: Event| with(event, |event| event.flags |= flag::XFSZ);
    let detail = |event: &Event, used_up: Option<bool>| {
        let known = Known { descriptors_used_up: used_up, ..seen() };
        let cause = judge(event, &known)?;
        assert_eq!(cause.kind, Kind::Limit);
        cause.detail
    };
    for (event, used_up, begins) in [
        (ret("execve", -11), None, "RLIMIT_NPROC"),
        (ret("timer_create", -11), None, "RLIMIT_SIGPENDING"),
        (ret("mq_open", -24), Some(true), "RLIMIT_NOFILE"),
        (ret("mq_open", -24), Some(false), "RLIMIT_MSGQUEUE"),
        (ret("mq_open", -24), None, "RLIMIT_NOFILE of the process, or"),
        (ret("inotify_init1", -24), Some(false), "fs.inotify.max_user_instances"),
        (ret("fanotify_init", -24), Some(false), "fs.fanotify.max_user_groups"),
        (ret("fanotify_init", -24), Some(true), "RLIMIT_NOFILE: "),
        (ret("openat", -24), None, "RLIMIT_NOFILE: "),
        (xfsz(ret("write", -27)), None, "RLIMIT_FSIZE"),
        (ret("unshare", -28), None, "user.max_"),
    ] {
        let found = detail(&event, used_up).unwrap_or_default();
        assert!(found.starts_with(begins), "{found}");
    }
    // A file system that is full, or a file too large for it.
    assert_eq!(detail(&ret("write", -27), None), None);
    assert_eq!(detail(&ret("write", -28), None), None);
}

#[test]
fn answers_are_no_refusals() {
    for name in ANSWERS.into_iter().filter(|name| syscalls::number(Arch::X86_64, name).is_some()) {
        assert_eq!(told(&event(name), &seen()), None, "{name}");
    }
}

#[test]
fn filters_are_asked_themselves() {
    let errno = |number| Action::Errno(Errno::from_number(number).expect("an errno"));
    let exit = |ret: i64, flags: u32| with(event("socket"), |event| (event.ret, event.flags) = (ret, flags));
    let rows = [
        ("ERRNO", errno(1), exit(-1, BITMAP), Some(Kind::Seccomp)),
        ("ERRNO of another number", errno(38), exit(-38, BITMAP), Some(Kind::Seccomp)),
        ("another errno than the filter's", errno(1), exit(-13, BITMAP), Some(Kind::Unknown)),
        ("traced, and the filter's errno", errno(1), exit(-1, BITMAP | flag::PTRACED), Some(Kind::Seccomp)),
        ("allowed, traced", Action::Allow, exit(-1, BITMAP | flag::PTRACED), Some(Kind::Unknown)),
        ("allowed, its enter was missed", Action::Allow, exit(-1, BITMAP | flag::STALE), Some(Kind::Unknown)),
        ("refused now, let through before", errno(1), exit(-1, BITMAP | flag::STALE), Some(Kind::Unknown)),
        ("allowed, and no refusal", Action::Allow, exit(-11, BITMAP | flag::STALE), None),
        ("allowed, the tracer came in between", Action::Allow, exit(-110, BITMAP | flag::OLDER), None),
        (
            "refused, the tracer came in between",
            errno(1),
            exit(-1, BITMAP | flag::OLDER),
            Some(Kind::Seccomp),
        ),
        ("LOG", Action::Log, exit(-4, BITMAP), None),
        ("TRAP", Action::Trap, exit(41, BITMAP | flag::SIGSYS), Some(Kind::Seccomp)),
        (
            "KILL_PROCESS",
            Action::KillProcess,
            exit(41, BITMAP | flag::SIGSYS | flag::KILLED),
            Some(Kind::Seccomp),
        ),
        ("KILL_THREAD at its death", Action::KillThread, exit(0, flag::KILLED), Some(Kind::Seccomp)),
        ("NOTIFY", Action::Notify, exit(-1, BITMAP), Some(Kind::Seccomp)),
        ("TRACE without a tracer", Action::Trace(0), exit(-38, BITMAP), Some(Kind::Seccomp)),
    ];
    for (what, action, event, expected) in rows {
        let filters = filter(action);
        let known = Known { filters: Some(&filters), ..seen() };
        assert_eq!(judge(&event, &known).map(|cause| cause.kind), expected, "{what}");
    }
}

#[test]
fn without_the_filters_only_what_is_certain_is_told() {
    let exit = |ret: i64, flags: u32| with(event("socket"), |event| (event.ret, event.flags) = (ret, flags));
    for (what, event, expected) in [
        ("the bitmap says it may", exit(-1, BITMAP), Some(Kind::Seccomp)),
        ("no bitmap", exit(-1, 0), Some(Kind::Unknown)),
        ("an enter may be missing", exit(-1, BITMAP | flag::STALE), Some(Kind::Unknown)),
        ("a tracer may have answered", exit(-1, BITMAP | flag::PTRACED), Some(Kind::Unknown)),
        ("no refusal, and an enter may be missing", exit(-2, BITMAP | flag::STALE), None),
        ("killed", exit(0, flag::KILLED), Some(Kind::Seccomp)),
    ] {
        assert_eq!(judge(&event, &seen()).map(|cause| cause.kind), expected, "{what}");
    }
}

#[test]
fn where_the_kernel_skipped_runs_an_exit_alone_proves_nothing() {
    let event = with(event("socket"), |event| (event.ret, event.flags) = (-1, BITMAP));
    let known = Known { skipped_runs: true, ..seen() };
    assert_eq!(judge(&event, &known).map(|cause| cause.kind), Some(Kind::Unknown));
    let filters = filter(Action::Errno(Errno::from_number(1).expect("an errno")));
    let known = Known { filters: Some(&filters), ..known };
    assert_eq!(judge(&event, &known).map(|cause| cause.kind), Some(Kind::Seccomp));
}

#[test]
fn files_speak_for_themselves() {
    let file = |change: fn(&mut FileFacts)| {
        let mut file =
            FileFacts { path: "/x".to_owned(), mode: 0o755, regular: true, ..FileFacts::default() };
        change(&mut file);
        file
    };
    let access = |name: &str| with(event(name), |event| event.ret = -13);
    for (what, event, file, expected) in [
        (
            "a device that the cgroup lacks",
            event("openat"),
            file(|f| f.device = Some("c 1:1".to_owned())),
            Kind::Limit,
        ),
        ("noexec", access("execve"), file(|f| f.no_exec = true), Kind::Permission),
        ("no x bit", access("execve"), file(|f| f.mode = 0o644), Kind::Permission),
        ("a directory is executed", access("execve"), file(|f| f.regular = false), Kind::Permission),
        (
            "nodev",
            access("openat"),
            file(|f| (f.no_device, f.device) = (true, Some("c 1:3".to_owned()))),
            Kind::Permission,
        ),
        (
            "a node that the cgroup lacks",
            with(event("mknodat"), |event| (event.args[2], event.args[3]) = (0o020_600, 0x10b)),
            file(|_| ()),
            Kind::Limit,
        ),
        (
            "a node where none can be made",
            with(event("mknodat"), |event| (event.args[2], event.args[3]) = (0o020_600, 0x10b)),
            file(|f| f.virtual_fs = true),
            Kind::Unknown,
        ),
        ("file capabilities", event("execve"), file(|f| f.insists_on = CapabilitySet::from_bits(2)), {
            Kind::Capability
        }),
        (
            "memory of a noexec mount",
            with(event("mmap"), |event| event.args[2] = 5),
            file(|f| f.no_exec = true),
            Kind::Permission,
        ),
        ("immutable", event("unlink"), file(|f| f.frozen = Some("immutable".into())), Kind::Permission),
        ("protected", access("openat"), file(|f| f.protected = true), Kind::Permission),
        ("a mode without exceptions", access("openat"), file(|f| f.mode_refuses = true), Kind::Permission),
        ("an owner from outside", access("openat"), file(|f| f.owner_unmapped = true), Kind::Namespace),
        ("nothing is wrong with it", access("openat"), file(|_| ()), Kind::Unknown),
    ] {
        let known = Known { file: Some(&file), ..seen() };
        assert_eq!(judge(&event, &known).map(|cause| cause.kind), Some(expected), "{what}");
    }
}

#[test]
fn unknown_says_what_could_not_be_seen() {
    let detail =
        |known: &Known<'_>| judge(&event("mount"), known).and_then(|cause| cause.detail).expect("a detail");
    assert_eq!(
        detail(&Known::default()),
        "this kernel does not let refused capabilities be seen, and no filter refused the call"
    );
    let modules = ["apparmor".to_owned()];
    assert!(
        detail(&Known { silent_modules: &modules, ..seen() })
            .ends_with("apparmor may have refused, which cannot be observed here")
    );
}

#[test]
fn numbers_are_those_of_their_table() {
    let i386 = with(event("read"), |event| (event.number, event.flags) = (359, flag::COMPAT));
    assert_eq!((arch(&i386), name(&i386)), (Arch::X86, Some("socket")));
    let x32 = with(event("read"), |event| event.number = 41 | 1 << 30);
    assert_eq!((arch(&x32), name(&x32)), (Arch::X32, Some("socket")));
}

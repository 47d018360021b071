//! What filters refuse: the default profile's, a profile of every action, a process' own.

use serde_json::{Value, json};

use super::{Group, PLAIN, fine, seccomp};

/// The default profile: by number, by argument, by ENOSYS; and what it lets through.
pub(in super::super) const FILTERS: Group = Group {
    name: "the default profile",
    rows: &[
        seccomp("unshare 0x20000", "unshare"),
        seccomp("unshare 0x10000000", "unshare"),
        seccomp("syscall 308 3 0", "setns"),
        seccomp("mount-tmpfs /tmp", "mount"),
        seccomp("umount /tmp", "umount2"),
        seccomp("syscall 155 s:/ s:/", "pivot_root"),
        seccomp("syscall 167 s:/x", "swapon"),
        seccomp("syscall 168 s:/x", "swapoff"),
        seccomp("syscall 169 0 0 0", "reboot"),
        seccomp("syscall 175 0 0 0", "init_module"),
        seccomp("syscall 176 s:x", "delete_module"),
        seccomp("syscall 313 3 s:x", "finit_module"),
        seccomp("syscall 246 0 0 0 0", "kexec_load"),
        seccomp("syscall 163 s:/x", "acct"),
        seccomp("syscall 321 0 m:128 128", "bpf"),
        seccomp("syscall 298 m:128 0 -1 -1 0", "perf_event_open"),
        seccomp("syscall 323 0", "userfaultfd"),
        seccomp("syscall 250 0 0", "keyctl"),
        seccomp("syscall 248 s:user s:x s:y 1 0", "add_key"),
        seccomp("syscall 249 s:user s:x s:y 0", "request_key"),
        seccomp("syscall 172 3", "iopl"),
        seccomp("syscall 173 0 1 1", "ioperm"),
        seccomp("syscall 227 0 m:16", "clock_settime"),
        seccomp("syscall 164 m:16 0", "settimeofday"),
        seccomp("syscall 103 5 0 0", "syslog"),
        seccomp("syscall 153", "vhangup"),
        seccomp("syscall 300 0 0", "fanotify_init"),
        seccomp("syscall 304 -100 m:16 0", "open_by_handle_at"),
        // By argument.
        seccomp("syscall 135 0x40000", "personality"),
        seccomp("syscall 56 0x10000011", "clone"),
        seccomp("syscall 56 0x20000011", "clone"),
        seccomp("sethostname x", "sethostname"),
        seccomp("syscall 430 s:tmpfs 0", "fsopen"),
        // Refused with another number, so that libc falls back.
        ("syscall 435 m:88 88", Some(["clone3", "ENOSYS", "seccomp", "/syscalls/"])),
        // Let through, and judged by the kernel.
        ("syscall 141 0 0 -5", Some(["setpriority", "EACCES", "capability", "CAP_SYS_NICE"])),
        fine("udp 9"),
        fine("create /x y"),
        fine("chmod /x 0600"),
        fine("chown /x 1"),
        fine("socket 17 3"),
        fine("syscall 135 0"),
        fine("syscall 56 0x11"),
        fine("open /nowhere"),
        (
            "write /proc/sys/kernel/hostname x",
            Some(["openat", "EROFS", "permission", "/proc/sys/kernel/hostname"]),
        ),
    ],
    newer: &[seccomp("syscall 425 1 m:128", "io_uring_setup"), seccomp("socket 40 1", "socket")],
    ..PLAIN
};

/// The same through int 0x80.
pub(in super::super) const GATE: Group = Group {
    name: "the 32-bit gate",
    rows: &[
        seccomp("int80 21 s:x s:/tmp s:tmpfs 0 0", "mount"),
        seccomp("int80 310 0x20000", "unshare"),
        seccomp("int80 88 0 0 0", "reboot"),
        seccomp("int80 128 0 0 0", "init_module"),
        seccomp("int80 288 0 0", "keyctl"),
        seccomp("int80 136 0x40000", "personality"),
        fine("int80 20"),
        fine("int80 136 0"),
    ],
    ..PLAIN
};

/// Every action, by a profile.
pub(in super::super) const ACTIONS: Group = Group {
    name: "actions of a profile",
    profile: Some(actions),
    rows: &[
        ("mount-tmpfs /tmp", Some(["mount", "EACCES", "seccomp", "/syscalls/ SCMP_ACT_ERRNO"])),
        ("syscall 308 3", Some(["setns", "ENOSYS", "seccomp", "/syscalls/ SCMP_ACT_ERRNO"])),
        ("syscall 163 s:/x", Some(["acct", "EINVAL", "seccomp", "/syscalls/ SCMP_ACT_ERRNO"])),
        ("syscall 153", Some(["vhangup", "151", "seccomp", "/syscalls/ SCMP_ACT_ERRNO"])),
        fine("syscall 37 99"),
        ("syscall 37 100", Some(["alarm", "EPERM", "seccomp", "/syscalls/ SCMP_ACT_ERRNO"])),
        ("syscall 167 s:/x", Some(["swapon", "-", "seccomp", "/syscalls/ SCMP_ACT_TRAP"])),
        ("syscall 168 s:/x", Some(["swapoff", "-", "seccomp", "/syscalls/ SCMP_ACT_KILL_PROCESS"])),
        ("syscall 169 0", Some(["reboot", "-", "seccomp", "/syscalls/ SCMP_ACT_KILL_THREAD"])),
        ("syscall 170 s:x 1", Some(["sethostname", "ENOSYS", "seccomp", "/syscalls/ SCMP_ACT_TRACE"])),
        fine("syscall 140 0 0"),
    ],
    ..PLAIN
};

fn actions() -> Value {
    let rule = |name: &str, action: &str| json!({"names": [name], "action": action});
    let errno =
        |name: &str, errno: u32| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno});
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            errno("mount", 13), errno("setns", 38), errno("acct", 22), errno("vhangup", 151),
            {"names": ["alarm"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
             "args": [{"index": 0, "value": 100, "op": "SCMP_CMP_GE"}]},
            rule("swapon", "SCMP_ACT_TRAP"), rule("swapoff", "SCMP_ACT_KILL_PROCESS"),
            rule("reboot", "SCMP_ACT_KILL_THREAD"), rule("sethostname", "SCMP_ACT_TRACE"),
            rule("getpriority", "SCMP_ACT_LOG")
        ]
    })
}

/// Filters that a process puts on itself, beside the container's.
pub(in super::super) const OWN_FILTERS: Group = Group {
    name: "filters of the process' own",
    rows: &[
        ("filtered errno 112 syscall 112", Some(["setsid", "EXDEV", "seccomp", "SCMP_ACT_ERRNO"])),
        // Killed: its filters went with it.
        ("filtered trap 112 syscall 112", Some(["setsid", "-", "seccomp", "-"])),
        ("filtered kill 112 syscall 112", Some(["setsid", "-", "seccomp", "-"])),
        ("filtered trace 112 syscall 112", Some(["setsid", "ENOSYS", "seccomp", "SCMP_ACT_TRACE"])),
        ("notified 112 syscall 112", Some(["setsid", "EPERM", "seccomp", "SCMP_ACT_NOTIFY"])),
        fine("filtered log 112 syscall 112"),
        fine("filtered errno 112 syscall 39"),
    ],
    ..PLAIN
};

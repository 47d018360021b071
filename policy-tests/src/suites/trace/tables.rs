//! Refusals made on purpose: what a container is given, what is tried in it, and what must be told of that.

use serde_json::{Value, json};

/// A call of `try`; and what is told of it: call, errno (`-` when the task is killed), kind, and words that stand in the rule, the
/// capability or the detail (`-`: neither rule nor capability; `A|B`: either, where kernels differ). A call that begins with `?` is not made by every kernel.
pub(super) type Row = (&'static str, Option<[&'static str; 4]>);

/// One container.
pub(super) struct Group {
    /// For messages.
    pub(super) name: &'static str,
    /// Options that `plim run` and `docker run` share.
    pub(super) options: &'static [&'static str],
    /// A seccomp profile of its own.
    pub(super) profile: Option<fn() -> Value>,
    /// What is tried, in this order.
    pub(super) rows: &'static [Row],
    /// What is tried after that under plim alone: dockerd 20.10's default profile is older than ours.
    pub(super) newer: &'static [Row],
}

const PLAIN: Group = Group { name: "", options: &[], profile: None, rows: &[], newer: &[] };
const UNCONFINED: &str = "seccomp=unconfined";

const fn seccomp(call: &'static str, name: &'static str) -> Row {
    (call, Some([name, "EPERM", "seccomp", "/defaultAction"]))
}

const fn lacks(call: &'static str, name: &'static str, capability: &'static str) -> Row {
    (call, Some([name, "EPERM", "capability", capability]))
}

const fn bound(call: &'static str, name: &'static str, words: &'static str) -> Row {
    (call, Some([name, "EACCES", "permission", words]))
}

const fn elsewhere(call: &'static str, name: &'static str, capability: &'static str) -> Row {
    (call, Some([name, "EPERM", "namespace", capability]))
}

const fn fine(call: &'static str) -> Row {
    (call, None)
}

/// The default profile: by number, by argument, by ENOSYS; and what it lets through.
pub(super) const FILTERS: Group = Group {
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
pub(super) const GATE: Group = Group {
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
pub(super) const ACTIONS: Group = Group {
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
pub(super) const OWN_FILTERS: Group = Group {
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

/// No capability at all and no filter.
pub(super) const CAPABILITIES: Group = Group {
    name: "no capability",
    options: &[
        "--cap-drop",
        "ALL",
        "--security-opt",
        UNCONFINED,
        "--ulimit",
        "memlock=65536:65536",
        "--sysctl",
        "net.ipv4.ip_unprivileged_port_start=1024",
    ],
    rows: &[
        lacks("socket 17 3", "socket", "CAP_NET_RAW"),
        lacks("socket 2 3 1", "socket", "CAP_NET_RAW"),
        lacks("chroot /", "chroot", "CAP_SYS_CHROOT"),
        lacks("setuid 5", "setuid", "CAP_SETUID"),
        lacks("syscall 106 5", "setgid", "CAP_SETGID"),
        lacks("syscall 116 0 0", "setgroups", "CAP_SETGID"),
        lacks("sethostname x", "sethostname", "CAP_SYS_ADMIN"),
        lacks("syscall 171 s:x 1", "setdomainname", "CAP_SYS_ADMIN"),
        lacks("mount-tmpfs /tmp", "mount", "CAP_SYS_ADMIN"),
        lacks("umount /proc", "umount2", "CAP_SYS_ADMIN"),
        lacks("syscall 155 s:/ s:/", "pivot_root", "CAP_SYS_ADMIN"),
        lacks("unshare 0x20000", "unshare", "CAP_SYS_ADMIN"),
        lacks("unshare 0x40000000", "unshare", "CAP_SYS_ADMIN"),
        lacks("syscall 56 0x20000011", "clone", "CAP_SYS_ADMIN"),
        lacks("?syscall 167 s:/x 0", "swapon", "CAP_SYS_ADMIN"),
        lacks("mknod /y c 1 3", "mknodat", "CAP_MKNOD"),
        lacks("?syscall 163 s:/x", "acct", "CAP_SYS_PACCT"),
        lacks("syscall 227 0 m:16", "clock_settime", "CAP_SYS_TIME"),
        lacks("?syscall 175 0 0 0", "init_module", "CAP_SYS_MODULE"),
        lacks("?syscall 172 3", "iopl", "CAP_SYS_RAWIO"),
        lacks("?syscall 173 0 1 1", "ioperm", "CAP_SYS_RAWIO"),
        lacks("?syscall 246 0 0 0 0", "kexec_load", "CAP_SYS_BOOT"),
        lacks("syscall 169 0xfee1dead 672274793 0", "reboot", "CAP_SYS_BOOT"),
        lacks("syscall 153", "vhangup", "CAP_SYS_TTY_CONFIG"),
        lacks("syscall 157 24 5", "prctl", "CAP_SETPCAP"),
        lacks("syscall 251 1 0 0x2000", "ioprio_set", "CAP_SYS_NICE"),
        lacks("syscall 103 5 0 0", "syslog", "CAP_SYSLOG"),
        ("syscall 141 0 0 -5", Some(["setpriority", "EACCES", "capability", "CAP_SYS_NICE"])),
        lacks("raise-interface", "ioctl", "CAP_NET_ADMIN"),
        ("bind 80", Some(["bind", "EACCES", "capability", "CAP_NET_BIND_SERVICE"])),
        fine("bind 8080"),
        ("attach-memory", Some(["shmat", "EACCES", "capability", "CAP_IPC_OWNER"])),
        lacks("ptrace", "ptrace", "CAP_SYS_PTRACE"),
        lacks("syscall 283 8 0", "timerfd_create", "CAP_WAKE_ALARM"),
        lacks("set-tid 77", "clone3", "CAP_CHECKPOINT_RESTORE"),
        // A trie, which takes the capability whatever the sysctls say.
        lacks("syscall 321 0 b:0b00000008000000040000000100000001000000 20", "bpf", "CAP_BPF"),
        (
            "?syscall 298 m:128 0 -1 -1 0",
            Some(["perf_event_open", "EACCES", "capability", "CAP_PERFMON|CAP_SYS_ADMIN"]),
        ),
        lacks(
            "?syscall 304 -100 b:0800000001000000aabbccdd00112233 0",
            "open_by_handle_at",
            "CAP_DAC_READ_SEARCH",
        ),
        fine("create /dev/shm/f x"),
        lacks("?append-only /dev/shm/f", "ioctl", "CAP_LINUX_IMMUTABLE"),
        lacks(
            "setxattr /dev/shm/f security.capability 0100000200100000000000000000000000000000",
            "setxattr",
            "CAP_SETFCAP",
        ),
        lacks("setxattr /dev/shm/f trusted.x 00", "setxattr", "CAP_SYS_ADMIN"),
        lacks("syscall 302 0 8 b:ffffffffffffffffffffffffffffffff 0", "prlimit64", "CAP_SYS_RESOURCE"),
        lacks("?listen-audit", "bind", "CAP_AUDIT_READ"),
        fine("create /z y"),
        lacks("chown /z 1", "fchownat", "CAP_CHOWN"),
        fine("chmod /z 0"),
        ("open /z", Some(["openat", "EACCES", "capability", "CAP_DAC_READ_SEARCH /z"])),
        ("write /z y", Some(["openat", "EACCES", "capability", "CAP_DAC_OVERRIDE /z 0000"])),
        fine("udp 9"),
        fine("syscall 57"),
        fine("syscall 149 m:4096 4096"),
    ],
    ..PLAIN
};

/// Root that may become others and give files away, and no more.
pub(super) const OWNERS: Group = Group {
    name: "root without the capabilities of owners",
    options: &[
        "--cap-drop",
        "ALL",
        "--cap-add",
        "CHOWN",
        "--cap-add",
        "SETUID",
        "--cap-add",
        "SETGID",
        "--security-opt",
        UNCONFINED,
    ],
    rows: &[
        fine("create /l y"),
        fine("chown /l 1000"),
        ("lease /l", Some(["fcntl", "EACCES", "capability", "CAP_LEASE"])),
        lacks("chmod /l 0600", "fchmodat", "CAP_FOWNER /l"),
        lacks("signal 1000", "kill", "CAP_KILL"),
        fine("as 1000 open /l"),
        ("as 1000 kill 1 0", Some(["kill", "EPERM", "permission", "CAP_KILL"])),
    ],
    ..PLAIN
};

/// A user and the files of root.
pub(super) const USER: Group = Group {
    name: "a user",
    options: &["-u", "1000:1000", "--security-opt", UNCONFINED],
    rows: &[
        bound("create /x y", "openat", "CAP_DAC_OVERRIDE directory's / 0755 owner 0:0"),
        bound("mkdir /y", "mkdir", "CAP_DAC_OVERRIDE / 0755"),
        // The directory decides, not the file.
        bound("unlink /bin/witness", "unlink", "CAP_DAC_OVERRIDE /bin, 0755"),
        bound("syscall 82 s:/bin/witness s:/tmp/w", "rename", "CAP_DAC_OVERRIDE /bin, 0755"),
        bound("syscall 88 s:x s:/etc/link", "symlink", "CAP_DAC_OVERRIDE /etc, 0755"),
        bound("write /etc/passwd x", "openat", "CAP_DAC_OVERRIDE /etc/passwd, 0644"),
        ("chmod /bin/witness 0777", Some(["fchmodat", "EPERM", "permission", "CAP_FOWNER /bin/witness"])),
        ("chown /bin/witness 1000", Some(["fchownat", "EPERM", "permission", "CAP_CHOWN /bin/witness"])),
        ("exec /proc", Some(["execve", "EACCES", "permission", "noexec /proc,"])),
        ("exec /etc/passwd", Some(["execve", "EACCES", "permission", "executable /etc/passwd, 0644"])),
        lacks("setuid 0", "setuid", "CAP_SETUID"),
        lacks("socket 17 3", "socket", "CAP_NET_RAW root"),
        fine("open /bin/witness"),
        fine("setuid 1000"),
        fine("open /nowhere"),
    ],
    ..PLAIN
};

/// Directories that may not be searched, lists, file capabilities, mount options, devices.
pub(super) const FILES: Group = Group {
    name: "files of every kind",
    options: &["--tmpfs", "/x:exec,suid,mode=755"],
    rows: &[
        fine("mkdir /x/shut"),
        fine("create /x/shut/f y"),
        fine("chmod /x/shut 0700"),
        bound("as 1000 open /x/shut/f", "openat", "CAP_DAC_READ_SEARCH /x/shut, 0700"),
        fine("create /x/list y"),
        fine("acl /x/list 1000 0"),
        fine("as 1001 open /x/list"),
        bound("as 1000 open /x/list", "openat", "CAP_DAC_READ_SEARCH ACL /x/list,"),
        // Capabilities that the container may not have, insisted on by the file.
        fine("copy /bin/witness /x/w"),
        fine("chmod /x/w 0755"),
        fine("exec /x/w quiet syscall 39"),
        fine("setxattr /x/w security.capability 0100000200100000000000000000000000000000"),
        lacks("exec /x/w quiet syscall 39", "execve", "CAP_NET_ADMIN /x/w"),
        fine("copy /bin/witness /dev/shm/w"),
        bound("exec /dev/shm/w", "execve", "noexec /dev/shm/w"),
        ("exec-memory /dev/shm/w", Some(["mmap", "EPERM", "permission", "noexec /dev/shm/w"])),
        ("mknod /d c 1 11", Some(["openat", "EPERM", "limit", "cgroup /d, 1:11"])),
        bound("open /proc/sys/net/ipv4/route/flush", "openat", "/proc/sys/net/ipv4/route/flush, 0200"),
    ],
    ..PLAIN
};

/// A read-only root.
pub(super) const READ_ONLY: Group = Group {
    name: "a read-only root",
    options: &["--read-only", "-u", "0:0", "--tmpfs", "/tmp"],
    rows: &[
        ("create /x y", Some(["openat", "EROFS", "permission", "/ read-only"])),
        ("mkdir /y", Some(["mkdir", "EROFS", "permission", "read-only"])),
        ("write /etc/passwd x", Some(["openat", "EROFS", "permission", "/etc/passwd read-only"])),
        ("chmod /bin/witness 0700", Some(["fchmodat", "EROFS", "permission", "/bin/witness read-only"])),
        fine("create /tmp/x y"),
        fine("open /bin/witness"),
    ],
    ..PLAIN
};

/// Limits of the process, the user and the cgroup.
pub(super) const LIMITS: [Group; 8] = [
    Group {
        name: "RLIMIT_MEMLOCK",
        options: &["--ulimit", "memlock=8192:8192"],
        rows: &[
            ("syscall 149 m:65536 65536", Some(["mlock", "ENOMEM", "limit", "CAP_IPC_LOCK RLIMIT_MEMLOCK"])),
            fine("syscall 149 m:4096 4096"),
        ],
        ..PLAIN
    },
    Group {
        name: "RLIMIT_MEMLOCK of nothing",
        options: &["--ulimit", "memlock=0:0"],
        rows: &[("syscall 151 1", Some(["mlockall", "EPERM", "limit", "CAP_IPC_LOCK RLIMIT_MEMLOCK"]))],
        ..PLAIN
    },
    Group {
        name: "RLIMIT_NOFILE",
        options: &["--ulimit", "nofile=32:32"],
        rows: &[("without-descriptors /bin/witness", Some(["openat", "EMFILE", "limit", "RLIMIT_NOFILE"]))],
        ..PLAIN
    },
    Group {
        name: "RLIMIT_NPROC",
        options: &["-u", "4711", "--ulimit", "nproc=6:6"],
        rows: &[("without-processes", Some(["clone", "EAGAIN", "limit", "RLIMIT_NPROC"]))],
        ..PLAIN
    },
    Group {
        name: "RLIMIT_FSIZE",
        options: &["--ulimit", "fsize=65536:65536"],
        rows: &[
            ("large-file /tmp/large 1000000", Some(["ftruncate", "EFBIG", "limit", "RLIMIT_FSIZE"])),
            fine("large-file /tmp/small 1000"),
        ],
        ..PLAIN
    },
    Group {
        name: "RLIMIT_SIGPENDING",
        options: &["-u", "4712", "--ulimit", "sigpending=4:4"],
        rows: &[("timers", Some(["timer_create", "EAGAIN", "limit", "RLIMIT_SIGPENDING"]))],
        ..PLAIN
    },
    Group {
        name: "RLIMIT_MSGQUEUE",
        options: &["--ulimit", "msgqueue=32768:32768"],
        rows: &[("queue", Some(["mq_open", "EMFILE", "limit", "RLIMIT_MSGQUEUE"]))],
        ..PLAIN
    },
    Group {
        name: "pids.max",
        options: &["--pids-limit", "14"],
        rows: &[("without-processes", Some(["clone", "EAGAIN", "limit", "pids.max"]))],
        ..PLAIN
    },
];

/// A user namespace made inside.
pub(super) const NESTED: Group = Group {
    name: "a nested user namespace",
    options: &["--security-opt", UNCONFINED],
    rows: &[
        fine("create /f y"),
        fine("chmod /f 0600"),
        fine("chown /f 1000"),
        fine("nested chroot /"),
        elsewhere("nested sethostname x", "sethostname", "CAP_SYS_ADMIN first"),
        elsewhere("nested mount-tmpfs /tmp", "mount", "CAP_SYS_ADMIN"),
        elsewhere("nested socket 17 3", "socket", "CAP_NET_RAW"),
        elsewhere("nested raise-interface", "ioctl", "CAP_NET_ADMIN"),
        elsewhere("nested mknod /n c 1 3", "mknodat", "CAP_MKNOD first"),
        elsewhere("nested syscall 227 0 m:16", "clock_settime", "CAP_SYS_TIME first"),
        elsewhere("nested syscall 169 0xfee1dead 672274793 0", "reboot", "CAP_SYS_BOOT"),
        // The owner has no number inside: the capability there does not count.
        elsewhere("nested chmod /f 0644", "fchmodat", "owner /f"),
        ("nested open /f", Some(["openat", "EACCES", "namespace", "owner /f"])),
    ],
    ..PLAIN
};

/// no_new_privs and a set-user-ID program.
pub(super) const NO_NEW_PRIVS: Group = Group {
    name: "no_new_privs",
    options: &["--security-opt", "no-new-privileges", "--tmpfs", "/x:exec,suid,mode=755"],
    rows: &[
        fine("copy /bin/witness /x/suid"),
        fine("chmod /x/suid 04755"),
        lacks("as 1000 exec /x/suid quiet setuid 0", "setuid", "CAP_SETUID no_new_privs"),
        lacks("as 1000 exec /x/suid quiet chroot /", "chroot", "CAP_SYS_CHROOT no_new_privs"),
        fine("as 1000 exec /x/suid quiet syscall 39"),
    ],
    ..PLAIN
};

/// The same program where it counts.
pub(super) const NEW_PRIVS: Group = Group {
    name: "a set-user-ID program",
    options: &["--tmpfs", "/x:exec,suid,mode=755"],
    rows: &[
        fine("copy /bin/witness /x/suid"),
        fine("chmod /x/suid 04755"),
        lacks("as 1000 setuid 0", "setuid", "CAP_SETUID root"),
        fine("as 1000 exec /x/suid quiet setuid 0"),
        fine("as 1000 exec /x/suid quiet chroot /"),
    ],
    ..PLAIN
};

/// Every container of the table.
pub(super) fn all() -> impl Iterator<Item = &'static Group> {
    const ALL: [&Group; 11] = [
        &FILTERS,
        &GATE,
        &ACTIONS,
        &OWN_FILTERS,
        &CAPABILITIES,
        &OWNERS,
        &USER,
        &FILES,
        &READ_ONLY,
        &NO_NEW_PRIVS,
        &NEW_PRIVS,
    ];
    ALL.into_iter().chain(&LIMITS).chain([&NESTED])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_has_at_least_sixty_refusals_and_every_capability_that_refuses() {
        let refused: Vec<&Row> =
            all().flat_map(|group| group.rows).filter(|(_, expected)| expected.is_some()).collect();
        assert!(refused.len() >= 60, "{}", refused.len());
        let words = refused
            .iter()
            .filter_map(|(_, expected)| expected.as_ref())
            .flat_map(|row| row[3].split([' ', '|']));
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("CAP_")).collect();
        // FSETID, NET_BROADCAST and BLOCK_SUSPEND never refuse, netlink's AUDIT_WRITE and AUDIT_CONTROL do so in a message, and
        // MAC_OVERRIDE and MAC_ADMIN are Smack's.
        let without = [
            "CAP_FSETID",
            "CAP_NET_BROADCAST",
            "CAP_BLOCK_SUSPEND",
            "CAP_AUDIT_WRITE",
            "CAP_AUDIT_CONTROL",
            "CAP_MAC_OVERRIDE",
            "CAP_MAC_ADMIN",
        ];
        for capability in every_capability() {
            assert!(named.contains(capability) != without.contains(&capability), "{capability}");
        }
    }

    fn every_capability() -> [&'static str; 41] {
        [
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_DAC_READ_SEARCH",
            "CAP_FOWNER",
            "CAP_FSETID",
            "CAP_KILL",
            "CAP_SETGID",
            "CAP_SETUID",
            "CAP_SETPCAP",
            "CAP_LINUX_IMMUTABLE",
            "CAP_NET_BIND_SERVICE",
            "CAP_NET_BROADCAST",
            "CAP_NET_ADMIN",
            "CAP_NET_RAW",
            "CAP_IPC_LOCK",
            "CAP_IPC_OWNER",
            "CAP_SYS_MODULE",
            "CAP_SYS_RAWIO",
            "CAP_SYS_CHROOT",
            "CAP_SYS_PTRACE",
            "CAP_SYS_PACCT",
            "CAP_SYS_ADMIN",
            "CAP_SYS_BOOT",
            "CAP_SYS_NICE",
            "CAP_SYS_RESOURCE",
            "CAP_SYS_TIME",
            "CAP_SYS_TTY_CONFIG",
            "CAP_MKNOD",
            "CAP_LEASE",
            "CAP_AUDIT_WRITE",
            "CAP_AUDIT_CONTROL",
            "CAP_SETFCAP",
            "CAP_MAC_OVERRIDE",
            "CAP_MAC_ADMIN",
            "CAP_SYSLOG",
            "CAP_WAKE_ALARM",
            "CAP_BLOCK_SUSPEND",
            "CAP_AUDIT_READ",
            "CAP_PERFMON",
            "CAP_BPF",
            "CAP_CHECKPOINT_RESTORE",
        ]
    }
}

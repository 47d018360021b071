//! What is refused for want of a capability, and what no capability held inside a user namespace is good for.

use super::{Group, PLAIN, UNCONFINED, elsewhere, fine, lacks};

/// No capability at all and no filter.
pub(in super::super) const CAPABILITIES: Group = Group {
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
pub(in super::super) const OWNERS: Group = Group {
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

/// A user namespace made inside.
pub(in super::super) const NESTED: Group = Group {
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
pub(in super::super) const NO_NEW_PRIVS: Group = Group {
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
pub(in super::super) const NEW_PRIVS: Group = Group {
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

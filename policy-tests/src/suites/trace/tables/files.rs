//! What modes, owners, lists, mounts and devices refuse.

use super::{Group, PLAIN, UNCONFINED, bound, fine, lacks, seccomp};

/// A user and the files of root.
pub(in super::super) const USER: Group = Group {
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
pub(in super::super) const FILES: Group = Group {
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

/// What Landlock refuses a process that confined itself: seen where programs of the tracer may stand behind its functions.
pub(in super::super) const LANDLOCK: Group = Group {
    name: "Landlock",
    rows: &[
        fine("open /bin/witness"),
        ("landlocked open /bin/witness", Some(["openat", "EACCES", "lsm", "landlock"])),
        bound("landlocked as 1000 create /x y", "openat", "CAP_DAC_OVERRIDE / 0755"),
    ],
    ..PLAIN
};
/// The same where they may not.
pub(in super::super) const LANDLOCK_UNSEEN: Group = Group {
    name: "Landlock, unseen",
    rows: &[(
        "landlocked open /bin/witness",
        Some(["openat", "EACCES", "unknown", "landlock cannot be observed here"]),
    )],
    ..PLAIN
};

/// What the AppArmor profile of `modules.rs` refuses. Its name is known as long as the process lives.
pub(in super::super) const APPARMOR: Group = Group {
    name: "AppArmor",
    options: &["--security-opt", "apparmor=plimtest", "--cap-add", "SYS_ADMIN,SYS_TIME"],
    rows: &[
        fine("create /tmp/fine x"),
        ("slowly create /tmp/silent x", by_apparmor("openat", "EACCES")),
        ("slowly create /tmp/told x", by_apparmor("openat", "EACCES")),
        ("slowly mkdir /tmp/dir", by_apparmor("mkdir", "EACCES")),
        ("slowly syscall 227 0 m:16", by_apparmor("clock_settime", "EPERM")),
        ("slowly socket 17 3", by_apparmor("socket", "EACCES")),
        fine("socket 2 1"),
        fine("copy /bin/witness /tmp/program"),
        ("slowly exec /tmp/program", by_apparmor("execve", "EACCES")),
        ("slowly syscall 165 s:none s:/tmp s:tmpfs 0 0", by_apparmor("mount", "EACCES")),
        ("slowly umount /proc", by_apparmor("umount2", "EACCES")),
        bound("as 1000 create /x y", "openat", "CAP_DAC_OVERRIDE / 0755"),
    ],
    ..PLAIN
};
const fn by_apparmor(name: &'static str, errno: &'static str) -> Option<[&'static str; 4]> {
    Some([name, errno, "lsm", "apparmor plimtest"])
}
/// The same where it cannot be seen.
pub(in super::super) const APPARMOR_UNSEEN: Group = Group {
    name: "AppArmor, unseen",
    options: APPARMOR.options,
    rows: &[(
        "create /tmp/silent x",
        Some(["openat", "EACCES", "unknown", "apparmor cannot be observed here"]),
    )],
    ..PLAIN
};

/// Under the policy of modules.rs.
pub(in super::super) const SELINUX: Group = Group {
    name: "SELinux",
    options: &["--cap-add", "SYS_TIME"],
    rows: &[
        fine("open /proc/uptime"),
        ("slowly open /proc/version", by_selinux("openat", "EACCES")),
        ("slowly syscall 227 0 m:16", by_selinux("clock_settime", "EPERM")),
        ("as 1000 open /proc/kmsg", Some(["openat", "EACCES", "permission", "/proc/kmsg 0400"])),
        bound("as 1000 create /x y", "openat", "CAP_DAC_OVERRIDE / 0755"),
        seccomp("syscall 169 1", "reboot"),
    ],
    ..PLAIN
};
const fn by_selinux(name: &'static str, errno: &'static str) -> Option<[&'static str; 4]> {
    Some([name, errno, "lsm", "selinux plim_u:plim_r:plim_t"])
}

/// A read-only root.
pub(in super::super) const READ_ONLY: Group = Group {
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

//! Limits of the process, the user and the cgroup.

use super::{Group, PLAIN, fine};

/// Limits of the process, the user and the cgroup.
pub(in super::super) const LIMITS: [Group; 8] = [
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

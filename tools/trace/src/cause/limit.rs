//! Limits of a process, of its user and of its cgroup.

use plim_model::Capability;

use super::capability::{asked_for, asks_for_memory, cap};
use super::{Cause, Kind, Known};
use crate::event::{Event, flag};

/// What an errno of a call says of limits; `None` for an error that is no refusal.
pub(super) fn judge(event: &Event, known: &Known<'_>, name: &str, errno: u16) -> Option<Cause> {
    let limit = |detail: &str| Some(Cause::new(Kind::Limit, detail));
    match (errno, name) {
        // EAGAIN
        (11, "fork" | "vfork" | "clone" | "clone3") => {
            let by_user = event.asked.iter().any(|asked| {
                let number = asked.capability.number();
                number == cap::SYS_RESOURCE || (number == cap::SYS_ADMIN && !asks_for_memory(event, name))
            });
            limit(if by_user {
                "RLIMIT_NPROC: the user has as many processes as it may"
            } else {
                "pids.max of the cgroup, or kernel.threads-max: RLIMIT_NPROC was not asked for"
            })
        }
        (11, "execve" | "execveat") => {
            limit("RLIMIT_NPROC: the user that the process became has more processes than it may")
        }
        (11, "timer_create" | "rt_sigqueueinfo" | "rt_tgsigqueueinfo") => {
            limit("RLIMIT_SIGPENDING: the user has as many signals queued as it may")
        }
        // EAGAIN, ENOMEM
        (11 | 12, _) if asked_for(event, cap::IPC_LOCK) => memlock(event),
        // EMFILE
        (24, name) => limit(descriptors(known, name)),
        // EFBIG: the kernel sent SIGXFSZ, which it does for this limit alone
        (27, _) if event.has(flag::XFSZ) => limit("RLIMIT_FSIZE: the file would become larger than it may"),
        // ENOSPC
        (28, "unshare" | "clone" | "clone3") => {
            limit("user.max_*_namespaces: the user has as many namespaces as it may")
        }
        _ => None,
    }
}

/// Memory that is to be locked and may not be, whether some of it may (ENOMEM) or none (EPERM): CAP_IPC_LOCK overrides it.
pub(super) fn memlock(event: &Event) -> Option<Cause> {
    let locks = matches!(
        super::name(event)?,
        "mlock" | "mlock2" | "mlockall" | "mmap" | "mmap2" | "mremap" | "shmctl"
    );
    locks.then(|| Cause {
        capability: Capability::from_number(cap::IPC_LOCK).map(|capability| capability.to_string()),
        ..Cause::new(Kind::Limit, "RLIMIT_MEMLOCK: the process has as much memory locked as it may")
    })
}

/// Which of the two limits that EMFILE stands for.
fn descriptors(known: &Known<'_>, name: &str) -> &'static str {
    match (name, known.descriptors_used_up) {
        ("mq_open", Some(false)) => {
            "RLIMIT_MSGQUEUE: the user's message queues hold as many bytes as they may"
        }
        ("mq_open", None) => "RLIMIT_NOFILE of the process, or RLIMIT_MSGQUEUE of the user",
        ("inotify_init" | "inotify_init1", Some(false)) => {
            "fs.inotify.max_user_instances: the user has as many as it may"
        }
        ("inotify_init" | "inotify_init1", None) => {
            "RLIMIT_NOFILE of the process, or fs.inotify.max_user_instances of the user"
        }
        ("fanotify_init", Some(false)) => "fs.fanotify.max_user_groups: the user has as many as it may",
        ("fanotify_init", None) => "RLIMIT_NOFILE of the process, or fs.fanotify.max_user_groups of the user",
        _ => "RLIMIT_NOFILE: the process has as many descriptors as it may",
    }
}

//! Processes that could look into the container's first process while it is being made.
//!
//! Until its execve(2) that process has the host's root, descriptors and the launcher's memory. In a pid namespace that is
//! joined, other processes see it. It is undumpable before it enters, so all of that, its `/proc` files and ptrace(2) need
//! CAP_SYS_PTRACE in the user namespace that its memory belongs to, which is the launcher's (ptrace(2), "Ptrace access mode
//! checking"). So a pid namespace in which a process has that capability, or may get it, is not joined: with it, that process
//! would take the place of ours, with all of the launcher's capabilities (runc 1.1.5 lets it).

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use plim_model::{Capability, CapabilitySet};

use crate::error::{During, Result, RuntimeError};
use crate::{sys, whole};

/// How often all processes are looked at when some of them end meanwhile.
const LOOKS_MAX: usize = 50;

/// Refuses to join `pid_namespace` while a process that sees into it could trace ours.
pub(crate) fn refuse(pid_namespace: &OwnedFd) -> Result<()> {
    let doing = "join the pid namespace";
    let seeing = seeing(pid_namespace.as_fd())?;
    if seeing.is_empty() {
        return Ok(());
    }
    for _ in 0..LOOKS_MAX {
        match look(&seeing)? {
            Look::Clear => return Ok(()),
            // What ended may have left a child that was not in the list.
            Look::Moving => {}
            Look::Observer(pid) => {
                return Err(RuntimeError::refused(
                    doing,
                    format!(
                        "process {pid} in it has CAP_SYS_PTRACE in one of its sets and could take over the container's \
                         first process before its command starts; start that container without the capability \
                         (for Docker: without --privileged and --cap-add SYS_PTRACE)"
                    ),
                ));
            }
        }
    }
    Err(RuntimeError::refused(doing, "processes end faster than their capabilities can be looked at"))
}

/// The inode numbers of the pid namespaces whose processes see those of `joined`: itself and those between it and ours. Empty
/// when it is ours.
fn seeing(joined: BorrowedFd<'_>) -> Result<BTreeSet<u64>> {
    let doing = || "find the pid namespaces above the one to join";
    let own = inode(Path::new("/proc/self/ns/pid")).during(doing)?;
    let mut namespace = joined.try_clone_to_owned().during(doing)?;
    let mut found = BTreeSet::new();
    loop {
        let inode = fstat(&namespace).during(doing)?.st_ino;
        if inode == own {
            return Ok(found);
        }
        found.insert(inode);
        namespace = match sys::parent_namespace(namespace.as_fd()) {
            Ok(parent) => parent,
            // Not below ours: setns(2) refuses it.
            Err(Errno::EPERM) => return Ok(found),
            Err(errno) => return Err(errno).during(doing),
        };
    }
}

enum Look {
    Clear,
    Moving,
    Observer(i32),
}

fn look(seeing: &BTreeSet<u64>) -> Result<Look> {
    let doing = || "look at the processes of the pid namespace to join";
    let own_user = inode(Path::new("/proc/self/ns/user")).during(doing)?;
    let own_depth = status(Path::new("/proc/self")).during(doing)?.ns_pid.len();
    let mut moving = false;
    for process in std::fs::read_dir("/proc").during(doing)? {
        let process = process.during(doing)?;
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let path = process.path();
        let observes = may_trace(&path, own_depth).and_then(|may| {
            if !may {
                return Ok(false);
            }
            let namespaces =
                inode(&path.join("ns/pid")).and_then(|pid| Ok((pid, inode(&path.join("ns/user"))?)));
            match namespaces {
                // Capabilities in another user namespace do not count in the launcher's. What is in one above it is the host.
                Ok((pid, user)) => Ok(seeing.contains(&pid) && user == own_user),
                Err(error) if gone(&error) => Err(error),
                // Not to be known: it may be one.
                Err(_) => Ok(true),
            }
        });
        match observes {
            Ok(true) => return Ok(Look::Observer(pid)),
            Ok(false) => {}
            Err(error) if gone(&error) => moving = true,
            Err(error) => return Err(error).during(|| format!("look at process {pid}")),
        }
    }
    Ok(if moving { Look::Moving } else { Look::Clear })
}

/// Whether a thread of the process has CAP_SYS_PTRACE or can get it. The launcher's own pid namespace, `own_depth` deep, is
/// left out: one look at a process of the host has to do.
fn may_trace(process: &Path, own_depth: usize) -> std::io::Result<bool> {
    if status(process)?.ns_pid.len() <= own_depth {
        return Ok(false);
    }
    for thread in std::fs::read_dir(process.join("task"))? {
        let sets = status(&thread?.path())?.capabilities;
        let sets = [sets.effective, sets.permitted, sets.inheritable, sets.bounding, sets.ambient];
        if sets.into_iter().any(traces) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn traces(set: CapabilitySet) -> bool {
    Capability::from_name("SYS_PTRACE").is_none_or(|trace| set.contains(trace))
}

fn inode(path: &Path) -> std::io::Result<u64> {
    Ok(std::fs::metadata(path)?.ino())
}

fn gone(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

fn status(of: &Path) -> std::io::Result<plim_model::parse::status::Status> {
    let text = String::from_utf8_lossy(&whole::bytes(of.join("status"))?).into_owned();
    plim_model::parse::status::parse(&text).map_err(|error| std::io::Error::other(error.to_string()))
}

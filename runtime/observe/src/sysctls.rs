//! Namespaced sysctls as the target sees them.
//!
//! /proc/sys shows the network, ipc and uts values of whoever reads it (`current->nsproxy`), whatever mount it is read
//! through. So a thread of its own enters the target's namespaces, reads the reader's own /proc, and ends.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use plim_model::{NamespaceKind, Observed};

use crate::helper::{self, Request};
use crate::namespaces::Inodes;
use crate::procdir::{Process, TaskDir, read_bounded};
use crate::why::{observed, refusal};

/// What is read, by the namespace that owns it: what Docker and Kubernetes let a container set, and what decides
/// how a container's network stack treats strangers.
const NAMES: [(NamespaceKind, &[&str]); 2] = [
    (
        NamespaceKind::Ipc,
        &[
            "fs.mqueue.msg_default",
            "fs.mqueue.msg_max",
            "fs.mqueue.msgsize_default",
            "fs.mqueue.msgsize_max",
            "fs.mqueue.queues_max",
            "kernel.msgmax",
            "kernel.msgmnb",
            "kernel.msgmni",
            "kernel.sem",
            "kernel.shm_rmid_forced",
            "kernel.shmall",
            "kernel.shmmax",
            "kernel.shmmni",
        ],
    ),
    (
        NamespaceKind::Net,
        &[
            "net.core.somaxconn",
            "net.ipv4.conf.all.accept_redirects",
            "net.ipv4.conf.all.accept_source_route",
            "net.ipv4.conf.all.forwarding",
            "net.ipv4.conf.all.route_localnet",
            "net.ipv4.conf.all.rp_filter",
            "net.ipv4.conf.all.send_redirects",
            "net.ipv4.icmp_echo_ignore_broadcasts",
            "net.ipv4.ip_forward",
            "net.ipv4.ip_local_port_range",
            "net.ipv4.ip_unprivileged_port_start",
            "net.ipv4.ping_group_range",
            "net.ipv4.tcp_keepalive_time",
            "net.ipv4.tcp_syncookies",
            "net.ipv6.conf.all.accept_ra",
            "net.ipv6.conf.all.disable_ipv6",
            "net.ipv6.conf.all.forwarding",
            "net.ipv6.conf.default.disable_ipv6",
        ],
    ),
];

/// Bound for one value.
const LONGEST: usize = 4096;

/// Reads the list for a target with these namespaces.
pub(crate) fn read(process: &Process, namespaces: &Inodes) -> BTreeMap<String, Observed<String>> {
    let own = Process::open(plim_model::HostPid(std::process::id().cast_signed()))
        .map(|process| crate::namespaces::inodes(&process.dir))
        .unwrap_or_default();
    let mut values = BTreeMap::new();
    for (kind, names) in NAMES {
        let place = match (namespaces.get(&kind), own.get(&kind)) {
            (Some(Observed::Present(inode)), Some(Observed::Present(own))) if inode == own => Ok(None),
            (Some(Observed::Absent), _) => Ok(None),
            _ => namespace(&process.dir, kind).map(Some),
        };
        let read = match place {
            Ok(None) => read_here(names),
            Ok(Some(namespace)) => relayed(namespace, kind, names),
            Err(why) => names.iter().map(|name| Observed::Unknown(format!("read {name}: {why}"))).collect(),
        };
        values.extend(names.iter().map(|name| (*name).to_owned()).zip(read));
    }
    values
}

fn namespace(task: &TaskDir, kind: NamespaceKind) -> Result<OwnedFd, String> {
    task.namespace_fd(kind)
        .map_err(|errno| refusal(&format!("open /proc/PID/ns/{kind}"), errno, crate::why::PTRACE))
}

/// By the helper where there is one: this process may not enter a namespace then.
fn relayed(namespace: OwnedFd, kind: NamespaceKind, names: &[&str]) -> Vec<Observed<String>> {
    match helper::ask(&Request::Sysctls(namespace.as_raw_fd(), kind)) {
        None => read_inside(namespace, kind),
        Some(relayed) => relayed.and_then(|read| read).unwrap_or_else(|why: String| {
            names.iter().map(|name| Observed::Unknown(format!("read {name}: {why}"))).collect()
        }),
    }
}

/// setns(2) changes the calling thread alone, so the thread is thrown away afterwards.
pub(crate) fn read_inside(namespace: OwnedFd, kind: NamespaceKind) -> Vec<Observed<String>> {
    let names = NAMES.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, names)| *names);
    let enter = move || {
        let flag =
            if kind == NamespaceKind::Net { CloneFlags::CLONE_NEWNET } else { CloneFlags::CLONE_NEWIPC };
        match setns(&namespace, flag) {
            Ok(()) => read_here(names),
            Err(errno) => {
                let why =
                    refusal(&format!("enter the target's {kind} namespace"), errno, Some("CAP_SYS_ADMIN"));
                names.iter().map(|name| Observed::Unknown(format!("read {name}: {why}"))).collect()
            }
        }
    };
    let failed = |why: &str| names.iter().map(|_| Observed::Unknown(why.to_owned())).collect();
    match std::thread::Builder::new().name("plim-sysctls".to_owned()).spawn(enter) {
        Ok(thread) => thread.join().unwrap_or_else(|_| failed("the reading thread panicked")),
        Err(error) => failed(&format!("start a thread: {error}")),
    }
}

/// Reads each in the calling thread's namespaces. ENOENT: this kernel (or a container without IPv6) does not have it.
fn read_here(names: &[&str]) -> Vec<Observed<String>> {
    names
        .iter()
        .map(|name| {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            let value = open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(|errno| match errno {
                    // /proc/sys of a mount without the entry's directory.
                    Errno::ENOTDIR => Errno::ENOENT.into(),
                    errno => errno.into(),
                })
                .and_then(|fd| read_bounded(fd, LONGEST));
            observed(&format!("read {path}"), None, value)
                .map(|value| String::from_utf8_lossy(&value).trim().replace('\t', " "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_values_are_read_without_entering_anything() {
        let own = Process::open(plim_model::HostPid(std::process::id().cast_signed())).expect("self");
        let values = read(&own, &crate::namespaces::inodes(&own.dir));
        let shmmni = std::fs::read_to_string("/proc/sys/kernel/shmmni").expect("read");
        assert_eq!(values["kernel.shmmni"], Observed::Present(shmmni.trim().to_owned()));
        assert_eq!(values.len(), NAMES[0].1.len() + NAMES[1].1.len());
    }
}

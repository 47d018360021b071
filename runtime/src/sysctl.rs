//! sysctls of the container's own namespaces.

use std::collections::BTreeMap;

use plim_model::NamespaceKind;

use crate::config::{ContainerConfig, NamespaceMode};
use crate::error::{Result, RuntimeError};
use crate::rootfs::resolve::Procfs;

/// sysctls that belong to an ipc namespace (ipc_namespaces(7)).
const OF_IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/msg_next_id",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
    "kernel/auto_msgmni",
];

/// The path below /proc/sys. Dots separate, unless the first separator is a slash: then a dot is part of a name
/// (`net/ipv4/conf/eth0.1/forwarding`), as in sysctl(8).
fn path(name: &str) -> String {
    match (name.find('.'), name.find('/')) {
        (Some(dot), Some(slash)) if dot < slash => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        (Some(_), None) => name.replace('.', "/"),
        _ => name.to_owned(),
    }
}

/// Refuses sysctls that would change the host: those of no namespace, or of one that the container shares with it.
pub(crate) fn check(config: &ContainerConfig) -> Result<()> {
    for name in config.sysctls.keys() {
        let path = path(name);
        let refuse = |why: &str| Err(RuntimeError::refused(format!("set sysctl {name}"), why));
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return refuse("the name is not a sysctl's");
        }
        let kind = if path.starts_with("net/") {
            NamespaceKind::Net
        } else if path.starts_with("fs/mqueue/") || OF_IPC.contains(&path.as_str()) {
            NamespaceKind::Ipc
        } else if path == "kernel/domainname" || path == "kernel/hostname" {
            NamespaceKind::Uts
        } else {
            return refuse("it belongs to no namespace, so it would change the host");
        };
        match config.namespaces.get(&kind) {
            Some(NamespaceMode::New) => {}
            Some(NamespaceMode::Join(_)) if kind != NamespaceKind::Uts => {}
            _ => {
                return refuse(&format!(
                    "the container has no {kind} namespace of its own, so it would change the host"
                ));
            }
        }
    }
    Ok(())
}

/// Writes them. The caller is in the container's namespaces; which namespace a file of /proc/sys speaks of depends on
/// who opens it (proc_sys(5)), so the host's procfs, which is trusted, serves.
pub(crate) fn write(procfs: &Procfs, sysctls: &BTreeMap<String, String>) -> Result<()> {
    sysctls
        .iter()
        .try_for_each(|(name, value)| procfs.write(&format!("sys/{}", path(name)), value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        assert_eq!(path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(path("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(path("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
    }
}

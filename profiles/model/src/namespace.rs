//! The eight namespace kinds of Linux (namespaces(7)).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{NamespaceId, Observed};

/// A namespace kind, spelt as the file under `/proc/PID/ns/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// cgroup root directory (cgroup_namespaces(7), Linux 4.6)
    Cgroup,
    /// System V IPC and POSIX message queues (ipc_namespaces(7))
    Ipc,
    /// mount points (mount_namespaces(7))
    Mnt,
    /// network devices, stacks, ports (network_namespaces(7))
    Net,
    /// process ids (pid_namespaces(7))
    Pid,
    /// boot and monotonic clocks (time_namespaces(7), Linux 5.6)
    Time,
    /// user and group ids, capabilities (user_namespaces(7))
    User,
    /// host name and NIS domain name (uts_namespaces(7))
    Uts,
}

impl NamespaceKind {
    /// Every kind, in alphabetical order.
    pub const ALL: [NamespaceKind; 8] = [
        NamespaceKind::Cgroup,
        NamespaceKind::Ipc,
        NamespaceKind::Mnt,
        NamespaceKind::Net,
        NamespaceKind::Pid,
        NamespaceKind::Time,
        NamespaceKind::User,
        NamespaceKind::Uts,
    ];

    /// The file name under `/proc/PID/ns/`.
    pub fn as_str(self) -> &'static str {
        match self {
            NamespaceKind::Cgroup => "cgroup",
            NamespaceKind::Ipc => "ipc",
            NamespaceKind::Mnt => "mnt",
            NamespaceKind::Net => "net",
            NamespaceKind::Pid => "pid",
            NamespaceKind::Time => "time",
            NamespaceKind::User => "user",
            NamespaceKind::Uts => "uts",
        }
    }
}

impl std::fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One namespace of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Namespace {
    /// The inode of `/proc/PID/ns/KIND`: identity, not a privilege.
    pub inode: NamespaceId,
    /// Whether pid 1 of the host is in the same namespace.
    pub shared_with_host: Observed<bool>,
    /// Other containers in this namespace, as target names (`docker:web`), sorted; empty when alone.
    #[serde(default)]
    pub shared_with: Vec<String>,
}

/// The namespaces of a target by kind; a kind that the kernel does not have is absent.
pub type Namespaces = BTreeMap<NamespaceKind, Observed<Namespace>>;

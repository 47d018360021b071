//! Numbers with types: pids, namespace inodes, id maps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A process id as the host's initial pid namespace numbers it (`/proc/PID` on the host).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct HostPid(pub i32);

/// A process id as the target's own pid namespace numbers it (last value of `NSpid:` in `/proc/PID/status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ContainerPid(pub i32);

/// The inode number that names a namespace while it lives (namespaces(7)); reused after it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NamespaceId(pub u64);

impl std::fmt::Display for HostPid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One line of `/proc/PID/uid_map` or `gid_map` (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct IdMapping {
    /// First id inside the user namespace.
    pub inside: u32,
    /// First id outside, in the parent user namespace as the reader sees it.
    pub outside: u32,
    /// How many consecutive ids are mapped, at least 1.
    pub count: u32,
}

/// The uid and gid maps of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdMap {
    /// `/proc/PID/uid_map`, in the kernel's order.
    pub uid: Vec<IdMapping>,
    /// `/proc/PID/gid_map`, in the kernel's order.
    pub gid: Vec<IdMapping>,
}

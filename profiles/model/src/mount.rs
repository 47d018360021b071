//! Mounts as `/proc/PID/mountinfo` tells them (proc_pid_mountinfo(5)).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One mount of the target's mount namespace, in the kernel's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mount {
    /// Where it is mounted, below the target's root; octal escapes decoded, invalid UTF-8 replaced.
    pub target: String,
    /// The directory of the file system that is mounted (`/` unless it is a bind mount).
    pub root: String,
    /// File system type (`overlay`, `tmpfs`, `proc`).
    pub fs_type: String,
    /// What is mounted, as the mounter named it (a device, `overlay`, `proc`).
    pub source: String,
    /// Per-mount options, sorted (`nodev`, `noexec`, `nosuid`, `ro`, `rw`, `relatime`).
    pub options: Vec<String>,
    /// Options of the file system's superblock, sorted.
    pub super_options: Vec<String>,
    /// Propagation (mount_namespaces(7)).
    pub propagation: Propagation,
}

/// Where mount events travel (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// Neither sends nor receives.
    Private,
    /// Sends to and receives from its peer group.
    Shared,
    /// Receives only.
    Slave,
    /// Receives from a master and sends to its own peer group.
    SharedSlave,
    /// Private, and cannot be bind mounted.
    Unbindable,
}

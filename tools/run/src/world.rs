//! What [`crate::assemble`] needs to know of the machine: facts as plain data, and questions as a trait, so that the
//! assembly is tested without a machine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use plim_model::CapabilitySet;
use plim_model::rlimit::Limit;
use plim_seccomp::arch::Arch;
use plim_seccomp::resolve::KernelVersion;

/// What is known without asking.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Effective user id of the caller.
    pub(crate) uid: u32,
    /// Effective group id of the caller.
    pub(crate) gid: u32,
    /// What the caller can grant: permitted and within its bounding set.
    pub(crate) held: CapabilitySet,
    /// The native architecture.
    pub(crate) arch: Arch,
    /// The kernel's release.
    pub(crate) kernel: KernelVersion,
    /// The host's name.
    pub(crate) host_name: String,
    /// The host's memory in bytes.
    pub(crate) memory_bytes: u64,
}

/// A device node of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostDevice {
    /// `b` or `c`.
    pub(crate) kind: char,
    /// Device number.
    pub(crate) major: u32,
    /// Device number.
    pub(crate) minor: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
}

/// What a path of the host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathKind {
    /// A directory.
    Directory,
    /// A device node.
    Device(HostDevice),
    /// A file, socket or pipe.
    Other,
}

/// Questions about the machine. Nothing here changes it.
pub(crate) trait World {
    /// The contents of a regular file inside a root that is not trusted: symlinks are resolved inside it, and no more
    /// than 4 MiB are read. `None` when it is not there.
    fn read_in_root(&self, root: &Path, path: &str) -> Result<Option<String>>;
    /// A file of the host, no more than 16 MiB.
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>>;
    /// What is at a path of the host, symlinks followed.
    fn kind(&self, path: &Path) -> std::io::Result<PathKind>;
    /// The names of the directories in a directory of the host, links to directories left out.
    fn directories_in(&self, path: &Path) -> std::io::Result<Vec<String>>;
    /// The same place without symlinks, absolute.
    fn canonical(&self, path: &Path) -> std::io::Result<PathBuf>;
    /// Every device node below a directory, symlinks not followed, sorted by path; without `/dev/pts` and what else is
    /// the container's own.
    fn devices_below(&self, directory: &Path) -> std::io::Result<Vec<(PathBuf, HostDevice)>>;
    /// What is to serve weights of block devices: each line of `/sys/block/*/queue/scheduler` and of the root's
    /// `io.cost.qos`.
    fn block_schedulers(&self) -> Vec<String>;
    /// A variable of the caller's environment.
    fn env(&self, name: &str) -> Option<String>;
    /// The first process of a running container of any engine, by name.
    fn container_pid(&self, name: &str) -> Result<i32>;
    /// What SELinux makes of a context, for a command that is (`nosuid`) on a nosuid mount or has no_new_privs.
    fn selinux(&self, context: &str, nosuid: bool) -> crate::selinux::Answer;
    /// Every capability that the kernel has.
    fn kernel_capabilities(&self) -> Result<CapabilitySet>;
    /// The caller's own hard limit, by `RLIMIT_…` name.
    fn hard_limit(&self, name: &str) -> Option<Limit>;
}

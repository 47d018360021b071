//! A container's cgroups as they are: made by [`super::Plan::create`], held by descriptors, joined, and removed.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, read, write};
use serde::{Deserialize, Serialize};

use super::CgroupError;

/// The container's directory in each hierarchy.
#[derive(Debug)]
pub struct CgroupHandle {
    pub(super) dirs: Vec<Dir>,
    /// Made by the plan, shared with other containers.
    pub(super) parents: Vec<PathBuf>,
    /// Controllers that accounting wanted on v2 and that could not be enabled.
    pub unaccounted: Vec<String>,
}

/// One directory.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) label: String,
    pub(super) unified: bool,
    /// Absolute path, for people and the janitor.
    pub(super) path: PathBuf,
    /// Below the mount point, with a leading `/`.
    pub(super) in_hierarchy: String,
    pub(super) fd: OwnedFd,
}

/// What has to be removed when the container is gone, as plain data: another process can do it when this one is dead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The container's own directories.
    pub leaves: Vec<PathBuf>,
    /// Directories shared with other containers, deepest first; removed only when empty.
    pub parents: Vec<PathBuf>,
}

/// Reads a small file of a cgroup (at most 64 KiB).
pub(super) fn read_file(dir: impl AsFd, name: &str) -> nix::Result<String> {
    let fd = openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())?;
    let mut text = Vec::new();
    let mut part = [0; 4096];
    while text.len() < 1 << 16 {
        match read(&fd, &mut part) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&part[..length]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes a value in one go, as cgroup files want it.
pub(super) fn write_file(dir: impl AsFd, name: &str, value: &str) -> nix::Result<()> {
    let fd = openat(dir, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())?;
    write_fd(&fd, value)
}

fn write_fd(fd: impl AsFd, value: &str) -> nix::Result<()> {
    loop {
        match write(&fd, value.as_bytes()) {
            Err(Errno::EINTR) => {}
            Ok(length) if length == value.len() => return Ok(()),
            Ok(_) => return Err(Errno::EIO),
            Err(errno) => return Err(errno),
        }
    }
}

impl CgroupHandle {
    /// The container's directory in the v2 tree, for `CLONE_INTO_CGROUP` (Linux 5.7). `None` on pure v1.
    pub fn v2_dirfd(&self) -> Option<BorrowedFd<'_>> {
        self.dirs.iter().find(|dir| dir.unified).map(|dir| dir.fd.as_fd())
    }

    /// Opens what a child needs to enter the v1 hierarchies by itself. With `v2`, the v2 tree too: for a kernel before
    /// 5.7, or a clone that was refused (EBUSY, EOPNOTSUPP).
    ///
    /// # Errors
    /// A `tasks` or `cgroup.procs` file cannot be opened for writing.
    pub fn joiner(&self, v2: bool) -> Result<Joiner, CgroupError> {
        let files = self
            .dirs
            .iter()
            .filter(|dir| v2 || !dir.unified)
            .map(|dir| {
                // A v2 cgroup of the domain type takes whole processes only.
                let name = if dir.unified { "cgroup.procs" } else { "tasks" };
                let fd = openat(
                    &dir.fd,
                    name,
                    OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW,
                    Mode::empty(),
                )
                .map_err(|errno| CgroupError::os("open", dir.path.join(name), errno))?;
                Ok((dir.path.join(name), fd))
            })
            .collect::<Result<Vec<_>, CgroupError>>()?;
        Ok(Joiner { files })
    }

    /// Moves a process, all its threads, by its pid as the caller's pid namespace has it. Costs an RCU grace period
    /// (milliseconds) unless another move was just before; see [`CgroupHandle::joiner`] for the fast way.
    ///
    /// # Errors
    /// The process is gone (ESRCH), or the kernel refuses.
    pub fn attach(&self, pid: Pid) -> Result<(), CgroupError> {
        self.attach_where(pid, |_| true)
    }

    /// [`CgroupHandle::attach`] in the v1 hierarchies alone, for a child that was born in the v2 one.
    ///
    /// # Errors
    /// The same.
    pub fn attach_v1(&self, pid: Pid) -> Result<(), CgroupError> {
        self.attach_where(pid, |dir| !dir.unified)
    }

    fn attach_where(&self, pid: Pid, which: impl Fn(&Dir) -> bool) -> Result<(), CgroupError> {
        for dir in self.dirs.iter().filter(|dir| which(dir)) {
            write_file(&dir.fd, "cgroup.procs", &pid.to_string())
                .map_err(|errno| CgroupError::os("move a process into", &dir.path, errno))?;
        }
        Ok(())
    }

    /// The cgroup's path by controller (`memory`), named hierarchy (`name=systemd`) or `unified`, below the mount point.
    pub fn state_paths(&self) -> BTreeMap<String, String> {
        self.dirs
            .iter()
            .flat_map(|dir| dir.label.split(',').map(|name| (name.to_owned(), dir.in_hierarchy.clone())))
            .collect()
    }

    /// What has to be removed at the end.
    pub fn removal(&self) -> Removal {
        Removal {
            leaves: self.dirs.iter().map(|dir| dir.path.clone()).collect(),
            parents: self.parents.clone(),
        }
    }
}

/// Descriptors by which a child enters the v1 hierarchies. They are close-on-exec; open them before clone, use them in
/// the child **before** it enters a user namespace, drops capabilities or starts a second thread.
#[derive(Debug)]
pub struct Joiner {
    files: Vec<(PathBuf, OwnedFd)>,
}

impl Joiner {
    /// Moves the calling thread: in a child after clone without `CLONE_THREAD` that is the whole process. Only write(2):
    /// no allocation unless it fails, safe between fork and exec.
    ///
    /// # Errors
    /// The file and the errno of the first hierarchy that refused; those before it are joined.
    pub fn join(&self) -> Result<(), (&Path, Errno)> {
        for (path, fd) in &self.files {
            write_fd(fd, "0").map_err(|errno| (path.as_path(), errno))?;
        }
        Ok(())
    }

    /// How many hierarchies are joined.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Nothing to join: pure v2.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

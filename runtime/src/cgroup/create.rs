//! Carries a [`Plan`] out: every step by directory descriptors, so that nothing can be swapped between two of them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::handle::{Dir, read_file, write_file};
use super::{CgroupError, CgroupHandle, Plan, Removal, Step, TreePlan, Write, kill};
use crate::sys;

/// How often a shared parent may vanish under us (another container's end removes it) before we give up.
const MAX_RETRIES: usize = 64;

impl Plan {
    /// What [`Plan::create`] will make, known beforehand: a janitor that is told this first misses nothing even when
    /// the launcher dies half-way through.
    pub fn removal(&self) -> Removal {
        let mut removal = Removal::default();
        for tree in &self.trees {
            let dir = |depth: usize| {
                tree.path[..depth].iter().fold(tree.mountpoint.clone(), |dir, name| dir.join(name))
            };
            removal.leaves.push(dir(tree.path.len()));
            removal.parents.extend((tree.existing + 1..tree.path.len()).rev().map(dir));
        }
        removal
    }

    /// Carries the plan out. On failure, what was made is removed again.
    ///
    /// # Errors
    /// [`CgroupError::Exists`] when the container's directory is there already, [`CgroupError::NoFile`],
    /// [`CgroupError::Write`], [`CgroupError::Enable`] or [`CgroupError::Bpf`] when a limit cannot be set, and whatever
    /// else the kernel refuses.
    pub fn create(&self) -> Result<CgroupHandle, CgroupError> {
        let mut handle =
            CgroupHandle { dirs: Vec::new(), parents: self.removal().parents, unaccounted: Vec::new() };
        for tree in &self.trees {
            match create_tree(tree, &mut handle.unaccounted) {
                Ok(dir) => handle.dirs.push(dir),
                Err(error) => {
                    // The error is what the caller must hear; the removal is of empty directories of our own.
                    let _ = handle.remove();
                    return Err(error);
                }
            }
        }
        Ok(handle)
    }
}

fn create_tree(tree: &TreePlan, unaccounted: &mut Vec<String>) -> Result<Dir, CgroupError> {
    let mut tries = 0;
    loop {
        let mut made = None;
        match try_tree(tree, unaccounted, &mut made) {
            Ok(fd) => {
                let in_hierarchy = format!("/{}", tree.path.join("/"));
                let path = path_at(tree, tree.path.len());
                return Ok(Dir { label: tree.label.clone(), unified: tree.unified, path, in_hierarchy, fd });
            }
            // A parent was removed between our steps. Descriptors make this certain: nothing can be made or
            // opened in a removed directory, even when another of the same name is there by now.
            Err(CgroupError::Os { errno: Errno::ENOENT | Errno::ENODEV, .. })
                if made.is_none() && tries < MAX_RETRIES =>
            {
                tries += 1;
            }
            Err(error) => {
                if let Some(leaf) = made {
                    let _ = kill::remove_dir(&leaf, Duration::from_millis(100));
                }
                for depth in (tree.existing + 1..tree.path.len()).rev() {
                    let _ = std::fs::remove_dir(path_at(tree, depth));
                }
                return Err(error);
            }
        }
    }
}

fn path_at(tree: &TreePlan, depth: usize) -> PathBuf {
    tree.path[..depth].iter().fold(tree.mountpoint.clone(), |dir, name| dir.join(name))
}

/// One go through the steps. `made` is the container's own directory once it is ours to remove.
fn try_tree(
    tree: &TreePlan,
    unaccounted: &mut Vec<String>,
    made: &mut Option<PathBuf>,
) -> Result<OwnedFd, CgroupError> {
    let mut fds = vec![open_dir(nix::fcntl::AT_FDCWD, &tree.mountpoint, &tree.mountpoint)?];
    let reach = |fds: &mut Vec<OwnedFd>, depth: usize| -> Result<(), CgroupError> {
        while fds.len() <= depth {
            let at = fds.len();
            let fd = open_dir(&fds[at - 1], Path::new(&tree.path[at - 1]), &path_at(tree, at))?;
            fds.push(fd);
        }
        Ok(())
    };
    for step in &tree.steps {
        match step {
            Step::Enable { depth, required, wanted } => {
                reach(&mut fds, *depth)?;
                enable(&fds[*depth], &path_at(tree, *depth), required, wanted, unaccounted)?;
            }
            Step::MakeDir { depth } => {
                reach(&mut fds, depth - 1)?;
                let path = path_at(tree, *depth);
                let is_own = *depth == tree.path.len();
                match mkdirat(&fds[depth - 1], tree.path[depth - 1].as_str(), Mode::from_bits_truncate(0o755))
                {
                    Ok(()) if is_own => *made = Some(path),
                    Ok(()) => {}
                    Err(Errno::EEXIST) if is_own => return Err(CgroupError::Exists(path)),
                    Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(CgroupError::os("mkdir", path, errno)),
                }
            }
            Step::Inherit { depth, file } => {
                reach(&mut fds, *depth)?;
                inherit(&fds[depth - 1], &fds[*depth], file, &path_at(tree, *depth))?;
            }
            Step::Write(limit) => {
                reach(&mut fds, tree.path.len())?;
                write_limit(&fds[tree.path.len()], &path_at(tree, tree.path.len()), limit)?;
            }
            Step::DeviceProgram(program) => {
                reach(&mut fds, tree.path.len())?;
                let dir = path_at(tree, tree.path.len());
                attach_program(&fds[tree.path.len()], &dir, program)?;
            }
        }
    }
    reach(&mut fds, tree.path.len())?;
    fds.pop().ok_or_else(|| CgroupError::os("open", &tree.mountpoint, Errno::EINVAL))
}

/// A directory by descriptor; no symlink is followed (cgroupfs has none: one would be somebody's trick).
fn open_dir(at: impl AsFd, name: &Path, whole: &Path) -> Result<OwnedFd, CgroupError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty()).map_err(|errno| CgroupError::os("open", whole, errno))
}

/// Enables what is not enabled yet. Often nothing: systemd and earlier containers did.
fn enable(
    dir: &OwnedFd,
    path: &Path,
    required: &[String],
    wanted: &[String],
    unaccounted: &mut Vec<String>,
) -> Result<(), CgroupError> {
    let enabled = read_file(dir, "cgroup.subtree_control")
        .map_err(|errno| CgroupError::os("read", path.join("cgroup.subtree_control"), errno))?;
    let enabled: Vec<&str> = enabled.split_ascii_whitespace().collect();
    let missing = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| !enabled.contains(&name.as_str())).map(|name| format!("+{name}")).collect()
    };
    let (required, wanted) = (missing(required), missing(wanted));
    let both: Vec<String> = required.iter().chain(&wanted).cloned().collect();
    if both.is_empty() || write_file(dir, "cgroup.subtree_control", &both.join(" ")).is_ok() {
        return Ok(());
    }
    if !required.is_empty() {
        let controllers = required.join(" ");
        write_file(dir, "cgroup.subtree_control", &controllers).map_err(|errno| {
            // In a directory that was removed under us no file opens, and the ENOENT is not about the controller:
            // start again.
            if read_file(dir, "cgroup.controllers").is_err() {
                return CgroupError::os("write", path.join("cgroup.subtree_control"), Errno::ENOENT);
            }
            CgroupError::Enable { controllers, dir: path.to_owned(), errno, hint: enable_hint(path, errno) }
        })?;
    }
    for name in wanted {
        if write_file(dir, "cgroup.subtree_control", &name).is_err() {
            let name = name.trim_start_matches('+').to_owned();
            if !unaccounted.contains(&name) {
                unaccounted.push(name);
            }
        }
    }
    Ok(())
}

fn enable_hint(path: &Path, errno: Errno) -> String {
    match errno {
        Errno::EBUSY => format!(
            "; it has processes of its own, and then its children can have no controllers (cgroups(7), no internal \
             processes): move them into a child first, as in `mkdir {0}/init && for p in $(cat {0}/cgroup.procs); do \
             echo $p > {0}/init/cgroup.procs; done`",
            path.display()
        ),
        Errno::ENOENT => format!(
            "; {} does not list it: enable it for the children of every cgroup above",
            path.join("cgroup.controllers").display()
        ),
        Errno::EACCES | Errno::EPERM | Errno::EROFS => {
            "; not writable: delegate this cgroup with these controllers (systemd: Delegate=yes)".to_owned()
        }
        Errno::EOPNOTSUPP => "; it is a threaded cgroup".to_owned(),
        _ => String::new(),
    }
}

fn inherit(parent: &OwnedFd, dir: &OwnedFd, file: &str, path: &Path) -> Result<(), CgroupError> {
    let io = |what, errno| CgroupError::os(what, path.join(file), errno);
    if !read_file(dir, file).map_err(|errno| io("read", errno))?.trim().is_empty() {
        return Ok(());
    }
    let value = read_file(parent, file).map_err(|errno| io("read the parent of", errno))?;
    write_file(dir, file, value.trim()).map_err(|errno| io("write", errno))
}

fn write_limit(dir: &OwnedFd, path: &Path, limit: &Write) -> Result<(), CgroupError> {
    for (file, value) in &limit.choices {
        match write_file(dir, file, value) {
            Ok(()) => return Ok(()),
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                return Err(CgroupError::Write {
                    limit: limit.limit,
                    value: value.clone(),
                    file: path.join(file),
                    errno,
                    hint: write_hint(file, errno),
                });
            }
        }
    }
    let looked_for = limit
        .choices
        .iter()
        .map(|(file, _)| path.join(file).display().to_string())
        .collect::<Vec<_>>()
        .join(" or ");
    let hint = match limit.choices.first() {
        Some((file, _)) if file.contains("memsw") || file.contains("swap") => {
            "; boot with swapaccount=1, or ask for no swap limit"
        }
        Some((file, _)) if file.contains("weight") && limit.limit == "blkio weight" => {
            "; it comes with the BFQ I/O scheduler or iocost"
        }
        Some((file, _)) if file.starts_with("cpu.cfs") || *file == "cpu.max" => {
            "; it comes with CONFIG_CFS_BANDWIDTH"
        }
        _ => "",
    };
    Err(CgroupError::NoFile { limit: limit.limit, controller: limit.controller.to_owned(), looked_for, hint })
}

fn write_hint(file: &str, errno: Errno) -> &'static str {
    match errno {
        Errno::ENODEV | Errno::ENXIO if file.starts_with("io.") || file.starts_with("blkio.") => {
            "; there is no whole block device of this number (partitions are not throttled)"
        }
        Errno::EINVAL if file.starts_with("cpu.") => "; more than the parent cgroup has",
        Errno::EBUSY if file.starts_with("memory.") => "; more is in use",
        Errno::EPERM if file.starts_with("devices.") => {
            "; the parent cgroup does not allow this, or no CAP_SYS_ADMIN"
        }
        Errno::EACCES | Errno::EINVAL | Errno::ERANGE if file.starts_with("cpuset.") => {
            "; the parent cgroup does not have them"
        }
        Errno::EACCES | Errno::EPERM => "; this cgroup is not delegated to this user",
        _ => "",
    }
}

fn attach_program(dir: &OwnedFd, path: &Path, program: &[super::DeviceInsn]) -> Result<(), CgroupError> {
    let refuse = |what, errno| CgroupError::Bpf {
        what,
        dir: path.to_owned(),
        errno,
        hint: match errno {
            Errno::EPERM => "; CAP_SYS_ADMIN (or CAP_BPF) in the initial user namespace is missing",
            Errno::EINVAL | Errno::ENOSYS => "; it needs CONFIG_CGROUP_BPF, Linux 4.15",
            _ => "",
        },
    };
    let loaded =
        sys::bpf::load_device_program(program).map_err(|errno| refuse("load the device program", errno))?;
    sys::bpf::attach_device_program(dir.as_fd(), &loaded)
        .map_err(|errno| refuse("attach the device program", errno))
}

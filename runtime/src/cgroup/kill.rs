//! The end of a container's cgroups: freeze, kill, remove. Everything is bounded in time.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{CgroupError, CgroupHandle, Removal};
use crate::sys;

/// How long killing, freezing and removing may take in all, each.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits a little longer every time: a killed process is gone in well under a millisecond on an idle machine.
struct Pause {
    start: Instant,
    next: Duration,
    patience: Duration,
}

impl Pause {
    fn new(patience: Duration) -> Pause {
        Pause { start: Instant::now(), next: Duration::from_micros(50), patience }
    }

    /// `false` when time is up.
    fn wait(&mut self) -> bool {
        if self.start.elapsed() >= self.patience {
            return false;
        }
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(Duration::from_millis(10));
        true
    }

    fn waited_ms(&self) -> u128 {
        self.start.elapsed().as_millis()
    }
}

impl CgroupHandle {
    /// Stops every process of the container, by v2's `cgroup.freeze` (Linux 5.2) or v1's freezer.
    ///
    /// # Errors
    /// Neither is there, or not everything stopped within five seconds (a process in uninterruptible sleep).
    pub fn freeze(&self) -> Result<(), CgroupError> {
        set_frozen(&self.removal().leaves, true)
    }

    /// Lets them run again.
    ///
    /// # Errors
    /// As [`CgroupHandle::freeze`].
    pub fn thaw(&self) -> Result<(), CgroupError> {
        set_frozen(&self.removal().leaves, false)
    }

    /// Kills every process in the container's cgroups and their children, and waits until none is left.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when one outlived SIGKILL for five seconds.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        self.removal().kill_all()
    }

    /// Removes the container's directories, and the shared parents that are empty then. Processes that were killed
    /// but are not quite gone are waited for.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when a directory is still in use after five seconds; the others are removed all the same.
    pub fn remove(&self) -> Result<(), CgroupError> {
        self.removal().remove()
    }
}

impl Removal {
    /// [`CgroupHandle::kill_all`], by path: for another process than the one that made them. Directories that are not
    /// there hold nothing.
    ///
    /// # Errors
    /// The same.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        // cgroup.kill (Linux 5.14) takes the whole subtree at once, also processes that are just forking.
        for leaf in &self.leaves {
            // Not created where it is not: cgroupfs makes no files for us.
            let _ = fs::OpenOptions::new()
                .write(true)
                .open(leaf.join("cgroup.kill"))
                .and_then(|mut file| std::io::Write::write_all(&mut file, b"1"));
        }
        let mut pause = Pause::new(PATIENCE);
        let mut frozen = false;
        loop {
            let mut left = 0;
            for leaf in &self.leaves {
                for dir in subtree(leaf) {
                    left += kill_members(&dir);
                }
            }
            if left == 0 {
                return Ok(());
            }
            if !frozen {
                // A fork bomb outruns one pass; a frozen one does not. Where there is no freezer the loop has to do.
                frozen = true;
                let _ = request_frozen(&self.leaves, true);
                continue;
            }
            // A task that is frozen by v1's freezer dies only when it is thawed.
            let _ = request_frozen(&self.leaves, false);
            frozen = false;
            if !pause.wait() {
                return Err(CgroupError::Busy {
                    what: "kill all processes of",
                    path: self.leaves.first().cloned().unwrap_or_default(),
                    left: format!("{left} memberships"),
                    waited_ms: pause.waited_ms(),
                });
            }
        }
    }

    /// [`CgroupHandle::remove`], by path.
    ///
    /// # Errors
    /// The same.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut first_error = None;
        for leaf in &self.leaves {
            if let Err(error) = remove_dir(leaf, PATIENCE) {
                first_error.get_or_insert(error);
            }
        }
        for parent in &self.parents {
            // Another container's, unless it is empty.
            let _ = fs::remove_dir(parent);
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// Removes a cgroup and those below it, deepest first. One that is not there is removed.
pub(super) fn remove_dir(dir: &Path, patience: Duration) -> Result<(), CgroupError> {
    let mut pause = Pause::new(patience);
    loop {
        // The common case is one system call: no children.
        let errno = match rmdir(dir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => errno,
        };
        if errno != Errno::EBUSY && errno != Errno::ENOTEMPTY {
            return Err(CgroupError::os("rmdir", dir, errno));
        }
        for child in subtree(dir).iter().rev().filter(|child| child.as_path() != dir) {
            let _ = rmdir(child);
        }
        if matches!(rmdir(dir), Ok(()) | Err(Errno::ENOENT)) {
            return Ok(());
        }
        if !pause.wait() {
            let members: usize = subtree(dir).iter().map(|dir| members(dir).len()).sum();
            return Err(CgroupError::Busy {
                what: "rmdir",
                path: dir.to_owned(),
                left: format!("{members} processes"),
                waited_ms: pause.waited_ms(),
            });
        }
    }
}

fn rmdir(dir: &Path) -> nix::Result<()> {
    nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, dir, nix::unistd::UnlinkatFlags::RemoveDir)
}

/// The directory and all below it, parents first. A container can make them by the thousand, but not loops: cgroupfs has
/// no symlinks.
fn subtree(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut next = 0;
    while next < found.len() {
        // kernfs counts a directory's links as 2 and one per child: most have none, and need not be listed.
        let has_children = fs::metadata(&found[next]).is_ok_and(|meta| meta.nlink() > 2);
        if has_children && let Ok(entries) = fs::read_dir(&found[next]) {
            let children: Vec<PathBuf> = entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path())
                .collect();
            found.extend(children);
        }
        next += 1;
    }
    found
}

/// Process ids in one cgroup. On v1 a lone thread shows by its process.
fn members(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Sends SIGKILL to each; says how many there were. A pid is believed only while its pidfd is held *and* the cgroup still
/// lists it: a pid that was reused for a process elsewhere is not in the second list. 0 is a process of a pid namespace
/// that is not ours: it cannot be named, and counts as one that is left.
fn kill_members(dir: &Path) -> usize {
    let first = members(dir);
    let held: Vec<_> = first
        .iter()
        .filter(|pid| **pid > 0)
        .filter_map(|pid| sys::pidfd_open(Pid::from_raw(*pid)).ok().map(|fd| (*pid, fd)))
        .collect();
    if held.is_empty() {
        return first.len();
    }
    let second = members(dir);
    for (_, pidfd) in held.iter().filter(|(pid, _)| second.contains(pid)) {
        let _ = sys::pidfd_send_signal(pidfd.as_fd(), nix::libc::SIGKILL);
    }
    second.len()
}

/// Writes the state to the first freezer there is; `Ok(None)` without one.
fn request_frozen(leaves: &[PathBuf], frozen: bool) -> Result<Option<Freezer>, CgroupError> {
    for leaf in leaves.iter().rev() {
        // v2's first: a task that it froze can be killed.
        if leaf.join("cgroup.freeze").exists() {
            write_at(leaf, "cgroup.freeze", if frozen { "1" } else { "0" })?;
            return Ok(Some(Freezer::V2(leaf.clone())));
        }
    }
    for leaf in leaves {
        if leaf.join("freezer.state").exists() {
            write_at(leaf, "freezer.state", if frozen { "FROZEN" } else { "THAWED" })?;
            return Ok(Some(Freezer::V1(leaf.clone())));
        }
    }
    Ok(None)
}

enum Freezer {
    V1(PathBuf),
    V2(PathBuf),
}

impl Freezer {
    fn is(&self, frozen: bool) -> bool {
        let read = |dir: &Path, file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        match self {
            Freezer::V1(dir) => read(dir, "freezer.state").trim() == if frozen { "FROZEN" } else { "THAWED" },
            Freezer::V2(dir) => read(dir, "cgroup.events")
                .lines()
                .any(|line| line == if frozen { "frozen 1" } else { "frozen 0" }),
        }
    }
}

fn write_at(dir: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    fs::write(dir.join(file), value).map_err(|error| {
        CgroupError::os("write", dir.join(file), Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    })
}

fn set_frozen(leaves: &[PathBuf], frozen: bool) -> Result<(), CgroupError> {
    let what = if frozen { "freeze" } else { "thaw" };
    let mut pause = Pause::new(PATIENCE);
    loop {
        let Some(freezer) = request_frozen(leaves, frozen)? else {
            return Err(CgroupError::NoController {
                limit: what,
                why: "this container has no cgroup with a freezer".to_owned(),
                looked_for: "cgroup.freeze or freezer.state".to_owned(),
            });
        };
        if freezer.is(frozen) {
            return Ok(());
        }
        // v1 wants to be asked again while processes fork under it (freezer-subsystem.rst).
        if !pause.wait() {
            return Err(CgroupError::Busy {
                what,
                path: match freezer {
                    Freezer::V1(dir) | Freezer::V2(dir) => dir,
                },
                left: "a process that does not stop".to_owned(),
                waited_ms: pause.waited_ms(),
            });
        }
    }
}

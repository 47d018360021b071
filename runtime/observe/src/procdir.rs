//! One process held fast: a pidfd, a descriptor of its `/proc/PID`, and the time it started.
//!
//! Pids race. The pidfd is taken first; as long as it says that the process lives, the directory that was opened
//! after it is the directory of the same process. Reads through the directory of a dead process fail with ESRCH, they
//! never reach a process that got the pid later.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use plim_model::parse::stat;
use plim_model::parse::status::{self, Status};
use plim_model::{HostPid, NamespaceId, NamespaceKind};

use crate::error::ObserveError;
use crate::sys;
use crate::why::ReadError;

/// Bound for the small files of `/proc/PID`. `status` is the longest: `Groups:` may name 65,536 ids of 10 digits.
pub(crate) const SMALL: usize = 1 << 20;
/// Bound for `mountinfo`: 100,000 mounts (fs.mount-max) of some 160 bytes each.
pub(crate) const LARGE: usize = 16 << 20;

/// Reads a whole descriptor, up to `limit` bytes.
pub(crate) fn read_bounded(fd: OwnedFd, limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::from(fd)
        .take(bound)
        .read_to_end(&mut bytes)
        .map_err(|error| ReadError::Errno(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
    if bytes.len() > limit { Err(ReadError::TooLong(limit)) } else { Ok(bytes) }
}

/// A directory of procfs that describes one task: `/proc/PID` or `/proc/PID/task/TID`.
#[derive(Debug)]
pub(crate) struct TaskDir(OwnedFd);

impl TaskDir {
    /// The thread `tid` of the process whose directory this is.
    pub(crate) fn thread(&self, tid: i32) -> Result<TaskDir, Errno> {
        let path = format!("task/{tid}");
        openat(&self.0, path.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map(TaskDir)
    }

    /// Reads one file in it, bounded.
    pub(crate) fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, ReadError> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        read_bounded(openat(&self.0, path, flags, Mode::empty())?, limit)
    }

    /// The same as text; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self, path: &str) -> Result<String, ReadError> {
        self.read(path, SMALL).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// `status`, parsed.
    pub(crate) fn status(&self) -> Result<Status, ReadError> {
        Ok(status::parse(&self.text("status")?)?)
    }

    /// The inode of one namespace; needs PTRACE_MODE_READ.
    pub(crate) fn namespace(&self, kind: NamespaceKind) -> Result<NamespaceId, ReadError> {
        let link = readlinkat(&self.0, format!("ns/{kind}").as_str())?;
        let text = link.to_string_lossy();
        text.strip_prefix(kind.as_str())
            .and_then(|rest| rest.strip_prefix(":[")?.strip_suffix(']')?.parse().ok())
            .map(NamespaceId)
            .ok_or_else(|| ReadError::Shape(format!("found {text:?}, expected {kind}:[INODE]")))
    }

    /// A descriptor of one namespace.
    pub(crate) fn namespace_fd(&self, kind: NamespaceKind) -> Result<OwnedFd, Errno> {
        let path = format!("ns/{kind}");
        openat(&self.0, path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// The task's root directory, for [`crate::root::Root`] alone; needs PTRACE_MODE_READ.
    pub(crate) fn root(&self) -> Result<OwnedFd, Errno> {
        openat(&self.0, "root", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Field 22 of `stat` and field 3.
    pub(crate) fn start_time_and_state(&self) -> Result<(u64, char), ReadError> {
        let text = self.text("stat")?;
        match (stat::start_time(&text), stat::state(&text)) {
            (Some(start), Some(state)) => Ok((start, state)),
            _ => Err(ReadError::Shape("found a stat line without a start time".to_owned())),
        }
    }

    /// A second descriptor of the same directory.
    pub(crate) fn try_clone(&self) -> Result<TaskDir, Errno> {
        self.0
            .try_clone()
            .map(TaskDir)
            .map_err(|error| error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw))
    }
}

impl AsFd for TaskDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A live process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: HostPid,
    pub(crate) dir: TaskDir,
    pidfd: OwnedFd,
    start_time_ticks: u64,
}

impl Process {
    /// Takes hold of the process that has this pid now.
    pub(crate) fn open(pid: HostPid) -> Result<Process, ObserveError> {
        if pid.0 <= 0 {
            return Err(ObserveError::NoSuchProcess { pid });
        }
        let pidfd = sys::pidfd_open(pid.0).map_err(|errno| match errno {
            // EINVAL (ENOENT from Linux 6.15): the number is a thread's that does not lead its process.
            Errno::ESRCH | Errno::EINVAL | Errno::ENOENT => ObserveError::NoSuchProcess { pid },
            errno => ObserveError::Open {
                what: format!("pidfd of process {pid}"),
                source: crate::why::cause(errno),
            },
        })?;
        let path = format!("/proc/{pid}");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = match nix::fcntl::open(path.as_str(), flags, Mode::empty()) {
            Ok(fd) => TaskDir(fd),
            // The pidfd exists: either it died in between, or /proc is mounted with hidepid=.
            Err(Errno::ENOENT) if lives(&pidfd) => return Err(ObserveError::Hidden { pid }),
            Err(Errno::ENOENT) => return Err(ObserveError::NoSuchProcess { pid }),
            Err(errno) => return Err(ObserveError::Open { what: path, source: crate::why::cause(errno) }),
        };
        let (start_time_ticks, _) = dir.start_time_and_state().map_err(|_| match lives(&pidfd) {
            true => ObserveError::Hidden { pid },
            false => ObserveError::NoSuchProcess { pid },
        })?;
        if !lives(&pidfd) {
            return Err(ObserveError::NoSuchProcess { pid });
        }
        Ok(Process { pid, dir, pidfd, start_time_ticks })
    }

    /// When it started, in clock ticks since boot.
    pub(crate) fn start_time_ticks(&self) -> u64 {
        self.start_time_ticks
    }

    /// Whether it is still the living process that was opened. False for a zombie, which has given up what is read here.
    pub(crate) fn is_alive(&self) -> bool {
        let same = self.dir.start_time_and_state();
        lives(&self.pidfd) && same.is_ok_and(|(start, _)| start == self.start_time_ticks)
    }
}

/// A pidfd polls readable when its process is gone or a zombie (pidfd_open(2)).
fn lives(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_a_process_and_tells_its_death() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("spawn sleep");
        let pid = HostPid(i32::try_from(child.id()).expect("a pid fits"));
        let process = Process::open(pid).expect("a live child");
        assert!(process.is_alive());
        assert!(process.start_time_ticks() > 0);
        assert_eq!(process.dir.status().expect("status").tgid, pid.0);
        child.kill().expect("kill");
        // A zombie is dead for us, before it is reaped as after.
        let mut waited = 0;
        while process.is_alive() && waited < 200 {
            std::thread::sleep(std::time::Duration::from_millis(10));
            waited += 1;
        }
        assert!(!process.is_alive());
        child.wait().expect("reap");
        assert!(!process.is_alive());
        assert_eq!(process.dir.text("status"), Err(ReadError::Errno(Errno::ESRCH)));
    }

    #[test]
    fn refuses_what_is_no_process() {
        for pid in [0, -1, i32::MAX] {
            let error = Process::open(HostPid(pid)).expect_err("no such process");
            assert_eq!(error.to_string(), format!("no process has pid {pid}"));
        }
    }

    #[test]
    fn bounds_what_it_reads() {
        let process = Process::open(HostPid(std::process::id().cast_signed())).expect("self");
        assert_eq!(process.dir.read("status", 10), Err(ReadError::TooLong(10)));
    }
}

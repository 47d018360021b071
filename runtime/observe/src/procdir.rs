//! One process held fast: a pidfd, a descriptor of its `/proc/PID`, and the time it started.
//!
//! Pids race. The pidfd is taken first; as long as it says that the process lives, the directory that was opened
//! after it is the directory of the same process. Reads through the directory of a dead process fail with ESRCH, they
//! never reach a process that got the pid later.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use plim_model::parse::stat;
use plim_model::parse::status::{self, Status};
use plim_model::{HostPid, NamespaceId, NamespaceKind};

use crate::deadline::Deadline;
use crate::error::ObserveError;
use crate::sys;
use crate::why::ReadError;

/// Bound for the small files of `/proc/PID`. `status` is the longest: `Groups:` may name 65,536 ids of 10 digits.
pub(crate) const SMALL: usize = 1 << 20;
/// Bound for `mountinfo`: 100,000 mounts (fs.mount-max) of some 160 bytes each.
pub(crate) const LARGE: usize = 16 << 20;

/// Reads a whole descriptor, up to `limit` bytes, in the time for a whole target.
pub(crate) fn read_bounded(fd: OwnedFd, limit: usize) -> Result<Vec<u8>, ReadError> {
    read_until(fd, limit, Deadline::for_target())
}

/// The same up to a deadline. The kernel writes its text anew for each read(2), one page at a time, so a text that a
/// container makes long is given up between two pages.
pub(crate) fn read_until(fd: OwnedFd, limit: usize, deadline: Deadline) -> Result<Vec<u8>, ReadError> {
    let (mut file, mut bytes, mut buffer) = (File::from(fd), Vec::new(), [0; 16 << 10]);
    loop {
        deadline.check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(errno_of(&error).into()),
        }
        if bytes.len() > limit {
            return Err(ReadError::TooLong(limit));
        }
    }
}

pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// A directory of procfs that describes one task: `/proc/PID` or `/proc/PID/task/TID`, and until when it is read.
#[derive(Debug)]
pub(crate) struct TaskDir {
    fd: OwnedFd,
    deadline: Deadline,
}

impl TaskDir {
    /// The directory of a process, for as long as it is looked at: `/proc/PID`.
    pub(crate) fn open(pid: i32, deadline: Deadline) -> Result<TaskDir, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(format!("/proc/{pid}").as_str(), flags, Mode::empty())?;
        Ok(TaskDir { fd, deadline })
    }

    /// Any directory taken as one.
    #[cfg(test)]
    pub(crate) fn at(path: &std::path::Path) -> TaskDir {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty()).expect("a directory");
        TaskDir { fd, deadline: Deadline::for_target() }
    }

    /// The thread `tid` of the process whose directory this is.
    pub(crate) fn thread(&self, tid: i32) -> Result<TaskDir, Errno> {
        let path = format!("task/{tid}");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, path.as_str(), flags, Mode::empty())?;
        Ok(TaskDir { fd, deadline: self.deadline })
    }

    /// The threads of the process whose directory this is, `most` at most.
    pub(crate) fn threads(&self, most: usize) -> Result<Vec<i32>, ReadError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        numbers(openat(&self.fd, "task", flags, Mode::empty())?, most, self.deadline)
    }

    /// Until when it is read.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Reads one file in it, bounded.
    pub(crate) fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, ReadError> {
        self.read_within(path, limit, self.deadline)
    }

    /// The same, with a deadline of its own.
    pub(crate) fn read_within(
        &self,
        path: &str,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Vec<u8>, ReadError> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        read_until(openat(&self.fd, path, flags, Mode::empty())?, limit, deadline)
    }

    /// The same as text; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self, path: &str) -> Result<String, ReadError> {
        self.read(path, SMALL).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the task has ended. A zombie has: it has given up what is read here and runs nothing any more.
    pub(crate) fn has_ended(&self) -> Result<bool, ReadError> {
        match self.start_time_and_state() {
            Ok((_, state)) => Ok(matches!(state, 'Z' | 'X')),
            Err(error) if error.is_gone() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// `status`, parsed.
    pub(crate) fn status(&self) -> Result<Status, ReadError> {
        Ok(status::parse(&self.text("status")?)?)
    }

    /// The inode of one namespace; needs PTRACE_MODE_READ.
    pub(crate) fn namespace(&self, kind: NamespaceKind) -> Result<NamespaceId, ReadError> {
        self.deadline.check()?;
        let link = readlinkat(&self.fd, format!("ns/{kind}").as_str())?;
        let text = link.to_string_lossy();
        text.strip_prefix(kind.as_str())
            .and_then(|rest| rest.strip_prefix(":[")?.strip_suffix(']')?.parse().ok())
            .map(NamespaceId)
            .ok_or_else(|| ReadError::Shape(format!("found {text:?}, expected {kind}:[INODE]")))
    }

    /// A descriptor of one namespace.
    pub(crate) fn namespace_fd(&self, kind: NamespaceKind) -> Result<OwnedFd, Errno> {
        let path = format!("ns/{kind}");
        openat(&self.fd, path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// The task's root directory, for [`crate::root::Root`] alone; needs PTRACE_MODE_READ.
    pub(crate) fn root(&self) -> Result<OwnedFd, Errno> {
        openat(&self.fd, "root", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Field 22 of `stat` and field 3.
    pub(crate) fn start_time_and_state(&self) -> Result<(u64, char), ReadError> {
        let text = self.text("stat")?;
        match (stat::start_time(&text), stat::state(&text)) {
            (Some(start), Some(state)) => Ok((start, state)),
            _ => Err(ReadError::Shape("found a stat line without a start time".to_owned())),
        }
    }
}

/// The names in a directory of procfs that are numbers.
fn numbers(fd: OwnedFd, most: usize, deadline: Deadline) -> Result<Vec<i32>, ReadError> {
    let mut found = Vec::new();
    for entry in Dir::from_fd(fd)?.iter() {
        deadline.check()?;
        if let Some(number) = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
            if found.len() == most {
                return Err(ReadError::TooMany(most));
            }
            found.push(number);
        }
    }
    Ok(found)
}

impl AsFd for TaskDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
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
        let unread = |what: &str, error: ReadError| match error {
            // The pidfd exists: either it died in between, or /proc is mounted with hidepid=.
            ReadError::Errno(Errno::ENOENT | Errno::EACCES | Errno::EPERM) if lives(&pidfd) => {
                ObserveError::Hidden { pid }
            }
            error if error.is_gone() => ObserveError::NoSuchProcess { pid },
            ReadError::Errno(errno) => {
                ObserveError::Open { what: what.to_owned(), source: crate::why::cause(errno) }
            }
            error => ObserveError::Open {
                what: what.to_owned(),
                source: std::io::Error::other(error.during("read it", None)),
            },
        };
        let path = format!("/proc/{pid}");
        let dir =
            TaskDir::open(pid.0, Deadline::for_target()).map_err(|errno| unread(&path, errno.into()))?;
        let (start_time_ticks, _) =
            dir.start_time_and_state().map_err(|error| unread(&format!("{path}/stat"), error))?;
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
    pub(crate) fn is_alive(&self) -> Result<bool, ReadError> {
        if !lives(&self.pidfd) {
            return Ok(false);
        }
        match self.dir.start_time_and_state() {
            Ok((start, _)) => Ok(start == self.start_time_ticks),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// An error unless it is. `target` is its name.
    pub(crate) fn check_alive(&self, target: &str) -> Result<(), ObserveError> {
        match self.is_alive() {
            Ok(true) => Ok(()),
            Ok(false) => Err(ObserveError::Died { target: target.to_owned() }),
            Err(error) => Err(ObserveError::Open {
                what: format!("/proc/{}/stat", self.pid),
                source: std::io::Error::other(error.during("read it", None)),
            }),
        }
    }
}

/// A pidfd polls readable when its process is gone or a zombie (pidfd_open(2)).
fn lives(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_a_process_and_tells_its_death() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("spawn sleep");
        let pid = HostPid(i32::try_from(child.id()).expect("a pid fits"));
        let process = Process::open(pid).expect("a live child");
        assert!(process.is_alive().expect("stat"));
        assert!(process.start_time_ticks() > 0);
        assert_eq!(process.dir.status().expect("status").tgid, pid.0);
        child.kill().expect("kill");
        // A zombie is dead for us, before it is reaped as after.
        let mut waited = 0;
        while process.is_alive().expect("stat") && waited < 200 {
            std::thread::sleep(std::time::Duration::from_millis(10));
            waited += 1;
        }
        assert!(!process.is_alive().expect("stat"));
        child.wait().expect("reap");
        assert!(!process.is_alive().expect("stat"));
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
    fn a_missing_file_is_a_task_that_ended_and_every_other_error_is_unknown() {
        let top = tempfile::tempdir().expect("tempdir");
        let at = |name: &str| top.path().join(name);
        let task = TaskDir::at(top.path());
        type Read = fn(&TaskDir) -> Result<(), ReadError>;
        let reads: [(&str, Read); 4] = [
            ("stat", |task| task.start_time_and_state().map(drop)),
            ("status", |task| task.status().map(drop)),
            ("cgroup", |task| task.text("cgroup").map(drop)),
            ("task", |task| task.threads(10).map(drop)),
        ];
        for (file, read) in reads {
            let error = read(&task).expect_err(file);
            assert!(error.is_gone(), "{file}: {error:?}");
            std::os::unix::fs::symlink(file, at(file)).expect("symlink");
            assert_eq!(read(&task).map_err(|error| error.is_gone()), Err(false), "{file}: ELOOP");
            std::fs::remove_file(at(file)).expect("remove");
            if file == "task" {
                std::fs::write(at(file), "").expect("write");
            } else {
                std::fs::create_dir(at(file)).expect("mkdir");
            }
            assert_eq!(read(&task).map_err(|error| error.is_gone()), Err(false), "{file}: EISDIR, ENOTDIR");
        }
        assert!(task.has_ended().is_err());
        std::fs::remove_dir(at("stat")).expect("rmdir");
        assert_eq!(task.has_ended(), Ok(true));
        std::fs::write(at("stat"), "7 (a) Z 1").expect("write");
        assert!(matches!(task.has_ended(), Err(ReadError::Shape(_))));
    }

    #[test]
    fn bounds_what_it_reads() {
        let process = Process::open(HostPid(std::process::id().cast_signed())).expect("self");
        assert_eq!(process.dir.read("status", 10), Err(ReadError::TooLong(10)));
        assert_eq!(process.dir.threads(0), Err(ReadError::TooMany(0)));
        let past = Deadline::after(std::time::Duration::ZERO);
        assert!(matches!(process.dir.read_within("status", SMALL, past), Err(ReadError::TooSlow(_))));
    }
}

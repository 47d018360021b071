//! Looks at what a target may hold up for ever, in a process of their own that is not waited for.
//!
//! A file system that a container serves (FUSE), or that another machine does, answers when it likes; from the moment at
//! which it has read a request the kernel waits for it beyond SIGKILL. A thread that waits so keeps its whole process
//! from ending. So the looks are done in a forked process that holds nothing of this one but the descriptors it needs, and
//! is left behind when the time is up.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, pipe2};
use plim_model::Observed;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::deadline::Deadline;
use crate::sys;
use crate::why::refusal;

pub mod server;

/// Most bytes of one answer.
const LARGEST: usize = 16 << 20;

/// Processes that were left behind, to be reaped should they end.
static LEFT: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// A process that looks, and its answers as they come.
pub(crate) struct Aside {
    child: i32,
    pipe: File,
    deadline: Deadline,
    /// Why no answer comes any more.
    over: Option<String>,
}

/// Where the process puts its answers.
pub(crate) struct Answers(File);

impl Answers {
    /// Gives the next answer.
    pub(crate) fn give<T: Serialize>(&mut self, answer: &Observed<T>) {
        let bytes = serde_json::to_vec(answer).unwrap_or_default();
        let bytes = if bytes.len() > LARGEST { b"" } else { bytes.as_slice() };
        let length = u32::try_from(bytes.len()).unwrap_or_default().to_ne_bytes();
        // Nothing is to be done about a parent that is gone.
        let _ = self.0.write_all(&length).and_then(|()| self.0.write_all(bytes));
    }
}

impl Aside {
    /// Starts the process, in which `job` has this one's memory and no descriptor but `keep`.
    ///
    /// # Errors
    /// As a sentence: EMFILE, EAGAIN.
    pub(crate) fn begin(
        keep: BorrowedFd<'_>,
        deadline: Deadline,
        job: impl FnOnce(&mut Answers),
    ) -> Result<Aside, String> {
        reap();
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| refusal("make a pipe", errno, None))?;
        match sys::fork().map_err(|errno| refusal("fork", errno, None))? {
            Some(child) => Ok(Aside { child, pipe: File::from(read), deadline, over: None }),
            None => {
                sys::die_with_parent();
                sys::close_all_but(&[write.as_raw_fd(), keep.as_raw_fd()]);
                let mut answers = Answers(File::from(write));
                // A panic is an answer that does not come.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&mut answers)));
                sys::exit_now()
            }
        }
    }

    /// The next answer; unknown when it does not come in time.
    pub(crate) fn next<T: DeserializeOwned>(&mut self, operation: &str) -> Observed<T> {
        let answer = match &self.over {
            Some(why) => Err(why.clone()),
            None => self.read_one(),
        };
        match answer.map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(observed)) => observed,
            Ok(Err(error)) => Observed::Unknown(format!("{operation}: {error}")),
            Err(why) => {
                let unknown = Observed::Unknown(format!("{operation}: {why}"));
                self.over = Some(why);
                unknown
            }
        }
    }

    fn read_one(&mut self) -> Result<Vec<u8>, String> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = usize::try_from(u32::from_ne_bytes(length)).unwrap_or(usize::MAX);
        if length > LARGEST {
            return Err(format!("more than the {LARGEST} bytes that are read"));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut into: &mut [u8]) -> Result<(), String> {
        while !into.is_empty() {
            if !wait(self.pipe.as_fd(), self.deadline) {
                return Err("no answer in time; a file system of the target holds the reader up".to_owned());
            }
            match self.pipe.read(into) {
                Ok(0) => return Err("the process that looks ended without an answer".to_owned()),
                Ok(count) => into = into.get_mut(count..).unwrap_or_default(),
                Err(error) => return Err(format!("read the answer: {error}")),
            }
        }
        Ok(())
    }
}

impl Drop for Aside {
    /// One that has given all its answers is reaped; one that is held up is killed and left.
    fn drop(&mut self) {
        let ended = self.over.is_none()
            && wait(self.pipe.as_fd(), self.deadline)
            && matches!(self.pipe.read(&mut [0]), Ok(0));
        let child = Pid::from_raw(self.child);
        if ended {
            let _ = waitpid(child, None);
            return;
        }
        let _ = kill(child, Signal::SIGKILL);
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(self.child);
        reap();
    }
}

fn reap() {
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.retain(|child| {
        matches!(
            waitpid(Pid::from_raw(*child), Some(WaitPidFlag::WNOHANG)),
            Ok(nix::sys::wait::WaitStatus::StillAlive)
        )
    });
}

/// Whether there is something to read, or the end, before the deadline.
fn wait(fd: BorrowedFd<'_>, deadline: Deadline) -> bool {
    /// For the next part of an answer that is being read already when the deadline passes.
    const LEAST: Duration = Duration::from_millis(20);
    loop {
        let left = deadline.left().max(LEAST);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(1..) => return true,
            Err(Errno::EINTR) if !deadline.left().is_zero() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    fn null() -> OwnedFd {
        File::open("/dev/null").expect("open").into()
    }

    #[test]
    fn answers_come_in_order_until_one_does_not_come() {
        let null = null();
        let deadline = Deadline::after(Duration::from_millis(300));
        let mut aside = Aside::begin(null.as_fd(), deadline, |answers| {
            answers.give(&Observed::Present(7));
            answers.give(&Observed::<String>::Unknown("no".to_owned()));
            std::thread::sleep(Duration::from_secs(1000));
            answers.give(&Observed::Present(8));
        })
        .expect("forks");
        assert_eq!(aside.next("a"), Observed::Present(7));
        assert_eq!(aside.next::<String>("b"), Observed::Unknown("no".to_owned()));
        assert!(aside.next::<i32>("c").is_unknown());
        assert!(aside.next::<i32>("d").is_unknown());
        let child = aside.child;
        drop(aside);
        // It was killed: nothing sleeps for 1,000 seconds.
        for _ in 0..500 {
            reap();
            if kill(Pid::from_raw(child), None) == Err(Errno::ESRCH) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("process {child} is still there");
    }

    #[test]
    fn it_has_no_other_descriptor_and_a_panic_is_unknown() {
        let (null, other) = (null(), null());
        let (kept, closed) = (null.as_raw_fd(), other.as_raw_fd());
        let deadline = Deadline::for_target();
        let mut aside = Aside::begin(null.as_fd(), deadline, move |answers| {
            let open = |fd: i32| std::path::Path::new(&format!("/proc/self/fd/{fd}")).exists();
            answers.give(&Observed::Present([open(kept), open(closed), open(0), open(1), open(2)]));
            panic!("on purpose");
        })
        .expect("forks");
        assert_eq!(aside.next("a"), Observed::Present([true, false, false, false, false]));
        assert!(aside.next::<i32>("b").is_unknown());
    }

    /// A FUSE file system that reads every request and answers none but the first, in a mount namespace of the calling thread.
    fn hang(at: &std::path::Path) -> File {
        use nix::mount::{MsFlags, mount};
        const NONE: Option<&str> = None;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("unshare");
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).expect("private");
        let mut device = File::options().read(true).write(true).open("/dev/fuse").expect("open");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        mount(Some("hung"), at, Some("fuse"), MsFlags::empty(), Some(options.as_str())).expect("mount");
        let mut request = vec![0; 1 << 20];
        assert!(device.read(&mut request).expect("FUSE_INIT") >= 40);
        // struct fuse_out_header with the request's number, and struct fuse_init_out of version 7.31.
        let words = [80u32, 0].into_iter().flat_map(u32::to_ne_bytes);
        let mut answer: Vec<u8> = words.chain(request[8..16].iter().copied()).collect();
        answer.extend([7u32, 31, 0, 0, 0, 4096].into_iter().flat_map(u32::to_ne_bytes));
        answer.resize(80, 0);
        device.write_all(&answer).expect("answer");
        let mut reader = device.try_clone().expect("clone");
        std::thread::spawn(move || while reader.read(&mut request).is_ok() {});
        device
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a test that does not run says why")]
    fn files_that_never_answer_are_left_behind() {
        if !nix::unistd::geteuid().is_root() || !std::path::Path::new("/dev/fuse").exists() {
            eprintln!("skipped: needs root and /dev/fuse");
            return;
        }
        let top = tempfile::tempdir().expect("tempdir");
        let at = top.path().to_owned();
        std::thread::spawn(move || {
            let _device = hang(&at);
            let deadline = Deadline::after(Duration::from_millis(300));
            let mut aside = Aside::begin(null().as_fd(), deadline, |answers| {
                answers.give(&Observed::Present(std::fs::metadata(at.join("file")).is_ok()));
            })
            .expect("forks");
            assert!(aside.next::<bool>("look").is_unknown());
            let child = Pid::from_raw(aside.child);
            drop(aside);
            // SIGKILL does not end it: the kernel waits for the answer to a request that was read.
            std::thread::sleep(Duration::from_millis(200));
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).expect("still there");
            assert!(stat.contains(") D "), "{stat}");
            // EBUSY, but every request is answered with an error now.
            let _ = nix::mount::umount2(&at, nix::mount::MntFlags::MNT_FORCE);
        })
        .join()
        .expect("the thread");
    }
}

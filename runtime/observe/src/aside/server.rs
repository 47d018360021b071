//! A process that answers questions about files, and is replaced when one of them holds it up.
//!
//! A reader that may never wait, and that is confined so that it cannot fork, asks it over a socket. The process that asks
//! has a *nursery* as its child, which forks the *worker* that looks; when an answer does not come in time the nursery
//! leaves that worker and forks another one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;

use super::wait;
use crate::deadline::Deadline;
use crate::sys;

/// Most bytes of a question or an answer with its number.
const LARGEST: usize = 64 << 10;

/// What the nursery is told over the control socket.
const QUIT: u8 = 0;
const REPLACE: u8 = 1;

/// The asking side. Dropping it ends the processes.
#[derive(Debug)]
pub struct Server {
    /// `None` once it is dropped.
    work: Option<File>,
    control: Option<File>,
    nursery: i32,
    number: u64,
}

impl Server {
    /// Forks the processes. Each worker begins with `serve` as it is now.
    ///
    /// # Errors
    /// EMFILE, EAGAIN.
    pub fn start(mut serve: impl FnMut(&[u8]) -> Vec<u8>) -> io::Result<Server> {
        let pair = |kind| socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC);
        let (work, worker) = pair(SockType::SeqPacket)?;
        let (control, nursery) = pair(SockType::Stream)?;
        match sys::fork()? {
            Some(child) => Ok(Server {
                work: Some(work.into()),
                control: Some(control.into()),
                nursery: child,
                number: 0,
            }),
            None => {
                sys::close_all_but(&[worker.as_raw_fd(), nursery.as_raw_fd()]);
                // In a session of its own, so that the terminal's signals do not end it before the one that asks.
                let _ = nix::unistd::setsid();
                let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
                nurse(worker, File::from(nursery), &mut serve)
            }
        }
    }

    /// Asks. `None` when no answer comes in time: whatever was asked holds the worker up, or ended it. Then it is replaced.
    pub fn ask(&mut self, question: &[u8], limit: Duration) -> Option<Vec<u8>> {
        self.number += 1;
        let mut message = self.number.to_ne_bytes().to_vec();
        message.extend_from_slice(question);
        let work = self.work.as_mut().filter(|_| message.len() <= LARGEST)?;
        work.write_all(&message).ok()?;
        let deadline = Deadline::after(limit);
        while wait(work.as_fd(), deadline) {
            let mut answer = vec![0; LARGEST];
            let count = work.read(&mut answer).ok().filter(|count| *count > 0)?;
            answer.truncate(count);
            // An answer that came too late has an earlier number.
            if let Some((number, answer)) = answer.split_first_chunk()
                && u64::from_ne_bytes(*number) == self.number
            {
                return Some(answer.to_vec());
            }
        }
        self.control.as_mut()?.write_all(&[REPLACE]).ok()?;
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Said and not only closed: a process that was forked meanwhile may have a copy of the descriptor.
        let _ = self.control.take().map(|mut control| control.write_all(&[QUIT]));
        self.work = None;
        // The nursery waits for nothing but this. Where the caller is confined it is reaped by init.
        let _ = nix::sys::wait::waitpid(Pid::from_raw(self.nursery), None);
    }
}

fn nurse(worker: OwnedFd, mut control: File, serve: &mut impl FnMut(&[u8]) -> Vec<u8>) -> ! {
    // Workers are not waited for: one that is held up ends when its file system lets it.
    sys::ignore_children();
    loop {
        let Ok(child) = sys::fork() else { sys::exit_now() };
        let Some(child) = child else {
            sys::die_with_parent();
            sys::close_all_but(&[worker.as_raw_fd()]);
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(worker.into(), serve)));
            sys::exit_now()
        };
        let mut asked = [QUIT];
        let read = control.read(&mut asked);
        let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
        if !matches!((read, asked), (Ok(1), [REPLACE])) {
            sys::exit_now();
        }
    }
}

fn work(mut socket: File, serve: &mut impl FnMut(&[u8]) -> Vec<u8>) {
    let mut question = vec![0; LARGEST];
    while let Ok(count @ 8..) = socket.read(&mut question) {
        let (number, question) = question[..count].split_at(8);
        let mut answer = number.to_vec();
        answer.extend_from_slice(&serve(question));
        if answer.len() > LARGEST || socket.write_all(&answer).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_hangs_costs_its_answer_and_no_other() {
        let mut server = Server::start(|question| {
            if question == b"hang" {
                std::thread::sleep(Duration::from_secs(1000));
            }
            assert_ne!(question, b"panic");
            question.to_ascii_uppercase()
        })
        .expect("forks");
        let long = Duration::from_secs(20);
        assert_eq!(server.ask(b"a", long).as_deref(), Some(&b"A"[..]));
        assert_eq!(server.ask(b"hang", Duration::from_millis(50)), None);
        assert_eq!(server.ask(b"b", long).as_deref(), Some(&b"B"[..]));
        assert_eq!(server.ask(b"panic", Duration::from_millis(50)), None);
        assert_eq!(server.ask(b"c", long).as_deref(), Some(&b"C"[..]));
        let nursery = server.nursery;
        drop(server);
        assert_eq!(kill(Pid::from_raw(nursery), None), Err(nix::errno::Errno::ESRCH));
    }
}

//! Copies between what the container holds (pipes, its terminal) and the caller's streams: a thread for each direction, so
//! that a stream that does not move stops nothing else, signals least of all.
//!
//! - **Input** that ends ends the pipe; a terminal gets Ctrl-D. Input that the container does not read is not waited for.
//! - **Output** whose reader is gone ends the pipe: the container gets SIGPIPE or EPIPE, as it would without us. A terminal
//!   is hung up.
//! - **At the end** the container's processes are dead, so what they wrote is all there: it is copied before
//!   [`crate::Running::wait`] returns. A process elsewhere that got hold of a pipe is not waited for.
//! - **Job control** is the kernel's: a launcher in the background that reads its terminal stops (SIGTTIN), and so it does
//!   when it writes there and the terminal is set so (SIGTTOU, `stty tostop`).

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

use crate::error::{During, Result, RuntimeError};
use crate::log::Log;
use crate::made::BlockedSignals;

/// As much as is read at once, and copied: splice(2) would put pages of the caller's file into a pipe that the container can
/// write to (the class of CVE-2022-0847), and saves 6 % of the processor's time on output.
const BUFFER_BYTES: usize = 256 << 10;

/// The most that is copied after the end: more than a pipe holds.
const REST_BYTES: usize = 2 << 20;

/// A thread's stack; its buffer is elsewhere.
const STACK_BYTES: usize = 128 << 10;

/// Where output goes.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A file of the caller's.
    File(File),
    /// The container's log.
    Log(Log),
}

/// The copies of one container.
#[derive(Debug)]
pub(crate) struct Copies {
    /// Closed to say that the container has ended; the threads hold the other side.
    stop: OwnedFd,
    stopped: OwnedFd,
    /// Held by each thread of an output until it ends.
    busy: Option<OwnedFd>,
    over: OwnedFd,
    outputs: Vec<JoinHandle<io::Result<()>>>,
}

impl Copies {
    pub(crate) fn new() -> Result<Copies> {
        let pair = || nix::unistd::pipe2(OFlag::O_CLOEXEC).during(|| "make a pipe for the copying threads");
        let ((stopped, stop), (over, busy)) = (pair()?, pair()?);
        Ok(Copies { stop, stopped, busy: Some(busy), over, outputs: Vec::new() })
    }

    /// Starts to copy input. `last` is written at its end.
    pub(crate) fn input(&mut self, from: File, to: File, last: &'static [u8]) -> Result<()> {
        let stopped = self.clone_of(&self.stopped)?;
        // Not waited for, and so not kept.
        spawn(Signal::SIGTTIN, move || input(&from, &to, last, stopped.as_fd())).map(drop)
    }

    /// Starts to copy output.
    pub(crate) fn output(&mut self, from: File, mut to: Sink) -> Result<()> {
        let stopped = self.clone_of(&self.stopped)?;
        let busy = self.busy.as_ref().map(|busy| self.clone_of(busy)).transpose()?;
        self.outputs.push(spawn(Signal::SIGTTOU, move || {
            let result = output(&from, &mut to, stopped.as_fd());
            drop((from, busy));
            result
        })?);
        Ok(())
    }

    fn clone_of(&self, fd: &OwnedFd) -> Result<OwnedFd> {
        fd.try_clone().during(|| "duplicate a pipe of the copying threads")
    }

    /// Says that all have been started.
    pub(crate) fn seal(&mut self) {
        self.busy = None;
    }

    /// Readable when no output is copied any more.
    pub(crate) fn over(&self) -> BorrowedFd<'_> {
        self.over.as_fd()
    }

    /// The container has ended: waits until what it wrote has been copied, or a signal asks to end.
    ///
    /// # Errors
    /// Output could not be written where it was to go; that its reader is gone is not an error.
    pub(crate) fn finish(self, signals: &BlockedSignals) -> Result<()> {
        drop(self.stop);
        if self.busy.is_some() || signals.wait_for(self.over.as_fd()).is_err() {
            return Ok(());
        }
        for thread in self.outputs {
            let copied = thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")));
            copied.during(|| "copy the container's output")?;
        }
        Ok(())
    }
}

/// Every signal but one is blocked in the thread, as in its creator. That one stops the whole process, as job control wants it.
fn spawn<T: Send + 'static>(
    signal: Signal,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name("plim-copy".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _ = SigSet::from(signal).thread_unblock();
            work()
        })
        .map_err(|error| RuntimeError::refused("start a thread that copies a stream", error.to_string()))
}

/// Which of the descriptors have something to say. `events` of 0 stands for the other side's end alone.
fn wait(fds: &[(BorrowedFd<'_>, PollFlags)], timeout: PollTimeout) -> Vec<bool> {
    let mut fds: Vec<_> = fds.iter().map(|(fd, events)| PollFd::new(*fd, *events)).collect();
    while poll(&mut fds, timeout) == Err(Errno::EINTR) {}
    fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()
}

fn input(mut from: &File, to: &File, last: &[u8], stopped: BorrowedFd<'_>) {
    // n_tty_read() looks first whether this process may read its terminal: in the background, it stops here.
    let _ = from.read(&mut []);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let none = PollFlags::empty();
        let fds = [(from.as_fd(), PollFlags::POLLIN), (to.as_fd(), none), (stopped, none)];
        let ready = wait(&fds, PollTimeout::NONE);
        if ready[1] || ready[2] {
            return;
        }
        match from.read(&mut buffer) {
            Ok(length) if length > 0 => {
                if write_all(to, &buffer[..length]).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            _ => {
                let _ = write_all(to, last);
                return;
            }
        }
    }
}

fn output(mut from: &File, to: &mut Sink, stopped: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut ended, mut rest) = (false, REST_BYTES);
    while rest > 0 {
        let fds = [(from.as_fd(), PollFlags::POLLIN), (stopped, PollFlags::empty())];
        let ready = wait(&fds, if ended { PollTimeout::ZERO } else { PollTimeout::NONE });
        if ended && !ready[0] {
            break;
        }
        ended = ready[1];
        if !ready[0] {
            continue;
        }
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => continue,
            // EIO: every slave side of the terminal is closed.
            Err(_) => break,
        };
        let written = match to {
            Sink::File(file) => write_all(file, &buffer[..length]),
            // What the log cannot take (its file system is full) is lost: the container is not stopped for it.
            Sink::Log(log) => log.write_all(&buffer[..length]).or(Ok(())),
        };
        if let Err(error) = written {
            return if reader_is_gone(&error, to) { Ok(()) } else { Err(error) };
        }
        if ended {
            rest = rest.saturating_sub(length);
        }
    }
    Ok(())
}

/// A pipe or socket whose other side is closed, or a terminal that was hung up.
fn reader_is_gone(error: &io::Error, to: &Sink) -> bool {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw) else { return false };
    let device = |file: &File| file.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device());
    match (errno, to) {
        (Errno::EPIPE | Errno::ECONNRESET, _) => true,
        (Errno::EIO, Sink::File(file)) => device(file),
        _ => false,
    }
}

/// Also to a file that its owner made non-blocking.
fn write_all(mut to: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait(&[(to.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! A container that was made, and one whose command runs.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use plim_model::HostPid;

use crate::channel::{Channel, Message};
use crate::copy::Copies;
use crate::credentials::Filter;
use crate::error::{During, Result, RuntimeError};
use crate::init::NOT_PASSED_ON;
use crate::made::Made;
use crate::pty::Terminal;
use crate::stdio::Ends;
use crate::sys;

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By exit(2), with this status.
    Exited(u8),
    /// Killed by this signal.
    Signaled(i32),
}

impl Exit {
    /// The status that `docker run` gives: the command's own, or 128 plus the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Exited(code) => code,
            Exit::Signaled(signal) => u8::try_from(128 + signal).unwrap_or(255),
        }
    }
}

/// A container that has everything but its command running. Dropping it clears it away.
#[derive(Debug)]
pub struct Created {
    pub(crate) made: Made,
    pub(crate) channel: Channel,
    pub(crate) terminal: bool,
    /// What the child sent: the terminal's master side, or the other end of each pipe.
    pub(crate) streams: Vec<OwnedFd>,
    pub(crate) ends: Ends,
    pub(crate) rlimits: Vec<(String, u32, u64, u64)>,
    pub(crate) filter: Option<Filter>,
}

impl Created {
    /// The container's first process; 0 when it has been reaped already.
    pub fn pid(&self) -> HostPid {
        self.made.pid()
    }

    /// Starts the command (OCI's *start*). When it comes back without error, execve(2) has succeeded.
    ///
    /// # Errors
    /// The command cannot be executed, or a limit cannot be set. The container is cleared away.
    pub fn start(mut self) -> Result<Running> {
        self.begin()?;
        self.confirm()
    }

    /// As [`Created::start`], and calls back while the command is stopped right after its execve(2), before its first
    /// instruction: to look at exactly what was started.
    ///
    /// # Errors
    /// Also: the process cannot be traced (needs CAP_SYS_PTRACE), or it ended before.
    pub fn start_observed(mut self, observe: impl FnOnce(HostPid)) -> Result<Running> {
        let pid = Pid::from_raw(self.pid().0);
        ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACEEXEC)
            .during(|| format!("trace the container's first process {pid} (needs CAP_SYS_PTRACE)"))?;
        self.begin()?;
        loop {
            match waitpid(pid, Some(WaitPidFlag::__WALL)) {
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::PtraceEvent(_, _, event)) if event == libc::PTRACE_EVENT_EXEC => break,
                Ok(WaitStatus::PtraceEvent(..)) => {
                    ptrace::cont(pid, None).during(|| "continue the container")?
                }
                Ok(WaitStatus::Stopped(_, signal)) => {
                    ptrace::cont(pid, signal).during(|| "continue the container")?;
                }
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {
                    // waitpid has reaped it: there is nothing left to kill, and its error waits in the channel.
                    let told = self.channel.receive();
                    let Created { mut made, .. } = self;
                    made.child = None;
                    return Err(match told {
                        Ok(Message::Failed(error)) => error,
                        _ => RuntimeError::EndedEarly {
                            operation: "start the command".into(),
                            ended: "before its execve".into(),
                        },
                    });
                }
                Ok(_) => {}
                Err(errno) => return Err(errno).during(|| "wait for the command to be executed"),
            }
        }
        observe(HostPid(pid.as_raw()));
        ptrace::detach(pid, None).during(|| "let go of the container")?;
        self.confirm()
    }

    /// Waits until the child has made everything. Signals that ask to end end the wait.
    pub(crate) fn await_ready(&mut self) -> Result<()> {
        loop {
            self.made.signals.wait_for(self.channel.as_fd())?;
            match self.channel.receive()? {
                Message::Ready => return Ok(()),
                Message::Streams(streams) => self.streams = streams,
                Message::Failed(error) => return Err(error),
                Message::Closed => return Err(self.made.ended_early("make the container")),
                other => {
                    return Err(RuntimeError::refused(
                        "make the container",
                        format!("unexpected message {other:?}"),
                    ));
                }
            }
        }
    }

    /// Sets the limits and says the word. The child does not take it before it has made everything.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let pid = Pid::from_raw(self.pid().0);
        for (name, resource, soft, hard) in &self.rlimits {
            // The limits of a process of another user are CAP_SYS_RESOURCE's to set (prlimit(2)). Without it the child
            // sets them itself, which is enough to lower them, and tells what it could not.
            match sys::set_limit_of(pid, *resource, *soft, *hard) {
                Ok(()) | Err(Errno::EPERM) => {}
                Err(errno) => return Err(errno).during(|| format!("set the limit {name} to {soft}:{hard}")),
            }
        }
        self.made.tell(&self.channel, &Message::Start(self.filter.take()))
    }

    /// The child's end of the channel closes at execve(2).
    pub(crate) fn confirm(self) -> Result<Running> {
        match self.channel.receive()? {
            Message::Closed => {}
            Message::Failed(error) => return Err(error),
            other => {
                return Err(RuntimeError::refused(
                    "start the command",
                    format!("unexpected message {other:?}"),
                ));
            }
        }
        let Created { made, terminal, streams, ends, .. } = self;
        let (terminal, copies) = serve(terminal, streams, ends)?;
        Ok(Running { made, terminal, copies })
    }
}

/// Starts the copies.
fn serve(terminal: bool, streams: Vec<OwnedFd>, ends: Ends) -> Result<(Option<Terminal>, Option<Copies>)> {
    if streams.is_empty() {
        return Ok((None, None));
    }
    let mut copies = Copies::new()?;
    let mut streams = streams.into_iter();
    let mut next = || {
        streams
            .next()
            .ok_or_else(|| RuntimeError::refused("serve the container's streams", "it did not send them all"))
    };
    let terminal = if terminal {
        Some(Terminal::serve(next()?, ends, &mut copies)?)
    } else {
        if let Some(stdin) = ends.stdin {
            copies.input(stdin, File::from(next()?), b"")?;
        }
        for sink in [ends.stdout, ends.stderr].into_iter().flatten() {
            copies.output(File::from(next()?), sink)?;
        }
        None
    };
    copies.seal();
    Ok((terminal, Some(copies)))
}

/// A container whose command runs. Dropping it kills it and clears it away.
#[derive(Debug)]
pub struct Running {
    made: Made,
    terminal: Option<Terminal>,
    copies: Option<Copies>,
}

impl Running {
    /// The container's first process; 0 when it has been reaped already.
    pub fn pid(&self) -> HostPid {
        self.made.pid()
    }

    /// Kills the container.
    ///
    /// # Errors
    /// It has ended already.
    pub fn kill(&self) -> Result<()> {
        let (_, pidfd) = self.made.child()?;
        sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).during(|| "kill the container")
    }

    /// Waits for the command to end and clears everything away. Meanwhile signals that this process gets are passed on
    /// to it, and its streams are copied.
    ///
    /// # Errors
    /// The wait fails, or something could not be cleared away, or output could not be written where it was to go.
    pub fn wait(mut self) -> Result<Exit> {
        let exit = self.serve()?;
        self.made.child = None;
        // First, since it ends every process that could still write.
        let cleared = self.made.clear_up();
        let copied = self.copies.take().map_or(Ok(()), |copies| copies.finish(&self.made.signals));
        // The caller's terminal has its modes back before the caller writes there again.
        self.terminal = None;
        cleared.and(copied).and(Ok(exit))
    }

    fn serve(&mut self) -> Result<Exit> {
        loop {
            let (_, pidfd) = self.made.child()?;
            let mut fds = vec![
                PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.made.signals.descriptor.as_fd(), PollFlags::POLLIN),
            ];
            let shown = self.copies.as_ref().filter(|_| self.terminal.is_some());
            fds.extend(shown.map(|copies| PollFd::new(copies.over(), PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other.map(drop).during(|| "wait for the container")?,
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
            if ready[1] {
                while let Some(signal) = self.made.signals.next() {
                    if signal == libc::SIGWINCH
                        && let Some(terminal) = &self.terminal
                    {
                        terminal.resize();
                    }
                    if NOT_PASSED_ON.iter().all(|known| *known as i32 != signal) {
                        // It may have ended meanwhile: then the pidfd says so.
                        let _ = sys::pidfd_send_signal(pidfd.as_fd(), signal);
                    }
                }
            }
            if ready[0]
                && let Some(exit) =
                    sys::reap(pidfd.as_fd(), false).during(|| "reap the container's first process")?
            {
                return Ok(exit);
            }
            if ready.get(2) == Some(&true) {
                // Its output goes nowhere any more: the last descriptor of the master side closes, which hangs it up.
                (self.terminal, self.copies) = (None, None);
            }
        }
    }
}

/// A signal's number, for callers that have a name.
pub fn signal_number(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    full.parse::<Signal>().ok().map(|signal| signal as i32)
}

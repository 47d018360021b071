//! A container that was made, and one whose command runs.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use plim_model::HostPid;

use crate::channel::{Channel, Message};
use crate::credentials::Filter;
use crate::error::{During, Result, RuntimeError};
use crate::init::NOT_PASSED_ON;
use crate::log::Collector;
use crate::made::Made;
use crate::pty::{Relay, Sink};
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

/// What the launcher has to do with standard output.
#[derive(Debug)]
pub(crate) enum Output {
    /// It is the launcher's own; a terminal is copied there.
    Inherited,
    /// A terminal is copied there.
    Descriptor(OwnedFd),
    /// What comes through the pipe, or from a terminal, is copied to the log.
    Log(Collector),
}

/// A container that has everything but its command running. Dropping it clears it away.
#[derive(Debug)]
pub struct Created {
    pub(crate) made: Made,
    pub(crate) channel: Channel,
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) output: Output,
    pub(crate) input: bool,
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
                Message::Terminal(master) => self.terminal = Some(master),
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
        let Created { made, terminal, input, output, .. } = self;
        let (relay, collector) = match (terminal, output) {
            (Some(master), Output::Inherited) => {
                (Some(Relay::new(master, Sink::standard_output()?, input)?), None)
            }
            (Some(master), Output::Descriptor(fd)) => {
                (Some(Relay::new(master, Sink::File(fd.into()), input)?), None)
            }
            (Some(master), Output::Log(collector)) => {
                (Some(Relay::new(master, Sink::Log(collector.into_log()), input)?), None)
            }
            (None, Output::Log(collector)) => (None, Some(collector)),
            (None, _) => (None, None),
        };
        Ok(Running { made, relay, collector })
    }
}

/// A container whose command runs. Dropping it kills it and clears it away.
#[derive(Debug)]
pub struct Running {
    made: Made,
    relay: Option<Relay>,
    collector: Option<Collector>,
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
    /// to it, and its terminal is served.
    ///
    /// # Errors
    /// The wait fails, or something could not be cleared away.
    pub fn wait(mut self) -> Result<Exit> {
        let exit = self.serve()?;
        self.made.child = None;
        if let Some(relay) = &mut self.relay {
            relay.drain();
        }
        if let Some(collector) = &mut self.collector {
            // Twice the capacity: what was in the pipe, and a last byte of whoever is being killed.
            collector.copy();
            collector.copy();
        }
        // The terminal first: whatever comes after may talk to it.
        self.relay = None;
        self.made.clear_up()?;
        Ok(exit)
    }

    fn serve(&mut self) -> Result<Exit> {
        let (_, pidfd) = self.made.child()?;
        loop {
            let mut fds = vec![
                PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.made.signals.descriptor.as_fd(), PollFlags::POLLIN),
            ];
            let relay = self.relay.as_ref();
            let master = relay.filter(|relay| relay.is_open()).map(Relay::master);
            let stdin = relay.filter(|relay| relay.is_open()).and_then(Relay::stdin);
            fds.extend(master.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            fds.extend(stdin.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            // A container has a terminal or a pipe to the log, never both.
            let pipe = self.collector.as_ref().and_then(Collector::pipe);
            fds.extend(pipe.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other.map(drop).during(|| "wait for the container")?,
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
            let (has_master, has_pipe) = (master.is_some(), pipe.is_some());
            if ready[1] {
                while let Some(signal) = self.made.signals.next() {
                    if signal == libc::SIGWINCH
                        && let Some(relay) = &self.relay
                    {
                        relay.resize();
                    }
                    if NOT_PASSED_ON.iter().all(|known| *known as i32 != signal) {
                        // It may have ended meanwhile: then the pidfd says so.
                        let _ = sys::pidfd_send_signal(pidfd.as_fd(), signal);
                    }
                }
            }
            if let Some(collector) = &mut self.collector
                && has_pipe
                && ready[2]
            {
                collector.copy();
            }
            if let Some(relay) = &mut self.relay {
                if has_master && ready[2] {
                    relay.copy_out();
                }
                if has_master && ready.get(3) == Some(&true) {
                    relay.copy_in();
                }
            }
            if ready[0]
                && let Some(exit) =
                    sys::reap(pidfd.as_fd(), false).during(|| "reap the container's first process")?
            {
                return Ok(exit);
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

//! Everything that was made for a container and has to be gone at its end, and the signals held back meanwhile.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use plim_model::HostPid;

use crate::cgroup::{self, Removal};
use crate::channel::{Channel, Message};
use crate::error::{During, Result, RuntimeError};
use crate::janitor::Janitor;
use crate::state::{Places, StateDir};
use crate::sys;

/// All signals blocked and readable from a descriptor; dropping it restores the mask.
#[derive(Debug)]
pub(crate) struct BlockedSignals {
    before: SigSet,
    pub(crate) descriptor: SignalFd,
}

impl BlockedSignals {
    pub(crate) fn new() -> Result<BlockedSignals> {
        let mut blocked = SigSet::all();
        // Our own crashes must stay crashes.
        for signal in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGTRAP,
            Signal::SIGABRT,
        ] {
            blocked.remove(signal);
        }
        let descriptor = SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .during(|| "open a descriptor for signals")?;
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), Some(&mut before)).during(|| "block signals")?;
        Ok(BlockedSignals { before, descriptor })
    }

    /// The next signal that is pending, by number.
    pub(crate) fn next(&self) -> Option<i32> {
        self.descriptor.read_signal().ok().flatten().and_then(|info| i32::try_from(info.ssi_signo).ok())
    }

    /// Waits for `fd` to be readable; a signal that asks to end is an error.
    pub(crate) fn wait_for(&self, fd: BorrowedFd<'_>) -> Result<()> {
        loop {
            let mut fds =
                [PollFd::new(fd, PollFlags::POLLIN), PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other.map(drop).during(|| "wait for the container's first process")?,
            }
            let ready = |index: usize| fds[index].any().unwrap_or(true);
            if ready(1) {
                match self.next() {
                    Some(signal @ (libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)) => {
                        return Err(RuntimeError::Interrupted { signal });
                    }
                    _ if !ready(0) => continue,
                    _ => {}
                }
            }
            return Ok(());
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Everything that was made and has to be gone at the end. Dropping it clears up.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) own_pid_namespace: bool,
    pub(crate) removal: Removal,
    pub(crate) janitor: Option<Janitor>,
    pub(crate) state: Option<StateDir>,
    pub(crate) child: Option<(Pid, OwnedFd)>,
    pub(crate) signals: BlockedSignals,
}

impl Made {
    /// Takes the id and the name, and lets the janitor hold the lock too.
    pub(crate) fn claim(&mut self, places: Places, removal: &Removal) -> Result<&StateDir> {
        self.state = Some(StateDir::claim(places, removal)?);
        let state = self
            .state
            .as_ref()
            .ok_or_else(|| RuntimeError::refused("claim the container's id", "it is gone"))?;
        self.hold(b'l', state.lock())?;
        Ok(state)
    }

    pub(crate) fn hold(&self, kind: u8, fd: BorrowedFd<'_>) -> Result<()> {
        self.janitor.as_ref().map_or(Ok(()), |janitor| janitor.hold(kind, fd))
    }

    /// Its pid; 0 when it has been reaped already.
    pub(crate) fn pid(&self) -> HostPid {
        HostPid(self.child.as_ref().map_or(0, |(pid, _)| pid.as_raw()))
    }

    /// The container's first process.
    pub(crate) fn child(&self) -> Result<(Pid, &OwnedFd)> {
        match &self.child {
            Some((pid, pidfd)) => Ok((*pid, pidfd)),
            None => Err(RuntimeError::refused("find the container's first process", "it is gone")),
        }
    }

    /// Says something to the child. When it has ended meanwhile, what it said last is the error.
    pub(crate) fn tell(&self, channel: &Channel, message: &Message) -> Result<()> {
        match channel.send(message) {
            Err(RuntimeError::System { errno: libc::EPIPE, .. }) => {}
            other => return other,
        }
        loop {
            match channel.receive()? {
                Message::Failed(error) => return Err(error),
                Message::Closed => return Err(self.ended_early("make the container")),
                _ => {}
            }
        }
    }

    /// Why the channel was closed before its time.
    pub(crate) fn ended_early(&self, operation: &str) -> RuntimeError {
        let ended = self.child.as_ref().and_then(|(_, pidfd)| sys::reap(pidfd.as_fd(), true).ok().flatten());
        let ended = match ended {
            Some(crate::Exit::Signaled(signal)) => format!("killed by {}", sys::signal_name(signal)),
            Some(crate::Exit::Exited(code)) => format!("exit status {code}"),
            None => "no status".to_owned(),
        };
        RuntimeError::EndedEarly { operation: operation.to_owned(), ended }
    }

    /// Kills what still runs and removes everything. Once is enough; again does nothing.
    ///
    /// # Errors
    /// A cgroup could not be removed.
    pub(crate) fn clear_up(&mut self) -> Result<()> {
        if let Some((_, pidfd)) = self.child.take() {
            let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
            let _ = sys::reap(pidfd.as_fd(), true);
        }
        let removal = std::mem::take(&mut self.removal);
        let mut result = Ok(());
        if !removal.leaves.is_empty() {
            // The end of a pid namespace's first process is the end of all in it, and is waited for by the kernel.
            if !self.own_pid_namespace {
                result = removal.kill_all().map_err(cgroup_error);
            }
            result = result.and(removal.remove().map_err(cgroup_error));
        }
        if let Some(state) = self.state.take() {
            state.remove();
        }
        if let Some(janitor) = self.janitor.take() {
            janitor.dismiss();
        }
        result
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.clear_up();
    }
}

/// A cgroup's error in the words of this crate.
pub(crate) fn cgroup_error(error: cgroup::CgroupError) -> RuntimeError {
    RuntimeError::refused("make the container's cgroup", error.to_string())
}

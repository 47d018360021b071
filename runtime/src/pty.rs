//! The container's terminal, and the launcher's own in raw mode meanwhile.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::channel::{Channel, Message};
use crate::error::{During, Result};
use crate::log::Log;
use crate::rootfs::dev;
use crate::rootfs::resolve::Root;
use crate::sys;

/// In the child: opens a terminal of the container's own devpts, shows it as /dev/console, sends the master side to
/// the launcher and returns the slave side. `uid` becomes its owner, as of a login terminal.
pub(crate) fn open(root: &Root, channel: &Channel, uid: u32) -> Result<OwnedFd> {
    let master = dev::open_multiplexer(root)?;
    let slave = sys::open_pty_slave(master.as_fd()).during(|| "open the container's terminal")?;
    dev::bind_console(root, slave.as_fd())?;
    nix::unistd::fchown(&slave, Some(nix::unistd::Uid::from_raw(uid)), None)
        .during(|| format!("give the container's terminal to user {uid}"))?;
    channel.send(&Message::Terminal(master))?;
    Ok(slave)
}

/// In the child, a session leader: makes the terminal its controlling one and its standard streams.
pub(crate) fn take(slave: BorrowedFd<'_>) -> Result<()> {
    sys::set_controlling_terminal(slave).during(|| "take the container's terminal as the controlling one")?;
    dup2_stdin(slave)
        .and_then(|()| dup2_stdout(slave))
        .and_then(|()| dup2_stderr(slave))
        .during(|| "connect the standard streams to the container's terminal")
}

/// The launcher's terminal in raw mode; dropping it restores what was.
#[derive(Debug)]
struct Raw {
    terminal: File,
    before: Termios,
}

impl Raw {
    /// `None` when standard input is no terminal.
    fn enter() -> Option<Raw> {
        let terminal = File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
        let before = tcgetattr(&terminal).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSANOW, &raw).ok()?;
        Some(Raw { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// Where the terminal's output goes.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A stream of the launcher's, or of its caller's choice.
    File(File),
    /// The container's log.
    Log(Log),
}

impl Sink {
    pub(crate) fn standard_output() -> Result<Sink> {
        duplicate(std::io::stdout().as_fd()).map(Sink::File)
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Sink::File(file) => file.write_all(bytes).and_then(|()| file.flush()),
            Sink::Log(log) => log.write_all(bytes),
        }
    }
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<File> {
    fd.try_clone_to_owned().map(File::from).during(|| "duplicate a standard stream for the terminal")
}

/// Copies between the launcher's standard streams and the container's terminal.
#[derive(Debug)]
pub(crate) struct Relay {
    master: File,
    stdin: Option<File>,
    stdout: Sink,
    raw: Option<Raw>,
    open: bool,
}

impl Relay {
    /// Takes the master side. With `input`, standard input is copied and put into raw mode when it is a terminal.
    pub(crate) fn new(master: OwnedFd, stdout: Sink, input: bool) -> Result<Relay> {
        let stdin = if input { Some(duplicate(std::io::stdin().as_fd())?) } else { None };
        let relay = Relay {
            master: File::from(master),
            stdin,
            stdout,
            open: true,
            raw: input.then(Raw::enter).flatten(),
        };
        relay.resize();
        Ok(relay)
    }

    /// The window changed.
    pub(crate) fn resize(&self) {
        let from = match (&self.raw, &self.stdout) {
            (Some(raw), _) => raw.terminal.as_fd(),
            (None, Sink::File(file)) => file.as_fd(),
            // A log has no size.
            (None, Sink::Log(_)) => return,
        };
        sys::copy_window_size(from, self.master.as_fd());
    }

    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    pub(crate) fn stdin(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().map(AsFd::as_fd)
    }

    /// Whether the container's side may still be open.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// The container wrote something.
    pub(crate) fn copy_out(&mut self) {
        let mut buffer = [0; 16 * 1024];
        self.open = match self.master.read(&mut buffer) {
            // EIO: every slave side is closed (tty_ioctl(4) does not say so, the kernel does).
            Ok(0) => false,
            Ok(length) => self.stdout.write_all(&buffer[..length]).is_ok(),
            Err(error) => error.raw_os_error() == Some(Errno::EINTR as i32),
        };
    }

    /// The container has ended: copies what it still wrote.
    pub(crate) fn drain(&mut self) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        while self.open {
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(ready) if ready > 0 => self.copy_out(),
                _ => return,
            }
        }
    }

    /// The user typed something. At end of file the terminal gets Ctrl-D, as a user would end it, and no more.
    pub(crate) fn copy_in(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        let mut buffer = [0; 4096];
        match stdin.read(&mut buffer) {
            Ok(length) if length > 0 => {
                let _ = self.master.write_all(&buffer[..length]);
            }
            Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
            _ => {
                let _ = self.master.write_all(&[4]);
                self.stdin = None;
            }
        }
    }
}

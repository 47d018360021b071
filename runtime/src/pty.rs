//! The container's terminal, and the launcher's own in raw mode meanwhile.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::copy::{Copies, Sink};
use crate::error::{During, Result};
use crate::rootfs::dev;
use crate::rootfs::resolve::Root;
use crate::stdio::Ends;
use crate::sys;

/// In the child: opens a terminal of the container's own devpts, shows it as /dev/console, and returns the master side, for
/// the launcher, and the slave side. `uid` becomes its owner, as of a login terminal.
pub(crate) fn open(root: &Root, uid: u32) -> Result<(OwnedFd, OwnedFd)> {
    let master = dev::open_multiplexer(root)?;
    let slave = sys::open_pty_slave(master.as_fd()).during(|| "open the container's terminal")?;
    dev::bind_console(root, slave.as_fd())?;
    nix::unistd::fchown(&slave, Some(nix::unistd::Uid::from_raw(uid)), None)
        .during(|| format!("give the container's terminal to user {uid}"))?;
    Ok((master, slave))
}

/// In the child, a session leader: makes the terminal its controlling one and its standard streams.
pub(crate) fn take(slave: BorrowedFd<'_>) -> Result<()> {
    sys::set_controlling_terminal(slave).during(|| "take the container's terminal as the controlling one")?;
    dup2_stdin(slave)
        .and_then(|()| dup2_stdout(slave))
        .and_then(|()| dup2_stderr(slave))
        .during(|| "connect the standard streams to the container's terminal")
}

/// The caller's terminal in raw mode; dropping it restores what was.
#[derive(Debug)]
struct Raw {
    terminal: File,
    before: Termios,
}

impl Raw {
    /// `None` when the input is not a terminal. In the background, the launcher stops here until it is brought to the
    /// foreground, as the kernel has it for a process that does not block SIGTTOU.
    fn enter(input: &File) -> Option<Raw> {
        let terminal = input.try_clone().ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let stop = SigSet::from(Signal::SIGTTOU);
        let _ = stop.thread_unblock();
        let changed = tcsetattr(&terminal, SetArg::TCSANOW, &raw);
        let _ = stop.thread_block();
        changed.ok()?;
        Some(Raw { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// The launcher's side of the container's terminal. Dropping it gives the caller's terminal its modes back.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: File,
    /// Held for its drop.
    _raw: Option<Raw>,
    /// A terminal of the caller's, whose size the container's follows.
    shown_on: Option<File>,
}

impl Terminal {
    /// Takes the master side and starts the copies. Input from a terminal is read in raw mode.
    pub(crate) fn serve(master: OwnedFd, ends: Ends, copies: &mut Copies) -> Result<Terminal> {
        let master = File::from(master);
        let again = |file: &File| file.try_clone().during(|| "duplicate the container's terminal");
        let raw = ends.stdin.as_ref().and_then(Raw::enter);
        let shown_on = match (&raw, &ends.stdout) {
            (Some(raw), _) => Some(again(&raw.terminal)?),
            (None, Some(Sink::File(file))) => Some(again(file)?),
            // A log has no size.
            _ => None,
        };
        let terminal = Terminal { master, _raw: raw, shown_on };
        terminal.resize();
        if let Some(stdin) = ends.stdin {
            // At its end the terminal gets Ctrl-D, as a user would end it, and no more.
            copies.input(stdin, again(&terminal.master)?, b"\x04")?;
        }
        if let Some(stdout) = ends.stdout {
            copies.output(again(&terminal.master)?, stdout)?;
        }
        Ok(terminal)
    }

    /// The caller's window changed.
    pub(crate) fn resize(&self) {
        if let Some(shown_on) = &self.shown_on {
            sys::copy_window_size(shown_on.as_fd(), self.master.as_fd());
        }
    }
}

//! The process that clears up when the launcher dies without having done so.
//!
//! It is forked **before anything is made** and knows beforehand what will be: so there is no moment at which a SIGKILL
//! of the launcher leaves something behind that nobody removes. It sleeps on a socket whose other end only the
//! launcher holds. The byte `d` says that all is cleared up; end of file without it says that the launcher is dead.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg,
    sendmsg, socketpair,
};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::cgroup::Removal;
use crate::error::{During, Result};
use crate::state::Places;
use crate::sys::{self, Forked};

/// Janitors that are about to end, or wait to be reaped.
static DISMISSED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// The launcher's end.
#[derive(Debug)]
pub(crate) struct Janitor {
    line: OwnedFd,
    pid: Pid,
}

impl Janitor {
    /// Forks it.
    pub(crate) fn start(removal: &Removal, places: &Places) -> Result<Janitor> {
        let (line, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .during(|| "make the janitor's socket pair")?;
        match sys::fork().during(|| "fork the janitor")? {
            Forked::Child => {
                drop(line);
                live(other, removal, places)
            }
            Forked::Parent(pid) => Ok(Janitor { line, pid }),
        }
    }

    /// Hands it a descriptor: the container's pidfd (`p`) or the lock of the state directory (`l`).
    pub(crate) fn hold(&self, kind: u8, fd: BorrowedFd<'_>) -> Result<()> {
        let rights = [fd.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&rights)];
        let bytes = [kind];
        sendmsg::<UnixAddr>(
            self.line.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            &control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .map(drop)
        .during(|| "hand a descriptor to the janitor")
    }

    /// Everything is cleared up: lets it go. It still removes the shared parents of the cgroups, if they are empty: nobody
    /// has to wait for that, nor for its end: a process that goes on reaps it when the next one is dismissed.
    pub(crate) fn dismiss(self) {
        let _ = sendmsg::<UnixAddr>(
            self.line.as_raw_fd(),
            &[IoSlice::new(b"d")],
            &[],
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
        let mut dismissed = DISMISSED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        dismissed.push(self.pid);
        dismissed.retain(|pid| waitpid(*pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive));
    }
}

/// The janitor's life. Its copy of the launcher's memory is its own; nothing of the launcher's is dropped here.
fn live(line: OwnedFd, removal: &Removal, places: &Places) -> ! {
    // Out of the terminal's process group: Ctrl-C at the launcher must not reach it.
    let _ = setsid();
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None);
    let _ = nix::sys::prctl::set_name(c"plim-janitor");
    // Its wake-ups need not interrupt the launcher that they come from.
    sys::be_batch();
    // Everything else that was inherited is the launcher's: a pipe held open here would keep its reader waiting.
    let _ = dup2_stdin(&line).and_then(|()| dup2_stdout(&line)).and_then(|()| dup2_stderr(&line));
    sys::close_all_but(&[line.as_raw_fd(), places.number()]);
    let mut held: Vec<(u8, OwnedFd)> = Vec::new();
    let mut byte = [0];
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    loop {
        let mut iov = [IoSliceMut::new(&mut byte)];
        let received =
            recvmsg::<UnixAddr>(line.as_raw_fd(), &mut iov, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC);
        let (length, descriptor) = match received {
            Err(Errno::EINTR) => continue,
            Err(_) => break,
            Ok(received) => {
                let mut descriptor = None;
                for part in received.cmsgs().into_iter().flatten() {
                    if let ControlMessageOwned::ScmRights(fds) = part {
                        descriptor = fds.into_iter().map(sys::own).next();
                    }
                }
                (received.bytes, descriptor)
            }
        };
        match (length, byte[0], descriptor) {
            (0, ..) => break,
            (_, b'd', _) => {
                remove_parents(removal);
                sys::exit_now(0)
            }
            (_, kind, Some(fd)) => held.push((kind, fd)),
            _ => {}
        }
    }
    clear_up(&held, removal, places);
    sys::exit_now(0)
}

/// The launcher is dead.
fn clear_up(held: &[(u8, OwnedFd)], removal: &Removal, places: &Places) {
    for (_, pidfd) in held.iter().filter(|(kind, _)| *kind == b'p') {
        let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
    // A child that was just being made enters its cgroups only now, or finds them gone and ends: look again.
    for _ in 0..20 {
        let killed = removal.kill_all();
        if killed.is_ok() && removal.remove().is_ok() && !any_left(removal) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // What could not be removed is removed by a later run, which finds it in the state directory.
    if !any_left(removal) {
        places.remove();
    }
}

/// Best effort: another container's directory in them keeps them.
fn remove_parents(removal: &Removal) {
    for parent in &removal.parents {
        let _ = std::fs::remove_dir(parent);
    }
}

fn any_left(removal: &Removal) -> bool {
    removal.leaves.iter().any(|leaf| leaf.exists())
}

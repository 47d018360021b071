//! The small init for `--init`: process 1 of the container, which passes signals on and reaps orphans.
//!
//! It is this very program, executed once more from the file that it runs from, which is sealed ([`crate::sealed`]): so
//! `/proc/1/exe` in the container cannot be written.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, execv, fexecve};

use crate::command::Command;
use crate::error::RuntimeError;
use crate::sealed;
use crate::sys::{self, Forked};

/// `argv[0]` of the init.
const NAME: &str = "plim-init";

/// Becomes the init, which will run `command`. Returns only the error.
pub(crate) fn execute(executable: &OwnedFd, command: &Command) -> RuntimeError {
    let mut args = vec![CString::from(c"plim-init"), command.path().clone()];
    args.extend(command.args().iter().cloned());
    let Err(errno) = fexecve(executable.as_fd(), &args, command.env());
    RuntimeError::System { operation: "execute the init".into(), errno: errno as i32 }
}

/// Call this first in `main`: when this process was executed as a container's init, it does that work and never returns.
///
/// It is recognised by `argv[0]` **and** by its executable being sealed, so a name alone makes no init.
pub fn init_entry() {
    let mut args = std::env::args_os();
    if args.next().is_none_or(|name| name != NAME) {
        return;
    }
    if !sealed::is_sealed() && std::path::Path::new("/proc/self/exe").exists() {
        return;
    }
    let args: Vec<CString> = args.filter_map(|arg| CString::new(arg.into_encoded_bytes()).ok()).collect();
    if let Some((path, args)) = args.split_first() {
        run(path, args);
    }
    sys::exit_now(127)
}

/// Runs the command as a child of its own, passes signals on, reaps whatever ends, and ends as the command does.
fn run(path: &CString, args: &[CString]) -> ! {
    let _ = nix::sys::prctl::set_name(c"plim-init");
    // Blocked signals wait for sigwait; an ignored SIGCHLD would never come.
    let all = SigSet::all();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None);
    // With the host's pid namespace we are not pid 1, and orphans would pass us by.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let child = match sys::fork() {
        Ok(Forked::Child) => {
            // A group of its own in the foreground of the terminal, so that Ctrl-C reaches it once.
            let _ = nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
            let _ = nix::unistd::tcsetpgrp(std::io::stdin().as_fd(), nix::unistd::getpid());
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
            let errno = execv(path, args).err();
            sys::exit_now(if errno == Some(Errno::ENOENT) { 127 } else { 126 })
        }
        Ok(Forked::Parent(child)) => child,
        Err(_) => sys::exit_now(125),
    };
    loop {
        match sys::wait_for_signal(&all) {
            Ok(libc::SIGCHLD) => {
                if let Some(code) = reap(child) {
                    sys::exit_now(code);
                }
            }
            // Stops of the terminal: an init that stops helps nobody.
            Ok(libc::SIGTTIN | libc::SIGTTOU | libc::SIGTSTP) | Err(_) => {}
            Ok(signal) => {
                let _ = sys::kill(child.as_raw(), signal);
            }
        }
    }
}

/// Reaps everything that has ended; the exit status of `child` when it was among it.
fn reap(child: Pid) -> Option<i32> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => code = Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => code = Some(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return code,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return code,
        }
    }
}

/// The descriptor number of the init's executable, to be kept open until it is executed.
pub(crate) fn number(executable: &OwnedFd) -> i32 {
    executable.as_raw_fd()
}

/// Signals that the launcher does not pass on: they are its own business or cannot be caught.
pub(crate) const NOT_PASSED_ON: [Signal; 8] = [
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGWINCH,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
];

//! The small init for `--init`: process 1 of the container, which passes signals on and reaps orphans.
//!
//! It is this very program, executed from a **sealed copy in memory** (memfd_create(2)): so `/proc/1/exe` in the
//! container is never the host's file (the class of CVE-2019-5736), and writing to the copy is refused for good.

use std::ffi::CString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, execv, fexecve};

use crate::command::Command;
use crate::error::{During, Result, RuntimeError};
use crate::sys::{self, Forked};

/// `argv[0]` of the init.
const NAME: &str = "plim-init";

/// MFD_EXEC (Linux 6.3): asked for because vm.memfd_noexec may make "not executable" the default.
const EXECUTABLE: MFdFlags = MFdFlags::from_bits_retain(0x10);

/// Copies this program into sealed memory. Made by the launcher, used by the child.
pub(crate) fn sealed_copy() -> Result<OwnedFd> {
    let doing = || "copy the init into sealed memory";
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory = match memfd_create(NAME, flags | EXECUTABLE) {
        Err(Errno::EINVAL) => memfd_create(NAME, flags),
        other => other,
    }
    .during(doing)?;
    let mut copy = File::from(memory);
    let mut program = File::open("/proc/self/exe").during(doing)?;
    std::io::copy(&mut program, &mut copy).during(doing)?;
    copy.flush().during(doing)?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).during(doing)?;
    Ok(copy.into())
}

/// Becomes the init, which will run `command`. Returns only the error.
pub(crate) fn execute(copy: &OwnedFd, command: &Command) -> RuntimeError {
    let mut args = vec![CString::from(c"plim-init"), command.path().clone()];
    args.extend(command.args().iter().cloned());
    let Err(errno) = fexecve(copy.as_fd(), &args, command.env());
    RuntimeError::System { operation: "execute the init from sealed memory".into(), errno: errno as i32 }
}

/// Call this first in `main`: when this process was executed as a container's init, it does that work and never returns.
///
/// It is recognised by `argv[0]` **and** by its executable being the copy in memory, so nobody becomes an init by a name.
pub fn init_entry() {
    let mut args = std::env::args_os();
    if args.next().is_none_or(|name| name != NAME) {
        return;
    }
    let in_memory = std::fs::read_link("/proc/self/exe")
        .is_ok_and(|path| path.as_os_str().as_encoded_bytes().starts_with(b"/memfd:plim-init"));
    if !in_memory && std::path::Path::new("/proc/self/exe").exists() {
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

/// The descriptor number of a sealed copy, to be kept open until it is executed.
pub(crate) fn number(copy: &OwnedFd) -> i32 {
    copy.as_raw_fd()
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

//! Filters by PTRACE_SECCOMP_GET_FILTER (Linux 4.4, ptrace(2)).

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;
use plim_model::Observed;
use plim_model::capability::Capability;
use plim_model::parse::status;
use plim_seccomp::bpf::Program;

use super::Installed;
use crate::why::{errno_text, refusal};
use crate::{procdir, sys, why};

/// `SECCOMP_FILTER_FLAG_LOG` (include/uapi/linux/seccomp.h).
const FLAG_LOG: u64 = 2;
/// How long the task may take to stop; only one in an uninterruptible wait needs more than some microseconds.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// `PTRACE_EVENT_STOP` (ptrace(2)): stopped by PTRACE_INTERRUPT or in a group stop, not by a signal of its own.
const EVENT_STOP: i32 = libc::PTRACE_EVENT_STOP;

/// Reads from a task that it stops for it.
///
/// Works in a thread of its own: when a tracing thread ends, the kernel detaches all it traced (exit_ptrace), so that the
/// task runs again on every path, a panic and a timeout included.
pub(super) fn stop_and_read(tid: i32) -> Result<Vec<Installed>, String> {
    may_read()?;
    let worker = std::thread::Builder::new()
        .name("plim-filters".to_owned())
        .spawn(move || stop_read_detach(tid))
        .map_err(|error| format!("start a thread to trace the target: {error}"))?;
    worker.join().map_err(|_| "the thread that traced the target panicked".to_owned())?
}

/// Reads from a task that the calling thread has stopped.
pub(super) fn read_stopped(tid: i32) -> Result<Vec<Installed>, String> {
    may_read()?;
    get_all(tid)
}

/// The kernel refuses both cases with EACCES only once the target stands still; ask before it is stopped for nothing.
fn may_read() -> Result<(), String> {
    const OPERATION: &str = "PTRACE_SECCOMP_GET_FILTER";
    let own = nix::fcntl::open(
        "/proc/thread-self/status",
        nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )
    .map_err(|errno| refusal("open /proc/thread-self/status", errno, None))
    .and_then(|fd| {
        procdir::read_bounded(fd, procdir::SMALL).map_err(|_| "read /proc/thread-self/status".to_owned())
    })?;
    let own = status::parse(&String::from_utf8_lossy(&own)).map_err(|error| error.to_string())?;
    if own.seccomp_mode.is_some_and(|mode| mode != 0) {
        return Err(format!(
            "{OPERATION}: {}; the reader is itself under seccomp",
            errno_text(Errno::EACCES)
        ));
    }
    let admin = Capability::from_name("CAP_SYS_ADMIN");
    if !admin.is_some_and(|admin| own.capabilities.effective.contains(admin)) {
        return Err(refusal(OPERATION, Errno::EACCES, Some("CAP_SYS_ADMIN")));
    }
    Ok(())
}

fn stop_read_detach(tid: i32) -> Result<Vec<Installed>, String> {
    let pid = Pid::from_raw(tid);
    ptrace::seize(pid, Options::empty()).map_err(|errno| refusal("PTRACE_SEIZE", errno, why::PTRACE))?;
    ptrace::interrupt(pid).map_err(|errno| refusal("PTRACE_INTERRUPT", errno, why::PTRACE))?;
    let signal = wait_stopped(tid)?;
    let filters = get_all(tid);
    sys::ptrace_detach(tid, signal).map_err(|errno| refusal("PTRACE_DETACH", errno, None))?;
    filters
}

/// Waits until the task stands still; the signal that it was about to get, or 0.
fn wait_stopped(tid: i32) -> Result<i32, String> {
    let begun = Instant::now();
    loop {
        match sys::wait_traced(tid) {
            Ok(Some(status)) if libc::WIFSTOPPED(status) => {
                return Ok(if status >> 16 == EVENT_STOP { 0 } else { libc::WSTOPSIG(status) });
            }
            Ok(Some(_)) => return Err("the process died while it was read".to_owned()),
            Ok(None) if begun.elapsed() > STOP_LIMIT => {
                return Err(format!(
                    "the target did not stop for ptrace within {} s (uninterruptible sleep)",
                    STOP_LIMIT.as_secs()
                ));
            }
            Ok(None) if begun.elapsed() < Duration::from_millis(1) => std::thread::yield_now(),
            Ok(None) => std::thread::sleep(Duration::from_micros(200)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(refusal("waitpid for the traced target", errno, None)),
        }
    }
}

fn get_all(tid: i32) -> Result<Vec<Installed>, String> {
    let mut raw = Vec::new();
    loop {
        match sys::seccomp_filter(tid, raw.len()) {
            Ok(instructions) => {
                let log = match sys::seccomp_filter_flags(tid, raw.len()) {
                    Ok(flags) => Observed::Present(flags & FLAG_LOG != 0),
                    // EIO: Linux before 4.16 does not know the request.
                    Err(Errno::EIO) => Observed::Unknown(
                        "PTRACE_SECCOMP_GET_METADATA: the kernel does not have it (Linux 4.16)".to_owned(),
                    ),
                    Err(errno) => Observed::Unknown(refusal(
                        "PTRACE_SECCOMP_GET_METADATA",
                        errno,
                        Some("CAP_SYS_ADMIN"),
                    )),
                };
                raw.push((instructions, log));
            }
            Err(Errno::ENOENT) => break,
            Err(Errno::EIO) => {
                return Err("PTRACE_SECCOMP_GET_FILTER: EIO; needs a kernel with CONFIG_CHECKPOINT_RESTORE"
                    .to_owned());
            }
            Err(errno) => {
                return Err(refusal(
                    "PTRACE_SECCOMP_GET_FILTER",
                    errno,
                    Some("CAP_SYS_ADMIN in the initial user namespace"),
                ));
            }
        }
    }
    // Judged only after the last read: the target stands still meanwhile.
    raw.into_iter()
        .map(|(instructions, log)| {
            Program::from_instructions(instructions).map(|program| Installed { program, log }).map_err(
                |error| format!("the installed filter is not a program that the kernel takes: {error}"),
            )
        })
        .collect()
}

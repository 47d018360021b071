//! The seccomp filters that are installed in a live task, as the kernel keeps them.
//!
//! A [`Source`] is one way to get at them. ptrace is the one there is; a BPF task iterator, which reads the same
//! bytes without stopping anything, is a second file and a second line in [`Method`].

mod ptrace;

use plim_model::seccomp::SeccompFilter;
use plim_model::{HostPid, Observed};
use plim_seccomp::analyse;
use plim_seccomp::bpf::Program;
use sha2::{Digest, Sha256};

use crate::procdir::Process;

/// How filters were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `/proc/PID/status` says that there is none: nothing had to be stopped.
    Status,
    /// PTRACE_SECCOMP_GET_FILTER after PTRACE_SEIZE and PTRACE_INTERRUPT: the task stands still for some 20 µs, which
    /// it may see as an early EINTR from epoll_wait, semtimedop, sigtimedwait or recv with SO_RCVTIMEO.
    Ptrace,
    /// PTRACE_SECCOMP_GET_FILTER on a task that the calling thread had stopped already.
    PtraceAlreadyStopped,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Method::Status => "status",
            Method::Ptrace => "ptrace",
            Method::PtraceAlreadyStopped => "ptrace (already stopped)",
        })
    }
}

/// One installed filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The program as it was handed to seccomp(2).
    pub program: Program,
    /// Whether SECCOMP_FILTER_FLAG_LOG was set; the kernel tells no other flag.
    pub log: Observed<bool>,
}

/// The filters of one task and how they were had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// How.
    pub method: Method,
    /// Oldest first. The kernel runs them newest first.
    pub filters: Vec<Installed>,
}

/// One way to read the filters of a task. The error is the reason for an unknown.
trait Source {
    fn method(&self) -> Method;
    fn read(&self, tid: i32) -> Result<Vec<Installed>, String>;
}

/// Reads the filters of the first thread of `pid`, oldest first.
///
/// Needs CAP_SYS_ADMIN in the initial user namespace, the right to trace the process, and a caller that is under no
/// seccomp filter itself. A process without filters is told from `/proc/PID/status` alone and not stopped.
pub fn read(pid: HostPid) -> Observed<Vec<Program>> {
    programs(dump(pid, false))
}

/// Reads the filters of a process that the **calling thread** has stopped under ptrace already, and leaves it stopped.
pub fn read_stopped(pid: HostPid) -> Observed<Vec<Program>> {
    programs(dump(pid, true))
}

fn programs(dump: Observed<Dump>) -> Observed<Vec<Program>> {
    dump.map(|dump| dump.filters.into_iter().map(|filter| filter.program).collect())
}

/// Reads the filters with their flags, and says how.
pub fn dump(pid: HostPid, already_stopped: bool) -> Observed<Dump> {
    let process = match Process::open(pid) {
        Ok(process) => process,
        Err(error) => return Observed::Unknown(error.to_string()),
    };
    let dump = dump_of(&process, already_stopped);
    if process.is_alive() { dump } else { Observed::Unknown("the process died while it was read".to_owned()) }
}

pub(crate) fn dump_of(process: &Process, already_stopped: bool) -> Observed<Dump> {
    let status = match process.dir.status() {
        Ok(status) => status,
        Err(error) => return crate::why::observed("read /proc/PID/status", None, Err(error)),
    };
    match status.seccomp_mode {
        None => return Observed::Absent,
        // Mode 1 (strict) is no program either.
        Some(0 | 1) => return Observed::Present(Dump { method: Method::Status, filters: Vec::new() }),
        Some(_) => {}
    }
    let source: &dyn Source = if already_stopped { &ptrace::Stopped } else { &ptrace::Stopping };
    if !already_stopped && status.tracer_pid != 0 {
        return Observed::Unknown(format!(
            "trace the target: EPERM (operation not permitted); {} traces it already",
            tracer(status.tracer_pid)
        ));
    }
    let filters = match source.read(process.pid.0) {
        Ok(filters) => filters,
        Err(why) => return Observed::Unknown(why),
    };
    match status.seccomp_filters {
        // One more may have been installed between the two reads; none is ever taken away.
        Some(count) if usize::try_from(count).is_ok_and(|count| filters.len() < count) => {
            Observed::Unknown(format!(
                "{} gave {} filters where /proc/PID/status counts {count}",
                source.method(),
                filters.len()
            ))
        }
        _ => Observed::Present(Dump { method: source.method(), filters }),
    }
}

fn tracer(pid: i32) -> String {
    Process::open(HostPid(pid))
        .ok()
        .and_then(|process| process.dir.text("comm").ok())
        .map_or("another process".to_owned(), |comm| {
            format!("{:?}", plim_model::text::escape(comm.trim_end()))
        })
}

/// The filters as the snapshot tells them.
pub(crate) fn describe(dump: &Dump) -> Vec<SeccompFilter> {
    dump.filters
        .iter()
        .map(|filter| SeccompFilter {
            length: u32::try_from(filter.program.instructions().len()).unwrap_or(u32::MAX),
            sha256: digest(&filter.program),
            log: filter.log.clone(),
            summary: analyse::summary(&filter.program),
        })
        .collect()
}

/// SHA-256 over the `struct sock_filter` array in little-endian order, lower-case hex.
fn digest(program: &Program) -> String {
    Sha256::digest(program.to_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

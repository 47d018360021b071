//! The seccomp filters that are installed in a live task, as the kernel keeps them.
//!
//! A BPF task iterator reads them without stopping anything; where it cannot be used, ptrace reads the same bytes from
//! the stopped task. A [`Dump`] says which it was, and why the iterator was not.

mod all;
mod iterator;
mod ptrace;
mod relay;

pub use all::{ThreadFilters, read_all};
use plim_model::parse::status::Status;
use plim_model::seccomp::SeccompFilter;
use plim_model::{HostPid, Observed};
use plim_seccomp::analyse;
use plim_seccomp::bpf::Program;
pub(crate) use relay::{relayed, relayed_stopped};
use sha2::{Digest, Sha256};

use crate::procdir::Process;

/// How filters were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `/proc/PID/status` says that there is none: nothing had to be stopped.
    Status,
    /// A BPF task iterator (Linux 5.8): nothing was stopped.
    BpfIterator,
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
            Method::BpfIterator => "bpf iterator",
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
    /// Why the BPF iterator, which comes first, was not used: `needs CAP_BPF and CAP_PERFMON`. `None` where it was, or
    /// where it was not asked.
    pub instead_of_iterator: Option<String>,
    /// A number that this stack of filters alone has as long as some task stands on it (the address of the newest one, which
    /// the tracer's events carry too); no meaning beyond that. Known from the iterator.
    pub stack: Option<u64>,
    /// Oldest first. The kernel runs them newest first.
    pub filters: Vec<Installed>,
}

/// Which ways of reading are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Means {
    /// The iterator, and ptrace where that cannot be used.
    #[default]
    Any,
    /// The iterator alone: nothing is ever stopped.
    Iterator,
    /// ptrace alone.
    Ptrace,
    /// ptrace on a task that the calling thread has stopped.
    Stopped,
}

/// Reads the filters of the first thread of `pid`, oldest first.
///
/// Needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN) for the iterator, which also needs BTF, CONFIG_CHECKPOINT_RESTORE and
/// a reader in the first pid namespace. For ptrace: CAP_SYS_ADMIN in the initial user namespace, the right to trace the
/// process, and a caller that is under no seccomp filter itself. A process without filters is told from
/// `/proc/PID/status` alone.
pub fn read(pid: HostPid) -> Observed<Vec<Program>> {
    programs(dump(pid, Means::Any))
}

/// Reads the filters of a process that the **calling thread** has stopped under ptrace already, and leaves it stopped.
pub fn read_stopped(pid: HostPid) -> Observed<Vec<Program>> {
    programs(dump(pid, Means::Stopped))
}

fn programs(dump: Observed<Dump>) -> Observed<Vec<Program>> {
    dump.map(Dump::into_programs)
}

impl Dump {
    /// The programs alone, oldest first.
    pub fn into_programs(self) -> Vec<Program> {
        self.filters.into_iter().map(|filter| filter.program).collect()
    }
}

/// Reads the filters with their flags, and says how.
pub fn dump(pid: HostPid, means: Means) -> Observed<Dump> {
    let process = match Process::open(pid) {
        Ok(process) => process,
        Err(error) => return Observed::Unknown(error.to_string()),
    };
    let dump = dump_of(&process, means);
    match process.is_alive() {
        Ok(true) => dump,
        Ok(false) => Observed::Unknown("the process died while it was read".to_owned()),
        Err(error) => Observed::Unknown(error.during("read /proc/PID/stat", None)),
    }
}

/// The filters of any thread by the iterator alone, for a reader that is told of many: the number of the stack (see
/// [`Dump::stack`]) and the programs, oldest first. `None` when the thread has ended.
///
/// # Errors
/// Why the iterator cannot be used, or why it cannot read this thread.
pub fn stack_of(tid: i32) -> Result<Option<(u64, Vec<Program>)>, String> {
    match relay::read(&[tid])?.remove(&tid) {
        None => Ok(None),
        Some(iterator::Answer::Not(why)) => Err(why),
        Some(iterator::Answer::Filters { stack, filters, .. }) => {
            Ok(Some((stack, filters.into_iter().map(|filter| filter.program).collect())))
        }
    }
}

pub(crate) fn dump_of(process: &Process, means: Means) -> Observed<Dump> {
    let status = match process.dir.status() {
        Ok(status) => status,
        Err(error) => return crate::why::observed("read /proc/PID/status", None, Err(error)),
    };
    if let Some(answer) = without_filters(&status) {
        return answer;
    }
    let answer = match means {
        Means::Any | Means::Iterator => {
            relay::read(&[process.pid.0]).map(|mut answers| answers.remove(&process.pid.0))
        }
        Means::Ptrace | Means::Stopped => Ok(None),
    };
    of_task(process.pid.0, &status, means, answer)
}

/// What is known without asking further: no seccomp in the kernel, or no filter on the task.
fn without_filters(status: &Status) -> Option<Observed<Dump>> {
    match status.seccomp_mode {
        None => Some(Observed::Absent),
        // Mode 1 (strict) is no program either.
        Some(0 | 1) => Some(Observed::Present(Dump {
            method: Method::Status,
            instead_of_iterator: None,
            stack: None,
            filters: Vec::new(),
        })),
        Some(_) => None,
    }
}

/// Judges what the iterator said of a task that has filters, and asks ptrace where it said nothing and `means` allows.
fn of_task(
    tid: i32,
    status: &Status,
    means: Means,
    answer: Result<Option<iterator::Answer>, iterator::Unavailable>,
) -> Observed<Dump> {
    let why = match answer {
        Ok(Some(iterator::Answer::Filters { process, stack, filters })) if process == status.tgid => {
            let stack = Some(stack);
            let dump = Dump { method: Method::BpfIterator, instead_of_iterator: None, stack, filters };
            return counted(dump, status);
        }
        Ok(Some(iterator::Answer::Filters { process, .. })) => {
            Some(format!("thread {tid} belongs to process {process}, where {} was expected", status.tgid))
        }
        Ok(Some(iterator::Answer::Not(why))) | Err(why) => Some(why),
        Ok(None) if matches!(means, Means::Any | Means::Iterator) => {
            Some("the task was not among those walked: it ended".to_owned())
        }
        Ok(None) => None,
    };
    let both = |other: String| match &why {
        Some(why) => format!("BPF task iterator: {why}; {other}"),
        None => other,
    };
    let (method, read) = match means {
        Means::Iterator => return Observed::Unknown(both("nothing else was to be tried".to_owned())),
        Means::Any | Means::Ptrace if status.tracer_pid != 0 => {
            return Observed::Unknown(both(format!(
                "trace the target: EPERM (operation not permitted); {} traces it already",
                tracer(status.tracer_pid)
            )));
        }
        Means::Any | Means::Ptrace => (Method::Ptrace, relay::stop_and_read(tid)),
        Means::Stopped => (Method::PtraceAlreadyStopped, ptrace::read_stopped(tid)),
    };
    match read {
        Ok(filters) => counted(Dump { method, instead_of_iterator: why, stack: None, filters }, status),
        Err(other) => Observed::Unknown(both(other)),
    }
}

/// The cross-check with the kernel's own count (Linux 5.9).
fn counted(dump: Dump, status: &Status) -> Observed<Dump> {
    match status.seccomp_filters {
        // One more may have been installed between the two reads; none is ever taken away.
        Some(count) if usize::try_from(count).is_ok_and(|count| dump.filters.len() < count) => {
            Observed::Unknown(format!(
                "{} gave {} filters where /proc/PID/status counts {count}",
                dump.method,
                dump.filters.len()
            ))
        }
        _ => Observed::Present(dump),
    }
}

fn tracer(pid: i32) -> String {
    Process::open(HostPid(pid))
        .ok()
        .and_then(|process| process.dir.text("comm").ok())
        .map_or("another process".to_owned(), |comm| format!("{:?}", comm.trim_end()))
}

/// The filters as the snapshot tells them.
pub(crate) fn describe(dump: &Dump) -> Vec<SeccompFilter> {
    dump.filters
        .iter()
        .map(|filter| SeccompFilter {
            length: u32::try_from(filter.program.instructions().len()).unwrap_or(u32::MAX),
            sha256: digest(&filter.program),
            log: filter.log.clone(),
            // A filter beyond what can be decided has no summary rather than a guess.
            summary: analyse::summary(&filter.program).unwrap_or_default(),
        })
        .collect()
}

/// SHA-256 over the `struct sock_filter` array in little-endian order, lower-case hex.
fn digest(program: &Program) -> String {
    Sha256::digest(program.to_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

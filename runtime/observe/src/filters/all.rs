//! The filters of every thread of every process of a target, so that an exec'd shell without the filter is found.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use plim_model::parse::status::Status;
use plim_model::{HostPid, Observed};

use super::{Dump, Means, of_task, relay, without_filters};
use crate::deadline::Deadline;
use crate::error::ObserveError;
use crate::procdir::TaskDir;
use crate::processes::{MOST_THREADS, Member};
use crate::why::refusal;
use crate::{Neighbours, Selected, assemble, processes};

/// Processes and threads that come up while the others are read are read in as many further rounds.
const ROUNDS: usize = 8;

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadFilters {
    /// The process it belongs to.
    pub pid: HostPid,
    /// The thread; equal to `pid` for the first one.
    pub tid: i32,
    /// `comm`: set by the thread itself, so no proof of anything.
    pub comm: String,
    /// Its filters, oldest first.
    pub filters: Observed<Dump>,
}

/// Reads the filters of all threads of the target's processes, sorted by process and thread: its first process at
/// least. Threads that end meanwhile are left out.
///
/// # Errors
/// The target is gone or was replaced; its processes cannot be told from others; one of them cannot be looked at, such
/// as with EMFILE; there are too many, or they come up faster than they are read.
pub fn read_all(selected: &Selected, means: Means) -> Result<Vec<ThreadFilters>, ObserveError> {
    let init = selected.open_process()?;
    let failed = |why: String| ObserveError::Open {
        what: format!("the processes of {}", selected.target_name()),
        source: std::io::Error::other(why),
    };
    let (neighbours, _) = Neighbours::survey();
    let group = assemble::group_of(selected, &init, &neighbours);
    let deadline = init.dir.deadline();
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    let mut is_whole = false;
    for _ in 0..ROUNDS {
        let mut fresh = Vec::new();
        for member in processes::members(&init, &group).map_err(failed)? {
            fresh.extend(threads(member, deadline, &mut seen).map_err(failed)?);
        }
        if fresh.is_empty() {
            is_whole = true;
            break;
        }
        all.extend(read_threads(fresh, means, deadline));
    }
    init.check_alive(&selected.target_name())?;
    if !is_whole {
        return Err(failed(format!("new ones came up in each of the {ROUNDS} rounds that are read")));
    }
    if all.is_empty() {
        return Err(failed("none of them could be read".to_owned()));
    }
    all.sort_by_key(|thread| (thread.pid, thread.tid));
    Ok(all)
}

#[derive(Clone, Copy)]
struct Thread {
    process: Member,
    tid: i32,
}

impl Thread {
    /// Its directory; `None` when it has ended.
    fn open(&self, deadline: Deadline) -> Result<Option<TaskDir>, String> {
        let opened = self.process.open(deadline).map_err(|error| error.during("open /proc/PID", None))?;
        match opened.map(|dir| dir.thread(self.tid)) {
            Some(Ok(dir)) => Ok(Some(dir)),
            None | Some(Err(Errno::ENOENT | Errno::ESRCH)) => Ok(None),
            Some(Err(errno)) => Err(refusal("open /proc/PID/task/TID", errno, None)),
        }
    }
}

/// The threads of a process that were not seen before.
fn threads(
    process: Member,
    deadline: Deadline,
    seen: &mut BTreeSet<(HostPid, i32)>,
) -> Result<Vec<Thread>, String> {
    let listed = process.open(deadline).and_then(|dir| {
        dir.map_or(Ok(Vec::new()), |dir| dir.threads(MOST_THREADS.saturating_sub(seen.len())))
    });
    match listed {
        Ok(tids) => Ok(tids
            .into_iter()
            .filter(|tid| seen.insert((process.pid, *tid)))
            .map(|tid| Thread { process, tid })
            .collect()),
        Err(error) if error.is_gone() => Ok(Vec::new()),
        Err(error) => Err(error.during("list /proc/PID/task", None)),
    }
}

/// The status of a thread that lives; `None` when it has ended.
fn status(thread: &Thread, deadline: Deadline) -> Result<Option<Status>, String> {
    let Some(dir) = thread.open(deadline)? else { return Ok(None) };
    match (dir.status(), dir.has_ended()) {
        (_, Ok(true)) => Ok(None),
        (Ok(status), Ok(false)) => Ok(Some(status)),
        (Err(error), _) | (_, Err(error)) => Err(error.during("read /proc/PID/task/TID/status", None)),
    }
}

/// A zombie has given up its filters and runs nothing any more.
fn read_threads(threads: Vec<Thread>, means: Means, deadline: Deadline) -> Vec<ThreadFilters> {
    let statuses: Vec<_> = threads.iter().map(|thread| status(thread, deadline)).collect();
    let filtered: Vec<i32> = threads
        .iter()
        .zip(&statuses)
        .filter(|(_, status)| matches!(status, Ok(Some(status)) if without_filters(status).is_none()))
        .map(|(thread, _)| thread.tid)
        .collect();
    let mut answers = match means {
        Means::Any | Means::Iterator if !filtered.is_empty() => relay::read(&filtered),
        _ => Ok(BTreeMap::new()),
    };
    threads
        .into_iter()
        .zip(statuses)
        .filter_map(|(thread, status)| {
            let filters = match status {
                Ok(None) => return None,
                Ok(Some(status)) => without_filters(&status).unwrap_or_else(|| {
                    let answer = match &mut answers {
                        Ok(answers) => Ok(answers.remove(&thread.tid)),
                        Err(why) => Err(why.clone()),
                    };
                    // To stop a thread takes up to two seconds.
                    match deadline.check() {
                        Err(error) if !matches!(answer, Ok(Some(_))) => {
                            Observed::Unknown(error.during("read the filters", None))
                        }
                        _ => of_task(thread.tid, &status, means, answer),
                    }
                }),
                Err(why) => Observed::Unknown(why),
            };
            let dir = thread.open(deadline);
            // What could not be read because the thread ended is no hole in what is known.
            if !matches!(filters, Observed::Present(_)) && matches!(dir, Ok(None)) {
                return None;
            }
            let comm = dir.ok().flatten().and_then(|dir| dir.text("comm").ok()).unwrap_or_default();
            let comm = comm.trim_end_matches('\n').to_owned();
            Some(ThreadFilters { pid: thread.process.pid, tid: thread.tid, comm, filters })
        })
        .collect()
}

//! The filters of every thread of every process of a target, so that an exec'd shell without the filter is found.

use std::collections::{BTreeMap, BTreeSet};

use plim_model::{HostPid, Observed};

use super::{Dump, Means, iterator, of_task, without_filters};
use crate::error::ObserveError;
use crate::procdir::{Process, TaskDir};
use crate::{Neighbours, Selected, assemble, processes};

/// Processes and threads that come up while the others are read are read in as many further rounds.
const ROUNDS: usize = 4;

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadFilters {
    /// The process it belongs to.
    pub pid: HostPid,
    /// The thread; equal to `pid` for the first one.
    pub tid: i32,
    /// `comm`, escaped; set by the thread itself, so no proof of anything.
    pub comm: String,
    /// Its filters, oldest first.
    pub filters: Observed<Dump>,
}

/// Reads the filters of all threads of the target's processes, sorted by process and thread. Threads that end meanwhile
/// are left out.
///
/// # Errors
/// The target is gone or was replaced; who belongs to it cannot be told.
pub fn read_all(selected: &Selected, means: Means) -> Result<Vec<ThreadFilters>, ObserveError> {
    let init = selected.open_process()?;
    let (neighbours, _) = Neighbours::survey();
    let group = assemble::group_of(selected, &init, &neighbours);
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let members = processes::members(&init, &group).map_err(|why| ObserveError::Open {
            what: format!("the processes of {}", selected.target_name()),
            source: std::io::Error::other(why),
        })?;
        let fresh: Vec<Thread> =
            members.iter().flat_map(threads).filter(|thread| seen.insert((thread.pid, thread.tid))).collect();
        if fresh.is_empty() {
            break;
        }
        all.extend(read_threads(fresh, means));
    }
    if !init.is_alive() {
        return Err(ObserveError::Died { target: selected.target_name() });
    }
    all.sort_by_key(|thread| (thread.pid, thread.tid));
    Ok(all)
}

struct Thread {
    pid: HostPid,
    tid: i32,
    dir: TaskDir,
}

impl Thread {
    /// A zombie has given up its filters and runs nothing any more.
    fn lives(&self) -> bool {
        self.dir.start_time_and_state().is_ok_and(|(_, state)| !matches!(state, 'Z' | 'X'))
    }
}

/// The threads of a process that lives now.
fn threads(process: &Process) -> Vec<Thread> {
    let tasks = procfs::process::Process::new(process.pid.0).and_then(|process| process.tasks());
    let Ok(tasks) = tasks else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| {
            let dir = process.dir.thread(task.tid).ok()?;
            Some(Thread { pid: process.pid, tid: task.tid, dir })
        })
        .filter(Thread::lives)
        .collect()
}

fn read_threads(threads: Vec<Thread>, means: Means) -> Vec<ThreadFilters> {
    let statuses: Vec<_> = threads.iter().map(|thread| thread.dir.status()).collect();
    let filtered: Vec<i32> = threads
        .iter()
        .zip(&statuses)
        .filter(|(_, status)| status.as_ref().is_ok_and(|status| without_filters(status).is_none()))
        .map(|(thread, _)| thread.tid)
        .collect();
    let mut answers = match means {
        Means::Any | Means::Iterator if !filtered.is_empty() => iterator::read(&filtered),
        _ => Ok(BTreeMap::new()),
    };
    threads
        .into_iter()
        .zip(statuses)
        .filter_map(|(thread, status)| {
            let filters = match status {
                Ok(status) => without_filters(&status).unwrap_or_else(|| {
                    let answer = match &mut answers {
                        Ok(answers) => Ok(answers.remove(&thread.tid)),
                        Err(why) => Err(why.clone()),
                    };
                    of_task(thread.tid, &status, means, answer)
                }),
                Err(error) => crate::why::observed("read /proc/PID/task/TID/status", None, Err(error)),
            };
            // What could not be read because the thread ended is no hole in what is known.
            if !matches!(filters, Observed::Present(_)) && !thread.lives() {
                return None;
            }
            let comm = thread.dir.text("comm").unwrap_or_default();
            let comm = plim_model::text::escape(comm.trim_end_matches('\n'));
            Some(ThreadFilters { pid: thread.pid, tid: thread.tid, comm, filters })
        })
        .collect()
}

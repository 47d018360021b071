//! The processes and threads of a container, and those that are confined differently from its first process.

use std::collections::BTreeMap;

use nix::errno::Errno;
use plim_model::namespace::NamespaceKind;
use plim_model::parse::cgroup::membership;
use plim_model::parse::status::Status;
use plim_model::process::OddProcess;
use plim_model::{CapabilitySet, ContainerPid, HostPid, NamespaceId, Observed};

use crate::deadline::Deadline;
use crate::namespaces::{self, Inodes};
use crate::procdir::{Process, TaskDir};
use crate::sys;
use crate::why::{self, ReadError, observed, refusal};

/// Which processes belong to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// It cannot be told, for this reason.
    Unknown(String),
    /// The process and its threads alone.
    Alone,
    /// Whatever lives in this pid namespace or one below it, or in this cgroup or one below it.
    Container {
        /// The pid namespace, when the container has one to itself.
        pid_namespace: Option<NamespaceId>,
        /// A cgroup that is not the root of its hierarchy: the key of `Cgroup::paths` and the path.
        cgroup: Option<(String, String)>,
    },
}

/// Most processes of one target that are read.
const MOST_PROCESSES: usize = 1 << 15;
/// Most threads of all of them.
pub(crate) const MOST_THREADS: usize = 1 << 16;

/// What is compared of one thread.
struct Confinement {
    status: Status,
    namespaces: Inodes,
    label: Option<String>,
}

/// An error when a part of it cannot be read.
fn confinement(task: &TaskDir) -> Result<Confinement, String> {
    let status = task.status().map_err(|error| error.during("read /proc/PID/status", None))?;
    let namespaces = namespaces::inodes(task);
    for namespace in namespaces.values() {
        if let Observed::Unknown(why) = namespace {
            return Err(why.clone());
        }
    }
    Ok(Confinement { status, namespaces, label: label(task)? })
}

/// The label of whichever module is in front. ENOENT and EINVAL: there is none, or no such file before Linux 5.8.
fn label(task: &TaskDir) -> Result<Option<String>, String> {
    for file in ["attr/apparmor/current", "attr/current"] {
        match task.text(file) {
            Ok(label) => return Ok(Some(label.trim_end_matches(['\0', '\n']).to_owned())),
            Err(ReadError::Errno(Errno::ENOENT | Errno::EINVAL)) => {}
            Err(error) => return Err(error.during(&format!("read /proc/PID/{file}"), None)),
        }
    }
    Ok(None)
}

/// A process of a target. No descriptor is held, as a target may have more of them than a reader may open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pid: HostPid,
    start_time_ticks: u64,
}

impl Member {
    /// Its directory; `None` when it has ended, also where another process has its pid.
    pub(crate) fn open(&self, deadline: Deadline) -> Result<Option<TaskDir>, ReadError> {
        let read = || {
            let dir = TaskDir::open(self.pid.0, deadline)?;
            let (start, state) = dir.start_time_and_state()?;
            let lives = start == self.start_time_ticks && !matches!(state, 'Z' | 'X');
            Ok(lives.then_some(dir))
        };
        match read() {
            Err(error) if ReadError::is_gone(&error) => Ok(None),
            other => other,
        }
    }
}

/// How many processes the target has, and which threads are confined differently from its first.
pub(crate) fn read(init: &Process, group: &Group) -> (Observed<u32>, Observed<Vec<OddProcess>>) {
    let members = match members(init, group) {
        Ok(members) => members,
        Err(why) => return (Observed::Unknown(why.clone()), Observed::Unknown(why)),
    };
    let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let odd = odd_processes(init, &members);
    (Observed::Present(count), odd.map_or_else(Observed::Unknown, Observed::Present))
}

fn odd_processes(init: &Process, members: &[Member]) -> Result<Vec<OddProcess>, String> {
    let first = confinement(&init.dir);
    let (mut odd, mut threads) = (Vec::new(), 0);
    for member in members {
        let opened = member.open(init.dir.deadline());
        if let Some(dir) = opened.map_err(|error| error.during("open /proc/PID", None))? {
            compare_process((member.pid, &dir), (init.pid, &first), &mut threads, &mut odd)?;
        }
    }
    odd.sort_by_key(|process| process.pid);
    Ok(odd)
}

/// The processes of the target that live now, its first among them. Which are there is read through one descriptor of
/// /proc; what each is, through one of its own that is closed again.
pub(crate) fn members(init: &Process, group: &Group) -> Result<Vec<Member>, String> {
    let first = Member { pid: init.pid, start_time_ticks: init.start_time_ticks() };
    let (pid_namespace, cgroup) = match group {
        Group::Unknown(why) => return Err(why.clone()),
        Group::Alone => return Ok(vec![first]),
        Group::Container { pid_namespace, cgroup } => (pid_namespace, cgroup),
    };
    let mut nesting = Nesting::default();
    let mut members = vec![first];
    for entry in procfs::process::all_processes().map_err(|error| format!("list /proc: {error}"))? {
        let pid = match entry {
            Ok(process) => process.pid,
            // Gone since the directory was read.
            Err(procfs::ProcError::NotFound(_)) => continue,
            Err(error) => return Err(format!("list /proc: {error}")),
        };
        if pid == init.pid.0 {
            continue;
        }
        match member(pid, init.dir.deadline(), *pid_namespace, cgroup.as_ref(), &mut nesting) {
            Ok(Some(_)) if members.len() == MOST_PROCESSES => {
                return Err(format!(
                    "list the target's processes: more than the {MOST_PROCESSES} that are read"
                ));
            }
            Ok(found) => members.extend(found),
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error.during("look at a process of /proc", why::PTRACE)),
        }
    }
    Ok(members)
}

/// The process, where it belongs to the target.
fn member(
    pid: i32,
    deadline: Deadline,
    pid_namespace: Option<NamespaceId>,
    cgroup: Option<&(String, String)>,
    nesting: &mut Nesting,
) -> Result<Option<Member>, ReadError> {
    let dir = TaskDir::open(pid, deadline)?;
    let by_cgroup = match cgroup {
        Some((key, path)) => in_cgroup(&dir, key, path)?,
        None => false,
    };
    let belongs = by_cgroup
        || match pid_namespace.map(|namespace| nesting.is_within(&dir, namespace)) {
            None => false,
            Some(Ok(within)) => within,
            // Out of the reader's reach: what is in a pid namespace below shows more than one number, which everyone may read.
            Some(Err(ReadError::Errno(Errno::EACCES | Errno::EPERM))) if dir.status()?.ns_pid.len() == 1 => {
                false
            }
            Some(Err(error)) => return Err(error),
        };
    if !belongs {
        return Ok(None);
    }
    let (start_time_ticks, _) = dir.start_time_and_state()?;
    Ok(Some(Member { pid: HostPid(pid), start_time_ticks }))
}

fn in_cgroup(task: &TaskDir, key: &str, path: &str) -> Result<bool, ReadError> {
    Ok(membership(&task.text("cgroup")?)?.iter().any(|member| {
        let same = match key {
            "unified" => member.hierarchy_id == 0,
            key => member.controllers.iter().any(|controller| controller == key),
        };
        same && member.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }))
}

/// Which pid namespaces lie below which, asked of the kernel once for each.
#[derive(Default)]
struct Nesting(BTreeMap<(NamespaceId, NamespaceId), bool>);

impl Nesting {
    fn is_within(&mut self, task: &TaskDir, outer: NamespaceId) -> Result<bool, ReadError> {
        let own = task.namespace(NamespaceKind::Pid)?;
        if own == outer {
            return Ok(true);
        }
        if let Some(known) = self.0.get(&(own, outer)) {
            return Ok(*known);
        }
        let mut at = task.namespace_fd(NamespaceKind::Pid)?;
        // The kernel nests at most 32 deep (MAX_PID_NS_LEVEL).
        let mut within = false;
        for _ in 0..32 {
            at = match sys::namespace_parent(std::os::fd::AsFd::as_fd(&at)) {
                Ok(parent) => parent,
                // The parent is the reader's own parent, or there is none.
                Err(Errno::EPERM | Errno::EINVAL) => break,
                Err(errno) => return Err(errno.into()),
            };
            if NamespaceId(nix::sys::stat::fstat(&at)?.st_ino) == outer {
                within = true;
                break;
            }
        }
        self.0.insert((own, outer), within);
        Ok(within)
    }
}

/// Compares every thread of one process. Threads that differ as their process does are told once, as the process.
/// What could not be read because the thread ended is no hole in what is known.
fn compare_process(
    (pid, dir): (HostPid, &TaskDir),
    (first_pid, first): (HostPid, &Result<Confinement, String>),
    threads: &mut usize,
    odd: &mut Vec<OddProcess>,
) -> Result<(), String> {
    let compare = |task: &TaskDir| match confinement(task) {
        Ok(here) => first.as_ref().map(|first| differences(first, &here)).map_err(String::clone),
        Err(why) => match task.has_ended() {
            Ok(true) => Ok(Vec::new()),
            Ok(false) | Err(_) => Err(why),
        },
    };
    let leader = if pid == first_pid { Vec::new() } else { compare(dir)? };
    if !leader.is_empty() {
        odd.push(told(pid, dir, leader.clone()));
    }
    let others = match dir.threads(MOST_THREADS - *threads) {
        Ok(others) => others,
        Err(error) if error.is_gone() => return Ok(()),
        Err(error) => return Err(error.during("list /proc/PID/task", None)),
    };
    *threads += others.len();
    for tid in others.into_iter().filter(|tid| *tid != pid.0) {
        let thread = match dir.thread(tid) {
            Ok(thread) => thread,
            Err(Errno::ENOENT | Errno::ESRCH) => continue,
            Err(errno) => return Err(refusal("open /proc/PID/task/TID", errno, None)),
        };
        let differs = compare(&thread)?;
        if !differs.is_empty() && differs != leader {
            odd.push(told(HostPid(tid), &thread, differs));
        }
    }
    Ok(())
}

fn told(pid: HostPid, task: &TaskDir, differs: Vec<String>) -> OddProcess {
    let container_pid = match observed("read /proc/PID/status", None, task.status()) {
        Observed::Present(status) => Observed::from(status.ns_pid.last().copied().map(ContainerPid)),
        Observed::Absent => Observed::Absent,
        Observed::Unknown(why) => Observed::Unknown(why),
    };
    let comm = task.text("comm").unwrap_or_default();
    OddProcess { pid, container_pid, comm: comm.trim_end_matches('\n').to_owned(), differs }
}

/// `FACT: INIT'S VALUE, here VALUE`, sorted.
fn differences(first: &Confinement, other: &Confinement) -> Vec<String> {
    let (a, b) = (&first.status, &other.status);
    let mut differs = Vec::new();
    let mut tell = |fact: String, first: String, here: String| {
        if first != here {
            differs.push(format!("{fact}: {first}, here {here}"));
        }
    };
    let sets: [(&str, CapabilitySet, CapabilitySet); 5] = [
        ("effective", a.capabilities.effective, b.capabilities.effective),
        ("permitted", a.capabilities.permitted, b.capabilities.permitted),
        ("inheritable", a.capabilities.inheritable, b.capabilities.inheritable),
        ("bounding", a.capabilities.bounding, b.capabilities.bounding),
        ("ambient", a.capabilities.ambient, b.capabilities.ambient),
    ];
    for (name, first, here) in sets {
        if first != here {
            let (more, less) = (here.difference(first), first.difference(here));
            tell(format!("{name} capabilities"), words(first), change(here, more, less));
        }
    }
    let number = |value: Option<u32>| value.map_or("none".to_owned(), |value| value.to_string());
    tell("seccomp mode".to_owned(), mode(a.seccomp_mode), mode(b.seccomp_mode));
    tell("seccomp filters".to_owned(), number(a.seccomp_filters), number(b.seccomp_filters));
    let flag = |value: Option<bool>| value.map_or("none".to_owned(), |value| value.to_string());
    tell("no_new_privs".to_owned(), flag(a.no_new_privs), flag(b.no_new_privs));
    let label = |label: &Option<String>| {
        label.as_deref().map_or("none".to_owned(), |label| plim_model::text::escape(label).to_string())
    };
    tell("LSM label".to_owned(), label(&first.label), label(&other.label));
    for kind in NamespaceKind::ALL {
        if let (Some(Observed::Present(first)), Some(Observed::Present(here))) =
            (first.namespaces.get(&kind), other.namespaces.get(&kind))
        {
            tell(format!("{kind} namespace"), first.to_string(), here.to_string());
        }
    }
    differs.sort();
    differs
}

/// At most four names; more are counted.
fn words(set: CapabilitySet) -> String {
    let names = set.names();
    match names.len() {
        0 => "none".to_owned(),
        1..=4 => names.join(" "),
        count => format!("{count} capabilities"),
    }
}

fn change(here: CapabilitySet, more: CapabilitySet, less: CapabilitySet) -> String {
    let mut text = words(here);
    if !more.is_empty() && !here.is_empty() {
        text.push_str(&format!(", more: {}", more.names().join(" ")));
    }
    if !less.is_empty() && !here.is_empty() {
        text.push_str(&format!(", less: {}", less.names().join(" ")));
    }
    text
}

fn mode(number: Option<u32>) -> String {
    match number {
        None => "none".to_owned(),
        Some(0) => "disabled".to_owned(),
        Some(1) => "strict".to_owned(),
        Some(2) => "filter".to_owned(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::{Child, Command, Stdio};

    use nix::sys::resource::{Resource, setrlimit};

    use super::*;
    use crate::aside::Aside;

    struct Sleepers(Vec<Child>);

    impl Drop for Sleepers {
        fn drop(&mut self) {
            for child in &mut self.0 {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    /// What is read of all processes in the own pid namespace with so many descriptors.
    fn with_descriptors(limit: u64) -> (Observed<Vec<i32>>, Observed<u32>) {
        let null = std::fs::File::open("/dev/null").expect("open");
        let mut aside = Aside::begin(null.as_fd(), Deadline::for_target(), |answers| {
            setrlimit(Resource::RLIMIT_NOFILE, limit, limit).expect("setrlimit");
            let own = HostPid(std::process::id().cast_signed());
            let read = Process::open(own).map_err(|error| error.to_string()).and_then(|own| {
                let namespace = own.dir.namespace(NamespaceKind::Pid);
                let namespace = namespace.map_err(|error| error.during("readlink", None))?;
                let group = Group::Container { pid_namespace: Some(namespace), cgroup: None };
                let pids = members(&own, &group)?.iter().map(|member| member.pid.0).collect::<Vec<_>>();
                let (count, odd) = super::read(&own, &group);
                Ok((pids, odd.and_then(|_| count)))
            });
            match read {
                Ok((pids, count)) => {
                    answers.give(&Observed::Present(pids));
                    answers.give(&count);
                }
                Err(why) => (0..2).for_each(|_| answers.give(&Observed::<()>::Unknown(why.clone()))),
            }
        })
        .expect("forks");
        (aside.next("members"), aside.next("count"))
    }

    #[test]
    fn a_reader_without_descriptors_leaves_out_no_process() {
        let sleepers = (0..40).map(|_| Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn());
        let sleepers = Sleepers(sleepers.collect::<Result<_, _>>().expect("spawn"));
        let pids: Vec<i32> = sleepers.0.iter().map(|child| child.id().cast_signed()).collect();
        let mut unknown = 0;
        for limit in 0..24 {
            let (members, count) = with_descriptors(limit);
            match members {
                Observed::Present(members) => {
                    assert!(pids.iter().all(|pid| members.contains(pid)), "{limit}: {members:?}");
                }
                _ => unknown += 1,
            }
            if let Observed::Present(count) = count {
                assert!(count >= 40, "{limit}: {count}");
            }
        }
        assert!(unknown > 0);
        // None is held for each of the 40.
        assert!(with_descriptors(24).0.present().is_some());
    }
}

//! The processes and threads of a container, and those that are confined differently from its first process.

use std::collections::BTreeMap;

use nix::errno::Errno;
use plim_model::namespace::NamespaceKind;
use plim_model::parse::cgroup::membership;
use plim_model::parse::status::Status;
use plim_model::process::OddProcess;
use plim_model::{CapabilitySet, ContainerPid, HostPid, NamespaceId, Observed};

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

/// What is compared of one thread.
struct Confinement {
    status: Result<Status, ReadError>,
    namespaces: Inodes,
    label: Option<String>,
}

fn confinement(task: &TaskDir) -> Confinement {
    Confinement {
        status: task.status(),
        namespaces: namespaces::inodes(task),
        // Whichever module is in front; without one EINVAL.
        label: task
            .text("attr/apparmor/current")
            .or_else(|_| task.text("attr/current"))
            .ok()
            .map(|label| label.trim_end_matches(['\0', '\n']).to_owned()),
    }
}

/// How many processes the target has, and which threads are confined differently from its first.
pub(crate) fn read(init: &Process, group: &Group) -> (Observed<u32>, Observed<Vec<OddProcess>>) {
    let members = match members(init, group) {
        Ok(members) => members,
        Err(why) => return (Observed::Unknown(why.clone()), Observed::Unknown(why)),
    };
    let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let first = confinement(&init.dir);
    let mut odd = Vec::new();
    for process in &members {
        // A process that ends while it is read, and a zombie, can do nothing any more.
        if let Err(why) = compare_process(process, init.pid, &first, &mut odd)
            && process.is_alive()
        {
            return (Observed::Present(count), Observed::Unknown(why));
        }
    }
    odd.sort_by_key(|process| process.pid);
    (Observed::Present(count), Observed::Present(odd))
}

/// The processes of the target that live now, its first among them.
pub(crate) fn members(init: &Process, group: &Group) -> Result<Vec<Process>, String> {
    let again = || Process::open(init.pid).map_err(|error| error.to_string());
    let (pid_namespace, cgroup) = match group {
        Group::Unknown(why) => return Err(why.clone()),
        Group::Alone => return Ok(vec![again()?]),
        Group::Container { pid_namespace, cgroup } => (pid_namespace, cgroup),
    };
    let all = procfs::process::all_processes().map_err(|error| format!("list /proc: {error}"))?;
    let mut nesting = Nesting::default();
    let mut members = Vec::new();
    for entry in all {
        // Gone since the directory was read.
        let Ok(pid) = entry.map(|process| process.pid) else { continue };
        let Ok(process) = Process::open(HostPid(pid)) else { continue };
        let belongs = pid == init.pid.0
            || cgroup.as_ref().is_some_and(|(key, path)| in_cgroup(&process.dir, key, path))
            || match pid_namespace {
                None => false,
                Some(namespace) => match nesting.is_within(&process.dir, *namespace) {
                    Ok(within) => within,
                    // Out of the reader's reach. What is in a pid namespace below shows more than one number.
                    Err(errno @ (Errno::EACCES | Errno::EPERM)) if may_be_inside(&process.dir) => {
                        return Err(refusal("readlink /proc/PID/ns/pid", errno, why::PTRACE));
                    }
                    Err(_) => false,
                },
            };
        if belongs {
            members.push(process);
        }
    }
    Ok(members)
}

/// A process of the reader's own pid namespace has one number in `NSpid:`, which everyone may read.
fn may_be_inside(task: &TaskDir) -> bool {
    task.status().is_ok_and(|status| status.ns_pid.len() != 1)
}

fn in_cgroup(task: &TaskDir, key: &str, path: &str) -> bool {
    let Ok(members) = task.text("cgroup").and_then(|text| Ok(membership(&text)?)) else { return false };
    members.iter().any(|member| {
        let same = match key {
            "unified" => member.hierarchy_id == 0,
            key => member.controllers.iter().any(|controller| controller == key),
        };
        same && member.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Which pid namespaces lie below which, asked of the kernel once for each.
#[derive(Default)]
struct Nesting(BTreeMap<(NamespaceId, NamespaceId), bool>);

impl Nesting {
    fn is_within(&mut self, task: &TaskDir, outer: NamespaceId) -> Result<bool, Errno> {
        let own = match task.namespace(NamespaceKind::Pid) {
            Ok(own) => own,
            Err(ReadError::Errno(errno)) => return Err(errno),
            Err(_) => return Err(Errno::EINVAL),
        };
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
                Err(errno) => return Err(errno),
            };
            if nix::sys::stat::fstat(&at).is_ok_and(|stat| NamespaceId(stat.st_ino) == outer) {
                within = true;
                break;
            }
        }
        self.0.insert((own, outer), within);
        Ok(within)
    }
}

/// Compares every thread of one process. Threads that differ as their process does are told once, as the process.
fn compare_process(
    process: &Process,
    first_pid: HostPid,
    first: &Confinement,
    odd: &mut Vec<OddProcess>,
) -> Result<(), String> {
    if process.dir.start_time_and_state().is_ok_and(|(_, state)| matches!(state, 'Z' | 'X')) {
        return Ok(());
    }
    let leader =
        if process.pid == first_pid { Vec::new() } else { differences(first, &confinement(&process.dir))? };
    if !leader.is_empty() {
        odd.push(told(process.pid, &process.dir, leader.clone()));
    }
    let tasks = procfs::process::Process::new(process.pid.0)
        .and_then(|process| process.tasks())
        .map_err(|error| format!("list /proc/PID/task: {error}"))?;
    for task in tasks.flatten().filter(|task| task.tid != process.pid.0) {
        let Ok(thread) = process.dir.thread(task.tid) else { continue };
        match differences(first, &confinement(&thread)) {
            Ok(differs) if differs.is_empty() || differs == leader => {}
            Ok(differs) => odd.push(told(HostPid(task.tid), &thread, differs)),
            // The thread ended.
            Err(_) if thread.text("stat").is_err() => {}
            Err(why) => return Err(why),
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
    OddProcess { pid, container_pid, comm: plim_model::text::escape(comm.trim_end_matches('\n')), differs }
}

/// `FACT: INIT'S VALUE, here VALUE`, sorted. An error when one side could not be read.
fn differences(first: &Confinement, other: &Confinement) -> Result<Vec<String>, String> {
    let status = |confinement: &Confinement| {
        confinement.status.clone().map_err(|error| {
            match observed::<()>("read /proc/PID/status", None, Err(error)) {
                Observed::Unknown(why) => why,
                _ => "read /proc/PID/status: ENOENT".to_owned(),
            }
        })
    };
    let (a, b) = (status(first)?, status(other)?);
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
        match (first.namespaces.get(&kind), other.namespaces.get(&kind)) {
            (Some(Observed::Present(first)), Some(Observed::Present(here))) => {
                tell(format!("{kind} namespace"), first.to_string(), here.to_string());
            }
            (Some(Observed::Unknown(why)), _) | (_, Some(Observed::Unknown(why))) => return Err(why.clone()),
            _ => {}
        }
    }
    differs.sort();
    Ok(differs)
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

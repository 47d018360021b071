//! One snapshot: every reader called once, and the whole thrown away when the target died meanwhile.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use plim_model::parse::mountinfo::{self, MountEntry};
use plim_model::parse::status::Status;
use plim_model::parse::{idmap, limits};
use plim_model::process::User;
use plim_model::seccomp::{Seccomp, SeccompMode};
use plim_model::snapshot::{Devices, TargetInfo, Unknown};
use plim_model::{IdMap, NamespaceKind, Observed, SNAPSHOT_FORMAT, Snapshot};

use crate::aside::Aside;
use crate::error::ObserveError;
use crate::namespaces::{self, Inodes};
use crate::procdir::{LARGE, Process, TaskDir, read_until};
use crate::processes::{self, Group};
use crate::root::{LookError, Root};
use crate::why::{self, ReadError, observed, refusal};
use crate::{Members, Selected, SnapshotOptions, cgroup, devices, filters, lsm, mounts, sockets, sysctls};

/// How long a mount table may take. For mounts that are stacked on each other the kernel needs the square of their number.
const MOUNTS: Duration = Duration::from_secs(2);
/// Most mounts of a target that are read.
const MOST_MOUNTS: usize = 1 << 13;
/// How long the file system of a target may take. A loaded disk answers well within it.
const LOOKS: Duration = Duration::from_secs(3);

pub(crate) fn snapshot(selected: &Selected, options: &SnapshotOptions) -> Result<Snapshot, ObserveError> {
    let process = selected.open_process()?;
    let task = &process.dir;

    let status = observed("read /proc/PID/status", None, task.status());
    let means = if options.already_stopped { filters::Means::Stopped } else { filters::Means::Any };
    let own = namespaces::inodes(task);
    let host = namespaces::host();
    let mounts =
        mountinfo_of(task.read_within("mountinfo", LARGE, task.deadline().part(MOUNTS)), MOST_MOUNTS);
    let looking = begin_to_look(task, &mounts);
    let dump = filters::dump_of(&process, means);
    let Cgroups { cgroup, device_rules, unknown: no_cgroup } = cgroups(&process);
    let group = group(selected, &own, &host, (&cgroup, no_cgroup), &options.neighbours);
    let (process_count, odd_processes) = processes::read(&process, &group);
    let looked = end_looking(looking);

    let snapshot = Snapshot {
        format: SNAPSHOT_FORMAT.to_owned(),
        target: TargetInfo {
            engine: selected.engine.clone(),
            id: selected.id.clone(),
            name: selected.name.clone(),
            pid: selected.pid,
            image: selected.image.clone(),
            command: looked.command.present().cloned().unwrap_or_default(),
        },
        user: status.as_ref().map(|status| User {
            uid: status.uid,
            gid: status.gid,
            groups: status.groups.clone(),
        }),
        namespaces: namespaces::describe(&own, &host, selected.pid, &options.neighbours),
        id_maps: id_maps(&process),
        capabilities: status.as_ref().map(|status| status.capabilities),
        no_new_privs: status.as_ref().and_then(|status| Observed::from(status.no_new_privs)),
        seccomp: seccomp(&status, &dump),
        lsm: lsm::read(task),
        cgroup,
        read_only_paths: mounts
            .as_ref()
            .and_then(|mounts| mounts::read_only_paths(mounts, &looked.masked_paths)),
        mounts: mounts.map(|mounts| mounts.into_iter().map(|entry| entry.mount).collect()),
        masked_paths: looked.masked_paths,
        devices: Devices { nodes: looked.device_nodes, cgroup_rules: device_rules },
        rlimits: observed(
            "read /proc/PID/limits",
            None,
            task.text("limits").and_then(|text| Ok(limits::parse(&text)?)),
        ),
        sysctls: sysctls::read(&process, &own),
        engine_sockets: looked.engine_sockets,
        process_count,
        odd_processes,
        unknown: unknown(&options.neighbours, &looked.command),
    };
    process.check_alive(&selected.target_name())?;
    Ok(snapshot)
}

/// What is unknown and has no value of its own.
fn unknown(neighbours: &crate::Neighbours, command: &Observed<Vec<String>>) -> Vec<Unknown> {
    let command = match command {
        Observed::Unknown(why) => Some(("/target/command", why)),
        Observed::Present(_) | Observed::Absent => None,
    };
    let places = neighbours.unread.iter().map(|why| ("/namespaces", why)).chain(command);
    places.map(|(path, why)| Unknown { path: path.to_owned(), why: why.clone() }).collect()
}

/// `most` is the number of mounts that are read.
fn mountinfo_of(text: Result<Vec<u8>, ReadError>, most: usize) -> Observed<Vec<MountEntry>> {
    let parsed = text.and_then(|text| {
        let mounts = text.iter().filter(|byte| **byte == b'\n').count();
        if mounts > most { Err(ReadError::TooMany(most)) } else { Ok(mountinfo::parse(&text)?) }
    });
    observed("read /proc/PID/mountinfo", None, parsed)
}

/// What the target can hold up: its memory and its file system.
struct Looked {
    command: Observed<Vec<String>>,
    masked_paths: Observed<Vec<String>>,
    device_nodes: Observed<Vec<plim_model::snapshot::Device>>,
    engine_sockets: Observed<Vec<plim_model::snapshot::EngineSocket>>,
}

/// Begins to look, in a process that is not waited for beyond its deadline. The answers come in the order of [`Looked`].
fn begin_to_look(task: &TaskDir, mounts: &Observed<Vec<MountEntry>>) -> Result<Aside, String> {
    Aside::begin(task.as_fd(), task.deadline().part(LOOKS), |answers| {
        answers.give(&command(task));
        let root = mounts.as_ref().and_then(|mounts| match Root::of(task, mounts) {
            Ok(root) => Observed::Present((root, mounts)),
            Err(LookError::Errno(errno)) => {
                Observed::Unknown(refusal("open /proc/PID/root", errno, why::PTRACE))
            }
            Err(error) => Observed::Unknown(format!("look at the target's root: {error}")),
        });
        let root = root.as_ref();
        answers.give(&root.clone().and_then(|(root, mounts)| mounts::masked_paths(root, mounts)));
        answers.give(&root.clone().and_then(|(root, _)| devices::nodes(root)));
        answers.give(&root.and_then(|(root, mounts)| sockets::engine_sockets(root, mounts)));
    })
}

fn end_looking(looking: Result<Aside, String>) -> Looked {
    match looking {
        Ok(mut aside) => Looked {
            command: aside.next("read /proc/PID/cmdline"),
            masked_paths: aside.next("look at masked paths"),
            device_nodes: aside.next("list /dev of the target"),
            engine_sockets: aside.next("look for engine sockets"),
        },
        Err(why) => {
            let why = format!("look at the target's files: {why}");
            Looked {
                command: Observed::Unknown(why.clone()),
                masked_paths: Observed::Unknown(why.clone()),
                device_nodes: Observed::Unknown(why.clone()),
                engine_sockets: Observed::Unknown(why),
            }
        }
    }
}

/// The target's cgroups.
struct Cgroups {
    cgroup: plim_model::cgroup::Cgroup,
    device_rules: Observed<Vec<String>>,
    /// Why it is not known which they are.
    unknown: Option<String>,
}

/// They are looked up in the reader's own mounts.
fn cgroups(process: &Process) -> Cgroups {
    let unread = |own: &[MountEntry], why: String| Cgroups {
        cgroup: cgroup::unknown(own, &why),
        device_rules: Observed::Unknown(why.clone()),
        unknown: Some(why),
    };
    let own = open("/proc/thread-self/mountinfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(ReadError::from)
        .and_then(|fd| read_until(fd, LARGE, process.dir.deadline().part(MOUNTS)));
    let own = match mountinfo_of(own, usize::MAX) {
        Observed::Present(own) => own,
        Observed::Absent => Vec::new(),
        Observed::Unknown(why) => return unread(&[], why),
    };
    match observed("read /proc/PID/cgroup", None, process.dir.text("cgroup")) {
        Observed::Present(membership) => {
            let (cgroup, device_rules) = cgroup::read(Path::new("/"), &own, &membership);
            Cgroups { cgroup, device_rules, unknown: None }
        }
        Observed::Absent => {
            let why = "read /proc/PID/cgroup: ENOENT; the kernel has no cgroups";
            let cgroup = cgroup::unknown(&own, why);
            Cgroups { cgroup, device_rules: Observed::Absent, unknown: None }
        }
        Observed::Unknown(why) => unread(&own, why),
    }
}

fn seccomp(status: &Observed<Status>, dump: &Observed<filters::Dump>) -> Seccomp {
    Seccomp {
        mode: status.as_ref().and_then(|status| {
            Observed::from(status.seccomp_mode.map(|mode| match mode {
                0 => SeccompMode::Disabled,
                1 => SeccompMode::Strict,
                2 => SeccompMode::Filter,
                other => SeccompMode::Other(other),
            }))
        }),
        filter_count: status.as_ref().and_then(|status| Observed::from(status.seccomp_filters)),
        filters: dump.as_ref().map(filters::describe),
    }
}

fn id_maps(process: &Process) -> Observed<IdMap> {
    let map = |name: &str| {
        let parsed = process.dir.text(name).and_then(|text| Ok(idmap::parse(&text)?));
        observed(&format!("read /proc/PID/{name}"), None, parsed)
    };
    map("uid_map").and_then(|uid| map("gid_map").map(|gid| IdMap { uid, gid }))
}

/// The command line lies in the target's memory, which it may have mapped from a file system that does not answer.
fn command(task: &TaskDir) -> Observed<Vec<String>> {
    /// `MAX_ARG_STRLEN` is 128 KiB for one argument; a person reads no more than this of all.
    const LONGEST: usize = 1 << 20;
    observed("read /proc/PID/cmdline", None, task.read("cmdline", LONGEST)).map(|bytes| {
        let mut arguments: Vec<String> = bytes
            .split(|byte| *byte == 0)
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect();
        // Each argument ends with a NUL.
        if arguments.last().is_some_and(String::is_empty) {
            arguments.pop();
        }
        arguments
    })
}

/// Who belongs to the target, for a reader that wants nothing else of it.
pub(crate) fn group_of(selected: &Selected, process: &Process, neighbours: &crate::Neighbours) -> Group {
    let own = namespaces::inodes(&process.dir);
    let Cgroups { cgroup, unknown, .. } = cgroups(process);
    group(selected, &own, &namespaces::host(), (&cgroup, unknown), neighbours)
}

/// Who else belongs to the target. A pid namespace that is the host's or that another container is in (`--pid=host`,
/// `--pid=container:X`) says nothing; then the cgroup alone decides.
fn group(
    selected: &Selected,
    own: &Inodes,
    host: &Inodes,
    (cgroup, unknown): (&plim_model::cgroup::Cgroup, Option<String>),
    neighbours: &crate::Neighbours,
) -> Group {
    let kind = NamespaceKind::Pid;
    let cgroup = match (selected.members, unknown) {
        (Members::OfPidNamespace, _) => None,
        (Members::OfContainer, Some(why)) => return Group::Unknown(why),
        // Any hierarchy in which the container is not at the root.
        (Members::OfContainer, None) => ["unified", "memory", "pids", "devices", "freezer", "cpu"]
            .into_iter()
            .find_map(|key| cgroup.paths.get(key).filter(|path| *path != "/").map(|path| (key, path)))
            .map(|(key, path)| (key.to_owned(), path.clone())),
    };
    let known = |inodes: &Inodes| match inodes.get(&kind).cloned().unwrap_or_default() {
        Observed::Present(inode) => Ok(inode),
        Observed::Absent => Err("the kernel has no pid namespaces".to_owned()),
        Observed::Unknown(why) => Err(why),
    };
    let pid_namespace = match (known(own), known(host)) {
        (Ok(own), Ok(host)) => {
            (own != host && neighbours.sharing(selected.pid, kind, own).is_empty()).then_some(own)
        }
        // The cgroup, which everyone may read, still tells the members.
        (Err(_), _) | (_, Err(_)) if cgroup.is_some() => None,
        (Err(why), _) | (_, Err(why)) => return Group::Unknown(why),
    };
    match (&pid_namespace, &cgroup) {
        (None, None) => Group::Alone,
        _ => Group::Container { pid_namespace, cgroup },
    }
}

//! One snapshot: every reader called once, and the whole thrown away when the target died meanwhile.

use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use plim_model::parse::mountinfo::{self, MountEntry};
use plim_model::parse::status::Status;
use plim_model::parse::{idmap, limits};
use plim_model::process::User;
use plim_model::seccomp::{Seccomp, SeccompMode};
use plim_model::snapshot::{Devices, TargetInfo};
use plim_model::{IdMap, NamespaceKind, Observed, SNAPSHOT_FORMAT, Snapshot};

use crate::deadline::within;
use crate::error::ObserveError;
use crate::namespaces::{self, Inodes};
use crate::procdir::{LARGE, Process, read_bounded};
use crate::processes::{self, Group};
use crate::root::Root;
use crate::why::{self, ReadError, observed, refusal};
use crate::{Members, Selected, SnapshotOptions, cgroup, devices, filters, lsm, mounts, sockets, sysctls};

pub(crate) fn snapshot(selected: &Selected, options: &SnapshotOptions) -> Result<Snapshot, ObserveError> {
    let process = selected.open_process()?;
    let died = || ObserveError::Died { target: selected.target_name() };
    let task = &process.dir;

    let status = observed("read /proc/PID/status", None, task.status());
    let means = if options.already_stopped { filters::Means::Stopped } else { filters::Means::Any };
    let dump = filters::dump_of(&process, means);
    let own = namespaces::inodes(task);
    let host = namespaces::host();
    let mounts = mountinfo_of(task.read("mountinfo", LARGE));
    let behind = behind_the_root(&process, &mounts);
    let (cgroup, cgroup_rules) = cgroups(&process);
    let group = group(selected.members, &own, &host, &cgroup, &options.neighbours, selected);
    let (process_count, odd_processes) = processes::read(&process, &group);

    let snapshot = Snapshot {
        format: SNAPSHOT_FORMAT.to_owned(),
        target: TargetInfo {
            engine: selected.engine.clone(),
            id: selected.id.clone(),
            name: selected.name.clone(),
            pid: selected.pid,
            image: selected.image.clone(),
            command: command(&process),
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
            .and_then(|mounts| mounts::read_only_paths(mounts, &behind.masked_paths)),
        mounts: mounts.map(|mounts| mounts.into_iter().map(|entry| entry.mount).collect()),
        masked_paths: behind.masked_paths,
        devices: Devices { nodes: behind.device_nodes, cgroup_rules },
        rlimits: observed(
            "read /proc/PID/limits",
            None,
            task.text("limits").and_then(|text| Ok(limits::parse(&text)?)),
        ),
        sysctls: sysctls::read(&process, &own),
        engine_sockets: behind.engine_sockets,
        process_count,
        odd_processes,
        unknown: Vec::new(),
    };
    if process.is_alive() { Ok(snapshot) } else { Err(died()) }
}

fn mountinfo_of(text: Result<Vec<u8>, ReadError>) -> Observed<Vec<MountEntry>> {
    let parsed = text.and_then(|text| Ok(mountinfo::parse(&text)?));
    observed("read /proc/PID/mountinfo", None, parsed)
}

/// What is read of the target's own file system.
struct BehindTheRoot {
    masked_paths: Observed<Vec<String>>,
    device_nodes: Observed<Vec<plim_model::snapshot::Device>>,
    engine_sockets: Observed<Vec<plim_model::snapshot::EngineSocket>>,
}

fn behind_the_root(process: &Process, mounts: &Observed<Vec<MountEntry>>) -> BehindTheRoot {
    // A descriptor for each reader: one that is held up keeps its own.
    let root = || match Root::of(&process.dir) {
        Ok(root) => Observed::Present(root),
        Err(errno) => Observed::Unknown(refusal("open /proc/PID/root", errno, why::PTRACE)),
    };
    let with_mounts = || match (root(), mounts.clone()) {
        (Observed::Present(root), Observed::Present(mounts)) => Observed::Present((root, mounts)),
        (Observed::Unknown(why), _) | (_, Observed::Unknown(why)) => Observed::Unknown(why),
        (Observed::Absent, _) | (_, Observed::Absent) => Observed::Absent,
    };
    BehindTheRoot {
        masked_paths: with_mounts().and_then(|(root, list)| {
            within("look at masked paths", move || mounts::masked_paths(&root, &list))
        }),
        device_nodes: root()
            .and_then(|root| within("list /dev of the target", move || devices::nodes(&root))),
        engine_sockets: with_mounts().and_then(|(root, list)| {
            within("look for engine sockets", move || sockets::engine_sockets(&root, &list))
        }),
    }
}

/// The reader's own mounts, in which the target's cgroups are looked up.
fn cgroups(process: &Process) -> (plim_model::cgroup::Cgroup, Observed<Vec<String>>) {
    let own = open("/proc/thread-self/mountinfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(ReadError::from)
        .and_then(|fd| read_bounded(fd, LARGE));
    let own = match mountinfo_of(own) {
        Observed::Present(own) => own,
        Observed::Absent => Vec::new(),
        Observed::Unknown(why) => return (cgroup::unknown(&[], &why), Observed::Unknown(why)),
    };
    match observed("read /proc/PID/cgroup", None, process.dir.text("cgroup")) {
        Observed::Present(membership) => cgroup::read(Path::new("/"), &own, &membership),
        Observed::Absent => {
            let why = "read /proc/PID/cgroup: ENOENT; the kernel has no cgroups";
            (cgroup::unknown(&own, why), Observed::Absent)
        }
        Observed::Unknown(why) => (cgroup::unknown(&own, &why), Observed::Unknown(why)),
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
/// What cannot be read of it leaves the list empty: it is a label, no fact that anything is judged by.
fn command(process: &Process) -> Vec<String> {
    /// `MAX_ARG_STRLEN` is 128 KiB for one argument; a person reads no more than this of all.
    const LONGEST: usize = 1 << 20;
    let Ok(task) = process.dir.try_clone() else { return Vec::new() };
    let read = within("read /proc/PID/cmdline", move || {
        observed("read /proc/PID/cmdline", None, task.read("cmdline", LONGEST))
    });
    let Observed::Present(bytes) = read else { return Vec::new() };
    let mut arguments: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .map(|argument| plim_model::text::escape(&String::from_utf8_lossy(argument)).to_string())
        .collect();
    // Each argument ends with a NUL.
    if arguments.last().is_some_and(String::is_empty) {
        arguments.pop();
    }
    arguments
}

/// Who belongs to the target, for a reader that wants nothing else of it.
pub(crate) fn group_of(selected: &Selected, process: &Process, neighbours: &crate::Neighbours) -> Group {
    let own = namespaces::inodes(&process.dir);
    let (cgroup, _) = cgroups(process);
    group(selected.members, &own, &namespaces::host(), &cgroup, neighbours, selected)
}

/// Who else belongs to the target. A pid namespace that is the host's or that another container is in (`--pid=host`,
/// `--pid=container:X`) says nothing; then the cgroup alone decides.
fn group(
    members: Members,
    own: &Inodes,
    host: &Inodes,
    cgroup: &plim_model::cgroup::Cgroup,
    neighbours: &crate::Neighbours,
    selected: &Selected,
) -> Group {
    let kind = NamespaceKind::Pid;
    let cgroup = match members {
        Members::OfPidNamespace => None,
        // Any hierarchy in which the container is not at the root.
        Members::OfContainer => ["unified", "memory", "pids", "devices", "freezer", "cpu"]
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

//! The launcher's side of the start: from a plain configuration to a container that waits for its command.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::{Pid, getpid};
use plim_model::state::{ContainerState, STATE_FORMAT};
use plim_model::{HostPid, NamespaceKind};

use crate::cgroup::{self, CgroupHandle, Removal};
use crate::channel::{Channel, Message};
use crate::checked::Checked;
use crate::child::{self, Setup};
use crate::command::Identity;
use crate::config::{ContainerConfig, NamespaceMode, RootfsSource};
use crate::credentials::Filter;
use crate::error::{During, Result, RuntimeError};
use crate::janitor::Janitor;
use crate::log::Log;
use crate::made::{BlockedSignals, Made, cgroup_error};
use crate::rootfs::mounts::CgroupView;
use crate::rootfs::{self, overlay};
use crate::running::{Created, Running};
use crate::state::{self, Places};
use crate::stdio::Stdio;
use crate::sys::{self, Forked};
use crate::{idmap, sealed, whole};

/// Makes a container up to the point where only its command is missing (OCI's *create*).
///
/// Everything is checked before anything is made, and whatever was made is removed again when an error comes back, when
/// the result is dropped, and when this process is killed at any moment.
///
/// Call it from a process with **one thread**: the container's first process is a copy of the calling one, and a lock
/// that another thread holds stays locked in the copy. The calling *thread* has to live as long as the container:
/// its end is the parent's death to the kernel (`PR_SET_PDEATHSIG`, prctl(2)). Signals are blocked from here on until the
/// container is over; [`crate::Running::wait`] passes them on.
///
/// # Errors
/// See [`RuntimeError`]; its [`RuntimeError::exit_code`] is `docker run`'s.
pub fn create(config: &ContainerConfig, stdio: Stdio) -> Result<Created> {
    let mut created = make(config, stdio)?;
    created.await_ready()?;
    Ok(created)
}

/// [`create`] and [`Created::start`] in one, for callers that have nothing to do in between: the word to start is sent
/// ahead, so that the child finds it where it would have had to wait for it.
///
/// # Errors
/// Those of both.
pub fn run(config: &ContainerConfig, stdio: Stdio) -> Result<Running> {
    let mut created = make(config, stdio)?;
    if !created.rlimits.is_empty() {
        // They are set before the word is sent, and would hinder the child while it still makes the container.
        created.await_ready()?;
        return created.start();
    }
    created.begin()?;
    created.await_ready()?;
    created.confirm()
}

/// All of the launcher's part of *create* but the wait for the child's.
fn make(config: &ContainerConfig, stdio: Stdio) -> Result<Created> {
    // Look: nothing is made yet.
    sealed::require(config)?;
    let checked = Checked::new(config)?;
    checked.namespaces.refuse_observers()?;
    let signals = BlockedSignals::new()?;
    let mountinfo = whole::bytes("/proc/self/mountinfo").during(|| "read /proc/self/mountinfo")?;
    let cgroups = plan_cgroups(config, &mountinfo)?;
    let removal = cgroups.as_ref().map_or_else(Removal::default, cgroup::Plan::removal);
    let init = if config.init { Some(sealed::own_executable()?) } else { None };

    let places = Places::of(config)?;
    refuse_existing(&places, &removal)?;

    // Make: from here on the janitor knows what there may be to remove.
    let janitor = Janitor::start(&removal, &places)?;
    let mut made = Made {
        own_pid_namespace: config.namespaces.get(&NamespaceKind::Pid) == Some(&NamespaceMode::New),
        // The shared parents are left to the janitor.
        removal: Removal { leaves: removal.leaves.clone(), parents: Vec::new() },
        janitor: Some(janitor),
        state: None,
        child: None,
        signals,
    };
    // Claimed before anything else is made: a later run finds there what to remove when the janitor is killed, too.
    let state = made.claim(places, &removal)?;
    let scratch = state.path();
    let (streams, ends) = stdio.decide(config.process.terminal, || Log::new(state.lock()))?;
    // v2: the child is born in its cgroup.
    let born_in = cgroups.as_ref().map(|plan| part(plan, true).create()).transpose().map_err(cgroup_error)?;

    // The child goes its way while the launcher makes v1 cgroups and the state.
    let (ours, theirs) = Channel::pair()?;
    let setup = Setup {
        config,
        channel: theirs,
        namespaces: &checked.namespaces,
        root: root_plan(config, &checked, &mountinfo, &scratch, cgroups.as_ref())?,
        streams: &streams,
        rlimits: &checked.rlimits,
        filter_follows: config.seccomp.is_some(),
        own_executable: Identity::of_self()?,
        init,
        group_changes: checked.group_changes,
    };
    made.child = Some(start_child(&setup, &ours, born_in.as_ref().and_then(CgroupHandle::v2_dirfd))?);
    drop(setup);
    // The caller's pipes are the container's now: a copy of ours would keep their readers waiting.
    drop(streams);
    let (pid, pidfd) = made.child()?;
    made.hold(b'p', pidfd.as_fd())?;
    if let Some(map) = &checked.id_maps {
        idmap::write(pid, map)?;
        made.tell(&ours, &Message::Mapped)?;
    }
    let joined = cgroups.as_ref().map(|plan| part(plan, false).create()).transpose().map_err(cgroup_error)?;
    made.tell(&ours, &Message::Placed(open_tasks(joined.as_ref())?))?;
    if let Some(adjustment) = config.process.oom_score_adj {
        let path = format!("/proc/{pid}/oom_score_adj");
        std::fs::write(&path, adjustment.to_string())
            .during(|| format!("write {adjustment} to {path} (lowering it needs CAP_SYS_RESOURCE)"))?;
    }
    let filter = config.seccomp.as_ref().map(Filter::new).transpose()?;
    let handles = [born_in, joined];
    if let Some(directory) = &made.state {
        directory.write(&describe(config, pid, handles.iter().flatten())?)?;
    }
    // Not after the wait, when the child would wait in turn.
    drop(handles);
    Ok(Created {
        made,
        channel: ours,
        terminal: config.process.terminal,
        streams: Vec::new(),
        ends,
        rlimits: checked.rlimits,
        filter,
    })
}

fn plan_cgroups(config: &ContainerConfig, mountinfo: &[u8]) -> Result<Option<cgroup::Plan>> {
    let own = whole::text("/proc/self/cgroup").during(|| "read /proc/self/cgroup")?;
    let layout = cgroup::Layout::detect(mountinfo, &own).map_err(cgroup_error)?;
    let facts = cgroup::Facts::probe(&layout, &config.resources);
    let asked = cgroup::asked(&config.resources);
    let place = cgroup::Place::choose(&layout, &facts, &config.id, config.cgroup_path.as_deref(), &asked)
        .map_err(cgroup_error)?;
    place
        .map(|place| cgroup::plan(&layout, &facts, &place, &config.resources))
        .transpose()
        .map_err(cgroup_error)
}

/// The plan for the v2 tree alone, or for the v1 hierarchies alone.
fn part(plan: &cgroup::Plan, unified: bool) -> cgroup::Plan {
    cgroup::Plan { trees: plan.trees.iter().filter(|tree| tree.unified == unified).cloned().collect() }
}

/// The files by which a child joins the v1 hierarchies.
fn open_tasks(handle: Option<&CgroupHandle>) -> Result<Vec<OwnedFd>> {
    let leaves = handle.map(CgroupHandle::removal).unwrap_or_default().leaves;
    leaves
        .iter()
        .map(|leaf| {
            let path = leaf.join("tasks");
            std::fs::File::options()
                .write(true)
                .open(&path)
                .map(OwnedFd::from)
                .during(|| format!("open {}", path.display()))
        })
        .collect()
}

/// Refuses ids and cgroup paths that are taken, before the janitor learns of them: it must not clear away another's.
fn refuse_existing(places: &Places, removal: &Removal) -> Result<()> {
    if let Some(taken) = removal.leaves.iter().find(|leaf| leaf.exists()) {
        return Err(RuntimeError::refused(
            format!("make the container's cgroup {}", taken.display()),
            "it is there already, and what is in it is not this container's",
        ));
    }
    state::refuse_living(places)
}

fn root_plan<'a>(
    config: &'a ContainerConfig,
    checked: &Checked<'a>,
    mountinfo: &[u8],
    scratch: &std::path::Path,
    cgroups: Option<&cgroup::Plan>,
) -> Result<rootfs::Plan<'a>> {
    let source = match &config.rootfs.source {
        RootfsSource::Directory(path) => rootfs::Source::Directory(path.clone()),
        RootfsSource::Overlay { lower, private, upper_size_bytes } => {
            rootfs::Source::Overlay(overlay::Plan {
                pieces: overlay::pieces(lower, private, mountinfo, checked.in_user_namespace)?,
                private: private.clone(),
                upper_size_bytes: *upper_size_bytes,
                scratch: scratch.to_owned(),
                label: config.mount_label.clone(),
                in_user_namespace: checked.in_user_namespace,
            })
        }
    };
    Ok(rootfs::Plan {
        source,
        propagation: checked.propagation,
        read_only: config.rootfs.read_only,
        mounts: checked.mounts.clone(),
        cgroups: cgroups.map_or_else(Vec::new, cgroup_views),
        devices: &config.devices,
        masked: &config.masked_paths,
        read_only_paths: &config.read_only_paths,
        in_user_namespace: checked.in_user_namespace,
        label: config.mount_label.as_deref(),
    })
}

/// v1 hierarchies as Docker shows them; the v2 tree of a hybrid host is left out, as there.
fn cgroup_views(plan: &cgroup::Plan) -> Vec<CgroupView> {
    let hybrid = plan.trees.iter().any(|tree| !tree.unified);
    plan.trees
        .iter()
        .filter(|tree| !(hybrid && tree.unified))
        .map(|tree| CgroupView {
            name: tree
                .mountpoint
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            directory: tree.path.iter().fold(tree.mountpoint.clone(), |path, part| path.join(part)),
            unified: tree.unified,
        })
        .collect()
}

/// Clones the child, directly or through the helper that joins namespaces first.
fn start_child(
    setup: &Setup<'_>,
    ours: &Channel,
    into: Option<std::os::fd::BorrowedFd<'_>>,
) -> Result<(Pid, OwnedFd)> {
    let flags = setup.namespaces.at_clone();
    let doing =
        || format!("clone the container's first process (flags {flags:#x}; namespaces need CAP_SYS_ADMIN)");
    if !setup.namespaces.needs_helper() {
        return match sys::clone3(flags, libc::SIGCHLD, into).during(doing)? {
            Forked::Child => child::run(setup),
            Forked::Parent(child) => Ok(child),
        };
    }
    let helper = match sys::fork().during(|| "fork the helper that joins namespaces")? {
        Forked::Child => {
            const CLONE_PARENT: u64 = 0x8000;
            let cloned = setup
                .namespaces
                .join_in_helper()
                .and_then(|()| sys::clone3(flags | CLONE_PARENT, 0, into).during(doing));
            let code = match cloned {
                Ok(Forked::Child) => child::run(setup),
                Ok(Forked::Parent((pid, _))) => {
                    i32::from(setup.channel.send(&Message::Pid(pid.as_raw())).is_err())
                }
                Err(error) => i32::from(setup.channel.send(&Message::Failed(error)).is_err()),
            };
            sys::exit_now(code)
        }
        Forked::Parent(helper) => helper,
    };
    let answer = ours.receive();
    let _ = nix::sys::wait::waitpid(helper, None);
    match answer? {
        Message::Pid(pid) => {
            let pid = Pid::from_raw(pid);
            Ok((pid, sys::pidfd_open(pid).during(|| "open the container's first process")?))
        }
        Message::Failed(error) => Err(error),
        _ => Err(RuntimeError::EndedEarly { operation: "join namespaces".into(), ended: "no answer".into() }),
    }
}

/// What other tools find in the state file.
fn describe<'a>(
    config: &ContainerConfig,
    pid: Pid,
    handles: impl Iterator<Item = &'a CgroupHandle>,
) -> Result<ContainerState> {
    let path = format!("/proc/{pid}/stat");
    let stat = whole::text(&path).during(|| format!("read {path}"))?;
    let start_time_ticks = plim_model::parse::stat::start_time(&stat)
        .ok_or_else(|| RuntimeError::refused(format!("read {path}"), "it has no start time"))?;
    Ok(ContainerState {
        format: STATE_FORMAT.to_owned(),
        id: config.id.clone(),
        name: config.name.clone(),
        pid: HostPid(pid.as_raw()),
        start_time_ticks,
        monitor_pid: HostPid(getpid().as_raw()),
        args: config.process.args.clone(),
        image: config.image.clone(),
        cgroup_paths: handles.flat_map(CgroupHandle::state_paths).collect::<BTreeMap<_, _>>(),
        spec: crate::oci::to_spec(config),
    })
}

//! The launcher's side of the start: from a plain configuration to a container that waits for its command.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, geteuid, getpid};
use plim_model::rlimit::{Limit, Rlimits};
use plim_model::state::{ContainerState, STATE_FORMAT};
use plim_model::{HostPid, NamespaceKind};

use crate::cgroup::{self, CgroupHandle, Removal};
use crate::channel::{Channel, Message};
use crate::child::{self, Setup};
use crate::command::Identity;
use crate::config::{ContainerConfig, NamespaceMode, RootfsSource, Seccomp};
use crate::credentials::{self, Filter};
use crate::error::{During, Result, RuntimeError};
use crate::janitor::Janitor;
use crate::rootfs::mounts::{self, CgroupView};
use crate::rootfs::{self, options, overlay};
use crate::running::Created;
use crate::state::{self, Places, StateDir};
use crate::stdio::{Stdio, Stream};
use crate::sys::{self, Forked};
use crate::{idmap, init, namespaces, sysctl};

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
    make(config, stdio, config.seccomp.is_some(), || Ok(Cow::Borrowed(config)))
}

/// As [`create`], for a filter that still has to be compiled: `filter` is called while the container's own process builds
/// its root, so that the time it takes is not added. `config.seccomp` is replaced by what it returns.
///
/// # Errors
/// Those of [`create`], and the one that `filter` returns.
pub fn create_with_filter(
    config: &ContainerConfig,
    stdio: Stdio,
    filter: impl FnOnce() -> Result<Seccomp>,
) -> Result<Created> {
    make(config, stdio, true, || {
        Ok(Cow::Owned(ContainerConfig { seccomp: Some(filter()?), ..config.clone() }))
    })
}

/// `complete` gives the configuration with the filter in it, which only the launcher looks at.
fn make<'a>(
    config: &'a ContainerConfig,
    mut stdio: Stdio,
    filter_follows: bool,
    complete: impl FnOnce() -> Result<Cow<'a, ContainerConfig>>,
) -> Result<Created> {
    // Look: nothing is made yet.
    let checked = Checked::new(config)?;
    let signals = BlockedSignals::new()?;
    let mountinfo = std::fs::read("/proc/self/mountinfo").during(|| "read /proc/self/mountinfo")?;
    let cgroups = plan_cgroups(config, &mountinfo)?;
    let removal = cgroups.as_ref().map_or_else(Removal::default, cgroup::Plan::removal);
    let init = if config.init { Some(init::sealed_copy()?) } else { None };

    let places = Places::of(config);
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
    // A log is opened before the child, which inherits it; else the child need not wait for the state directory.
    if stdio.wants_log() {
        made.claim(config, &removal)?;
        stdio.open_log(&places.directory)?;
    }
    // v2: the child is born in its cgroup.
    let born_in = cgroups.as_ref().map(|plan| part(plan, true).create()).transpose().map_err(cgroup_error)?;

    // The child goes its way while the launcher makes v1 cgroups and the state.
    let (ours, theirs) = Channel::pair()?;
    let setup = Setup {
        config,
        channel: theirs,
        namespaces: &checked.namespaces,
        root: root_plan(config, &checked, &mountinfo, &places.directory, cgroups.as_ref())?,
        stdio: &stdio,
        filter_follows,
        own_executable: Identity::of_self()?,
        init,
        group_changes: checked.group_changes,
    };
    made.child = Some(start_child(&setup, &ours, born_in.as_ref().and_then(CgroupHandle::v2_dirfd))?);
    drop(setup);
    let (pid, pidfd) = made.child()?;
    made.hold(b'p', pidfd.as_fd())?;
    if let Some(map) = &checked.id_maps {
        idmap::write(pid, map)?;
        ours.send(&Message::Mapped)?;
    }
    if made.state.is_none() {
        made.claim(config, &removal)?;
    }
    let joined = cgroups.as_ref().map(|plan| part(plan, false).create()).transpose().map_err(cgroup_error)?;
    ours.send(&Message::Placed(open_tasks(joined.as_ref())?))?;
    if let Some(adjustment) = config.process.oom_score_adj {
        let path = format!("/proc/{pid}/oom_score_adj");
        std::fs::write(&path, adjustment.to_string())
            .during(|| format!("write {adjustment} to {path} (lowering it needs CAP_SYS_RESOURCE)"))?;
    }
    let config = complete()?;
    let filter = config.seccomp.as_ref().map(Filter::new).transpose()?;
    let handles = [born_in, joined];
    if let Some(directory) = &made.state {
        directory.write(&describe(&config, pid, handles.iter().flatten())?)?;
    }
    let terminal = await_ready(&ours, &made)?;
    let log = match stdio.stdout {
        Stream::Descriptor(fd) if config.process.terminal => Some(fd),
        _ => None,
    };
    let input = matches!(stdio.stdin, Stream::Inherit);
    Ok(Created { made, channel: ours, terminal, log, input, rlimits: checked.rlimits, filter })
}

/// What was checked, opened and decided before anything was made.
struct Checked<'a> {
    namespaces: namespaces::Plan,
    mounts: mounts::Understood<'a>,
    propagation: nix::mount::MsFlags,
    id_maps: Option<plim_model::IdMap>,
    group_changes: bool,
    in_user_namespace: bool,
    rlimits: Vec<(String, u32, u64, u64)>,
}

impl Checked<'_> {
    fn new(config: &ContainerConfig) -> Result<Checked<'_>> {
        state::check(config)?;
        sysctl::check(config)?;
        config.mounts.iter().try_for_each(mounts::check_destination)?;
        let user = config.namespaces.get(&NamespaceKind::User);
        let new_user = user == Some(&NamespaceMode::New);
        if !new_user && config.id_maps.is_some() {
            return Err(RuntimeError::refused("map ids", "there is no new user namespace to map them in"));
        }
        let id_maps = new_user.then(|| config.id_maps.clone().unwrap_or_else(idmap::own_ids));
        if let Some(map) = &id_maps {
            idmap::check(map)?;
            check_user_is_mapped(config, map)?;
        }
        let single = id_maps.as_ref().is_some_and(|map| map.gid.iter().all(|range| range.count == 1));
        credentials::check(
            &config.process.capabilities,
            if user.is_some() { None } else { Some(credentials::held()?) },
        )?;
        for (name, set, kind) in [
            ("host name", config.hostname.is_some(), NamespaceKind::Uts),
            ("NIS domain name", config.domainname.is_some(), NamespaceKind::Uts),
            ("clock offsets", config.time_offsets.is_some(), NamespaceKind::Time),
        ] {
            if set && config.namespaces.get(&kind) != Some(&NamespaceMode::New) {
                return Err(RuntimeError::refused(
                    format!("set the container's {name}"),
                    format!("it has no {kind} namespace of its own, so it would change the host"),
                ));
            }
        }
        let word = config.rootfs.propagation.as_str();
        let propagation =
            options::propagation(if word.is_empty() { "rprivate" } else { word }).ok_or_else(|| {
                RuntimeError::refused(
                    "set the propagation of the root mount",
                    format!(
                        "unknown word {word:?}, expected [r]private, [r]slave, [r]shared or [r]unbindable"
                    ),
                )
            })?;
        Ok(Checked {
            namespaces: namespaces::Plan::new(&config.namespaces)?,
            mounts: mounts::understand(&config.mounts)?,
            propagation,
            id_maps,
            group_changes: geteuid().is_root() || !single,
            in_user_namespace: user.is_some(),
            rlimits: limits(&config.process.rlimits)?,
        })
    }
}

fn check_user_is_mapped(config: &ContainerConfig, map: &plim_model::IdMap) -> Result<()> {
    let user = &config.process.user;
    for (what, mappings, id) in [("user", &map.uid, user.uid), ("group", &map.gid, user.gid)] {
        if !idmap::maps(mappings, id) {
            return Err(RuntimeError::refused(
                format!("run as {what} {id}"),
                "the id maps of the user namespace do not have it",
            ));
        }
    }
    Ok(())
}

/// Limits by the kernel's number (asm-generic/resource.h).
fn limits(rlimits: &Rlimits) -> Result<Vec<(String, u32, u64, u64)>> {
    const NAMES: [&str; 16] = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let number = |limit: Limit| limit.value().unwrap_or(libc::RLIM_INFINITY);
    rlimits
        .iter()
        .map(|(name, limit)| {
            let bare = name.strip_prefix("RLIMIT_").unwrap_or(name);
            let index =
                NAMES.iter().position(|known| *known == bare).and_then(|index| u32::try_from(index).ok());
            let index = index.ok_or_else(|| {
                RuntimeError::refused(
                    format!("set the limit {name}"),
                    format!("unknown name, expected RLIMIT_ and one of {}", NAMES.join(", ")),
                )
            })?;
            let (soft, hard) = (number(limit.soft), number(limit.hard));
            if soft > hard {
                return Err(RuntimeError::refused(
                    format!("set the limit {name}"),
                    format!("the soft limit {} is above the hard limit {}", limit.soft, limit.hard),
                ));
            }
            Ok((name.clone(), index, soft, hard))
        })
        .collect()
}

fn cgroup_error(error: cgroup::CgroupError) -> RuntimeError {
    RuntimeError::refused("make the container's cgroup", error.to_string())
}

fn plan_cgroups(config: &ContainerConfig, mountinfo: &[u8]) -> Result<Option<cgroup::Plan>> {
    let own = std::fs::read_to_string("/proc/self/cgroup").during(|| "read /proc/self/cgroup")?;
    let layout = cgroup::Layout::detect(mountinfo, &own).map_err(cgroup_error)?;
    let facts = cgroup::Facts::probe(&layout);
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
    if places.directory.exists() {
        // Left by a dead run, perhaps: the claim clears it away.
        state::refuse_living(places)?;
    }
    Ok(())
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
    let stat = std::fs::read_to_string(&path).during(|| format!("read {path}"))?;
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

/// Waits until the child has made everything. Signals that ask to end end the wait.
fn await_ready(channel: &Channel, made: &Made) -> Result<Option<OwnedFd>> {
    let mut terminal = None;
    loop {
        made.signals.wait_for(channel.as_fd())?;
        match channel.receive()? {
            Message::Ready => return Ok(terminal),
            Message::Terminal(master) => terminal = Some(master),
            Message::Failed(error) => return Err(error),
            Message::Closed => return Err(made.ended_early("make the container")),
            other => {
                return Err(RuntimeError::refused(
                    "make the container",
                    format!("unexpected message {other:?}"),
                ));
            }
        }
    }
}

/// All signals blocked and readable from a descriptor; dropping it restores the mask.
#[derive(Debug)]
pub(crate) struct BlockedSignals {
    before: SigSet,
    pub(crate) descriptor: SignalFd,
}

impl BlockedSignals {
    fn new() -> Result<BlockedSignals> {
        let mut blocked = SigSet::all();
        // Our own crashes must stay crashes.
        for signal in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGTRAP,
            Signal::SIGABRT,
        ] {
            blocked.remove(signal);
        }
        let descriptor = SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .during(|| "open a descriptor for signals")?;
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), Some(&mut before)).during(|| "block signals")?;
        Ok(BlockedSignals { before, descriptor })
    }

    /// The next signal that is pending, by number.
    pub(crate) fn next(&self) -> Option<i32> {
        self.descriptor.read_signal().ok().flatten().and_then(|info| i32::try_from(info.ssi_signo).ok())
    }

    /// Waits for `fd` to be readable; a signal that asks to end is an error.
    fn wait_for(&self, fd: std::os::fd::BorrowedFd<'_>) -> Result<()> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        loop {
            let mut fds =
                [PollFd::new(fd, PollFlags::POLLIN), PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other.map(drop).during(|| "wait for the container's first process")?,
            }
            let ready = |index: usize| fds[index].any().unwrap_or(true);
            if ready(1) {
                match self.next() {
                    Some(signal @ (libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)) => {
                        return Err(RuntimeError::Interrupted { signal });
                    }
                    _ if !ready(0) => continue,
                    _ => {}
                }
            }
            return Ok(());
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Everything that was made and has to be gone at the end. Dropping it clears up.
#[derive(Debug)]
pub(crate) struct Made {
    own_pid_namespace: bool,
    removal: Removal,
    janitor: Option<Janitor>,
    state: Option<StateDir>,
    pub(crate) child: Option<(Pid, OwnedFd)>,
    pub(crate) signals: BlockedSignals,
}

impl Made {
    /// Takes the id and the name, and lets the janitor hold the lock too.
    fn claim(&mut self, config: &ContainerConfig, removal: &Removal) -> Result<()> {
        let state = StateDir::claim(config, removal)?;
        self.hold(b'l', state.lock())?;
        self.state = Some(state);
        Ok(())
    }

    fn hold(&self, kind: u8, fd: std::os::fd::BorrowedFd<'_>) -> Result<()> {
        self.janitor.as_ref().map_or(Ok(()), |janitor| janitor.hold(kind, fd))
    }

    /// The container's first process.
    pub(crate) fn child(&self) -> Result<(Pid, &OwnedFd)> {
        match &self.child {
            Some((pid, pidfd)) => Ok((*pid, pidfd)),
            None => Err(RuntimeError::refused("find the container's first process", "it is gone")),
        }
    }

    /// Why the channel was closed before its time.
    pub(crate) fn ended_early(&self, operation: &str) -> RuntimeError {
        let ended = self.child.as_ref().and_then(|(_, pidfd)| sys::reap(pidfd.as_fd(), true).ok().flatten());
        let ended = match ended {
            Some(crate::Exit::Signaled(signal)) => format!("killed by {}", sys::signal_name(signal)),
            Some(crate::Exit::Exited(code)) => format!("exit status {code}"),
            None => "no status".to_owned(),
        };
        RuntimeError::EndedEarly { operation: operation.to_owned(), ended }
    }

    /// Kills what still runs and removes everything. Once is enough; again does nothing.
    ///
    /// # Errors
    /// A cgroup could not be removed.
    pub(crate) fn clear_up(&mut self) -> Result<()> {
        if let Some((_, pidfd)) = self.child.take() {
            let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
            let _ = sys::reap(pidfd.as_fd(), true);
        }
        let removal = std::mem::take(&mut self.removal);
        let mut result = Ok(());
        if !removal.leaves.is_empty() {
            // The end of a pid namespace's first process is the end of all in it, and is waited for by the kernel.
            if !self.own_pid_namespace {
                result = removal.kill_all().map_err(cgroup_error);
            }
            result = result.and(removal.remove().map_err(cgroup_error));
        }
        if let Some(state) = self.state.take() {
            state.remove();
        }
        if let Some(janitor) = self.janitor.take() {
            janitor.dismiss();
        }
        result
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.clear_up();
    }
}

//! The container's side of the start, from clone(2) to execve(2). It reads as the list of steps that it is.
//!
//! The process is single-threaded and has its own copy of the launcher's memory. It never prints: what goes wrong is
//! told to the launcher over the channel. It never returns: destructors of the launcher's objects must not run here.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chdir, mkdir, setgroups, sethostname, setresgid, setresuid, setsid};
use plim_model::NamespaceKind;

use crate::channel::{Channel, Message};
use crate::command::{self, Command, Identity};
use crate::config::{ContainerConfig, TimeOffsets};
use crate::credentials;
use crate::error::{During, Result, RuntimeError};
use crate::rootfs::resolve::{Procfs, Root};
use crate::stdio::Links;
use crate::{init, keyring, namespaces, pty, rootfs, sys, sysctl};

/// Everything that the launcher decided, opened and checked beforehand.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) config: &'a ContainerConfig,
    pub(crate) channel: Channel,
    pub(crate) namespaces: &'a namespaces::Plan,
    pub(crate) root: rootfs::Plan<'a>,
    pub(crate) streams: &'a Links,
    /// Name, number, soft and hard limit.
    pub(crate) rlimits: &'a [(String, u32, u64, u64)],
    /// A filter will come with the word to start.
    pub(crate) filter_follows: bool,
    /// The launcher's executable, which must not run in the container.
    pub(crate) own_executable: Identity,
    /// The same for `--init`, sealed.
    pub(crate) init: Option<OwnedFd>,
    /// setgroups(2) is allowed.
    pub(crate) group_changes: bool,
}

/// Runs the steps and becomes the command, or tells the launcher why not and ends.
pub(crate) fn run(setup: &Setup<'_>) -> ! {
    let Err(error) = steps(setup);
    let code = error.exit_code();
    let _ = setup.channel.send(&Message::Failed(error));
    sys::exit_now(code.into())
}

fn steps(setup: &Setup<'_>) -> Result<Infallible> {
    let config = setup.config;
    let process = &config.process;

    // The launcher's end of the channel, and of the janitor's line, must be open in the launcher alone: else neither we
    // nor the janitor would see it die.
    sys::close_all_but(&needed(setup));
    // Die with the launcher; and when it died before this line, the channel is closed and the first receive ends us.
    prctl::set_pdeathsig(Signal::SIGKILL).during(|| "set the parent-death signal")?;
    sys::default_signal_actions();

    if setup.namespaces.is_new(NamespaceKind::User) {
        expect(&setup.channel, |message| matches!(message, Message::Mapped).then_some(()));
    }
    become_root_of_user_namespace(setup)?;
    if setup.namespaces.is_new(NamespaceKind::Time) {
        enter_time_namespace(config.time_offsets)?;
    }
    // From here on no process of a joined namespace may look into us (the class of CVE-2016-9962); the helper that joined a
    // user or pid namespace is undumpable before it does.
    prctl::set_dumpable(false).during(|| "make the process undumpable")?;
    setsid().during(|| "start a session")?;
    keyring::join_new()?;
    // Modes below are meant as written; the command's own mask is set at the end.
    nix::sys::stat::umask(Mode::empty());
    setup.namespaces.join()?;
    setup.namespaces.unshare()?;

    set_names(config)?;
    if config.loopback_up && setup.namespaces.is_new(NamespaceKind::Net) {
        sys::loopback_up().during(|| "bring the loopback interface up")?;
    }

    let procfs = Procfs::open()?;
    sysctl::write(&procfs, &config.sysctls)?;
    if let Some(profile) = &config.apparmor_profile {
        enter_apparmor(&procfs, profile)?;
    }
    if let Some(label) = &config.selinux_label {
        enter_selinux(&procfs, label)?;
    }
    let mut root = rootfs::build(&setup.root, || join_cgroups(setup))?;
    let terminal = connect(setup, &root)?;
    rootfs::cover(&setup.root, &mut root)?;
    rootfs::enter(&setup.root, &root)?;
    if let Some(slave) = &terminal {
        pty::take(slave.as_fd())?;
    }

    // Nothing of the host stays open: a directory of it would be a way out (the class of CVE-2024-21626).
    drop((root, procfs, terminal));
    let init = setup.init.as_ref().map_or(-1, init::number);
    sys::close_all_but(&[setup.channel.as_fd().as_raw_fd(), init]);
    change_directory(&process.cwd)?;
    nix::sys::stat::umask(Mode::from_bits_truncate(process.user.umask.unwrap_or(0o022)));

    let candidates = command::look(process, setup.own_executable);
    credentials::assume(process, setup.filter_follows, setup.group_changes)?;
    let command = candidates.choose(process)?;
    setup.channel.send(&Message::Ready)?;
    let filter = expect(&setup.channel, |message| match message {
        Message::Start(filter) if filter.is_some() == setup.filter_follows => Some(filter),
        _ => None,
    });

    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).during(|| "unblock all signals")?;
    // The launcher has raised what is to be raised, as far as it may; lowering one's own limits needs no privilege. Not
    // sooner: a limit on files or memory would hinder the steps above.
    for (name, resource, soft, hard) in setup.rlimits {
        sys::set_limit(*resource, *soft, *hard).during(|| {
            format!("set the limit {name} to {soft}:{hard} (raising a hard limit needs CAP_SYS_RESOURCE)")
        })?;
    }
    credentials::confine(process, filter.as_ref())?;
    Err(execute(setup, &command))
}

/// Makes the terminal, whose slave side comes back, or connects the standard streams; until here they are the launcher's.
fn connect(setup: &Setup<'_>, root: &Root) -> Result<Option<OwnedFd>> {
    let process = &setup.config.process;
    let (ends, slave) = if process.terminal {
        let (master, slave) = pty::open(root, process.user.uid)?;
        (vec![master], Some(slave))
    } else {
        (setup.streams.connect(root, Uid::from_raw(process.user.uid))?, None)
    };
    if !ends.is_empty() {
        setup.channel.send(&Message::Streams(ends))?;
    }
    Ok(slave)
}

/// The descriptors from 3 on that the child uses.
fn needed(setup: &Setup<'_>) -> Vec<i32> {
    let mut needed = vec![setup.channel.as_fd().as_raw_fd()];
    needed.extend(setup.init.as_ref().map(init::number));
    needed.extend(setup.streams.descriptors());
    needed.extend(setup.namespaces.descriptors());
    needed
}

/// The last step: only the error comes back.
fn execute(setup: &Setup<'_>, command: &Command) -> RuntimeError {
    match &setup.init {
        Some(copy) => init::execute(copy, command),
        None => command.execute(),
    }
}

/// Waits for the launcher's word. A launcher that is gone, or says anything else, wants this process to end.
fn expect<T>(channel: &Channel, wanted: impl Fn(Message) -> Option<T>) -> T {
    channel.receive().ok().and_then(wanted).unwrap_or_else(|| sys::exit_now(125))
}

/// v1: this very process moves itself, which costs microseconds; another's move waits for an RCU grace period (see
/// [`crate::cgroup`]). The launcher opened the files, so its credentials count, not those in a user namespace.
///
/// Called while the root is built, as late as possible: the launcher makes the cgroups meanwhile.
fn join_cgroups(setup: &Setup<'_>) -> Result<()> {
    let files = expect(&setup.channel, |message| match message {
        Message::Placed(files) => Some(files),
        _ => None,
    });
    for file in files {
        nix::unistd::write(&file, b"0").map(drop).during(|| {
            let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
            format!(
                "join the container's cgroup by {} (a process of real-time class needs cpu.rt_runtime_us there)",
                path.display()
            )
        })?;
    }
    setup.namespaces.unshare_cgroup()
}

/// In a user namespace: takes its root ids, so that files made here belong to someone who exists there.
fn become_root_of_user_namespace(setup: &Setup<'_>) -> Result<()> {
    if !setup.root.in_user_namespace {
        return Ok(());
    }
    let root_is_mapped = setup
        .config
        .id_maps
        .as_ref()
        .is_none_or(|map| crate::idmap::maps(&map.uid, 0) && crate::idmap::maps(&map.gid, 0));
    if !root_is_mapped {
        return Err(RuntimeError::refused(
            "make the root file system in the user namespace",
            "its id maps have no id 0, so its files would belong to nobody",
        ));
    }
    if setup.group_changes {
        setgroups(&[]).during(|| "drop the supplementary groups")?;
    }
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid).during(|| "become group 0 of the user namespace")?;
    setresuid(uid, uid, uid).during(|| "become user 0 of the user namespace")?;
    // The change of ids made the process undumpable, which gives its /proc files to the host's root: they are written
    // below. Nothing else is in a new user namespace yet; in one that is joined, the process stays undumpable. And the change
    // cleared the parent-death signal.
    if setup.namespaces.is_new(NamespaceKind::User) {
        prctl::set_dumpable(true).during(|| "make the process dumpable")?;
    }
    prctl::set_pdeathsig(Signal::SIGKILL).during(|| "set the parent-death signal")
}

/// Offsets can be set only while the time namespace is empty, and a process enters the one it made only by fork or by
/// setns(2) (time_namespaces(7)); before Linux 6.3 execve(2) does not enter it.
fn enter_time_namespace(offsets: Option<TimeOffsets>) -> Result<()> {
    unshare(namespaces::NEW_TIME).during(|| "make a new time namespace (Linux 5.6, CONFIG_TIME_NS)")?;
    let procfs = Procfs::open()?;
    let own = procfs.own_directory()?;
    if let Some(offsets) = offsets {
        let (monotonic, boottime) = (offsets.monotonic, offsets.boottime);
        let text =
            format!("monotonic {} {}\nboottime {} {}\n", monotonic.0, monotonic.1, boottime.0, boottime.1);
        procfs.write(&format!("{own}/timens_offsets"), text.as_bytes()).map_err(|error| match error {
            RuntimeError::System { errno: libc::ERANGE, .. } => RuntimeError::refused(
                format!(
                    "move the container's clocks by {} s (monotonic) and {} s (boottime)",
                    monotonic.0, boottime.0
                ),
                "one of them would be before 0, or more than 146 years after it",
            ),
            other => other,
        })?;
    }
    let path = format!("/proc/{own}/ns/time_for_children");
    let made = nix::fcntl::open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .during(|| format!("open {path}"))?;
    setns(made, namespaces::NEW_TIME).during(|| "enter the new time namespace")
}

fn set_names(config: &ContainerConfig) -> Result<()> {
    if let Some(name) = &config.hostname {
        sethostname(name).during(|| format!("set the host name to {name:?}"))?;
    }
    if let Some(name) = &config.domainname {
        sys::set_domain_name(name).during(|| format!("set the NIS domain name to {name:?}"))?;
    }
    Ok(())
}

/// Takes effect on execve(2). The file is opened on a verified procfs without following a link (the class of
/// CVE-2025-52881); apparmor's own directory is there since Linux 5.1.
fn enter_apparmor(procfs: &Procfs, profile: &str) -> Result<()> {
    let own = procfs.own_directory()?;
    let value = format!("exec {profile}");
    procfs.write(&format!("{own}/attr/apparmor/exec"), value.as_bytes()).map_err(|error| match error {
        RuntimeError::System { errno: libc::ENOENT, .. } => RuntimeError::refused(
            format!("confine the command with the AppArmor profile {profile:?}"),
            "AppArmor is not active in this kernel (/sys/kernel/security/lsm), or it has no profile of that name",
        ),
        other => other,
    })
}

/// Takes effect on execve(2), as above. Without SELinux the file takes another module's words, or none.
fn enter_selinux(procfs: &Procfs, label: &str) -> Result<()> {
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(RuntimeError::refused(
            format!("run the command with the SELinux label {label:?}"),
            "SELinux is not active in this kernel (/sys/fs/selinux)",
        ));
    }
    let own = procfs.own_directory()?;
    procfs.write(&format!("{own}/attr/exec"), label.as_bytes())
}

/// Changes to the working directory, which is made when it is missing, as Docker does. Verified to lie in the
/// container: `getcwd` says `(unreachable)` of any other place (the class of CVE-2024-21626).
fn change_directory(cwd: &str) -> Result<()> {
    let doing = || format!("change to the working directory {cwd:?}");
    if !cwd.starts_with('/') {
        return Err(RuntimeError::refused(doing(), "it must be an absolute path"));
    }
    if chdir(cwd) == Err(Errno::ENOENT) {
        let mut path = std::path::PathBuf::from("/");
        for part in std::path::Path::new(cwd).components().skip(1) {
            path.push(part);
            match mkdir(&path, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno).during(|| format!("make the working directory {cwd:?}")),
            }
        }
        chdir(cwd).during(doing)?;
    } else {
        chdir(cwd).during(doing)?;
    }
    match std::env::current_dir() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(RuntimeError::refused(doing(), "it is outside of the container's root")),
    }
}

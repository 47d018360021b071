//! Reads live targets into snapshots: /proc, cgroups, engines, installed seccomp filters.
//!
//! [`find`] turns a name into a [`Selected`] target, [`snapshot`] reads it. What cannot be read is
//! [`plim_model::Observed::Unknown`] with its reason; only a target that is not there, or dies meanwhile, is an error.
//!
//! ```
//! let target = plim_observe::find(Some("self"), "")?;
//! let snapshot = plim_observe::snapshot(&target)?;
//! assert!(snapshot.capabilities.present().is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod aside;
mod assemble;
pub mod bpf;
mod cgroup;
mod deadline;
mod devices;
mod engines;
mod error;
pub mod filters;
pub mod helper;
mod lsm;
mod mounts;
mod namespaces;
pub mod pinned;
mod procdir;
mod processes;
pub mod root;
mod sockets;
mod sys;
mod sysctls;
mod why;

pub use error::{EngineError, FindError, ObserveError};
pub use namespaces::Neighbours;
use plim_model::{HostPid, Observed, Snapshot};
use procdir::Process;

/// Which processes belong to a target, beside its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Members {
    /// It is a container: its pid namespace and its cgroup.
    OfContainer,
    /// It is a process: its pid namespace, unless that is the reader's or pid 1's; then it stands alone.
    OfPidNamespace,
}

/// A running target: one process, held by pid **and** start time, and what its engine says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The engine's word: `docker`, `plim`, `pid`, `self`, `host`.
    pub engine: String,
    /// The engine's id, or the pid as text.
    pub id: String,
    /// The engine's name for it.
    pub name: Option<String>,
    /// The first process.
    pub pid: HostPid,
    /// When it started, in clock ticks since boot (field 22 of /proc/PID/stat).
    pub start_time_ticks: u64,
    /// The image or root file system the engine says it runs.
    pub image: Option<String>,
    members: Members,
}

impl Selected {
    /// A container that the caller knows: the process that has `pid` now.
    ///
    /// # Errors
    /// [`ObserveError::NoSuchProcess`], [`ObserveError::Hidden`].
    pub fn container(
        engine: &str,
        id: &str,
        name: Option<String>,
        pid: HostPid,
        image: Option<String>,
    ) -> Result<Selected, ObserveError> {
        Selected::open(engine, id, name, pid, image, Members::OfContainer)
    }

    pub(crate) fn open(
        engine: &str,
        id: &str,
        name: Option<String>,
        pid: HostPid,
        image: Option<String>,
        members: Members,
    ) -> Result<Selected, ObserveError> {
        let start_time_ticks = Process::open(pid)?.start_time_ticks();
        Ok(Selected {
            engine: engine.to_owned(),
            id: id.to_owned(),
            name,
            pid,
            start_time_ticks,
            image,
            members,
        })
    }

    /// How a person would name it: `docker:web`, `pid:7`, `self`.
    pub fn target_name(&self) -> String {
        match (self.engine.as_str(), &self.name) {
            ("self" | "host", _) => self.engine.clone(),
            (engine, Some(name)) => format!("{engine}:{name}"),
            (engine, None) => format!("{engine}:{}", self.id),
        }
    }

    /// Takes hold of its process again.
    pub(crate) fn open_process(&self) -> Result<Process, ObserveError> {
        let process = Process::open(self.pid)?;
        if process.start_time_ticks() != self.start_time_ticks {
            return Err(ObserveError::Reused { target: self.target_name(), pid: self.pid });
        }
        Ok(process)
    }
}

/// How a snapshot is taken.
#[derive(Debug, Default)]
pub struct SnapshotOptions {
    /// The calling thread has stopped the target under ptrace: its filters are read as it stands, and it is left so.
    pub already_stopped: bool,
    /// Whom the namespaces are compared with.
    pub neighbours: Neighbours,
}

/// Finds a running target: in `engine` alone, or in every engine that knows containers when it is `None`.
///
/// The engines are `plim` and `docker`, which take a name, an id or an id prefix of 3 digits or more; `pid`, which takes a
/// number; `self` and `host` (pid 1), which take nothing (`name` is not looked at).
///
/// # Errors
/// Nothing by that name (with the nearest names), several (with all candidates), not running, an unknown or
/// unreachable engine, a pid without a process.
pub fn find(engine: Option<&str>, name: &str) -> Result<Selected, FindError> {
    engines::find(engine, name)
}

/// Every running container of every engine, sorted by target name, and the engines that could not be asked.
pub fn all() -> (Vec<Selected>, Vec<EngineError>) {
    engines::all()
}

/// What the engine was asked to make of the target, in the engine's own form: Docker's `GET /containers/ID/json`, an
/// OCI runtime specification for `plim`. `None` for a bare process.
///
/// # Errors
/// The engine cannot be asked.
pub fn declared(selected: &Selected) -> Result<Option<serde_json::Value>, EngineError> {
    engines::declared(selected)
}

/// The OCI specification that the engine wrote for the container and the low-level runtime was started with: the state
/// file of `plim`, the bundle's config.json of Docker, Podman and whatever else works as containerd's shim or conmon does. A
/// specification that is not provably this container's is not taken.
pub fn declared_spec(selected: &Selected) -> Observed<serde_json::Value> {
    engines::declared_spec(selected)
}

/// `linux.seccomp` of [`declared_spec`]; absent when the specification asks for no filter.
pub fn declared_seccomp(selected: &Selected) -> Observed<serde_json::Value> {
    declared_spec(selected).and_then(|spec| match spec.pointer("/linux/seccomp") {
        None | Some(serde_json::Value::Null) => Observed::Absent,
        Some(seccomp) => Observed::Present(seccomp.clone()),
    })
}

/// The security modules that are active, in the kernel's order.
pub fn security_modules() -> Observed<Vec<String>> {
    lsm::active()
}

/// Takes a snapshot, comparing namespaces with the running containers of every engine that can be asked.
///
/// Needs no privilege; what the caller may not read is unknown. CAP_SYS_PTRACE opens what lies behind the target's
/// memory (namespaces, root), CAP_SYS_ADMIN its filters and the sysctls of its namespaces,
/// CAP_DAC_READ_SEARCH its files.
///
/// # Errors
/// The target is gone, or dies or is replaced while it is read.
pub fn snapshot(selected: &Selected) -> Result<Snapshot, ObserveError> {
    let (neighbours, _) = Neighbours::survey();
    snapshot_with(selected, &SnapshotOptions { already_stopped: false, neighbours })
}

/// The same with options.
///
/// # Errors
/// As [`snapshot`].
pub fn snapshot_with(selected: &Selected, options: &SnapshotOptions) -> Result<Snapshot, ObserveError> {
    assemble::snapshot(selected, options)
}

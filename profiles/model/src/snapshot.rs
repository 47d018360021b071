//! [`Snapshot`]: what was observed of one target, and what could not be observed and why.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capability::CapabilitySets;
use crate::cgroup::Cgroup;
use crate::ids::IdMap;
use crate::mount::Mount;
use crate::namespace::Namespaces;
use crate::process::{OddProcess, User};
use crate::rlimit::Rlimits;
use crate::seccomp::Seccomp;
use crate::{HostPid, Observed};

/// Version of the snapshot's JSON form, `MAJOR.MINOR`.
///
/// A minor bump adds fields, which an old reader ignores; a major bump changes meaning, and an old reader refuses it.
pub const SNAPSHOT_FORMAT: &str = "1.0";

/// The JSON Schema of the published form ([`Snapshot::to_json`]); committed as `schema/snapshot-1.0.json`.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Snapshot);
    schema.insert("title".to_owned(), "Plimsoll snapshot".into());
    schema.insert("x-format".to_owned(), SNAPSHOT_FORMAT.into());
    schema.to_value()
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetInfo {
    /// `docker`, `plim`, `pid`, `host`, `self`, ….
    pub engine: String,
    /// The engine's id, or the pid as text.
    pub id: String,
    /// The engine's name for it, when it has one.
    pub name: Option<String>,
    /// The first process, in the reader's pid namespace.
    pub pid: HostPid,
    /// The image or root file system the engine says it runs.
    pub image: Option<String>,
    /// The command line of the first process, as the process has it.
    pub command: Vec<String>,
}

/// LSM state of the target (`/sys/kernel/security/lsm`, `/proc/PID/attr/`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lsm {
    /// Active security modules of the kernel, in its order.
    pub active: Observed<Vec<String>>,
    /// The target's AppArmor label (`docker-default (enforce)`), absent where AppArmor is not active.
    pub apparmor: Observed<String>,
    /// The target's SELinux context.
    pub selinux: Observed<String>,
    /// The target's Smack label.
    pub smack: Observed<String>,
}

/// A device node in the target's /dev, or a device the cgroup allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Path below the target's root.
    pub path: String,
    /// `b` or `c`.
    pub kind: String,
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
}

/// Device access: the nodes that are there and what the device cgroup lets be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Devices {
    /// Nodes in the target's /dev and in directories of the same file system below it, sorted by path.
    pub nodes: Observed<Vec<Device>>,
    /// What may be opened and made, one allowing rule a line, sorted (`c 1:3 rwm`). v1's `devices.list`, which reads
    /// `a *:* rwm` also where some devices are refused; or what all of v2's device programs together allow, in the same
    /// words (`a *:* rwm` where there is none), and unknown where rules cannot say exactly that.
    pub cgroup_rules: Observed<Vec<String>>,
}

/// One engine's control socket that the target can reach in its file system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct EngineSocket {
    /// Path below the target's root.
    pub path: String,
    /// `docker`, `containerd`, `podman`, `crio`.
    pub engine: String,
}

/// A fact that could not be observed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Unknown {
    /// JSON pointer of the value (RFC 6901), which is null there.
    pub path: String,
    /// Operation and errno, or the privilege that is missing.
    pub why: String,
}

/// Everything that was observed of one target. See the module documentation for its published JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// [`SNAPSHOT_FORMAT`].
    pub format: String,
    /// What was looked at.
    pub target: TargetInfo,
    /// Credentials of the first process.
    pub user: Observed<User>,
    /// Namespaces by kind.
    pub namespaces: Namespaces,
    /// Id maps of its user namespace.
    pub id_maps: Observed<IdMap>,
    /// The five capability sets of the first process.
    pub capabilities: Observed<CapabilitySets>,
    /// `NoNewPrivs:` of the first process (Linux 4.10).
    pub no_new_privs: Observed<bool>,
    /// Seccomp mode and filters.
    pub seccomp: Seccomp,
    /// Security modules.
    pub lsm: Lsm,
    /// Control groups.
    pub cgroup: Cgroup,
    /// Mounts in the kernel's order.
    pub mounts: Observed<Vec<Mount>>,
    /// Paths hidden by a mount of /dev/null or an empty read-only tmpfs, sorted.
    pub masked_paths: Observed<Vec<String>>,
    /// Mount points below /proc and /sys that are read-only, sorted.
    pub read_only_paths: Observed<Vec<String>>,
    /// Devices.
    pub devices: Devices,
    /// Resource limits by `RLIMIT_…` name.
    pub rlimits: Observed<Rlimits>,
    /// Namespaced sysctls as the target sees them, by dotted name.
    pub sysctls: BTreeMap<String, Observed<String>>,
    /// Engine control sockets within reach, sorted.
    pub engine_sockets: Observed<Vec<EngineSocket>>,
    /// How many processes the container has: volatile.
    pub process_count: Observed<u32>,
    /// Processes confined differently from the first one, sorted by pid.
    pub odd_processes: Observed<Vec<OddProcess>>,
    /// What could not be observed; filled by [`Snapshot::to_json`], sorted by path.
    #[serde(default)]
    pub unknown: Vec<Unknown>,
}

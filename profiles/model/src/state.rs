//! The state file of a container that the runtime started: written by `plim run`, read by every other tool.
//!
//! `ID/state.json` in the state directory, mode 0600; where that is, the crate `plim-state` says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::HostPid;

/// Version of the state file. A reader refuses a major version that it does not know.
pub const STATE_FORMAT: &str = "1.0";

/// What a tool needs to find a running container again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// [`STATE_FORMAT`].
    pub format: String,
    /// 64 lower-case hex digits, as Docker's.
    pub id: String,
    /// The `--name`, or the name that was made up.
    pub name: String,
    /// The container's first process on the host.
    pub pid: HostPid,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot: tells a reused pid.
    pub start_time_ticks: u64,
    /// The supervising process (launcher or detached monitor), which removes everything when the container ends.
    pub monitor_pid: HostPid,
    /// The command as started.
    pub args: Vec<String>,
    /// Where the root file system comes from, in words for a person.
    pub image: Option<String>,
    /// Directory of the container's cgroup by controller or `unified`, below the hierarchy's mount point.
    pub cgroup_paths: BTreeMap<String, String>,
    /// What the container was asked to be, as an OCI runtime-spec document.
    pub spec: serde_json::Value,
}

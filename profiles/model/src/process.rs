//! A process of the target that is confined differently from the target's first process.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ContainerPid, HostPid, Observed};

/// The identity under which a process runs (credentials(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Real, effective, saved and file-system user id, in the reader's user namespace.
    pub uid: [u32; 4],
    /// Real, effective, saved and file-system group id.
    pub gid: [u32; 4],
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
}

/// One process whose confinement is not that of the target's first process: an exec'd shell without the filter, a
/// process in another namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OddProcess {
    /// Its pid on the host: volatile.
    pub pid: HostPid,
    /// Its pid in the container.
    pub container_pid: Observed<ContainerPid>,
    /// `comm`: up to 15 bytes, set by the process itself, so no proof of anything.
    pub comm: String,
    /// What differs, each as `FACT: INIT'S VALUE, here VALUE`, sorted.
    pub differs: Vec<String>,
}

//! Control groups: where a target is, what was declared at each level, and what holds in effect (cgroups(7)).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Observed;
use crate::rlimit::Limit;

/// Which hierarchies the host mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    /// One hierarchy per controller.
    V1,
    /// v1 controllers beside a v2 tree.
    Hybrid,
    /// The unified hierarchy only.
    V2,
}

/// The cgroup membership and limits of a target.
///
/// `max` fields directly in a controller are the target's own cgroup; `effective_*` is the smallest limit over the
/// cgroup and all its ancestors that the reader can see; `levels` lists what each level declares, the target's own
/// cgroup first. Every limit of v1 and v2 is told in the same fields, in v2's meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// Layout of the host.
    pub version: Observed<CgroupVersion>,
    /// Path by controller (`memory`), named v1 hierarchy (`name=systemd`), or `unified` for v2's.
    pub paths: BTreeMap<String, String>,
    /// Memory and swap.
    pub memory: Observed<Memory>,
    /// CPU time and placement.
    pub cpu: Observed<Cpu>,
    /// Number of tasks.
    pub pids: Observed<Pids>,
    /// Block input and output.
    pub io: Observed<Io>,
}

/// Memory limits and use, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// v2 `memory.max`, v1 `memory.limit_in_bytes`.
    pub max_bytes: Observed<Limit>,
    /// The smallest `max_bytes` over all ancestors.
    pub effective_max_bytes: Observed<Limit>,
    /// Swap beyond memory: v2 `memory.swap.max`; v1 `memory.memsw.limit_in_bytes` less the memory limit.
    pub swap_max_bytes: Observed<Limit>,
    /// The smallest `swap_max_bytes` over all ancestors.
    pub effective_swap_max_bytes: Observed<Limit>,
    /// Best-effort protection: v2 `memory.low`, v1 `memory.soft_limit_in_bytes` is a different thing and not told here.
    pub low_bytes: Observed<Limit>,
    /// Throttling limit: v2 `memory.high`.
    pub high_bytes: Observed<Limit>,
    /// Use now, in bytes: volatile.
    pub current_bytes: Observed<u64>,
    /// `max_bytes` per level, the target's own cgroup first.
    #[serde(default)]
    pub levels: Vec<Level>,
}

/// CPU limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// Time allowed per period, in microseconds: v2 `cpu.max`, v1 `cpu.cfs_quota_us`.
    pub quota_us: Observed<Limit>,
    /// The period in microseconds.
    pub period_us: Observed<u64>,
    /// The smallest quota/period over all ancestors, in thousandths of one CPU.
    pub effective_millicpus: Observed<Limit>,
    /// v1 `cpu.shares` (2 to 262144, default 1024).
    pub shares: Observed<u64>,
    /// v2 `cpu.weight` (1 to 10000, default 100).
    pub weight: Observed<u64>,
    /// CPUs allowed here, as a list (`0-3,8`): v2 `cpuset.cpus`, v1 `cpuset.cpus`.
    pub cpuset_cpus: Observed<String>,
    /// CPUs allowed in effect.
    pub effective_cpuset_cpus: Observed<String>,
    /// Memory nodes allowed here.
    pub cpuset_mems: Observed<String>,
    /// `quota_us` per level, the target's own cgroup first.
    #[serde(default)]
    pub levels: Vec<Level>,
}

/// Task count limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pids {
    /// `pids.max` of the target's own cgroup.
    pub max: Observed<Limit>,
    /// The smallest `pids.max` over all ancestors.
    pub effective_max: Observed<Limit>,
    /// Tasks now: volatile.
    pub current: Observed<u64>,
    /// `pids.max` per level, the target's own cgroup first.
    #[serde(default)]
    pub levels: Vec<Level>,
}

/// Block I/O limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Io {
    /// v2 `io.weight` default, v1 `blkio.weight`.
    pub weight: Observed<u64>,
    /// Throttles by device number `MAJOR:MINOR`: v2 `io.max`, v1 `blkio.throttle.*`.
    pub devices: BTreeMap<String, IoLimits>,
}

/// The four throttles of one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IoLimits {
    /// Bytes read per second.
    pub read_bytes_per_second: Limit,
    /// Bytes written per second.
    pub write_bytes_per_second: Limit,
    /// Read operations per second.
    pub read_operations_per_second: Limit,
    /// Write operations per second.
    pub write_operations_per_second: Limit,
}

/// What one cgroup of the chain declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Level {
    /// The cgroup's path within its hierarchy.
    pub path: String,
    /// The limit there; the unit is that of the controller's main limit.
    pub max: Observed<Limit>,
}

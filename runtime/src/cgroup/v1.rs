//! Steps in one v1 hierarchy. Pure.

use super::plan::CPU_PERIOD_DEFAULT_US;
use super::{CgroupError, Step, TreePlan, V1Hierarchy, Write, devices};
use crate::config::{Resources, ThrottleKind};

/// `wants` are the controllers of this hierarchy that limits were asked of.
pub(super) fn tree_plan(
    hierarchy: &V1Hierarchy,
    path: Vec<String>,
    existing: usize,
    wants: &[&'static str],
    r: &Resources,
) -> Result<TreePlan, CgroupError> {
    let mut steps = Vec::new();
    let cpuset = hierarchy.controllers.iter().any(|name| name == "cpuset");
    for depth in existing + 1..=path.len() {
        steps.push(Step::MakeDir { depth });
        if cpuset {
            // At every level from the top: a cpuset takes no CPU that its parent does not have.
            steps.push(Step::Inherit { depth, file: "cpuset.cpus" });
            steps.push(Step::Inherit { depth, file: "cpuset.mems" });
        }
    }
    for controller in wants {
        let writes = match *controller {
            "memory" => memory(r),
            "cpu" => cpu(r),
            "cpuset" => cpuset_lists(r),
            "pids" => pids(r),
            "blkio" => blkio(r),
            "devices" => devices::v1_writes(&r.device_rules)?,
            _ => Vec::new(),
        };
        steps.extend(writes.into_iter().map(Step::Write));
    }
    Ok(TreePlan {
        label: hierarchy.label(),
        unified: false,
        mountpoint: hierarchy.tree.mountpoint.clone(),
        path,
        existing,
        steps,
    })
}

/// The memory limit first: the kernel keeps `limit <= memsw` at every moment, and a new cgroup's memsw is unlimited.
/// (Lowering an old one would be this order, raising one the other.)
fn memory(r: &Resources) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(bytes) = r.memory_max_bytes {
        writes.push(Write::one("memory limit", "memory", "memory.limit_in_bytes", bytes, "bytes"));
    }
    if let Some(total) = r.memory_swap_total_bytes {
        writes.push(Write::one(
            "memory plus swap limit",
            "memory",
            "memory.memsw.limit_in_bytes",
            total,
            "bytes",
        ));
    }
    if let Some(bytes) = r.memory_reservation_bytes {
        writes.push(Write::one("memory reservation", "memory", "memory.soft_limit_in_bytes", bytes, "bytes"));
    }
    writes
}

/// The period first: a quota that is right for the asked period may be refused with the default one.
fn cpu(r: &Resources) -> Vec<Write> {
    let mut writes = Vec::new();
    if r.cpu_period_us.is_some() || r.cpu_quota_us.is_some() {
        let period = r.cpu_period_us.unwrap_or(CPU_PERIOD_DEFAULT_US);
        writes.push(Write::one("cpu period", "cpu", "cpu.cfs_period_us", period, "us"));
    }
    if let Some(quota) = r.cpu_quota_us {
        writes.push(Write::one("cpu quota", "cpu", "cpu.cfs_quota_us", quota, "us"));
    }
    if let Some(shares) = r.cpu_shares {
        writes.push(Write::one("cpu shares", "cpu", "cpu.shares", shares, "weight"));
    }
    writes
}

/// The same files and values in both versions.
pub(super) fn cpuset_lists(r: &Resources) -> Vec<Write> {
    let cpus =
        r.cpuset_cpus.as_ref().map(|list| Write::one("cpuset cpus", "cpuset", "cpuset.cpus", list, "list"));
    let mems =
        r.cpuset_mems.as_ref().map(|list| Write::one("cpuset mems", "cpuset", "cpuset.mems", list, "list"));
    cpus.into_iter().chain(mems).collect()
}

/// The same file in both versions.
pub(super) fn pids(r: &Resources) -> Vec<Write> {
    let value = |max: i64| if max == -1 { "max".to_owned() } else { max.to_string() };
    r.pids_max
        .map(|max| Write::one("pids limit", "pids", "pids.max", value(max), "tasks"))
        .into_iter()
        .collect()
}

/// The weight went from CFQ (`blkio.weight`, gone in Linux 5.0) to BFQ (`blkio.bfq.weight`, the same range 1 to 1000).
fn blkio(r: &Resources) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(weight) = r.blkio_weight {
        let choices = vec![("blkio.weight", weight.to_string()), ("blkio.bfq.weight", weight.to_string())];
        writes.push(Write { limit: "blkio weight", controller: "blkio", choices, unit: "weight" });
    }
    for throttle in &r.throttles {
        let file = match throttle.kind {
            ThrottleKind::ReadBytes => "blkio.throttle.read_bps_device",
            ThrottleKind::WriteBytes => "blkio.throttle.write_bps_device",
            ThrottleKind::ReadOperations => "blkio.throttle.read_iops_device",
            ThrottleKind::WriteOperations => "blkio.throttle.write_iops_device",
        };
        let value = format!("{}:{} {}", throttle.major, throttle.minor, throttle.rate);
        writes.push(Write::one("block device throttle", "blkio", file, value, "per second"));
    }
    writes
}

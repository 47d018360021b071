//! Steps in the unified tree, and the conversions from v1's numbers. Pure.

use std::collections::BTreeMap;

use super::plan::CPU_PERIOD_DEFAULT_US;
use super::{CgroupError, Facts, Step, TreePlan, V2Hierarchy, Write, devices, v1};
use crate::config::{Resources, ThrottleKind};

/// Enabled for every container that they can be enabled for, so that its use can be seen: what runc enables, less what
/// we have no words for (hugetlb, rdma, misc).
const ACCOUNTED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// `wants` are the controllers that limits were asked of (`devices` is none: it is a program).
pub(super) fn tree_plan(
    hierarchy: &V2Hierarchy,
    path: Vec<String>,
    existing: usize,
    wants: &[&'static str],
    r: &Resources,
    facts: &Facts,
) -> Result<TreePlan, CgroupError> {
    let required: Vec<String> =
        wants.iter().filter(|name| **name != "devices").map(|name| (*name).to_owned()).collect();
    let top = facts.v2_levels.first();
    let wanted: Vec<String> = ACCOUNTED
        .iter()
        .map(|name| (*name).to_owned())
        .filter(|name| !required.contains(name) && top.is_some_and(|top| top.controllers.contains(name)))
        .collect();

    let mut steps = Vec::new();
    for depth in 0..path.len() {
        if !(required.is_empty() && wanted.is_empty()) {
            steps.push(Step::Enable { depth, required: required.clone(), wanted: wanted.clone() });
        }
        if depth + 1 > existing {
            steps.push(Step::MakeDir { depth: depth + 1 });
        }
    }
    for controller in wants {
        let writes = match *controller {
            "memory" => memory(r),
            "cpu" => cpu(r),
            "cpuset" => v1::cpuset_lists(r),
            "pids" => v1::pids(r),
            "io" => io(r),
            "devices" => {
                steps.push(Step::DeviceProgram(devices::v2_program(&r.device_rules)?));
                continue;
            }
            _ => Vec::new(),
        };
        steps.extend(writes.into_iter().map(Step::Write));
    }
    Ok(TreePlan {
        label: "unified".to_owned(),
        unified: true,
        mountpoint: hierarchy.tree.mountpoint.clone(),
        path,
        existing,
        steps,
    })
}

fn memory(r: &Resources) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(bytes) = r.memory_max_bytes {
        writes.push(Write::one("memory limit", "memory", "memory.max", bytes, "bytes"));
    }
    if let Some(total) = r.memory_swap_total_bytes {
        // v2 counts swap alone; the total is at least the memory limit by now.
        let swap = u64::try_from(total)
            .map(|total| total.saturating_sub(r.memory_max_bytes.unwrap_or(0)).to_string())
            .unwrap_or_else(|_| "max".to_owned());
        writes.push(Write::one("memory plus swap limit", "memory", "memory.swap.max", swap, "bytes"));
    }
    if let Some(bytes) = r.memory_reservation_bytes {
        writes.push(Write::one("memory reservation", "memory", "memory.low", bytes, "bytes"));
    }
    writes
}

fn cpu(r: &Resources) -> Vec<Write> {
    let mut writes = Vec::new();
    if r.cpu_quota_us.is_some() || r.cpu_period_us.is_some() {
        let quota = match r.cpu_quota_us {
            None | Some(-1) => "max".to_owned(),
            Some(quota) => quota.to_string(),
        };
        let value = format!("{quota} {}", r.cpu_period_us.unwrap_or(CPU_PERIOD_DEFAULT_US));
        writes.push(Write::one("cpu quota", "cpu", "cpu.max", value, "us"));
    }
    if let Some(shares) = r.cpu_shares {
        writes.push(Write::one("cpu shares", "cpu", "cpu.weight", weight_from_shares(shares), "weight"));
    }
    writes
}

/// BFQ's own file first, as runc does: it has v1's range and works wherever BFQ does. `io.weight` is iocost's.
fn io(r: &Resources) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(weight) = r.blkio_weight {
        let choices = vec![
            ("io.bfq.weight", weight.to_string()),
            ("io.weight", io_weight_from_blkio(weight).to_string()),
        ];
        writes.push(Write { limit: "blkio weight", controller: "io", choices, unit: "weight" });
    }
    // One line per device; what a line does not name stays as it is.
    let mut lines: BTreeMap<(u32, u32), String> = BTreeMap::new();
    for throttle in &r.throttles {
        let key = match throttle.kind {
            ThrottleKind::ReadBytes => "rbps",
            ThrottleKind::WriteBytes => "wbps",
            ThrottleKind::ReadOperations => "riops",
            ThrottleKind::WriteOperations => "wiops",
        };
        let line = lines
            .entry((throttle.major, throttle.minor))
            .or_insert_with(|| format!("{}:{}", throttle.major, throttle.minor));
        line.push_str(&format!(" {key}={}", throttle.rate));
    }
    for line in lines.into_values() {
        writes.push(Write::one("block device throttle", "io", "io.max", line, "per second"));
    }
    writes
}

/// v2 weight (1 to 10000) from v1 shares (2 to 262144), by the quadratic in `log2(shares)` that runc (since 1.3.2,
/// opencontainers/runc pull 4785) and crun (containers/crun issue 1721) agreed on, which meets the ends and takes v1's
/// default 1024 to v2's default 100:
/// `ceil(10^((l² + 125·l)/612 − 7/34))` with `l = log2(shares)`. Older runc took `1 + (shares − 2)·9999/262142`, which
/// takes 1024 to 39.
pub fn weight_from_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            // At most 18 bits: exact in f64.
            let l = f64::from(u32::try_from(shares).unwrap_or(262_144)).log2();
            let weight = 10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil();
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 10000 for the shares of this arm"
            )]
            let weight = weight as u64;
            weight.clamp(1, 10_000)
        }
    }
}

/// `io.weight` (1 to 10000) from v1's blkio weight (10 to 1000): `1 + (weight − 10)·9999/990`, as runc.
pub fn io_weight_from_blkio(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_to_weight() {
        // Ends, defaults, and points of the published table of the change in runc and crun.
        for (shares, weight) in [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (300_000, 10_000)] {
            assert_eq!(weight_from_shares(shares), weight, "{shares}");
        }
        let weights: Vec<u64> = (2..=262_144).step_by(97).map(weight_from_shares).collect();
        assert!(weights.is_sorted());
        assert!(weights.iter().all(|weight| (1..=10_000).contains(weight)));
        // More shares than the default is more weight than the default, and the other way round.
        assert!(
            weight_from_shares(1023) <= 100
                && weight_from_shares(2048) > 100
                && weight_from_shares(512) < 100
        );
    }

    #[test]
    fn blkio_to_io_weight() {
        for (blkio, io) in [(10, 1), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight_from_blkio(blkio), io, "{blkio}");
        }
    }
}

//! Ranges and contradictions of limits, whatever the host's layout. Pure.

use plim_model::parse::cgroup::CpuList;

use super::{CgroupError, Facts};
use crate::config::Resources;

/// Docker's least memory limit (moby, `linuxMinMemory`): with less, a container's first process cannot be set up.
pub(super) const MEMORY_MIN_BYTES: u64 = 6 << 20;
/// Page counters and `long` limits end here.
const BYTES_MAX: u64 = i64::MAX.unsigned_abs();
/// `PID_MAX_LIMIT` of 64-bit kernels: the most that `pids.max` takes (kernel/cgroup/pids.c).
pub(super) const PIDS_MAX: i64 = 4 << 20;
/// Least CPU period and quota in microseconds (kernel/sched/core.c, `min_cfs_quota_period`, 1 ms).
const CPU_MIN_US: u64 = 1_000;
/// Longest CPU period in microseconds (`max_cfs_quota_period`, 1 s).
pub(super) const CPU_PERIOD_MAX_US: u64 = 1_000_000;

/// Refuses a value that no kernel takes or that contradicts another.
pub(super) fn resources(r: &Resources, facts: &Facts) -> Result<(), CgroupError> {
    memory(r)?;
    let positive = |value: i64| u64::try_from(value).unwrap_or(0);
    expect("cpu period", r.cpu_period_us, "1000 to 1000000 us", |us| {
        (CPU_MIN_US..=CPU_PERIOD_MAX_US).contains(us)
    })?;
    expect("cpu quota", r.cpu_quota_us, "at least 1000 us, or -1 for no limit", |us| {
        *us == -1 || positive(*us) >= CPU_MIN_US
    })?;
    expect("cpu shares", r.cpu_shares, "2 to 262144", |shares| (2..=262_144).contains(shares))?;
    list("cpuset cpus", r.cpuset_cpus.as_deref(), facts.cpus.as_ref())?;
    list("cpuset mems", r.cpuset_mems.as_deref(), facts.mems.as_ref())?;
    expect("pids limit", r.pids_max, "1 to 4194304, or -1 for no limit", |max| {
        *max == -1 || (1..=PIDS_MAX).contains(max)
    })?;
    expect("blkio weight", r.blkio_weight, "10 to 1000", |weight| (10..=1000).contains(weight))?;
    for throttle in &r.throttles {
        if throttle.rate == 0 {
            return Err(CgroupError::invalid(
                "block device throttle",
                format!("0 for device {}:{}", throttle.major, throttle.minor),
                "a rate of at least 1 per second",
            ));
        }
    }
    Ok(())
}

fn memory(r: &Resources) -> Result<(), CgroupError> {
    expect("memory limit", r.memory_max_bytes, "at least 6291456 bytes (6 MiB)", |bytes| {
        (MEMORY_MIN_BYTES..=BYTES_MAX).contains(bytes)
    })?;
    expect("memory reservation", r.memory_reservation_bytes, "at most the memory limit", |low| {
        *low <= r.memory_max_bytes.unwrap_or(BYTES_MAX)
    })?;
    let total = r.memory_swap_total_bytes.filter(|total| *total != -1);
    match r.memory_max_bytes {
        None => expect("memory plus swap limit", total, "a memory limit beside it", |_| false),
        Some(limit) => expect(
            "memory plus swap limit",
            total,
            "at least the memory limit, or -1 for no limit",
            |total| u64::try_from(*total).is_ok_and(|total| total >= limit),
        ),
    }
}

fn expect<T: std::fmt::Display>(
    limit: &'static str,
    value: Option<T>,
    expected: &str,
    is_good: impl FnOnce(&T) -> bool,
) -> Result<(), CgroupError> {
    match value {
        Some(value) if !is_good(&value) => Err(CgroupError::invalid(limit, value, expected)),
        _ => Ok(()),
    }
}

fn list(limit: &'static str, text: Option<&str>, available: Option<&CpuList>) -> Result<(), CgroupError> {
    let Some(text) = text else { return Ok(()) };
    let asked = CpuList::parse(text)
        .ok()
        .filter(|list| !list.is_empty())
        .ok_or_else(|| CgroupError::invalid(limit, format!("{text:?}"), "a list such as 0-3,8"))?;
    match available {
        Some(available) if !asked.is_subset(available) => {
            Err(CgroupError::invalid(limit, text, format!("a part of {available}, which this host has")))
        }
        _ => Ok(()),
    }
}

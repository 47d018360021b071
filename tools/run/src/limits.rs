//! cgroup limits and `--ulimit`, with Docker's own rules (moby verifyPlatformContainerResources).
//!
//! One difference: what Docker discards with a warning is an error here, because a limit that is not set is a limit that
//! does not hold.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use plim_model::rlimit::{Limit, Rlimit, Rlimits};
use plim_runtime::config::{Resources, Throttle, ThrottleKind};

use crate::options::Options;
use crate::sizes;
use crate::world::{PathKind, World};
use plim_tools_common::nearest::hint;

/// moby linuxMinMemory: less does not carry the start of a process.
const MIN_MEMORY_BYTES: u64 = 6 << 20;

/// The cgroup limits that the options ask for; device rules are not among them.
///
/// # Errors
/// A value that is no number, out of range, or in contradiction to another.
pub(crate) fn resources(options: &Options, world: &impl World) -> Result<Resources> {
    let mut resources = Resources::default();
    memory(options, &mut resources)?;
    cpu(options, &mut resources, world)?;
    if let Some(text) = &options.pids_limit {
        let limit = sizes::whole(text, -1, i64::MAX).with_context(|| format!("--pids-limit {text:?}"))?;
        // moby getPidsLimit: 0 and -1 are both "no limit".
        resources.pids_max = Some(if limit <= 0 { -1 } else { limit });
    }
    if let Some(text) = &options.blkio_weight {
        let weight = sizes::whole(text, 0, 1000)
            .and_then(|n| {
                if (1..10).contains(&n) {
                    Err(anyhow!("found {n}, expected 10 to 1000, or 0"))
                } else {
                    Ok(n)
                }
            })
            .with_context(|| format!("--blkio-weight {text:?}"))?;
        resources.blkio_weight = u16::try_from(weight).ok().filter(|weight| *weight != 0);
    }
    for (option, list, kind) in [
        ("--device-read-bps", &options.device_read_bps, ThrottleKind::ReadBytes),
        ("--device-write-bps", &options.device_write_bps, ThrottleKind::WriteBytes),
        ("--device-read-iops", &options.device_read_iops, ThrottleKind::ReadOperations),
        ("--device-write-iops", &options.device_write_iops, ThrottleKind::WriteOperations),
    ] {
        for text in list {
            let throttle = throttle(text, kind, world).with_context(|| format!("{option} {text:?}"))?;
            resources.throttles.push(throttle);
        }
    }
    Ok(resources)
}

/// What to say of a weight that no scheduler looks at: it is set and does nothing until one does. That is no less
/// confinement than was asked for (a weight is a preference), but it is less than was meant.
///
/// BFQ reads it where it is the scheduler, and so does iocost where it is switched on (block/blk-iocost.c, `enable=1`).
pub(crate) fn weight_note(resources: &Resources, world: &impl World) -> Option<String> {
    let weight = resources.blkio_weight?;
    let reads = |line: &String| line.contains("[bfq]") || line.contains("enable=1");
    (!world.block_schedulers().iter().any(reads)).then(|| {
        format!(
            "the weight {weight} for block devices has no effect here: none has the scheduler bfq \
             (/sys/block/*/queue/scheduler) or a cost model (io.cost.qos)"
        )
    })
}

fn memory(options: &Options, resources: &mut Resources) -> Result<()> {
    let size = |option: &str, text: &Option<String>| -> Result<Option<u64>> {
        let Some(text) = text else { return Ok(None) };
        let bytes = sizes::bytes(text).with_context(|| format!("{option} {text:?}"))?;
        if bytes != 0 && bytes < MIN_MEMORY_BYTES {
            bail!("{option} {text:?}: {bytes} bytes, the least that is allowed is 6m");
        }
        Ok((bytes != 0).then_some(bytes))
    };
    let limit = size("--memory", &options.memory)?;
    let reservation = size("--memory-reservation", &options.memory_reservation)?;
    if let (Some(limit), Some(reservation)) = (limit, reservation)
        && limit < reservation
    {
        bail!("--memory-reservation: {reservation} bytes is more than --memory, {limit} bytes");
    }
    let swap = match &options.memory_swap {
        Some(text) => {
            let total = sizes::bytes_or_unlimited(text).with_context(|| format!("--memory-swap {text:?}"))?;
            Some(total).filter(|total| *total != 0)
        }
        None => None,
    };
    resources.memory_max_bytes = limit;
    resources.memory_reservation_bytes = reservation;
    resources.memory_swap_total_bytes = match (limit, swap) {
        (None, Some(total)) if total > 0 => {
            bail!("--memory-swap needs --memory: it is memory and swap together")
        }
        (None, _) => None,
        (Some(limit), Some(total)) if total > 0 && total.cast_unsigned() < limit => {
            bail!(
                "--memory-swap: {total} bytes is less than --memory, {limit} bytes; it is memory and swap together"
            )
        }
        (Some(_), Some(total)) => Some(total),
        // moby adaptContainerSettings: as much swap again as memory.
        (Some(limit), None) => i64::try_from(limit.saturating_mul(2)).ok(),
    };
    Ok(())
}

fn cpu(options: &Options, resources: &mut Resources, world: &impl World) -> Result<()> {
    let number = |option: &str, text: &Option<String>, low, high| -> Result<Option<i64>> {
        let Some(text) = text else { return Ok(None) };
        let number = sizes::whole(text, i64::MIN, i64::MAX)
            .and_then(|n| if n == 0 { Ok(0) } else { sizes::whole(text, low, high) })
            .with_context(|| format!("{option} {text:?}"))?;
        Ok((number != 0).then_some(number))
    };
    let shares = number("--cpu-shares", &options.cpu_shares, 2, 262_144)?;
    let period = number("--cpu-period", &options.cpu_period, 1_000, 1_000_000)?;
    let quota = match options.cpu_quota.as_deref() {
        Some("-1") => Some(-1),
        _ => number("--cpu-quota", &options.cpu_quota, 1_000, i64::MAX)?,
    };
    resources.cpu_shares = shares.map(i64::cast_unsigned);
    resources.cpu_period_us = period.map(i64::cast_unsigned);
    resources.cpu_quota_us = quota;
    if let Some(text) = &options.cpus {
        let nano = sizes::nano_cpus(text).with_context(|| format!("--cpus {text:?}"))?;
        if nano != 0 && (period.is_some() || quota.is_some()) {
            bail!(
                "--cpus {text:?}: it sets the period and the quota, so --cpu-period and --cpu-quota cannot be given too"
            );
        }
        let online = online(world, "/sys/devices/system/cpu/online", "0");
        let count = parse_list(&online).map_or(1, |list| list.len());
        if nano > count as u64 * 1_000_000_000 {
            bail!("--cpus {text:?}: from 0.01 to {count}, as there are {count} CPUs");
        }
        if nano != 0 {
            // A quota below a millisecond is refused by the kernel (kernel/sched/core.c, min_cfs_quota_period).
            let quota = i64::try_from(nano / 10_000).unwrap_or(i64::MAX);
            if quota < 1_000 {
                bail!("--cpus {text:?}: less than 0.01, the least that the kernel takes");
            }
            resources.cpu_period_us = Some(100_000);
            resources.cpu_quota_us = Some(quota);
        }
    }
    resources.cpuset_cpus =
        cpuset("--cpuset-cpus", &options.cpuset_cpus, "CPUs", "/sys/devices/system/cpu/online", world)?;
    resources.cpuset_mems = cpuset(
        "--cpuset-mems",
        &options.cpuset_mems,
        "memory nodes",
        "/sys/devices/system/node/online",
        world,
    )?;
    Ok(())
}

/// The kernel's own list; a kernel without the file (no NUMA) has the one in `otherwise`.
fn online(world: &impl World, path: &str, otherwise: &str) -> String {
    match world.read(Path::new(path)) {
        Ok(text) => String::from_utf8_lossy(&text).trim().to_owned(),
        Err(_) => otherwise.to_owned(),
    }
}

fn cpuset(
    option: &str,
    text: &Option<String>,
    what: &str,
    path: &str,
    world: &impl World,
) -> Result<Option<String>> {
    let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    let wanted = parse_list(text)
        .ok_or_else(|| anyhow!("{option} {text:?}: expected a list of numbers and ranges such as 0-3,8"))?;
    let available = online(world, path, "0");
    let there = parse_list(&available).unwrap_or_default();
    if !wanted.iter().all(|number| there.contains(number)) {
        bail!("{option} {text:?}: not all of these {what} are there; available: {available}");
    }
    Ok(Some(text.to_owned()))
}

/// `0-3,8` (cpuset(7), "List format"), sorted; `None` when it is not one. At most 8192 entries, CONFIG_NR_CPUS's most.
fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut list = Vec::new();
    for range in text.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(low) || !digits(high) {
            return None;
        }
        let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
        if low > high || high >= 8192 {
            return None;
        }
        list.extend(low..=high);
    }
    list.sort_unstable();
    list.dedup();
    Some(list)
}

fn throttle(text: &str, kind: ThrottleKind, world: &impl World) -> Result<Throttle> {
    let (path, rate) = text.rsplit_once(':').ok_or_else(|| anyhow!("expected PATH:RATE, as /dev/sda:1m"))?;
    if !path.starts_with("/dev/") {
        bail!("expected a block device below /dev, found {path:?}");
    }
    let rate = match kind {
        ThrottleKind::ReadBytes | ThrottleKind::WriteBytes => sizes::bytes(rate)?,
        _ => sizes::whole(rate, 1, i64::MAX)?.cast_unsigned(),
    };
    if rate == 0 {
        bail!("the rate is 0, expected at least 1 a second");
    }
    match world.kind(Path::new(path)).with_context(|| format!("the device {path}"))? {
        PathKind::Device(device) if device.kind == 'b' => {
            Ok(Throttle { major: device.major, minor: device.minor, kind, rate })
        }
        _ => bail!("{path} is not a block device"),
    }
}

/// docker/go-units `ulimit.go`, plus `as`, which getrlimit(2) has.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads `--ulimit`; `may_raise` is whether the caller holds CAP_SYS_RESOURCE.
///
/// # Errors
/// An unknown name, a soft limit above the hard one, or a hard limit above the caller's own that it may not raise.
pub(crate) fn ulimits(list: &[String], may_raise: bool, world: &impl World) -> Result<Rlimits> {
    let mut limits = Rlimits::new();
    for text in list {
        let (name, limit) = ulimit(text).with_context(|| format!("--ulimit {text:?}"))?;
        if let Some(own) = world.hard_limit(&name)
            && limit.hard > own
            && !may_raise
        {
            bail!(
                "--ulimit {text:?}: the hard limit {} is above the caller's own {own}, and the caller does not hold \
                 CAP_SYS_RESOURCE, which raising it takes",
                limit.hard
            );
        }
        limits.insert(name, limit);
    }
    Ok(limits)
}

fn ulimit(text: &str) -> Result<(String, Rlimit)> {
    let (name, values) =
        text.split_once('=').ok_or_else(|| anyhow!("expected NAME=SOFT[:HARD], as nofile=1024:2048"))?;
    if !ULIMITS.contains(&name) {
        bail!("unknown limit {name:?}{}; the limits are {}", hint(name, ULIMITS), ULIMITS.join(", "));
    }
    let limit = |text: &str| -> Result<Limit> {
        match text {
            "-1" => Ok(Limit::Max),
            _ => text
                .parse()
                .map(|n| if n == u64::MAX { Limit::Max } else { Limit::Of(n) })
                .map_err(|_| anyhow!("found {text:?}, expected a whole number, or -1 for no limit")),
        }
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (limit(soft)?, limit(hard)?),
        None => (limit(values)?, limit(values)?),
    };
    if soft > hard {
        bail!("the soft limit {soft} is above the hard limit {hard}");
    }
    Ok((format!("RLIMIT_{}", name.to_ascii_uppercase()), Rlimit { soft, hard }))
}

//! `linux.resources`: cgroup limits.

use super::cursor::{FieldError, Node, Warning};
use crate::config::{DeviceRule, Resources, Throttle};

type Result<T> = std::result::Result<T, FieldError>;

pub(super) fn read(node: &Node, warnings: &mut Vec<Warning>) -> Result<Resources> {
    let mut object = node.object()?;
    for (key, why) in [
        ("hugepageLimits", "limits on huge pages are not supported"),
        ("network", "network classes and priorities are not supported"),
        ("rdma", "RDMA limits are not supported"),
        ("unified", "raw cgroup v2 settings are not supported"),
    ] {
        object.refuse(key, why)?;
    }
    let mut resources = Resources::default();
    if let Some(rules) = object.take("devices") {
        resources.device_rules =
            rules.list()?.iter().map(|rule| device_rule(rule, warnings)).collect::<Result<_>>()?;
    }
    if let Some(node) = object.take("memory") {
        memory(&node, &mut resources, warnings)?;
    }
    if let Some(node) = object.take("cpu") {
        cpu(&node, &mut resources, warnings)?;
    }
    if let Some(node) = object.take("pids") {
        let mut pids = node.object()?;
        // runc takes 0 as "not given" and anything below as "max".
        let limit = pids.require("limit")?.i64()?;
        resources.pids_max = (limit != 0).then_some(limit.max(-1));
        pids.finish(warnings);
    }
    if let Some(node) = object.take("blockIO") {
        block_io(&node, &mut resources, warnings)?;
    }
    object.finish(warnings);
    Ok(resources)
}

fn device_rule(node: &Node, warnings: &mut Vec<Warning>) -> Result<DeviceRule> {
    let mut object = node.object()?;
    let kind = match object.take("type") {
        None => 'a',
        Some(kind) => match kind.str()? {
            "" | "a" => 'a',
            "b" => 'b',
            "c" | "u" => 'c',
            other => return Err(kind.error(format!("found {other:?}, expected a, b or c"))),
        },
    };
    let mut number = |key: &'static str| -> Result<Option<u32>> {
        match object.take(key) {
            Some(n) if n.value.as_i64() == Some(-1) => Ok(None),
            Some(n) => n.u32().map(Some),
            None => Ok(None),
        }
    };
    let (major, minor) = (number("major")?, number("minor")?);
    let access = match object.take("access") {
        None => "rwm".to_owned(),
        Some(access) => match access.str()? {
            "" => "rwm".to_owned(),
            text if text.chars().all(|c| "rwm".contains(c)) => text.to_owned(),
            text => return Err(access.error(format!("found {text:?}, expected any of r, w and m"))),
        },
    };
    let allow = object.require("allow")?.bool()?;
    object.finish(warnings);
    Ok(DeviceRule { allow, kind, major, minor, access })
}

/// A size in bytes; 0 and -1 are "no limit" there, as runc takes them.
fn bytes(node: Node) -> Result<Option<u64>> {
    let value = node.within(-1, i64::MAX)?;
    Ok(u64::try_from(value).ok().filter(|bytes| *bytes != 0))
}

fn memory(node: &Node, resources: &mut Resources, warnings: &mut Vec<Warning>) -> Result<()> {
    let mut object = node.object()?;
    for (key, why) in [
        ("kernel", "a kernel memory limit is not supported, and Linux dropped it in 6.1"),
        ("kernelTCP", "a limit on TCP buffer memory is not supported"),
        ("swappiness", "swappiness is not supported"),
        ("disableOOMKiller", "a cgroup without the out-of-memory killer is not supported"),
        ("checkBeforeUpdate", "a check of the usage before a limit is set is not supported"),
    ] {
        object.refuse(key, why)?;
    }
    // Every hierarchy that we make is hierarchical: the kernel knows nothing else since 5.11.
    object.take("useHierarchy");
    resources.memory_max_bytes = object.take("limit").map_or(Ok(None), bytes)?;
    resources.memory_reservation_bytes = object.take("reservation").map_or(Ok(None), bytes)?;
    resources.memory_swap_total_bytes = match object.take("swap") {
        Some(swap) => Some(swap.within(-1, i64::MAX)?).filter(|bytes| *bytes != 0),
        None => None,
    };
    object.finish(warnings);
    Ok(())
}

fn cpu(node: &Node, resources: &mut Resources, warnings: &mut Vec<Warning>) -> Result<()> {
    let mut object = node.object()?;
    for (key, why) in [
        ("idle", "SCHED_IDLE cgroups are not supported"),
        ("burst", "CPU burst is not supported"),
        ("realtimeRuntime", "realtime scheduling limits are not supported"),
        ("realtimePeriod", "realtime scheduling limits are not supported"),
    ] {
        object.refuse(key, why)?;
    }
    let non_zero = |n: u64| (n != 0).then_some(n);
    resources.cpu_shares = match object.take("shares") {
        Some(n) => non_zero(n.u64()?),
        None => None,
    };
    resources.cpu_period_us = match object.take("period") {
        Some(n) if n.value.as_u64() == Some(0) => None,
        Some(n) => u64::try_from(n.within(1_000, 1_000_000)?).ok(),
        None => None,
    };
    resources.cpu_quota_us = match object.take("quota") {
        Some(n) => Some(n.i64()?).filter(|quota| *quota != 0).map(|quota| quota.max(-1)),
        None => None,
    };
    let mut list = |key: &'static str| -> Result<Option<String>> {
        Ok(object.take(key).map(|n| n.string()).transpose()?.filter(|text| !text.is_empty()))
    };
    resources.cpuset_cpus = list("cpus")?;
    resources.cpuset_mems = list("mems")?;
    object.finish(warnings);
    Ok(())
}

fn block_io(node: &Node, resources: &mut Resources, warnings: &mut Vec<Warning>) -> Result<()> {
    let mut object = node.object()?;
    object.refuse("leafWeight", "a leaf weight is not supported, and Linux dropped it in 5.0")?;
    object.refuse("weightDevice", "weights by device are not supported")?;
    resources.blkio_weight = match object.take("weight") {
        Some(n) if n.value.as_u64() == Some(0) => None,
        Some(n) => u16::try_from(n.within(10, 1000)?).ok(),
        None => None,
    };
    for (key, kind) in super::THROTTLE_KEYS {
        let Some(list) = object.take(key) else { continue };
        for entry in list.list()? {
            let mut throttle = entry.object()?;
            let rate = throttle.require("rate")?;
            if rate.u64()? == 0 {
                return Err(rate.error("found 0, expected at least 1 a second"));
            }
            resources.throttles.push(Throttle {
                major: throttle.require("major")?.u32()?,
                minor: throttle.require("minor")?.u32()?,
                kind,
                rate: rate.u64()?,
            });
            throttle.finish(warnings);
        }
    }
    object.finish(warnings);
    Ok(())
}

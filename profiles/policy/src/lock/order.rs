//! Changes of which the comparison of two snapshots says no more than that there is one: which way they go.

use std::cmp::Ordering;

use plim_model::diff::{Area, Change, Effect};
use serde_json::Value;

/// Which way a change between two entries goes; `None` where it gives and takes nothing.
pub(super) fn effect(change: &Change, old: &Value, now: &Value) -> Option<Effect> {
    let ordered = |ordering: Ordering| match ordering {
        Ordering::Greater => Some(Effect::More),
        Ordering::Less => Some(Effect::Less),
        Ordering::Equal => None,
    };
    match change.area {
        // Half of 100 ms is as much as half of 50 ms.
        Area::Cgroups
            if ["/cgroup/cpu/quota_us", "/cgroup/cpu/period_us"].contains(&change.path.as_str()) =>
        {
            match (share(old), share(now)) {
                (Some(old), Some(now)) => ordered(now.total_cmp(&old)),
                _ => Some(change.effect),
            }
        }
        Area::Mounts if change.effect == Effect::Other => {
            // A place in memory gives nothing of the host.
            let memory = |value: &Value| value["fs_type"] == "tmpfs" || value["fs_type"] == "ramfs";
            if (change.before.is_null() && memory(&change.after))
                || (change.after.is_null() && memory(&change.before))
            {
                return None;
            }
            match sizes(&change.before, &change.after) {
                Some(ordering) if change.path.ends_with("/super_options") => ordered(ordering),
                _ => Some(Effect::Other),
            }
        }
        // The order of the kernel's modules.
        Area::Lsm if change.path == "/lsm/active" => None,
        Area::Sysctls if change.effect == Effect::Other => {
            let name = plim_model::json::unescape(change.path.strip_prefix("/sysctls/").unwrap_or_default());
            match (change.before.as_str(), change.after.as_str()) {
                (Some(old), Some(new)) => sysctl(&name, old, new).map_or(Some(Effect::Other), ordered),
                _ => Some(Effect::Other),
            }
        }
        _ => Some(change.effect),
    }
}

/// The part of a processor's time that the quota is.
fn share(entry: &Value) -> Option<f64> {
    let cpu = &entry["cgroup"]["cpu"];
    if cpu["quota_us"] == "max" {
        return Some(f64::INFINITY);
    }
    Some(cpu["quota_us"].as_f64()? / cpu["period_us"].as_f64().filter(|period| *period > 0.0)?)
}

/// Options of a file system in memory that differ in how much it may hold and in nothing else.
fn sizes(before: &Value, after: &Value) -> Option<Ordering> {
    const LIMITS: [&str; 3] = ["size", "nr_blocks", "nr_inodes"];
    let split = |side: &Value| {
        let (mut limits, mut others): (Vec<(String, u64)>, Vec<String>) = (Vec::new(), Vec::new());
        for option in side.as_array()?.iter().filter_map(Value::as_str) {
            match option.split_once('=').filter(|(name, _)| LIMITS.contains(name)) {
                Some((name, value)) => {
                    limits.push((name.to_owned(), value.trim_end_matches('k').parse().ok()?))
                }
                None => others.push(option.to_owned()),
            }
        }
        Some((limits, others))
    };
    let ((old, old_others), (new, new_others)) = (split(before)?, split(after)?);
    if old_others != new_others {
        return None;
    }
    // Without a limit it is half of the memory (tmpfs(5)), which is not known here to be less or more than a number.
    let mut ordering = Ordering::Equal;
    for name in LIMITS {
        let of =
            |side: &[(String, u64)]| side.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        ordering = match (of(&old), of(&new), ordering) {
            (None, None, ordering) => ordering,
            (Some(old), Some(new), Ordering::Equal) => new.cmp(&old),
            (Some(old), Some(new), ordering) if new == old || new.cmp(&old) == ordering => ordering,
            // Half of the memory is the most that the kernel gives unasked.
            (None, Some(_), Ordering::Equal | Ordering::Less) if name == "size" => Ordering::Less,
            (Some(_), None, Ordering::Equal | Ordering::Greater) if name == "size" => Ordering::Greater,
            _ => return None,
        };
    }
    Some(ordering)
}

/// Sysctls whose number is a limit, or a switch: more is more.
const RISING: [&str; 12] = [
    "fs.mqueue.msg_default",
    "fs.mqueue.msg_max",
    "fs.mqueue.msgsize_default",
    "fs.mqueue.msgsize_max",
    "fs.mqueue.queues_max",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "net.ipv4.ip_forward",
];
/// The number is where something that needs a privilege ends: more is less.
const FALLING: [&str; 1] = ["net.ipv4.ip_unprivileged_port_start"];

/// Which way a sysctl goes from one value to another, where that is known.
pub(super) fn sysctl(name: &str, old: &str, new: &str) -> Option<Ordering> {
    let ordering = new.parse::<u64>().ok()?.cmp(&old.parse::<u64>().ok()?);
    match (RISING.contains(&name), FALLING.contains(&name)) {
        (true, _) => Some(ordering),
        (_, true) => Some(ordering.reverse()),
        _ => None,
    }
}

/// Whether a value is the most that a sysctl can give: whatever stands in its place is no more.
pub(super) fn most(name: &str, value: &str) -> bool {
    (FALLING.contains(&name) && value == "0") || (name == "net.ipv4.ip_forward" && value == "1")
}

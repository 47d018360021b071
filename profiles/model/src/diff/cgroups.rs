//! Limits of control groups: where there is less of a limit, there is more within reach.

use std::collections::BTreeSet;

use super::{Comparison, Effect};
use crate::cgroup::{Cpu, Io, Memory, Pids};
use crate::parse::cgroup::{CpuList, NO_IO_LIMITS};
use crate::rlimit::Limit;
use crate::{Observed, Snapshot};

pub(super) fn compare(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    let (a, b) = (&a.cgroup, &b.cgroup);
    comparison.value("/cgroup/version", &a.version, &b.version, |_, _| Effect::Other);
    let same_version = a.version == b.version;

    if let Some((x, y)) = controller(comparison, "/cgroup/memory", &a.memory, &b.memory) {
        memory(comparison, &x, &y);
    }
    if let Some((x, y)) = controller(comparison, "/cgroup/cpu", &a.cpu, &b.cpu) {
        cpu(comparison, &x, &y, same_version);
    }
    if let Some((x, y)) = controller(comparison, "/cgroup/pids", &a.pids, &b.pids) {
        let (x, y): (Pids, Pids) = (x, y);
        own_and_effective(
            comparison,
            "/cgroup/pids",
            ["max", "effective_max"],
            [&x.max, &x.effective_max],
            [&y.max, &y.effective_max],
        );
    }
    if let Some((x, y)) = controller(comparison, "/cgroup/io", &a.io, &b.io) {
        io(comparison, &x, &y, same_version);
    }
}

/// Both sides' values; a controller that is not there limits nothing.
fn controller<T: Clone + Default>(
    comparison: &mut Comparison,
    path: &str,
    a: &Observed<T>,
    b: &Observed<T>,
) -> Option<(T, T)> {
    let (before, after) = comparison.known(path, a, b)?;
    Some((before.cloned().unwrap_or_default(), after.cloned().unwrap_or_default()))
}

fn memory(comparison: &mut Comparison, x: &Memory, y: &Memory) {
    let path = "/cgroup/memory";
    own_and_effective(
        comparison,
        path,
        ["max_bytes", "effective_max_bytes"],
        [&x.max_bytes, &x.effective_max_bytes],
        [&y.max_bytes, &y.effective_max_bytes],
    );
    own_and_effective(
        comparison,
        path,
        ["swap_max_bytes", "effective_swap_max_bytes"],
        [&x.swap_max_bytes, &x.effective_swap_max_bytes],
        [&y.swap_max_bytes, &y.effective_swap_max_bytes],
    );
    limit(comparison, &format!("{path}/high_bytes"), &x.high_bytes, &y.high_bytes);
    // A protection from reclaim, not a limit: absent is none of it.
    let low = |value: &Observed<Limit>| match value {
        Observed::Absent => Observed::Present(Limit::Of(0)),
        other => other.clone(),
    };
    comparison.value(
        &format!("{path}/low_bytes"),
        &low(&x.low_bytes),
        &low(&y.low_bytes),
        Effect::from_order,
    );
}

impl Effect {
    /// Of two present values the greater reaches more; against an absent one nothing is known.
    fn from_order<T: Ord>(before: Option<&T>, after: Option<&T>) -> Effect {
        match (before, after) {
            (Some(before), Some(after)) => Effect::by_order(before, after),
            _ => Effect::Other,
        }
    }
}

/// No limit file is no limit at this place.
fn or_none(value: &Observed<Limit>) -> Observed<Limit> {
    match value {
        Observed::Absent => Observed::Present(Limit::Max),
        other => other.clone(),
    }
}

fn limit(comparison: &mut Comparison, path: &str, a: &Observed<Limit>, b: &Observed<Limit>) {
    comparison.value(path, &or_none(a), &or_none(b), Effect::from_order);
}

/// A limit of the target's own cgroup, and what holds over all ancestors. The second is told only when it does not follow
/// from the first.
fn own_and_effective(
    comparison: &mut Comparison,
    path: &str,
    names: [&str; 2],
    a: [&Observed<Limit>; 2],
    b: [&Observed<Limit>; 2],
) {
    limit(comparison, &format!("{path}/{}", names[0]), a[0], b[0]);
    let follows = |side: [&Observed<Limit>; 2]| or_none(side[0]) == or_none(side[1]) && !side[1].is_unknown();
    if !(follows(a) && follows(b)) {
        limit(comparison, &format!("{path}/{}", names[1]), a[1], b[1]);
    }
}

fn cpu(comparison: &mut Comparison, x: &Cpu, y: &Cpu, same_version: bool) {
    let before_quota = comparison.changes.len();
    let (old, new) = (or_none(&x.quota_us), or_none(&y.quota_us));
    if let Some((Some(old), Some(new))) = comparison.known("/cgroup/cpu/quota_us", &old, &new) {
        quota(comparison, (*old, &x.period_us), (*new, &y.period_us));
    }
    // A quota of the cgroup itself is told in its own numbers; the effective one only where that says nothing.
    if comparison.changes.len() == before_quota {
        limit(comparison, "/cgroup/cpu/effective_millicpus", &x.effective_millicpus, &y.effective_millicpus);
    }
    if same_version {
        comparison.value("/cgroup/cpu/shares", &x.shares, &y.shares, Effect::from_order);
        comparison.value("/cgroup/cpu/weight", &x.weight, &y.weight, Effect::from_order);
    }
    let before_sets = comparison.changes.len();
    cpu_list(comparison, "/cgroup/cpu/cpuset_cpus", &x.cpuset_cpus, &y.cpuset_cpus);
    if comparison.changes.len() == before_sets {
        let path = "/cgroup/cpu/effective_cpuset_cpus";
        cpu_list(comparison, path, &x.effective_cpuset_cpus, &y.effective_cpuset_cpus);
    }
    cpu_list(comparison, "/cgroup/cpu/cpuset_mems", &x.cpuset_mems, &y.cpuset_mems);
}

/// CPU time is quota over period: 50 ms of 100 ms is as much as 25 ms of 50 ms.
fn quota(comparison: &mut Comparison, old: (Limit, &Observed<u64>), new: (Limit, &Observed<u64>)) {
    let path = "/cgroup/cpu/quota_us";
    if old.0 == Limit::Max && new.0 == Limit::Max {
        return;
    }
    let Some((old_period, new_period)) = comparison.known("/cgroup/cpu/period_us", old.1, new.1) else {
        return;
    };
    if old.0 != new.0 {
        let share = |limit: Limit, period: Option<&u64>, other: Option<&u64>| match limit {
            Limit::Max => Some(None),
            // Multiplied out: quota/period of one side against the other.
            Limit::Of(quota) => period.and(other).map(|other| Some(u128::from(quota) * u128::from(*other))),
        };
        let effect = match (share(old.0, old_period, new_period), share(new.0, new_period, old_period)) {
            (Some(old), Some(new)) => {
                // `None` here is no limit: the most.
                let key = |share: Option<u128>| (share.is_none(), share);
                Effect::by_order(&key(old), &key(new))
            }
            _ => Effect::by_order(&old.0, &new.0),
        };
        comparison.change(path, old.0, new.0, effect);
    }
    if old_period != new_period && old.0 != Limit::Max && new.0 != Limit::Max {
        // With one quota a shorter period gives more time.
        let effect = if old.0 == new.0 { Effect::from_order(new_period, old_period) } else { Effect::Other };
        comparison.change("/cgroup/cpu/period_us", old_period, new_period, effect);
    }
}

fn cpu_list(comparison: &mut Comparison, path: &str, a: &Observed<String>, b: &Observed<String>) {
    let Some((before, after)) = comparison.known(path, a, b) else { return };
    // v2's empty list means the parent's: what holds is in the effective list.
    let list =
        |text: Option<&String>| text.filter(|text| !text.trim().is_empty()).map(|text| CpuList::parse(text));
    match (list(before), list(after)) {
        (None, None) => {}
        (Some(Ok(x)), Some(Ok(y))) if x == y => {}
        (Some(Ok(x)), Some(Ok(y))) => {
            let effect = Effect::from_sides(!y.is_subset(&x), !x.is_subset(&y));
            comparison.change(path, before, after, effect);
        }
        _ if before == after => {}
        _ => comparison.change(path, before, after, Effect::Other),
    }
}

fn io(comparison: &mut Comparison, x: &Io, y: &Io, same_version: bool) {
    if same_version {
        comparison.value("/cgroup/io/weight", &x.weight, &y.weight, Effect::from_order);
    }
    let devices: BTreeSet<&String> = x.devices.keys().chain(y.devices.keys()).collect();
    for device in devices {
        let of = |io: &Io| io.devices.get(device).copied().unwrap_or(NO_IO_LIMITS);
        let (old, new) = (of(x), of(y));
        let mut one = |name: &str, before: Limit, after: Limit| {
            if before != after {
                let path = format!("/cgroup/io/devices/{}/{name}", crate::json::escape(device));
                comparison.change(path, before, after, Effect::by_order(&before, &after));
            }
        };
        one("read_bytes_per_second", old.read_bytes_per_second, new.read_bytes_per_second);
        one("write_bytes_per_second", old.write_bytes_per_second, new.write_bytes_per_second);
        one("read_operations_per_second", old.read_operations_per_second, new.read_operations_per_second);
        one("write_operations_per_second", old.write_operations_per_second, new.write_operations_per_second);
    }
}

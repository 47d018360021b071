//! The areas that are a few lines each: capabilities, LSM, rlimits, devices, user, sysctls, processes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Comparison, Effect};
use crate::json::escape;
use crate::process::OddProcess;
use crate::rlimit::Rlimits;
use crate::snapshot::Device;
use crate::{CapabilitySet, CapabilitySets, Observed, Snapshot};

pub(super) fn capabilities(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    if let Some((before, after)) = comparison.known("/capabilities", &a.capabilities, &b.capabilities) {
        let sets = |sets: Option<&CapabilitySets>| sets.copied().unwrap_or_default();
        let (x, y) = (sets(before), sets(after));
        let names = |set: CapabilitySet| -> BTreeSet<String> { set.names().into_iter().collect() };
        for (name, before, after) in [
            ("ambient", x.ambient, y.ambient),
            ("bounding", x.bounding, y.bounding),
            ("effective", x.effective, y.effective),
            ("inheritable", x.inheritable, y.inheritable),
            ("permitted", x.permitted, y.permitted),
        ] {
            let path = format!("/capabilities/{name}");
            comparison.members(&path, &names(before), &names(after), Effect::More, String::clone);
        }
    }
    comparison.value("/no_new_privs", &a.no_new_privs, &b.no_new_privs, |before, after| {
        // A kernel without the flag cannot forbid gaining privileges by execve.
        let free = |flag: Option<&bool>| flag != Some(&true);
        Effect::by_order(&free(before), &free(after))
    });
}

pub(super) fn lsm(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    comparison.value("/lsm/active", &a.lsm.active, &b.lsm.active, |_, _| Effect::Other);
    comparison.value("/lsm/apparmor", &a.lsm.apparmor, &b.lsm.apparmor, |before, after| {
        Effect::by_order(&apparmor_reach(before), &apparmor_reach(after))
    });
    // The categories behind the type keep containers apart: identity.
    let of = |label: &Observed<String>| label.clone().map(|label| selinux_type(&label));
    comparison.value("/lsm/selinux", &of(&a.lsm.selinux), &of(&b.lsm.selinux), |_, _| Effect::Other);
    comparison.value("/lsm/smack", &a.lsm.smack, &b.lsm.smack, |_, _| Effect::Other);
}

/// Unconfined, complaining (everything is allowed and logged), enforcing. Two enforcing profiles are not ordered.
fn apparmor_reach(label: Option<&String>) -> u8 {
    match label.map(String::as_str) {
        None | Some("unconfined") => 2,
        Some(label) if label.ends_with("(complain)") || label.ends_with("(unconfined)") => 1,
        Some(_) => 0,
    }
}

/// `USER:ROLE:TYPE:LEVEL[:CATEGORIES]` without its categories.
fn selinux_type(label: &str) -> String {
    label.splitn(5, ':').take(4).collect::<Vec<_>>().join(":")
}

pub(super) fn rlimits(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    let Some((before, after)) = comparison.known("/rlimits", &a.rlimits, &b.rlimits) else { return };
    let empty = Rlimits::new();
    let (x, y) = (before.unwrap_or(&empty), after.unwrap_or(&empty));
    let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
    for name in names {
        let path = format!("/rlimits/{}", escape(name));
        match (x.get(name), y.get(name)) {
            (Some(x), Some(y)) => {
                for (which, x, y) in [("hard", x.hard, y.hard), ("soft", x.soft, y.soft)] {
                    if x != y {
                        comparison.change(format!("{path}/{which}"), x, y, Effect::by_order(&x, &y));
                    }
                }
            }
            (x, y) => comparison.change(path, x, y, Effect::Other),
        }
    }
}

pub(super) fn devices(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    let (a, b) = (&a.devices, &b.devices);
    if let Some((before, after)) = comparison.known("/devices/nodes", &a.nodes, &b.nodes) {
        let by_path = |nodes: Option<&Vec<Device>>| -> BTreeMap<String, String> {
            nodes
                .into_iter()
                .flatten()
                .map(|d| (d.path.clone(), format!("{} {}:{}", d.kind, d.major, d.minor)))
                .collect()
        };
        let (x, y) = (by_path(before), by_path(after));
        let paths: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
        for path in paths {
            let (before, after) = (x.get(path), y.get(path));
            if before != after {
                let effect = Effect::from_sides(before.is_none(), after.is_none());
                comparison.change(format!("/devices/nodes/{}", escape(path)), before, after, effect);
            }
        }
    }
    if let Some((before, after)) = comparison.known("/devices/cgroup_rules", &a.cgroup_rules, &b.cgroup_rules)
    {
        match (before, after) {
            (Some(before), Some(after)) => {
                // A rule that the other side's rules cover gives nothing of its own.
                let alone = |rules: &[String], others: &[String]| -> BTreeSet<String> {
                    rules
                        .iter()
                        .filter(|rule| !others.iter().any(|other| covers(other, rule)))
                        .cloned()
                        .collect()
                };
                let (lost, gained) = (alone(before, after), alone(after, before));
                comparison.members("/devices/cgroup_rules", &lost, &gained, Effect::More, String::clone);
            }
            (None, None) => {}
            // Without a device controller every device may be opened.
            (before, after) => {
                let effect = Effect::from_sides(after.is_none(), before.is_none());
                comparison.change("/devices/cgroup_rules", before, after, effect);
            }
        }
    }
}

/// Whether device rule `outer` allows all that `inner` allows (`TYPE MAJOR:MINOR ACCESS`, cgroup-v1/devices.rst).
fn covers(outer: &str, inner: &str) -> bool {
    if outer == inner {
        return true;
    }
    let parse = |rule: &str| -> Option<[String; 4]> {
        let mut words = rule.split_ascii_whitespace();
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        Some([kind, major, minor, access].map(str::to_owned))
    };
    let (Some(outer), Some(inner)) = (parse(outer), parse(inner)) else { return false };
    (outer[0] == "a" || outer[0] == inner[0])
        && (outer[1] == "*" || outer[1] == inner[1])
        && (outer[2] == "*" || outer[2] == inner[2])
        && inner[3].chars().all(|access| outer[3].contains(access))
}

pub(super) fn user(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    let Some((before, after)) = comparison.known("/user", &a.user, &b.user) else { return };
    let (Some(x), Some(y)) = (before, after) else {
        if before != after {
            comparison.change("/user", before, after, Effect::Other);
        }
        return;
    };
    for (path, x, y) in [("/user/uid", x.uid, y.uid), ("/user/gid", x.gid, y.gid)] {
        if x != y {
            // Root owns the most; two other ids own different things.
            let effect = Effect::by_order(&x.contains(&0), &y.contains(&0));
            comparison.change(path, x, y, effect);
        }
    }
    let set = |groups: &[u32]| -> BTreeSet<u32> { groups.iter().copied().collect() };
    comparison.members("/user/groups", &set(&x.groups), &set(&y.groups), Effect::More, u32::to_string);
}

pub(super) fn sysctls(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    // Names and what changes by itself.
    let identity = |name: &str| {
        ["kernel.hostname", "kernel.domainname", "kernel.ns_last_pid"].contains(&name)
            || name.starts_with("kernel.random.")
    };
    let names: BTreeSet<&String> =
        a.sysctls.keys().chain(b.sysctls.keys()).filter(|n| !identity(n)).collect();
    for name in names {
        let of = |snapshot: &Snapshot| snapshot.sysctls.get(name).cloned().unwrap_or_default();
        comparison.value(&format!("/sysctls/{}", escape(name)), &of(a), &of(b), |_, _| Effect::Other);
    }
}

pub(super) fn processes(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    let path = "/odd_processes";
    let Some((before, after)) = comparison.known(path, &a.odd_processes, &b.odd_processes) else { return };
    // The pid is identity: processes are told by what differs and how many there are.
    let count = |list: Option<&Vec<OddProcess>>| {
        let mut counted: BTreeMap<(String, Vec<String>), usize> = BTreeMap::new();
        for process in list.into_iter().flatten() {
            *counted.entry((process.comm.clone(), process.differs.clone())).or_default() += 1;
        }
        counted
    };
    let (x, y) = (count(before), count(after));
    let keys: BTreeSet<&(String, Vec<String>)> = x.keys().chain(y.keys()).collect();
    for key in keys {
        let (old, new) = (x.get(key), y.get(key));
        if old != new {
            let value = |count: Option<&usize>| {
                count.map_or(Value::Null, |count| json!({"comm": key.0, "differs": key.1, "count": count}))
            };
            comparison.change(format!("{path}/{}", escape(&key.0)), value(old), value(new), Effect::Other);
        }
    }
}

//! Namespaces: who is inside besides the target, and what its ids mean outside.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Comparison, Effect};
use crate::namespace::Namespace;
use crate::snapshot::TargetInfo;
use crate::{IdMapping, NamespaceKind, Observed, Snapshot};

pub(super) fn compare(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    let selves = own_names(&a.target).chain(own_names(&b.target)).collect();
    for kind in NamespaceKind::ALL {
        let path = format!("/namespaces/{kind}");
        let of = |snapshot: &Snapshot| snapshot.namespaces.get(&kind).cloned().unwrap_or_default();
        let (before, after) = (of(a), of(b));
        match comparison.known(&path, &before, &after) {
            Some((Some(before), Some(after))) => namespace(comparison, &path, before, after, &selves),
            Some((None, Some(after))) => {
                comparison.change(path, Value::Null, &after.shared_with_host, Effect::Other);
            }
            Some((Some(before), None)) => {
                comparison.change(path, &before.shared_with_host, Value::Null, Effect::Other);
            }
            Some((None, None)) | None => {}
        }
    }
    if let Some((before, after)) = comparison.known("/id_maps", &a.id_maps, &b.id_maps) {
        let maps = |map: Option<&crate::IdMap>| map.cloned().unwrap_or_default();
        let (before, after) = (maps(before), maps(after));
        id_map(comparison, "/id_maps/uid", &before.uid, &after.uid);
        id_map(comparison, "/id_maps/gid", &before.gid, &after.gid);
    }
}

/// The names under which `shared_with` lists a target.
fn own_names(target: &TargetInfo) -> impl Iterator<Item = String> {
    [Some(&target.id), target.name.as_ref()]
        .into_iter()
        .flatten()
        .map(|name| format!("{}:{name}", target.engine))
        .collect::<Vec<_>>()
        .into_iter()
}

fn namespace(
    comparison: &mut Comparison,
    path: &str,
    before: &Namespace,
    after: &Namespace,
    selves: &BTreeSet<String>,
) {
    comparison.value(
        &format!("{path}/shared_with_host"),
        &before.shared_with_host,
        &after.shared_with_host,
        |_, after| Effect::from_sides(after == Some(&true), after != Some(&true)),
    );
    // In the host's namespace everybody is company.
    let with_host = |namespace: &Namespace| namespace.shared_with_host == Observed::Present(true);
    if with_host(before) || with_host(after) {
        return;
    }
    // Two targets that share a namespace with each other name each other, which is no difference.
    let others = |namespace: &Namespace| -> BTreeSet<String> {
        namespace.shared_with.iter().filter(|name| !selves.contains(*name)).cloned().collect()
    };
    comparison.members(
        &format!("{path}/shared_with"),
        &others(before),
        &others(after),
        Effect::More,
        String::clone,
    );
}

fn id_map(comparison: &mut Comparison, path: &str, before: &[IdMapping], after: &[IdMapping]) {
    if before == after {
        return;
    }
    let (old, new) = (outside(before), outside(after));
    let effect = Effect::from_sides(!covered(&new, &old), !covered(&old, &new));
    comparison.change(path, before, after, effect);
}

/// Ranges of outside ids, sorted, merged where they touch.
fn outside(map: &[IdMapping]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> =
        map.iter().map(|m| (u64::from(m.outside), u64::from(m.outside) + u64::from(m.count))).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, end) in ranges {
        match merged.last_mut() {
            Some(last) if first <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((first, end)),
        }
    }
    merged
}

/// Whether every range of `inner` lies within one of `outer`.
fn covered(inner: &[(u64, u64)], outer: &[(u64, u64)]) -> bool {
    inner.iter().all(|(first, end)| outer.iter().any(|(a, b)| a <= first && end <= b))
}

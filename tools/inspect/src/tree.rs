//! Targets by the namespaces they share.

use std::collections::BTreeMap;
use std::fmt::Write;

use plim_model::{NamespaceId, NamespaceKind, Observed, Snapshot};
use plim_tools_common::escape;

/// One branch for each namespace kind, with the targets that are in each namespace of that kind.
///
/// Kinds in which every target is alone are told in one line at the end.
pub(crate) fn draw(snapshots: &[Snapshot]) -> String {
    let mut out = String::new();
    let mut alone = Vec::new();
    for kind in NamespaceKind::ALL {
        let mut by_inode: BTreeMap<NamespaceId, (bool, Vec<String>)> = BTreeMap::new();
        let mut unknown = Vec::new();
        for snapshot in snapshots {
            match snapshot.namespaces.get(&kind) {
                Some(Observed::Present(namespace)) => {
                    let entry = by_inode.entry(namespace.inode).or_default();
                    entry.0 |= namespace.shared_with_host == Observed::Present(true);
                    entry.1.push(name(snapshot));
                    entry.1.extend(namespace.shared_with.iter().map(|other| escape(other)));
                }
                Some(Observed::Unknown(why)) => unknown.push(format!("{}: unknown: {why}", name(snapshot))),
                Some(Observed::Absent) | None => {}
            }
        }
        let shared = by_inode.values().any(|(host, members)| *host || members.len() > 1);
        if !shared && unknown.is_empty() {
            if !by_inode.is_empty() {
                alone.push(kind.as_str());
            }
            continue;
        }
        out.push_str(kind.as_str());
        out.push('\n');
        let mut branches: Vec<String> = by_inode
            .into_iter()
            .map(|(inode, (host, mut members))| {
                members.sort();
                members.dedup();
                let host = if host { "the host's" } else { "own" };
                format!("{inode} ({host}): {}", members.join(", "))
            })
            .collect();
        branches.extend(unknown);
        let last = branches.len().saturating_sub(1);
        for (index, branch) in branches.iter().enumerate() {
            let corner = if index == last { "└──" } else { "├──" };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{corner} {branch}");
        }
    }
    if !alone.is_empty() {
        let _ = writeln!(out, "each alone in: {}", alone.join(", "));
    }
    out
}

fn name(snapshot: &Snapshot) -> String {
    let target = &snapshot.target;
    escape(&match (target.engine.as_str(), &target.name) {
        ("self" | "host", _) => target.engine.clone(),
        (engine, Some(name)) => format!("{engine}:{name}"),
        (engine, None) => format!("{engine}:{}", target.id),
    })
}

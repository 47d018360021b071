//! Seccomp as a snapshot holds it: mode, number of filters, digests and summaries.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Comparison, Effect, Filters, Side};
use crate::Snapshot;
use crate::seccomp::{SeccompFilter, SeccompMode};

pub(super) fn compare(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot, filters: &Filters) {
    comparison.value("/seccomp/mode", &a.seccomp.mode, &b.seccomp.mode, |before, after| {
        // Strict mode leaves four calls, filters any number: between these two nothing is known without the filters.
        let reach = |mode: Option<&SeccompMode>| match mode {
            None | Some(SeccompMode::Disabled) => Some(1),
            Some(SeccompMode::Filter | SeccompMode::Strict) => Some(0),
            Some(SeccompMode::Other(_)) => None,
        };
        match (reach(before), reach(after)) {
            (Some(before), Some(after)) => Effect::by_order(&before, &after),
            _ => Effect::Other,
        }
    });
    match filters {
        Filters::Compared { changes, unknown } => {
            comparison.changes.extend(changes.iter().cloned());
            for (side, why) in unknown {
                comparison.unknown(*side, "/seccomp/filters", why);
            }
        }
        Filters::Summaries => by_summary(comparison, a, b),
    }
}

fn by_summary(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    let path = "/seccomp/filters";
    let Some((before, after)) = comparison.known(path, &a.seccomp.filters, &b.seccomp.filters) else {
        // The count is all that is left to tell two stacks apart.
        comparison.value(
            "/seccomp/filter_count",
            &a.seccomp.filter_count,
            &b.seccomp.filter_count,
            |_, _| Effect::Other,
        );
        return;
    };
    let list = |filters: Option<&Vec<SeccompFilter>>| filters.cloned().unwrap_or_default();
    let (before, after) = (list(before), list(after));
    let digests =
        |filters: &[SeccompFilter]| -> Vec<String> { filters.iter().map(|f| f.sha256.clone()).collect() };
    let (old, new) = (digests(&before), digests(&after));
    if old == new {
        return;
    }
    if before.len() != after.len() {
        // Another filter on top of the same ones can only take away; no filter at all takes away nothing.
        let effect = Effect::from_sides(old.starts_with(&new), new.starts_with(&old));
        comparison.change(path, brief(&before), brief(&after), effect);
        return;
    }
    let mut told = false;
    for (index, (x, y)) in before.iter().zip(&after).enumerate() {
        let summary = |filter: &SeccompFilter| -> BTreeMap<String, Value> {
            filter
                .summary
                .iter()
                .map(|s| {
                    let counts = serde_json::json!({
                        "allowed": s.allowed, "refused": s.refused, "conditional": s.conditional,
                    });
                    (s.arch.clone(), counts)
                })
                .collect()
        };
        let (x, y) = (summary(x), summary(y));
        for arch in x.keys().chain(y.keys().filter(|arch| !x.contains_key(*arch))) {
            if x.get(arch) != y.get(arch) {
                told = true;
                let path = format!("{path}/{index}/summary/{arch}");
                comparison.change(path, x.get(arch), y.get(arch), Effect::Other);
            }
        }
    }
    if !told {
        comparison.unknown(
            Side::Both,
            path,
            "the filters' bytes differ, and a snapshot does not hold the programs that would tell whether their meaning does",
        );
    }
}

fn brief(filters: &[SeccompFilter]) -> Vec<Value> {
    filters.iter().map(|f| serde_json::json!({"length": f.length, "sha256": f.sha256})).collect()
}

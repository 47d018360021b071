//! Threads against the declared profile: pure.

use std::collections::BTreeMap;

use plim_model::Observed;
use plim_seccomp::bpf::Program;
use plim_seccomp::diagram::{Diagram, Store};
use plim_seccomp::exact;
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::seccomp_diff;

use super::Thread;
use super::declared::{Candidate, Declared};
use crate::shapes::{DeclaredShape, Group, ThreadShape, Verdict, Verified};

/// Judges every thread. `first` is the target's first process, by which it is told who installed the profile; where that has no
/// filter, or none that can be read, by the first thread that has.
pub(super) fn judge(
    target: &str,
    declared: &Declared,
    threads: &[Thread],
    first: Option<&Thread>,
) -> anyhow::Result<Verified> {
    let mut store = Store::new();
    // Where the first process tells nothing, another may.
    let mut models = first.into_iter().chain(threads).filter_map(|thread| programs(&thread.filters));
    let model = models.find(|stack| !stack.is_empty());
    let candidates = declared.candidates()?;
    let several = candidates.len() > 1;
    let Chosen { candidate, expected, fits } = choose(&mut store, candidates, model)?;
    let mut groups: BTreeMap<Option<Vec<Vec<u8>>>, Group> = BTreeMap::new();
    for thread in threads {
        let shape = ThreadShape { pid: thread.pid, tid: thread.tid, comm: thread.comm.clone() };
        let stack = programs(&thread.filters);
        let key = stack.map(|stack| stack.iter().map(Program::to_bytes).collect());
        let group = match groups.entry(key) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(group(&mut store, expected, &thread.filters)?)
            }
        };
        group.threads.push(shape);
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| (group.verdict, group.threads.first().map(|thread| (thread.pid, thread.tid))));
    Ok(Verified {
        format: crate::shapes::FORMAT,
        target: target.to_owned(),
        // Of no thread nothing is shown.
        holds: !groups.is_empty()
            && groups.iter().all(|group| matches!(group.verdict, Verdict::Equal | Verdict::Narrower)),
        declared: DeclaredShape {
            by_engine: declared.by_engine,
            profile: declared.name.clone(),
            installed_as: candidate.engine.name(),
            libseccomp: candidate.libseccomp.map(|vintage| vintage.to_string()),
            nearest: several && !fits,
        },
        groups,
    })
}

fn programs(filters: &Observed<Vec<Program>>) -> Option<&[Program]> {
    match filters {
        Observed::Present(programs) => Some(programs),
        Observed::Absent => Some(&[]),
        Observed::Unknown(_) => None,
    }
}

struct Chosen {
    candidate: Candidate,
    expected: Diagram,
    /// Whether the model runs under just that.
    fits: bool,
}

/// The candidate that is the model, or else the one that differs in fewest rows; without a model the likeliest.
fn choose(
    store: &mut Store,
    candidates: Vec<Candidate>,
    model: Option<&[Program]>,
) -> anyhow::Result<Chosen> {
    // The declared filter is the oldest of them: the model may have put its own on top.
    let oldest = model.map(|stack| &stack[..stack.len().min(1)]);
    let model = oldest.map(|stack| store.of_stack(stack)).transpose().or_status(exit::UNOBSERVABLE)?;
    let mut best: Option<(usize, Candidate, Diagram)> = None;
    let mut tried: Vec<Diagram> = Vec::new();
    for candidate in candidates {
        let expected = candidate.meaning.exact(store).or_status(exit::UNOBSERVABLE)?;
        if model.is_none_or(|model| model == expected) {
            return Ok(Chosen { candidate, expected, fits: model.is_some() });
        }
        if tried.contains(&expected) {
            continue;
        }
        tried.push(expected);
        let rows = match model {
            Some(model) => exact::diff(store, expected, model, false).or_status(exit::UNOBSERVABLE)?.len(),
            None => 0,
        };
        if best.as_ref().is_none_or(|(fewest, ..)| rows < *fewest) {
            best = Some((rows, candidate, expected));
        }
    }
    let (_, candidate, expected) =
        best.ok_or_else(|| anyhow::anyhow!("no engine installs the declared profile"))?;
    Ok(Chosen { candidate, expected, fits: false })
}

fn group(store: &mut Store, expected: Diagram, filters: &Observed<Vec<Program>>) -> anyhow::Result<Group> {
    let mut group = Group {
        verdict: Verdict::Unknown,
        filters: None,
        more: None,
        why: None,
        threads: Vec::new(),
        changes: Vec::new(),
    };
    let stack = match filters {
        Observed::Unknown(why) => {
            group.why = Some(why.clone());
            return Ok(group);
        }
        known => programs(known).unwrap_or_default(),
    };
    group.filters = Some(stack.len());
    let whole = match store.of_stack(stack) {
        Ok(whole) => whole,
        Err(why) => {
            group.why = Some(why.to_string());
            return Ok(group);
        }
    };
    if whole == expected {
        group.verdict = Verdict::Equal;
        return Ok(group);
    }
    for below in 0..stack.len() {
        if store.of_stack(&stack[..below]).is_ok_and(|diagram| diagram == expected) {
            group.verdict = Verdict::Narrower;
            group.more = Some(stack.len() - below);
            return Ok(group);
        }
    }
    group.verdict = Verdict::Different;
    let changes = exact::diff(store, expected, whole, true).or_status(exit::UNOBSERVABLE)?;
    group.changes = changes.into_iter().map(seccomp_diff::change).collect();
    Ok(group)
}

#[cfg(test)]
mod tests;

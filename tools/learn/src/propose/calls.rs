//! The calls of a proposal: those that were used, with the arguments that were seen, those of the runtimes, and the answers that libc
//! counts on.

use std::collections::BTreeMap;

use plim_seccomp::telling::{self, How};
use plim_seccomp::{Arch, arguments, constants, fallback};
use plim_trace::cause::Kind;
use serde::Deserialize;

use super::Choices;
use crate::proposal::{Condition, Entry, Source, Verdict};
use crate::recording::{CallUse, Recording};

/// More values than this of one argument, and the call is allowed whatever they are.
const MOST_VALUES: usize = 48;

/// The calls that runtimes need, and those that are usual, as shipped.
#[derive(Debug, Deserialize)]
struct Library {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    why: String,
    names: Vec<String>,
    /// Only without no_new_privs: then the filter is installed before the runtime changes its user and capabilities.
    #[serde(default)]
    only_without_no_new_privileges: bool,
}

const RUNC: &str = include_str!("../../../../profiles/library/learn/runc.json");
const CRUN: &str = include_str!("../../../../profiles/library/learn/crun.json");
const USUAL: &str = include_str!("../../../../profiles/library/learn/usual.json");

/// # Panics
/// On shipped data that is broken, which a test would have found: fewer calls than are needed would be a guess.
fn library(text: &str) -> Library {
    serde_json::from_str(text).expect("shipped data")
}

/// Whether calls of this name are allowed whatever their arguments.
/// The calls that are proposed, and those that were not seen and are usual, where they are offered apart.
pub(super) fn of(
    recording: &Recording,
    choices: &Choices,
    no_new_privileges: bool,
) -> (Vec<Entry>, Vec<Entry>) {
    let mut calls = used(recording, choices.arguments);
    runtime(&mut calls, recording, &choices.runtimes, no_new_privileges);
    let mut usual: Vec<Entry> = entries(USUAL, |_| true, Source::Usual);
    usual.retain(|entry| !allows_all(&calls, &entry.syscall));
    if choices.usual {
        calls.append(&mut usual);
    }
    fallbacks(&mut calls, recording);
    calls.sort_by_key(|entry| (entry.verdict, entry.source, entry.syscall.clone(), entry.args.clone()));
    (calls, usual)
}

fn allows_all(calls: &[Entry], syscall: &str) -> bool {
    calls
        .iter()
        .any(|entry| entry.syscall == syscall && entry.args.is_empty() && entry.verdict == Verdict::Allow)
}

fn used(recording: &Recording, conditions: bool) -> Vec<Entry> {
    let mut by_name: BTreeMap<&str, Vec<&CallUse>> = BTreeMap::new();
    for call in recording.calls.iter().filter(|call| !call.runtime) {
        // A number without a name is one that no profile can say.
        if let Some(name) = &call.syscall {
            by_name.entry(name).or_default().push(call);
        }
    }
    let mut entries = Vec::new();
    for (name, uses) in by_name {
        let count: u64 = uses.iter().map(|call| call.count).sum();
        if name == "clone3" {
            // Its flags lie in memory, where no filter sees them; libc takes clone after ENOSYS.
            entries.push(clone_instead(&uses, count));
            continue;
        }
        let rows = if conditions { conditional(name, &uses) } else { None };
        match rows {
            Some(rows) => entries.extend(rows),
            None => entries.push(allow(name, Source::Used, times(count))),
        }
    }
    entries
}

fn clone_instead(uses: &[&CallUse], count: u64) -> Entry {
    let told = telling::of("clone");
    let mask = told.first().map_or(0, |one| one.how.mask());
    let evidence = format!(
        "clone3 was made {}; its flags cannot be seen by a filter, and libc takes clone after ENOSYS",
        times(count)
    );
    let arch = uses.first().map_or(Arch::X86_64, |call| arch_of(call));
    Entry {
        source: Source::Fallback,
        ..bits("clone", arch, told.first().map_or(0, |one| one.index), mask, 0, evidence)
    }
}

fn arch_of(call: &CallUse) -> Arch {
    [Arch::X86, Arch::X32].into_iter().find(|arch| arch.name() == call.arch).unwrap_or(Arch::X86_64)
}

fn allow(name: &str, source: Source, evidence: String) -> Entry {
    Entry {
        syscall: name.to_owned(),
        verdict: Verdict::Allow,
        args: Vec::new(),
        when: None,
        source,
        evidence,
    }
}

pub(super) fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn masked(index: u8, mask: u64, value: u64) -> Condition {
    Condition { index, value: mask, value_two: value, op: "SCMP_CMP_MASKED_EQ".to_owned() }
}

/// One entry for each combination of values; `None` where the arguments tell nothing, or too much.
fn conditional(name: &str, uses: &[&CallUse]) -> Option<Vec<Entry>> {
    let told = telling::of(name);
    let first = told.first()?;
    if let How::Bits(mask) = first.how {
        let value = |call: &&CallUse| call.args.first().and_then(|arg| number(&arg.value)).unwrap_or(mask);
        let seen = uses.iter().map(value).fold(0, |all, one| all | one) & mask;
        let count = uses.iter().map(|call| call.count).sum();
        return Some(vec![if seen == mask {
            allow(name, Source::Used, times(count))
        } else {
            bits(name, arch_of(uses.first()?), first.index, mask & !seen, 0, times(count))
        }]);
    }
    // Equal values on several architectures are one rule.
    let mut rows: BTreeMap<Vec<u64>, (u64, Vec<String>)> = BTreeMap::new();
    for call in uses {
        let values: Option<Vec<u64>> = call.args.iter().map(|arg| number(&arg.value)).collect();
        let words = call.args.iter().map(|arg| format!("{} == {}", arg.name, arg.word)).collect();
        let row = rows.entry(values.filter(|values| values.len() == told.len())?).or_insert((0, words));
        row.0 += call.count;
    }
    if rows.len() > MOST_VALUES {
        return None;
    }
    let entry = |(values, (count, words)): (Vec<u64>, (u64, Vec<String>))| {
        let args =
            told.iter().zip(values).map(|(one, value)| masked(one.index, one.how.mask(), value)).collect();
        Entry { args, when: Some(words.join(" and ")), ..allow(name, Source::Used, times(count)) }
    };
    Some(rows.into_iter().map(entry).collect())
}

/// Allows the call with none of these bits set.
fn bits(name: &str, arch: Arch, index: u8, refused: u64, value: u64, evidence: String) -> Entry {
    let argument = arguments::argument(arch, name, index);
    let word = argument
        .and_then(|argument| argument.set)
        .and_then(|set| constants::mask(set, refused))
        .unwrap_or_else(|| format!("{refused:#x}"));
    let called = argument.map_or("flags", |argument| argument.name.as_str());
    Entry {
        args: vec![masked(index, refused, value)],
        when: Some(format!("{called} has none of {word}")),
        ..allow(name, Source::Used, evidence)
    }
}

pub(super) fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn entries(text: &str, wanted: impl Fn(&Group) -> bool, source: Source) -> Vec<Entry> {
    library(text)
        .groups
        .into_iter()
        .filter(|group| wanted(group))
        .flat_map(|group| {
            let why = group.why;
            group.names.into_iter().map(move |name| allow(&name, source, why.clone()))
        })
        .collect()
}

/// Adds what a runtime was seen to do behind the filter, and what the named runtimes need.
fn runtime(calls: &mut Vec<Entry>, recording: &Recording, runtimes: &[String], no_new_privileges: bool) {
    let seen = recording.calls.iter().filter(|call| call.runtime).filter_map(|call| {
        Some(allow(
            call.syscall.as_deref()?,
            Source::Runtime,
            format!("{} before the command was executed: {}", recording.recorded.engine, times(call.count)),
        ))
    });
    let mut wanted: Vec<Entry> = seen.collect();
    for name in runtimes {
        let text = match name.as_str() {
            "runc" => RUNC,
            "crun" => CRUN,
            _ => continue,
        };
        let needed = |group: &Group| !(no_new_privileges && group.only_without_no_new_privileges);
        wanted.extend(entries(text, needed, Source::Runtime));
    }
    for entry in wanted {
        if !allows_all(calls, &entry.syscall) {
            // With conditions on it the runtime could be refused.
            calls.retain(|known| known.syscall != entry.syscall);
            calls.push(entry);
        }
    }
}

/// Calls that are refused with ENOSYS, for libc asks for no other error.
fn fallbacks(calls: &mut Vec<Entry>, recording: &Recording) {
    for row in fallback::wants_enosys() {
        if calls.iter().any(|entry| entry.syscall == row.syscall) {
            continue;
        }
        let refused: u64 = recording
            .refused
            .iter()
            .filter(|refused| refused.denial.syscall.as_deref() == Some(row.syscall))
            .filter(|refused| refused.denial.cause.kind == Kind::Seccomp)
            .map(|refused| refused.count)
            .sum();
        let seen =
            if refused > 0 { format!("refused {} while recording; ", times(refused)) } else { String::new() };
        calls.push(Entry {
            verdict: Verdict::Enosys,
            ..allow(row.syscall, Source::Fallback, format!("{seen}{}", row.behaviour))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_sets_are_read_and_their_calls_are_known() {
        for text in [RUNC, CRUN, USUAL] {
            let library: Library = serde_json::from_str(text).expect("shipped data");
            assert!(!library.groups.is_empty());
            for name in library.groups.iter().flat_map(|group| &group.names) {
                assert!(plim_seccomp::syscalls::is_known(name), "{name}");
            }
        }
    }
}

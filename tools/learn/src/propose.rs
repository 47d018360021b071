//! From what was seen to what is proposed: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use plim_seccomp::telling::{self, How};
use plim_seccomp::{Arch, arguments, constants, fallback};
use plim_trace::cause::{self, Kind};
use serde::Deserialize;

use crate::proposal::{Condition, Entry, FORMAT, Proposal, Reasoned, Source, Verdict};
use crate::recording::{CallUse, CapabilityUse, Recording};
use crate::writable;

/// More values than this of one argument, and the call is allowed whatever they are.
const MOST_VALUES: usize = 48;

/// How a proposal is made.
#[derive(Clone, Debug)]
pub struct Choices {
    /// Put what arguments were seen into conditions.
    pub arguments: bool,
    /// Add the calls that were not seen and are usual.
    pub usual: bool,
    /// Runtimes that have to be able to start the container (`runc`, `crun`).
    pub runtimes: Vec<String>,
}

impl Default for Choices {
    fn default() -> Choices {
        Choices { arguments: true, usual: false, runtimes: vec!["runc".to_owned(), "crun".to_owned()] }
    }
}

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

const RUNC: &str = include_str!("../../../profiles/library/learn/runc.json");
const CRUN: &str = include_str!("../../../profiles/library/learn/crun.json");
const USUAL: &str = include_str!("../../../profiles/library/learn/usual.json");

/// Runtimes whose needs are known.
pub const RUNTIMES: [&str; 2] = ["runc", "crun"];

/// # Panics
/// On shipped data that is broken, which a test would have found: fewer calls than are needed would be a guess.
fn library(text: &str) -> Library {
    serde_json::from_str(text).expect("shipped data")
}

/// Makes a proposal of what was recorded.
pub fn propose(recording: &Recording, choices: &Choices) -> Proposal {
    let files = writable::of(&recording.files);
    let no_new_privileges = recording.privileged_programs.is_empty();
    let mut calls = used(recording, choices.arguments);
    runtime(&mut calls, recording, &choices.runtimes, no_new_privileges);
    let mut usual: Vec<Entry> = entries(USUAL, |_| true, Source::Usual);
    usual.retain(|entry| !allows_all(&calls, &entry.syscall));
    if choices.usual {
        calls.append(&mut usual);
    }
    fallbacks(&mut calls, recording);
    calls.sort_by_key(|entry| (entry.verdict, entry.source, entry.syscall.clone(), entry.args.clone()));
    let (capabilities, dropped) = capabilities(recording);
    Proposal {
        format: FORMAT.to_owned(),
        workload: recording.workload.clone(),
        architectures: architectures(recording),
        calls,
        usual,
        capabilities,
        dropped,
        no_new_privileges,
        privileged_programs: recording.privileged_programs.clone(),
        read_only: files.written.is_empty(),
        tmpfs: files.tmpfs,
        written: files.written,
        devices: devices(recording),
        ports: ports(recording),
        refused: refused(recording),
        limits: limits(recording),
    }
}

fn architectures(recording: &Recording) -> Vec<String> {
    let mut seen: BTreeSet<Arch> = recording
        .calls
        .iter()
        .filter_map(|call| {
            [Arch::X86_64, Arch::X86, Arch::X32].into_iter().find(|arch| arch.name() == call.arch)
        })
        .collect();
    // A runtime of the machine's own architecture starts the container.
    seen.insert(Arch::X86_64);
    seen.into_iter().map(|arch| arch.scmp_name().to_owned()).collect()
}

/// Whether calls of this name are allowed whatever their arguments.
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

fn times(count: u64) -> String {
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
    let called = argument.map_or("flags", |argument| argument.name);
    Entry {
        args: vec![masked(index, refused, value)],
        when: Some(format!("{called} has none of {word}")),
        ..allow(name, Source::Used, evidence)
    }
}

fn number(text: &str) -> Option<u64> {
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

/// What asks for this capability as a matter of course and takes a no for an answer.
fn is_noise(call: &str, capability: &str, makes_namespaces: bool) -> bool {
    let forks = matches!(call, "clone" | "clone3") && !makes_namespaces;
    capability == "CAP_SYS_ADMIN" && (cause::maps_memory(call) || forks || call == "outside of a call")
}

fn capabilities(recording: &Recording) -> (Vec<Reasoned>, Vec<Reasoned>) {
    let makes_namespaces = recording.calls.iter().any(|call| {
        call.syscall.as_deref() == Some("clone")
            && call.args.first().and_then(|arg| number(&arg.value)).is_some_and(|flags| flags != 0)
    });
    let mut kept: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    let counted = |one: &&CapabilityUse| one.granted && one.as_itself && one.own_namespace;
    for one in recording.capabilities.iter().filter(counted) {
        for (call, count) in &one.calls {
            if !is_noise(call, &one.capability, makes_namespaces) {
                *kept.entry(&one.capability).or_default().entry(call).or_default() += count;
            }
        }
    }
    if !recording.sees_capabilities {
        let why = "this kernel does not let capabilities be seen: kept as it was".to_owned();
        let all = recording.granted.iter().map(|name| Reasoned { name: name.clone(), evidence: why.clone() });
        return (all.collect(), Vec::new());
    }
    let dropped = recording.granted.iter().filter(|name| !kept.contains_key(name.as_str()));
    let dropped = dropped.map(|name| Reasoned {
        name: name.clone(),
        evidence: "the kernel was not seen to ask for it".to_owned(),
    });
    let dropped = dropped.collect();
    let kept = kept.into_iter().map(|(name, calls)| {
        let calls: Vec<String> =
            calls.iter().map(|(call, count)| format!("{call} ({})", times(*count))).collect();
        Reasoned { name: name.to_owned(), evidence: format!("asked for and given in {}", calls.join(", ")) }
    });
    (kept.collect(), dropped)
}

/// Devices beyond those that every container has (config-linux.md of the OCI runtime specification, "Default Devices").
fn devices(recording: &Recording) -> Vec<Reasoned> {
    let usual = |kind: &str, major: u32, minor: u32| {
        kind == "c" && matches!((major, minor), (1, 3 | 5 | 7 | 8 | 9) | (5, 0..=2) | (136..=143, _))
    };
    recording
        .devices
        .iter()
        .filter(|device| !usual(&device.kind, device.major, device.minor))
        .map(|device| Reasoned {
            name: format!("{}:{}", device.path, device.access),
            evidence: format!("opened: {} {}:{}", device.kind, device.major, device.minor),
        })
        .collect()
}

fn ports(recording: &Recording) -> Vec<Reasoned> {
    let mut ports: BTreeMap<String, String> = BTreeMap::new();
    for socket in recording.sockets.iter().filter(|socket| socket.listens && socket.port != 0) {
        let protocol = match socket.r#type.split('|').next() {
            Some("SOCK_STREAM") => "tcp",
            Some("SOCK_DGRAM") => "udp",
            _ => continue,
        };
        ports.insert(format!("{protocol}/{}", socket.port), format!("listened on {}", socket.address));
    }
    ports.into_iter().map(|(name, evidence)| Reasoned { name, evidence }).collect()
}

fn refused(recording: &Recording) -> Vec<Reasoned> {
    let row = |refused: &crate::recording::Refused| {
        let denial = &refused.denial;
        Reasoned {
            name: denial.syscall.clone().unwrap_or_else(|| denial.number.to_string()),
            evidence: format!(
                "{} {}: {}",
                denial.errno.as_deref().unwrap_or("SIGSYS"),
                times(refused.count),
                denial.cause.kind.as_str()
            ),
        }
    };
    recording.refused.iter().map(row).collect()
}

fn limits(recording: &Recording) -> Vec<String> {
    let mut limits = vec![
        "only what was exercised while recording is covered: error paths, rare options and other data may need more".to_owned(),
    ];
    let made = |name: &str| recording.calls.iter().any(|call| call.syscall.as_deref() == Some(name));
    if made("io_uring_setup") {
        limits.push(
            "io_uring was used: what it does on behalf of the workload passes no filter and was not seen"
                .to_owned(),
        );
    }
    if !recording.sees_capabilities {
        limits.push("this kernel does not let capabilities be seen: none was dropped".to_owned());
    }
    if !recording.missed.is_nothing() {
        limits.push(recording.missed.words());
    }
    let nameless: BTreeSet<u32> =
        recording.calls.iter().filter(|call| call.syscall.is_none()).map(|call| call.number).collect();
    if !nameless.is_empty() {
        limits.push(format!("calls without a name cannot be put in a profile: {nameless:?}"));
    }
    if recording.calls.iter().any(|call| call.arch != "x86_64") {
        limits.push(
            "calls of several architectures were made, and a profile's rules hold on all of its architectures".to_owned(),
        );
    }
    limits
}

#[cfg(test)]
#[path = "propose_tests.rs"]
mod tests;

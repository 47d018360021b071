//! Rules against rules: what never decides, what contradicts, what means something else than it says.

use std::collections::{BTreeMap, BTreeSet};

use super::{Class, Finding, Permit, Severity, example};
use crate::action::Action;
use crate::arch::Arch;
use crate::condition::{Condition, Test};
use crate::diagram::{Store, Undecided};
use crate::dialect::{Dialect, FilterFlag, Written, WrittenRule};
use crate::error::ProfileError;
use crate::interpret::SeccompData;
use crate::marks::{self, mark};
use crate::resolve::{Facts, Resolved, applies, arches};
use crate::syscalls::{self, SyscallNr};

/// The entries that hold under `facts`.
pub(super) fn applying<'w>(written: &'w Written, facts: &'w Facts) -> impl Iterator<Item = &'w WrittenRule> {
    written.rules.iter().filter(|entry| holds_here(written, entry, facts))
}

/// Whether one entry holds under `facts`.
pub(super) fn holds_here(written: &Written, entry: &WrittenRule, facts: &Facts) -> bool {
    applies(entry, written.dialect != Dialect::Podman, true, facts)
}

/// Names for a message: the first few and how many more.
pub(super) fn some<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    const FEW: usize = 6;
    let names: Vec<T> = names.into_iter().collect();
    let shown: Vec<&str> = names.iter().take(FEW).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(FEW) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// S007.
pub(super) fn equal_to_default(written: &Written, facts: &Facts) -> Vec<Finding> {
    let Some(default) = written.default_action else { return Vec::new() };
    let equal = applying(written, facts).filter(|entry| entry.action == default);
    let finding = |entry: &WrittenRule| {
        let message =
            format!("the rule for {} says {default}, which is the default action", some(&entry.names));
        Finding::new(Class::EqualToDefault, Severity::Low, message)
            .evidence(["engines leave such a rule out".to_owned()])
            .pointer(Some(entry.pointer.to_string()))
    };
    equal.map(finding).collect()
}

/// S008: a rule that names one argument twice is split into rules of one condition each.
pub(super) fn any_of(written: &Written, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in applying(written, facts).filter(|entry| Some(entry.action) != written.default_action) {
        let indices: Vec<u8> = entry.conditions.iter().map(|condition| condition.argument).collect();
        let Some(twice) = indices.iter().find(|index| indices.iter().filter(|i| i == index).count() > 1)
        else {
            continue;
        };
        let call = entry.names.iter().find_map(|name| Some((name, syscalls::number(facts.arch, name)?)));
        let Some((name, nr)) = call else { continue };
        // A call that passes one of the conditions and not all of them.
        let passes = |args: &[u64; 6]| {
            entry.conditions.iter().filter(|c| c.holds(args, facts.arch.has_narrow_arguments())).count()
        };
        let differs =
            candidates(&entry.conditions).find(|args| (1..entry.conditions.len()).contains(&passes(args)));
        let Some(args) = differs else { continue };
        let severity =
            if Permit::of(entry.action) > Permit::Refused { Severity::High } else { Severity::Medium };
        let message = format!(
            "the rule for {name} has several conditions on argument {twice}: engines take them for \"any of these\", and the rule \
             holds where only one of them does"
        );
        let call = SeccompData { nr: nr.0, arch: facts.arch.audit_token(), args, ip: 0 };
        let conditions = entry.conditions.iter().map(|condition| {
            let holds = condition.holds(&args, facts.arch.has_narrow_arguments());
            format!("{condition}: {} for the witness", if holds { "holds" } else { "does not hold" })
        });
        findings.push(
            Finding::new(Class::AnyOf, severity, message)
                .evidence(conditions)
                .witness(Some(&call))
                .pointer(Some(entry.pointer.to_string())),
        );
    }
    findings
}

/// Arguments around the constants of conditions.
fn candidates(conditions: &[Condition]) -> impl Iterator<Item = [u64; 6]> {
    conditions.iter().flat_map(|condition| {
        let (_, value, two) = condition.test.to_oci();
        let mask = if matches!(condition.test, Test::MaskedEq { .. }) { two } else { value };
        [0, value, value.wrapping_add(1), value.wrapping_sub(1), mask, !value].map(|value| {
            let mut args = [0; 6];
            args[usize::from(condition.argument)] = value;
            args
        })
    })
}

/// S016.
pub(super) fn missing_log(written: &Written) -> Vec<Finding> {
    let silent = |action: Action| matches!(action, Action::Errno(_) | Action::Trap);
    let refuses =
        written.default_action.is_some_and(silent) || written.rules.iter().any(|rule| silent(rule.action));
    if !refuses || written.flags.contains(&FilterFlag::Log) {
        return Vec::new();
    }
    let message = "refusals that return an error leave no trace in the audit log".to_owned();
    vec![Finding::new(Class::NoLog, Severity::Low, message).pointer(Some("/flags".to_owned()))]
}

/// S006, from what stops the profile from being resolved.
pub(super) fn contradiction(error: &ProfileError) -> Finding {
    Finding::new(Class::Conflict, Severity::High, error.to_string())
        .pointer(error.pointer().map(str::to_owned))
        .evidence(["libseccomp refuses such a rule, and the engine the container".to_owned()])
}

/// S005 and S006: entries that an unconditional one replaces.
pub(super) fn replaced(written: &Written, facts: &Facts, resolved: &Resolved) -> Vec<Finding> {
    // (entry, the one that replaces it) → names
    let mut found: BTreeMap<(usize, usize), BTreeSet<&str>> = BTreeMap::new();
    let entries: Vec<&WrittenRule> =
        applying(written, facts).filter(|entry| Some(entry.action) != written.default_action).collect();
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        for name in &entry.names {
            if resolved.arches.iter().any(|arch| syscalls::number(*arch, name).is_some()) {
                by_name.entry(name).or_default().push(index);
            }
        }
    }
    for (name, indices) in by_name {
        let Some(winner) = indices.iter().find(|index| entries[**index].conditions.is_empty()) else {
            continue;
        };
        for index in indices.iter().filter(|index| *index != winner) {
            found.entry((*index, *winner)).or_default().insert(name);
        }
    }
    let finding = |((loser, winner), names): ((usize, usize), BTreeSet<&str>)| {
        let (loser, winner) = (entries[loser], entries[winner]);
        let pointer = Some(loser.pointer.to_string());
        let arches: Vec<Arch> = resolved.arches.iter().copied().collect();
        let call = names.first().and_then(|name| example::of_name(name, &loser.conditions, &arches));
        let gets =
            call.map(|call| format!("the call gets {}, by {}", resolved.decide(&call), winner.pointer));
        if loser.action == winner.action {
            let message = format!(
                "for {} this rule never decides: {} says the same, whatever the arguments",
                some(names),
                winner.pointer
            );
            return Finding::new(Class::Shadowed, Severity::Low, message)
                .pointer(pointer)
                .evidence(gets)
                .witness(call.as_ref());
        }
        let loosened = Permit::of(winner.action) > Permit::of(loser.action);
        let severity = if loosened { Severity::High } else { Severity::Medium };
        let message = format!(
            "for {} this rule says {} and has no effect: {} says {} unconditionally",
            some(names),
            loser.action,
            winner.pointer,
            winner.action
        );
        let why = "libseccomp lets the first unconditional rule of a call replace all its others, whatever their actions";
        Finding::new(Class::Conflict, severity, message)
            .pointer(pointer)
            .evidence([why.to_owned()].into_iter().chain(gets))
            .witness(call.as_ref())
    };
    found.into_iter().map(finding).collect()
}

/// S005: conditional rules that earlier ones leave nothing to.
pub(super) fn shadowed(store: &mut Store, resolved: &Resolved) -> Result<Vec<Finding>, Undecided> {
    // Pointer → whether some call is decided by it, the calls it speaks of, and one of them.
    let mut decides: BTreeMap<&str, (bool, BTreeSet<&'static str>, Option<SeccompData>)> = BTreeMap::new();
    for (arch, nr, rules) in conditional(resolved) {
        let diagram =
            marks::first_that_holds(store, arch, nr, rules.iter().map(|rule| rule.conditions.clone()))?;
        let verdicts = store.verdicts(diagram);
        for (index, rule) in rules.iter().enumerate() {
            let entry = decides.entry(&rule.from).or_default();
            entry.0 |= verdicts.contains(&mark(index));
            let name = syscalls::name(arch, nr);
            entry.1.extend(name);
            entry.2 = entry.2.or_else(|| example::of_name(name?, &rule.conditions, &[arch]));
        }
    }
    let never = decides.into_iter().filter(|(_, (decides, ..))| !decides);
    Ok(never
        .map(|(pointer, (_, names, call))| {
            let message = format!(
                "the rule for {} never decides: stricter rules take every call that it speaks of",
                some(names)
            );
            let rule = call.and_then(|call| resolved.rule_for(&call).map(|rule| &*rule.from));
            let gets = call.map(|call| {
                let action = resolved.decide(&call);
                format!("the call gets {action}, by {}", rule.unwrap_or("/defaultAction"))
            });
            Finding::new(Class::Shadowed, Severity::Medium, message)
                .pointer(Some(pointer.to_owned()))
                .evidence(gets)
                .witness(call.as_ref())
        })
        .collect())
}

type Conditional<'r> = (Arch, SyscallNr, &'r [crate::resolve::Rule]);

/// Calls with conditional rules.
fn conditional(resolved: &Resolved) -> impl Iterator<Item = Conditional<'_>> {
    resolved.rules.iter().flat_map(|(arch, rules)| {
        rules
            .iter()
            .filter(|(_, rules)| rules.len() > 1 || rules.iter().any(|rule| !rule.conditions.is_empty()))
            .map(|(nr, rules)| (*arch, *nr, rules.as_slice()))
    })
}

/// The most pairs of rules that are compared for one call.
const MOST_PAIRS: usize = 4096;

/// S009.
pub(super) fn overlapping(store: &mut Store, resolved: &Resolved) -> Result<Vec<Finding>, Undecided> {
    let mut found: BTreeMap<(&str, &str), Finding> = BTreeMap::new();
    for (arch, nr, rules) in conditional(resolved) {
        let pairs = rules.iter().enumerate().flat_map(|(at, a)| rules[at + 1..].iter().map(move |b| (a, b)));
        for (a, b) in pairs.filter(|(a, b)| a.action != b.action).take(MOST_PAIRS) {
            let key = (&*a.from, &*b.from);
            if found.contains_key(&key) {
                continue;
            }
            let both: Vec<Condition> = a.conditions.iter().chain(&b.conditions).copied().collect();
            let diagram = marks::first_that_holds(store, arch, nr, [both])?;
            let Some(call) = store.witness(diagram, |action| action == mark(0)) else { continue };
            let call =
                SeccompData { arch: arch.audit_token(), nr: nr.0, ip: 0, args: turned(arch, call.args) };
            let name = syscalls::name(arch, nr).unwrap_or("?");
            let differ = Permit::of(a.action) != Permit::of(b.action);
            let severity = if differ { Severity::Medium } else { Severity::Low };
            let message = format!(
                "the rules {} ({}) and {} ({}) for {name} hold together; which of them decides depends on the engine",
                a.from, a.action, b.from, b.action
            );
            let text = |conditions: &[Condition]| {
                conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
            };
            let evidence = [
                format!("{}: {}", a.from, text(&a.conditions)),
                format!("{}: {}", b.from, text(&b.conditions)),
                "libseccomp asks equality, inequality and masks first, then < and <=, then >= and >; our own runtime lets the \
                 stricter action decide"
                    .to_owned(),
            ];
            let finding = Finding::new(Class::OrderedByShape, severity, message)
                .evidence(evidence)
                .witness(Some(&call))
                .pointer(Some(b.from.to_string()));
            found.insert(key, finding);
        }
    }
    Ok(found.into_values().collect())
}

/// Arguments of a cofactor's witness, in the byte order of `arch`.
fn turned(arch: Arch, args: [u64; 6]) -> [u64; 6] {
    if arch.is_big_endian() { args.map(|word| word.rotate_left(32)) } else { args }
}

/// The architectures of the filter, the native one first; only that one when they contradict.
pub(super) fn filter_arches(written: &Written, facts: &Facts) -> Vec<Arch> {
    let mut all = vec![facts.arch];
    if let Ok(more) = arches(written, facts) {
        all.extend(more.into_iter().filter(|arch| *arch != facts.arch));
    }
    all
}

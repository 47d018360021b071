//! A call for findings that are about a rule: one that the rule speaks of, and what it gets.

use super::rules::filter_arches;
use super::{Class, Finding};
use crate::action::Action;
use crate::arch::Arch;
use crate::condition::{Condition, Test};
use crate::dialect::{Written, WrittenRule};
use crate::interpret::SeccompData;
use crate::resolve::{Facts, Resolved};
use crate::syscalls;
use crate::witness::Witness;

/// Gives a call and what shows it to findings that have none.
pub(super) fn fill(findings: &mut [Finding], written: &Written, facts: &Facts, resolved: Option<&Resolved>) {
    for finding in findings {
        if finding.id == Class::UnknownName.id() {
            let tables = Arch::all().count();
            finding.evidence.push(format!("no table of {tables} architectures has it"));
        }
        if finding.witness.is_some() {
            continue;
        }
        let call = if finding.id == Class::NoLog.id() {
            resolved.and_then(silently_refused)
        } else {
            spoken_of(finding.pointer.as_deref(), written, facts)
        };
        let Some(call) = call else { continue };
        finding.witness = Some(Witness::from(&call));
        if let Some(resolved) = resolved {
            let rule = resolved.rule_for(&call).map_or("/defaultAction", |rule| &*rule.from);
            finding.evidence.push(format!("the call gets {}, by {rule}", resolved.decide(&call)));
        }
    }
}

/// A call that gets an error or a signal by the profile.
fn silently_refused(resolved: &Resolved) -> Option<SeccompData> {
    let arch = resolved.native;
    let calls = syscalls::calls(arch).map(|(_, nr)| SeccompData {
        nr: nr.0,
        arch: arch.audit_token(),
        ..SeccompData::default()
    });
    calls.into_iter().find(|call| matches!(resolved.decide(call), Action::Errno(_) | Action::Trap))
}

/// A call that the rule at a pointer speaks of: `/syscalls/3`, or one of its names, `/syscalls/3/names/5`. A profile that installs
/// nothing speaks of every call.
fn spoken_of(pointer: Option<&str>, written: &Written, facts: &Facts) -> Option<SeccompData> {
    let (token, any) = (facts.arch.audit_token(), SeccompData::default());
    let pointer = pointer?;
    let Some(rest) = pointer.strip_prefix("/syscalls/") else {
        return (pointer == "/defaultAction").then_some(SeccompData { arch: token, ..any });
    };
    let mut parts = rest.split('/');
    let index = parts.next()?;
    let entry: &WrittenRule =
        written.rules.iter().find(|rule| rule.pointer.strip_prefix("/syscalls/") == Some(index))?;
    let one = match (parts.next(), parts.next()) {
        (Some("names"), Some(at)) => Some(at.parse::<usize>().ok()?),
        _ => None,
    };
    let names = || entry.names.iter().enumerate().filter(|(at, _)| one.is_none_or(|one| one == *at));
    let arches = filter_arches(written, facts);
    names().find_map(|(_, name)| of_name(name, &entry.conditions, &arches))
}

/// A call by this name for which the rule was written, on the first architecture that has it.
pub(super) fn of_name(name: &str, conditions: &[Condition], arches: &[Arch]) -> Option<SeccompData> {
    let (arch, nr) = arches.iter().find_map(|arch| Some((*arch, syscalls::number(*arch, name)?)))?;
    Some(SeccompData { nr: nr.0, arch: arch.audit_token(), args: that_hold(conditions, arch), ip: 0 })
}

/// Arguments for which conditions hold, as far as each can be met by itself.
fn that_hold(conditions: &[Condition], arch: Arch) -> [u64; 6] {
    let mut args = [0; 6];
    for condition in conditions {
        args[usize::from(condition.argument)] = match condition.test {
            Test::Eq(value) | Test::Le(value) | Test::Ge(value) => value,
            Test::Ne(value) => value ^ 1,
            Test::Lt(_) => 0,
            Test::Gt(value) => value.saturating_add(1),
            Test::MaskedEq { .. } => {
                let (_, mask, datum) = condition.test.to_oci();
                mask & datum
            }
        };
    }
    if arch.has_narrow_arguments() { args.map(|arg| arg & 0xffff_ffff) } else { args }
}

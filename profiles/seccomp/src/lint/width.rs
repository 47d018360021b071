//! Comparisons of bits that the kernel does not read.

use std::collections::BTreeMap;

use super::rules::{applying, filter_arches};
use super::{Class, Finding, Permit, Severity, View};
use crate::arch::Arch;
use crate::arguments::{self, Argument};
use crate::condition::{Condition, Test};
use crate::diagram::Undecided;
use crate::dialect::Written;
use crate::interpret::SeccompData;
use crate::resolve::Facts;
use crate::syscalls;

/// S001: the verdict changes with bits of an argument that the kernel drops, so the same call can have it both ways.
pub(super) fn narrow(view: &mut View<'_>) -> Result<Vec<Finding>, Undecided> {
    let mut found: BTreeMap<(&'static str, u8, bool), Finding> = BTreeMap::new();
    for arch in view.arches.clone().into_iter().filter(|arch| !arch.has_narrow_arguments()) {
        for (name, nr) in View::calls(arch) {
            let rest = view.at(arch, nr);
            if view.store.only_answer(rest).is_some() {
                continue;
            }
            for (index, argument) in (0u8..).zip(arguments::on(arch, name)) {
                let read = argument.width.mask(false);
                if read == u64::MAX || found.contains_key(&(name, index, true)) {
                    continue;
                }
                let clean = view.store.given(rest, arch, index, !read, 0)?;
                if let Some(call) = view.more(rest, clean, arch, nr)? {
                    found.insert((name, index, true), passes(view, name, index, argument, &call));
                    continue;
                }
                // A negative number, whose sign libc or the compiler carries into the high half.
                let sign = (read >> 1) + 1;
                let positive = view.store.given(clean, arch, index, sign, sign)?;
                let extended = view.store.given(rest, arch, index, !read | sign, u64::MAX)?;
                if let Some(call) = view.more(positive, extended, arch, nr)? {
                    let mut call = call;
                    call.args[usize::from(index)] |= sign;
                    found
                        .entry((name, index, false))
                        .or_insert_with(|| misses(view, name, index, argument, &call));
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

fn passes(view: &View<'_>, name: &str, index: u8, argument: &Argument, call: &SeccompData) -> Finding {
    let bits = argument.width.bits();
    let mut clean = *call;
    clean.args[usize::from(index)] &= argument.width.mask(false);
    let message = format!(
        "{name} gets {} when a bit above the low {bits} of argument {index} ({}) is set, which the kernel drops, and {} when not",
        view.decide(call),
        argument.name,
        view.decide(&clean)
    );
    let value = call.args[usize::from(index)];
    let evidence = [format!(
        "{} = {value:#x} and {:#x} are the same to the kernel, which reads {bits} bits of it",
        argument.name,
        clean.args[usize::from(index)]
    )];
    Finding::new(Class::NarrowComparison, Severity::High, message)
        .evidence(evidence)
        .witness(Some(call))
        .pointer(view.pointer(call))
}

fn misses(view: &View<'_>, name: &str, index: u8, argument: &Argument, call: &SeccompData) -> Finding {
    let mut extended = *call;
    extended.args[usize::from(index)] |= !argument.width.mask(false);
    let message = format!(
        "{name} gets {} with argument {index} ({}) of {:#x}, and {} when the caller extends its sign to 64 bits",
        view.decide(call),
        argument.name,
        call.args[usize::from(index)],
        view.decide(&extended)
    );
    Finding::new(Class::NarrowComparison, Severity::Low, message)
        .evidence([format!(
            "the kernel reads {} bits of it; compilers may leave anything in the others",
            argument.width.bits()
        )])
        .witness(Some(&extended))
        .pointer(view.pointer(call))
}

/// S017: conditions that the argument's width decides, and conditions on arguments that the call does not have.
pub(super) fn constant_conditions(written: &Written, facts: &Facts) -> Vec<Finding> {
    let arches = filter_arches(written, facts);
    let mut findings = Vec::new();
    for entry in applying(written, facts) {
        for (at, condition) in entry.conditions.iter().enumerate() {
            let calls = entry.names.iter().filter_map(|name| {
                let arch = arches.iter().find(|arch| syscalls::number(**arch, name).is_some())?;
                Some((name, *arch))
            });
            let Some((name, what)) =
                calls.filter_map(|(name, arch)| Some((name, fault(name, arch, condition)?))).next()
            else {
                continue;
            };
            let permits = Permit::of(entry.action) > Permit::Refused;
            let severity = if permits { Severity::Medium } else { Severity::High };
            let message = format!("{name}: the condition {condition} {what}");
            findings.push(
                Finding::new(Class::ConstantCondition, severity, message)
                    .pointer(Some(format!("{}/args/{at}", entry.pointer))),
            );
        }
    }
    findings
}

fn fault(name: &str, arch: Arch, condition: &Condition) -> Option<String> {
    let arguments = arguments::on(arch, name);
    if arguments.is_empty() {
        return None;
    }
    let Some(argument) = arguments.get(usize::from(condition.argument)) else {
        return Some(format!(
            "looks at an argument that the call does not have; it takes {}",
            arguments.len()
        ));
    };
    let read = argument.width.mask(arch.has_narrow_arguments());
    let holds = constant(condition.test, read)?;
    let always = if holds { "always" } else { "never" };
    let name = argument.name;
    Some(format!(
        "{always} holds for a value that the kernel can see: it reads {} bits of {name}",
        read.count_ones()
    ))
}

/// What a test answers to every value of these low bits, `None` when it depends.
fn constant(test: Test, most: u64) -> Option<bool> {
    match test {
        Test::Eq(v) if v > most => Some(false),
        Test::Ne(v) if v > most => Some(true),
        Test::Lt(0) => Some(false),
        Test::Lt(v) if v > most => Some(true),
        Test::Le(v) if v >= most => Some(true),
        Test::Ge(0) => Some(true),
        Test::Ge(v) if v > most => Some(false),
        Test::Gt(v) if v >= most => Some(false),
        Test::MaskedEq { value, .. } if value & !most != 0 => Some(false),
        Test::MaskedEq { mask, .. } if mask & most == 0 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_width_decides() {
        let most = 0xffff_ffff;
        for (test, expected) in [
            (Test::Eq(most), None),
            (Test::Eq(most + 1), Some(false)),
            (Test::Ne(most + 1), Some(true)),
            (Test::Lt(0), Some(false)),
            (Test::Lt(1), None),
            (Test::Lt(most + 1), Some(true)),
            (Test::Le(most), Some(true)),
            (Test::Le(most - 1), None),
            (Test::Ge(0), Some(true)),
            (Test::Ge(most), None),
            (Test::Gt(most), Some(false)),
            (Test::Gt(most - 1), None),
            (Test::MaskedEq { mask: 0, value: 0 }, Some(true)),
            (Test::MaskedEq { mask: 1 << 40, value: 1 << 40 }, Some(false)),
            (Test::MaskedEq { mask: 1 << 40 | 1, value: 1 }, None),
        ] {
            assert_eq!(constant(test, most), expected, "{test:?}");
        }
    }
}

//! The argument conditions under which two profiles answer one call differently.

use std::collections::{BTreeMap, BTreeSet};

use super::Side;
use crate::action::Action;
use crate::arch::Arch;
use crate::condition::{Condition, Test};
use crate::constants;
use crate::resolve::Rule;

/// One condition, and both answers.
pub(super) struct Case {
    pub(super) when: Option<String>,
    pub(super) before: Action,
    pub(super) after: Action,
}

pub(super) fn differing(syscall: &str, arch: Arch, before: &Side<'_>, after: &Side<'_>) -> Vec<Case> {
    if before.same_rules(after) {
        return Vec::new();
    }
    if let (Some(before), Some(after)) = (before.unconditional(), after.unconditional()) {
        return if before == after { Vec::new() } else { vec![Case { when: None, before, after }] };
    }
    match single_argument(before, after) {
        Some(argument) => by_interval(syscall, argument, arch, before, after),
        None => by_trial(syscall, arch, before, after),
    }
}

fn conditions<'s>(sides: [&Side<'s>; 2]) -> impl Iterator<Item = &'s Condition> {
    let rules: [&'s [Rule]; 2] = sides.map(|side| side.rules);
    rules.into_iter().flatten().flat_map(|rule| &rule.conditions)
}

/// The one argument that all rules compare plainly.
fn single_argument(before: &Side<'_>, after: &Side<'_>) -> Option<u8> {
    let mut all = conditions([before, after]);
    let first = all.next()?.argument;
    let plain = |c: &Condition| c.argument == first && !matches!(c.test, Test::MaskedEq { .. });
    conditions([before, after]).all(plain).then_some(first)
}

/// The first rule that holds, and the answer.
fn answer(side: &Side<'_>, args: &[u64; 6], narrow: bool) -> (Option<usize>, Action) {
    let found = side.rules.iter().position(|rule| rule.conditions.iter().all(|c| c.holds(args, narrow)));
    (found, found.map_or(side.otherwise, |index| side.rules[index].action))
}

/// Exact: every value of the argument belongs to an interval in which no comparison changes.
fn by_interval(syscall: &str, argument: u8, arch: Arch, before: &Side<'_>, after: &Side<'_>) -> Vec<Case> {
    let narrow = arch.has_narrow_arguments();
    let most = if narrow { u64::from(u32::MAX) } else { u64::MAX };
    let mut starts = BTreeSet::from([0]);
    for condition in conditions([before, after]) {
        let (_, value, _) = condition.test.to_oci();
        starts.extend([Some(value), value.checked_add(1)].into_iter().flatten().filter(|v| *v <= most));
    }
    let mut sets: BTreeMap<(Action, Action), Vec<(u64, u64)>> = BTreeMap::new();
    let starts: Vec<u64> = starts.into_iter().collect();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(most, |next| next - 1);
        let mut args = [0; 6];
        args[usize::from(argument)] = *start;
        let answers = (answer(before, &args, narrow).1, answer(after, &args, narrow).1);
        let set = sets.entry(answers).or_default();
        match set.last_mut() {
            Some(last) if last.1 + 1 == *start => last.1 = end,
            _ => set.push((*start, end)),
        }
    }
    let mut cases: Vec<(u64, Case)> = sets
        .into_iter()
        .filter(|((before, after), _)| before != after)
        .map(|((before, after), set)| {
            (set[0].0, Case { when: set_text(syscall, argument, &set, most), before, after })
        })
        .collect();
    cases.sort_by_key(|(start, _)| *start);
    cases.into_iter().map(|(_, case)| case).collect()
}

/// A set of values as text, `None` for all of them.
fn set_text(syscall: &str, argument: u8, set: &[(u64, u64)], most: u64) -> Option<String> {
    let value = |v| constants::text(syscall, argument, v);
    let mut gaps: Vec<(u64, u64)> = Vec::new();
    let mut next = Some(0);
    for (start, end) in set {
        if let Some(from) = next.filter(|from| from < start) {
            gaps.push((from, start - 1));
        }
        next = end.checked_add(1);
    }
    gaps.extend(next.filter(|from| *from <= most).map(|from| (from, most)));
    if gaps.is_empty() {
        return None;
    }
    if gaps.len() <= set.len() && gaps.iter().all(|(start, end)| start == end) {
        let parts: Vec<String> =
            gaps.iter().map(|(v, _)| format!("arg{argument} != {}", value(*v))).collect();
        return Some(parts.join(" and "));
    }
    let parts: Vec<String> = set
        .iter()
        .map(|(start, end)| match (*start, *end) {
            (start, end) if start == end => format!("arg{argument} == {}", value(start)),
            (0, end) => format!("arg{argument} <= {}", value(end)),
            (start, end) if end == most => format!("arg{argument} >= {}", value(start)),
            (start, end) => format!("{} <= arg{argument} <= {}", value(start), value(end)),
        })
        .collect();
    Some(parts.join(" or "))
}

/// The most calls that are tried for one system call.
const TRIALS: usize = 20_000;

/// By trying arguments around the rules' constants; one case for each pair of rules that decide differently.
fn by_trial(syscall: &str, arch: Arch, before: &Side<'_>, after: &Side<'_>) -> Vec<Case> {
    let narrow = arch.has_narrow_arguments();
    let mut values: BTreeMap<u8, BTreeSet<u64>> = BTreeMap::new();
    for condition in conditions([before, after]) {
        let set = values.entry(condition.argument).or_insert_with(|| BTreeSet::from([0]));
        let (_, value, two) = condition.test.to_oci();
        match condition.test {
            Test::MaskedEq { mask, .. } => {
                set.extend([two, two ^ mask, two ^ (mask & mask.wrapping_neg()), two | !mask])
            }
            _ => set.extend([value.wrapping_sub(1), value, value.wrapping_add(1)]),
        }
    }
    let values: Vec<(u8, Vec<u64>)> =
        values.into_iter().map(|(k, set)| (k, set.into_iter().collect())).collect();
    let total: usize = values.iter().map(|(_, set)| set.len()).product();
    let mut found: BTreeMap<(Option<usize>, Option<usize>), (Action, Action)> = BTreeMap::new();
    for trial in 0..total.min(TRIALS) {
        let (mut args, mut rest) = ([0; 6], trial);
        for (argument, set) in &values {
            args[usize::from(*argument)] = set[rest % set.len()];
            rest /= set.len();
        }
        let (a, b) = (answer(before, &args, narrow), answer(after, &args, narrow));
        if a.1 != b.1 {
            found.insert((a.0, b.0), (a.1, b.1));
        }
    }
    found
        .into_iter()
        .map(|((a, b), answers)| {
            let mut parts = side_text(syscall, before, a);
            for part in side_text(syscall, after, b) {
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
            let when = (!parts.is_empty()).then(|| parts.join(" and "));
            Case { when, before: answers.0, after: answers.1 }
        })
        .collect()
}

/// What it takes for `rule` (or, for `None`, no rule) of one side to decide.
fn side_text(syscall: &str, side: &Side<'_>, rule: Option<usize>) -> Vec<String> {
    match rule {
        Some(index) => {
            side.rules[index].conditions.iter().map(|c| condition_text(syscall, c, false)).collect()
        }
        None => side.rules.iter().map(|rule| negation(syscall, rule)).collect(),
    }
}

fn negation(syscall: &str, rule: &Rule) -> String {
    match rule.conditions.as_slice() {
        [only] => condition_text(syscall, only, true),
        all => {
            let parts: Vec<String> = all.iter().map(|c| condition_text(syscall, c, false)).collect();
            format!("not ({})", parts.join(" and "))
        }
    }
}

/// A condition, or its opposite, as text.
pub(super) fn condition_text(syscall: &str, condition: &Condition, opposite: bool) -> String {
    let n = condition.argument;
    let plain = |sign: &str, opposite_sign: &str, v: u64| {
        let sign = if opposite { opposite_sign } else { sign };
        format!("arg{n} {sign} {}", constants::text(syscall, n, v))
    };
    match condition.test {
        Test::Ne(v) => plain("!=", "==", v),
        Test::Lt(v) => plain("<", ">=", v),
        Test::Le(v) => plain("<=", ">", v),
        Test::Eq(v) => plain("==", "!=", v),
        Test::Ge(v) => plain(">=", "<", v),
        Test::Gt(v) => plain(">", "<=", v),
        Test::MaskedEq { mask, value } => {
            let sign = if opposite { "!=" } else { "==" };
            let value = if value == 0 { "0".to_owned() } else { constants::mask_text(syscall, n, value) };
            format!("arg{n} & {} {sign} {value}", constants::mask_text(syscall, n, mask))
        }
    }
}

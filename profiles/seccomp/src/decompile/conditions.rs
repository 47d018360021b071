//! From sets of argument values to conditions that a profile can say: one comparison for each argument of a rule.
//!
//! A profile has no "and" for two comparisons of one argument (runc reads it as "or"), so whatever is no single comparison becomes
//! several rules: a range is a few comparisons under a mask, for example.

use crate::condition::{Condition, Test as Comparison};
use crate::diagram::{Case, Test};

/// The most rules that one case, and the most comparisons that one set of values may become.
const MOST: usize = 256;

/// The rules of which at least one holds where the case does; `None` where too many would be needed, or the instruction pointer is asked
/// for. `width`: the bits of an argument, 32 or 64.
pub(super) fn rules(case: &Case, width: u32) -> Option<Vec<Vec<Condition>>> {
    let mut rules: Vec<Vec<Condition>> = vec![Vec::new()];
    for term in &case.terms {
        if term.index > 5 {
            return None;
        }
        let any = comparisons(&term.test, width)?;
        if rules.len() * any.len() > MOST {
            return None;
        }
        let with = |rule: &Vec<Condition>, test: &Comparison| {
            let mut rule = rule.clone();
            rule.push(Condition { argument: term.index, test: *test });
            rule
        };
        rules = rules.iter().flat_map(|rule| any.iter().map(move |test| with(rule, test))).collect();
    }
    Some(rules)
}

/// The comparisons of which at least one holds where the test does.
fn comparisons(test: &Test, width: u32) -> Option<Vec<Comparison>> {
    let most = u64::MAX >> (64 - width);
    let single = |comparison| Some(vec![comparison]);
    match test {
        Test::Eq(value) => single(Comparison::Eq(*value)),
        Test::MaskedEq { mask, value } => single(Comparison::MaskedEq { mask: *mask, value: *value }),
        Test::Range { first: 0, last } => single(Comparison::Le(*last)),
        Test::Range { first, last } if *last >= most => single(Comparison::Ge(*first)),
        Test::OneOf(values) => Some(values.iter().map(|value| Comparison::Eq(*value)).collect()),
        Test::AnyOf(tests) => {
            let mut all = Vec::new();
            for test in tests {
                all.extend(comparisons(test, width)?);
            }
            (all.len() <= MOST).then_some(all)
        }
        Test::Not(inner) => match &**inner {
            Test::Eq(value) => single(Comparison::Ne(*value)),
            Test::Range { first, last } => {
                let below = (*first > 0).then_some(Comparison::Lt(*first));
                let above = (*last < most).then_some(Comparison::Gt(*last));
                Some(below.into_iter().chain(above).collect())
            }
            _ => masked(test, width),
        },
        Test::Range { .. } | Test::Masked { .. } | Test::AllOf(_) => masked(test, width),
    }
}

fn masked(test: &Test, width: u32) -> Option<Vec<Comparison>> {
    let blocks = blocks(test, false, width)?;
    Some(blocks.into_iter().map(|(mask, value)| Comparison::MaskedEq { mask, value }).collect())
}

/// The test, or its opposite, as masks and values: it holds where `argument & mask == value` for at least one of them.
fn blocks(test: &Test, opposite: bool, width: u32) -> Option<Vec<(u64, u64)>> {
    let most = u64::MAX >> (64 - width);
    let found = match test {
        Test::Eq(value) => blocks(&Test::MaskedEq { mask: most, value: *value }, opposite, width)?,
        Test::MaskedEq { mask, value } if !opposite => vec![(*mask, *value)],
        Test::MaskedEq { mask, value } => {
            // Some bit is another one.
            let bits = (0..64).map(|bit| 1u64 << bit).filter(|bit| mask & bit != 0);
            bits.map(|bit| (bit, !value & bit)).collect()
        }
        Test::Range { first, last } if !opposite => range(*first, (*last).min(most), most),
        Test::Range { first, last } => {
            let below = first.checked_sub(1).map_or(Vec::new(), |end| range(0, end, most));
            let above = if *last < most { range(last + 1, most, most) } else { Vec::new() };
            below.into_iter().chain(above).collect()
        }
        Test::OneOf(values) if !opposite => values.iter().map(|value| (most, *value)).collect(),
        Test::OneOf(values) => {
            // What lies between the values, which are in ascending order.
            let mut all = Vec::new();
            let mut next = Some(0);
            for value in values {
                if let Some(from) = next.filter(|from| from < value) {
                    all.extend(range(from, value - 1, most));
                }
                next = value.checked_add(1).filter(|next| *next <= most);
            }
            all.extend(next.map_or(Vec::new(), |from| range(from, most, most)));
            all
        }
        Test::Masked { mask, test } => {
            let inner = blocks(test, opposite, width)?;
            inner
                .into_iter()
                .filter(|(_, value)| value & !mask == 0)
                .map(|(m, value)| (m & mask, value))
                .collect()
        }
        Test::Not(inner) => blocks(inner, !opposite, width)?,
        Test::AnyOf(tests) | Test::AllOf(tests) => {
            let any = matches!(test, Test::AnyOf(_)) != opposite;
            let mut parts = Vec::new();
            for test in tests {
                parts.push(blocks(test, opposite, width)?);
            }
            if any { parts.concat() } else { parts.into_iter().try_fold(vec![(0, 0)], product)? }
        }
    };
    (found.len() <= MOST).then_some(found)
}

/// Where one of both holds.
fn product(a: Vec<(u64, u64)>, b: Vec<(u64, u64)>) -> Option<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    for (mask, value) in &a {
        for (other_mask, other) in &b {
            if (value ^ other) & mask & other_mask == 0 {
                all.push((mask | other_mask, value | other));
            }
        }
        if all.len() > MOST {
            return None;
        }
    }
    Some(all)
}

/// A range as blocks of values that have their high bits in common.
fn range(first: u64, last: u64, most: u64) -> Vec<(u64, u64)> {
    let mut blocks = Vec::new();
    let mut next = Some(first);
    while let Some(from) = next.filter(|from| *from <= last) {
        // The largest block that starts here and does not reach too far.
        let mut low = if from == 0 { most } else { (from & from.wrapping_neg()) - 1 };
        while low > last - from {
            low >>= 1;
        }
        blocks.push((most & !low, from));
        next = from.checked_add(low).and_then(|end| end.checked_add(1));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn agrees(test: &Test, width: u32) {
        let most = u64::MAX >> (64 - width);
        let comparisons = comparisons(test, width).unwrap();
        let edges =
            [0, 1, 2, 4, 5, 9, 10, 11, 38, 39, 40, 41, 0xf0, 0xff, 0x100, 0x1234, most / 2, most - 1, most];
        let values =
            edges.iter().flat_map(|value| (0..64).map(move |bit| (value ^ 1 << bit) & most)).chain(edges);
        for value in values {
            let any = comparisons.iter().any(|comparison| {
                let condition = Condition { argument: 0, test: *comparison };
                condition.holds(&[value, 0, 0, 0, 0, 0], width == 32)
            });
            assert_eq!(any, test.holds(value), "{test:?} of {value:#x}: {comparisons:x?}");
        }
    }

    #[test]
    fn every_test_becomes_comparisons() {
        let not = |test: Test| Test::Not(Box::new(test));
        let masked = |mask, test: Test| Test::Masked { mask, test: Box::new(test) };
        for width in [32, 64] {
            let most = u64::MAX >> (64 - width);
            let tests = [
                Test::Eq(40),
                not(Test::Eq(40)),
                Test::MaskedEq { mask: 0xf0, value: 0x10 },
                not(Test::MaskedEq { mask: 0xf0, value: 0x10 }),
                Test::Range { first: 0, last: 40 },
                Test::Range { first: 10, last: most },
                Test::Range { first: 5, last: 0x1234 },
                not(Test::Range { first: 5, last: 0x1234 }),
                Test::OneOf(BTreeSet::from([0, 38, 40])),
                not(Test::OneOf(BTreeSet::from([0, 38, 40, most]))),
                masked(0xff, Test::Range { first: 3, last: 0x7f }),
                not(masked(0xf0, Test::OneOf(BTreeSet::from([0, 0x10])))),
                Test::AnyOf(vec![Test::Eq(1), Test::Range { first: 9, last: 11 }]),
                not(Test::AnyOf(vec![Test::Eq(1), Test::MaskedEq { mask: 2, value: 2 }])),
                Test::AllOf(vec![
                    Test::Range { first: 5, last: 300 },
                    not(Test::MaskedEq { mask: 1, value: 1 }),
                ]),
            ];
            for test in tests {
                agrees(&test, width);
            }
        }
    }
}

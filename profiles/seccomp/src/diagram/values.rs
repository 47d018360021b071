//! Sets of values of one argument, put in the words of a comparison.
//!
//! A set is a condition on the 64 levels of the first lane when lanes stand one behind the other, highest bit first ([`bit_level`]).

use std::collections::BTreeSet;

use super::arena::{Arena, Exceeded, FALSE, Id, TRUE};
use super::hash::FastMap;
use super::word::ARGUMENT_LEVELS;

/// What is asked of the value of one argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Test {
    /// `== value`
    Eq(u64),
    /// `& mask == value`
    MaskedEq {
        /// The bits that count.
        mask: u64,
        /// What they are.
        value: u64,
    },
    /// `first <= … <= last`; `first` may be 0 and `last` the largest value of the argument's width.
    Range {
        /// The lowest.
        first: u64,
        /// The highest.
        last: u64,
    },
    /// One of two or more values.
    OneOf(BTreeSet<u64>),
    /// The test of `& mask`.
    Masked {
        /// The bits that count.
        mask: u64,
        /// What is asked of them.
        test: Box<Test>,
    },
    /// The opposite.
    Not(Box<Test>),
    /// At least one of these.
    AnyOf(Vec<Test>),
    /// All of these.
    AllOf(Vec<Test>),
}

impl Test {
    /// Whether `value` passes.
    pub fn holds(&self, value: u64) -> bool {
        match self {
            Test::Eq(wanted) => value == *wanted,
            Test::MaskedEq { mask, value: wanted } => value & mask == *wanted,
            Test::Range { first, last } => (*first..=*last).contains(&value),
            Test::OneOf(values) => values.contains(&value),
            Test::Masked { mask, test } => test.holds(value & mask),
            Test::Not(test) => !test.holds(value),
            Test::AnyOf(tests) => tests.iter().any(|test| test.holds(value)),
            Test::AllOf(tests) => tests.iter().all(|test| test.holds(value)),
        }
    }

    /// How much there is to read.
    pub(super) fn length(&self) -> usize {
        match self {
            Test::Eq(_) => 2,
            Test::MaskedEq { .. } => 3,
            Test::Range { first, last } => 4 - usize::from(*first == 0 || *last == u64::MAX),
            Test::OneOf(values) => 1 + values.len(),
            Test::Masked { test, .. } => 2 + test.length(),
            Test::Not(test) => 1 + test.length(),
            Test::AnyOf(tests) | Test::AllOf(tests) => 1 + tests.iter().map(Test::length).sum::<usize>(),
        }
    }
}

/// Most values or intervals of one set.
const MOST: usize = 24;
/// Most masks that are joined with "or".
const MOST_MASKS: usize = 8;
const LOW: u64 = 0xffff_ffff;

/// The level of a bit of the first lane, when lanes stand one behind the other.
pub(super) fn bit_level(bit: u32) -> u32 {
    ARGUMENT_LEVELS + 63 - bit
}

fn bit_of(level: u32) -> u32 {
    63 - (level - ARGUMENT_LEVELS)
}

/// The shortest test for a set that is neither empty nor everything; `None` where none is short enough to be read. `narrow`: values
/// have 32 bits.
pub(super) fn describe(arena: &mut Arena, set: Id, narrow: bool) -> Result<Option<Test>, Exceeded> {
    describe_within(arena, set, narrow, 3)
}

fn describe_within(arena: &mut Arena, set: Id, narrow: bool, depth: u32) -> Result<Option<Test>, Exceeded> {
    let opposite = arena.not(set)?;
    let counts = counts(arena, set);
    let low_only = counts & !LOW == 0;
    let mut found: Vec<Test> = Vec::new();
    let bits = if low_only && narrow { 32 } else { 64 };
    found.extend(by_intervals(arena, set, bits));
    found.extend(by_intervals(arena, opposite, bits).map(not));
    found.extend(by_mask(arena, set, counts, bits));
    found.extend(by_mask(arena, opposite, counts, bits).map(not));
    // The lowest bits alone, as a number of their own.
    let wide = 64 - counts.leading_zeros();
    if wide < bits {
        let mask = u64::MAX >> (64 - wide);
        let masked = |test: Test| Test::Masked { mask, test: Box::new(test) };
        found.extend(by_intervals(arena, set, wide).map(masked));
        found.extend(by_intervals(arena, opposite, wide).map(|test| masked(not(test))));
    }
    if found.iter().map(Test::length).min().is_none_or(|shortest| shortest > 8) && depth > 0 {
        found.extend(by_forced_bits(arena, set, narrow, depth)?.map(Test::AllOf));
        let opposite = by_forced_bits(arena, opposite, narrow, depth)?;
        found.extend(opposite.map(|tests| Test::AnyOf(tests.into_iter().map(not).collect())));
    }
    if found.is_empty() {
        found.extend(masks(arena, set)?.map(Test::AnyOf));
        found.extend(masks(arena, opposite)?.map(|tests| not(Test::AnyOf(tests))));
    }
    Ok(found.into_iter().min_by_key(Test::length))
}

fn not(test: Test) -> Test {
    match test {
        Test::Not(test) => *test,
        test => Test::Not(Box::new(test)),
    }
}

/// The bits that are asked for.
fn counts(arena: &Arena, set: Id) -> u64 {
    let nodes = arena.reachable(set).into_iter().filter_map(|id| arena.as_node(id));
    nodes.fold(0, |bits, node| bits | 1 << bit_of(node.level))
}

fn by_intervals(arena: &Arena, set: Id, bits: u32) -> Option<Test> {
    let mut intervals = Vec::new();
    walk(arena, set, bits, 0, &mut intervals)?;
    let most = u64::MAX >> (64 - bits);
    let is_single = |(first, last): &(u64, u64)| first == last;
    let singles: BTreeSet<u64> = intervals.iter().filter(|i| is_single(i)).map(|i| i.0).collect();
    let mut tests: Vec<Test> = Vec::new();
    match singles.len() {
        0 => {}
        1 => tests.extend(singles.first().map(|only| Test::Eq(*only))),
        _ => tests.push(Test::OneOf(singles)),
    }
    let wide = intervals.into_iter().filter(|i| !is_single(i));
    tests.extend(wide.map(|(first, last)| {
        // The largest value of a narrow argument is the largest there is.
        Test::Range { first, last: if last == most { u64::MAX } else { last } }
    }));
    if tests.len() > 1 { Some(Test::AnyOf(tests)) } else { tests.pop() }
}

/// Puts the values of the lowest `left` bits, `first` added, behind `intervals`; `None` when there are too many.
fn walk(arena: &Arena, id: Id, left: u32, first: u64, intervals: &mut Vec<(u64, u64)>) -> Option<()> {
    if id == FALSE {
        return Some(());
    }
    if id == TRUE {
        let last = first + (if left == 0 { 0 } else { u64::MAX >> (64 - left) });
        if let Some(before) = intervals.last_mut().filter(|interval| interval.1 + 1 == first) {
            before.1 = last;
            return Some(());
        }
        intervals.push((first, last));
        return (intervals.len() <= MOST).then_some(());
    }
    let (zero, one) = arena.branches(id, bit_level(left - 1));
    walk(arena, zero, left - 1, first, intervals)?;
    walk(arena, one, left - 1, first | 1 << (left - 1), intervals)
}

/// One mask and one or several values: of the bits that are asked for, and no others.
fn by_mask(arena: &Arena, set: Id, mask: u64, bits: u32) -> Option<Test> {
    let mut values = BTreeSet::new();
    masked_values(arena, set, mask, 0, &mut values)?;
    match values.len() {
        _ if mask == u64::MAX >> (64 - bits) => Some(Test::OneOf(values)),
        1 => values.first().map(|value| Test::MaskedEq { mask, value: *value }),
        _ => Some(Test::Masked { mask, test: Box::new(Test::OneOf(values)) }),
    }
}

fn masked_values(arena: &Arena, id: Id, left: u64, value: u64, values: &mut BTreeSet<u64>) -> Option<()> {
    if id == FALSE {
        return Some(());
    }
    if left == 0 {
        values.insert(value);
        return (values.len() <= MOST).then_some(());
    }
    let bit = 63 - left.leading_zeros();
    let (zero, one) = arena.branches(id, bit_level(bit));
    masked_values(arena, zero, left & !(1 << bit), value, values)?;
    masked_values(arena, one, left & !(1 << bit), value | 1 << bit, values)
}

/// Bits that are the same in all of the set, and what is left to be asked of the others.
fn by_forced_bits(
    arena: &mut Arena,
    set: Id,
    narrow: bool,
    depth: u32,
) -> Result<Option<Vec<Test>>, Exceeded> {
    let counts = counts(arena, set);
    let (mut mask, mut value, mut rest) = (0, 0, set);
    for bit in (0..64).filter(|bit| counts >> bit & 1 == 1) {
        let (zero, one) = (fixed(arena, rest, bit, false)?, fixed(arena, rest, bit, true)?);
        if zero == FALSE || one == FALSE {
            mask |= 1 << bit;
            value |= u64::from(zero == FALSE) << bit;
            rest = if zero == FALSE { one } else { zero };
        }
    }
    if mask == 0 || rest == TRUE {
        return Ok(None);
    }
    let rest = describe_within(arena, rest, narrow, depth - 1)?;
    Ok(rest.map(|rest| vec![Test::MaskedEq { mask, value }, rest]))
}

/// What is left of a condition where one bit is known.
fn fixed(arena: &mut Arena, id: Id, bit: u32, one: bool) -> Result<Id, Exceeded> {
    fix(arena, id, bit_level(bit), one, &mut FastMap::default())
}

fn fix(
    arena: &mut Arena,
    id: Id,
    level: u32,
    to_one: bool,
    known: &mut FastMap<Id, Id>,
) -> Result<Id, Exceeded> {
    let Some(node) = arena.as_node(id).filter(|node| node.level <= level) else { return Ok(id) };
    if node.level == level {
        return Ok(if to_one { node.one } else { node.zero });
    }
    if let Some(known) = known.get(&id) {
        return Ok(*known);
    }
    let zero = fix(arena, node.zero, level, to_one, known)?;
    let one = fix(arena, node.one, level, to_one, known)?;
    let result = arena.node(node.level, zero, one)?;
    known.insert(id, result);
    Ok(result)
}

/// Few masks of which each value of the set passes one (an irredundant sum of products, after Minato and Morreale).
fn masks(arena: &mut Arena, set: Id) -> Result<Option<Vec<Test>>, Exceeded> {
    let mut found = Vec::new();
    let all = cover(arena, (set, set), (0, 0), &mut found)?;
    Ok(all.map(|_| {
        let test = |(mask, value): (u64, u64)| Test::MaskedEq { mask, value };
        found.into_iter().map(test).collect()
    }))
}

/// Covers at least the first condition and at most the second by masks, each with `prefix` (mask, value) added; `None` when they are
/// too many, else what they cover.
fn cover(
    arena: &mut Arena,
    (least, most): (Id, Id),
    (mask, value): (u64, u64),
    found: &mut Vec<(u64, u64)>,
) -> Result<Option<Id>, Exceeded> {
    if least == FALSE {
        return Ok(Some(FALSE));
    }
    if most == TRUE {
        found.push((mask, value));
        return Ok((found.len() <= MOST_MASKS).then_some(TRUE));
    }
    let level = arena.level(least).min(arena.level(most));
    let bit = 1 << bit_of(level);
    let (l, m) = (arena.branches(least, level), arena.branches(most, level));
    let mut only = |arena: &mut Arena, least: Id, other: Id, most: Id, value: u64| {
        let not = arena.not(other)?;
        let least = arena.and(least, not)?;
        cover(arena, (least, most), (mask | bit, value), found)
    };
    let Some(zero) = only(arena, l.0, m.1, m.0, value)? else { return Ok(None) };
    let Some(one) = only(arena, l.1, m.0, m.1, value | bit)? else { return Ok(None) };
    let left = |arena: &mut Arena, all: Id, covered: Id| {
        let not = arena.not(covered)?;
        arena.and(all, not)
    };
    let (a, b) = (left(arena, l.0, zero)?, left(arena, l.1, one)?);
    let (least, most) = (arena.or(a, b)?, arena.and(m.0, m.1)?);
    let Some(both) = cover(arena, (least, most), (mask, value), found)? else { return Ok(None) };
    let (zero, one) = (arena.or(zero, both)?, arena.or(one, both)?);
    arena.node(level, zero, one).map(Some)
}

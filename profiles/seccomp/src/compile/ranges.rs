//! System call numbers as ranges of equal verdict, and a search tree over them.

use crate::action::Action;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::resolve::{Resolved, Rule};
use crate::syscalls::SyscallNr;

/// What is done with the numbers of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// The same whatever the arguments.
    Ret(u32),
    /// These of [`Leaves`].
    Rules(usize),
}

/// Rules on arguments, and what happens when none matches.
pub(super) struct Conditional<'r> {
    pub(super) rules: &'r [Rule],
    pub(super) otherwise: Action,
    /// Decides which words the arguments have and where they lie.
    pub(super) arch: Arch,
}

/// Every different set of rules once.
#[derive(Default)]
pub(super) struct Leaves<'r>(Vec<Conditional<'r>>);

impl<'r> Leaves<'r> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, index: usize) -> &Conditional<'r> {
        &self.0[index]
    }

    fn intern(&mut self, new: Conditional<'r>) -> Leaf {
        let same = |a: &Rule, b: &Rule| a.action == b.action && a.conditions == b.conditions;
        let known = self.0.iter().position(|known| {
            known.otherwise == new.otherwise
                && known.arch.has_narrow_arguments() == new.arch.has_narrow_arguments()
                && known.arch.is_big_endian() == new.arch.is_big_endian()
                && known.rules.len() == new.rules.len()
                && known.rules.iter().zip(new.rules).all(|(a, b)| same(a, b))
        });
        Leaf::Rules(known.unwrap_or_else(|| {
            self.0.push(new);
            self.0.len() - 1
        }))
    }
}

/// Numbers from `start` to the next range's start (the last: to the largest number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) leaf: Leaf,
}

/// All 2³² numbers under one audit token.
pub(super) fn of_token<'r>(resolved: &'r Resolved, token: u32, leaves: &mut Leaves<'r>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut put = |start: u32, leaf: Leaf| match ranges.last() {
        Some(last) if last.leaf == leaf => {}
        _ => ranges.push(Range { start, leaf }),
    };
    // Within a stretch everything belongs to one architecture (bit 30 tells x32), and −1 may be an exception of its own.
    const STRETCH: u32 = X32_SYSCALL_BIT;
    for first in (0..4).map(|index| index * STRETCH) {
        let last = first + (STRETCH - 1);
        stretch(resolved, token, first, last, leaves, &mut put);
    }
    ranges
}

fn stretch<'r>(
    resolved: &'r Resolved,
    token: u32,
    first: u32,
    last: u32,
    leaves: &mut Leaves<'r>,
    put: &mut impl FnMut(u32, Leaf),
) {
    let Some(arch) = resolved.abi(token, first) else {
        put(first, Leaf::Ret(resolved.foreign_arch.to_ret()));
        if last == u32::MAX
            && let Some(arch) = resolved.abi(token, last)
        {
            put(last, Leaf::Ret(resolved.unnamed(arch, SyscallNr(last)).to_ret()));
        }
        return;
    };
    let unnamed = |nr: u32| resolved.unnamed(arch, SyscallNr(nr));
    let mut next = Some(first);
    // Where nothing is named the verdict changes above the highest number, and on s390 after number 0.
    let fill = |from: Option<u32>, to: Option<u32>, put: &mut dyn FnMut(u32, Leaf)| {
        let (Some(from), Some(to)) = (from, to) else { return };
        let turns = [Some(0), resolved.enosys_above.get(&arch).map(|nr| nr.0)];
        let mut starts = vec![from];
        starts.extend(turns.into_iter().flatten().filter_map(|nr| nr.checked_add(1)));
        starts.sort_unstable();
        starts
            .into_iter()
            .filter(|nr| (from..=to).contains(nr))
            .for_each(|nr| put(nr, Leaf::Ret(unnamed(nr).to_ret())));
    };
    if let Some(rules) = resolved.rules.get(&arch) {
        for (nr, rules) in rules.range(SyscallNr(first)..=SyscallNr(last)) {
            fill(next.filter(|n| *n < nr.0), nr.0.checked_sub(1), put);
            let leaf = match rules.as_slice() {
                [] => Leaf::Ret(unnamed(nr.0).to_ret()),
                [only] if only.conditions.is_empty() => Leaf::Ret(only.action.to_ret()),
                rules => leaves.intern(Conditional { rules, otherwise: unnamed(nr.0), arch }),
            };
            put(nr.0, leaf);
            next = nr.0.checked_add(1);
        }
    }
    fill(next.filter(|n| *n <= last), Some(last), put);
}

/// A search for the range of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Leaf(Leaf),
    /// At least this number: the second subtree, else the first.
    AtLeast(u32, Box<Tree>, Box<Tree>),
    /// Exactly this number: the leaf, else the subtree.
    Exactly(u32, Leaf, Box<Tree>),
}

/// A balanced tree over `ranges`, which are not empty and cover what the way to them leaves possible.
pub(super) fn tree(ranges: &[Range]) -> Tree {
    subtree(ranges, u32::MAX)
}

/// The most exceptions that are asked for one by one, before halving is shorter.
const MOST_EXCEPTIONS: usize = 3;

fn subtree(ranges: &[Range], last: u32) -> Tree {
    if let Some((exceptions, rest)) = exceptions(ranges, last) {
        return exceptions
            .into_iter()
            .rev()
            .fold(Tree::Leaf(rest), |rest, (nr, leaf)| Tree::Exactly(nr, leaf, Box::new(rest)));
    }
    let middle = ranges.len().div_ceil(2);
    let (below, above) = ranges.split_at(middle);
    let start = above[0].start;
    Tree::AtLeast(start, Box::new(subtree(below, start - 1)), Box::new(subtree(above, last)))
}

/// A few single numbers in an otherwise uniform stretch.
fn exceptions(ranges: &[Range], last: u32) -> Option<(Vec<(u32, Leaf)>, Leaf)> {
    if ranges.len() > 2 * MOST_EXCEPTIONS + 1 {
        return None;
    }
    let end = |index: usize| ranges.get(index + 1).map_or(last, |next: &Range| next.start - 1);
    let is_single = |index: usize| end(index) == ranges[index].start;
    let mut rest = None;
    for (index, range) in ranges.iter().enumerate() {
        if !is_single(index) {
            match rest {
                None => rest = Some(range.leaf),
                Some(leaf) if leaf == range.leaf => {}
                Some(_) => return None,
            }
        }
    }
    let rest = rest.unwrap_or(ranges[0].leaf);
    let singles: Vec<(u32, Leaf)> =
        ranges.iter().filter(|range| range.leaf != rest).map(|range| (range.start, range.leaf)).collect();
    (singles.len() <= MOST_EXCEPTIONS).then_some((singles, rest))
}

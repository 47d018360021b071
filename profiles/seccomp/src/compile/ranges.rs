//! System call numbers as ranges of equal verdict, and a search tree over them.

use crate::action::Action;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::resolve::{Resolved, Rule, same_meaning};
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
        let known = self.0.iter().position(|known| {
            known.otherwise == new.otherwise
                && known.arch.has_narrow_arguments() == new.arch.has_narrow_arguments()
                && known.arch.is_big_endian() == new.arch.is_big_endian()
                && same_meaning(known.rules, new.rules)
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

/// A search tree over `ranges`, which are not empty and cover what the way to them leaves possible.
///
/// Small stretches get the shortest code there is; longer ones are cut near the middle, at the cut that makes the code shortest, so
/// that the tree stays balanced.
pub(super) fn tree(ranges: &[Range]) -> Tree {
    let small = vec![None; ranges.len() * (SMALL + 1)];
    let mut planner = Planner { ranges, small, large: vec![Vec::new(); ranges.len()] };
    planner.plan(0, ranges.len());
    planner.build(0, ranges.len())
}

/// The most exceptions that are asked for one by one.
const MOST_EXCEPTIONS: usize = 3;
/// Up to so many ranges every cut is tried.
const SMALL: usize = 8;
/// How far from the middle a longer stretch may be cut.
const OFF_MIDDLE: usize = 1;

/// How a stretch of ranges is searched, and what that costs.
#[derive(Clone, Copy)]
struct Plan {
    /// Branches.
    size: usize,
    /// Branches on the way to each range, summed.
    steps: usize,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    /// All of it is this.
    Leaf(Leaf),
    /// Single numbers, asked for one by one, in what is otherwise this.
    OneByOne(Leaf),
    /// Numbers from this range on, and the others.
    Cut(usize),
}

struct Planner<'r> {
    ranges: &'r [Range],
    /// Plans of short stretches, by start and length.
    small: Vec<Option<Plan>>,
    /// Plans of longer ones, by start; few have the same start.
    large: Vec<Vec<(usize, Plan)>>,
}

impl Planner<'_> {
    fn known(&self, from: usize, to: usize) -> Option<Plan> {
        match to - from {
            length if length <= SMALL => self.small[from * (SMALL + 1) + length],
            _ => self.large[from].iter().find(|(end, _)| *end == to).map(|(_, plan)| *plan),
        }
    }

    /// The best way to search the ranges from `from` up to, not including, `to`.
    fn plan(&mut self, from: usize, to: usize) -> Plan {
        if let Some(known) = self.known(from, to) {
            return known;
        }
        let plan = match to - from {
            1 => Plan { size: 0, steps: 0, how: How::Leaf(self.ranges[from].leaf) },
            length => self.one_by_one(from, to).unwrap_or_else(|| {
                if length <= SMALL {
                    return self.cut(from, to, from + 1..to);
                }
                let middle = usize::midpoint(from, to);
                self.cut(from, to, middle - OFF_MIDDLE..middle + OFF_MIDDLE + 1)
            }),
        };
        match to - from {
            length if length <= SMALL => self.small[from * (SMALL + 1) + length] = Some(plan),
            _ => self.large[from].push((to, plan)),
        }
        plan
    }

    fn cut(&mut self, from: usize, to: usize, cuts: std::ops::Range<usize>) -> Plan {
        let mut best = Plan { size: usize::MAX, steps: usize::MAX, how: How::Cut(cuts.start) };
        for cut in cuts {
            let (below, above) = (self.plan(from, cut), self.plan(cut, to));
            let size = below.size + above.size + 1;
            let steps = below.steps + above.steps + (to - from);
            if (size, steps) < (best.size, best.steps) {
                best = Plan { size, steps, how: How::Cut(cut) };
            }
        }
        best
    }

    fn is_single(&self, index: usize) -> bool {
        let next = self.ranges.get(index + 1).map_or(u32::MAX, |next| next.start - 1);
        next == self.ranges[index].start
    }

    /// A few single numbers in an otherwise uniform stretch.
    fn one_by_one(&self, from: usize, to: usize) -> Option<Plan> {
        if to - from > 2 * MOST_EXCEPTIONS + 1 {
            return None;
        }
        let leaf = |index: usize| self.ranges[index].leaf;
        let mut wide = (from..to).filter(|index| !self.is_single(*index)).map(leaf);
        let rest = wide.next().unwrap_or(leaf(from));
        if wide.any(|leaf| leaf != rest) {
            return None;
        }
        let size = (from..to).filter(|index| leaf(*index) != rest).count();
        let steps = size * (to - from - size) + size * (size + 1) / 2;
        (size <= MOST_EXCEPTIONS).then_some(Plan { size, steps, how: How::OneByOne(rest) })
    }

    fn build(&self, from: usize, to: usize) -> Tree {
        match self.known(from, to).map(|plan| plan.how) {
            Some(How::Leaf(leaf)) => Tree::Leaf(leaf),
            Some(How::OneByOne(rest)) => self.ranges[from..to]
                .iter()
                .rev()
                .filter(|range| range.leaf != rest)
                .fold(Tree::Leaf(rest), |tree, single| {
                    Tree::Exactly(single.start, single.leaf, Box::new(tree))
                }),
            Some(How::Cut(cut)) => Tree::AtLeast(
                self.ranges[cut].start,
                Box::new(self.build(from, cut)),
                Box::new(self.build(cut, to)),
            ),
            None => unreachable!("what is built was planned"),
        }
    }
}

//! How libseccomp joins the conditional rules of one call.
//!
//! libseccomp does not keep a list of rules and take the first that holds. It takes every condition apart into comparisons of 32-bit
//! words and merges them, rule by rule, into one graph:
//!
//! * the comparisons that may come first form a *level*, an ordered list; each of them leads, where it holds and where it does
//!   not, to an answer, to a further level, or to its neighbour on the list;
//! * a level is ordered by structure alone: later arguments first and high words before low ones; then `==`, `!=` and masks before
//!   `<` and `<=`, those before `>` and `>=`; then larger values first (with `<` and `<=`: smaller first);
//! * two rules that begin with the same comparison share it. A rule that goes on where another has already answered is dropped without
//!   a word; a rule that answers where others go on replaces them when their answers are the same, and is an error when not;
//! * a range and `!=` are several words wide, and all of their ways to hold lead to *one* next level, so a rule that shares only one
//!   of those ways still adds to all of them; it can even tie a level to itself, so that libseccomp never ends.
//!
//! Compared with libseccomp 2.5.4 on 20,000 random rule lists (`tests/installed.rs`); the graph is that of 2.4.0 and later.

use std::collections::BTreeSet;

use super::node::{Id, Node, Shape, Side};
use super::overlap::Overlap;
use super::vintage::Vintage;
use super::words::{Compare, WordTest};
use crate::action::Action;
use crate::condition::{Condition, Test};

/// Why a rule cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// An earlier rule gives the same condition another action.
    Conflict,
    /// The graph has come to lead back into itself: libseccomp never ends.
    Endless,
    /// More comparisons for one call than a filter has room for.
    TooMany,
}

/// The most comparisons of one call, merged ones included; the kernel takes 4096 instructions.
const MOST_COMPARISONS: usize = 1 << 13;

/// The most steps for one call, a fraction of a second.
pub(super) const MOST_STEPS: usize = 1 << 23;

/// The graph of one call on one architecture.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    nodes: Vec<Node>,
    pub(super) first: Option<Id>,
    /// Comparisons that nothing leads to any more and that libseccomp still counts.
    counted: usize,
    /// Comparisons that were looked at, which bounds the time.
    pub(super) looked_at: usize,
}

/// The comparisons of one rule, and the sides of them that lead on when all of its conditions up to here hold.
struct Chain {
    first: Option<Id>,
    ends: Vec<(Id, bool)>,
}

impl Levels {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Adds a rule; `false` when nothing of its conditions is left to compare, so that it is an unconditional one.
    pub(super) fn add(
        &mut self,
        conditions: &[Option<Condition>; 6],
        narrow: bool,
        action: Action,
        vintage: Vintage,
    ) -> Result<bool, Refused> {
        if self.nodes.len() > MOST_COMPARISONS || self.looked_at > MOST_STEPS {
            return Err(Refused::TooMany);
        }
        let mut chain = Chain { first: None, ends: Vec::new() };
        for condition in conditions.iter().flatten() {
            self.extend(&mut chain, condition, narrow);
        }
        let Some(first) = chain.first else { return Ok(false) };
        for (id, holds) in chain.ends {
            *self.nodes[id].side(holds) = Side::Answer(action);
        }
        match self.first {
            None => self.first = Some(first),
            Some(_) => match self.overlap(first, action) {
                _ if self.looked_at > MOST_STEPS => return Err(Refused::TooMany),
                Overlap::Redundant => {}
                Overlap::Removed | Overlap::Join => {
                    self.first = match self.first {
                        Some(existing) => Some(self.insert(existing, first, vintage)?),
                        None => Some(first),
                    };
                    if !self.ends() {
                        return Err(Refused::Endless);
                    }
                }
            },
        }
        Ok(true)
    }

    /// Appends the comparisons of one condition.
    fn extend(&mut self, chain: &mut Chain, condition: &Condition, narrow: bool) {
        let (whole, mask) = match condition.test {
            Test::MaskedEq { mask, value } => (value, mask),
            Test::Ne(value) | Test::Eq(value) => (value, u64::MAX),
            Test::Lt(value) | Test::Le(value) | Test::Ge(value) | Test::Gt(value) => (value, u64::MAX),
        };
        let seen = if narrow { mask & u64::from(u32::MAX) } else { mask };
        if seen == 0 {
            return;
        }
        let shape = match condition.test {
            Test::Ne(_) | Test::Eq(_) | Test::MaskedEq { .. } => Shape::Exact,
            Test::Lt(_) | Test::Le(_) => Shape::Below,
            Test::Ge(_) | Test::Gt(_) => Shape::Above,
        };
        // `<` is not `>=`, and so on: which side of the comparisons means that the condition holds.
        let (low, holds) = match condition.test {
            Test::Eq(_) | Test::MaskedEq { .. } => (Compare::Equal, true),
            Test::Ne(_) => (Compare::Equal, false),
            Test::Ge(_) => (Compare::GreaterOrEqual, true),
            Test::Lt(_) => (Compare::GreaterOrEqual, false),
            Test::Gt(_) => (Compare::Greater, true),
            Test::Le(_) => (Compare::Greater, false),
        };
        let masked = matches!(condition.test, Test::MaskedEq { .. });
        let mut node = |high: bool, compare: Compare| {
            let half = |of: u64| u32::try_from(if high { of >> 32 } else { of & u64::from(u32::MAX) });
            let (mask, value) = (half(mask).unwrap_or(0), half(whole).unwrap_or(0));
            let test = WordTest { argument: condition.argument, high, mask, compare, value };
            self.nodes.push(Node::new(test, shape, masked, whole));
            self.nodes.len() - 1
        };
        let (first, ends) = if narrow {
            let only = node(false, low);
            (only, vec![(only, holds)])
        } else if low == Compare::Equal {
            let (high, low) = (node(true, low), node(false, low));
            self.nodes[high].yes = Side::Level(low);
            let mut ends = vec![(low, holds)];
            if !holds {
                ends.push((high, false));
            }
            (high, ends)
        } else {
            let (above, same, low) =
                (node(true, Compare::Greater), node(true, Compare::Equal), node(false, low));
            self.nodes[above].no = Side::Level(same);
            self.nodes[same].yes = Side::Level(low);
            let other = if holds { (above, true) } else { (same, false) };
            (above, vec![(low, holds), other])
        };
        for (id, holds) in std::mem::replace(&mut chain.ends, ends) {
            *self.nodes[id].side(holds) = Side::Level(first);
        }
        chain.first.get_or_insert(first);
    }

    /// Puts a comparison on the level that is reached at `at`; returns where the level is reached from now on.
    fn insert(&mut self, at: Id, new: Id, vintage: Vintage) -> Result<Id, Refused> {
        let mut here = at;
        for _ in 0..=self.nodes.len() {
            self.looked_at += 1;
            if self.nodes[here].is_same(&self.nodes[new]) {
                self.merge(here, new, vintage)?;
                return Ok(at);
            }
            if self.nodes[here].rank() < self.nodes[new].rank() {
                let before = self.nodes[here].before;
                if let Some(before) = before {
                    self.nodes[before].after = Some(new);
                    self.nodes[new].before = Some(before);
                }
                self.nodes[here].before = Some(new);
                self.nodes[new].after = Some(here);
                return Ok(if here == at { new } else { at });
            }
            match self.nodes[here].after {
                Some(after) => here = after,
                None => {
                    self.nodes[new].before = Some(here);
                    self.nodes[here].after = Some(new);
                    return Ok(at);
                }
            }
        }
        Err(Refused::Endless)
    }

    /// Whether every way through the graph comes to an end. A level that is reached in two ways and gets a new comparison by both of them
    /// can be tied to itself.
    fn ends(&mut self) -> bool {
        let most = self.nodes.len();
        let mut seen = BTreeSet::new();
        let mut open: Vec<Id> = self.first.into_iter().collect();
        while let Some(id) = open.pop() {
            if seen.contains(&id) {
                continue;
            }
            let back = std::iter::successors(Some(id), |id| self.nodes[*id].before).take(most + 1).count();
            let on: Vec<Id> = std::iter::successors(Some(self.start(id)), |id| self.nodes[*id].after)
                .take(most + 1)
                .collect();
            if back > most || on.len() > most {
                return false;
            }
            seen.extend(on.iter().copied());
            // Later levels look at later arguments, or at the low word.
            let below = on.iter().flat_map(|id| self.sides(*id)).filter_map(|side| match side {
                Side::Level(level) => Some(level),
                Side::Neighbour | Side::Answer(_) => None,
            });
            open.extend(below);
        }
        self.looked_at += seen.len();
        true
    }

    /// Two rules share a comparison.
    fn merge(&mut self, here: Id, new: Id, vintage: Vintage) -> Result<(), Refused> {
        for holds in [true, false] {
            let Side::Answer(action) = *self.nodes[new].side(holds) else { continue };
            let side = *self.nodes[here].side(holds);
            match side {
                Side::Answer(known) if known == action => {}
                Side::Answer(_) => {
                    // The high word alone decides here. Of two ranges that share it, the one whose border lies further out counts.
                    let (whole, other) = (self.nodes[new].whole, self.nodes[here].whole);
                    let further = if holds { whole > other } else { whole < other };
                    // Until 2.6.0 the wrong side was set.
                    let set = holds || vintage.is_at_least(2, 6, 1);
                    if self.nodes[new].test.high && further && set {
                        *self.nodes[here].side(holds) = Side::Answer(action);
                    }
                    if self.nodes[here].is_last() || self.nodes[new].is_last() {
                        return Err(Refused::Conflict);
                    }
                }
                Side::Level(level) if !self.all_answer(level, action) => return Err(Refused::Conflict),
                Side::Level(level) => {
                    let alone = self.nodes[level].before.is_none() && self.nodes[level].after.is_none();
                    let before = self.size();
                    *self.nodes[here].side(holds) = Side::Answer(action);
                    // It forgets to forget the neighbours.
                    self.counted += if alone { 0 } else { before - self.size() };
                }
                Side::Neighbour => *self.nodes[here].side(holds) = Side::Answer(action),
            }
        }
        for holds in [true, false] {
            let Side::Level(next) = *self.nodes[new].side(holds) else { continue };
            match *self.nodes[here].side(holds) {
                Side::Level(level) => {
                    let level = self.insert(level, next, vintage)?;
                    *self.nodes[here].side(holds) = Side::Level(level);
                }
                Side::Neighbour => *self.nodes[here].side(holds) = Side::Level(next),
                // Decided already: the rest of the new rule is dropped, the other side's too.
                Side::Answer(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// What libseccomp takes the call to cost: its comparisons, and some that it has forgotten to forget.
    pub(super) fn cost(&self) -> usize {
        self.size() + self.counted
    }

    /// How many comparisons are left in the graph.
    fn size(&self) -> usize {
        let mut seen = BTreeSet::new();
        let mut open: Vec<Id> = self.first.into_iter().collect();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                let node = &self.nodes[id];
                open.extend([node.before, node.after].into_iter().flatten());
                open.extend([node.yes, node.no].into_iter().filter_map(|side| match side {
                    Side::Level(level) => Some(level),
                    Side::Neighbour | Side::Answer(_) => None,
                }));
            }
        }
        seen.len()
    }

    /// Whether every answer at or below a level is `action`.
    pub(super) fn all_answer(&self, level: Id, action: Action) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![level];
        while let Some(level) = open.pop() {
            if seen.contains(&level) {
                continue;
            }
            let on: Vec<Id> = self.level(level).collect();
            seen.extend(on.iter().copied());
            for side in on.into_iter().flat_map(|id| self.sides(id)) {
                match side {
                    Side::Neighbour => {}
                    Side::Answer(answer) if answer == action => {}
                    Side::Answer(_) => return false,
                    Side::Level(next) => open.push(next),
                }
            }
        }
        true
    }

    /// A comparison of the first level.
    pub(super) fn first(&self) -> Option<usize> {
        self.first
    }

    /// The first comparison of the level of `id`.
    pub(super) fn start(&self, mut id: usize) -> usize {
        // Bounded, as the graph may be tied to itself while a rule is being added.
        for _ in 0..self.nodes.len() {
            match self.nodes[id].before {
                Some(before) => id = before,
                None => break,
            }
        }
        id
    }

    /// The comparisons of the level of `id`, in order.
    pub(super) fn level(&self, id: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(self.start(id)), |id| self.nodes[*id].after).take(self.nodes.len())
    }

    /// What a comparison looks at.
    pub(super) fn test(&self, id: usize) -> WordTest {
        self.nodes[id].test
    }

    /// What follows where it holds, and where it does not.
    pub(super) fn sides(&self, id: usize) -> [Side; 2] {
        [self.nodes[id].yes, self.nodes[id].no]
    }

    pub(super) fn after(&self, id: Id) -> Option<Id> {
        self.nodes[id].after
    }

    pub(super) fn is_same(&self, a: Id, b: Id) -> bool {
        self.nodes[a].is_same(&self.nodes[b])
    }

    pub(super) fn is_last(&self, id: Id) -> bool {
        self.nodes[id].is_last()
    }

    pub(super) fn is_gone(&self, id: Id) -> bool {
        self.nodes[id].gone
    }

    pub(super) fn rank(&self, id: Id) -> impl Ord {
        self.nodes[id].rank()
    }

    /// Takes a comparison off its level, the first one on the way from the start; a comparison that leads nowhere on that way goes in
    /// its place. Whether that leaves nothing that leads to it.
    pub(super) fn take_out(&mut self, id: Id) -> bool {
        let before = self.size();
        let mut first = self.first;
        let gone = self.take_out_below(&mut first, id);
        self.first = first;
        self.counted += if gone { 0 } else { before - self.size() };
        gone
    }

    fn take_out_below(&mut self, at: &mut Option<Id>, id: Id) -> bool {
        let mut next = at.map(|at| self.start(at));
        while let Some(here) = next {
            let mut gone = false;
            if here != id {
                for holds in [true, false] {
                    if let Side::Level(level) = *self.nodes[here].side(holds) {
                        let mut into = Some(level);
                        gone |= self.take_out_below(&mut into, id);
                        *self.nodes[here].side(holds) = into.map_or(Side::Neighbour, Side::Level);
                    }
                }
            }
            if here == id || self.sides(here) == [Side::Neighbour; 2] {
                return self.unlink(at, here) || gone;
            }
            if gone {
                return true;
            }
            next = self.nodes[here].after;
        }
        false
    }

    fn unlink(&mut self, at: &mut Option<Id>, id: Id) -> bool {
        let leads_here = self.nodes.iter().filter(|node| !node.gone).flat_map(|node| [node.yes, node.no]);
        let mut references = leads_here.filter(|side| *side == Side::Level(id)).count();
        references += usize::from(self.first == Some(id));
        let Node { before, after, .. } = self.nodes[id];
        references += usize::from(before.is_some()) + usize::from(after.is_some());
        if *at == Some(id) {
            *at = before.or(after);
        }
        if let Some(before) = before {
            self.nodes[before].after = after;
        }
        if let Some(after) = after {
            self.nodes[after].before = before;
        }
        let node = &mut self.nodes[id];
        (node.before, node.after) = (None, None);
        node.gone = references <= 1;
        node.gone
    }
}

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
//!   of those ways still adds to all of them.
//!
//! Measured on libseccomp 2.5.4 and 2.6.1 with thousands of random rule lists (`tests/libseccomp.rs`); the graph is that of 2.4.0 and later.

use std::collections::BTreeSet;

use super::vintage::Vintage;
use super::words::{Compare, Decision, Decisions, Step, WordTest};
use crate::action::Action;
use crate::condition::{Condition, Test};

/// A place in [`Levels::nodes`].
type Id = usize;

/// What follows a comparison on one of its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The neighbour on the level, or what follows the level.
    Neighbour,
    /// The verdict.
    Answer(Action),
    /// A level, by one comparison on it.
    Level(Id),
}

/// Where the operator of a condition ranks on a level; the greatest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// `>` and `>=`
    Above,
    /// `<` and `<=`
    Below,
    /// `==`, `!=` and masks
    Exact,
}

#[derive(Clone, Debug)]
struct Node {
    test: WordTest,
    shape: Shape,
    /// A masked comparison is never taken for an `==`, even where both look at all bits.
    masked: bool,
    /// The value that the whole argument is compared with.
    whole: u64,
    yes: Side,
    no: Side,
    /// Neighbours on the level.
    before: Option<Id>,
    after: Option<Id>,
}

impl Node {
    fn new(test: WordTest, shape: Shape, masked: bool, whole: u64) -> Node {
        let test = WordTest { value: test.value & test.mask, ..test };
        let (yes, no) = (Side::Neighbour, Side::Neighbour);
        Node { test, shape, masked, whole, yes, no, before: None, after: None }
    }

    fn word(&self) -> (u8, bool) {
        (self.test.argument, self.test.high)
    }

    fn side(&mut self, holds: bool) -> &mut Side {
        if holds { &mut self.yes } else { &mut self.no }
    }

    fn is_same(&self, other: &Node) -> bool {
        self.test == other.test && self.masked == other.masked
    }

    /// Whether it ends a rule: no level follows.
    fn is_last(&self) -> bool {
        !matches!(self.yes, Side::Level(_)) && !matches!(self.no, Side::Level(_))
    }

    /// The order on a level, greatest first.
    fn rank(&self) -> ((u8, bool), Shape, u32) {
        let value = if self.shape == Shape::Below { !self.test.value } else { self.test.value };
        (self.word(), self.shape, value)
    }
}

/// Why a rule cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conflict;

/// The graph of one call on one architecture.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    nodes: Vec<Node>,
    first: Option<Id>,
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
    ) -> Result<bool, Conflict> {
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
            Some(existing) => self.first = Some(self.insert(existing, first, vintage)?),
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
    fn insert(&mut self, at: Id, new: Id, vintage: Vintage) -> Result<Id, Conflict> {
        let mut here = at;
        loop {
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
    }

    /// Two rules share a comparison.
    fn merge(&mut self, here: Id, new: Id, vintage: Vintage) -> Result<(), Conflict> {
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
                        return Err(Conflict);
                    }
                }
                Side::Level(level) if !self.all_answer(level, action) => return Err(Conflict),
                Side::Level(_) | Side::Neighbour => *self.nodes[here].side(holds) = Side::Answer(action),
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

    /// How many comparisons are left in the graph.
    pub(super) fn size(&self) -> usize {
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

    fn start(&self, mut id: Id) -> Id {
        while let Some(before) = self.nodes[id].before {
            id = before;
        }
        id
    }

    /// The comparisons of a level, in order.
    fn level(&self, id: Id) -> impl Iterator<Item = Id> {
        std::iter::successors(Some(self.start(id)), |id| self.nodes[*id].after)
    }

    /// Whether every answer at or below a level is `action`.
    fn all_answer(&self, level: Id, action: Action) -> bool {
        self.level(level).all(|id| {
            [self.nodes[id].yes, self.nodes[id].no].into_iter().all(|side| match side {
                Side::Neighbour => true,
                Side::Answer(answer) => answer == action,
                Side::Level(next) => self.all_answer(next, action),
            })
        })
    }

    /// The decisions of the graph, with `otherwise` where no rule holds.
    pub(super) fn decisions(&self, to: &mut Decisions, otherwise: Step) -> Step {
        let mut made = std::collections::HashMap::new();
        self.first.map_or(otherwise, |first| self.decide(first, to, otherwise, &mut made))
    }

    fn decide(
        &self,
        level: Id,
        to: &mut Decisions,
        otherwise: Step,
        made: &mut std::collections::HashMap<(Id, Step), Step>,
    ) -> Step {
        let first = self.start(level);
        if let Some(step) = made.get(&(first, otherwise)) {
            return *step;
        }
        let on_level: Vec<Id> = self.level(first).collect();
        let mut next = otherwise;
        for id in on_level.into_iter().rev() {
            let node = &self.nodes[id];
            let mut side = |side: Side| match side {
                Side::Neighbour => next,
                Side::Answer(action) => to.answer(action),
                Side::Level(level) => self.decide(level, to, next, made),
            };
            let (then, not) = (side(node.yes), side(node.no));
            next = to.put(Decision::Test { test: node.test, then, otherwise: not });
        }
        made.insert((first, otherwise), next);
        next
    }
}

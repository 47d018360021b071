//! One comparison of a call's graph ([`super::levels`]).

use super::words::WordTest;
use crate::action::Action;

/// A place in the nodes of [`super::levels::Levels`].
pub(super) type Id = usize;

/// What follows a comparison on one of its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The neighbour on the level, or what follows the level.
    Neighbour,
    /// The verdict.
    Answer(Action),
    /// A level, by one comparison on it.
    Level(Id),
}

/// Where the operator of a condition ranks on a level; the greatest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// `>` and `>=`
    Above,
    /// `<` and `<=`
    Below,
    /// `==`, `!=` and masks
    Exact,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) test: WordTest,
    pub(super) shape: Shape,
    /// A masked comparison is never taken for an `==`, even where both look at all bits.
    pub(super) masked: bool,
    /// The value that the whole argument is compared with.
    pub(super) whole: u64,
    pub(super) yes: Side,
    pub(super) no: Side,
    /// Neighbours on the level.
    pub(super) before: Option<Id>,
    pub(super) after: Option<Id>,
    /// Taken out, and nothing leads here any more.
    pub(super) gone: bool,
}

impl Node {
    pub(super) fn new(test: WordTest, shape: Shape, masked: bool, whole: u64) -> Node {
        let test = WordTest { value: test.value & test.mask, ..test };
        let (yes, no) = (Side::Neighbour, Side::Neighbour);
        Node { test, shape, masked, whole, yes, no, before: None, after: None, gone: false }
    }

    pub(super) fn word(&self) -> (u8, bool) {
        (self.test.argument, self.test.high)
    }

    pub(super) fn side(&mut self, holds: bool) -> &mut Side {
        if holds { &mut self.yes } else { &mut self.no }
    }

    pub(super) fn is_same(&self, other: &Node) -> bool {
        self.test == other.test && self.masked == other.masked
    }

    /// Whether it ends a rule: no level follows.
    pub(super) fn is_last(&self) -> bool {
        !matches!(self.yes, Side::Level(_)) && !matches!(self.no, Side::Level(_))
    }

    /// The order on a level, greatest first.
    pub(super) fn rank(&self) -> ((u8, bool), Shape, u32) {
        let value = if self.shape == Shape::Below { !self.test.value } else { self.test.value };
        (self.word(), self.shape, value)
    }
}

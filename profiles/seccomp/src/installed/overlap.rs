//! What a new rule has in common with those that are there, before it is joined.
//!
//! libseccomp looks for two things: an old rule that says the same in fewer comparisons, which makes the new one redundant, and old ones
//! that the new one makes redundant, which are taken out. It compares the chain of the new rule with the graph along equal
//! comparisons and steps over those that only one of them has. It does not always notice that what it has found ends in another way,
//! so that now and then a rule is dropped that is not redundant. What is kept here is what it finds, not what it should.

use super::levels::{Levels, MOST_STEPS};
use super::node::{Id, Side};
use crate::action::Action;

/// What is known at one point of the comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// The last comparison that was looked at is in both.
    same: bool,
    /// Some comparison was.
    began: bool,
    /// The new chain ends at a common comparison.
    new_ends: bool,
    /// The graph does.
    old_ends: bool,
    /// Comparisons of the graph were stepped over, which the new chain does not make.
    old_stepped: bool,
    /// Comparisons of the new chain were, which the graph does not make.
    new_stepped: bool,
}

impl Seen {
    fn with(self, other: Seen) -> Seen {
        Seen {
            same: self.same | other.same,
            began: self.began | other.began,
            new_ends: self.new_ends | other.new_ends,
            old_ends: self.old_ends | other.old_ends,
            old_stepped: self.old_stepped | other.old_stepped,
            new_stepped: self.new_stepped | other.new_stepped,
        }
    }

    fn back(before: Seen, found: Seen) -> Seen {
        if found.same { before.with(found) } else { Seen { same: false, ..before } }
    }
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// Old rules were taken out.
    Removed,
    /// The new rule is taken to be redundant.
    Redundant,
    /// The rules are joined.
    Join,
}

impl Levels {
    /// Compares the graph with a new chain, and takes out what the chain makes redundant. Beyond [`MOST_STEPS`] the comparison stops, and
    /// the call is refused.
    pub(super) fn overlap(&mut self, new: Id, action: Action) -> Overlap {
        let mut removed = 0;
        let seen = self.walk(self.first, Some(new), Seen::default(), action, &mut removed);
        if removed > 0 {
            Overlap::Removed
        } else if seen.same && seen.old_ends && seen.new_stepped {
            Overlap::Redundant
        } else {
            Overlap::Join
        }
    }

    fn walk(
        &mut self,
        old: Option<Id>,
        new: Option<Id>,
        before: Seen,
        action: Action,
        removed: &mut usize,
    ) -> Seen {
        let mut found = before;
        let (Some(old), Some(new)) = (old, new) else { return Seen::back(before, found) };
        if before.began && !before.same {
            return Seen::back(before, found);
        }
        let mut next = Some(self.start(old));
        'level: while let Some(here) = next {
            next = self.after(here);
            self.looked_at += 1;
            if self.looked_at > MOST_STEPS {
                return before;
            }
            if self.is_same(here, new) {
                found = found.with(Seen { same: true, began: true, ..Seen::default() });
                found.new_ends |= self.is_last(new);
                found.old_ends |= self.is_last(here);
                let goes_on = |sides: [Side; 2]| sides.map(|side| side != Side::Neighbour);
                let (ours, theirs) = (self.sides(here), self.sides(new));
                let more = goes_on(ours).into_iter().zip(goes_on(theirs)).any(|(old, new)| old && !new);
                if more || (found.new_ends && found.old_ends && answers(ours) != answers(theirs)) {
                    return Seen::back(before, found);
                }
                for (at, way) in theirs.into_iter().enumerate() {
                    let Side::Level(way) = way else { continue };
                    let into = self.level_at(here, at);
                    let start = Seen { same: true, began: true, ..before };
                    let below = self.walk(into, Some(way), start, action, removed);
                    if below.same {
                        found = found.with(below);
                    }
                    if self.is_gone(here) {
                        *removed += 1;
                        continue 'level;
                    }
                }
                if found.same && self.all_answer(here, action) {
                    if found.new_ends && found.old_stepped {
                        *removed += usize::from(self.take_out(here));
                        if self.first.is_none() {
                            return Seen::back(before, found);
                        }
                    } else if found.old_ends && found.new_stepped {
                        return Seen::back(before, found);
                    }
                }
                continue;
            }
            let old_is_first = self.rank(here) < self.rank(new);
            if if old_is_first { before.new_stepped } else { before.old_stepped } {
                return Seen::back(before, found);
            }
            let mut start = Seen { same: false, ..before };
            start.old_stepped |= old_is_first;
            start.new_stepped |= !old_is_first;
            for at in 0..2 {
                let (old, new) = if old_is_first {
                    (self.level_at(here, at), Some(new))
                } else {
                    (Some(here), self.level_at(new, at))
                };
                if old.is_none() || new.is_none() {
                    continue;
                }
                let below = self.walk(old, new, start, action, removed);
                if below.same {
                    return Seen::back(before, found.with(below));
                }
                if self.is_gone(here) {
                    *removed += 1;
                    continue 'level;
                }
            }
        }
        Seen { same: false, ..before }
    }

    fn level_at(&self, id: Id, side: usize) -> Option<Id> {
        match self.sides(id)[side] {
            Side::Level(level) => Some(level),
            Side::Neighbour | Side::Answer(_) => None,
        }
    }
}

fn answers(sides: [Side; 2]) -> [Option<Action>; 2] {
    sides.map(|side| match side {
        Side::Answer(action) => Some(action),
        Side::Neighbour | Side::Level(_) => None,
    })
}

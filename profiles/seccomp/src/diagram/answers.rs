//! The answers that occur: which kinds, and the list where it is short enough to be read.

use std::collections::BTreeSet;

use super::arena::Exceeded;
use super::{Diagram, Store, Undecided};
use crate::action::Action;

/// Most answers of one call that are listed, each with its condition. An engine's filter has two or three.
pub const MOST_ANSWERS: usize = 64;

impl Store {
    /// The answers that some call gets, however many.
    pub fn verdicts(&self, diagram: Diagram) -> BTreeSet<Action> {
        let leaves =
            self.arena.reachable(diagram.0).into_iter().filter(|id| self.arena.as_leaf(*id).is_some());
        leaves.map(|id| self.action(id)).collect()
    }

    /// The same for a list.
    ///
    /// # Errors
    /// [`Undecided`] with the kinds that occur when there are more than [`MOST_ANSWERS`] (a filter can return what it computes), and
    /// when the budget does not suffice.
    pub fn answers(&self, diagram: Diagram) -> Result<BTreeSet<Action>, Undecided> {
        self.arena.left()?;
        let all = self.verdicts(diagram);
        if all.len() > MOST_ANSWERS {
            let why = format!("{}: {}", Exceeded::Answers(MOST_ANSWERS), summary(&all));
            return Err(Undecided { why, instruction: None });
        }
        Ok(all)
    }

    /// The answer, of a diagram that gives every call the same.
    pub fn only_answer(&self, diagram: Diagram) -> Option<Action> {
        self.arena.as_leaf(diagram.0).map(|_| self.action(diagram.0))
    }

    /// The kinds of answers that occur, each by one action of it with data of its own. Costs nothing for what was asked about before.
    pub fn kinds(&self, diagram: Diagram) -> impl Iterator<Item = Action> + use<> {
        let kinds = self.arena.kinds(diagram.0);
        Action::KINDS
            .into_iter()
            .enumerate()
            .filter(move |(kind, _)| kinds >> kind & 1 == 1)
            .map(|(_, one)| one)
    }

    /// The strongest answer by the kernel's precedence, with the lowest data.
    ///
    /// # Errors
    /// [`Undecided`] when the budget of the store is used up.
    pub fn strongest(&self, diagram: Diagram) -> Result<Option<Action>, Undecided> {
        self.arena.left()?;
        Ok(self.verdicts(diagram).into_iter().next())
    }

    /// Steps that this store has spent, and those after which every operation is [`Undecided`]. A reading that began before ends.
    pub fn steps(&self) -> (u64, u64) {
        self.arena.steps()
    }
}

/// `SCMP_ACT_KILL_PROCESS, SCMP_ACT_ERRNO with 4096 different numbers`.
fn summary(all: &BTreeSet<Action>) -> String {
    let of_kind = |kind: &Action| all.iter().filter(|action| action.kind() == kind.kind()).count();
    let kinds = Action::KINDS.iter().map(|kind| (kind, of_kind(kind))).filter(|(_, count)| *count > 0);
    let text = kinds.map(|(kind, count)| match count {
        1 => kind.name().to_owned(),
        _ => format!("{} with {count} different values", kind.name()),
    });
    text.collect::<Vec<_>>().join(", ")
}

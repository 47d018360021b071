//! Diagrams taken apart and put together bit by bit, for code generation.

use super::arena::Id;
use super::{Diagram, Store, Undecided, word};
use crate::action::Action;

/// What a diagram does first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// It gives this answer to every call.
    Answer(Action),
    /// It asks for a bit of a word.
    Asks {
        /// Offset of the word in `struct seccomp_data`.
        offset: u32,
        /// The bit, 0 is the lowest.
        bit: u32,
        /// Where it is 0.
        zero: Diagram,
        /// Where it is 1.
        one: Diagram,
    },
}

impl Store {
    /// What `diagram` does first.
    pub(crate) fn shape(&self, diagram: Diagram) -> Shape {
        match self.arena.as_node(diagram.0) {
            None => Shape::Answer(self.action(diagram.0)),
            Some(node) => {
                let (offset, bit) = word::offset_and_bit(node.level);
                Shape::Asks { offset, bit, zero: Diagram(node.zero), one: Diagram(node.one) }
            }
        }
    }

    /// The diagram that asks for the bit that `like` asks for first, of two that ask for later bits only.
    ///
    /// # Errors
    /// [`Undecided`] when the budget does not suffice.
    pub(crate) fn ask_as(
        &mut self,
        like: Diagram,
        zero: Diagram,
        one: Diagram,
    ) -> Result<Diagram, Undecided> {
        let level = self.arena.level(like.0);
        debug_assert!(level < self.arena.level(zero.0).min(self.arena.level(one.0)));
        let id: Id = self.arena.node(level, zero.0, one.0)?;
        Ok(Diagram(id))
    }
}

//! The exact meaning of a filter: its verdict on every call, as a decision diagram.
//!
//! A [`Diagram`] asks one bit of the call after the other (first of the architecture's token, then of the number, then of the six
//! arguments and the instruction pointer side by side) and ends in an action. It is *reduced* and *shared*: within one [`Store`] two
//! diagrams are equal exactly when they give the same action on every one of the 2⁵¹² calls. So equality costs nothing, and
//! differences, unions and conditions are read off. Diagrams come from programs ([`Store::of_program`]: the program is run once for all
//! calls), from stacks of programs, or straight from resolved rules.
//!
//! A few instructions make diagrams of any size (products of arguments) with any number of answers (an argument that is returned). So a
//! store has budgets of nodes, of different answers and of steps: of one operation, and of all operations and readings in its life.
//! Beyond them, and once the time of the command is up ([`interrupt`]), the answer is [`Undecided`], which names the instruction where
//! there is one; it is never a guess. Steps are counted, not timed, so that the same question has the same answer on every machine.

mod answers;
mod arena;
mod cases;
mod classes;
mod differ;
mod hash;
mod installed;
mod interrupt;
mod restrict;
mod rules;
mod shape;
mod symbolic;
mod text;
mod values;
mod witness;
mod word;

use crate::action::Action;
use crate::bpf::Program;
use crate::installed::{Installed, Meaning};
use crate::interpret::SeccompData;
use crate::resolve::Resolved;
pub use answers::MOST_ANSWERS;
use arena::{Arena, Exceeded, Id, Leaf};
pub use cases::{Case, Term};
pub use classes::{Class, Range};
pub(crate) use differ::Difference;
pub(crate) use hash::FastMap;
pub use interrupt::interrupt;
pub(crate) use shape::Shape;
pub use text::condition;
pub use values::Test;

/// A decision function. It belongs to the [`Store`] that made it and means nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagram(Id);

/// The budget is used up: nothing is known, and nothing is guessed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("undecided{}: {why}", At(*instruction))]
pub struct Undecided {
    /// What was needed, and how much there is.
    pub why: String,
    /// The instruction that was being run, where it was a program's.
    pub instruction: Option<usize>,
}

struct At(Option<usize>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(index) => write!(f, " at instruction {index}"),
            None => Ok(()),
        }
    }
}

impl From<Exceeded> for Undecided {
    fn from(why: Exceeded) -> Undecided {
        Undecided { why: why.to_string(), instruction: None }
    }
}

/// Nodes of a store by default: with its tables up to about 45 MiB, hundreds of times what an engine's filter needs.
pub const DEFAULT_BUDGET: usize = 1 << 20;

/// Where diagrams live.
pub struct Store {
    arena: Arena,
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Store {
    /// A store with [`DEFAULT_BUDGET`].
    pub fn new() -> Store {
        Store::with_budget(DEFAULT_BUDGET)
    }

    /// A store of at most `nodes` nodes (about 40 bytes each, tables included). The steps of one operation and of all together are
    /// bounded with them.
    pub fn with_budget(nodes: usize) -> Store {
        Store { arena: Arena::new(nodes) }
    }

    /// How many nodes there are, those of intermediate results included.
    pub fn nodes(&self) -> usize {
        self.arena.len()
    }

    /// The filter that gives every call this answer.
    pub fn constant(&mut self, action: Action) -> Diagram {
        Diagram(self.arena.leaf(Leaf::Ret(action.to_ret())))
    }

    /// The answers of one program.
    ///
    /// ```
    /// use plim_seccomp::{Action, bpf::{Insn, Program, code}, diagram::Store};
    /// let allow = |code, k| Program::from_instructions(vec![
    ///     Insn::stmt(code, 0),
    ///     Insn { code: code::JMP_JEQ_K, jt: 0, jf: 0, k },
    ///     Insn::stmt(code::RET_K, Action::Allow.to_ret()),
    /// ]).unwrap();
    /// let mut store = Store::new();
    /// let one = store.of_program(&allow(code::LD_W_ABS, 41)).unwrap();
    /// let other = store.of_program(&allow(code::LD_W_LEN, 7)).unwrap();
    /// assert_eq!(one, other, "equal meaning, equal handle");
    /// assert_eq!(one, store.constant(Action::Allow));
    /// ```
    ///
    /// # Errors
    /// [`Undecided`], with the instruction, when the budget does not suffice.
    pub fn of_program(&mut self, program: &Program) -> Result<Diagram, Undecided> {
        self.of_stack(std::slice::from_ref(program))
    }

    /// The answers of several programs that are installed together, oldest first, as [`crate::interpret::run_stack`] gives them: the
    /// strongest action wins, and the newest filter's data on a tie. No program at all allows everything.
    ///
    /// # Errors
    /// [`Undecided`], with the instruction where one program alone is too much.
    pub fn of_stack(&mut self, stack: &[Program]) -> Result<Diagram, Undecided> {
        self.arena.attempt(|arena| stacked(arena, stack)).map(Diagram)
    }

    /// The answers of resolved rules, not by way of a compiled filter: what [`Resolved::decide`] says.
    ///
    /// # Errors
    /// [`Undecided`] when the budget does not suffice.
    pub fn of_resolved(&mut self, resolved: &Resolved) -> Result<Diagram, Undecided> {
        Ok(Diagram(self.arena.attempt(|arena| rules::of_resolved(arena, resolved))?))
    }

    /// The answers of a profile as an engine installs it: what [`Installed::decide`] says.
    ///
    /// # Errors
    /// [`Undecided`] when the budget does not suffice.
    pub fn of_installed(&mut self, installed: &Installed) -> Result<Diagram, Undecided> {
        match installed.meaning() {
            Meaning::Off => Ok(self.constant(Action::Allow)),
            Meaning::Written(resolved) => self.of_resolved(resolved),
            Meaning::Engine(function) => {
                Ok(Diagram(self.arena.attempt(|arena| installed::of_function(arena, function))?))
            }
        }
    }

    /// The answer to one call.
    pub fn decide(&self, diagram: Diagram, call: &SeccompData) -> Action {
        let answers = word::Answers::of(call);
        let mut id = diagram.0;
        while let Some(node) = self.arena.as_node(id) {
            id = if answers.bit(node.level) { node.one } else { node.zero };
        }
        self.action(id)
    }

    /// The action of a leaf; diagrams that are handed out have leaves of actions only.
    fn action(&self, id: Id) -> Action {
        match self.arena.as_leaf(id) {
            Some(Leaf::Ret(ret)) => Action::from_ret(ret),
            Some(Leaf::Truth(_) | Leaf::Pair(..)) | None => Action::KillProcess,
        }
    }

    /// What is left of `diagram` for calls with this token, and this number if one is given.
    pub fn at(&self, diagram: Diagram, arch_token: u32, nr: Option<u32>) -> Diagram {
        let call = SeccompData { arch: arch_token, nr: nr.unwrap_or(0), ..SeccompData::default() };
        let answers = word::Answers::of(&call);
        let end = if nr.is_some() { word::NR_LEVELS.end } else { word::ARCH_LEVELS.end };
        let mut id = diagram.0;
        while let Some(node) = self.arena.as_node(id).filter(|node| node.level < end) {
            id = if answers.bit(node.level) { node.one } else { node.zero };
        }
        Diagram(id)
    }

    /// The answers of both, joined call by call. `join` must be a pure function.
    ///
    /// # Errors
    /// [`Undecided`] when the budget does not suffice.
    pub fn combine(
        &mut self,
        a: Diagram,
        b: Diagram,
        mut join: impl FnMut(Action, Action) -> Action,
    ) -> Result<Diagram, Undecided> {
        let mut joined = |x: Leaf, y: Leaf| match (x, y) {
            (Leaf::Ret(x), Leaf::Ret(y)) => {
                Leaf::Ret(join(Action::from_ret(x), Action::from_ret(y)).to_ret())
            }
            (other, _) => other,
        };
        Ok(Diagram(self.arena.attempt(|arena| arena.join(a.0, b.0, &mut joined))?))
    }
}

fn stacked(arena: &mut Arena, stack: &[Program]) -> Result<Id, Undecided> {
    let allow = arena.leaf(Leaf::Ret(Action::Allow.to_ret()));
    let mut all = allow;
    for program in stack.iter().rev() {
        let older = symbolic::returns(arena, program)?;
        let rank = |leaf: Leaf| match leaf {
            Leaf::Ret(ret) => (ret & 0xffff_0000).cast_signed(),
            Leaf::Truth(_) | Leaf::Pair(..) => i32::MAX,
        };
        let mut stronger = |newer, older| if rank(older) < rank(newer) { older } else { newer };
        // Nothing is weaker than to allow, and what allows is the same with any data.
        all = if all == allow { older } else { arena.join(all, older, &mut stronger)? };
    }
    if !arena.has_unknown_actions() {
        return Ok(all);
    }
    // What kills because it is unknown is told from KILL_PROCESS by its precedence alone, and that has played its part.
    let known = |leaf: Leaf| match leaf {
        Leaf::Ret(ret) => Leaf::Ret(Action::from_ret(ret).to_ret()),
        other => other,
    };
    Ok(arena.map(all, &mut { known })?)
}

#[cfg(test)]
mod tests;

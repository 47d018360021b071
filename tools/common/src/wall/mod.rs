//! The syscall wall: one cell for each call, coloured by what is answered, hatched where arguments decide.
//!
//! [`Wall`] is plain data; [`svg`] and [`html`] draw it into one self-contained file without scripts. Colours are told apart by
//! people who do not see red and green apart (the palette of Okabe and Ito), and each answer has a sign of its own as well.

mod html;
mod paint;
mod svg;

use plim_seccomp::Action;

pub use html::html;
pub use svg::svg;

/// A picture of one decision function, or of the difference between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wall {
    /// The heading.
    pub title: String,
    /// What stands below it: facts, what all other architectures get.
    pub remarks: Vec<String>,
    /// One for each architecture.
    pub blocks: Vec<Block>,
    /// What a page says in words below the picture; without any, the calls that a colour cannot tell whole.
    pub tables: Vec<Words>,
}

/// A table of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// What it lists.
    pub heading: String,
    /// The columns.
    pub columns: Vec<String>,
    /// The rows, a cell for each column; lines within a cell are kept.
    pub rows: Vec<Vec<String>>,
}

/// The calls of one architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The architecture's name.
    pub title: String,
    /// What stands below it.
    pub remarks: Vec<String>,
    /// In the order in which they are drawn, column by column.
    pub cells: Vec<Cell>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The call's name, or what else stands for some numbers.
    pub name: String,
    /// Its number; `None` where it stands for several.
    pub number: Option<u32>,
    /// What is answered; in a difference, by the second side.
    pub answer: Answer,
    /// What the first side of a difference answers.
    pub before: Option<Answer>,
    /// Whether the two sides of a difference answer differently; the words may be the same where conditions cannot be said.
    pub changed: bool,
}

/// What is answered to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Every action that some arguments get, those that let more happen first; one for an unconditional call.
    pub actions: Vec<Action>,
    /// The conditions in words, one line each; none for an unconditional call.
    pub cases: Vec<String>,
}

impl Answer {
    /// The same answer whatever the arguments.
    pub fn always(action: Action) -> Answer {
        Answer { actions: vec![action], cases: Vec::new() }
    }

    /// An answer that arguments decide: every action, and the cases in words.
    pub fn conditional(actions: impl IntoIterator<Item = Action>, cases: Vec<String>) -> Answer {
        let mut actions: Vec<Action> = actions.into_iter().collect();
        // Allow is the last of the type's order, and lets the most happen.
        actions.sort_unstable_by(|a, b| b.cmp(a));
        actions.dedup();
        Answer { actions, cases }
    }

    fn is_conditional(&self) -> bool {
        self.actions.len() > 1
    }

    /// The answer in lines of text.
    fn lines(&self) -> Vec<String> {
        match self.actions.as_slice() {
            [only] => vec![only.to_string()],
            _ if self.cases.is_empty() => {
                let names: Vec<String> = self.actions.iter().map(Action::to_string).collect();
                vec![format!("depends on the arguments: {}", names.join(" or "))]
            }
            _ => self.cases.clone(),
        }
    }
}

impl Cell {
    /// What a pointer that rests on the cell is told.
    fn words(&self) -> Vec<String> {
        let name = match self.number {
            Some(number) => format!("{} ({number})", self.name),
            None => self.name.clone(),
        };
        let mut lines = vec![name];
        match &self.before {
            Some(before) if self.changed => {
                lines.push("A:".to_owned());
                lines.extend(before.lines());
                lines.push("B:".to_owned());
                lines.extend(self.answer.lines());
            }
            _ => lines.extend(self.answer.lines()),
        }
        lines
    }
}

impl Block {
    /// How many calls get what, in words.
    fn summary(&self) -> String {
        if self.cells.iter().any(|cell| cell.before.is_some()) {
            let changed = self.cells.iter().filter(|cell| cell.changed).count();
            return format!("{changed} of {} calls differ", self.cells.len());
        }
        let conditional = self.cells.iter().filter(|cell| cell.answer.is_conditional()).count();
        let mut counts: std::collections::BTreeMap<Action, usize> = std::collections::BTreeMap::new();
        for cell in self.cells.iter().filter(|cell| !cell.answer.is_conditional()) {
            for action in &cell.answer.actions {
                *counts.entry(*action).or_default() += 1;
            }
        }
        let mut parts: Vec<String> =
            counts.iter().rev().map(|(action, count)| format!("{count} {action}")).collect();
        if conditional > 0 {
            parts.push(format!("{conditional} decided by arguments"));
        }
        format!("{} calls: {}", self.cells.len(), parts.join(", "))
    }
}

#[cfg(test)]
mod tests;

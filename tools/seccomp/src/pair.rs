//! Two sides that are compared.

use plim_seccomp::diagram::{Diagram, Store};
use plim_tools_common::facts::{FactArgs, Gathered as GatheredFacts};
use plim_tools_common::seccomp_side::{self, Gathered, Meaning};

/// Two sides, read and not yet looked at.
pub(crate) struct Pair {
    sides: [Gathered; 2],
    facts: GatheredFacts,
    quiet: bool,
}

/// What two sides mean, in one store.
pub(crate) struct Compared {
    pub(crate) names: [String; 2],
    pub(crate) store: Store,
    pub(crate) diagrams: [Diagram; 2],
}

impl Pair {
    /// Reads both.
    pub(crate) fn gather(a: &str, b: &str, facts: &FactArgs, quiet: bool) -> anyhow::Result<Pair> {
        anyhow::ensure!(a != "-" || b != "-", "both targets are -, but stdin can be read once");
        let sides = [seccomp_side::gather(a)?, seccomp_side::gather(b)?];
        Ok(Pair { sides, facts: facts.gather_reading()?, quiet })
    }

    /// Parses both and finds out what they mean, with notes on stderr. A profile is resolved for the bounding set of a live target on
    /// the other side, unless another one was named.
    pub(crate) fn meanings(&self) -> anyhow::Result<([String; 2], [Meaning; 2])> {
        let sides = [self.sides[0].side()?, self.sides[1].side()?];
        let reading = self.facts.reading(sides[0].bounding.or(sides[1].bounding));
        let meanings = [sides[0].meaning(&reading)?, sides[1].meaning(&reading)?];
        if !self.quiet {
            let mut notes: Vec<String> = Vec::new();
            for (side, meaning) in sides.iter().zip(&meanings) {
                // One profile on both sides is spoken of once.
                let new = |note: &String| !notes.contains(note);
                let new: Vec<String> = meaning.notes(&side.name).into_iter().filter(new).collect();
                notes.extend(new);
            }
            crate::notes(&notes)?;
        }
        Ok((sides.map(|side| side.name), meanings))
    }

    /// The same as diagrams.
    pub(crate) fn compare(&self) -> anyhow::Result<Compared> {
        let (names, [a, b]) = self.meanings()?;
        let mut store = Store::new();
        let diagrams = [a.diagram(&mut store, &names[0])?, b.diagram(&mut store, &names[1])?];
        Ok(Compared { names, store, diagrams })
    }
}

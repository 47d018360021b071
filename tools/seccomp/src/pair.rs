//! Two sides that are compared.

use plim_seccomp::diagram::{Diagram, Store};
use plim_tools_common::facts::{FactArgs, Gathered as GatheredFacts};
use plim_tools_common::seccomp_side::{self, Gathered};

/// Two sides, read and not yet looked at.
pub(crate) struct Pair {
    sides: [Gathered; 2],
    facts: GatheredFacts,
}

/// Two sides, and what they mean, in one store.
pub(crate) struct Compared {
    pub(crate) names: [String; 2],
    pub(crate) store: Store,
    pub(crate) diagrams: [Diagram; 2],
}

impl Pair {
    /// Reads both.
    pub(crate) fn gather(a: &str, b: &str, facts: &FactArgs) -> anyhow::Result<Pair> {
        anyhow::ensure!(a != "-" || b != "-", "both targets are -, but stdin can be read once");
        let sides = [seccomp_side::gather(a)?, seccomp_side::gather(b)?];
        Ok(Pair { sides, facts: facts.gather()? })
    }

    /// Parses both and finds out what they mean. A profile is resolved for the bounding set of a live target on the other side, unless
    /// another one was named.
    pub(crate) fn compare(&self) -> anyhow::Result<Compared> {
        let sides = [self.sides[0].side()?, self.sides[1].side()?];
        let facts = self.facts.facts(sides[0].bounding.or(sides[1].bounding));
        let meanings = [sides[0].meaning(&facts)?, sides[1].meaning(&facts)?];
        let names = [sides[0].name.clone(), sides[1].name.clone()];
        let mut store = Store::new();
        let mut diagrams = Vec::new();
        for (meaning, name) in meanings.iter().zip(&names) {
            crate::notes(&meaning.notes(name))?;
            diagrams.push(meaning.diagram(&mut store, name)?);
        }
        Ok(Compared { diagrams: [diagrams[0], diagrams[1]], names, store })
    }
}

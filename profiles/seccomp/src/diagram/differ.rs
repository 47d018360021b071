//! Two diagrams side by side: where they answer differently, and how.

use std::collections::BTreeSet;

use super::answers::MOST_ANSWERS;
use super::arena::{Exceeded, FALSE, Id, Leaf, TRUE};
use super::cases::{self, Case};
use super::classes::{Class, classes};
use super::{Diagram, Store, Undecided, rules, witness, word};
use crate::action::Action;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::interpret::SeccompData;
use crate::syscalls;

/// Both answers of every call that two filters answer differently, or what is left of that for an architecture or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Difference(Id);

impl Difference {
    /// Nothing differs.
    pub(crate) const NONE: Difference = Difference(FALSE);
}

impl Store {
    /// Where `a` and `b` differ.
    pub(crate) fn difference(&mut self, a: Diagram, b: Diagram) -> Result<Difference, Undecided> {
        let mut pair = |x: Leaf, y: Leaf| match (x, y) {
            (Leaf::Ret(x), Leaf::Ret(y)) if x != y => Leaf::Pair(x, y),
            _ => Leaf::Truth(false),
        };
        // A diagram and itself are skipped as a whole.
        Ok(Difference(self.arena.attempt(|arena| arena.join_unequal(a.0, b.0, &mut pair))?))
    }

    /// A call to which `a` and `b` give answers that are not `fine` together. However many different answers there are, this asks
    /// for one.
    pub(crate) fn counterexample(
        &mut self,
        a: Diagram,
        b: Diagram,
        fine: impl Fn(Action, Action) -> bool,
    ) -> Result<Option<SeccompData>, Undecided> {
        let mut differ = |x: Leaf, y: Leaf| match (x, y) {
            (Leaf::Ret(x), Leaf::Ret(y)) => {
                Leaf::Truth(x != y && !fine(Action::from_ret(x), Action::from_ret(y)))
            }
            _ => Leaf::Truth(false),
        };
        let differs = self.arena.attempt(|arena| arena.join_unequal(a.0, b.0, &mut differ))?;
        Ok(witness::find(&self.arena, differs, &|leaf| leaf == Leaf::Truth(true)))
    }

    /// The pairs of answers that occur, in the order of the actions.
    ///
    /// # Errors
    /// [`Undecided`] for more than can be listed, and when the budget of the store is used up.
    pub(crate) fn pairs(&self, difference: Difference) -> Result<BTreeSet<(Action, Action)>, Undecided> {
        self.arena.left()?;
        let leaves = self.arena.reachable(difference.0).into_iter().filter_map(|id| self.arena.as_leaf(id));
        let pairs: BTreeSet<_> = leaves.filter_map(as_pair).collect();
        if pairs.len() > MOST_ANSWERS { Err(Exceeded::Answers(MOST_ANSWERS).into()) } else { Ok(pairs) }
    }

    /// What is left for one token, and one number if it is given.
    pub(crate) fn difference_at(&self, difference: Difference, token: u32, nr: Option<u32>) -> Difference {
        Difference(self.at(Diagram(difference.0), token, nr).0)
    }

    /// What is left for tokens other than these.
    pub(crate) fn difference_elsewhere(
        &mut self,
        difference: Difference,
        tokens: &BTreeSet<u32>,
    ) -> Result<Difference, Undecided> {
        self.without(difference, tokens, word::ARCH_LEVELS)
    }

    /// The difference for calls with this token, and none elsewhere.
    pub(crate) fn difference_only(
        &mut self,
        difference: Difference,
        token: u32,
    ) -> Result<Difference, Undecided> {
        let elsewhere = self.without(difference, &BTreeSet::from([token]), word::ARCH_LEVELS)?;
        let mut only =
            |whole: Leaf, rest: Leaf| if rest == Leaf::Truth(false) { whole } else { Leaf::Truth(false) };
        Ok(Difference(self.arena.attempt(|arena| arena.join(difference.0, elsewhere.0, &mut only))?))
    }

    /// Of a difference that is of one token: what is left for the numbers that belong to `arch` and have no name there.
    pub(crate) fn unnamed_difference(
        &mut self,
        difference: Difference,
        arch: Arch,
    ) -> Result<Difference, Undecided> {
        let named: BTreeSet<u32> = syscalls::calls(arch).map(|(_, nr)| nr.0).collect();
        let left = self.without(difference, &named, word::NR_LEVELS)?;
        if arch.audit_token() != Arch::X86_64.audit_token() {
            return Ok(left);
        }
        let (one, zero) = if arch == Arch::X32 { (left.0, FALSE) } else { (FALSE, left.0) };
        let own = self.arena.attempt(|arena| {
            let is_x32 =
                arena.node(word::NR_LEVELS.end - 1 - X32_SYSCALL_BIT.trailing_zeros(), FALSE, TRUE)?;
            arena.ite(is_x32, one, zero)
        });
        Ok(Difference(own?))
    }

    fn without(
        &mut self,
        difference: Difference,
        values: &BTreeSet<u32>,
        levels: std::ops::Range<u32>,
    ) -> Result<Difference, Undecided> {
        let mut starts = vec![(0, TRUE)];
        for value in values {
            rules::put(&mut starts, *value, FALSE);
            if let Some(next) = value.checked_add(1) {
                rules::put(&mut starts, next, TRUE);
            }
        }
        let without = self.arena.attempt(|arena| {
            let others = rules::by_starts(arena, levels, &starts)?;
            arena.ite(others, difference.0, FALSE)
        });
        Ok(Difference(without?))
    }

    /// The numbers of one token as classes that differ alike, those that do not differ left out.
    pub(crate) fn difference_classes(&self, of_token: Difference) -> Vec<(u32, Difference)> {
        let found = classes(&self.arena, of_token.0, word::NR_LEVELS);
        let differ =
            |class: Class| (class.rest.0 != FALSE).then_some((class.first, Difference(class.rest.0)));
        found.into_iter().filter_map(differ).collect()
    }

    /// Whether every call that is left has this pair of answers.
    pub(crate) fn is_all(&self, difference: Difference, pair: (Action, Action)) -> bool {
        self.arena.as_leaf(difference.0).and_then(as_pair) == Some(pair)
    }

    /// A call with this pair of answers, as [`Store::witness`] chooses it.
    pub(crate) fn difference_witness(
        &self,
        difference: Difference,
        wanted: impl Fn(Action, Action) -> bool,
    ) -> Option<SeccompData> {
        let wanted = |leaf: Leaf| as_pair(leaf).is_some_and(|(before, after)| wanted(before, after));
        witness::find(&self.arena, difference.0, &wanted)
    }

    /// The same for one number of one architecture, of which `rest` is left.
    pub(crate) fn witness_at(
        &self,
        rest: Difference,
        (token, nr): (u32, u32),
        pair: (Action, Action),
    ) -> Option<SeccompData> {
        witness::complete(
            &self.arena,
            rest.0,
            SeccompData { arch: token, nr, ..SeccompData::default() },
            &|leaf| as_pair(leaf) == Some(pair),
        )
    }

    /// The condition for this pair of answers, of one number of one architecture; see [`Store::cases`].
    pub(crate) fn difference_cases(
        &mut self,
        rest: Difference,
        arch: Arch,
        pair: (Action, Action),
    ) -> Result<Option<Vec<Case>>, Undecided> {
        let mut truth = |leaf: Leaf| Leaf::Truth(as_pair(leaf) == Some(pair));
        match self.arena.attempt(|arena| arena.map(rest.0, &mut truth)) {
            Ok(condition) => Ok(cases::of_condition(&mut self.arena, condition, arch)?),
            Err(_) => Ok(self.arena.left().map(|()| None)?),
        }
    }
}

fn as_pair(leaf: Leaf) -> Option<(Action, Action)> {
    match leaf {
        Leaf::Pair(before, after) => Some((Action::from_ret(before), Action::from_ret(after))),
        Leaf::Ret(_) | Leaf::Truth(_) => None,
    }
}

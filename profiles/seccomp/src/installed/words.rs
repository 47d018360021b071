//! Decisions on the words of a call's arguments, which is what classic BPF can look at.

use crate::action::Action;

/// A test of one 32-bit half of an argument: `half & mask` against a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WordTest {
    /// 0 to 5.
    pub(crate) argument: u8,
    /// The high half.
    pub(crate) high: bool,
    /// The bits that are looked at.
    pub(crate) mask: u32,
    /// How they are compared.
    pub(crate) compare: Compare,
    /// What they are compared with.
    pub(crate) value: u32,
}

/// The comparisons that libseccomp reduces all operators to; the others are their negations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Compare {
    /// `==`
    Equal,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl WordTest {
    pub(crate) fn holds(&self, args: &[u64; 6]) -> bool {
        let argument = args[usize::from(self.argument)];
        let half = if self.high { argument >> 32 } else { argument & u64::from(u32::MAX) };
        let (looked_at, value) = (half & u64::from(self.mask), u64::from(self.value));
        match self.compare {
            Compare::Equal => looked_at == value,
            Compare::Greater => looked_at > value,
            Compare::GreaterOrEqual => looked_at >= value,
        }
    }
}

/// A place in [`Decisions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Step(u32);

impl Step {
    /// Its place in [`Decisions::in_order`].
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One decision: an answer, or a test with what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    /// The verdict.
    Answer(Action),
    /// A test; both ways lead to decisions that were made before this one, so there are no loops.
    Test {
        /// What is looked at.
        test: WordTest,
        /// Where it holds.
        then: Step,
        /// Where it does not.
        otherwise: Step,
    },
}

/// Shared decisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decisions {
    all: Vec<Decision>,
    places: std::collections::HashMap<Decision, Step>,
}

impl Decisions {
    /// The place of a decision, the same for equal ones.
    pub(crate) fn put(&mut self, decision: Decision) -> Step {
        if let Decision::Test { then, otherwise, .. } = decision
            && then == otherwise
        {
            return then;
        }
        let next = Step(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        *self.places.entry(decision).or_insert_with(|| {
            self.all.push(decision);
            next
        })
    }

    pub(crate) fn answer(&mut self, action: Action) -> Step {
        self.put(Decision::Answer(action))
    }

    /// All of them; each leads to earlier ones only.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = Decision> {
        self.all.iter().copied()
    }

    pub(crate) fn get(&self, step: Step) -> Decision {
        self.all[step.index()]
    }

    /// The verdict for these arguments.
    pub(crate) fn decide(&self, mut step: Step, args: &[u64; 6]) -> Action {
        loop {
            match self.get(step) {
                Decision::Answer(action) => return action,
                Decision::Test { test, then, otherwise } => {
                    step = if test.holds(args) { then } else { otherwise };
                }
            }
        }
    }
}

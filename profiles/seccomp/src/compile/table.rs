//! What a diagram makes of one 32-bit word: the word's bits, and a diagram over everything else at each end.
//!
//! In a diagram the bits of the arguments lie side by side; a program loads a word and looks at it as a whole. So the bits of that word
//! are brought to the front.

use super::search::Range;
use crate::diagram::{Diagram, FastMap, Shape, Store, Undecided};

/// A handle of a step within one [`Table`].
pub(super) type StepId = u32;

/// One step through the bits of the word, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// What is left.
    End(Diagram),
    /// A bit (0: lowest), and the steps where it is 0 and where it is 1.
    Bit(u32, StepId, StepId),
}

/// The most steps of a table. Words that are compared with each other have more; they are tested bit by bit.
const MOST_STEPS: usize = 1 << 15;
/// The most ranges that are listed.
const MOST_RANGES: usize = 1 << 13;

/// Steps that are equal are the same.
pub(super) struct Table {
    steps: Vec<Step>,
    ids: FastMap<Step, StepId>,
    pub(super) root: StepId,
}

/// While a table is built.
struct Builder<'s> {
    store: &'s mut Store,
    table: Table,
    offset: u32,
    /// By diagram: its steps, once it was taken apart.
    known: FastMap<Diagram, StepId>,
    joined: FastMap<(Diagram, StepId, StepId), StepId>,
}

enum Stop {
    TooLarge,
    Undecided(Undecided),
}

impl Table {
    /// `diagram` with the word at `offset` in front; `None` when that is too large.
    ///
    /// # Errors
    /// The store's budget is used up.
    pub(super) fn of(store: &mut Store, diagram: Diagram, offset: u32) -> Result<Option<Table>, Undecided> {
        let table = Table { steps: Vec::new(), ids: FastMap::default(), root: 0 };
        let mut builder =
            Builder { store, table, offset, known: FastMap::default(), joined: FastMap::default() };
        match builder.split(diagram) {
            Ok(root) => Ok(Some(Table { root, ..builder.table })),
            Err(Stop::TooLarge) => Ok(None),
            Err(Stop::Undecided(why)) => Err(why),
        }
    }

    pub(super) fn step(&self, id: StepId) -> Step {
        self.steps[id as usize]
    }

    fn add(&mut self, step: Step) -> StepId {
        match step {
            Step::Bit(_, zero, one) if zero == one => zero,
            _ => *self.ids.entry(step).or_insert_with(|| {
                self.steps.push(step);
                u32::try_from(self.steps.len() - 1).unwrap_or(u32::MAX)
            }),
        }
    }

    /// Every diagram that is left at some end, each once.
    pub(super) fn ends(&self) -> Vec<Diagram> {
        let ends = self.reachable(self.root).into_iter().filter_map(|id| match self.step(id) {
            Step::End(diagram) => Some(diagram),
            Step::Bit(..) => None,
        });
        ends.collect()
    }

    /// The bits that some step from `id` on asks for.
    pub(super) fn mask(&self, id: StepId) -> u32 {
        self.reachable(id).into_iter().fold(0, |mask, id| match self.step(id) {
            Step::End(_) => mask,
            Step::Bit(bit, ..) => mask | 1 << bit,
        })
    }

    fn reachable(&self, id: StepId) -> Vec<StepId> {
        let mut seen = vec![false; self.steps.len()];
        let (mut found, mut left) = (Vec::new(), vec![id]);
        while let Some(id) = left.pop() {
            if std::mem::replace(&mut seen[id as usize], true) {
                continue;
            }
            found.push(id);
            if let Step::Bit(_, zero, one) = self.step(id) {
                left.extend([zero, one]);
            }
        }
        found
    }

    /// The values that have bits of `mask` only (all bits that are asked for from `id` on) as ranges of equal ends, in ascending order.
    /// `None` when there are more than can be handled, or more than `most`.
    pub(super) fn ranges(&self, id: StepId, mask: u32, most: usize) -> Option<Vec<(u32, Diagram)>> {
        let mut ranges = Vec::new();
        self.walk(id, mask, 0, most.min(MOST_RANGES), &mut ranges).then_some(ranges)
    }

    /// Whether there is room; `left` are the bits that may still be asked for, `value` what the others are.
    fn walk(&self, id: StepId, left: u32, value: u32, most: usize, ranges: &mut Vec<(u32, Diagram)>) -> bool {
        match self.step(id) {
            Step::End(diagram) => {
                if ranges.last().is_none_or(|last| last.1 != diagram) {
                    ranges.push((value, diagram));
                }
                ranges.len() <= most
            }
            Step::Bit(bit, zero, one) => {
                let highest = 31 - left.leading_zeros().min(31);
                let rest = left & !(1 << highest);
                let (zero, one) = if highest == bit { (zero, one) } else { (id, id) };
                self.walk(zero, rest, value, most, ranges)
                    && self.walk(one, rest, value | 1 << highest, most, ranges)
            }
        }
    }

    /// Bits that must all have one value, or else it is `other`: the way from `id` as far as it goes.
    pub(super) fn chain(&self, id: StepId) -> Chain {
        let Step::Bit(_, zero, one) = self.step(id) else {
            return Chain { mask: 0, value: 0, then: id, other: id };
        };
        let follow = |other: StepId| {
            let (mut mask, mut value, mut then) = (0, 0, id);
            while let Step::Bit(bit, zero, one) = self.step(then) {
                (then, value) = match (zero == other, one == other) {
                    (true, _) => (one, value | 1 << bit),
                    (_, true) => (zero, value),
                    _ => break,
                };
                mask |= 1 << bit;
            }
            Chain { mask, value, then, other }
        };
        let (by_zero, by_one) = (follow(zero), follow(one));
        if by_zero.mask.count_ones() > by_one.mask.count_ones() { by_zero } else { by_one }
    }
}

/// `word & mask == value` leads to `then`, anything else to `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) mask: u32,
    pub(super) value: u32,
    pub(super) then: StepId,
    pub(super) other: StepId,
}

impl Builder<'_> {
    fn add(&mut self, step: Step) -> Result<StepId, Stop> {
        if self.table.steps.len() >= MOST_STEPS || self.joined.len() >= MOST_STEPS {
            return Err(Stop::TooLarge);
        }
        Ok(self.table.add(step))
    }

    fn split(&mut self, diagram: Diagram) -> Result<StepId, Stop> {
        if let Some(known) = self.known.get(&diagram) {
            return Ok(*known);
        }
        let id = match self.store.shape(diagram) {
            Shape::Asks { offset, bit, zero, one } if offset == self.offset => {
                let (zero, one) = (self.split(zero)?, self.split(one)?);
                self.add(Step::Bit(bit, zero, one))?
            }
            // Words other than token and number lie side by side; before them there is no bit of this one to come.
            Shape::Asks { offset, zero, one, .. } if offset >= 8 || self.offset >= 8 => {
                let (zero, one) = (self.split(zero)?, self.split(one)?);
                self.join(diagram, zero, one)?
            }
            Shape::Asks { .. } | Shape::Answer(_) => self.add(Step::End(diagram))?,
        };
        self.known.insert(diagram, id);
        Ok(id)
    }

    /// Where the bit that `asks` asks for first (one of another word) decides between `zero` and `one`.
    fn join(&mut self, asks: Diagram, zero: StepId, one: StepId) -> Result<StepId, Stop> {
        if zero == one {
            return Ok(zero);
        }
        if let Some(known) = self.joined.get(&(asks, zero, one)) {
            return Ok(*known);
        }
        let id = match (self.table.step(zero), self.table.step(one)) {
            (Step::End(zero), Step::End(one)) => {
                let joined = self.store.ask_as(asks, zero, one).map_err(Stop::Undecided)?;
                self.add(Step::End(joined))?
            }
            (z, o) => {
                let bit = |step: Step| match step {
                    Step::Bit(bit, ..) => Some(bit),
                    Step::End(_) => None,
                };
                let highest = bit(z).max(bit(o));
                let halves = |id: StepId, step: Step| match step {
                    Step::Bit(bit, zero, one) if Some(bit) == highest => (zero, one),
                    _ => (id, id),
                };
                let ((zz, zo), (oz, oo)) = (halves(zero, z), halves(one, o));
                let below = self.join(asks, zz, oz)?;
                let above = self.join(asks, zo, oo)?;
                self.add(Step::Bit(highest.unwrap_or_default(), below, above))?
            }
        };
        self.joined.insert((asks, zero, one), id);
        Ok(id)
    }
}

/// The values of a word that a diagram asks for first, token or number, as ranges of what is left. `None` when there are more than can be
/// handled.
pub(super) fn front(store: &Store, diagram: Diagram, offset: u32) -> Option<Vec<(u32, Diagram)>> {
    let mut ranges = Vec::new();
    front_below(store, diagram, offset, (32, 0), &mut ranges).then_some(ranges)
}

/// The values that have the bits from `known` on in common with `value`.
fn front_below(
    store: &Store,
    diagram: Diagram,
    offset: u32,
    (known, value): (u32, u32),
    ranges: &mut Vec<(u32, Diagram)>,
) -> bool {
    let (next, zero, one) = match store.shape(diagram) {
        Shape::Asks { offset: of, bit, zero, one } if of == offset => (bit, zero, one),
        _ => {
            if ranges.last().is_none_or(|last| last.1 != diagram) {
                ranges.push((value, diagram));
            }
            return ranges.len() <= MOST_RANGES;
        }
    };
    if next + 1 < known {
        // Bits that do not count: the same twice.
        let half = known - 1;
        return front_below(store, diagram, offset, (half, value), ranges)
            && front_below(store, diagram, offset, (half, value | 1 << half), ranges);
    }
    front_below(store, zero, offset, (next, value), ranges)
        && front_below(store, one, offset, (next, value | 1 << next), ranges)
}

/// Ranges of the caller's leaves.
pub(super) fn leaves(ranges: &[(u32, Diagram)], mut leaf: impl FnMut(Diagram) -> u32) -> Vec<Range> {
    ranges.iter().map(|(start, diagram)| Range { start: *start, leaf: leaf(*diagram) }).collect()
}

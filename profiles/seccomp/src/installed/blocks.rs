//! The instructions that libseccomp makes of its graphs, as far as their meaning depends on it.
//!
//! Every comparison becomes a block of instructions: load a word, mask it, compare. libseccomp leaves the load out where the word is
//! in the accumulator already when the block is reached *from its neighbour on the level*. When blocks are laid out, the first one found to
//! jump to a block (from the end of the program backwards, the way of "yes" before that of "no") decides whether it gets its load after
//! all. Others that jump there with another word in the accumulator are not looked at: the comparison is then made with the wrong word.
//! Equal blocks are shared, also between calls and architectures. So what a rule means can depend on all the others, and it is
//! followed here step by step.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::levels::Levels;
use super::node::Side;
use super::words::{Compare, Decision, Decisions, Step, WordTest};
use crate::action::Action;

/// What the accumulator holds: a half of an argument, and the bits of it that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    argument: u8,
    high: bool,
    mask: u32,
}

/// Which call's graph a level belongs to.
type Graph = usize;

/// The kernel's limit (`BPF_MAXINSNS`); a block is at least one instruction.
pub(super) const MOST_INSTRUCTIONS: usize = 4096;

/// A place in [`Blocks::all`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Block(usize);

/// Equal blocks are one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Content {
    Answer(Action),
    Compare {
        /// What it counts on; `None` when it loads for itself.
        needs: Option<Held>,
        /// Whether it masks what it has.
        masks: bool,
        compare: Compare,
        value: u32,
        yes: Block,
        no: Block,
        /// What it means to have in the accumulator when it compares.
        leaves: Held,
    },
}

/// All blocks of a filter.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    all: Vec<Content>,
    places: HashMap<Content, Block>,
    /// Blocks that a jump has reached, and whether they load what they count on.
    laid_out: HashMap<Block, bool>,
    chains: HashMap<(Graph, usize, Block, Option<Held>), Block>,
    steps: HashMap<(Block, Option<Held>), Step>,
    graphs: usize,
}

impl Blocks {
    fn put(&mut self, content: Content) -> Block {
        let next = Block(self.all.len());
        *self.places.entry(content).or_insert_with(|| {
            self.all.push(content);
            next
        })
    }

    pub(super) fn answer(&mut self, action: Action) -> Block {
        self.put(Content::Answer(action))
    }

    /// How many different blocks there are; a filter has at least as many instructions.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The first block of a call's rules.
    pub(super) fn of_call(&mut self, levels: &Levels, default: Block) -> Block {
        self.graphs += 1;
        let graph = self.graphs;
        levels.first().map_or(default, |first| self.of_level(graph, levels, first, default, None))
    }

    fn of_level(
        &mut self,
        graph: Graph,
        levels: &Levels,
        level: usize,
        next: Block,
        held: Option<Held>,
    ) -> Block {
        let first = levels.start(level);
        // Refused afterwards; here it bounds the time.
        if self.all.len() > MOST_INSTRUCTIONS {
            return next;
        }
        if let Some(block) = self.chains.get(&(graph, first, next, held)) {
            return *block;
        }
        // Forwards, since each block counts on what its neighbour leaves.
        let mut now = held;
        let planned: Vec<_> = levels
            .level(first)
            .map(|id| {
                let WordTest { argument, high, mask, .. } = levels.test(id);
                let needs = now.filter(|held| {
                    (held.argument, held.high) == (argument, high) && mask & held.mask == mask
                });
                let before = needs.map_or(u32::MAX, |held| held.mask);
                let leaves = Held { argument, high, mask };
                now = Some(leaves);
                (id, needs, mask != before, leaves)
            })
            .collect();
        // Backwards, since each block jumps to its neighbour.
        let mut neighbour = next;
        for (id, needs, masks, leaves) in planned.into_iter().rev() {
            let [yes, no] = levels.sides(id).map(|side| match side {
                Side::Neighbour => neighbour,
                Side::Answer(action) => self.answer(action),
                Side::Level(level) => self.of_level(graph, levels, level, neighbour, Some(leaves)),
            });
            let WordTest { compare, value, .. } = levels.test(id);
            neighbour = self.put(Content::Compare { needs, masks, compare, value, yes, no, leaves });
        }
        self.chains.insert((graph, first, next, held), neighbour);
        neighbour
    }

    /// Lays out what is reached from the calls, whose first blocks are given in the order of the program.
    pub(super) fn lay_out(&mut self, calls: &[Block]) {
        for call in calls.iter().rev() {
            self.reach(*call, None);
            let mut open = vec![*call];
            while let Some(block) = open.last().copied() {
                let next = match self.all[block.0] {
                    Content::Answer(_) => None,
                    Content::Compare { yes, no, leaves, .. } => {
                        [yes, no].into_iter().find(|next| self.reach(*next, Some(leaves)))
                    }
                };
                match next {
                    Some(next) => open.push(next),
                    None => _ = open.pop(),
                }
            }
        }
    }

    /// A jump to a block with this in the accumulator; whether it is the first one.
    fn reach(&mut self, block: Block, held: Option<Held>) -> bool {
        let loads = match self.all[block.0] {
            Content::Compare { needs, .. } => needs.is_some() && needs != held,
            Content::Answer(_) => false,
        };
        match self.laid_out.entry(block) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(loads);
                true
            }
        }
    }

    /// What happens from a call's first block on.
    pub(super) fn steps(&mut self, call: Block, to: &mut Decisions) -> Step {
        // Without recursion: a level may be thousands of blocks long.
        let mut open = vec![(call, None)];
        while let Some((block, held)) = open.last().copied() {
            let step = match self.all[block.0] {
                Content::Answer(action) => to.answer(action),
                Content::Compare { needs, masks, compare, value, yes, no, leaves } => {
                    let loads = self.laid_out.get(&block) == Some(&true);
                    let mut now = match (needs, held) {
                        (None, _) => Held { mask: u32::MAX, ..leaves },
                        (Some(_), Some(held)) if !loads => held,
                        (Some(needs), _) => needs,
                    };
                    if masks {
                        now.mask &= leaves.mask;
                    }
                    let known = [yes, no].map(|next| self.steps.get(&(next, Some(now))).copied());
                    let [Some(then), Some(otherwise)] = known else {
                        let open_ways = [no, yes].into_iter().zip([known[1], known[0]]);
                        open.extend(
                            open_ways.filter(|(_, known)| known.is_none()).map(|(next, _)| (next, Some(now))),
                        );
                        continue;
                    };
                    let Held { argument, high, mask } = now;
                    let test = WordTest { argument, high, mask, compare, value };
                    to.put(Decision::Test { test, then, otherwise })
                }
            };
            open.pop();
            self.steps.insert((block, held), step);
        }
        self.steps[&(call, None)]
    }
}

//! Search trees over ranges of equal verdict, as few branches as possible where they are rarely taken and as shallow as possible
//! where they often are.
//!
//! A table (all 2³² numbers, say, or all values of one word of an argument) is a list of [`Range`]s. [`Forest::plan`] finds the tree of
//! least cost for it by dynamic programming over stretches of ranges. A stretch is
//! * one leaf;
//! * *singles* in something else: a few numbers that are asked for one by one (`JEQ`), and what is left without them;
//! * *cut* in two at the start of a range (`JGE`);
//! * or *shared*: a tree that was planned before, for another architecture, answers alike here, but for a few singles ([`super::sharing`]).

use super::sharing::Shared;
use crate::diagram::FastMap;

/// What is done with a value: one of the caller's numbers.
pub(super) type Leaf = u32;
/// A node of a [`Forest`].
pub(super) type NodeId = u32;

/// Values from `start` to the next range's start (the last: to the largest value).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) leaf: Leaf,
}

/// One step of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Leaf(Leaf),
    /// At least this value: the second node, else the first.
    AtLeast(u32, NodeId, NodeId),
    /// Exactly this value: the first node, else the second.
    Exactly(u32, NodeId, NodeId),
}

/// The weight of one number that is not hot.
pub(super) const UNIT: u64 = 16;
/// What one branch more costs: as much as one step more for this many numbers.
const BRANCH: u64 = 12 * UNIT;
/// Up to so many ranges every cut is tried.
const EVERY_CUT: usize = 10;
/// How far from where its halves weigh alike a longer stretch may be cut.
const OFF_MIDDLE: usize = 3;
/// The most numbers that are asked for one by one.
pub(super) const MOST_SINGLES: usize = 3;
/// The most ranges that are planned as a whole; longer tables are cut in the middle first.
const MOST_PLANNED: usize = 160;

/// Not planned yet.
const UNKNOWN: u32 = u32::MAX;
/// A tree may be as deep as it likes.
const UNBOUNDED: u32 = u32::MAX;
/// There is no tree of so few levels.
const IMPOSSIBLE: u64 = u64::MAX;
/// What a tree is to be besides cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// No more than cheap by weight.
    AsWeighed,
    /// Deeper branches cost a fifth more a step, so that no value has a much longer way than the others.
    Flat,
    /// No value has a longer way than in a balanced tree of its own.
    Balanced,
}

/// How much deeper branches cost more, as a divisor.
const FLAT: u64 = 5;

/// Trees that share nodes.
#[derive(Default)]
pub(super) struct Forest {
    pub(super) nodes: Vec<Node>,
    ids: FastMap<Node, NodeId>,
    /// What each node answers to every value, and how deep it has to search for it.
    pub(super) answers: Vec<Vec<Answer>>,
}

/// From `start` on a node answers `leaf`, after `depth` branches.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) start: u32,
    pub(super) leaf: Leaf,
    pub(super) depth: u32,
}

impl Forest {
    pub(super) fn node(&self, id: NodeId) -> Node {
        self.nodes[id as usize]
    }

    fn add(&mut self, node: Node) -> NodeId {
        if let Some(known) = self.ids.get(&node) {
            return *known;
        }
        let id = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let answers = self.answers_of(node);
        self.nodes.push(node);
        self.ids.insert(node, id);
        self.answers.push(answers);
        id
    }

    fn answers_of(&self, node: Node) -> Vec<Answer> {
        let deeper = |answer: &Answer| Answer { depth: answer.depth + 1, ..*answer };
        match node {
            Node::Leaf(leaf) => vec![Answer { start: 0, leaf, depth: 0 }],
            Node::AtLeast(value, below, rest) => {
                let rest = &self.answers[rest as usize];
                let first = rest.partition_point(|answer| answer.start <= value) - 1;
                let below = self.answers[below as usize].iter().filter(|answer| answer.start < value);
                let at = Answer { start: value, ..rest[first] };
                below.chain([&at]).chain(&rest[first + 1..]).map(deeper).collect()
            }
            Node::Exactly(value, leaf, rest) => {
                let rest = &self.answers[rest as usize];
                let within = rest.partition_point(|answer| answer.start <= value) - 1;
                let leaf = self.answers[leaf as usize][0].leaf;
                let mut list: Vec<Answer> = rest[..=within].iter().map(deeper).collect();
                if list.last().is_some_and(|last| last.start == value) {
                    list.pop();
                }
                list.push(Answer { start: value, leaf, depth: 1 });
                if let Some(next) = value.checked_add(1)
                    && rest.get(within + 1).is_none_or(|answer| answer.start > next)
                {
                    list.push(Answer { start: next, ..deeper(&rest[within]) });
                }
                list.extend(rest[within + 1..].iter().map(deeper));
                list
            }
        }
    }

    /// The root of a search through `ranges` (not empty, the first starts at 0), where `weight` says how often the values of each are
    /// looked for.
    pub(super) fn plan(&mut self, ranges: &[Range], weights: &[u64], form: Form) -> NodeId {
        if ranges.len() > MOST_PLANNED {
            let middle = ranges.len() / 2;
            let below = self.plan(&ranges[..middle], &weights[..middle], form);
            let rest = self.plan(&ranges[middle..], &weights[middle..], form);
            return self.add(Node::AtLeast(ranges[middle].start, below, rest));
        }
        let mut sums = vec![0];
        sums.extend(weights.iter().scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        }));
        let length = ranges.len();
        // A balanced tree of this many ranges needs so many branches.
        let deepest = match form {
            Form::Balanced => length.next_power_of_two().ilog2(),
            Form::AsWeighed | Form::Flat => UNBOUNDED,
        };
        let levels = if deepest == UNBOUNDED { 1 } else { deepest as usize + 1 };
        let mut planner = Planner {
            flatten: if form == Form::Flat { FLAT } else { u64::MAX },
            ranges,
            sums,
            levels,
            known: vec![UNKNOWN; length * (length + 1) * levels],
            plans: Vec::new(),
            shared: self.shared(ranges),
        };
        planner.plan(0, length, deepest);
        planner.build(0, length, deepest, self)
    }
}

/// How a stretch of ranges is searched, and what that costs.
#[derive(Clone, Copy)]
struct Plan {
    cost: u64,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    /// Single numbers, asked for one by one, in what is otherwise this.
    Singles(Leaf),
    /// Numbers from this range on, and the others.
    Cut(usize),
    /// This of the shared nodes that start here.
    Shared(usize),
}

struct Planner<'r> {
    flatten: u64,
    ranges: &'r [Range],
    /// The weight of all ranges before each.
    sums: Vec<u64>,
    /// How many depths are told apart.
    levels: usize,
    /// By start, end and depth, which of `plans`.
    known: Vec<u32>,
    plans: Vec<Plan>,
    shared: Vec<Vec<Shared>>,
}

impl Planner<'_> {
    fn weight(&self, from: usize, to: usize) -> u64 {
        self.sums[to] - self.sums[from]
    }

    fn leaf(&self, index: usize) -> Leaf {
        self.ranges[index].leaf
    }

    fn place(&self, from: usize, to: usize, depth: u32) -> usize {
        let level = if depth == UNBOUNDED { 0 } else { depth as usize };
        (from * (self.ranges.len() + 1) + to) * self.levels + level
    }

    fn known(&self, from: usize, to: usize, depth: u32) -> Option<Plan> {
        self.plans.get(self.known[self.place(from, to, depth)] as usize).copied()
    }

    /// The best way to search the ranges from `from` up to, not including, `to`, in no more than `depth` branches.
    fn plan(&mut self, from: usize, to: usize, depth: u32) -> u64 {
        if let Some(known) = self.known(from, to, depth) {
            return known.cost;
        }
        let mut best =
            self.singles(from, to, depth).unwrap_or(Plan { cost: IMPOSSIBLE, how: How::Cut(from + 1) });
        for (index, shared) in self.shared[from].iter().enumerate().take_while(|(_, shared)| shared.to >= to)
        {
            let end = self.ranges.get(to).map_or(u32::MAX, |next| next.start - 1);
            let singles = shared.singles.up_to(end).count() as u64;
            if singles + u64::from(shared.depth) > u64::from(depth) {
                continue;
            }
            let cost = singles * BRANCH + self.weight(from, to) * (singles + u64::from(shared.depth));
            if cost < best.cost {
                best = Plan { cost, how: How::Shared(index) };
            }
        }
        let here = BRANCH + self.weight(from, to);
        if best.cost > here && depth > 0 {
            let rest = if depth == UNBOUNDED { depth } else { depth - 1 };
            for cut in self.cuts(from, to) {
                let below = self.plan(from, cut, rest);
                if below.saturating_add(here) >= best.cost {
                    continue;
                }
                let above = self.plan(cut, to, rest);
                if above == IMPOSSIBLE {
                    continue;
                }
                let both = below + above;
                let cost = both + both / self.flatten + here;
                if cost < best.cost {
                    best = Plan { cost, how: How::Cut(cut) };
                }
            }
        }
        let place = self.place(from, to, depth);
        self.known[place] = u32::try_from(self.plans.len()).unwrap_or(UNKNOWN);
        self.plans.push(best);
        best.cost
    }

    /// Where a stretch may be cut: anywhere when it is short, else about where its halves weigh alike.
    fn cuts(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        if to - from <= EVERY_CUT {
            return from + 1..to;
        }
        let middle = if self.levels > 1 {
            from.midpoint(to)
        } else {
            let half = (self.sums[from] + self.sums[to]) / 2;
            self.sums[from..to].partition_point(|sum| *sum <= half) + from
        };
        middle.saturating_sub(OFF_MIDDLE).clamp(from + 1, to - 1)..(middle + OFF_MIDDLE + 1).min(to)
    }

    fn is_single(&self, index: usize) -> bool {
        let next = self.ranges.get(index + 1).map_or(u32::MAX, |next| next.start - 1);
        next == self.ranges[index].start
    }

    /// A few single numbers in an otherwise uniform stretch.
    fn singles(&self, from: usize, to: usize, depth: u32) -> Option<Plan> {
        if to - from > 2 * MOST_SINGLES + 1 {
            return None;
        }
        let mut wide = (from..to).filter(|index| !self.is_single(*index)).map(|index| self.leaf(index));
        let rest = wide.next().unwrap_or(self.leaf(from));
        if wide.any(|leaf| leaf != rest) {
            return None;
        }
        let (mut asked, mut weights, mut others) = (0, [0; MOST_SINGLES], 0);
        for index in from..to {
            let weight = self.weight(index, index + 1);
            if self.leaf(index) == rest {
                others += weight;
            } else {
                *weights.get_mut(asked)? = weight;
                asked += 1;
            }
        }
        if asked > depth as usize {
            return None;
        }
        // The heaviest is asked for first.
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let steps: u64 = (1..).zip(weights).map(|(steps, weight)| steps * weight).sum();
        let asked = asked as u64;
        let cost = asked * BRANCH + steps + asked * others;
        Some(Plan { cost, how: How::Singles(rest) })
    }

    fn build(&self, from: usize, to: usize, depth: u32, forest: &mut Forest) -> NodeId {
        match self.known(from, to, depth).map(|plan| plan.how) {
            Some(How::Singles(rest)) => {
                let mut singles: Vec<usize> = (from..to).filter(|index| self.leaf(*index) != rest).collect();
                // The last is asked for first.
                singles.sort_by_key(|index| self.weight(*index, index + 1));
                let end = forest.add(Node::Leaf(rest));
                singles.into_iter().fold(end, |node, index| {
                    let leaf = forest.add(Node::Leaf(self.leaf(index)));
                    forest.add(Node::Exactly(self.ranges[index].start, leaf, node))
                })
            }
            Some(How::Shared(index)) => {
                let shared = &self.shared[from][index];
                let end = self.ranges.get(to).map_or(u32::MAX, |next| next.start - 1);
                shared.singles.up_to(end).fold(shared.node, |node, (value, leaf)| {
                    let leaf = forest.add(Node::Leaf(leaf));
                    forest.add(Node::Exactly(value, leaf, node))
                })
            }
            Some(How::Cut(cut)) => {
                let depth = if depth == UNBOUNDED { depth } else { depth - 1 };
                let rest = self.build(cut, to, depth, forest);
                let below = self.build(from, cut, depth, forest);
                forest.add(Node::AtLeast(self.ranges[cut].start, below, rest))
            }
            None => unreachable!("what is built was planned"),
        }
    }
}

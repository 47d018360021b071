//! The nodes: hash-consed, so that within one arena equal handles are equal functions and the other way round.

use std::cell::{Cell, RefCell};

use super::hash::{FastMap, mix};
use super::interrupt;
use crate::action::Action;

/// What a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Leaf {
    /// Of a condition.
    Truth(bool),
    /// Of a filter: the value it returns.
    Ret(u32),
    /// Of two filters that answer differently.
    Pair(u32, u32),
}

/// A node or, with the top bit set, a leaf.
pub(super) type Id = u32;

const LEAF: u32 = 0x8000_0000;
pub(super) const FALSE: Id = LEAF;
pub(super) const TRUE: Id = LEAF | 1;

/// One bit is asked for; which one is its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) level: u32,
    /// Where the bit is 0.
    pub(super) zero: Id,
    /// Where the bit is 1.
    pub(super) one: Id,
}

/// What was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    Nodes(usize),
    Steps(u64),
    Answers(usize),
    Time,
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exceeded::Nodes(limit) => write!(f, "the decision diagram needs more than {limit} nodes"),
            Exceeded::Steps(limit) => {
                write!(f, "building the decision diagram takes more than {limit} steps")
            }
            Exceeded::Answers(limit) => write!(f, "there are more than {limit} different answers"),
            Exceeded::Time => f.write_str("the time of the command is up"),
        }
    }
}

/// Steps of one operation for each node of the budget: what bounds its time as the nodes bound its memory.
const STEPS_PER_NODE: u64 = 16;
/// Steps of all operations together, and of all that is read off diagrams, for each node of the budget.
const ALL_STEPS_PER_NODE: u64 = 48;
/// Steps that a store has however small its budget of nodes is.
const FEWEST_STEPS: u64 = 1 << 14;
/// Steps between two looks at [`interrupt`].
const STEPS_PER_LOOK: u64 = 1 << 12;
/// Most leaves: every number of an error and all data of a tracer fit in, the pairs of two such filters do not.
const MOST_LEAVES: usize = 1 << 17;
const SMALLEST_TABLE: usize = 1 << 13;
const LARGEST_CACHE: usize = 1 << 19;
const NOTHING: u32 = u32::MAX;

pub(super) struct Arena {
    nodes: Vec<Node>,
    /// Open addressing over `nodes`, [`NOTHING`] where free.
    table: Vec<u32>,
    leaves: Vec<Leaf>,
    leaf_ids: FastMap<Leaf, Id>,
    /// Results of [`Arena::ite`], overwritten at will: condition, then, else, result.
    cache: Vec<[u32; 4]>,
    budget: usize,
    /// Steps since the store was made. Readers count theirs too, and the next operation that can fail does.
    steps: Cell<u64>,
    /// Where the operation that runs has used up its share.
    end: u64,
    /// Where the whole store has.
    end_of_all: u64,
    /// When to look at the limits next.
    look: Cell<u64>,
    /// What [`Arena::kinds`] found, by node; 0 where it has not looked.
    kinds: RefCell<Vec<u8>>,
}

impl Arena {
    pub(super) fn new(budget: usize) -> Arena {
        let leaves = vec![Leaf::Truth(false), Leaf::Truth(true)];
        Arena {
            nodes: Vec::new(),
            table: vec![NOTHING; SMALLEST_TABLE],
            leaf_ids: leaves.iter().copied().zip([FALSE, TRUE]).collect(),
            leaves,
            cache: vec![[NOTHING; 4]; SMALLEST_TABLE],
            budget: budget.min(LEAF as usize - 1),
            steps: Cell::new(0),
            end: u64::MAX,
            end_of_all: ALL_STEPS_PER_NODE * budget as u64 + FEWEST_STEPS,
            look: Cell::new(0),
            kinds: RefCell::default(),
        }
    }

    /// One operation, with steps of its own. If it fails, what it made is taken away again, so that the next one finds room.
    pub(super) fn attempt<T, E>(&mut self, run: impl FnOnce(&mut Arena) -> Result<T, E>) -> Result<T, E> {
        let (nodes, leaves) = (self.nodes.len(), self.leaves.len());
        let share = self.steps.get() + self.most_steps();
        let end = std::mem::replace(&mut self.end, share);
        self.look.set(0);
        let result = run(self);
        self.end = end;
        if result.is_err() {
            self.forget(nodes, leaves);
        }
        result
    }

    /// Takes away the newest nodes and leaves, all but so many.
    fn forget(&mut self, nodes: usize, leaves: usize) {
        self.spend(self.nodes.len() - nodes + self.cache.len() / 8);
        self.kinds.get_mut().truncate(nodes);
        for leaf in self.leaves.drain(leaves..) {
            self.leaf_ids.remove(&leaf);
        }
        let mask = self.table.len() - 1;
        // The newest first, so that no later one was put behind a slot that becomes free.
        while self.nodes.len() > nodes {
            let Some(node) = self.nodes.pop() else { break };
            let mut slot = slot(node.level, node.zero, node.one) & mask;
            while self.table[slot] as usize != self.nodes.len() {
                slot = (slot + 1) & mask;
            }
            self.table[slot] = NOTHING;
        }
        // A leaf that is gone can come back under another number.
        for entry in &mut self.cache {
            let gone =
                |id: u32| if id & LEAF == 0 { id as usize >= nodes } else { (id ^ LEAF) as usize >= leaves };
            if entry.iter().any(|id| gone(*id)) {
                *entry = [NOTHING; 4];
            }
        }
    }

    /// The same with at most so many new nodes.
    pub(super) fn attempt_small<T, E>(
        &mut self,
        nodes: usize,
        run: impl FnOnce(&mut Arena) -> Result<T, E>,
    ) -> Result<T, E> {
        let budget = self.budget;
        self.budget = budget.min(self.nodes.len() + nodes);
        let result = self.attempt(run);
        self.budget = budget;
        result
    }

    fn most_steps(&self) -> u64 {
        STEPS_PER_NODE * self.budget as u64 + FEWEST_STEPS / 4
    }

    pub(super) fn step(&self) -> Result<(), Exceeded> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps < self.look.get() { Ok(()) } else { self.look() }
    }

    /// Counts steps of what cannot fail.
    pub(super) fn spend(&self, steps: usize) {
        self.steps.set(self.steps.get() + steps as u64);
    }

    /// How many steps there were, and how many there may be.
    pub(super) fn steps(&self) -> (u64, u64) {
        (self.steps.get(), self.end_of_all)
    }

    #[cold]
    fn look(&self) -> Result<(), Exceeded> {
        self.left()?;
        let steps = self.steps.get();
        if steps > self.end {
            return Err(Exceeded::Steps(self.most_steps()));
        }
        self.look.set((steps + STEPS_PER_LOOK).min(self.end).min(self.end_of_all));
        Ok(())
    }

    /// Fails when nothing more can be worked out in this store.
    pub(super) fn left(&self) -> Result<(), Exceeded> {
        if interrupt::requested() {
            Err(Exceeded::Time)
        } else if self.steps.get() > self.end_of_all {
            Err(Exceeded::Steps(self.end_of_all))
        } else {
            Ok(())
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn leaf(&mut self, leaf: Leaf) -> Id {
        if let Some(id) = self.leaf_ids.get(&leaf) {
            return *id;
        }
        // There are at most 2³² values, and they come from constants of programs or are counted ([`Arena::computed`]).
        let id = LEAF | u32::try_from(self.leaves.len()).unwrap_or(u32::MAX);
        self.leaves.push(leaf);
        self.leaf_ids.insert(leaf, id);
        id
    }

    /// The same for values that are computed, of which a few instructions make many.
    pub(super) fn computed(&mut self, leaf: Leaf) -> Result<Id, Exceeded> {
        let id = self.leaf(leaf);
        if self.leaves.len() > MOST_LEAVES { Err(Exceeded::Answers(MOST_LEAVES)) } else { Ok(id) }
    }

    /// Whether a program's value was met that is none of the kernel's actions.
    pub(super) fn has_unknown_actions(&self) -> bool {
        self.leaves
            .iter()
            .any(|leaf| matches!(leaf, Leaf::Ret(ret) if Action::from_ret(*ret).to_ret() != *ret))
    }

    /// The leaf, of a handle that is one.
    pub(super) fn as_leaf(&self, id: Id) -> Option<Leaf> {
        (id & LEAF != 0).then(|| self.leaves[(id ^ LEAF) as usize])
    }

    /// The node, of a handle that is one.
    pub(super) fn as_node(&self, id: Id) -> Option<Node> {
        (id & LEAF == 0).then(|| self.nodes[id as usize])
    }

    /// The level of the first bit that is asked for; leaves lie below all.
    pub(super) fn level(&self, id: Id) -> u32 {
        if id & LEAF == 0 { self.nodes[id as usize].level } else { u32::MAX }
    }

    /// What is left of `id` where the bit of `level` (not below its first) is known.
    pub(super) fn branches(&self, id: Id, level: u32) -> (Id, Id) {
        match self.as_node(id) {
            Some(node) if node.level == level => (node.zero, node.one),
            _ => (id, id),
        }
    }

    pub(super) fn node(&mut self, level: u32, zero: Id, one: Id) -> Result<Id, Exceeded> {
        if zero == one {
            return Ok(zero);
        }
        self.step()?;
        let node = Node { level, zero, one };
        let mask = self.table.len() - 1;
        let mut slot = slot(level, zero, one) & mask;
        while self.table[slot] != NOTHING {
            if self.nodes[self.table[slot] as usize] == node {
                return Ok(self.table[slot]);
            }
            slot = (slot + 1) & mask;
        }
        if self.nodes.len() >= self.budget {
            return Err(Exceeded::Nodes(self.budget));
        }
        // Below the budget, which is below 2³¹.
        let id = u32::try_from(self.nodes.len()).unwrap_or(NOTHING);
        self.nodes.push(node);
        self.table[slot] = id;
        if self.nodes.len() * 2 > self.table.len() {
            self.grow();
        }
        Ok(id)
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        let mut table = vec![NOTHING; mask + 1];
        for (id, node) in (0u32..).zip(&self.nodes) {
            let mut slot = slot(node.level, node.zero, node.one) & mask;
            while table[slot] != NOTHING {
                slot = (slot + 1) & mask;
            }
            table[slot] = id;
        }
        self.table = table;
        if self.cache.len() < LARGEST_CACHE.min(self.table.len()) {
            self.cache = vec![[NOTHING; 4]; self.cache.len() * 2];
        }
    }

    /// `then` where `condition` holds, `otherwise` elsewhere.
    pub(super) fn ite(&mut self, condition: Id, then: Id, otherwise: Id) -> Result<Id, Exceeded> {
        if condition == TRUE || then == otherwise {
            return Ok(then);
        }
        if condition == FALSE {
            return Ok(otherwise);
        }
        if then == TRUE && otherwise == FALSE {
            return Ok(condition);
        }
        let node = self.nodes[condition as usize];
        let below = self.level(then).min(self.level(otherwise));
        if node.zero == FALSE && node.one == TRUE && node.level < below {
            return self.node(node.level, otherwise, then);
        }
        let hash = slot(condition, then, otherwise);
        let known = self.cache[hash & (self.cache.len() - 1)];
        if known[..3] == [condition, then, otherwise] {
            return Ok(known[3]);
        }
        self.step()?;
        let level = node.level.min(below);
        let (c, t, o) =
            (self.branches(condition, level), self.branches(then, level), self.branches(otherwise, level));
        let zero = self.ite(c.0, t.0, o.0)?;
        let one = self.ite(c.1, t.1, o.1)?;
        let result = self.node(level, zero, one)?;
        let at = hash & (self.cache.len() - 1);
        self.cache[at] = [condition, then, otherwise, result];
        Ok(result)
    }

    pub(super) fn and(&mut self, a: Id, b: Id) -> Result<Id, Exceeded> {
        self.ite(a, b, FALSE)
    }

    pub(super) fn or(&mut self, a: Id, b: Id) -> Result<Id, Exceeded> {
        self.ite(a, TRUE, b)
    }

    pub(super) fn not(&mut self, a: Id) -> Result<Id, Exceeded> {
        self.ite(a, FALSE, TRUE)
    }

    /// Every leaf mapped by `leaf`.
    pub(super) fn map(&mut self, id: Id, leaf: &mut dyn FnMut(Leaf) -> Leaf) -> Result<Id, Exceeded> {
        let mut known = FastMap::default();
        self.map_with(id, leaf, &mut known)
    }

    fn map_with(
        &mut self,
        id: Id,
        leaf: &mut dyn FnMut(Leaf) -> Leaf,
        known: &mut FastMap<Id, Id>,
    ) -> Result<Id, Exceeded> {
        if let Some(value) = self.as_leaf(id) {
            return self.computed(leaf(value));
        }
        if let Some(result) = known.get(&id) {
            return Ok(*result);
        }
        let node = self.nodes[id as usize];
        let zero = self.map_with(node.zero, leaf, known)?;
        let one = self.map_with(node.one, leaf, known)?;
        let result = self.node(node.level, zero, one)?;
        known.insert(id, result);
        Ok(result)
    }

    /// Both at once: every pair of leaves joined by `join`.
    pub(super) fn join(
        &mut self,
        a: Id,
        b: Id,
        join: &mut dyn FnMut(Leaf, Leaf) -> Leaf,
    ) -> Result<Id, Exceeded> {
        self.join_with((a, b), join, &mut FastMap::default(), false)
    }

    /// The same where they differ; what is one function on both sides gives [`FALSE`].
    pub(super) fn join_unequal(
        &mut self,
        a: Id,
        b: Id,
        join: &mut dyn FnMut(Leaf, Leaf) -> Leaf,
    ) -> Result<Id, Exceeded> {
        self.join_with((a, b), join, &mut FastMap::default(), true)
    }

    fn join_with(
        &mut self,
        (a, b): (Id, Id),
        join: &mut dyn FnMut(Leaf, Leaf) -> Leaf,
        known: &mut FastMap<(Id, Id), Id>,
        unequal: bool,
    ) -> Result<Id, Exceeded> {
        if unequal && a == b {
            return Ok(FALSE);
        }
        if let (Some(x), Some(y)) = (self.as_leaf(a), self.as_leaf(b)) {
            return self.computed(join(x, y));
        }
        if let Some(result) = known.get(&(a, b)) {
            return Ok(*result);
        }
        self.step()?;
        // What is remembered takes memory as nodes do.
        if known.len() >= self.budget {
            return Err(Exceeded::Nodes(self.budget));
        }
        let level = self.level(a).min(self.level(b));
        let (x, y) = (self.branches(a, level), self.branches(b, level));
        let zero = self.join_with((x.0, y.0), join, known, unequal)?;
        let one = self.join_with((x.1, y.1), join, known, unequal)?;
        let result = self.node(level, zero, one)?;
        known.insert((a, b), result);
        Ok(result)
    }

    /// Which kinds of answers can be reached, as bits (see [`Action::kind`]). Each node is looked at once in the life of the store.
    pub(super) fn kinds(&self, id: Id) -> u8 {
        let Some(node) = self.as_node(id) else {
            return match self.as_leaf(id) {
                Some(Leaf::Ret(ret)) => 1u8 << Action::from_ret(ret).kind(),
                Some(Leaf::Truth(_) | Leaf::Pair(..)) | None => 0,
            };
        };
        let known = self.kinds.borrow().get(id as usize).copied().unwrap_or(0);
        if known != 0 {
            return known;
        }
        self.spend(1);
        let found = self.kinds(node.zero) | self.kinds(node.one);
        let mut kinds = self.kinds.borrow_mut();
        if kinds.len() <= id as usize {
            kinds.resize(self.nodes.len(), 0);
        }
        kinds[id as usize] = found;
        found
    }

    /// Every node and leaf that can be reached, each once, in no order that matters.
    pub(super) fn reachable(&self, root: Id) -> Vec<Id> {
        let mut seen: FastMap<Id, ()> = FastMap::default();
        let (mut found, mut left) = (Vec::new(), vec![root]);
        while let Some(id) = left.pop() {
            if seen.insert(id, ()).is_none() {
                self.spend(1);
                found.push(id);
                if let Some(node) = self.as_node(id) {
                    left.extend([node.one, node.zero]);
                }
            }
        }
        found
    }
}

fn slot(a: u32, b: u32, c: u32) -> usize {
    let hash = mix(mix(u64::from(a), u64::from(b)), u64::from(c));
    // The high half is the well mixed one.
    (hash >> 32) as usize
}

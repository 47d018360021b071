//! Which trees that were planned before answer alike, for another architecture's numbers.

use super::search::{Answer, Forest, Leaf, MOST_SINGLES, NodeId, Range};

/// Trees of fewer ranges are not worth sharing.
const LEAST_SHARED: usize = 5;
/// From so many nodes on no more is shared: looking for what agrees would take longer than it is worth.
const MOST_SHARED: usize = 600;

impl Forest {
    /// For each first range, the nodes that answer alike from there on, and how far.
    pub(super) fn shared(&self, ranges: &[Range]) -> Vec<Vec<Shared>> {
        let mut all = vec![Vec::new(); ranges.len()];
        if self.nodes.len() > MOST_SHARED {
            return all;
        }
        for (node, answers) in (0..).zip(&self.answers) {
            if answers.len() < LEAST_SHARED {
                continue;
            }
            let depth = answers.iter().map(|answer| answer.depth).max().unwrap_or(0);
            let mut at = 0;
            for from in 0..ranges.len() {
                while answers.get(at + 1).is_some_and(|next| next.start <= ranges[from].start) {
                    at += 1;
                }
                if answers[at].leaf == ranges[from].leaf {
                    let mut found = |to: usize, singles: Singles| {
                        let shared = Shared { to, node, singles, depth };
                        if to >= from + LEAST_SHARED
                            && !all[from].iter().any(|known| shared.is_worse_than(known))
                        {
                            all[from].push(shared);
                        }
                    };
                    shared_from(ranges, from, &answers[at..], &mut found);
                }
            }
        }
        // The longest first: the search for those that are long enough ends early.
        all.iter_mut().for_each(|list| list.sort_by_key(|shared| std::cmp::Reverse(shared.to)));
        all
    }
}

/// A few values and what they get.
#[derive(Clone, Copy, Default)]
pub(super) struct Singles {
    list: [(u32, Leaf); MOST_SINGLES],
    length: usize,
}

impl Singles {
    fn push(&mut self, value: u32, leaf: Leaf) {
        self.list[self.length] = (value, leaf);
        self.length += 1;
    }

    pub(super) fn up_to(&self, last: u32) -> impl Iterator<Item = (u32, Leaf)> {
        self.list[..self.length].iter().copied().take_while(move |(value, _)| *value <= last)
    }
}

/// A node that answers as the ranges up to, not including, `to`, but for `singles` (in ascending order).
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) to: usize,
    pub(super) node: NodeId,
    pub(super) singles: Singles,
    /// The longest way through the node.
    pub(super) depth: u32,
}

impl Shared {
    fn is_worse_than(&self, other: &Shared) -> bool {
        other.to >= self.to && other.singles.length <= self.singles.length && other.depth <= self.depth
    }
}

/// Calls `found` with how far the answers agree with the ranges from `from` on, once for each number of exceptions. The first answer is
/// the one at the start of that range.
fn shared_from(ranges: &[Range], from: usize, answers: &[Answer], found: &mut impl FnMut(usize, Singles)) {
    let mut singles = Singles::default();
    let mut at = 0;
    for (index, range) in ranges.iter().enumerate().skip(from) {
        let last = ranges.get(index + 1).map_or(u32::MAX, |next| next.start - 1);
        let before = singles;
        loop {
            // This range under this answer.
            let first = range.start.max(answers[at].start);
            let ends = answers.get(at + 1).map_or(u32::MAX, |next| next.start - 1);
            if answers[at].leaf != range.leaf {
                let wrong = ends.min(last) - first;
                if singles.length == before.length {
                    found(index, before);
                }
                if wrong as usize >= MOST_SINGLES - singles.length {
                    return;
                }
                for value in first..=first + wrong {
                    singles.push(value, range.leaf);
                }
            }
            if ends >= last {
                at += usize::from(ends == last && at + 1 < answers.len());
                break;
            }
            at += 1;
        }
    }
    found(ranges.len(), singles);
}

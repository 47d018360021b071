//! Words told apart: which values of the token or of the number are treated alike.

use std::collections::BTreeMap;

use super::arena::{Arena, Id};
use super::hash::FastMap;
use super::{Diagram, Store, Undecided, word};
use crate::arch::Arch;

/// Values of one word that are treated alike, wherever they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// What is left for each of them.
    pub rest: Diagram,
    /// The lowest of them.
    pub first: u32,
    /// How many there are, 1 to 2³².
    pub count: u64,
}

/// Neighbouring values of one word that are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
    /// What is left for each of them.
    pub rest: Diagram,
}

/// Most ranges that are listed: a filter that computes with the number can tell 2³² apart.
const MOST_RANGES: usize = 1 << 16;

impl Store {
    /// The tokens that the filter treats in a way of their own, in ascending order: those that [`Arch`] knows and that get something
    /// else than most tokens do, and one of each further class.
    pub fn arches(&self, diagram: Diagram) -> Vec<u32> {
        let (classes, most) = self.arch_classes(diagram);
        let mut tokens: Vec<u32> = Arch::all()
            .map(Arch::audit_token)
            .filter(|token| Some(self.at(diagram, *token, None)) != most)
            .chain(classes.into_iter().filter(|class| Some(class.rest) != most).map(|class| class.first))
            .collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    /// What tokens get that the filter does not name.
    pub fn unnamed_arch(&self, diagram: Diagram) -> Diagram {
        self.arch_classes(diagram).1.unwrap_or(diagram)
    }

    fn arch_classes(&self, diagram: Diagram) -> (Vec<Class>, Option<Diagram>) {
        let classes = classes(&self.arena, diagram.0, word::ARCH_LEVELS);
        let most = classes.iter().max_by_key(|class| (class.count, std::cmp::Reverse(class.first)));
        let most = most.map(|class| class.rest);
        (classes, most)
    }

    /// The numbers of one architecture (see [`Store::at`]) that are treated alike, as classes in order of their lowest.
    pub fn number_classes(&self, of_arch: Diagram) -> Vec<Class> {
        classes(&self.arena, of_arch.0, word::NR_LEVELS)
    }

    /// All 2³² numbers of one architecture (see [`Store::at`]) as ascending ranges; neighbours differ.
    ///
    /// # Errors
    /// [`Undecided`] for a filter that computes with the number so that there are more than 65,536.
    pub fn numbers(&self, of_arch: Diagram) -> Result<Vec<Range>, Undecided> {
        let mut ranges = Vec::new();
        walk(&self.arena, of_arch.0, word::NR_LEVELS.start, 0, &mut ranges)?;
        Ok(ranges)
    }
}

fn walk(arena: &Arena, id: Id, level: u32, first: u32, ranges: &mut Vec<Range>) -> Result<(), Undecided> {
    arena.step()?;
    let wide = 1u64 << (word::NR_LEVELS.end - level);
    if arena.level(id) >= word::NR_LEVELS.end {
        // Below 2³², since `first` is a multiple of `wide`.
        let last = u32::try_from(u64::from(first) + wide - 1).unwrap_or(u32::MAX);
        if let Some(range) = ranges.last_mut().filter(|range| range.rest == Diagram(id)) {
            range.last = last;
            return Ok(());
        }
        if ranges.len() == MOST_RANGES {
            let why = format!("the filter computes with the number: more than {MOST_RANGES} ranges");
            return Err(Undecided { why, instruction: None });
        }
        ranges.push(Range { first, last, rest: Diagram(id) });
        return Ok(());
    }
    let (zero, one) = arena.branches(id, level);
    walk(arena, zero, level + 1, first, ranges)?;
    // At most half of 2³².
    walk(arena, one, level + 1, first + u32::try_from(wide / 2).unwrap_or(0), ranges)
}

/// The values of the word whose bits lie at `levels`; no bit before them may be asked for.
pub(super) fn classes(arena: &Arena, root: Id, levels: std::ops::Range<u32>) -> Vec<Class> {
    // Level by level: how many values lead to a node, and the lowest.
    let mut by_level: BTreeMap<u32, FastMap<Id, (u64, u32)>> = BTreeMap::new();
    let put = |by_level: &mut BTreeMap<u32, FastMap<Id, (u64, u32)>>, id: Id, count: u64, first: u32| {
        arena.spend(1);
        let level = arena.level(id).min(levels.end);
        let entry = by_level.entry(level).or_default().entry(id).or_insert((0, u32::MAX));
        *entry = (entry.0 + count, entry.1.min(first));
    };
    put(&mut by_level, root, 1 << (levels.end - levels.start), 0);
    while let Some((level, ids)) = by_level.pop_first() {
        if level == levels.end {
            let mut found: Vec<Class> = ids
                .into_iter()
                .map(|(id, (count, first))| Class { rest: Diagram(id), first, count })
                .collect();
            found.sort_unstable_by_key(|class| class.first);
            return found;
        }
        for (id, (count, first)) in ids {
            let (zero, one) = arena.branches(id, level);
            put(&mut by_level, zero, count / 2, first);
            put(&mut by_level, one, count / 2, first | 1 << (levels.end - 1 - level));
        }
    }
    Vec::new()
}

//! Conditions on arguments in the words of comparisons: exact, few, and short enough to be read.

use super::arena::{Arena, Exceeded, FALSE, Id, Leaf, TRUE};
use super::hash::FastMap;
use super::values::{self, Test};
use super::word::{self, ARGUMENT_LEVELS, LANES};
use super::{Diagram, Store, Undecided};
use crate::action::Action;
use crate::arch::Arch;

/// What is asked of one argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Which one, 0 to 5; 6 is the instruction pointer.
    pub index: u8,
    /// What is asked.
    pub test: Test,
}

/// Terms that hold together; without any it is every call.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    /// At most one for each argument, by ascending index.
    pub terms: Vec<Term>,
}

impl Case {
    /// Whether a call with these arguments is one of the case.
    pub fn holds(&self, args: &[u64; 6], ip: u64) -> bool {
        let of = |index: u8| args.get(usize::from(index)).copied().unwrap_or(ip);
        self.terms.iter().all(|term| term.test.holds(of(term.index)))
    }
}

/// Most cases, and most values of one argument that are told apart while they are looked for.
const MOST: usize = 24;
/// Most nodes for one order of the arguments; a condition that has words needs far fewer.
const MOST_NODES: usize = 1 << 13;

impl Store {
    /// The calls whose answer is one that is wanted, as cases of which at least one holds; none at all where no call gets one. `rest` is
    /// what is left for one architecture and number ([`Store::at`]). Where arguments are 32 bits wide, the tests take the low halves.
    ///
    /// `None` where no short list of comparisons says it: an argument compared with another, or a computation.
    ///
    /// # Errors
    /// [`Undecided`] when the budget of the store is used up.
    pub fn cases(
        &mut self,
        rest: Diagram,
        arch: Arch,
        wanted: impl Fn(Action) -> bool,
    ) -> Result<Option<Vec<Case>>, Undecided> {
        let mut truth = |leaf: Leaf| match leaf {
            Leaf::Ret(ret) => Leaf::Truth(wanted(Action::from_ret(ret))),
            Leaf::Truth(_) | Leaf::Pair(..) => leaf,
        };
        match self.arena.attempt(|arena| arena.map(rest.0, &mut truth)) {
            Ok(condition) => Ok(of_condition(&mut self.arena, condition, arch)?),
            Err(_) => Ok(self.arena.left().map(|()| None)?),
        }
    }
}

/// A case while it is looked for: for each lane, by place, a condition on its levels.
type Rough = Vec<(u32, Id)>;

/// The cases of a condition that looks at arguments alone. Fails only when the store can do nothing more.
pub(super) fn of_condition(
    arena: &mut Arena,
    condition: Id,
    arch: Arch,
) -> Result<Option<Vec<Case>>, Exceeded> {
    match condition {
        FALSE => return Ok(Some(Vec::new())),
        TRUE => return Ok(Some(vec![Case::default()])),
        _ => {}
    }
    if arena.level(condition) < ARGUMENT_LEVELS {
        return Ok(None);
    }
    let lanes = lanes(arena, condition);
    let orders = orders(&lanes);
    let length = |cases: &[Case]| {
        cases
            .iter()
            .map(|case| 1 + case.terms.iter().map(|term| term.test.length()).sum::<usize>())
            .sum::<usize>()
    };
    let mut best: Option<Vec<Case>> = None;
    for order in orders {
        // What is too much in one order compares arguments with each other, and is too much in any.
        let Ok(found) = arena.attempt_small(MOST_NODES, |arena| in_order(arena, condition, arch, &order))
        else {
            return arena.left().map(|()| None);
        };
        best = found.into_iter().chain(best).min_by_key(|cases| length(cases));
    }
    Ok(best)
}

/// The lanes that a condition looks at.
fn lanes(arena: &Arena, condition: Id) -> Vec<u32> {
    let nodes = arena.reachable(condition).into_iter().filter_map(|id| arena.as_node(id));
    let mut lanes: Vec<u32> = nodes.map(|node| word::lane_and_bit(node.level).0).collect();
    lanes.sort_unstable();
    lanes.dedup();
    lanes
}

/// All orders of few lanes, one for each first lane of many.
fn orders(lanes: &[u32]) -> Vec<Vec<u32>> {
    match lanes {
        [] | [_] => vec![lanes.to_vec()],
        [a, b] => vec![vec![*a, *b], vec![*b, *a]],
        [a, b, c] => {
            let (a, b, c) = (*a, *b, *c);
            vec![vec![a, b, c], vec![a, c, b], vec![b, a, c], vec![b, c, a], vec![c, a, b], vec![c, b, a]]
        }
        many => (0..many.len())
            .map(|first| {
                let mut order = many.to_vec();
                order[..=first].rotate_right(1);
                order
            })
            .collect(),
    }
}

fn in_order(
    arena: &mut Arena,
    condition: Id,
    arch: Arch,
    order: &[u32],
) -> Result<Option<Vec<Case>>, Exceeded> {
    let swap = if arch.is_big_endian() { 32 } else { 0 };
    let mut place = [0; LANES as usize];
    for (index, lane) in (0u32..).zip(order) {
        place[*lane as usize] = index;
    }
    let stacked = |level: u32| {
        let (lane, bit) = word::lane_and_bit(level);
        place[lane as usize] * 64 + values::bit_level(bit ^ swap)
    };
    let condition = moved(arena, condition, &stacked, &mut FastMap::default())?;
    let mut rough = Vec::new();
    if !split(arena, condition, 0, &mut Vec::new(), &mut rough)? {
        return Ok(None);
    }
    let rough = loosen(arena, condition, rough)?;
    let mut cases = Vec::new();
    for case in rough {
        let mut terms = Vec::new();
        for (place, set) in case {
            let down = |level: u32| level - place * 64;
            let set = moved(arena, set, &down, &mut FastMap::default())?;
            let Some(test) = values::describe(arena, set, arch.has_narrow_arguments())? else {
                return Ok(None);
            };
            // Seven lanes.
            let index = u8::try_from(order[place as usize]).unwrap_or(u8::MAX);
            terms.push(Term { index, test });
        }
        terms.sort_unstable();
        cases.push(Case { terms });
    }
    cases.sort_unstable();
    Ok(Some(cases))
}

/// The condition with every level moved.
fn moved(
    arena: &mut Arena,
    id: Id,
    to: &dyn Fn(u32) -> u32,
    known: &mut FastMap<Id, Id>,
) -> Result<Id, Exceeded> {
    let Some(node) = arena.as_node(id) else { return Ok(id) };
    if let Some(known) = known.get(&id) {
        return Ok(*known);
    }
    let zero = moved(arena, node.zero, to, known)?;
    let one = moved(arena, node.one, to, known)?;
    let bit = arena.node(to(node.level), FALSE, TRUE)?;
    let result = arena.ite(bit, one, zero)?;
    known.insert(id, result);
    Ok(result)
}

/// Splits by the values of one lane after the other: values that leave the same condition on the later lanes belong together. Says
/// whether the cases stayed few.
fn split(
    arena: &mut Arena,
    id: Id,
    place: u32,
    above: &mut Rough,
    cases: &mut Vec<Rough>,
) -> Result<bool, Exceeded> {
    if id == FALSE {
        return Ok(true);
    }
    if id == TRUE {
        cases.push(above.clone());
        return Ok(cases.len() <= MOST);
    }
    let end = ARGUMENT_LEVELS + (place + 1) * 64;
    let below: Vec<Id> = ends(arena, id, end);
    if below.len() > MOST {
        return Ok(false);
    }
    for rest in below.into_iter().filter(|rest| *rest != FALSE) {
        let set = leading_to(arena, id, end, rest, &mut FastMap::default())?;
        let everything = set == TRUE;
        if !everything {
            above.push((place, set));
        }
        let few = split(arena, rest, place + 1, above, cases)?;
        if !everything {
            above.pop();
        }
        if !few {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What can be left when all levels before `end` are known, in the order of the values that lead there.
fn ends(arena: &Arena, root: Id, end: u32) -> Vec<Id> {
    let (mut seen, mut found, mut left) = (FastMap::default(), Vec::new(), vec![root]);
    while let Some(id) = left.pop() {
        if seen.insert(id, ()).is_some() {
            continue;
        }
        arena.spend(1);
        match arena.as_node(id).filter(|node| node.level < end) {
            Some(node) => left.extend([node.one, node.zero]),
            None => found.push(id),
        }
    }
    found
}

/// The condition under which `rest` is left at `end`.
fn leading_to(
    arena: &mut Arena,
    id: Id,
    end: u32,
    rest: Id,
    known: &mut FastMap<Id, Id>,
) -> Result<Id, Exceeded> {
    let Some(node) = arena.as_node(id).filter(|node| node.level < end) else {
        return Ok(if id == rest { TRUE } else { FALSE });
    };
    if let Some(known) = known.get(&id) {
        return Ok(*known);
    }
    let zero = leading_to(arena, node.zero, end, rest, known)?;
    let one = leading_to(arena, node.one, end, rest, known)?;
    let result = arena.node(node.level, zero, one)?;
    known.insert(id, result);
    Ok(result)
}

/// Takes away terms that are not needed, and cases that others cover.
fn loosen(arena: &mut Arena, condition: Id, mut cases: Vec<Rough>) -> Result<Vec<Rough>, Exceeded> {
    for case in &mut cases {
        let mut index = 0;
        while index < case.len() {
            let without: Rough =
                case.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, term)| *term).collect();
            let all = conjunction(arena, &without)?;
            if arena.ite(all, condition, TRUE)? == TRUE {
                *case = without;
            } else {
                index += 1;
            }
        }
    }
    let mut index = cases.len();
    while index > 0 {
        index -= 1;
        let mut others = FALSE;
        for (at, case) in cases.iter().enumerate() {
            if at != index {
                let all = conjunction(arena, case)?;
                others = arena.or(others, all)?;
            }
        }
        if others == condition {
            cases.remove(index);
        }
    }
    Ok(cases)
}

fn conjunction(arena: &mut Arena, case: &Rough) -> Result<Id, Exceeded> {
    case.iter().try_fold(TRUE, |all, (_, set)| arena.and(all, *set))
}

//! A call for a verdict: the one that a reader understands most easily.

use super::arena::{Arena, Id, Leaf};
use super::hash::FastMap;
use super::word::{self, Answers};
use super::{Diagram, Store};
use crate::action::Action;
use crate::arch::Arch;
use crate::interpret::SeccompData;
use crate::syscalls;

impl Store {
    /// A call whose answer is one that is wanted; `None` when no call gets one.
    ///
    /// Architectures that have a name go before others, in the order of [`Arch`], then numbers that have a name, in ascending order;
    /// every bit that may be 0 is.
    pub fn witness(&self, diagram: Diagram, wanted: impl Fn(Action) -> bool) -> Option<SeccompData> {
        let wanted = |leaf: Leaf| match leaf {
            Leaf::Ret(ret) => wanted(Action::from_ret(ret)),
            Leaf::Truth(_) | Leaf::Pair(..) => false,
        };
        find(&self.arena, diagram.0, &wanted)
    }
}

/// The same for any leaves.
pub(super) fn find(arena: &Arena, root: Id, wanted: &dyn Fn(Leaf) -> bool) -> Option<SeccompData> {
    let mut leads = FastMap::default();
    if !leads_to(arena, root, wanted, &mut leads) {
        return None;
    }
    let named = Arch::all().find_map(|arch| {
        let call = SeccompData { arch: arch.audit_token(), ..SeccompData::default() };
        let of_arch = rest(arena, root, &call, word::ARCH_LEVELS.end);
        leads_to(arena, of_arch, wanted, &mut leads).then_some(())?;
        let mut best = None;
        for (_, nr) in syscalls::calls(arch) {
            let call = SeccompData { nr: nr.0, ..call };
            let rest = rest(arena, of_arch, &call, word::ARGUMENT_LEVELS);
            if best.is_none_or(|(known, _)| call.nr < known) && leads_to(arena, rest, wanted, &mut leads) {
                best = Some((call.nr, rest));
            }
        }
        best.map(|(nr, rest)| (SeccompData { nr, ..call }, rest))
    });
    let (call, id) = named.unwrap_or((SeccompData::default(), root));
    fill(arena, id, call, wanted, &mut leads)
}

/// The same where token and number of `call` are fixed, and `rest` is left for them.
pub(super) fn complete(
    arena: &Arena,
    rest: Id,
    call: SeccompData,
    wanted: &dyn Fn(Leaf) -> bool,
) -> Option<SeccompData> {
    let mut leads = FastMap::default();
    leads_to(arena, rest, wanted, &mut leads).then_some(())?;
    fill(arena, rest, call, wanted, &mut leads)
}

/// Sets the bits of `call` that lead from `id` to what is wanted.
fn fill(
    arena: &Arena,
    mut id: Id,
    mut call: SeccompData,
    wanted: &dyn Fn(Leaf) -> bool,
    leads: &mut FastMap<Id, bool>,
) -> Option<SeccompData> {
    let mut lanes = [0u64; word::LANES as usize];
    while let Some(node) = arena.as_node(id) {
        let one = !leads_to(arena, node.zero, wanted, leads);
        id = if one { node.one } else { node.zero };
        if !one {
        } else if word::ARCH_LEVELS.contains(&node.level) {
            call.arch |= 1 << (word::ARCH_LEVELS.end - 1 - node.level);
        } else if word::NR_LEVELS.contains(&node.level) {
            call.nr |= 1 << (word::NR_LEVELS.end - 1 - node.level);
        } else {
            let (lane, bit) = word::lane_and_bit(node.level);
            lanes[lane as usize] |= 1 << bit;
        }
    }
    if call.is_big_endian() {
        lanes = lanes.map(word::swapped);
    }
    let [a, b, c, d, e, f, ip] = lanes;
    Some(SeccompData { args: [a, b, c, d, e, f], ip, ..call })
}

/// What is left for what the levels before `end` ask of `call`.
fn rest(arena: &Arena, root: Id, call: &SeccompData, end: u32) -> Id {
    let answers = Answers::of(call);
    let mut id = root;
    while let Some(node) = arena.as_node(id).filter(|node| node.level < end) {
        id = if answers.bit(node.level) { node.one } else { node.zero };
    }
    id
}

fn leads_to(arena: &Arena, id: Id, wanted: &dyn Fn(Leaf) -> bool, known: &mut FastMap<Id, bool>) -> bool {
    let Some(node) = arena.as_node(id) else { return arena.as_leaf(id).is_some_and(wanted) };
    if let Some(known) = known.get(&id) {
        return *known;
    }
    arena.spend(1);
    let leads = leads_to(arena, node.zero, wanted, known) || leads_to(arena, node.one, wanted, known);
    known.insert(id, leads);
    leads
}

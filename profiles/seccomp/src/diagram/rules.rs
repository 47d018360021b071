//! From resolved rules to a diagram, by the rules' own meaning and not by way of a program.

use super::arena::{Arena, Exceeded, FALSE, Id, Leaf, TRUE};
use super::word::{self, ARCH_LEVELS, NR_LEVELS};
use crate::action::Action;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::condition::{Condition, Test};
use crate::resolve::{Resolved, Rule};
use crate::syscalls::SyscallNr;

pub(super) fn of_resolved(arena: &mut Arena, resolved: &Resolved) -> Result<Id, Exceeded> {
    let foreign = leaf(arena, resolved.foreign_arch);
    let mut tokens: Vec<u32> = resolved.arches.iter().map(|arch| arch.audit_token()).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let mut starts = vec![(0, foreign)];
    for token in tokens {
        let numbers = numbers(arena, resolved, token, foreign)?;
        put(&mut starts, token, numbers);
        if let Some(next) = token.checked_add(1) {
            put(&mut starts, next, foreign);
        }
    }
    by_starts(arena, ARCH_LEVELS, &starts)
}

fn leaf(arena: &mut Arena, action: Action) -> Id {
    arena.leaf(Leaf::Ret(action.to_ret()))
}

/// From `start` on it is `id`; starts come in ascending order, the last of equal ones counts.
pub(super) fn put(starts: &mut Vec<(u32, Id)>, start: u32, id: Id) {
    if starts.last().is_some_and(|last| last.0 == start) {
        starts.pop();
    }
    starts.push((start, id));
}

/// The function of a word that from each start to the next is one diagram; the first start is 0.
pub(super) fn by_starts(
    arena: &mut Arena,
    levels: std::ops::Range<u32>,
    starts: &[(u32, Id)],
) -> Result<Id, Exceeded> {
    let Some((first, _)) = starts.first() else { return Ok(FALSE) };
    halve(arena, levels.start, levels.end, *first, starts)
}

/// The same for the values from `low`, which is where the levels before `level` have led; the first of `starts` is at or below it.
fn halve(arena: &mut Arena, level: u32, end: u32, low: u32, starts: &[(u32, Id)]) -> Result<Id, Exceeded> {
    if let [(_, only)] = starts {
        return Ok(*only);
    }
    let middle = low | 1u32 << (end - 1 - level);
    let below = starts.partition_point(|(start, _)| *start < middle);
    let above = if starts.get(below).is_some_and(|(start, _)| *start == middle) { below } else { below - 1 };
    let zero = halve(arena, level + 1, end, low, &starts[..below])?;
    let one = halve(arena, level + 1, end, middle, &starts[above..])?;
    arena.node(level, zero, one)
}

/// All numbers under one token.
fn numbers(arena: &mut Arena, resolved: &Resolved, token: u32, foreign: Id) -> Result<Id, Exceeded> {
    let mut starts = Vec::new();
    // Within a stretch all numbers belong to one architecture.
    for first in (0..4).map(|index| index * X32_SYSCALL_BIT) {
        let last = first + (X32_SYSCALL_BIT - 1);
        match resolved.abi(token, first) {
            Some(arch) => stretch(arena, resolved, arch, (first, last), &mut starts)?,
            None => {
                put(&mut starts, first, foreign);
                // Number −1 can belong to another one than its neighbours.
                if let Some(arch) = resolved.abi(token, last) {
                    let unnamed = leaf(arena, resolved.unnamed(arch, SyscallNr(last)));
                    put(&mut starts, last, unnamed);
                }
            }
        }
    }
    by_starts(arena, NR_LEVELS, &starts)
}

fn stretch(
    arena: &mut Arena,
    resolved: &Resolved,
    arch: Arch,
    (first, last): (u32, u32),
    starts: &mut Vec<(u32, Id)>,
) -> Result<(), Exceeded> {
    let above = resolved.enosys_above.get(&arch).and_then(|highest| highest.0.checked_add(1));
    // Where what unnamed numbers get may change: behind number 0 (s390), and above the highest named one.
    let mut turns: Vec<u32> =
        [first, 1].into_iter().chain(above).filter(|nr| (first..=last).contains(nr)).collect();
    turns.sort_unstable();
    let unnamed = |arena: &mut Arena, nr: u32| leaf(arena, resolved.unnamed(arch, SyscallNr(nr)));
    let rules = resolved.rules.get(&arch);
    let named = rules.into_iter().flat_map(|rules| rules.range(SyscallNr(first)..=SyscallNr(last)));
    let mut turns = turns.into_iter().peekable();
    for (nr, rules) in named {
        while let Some(turn) = turns.next_if(|turn| *turn <= nr.0) {
            let id = unnamed(arena, turn);
            put(starts, turn, id);
        }
        let otherwise = resolved.unnamed(arch, *nr);
        let id = arguments(arena, arch, rules, otherwise)?;
        put(starts, nr.0, id);
        if nr.0 < last {
            let id = unnamed(arena, nr.0 + 1);
            put(starts, nr.0 + 1, id);
        }
    }
    for turn in turns {
        let id = unnamed(arena, turn);
        put(starts, turn, id);
    }
    Ok(())
}

fn arguments(arena: &mut Arena, arch: Arch, rules: &[Rule], otherwise: Action) -> Result<Id, Exceeded> {
    let mut result = leaf(arena, otherwise);
    for rule in rules.iter().rev() {
        let mut all = TRUE;
        for condition in &rule.conditions {
            let holds = holds(arena, arch, condition)?;
            all = arena.and(all, holds)?;
        }
        let action = leaf(arena, rule.action);
        result = arena.ite(all, action, result)?;
    }
    Ok(result)
}

fn holds(arena: &mut Arena, arch: Arch, condition: &Condition) -> Result<Id, Exceeded> {
    // Where arguments are narrow the high half counts as 0.
    let most = if arch.has_narrow_arguments() { u64::from(u32::MAX) } else { u64::MAX };
    let lane = u32::from(condition.argument);
    let mut bit = |arena: &mut Arena, bit: u32| {
        if most >> bit & 1 == 0 {
            return Ok(FALSE);
        }
        let swap = if arch.is_big_endian() { 32 } else { 0 };
        arena.node(word::level(lane, bit ^ swap), FALSE, TRUE)
    };
    match condition.test {
        Test::Eq(value) => masked(arena, &mut bit, u64::MAX, value),
        Test::MaskedEq { mask, value } => masked(arena, &mut bit, mask, value),
        Test::Ge(value) => exceeds(arena, &mut bit, value, true),
        Test::Gt(value) => exceeds(arena, &mut bit, value, false),
        Test::Ne(value) => {
            let equal = masked(arena, &mut bit, u64::MAX, value)?;
            arena.not(equal)
        }
        Test::Lt(value) => {
            let not = exceeds(arena, &mut bit, value, true)?;
            arena.not(not)
        }
        Test::Le(value) => {
            let not = exceeds(arena, &mut bit, value, false)?;
            arena.not(not)
        }
    }
}

pub(super) type Bit<'a> = &'a mut dyn FnMut(&mut Arena, u32) -> Result<Id, Exceeded>;

pub(super) fn masked(arena: &mut Arena, bit: Bit<'_>, mask: u64, value: u64) -> Result<Id, Exceeded> {
    if value & !mask != 0 {
        return Ok(FALSE);
    }
    let mut all = TRUE;
    for index in (0..64).filter(|index| mask >> index & 1 == 1) {
        let id = bit(arena, index)?;
        all = if value >> index & 1 == 1 { arena.ite(id, all, FALSE)? } else { arena.ite(id, FALSE, all)? };
    }
    Ok(all)
}

pub(super) fn exceeds(arena: &mut Arena, bit: Bit<'_>, value: u64, or_equal: bool) -> Result<Id, Exceeded> {
    let mut found = if or_equal { TRUE } else { FALSE };
    for index in 0..64 {
        let id = bit(arena, index)?;
        found = if value >> index & 1 == 1 {
            arena.ite(id, found, FALSE)?
        } else {
            arena.ite(id, TRUE, found)?
        };
    }
    Ok(found)
}

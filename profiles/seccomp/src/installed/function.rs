//! The whole filter as a function of token, number and arguments.

use std::collections::{BTreeMap, BTreeSet};

use super::blocks::{Block, Blocks, MOST_INSTRUCTIONS};
use super::database::Database;
use super::words::{Decisions, Step};
use crate::action::Action;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::interpret::SeccompData;
use crate::resolve::enosys;
use crate::syscalls::SyscallNr;

/// What the kernel would be told about every call.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) decisions: Decisions,
    /// By audit token, what holds from each number to the next one listed; the first is 0.
    pub(crate) tokens: BTreeMap<u32, Vec<(u32, Step)>>,
    /// For all other tokens.
    pub(crate) foreign: Action,
}

/// The numbers above which calls get ENOSYS, as runc adds it.
pub(super) type Heights = BTreeMap<Arch, SyscallNr>;

/// The filter is longer than the kernel takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLong;

impl Function {
    /// `lost`: architectures of which no rule has an effect. `foreign` is also what x32's numbers get where x86-64 is in the filter and x32 is not.
    pub(super) fn new(
        databases: &[Database],
        lost: &BTreeSet<Arch>,
        binary_tree: bool,
        native: Arch,
        default: Action,
        foreign: Action,
        heights: &Heights,
    ) -> Result<Function, TooLong> {
        let (mut blocks, mut decisions) = (Blocks::default(), Decisions::default());
        let otherwise = blocks.answer(default);
        let calls: Vec<Vec<(SyscallNr, usize, Block)>> =
            databases.iter().map(|database| database.blocks(&mut blocks, otherwise)).collect();
        if blocks.len() > MOST_INSTRUCTIONS {
            return Err(TooLong);
        }
        blocks.lay_out(&program_order(databases, &calls, binary_tree));
        let by_arch: BTreeMap<Arch, BTreeMap<SyscallNr, Step>> = databases
            .iter()
            .zip(&calls)
            .map(|(database, calls)| {
                let calls = calls.iter().filter(|_| !lost.contains(&database.arch));
                (
                    database.arch,
                    calls.map(|(nr, _, first)| (*nr, blocks.steps(*first, &mut decisions))).collect(),
                )
            })
            .collect();
        let mut function = Function { decisions, tokens: BTreeMap::new(), foreign };
        let tokens: BTreeSet<u32> = by_arch.keys().map(|arch| arch.audit_token()).collect();
        for token in tokens {
            let here: BTreeMap<Arch, &BTreeMap<SyscallNr, Step>> = by_arch
                .iter()
                .filter(|(arch, _)| arch.audit_token() == token)
                .map(|(arch, calls)| (*arch, calls))
                .collect();
            let starts = function.starts(&here, native, default, heights);
            function.tokens.insert(token, starts);
        }
        Ok(function)
    }

    /// The stretches of one token.
    fn starts(
        &mut self,
        here: &BTreeMap<Arch, &BTreeMap<SyscallNr, Step>>,
        native: Arch,
        default: Action,
        heights: &Heights,
    ) -> Vec<(u32, Step)> {
        let mut turns: BTreeSet<u32> = [0, 1, u32::MAX].into();
        turns.extend((1..4).map(|quarter| quarter * X32_SYSCALL_BIT));
        let named = here.values().flat_map(|calls| calls.keys());
        for number in named.chain(here.keys().filter_map(|arch| heights.get(arch))) {
            turns.extend([Some(number.0), number.0.checked_add(1)].into_iter().flatten());
        }
        let (default, foreign) = (self.decisions.answer(default), self.decisions.answer(self.foreign));
        let enosys = self.decisions.answer(Action::Errno(enosys(native)));
        let mut starts: Vec<(u32, Step)> = Vec::new();
        for nr in turns {
            let step = if returns_enosys(here, nr, heights) {
                enosys
            } else {
                match owner(here, nr) {
                    None => foreign,
                    Some(arch) => *here[&arch].get(&SyscallNr(nr)).unwrap_or(&default),
                }
            };
            if starts.last().is_none_or(|last| last.1 != step) {
                starts.push((nr, step));
            }
        }
        starts
    }

    pub(super) fn decide(&self, call: &SeccompData) -> Action {
        let Some(starts) = self.tokens.get(&call.arch) else { return self.foreign };
        let after = starts.partition_point(|(start, _)| *start <= call.nr);
        // The first start is 0.
        self.decisions.decide(starts[after - 1].1, &call.args)
    }
}

/// The first blocks of the calls in the order of the program: the architectures in the order of the filter, x86-64 and x32 as one; in each
/// the cheapest call first, or for a binary tree the highest number.
fn program_order(
    databases: &[Database],
    calls: &[Vec<(SyscallNr, usize, Block)>],
    binary_tree: bool,
) -> Vec<Block> {
    let token = |index: usize| databases[index].arch.audit_token();
    let mut order = Vec::new();
    for first in 0..databases.len() {
        if (0..first).any(|earlier| token(earlier) == token(first)) {
            continue;
        }
        let together = (first..databases.len()).filter(|index| token(*index) == token(first));
        let mut list: Vec<_> = together.flat_map(|index| calls[index].iter()).collect();
        // Stable, so equally cheap calls stay in the order of architecture and number.
        if binary_tree {
            list.sort_by_key(|(nr, ..)| std::cmp::Reverse(*nr));
        } else {
            list.sort_by_key(|(_, size, _)| *size);
        }
        order.extend(list.into_iter().map(|(.., block)| *block));
    }
    order
}

/// The architecture of the filter to which a number belongs, where a token has one or two of them.
///
/// libseccomp tells x32 from x86-64 by bit 30 when both are there: no number of one is a number of the other. When x86-64 is alone,
/// everything from bit 30 up is foreign, and so are numbers with bit 31 alone; but not −1, which a tracer leaves to skip a call.
pub(super) fn owner<T>(here: &BTreeMap<Arch, T>, nr: u32) -> Option<Arch> {
    let has = |arch: Arch| here.contains_key(&arch).then_some(arch);
    match (has(Arch::X86_64), has(Arch::X32)) {
        (Some(_), Some(_)) if nr & X32_SYSCALL_BIT != 0 => Some(Arch::X32),
        (Some(_), Some(_)) => Some(Arch::X86_64),
        (Some(arch), None) => (nr < X32_SYSCALL_BIT || nr == u32::MAX).then_some(arch),
        (None, Some(arch)) => (nr >= X32_SYSCALL_BIT).then_some(arch),
        (None, None) => here.keys().next().copied(),
    }
}

/// runc's addition, which comes before the filter proper. It tells x32 by bit 30 alone.
pub(super) fn returns_enosys<T>(here: &BTreeMap<Arch, T>, nr: u32, heights: &Heights) -> bool {
    here.keys().any(|arch| {
        let Some(height) = heights.get(arch) else { return false };
        let x32 = nr & X32_SYSCALL_BIT != 0;
        match arch {
            Arch::X86_64 => !x32 && nr > height.0,
            Arch::X32 => x32 && nr > height.0,
            // Number 0 stands there for every call that the kernel does not know.
            Arch::S390 | Arch::S390x => nr > height.0 || nr == 0,
            _ => nr > height.0,
        }
    })
}

/// The architectures whose rules libseccomp loses.
///
/// It sorts the calls of an architecture by what they cost, the cheapest first, and has the first one load the number. When that is a
/// call that the architecture lacks, which gets no instructions, nobody does, and all rules are compared with the architecture's
/// token. A filter for x86-64 or x32 alone loads the number before, and so does a binary tree. x86-64 and x32 are one list.
pub(super) fn lost(databases: &[Database], binary_tree: bool) -> BTreeSet<Arch> {
    let mut lost = BTreeSet::new();
    let has = |arch: Arch| databases.iter().any(|database| database.arch == arch);
    let both = has(Arch::X86_64) && has(Arch::X32);
    let is_x86 = |arch: Arch| matches!(arch, Arch::X86_64 | Arch::X32);
    let first_lacks = |list: &[&Database]| {
        let cheapest = list.iter().enumerate().filter_map(|(place, database)| {
            let (size, lacking) = database.cheapest()?;
            Some((size, place, lacking))
        });
        cheapest.min().is_some_and(|(_, _, lacking)| lacking)
    };
    for database in databases.iter().filter(|database| !is_x86(database.arch)) {
        if first_lacks(&[database]) {
            lost.insert(database.arch);
        }
    }
    let x86: Vec<&Database> = databases.iter().filter(|database| is_x86(database.arch)).collect();
    if both && first_lacks(&x86) {
        lost.extend([Arch::X86_64, Arch::X32]);
    }
    if binary_tree { BTreeSet::new() } else { lost }
}

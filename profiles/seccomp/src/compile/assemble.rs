//! Writes a program from its end to its beginning.
//!
//! A conditional jump reaches 255 instructions. A target that lies farther away gets a second entry nearby: another copy when it is
//! a return (which costs as much as a jump to it), a `JA` otherwise. Later jumps use the nearest entry.

use crate::bpf::{Insn, code};
use crate::diagram::FastMap;

/// Where a jump leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// A return of this value, wherever there is one.
    Ret(u32),
    /// The instruction with this number, counted from the program's end.
    At(usize),
}

#[derive(Default)]
pub(super) struct Assembler {
    /// The program, last instruction first.
    reversed: Vec<Insn>,
    /// The nearest entry of each target.
    nearest: FastMap<Target, usize>,
}

impl Assembler {
    fn push(&mut self, insn: Insn) -> Target {
        self.reversed.push(insn);
        Target::At(self.reversed.len() - 1)
    }

    /// How far a jump that is written next has to go, `None` when there is nothing to jump to yet.
    fn distance(&self, target: Target) -> Option<usize> {
        let at = match (self.nearest.get(&target), target) {
            (Some(at), _) => *at,
            (None, Target::At(at)) => at,
            (None, Target::Ret(_)) => return None,
        };
        Some(self.reversed.len() - at - 1)
    }

    /// The same within `limit`, after writing a nearer entry if need be.
    fn reach(&mut self, target: Target, limit: usize) -> usize {
        if let Some(distance) = self.distance(target).filter(|distance| *distance <= limit) {
            return distance;
        }
        let insn = match target {
            Target::Ret(value) => Insn::stmt(code::RET_K, value),
            Target::At(_) => {
                let distance = self.distance(target).unwrap_or_default();
                Insn::stmt(code::JMP_JA, u32::try_from(distance).unwrap_or(u32::MAX))
            }
        };
        self.push(insn);
        self.nearest.insert(target, self.reversed.len() - 1);
        0
    }

    /// A conditional jump; none at all when both ways lead to the same place.
    pub(super) fn branch(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        const LIMIT: usize = u8::MAX as usize;
        if yes == no {
            return yes;
        }
        // Writing an entry for one target moves the other away by one.
        self.reach(yes, LIMIT - 1);
        self.reach(no, LIMIT);
        let offset = |distance: Option<usize>| distance.and_then(|d| u8::try_from(d).ok()).unwrap_or(u8::MAX);
        let (jt, jf) = (offset(self.distance(yes)), offset(self.distance(no)));
        self.push(Insn { code, jt, jf, k })
    }

    /// A load of the word at `offset`, then on to `next`.
    pub(super) fn load(&mut self, offset: u32, next: Target) -> Target {
        self.then(Insn::stmt(code::LD_W_ABS, offset), next)
    }

    /// An instruction that does not jump, then on to `next`.
    pub(super) fn then(&mut self, insn: Insn, next: Target) -> Target {
        if self.distance(next) != Some(0) {
            self.reach(next, 0);
        }
        self.push(insn)
    }

    /// How many instructions there are.
    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    /// The program that starts at `entry`, first instruction first.
    pub(super) fn finish(mut self, entry: Target) -> Vec<Insn> {
        if self.distance(entry) != Some(0) {
            self.reach(entry, 0);
        }
        self.reversed.reverse();
        self.reversed
    }
}

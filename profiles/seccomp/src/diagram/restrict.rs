//! What is left of a diagram when bits of an argument are known.

use super::arena::{Arena, Exceeded, Id};
use super::hash::FastMap;
use super::{Diagram, Store, Undecided, word};
use crate::arch::Arch;

impl Store {
    /// What is left of `diagram` (a cofactor for `arch`, see [`Store::at`]) for calls whose `argument` (0 to 5) has the bits of `value`
    /// wherever `mask` has a 1.
    ///
    /// ```
    /// use plim_seccomp::{Action, Arch, bpf::{Insn, Program, code}, diagram::Store};
    /// let program = Program::from_instructions(vec![
    ///     Insn::stmt(code::LD_W_ABS, 16),
    ///     Insn { code: code::JMP_JEQ_K, jt: 0, jf: 1, k: 7 },
    ///     Insn::stmt(code::RET_K, Action::Allow.to_ret()),
    ///     Insn::stmt(code::RET_K, Action::KillProcess.to_ret()),
    /// ]).unwrap();
    /// let mut store = Store::new();
    /// let diagram = store.of_program(&program).unwrap();
    /// let seven = store.given(diagram, Arch::X86_64, 0, u64::MAX, 7).unwrap();
    /// assert_eq!(seven, store.constant(Action::Allow));
    /// ```
    ///
    /// # Errors
    /// [`Undecided`] when the budget does not suffice.
    pub fn given(
        &mut self,
        diagram: Diagram,
        arch: Arch,
        argument: u8,
        mask: u64,
        value: u64,
    ) -> Result<Diagram, Undecided> {
        let swap = |word| if arch.is_big_endian() { word::swapped(word) } else { word };
        let known = Known { lane: u32::from(argument), mask: swap(mask), value: swap(value) };
        Ok(Diagram(self.arena.attempt(|arena| known.apply(arena, diagram.0, &mut FastMap::default()))?))
    }
}

struct Known {
    lane: u32,
    mask: u64,
    value: u64,
}

impl Known {
    fn bit(&self, level: u32) -> Option<bool> {
        if level < word::ARGUMENT_LEVELS {
            return None;
        }
        let (lane, bit) = word::lane_and_bit(level);
        (lane == self.lane && self.mask >> bit & 1 == 1).then_some(self.value >> bit & 1 == 1)
    }

    fn apply(&self, arena: &mut Arena, id: Id, done: &mut FastMap<Id, Id>) -> Result<Id, Exceeded> {
        let Some(node) = arena.as_node(id) else { return Ok(id) };
        if let Some(known) = done.get(&id) {
            return Ok(*known);
        }
        arena.step()?;
        let result = match self.bit(node.level) {
            Some(true) => self.apply(arena, node.one, done)?,
            Some(false) => self.apply(arena, node.zero, done)?,
            None => {
                let zero = self.apply(arena, node.zero, done)?;
                let one = self.apply(arena, node.one, done)?;
                arena.node(node.level, zero, one)?
            }
        };
        done.insert(id, result);
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::bpf::{Insn, Program, code::*};
    use crate::interpret::SeccompData;

    /// Big-endian machines hold the high half first; the bits that are given are those of the value all the same.
    #[test]
    fn bits_are_those_of_the_value_on_every_byte_order() {
        for (arch, low) in [(Arch::X86_64, 24), (Arch::S390x, 28)] {
            let program = Program::from_instructions(vec![
                Insn::stmt(LD_W_ABS, low),
                Insn { code: JMP_JSET_K, jt: 0, jf: 1, k: 0x10 },
                Insn::stmt(RET_K, Action::Allow.to_ret()),
                Insn::stmt(RET_K, Action::KillProcess.to_ret()),
            ])
            .unwrap();
            let mut store = Store::new();
            let all = store.of_program(&program).unwrap();
            let here = store.at(all, arch.audit_token(), Some(1));
            let allow = store.constant(Action::Allow);
            let kill = store.constant(Action::KillProcess);
            assert_eq!(store.given(here, arch, 1, 0x10, 0xff), Ok(allow), "{arch}");
            assert_eq!(store.given(here, arch, 1, 0x10, 0x2f), Ok(kill), "{arch}");
            assert_eq!(store.given(here, arch, 1, 0xffff_ffff_0000_0000, u64::MAX), Ok(here), "{arch}");
            assert_eq!(store.given(here, arch, 0, u64::MAX, 0x10), Ok(here), "{arch}");
            let call = SeccompData { arch: arch.audit_token(), nr: 1, args: [0, 0x10, 0, 0, 0, 0], ip: 0 };
            assert_eq!(store.decide(all, &call), Action::Allow, "{arch}");
        }
    }
}

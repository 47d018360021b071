//! Tests of 64-bit arguments, two 32-bit words at a time.

use super::assemble::{Assembler, Target};
use super::ranges::Conditional;
use super::{is_wide, words};
use crate::bpf::{Insn, code};
use crate::condition::{Condition, Test};

/// Writes the rules, first to last, and returns the entry.
pub(super) fn emit(asm: &mut Assembler, leaf: &Conditional<'_>) -> Target {
    let mut next = Target::Ret(leaf.otherwise.to_ret());
    for rule in leaf.rules.iter().rev() {
        let mut matched = Target::Ret(rule.action.to_ret());
        for condition in rule.conditions.iter().rev() {
            matched = emit_condition(asm, condition, leaf, matched, next);
        }
        next = matched;
    }
    next
}

fn emit_condition(
    asm: &mut Assembler,
    condition: &Condition,
    leaf: &Conditional<'_>,
    yes: Target,
    no: Target,
) -> Target {
    let (low, high) = words(condition.argument, leaf.arch.is_big_endian());
    let argument = Words { low, high: is_wide(leaf.arch).then_some(high) };
    match condition.test {
        Test::Eq(value) => argument.equals(asm, u64::MAX, value, yes, no),
        Test::Ne(value) => argument.equals(asm, u64::MAX, value, no, yes),
        Test::MaskedEq { mask, value } => argument.equals(asm, mask, value, yes, no),
        Test::Gt(value) => argument.exceeds(asm, code::JMP_JGT_K, value, yes, no),
        Test::Ge(value) => argument.exceeds(asm, code::JMP_JGE_K, value, yes, no),
        Test::Le(value) => argument.exceeds(asm, code::JMP_JGT_K, value, no, yes),
        Test::Lt(value) => argument.exceeds(asm, code::JMP_JGE_K, value, no, yes),
    }
}

/// Where the words of an argument lie; without a high one it is 0.
struct Words {
    low: u32,
    high: Option<u32>,
}

fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

impl Words {
    /// `argument & mask == value`
    fn equals(&self, asm: &mut Assembler, mask: u64, value: u64, yes: Target, no: Target) -> Target {
        let ((low_mask, high_mask), (low, high)) = (halves(mask), halves(value));
        let then = word_equals(asm, Some(self.low), low_mask, low, yes, no);
        word_equals(asm, self.high, high_mask, high, then, no)
    }

    /// `argument > value` or, with JGE, `argument >= value`
    fn exceeds(&self, asm: &mut Assembler, low_code: u16, value: u64, yes: Target, no: Target) -> Target {
        let (low, high) = halves(value);
        if self.high.is_none() && high != 0 {
            return no;
        }
        let always = low_code == code::JMP_JGE_K && low == 0;
        let by_low = if always {
            yes
        } else {
            let jump = asm.branch(low_code, low, yes, no);
            asm.load(self.low, jump)
        };
        let Some(offset) = self.high else { return by_low };
        // High word above: yes; equal: the low word decides; below: no. The first test is cheaper where the high word is 0.
        let not_above = if high == 0 { by_low } else { asm.branch(code::JMP_JEQ_K, high, by_low, no) };
        let jump = match high {
            0 => asm.branch(code::JMP_JEQ_K, 0, by_low, yes),
            _ => asm.branch(code::JMP_JGT_K, high, yes, not_above),
        };
        if jump == by_low { by_low } else { asm.load(offset, jump) }
    }
}

/// `word & mask == value`; a word that is not there is 0.
fn word_equals(
    asm: &mut Assembler,
    offset: Option<u32>,
    mask: u32,
    value: u32,
    yes: Target,
    no: Target,
) -> Target {
    let Some(offset) = offset else { return if value == 0 { yes } else { no } };
    if mask == 0 || yes == no {
        return yes;
    }
    let jump = match (mask, value) {
        (u32::MAX, _) => asm.branch(code::JMP_JEQ_K, value, yes, no),
        // The bits that must be 0 are what JSET asks for.
        (_, 0) => asm.branch(code::JMP_JSET_K, mask, no, yes),
        _ => {
            let jump = asm.branch(code::JMP_JEQ_K, value, yes, no);
            asm.then(Insn::stmt(code::ALU_AND_K, mask), jump)
        }
    };
    asm.load(offset, jump)
}

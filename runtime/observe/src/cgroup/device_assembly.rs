//! For tests: device programs as they are written by hand, and in the styles of those who write them.

use super::device_program::Instruction;

pub(super) const LDX_W: u8 = 0x61;
pub(super) const LDX_H: u8 = 0x69;
pub(super) const MOV64_K: u8 = 0xb7;
pub(super) const MOV64_X: u8 = 0xbf;
pub(super) const MOV32_K: u8 = 0xb4;
pub(super) const MOV32_X: u8 = 0xbc;
pub(super) const AND64_K: u8 = 0x57;
pub(super) const AND32_K: u8 = 0x54;
pub(super) const RSH64_K: u8 = 0x77;
pub(super) const RSH32_K: u8 = 0x74;
pub(super) const JEQ_K: u8 = 0x15;
pub(super) const JNE_K: u8 = 0x55;
pub(super) const JNE_X: u8 = 0x5d;
pub(super) const JNE32_K: u8 = 0x56;
pub(super) const JA: u8 = 0x05;
pub(super) const EXIT: u8 = 0x95;

pub(super) const BLOCK: i32 = 1;
pub(super) const CHARACTER: i32 = 2;
pub(super) const M: i32 = 1;
pub(super) const R: i32 = 2;
pub(super) const W: i32 = 4;
pub(super) const RWM: i32 = M | R | W;

/// Operation, destination, source, offset, immediate.
pub(super) fn insn(code: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Instruction {
    Instruction { code, dst, src, offset, imm }
}

pub(super) fn verdict(allow: bool) -> Vec<Instruction> {
    vec![insn(MOV64_K, 0, 0, 0, i32::from(allow)), insn(EXIT, 0, 0, 0, 0)]
}

/// A rule: allow, kind, major, minor, access.
pub(super) type Rule = (bool, Option<i32>, Option<i32>, Option<i32>, i32);

/// Type in r2, access in r3, major in r4, minor in r5.
fn prologue(narrow: bool) -> Vec<Instruction> {
    let (and, shift) = if narrow { (AND32_K, RSH32_K) } else { (AND64_K, RSH64_K) };
    vec![
        insn(LDX_W, 2, 1, 0, 0),
        insn(and, 2, 0, 0, 0xffff),
        insn(LDX_W, 3, 1, 0, 0),
        insn(shift, 3, 0, 0, 16),
        insn(LDX_W, 4, 1, 4, 0),
        insn(LDX_W, 5, 1, 8, 0),
    ]
}

/// Puts a jump over the rest of the block before each part.
fn block(tests: Vec<Vec<Instruction>>, body: Vec<Instruction>) -> Vec<Instruction> {
    tests.into_iter().rev().fold(body, |rest, mut test| {
        if let Some(jump) = test.last_mut() {
            jump.offset = i16::try_from(rest.len()).expect("a short block");
        }
        test.extend(rest);
        test
    })
}

/// runc and crun: the last rule first; a rule applies when all that is asked is among its accesses. `jne` is the
/// comparison with a constant that they use.
pub(super) fn runc(jne: u8, rules: &[Rule], default: bool) -> Vec<Instruction> {
    let mut program = prologue(true);
    for (allow, kind, major, minor, access) in rules.iter().rev() {
        let mut tests = Vec::new();
        if let Some(kind) = kind {
            tests.push(vec![insn(jne, 2, 0, 0, *kind)]);
        }
        if *access != RWM {
            tests.push(vec![
                insn(MOV32_X, 1, 3, 0, 0),
                insn(AND32_K, 1, 0, 0, *access),
                insn(JNE_X, 1, 3, 0, 0),
            ]);
        }
        for (register, value) in [(4, major), (5, minor)] {
            if let Some(value) = value {
                tests.push(vec![insn(jne, register, 0, 0, *value)]);
            }
        }
        program.extend(block(tests, verdict(*allow)));
    }
    program.extend(verdict(default));
    program
}

/// systemd: every matching rule jumps to one common end, which allows; falling through refuses.
pub(super) fn systemd(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = prologue(true);
    let mut jumps = Vec::new();
    for (_, kind, major, minor, access) in rules {
        let mut tests = Vec::new();
        if *access != RWM {
            tests.push(vec![
                insn(MOV32_X, 1, 3, 0, 0),
                insn(AND32_K, 1, 0, 0, *access),
                insn(JNE_X, 1, 3, 0, 0),
            ]);
        }
        for (register, value) in [(2, kind), (4, major), (5, minor)] {
            if let Some(value) = value {
                tests.push(vec![insn(JNE_K, register, 0, 0, *value)]);
            }
        }
        program.extend(block(tests, vec![insn(JA, 0, 0, 0, 0)]));
        jumps.push(program.len() - 1);
    }
    program.extend([insn(MOV64_K, 0, 0, 0, 0), insn(JA, 0, 0, 1, 0)]);
    let end = program.len();
    program.extend(verdict(true));
    for jump in jumps {
        program[jump].offset = i16::try_from(end - jump - 1).expect("a short program");
    }
    program
}

/// `plim run`: bit by bit. The type in r2, what is still asked in r3.
pub(super) fn plim(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        insn(LDX_W, 2, 1, 0, 0),
        insn(MOV64_X, 3, 2, 0, 0),
        insn(AND64_K, 2, 0, 0, 0xffff),
        insn(RSH64_K, 3, 0, 0, 16),
        insn(LDX_W, 4, 1, 4, 0),
        insn(LDX_W, 5, 1, 8, 0),
    ];
    for (allow, kind, major, minor, access) in rules.iter().rev() {
        let mut body = match (*allow, *access) {
            (_, RWM) => Vec::new(),
            (true, access) => vec![insn(AND64_K, 3, 0, 0, RWM & !access), insn(JNE_K, 3, 0, 2, 0)],
            (false, access) => {
                vec![insn(MOV64_X, 0, 3, 0, 0), insn(AND64_K, 0, 0, 0, access), insn(JEQ_K, 0, 0, 2, 0)]
            }
        };
        body.extend(verdict(*allow));
        let tests = [(2, kind), (4, major), (5, minor)].into_iter();
        let tests = tests.filter_map(|(register, value)| Some(vec![insn(JNE_K, register, 0, 0, (*value)?)]));
        program.extend(block(tests.collect(), body));
        if (*kind, *major, *minor, *access) == (None, None, None, RWM) {
            return program;
        }
    }
    program.extend(verdict(true));
    program
}

/// The rules that Docker gives every container.
pub(super) fn docker() -> Vec<Rule> {
    let mut rules: Vec<Rule> = vec![
        (false, None, None, None, RWM),
        (true, Some(CHARACTER), None, None, M),
        (true, Some(BLOCK), None, None, M),
    ];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        rules.push((true, Some(CHARACTER), Some(major), Some(minor), RWM));
    }
    rules.push((true, Some(CHARACTER), Some(136), None, RWM));
    rules
}

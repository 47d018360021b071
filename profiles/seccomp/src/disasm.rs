//! Filters as text, with the names of architectures, calls, arguments and actions.

use std::fmt::Write;

use crate::action::Action;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::bpf::{Insn, Program, code::*};
use crate::syscalls::{self, SyscallNr};

/// What the accumulator is known to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Nr,
    /// x32's number without its bit.
    MaskedNr,
    /// Either of the two.
    SomeNr,
    Arch,
    Other,
}

/// What is known on the way into one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    a: Holds,
    /// The audit token that a comparison has established.
    token: Option<u32>,
}

/// One line for each instruction: number, raw form, meaning.
///
/// ```
/// use plim_seccomp::{bpf::{Insn, Program, code}, disasm::disassemble};
/// let program = Program::from_instructions(vec![
///     Insn::stmt(code::LD_W_ABS, 4),
///     Insn { code: code::JMP_JEQ_K, jt: 0, jf: 1, k: 0xc000_003e },
///     Insn::stmt(code::RET_K, 0x7fff_0000),
///     Insn::stmt(code::RET_K, 0x0005_0001),
/// ]).unwrap();
/// assert!(disassemble(&program).contains("if A == SCMP_ARCH_X86_64 goto 2 else 3"));
/// ```
pub fn disassemble(program: &Program) -> String {
    let mut text = String::new();
    for (index, (insn, here)) in program.instructions().iter().zip(states(program)).enumerate() {
        let state = here.unwrap_or(NOTHING);
        let Insn { code, jt, jf, k } = *insn;
        let unreachable = if here.is_none() { "  (never reached)" } else { "" };
        let meaning = meaning(*insn, index, state);
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "{index:4}: {code:#04x} {jt:#04x} {jf:#04x} {k:#010x}  {meaning}{unreachable}");
    }
    text
}

/// What each instruction does, without its raw form.
pub(crate) fn meanings(program: &Program) -> Vec<String> {
    let states = states(program).into_iter().map(|state| state.unwrap_or(NOTHING));
    let instructions = program.instructions().iter().enumerate();
    instructions.zip(states).map(|((index, insn), state)| meaning(*insn, index, state)).collect()
}

const NOTHING: Known = Known { a: Holds::Other, token: None };

/// What is known before each instruction, `None` for those that are never reached. One pass does, since jumps go forward.
fn states(program: &Program) -> Vec<Option<Known>> {
    let instructions = program.instructions();
    let mut known: Vec<Option<Known>> = vec![None; instructions.len()];
    known[0] = Some(NOTHING);
    for (index, insn) in instructions.iter().enumerate() {
        let Some(state) = known[index] else { continue };
        for (target, after) in successors(*insn, index, state) {
            let slot = &mut known[target];
            *slot = Some(slot.map_or(after, |before| join(before, after)));
        }
    }
    known
}

fn join(a: Known, b: Known) -> Known {
    use Holds::{MaskedNr, Nr, SomeNr};
    Known {
        a: match (a.a, b.a) {
            (one, other) if one == other => one,
            (Nr | MaskedNr | SomeNr, Nr | MaskedNr | SomeNr) => SomeNr,
            _ => Holds::Other,
        },
        token: if a.token == b.token { a.token } else { None },
    }
}

fn successors(insn: Insn, index: usize, state: Known) -> Vec<(usize, Known)> {
    let next = index + 1;
    let other = Known { a: Holds::Other, ..state };
    match insn.code {
        RET_K | RET_A => Vec::new(),
        JMP_JA => vec![(next + insn.k as usize, state)],
        code if code & 7 == 5 => {
            let established = code == JMP_JEQ_K && state.a == Holds::Arch;
            let yes = Known { token: if established { Some(insn.k) } else { state.token }, ..state };
            vec![(next + usize::from(insn.jt), yes), (next + usize::from(insn.jf), state)]
        }
        LD_W_ABS if insn.k == 0 => vec![(next, Known { a: Holds::Nr, ..state })],
        LD_W_ABS if insn.k == 4 => vec![(next, Known { a: Holds::Arch, ..state })],
        ALU_AND_K if insn.k == !X32_SYSCALL_BIT && state.a == Holds::Nr => {
            vec![(next, Known { a: Holds::MaskedNr, ..state })]
        }
        ST | STX | LDX_IMM | LDX_MEM | LDX_W_LEN | MISC_TAX => vec![(next, state)],
        _ => vec![(next, other)],
    }
}

fn meaning(insn: Insn, index: usize, state: Known) -> String {
    let k = insn.k;
    let next = index + 1;
    let operand = || if insn.code & 0x08 == 0 { constant(k, state) } else { "X".to_owned() };
    let compare = |sign: &str| {
        let (yes, no) = (next + usize::from(insn.jt), next + usize::from(insn.jf));
        format!("if A {sign} {} goto {yes} else {no}", operand())
    };
    match insn.code {
        LD_IMM => format!("A = {k:#x}"),
        LD_W_ABS => format!("A = {}", field(k)),
        LD_MEM => format!("A = M[{k}]"),
        LD_W_LEN => "A = sizeof(seccomp_data)".to_owned(),
        LDX_IMM => format!("X = {k:#x}"),
        LDX_MEM => format!("X = M[{k}]"),
        LDX_W_LEN => "X = sizeof(seccomp_data)".to_owned(),
        ST => format!("M[{k}] = A"),
        STX => format!("M[{k}] = X"),
        ALU_NEG => "A = -A".to_owned(),
        JMP_JA => format!("goto {}", next + k as usize),
        JMP_JEQ_K | JMP_JEQ_X => compare("=="),
        JMP_JGT_K | JMP_JGT_X => compare(">"),
        JMP_JGE_K | JMP_JGE_X => compare(">="),
        JMP_JSET_K | JMP_JSET_X => compare("&"),
        RET_K => format!("return {}", Action::from_ret(k)),
        RET_A => "return A".to_owned(),
        MISC_TAX => "X = A".to_owned(),
        MISC_TXA => "A = X".to_owned(),
        code => {
            let sign = match code & 0xf0 {
                0x00 => "+",
                0x10 => "-",
                0x20 => "*",
                0x30 => "/",
                0x40 => "|",
                0x50 => "&",
                0x60 => "<<",
                0x70 => ">>",
                _ => "^",
            };
            let plain = Known { a: Holds::Other, ..state };
            let operand = if code & 0x08 == 0 { constant(k, plain) } else { "X".to_owned() };
            format!("A = A {sign} {operand}")
        }
    }
}

/// A word of `struct seccomp_data`, named as on a little-endian machine.
fn field(offset: u32) -> String {
    match offset {
        0 => "nr".to_owned(),
        4 => "arch".to_owned(),
        8 => "instruction_pointer.low".to_owned(),
        12 => "instruction_pointer.high".to_owned(),
        _ => {
            let half = if offset.is_multiple_of(8) { "low" } else { "high" };
            format!("arg{}.{half}", (offset - 16) / 8)
        }
    }
}

/// A constant by what it is compared with.
fn constant(k: u32, state: Known) -> String {
    match (state.a, state.token) {
        (Holds::Arch, _) => match Arch::from_audit_token(k, 0) {
            Some(arch) => arch.scmp_name().to_owned(),
            None => format!("{k:#x}"),
        },
        (Holds::Nr, Some(token)) => {
            let arch = Arch::from_audit_token(token, k);
            match arch.and_then(|arch| syscalls::name(arch, SyscallNr(k))) {
                Some(name) if k & X32_SYSCALL_BIT != 0 => format!("{k:#x} (x32 {name})"),
                Some(name) => format!("{k} ({name})"),
                None => number(k),
            }
        }
        (Holds::Nr | Holds::MaskedNr | Holds::SomeNr, _) => match common_name(k, state.a) {
            Some(name) => format!("{k} ({name})"),
            None => number(k),
        },
        _ => format!("{k:#x}"),
    }
}

fn number(k: u32) -> String {
    if k < 0x10000 { k.to_string() } else { format!("{k:#x}") }
}

/// The call that has this number on every architecture that has it at all, as those since Linux 5.1 do; of x32 the number without
/// its bit, where that is what is compared.
fn common_name(k: u32, holds: Holds) -> Option<&'static str> {
    let of = |arch: Arch| match arch {
        Arch::X32 if holds == Holds::Nr => None,
        Arch::X32 => syscalls::name(arch, SyscallNr(k | X32_SYSCALL_BIT)),
        _ if holds == Holds::MaskedNr => None,
        _ => syscalls::name(arch, SyscallNr(k)),
    };
    let mut names = Arch::all().filter_map(of);
    let first = names.next()?;
    names.all(|name| name == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_named_where_the_architecture_is_known() {
        let program = Program::from_instructions(vec![
            Insn::stmt(LD_W_ABS, 4),
            Insn { code: JMP_JEQ_K, jt: 0, jf: 6, k: 0x4000_0003 },
            Insn::stmt(LD_W_ABS, 0),
            Insn { code: JMP_JEQ_K, jt: 3, jf: 0, k: 102 },
            Insn { code: JMP_JGE_K, jt: 0, jf: 2, k: 400 },
            Insn::stmt(LD_W_ABS, 28),
            Insn::stmt(ALU_AND_K, 7),
            Insn::stmt(RET_K, 0x7fff_0000),
            Insn::stmt(RET_K, 0x0005_0026),
        ])
        .unwrap();
        let text = disassemble(&program);
        let told: Vec<&str> = text.lines().map(|line| line.get(33..).unwrap()).collect();
        assert_eq!(
            told,
            [
                "A = arch",
                "if A == SCMP_ARCH_X86 goto 2 else 8",
                "A = nr",
                "if A == 102 (socketcall) goto 7 else 4",
                "if A >= 400 (msgsnd) goto 5 else 7",
                "A = arg1.high",
                "A = A & 0x7",
                "return SCMP_ACT_ALLOW",
                "return SCMP_ACT_ERRNO (ENOSYS)",
            ]
        );
    }

    #[test]
    fn where_several_architectures_come_together_a_number_is_named_if_it_is_theirs_alike() {
        let jump = |code, jt, jf, k| Insn { code, jt, jf, k };
        let program = Program::from_instructions(vec![
            Insn::stmt(LD_W_ABS, 4),
            jump(JMP_JEQ_K, 1, 0, 0x4000_0003),
            jump(JMP_JEQ_K, 0, 3, 0xc000_003e),
            Insn::stmt(LD_W_ABS, 0),
            jump(JMP_JEQ_K, 1, 0, 437),
            jump(JMP_JEQ_K, 0, 0, 20),
            Insn::stmt(RET_K, 0x7fff_0000),
        ])
        .unwrap();
        let told = meanings(&program);
        assert_eq!(told[4], "if A == 437 (openat2) goto 6 else 5");
        assert_eq!(told[5], "if A == 20 goto 6 else 6", "writev of one, getpid of the other");

        // x32's numbers are compared without their bit, from 4 on together with the others.
        let program = Program::from_instructions(vec![
            Insn::stmt(LD_W_ABS, 0),
            jump(JMP_JGE_K, 0, 2, X32_SYSCALL_BIT),
            Insn::stmt(ALU_AND_K, !X32_SYSCALL_BIT),
            jump(JMP_JEQ_K, 2, 0, 520),
            jump(JMP_JEQ_K, 1, 0, 437),
            jump(JMP_JEQ_K, 0, 0, 20),
            Insn::stmt(RET_K, 0x7fff_0000),
        ])
        .unwrap();
        let told = meanings(&program);
        assert_eq!(told[3], "if A == 520 (execve) goto 6 else 4");
        assert_eq!(told[4], "if A == 437 (openat2) goto 6 else 5");
        assert_eq!(told[5], "if A == 20 goto 6 else 6");
    }

    #[test]
    fn what_cannot_be_reached_says_so() {
        let ret = Insn::stmt(RET_K, 0);
        let text = disassemble(&Program::from_instructions(vec![ret, ret]).unwrap());
        assert!(text.lines().nth(1).unwrap().ends_with("(never reached)"));
    }
}

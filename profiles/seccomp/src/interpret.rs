//! Runs filters as the kernel does.

use crate::action::Action;
use crate::bpf::{Program, SECCOMP_DATA_SIZE, code::*};

/// What a filter sees of one call: `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeccompData {
    /// The system call number.
    pub nr: u32,
    /// `AUDIT_ARCH_…`.
    pub arch: u32,
    /// The instruction pointer.
    pub ip: u64,
    /// The arguments.
    pub args: [u64; 6],
}

impl SeccompData {
    /// The byte order of the calling machine, by `__AUDIT_ARCH_LE` in its token (0 is no token, and little-endian).
    pub(crate) fn is_big_endian(&self) -> bool {
        self.arch & 0x4000_0000 == 0 && self.arch != 0
    }

    /// The 32-bit word at `offset` (0, 4, …, 60), as a machine of that architecture's byte order holds it.
    fn word(&self, offset: u32) -> u32 {
        let half = |value: u64, first: bool| {
            let high = first == self.is_big_endian();
            let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
            u32::from_le_bytes(if high { [e, f, g, h] } else { [a, b, c, d] })
        };
        match offset {
            0 => self.nr,
            4 => self.arch,
            8 => half(self.ip, true),
            12 => half(self.ip, false),
            _ => {
                let index = ((offset - 16) / 8) as usize;
                half(self.args[index], offset.is_multiple_of(8))
            }
        }
    }
}

/// The verdict of one filter.
pub fn run(program: &Program, data: &SeccompData) -> Action {
    Action::from_ret(run_raw(program, data).ret)
}

/// What one run gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The value returned.
    pub ret: u32,
    /// Instructions executed, the return included.
    pub executed: u32,
}

/// Runs one filter and says the raw return value and how many instructions it took.
///
/// Ends always: jumps go forward only, which [`Program`] guarantees.
pub fn run_raw(program: &Program, data: &SeccompData) -> Outcome {
    run_watched(program, data, |_| {})
}

/// The instructions that one run executes, by number, first to last.
pub fn trace(program: &Program, data: &SeccompData) -> impl Iterator<Item = usize> {
    let mut executed = Vec::new();
    run_watched(program, data, |pc| executed.push(pc));
    executed.into_iter()
}

fn run_watched(program: &Program, data: &SeccompData, mut watch: impl FnMut(usize)) -> Outcome {
    let instructions = program.instructions();
    let (mut a, mut x, mut cells, mut pc, mut executed) = (0u32, 0u32, [0u32; 16], 0usize, 0u32);
    loop {
        let insn = instructions[pc];
        let k = insn.k;
        watch(pc);
        pc += 1;
        executed += 1;
        let operand = if insn.code & 0x08 == 0 { k } else { x };
        let jump = |condition: bool| usize::from(if condition { insn.jt } else { insn.jf });
        match insn.code {
            LD_IMM => a = k,
            LD_W_ABS => a = data.word(k),
            LD_MEM => a = cells[k as usize],
            LD_W_LEN => a = SECCOMP_DATA_SIZE,
            LDX_IMM => x = k,
            LDX_MEM => x = cells[k as usize],
            LDX_W_LEN => x = SECCOMP_DATA_SIZE,
            ST => cells[k as usize] = a,
            STX => cells[k as usize] = x,
            ALU_ADD_K | ALU_ADD_X => a = a.wrapping_add(operand),
            ALU_SUB_K | ALU_SUB_X => a = a.wrapping_sub(operand),
            ALU_MUL_K | ALU_MUL_X => a = a.wrapping_mul(operand),
            // The kernel's translation returns 0 from the whole filter, which is SECCOMP_RET_KILL_THREAD.
            ALU_DIV_K | ALU_DIV_X => match a.checked_div(operand) {
                Some(quotient) => a = quotient,
                None => return Outcome { ret: 0, executed },
            },
            ALU_OR_K | ALU_OR_X => a |= operand,
            ALU_AND_K | ALU_AND_X => a &= operand,
            // A shift by X takes X modulo 32 (BPF_ALU | BPF_LSH, kernel/bpf/core.c).
            ALU_LSH_K | ALU_LSH_X => a = a.wrapping_shl(operand),
            ALU_RSH_K | ALU_RSH_X => a = a.wrapping_shr(operand),
            ALU_NEG => a = a.wrapping_neg(),
            ALU_XOR_K | ALU_XOR_X => a ^= operand,
            JMP_JA => pc += k as usize,
            JMP_JEQ_K | JMP_JEQ_X => pc += jump(a == operand),
            JMP_JGT_K | JMP_JGT_X => pc += jump(a > operand),
            JMP_JGE_K | JMP_JGE_X => pc += jump(a >= operand),
            JMP_JSET_K | JMP_JSET_X => pc += jump(a & operand != 0),
            RET_K => return Outcome { ret: k, executed },
            RET_A => return Outcome { ret: a, executed },
            MISC_TAX => x = a,
            MISC_TXA => a = x,
            other => unreachable!("Program holds checked instructions only, found {other:#x}"),
        }
    }
}

/// The verdict of several filters, given oldest first as `PTRACE_SECCOMP_GET_FILTER` lists them.
///
/// All of them run, newest first; the action of highest precedence wins, and of equal ones the newest (`seccomp_run_filters`). No
/// filter at all allows.
pub fn run_stack<'a>(
    filters: impl IntoIterator<Item = &'a Program, IntoIter: DoubleEndedIterator>,
    data: &SeccompData,
) -> Action {
    let mut verdict = Action::Allow.to_ret();
    let rank = |ret: u32| (ret & 0xffff_0000).cast_signed();
    for filter in filters.into_iter().rev() {
        let ret = run_raw(filter, data).ret;
        if rank(ret) < rank(verdict) {
            verdict = ret;
        }
    }
    Action::from_ret(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::Insn;
    use crate::errno::Errno;

    fn program(instructions: &[(u16, u8, u8, u32)]) -> Program {
        let insns = instructions.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k });
        Program::from_instructions(insns.collect()).unwrap()
    }

    /// Runs `body` and gives what it leaves in A.
    fn a_after(body: &[(u16, u8, u8, u32)]) -> u32 {
        let mut all = body.to_vec();
        all.push((RET_A, 0, 0, 0));
        let data = SeccompData {
            nr: 7,
            arch: 0xc000_003e,
            ip: 0x1122_3344_5566_7788,
            args: [0xaaaa_bbbb_cccc_dddd, 1, 2, 3, 4, 0x9999_8888_7777_6666],
        };
        run_raw(&program(&all), &data).ret
    }

    #[test]
    fn loads() {
        for (offset, word) in [
            (0, 7),
            (4, 0xc000_003e),
            (8, 0x5566_7788),
            (12, 0x1122_3344),
            (16, 0xcccc_dddd),
            (20, 0xaaaa_bbbb),
            (24, 1),
            (56, 0x7777_6666),
            (60, 0x9999_8888),
        ] {
            assert_eq!(a_after(&[(LD_W_ABS, 0, 0, offset)]), word, "offset {offset}");
        }
        assert_eq!(a_after(&[(LD_W_LEN, 0, 0, 0)]), 64);
        assert_eq!(a_after(&[(LDX_W_LEN, 0, 0, 0), (MISC_TXA, 0, 0, 0)]), 64);
        assert_eq!(a_after(&[(LD_IMM, 0, 0, 5), (ST, 0, 0, 15), (LD_IMM, 0, 0, 6), (LD_MEM, 0, 0, 15)]), 5);
        assert_eq!(a_after(&[(LDX_IMM, 0, 0, 5), (STX, 0, 0, 1), (LD_MEM, 0, 0, 1)]), 5);
    }

    #[test]
    fn big_endian_words_lie_the_other_way_round() {
        let first = program(&[(LD_W_ABS, 0, 0, 16), (RET_A, 0, 0, 0)]);
        let args = [0x0000_0001_0000_0002, 0, 0, 0, 0, 0];
        let s390x = SeccompData { arch: 0x8000_0016, args, ..SeccompData::default() };
        let x86 = SeccompData { arch: 0xc000_003e, args, ..SeccompData::default() };
        assert_eq!((run_raw(&first, &s390x).ret, run_raw(&first, &x86).ret), (1, 2));
    }

    #[test]
    fn arithmetic() {
        let x = |op: u16, a: u32, x: u32| a_after(&[(LD_IMM, 0, 0, a), (LDX_IMM, 0, 0, x), (op, 0, 0, 0)]);
        assert_eq!(x(ALU_ADD_X, u32::MAX, 2), 1);
        assert_eq!(x(ALU_SUB_X, 0, 1), u32::MAX);
        assert_eq!(x(ALU_MUL_X, 0x1_0001, 0x1_0001), 0x2_0001);
        assert_eq!(x(ALU_DIV_X, 7, 2), 3);
        assert_eq!(x(ALU_LSH_X, 1, 33), 2);
        assert_eq!(x(ALU_RSH_X, 8, 35), 1);
        assert_eq!(x(ALU_XOR_X, 6, 3), 5);
        assert_eq!(a_after(&[(LD_IMM, 0, 0, 5), (ALU_NEG, 0, 0, 0)]), 5u32.wrapping_neg());
        assert_eq!(a_after(&[(LD_IMM, 0, 0, 5), (ALU_AND_K, 0, 0, 4), (ALU_OR_K, 0, 0, 2)]), 6);
    }

    #[test]
    fn division_by_zero_kills_the_thread() {
        let divide = program(&[(LD_W_ABS, 0, 0, 0), (ALU_DIV_X, 0, 0, 0), (RET_K, 0, 0, 0x7fff_0000)]);
        assert_eq!(run(&divide, &SeccompData::default()), Action::KillThread);
    }

    #[test]
    fn jumps() {
        let jump = |op: u16, a: u32, k: u32| {
            let body = [(LD_IMM, 0, 0, a), (op, 0, 1, k), (RET_K, 0, 0, 1), (RET_K, 0, 0, 0)];
            run_raw(&program(&body), &SeccompData::default()).ret == 1
        };
        assert!(jump(JMP_JEQ_K, 3, 3) && !jump(JMP_JEQ_K, 3, 4));
        assert!(jump(JMP_JGT_K, 4, 3) && !jump(JMP_JGT_K, 3, 3));
        assert!(jump(JMP_JGE_K, 3, 3) && !jump(JMP_JGE_K, 2, 3));
        assert!(jump(JMP_JGT_K, 0xffff_ffff, 3), "comparisons are unsigned");
        assert!(jump(JMP_JSET_K, 6, 2) && !jump(JMP_JSET_K, 4, 2));
        let over = program(&[(JMP_JA, 0, 0, 1), (RET_K, 0, 0, 0), (RET_K, 0, 0, 0x7fff_0000)]);
        assert_eq!(run(&over, &SeccompData::default()), Action::Allow);
    }

    #[test]
    fn a_stack_follows_precedence_and_the_newest_wins_ties() {
        let ret = |value: u32| program(&[(RET_K, 0, 0, value)]);
        let (allow, eperm, e5, kill) =
            (ret(0x7fff_0000), ret(0x0005_0001), ret(0x0005_0005), ret(0x8000_0000));
        let data = SeccompData::default();
        assert_eq!(run_stack([], &data), Action::Allow);
        assert_eq!(run_stack([&eperm, &allow], &data), Action::Errno(Errno::EPERM));
        assert_eq!(run_stack([&eperm, &e5], &data), Action::Errno(Errno::clamped(5)));
        assert_eq!(run_stack([&e5, &eperm], &data), Action::Errno(Errno::EPERM));
        assert_eq!(run_stack([&e5, &kill, &allow], &data), Action::KillProcess);
    }
}

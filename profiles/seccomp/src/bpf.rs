//! Classic BPF as seccomp takes it: instructions, and programs that passed the kernel's own checks.
//!
//! The rules are those of `bpf_check_classic` (net/core/filter.c) and `seccomp_check_filter` (kernel/seccomp.c), Linux 6.18.

/// One `struct sock_filter` (include/uapi/linux/filter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Insn {
    /// Operation code.
    pub code: u16,
    /// Jump if true, in instructions.
    pub jt: u8,
    /// Jump if false, in instructions.
    pub jf: u8,
    /// Generic operand.
    pub k: u32,
}

impl Insn {
    /// An instruction without jump offsets.
    pub const fn stmt(code: u16, k: u32) -> Insn {
        Insn { code, jt: 0, jf: 0, k }
    }
}

/// Operation codes, by the names of filter.h joined (`BPF_LD | BPF_W | BPF_ABS` is `LD_W_ABS`).
pub mod code {
    #![allow(missing_docs, reason = "the names are the kernel's own macros")]
    pub const LD_IMM: u16 = 0x00;
    pub const LD_W_ABS: u16 = 0x20;
    pub const LD_MEM: u16 = 0x60;
    pub const LD_W_LEN: u16 = 0x80;
    pub const LDX_IMM: u16 = 0x01;
    pub const LDX_MEM: u16 = 0x61;
    pub const LDX_W_LEN: u16 = 0x81;
    pub const ST: u16 = 0x02;
    pub const STX: u16 = 0x03;
    pub const ALU_ADD_K: u16 = 0x04;
    pub const ALU_ADD_X: u16 = 0x0c;
    pub const ALU_SUB_K: u16 = 0x14;
    pub const ALU_SUB_X: u16 = 0x1c;
    pub const ALU_MUL_K: u16 = 0x24;
    pub const ALU_MUL_X: u16 = 0x2c;
    pub const ALU_DIV_K: u16 = 0x34;
    pub const ALU_DIV_X: u16 = 0x3c;
    pub const ALU_OR_K: u16 = 0x44;
    pub const ALU_OR_X: u16 = 0x4c;
    pub const ALU_AND_K: u16 = 0x54;
    pub const ALU_AND_X: u16 = 0x5c;
    pub const ALU_LSH_K: u16 = 0x64;
    pub const ALU_LSH_X: u16 = 0x6c;
    pub const ALU_RSH_K: u16 = 0x74;
    pub const ALU_RSH_X: u16 = 0x7c;
    pub const ALU_NEG: u16 = 0x84;
    pub const ALU_XOR_K: u16 = 0xa4;
    pub const ALU_XOR_X: u16 = 0xac;
    pub const JMP_JA: u16 = 0x05;
    pub const JMP_JEQ_K: u16 = 0x15;
    pub const JMP_JEQ_X: u16 = 0x1d;
    pub const JMP_JGT_K: u16 = 0x25;
    pub const JMP_JGT_X: u16 = 0x2d;
    pub const JMP_JGE_K: u16 = 0x35;
    pub const JMP_JGE_X: u16 = 0x3d;
    pub const JMP_JSET_K: u16 = 0x45;
    pub const JMP_JSET_X: u16 = 0x4d;
    pub const RET_K: u16 = 0x06;
    pub const RET_A: u16 = 0x16;
    pub const MISC_TAX: u16 = 0x07;
    pub const MISC_TXA: u16 = 0x87;
}

use code::*;

/// Size of `struct seccomp_data` in bytes: what `LD W LEN` loads.
pub const SECCOMP_DATA_SIZE: u32 = 64;
/// The kernel's `BPF_MAXINSNS`.
pub const MAX_INSTRUCTIONS: usize = 4096;
/// Bytes of one `struct sock_filter`.
pub const INSN_SIZE: usize = 8;

/// Why the kernel would refuse a program (it only says EINVAL).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// No instruction at all.
    #[error("a filter needs at least one instruction")]
    Empty,
    /// More than [`MAX_INSTRUCTIONS`].
    #[error("a filter may have {MAX_INSTRUCTIONS} instructions, this one has {0}")]
    TooLong(usize),
    /// A dump whose length is not a whole number of instructions.
    #[error("{0} bytes are not a whole number of {INSN_SIZE}-byte instructions: the dump is truncated")]
    Truncated(usize),
    /// A dump that makes sense only with its bytes swapped.
    #[error(
        "instruction {index}: operation code {code:#06x}, like all of them, is valid with its bytes swapped: the dump is of a big-endian machine"
    )]
    ForeignEndian {
        /// The first instruction that shows it.
        index: usize,
        /// Its operation code as it was read.
        code: u16,
    },
    /// One instruction that the kernel's checker does not take.
    #[error("instruction {index}: {fault}")]
    Instruction {
        /// Its index, from 0.
        index: usize,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not among the operations that seccomp takes.
    #[error("operation code {0:#06x} is not allowed in a seccomp filter")]
    Code(u16),
    /// `LD W ABS` outside of `seccomp_data` or between its words.
    #[error(
        "load at offset {0} is not one of the {SECCOMP_DATA_SIZE} bytes of seccomp_data, or not a multiple of 4"
    )]
    Load(u32),
    /// Division by the constant 0.
    #[error("division by the constant 0")]
    DivisionByZero,
    /// A shift by a constant of 32 or more.
    #[error("shift by {0}, more than 31")]
    Shift(u32),
    /// A memory cell above 15.
    #[error("memory cell {0}, there are 16")]
    Cell(u32),
    /// A memory cell that may be read before it was written.
    #[error("memory cell {0} may be read before it is written")]
    UnwrittenCell(u32),
    /// A jump that ends behind the last instruction.
    #[error("jump by {0} ends behind the last instruction, as in a dump that was cut off")]
    Jump(u32),
    /// The last instruction is no return.
    #[error("the last instruction does not return, as in a dump that was cut off")]
    NoReturn,
}

/// A program that passed the kernel's seccomp checker (1 to 4096 instructions).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program(Vec<Insn>);

impl Program {
    /// Checks `instructions` as the kernel does.
    pub fn from_instructions(instructions: Vec<Insn>) -> Result<Program, ProgramError> {
        match instructions.len() {
            0 => return Err(ProgramError::Empty),
            n if n > MAX_INSTRUCTIONS => return Err(ProgramError::TooLong(n)),
            _ => {}
        }
        for (index, insn) in instructions.iter().enumerate() {
            let at = |fault| ProgramError::Instruction { index, fault };
            check_instruction(*insn, instructions.len() - index - 1).map_err(at)?;
        }
        if let Some(last) = instructions.last()
            && !matches!(last.code, RET_K | RET_A)
        {
            let index = instructions.len() - 1;
            return Err(ProgramError::Instruction { index, fault: Fault::NoReturn });
        }
        check_cells(&instructions)?;
        Ok(Program(instructions))
    }

    /// Reads little-endian `struct sock_filter`s, as `plim seccomp compile -o` and runtimes on little-endian machines write them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Program, ProgramError> {
        let (chunks, rest) = bytes.as_chunks::<INSN_SIZE>();
        if !rest.is_empty() {
            return Err(ProgramError::Truncated(bytes.len()));
        }
        let read = |b: &[u8; INSN_SIZE]| Insn {
            code: u16::from_le_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        };
        let instructions: Vec<Insn> = chunks.iter().map(read).collect();
        Program::from_instructions(instructions.clone())
            .map_err(|error| foreign(&instructions).unwrap_or(error))
    }

    /// The instructions.
    pub fn instructions(&self) -> &[Insn] {
        &self.0
    }

    /// Little-endian `struct sock_filter`s.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * INSN_SIZE);
        for insn in &self.0 {
            bytes.extend_from_slice(&insn.code.to_le_bytes());
            bytes.extend_from_slice(&[insn.jt, insn.jf]);
            bytes.extend_from_slice(&insn.k.to_le_bytes());
        }
        bytes
    }
}

/// Whether a dump that is no program is one with its bytes swapped: then every operation code is a valid one, and some were not before.
fn foreign(instructions: &[Insn]) -> Option<ProgramError> {
    let all = instructions.iter().all(|insn| is_allowed(insn.code.swap_bytes()));
    let index = instructions.iter().position(|insn| !is_allowed(insn.code)).filter(|_| all)?;
    Some(ProgramError::ForeignEndian { index, code: instructions[index].code })
}

/// The operations of `seccomp_check_filter`; there is no remainder, no byte or half-word load, and no packet access.
fn is_allowed(code: u16) -> bool {
    matches!(
        code,
        LD_IMM
            | LD_W_ABS
            | LD_MEM
            | LD_W_LEN
            | LDX_IMM
            | LDX_MEM
            | LDX_W_LEN
            | ST
            | STX
            | ALU_ADD_K
            | ALU_ADD_X
            | ALU_SUB_K
            | ALU_SUB_X
            | ALU_MUL_K
            | ALU_MUL_X
            | ALU_DIV_K
            | ALU_DIV_X
            | ALU_OR_K
            | ALU_OR_X
            | ALU_AND_K
            | ALU_AND_X
            | ALU_LSH_K
            | ALU_LSH_X
            | ALU_RSH_K
            | ALU_RSH_X
            | ALU_NEG
            | ALU_XOR_K
            | ALU_XOR_X
            | JMP_JA
            | JMP_JEQ_K
            | JMP_JEQ_X
            | JMP_JGT_K
            | JMP_JGT_X
            | JMP_JGE_K
            | JMP_JGE_X
            | JMP_JSET_K
            | JMP_JSET_X
            | RET_K
            | RET_A
            | MISC_TAX
            | MISC_TXA
    )
}

/// What can be said of one instruction with `after` instructions behind it.
fn check_instruction(insn: Insn, after: usize) -> Result<(), Fault> {
    let reaches = |offset: u32| match usize::try_from(offset) {
        Ok(offset) if offset < after => Ok(()),
        _ => Err(Fault::Jump(offset)),
    };
    match insn.code {
        code if !is_allowed(code) => Err(Fault::Code(code)),
        LD_W_ABS if insn.k >= SECCOMP_DATA_SIZE || !insn.k.is_multiple_of(4) => Err(Fault::Load(insn.k)),
        ALU_DIV_K if insn.k == 0 => Err(Fault::DivisionByZero),
        ALU_LSH_K | ALU_RSH_K if insn.k >= 32 => Err(Fault::Shift(insn.k)),
        LD_MEM | LDX_MEM | ST | STX if insn.k >= 16 => Err(Fault::Cell(insn.k)),
        JMP_JA => reaches(insn.k),
        code if code & 7 == 5 => {
            reaches(insn.jt.into())?;
            reaches(insn.jf.into())
        }
        _ => Ok(()),
    }
}

/// `check_load_and_stores`: no cell is read before it was written on every path that leads there.
fn check_cells(instructions: &[Insn]) -> Result<(), ProgramError> {
    let mut masks = vec![u16::MAX; instructions.len()];
    let mut valid: u16 = 0;
    for (index, insn) in instructions.iter().enumerate() {
        valid &= masks[index];
        match insn.code {
            ST | STX => valid |= 1 << insn.k,
            LD_MEM | LDX_MEM if valid & (1 << insn.k) == 0 => {
                let fault = Fault::UnwrittenCell(insn.k);
                return Err(ProgramError::Instruction { index, fault });
            }
            JMP_JA => {
                masks[index + 1 + insn.k as usize] &= valid;
                valid = u16::MAX;
            }
            code if code & 7 == 5 => {
                masks[index + 1 + usize::from(insn.jt)] &= valid;
                masks[index + 1 + usize::from(insn.jf)] &= valid;
                valid = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RET: Insn = Insn::stmt(RET_K, 0x7fff_0000);

    fn fault(program: &[Insn]) -> (usize, Fault) {
        match Program::from_instructions(program.to_vec()) {
            Err(ProgramError::Instruction { index, fault }) => (index, fault),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_kernel_refuses() {
        let jump = |code, jt, jf, k| Insn { code, jt, jf, k };
        let stmt = Insn::stmt;
        assert_eq!(Program::from_instructions(vec![]), Err(ProgramError::Empty));
        assert_eq!(Program::from_instructions(vec![RET; 4097]), Err(ProgramError::TooLong(4097)));
        assert!(Program::from_instructions(vec![RET; 4096]).is_ok());
        assert_eq!(fault(&[stmt(LD_W_ABS, 0)]), (0, Fault::NoReturn));
        assert_eq!(fault(&[stmt(LD_W_ABS, 64), RET]), (0, Fault::Load(64)));
        assert_eq!(fault(&[stmt(LD_W_ABS, 2), RET]), (0, Fault::Load(2)));
        assert!(Program::from_instructions(vec![stmt(LD_W_ABS, 60), RET]).is_ok());
        assert_eq!(fault(&[stmt(ALU_DIV_K, 0), RET]), (0, Fault::DivisionByZero));
        assert_eq!(fault(&[RET, stmt(ALU_LSH_K, 32), RET]), (1, Fault::Shift(32)));
        assert_eq!(fault(&[stmt(ST, 16), RET]), (0, Fault::Cell(16)));
        assert_eq!(fault(&[stmt(LD_MEM, 3), RET]), (0, Fault::UnwrittenCell(3)));
        assert!(Program::from_instructions(vec![stmt(ST, 3), stmt(LDX_MEM, 3), RET]).is_ok());
        assert_eq!(fault(&[stmt(JMP_JA, 1), RET]), (0, Fault::Jump(1)));
        assert_eq!(fault(&[stmt(JMP_JA, u32::MAX), RET]), (0, Fault::Jump(u32::MAX)));
        assert_eq!(fault(&[jump(JMP_JEQ_K, 0, 1, 9), RET]), (0, Fault::Jump(1)));
        assert_eq!(fault(&[jump(JMP_JEQ_K, 1, 0, 9), RET]), (0, Fault::Jump(1)));
        // ALU_MOD, LD B ABS, LD IND and RET X are BPF, but not seccomp's.
        for code in [0x94, 0x30, 0x40, 0x0e, 0xffff] {
            assert_eq!(fault(&[stmt(code, 4), RET]), (0, Fault::Code(code)));
        }
    }

    #[test]
    fn a_cell_must_be_written_on_every_path() {
        let program = |jf| {
            vec![
                Insn::stmt(LD_W_ABS, 0),
                Insn { code: JMP_JEQ_K, jt: 0, jf, k: 1 },
                Insn::stmt(ST, 0),
                Insn::stmt(LD_MEM, 0),
                RET,
            ]
        };
        assert_eq!(fault(&program(1)), (3, Fault::UnwrittenCell(0)));
        assert!(Program::from_instructions(program(2)).is_ok());
    }

    #[test]
    fn bytes_round_trip() {
        let program = Program::from_instructions(vec![
            Insn::stmt(LD_W_ABS, 4),
            Insn { code: JMP_JEQ_K, jt: 0, jf: 1, k: 0xc000_003e },
            RET,
            Insn::stmt(RET_K, 0),
        ])
        .unwrap();
        let bytes = program.to_bytes();
        assert_eq!(bytes.len(), 32);
        assert_eq!(&bytes[8..16], [0x15, 0, 0, 1, 0x3e, 0, 0, 0xc0]);
        assert_eq!(Program::from_bytes(&bytes), Ok(program));
        assert_eq!(Program::from_bytes(&bytes[..31]), Err(ProgramError::Truncated(31)));
        assert_eq!(Program::from_bytes(&[]), Err(ProgramError::Empty));
        // The same program as a big-endian machine writes it, and one whose first operation reads alike both ways.
        let swap = |bytes: &[u8]| {
            let (chunks, _) = bytes.as_chunks::<8>();
            chunks.iter().flat_map(|b| [b[1], b[0], b[2], b[3], b[7], b[6], b[5], b[4]]).collect::<Vec<u8>>()
        };
        let foreign = |index, code| Err(ProgramError::ForeignEndian { index, code });
        assert_eq!(Program::from_bytes(&swap(&bytes)), foreign(0, 0x2000));
        let immediate = Program::from_instructions(vec![Insn::stmt(LD_IMM, 0), RET]).unwrap();
        assert_eq!(Program::from_bytes(&swap(&immediate.to_bytes())), foreign(1, 0x0600));
        // A dump that was cut off between two instructions.
        let cut = |length| Program::from_bytes(&bytes[..length]);
        assert!(
            matches!(cut(16), Err(ProgramError::Instruction { index: 1, fault: Fault::Jump(0 | 1) })),
            "{:?}",
            cut(16)
        );
        assert_eq!(cut(8), Err(ProgramError::Instruction { index: 0, fault: Fault::NoReturn }));
        assert!(cut(16).unwrap_err().to_string().contains("cut off"));
        // Noise is no foreign program.
        assert!(matches!(Program::from_bytes(&[0x5a; 16]), Err(ProgramError::Instruction { index: 0, .. })));
    }
}

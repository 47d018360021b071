//! Classic BPF as seccomp takes it.

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

/// A program that passed the kernel's seccomp checker (1 to 4096 instructions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Vec<Insn>);

impl Program {
    /// The instructions.
    pub fn instructions(&self) -> &[Insn] {
        &self.0
    }
}

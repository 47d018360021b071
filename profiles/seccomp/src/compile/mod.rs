//! From resolved rules to classic BPF.
//!
//! The filter looks at the architecture, then finds the number in a balanced tree over *ranges of equal verdict*, then tests arguments
//! where the verdict needs them. Leaves are shared. Everything before the verdict of an unconditional call is a load of number or
//! architecture, a comparison with a constant or a return, which is what the kernel can evaluate ahead of time for its bitmap of
//! always-allowed calls (`seccomp_is_const_allow`, kernel/seccomp.c, Linux 5.11).

mod arguments;
mod assemble;
mod ranges;

use crate::arch::Arch;
use crate::bpf::{Program, ProgramError, code};
use crate::resolve::Resolved;
use assemble::{Assembler, Target};
use ranges::{Leaf, Range, Tree};

/// Why a profile cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Beyond what the kernel takes: too many conditions on too many architectures.
    #[error("the filter of this profile is beyond what the kernel takes")]
    Refused(#[from] ProgramError),
}

/// Offset of `nr` in `struct seccomp_data`.
const NR: u32 = 0;
/// Offset of `arch` in `struct seccomp_data`.
const ARCH: u32 = 4;

/// Compiles `resolved`; the program answers every call as [`Resolved::decide`] does. The same rules give the same bytes.
///
/// # Errors
/// [`CompileError::Refused`] when it would need more than 4096 instructions.
pub fn compile(resolved: &Resolved) -> Result<Program, CompileError> {
    let mut tokens: Vec<u32> = Vec::new();
    // The machine's own architecture is asked for first: nearly every call is its.
    for arch in std::iter::once(resolved.native).chain(resolved.arches.iter().copied()) {
        if !tokens.contains(&arch.audit_token()) {
            tokens.push(arch.audit_token());
        }
    }
    let mut leaves = ranges::Leaves::default();
    let tables: Vec<Vec<Range>> =
        tokens.iter().map(|token| ranges::of_token(resolved, *token, &mut leaves)).collect();
    let mut program =
        Emitter { asm: Assembler::default(), leaves: &leaves, entries: vec![None; leaves.len()] };
    // Backwards, since jumps go forward: the target is always there before the jump.
    let mut next = Target::Ret(resolved.foreign_arch.to_ret());
    for (token, table) in tokens.iter().zip(&tables).rev() {
        let tree = program.tree(&ranges::tree(table));
        let entry = program.asm.load(NR, tree);
        next = program.asm.branch(code::JMP_JEQ_K, *token, entry, next);
    }
    program.asm.load(ARCH, next);
    Ok(Program::from_instructions(program.asm.finish())?)
}

struct Emitter<'l> {
    asm: Assembler,
    leaves: &'l ranges::Leaves<'l>,
    /// Where the code of a conditional leaf starts, once it was written.
    entries: Vec<Option<Target>>,
}

impl Emitter<'_> {
    fn tree(&mut self, tree: &Tree) -> Target {
        match tree {
            Tree::Leaf(leaf) => self.leaf(*leaf),
            Tree::AtLeast(number, below, rest) => {
                let rest = self.tree(rest);
                let below = self.tree(below);
                self.asm.branch(code::JMP_JGE_K, *number, rest, below)
            }
            Tree::Exactly(number, leaf, rest) => {
                let rest = self.tree(rest);
                let leaf = self.leaf(*leaf);
                self.asm.branch(code::JMP_JEQ_K, *number, leaf, rest)
            }
        }
    }

    fn leaf(&mut self, leaf: Leaf) -> Target {
        match leaf {
            Leaf::Ret(ret) => Target::Ret(ret),
            Leaf::Rules(index) => match self.entries[index] {
                Some(entry) => entry,
                None => {
                    let entry = arguments::emit(&mut self.asm, self.leaves.get(index));
                    self.entries[index] = Some(entry);
                    entry
                }
            },
        }
    }
}

/// Offsets of the low and the high word of an argument.
fn words(argument: u8, big_endian: bool) -> (u32, u32) {
    let first = 16 + 8 * u32::from(argument);
    if big_endian { (first + 4, first) } else { (first, first + 4) }
}

/// Whether `arch`'s filter needs to look at high words.
fn is_wide(arch: Arch) -> bool {
    !arch.has_narrow_arguments()
}

#[cfg(test)]
mod tests;

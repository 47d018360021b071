//! From a decision function to classic BPF.
//!
//! The source is a diagram, so anything that can be decided can be compiled: resolved rules, unions, filters that were read back. The
//! program looks at the architecture, then finds the number in a search tree over *ranges of equal verdict* ([`search`]), then tests
//! words of the arguments where the verdict needs them ([`table`]). Equal parts are written once. Everything before the verdict of an
//! unconditional call is a load of number or architecture, a comparison with a constant, a mask or a return, which is what the kernel
//! can evaluate ahead of time for its bitmap of always-allowed calls (`seccomp_is_const_allow`, kernel/seccomp.c, Linux 5.11).
//!
//! Every program is *proven* before it is handed out: its own diagram must be the one that it was made from.

mod assemble;
mod emit;
mod search;
mod sharing;
mod table;
mod weights;

use crate::arch::Arch;
use crate::bpf::{Program, ProgramError};
use crate::diagram::{Diagram, Store, Undecided};
use crate::interpret::SeccompData;
use crate::resolve::Resolved;

/// Why there is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Beyond what the kernel takes: too many conditions on too many architectures.
    #[error("the filter of this profile is beyond what the kernel takes")]
    Refused(#[from] ProgramError),
    /// The profile, or the program that was made from it, needs a larger diagram than is allowed.
    #[error("what the filter means cannot be worked out")]
    Undecided(#[from] Undecided),
    /// The program does not mean what it was made from: a defect of the compiler. Nothing is installed or written.
    #[error(
        "internal error: the compiled filter answers the call {0:x?} otherwise than the profile; it is not used"
    )]
    Unproven(Box<SeccompData>),
}

/// Compiles `resolved`; the program answers every call as [`Resolved::decide`] does, which is proven. The same rules give the same
/// bytes.
///
/// # Errors
/// [`CompileError::Refused`] when it would need more than 4096 instructions.
pub fn compile(resolved: &Resolved) -> Result<Program, CompileError> {
    let mut store = Store::new();
    let diagram = store.of_resolved(resolved)?;
    from_diagram(&mut store, diagram, Some(resolved.native))
}

/// Compiles any decision function; the program answers every call as [`Store::decide`] does, which is proven.
///
/// The calls of `native` are found first; without one those of x86-64, if it is told apart.
///
/// ```
/// use plim_seccomp::{Action, compile, diagram::Store};
/// let mut store = Store::new();
/// let everything = store.constant(Action::Allow);
/// let program = compile::from_diagram(&mut store, everything, None).unwrap();
/// assert_eq!(program.instructions().len(), 1);
/// ```
///
/// # Errors
/// [`CompileError::Refused`] when it would need more than 4096 instructions, [`CompileError::Undecided`] when the store's budget is
/// used up.
pub fn from_diagram(
    store: &mut Store,
    diagram: Diagram,
    native: Option<Arch>,
) -> Result<Program, CompileError> {
    let program = emit::program(store, diagram, native.unwrap_or(Arch::X86_64))?;
    prove(store, diagram, &program)?;
    Ok(program)
}

/// Whether `program` means just what `diagram` does.
fn prove(store: &mut Store, diagram: Diagram, program: &Program) -> Result<(), CompileError> {
    let compiled = store.of_program(program)?;
    if compiled == diagram {
        return Ok(());
    }
    use crate::Action;
    let differs = |a, b| if a == b { Action::Allow } else { Action::KillProcess };
    let difference = store.combine(diagram, compiled, differs)?;
    let witness = store.witness(difference, |action| action != Action::Allow);
    Err(CompileError::Unproven(Box::new(witness.unwrap_or_default())))
}

#[cfg(test)]
mod tests;

//! What a filter does, in numbers: exact over all arguments.

use std::collections::BTreeSet;

use plim_model::seccomp::SeccompArchSummary;

use crate::action::Action;
use crate::arch::Arch;
use crate::bpf::Program;
use crate::diagram::{Diagram, Store, Undecided};
use crate::syscalls;

/// Counts the calls of each architecture that the filter treats in a way of its own (x32 wherever x86-64 is). A filter that treats all
/// alike is summarised for x86-64, i386 and x32.
///
/// A call is *allowed* when it is made whatever its arguments (allow, log), *refused* when it never is (a call that is left to a
/// supervisor or tracer counts as refused), and *conditional* otherwise.
///
/// # Errors
/// [`Undecided`] for a filter beyond the budget of a [`Store`].
pub fn summary(program: &Program) -> Result<Vec<SeccompArchSummary>, Undecided> {
    let mut store = Store::new();
    let diagram = store.of_program(program)?;
    let arches = told_apart(&store, diagram);
    Ok(arches.into_iter().map(|arch| summary_of(&store, diagram, arch)).collect())
}

/// The same of a diagram, for one architecture.
pub fn summary_of(store: &Store, diagram: Diagram, arch: Arch) -> SeccompArchSummary {
    let mut summary =
        SeccompArchSummary { arch: arch.scmp_name().to_owned(), allowed: 0, refused: 0, conditional: 0 };
    let of_arch = store.at(diagram, arch.audit_token(), None);
    let numbers: BTreeSet<u32> = syscalls::calls(arch).map(|(_, nr)| nr.0).collect();
    for nr in numbers {
        let kinds = store.kinds(store.at(of_arch, arch.audit_token(), Some(nr)));
        let made: BTreeSet<bool> = kinds.map(Action::makes_the_call).collect();
        let count = match (made.contains(&true), made.contains(&false)) {
            (true, false) => &mut summary.allowed,
            (false, _) => &mut summary.refused,
            (true, true) => &mut summary.conditional,
        };
        *count += 1;
    }
    summary
}

/// The architectures that the filter treats in a way of their own; x86-64, i386 and x32 where there is none.
pub fn told_apart(store: &Store, diagram: Diagram) -> Vec<Arch> {
    let tokens = store.arches(diagram);
    let found: Vec<Arch> = Arch::all().filter(|arch| tokens.contains(&arch.audit_token())).collect();
    if found.is_empty() { vec![Arch::X86_64, Arch::X86, Arch::X32] } else { found }
}

/// The verdicts that one number can get.
///
/// # Errors
/// [`Undecided`] for a filter beyond the budget of a [`Store`].
pub fn verdicts(program: &Program, arch: Arch, nr: u32) -> Result<BTreeSet<Action>, Undecided> {
    let mut store = Store::new();
    let diagram = store.of_program(program)?;
    Ok(store.verdicts(store.at(diagram, arch.audit_token(), Some(nr))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{Insn, code::*};
    use crate::compile::compile;
    use crate::resolve::{Facts, KernelVersion, resolve};
    use crate::{dialect, presets};
    use plim_model::CapabilitySet;

    fn preset(name: &str) -> Program {
        let written = dialect::parse(presets::get(name).unwrap().as_bytes()).unwrap();
        let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 18 });
        compile(&resolve(&written, &facts).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn the_default_has_three_conditional_calls() {
        let summaries = summary(&preset("docker-default")).unwrap();
        let arches: Vec<&str> = summaries.iter().map(|s| s.arch.as_str()).collect();
        assert_eq!(arches, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        for (summary, arch) in summaries.iter().zip([Arch::X86_64, Arch::X86, Arch::X32]) {
            // clone, personality, socket
            assert_eq!(summary.conditional, 3, "{summary:?}");
            let table: BTreeSet<_> = syscalls::calls(arch).map(|(_, nr)| nr).collect();
            assert_eq!((summary.allowed + summary.refused + summary.conditional) as usize, table.len());
            assert!(summary.allowed > 280, "{summary:?}");
        }
        let without_socket = summary(&preset("tcpdump")).unwrap();
        assert_eq!(without_socket[0].conditional, 2);
        assert_eq!(without_socket[0].refused, summaries[0].refused + 1);
    }

    #[test]
    fn a_filter_without_architectures() {
        let allow = Program::from_instructions(vec![Insn::stmt(RET_K, 0x7fff_0000)]).unwrap();
        let summaries = summary(&allow).unwrap();
        assert_eq!(summaries.len(), 3);
        assert!(summaries.iter().all(|s| s.refused == 0 && s.conditional == 0));
    }

    #[test]
    fn verdicts_are_found_behind_both_words() {
        let program = preset("docker-default");
        let socket = verdicts(&program, Arch::X86_64, 41).unwrap();
        assert_eq!(socket.len(), 2, "{socket:?}");
        assert_eq!(verdicts(&program, Arch::X86_64, 0), Ok(BTreeSet::from([Action::Allow])));
    }
}

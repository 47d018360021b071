//! What a filter does, seen from outside.
//!
//! Today by probing: every number of an architecture's table, and for a number whose verdict looks at an argument, the arguments
//! around every constant that the filter compares with from there on. The exact answer over all arguments is to replace the inside of
//! [`verdicts`]; nothing else here depends on how it is found.

use std::collections::BTreeSet;

use plim_model::seccomp::SeccompArchSummary;

use crate::action::Action;
use crate::arch::Arch;
use crate::bpf::{Insn, Program, code::*};
use crate::interpret::{self, SeccompData};
use crate::syscalls;

/// Counts the calls of each architecture that the filter speaks of: those whose audit token it compares with (x32 wherever x86-64 is).
/// A filter that speaks of none treats all alike; it is summarised for x86-64, i386 and x32.
///
/// A call is *allowed* when it is made whatever its arguments (allow, log), *refused* when it never is (a call that is left to a
/// supervisor or tracer counts as refused), and *conditional* otherwise.
pub fn summary(program: &Program) -> Vec<SeccompArchSummary> {
    summary_for(program, &spoken_of(program))
}

/// The same for architectures of the caller's choice.
pub fn summary_for(program: &Program, arches: &[Arch]) -> Vec<SeccompArchSummary> {
    arches
        .iter()
        .map(|arch| {
            let mut summary = SeccompArchSummary {
                arch: arch.scmp_name().to_owned(),
                allowed: 0,
                refused: 0,
                conditional: 0,
            };
            let numbers: BTreeSet<_> = syscalls::calls(*arch).map(|(_, nr)| nr).collect();
            for nr in numbers {
                let made: BTreeSet<bool> =
                    verdicts(program, *arch, nr.0).into_iter().map(Action::makes_the_call).collect();
                let count = match (made.contains(&true), made.contains(&false)) {
                    (true, false) => &mut summary.allowed,
                    (false, _) => &mut summary.refused,
                    (true, true) => &mut summary.conditional,
                };
                *count += 1;
            }
            summary
        })
        .collect()
}

/// The architectures whose audit tokens the filter compares with.
pub fn spoken_of(program: &Program) -> Vec<Arch> {
    let tokens = crate::disasm::tokens(program);
    let found: Vec<Arch> = Arch::all().filter(|arch| tokens.contains(&arch.audit_token())).collect();
    if found.is_empty() { vec![Arch::X86_64, Arch::X86, Arch::X32] } else { found }
}

/// The verdicts that one number can get, over the probed arguments.
pub fn verdicts(program: &Program, arch: Arch, nr: u32) -> BTreeSet<Action> {
    let call = SeccompData { nr, arch: arch.audit_token(), ..SeccompData::default() };
    let mut found = BTreeSet::from([interpret::run(program, &call)]);
    let Some(look) = first_look_at_arguments(program, &call) else { return found };
    let narrow = arch.has_narrow_arguments();
    let mut words: BTreeSet<u32> = BTreeSet::from([0, 1, u32::MAX]);
    for k in constants_from(program, look) {
        words.extend([k.wrapping_sub(1), k, k.wrapping_add(1), !k]);
    }
    for word in words {
        let (low, high) = (u64::from(word), u64::from(word) << 32);
        for value in [low, high, high | low, high | 1] {
            if narrow && value != low {
                continue;
            }
            for index in 0..6 {
                let mut probe = call;
                probe.args[index] = value;
                found.insert(interpret::run(program, &probe));
            }
            found.insert(interpret::run(program, &SeccompData { args: [value; 6], ..call }));
        }
    }
    found
}

fn is_comparison(insn: Insn) -> bool {
    matches!(insn.code, JMP_JEQ_K | JMP_JGE_K | JMP_JGT_K | JMP_JSET_K)
}

/// Where the filter first loads something else than number and architecture, if it does so for this call.
fn first_look_at_arguments(program: &Program, call: &SeccompData) -> Option<usize> {
    let at = |insn: &Insn| insn.code == LD_W_ABS && insn.k >= 8;
    interpret::trace(program, call).find(|pc| at(&program.instructions()[*pc]))
}

/// The constants that can be compared with, or masked by, from instruction `from` on.
fn constants_from(program: &Program, from: usize) -> BTreeSet<u32> {
    let instructions = program.instructions();
    let mut reached = vec![false; instructions.len()];
    reached[from] = true;
    let mut constants = BTreeSet::new();
    for (index, insn) in instructions.iter().enumerate().skip(from) {
        if !reached[index] {
            continue;
        }
        if is_comparison(*insn) || (insn.code & 7 == 4 && insn.code & 8 == 0) {
            constants.insert(insn.k);
        }
        let next = index + 1;
        match insn.code {
            RET_K | RET_A => {}
            JMP_JA => reached[next + insn.k as usize] = true,
            code if code & 7 == 5 => {
                reached[next + usize::from(insn.jt)] = true;
                reached[next + usize::from(insn.jf)] = true;
            }
            _ => reached[next] = true,
        }
    }
    constants
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let summaries = summary(&preset("docker-default"));
        let arches: Vec<&str> = summaries.iter().map(|s| s.arch.as_str()).collect();
        assert_eq!(arches, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        for (summary, arch) in summaries.iter().zip([Arch::X86_64, Arch::X86, Arch::X32]) {
            // clone, personality, socket
            assert_eq!(summary.conditional, 3, "{summary:?}");
            let table: BTreeSet<_> = syscalls::calls(arch).map(|(_, nr)| nr).collect();
            assert_eq!((summary.allowed + summary.refused + summary.conditional) as usize, table.len());
            assert!(summary.allowed > 280, "{summary:?}");
        }
        let without_socket = summary(&preset("tcpdump"));
        assert_eq!(without_socket[0].conditional, 2);
        assert_eq!(without_socket[0].refused, summaries[0].refused + 1);
    }

    #[test]
    fn a_filter_without_architectures() {
        let allow = Program::from_instructions(vec![Insn::stmt(RET_K, 0x7fff_0000)]).unwrap();
        let summaries = summary(&allow);
        assert_eq!(summaries.len(), 3);
        assert!(summaries.iter().all(|s| s.refused == 0 && s.conditional == 0));
    }

    #[test]
    fn verdicts_are_found_behind_both_words() {
        let program = preset("docker-default");
        let socket = verdicts(&program, Arch::X86_64, 41);
        assert_eq!(socket.len(), 2, "{socket:?}");
        assert_eq!(verdicts(&program, Arch::X86_64, 0), BTreeSet::from([Action::Allow]));
    }
}

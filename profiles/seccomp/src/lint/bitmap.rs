//! The kernel's bitmap of calls that are always allowed, and filters that keep it empty.
//!
//! When a filter is installed the kernel runs it once for every number of the native and the compat architecture, and remembers those
//! that end in SECCOMP_RET_ALLOW without a look at anything but number and architecture; they skip all filters from then on
//! (kernel/seccomp.c, `seccomp_is_const_allow`, since Linux 5.11). The emulator knows few instructions, and this is exactly it.

use super::{Class, Finding, Severity, View};
use crate::action::Action;
use crate::arch::Arch;
use crate::bpf::{Program, code::*};
use crate::diagram::{Diagram, Store};
use crate::interpret::SeccompData;
use crate::syscalls;

/// Where the kernel's emulation of one filter ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At a return of plain SECCOMP_RET_ALLOW: the bit stays set.
    Allowed,
    /// At a return of anything else.
    Returned(usize),
    /// At an instruction that it does not follow.
    GaveUp(usize),
}

/// `seccomp_is_const_allow`.
fn emulate(program: &Program, nr: u32, token: u32) -> End {
    let (mut a, mut pc) = (0u32, 0usize);
    loop {
        // `Program` ends every path with a return.
        let insn = program.instructions()[pc];
        let here = pc;
        pc += 1;
        let jump = |condition: bool| usize::from(if condition { insn.jt } else { insn.jf });
        match (insn.code, insn.k) {
            (LD_W_ABS, 0) => a = nr,
            (LD_W_ABS, 4) => a = token,
            (RET_K, k) if k == Action::Allow.to_ret() => return End::Allowed,
            (RET_K, _) => return End::Returned(here),
            (JMP_JA, k) => pc += k as usize,
            (JMP_JEQ_K, k) => pc += jump(a == k),
            (JMP_JGE_K, k) => pc += jump(a >= k),
            (JMP_JGT_K, k) => pc += jump(a > k),
            (JMP_JSET_K, k) => pc += jump(a & k != 0),
            (ALU_AND_K, k) => a &= k,
            _ => return End::GaveUp(here),
        }
    }
}

/// The architectures for which the kernel keeps a bitmap.
fn arches(native: Arch) -> Vec<Arch> {
    let compat = match native {
        Arch::X86_64 => Some(Arch::X86),
        Arch::Aarch64 => Some(Arch::Arm),
        Arch::S390x => Some(Arch::S390),
        Arch::Ppc64 => Some(Arch::Ppc),
        Arch::Parisc64 => Some(Arch::Parisc),
        _ => None,
    };
    [Some(native), compat].into_iter().flatten().collect()
}

/// S015: calls that are always allowed, and run every filter all the same.
pub(super) fn lost(store: &mut Store, diagram: Diagram, programs: &[Program], native: Arch) -> Vec<Finding> {
    let allow = store.constant(Action::Allow);
    let (mut kept, mut lost, mut first) = (0usize, Vec::new(), None);
    for arch in arches(native) {
        for (name, nr) in View::calls(arch) {
            // One leaf: the same answer whatever the arguments.
            if store.at(diagram, arch.audit_token(), Some(nr.0)) != allow {
                continue;
            }
            let ends = programs.iter().map(|program| emulate(program, nr.0, arch.audit_token()));
            match ends.enumerate().find(|(_, end)| *end != End::Allowed) {
                None => kept += 1,
                Some((filter, end)) => {
                    lost.push(format!("{name} ({})", arch.name()));
                    first.get_or_insert((
                        filter,
                        end,
                        SeccompData { nr: nr.0, arch: arch.audit_token(), ..SeccompData::default() },
                    ));
                }
            }
        }
    }
    let Some((filter, end, call)) = first else { return Vec::new() };
    let at = match end {
        End::Allowed => String::new(),
        End::Returned(index) => format!("instruction {index} returns data beside SECCOMP_RET_ALLOW"),
        End::GaveUp(index) => {
            let text = crate::disasm::disassemble(&programs[filter]);
            let line = text.lines().nth(index).unwrap_or_default().trim().to_owned();
            format!("the kernel's emulation gives up at instruction {line}")
        }
    };
    let message = format!(
        "{} calls that are always allowed run the whole filter each time; {kept} are let pass by the kernel's bitmap",
        lost.len()
    );
    let which = if programs.len() > 1 { format!("filter {filter}: {at}") } else { at };
    vec![
        Finding::new(Class::BitmapLost, Severity::Low, message)
            .evidence([which, super::rules::some(&lost)])
            .witness(Some(&call)),
    ]
}

/// How many named calls the kernel's bitmap lets pass, for the native and the compat architecture together.
pub fn kept(programs: &[Program], native: Arch) -> usize {
    let allowed = |arch: Arch, nr: u32| {
        programs.iter().all(|program| emulate(program, nr, arch.audit_token()) == End::Allowed)
    };
    arches(native)
        .into_iter()
        .map(|arch| syscalls::calls(arch).filter(|(_, nr)| allowed(arch, nr.0)).count())
        .sum()
}

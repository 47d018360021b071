//! Diagrams against the interpreter and the rules' own meaning.

use plim_model::{Capability, CapabilitySet};

use std::collections::BTreeSet;

use super::*;
use crate::arch::Arch;
use crate::bpf::{Insn, code::*};
use crate::compile::compile;
use crate::errno::Errno;
use crate::interpret;
use crate::resolve::{Facts, KernelVersion, resolve};
use crate::{dialect, presets, syscalls};

fn resolved(name: &str, arch: Arch, caps: CapabilitySet) -> Resolved {
    let written = dialect::parse(presets::get(name).unwrap().as_bytes()).unwrap();
    let facts = Facts::new(arch, caps, KernelVersion { major: 6, minor: 18 });
    resolve(&written, &facts).unwrap().unwrap()
}

fn program(lines: &[(u16, u8, u8, u32)]) -> Program {
    let insns = lines.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
    Program::from_instructions(insns).unwrap()
}

#[test]
fn the_compiled_presets_are_what_their_rules_say() {
    let all: CapabilitySet = Capability::known().collect();
    for name in presets::names() {
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::S390x, Arch::Mips64, Arch::Riscv64] {
            for caps in [CapabilitySet::EMPTY, CapabilitySet::DOCKER_DEFAULT, all] {
                let resolved = resolved(name, arch, caps);
                let mut store = Store::new();
                let rules = store.of_resolved(&resolved).unwrap();
                let program = store.of_program(&compile(&resolved).unwrap()).unwrap();
                assert_eq!(rules, program, "{name} on {arch}");
            }
        }
    }
}

#[test]
fn a_diagram_decides_as_the_interpreter_does() {
    let resolved = resolved("docker-default", Arch::X86_64, CapabilitySet::DOCKER_DEFAULT);
    let compiled = compile(&resolved).unwrap();
    let mut store = Store::new();
    let diagram = store.of_program(&compiled).unwrap();
    let tokens =
        [0, 1, Arch::X86_64.audit_token(), Arch::X86.audit_token(), Arch::S390x.audit_token(), u32::MAX];
    let mut count = 0;
    for arch in tokens {
        for nr in (0..600).chain(0x4000_0000..0x4000_0258).chain([0x3fff_ffff, 0x8000_0000, u32::MAX]) {
            for value in [0, 1, 2, 8, 38, 40, 0xffff_ffff, 0x1_0000_0028, 0x7e02_0000, 0x1000_0000, u64::MAX]
            {
                let call = SeccompData { nr, arch, ip: 0, args: [value; 6] };
                assert_eq!(store.decide(diagram, &call), interpret::run(&compiled, &call), "{call:x?}");
                assert_eq!(store.decide(diagram, &call), resolved.decide(&call), "{call:x?}");
                count += 1;
            }
        }
    }
    assert!(count > 70_000);
}

#[test]
fn equal_meaning_is_an_equal_handle() {
    let mut store = Store::new();
    let one = program(&[
        (LD_W_ABS, 0, 0, 0),
        (JMP_JEQ_K, 0, 1, 41),
        (RET_K, 0, 0, 0x0005_0001),
        (RET_K, 0, 0, 0x7fff_0000),
    ]);
    // A == 41, by way of a cell, a computation and X.
    let other = program(&[
        (LD_W_ABS, 0, 0, 0),
        (ALU_ADD_K, 0, 0, 1),
        (ST, 0, 0, 3),
        (LD_IMM, 0, 0, 42),
        (LDX_MEM, 0, 0, 3),
        (JMP_JEQ_X, 1, 0, 0),
        (RET_K, 0, 0, 0x7fff_1234),
        (LD_W_ABS, 0, 0, 16),
        (LD_IMM, 0, 0, 0x0005_0001),
        (RET_A, 0, 0, 0),
    ]);
    let (one, other) = (store.of_program(&one).unwrap(), store.of_program(&other).unwrap());
    assert_eq!(one, other);
    assert_eq!(store.verdicts(one), BTreeSet::from([Action::Errno(Errno::EPERM), Action::Allow]));
    let ranges = store.numbers(one).unwrap();
    let bounds: Vec<(u32, u32)> = ranges.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(bounds, [(0, 40), (41, 41), (42, u32::MAX)]);
    let classes = store.number_classes(one);
    assert_eq!(
        classes.iter().map(|class| (class.first, class.count)).collect::<Vec<_>>(),
        [(0, (1 << 32) - 1), (41, 1)]
    );
}

#[test]
fn architectures_are_told_apart() {
    let mut store = Store::new();
    let resolved = resolved("tcpdump", Arch::X86_64, CapabilitySet::EMPTY);
    let diagram = store.of_resolved(&resolved).unwrap();
    assert_eq!(store.arches(diagram), [0x4000_0003, 0xc000_003e]);
    let foreign = store.unnamed_arch(diagram);
    assert_eq!(foreign, store.constant(Action::KillThread));
    assert_eq!(store.at(diagram, Arch::Aarch64.audit_token(), None), foreign);
    let socket =
        |arch: Arch| store.at(diagram, arch.audit_token(), Some(syscalls::number(arch, "socket").unwrap().0));
    assert_eq!(socket(Arch::X86_64), socket(Arch::X86));
    assert_eq!(store.verdicts(socket(Arch::X32)), BTreeSet::from([Action::Errno(Errno::EPERM)]));
}

#[test]
fn witnesses_look_like_calls() {
    let mut store = Store::new();
    let resolved = resolved("docker-default", Arch::X86_64, CapabilitySet::EMPTY);
    let diagram = store.of_resolved(&resolved).unwrap();
    let refused = store.witness(diagram, |action| action == Action::Errno(Errno::EPERM)).unwrap();
    assert_eq!((refused.arch, refused.nr), (0xc000_003e, 41));
    assert_eq!(refused.args, [38, 0, 0, 0, 0, 0]);
    let foreign = store.witness(diagram, |action| action == Action::KillThread).unwrap();
    assert_eq!((foreign.arch, foreign.nr), (Arch::Aarch64.audit_token(), 0));
    assert_eq!(store.witness(diagram, |action| action == Action::Notify), None);
}

#[test]
fn a_stack_is_one_filter() {
    let ret = |value: u32| program(&[(RET_K, 0, 0, value)]);
    let (allow, eperm, e5, odd) = (ret(0x7fff_0000), ret(0x0005_0001), ret(0x0005_0005), ret(0x1234_5678));
    let mut store = Store::new();
    for stack in [
        vec![],
        vec![eperm.clone(), allow.clone()],
        vec![eperm.clone(), e5.clone()],
        vec![e5.clone(), eperm.clone()],
        // An unknown action kills, and yields to a stronger one.
        vec![odd.clone(), e5.clone()],
        vec![odd.clone(), allow.clone()],
        vec![ret(0x7ff0_0001), ret(0x7ff0_0002)],
    ] {
        let diagram = store.of_stack(&stack).unwrap();
        let expected = interpret::run_stack(&stack, &SeccompData::default());
        assert_eq!(store.verdicts(diagram), BTreeSet::from([expected]), "{stack:x?}");
    }
}

#[test]
fn a_budget_is_kept_and_what_exceeds_it_is_named() {
    // arg0 * arg1 == 12345
    let product = program(&[
        (LD_W_ABS, 0, 0, 16),
        (MISC_TAX, 0, 0, 0),
        (LD_W_ABS, 0, 0, 24),
        (ALU_MUL_X, 0, 0, 0),
        (JMP_JEQ_K, 0, 1, 12345),
        (RET_K, 0, 0, 0),
        (RET_K, 0, 0, 0x7fff_0000),
    ]);
    let mut store = Store::with_budget(20_000);
    let undecided = store.of_program(&product).unwrap_err();
    assert_eq!(undecided.instruction, Some(3));
    assert!(store.nodes() <= 20_000);
    // The store is as it was before, and of use.
    assert_eq!(store.nodes(), 0);
    let compare =
        program(&[(LD_W_ABS, 0, 0, 0), (JMP_JEQ_K, 0, 1, 1), (RET_K, 0, 0, 0), (RET_K, 0, 0, 0x7fff_0000)]);
    let one = store.of_program(&compare).unwrap();
    assert_eq!(store.of_program(&product).unwrap_err(), undecided);
    assert_eq!(store.of_program(&compare).unwrap(), one);
    assert!(undecided.to_string().starts_with("undecided at instruction 3: "), "{undecided}");
}

#[test]
fn arguments_compared_with_each_other_stay_small() {
    for jump in [JMP_JEQ_X, JMP_JGT_X, JMP_JGE_X] {
        let compare = program(&[
            (LD_W_ABS, 0, 0, 16),
            (MISC_TAX, 0, 0, 0),
            (LD_W_ABS, 0, 0, 56),
            (jump, 0, 1, 0),
            (RET_K, 0, 0, 0),
            (RET_K, 0, 0, 0x7fff_0000),
        ]);
        let mut store = Store::new();
        let diagram = store.of_program(&compare).unwrap();
        assert!(store.nodes() < 1000, "{}", store.nodes());
        for (a, b) in [(0, 0), (1, 0), (0, 1), (5, u64::MAX), (u64::MAX, 5), (1 << 32, 0)] {
            let call = SeccompData { args: [a, 0, 0, 0, 0, b], ..SeccompData::default() };
            assert_eq!(store.decide(diagram, &call), interpret::run(&compare, &call));
        }
    }
}

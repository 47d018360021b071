use super::*;
use crate::bpf::{Insn, Program, code::*};
use crate::compile::{compile, from_diagram};
use crate::presets;
use plim_model::Capability;

fn back(program: &Program) -> (Store, Diagram, Decompiled) {
    let mut store = Store::new();
    let diagram = store.of_program(program).unwrap();
    let decompiled = decompile(&mut store, diagram, None).unwrap();
    (store, diagram, decompiled)
}

fn preset(name: &str, arch: Arch, caps: CapabilitySet, enosys_above: EnosysAbove) -> Resolved {
    let written = dialect::parse(presets::get(name).unwrap().as_bytes()).unwrap();
    let kernel = KernelVersion { major: 6, minor: 18 };
    resolve(&written, &Facts { enosys_above, ..Facts::new(arch, caps, kernel) }).unwrap().unwrap()
}

#[test]
fn every_preset_comes_back() {
    let all: CapabilitySet = Capability::known().collect();
    for name in presets::names() {
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64] {
            for caps in [CapabilitySet::DOCKER_DEFAULT, CapabilitySet::EMPTY, all] {
                for enosys in [EnosysAbove::HighestNamed, EnosysAbove::Never] {
                    let program = compile(&preset(name, arch, caps, enosys)).unwrap();
                    let mut store = Store::new();
                    let diagram = store.of_program(&program).unwrap();
                    let back = decompile(&mut store, diagram, Some(arch)).unwrap();
                    assert!(back.is_exact(), "{name} {arch} {enosys:?}: {:?} {:#?}", back.reasons, back.lost);
                    assert!(back.reasons.is_empty());
                }
            }
        }
    }
}

fn program(instructions: &[(u16, u8, u8, u32)]) -> Program {
    let insns = instructions.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k });
    Program::from_instructions(insns.collect()).unwrap()
}

#[test]
fn a_range_becomes_masks() {
    // socket: 3 <= family <= 9 gets EPERM, everything else is allowed; other architectures are killed.
    let (_, _, back) = back(&program(&[
        (LD_W_ABS, 0, 0, 4),
        (JMP_JEQ_K, 0, 9, 0xc000_003e),
        (LD_W_ABS, 0, 0, 0),
        (JMP_JGE_K, 7, 0, 0x4000_0000),
        (JMP_JEQ_K, 0, 4, 41),
        (LD_W_ABS, 0, 0, 16),
        (JMP_JGE_K, 0, 2, 3),
        (JMP_JGT_K, 1, 0, 9),
        (RET_K, 0, 0, 0x0005_0001),
        (RET_K, 0, 0, 0x7fff_0000),
        (RET_K, 0, 0, 0x7fff_0000),
        (RET_K, 0, 0, 0),
    ]));
    // Numbers with bit 31 are x86-64's in a profile without x32, and so is −1; this filter kills them.
    let lost: Vec<_> = back.lost.iter().map(|change| (change.syscall.as_str(), change.number)).collect();
    assert_eq!(lost, [(exact::UNNAMED, 0x8000_0000), (exact::UNNAMED, u32::MAX)], "{:?}", back.lost);
    assert_eq!(back.reasons.len(), 1, "{:?}", back.reasons);
    assert_eq!(back.profile["defaultAction"], "SCMP_ACT_ALLOW");
    let text = back.profile.to_string();
    assert!(text.contains("SCMP_CMP_MASKED_EQ") && text.contains("socket"), "{text}");
}

#[test]
fn what_a_profile_cannot_say_is_said() {
    // Everything is allowed, on every architecture, unless arg0 == arg1 in openat.
    let (_, _, filter) = back(&program(&[
        (LD_W_ABS, 0, 0, 0),
        (JMP_JEQ_K, 0, 5, 257),
        (LD_W_ABS, 0, 0, 16),
        (MISC_TAX, 0, 0, 0),
        (LD_W_ABS, 0, 0, 24),
        (JMP_JEQ_X, 0, 1, 0),
        (RET_K, 0, 0, 0x0005_0001),
        (RET_K, 0, 0, 0x7fff_0000),
    ]));
    assert!(!filter.is_exact());
    assert!(
        filter
            .reasons
            .iter()
            .any(|why| why.starts_with("openat on ") && why.contains("compared with another")),
        "{:?}",
        filter.reasons
    );
    assert!(filter.reasons.iter().any(|why| why.contains("other architectures")), "{:?}", filter.reasons);
    // Stricter where it cannot be said: openat is refused whatever its arguments.
    assert!(
        filter.lost.iter().any(|change| change.syscall == "openat" && change.after != Action::Allow),
        "{:?}",
        filter.lost
    );
}

#[test]
fn a_union_comes_back() {
    let mut store = Store::new();
    let caps = CapabilitySet::DOCKER_DEFAULT;
    let [a, b] = ["docker-default", "tcpdump"]
        .map(|name| store.of_resolved(&preset(name, Arch::X86_64, caps, EnosysAbove::HighestNamed)).unwrap());
    for joined in [exact::union(&mut store, a, b).unwrap(), exact::intersect(&mut store, a, b).unwrap()] {
        let back = decompile(&mut store, joined, None).unwrap();
        assert!(back.is_exact(), "{:?}", back.lost);
        assert!(from_diagram(&mut store, joined, None).unwrap().instructions().len() <= 220);
    }
}

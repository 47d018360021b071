//! What the rows carry. What is different and what is not is tested with the decision engine.

use plim_model::diff::Effect;
use plim_seccomp::bpf::code::*;
use plim_seccomp::bpf::{Insn, Program};
use serde_json::json;

use super::*;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;

fn stack(lines: &[(u16, u8, u8, u32)]) -> Meaning {
    let insns = lines.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
    Meaning::Stack(vec![Program::from_instructions(insns).expect("a program that the kernel takes")])
}

/// x86-64 only: EPERM for number 41 with this first argument.
fn socket(family: u32) -> Meaning {
    stack(&[
        (LD_W_ABS, 0, 0, 4),
        (JMP_JEQ_K, 1, 0, 0xc000_003e),
        (RET_K, 0, 0, 0),
        (LD_W_ABS, 0, 0, 0),
        (JMP_JEQ_K, 0, 3, 41),
        (LD_W_ABS, 0, 0, 16),
        (JMP_JEQ_K, 0, 1, family),
        (RET_K, 0, 0, EPERM),
        (RET_K, 0, 0, ALLOW),
    ])
}

#[test]
fn a_row_carries_condition_and_witness() {
    let found = compare(&socket(17), &socket(16), true);
    assert_eq!(found.unknown, []);
    assert_eq!(
        serde_json::to_value(&found.changes).unwrap(),
        json!([
            {
                "area": "seccomp",
                "path": "/seccomp/SCMP_ARCH_X86_64/socket",
                "before": {"action": "SCMP_ACT_ALLOW"},
                "after": {"action": "SCMP_ACT_ERRNO", "errno": "EPERM"},
                "effect": "less",
                "arch": "SCMP_ARCH_X86_64",
                "syscall": "socket",
                "number": 41,
                "when": "(family & 0xffffffff) == AF_NETLINK",
                "witness": {"nr": 41, "args": ["0x10", "0x0", "0x0", "0x0", "0x0", "0x0"]},
            },
            {
                "area": "seccomp",
                "path": "/seccomp/SCMP_ARCH_X86_64/socket",
                "before": {"action": "SCMP_ACT_ERRNO", "errno": "EPERM"},
                "after": {"action": "SCMP_ACT_ALLOW"},
                "effect": "more",
                "arch": "SCMP_ARCH_X86_64",
                "syscall": "socket",
                "number": 41,
                "when": "(family & 0xffffffff) == AF_PACKET",
                "witness": {"nr": 41, "args": ["0x11", "0x0", "0x0", "0x0", "0x0", "0x0"]},
            },
        ])
    );
}

#[test]
fn architectures_without_a_name_here_are_one_row() {
    let found = compare(&Meaning::Stack(Vec::new()), &socket(17), true);
    let rows: Vec<(&str, Effect)> = found.changes.iter().map(|c| (c.path.as_str(), c.effect)).collect();
    assert_eq!(
        rows,
        [("/seccomp/SCMP_ARCH_X86_64/socket", Effect::Less), ("/seccomp/other_architectures", Effect::Less)]
    );
    let detail = found.changes[1].seccomp.as_ref().unwrap();
    assert_eq!((detail.arch.as_str(), detail.when.as_deref()), (OTHERS, None));
    assert_eq!(detail.witness.as_ref().unwrap().arch_token, Some(0x4000_0003));
}

#[test]
fn what_is_too_much_is_unknown_and_never_the_same() {
    let product = |k: u32| {
        stack(&[
            (LD_W_ABS, 0, 0, 16),
            (MISC_TAX, 0, 0, 0),
            (LD_W_ABS, 0, 0, 24),
            (ALU_MUL_X, 0, 0, 0),
            (JMP_JEQ_K, 0, 1, k),
            (RET_K, 0, 0, EPERM),
            (RET_K, 0, 0, ALLOW),
        ])
    };
    let found = compare(&product(5), &product(6), true);
    assert!(found.changes.is_empty());
    let [(side, why)] = found.unknown.as_slice() else { panic!("{found:?}") };
    assert_eq!(*side, Side::A);
    assert!(why.starts_with("undecided at instruction 3: "), "{why}");
}

#[test]
fn text_says_every_call() {
    let [a, b] = texts([&socket(17), &socket(16)]);
    assert!(a.contains("x86_64 read: SCMP_ACT_ALLOW\n"), "{a}");
    assert!(
        a.contains("x86_64 socket when (family & 0xffffffff) == AF_PACKET: SCMP_ACT_ERRNO (EPERM)\n"),
        "{a}"
    );
    assert_eq!(a.lines().count(), b.lines().count());
}

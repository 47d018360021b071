//! Hand-made filters: what is proved the same, found different, or left unknown.

use plim_seccomp::bpf::Insn;
use plim_seccomp::bpf::code::*;
use serde_json::json;

use super::*;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const KILL: u32 = 0;
/// Offsets of the low and the high half of the first argument on little-endian machines.
const ARG0: [u32; 2] = [16, 20];

fn program(lines: &[(u16, u8, u8, u32)]) -> Program {
    let insns = lines.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
    Program::from_instructions(insns).expect("a program that the kernel takes")
}

/// x86-64 only: `verdict` for number 41 when the tests of `middle` fall through to it.
fn for_socket(middle: &[(u16, u8, u8, u32)], verdict: u32) -> Program {
    let mut lines = vec![
        (LD_W_ABS, 0, 0, 4),
        (JMP_JEQ_K, 1, 0, 0xc000_003e),
        (RET_K, 0, 0, KILL),
        (LD_W_ABS, 0, 0, 0),
        (JMP_JEQ_K, 1, 0, 41),
        (RET_K, 0, 0, ALLOW),
    ];
    lines.extend(middle);
    lines.extend([(RET_K, 0, 0, verdict), (RET_K, 0, 0, ALLOW)]);
    program(&lines)
}

fn rows(found: &Comparison) -> Vec<(String, Option<String>, serde_json::Value, serde_json::Value)> {
    found
        .changes
        .iter()
        .map(|c| {
            let when = c.seccomp.as_ref().and_then(|detail| detail.when.clone());
            (c.path.clone(), when, c.before.clone(), c.after.clone())
        })
        .collect()
}

#[test]
fn equal_bytes_are_the_same() {
    let socket = for_socket(&[], EPERM);
    let found = compare(std::slice::from_ref(&socket), std::slice::from_ref(&socket));
    assert!(found.changes.is_empty() && found.unknown.is_empty());
    let none = compare(&[], &[]);
    assert!(none.changes.is_empty() && none.unknown.is_empty());
}

#[test]
fn other_bytes_with_the_same_remainders_are_the_same() {
    // The same decisions with the number loaded first, a dead store and a jump more.
    let one = for_socket(&[], EPERM);
    let other = program(&[
        (LD_W_ABS, 0, 0, 0),
        (ST, 0, 0, 3),
        (LD_W_ABS, 0, 0, 4),
        (JMP_JEQ_K, 0, 4, 0xc000_003e),
        (LD_MEM, 0, 0, 3),
        (JMP_JEQ_K, 0, 1, 41),
        (RET_K, 0, 0, EPERM),
        (RET_K, 0, 0, ALLOW),
        (RET_K, 0, 0, KILL),
    ]);
    let found = compare(&[one], &[other]);
    assert_eq!((rows(&found), found.unknown), (vec![], vec![]));
}

#[test]
fn an_unconditional_difference_is_told_with_its_name_and_number() {
    let found = compare(&[for_socket(&[], ALLOW)], &[for_socket(&[], EPERM)]);
    assert_eq!(
        rows(&found),
        [(
            "/seccomp/SCMP_ARCH_X86_64/socket".to_owned(),
            None,
            json!({"action": "SCMP_ACT_ALLOW"}),
            json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM"})
        )]
    );
    assert_eq!(found.changes[0].seccomp.as_ref().map(|detail| detail.number), Some(41));
    assert_eq!(found.changes[0].effect, Effect::Less);
    assert!(found.unknown.is_empty());
}

#[test]
fn no_filter_against_one() {
    let found = compare(&[], &[for_socket(&[], EPERM)]);
    let paths: Vec<&str> = found.changes.iter().map(|c| c.path.as_str()).collect();
    assert_eq!(paths, ["/seccomp/SCMP_ARCH_X86_64/socket", "/seccomp/other_architectures"]);
    assert_eq!(found.changes[1].after, json!({"action": "SCMP_ACT_KILL_THREAD"}));
}

#[test]
fn a_difference_behind_an_argument_is_found_with_a_witness() {
    let equals = |value: u32| for_socket(&[(LD_W_ABS, 0, 0, ARG0[0]), (JMP_JEQ_K, 0, 1, value)], EPERM);
    let found = compare(&[equals(17)], &[equals(16)]);
    let whens: Vec<Option<String>> = rows(&found).into_iter().map(|row| row.1).collect();
    assert_eq!(
        whens,
        [Some("for example arg0 == 0x10".to_owned()), Some("for example arg0 == 0x11".to_owned())]
    );
    // The high half counts on one side only.
    let low = equals(17);
    let whole = for_socket(
        &[(LD_W_ABS, 0, 0, ARG0[1]), (JMP_JEQ_K, 0, 3, 0), (LD_W_ABS, 0, 0, ARG0[0]), (JMP_JEQ_K, 0, 1, 17)],
        EPERM,
    );
    let found = compare(&[low], &[whole]);
    assert!(rows(&found)[0].1.as_deref().is_some_and(|when| when.ends_with("00000011")), "{found:?}");
}

#[test]
fn a_mask_is_probed_by_its_bits() {
    let masked = |mask: u32| {
        for_socket(&[(LD_W_ABS, 0, 0, ARG0[0]), (ALU_AND_K, 0, 0, mask), (JMP_JEQ_K, 1, 0, 0)], EPERM)
    };
    let found = compare(&[masked(0x7e02_0000)], &[masked(0x7e00_0000)]);
    assert_eq!(rows(&found)[0].1.as_deref(), Some("for example arg0 == 0x20000"));
}

#[test]
fn nothing_found_with_other_bytes_is_unknown_and_never_the_same() {
    // Low half then high half, against high half then low half: the same meaning in another order of tests.
    let order = |first: usize, second: usize, values: [u32; 2]| {
        for_socket(
            &[
                (LD_W_ABS, 0, 0, ARG0[first]),
                (JMP_JEQ_K, 0, 3, values[0]),
                (LD_W_ABS, 0, 0, ARG0[second]),
                (JMP_JEQ_K, 0, 1, values[1]),
            ],
            EPERM,
        )
    };
    let found = compare(&[order(0, 1, [17, 0])], &[order(1, 0, [0, 17])]);
    assert!(found.changes.is_empty());
    assert_eq!(
        found.unknown,
        [
            "bytes differ for socket (x86_64); no difference found by probing; exactness comes with the decision engine"
        ]
    );
}

#[test]
fn stacked_filters_count_together() {
    let (allow, refuse) = (for_socket(&[], ALLOW), for_socket(&[], EPERM));
    let found = compare(&[allow.clone(), refuse.clone()], &[refuse, allow]);
    assert_eq!((rows(&found), found.unknown), (vec![], vec![]));
}

#[test]
fn a_computed_number_is_said_to_be_undecided() {
    let masked = |k: u32| {
        program(&[
            (LD_W_ABS, 0, 0, 0),
            (ALU_AND_K, 0, 0, 0xff),
            (JMP_JEQ_K, 0, 1, k),
            (RET_K, 0, 0, EPERM),
            (RET_K, 0, 0, ALLOW),
        ])
    };
    let found = compare(&[masked(41)], &[masked(42)]);
    assert!(!found.unknown.is_empty() || !found.changes.is_empty(), "never the same");
}

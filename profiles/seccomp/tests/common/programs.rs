//! Random programs of every form that the kernel's checker takes, and calls at the boundaries of their constants.

use plim_seccomp::bpf::{Insn, Program, code::*};
use plim_seccomp::interpret::SeccompData;
use proptest::prelude::*;
use proptest::sample::select;

/// Cells that programs use; the prelude writes them all.
const CELLS: u32 = 3;

fn constant() -> impl Strategy<Value = u32> {
    let edges = [
        0,
        1,
        2,
        3,
        5,
        16,
        38,
        40,
        41,
        0xff,
        0xffff,
        0x7e02_0000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffe,
        u32::MAX,
    ];
    let arches = [0xc000_003e, 0x4000_0003, 0x8000_0016, 0xc000_00b7];
    prop_oneof![
        5 => select(edges.to_vec()),
        2 => select(arches.to_vec()),
        2 => select(vec![0x4000_0000, 0x4000_0029, 59, 102, 359, 435]),
        1 => any::<u32>(),
        1 => (0u32..32).prop_map(|bit| 1 << bit),
    ]
}

/// Words of the call, the number and the token most often.
fn offset() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 2 => Just(4), 4 => (4u32..16).prop_map(|n| n * 4), 1 => (2u32..4).prop_map(|n| n * 4)]
}

fn ret() -> impl Strategy<Value = u32> {
    let actions = [
        0x8000_0000,
        0,
        0x0003_0000,
        0x0005_0001,
        0x0005_0026,
        0x7fc0_0000,
        0x7ff0_0007,
        0x7ffc_0000,
        0x7fff_0000,
    ];
    prop_oneof![12 => select(actions.to_vec()), 1 => any::<u32>(), 1 => Just(0x0005_ffff)]
}

/// One instruction; jump offsets are cut to the program later.
fn insn() -> impl Strategy<Value = Insn> {
    let stmt = |code: u16, k: u32| Insn::stmt(code, k);
    let jump = (
        select(vec![
            JMP_JEQ_K, JMP_JGT_K, JMP_JGE_K, JMP_JSET_K, JMP_JEQ_X, JMP_JGT_X, JMP_JGE_X, JMP_JSET_X,
        ]),
        0u8..6,
        0u8..6,
        constant(),
    )
        .prop_map(|(code, jt, jf, k)| Insn { code, jt, jf, k });
    let by_constant = select(vec![
        ALU_ADD_K, ALU_SUB_K, ALU_OR_K, ALU_AND_K, ALU_XOR_K, ALU_ADD_X, ALU_SUB_X, ALU_OR_X, ALU_AND_X,
        ALU_XOR_X,
    ]);
    prop_oneof![
        12 => offset().prop_map(move |k| stmt(LD_W_ABS, k)),
        14 => jump,
        6 => (by_constant, constant()).prop_map(move |(code, k)| stmt(code, k)),
        2 => (select(vec![ALU_LSH_K, ALU_RSH_K]), 0u32..32).prop_map(move |(code, k)| stmt(code, k)),
        1 => select(vec![ALU_LSH_X, ALU_RSH_X, ALU_NEG]).prop_map(move |code| stmt(code, 0)),
        1 => (select(vec![ALU_MUL_K, ALU_DIV_K]), select(vec![1u32, 2, 3, 5, 8, 0x1_0000])).prop_map(move |(code, k)| stmt(code, k)),
        1 => select(vec![ALU_MUL_X, ALU_DIV_X]).prop_map(move |code| stmt(code, 0)),
        3 => select(vec![MISC_TAX, MISC_TXA]).prop_map(move |code| stmt(code, 0)),
        3 => (select(vec![ST, STX, LD_MEM, LDX_MEM]), 0..CELLS).prop_map(move |(code, k)| stmt(code, k)),
        2 => (select(vec![LD_IMM, LDX_IMM]), constant()).prop_map(move |(code, k)| stmt(code, k)),
        1 => select(vec![LD_W_LEN, LDX_W_LEN]).prop_map(move |code| stmt(code, 0)),
        1 => (0u32..4).prop_map(move |k| stmt(JMP_JA, k)),
        4 => ret().prop_map(move |k| stmt(RET_K, k)),
        1 => Just(stmt(RET_A, 0)),
    ]
}

/// A program of at most `most` instructions besides a prelude and an end.
pub(crate) fn program(most: usize) -> impl Strategy<Value = Program> {
    (prop::collection::vec(insn(), 1..most), ret()).prop_map(|(body, end)| {
        let mut all = vec![Insn::stmt(LD_W_ABS, 4)];
        all.extend((0..CELLS).map(|cell| Insn::stmt(ST, cell)));
        all.extend(body);
        all.push(Insn::stmt(RET_K, end));
        let last = all.len() - 1;
        for (index, insn) in all.iter_mut().enumerate() {
            let most = last.saturating_sub(index + 1);
            match insn.code {
                JMP_JA => insn.k = insn.k.min(u32::try_from(most).unwrap()),
                code if code & 7 == 5 => {
                    let most = u8::try_from(most).unwrap_or(u8::MAX);
                    (insn.jt, insn.jf) = (insn.jt.min(most), insn.jf.min(most));
                }
                _ => {}
            }
        }
        Program::from_instructions(all).expect("every form that the generator makes is taken")
    })
}

/// A small generator of its own, so that calls depend on the program alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }
}

/// Calls put together from the programs' constants, one below and above them, in both halves of the arguments; x32 numbers and foreign
/// architectures among them.
pub(crate) fn calls(programs: &[&Program], count: usize) -> Vec<SeccompData> {
    let mut words = vec![0, 1, 41, 0x4000_0029, u32::MAX, 0x8000_0000, 0x7fff_ffff];
    for insn in programs.iter().flat_map(|program| program.instructions()) {
        let k = insn.k;
        words.extend([k, k.wrapping_sub(1), k.wrapping_add(1), !k, k.wrapping_neg()]);
    }
    words.sort_unstable();
    words.dedup();
    let arches = [0xc000_003e, 0xc000_003e, 0x4000_0003, 0x8000_0016, 0xc000_00b7, 0, 7];
    let mut dice = Dice(0x5eed + words.len() as u64);
    (0..count)
        .map(|_| {
            let arch = if dice.roll(4) == 0 { dice.of(&words) } else { dice.of(&arches) };
            let mut value = || match dice.roll(6) {
                0 => 0,
                1 | 2 => u64::from(dice.of(&words)),
                3 => u64::from(dice.of(&words)) << 32,
                4 => u64::MAX,
                _ => u64::from(dice.of(&words)) << 32 | u64::from(dice.of(&words)),
            };
            let (args, ip) = (std::array::from_fn(|_| value()), value());
            SeccompData { nr: dice.of(&words), arch, ip, args }
        })
        .collect()
}

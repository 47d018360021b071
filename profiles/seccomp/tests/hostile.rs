//! Filters built to hold up the tools that judge them. Each is decided as the interpreter decides it, or undecided, within the budget of
//! steps; a few instructions are enough to return a function of an argument, which has as many answers as it has values.

use std::collections::BTreeSet;

use plim_seccomp::analyse;
use plim_seccomp::bpf::{Insn, Program, code::*};
use plim_seccomp::decompile::decompile;
use plim_seccomp::diagram::{Diagram, Store};
use plim_seccomp::exact;
use plim_seccomp::explain::{Question, explain_filter};
use plim_seccomp::interpret::{SeccompData, run, run_stack};
use plim_seccomp::{Action, Arch};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }

    fn word(&mut self) -> u32 {
        let word =
            self.of(&[0, 1, 3, 0xffff, 0x7fff_0fff, 0x0005_0000, 0x7ff0_ffff, 0x7fff_ffff, 0x8000_0000]);
        if self.roll(4) == 0 { 1 << self.roll(32) } else { word }
    }
}

fn jump(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

/// One word of an argument.
fn load(dice: &mut Dice) -> Insn {
    Insn::stmt(LD_W_ABS, 16 + 4 * u32::try_from(dice.roll(12)).unwrap())
}

fn arithmetic(dice: &mut Dice) -> Insn {
    let by_x =
        [ALU_ADD_X, ALU_SUB_X, ALU_MUL_X, ALU_DIV_X, ALU_OR_X, ALU_AND_X, ALU_XOR_X, ALU_LSH_X, ALU_RSH_X];
    let by_k = [ALU_ADD_K, ALU_SUB_K, ALU_MUL_K, ALU_OR_K, ALU_AND_K, ALU_XOR_K];
    match dice.roll(4) {
        0 | 1 => Insn::stmt(dice.of(&by_x), 0),
        2 => Insn::stmt(dice.of(&by_k), dice.word()),
        _ => Insn::stmt(dice.of(&[ALU_LSH_K, ALU_RSH_K]), u32::try_from(dice.roll(32)).unwrap()),
    }
}

fn moved(dice: &mut Dice) -> Insn {
    match dice.roll(5) {
        0 => Insn::stmt(MISC_TAX, 0),
        1 => Insn::stmt(MISC_TXA, 0),
        2 => Insn::stmt(ST, u32::try_from(dice.roll(3)).unwrap()),
        3 => Insn::stmt(LD_MEM, u32::try_from(dice.roll(3)).unwrap()),
        _ => load(dice),
    }
}

fn ret(dice: &mut Dice) -> Insn {
    Insn::stmt(RET_K, dice.of(&[0x7fff_0000, 0x0005_0001, 0, 0x7ff0_0003, 0x0003_0000]))
}

/// A and X and the cells that are read hold a word of an argument.
fn start() -> Vec<Insn> {
    let cells = (0..3).map(|cell| Insn::stmt(ST, cell));
    [Insn::stmt(LD_W_ABS, 24)].into_iter().chain(cells).chain([Insn::stmt(MISC_TAX, 0)]).collect()
}

/// What is computed is returned.
fn computed(dice: &mut Dice) -> Vec<Insn> {
    let mut all = start();
    for _ in 0..=dice.roll(6) {
        all.extend([moved(dice), arithmetic(dice)]);
    }
    all.push(Insn::stmt(RET_A, 0));
    all
}

/// What is computed is compared.
fn mixed(dice: &mut Dice) -> Vec<Insn> {
    let mut all = start();
    for _ in 0..20 + dice.roll(100) {
        let compare =
            [JMP_JEQ_K, JMP_JGT_K, JMP_JGE_K, JMP_JSET_K, JMP_JEQ_X, JMP_JGT_X, JMP_JGE_X, JMP_JSET_X];
        all.push(match dice.roll(10) {
            0..3 => load(dice),
            3..5 => arithmetic(dice),
            5..7 => moved(dice),
            7..9 => {
                let (jt, jf) = (dice.roll(4), dice.roll(4));
                jump(dice.of(&compare), u8::try_from(jt).unwrap(), u8::try_from(jf).unwrap(), dice.word())
            }
            _ => ret(dice),
        });
    }
    all.extend([ret(dice); 5]);
    all
}

/// Bit after bit of any argument, on ways that meet again.
fn ladder(dice: &mut Dice) -> Vec<Insn> {
    let mut all = Vec::new();
    for _ in 0..30 + dice.roll(200) {
        let to = [dice.roll(3), dice.roll(2)].map(|steps| u8::try_from(2 * steps).unwrap());
        all.extend([load(dice), jump(JMP_JSET_K, to[0], to[1], 1 << dice.roll(32))]);
    }
    all.extend([Insn::stmt(LD_W_ABS, 16); 4]);
    all.push(Insn::stmt(RET_A, 0));
    all
}

/// Arguments against each other.
fn against_each_other(dice: &mut Dice) -> Vec<Insn> {
    let mut all = Vec::new();
    for _ in 0..2 + dice.roll(10) {
        all.extend([load(dice), Insn::stmt(MISC_TAX, 0), load(dice)]);
        all.push(jump(dice.of(&[JMP_JEQ_X, JMP_JGT_X, JMP_JGE_X, JMP_JSET_X]), 0, 1, 0));
        all.push(Insn::stmt(RET_K, 0x0005_0000 + u32::try_from(dice.roll(4096)).unwrap()));
    }
    all.push(ret(dice));
    all
}

/// The number is what is computed with.
fn of_the_number(dice: &mut Dice) -> Vec<Insn> {
    let mut all = vec![Insn::stmt(LD_W_ABS, 0), Insn::stmt(MISC_TAX, 0)];
    all.extend((0..=dice.roll(4)).map(|_| arithmetic(dice)));
    match dice.roll(2) {
        0 => all.push(Insn::stmt(RET_A, 0)),
        _ => all.extend([jump(JMP_JSET_K, 0, 1, dice.word()), ret(dice), ret(dice)]),
    }
    all
}

fn stack(seed: u64) -> Vec<Program> {
    let mut dice = Dice(seed);
    dice.roll(2);
    let makers = [computed, mixed, ladder, against_each_other, of_the_number];
    let many = if seed % 6 == 5 { 2 + dice.roll(3) } else { 1 };
    let one = |at: usize| {
        let maker = makers[(usize::try_from(seed).unwrap() + at) % makers.len()];
        Program::from_instructions(maker(&mut dice)).expect("a program that the kernel takes")
    };
    (0..many).map(one).collect()
}

/// Calls with the constants of the programs in their words, and random ones.
fn calls(stack: &[Program], count: usize) -> Vec<SeccompData> {
    let mut words = vec![0, 1, 7, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    for insn in stack.iter().flat_map(|program| program.instructions()) {
        words.extend([insn.k, insn.k.wrapping_sub(1), !insn.k]);
    }
    let mut dice = Dice(words.len() as u64);
    let mut word =
        || if dice.roll(3) == 0 { u32::try_from(dice.roll(1 << 31)).unwrap() } else { dice.of(&words) };
    let mut calls = Vec::new();
    for _ in 0..count {
        let args = std::array::from_fn(|_| u64::from(word()) << 32 | u64::from(word()));
        let nr = if word() & 1 == 0 { word() } else { word() % 460 };
        calls.push(SeccompData { arch: Arch::X86_64.audit_token(), nr, args, ip: 0 });
    }
    calls
}

const NODES: usize = 1 << 13;

/// Everything that is read off a diagram is true of the interpreter, or undecided.
fn judge(store: &mut Store, diagram: Diagram, stack: &[Program]) {
    for call in calls(stack, 200) {
        assert_eq!(store.decide(diagram, &call), run_stack(stack, &call), "{call:x?}\n{stack:x?}");
    }
    for nr in [0, 1, 41, 59, 0x4000_0001] {
        let rest = store.at(diagram, Arch::X86_64.audit_token(), Some(nr));
        let Ok(answers) = store.answers(rest) else { continue };
        let kinds: BTreeSet<&str> = store.kinds(rest).map(Action::name).collect();
        assert_eq!(kinds, answers.iter().map(|action| action.name()).collect());
        assert_eq!(store.only_answer(rest).is_some(), answers.len() == 1);
        for call in calls(stack, 20) {
            assert!(answers.contains(&run_stack(stack, &SeccompData { nr, ..call })), "{call:x?}");
        }
        for action in answers {
            let Ok(Some(cases)) = store.cases(rest, Arch::X86_64, |answer| answer == action) else {
                continue;
            };
            for call in calls(stack, 20) {
                let holds = cases.iter().any(|case| case.holds(&call.args, call.ip));
                assert_eq!(holds, run_stack(stack, &SeccompData { nr, ..call }) == action, "{call:x?}");
            }
        }
    }
    let allow = store.constant(Action::Allow);
    if let Ok(more) = exact::more(store, diagram, allow) {
        let lists = more.into_iter().chain(exact::diff(store, allow, diagram, true).into_iter().flatten());
        for row in lists {
            let mine = run_stack(stack, &row.witness);
            assert!([row.before, row.after].contains(&mine) && mine != Action::Allow, "{row:?}");
        }
    }
    let Ok(back) = decompile(store, diagram, Some(Arch::X86_64)) else { return };
    for row in back.lost {
        assert_eq!(row.before, run_stack(stack, &row.witness), "{row:?}");
    }
}

#[test]
fn programs_built_to_hold_up_judges_are_decided_rightly_or_undecided_within_the_budget() {
    let mut undecided = 0;
    let all: u64 = std::env::var("PLIM_HOSTILE_FILTERS").map_or(300, |count| count.parse().unwrap());
    for seed in 0..all {
        let stack = stack(seed);
        let mut store = Store::with_budget(NODES);
        match store.of_stack(&stack) {
            Ok(diagram) => judge(&mut store, diagram, &stack),
            Err(_) => undecided += 1,
        }
        let (steps, most) = store.steps();
        // What was being read when they were used up.
        let slack = 8 * NODES as u64;
        assert!(most <= 64 * NODES as u64, "a store of few nodes has few steps, {most}");
        assert!(steps <= most + slack, "{steps} of {most} steps for the filter of seed {seed}");
        assert!(store.nodes() <= NODES);
    }
    assert!(undecided * 4 < all * 3, "{undecided} of {all} are undecided: the others test something");
}

/// `A = args[1]; A &= 0x7fff0fff; A |= 0x50000; return A`: 4096 errors, to kill, and to allow.
fn four() -> Program {
    let insns = [
        Insn::stmt(LD_W_ABS, 24),
        Insn::stmt(ALU_AND_K, 0x7fff_0fff),
        Insn::stmt(ALU_OR_K, 0x0005_0000),
        Insn::stmt(RET_A, 0),
    ];
    Program::from_instructions(insns.to_vec()).unwrap()
}

#[test]
fn four_instructions_do_not_hold_up_judges() {
    let four = four();
    let mut store = Store::new();
    let diagram = store.of_program(&four).unwrap();
    let allow = store.constant(Action::Allow);
    // A list of 4098 answers is none.
    assert!(store.answers(diagram).is_err());
    assert!(exact::diff(&mut store, allow, diagram, true).is_err());
    assert!(decompile(&mut store, diagram, None).is_err());
    assert!(
        explain_filter(std::slice::from_ref(&four), &Question::of_call(Arch::X86_64, "mount").unwrap())
            .is_err()
    );
    // What needs no list is decided.
    let kinds: Vec<Action> = store.kinds(diagram).collect();
    assert!(matches!(kinds[..], [Action::KillProcess, Action::Errno(_), Action::Allow]), "{kinds:?}");
    assert!(exact::subset(&mut store, diagram, allow).unwrap().holds);
    let more = exact::more(&mut store, diagram, allow).unwrap().unwrap();
    assert_eq!((run(&four, &more.witness), more.after), (more.before, Action::Allow));
    assert_eq!(exact::more(&mut store, allow, diagram), Ok(None));
    let summary = analyse::summary(&four).unwrap();
    assert!(summary.iter().all(|arch| arch.conditional > 300 && arch.allowed + arch.refused == 0));
    let known = Question {
        args: [None, Some(5), None, None, None, None],
        ..Question::of_call(Arch::X86_64, "mount").unwrap()
    };
    let explained = explain_filter(std::slice::from_ref(&four), &known);
    assert!(explained.is_err() || explained.unwrap().outcomes.len() == 1);
    let (steps, _) = store.steps();
    assert!(steps < 1 << 21, "{steps} steps");
}

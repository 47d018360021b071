//! Rules, diagram, compiled program and kernel agree, over as many calls as are asked for.

use std::collections::BTreeSet;

use plim_model::CapabilitySet;
use plim_seccomp::bpf::{Insn, Program, code::*};
use plim_seccomp::compile::{compile, from_diagram};
use plim_seccomp::diagram::{Diagram, Store};
use plim_seccomp::resolve::{Call, Resolved, resolve};
use plim_seccomp::{Action, Arch, SyscallNr, dialect, interpret, presets};
use proptest::strategy::{Strategy, ValueTree};

use crate::common;
use crate::oracle::ask;
use crate::{has_compat, is_exempt};

/// Calls that `make test` asks for.
const SHARE: usize = 250_000;
/// Calls at random for each random profile, and for each random program.
const SAMPLES: usize = 12_000;

/// Numbers that look random and are the same every time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or_default() % end
    }

    fn word(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap_or_default()
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

#[derive(Default)]
struct Tally {
    filters: usize,
    native: usize,
    x32: usize,
    compat: usize,
}

impl Tally {
    fn calls(&self) -> usize {
        self.native + self.x32 + self.compat
    }

    fn count(&mut self, calls: &[Call]) {
        self.filters += 1;
        for call in calls {
            match (call.arch == Arch::X86.audit_token(), call.nr & (1 << 30) != 0) {
                (true, _) => self.compat += 1,
                (false, true) => self.x32 += 1,
                (false, false) => self.native += 1,
            }
        }
    }
}

/// A filter as it can be asked for: each value that it returns has an error of its own, since a kill cannot be asked for twice. The way
/// through the program stays as it is.
struct Asked {
    program: Program,
    values: Vec<u32>,
}

impl Asked {
    fn of(program: &Program) -> Asked {
        let returned = program.instructions().iter().filter(|insn| insn.code == RET_K);
        let values: BTreeSet<u32> = returned.map(|insn| insn.k).collect();
        let values: Vec<u32> = values.into_iter().collect();
        let rewritten = program.instructions().iter().map(|insn| match insn.code {
            RET_K => Insn {
                k: Action::Errno(plim_seccomp::Errno::clamped(0)).to_ret() | error(&values, insn.k),
                ..*insn
            },
            _ => *insn,
        });
        let program = Program::from_instructions(rewritten.collect()).unwrap();
        Asked { program, values }
    }
}

/// The error that stands for a returned value.
fn error(values: &[u32], ret: u32) -> u32 {
    let at =
        values.iter().position(|value| *value == ret).unwrap_or_else(|| panic!("{ret:#x} is not returned"));
    u32::try_from(at).unwrap() + 100
}

/// What the kernel can be asked: no exempt number, and 32 bits of each argument by the 32-bit door.
fn possible(calls: impl IntoIterator<Item = Call>, compat: bool) -> Vec<Call> {
    let token = Arch::X86.audit_token();
    let asked = calls.into_iter().filter(|call| !is_exempt(call) && (compat || call.arch != token));
    asked
        .map(|mut call| {
            if call.arch == token {
                call.args = call.args.map(|arg| arg & 0xffff_ffff);
            }
            call
        })
        .collect()
}

/// Calls at random, near the constants in `pool` and among the numbers that matter.
fn sample(random: &mut Random, pool: &[u64], numbers: &[u32], count: usize) -> Vec<Call> {
    let value = |random: &mut Random| match random.below(6) {
        0 => random.next(),
        1 => u64::from(random.word()),
        2 => random.pick(pool) ^ 1 << random.below(64),
        3 => random.pick(pool).wrapping_add(random.next() % 5).wrapping_sub(2),
        _ => random.pick(pool),
    };
    (0..count)
        .map(|_| {
            let arch = random.pick(&[Arch::X86_64, Arch::X86, Arch::X32]);
            let nr = match random.below(8) {
                0 => random.word(),
                1..=4 => random.pick(numbers) & !(1 << 30),
                _ => u32::try_from(random.below(560)).unwrap(),
            };
            let nr = if arch == Arch::X32 { nr | 1 << 30 } else { nr };
            let args = std::array::from_fn(|_| value(random));
            Call { nr, arch: arch.audit_token(), ip: 0, args }
        })
        .collect()
}

/// Asks the kernel, and compares with the rules, their diagram and the program in the interpreter.
fn profile_agrees(resolved: &Resolved, calls: &[Call], tally: &mut Tally, what: &str) {
    let program = compile(resolved).unwrap_or_else(|error| panic!("{error}\n{what}"));
    let mut store = Store::new();
    let diagram = store.of_resolved(resolved).unwrap();
    let asked = Asked::of(&program);
    let answers = ask(&asked.program, calls).unwrap_or_else(|why| panic!("{why}\n{what}"));
    for (call, answer) in calls.iter().zip(answers) {
        let rules = resolved.decide(call);
        let others = [store.decide(diagram, call), interpret::run(&program, call)];
        assert_eq!(
            others, [rules; 2],
            "diagram and interpreter on {call:x?}, which is {rules} by the rules\n{what}"
        );
        let expected = error(&asked.values, rules.to_ret());
        assert_eq!(answer, expected, "the kernel on {call:x?}, which is {rules}\n{what}");
    }
    tally.count(calls);
}

/// The same for a program of which there are no rules, and for what its meaning is compiled to.
fn program_agrees(program: &Program, store: &mut Store, diagram: Diagram, calls: &[Call], tally: &mut Tally) {
    let again = from_diagram(store, diagram, None).ok();
    let asked = Asked::of(program);
    let answers = ask(&asked.program, calls).unwrap_or_else(|why| panic!("{why}\n{program:x?}"));
    for (call, answer) in calls.iter().zip(answers) {
        let ret = interpret::run_raw(program, call).ret;
        let action = Action::from_ret(ret);
        assert_eq!(store.decide(diagram, call), action, "diagram on {call:x?}\n{program:x?}");
        if let Some(again) = &again {
            assert_eq!(interpret::run(again, call), action, "compiled on {call:x?}\n{program:x?}");
        }
        assert_eq!(answer, error(&asked.values, ret), "the kernel on {call:x?}\n{program:x?}");
    }
    tally.count(calls);
}

/// A program of all the operations there are, forward jumps, and returns of constants.
fn program(random: &mut Random, constants: &[u32]) -> Program {
    let length = 6 + random.below(40);
    let mut list = vec![Insn::stmt(LD_W_ABS, 0), Insn::stmt(ST, 0), Insn::stmt(ST, 1), Insn::stmt(ST, 15)];
    let offsets = [0, 4, 16, 20, 24, 28, 32, 40, 56, 60];
    while list.len() < length {
        let left = length - list.len();
        let near = |random: &mut Random| u8::try_from(random.below(left.min(9))).unwrap();
        let constant = random.pick(constants);
        let insn = match random.below(16) {
            0..=3 => Insn::stmt(LD_W_ABS, random.pick(&offsets)),
            4 => Insn::stmt(random.pick(&[LD_IMM, LDX_IMM]), constant),
            5 => Insn::stmt(random.pick(&[LD_MEM, LDX_MEM, ST, STX]), random.pick(&[0, 1, 15])),
            6 => Insn::stmt(random.pick(&[MISC_TAX, MISC_TXA, LD_W_LEN, LDX_W_LEN, ALU_NEG]), 0),
            7 => {
                let code = random.pick(&[ALU_ADD_K, ALU_SUB_K, ALU_OR_K, ALU_AND_K, ALU_XOR_K]);
                Insn::stmt(code, constant)
            }
            8 => Insn::stmt(random.pick(&[ALU_ADD_X, ALU_AND_X, ALU_OR_X, ALU_XOR_X, ALU_SUB_X]), 0),
            9 => Insn::stmt(random.pick(&[ALU_LSH_K, ALU_RSH_K]), random.word() % 32),
            10 => Insn::stmt(random.pick(&[ALU_DIV_K, ALU_MUL_K]), 1 << (random.word() % 8)),
            11 => Insn::stmt(JMP_JA, near(random).into()),
            12 => {
                let code = random.pick(&[JMP_JEQ_X, JMP_JGT_X, JMP_JGE_X, JMP_JSET_X]);
                Insn { code, jt: near(random), jf: near(random), k: 0 }
            }
            _ => {
                let code = random.pick(&[JMP_JEQ_K, JMP_JGT_K, JMP_JGE_K, JMP_JSET_K]);
                Insn { code, jt: near(random), jf: near(random), k: constant }
            }
        };
        list.push(insn);
    }
    // Every jump above ends here at the latest.
    let returns = [
        0x7fff_0000,
        0x0005_0001,
        0x0005_0026,
        0x8000_0000,
        0,
        0x0003_0000,
        0x7ffc_0000,
        0x7ff0_0007,
        0x7fc0_0000,
    ];
    for _ in 0..10 {
        list.push(Insn::stmt(RET_K, random.pick(&returns)));
    }
    Program::from_instructions(list).unwrap()
}

fn constants(resolved: &Resolved) -> (Vec<u64>, Vec<u32>) {
    let mut pool = vec![0, 1, 0xffff_ffff, 1 << 32, u64::MAX];
    let mut numbers: Vec<u32> = vec![0, 462, 463, u32::MAX];
    for rules in resolved.rules.values() {
        for (nr, rules) in rules.iter() {
            for condition in rules.iter().flat_map(|rule| &rule.conditions) {
                let (_, value, two) = condition.test.to_oci();
                pool.extend([value, two]);
                numbers.push(nr.0);
            }
        }
    }
    numbers.extend(resolved.enosys_above.values().flat_map(|highest: &SyscallNr| [highest.0, highest.0 + 1]));
    pool.dedup();
    numbers.dedup();
    (pool, numbers)
}

fn wanted() -> usize {
    match std::env::var("PLIM_PROVE_CALLS") {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("PLIM_PROVE_CALLS is {text:?}, expected a number"))
        }
        Err(_) => SHARE,
    }
}

/// Every shipped profile, then random profiles and random programs until enough calls were asked for.
#[test]
fn rules_diagram_program_and_kernel_agree() {
    let wanted = wanted();
    let compat = has_compat();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tally = Tally::default();
    for name in presets::names() {
        for caps in [CapabilitySet::DOCKER_DEFAULT, CapabilitySet::EMPTY, common::all_caps()] {
            let resolved = common::preset(name, &common::facts(Arch::X86_64, caps));
            let boundaries = [Arch::X86_64, Arch::X32, Arch::X86]
                .into_iter()
                .flat_map(|arch| common::calls(&resolved, arch, 1024));
            let (pool, numbers) = constants(&resolved);
            let at_random = sample(&mut random, &pool, &numbers, SAMPLES);
            profile_agrees(&resolved, &possible(boundaries.chain(at_random), compat), &mut tally, name);
        }
    }
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut undecided = 0;
    let (mut profiles, mut programs) = (0, 0);
    while tally.calls() < wanted || profiles < 8 || programs < 8 {
        let (json, facts) = common::profile().new_tree(&mut runner).unwrap().current();
        if let Ok(Some(resolved)) = resolve(&dialect::parse(json.as_bytes()).unwrap(), &facts)
            && compile(&resolved).is_ok()
        {
            let boundaries = [Arch::X86_64, Arch::X32, Arch::X86]
                .into_iter()
                .flat_map(|arch| common::calls(&resolved, arch, 560));
            let (pool, numbers) = constants(&resolved);
            let at_random = sample(&mut random, &pool, &numbers, SAMPLES);
            profile_agrees(&resolved, &possible(boundaries.chain(at_random), compat), &mut tally, &json);
            profiles += 1;
        }
        let near = [
            0,
            1,
            2,
            41,
            462,
            0x10,
            0xff,
            0xf0f0,
            0x4000_0000,
            0x8000_0000,
            u32::MAX,
            0xc000_003e,
            0x4000_0003,
        ];
        let program = program(&mut random, &near);
        let mut store = Store::with_budget(1 << 15);
        match store.of_program(&program) {
            Ok(diagram) => {
                let pool: Vec<u64> = near.iter().map(|value| u64::from(*value)).collect();
                let calls = possible(sample(&mut random, &pool, &[0, 1, 2, 41, 462], SAMPLES), compat);
                program_agrees(&program, &mut store, diagram, &calls, &mut tally);
                programs += 1;
            }
            // Arithmetic on arguments can be too much; then nothing is claimed.
            Err(_) => undecided += 1,
        }
    }
    assert!(undecided <= programs, "{undecided} of {programs} random programs are undecided");
    let Tally { filters, native, x32, compat, .. } = tally;
    let mut stderr = std::io::stderr();
    let _ = std::io::Write::write_fmt(
        &mut stderr,
        format_args!(
            "{} calls agreed: {native} of x86-64, {x32} of x32, {compat} of i386, under {filters} filters ({profiles} random profiles, \
             {programs} random programs, {undecided} of them undecided)\n",
            native + x32 + compat,
        ),
    );
}

//! What the kernel refuses to install is refused here too, and what is wrong is said.

use plim_model::CapabilitySet;
use plim_seccomp::Arch;
use plim_seccomp::bpf::{Fault, Insn, Program, ProgramError, code::*};
use plim_seccomp::compile::compile;
use proptest::strategy::{Strategy, ValueTree};

use crate::common;
use crate::oracle::kernel_takes;

const RET: Insn = Insn::stmt(RET_K, 0x7fff_0000);

/// One program for each reason, with the instruction that is named.
#[test]
fn every_reason_is_the_kernels() {
    let stmt = Insn::stmt;
    let jump = |code, jt, jf, k| Insn { code, jt, jf, k };
    let bad: Vec<(Vec<Insn>, usize, Fault)> = vec![
        (vec![jump(JMP_JEQ_K, 1, 0, 9), RET], 0, Fault::Jump(1)),
        (vec![jump(JMP_JEQ_K, 0, 200, 9), RET], 0, Fault::Jump(200)),
        (vec![RET, stmt(JMP_JA, 0x1000_0000), RET], 1, Fault::Jump(0x1000_0000)),
        (vec![stmt(JMP_JA, u32::MAX), RET], 0, Fault::Jump(u32::MAX)),
        (vec![stmt(LD_W_ABS, 0)], 0, Fault::NoReturn),
        (vec![RET, stmt(MISC_TAX, 0)], 1, Fault::NoReturn),
        (vec![stmt(LD_W_ABS, 64), RET], 0, Fault::Load(64)),
        (vec![stmt(LD_W_ABS, 62), RET], 0, Fault::Load(62)),
        (vec![stmt(LD_W_ABS, 1), RET], 0, Fault::Load(1)),
        (vec![stmt(LD_W_ABS, 0xffff_f000), RET], 0, Fault::Load(0xffff_f000)),
        (vec![stmt(LD_IMM, 1), stmt(ALU_DIV_K, 0), RET], 1, Fault::DivisionByZero),
        (vec![stmt(ALU_LSH_K, 32), RET], 0, Fault::Shift(32)),
        (vec![stmt(ALU_RSH_K, u32::MAX), RET], 0, Fault::Shift(u32::MAX)),
        (vec![stmt(ST, 16), RET], 0, Fault::Cell(16)),
        (vec![stmt(LD_MEM, 16), RET], 0, Fault::Cell(16)),
        (vec![stmt(LD_MEM, 3), RET], 0, Fault::UnwrittenCell(3)),
        (vec![stmt(ST, 2), stmt(LDX_MEM, 3), RET], 1, Fault::UnwrittenCell(3)),
        // LD B ABS, LD H ABS, LD W IND, LDX B MSH, ALU MOD K, ALU MOD X, RET X, and no operation at all.
        (vec![stmt(0x30, 0), RET], 0, Fault::Code(0x30)),
        (vec![stmt(0x28, 0), RET], 0, Fault::Code(0x28)),
        (vec![stmt(0x40, 0), RET], 0, Fault::Code(0x40)),
        (vec![stmt(0xb1, 0), RET], 0, Fault::Code(0xb1)),
        (vec![stmt(0x94, 3), RET], 0, Fault::Code(0x94)),
        (vec![stmt(0x9c, 0), RET], 0, Fault::Code(0x9c)),
        (vec![RET, stmt(0x0e, 0)], 1, Fault::Code(0x0e)),
        (vec![stmt(0xffff, 0), RET], 0, Fault::Code(0xffff)),
    ];
    for (program, index, fault) in bad {
        let error = Program::from_instructions(program.clone()).unwrap_err();
        assert_eq!(error, ProgramError::Instruction { index, fault }, "{program:x?}");
        assert!(error.to_string().starts_with(&format!("instruction {index}: ")), "{error}");
        assert!(!kernel_takes(&program), "the kernel takes {program:x?}");
    }
    assert_eq!(Program::from_instructions(Vec::new()), Err(ProgramError::Empty));
    assert!(!kernel_takes(&[]));
    assert_eq!(Program::from_instructions(vec![RET; 4097]), Err(ProgramError::TooLong(4097)));
    assert!(!kernel_takes(&vec![RET; 4097]));
}

/// The limits themselves are within.
#[test]
fn what_is_just_within_is_taken() {
    let stmt = Insn::stmt;
    let good: Vec<Vec<Insn>> = vec![
        vec![RET; 4096],
        vec![stmt(LD_W_ABS, 60), RET],
        vec![stmt(ALU_DIV_K, 1), RET],
        vec![stmt(ALU_LSH_K, 31), RET],
        vec![stmt(ST, 15), stmt(LDX_MEM, 15), RET],
        vec![Insn { code: JMP_JEQ_K, jt: 0, jf: 1, k: 9 }, RET, RET],
        // What is not used counts for nothing: k of a division by X, jump offsets of a load, an unknown action.
        vec![stmt(ALU_DIV_X, 0), RET],
        vec![Insn { code: LD_W_ABS, jt: 9, jf: 9, k: 0 }, RET],
        vec![stmt(RET_A, 7)],
        vec![stmt(RET_K, 0x1234_5678)],
    ];
    for program in good {
        assert!(
            Program::from_instructions(program.clone()).is_ok(),
            "{:x?}",
            &program[..program.len().min(3)]
        );
        assert!(kernel_takes(&program), "the kernel refuses {:x?}", &program[..program.len().min(3)]);
    }
}

/// The checker of this crate is the kernel's: what one takes the other takes.
#[test]
fn the_kernel_takes_what_the_checker_takes() {
    let resolved =
        common::preset("docker-default", &common::facts(Arch::X86_64, CapabilitySet::DOCKER_DEFAULT));
    let program = compile(&resolved).unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let change = (
        0..program.instructions().len(),
        proptest::num::u16::ANY,
        proptest::num::u8::ANY,
        proptest::num::u32::ANY,
        0..4,
    );
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..400 {
        let (index, new_code, jump, k, which) = change.new_tree(&mut runner).unwrap().current();
        let mut instructions = program.instructions().to_vec();
        let insn = &mut instructions[index];
        match which {
            0 => insn.code = new_code & 0xff,
            1 => insn.jt = jump,
            2 => insn.jf = jump,
            _ => insn.k = k & 0x7f,
        }
        let ours = Program::from_instructions(instructions.clone()).is_ok();
        let kernels = kernel_takes(&instructions);
        assert_eq!(ours, kernels, "instruction {index} became {:x?}", instructions[index]);
        if ours { taken += 1 } else { refused += 1 }
    }
    assert!(taken > 50 && refused > 50, "{taken} taken, {refused} refused");
}

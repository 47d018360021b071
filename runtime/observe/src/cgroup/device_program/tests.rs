//! What is followed, and that nothing else is and nothing takes long.

use super::super::device_assembly as asm;
use super::super::device_assembly::insn;
use super::*;

fn run(program: &[Instruction]) -> Result<Vec<Leaf>, NotTold> {
    // A bound that hostile programs reach sooner; the others are far below it.
    follow(program, 2 << 16 | 2, &mut Budget(1_000_000))
}

/// The verdict of a program that asks for no device number.
fn returns(body: &[Instruction]) -> Result<bool, NotTold> {
    let mut program = body.to_vec();
    program.push(insn(EXIT, 0, 0, 0, 0));
    let leaves = run(&program)?;
    assert_eq!(leaves.len(), 1, "{leaves:?}");
    Ok(leaves[0].allow)
}

#[test]
fn instructions_are_read_as_the_kernel_lays_them_out() {
    let mut bytes = [0x55, 0x54, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&(-2i16).to_ne_bytes());
    bytes[4..].copy_from_slice(&(-7i32).to_ne_bytes());
    let expected = if cfg!(target_endian = "little") { (4, 5) } else { (5, 4) };
    assert_eq!(Instruction::from_bytes(bytes), insn(0x55, expected.0, expected.1, -2, -7));
}

#[test]
fn arithmetic_is_the_kernels() {
    // Start value, operation, operand, result: all in r0, compared with JEQ.
    let table: [(i32, u8, i32, i32); 21] = [
        (5, 0x07, -6, -1),
        (5, 0x17, 6, -1),
        (-3, 0x27, 4, -12),
        (6, 0x47, 9, 15),
        (6, 0x57, 3, 2),
        (-1, 0x57, 0xffff, 0xffff),
        (1, 0x67, 4, 16),
        (16, 0x77, 4, 1),
        (-16, 0xc7, 4, -1),
        (6, 0xa7, 3, 5),
        (7, 0x87, 0, -7),
        (7, 0xb7, -9, -9),
        // 32 bits: the high half is zero, so r0 >> 31 is what a negative number leaves.
        (-1, 0x04, 2, 1),
        (0, 0x44, 12, 12),
        (1, 0x64, 33, 2),
        (16, 0x74, 36, 1),
        (9, 0xa4, 9, 0),
        (9, 0x24, 3, 27),
        (9, 0x14, 3, 6),
        (9, 0xb4, 3, 3),
        (0, 0x84, 0, 0),
    ];
    for (start, code, operand, result) in table {
        let program = [
            insn(asm::MOV64_K, 0, 0, 0, start),
            insn(code, 0, 0, 0, operand),
            insn(asm::JEQ_K, 0, 0, 2, result),
            insn(asm::MOV64_K, 0, 0, 0, 0),
            insn(EXIT, 0, 0, 0, 0),
            insn(asm::MOV64_K, 0, 0, 0, 1),
        ];
        assert_eq!(returns(&program), Ok(true), "{start} {code:#x} {operand}");
    }
    // A 32-bit operation clears the high half: -1 becomes 2^32 - 1, shifted to 1.
    for (code, operand) in [(0xb4u8, -1), (0xc4, 31)] {
        let program =
            [insn(asm::MOV32_K, 0, 0, 0, -1), insn(code, 0, 0, 0, operand), insn(0x77, 0, 0, 0, 31)];
        assert_eq!(returns(&program), Ok(true), "{code:#x}");
    }
    // 64-bit constants take two places.
    let program = [insn(0x18, 0, 0, 0, 0), insn(0, 0, 0, 0, 4), insn(0x77, 0, 0, 0, 34)];
    assert_eq!(returns(&program), Ok(true));
}

#[test]
fn jumps_are_the_kernels() {
    // Operation, left, right, taken in 64 bits, taken in 32 bits.
    for (operation, left, right, wide, narrow) in [
        (0x10, 4, 4, true, true),
        (0x20, -1, 1, true, true),
        (0x20, 4, 4, false, false),
        (0x30, 4, 4, true, true),
        (0x40, 6, 1, false, false),
        (0x40, 6, 2, true, true),
        (0x50, 4, 4, false, false),
        (0x60, -1, 1, false, false),
        (0x70, 1, 1, true, true),
        (0xa0, 1, -1, true, true),
        (0xb0, 1, 1, true, true),
        (0xc0, -1, 1, true, true),
        (0xd0, 2, 1, false, false),
    ] {
        for (class, taken) in [(0x05, wide), (0x06, narrow)] {
            for by_register in [false, true] {
                let program = [
                    insn(asm::MOV64_K, 3, 0, 0, left),
                    insn(asm::MOV64_K, 4, 0, 0, right),
                    insn(asm::MOV64_K, 0, 0, 0, 1),
                    insn(operation | class | if by_register { 8 } else { 0 }, 3, 4, 1, right),
                    insn(asm::MOV64_K, 0, 0, 0, 0),
                ];
                assert_eq!(returns(&program), Ok(taken), "{operation:#x} {class} {left} {right}");
            }
        }
    }
    // 2^32 equals 0 in the low half alone.
    for (code, taken) in [(0x15, false), (0x16, true)] {
        let program = [
            insn(asm::MOV64_K, 3, 0, 0, 1),
            insn(0x67, 3, 0, 0, 32),
            insn(asm::MOV64_K, 0, 0, 0, 1),
            insn(code, 3, 0, 1, 0),
            insn(asm::MOV64_K, 0, 0, 0, 0),
        ];
        assert_eq!(returns(&program), Ok(taken), "{code:#x}");
    }
}

#[test]
fn a_comparison_of_a_number_goes_both_ways_once() {
    let mut program = vec![insn(asm::LDX_W, 4, 1, 4, 0)];
    // The second is decided by then; the third asks for a number that no major has.
    for number in [8, 8, 4096] {
        program.extend([insn(asm::JNE_K, 4, 0, 2, number)]);
        program.extend(asm::verdict(true));
    }
    program.extend(asm::verdict(false));
    let not = Known::Not(Rc::new([8].into()));
    let open = Known::Not(Rc::default());
    let expected = vec![
        Leaf { major: not, minor: open.clone(), allow: false },
        Leaf { major: Known::Is(8), minor: open, allow: true },
    ];
    assert_eq!(run(&program), Ok(expected));
}

#[test]
fn constants_that_the_kernel_hid_are_seen_through() {
    // net.core.bpf_jit_harden: jeq r4, 8 as mov ax, 8 ^ k; xor ax, k; jeq r4, ax.
    let mut program = vec![
        insn(asm::LDX_W, 4, 1, 4, 0),
        insn(asm::MOV64_K, 11, 0, 0, 8 ^ 0x1234),
        insn(0xa7, 11, 0, 0, 0x1234),
        insn(0x1d, 4, 11, 2, 0),
        // mov r0, 0, of what was never written.
        insn(0xaf, 0, 0, 0, 0),
        insn(EXIT, 0, 0, 0, 0),
    ];
    program.extend(asm::verdict(true));
    let leaves = run(&program).expect("followed");
    let told: Vec<_> = leaves.iter().map(|leaf| (leaf.major == Known::Is(8), leaf.allow)).collect();
    assert_eq!(told, [(false, false), (true, true)]);
}

#[test]
fn what_is_not_followed_is_said() {
    let major = insn(asm::LDX_W, 4, 1, 4, 0);
    let after = |body: &[Instruction]| {
        let mut program = vec![major];
        program.extend(body);
        program.extend(asm::verdict(true));
        run(&program)
    };
    for (name, code, dst, src, offset) in [
        ("call", 0x85, 0, 0, 0),
        ("store to the stack", 0x63, 10, 4, -4),
        ("store of a constant", 0x62, 10, 0, -4),
        ("load from the stack", 0x61, 3, 10, -4),
        ("load past the context", 0x61, 3, 1, 12),
        ("load across fields", 0x79, 3, 1, 0),
        ("half a major", 0x69, 3, 1, 4),
        ("unaligned", 0x69, 3, 1, 1),
        ("signed load", 0x81, 3, 1, 0),
        ("packet load", 0x30, 0, 0, 0),
        ("map", 0x18, 1, 1, 0),
        ("division", 0x37, 4, 0, 0),
        ("byte order", 0xdc, 4, 0, 0),
        ("signed move", 0xbf, 3, 4, 8),
        ("negation of a register", 0x8f, 4, 0, 0),
        ("loop", 0xe5, 0, 0, 0),
        ("no jump", 0x0d, 4, 3, 0),
        ("exit of 32 bits", 0x96, 0, 0, 0),
        ("atomic", 0xdb, 10, 4, -8),
        ("nonsense", 0xff, 0, 0, 0),
        ("no register", 0xb7, 12, 0, 0),
        ("no register", 0xb7, 0, 15, 0),
    ] {
        let found = after(&[insn(code, dst, src, offset, 1)]);
        assert_eq!(found, Err(NotTold::Instruction { at: 1, code }), "{name}");
    }
    // Order, bits, two numbers, what was computed of one, pointers.
    for (name, body) in [
        ("order", vec![insn(0x25, 4, 0, 0, 7)]),
        ("signed order", vec![insn(0x66, 4, 0, 0, 7)]),
        ("bits", vec![insn(0x45, 4, 0, 0, 1)]),
        ("two numbers", vec![insn(asm::LDX_W, 5, 1, 8, 0), insn(0x1d, 4, 5, 0, 0)]),
        ("a sum", vec![insn(0x07, 4, 0, 0, 1), insn(asm::JEQ_K, 4, 0, 0, 9)]),
        ("never written", vec![insn(asm::JEQ_K, 6, 0, 0, 0)]),
        ("the context", vec![insn(asm::JEQ_K, 1, 0, 0, 0)]),
    ] {
        assert_eq!(after(&body), Err(NotTold::Jump { at: body.len() }), "{name}");
    }
    for (name, value) in
        [("two", insn(asm::MOV64_K, 0, 0, 0, 2)), ("a major", insn(asm::MOV64_X, 0, 4, 0, 0))]
    {
        let program = [major, value, insn(EXIT, 0, 0, 0, 0)];
        assert_eq!(run(&program), Err(NotTold::Verdict { at: 2 }), "{name}");
    }
    // Known by then, it is a number as any other.
    let body = [insn(asm::JEQ_K, 4, 0, 1, 7), insn(asm::JA, 0, 0, 1, 0), insn(0x25, 4, 0, 0, 6)];
    assert!(after(&body).is_ok());
}

#[test]
fn hostile_programs_end() {
    assert_eq!(run(&[]), Err(NotTold::Outside { at: 0 }));
    assert_eq!(run(&[insn(asm::MOV64_K, 0, 0, 0, 1)]), Err(NotTold::Outside { at: 1 }));
    assert_eq!(run(&[insn(0x18, 0, 0, 0, 1)]), Err(NotTold::Outside { at: 0 }));
    assert_eq!(run(&[insn(asm::JA, 0, 0, -2, 0)]), Err(NotTold::Outside { at: 0 }));
    assert_eq!(run(&[insn(asm::JA, 0, 0, i16::MAX, 0)]), Err(NotTold::Outside { at: 32768 }));
    assert_eq!(run(&[insn(JA32, 0, 0, 0, i32::MIN)]), Err(NotTold::Outside { at: 0 }));
    assert_eq!(run(&[insn(asm::JA, 0, 0, -1, 0)]), Err(NotTold::TooManySteps));
    let long = vec![insn(asm::MOV64_K, 0, 0, 0, 1); MAX_INSTRUCTIONS + 1];
    assert_eq!(run(&long), Err(NotTold::TooLong(MAX_INSTRUCTIONS)));
    // A loop that ends.
    let program = [insn(asm::MOV64_K, 0, 0, 0, 9), insn(0x17, 0, 0, 0, 1), insn(asm::JNE_K, 0, 0, -2, 1)];
    assert_eq!(returns(&program), Ok(true));
    // A loop that asks for another number each time.
    let program = [
        insn(asm::LDX_W, 4, 1, 8, 0),
        insn(asm::MOV64_K, 3, 0, 0, 0),
        insn(0x07, 3, 0, 0, 1),
        insn(0x1d, 4, 3, 0, 0),
        insn(asm::JA, 0, 0, -3, 0),
    ];
    assert_eq!(run(&program), Err(NotTold::TooManySteps));
    // Every combination of many majors and minors.
    let mut program = vec![insn(asm::LDX_W, 4, 1, 4, 0), insn(asm::LDX_W, 5, 1, 8, 0)];
    for register in [4, 5] {
        program.extend((0..1000).map(|number| insn(asm::JEQ_K, register, 0, 0, number)));
    }
    program.extend(asm::verdict(true));
    assert_eq!(run(&program), Err(NotTold::TooManySteps));
}

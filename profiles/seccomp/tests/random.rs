//! Random profiles: the compiled filter answers as the resolved rules do, OCI's form means the same, and nothing panics on bad bytes.

mod common;

use plim_seccomp::bpf::Program;
use plim_seccomp::compile::{CompileError, compile, from_diagram};
use plim_seccomp::decompile::decompile;
use plim_seccomp::diagram::Store;
use plim_seccomp::resolve::resolve;
use plim_seccomp::{Arch, analyse, dialect, diff, disasm, interpret};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn compiled_is_resolved((json, facts) in common::profile()) {
        let written = dialect::parse(json.as_bytes()).unwrap();
        // One condition with two actions, or more conditions than fit, is refused; that is tested elsewhere.
        let Ok(Some(resolved)) = resolve(&written, &facts) else { return Ok(()) };
        let program = match compile(&resolved) {
            Ok(program) => program,
            Err(CompileError::Refused(_)) => return Ok(()),
            Err(other) => panic!("{other}\n{json}"),
        };
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
            for call in common::calls(&resolved, arch, 560) {
                prop_assert_eq!(interpret::run(&program, &call), resolved.decide(&call), "{:x?}\n{}", call, json);
            }
        }
        prop_assert_eq!(Program::from_bytes(&program.to_bytes()), Ok(program.clone()));
        prop_assert_eq!(disasm::disassemble(&program).lines().count(), program.instructions().len());
        for summary in analyse::summary(&program) {
            prop_assert!(summary.allowed + summary.refused + summary.conditional > 300);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Compiled, read back and written as a profile again, a profile means what it meant; and a filter that is compiled from its own
    /// meaning keeps it.
    #[test]
    fn there_and_back((json, facts) in common::profile()) {
        let written = dialect::parse(json.as_bytes()).unwrap();
        let Ok(Some(resolved)) = resolve(&written, &facts) else { return Ok(()) };
        let Ok(program) = compile(&resolved) else { return Ok(()) };
        let mut store = Store::new();
        let diagram = store.of_program(&program).unwrap();
        // Proven inside; a filter in its shortest form is compiled to itself.
        let again = from_diagram(&mut store, diagram, None).unwrap();
        prop_assert_eq!(&again, &program);
        let back = decompile(&mut store, diagram, Some(facts.arch)).unwrap();
        prop_assert_eq!(back.is_exact(), back.reasons.is_empty());
        let from_back = common::resolved(&back.profile.to_string(), &back.facts());
        let meaning = store.of_resolved(&from_back).unwrap();
        prop_assert_eq!(meaning == diagram, back.is_exact(), "{:?}\n{}", back.reasons, json);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn ocis_form_means_the_same((json, facts) in common::profile()) {
        let written = dialect::parse(json.as_bytes()).unwrap();
        let Ok(Some(resolved)) = resolve(&written, &facts) else { return Ok(()) };
        let again = common::resolved(&resolved.to_oci_json().to_string(), &facts);
        // The number of rules that equal the default may differ, and with it the highest named number.
        let without_heights = |resolved: &plim_seccomp::resolve::Resolved| {
            let mut copy = resolved.clone();
            copy.enosys_above.clear();
            copy
        };
        let changes = diff::diff(&without_heights(&resolved), &without_heights(&again));
        prop_assert!(changes.is_empty(), "{:?}\n{}", changes, json);
    }

    #[test]
    fn a_profile_does_not_differ_from_itself_and_a_diff_is_a_real_one((a, facts) in common::profile(), (b, _) in common::profile()) {
        let read = |json: &str| resolve(&dialect::parse(json.as_bytes()).unwrap(), &facts);
        let (Ok(Some(a)), Ok(Some(b))) = (read(&a), read(&b)) else { return Ok(()) };
        prop_assert!(diff::diff(&a, &a).is_empty());
        let changed: std::collections::BTreeSet<_> =
            diff::diff(&a, &b).into_iter().map(|change| (change.arch, change.number.0)).collect();
        // Every call found to differ by trying is reported.
        for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
            if !a.arches.contains(&arch) && !b.arches.contains(&arch) {
                continue;
            }
            for (_, nr) in plim_seccomp::syscalls::calls(arch) {
                let mut lists = common::arguments(&a, arch, nr);
                lists.extend(common::arguments(&b, arch, nr));
                let differs = lists.into_iter().any(|args| {
                    let call = plim_seccomp::resolve::Call { nr: nr.0, arch: arch.audit_token(), ip: 0, args };
                    a.decide(&call) != b.decide(&call)
                });
                prop_assert!(!differs || changed.contains(&(arch, nr.0)), "{} {}", arch, nr);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_run(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(program) = Program::from_bytes(&bytes) {
            interpret::run(&program, &interpret::SeccompData::default());
            disasm::disassemble(&program);
            analyse::summary(&program);
        }
        let _ = dialect::parse(&bytes);
    }
}

/// Programs of allowed operations only, so that most pass the checker: it, the interpreter and the analyses hold together.
#[test]
fn every_program_that_passes_the_checker_runs() {
    use plim_seccomp::bpf::{Insn, code::*};
    const CODES: [u16; 20] = [
        LD_IMM, LD_W_ABS, LD_MEM, LD_W_LEN, LDX_IMM, LDX_MEM, ST, STX, ALU_ADD_X, ALU_DIV_X, ALU_LSH_X,
        ALU_NEG, ALU_AND_K, JMP_JEQ_K, JMP_JGT_X, JMP_JSET_K, JMP_JA, MISC_TAX, MISC_TXA, RET_A,
    ];
    let insn = (
        prop::sample::select(CODES.to_vec()),
        0u8..4,
        0u8..4,
        prop_oneof![0u32..4, (0u32..16).prop_map(|n| n * 4)],
    );
    let programs = prop::collection::vec(insn, 1..40);
    let mut passed = 0u32;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..4000 {
        let list = programs.new_tree(&mut runner).unwrap().current();
        let mut instructions: Vec<Insn> =
            list.into_iter().map(|(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
        instructions.push(Insn::stmt(RET_K, 0x7fff_0000));
        let Ok(program) = Program::from_instructions(instructions) else { continue };
        passed += 1;
        interpret::run(&program, &interpret::SeccompData { nr: 5, ..Default::default() });
        disasm::disassemble(&program);
        analyse::verdicts(&program, Arch::X86_64, 0);
    }
    assert!(passed > 100, "{passed} programs passed");
}

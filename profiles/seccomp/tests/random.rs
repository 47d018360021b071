//! Random profiles: the compiled filter answers as the resolved rules do, OCI's form means the same, and nothing panics on bad bytes.

mod common;

use plim_seccomp::bpf::Program;
use plim_seccomp::compile::{CompileError, compile, from_diagram};
use plim_seccomp::decompile::decompile;
use plim_seccomp::diagram::Store;
use plim_seccomp::resolve::resolve;
use plim_seccomp::{Arch, analyse, dialect, disasm, interpret};
use proptest::prelude::*;

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
        for summary in analyse::summary(&program).unwrap() {
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
        let mut store = Store::new();
        let (a, b) = (store.of_resolved(&without_heights(&resolved)), store.of_resolved(&without_heights(&again)));
        prop_assert_eq!(a, b, "{}", json);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_run(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(program) = Program::from_bytes(&bytes) {
            interpret::run(&program, &interpret::SeccompData::default());
            disasm::disassemble(&program);
            let _ = analyse::summary(&program);
        }
        let _ = dialect::parse(&bytes);
    }
}

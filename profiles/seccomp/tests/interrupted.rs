//! Once the time of a command is up, nothing more is decided; alone in its program, which stays so.

use plim_seccomp::Action;
use plim_seccomp::bpf::{Insn, Program, code::*};
use plim_seccomp::diagram::{Store, interrupt};
use plim_seccomp::exact;

#[test]
fn after_an_interrupt_everything_is_undecided() {
    let program = Program::from_instructions(vec![
        Insn::stmt(LD_W_ABS, 16),
        Insn { code: JMP_JEQ_K, jt: 0, jf: 1, k: 7 },
        Insn::stmt(RET_K, Action::Allow.to_ret()),
        Insn::stmt(RET_K, Action::KillProcess.to_ret()),
    ])
    .unwrap();
    let mut store = Store::new();
    let before = store.of_program(&program).unwrap();
    let allow = store.constant(Action::Allow);
    assert!(exact::diff(&mut store, allow, before, true).is_ok());
    interrupt();
    assert!(store.of_program(&program).is_err());
    assert!(store.answers(before).is_err());
    assert!(exact::diff(&mut store, allow, before, true).is_err());
    assert!(exact::subset(&mut store, allow, before).is_err());
    assert!(Store::new().of_program(&program).is_err());
}

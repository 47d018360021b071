//! The live kernel judges the filters: rules, diagram, compiled program and kernel must answer every call alike.
//!
//! How many calls are asked for says `PLIM_PROVE_CALLS` (default: some seconds' worth; `make prove` asks for ten million).
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod agree;
#[path = "../common/mod.rs"]
mod common;
mod oracle;
mod refused;
mod sys;

use plim_model::CapabilitySet;
use plim_seccomp::bpf::{Insn, Program, code};
use plim_seccomp::compile::compile;
use plim_seccomp::resolve::{Call, Resolved};
use plim_seccomp::{Action, Arch, presets};

use oracle::{PASSED, ask};

/// The error that the oracle setup shows for a verdict that does not kill.
fn shown(action: Action) -> u32 {
    match action {
        Action::Errno(errno) => errno.number().into(),
        Action::Allow | Action::Log | Action::Trace(_) | Action::Notify => PASSED.into(),
        Action::Trap | Action::KillThread | Action::KillProcess => panic!("{action} cannot be asked for"),
    }
}

/// Whether this kernel takes system calls by `int 0x80`.
fn has_compat() -> bool {
    let pass = Program::from_instructions(vec![Insn::stmt(code::RET_K, 0x7fff_0000)]).unwrap();
    let call = Call { nr: 20, arch: Arch::X86.audit_token(), ip: 0, args: [0; 6] };
    match ask(&pass, &[call]) {
        Ok(errors) => {
            assert_eq!(errors, [u32::from(PASSED)], "the oracle itself");
            true
        }
        Err(why) => {
            common::skip(&format!("no 32-bit system calls on this kernel ({why}); the native half runs"));
            false
        }
    }
}

/// Linux 6.11 and 6.18 enter uretprobe and uprobe past every filter, and act on them.
fn is_exempt(call: &Call) -> bool {
    call.arch == Arch::X86_64.audit_token() && matches!(call.nr & !(1 << 30), 335 | 336)
}

fn calls(resolved: &Resolved, most: u32) -> Vec<Call> {
    let mut arches = vec![Arch::X86_64, Arch::X32];
    if has_compat() {
        arches.push(Arch::X86);
    }
    let all = arches.into_iter().flat_map(|arch| common::calls(resolved, arch, most));
    let by_kernel = all.filter(|call| !is_exempt(call)).map(|mut call| {
        if call.arch == Arch::X86.audit_token() {
            call.args = call.args.map(|arg| arg & 0xffff_ffff);
        }
        call
    });
    by_kernel.collect()
}

fn compare(
    resolved: &Resolved,
    program: &Program,
    most: u32,
    shown: impl Fn(Action) -> u32,
    what: &str,
) -> usize {
    let calls = calls(resolved, most);
    let answers = ask(program, &calls).unwrap_or_else(|why| panic!("{what}: {why}"));
    for (call, answer) in calls.iter().zip(answers) {
        let action = resolved.decide(call);
        assert_eq!(answer, shown(action), "{what}: {call:x?} is {action}, the kernel answers {answer}");
    }
    calls.len()
}

#[test]
fn the_kernel_agrees_on_every_preset() {
    let mut asked = 0;
    for name in presets::names() {
        for caps in [common::docker_caps(), CapabilitySet::EMPTY, common::all_caps()] {
            let resolved = common::preset(name, &common::facts(Arch::X86_64, caps));
            let program = compile(&resolved).unwrap();
            asked += compare(&resolved, &program, 1024, shown, name);
        }
    }
    assert!(asked > 50_000, "only {asked} calls were asked for");
}

/// The comparison notices a filter that lets more, or less, through than it should.
#[test]
fn a_wrong_filter_is_found_out() {
    let facts = common::facts(Arch::X86_64, common::docker_caps());
    let [default, tcpdump] = ["docker-default", "tcpdump"].map(|name| common::preset(name, &facts));
    for (meant, installed) in [(&tcpdump, &default), (&default, &tcpdump)] {
        let program = compile(installed).unwrap();
        let calls: Vec<Call> = calls(meant, 462);
        let answers = ask(&program, &calls).unwrap();
        let wrong: std::collections::BTreeSet<(u32, u32)> = calls
            .iter()
            .zip(answers)
            .filter(|(call, answer)| *answer != shown(meant.decide(call)))
            .map(|(call, _)| (call.arch, call.nr))
            .collect();
        let sockets = [(Arch::X86, 359), (Arch::X86_64, 41), (Arch::X32, (1 << 30) | 41)];
        let expected = sockets.map(|(arch, nr)| (arch.audit_token(), nr)).into_iter().filter(|(token, _)| {
            *token == Arch::X86_64.audit_token() || calls.iter().any(|call| call.arch == *token)
        });
        assert_eq!(wrong, expected.collect());
    }
}

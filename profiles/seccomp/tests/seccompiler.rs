//! seccompiler as a second opinion, for what it can express: one architecture, one action for what matches.

mod common;

use std::collections::BTreeMap;

use plim_model::CapabilitySet;
use plim_seccomp::bpf::{Insn, Program};
use plim_seccomp::compile::compile;
use plim_seccomp::condition::{Condition, Test};
use plim_seccomp::resolve::{EnosysAbove, Facts, Resolved, resolve};
use plim_seccomp::{Action, Arch, Errno, dialect, interpret, presets};
use proptest::strategy::{Strategy, ValueTree};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

const DEFAULT: Action = Action::Errno(Errno::EPERM);

/// Makes of rules what seccompiler can express: x86-64 alone, everything that matches allowed.
fn simplify(resolved: &mut Resolved) {
    resolved.arches.retain(|arch| *arch == Arch::X86_64);
    resolved.rules.retain(|arch, _| *arch == Arch::X86_64);
    resolved.default = DEFAULT;
    for rules in resolved.rules.values_mut().flat_map(BTreeMap::values_mut) {
        rules.iter_mut().for_each(|rule| rule.action = Action::Allow);
    }
}

fn condition(condition: &Condition) -> SeccompCondition {
    let (op, value) = match condition.test {
        Test::Ne(value) => (SeccompCmpOp::Ne, value),
        Test::Lt(value) => (SeccompCmpOp::Lt, value),
        Test::Le(value) => (SeccompCmpOp::Le, value),
        Test::Eq(value) => (SeccompCmpOp::Eq, value),
        Test::Ge(value) => (SeccompCmpOp::Ge, value),
        Test::Gt(value) => (SeccompCmpOp::Gt, value),
        Test::MaskedEq { mask, value } => (SeccompCmpOp::MaskedEq(mask), value),
    };
    SeccompCondition::new(condition.argument, SeccompCmpArgLen::Qword, op, value).unwrap()
}

fn build(resolved: &Resolved) -> Result<Program, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (nr, of_call) in resolved.rules.values().flatten() {
        let conditional = of_call.iter().filter(|rule| !rule.conditions.is_empty());
        let list = conditional
            .map(|rule| SeccompRule::new(rule.conditions.iter().map(condition).collect()).unwrap());
        rules.insert(nr.0.into(), list.collect());
    }
    let filter = SeccompFilter::new(rules, SeccompAction::Errno(1), SeccompAction::Allow, TargetArch::x86_64);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(|error| error.to_string())?;
    let insns = program.iter().map(|insn| Insn { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k });
    Program::from_instructions(insns.collect()).map_err(|error| error.to_string())
}

fn compare(resolved: &Resolved, theirs: &Program, what: &str) {
    let ours = compile(resolved).unwrap();
    // seccompiler does not look at bit 30.
    for call in common::calls(resolved, Arch::X86_64, 1024).into_iter().filter(|call| call.nr < 1 << 30) {
        let (mine, other) = (interpret::run(&ours, &call), interpret::run(theirs, &call));
        assert_eq!(mine, other, "{call:x?} is {mine} here and {other} with seccompiler: {what}");
    }
}

#[test]
fn presets_agree() {
    for name in presets::names() {
        let facts = common::facts(Arch::X86_64, common::docker_caps());
        let mut resolved = common::preset(name, &Facts { enosys_above: EnosysAbove::Never, ..facts });
        simplify(&mut resolved);
        compare(&resolved, &build(&resolved).unwrap(), name);
    }
}

#[test]
fn random_profiles_agree() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut done = 0;
    while done < 60 {
        let (json, facts) = common::profile().new_tree(&mut runner).unwrap().current();
        let facts = Facts { enosys_above: EnosysAbove::Never, caps: CapabilitySet::EMPTY, ..facts };
        let Ok(Some(mut resolved)) = resolve(&dialect::parse(json.as_bytes()).unwrap(), &facts) else {
            continue;
        };
        simplify(&mut resolved);
        let (Ok(theirs), Ok(_)) = (build(&resolved), compile(&resolved)) else { continue };
        compare(&resolved, &theirs, &json);
        done += 1;
    }
}

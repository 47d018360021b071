//! The decision engine against the interpreter and the rules' own meaning, on random programs and random profiles.

mod common;

use common::programs;
use plim_seccomp::bpf::Program;
use plim_seccomp::compile::compile;
use plim_seccomp::diagram::{Diagram, Store, Undecided};
use plim_seccomp::exact::{self, ExactChange, Permits};
use plim_seccomp::interpret::{self, SeccompData};
use plim_seccomp::resolve::{Resolved, resolve};
use plim_seccomp::{Action, Arch, SyscallNr, dialect, syscalls};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// The row that speaks of a call, as far as rows of named architectures and numbers go.
fn row_of<'c>(changes: &'c [ExactChange], call: &SeccompData) -> Option<Vec<&'c ExactChange>> {
    let arch = Arch::from_audit_token(call.arch, call.nr)?;
    let name = syscalls::name(arch, SyscallNr(call.nr))?;
    let narrow = arch.has_narrow_arguments();
    let said = |change: &&ExactChange| {
        let holds = change
            .cases
            .as_ref()
            .is_none_or(|cases| cases.iter().any(|case| case.holds(&call.args, call.ip)));
        change.arch == Some(arch) && change.syscall == name && (holds || narrow)
    };
    Some(changes.iter().filter(said).collect())
}

/// Every call that differs has its row with its two answers, and every call of a row differs so.
fn rows_are_exact(
    store: &mut Store,
    (a, b): (Diagram, Diagram),
    calls: &[SeccompData],
) -> Result<(), TestCaseError> {
    let changes = match exact::diff(store, a, b, true) {
        Ok(changes) => changes,
        Err(Undecided { .. }) => return Ok(()),
    };
    prop_assert_eq!(changes.is_empty(), a == b);
    for change in &changes {
        let answers = (store.decide(a, &change.witness), store.decide(b, &change.witness));
        prop_assert_eq!(answers, (change.before, change.after), "{:?}", change);
    }
    let named: Vec<Arch> = changes.iter().filter_map(|change| change.arch).collect();
    for call in calls {
        let answers = (store.decide(a, call), store.decide(b, call));
        let Some(rows) = row_of(&changes, call) else { continue };
        let arch = Arch::from_audit_token(call.arch, call.nr).unwrap();
        if answers.0 != answers.1 && (named.contains(&arch) || changes.iter().all(|c| c.arch.is_some())) {
            prop_assert!(
                rows.iter().any(|row| (row.before, row.after) == answers),
                "{:x?} {:?} {:?}",
                call,
                answers,
                changes
            );
        }
        // Where arguments are narrow or no words were found, a row says no more than that there are such calls.
        for row in rows.iter().filter(|row| row.cases.is_some() && !arch.has_narrow_arguments()) {
            prop_assert_eq!((row.before, row.after), answers, "{:x?} {:?}", call, row);
        }
    }
    // Conditions on many arguments of many calls may multiply beyond the budget; then nothing is said.
    let joined = (exact::subset(store, a, b), exact::union(store, a, b), exact::intersect(store, a, b));
    let (Ok(subset), Ok(union), Ok(both)) = joined else { return Ok(()) };
    for (part, whole) in [(a, union), (b, union), (both, a), (both, b)] {
        match exact::subset(store, part, whole) {
            Ok(verdict) => prop_assert!(verdict.holds),
            Err(Undecided { .. }) => return Ok(()),
        }
    }
    for call in calls {
        let permits = |diagram| Permits::of(store.decide(diagram, call));
        prop_assert!(!subset.holds || permits(a).at_most(permits(b)), "{:x?}", call);
    }
    prop_assert_eq!(subset.holds, subset.witness.is_none());
    if let Some(witness) = subset.witness {
        prop_assert_eq!(
            (store.decide(a, &witness.call), store.decide(b, &witness.call)),
            (witness.a, witness.b)
        );
        prop_assert!(!Permits::of(witness.a).at_most(Permits::of(witness.b)));
    }
    Ok(())
}

fn profile_calls(sides: [&Resolved; 2]) -> Vec<SeccompData> {
    let mut calls = Vec::new();
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        for (_, nr) in syscalls::calls(arch) {
            for side in sides {
                let lists = common::arguments(side, arch, nr);
                calls.extend(lists.into_iter().map(|args| SeccompData {
                    nr: nr.0,
                    arch: arch.audit_token(),
                    ip: 0,
                    args,
                }));
            }
        }
    }
    calls
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn rules_and_their_compiled_filter_are_one_diagram((json, facts) in common::profile()) {
        let Ok(Some(resolved)) = resolve(&dialect::parse(json.as_bytes()).unwrap(), &facts) else { return Ok(()) };
        let mut store = Store::new();
        let rules = store.of_resolved(&resolved).unwrap();
        // More conditions than fit are refused; that is tested elsewhere.
        if let Ok(program) = compile(&resolved) {
            prop_assert_eq!(store.of_program(&program), Ok(rules), "{}", json);
        }
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
            for call in common::calls(&resolved, arch, 560) {
                prop_assert_eq!(store.decide(rules, &call), resolved.decide(&call), "{:x?}\n{}", call, json);
            }
        }
    }

    #[test]
    fn differences_of_profiles_are_exact((a, facts) in common::profile(), (b, _) in common::profile()) {
        let read = |json: &str| resolve(&dialect::parse(json.as_bytes()).unwrap(), &facts);
        let (Ok(Some(x)), Ok(Some(y))) = (read(&a), read(&b)) else { return Ok(()) };
        let mut store = Store::new();
        let diagrams = (store.of_resolved(&x).unwrap(), store.of_resolved(&y).unwrap());
        rows_are_exact(&mut store, diagrams, &profile_calls([&x, &y]))?;
    }

    #[test]
    fn differences_of_programs_are_exact(a in programs::program(14), b in programs::program(14)) {
        let mut store = Store::with_budget(60_000);
        let (Ok(x), Ok(y)) = (store.of_program(&a), store.of_program(&b)) else { return Ok(()) };
        rows_are_exact(&mut store, (x, y), &programs::calls(&[&a, &b], 1500))?;
        let stack = [a, b];
        let Ok(both) = store.of_stack(&stack) else { return Ok(()) };
        for call in programs::calls(&[&stack[0], &stack[1]], 500) {
            prop_assert_eq!(store.decide(both, &call), interpret::run_stack(&stack, &call), "{:x?}", call);
        }
    }

    #[test]
    fn a_small_budget_is_kept(program in programs::program(30), budget in 0usize..400) {
        let mut store = Store::with_budget(budget);
        let small = store.of_program(&program);
        prop_assert!(store.nodes() <= budget);
        if let Ok(diagram) = small {
            for call in programs::calls(&[&program], 100) {
                prop_assert_eq!(store.decide(diagram, &call), interpret::run(&program, &call));
            }
        }
    }
}

fn decided(program: &Program) -> Option<()> {
    let mut store = Store::with_budget(60_000);
    let diagram = match store.of_program(program) {
        Ok(diagram) => diagram,
        Err(undecided) => {
            assert!(undecided.instruction.is_some(), "{undecided}");
            return None;
        }
    };
    for call in programs::calls(&[program], 400) {
        assert_eq!(store.decide(diagram, &call), interpret::run(program, &call), "{call:x?}\n{program:x?}");
    }
    let verdicts = store.verdicts(diagram);
    for action in &verdicts {
        let call = store.witness(diagram, |found| found == *action).expect("a call for every verdict");
        assert_eq!(interpret::run(program, &call), *action, "{call:x?}\n{program:x?}");
    }
    assert!(store.witness(diagram, |found| !verdicts.contains(&found)).is_none());
    Some(())
}

/// Programs of all forms: most of them can be decided (not those that multiply arguments or compare the halves of one with each other),
/// and then every call is answered as the interpreter answers it.
#[test]
fn random_programs_are_decided_as_the_interpreter_decides() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut all, mut done) = (0, 0);
    for most in [6, 12, 25, 60] {
        let programs = programs::program(most);
        for _ in 0..150 {
            let program = programs.new_tree(&mut runner).unwrap().current();
            all += 1;
            done += usize::from(decided(&program).is_some());
        }
    }
    assert!(done * 100 >= all * 85, "{done} of {all} decided");
}

#[test]
fn a_notifying_and_a_tracing_filter_stand_side_by_side() {
    let mut store = Store::new();
    let [notify, trace, allow, kill] = [Action::Notify, Action::Trace(1), Action::Allow, Action::KillProcess]
        .map(|action| store.constant(action));
    let holds = |store: &mut Store, a, b| exact::subset(store, a, b).unwrap().holds;
    assert!(!holds(&mut store, notify, trace) && !holds(&mut store, trace, notify));
    assert!(
        holds(&mut store, kill, notify)
            && holds(&mut store, notify, allow)
            && !holds(&mut store, allow, notify)
    );
    assert_eq!(exact::union(&mut store, notify, trace), Ok(allow));
    let both = exact::intersect(&mut store, notify, trace).unwrap();
    assert!(store.verdicts(both).iter().all(|action| matches!(action, Action::Errno(_))));
}

//! Random profiles: what the lints and the explanations say of a call is what the rules do with it.

mod common;

use std::collections::BTreeSet;

use plim_seccomp::explain::{DecidedBy, Question, explain_filter, explain_installed, explain_profile};
use plim_seccomp::installed::{Engine, Vintage, install};
use plim_seccomp::interpret::SeccompData;
use plim_seccomp::lint::{lint_filter, lint_profile};
use plim_seccomp::resolve::{Facts, UnknownNames, resolve};
use plim_seccomp::witness::Witness;
use plim_seccomp::{Action, Arch, SyscallNr, compile, dialect};
use proptest::prelude::*;

fn data(witness: &Witness) -> SeccompData {
    let number = |text: &String| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let mut args = [0; 6];
    args.iter_mut().zip(&witness.args).for_each(|(arg, text)| *arg = number(text));
    SeccompData { nr: witness.nr, arch: Arch::from_name(&witness.arch).unwrap().audit_token(), args, ip: 0 }
}

fn is_refused(action: Action) -> bool {
    !matches!(action, Action::Allow | Action::Log | Action::Notify | Action::Trace(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A witness of something that gets through gets through; one of a refusal is refused; a rule that never decides decides none of
    /// the calls that are tried.
    #[test]
    fn witnesses_are_treated_so((json, facts) in common::profile()) {
        let written = dialect::parse(json.as_bytes()).unwrap();
        let facts = Facts { unknown_names: UnknownNames::Skip, ..facts };
        let report = lint_profile(&written, &facts, None);
        let Ok(Some(resolved)) = resolve(&written, &facts) else { return Ok(()) };
        prop_assert!(report.undecided.is_empty(), "{:?}", report.undecided);
        for finding in &report.findings {
            let Some(call) = finding.witness.as_ref().map(data) else { continue };
            let action = resolved.decide(&call);
            match finding.id {
                "PLIM-S002" | "PLIM-S004" => prop_assert!(!is_refused(action), "{:?}\n{}", finding, json),
                "PLIM-S012" => prop_assert!(is_refused(action), "{:?}\n{}", finding, json),
                "PLIM-S013" | "PLIM-S014" | "PLIM-S018" => prop_assert!(action.makes_the_call(), "{:?}\n{}", finding, json),
                _ => {}
            }
            if let Some(pointer) = &finding.pointer && finding.id == "PLIM-S014" {
                let decides = resolved.rule_for(&call).map_or("/defaultAction", |rule| &*rule.from);
                prop_assert_eq!(pointer, decides);
            }
        }
        let never: BTreeSet<&str> = report
            .findings
            .iter()
            .filter(|finding| finding.id == "PLIM-S005" && finding.message.contains("stricter rules"))
            .filter_map(|finding| finding.pointer.as_deref())
            .collect();
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
            for call in common::calls(&resolved, arch, 80) {
                let decides = resolved.rule_for(&call).map(|rule| rule.from.to_string());
                prop_assert!(decides.is_none_or(|from| !never.contains(&*from)), "{:x?}\n{}", call, json);
            }
        }
    }

    /// Of every call that is tried, the explanation says what it gets and which rule decides, and of each outcome a call that gets it.
    #[test]
    fn explanations_hold((json, facts) in common::profile()) {
        let written = dialect::parse(json.as_bytes()).unwrap();
        let Ok(Some(resolved)) = resolve(&written, &facts) else { return Ok(()) };
        let Ok(program) = compile::compile(&resolved) else { return Ok(()) };
        let programs = [program];
        for arch in [Arch::X86_64, Arch::X86] {
            for call in common::calls(&resolved, arch, 40).into_iter().take(8) {
                let question = Question { arch, nr: SyscallNr(call.nr), args: [None; 6] };
                let open = explain_profile(&written, &facts, &question).unwrap();
                let action = resolved.decide(&call);
                prop_assert!(open.outcomes.iter().any(|outcome| outcome.action.0 == action), "{:x?}\n{}", call, json);
                for outcome in &open.outcomes {
                    prop_assert_eq!(resolved.decide(&data(&outcome.witness)), outcome.action.0, "{:?}\n{}", outcome, json);
                }
                let through = explain_filter(&programs, &question).unwrap();
                let actions = |outcomes: &[plim_seccomp::explain::Outcome]| -> BTreeSet<Action> {
                    outcomes.iter().map(|outcome| outcome.action.0).collect()
                };
                prop_assert_eq!(actions(&through.outcomes), actions(&open.outcomes), "{:x?}\n{}", call, json);
                // With every argument known, one thing decides.
                let narrow = |value: u64| if arch.has_narrow_arguments() { value & 0xffff_ffff } else { value };
                let closed = Question { args: call.args.map(|value| Some(narrow(value))), ..question };
                let closed = explain_profile(&written, &facts, &closed).unwrap();
                prop_assert_eq!(closed.outcomes.len(), 1);
                let outcome = &closed.outcomes[0];
                prop_assert_eq!((outcome.action.0, &outcome.when), (action, &None), "{:x?}\n{}", call, json);
                if let DecidedBy::Rule { pointer, .. } = &outcome.decided_by {
                    prop_assert_eq!(&**pointer, &*resolved.rule_for(&call).unwrap().from);
                }
                for change in &outcome.changes {
                    prop_assert!(change.then.0 != action);
                }
            }
        }
    }

    /// The same as an engine installs it: the rule that is named speaks of the call and has the action that it gets.
    #[test]
    fn explanations_of_what_is_installed_hold((json, facts) in common::profile()) {
        let written = dialect::parse(json.as_bytes()).unwrap();
        let Ok(Some(resolved)) = resolve(&written, &facts) else { return Ok(()) };
        for engine in [Engine::Runc, Engine::Crun] {
            let vintage = Vintage::newest();
            let Ok(installed) = install(&written, &facts, engine, vintage) else { continue };
            for arch in [Arch::X86_64, Arch::X86] {
                for call in common::calls(&resolved, arch, 40).into_iter().take(8) {
                    let narrow = |value: u64| if arch.has_narrow_arguments() { value & 0xffff_ffff } else { value };
                    let args = call.args.map(|value| Some(narrow(value)));
                    let question = Question { arch, nr: SyscallNr(call.nr), args };
                    let answer = explain_installed(&written, &facts, engine, vintage, &question).unwrap();
                    prop_assert_eq!(answer.outcomes.len(), 1);
                    let outcome = &answer.outcomes[0];
                    let action = installed.decide(&data(&outcome.witness));
                    prop_assert_eq!(outcome.action.0, action, "{:?}\n{}", outcome, json);
                    match &outcome.decided_by {
                        DecidedBy::Rule { pointer, .. } => {
                            let entry = written.rules.iter().find(|entry| &*entry.pointer == pointer).unwrap();
                            prop_assert_eq!(entry.action, action, "{:?}\n{}", outcome, json);
                        }
                        DecidedBy::DefaultAction { .. } => {
                            prop_assert_eq!(written.default_action, Some(action), "{:?}\n{}", outcome, json);
                        }
                        _ => {}
                    }
                    for change in &outcome.changes {
                        prop_assert!(change.then.0 != action);
                    }
                }
            }
        }
    }

    /// Filters of random bytes: no panic, and nothing is called a clean bill that could not be decided.
    #[test]
    fn random_filters(program in common::programs::program(16)) {
        let report = lint_filter(&[program], Arch::X86_64, common::KERNEL);
        prop_assert!(report.findings.iter().all(|finding| finding.id.starts_with("PLIM-S")));
    }
}

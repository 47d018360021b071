//! Profiles: how two of them are compared.

use std::collections::BTreeSet;

use anyhow::Context;
use plim_model::diff::{Change, Side};
use plim_seccomp::bpf::Program;
use plim_seccomp::compile::compile;
use plim_seccomp::condition::{Condition, Test};
use plim_seccomp::dialect::Written;
use plim_seccomp::resolve::{Facts, Resolved, Rule, SkipReason, resolve};
use plim_seccomp::{Action, syscalls};

use crate::filters::path;

/// A profile with a meaning; `None` where it turns seccomp off.
pub(crate) fn resolved(name: &str, written: &Written, facts: &Facts) -> anyhow::Result<Option<Resolved>> {
    resolve(written, facts).with_context(|| name.to_owned())
}

/// Notes on names that have no effect because no architecture has them.
pub(crate) fn skipped_names(name: &str, resolved: Option<&Resolved>) -> Vec<String> {
    resolved
        .into_iter()
        .flat_map(|resolved| &resolved.skipped)
        .filter_map(|skipped| match skipped.why {
            SkipReason::Unknown(nearest) => {
                let hint = nearest.map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
                Some(format!("{name}: {}: unknown system call {:?}{hint}", skipped.from, skipped.name))
            }
            SkipReason::NotOnTheseArchitectures => None,
        })
        .collect()
}

/// The filter that a profile becomes: none at all where it turns seccomp off.
pub(crate) fn stack(name: &str, resolved: Option<&Resolved>) -> anyhow::Result<Vec<Program>> {
    resolved
        .map(|resolved| compile(resolved).with_context(|| format!("compile {name}")))
        .transpose()
        .map(|program| program.into_iter().collect())
}

/// Compares two profiles as resolved rules: the verdicts that differ, and what cannot be decided yet.
pub(crate) fn compare(a: &Resolved, b: &Resolved) -> (Vec<Change>, Vec<(Side, String)>) {
    let changes: Vec<Change> = plim_seccomp::diff::diff(a, b)
        .into_iter()
        .map(|c| crate::filters::change(c.arch, &c.syscall, c.number.0, c.when, c.before, c.after))
        .collect();
    // Over masks and several arguments the comparison tries values and may miss one: no difference found is no proof.
    let mut undecided = BTreeSet::new();
    for arch in a.arches.intersection(&b.arches) {
        for (name, number) in syscalls::calls(*arch) {
            let rules = [a.rules_of(*arch, number), b.rules_of(*arch, number)];
            let meaning = |rules: &[Rule]| -> Vec<(Vec<Condition>, Action)> {
                rules.iter().map(|rule| (rule.conditions.clone(), rule.action)).collect()
            };
            let conditions = || rules.iter().flat_map(|rules| rules.iter()).flat_map(|rule| &rule.conditions);
            let arguments: BTreeSet<u8> = conditions().map(|condition| condition.argument).collect();
            let masks = conditions().any(|condition| matches!(condition.test, Test::MaskedEq { .. }));
            let told = || changes.iter().any(|c| c.path == path(*arch, name));
            if (masks || arguments.len() > 1) && meaning(rules[0]) != meaning(rules[1]) && !told() {
                undecided.insert(name);
            }
        }
    }
    let unknown = (!undecided.is_empty()).then(|| {
        let names: Vec<&str> = undecided.into_iter().collect();
        let why = format!(
            "the conditions of {} differ; no difference found by trying values; exactness comes with the decision engine",
            names.join(", ")
        );
        (Side::Both, why)
    });
    (changes, unknown.into_iter().collect())
}

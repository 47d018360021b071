//! Profiles as resolved rules.

use anyhow::Context;
use plim_seccomp::dialect::Written;
use plim_seccomp::resolve::{Facts, Resolved, SkipReason, resolve};

use crate::filters::Meaning;

/// A profile's rules, or no filter where it turns seccomp off, and notes on names that have no effect because no architecture has them.
pub(crate) fn meaning(
    name: &str,
    written: &Written,
    facts: &Facts,
) -> anyhow::Result<(Meaning, Vec<String>)> {
    let Some(resolved) = resolve(written, facts).with_context(|| name.to_owned())? else {
        return Ok((Meaning::Stack(Vec::new()), Vec::new()));
    };
    let notes = skipped_names(name, &resolved);
    Ok((Meaning::Rules(Box::new(resolved)), notes))
}

fn skipped_names(name: &str, resolved: &Resolved) -> Vec<String> {
    resolved
        .skipped
        .iter()
        .filter_map(|skipped| match skipped.why {
            SkipReason::Unknown(nearest) => {
                let hint = nearest.map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
                Some(format!("{name}: {}: unknown system call {:?}{hint}", skipped.from, skipped.name))
            }
            SkipReason::NotOnTheseArchitectures => None,
        })
        .collect()
}

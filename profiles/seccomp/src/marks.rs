//! Which of several rules decides: the rules with a mark of their own each, as a diagram.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::action::Action;
use crate::arch::Arch;
use crate::condition::Condition;
use crate::diagram::{Diagram, Store, Undecided};
use crate::resolve::{Resolved, Rule};
use crate::syscalls::SyscallNr;

/// The mark of the rule with this index.
pub(crate) fn mark(index: usize) -> Action {
    Action::Trace(u16::try_from(index).unwrap_or(u16::MAX))
}

/// What calls get that no rule matches.
pub(crate) const UNMATCHED: Action = Action::KillProcess;

/// For one number of one architecture: the first of the rules (conjunctions of conditions) that holds, as its [`mark`].
pub(crate) fn first_that_holds(
    store: &mut Store,
    arch: Arch,
    nr: SyscallNr,
    rules: impl IntoIterator<Item = Vec<Condition>>,
) -> Result<Diagram, Undecided> {
    let from: Arc<str> = "".into();
    let rules: Vec<Rule> = rules
        .into_iter()
        .enumerate()
        .map(|(index, conditions)| Rule { conditions, action: mark(index), from: Arc::clone(&from) })
        .collect();
    let marked = Resolved {
        native: arch,
        arches: BTreeSet::from([arch]),
        default: UNMATCHED,
        rules: BTreeMap::from([(arch, BTreeMap::from([(nr, rules)]))]),
        enosys_above: BTreeMap::new(),
        foreign_arch: UNMATCHED,
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        skipped: Vec::new(),
    };
    let all = store.of_resolved(&marked)?;
    Ok(store.at(all, arch.audit_token(), Some(nr.0)))
}

//! Refusals that keep callers from taking an older call.

use std::collections::BTreeMap;

use super::guard::always;
use super::{Class, Finding, Permit, Severity, View};
use crate::action::Action;
use crate::fallback::{self, Harm};
use crate::resolve::enosys;

/// S012.
pub(super) fn wrong_error(view: &View<'_>) -> Vec<Finding> {
    // Name → the finding of its first architecture, and the names of all of them.
    let mut found: BTreeMap<&str, (Finding, Vec<&str>)> = BTreeMap::new();
    for arch in view.arches.iter().copied() {
        for (name, nr) in View::calls(arch) {
            let Some(known) = fallback::of(arch, name).filter(|known| known.harm != Harm::None) else {
                continue;
            };
            let rest = view.at(arch, nr);
            if view.most(rest) != Permit::Refused || always(view, rest, Action::Errno(enosys(arch))) {
                continue;
            }
            // Where the older call is refused as well, or there is none, it comes to the same.
            let stays = |old: &str| view.of(arch, old).is_none_or(|old| view.most(old) == Permit::Refused);
            if known.older.is_some_and(stays) {
                continue;
            }
            let severity = if known.harm == Harm::Breaks { Severity::Medium } else { Severity::Low };
            let call = view.example(arch, nr, |action| action != Action::Errno(enosys(arch)));
            let Some(call) = call else { continue };
            let message =
                format!("{name} gets {}, where callers wait for ENOSYS to do without it", view.decide(&call));
            let finding = || {
                Finding::new(Class::WrongError, severity, message)
                    .evidence([known.behaviour.to_owned()])
                    .witness(Some(&call))
                    .pointer(view.pointer(&call))
            };
            found.entry(name).or_insert_with(|| (finding(), Vec::new())).1.push(arch.name());
        }
    }
    found
        .into_values()
        .map(|(finding, arches)| finding.evidence([format!("so on {}", arches.join(", "))]))
        .collect()
}

//! libseccomp's rules for one architecture, call by call.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::blocks::{Block, Blocks};
use super::levels::{Levels, Refused};
use super::vintage::Vintage;
use crate::action::Action;
use crate::arch::Arch;
use crate::condition::Condition;
use crate::syscalls::SyscallNr;

/// The conditions of a rule by argument; at most one for each.
pub(super) type Conditions = [Option<Condition>; 6];

/// A call as libseccomp keeps it: also those that the architecture lacks, which can conflict though they are never compiled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Number(SyscallNr),
    Lacking(String),
}

/// What has been decided for one call.
#[derive(Clone, Debug)]
enum Call {
    /// By a rule without conditions, which stands there.
    Always(Action, Arc<str>),
    Conditional(Conditional),
}

#[derive(Clone, Debug, Default)]
struct Conditional {
    levels: Levels,
    actions: Vec<Action>,
}

/// What became of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Plainly,
    /// It is dropped, as a rule without conditions stands here.
    Shadowed(Arc<str>),
    /// It took the place of conditional rules.
    Replaced,
}

/// All calls of one architecture.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) arch: Arch,
    calls: BTreeMap<Key, Call>,
}

impl Database {
    pub(super) fn new(arch: Arch) -> Database {
        Database { arch, calls: BTreeMap::new() }
    }

    /// Adds a rule. The first one without conditions stays for good, whatever its action, and takes the place of those with conditions.
    pub(super) fn add(
        &mut self,
        key: Key,
        conditions: &Conditions,
        action: Action,
        from: &Arc<str>,
        vintage: Vintage,
    ) -> Result<Added, Refused> {
        let call = self.calls.entry(key).or_insert_with(|| Call::Conditional(Conditional::default()));
        match call {
            Call::Always(_, earlier) => Ok(Added::Shadowed(Arc::clone(earlier))),
            Call::Conditional(rules) => {
                let narrow = self.arch.has_narrow_arguments();
                if rules.levels.add(conditions, narrow, action, vintage)? {
                    if !rules.actions.contains(&action) {
                        rules.actions.push(action);
                    }
                    return Ok(Added::Plainly);
                }
                let replaced = !rules.levels.is_empty();
                *call = Call::Always(action, Arc::clone(from));
                Ok(if replaced { Added::Replaced } else { Added::Plainly })
            }
        }
    }

    /// The calls that the architecture has, with what they cost and the first block of their rules.
    pub(super) fn blocks(&self, to: &mut Blocks, default: Block) -> Vec<(SyscallNr, usize, Block)> {
        let numbered = self.calls.iter().filter_map(|(key, call)| match key {
            Key::Number(number) => Some((*number, call)),
            Key::Lacking(_) => None,
        });
        numbered
            .map(|(number, call)| match call {
                Call::Always(action, _) => (number, 0, to.answer(*action)),
                Call::Conditional(rules) => (number, rules.levels.cost(), to.of_call(&rules.levels, default)),
            })
            .collect()
    }

    /// How many comparisons the cheapest call needs, and whether it is one that the architecture lacks (of equals, one that it has).
    pub(super) fn cheapest(&self) -> Option<(usize, bool)> {
        self.calls
            .iter()
            .map(|(key, call)| {
                let size = match call {
                    Call::Always(..) => 0,
                    Call::Conditional(rules) => rules.levels.cost(),
                };
                (size, matches!(key, Key::Lacking(_)))
            })
            .min()
    }

    /// Whether a rule without conditions decides the call.
    pub(super) fn is_unconditional(&self, key: &Key) -> bool {
        matches!(self.calls.get(key), Some(Call::Always(..)))
    }

    /// The numbers whose conditional rules have more than one action, so that their order may count.
    pub(super) fn mixed(&self) -> impl Iterator<Item = SyscallNr> {
        self.calls.iter().filter_map(|(key, call)| match (key, call) {
            (Key::Number(number), Call::Conditional(rules)) if rules.actions.len() > 1 => Some(*number),
            _ => None,
        })
    }
}

//! One entry of a profile on its way into libseccomp's databases.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::TOO_LONG;
use super::database::{Added, Conditions, Database, Key};
use super::engine::Runtime;
use super::known::{Known, known};
use super::levels::Refused;
use super::multiplex::{multiplexed, multiplexes};
use super::note::{Change, Note};
use super::settle::SettledRule;
use super::vintage::Vintage;
use crate::action::Action;
use crate::arch::Arch;
use crate::condition::Condition;
use crate::error::ProfileError;
use crate::spelling::Suggestions;
use crate::syscalls::{self, SyscallNr};

/// The rules that libseccomp keeps for one call, in the order in which it is given them.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) call: Option<(Arch, SyscallNr)>,
    pub(crate) rules: Vec<Entered>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Entered {
    /// JSON pointer to the entry that it comes of.
    pub(crate) pointer: Arc<str>,
    pub(crate) action: Action,
    pub(crate) conditions: Conditions,
}

/// One entry of the profile on its way into libseccomp.
pub(super) struct Adding<'a, 'w> {
    pub(super) rule: &'a SettledRule<'w>,
    pub(super) native: Arch,
    pub(super) runtime: Runtime,
    pub(super) vintage: Vintage,
    pub(super) notes: &'a mut Vec<Note>,
    /// The first note that can be on this entry.
    pub(super) first: usize,
    pub(super) suggestions: &'a mut Suggestions,
    pub(super) watched: &'a mut Watched,
}

impl Adding<'_, '_> {
    fn note(&mut self, what: Change) {
        self.notes.push(Note { pointer: Arc::clone(&self.rule.entry.pointer), what });
    }

    /// Adds its rules to the databases, with a note on what becomes of them.
    pub(super) fn add(&mut self, default: Action, databases: &mut [Database]) -> Result<(), ProfileError> {
        if self.rule.action == default {
            self.note(Change::SameAsDefault);
            return Ok(());
        }
        let alternatives = self.alternatives();
        self.note_narrowed(&alternatives, databases);
        for (index, name) in self.rule.entry.names.iter().enumerate() {
            if known(self.vintage, self.native, name) == Known::Not {
                self.note_unknown(index, name);
                continue;
            }
            let mut has_effect = false;
            for conditions in &alternatives {
                for database in databases.iter_mut() {
                    has_effect |= self.add_call(name, conditions, database)?;
                }
            }
            if !has_effect {
                self.note_at(index, Change::NotOnTheseArchitectures { name: name.clone() });
            }
        }
        Ok(())
    }

    /// The rules that the entry stands for, by argument: one, or one for each condition when two of them look at one argument.
    fn alternatives(&mut self) -> Vec<Conditions> {
        const MOST: usize = 6;
        let entry = self.rule.entry;
        let mut conditions: &[Condition] = &entry.conditions;
        if self.runtime.exchanges_masks() {
            conditions = &entry.conditions_exchanged;
            let differ = entry.conditions.iter().zip(conditions).filter(|(meant, read)| meant != read);
            for (meant, read) in differ {
                self.note(Change::MaskExchanged { meant: meant.to_string(), read: read.to_string() });
            }
        }
        if self.runtime == Runtime::Crun && conditions.len() > MOST {
            conditions = &conditions[..MOST];
            self.note(Change::ConditionsCut);
        }
        let mut all: Conditions = [None; 6];
        for condition in conditions {
            let slot = &mut all[usize::from(condition.argument)];
            if slot.is_some() || (self.runtime.splits_all() && conditions.len() > 1) {
                self.note(if slot.is_some() { Change::AnyOf } else { Change::SplitWhole });
                let alone = |condition: &Condition| {
                    let mut one: Conditions = [None; 6];
                    one[usize::from(condition.argument)] = Some(*condition);
                    one
                };
                return conditions.iter().map(alone).collect();
            }
            *slot = Some(*condition);
        }
        vec![all]
    }

    /// Adds one rule for one call to one architecture, and to its multiplexer; returns whether the architecture has the call.
    fn add_call(
        &mut self,
        name: &str,
        conditions: &Conditions,
        database: &mut Database,
    ) -> Result<bool, ProfileError> {
        let arch = database.arch;
        let number = known(self.vintage, arch, name);
        if let Some((through, place)) = multiplexed(self.vintage, arch, name)
            && let Known::Number(multiplexer) = known(self.vintage, arch, through)
        {
            let mut replaced = *conditions;
            let test = crate::condition::Test::Eq(place.into());
            let first_condition_lost = conditions[0].is_some();
            replaced[0] = Some(Condition { argument: 0, test });
            self.add_to(name, Key::Number(multiplexer), &replaced, database)?;
            let what = Change::Multiplexed { name: name.to_owned(), through, arch, first_condition_lost };
            let pointer = &self.rule.entry.pointer;
            if !self.notes[self.first..].iter().any(|note| note.what == what && note.pointer == *pointer) {
                self.note(what);
            }
            match number {
                Known::Number(number) => self.add_to(name, Key::Number(number), conditions, database)?,
                // Since 2.5.2 a rule is kept for the call itself also where the architecture lacks it.
                _ if self.vintage.is_at_least(2, 5, 2) => {
                    self.add_to(name, Key::Lacking(name.to_owned()), conditions, database)?;
                }
                _ => {}
            }
            return Ok(true);
        }
        let (key, has) = match number {
            Known::Number(number) => (Key::Number(number), true),
            _ if multiplexes(self.vintage, arch) => return Ok(false),
            Known::Elsewhere | Known::Not => (Key::Lacking(name.to_owned()), false),
        };
        self.add_to(name, key, conditions, database)?;
        Ok(has)
    }

    fn add_to(
        &mut self,
        name: &str,
        key: Key,
        conditions: &Conditions,
        database: &mut Database,
    ) -> Result<(), ProfileError> {
        let pointer = Arc::clone(&self.rule.entry.pointer);
        let arch = database.arch;
        let has = matches!(key, Key::Number(_));
        let watched =
            matches!((&key, self.watched.call), (Key::Number(nr), Some(call)) if call == (arch, *nr));
        let of = key.clone();
        let added = database.add(key, conditions, self.rule.action, &pointer, self.vintage);
        let added = added.map_err(|why| {
            let action = self.rule.action;
            let (found, expected) = match why {
                Refused::Conflict => (
                    format!(
                        "{action} for {name} under a condition that an earlier rule gives another action"
                    ),
                    format!("rules that libseccomp {} can join on {arch}", self.vintage),
                ),
                Refused::Endless => (
                    format!(
                        "conditions for {name} with which libseccomp {} never ends on {arch}",
                        self.vintage
                    ),
                    "conditions of fewer arguments".to_owned(),
                ),
                Refused::TooMany => (format!("too many conditions for {name}"), TOO_LONG.to_owned()),
            };
            ProfileError::Value { pointer: pointer.to_string(), found, expected, nearest: None }
        })?;
        if watched && !matches!(added, Added::Shadowed(_)) {
            if added == Added::Replaced {
                self.watched.rules.clear();
            }
            let (action, conditions) = (self.rule.action, *conditions);
            self.watched.rules.push(Entered { pointer: Arc::clone(&pointer), action, conditions });
        }
        match added {
            Added::Plainly => {}
            // Of the multiplexer it would be said of the call itself.
            Added::Shadowed(by) if has && self.is_itself(name, &of, arch) => {
                let what = Change::Shadowed { name: name.to_owned(), by };
                if !self.notes[self.first..].iter().any(|note| note.what == what && note.pointer == pointer) {
                    self.note(what);
                }
            }
            Added::Replaced if has => self.note_replaced(name, arch),
            Added::Shadowed(_) | Added::Replaced => {}
        }
        Ok(())
    }

    fn is_itself(&self, name: &str, key: &Key, arch: Arch) -> bool {
        matches!((key, known(self.vintage, arch, name)), (Key::Number(key), Known::Number(own)) if *key == own)
    }

    fn note_replaced(&mut self, of: &str, on: Arch) {
        let pointer = &self.rule.entry.pointer;
        let known =
            self.notes[self.first..].iter_mut().filter(|note| note.pointer == *pointer).find_map(|note| {
                match &mut note.what {
                    Change::Replaces { name, arches } if name == of => Some(arches),
                    _ => None,
                }
            });
        match known {
            Some(arches) if !arches.contains(&on) => arches.push(on),
            Some(_) => {}
            None => self.note(Change::Replaces { name: of.to_owned(), arches: vec![on] }),
        }
    }

    fn note_at(&mut self, index: usize, what: Change) {
        let pointer = format!("{}/names/{index}", self.rule.entry.pointer).into();
        self.notes.push(Note { pointer, what });
    }

    fn note_unknown(&mut self, index: usize, name: &str) {
        let name = name.to_owned();
        let later = Vintage::all().any(|v| v > self.vintage && known(v, self.native, &name) != Known::Not);
        let what = if later || syscalls::is_known(&name) {
            Change::UnknownName { name, known_later: later }
        } else {
            let nearest = self.suggestions.next(|| syscalls::nearest(&name));
            Change::NoSuchCall { name, nearest }
        };
        self.note_at(index, what);
    }

    fn note_narrowed(&mut self, alternatives: &[Conditions], databases: &[Database]) {
        let fits = |value: u64| u32::try_from(value).is_ok();
        let wide: BTreeSet<Condition> = alternatives
            .iter()
            .flatten()
            .flatten()
            .filter(|condition| {
                let (_, value, two) = condition.test.to_oci();
                !fits(value) || !fits(two)
            })
            .copied()
            .collect();
        for database in databases.iter().filter(|database| database.arch.has_narrow_arguments()) {
            for condition in &wide {
                self.note(Change::Narrowed { condition: condition.to_string(), arch: database.arch });
            }
        }
    }
}

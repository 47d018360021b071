//! What would change the answer. Each change is made to a copy and tried out, so it says what the call gets then.

use plim_model::CapabilitySet;
use serde_json::json;

use super::{Change, ChangeKind, DecidedBy, Question};
use crate::action::Action;
use crate::condition::{Condition, Test};
use crate::dialect::{Architectures, Dialect, Written, WrittenRule};
use crate::errno::Errno;
use crate::installed::{Engine, Known, Vintage, install, known};
use crate::interpret::SeccompData;
use crate::resolve::{Facts, applies, resolve};
use crate::witness::ActionJson;

/// Who reads a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// [`resolve`].
    AsWritten,
    /// An engine, with its libseccomp.
    Engine(Engine, Vintage),
}

/// A profile, who reads it, what it depends on, and what is asked of it.
pub(super) struct Trial<'a> {
    pub(super) reader: Reader,
    pub(super) written: &'a Written,
    pub(super) facts: &'a Facts,
    pub(super) question: &'a Question,
}

impl Trial<'_> {
    /// The pointer to the profile itself: inside of a `config.json` it is not the root.
    pub(super) fn base(&self) -> &str {
        let first = self.written.rules.first().map(|entry| &*entry.pointer);
        first.and_then(|pointer| pointer.split_once("/syscalls")).map_or("", |(base, _)| base)
    }

    /// What the call gets from another profile or under other facts.
    fn then(&self, written: &Written, facts: &Facts, call: &SeccompData) -> Option<Action> {
        self.read_by(self.reader, written, facts, call)
    }

    fn read_by(
        &self,
        reader: Reader,
        written: &Written,
        facts: &Facts,
        call: &SeccompData,
    ) -> Option<Action> {
        Some(match reader {
            Reader::AsWritten => {
                resolve(written, facts).ok()?.map_or(Action::Allow, |resolved| resolved.decide(call))
            }
            Reader::Engine(engine, vintage) => install(written, facts, engine, vintage).ok()?.decide(call),
        })
    }

    /// The next libseccomp that knows the call, where this one does not.
    fn newer_library(&self, call: &SeccompData, now: Action) -> Option<Change> {
        let Reader::Engine(engine, vintage) = self.reader else { return None };
        let name = self.question.name()?;
        let knows = |vintage: &Vintage| known(*vintage, self.facts.arch, name) != Known::Not;
        if knows(&vintage) {
            return None;
        }
        let newer = Vintage::all().filter(|one| *one > vintage).find(knows)?;
        let then = self.read_by(Reader::Engine(engine, newer), self.written, self.facts, call)?;
        let what = format!("with libseccomp {newer}, which knows {name}");
        let (pointer, patch) = (None, None);
        (then != now).then_some(Change {
            kind: ChangeKind::Library,
            what,
            pointer,
            patch,
            then: ActionJson(then),
        })
    }

    pub(super) fn changes(&self, call: &SeccompData, now: Action, decided_by: &DecidedBy) -> Vec<Change> {
        let mut found: Vec<Change> = Vec::new();
        for entry in self.written.rules.iter().filter(|entry| self.is_named(entry)) {
            let decides =
                matches!(decided_by, DecidedBy::Rule { pointer, .. } if **pointer == *entry.pointer);
            for (kind, what, facts) in self.other_facts(entry, decides) {
                let then = self.then(self.written, &facts, call);
                let Some(then) = then.filter(|then| *then != now) else { continue };
                if !found.iter().any(|known| known.what == what) {
                    let (pointer, then) = (Some(entry.pointer.to_string()), ActionJson(then));
                    found.push(Change { kind, what, pointer, patch: None, then });
                }
            }
        }
        found.extend(self.newer_library(call, now));
        for (what, pointer, patch, written) in self.other_profiles(now, decided_by) {
            let then = self.then(&written, self.facts, call);
            let Some(then) = then.filter(|then| *then != now) else { continue };
            let (kind, then) = (ChangeKind::Profile, ActionJson(then));
            found.push(Change { kind, what, pointer, patch: Some(patch), then });
        }
        found
    }

    fn is_named(&self, entry: &WrittenRule) -> bool {
        self.question.name().is_some_and(|name| entry.names.iter().any(|known| known == name))
    }

    /// Facts under which an entry that is left out would hold, or one that decides would not.
    fn other_facts(&self, entry: &WrittenRule, decides: bool) -> Vec<(ChangeKind, String, Facts)> {
        let kernel_counts = self.written.dialect != Dialect::Podman;
        let holds = applies(entry, kernel_counts, true, self.facts);
        let (includes, excludes) = (&entry.includes, &entry.excludes);
        let list = |caps: CapabilitySet| caps.names().join(" and ");
        let mut found = Vec::new();
        if holds && decides {
            if !includes.caps.is_empty() {
                let caps = self.facts.caps.difference(includes.caps);
                let what =
                    format!("without {} in the bounding set the rule is left out", list(includes.caps));
                found.push((ChangeKind::Capabilities, what, Facts { caps, ..*self.facts }));
            }
            if !excludes.caps.is_empty() {
                let caps = self.facts.caps.union(excludes.caps);
                let what = format!("with {} in the bounding set the rule is left out", list(excludes.caps));
                found.push((ChangeKind::Capabilities, what, Facts { caps, ..*self.facts }));
            }
        }
        if holds {
            return found;
        }
        // One change for all that stands in the way; the architecture is none that could be changed.
        let mut facts = *self.facts;
        let mut words = Vec::new();
        let missing = includes.caps.difference(facts.caps);
        if !missing.is_empty() {
            words.push(format!("with {} in the bounding set", list(missing)));
            facts.caps = facts.caps.union(missing);
        }
        let hindering = excludes.caps.intersection(facts.caps);
        if !hindering.is_empty() {
            words.push(format!("without {} in the bounding set", list(hindering)));
            facts.caps = facts.caps.difference(hindering);
        }
        let mut kind = ChangeKind::Capabilities;
        if let Some(oldest) = includes.min_kernel.filter(|oldest| kernel_counts && facts.kernel < *oldest) {
            words.push(format!("on Linux {oldest} or newer"));
            facts.kernel = oldest;
            kind = ChangeKind::Kernel;
        }
        if applies(entry, kernel_counts, true, &facts) && !words.is_empty() {
            found.push((kind, format!("{} the rule holds", words.join(" and ")), facts));
        }
        found
    }

    /// The smallest changes of the profile: words, the place, the patch, the changed profile.
    fn other_profiles(
        &self,
        now: Action,
        decided_by: &DecidedBy,
    ) -> Vec<(String, Option<String>, serde_json::Value, Written)> {
        let mut found = Vec::new();
        let Some(name) = self.question.name() else { return found };
        match decided_by {
            DecidedBy::Rule { pointer, .. } => found.extend(self.without_name(name, pointer)),
            DecidedBy::ForeignArchitecture { .. } => found.push(self.with_architecture()),
            DecidedBy::DefaultAction { .. } | DecidedBy::EnosysAbove { .. } => {
                let action = if now.makes_the_call() { Action::Errno(Errno::EPERM) } else { Action::Allow };
                found.push(self.with_rule(name, action));
            }
            DecidedBy::Nothing | DecidedBy::Joined { .. } | DecidedBy::Filter { .. } => {}
        }
        found
    }

    /// The entry at `pointer` without the name; without the whole entry when it names nothing else.
    fn without_name(
        &self,
        name: &str,
        pointer: &str,
    ) -> Option<(String, Option<String>, serde_json::Value, Written)> {
        let mut written = self.written.clone();
        let at = written.rules.iter().position(|entry| *entry.pointer == *pointer)?;
        let index = written.rules[at].names.iter().position(|known| known == name)?;
        let alone = written.rules[at].names.len() == 1;
        let (path, what) = if alone {
            written.rules.remove(at);
            (pointer.to_owned(), format!("without the rule {pointer}"))
        } else {
            written.rules[at].names.retain(|known| known != name);
            (format!("{pointer}/names/{index}"), format!("without {name} in {pointer}"))
        };
        let patch = json!([{"op": "remove", "path": path}]);
        Some((what, Some(pointer.to_owned()), patch, written))
    }

    /// One more rule, for the arguments that are known.
    fn with_rule(&self, name: &str, action: Action) -> (String, Option<String>, serde_json::Value, Written) {
        let conditions: Vec<Condition> = (0u8..)
            .zip(self.question.args)
            .filter_map(|(argument, value)| Some(Condition { argument, test: Test::Eq(value?) }))
            .collect();
        let mut entry = json!({"names": [name], "action": action.name()});
        if !conditions.is_empty() {
            entry["args"] = conditions.iter().map(Condition::to_json).collect();
        }
        let mut written = self.written.clone();
        let place = format!("{}/syscalls", self.base());
        let patch = match written.rules.is_empty() {
            true => json!([{"op": "add", "path": place, "value": [entry]}]),
            false => json!([{"op": "add", "path": format!("{place}/-"), "value": entry}]),
        };
        written.rules.push(WrittenRule {
            names: vec![name.to_owned()],
            name_alone: false,
            action,
            action_by_number: action,
            conditions_exchanged: conditions.clone(),
            conditions,
            includes: Default::default(),
            excludes: Default::default(),
            comment: None,
            pointer: format!("{place}/{}", self.written.rules.len()).into(),
        });
        let which = if self.question.args.iter().any(Option::is_some) { " with these arguments" } else { "" };
        (format!("with a rule that gives {name}{which} {action}"), None, patch, written)
    }

    fn with_architecture(&self) -> (String, Option<String>, serde_json::Value, Written) {
        let arch = self.question.arch;
        let mut written = self.written.clone();
        let base = self.base();
        let patch = match &mut written.architectures {
            Architectures::Native => {
                written.architectures = Architectures::List(vec![self.facts.arch, arch]);
                json!([{"op": "add", "path": format!("{base}/architectures"), "value": [self.facts.arch, arch]}])
            }
            Architectures::List(list) => {
                list.push(arch);
                json!([{"op": "add", "path": format!("{base}/architectures/-"), "value": arch}])
            }
            Architectures::Map(map) => match map.iter().position(|(main, _)| *main == self.facts.arch) {
                Some(at) => {
                    map[at].1.push(arch);
                    json!([{"op": "add", "path": format!("{base}/archMap/{at}/subArchitectures/-"), "value": arch}])
                }
                None => {
                    map.push((self.facts.arch, vec![arch]));
                    let entry = json!({"architecture": self.facts.arch, "subArchitectures": [arch]});
                    json!([{"op": "add", "path": format!("{base}/archMap/-"), "value": entry}])
                }
            },
        };
        (format!("with {arch} among the architectures"), None, patch, written)
    }
}

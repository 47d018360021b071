//! What the areas write into: changes and unknown facts.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::{Area, Change, Effect, Side, UnknownFact};
use crate::Observed;

/// Changes and unknown facts as they are found.
#[derive(Default)]
pub(super) struct Comparison {
    pub(super) area: Option<Area>,
    pub(super) changes: Vec<Change>,
    pub(super) unknown: Vec<UnknownFact>,
}

impl Comparison {
    fn area(&self) -> Area {
        self.area.unwrap_or(Area::Namespaces)
    }

    pub(super) fn change(
        &mut self,
        path: impl Into<String>,
        before: impl Serialize,
        after: impl Serialize,
        effect: Effect,
    ) {
        // Serialising these plain values cannot fail.
        let value = |result: Result<Value, serde_json::Error>| result.unwrap_or(Value::Null);
        self.changes.push(Change {
            area: self.area(),
            path: path.into(),
            before: value(serde_json::to_value(before)),
            after: value(serde_json::to_value(after)),
            effect,
            seccomp: None,
        });
    }

    pub(super) fn unknown(&mut self, side: Side, path: &str, why: &str) {
        let fact = UnknownFact { side, area: self.area(), path: path.to_owned(), why: why.to_owned() };
        self.unknown.push(fact);
    }

    /// Both values, absent as `None`; or nothing, when one of them is unknown, which is noted.
    pub(super) fn known<'x, T>(
        &mut self,
        path: &str,
        a: &'x Observed<T>,
        b: &'x Observed<T>,
    ) -> Option<(Option<&'x T>, Option<&'x T>)> {
        for (side, value) in [(Side::A, a), (Side::B, b)] {
            if let Observed::Unknown(why) = value {
                self.unknown(side, path, why);
            }
        }
        (!a.is_unknown() && !b.is_unknown()).then(|| (a.present(), b.present()))
    }

    /// A value that is compared by equality; `effect` judges two different ones.
    pub(super) fn value<T: PartialEq + Serialize>(
        &mut self,
        path: &str,
        a: &Observed<T>,
        b: &Observed<T>,
        effect: impl FnOnce(Option<&T>, Option<&T>) -> Effect,
    ) {
        if let Some((before, after)) = self.known(path, a, b)
            && before != after
        {
            self.change(path, before, after, effect(before, after));
        }
    }

    /// Members of a set: each one gained or lost is a change below `path`. Having a member is `with`.
    pub(super) fn members<T: Ord + Serialize>(
        &mut self,
        path: &str,
        before: &BTreeSet<T>,
        after: &BTreeSet<T>,
        with: Effect,
        key: impl Fn(&T) -> String,
    ) {
        let without = match with {
            Effect::More => Effect::Less,
            Effect::Less => Effect::More,
            Effect::Other => Effect::Other,
        };
        for member in before.union(after) {
            let path = format!("{path}/{}", crate::json::escape(&key(member)));
            match (before.contains(member), after.contains(member)) {
                (true, false) => self.change(path, member, Value::Null, without),
                (false, true) => self.change(path, Value::Null, member, with),
                _ => {}
            }
        }
    }
}

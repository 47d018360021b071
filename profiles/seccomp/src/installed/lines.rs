//! Notes as a person reads them: what happened to many names for one reason is one line.

use super::note::{Change, Note};

/// Places that are named before "and N more".
const PLACES: usize = 3;

/// The notes in words, one line for each entry or reason.
pub(super) fn lines<'a>(notes: impl Iterator<Item = &'a Note>) -> Vec<String> {
    let mut groups: Vec<Group> = Vec::new();
    for note in notes {
        let (what, name) = split(&note.what);
        let place = entry_of(&note.pointer);
        // What libseccomp knows is the same in every entry.
        let anywhere = matches!(what, Change::UnknownName { .. });
        let known = groups
            .iter_mut()
            .find(|group| group.what == what && (anywhere || group.places.last() == Some(&place)));
        match known {
            Some(group) => {
                group.names.extend(name);
                if group.places.last() != Some(&place) {
                    group.places.push(place);
                }
            }
            None => {
                groups.push(Group { what, places: vec![place], names: name.into_iter().collect() });
            }
        }
    }
    groups.into_iter().map(Group::line).collect()
}

struct Group<'a> {
    /// Without its name.
    what: Change,
    places: Vec<&'a str>,
    names: Vec<String>,
}

impl Group<'_> {
    fn line(mut self) -> String {
        if let Some(name) = name_of(&mut self.what) {
            *name = self.names.join(", ");
        }
        let shown = self.places[..self.places.len().min(PLACES)].join(" ");
        let more = match self.places.len().saturating_sub(PLACES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        match shown.is_empty() {
            true => self.what.to_string(),
            false => format!("{shown}{more}: {}", self.what),
        }
    }
}

/// The change without the call that it is about, and the call.
fn split(what: &Change) -> (Change, Option<String>) {
    let mut rest = what.clone();
    let name = name_of(&mut rest).map(std::mem::take);
    (rest, name)
}

/// The name of the call, in changes that are the same for several calls.
fn name_of(what: &mut Change) -> Option<&mut String> {
    match what {
        Change::UnknownName { name, .. }
        | Change::Multiplexed { name, .. }
        | Change::OrderedByShape { name, .. } => Some(name),
        _ => None,
    }
}

/// `/syscalls/5` of `/syscalls/5/names/1`.
fn entry_of(pointer: &str) -> &str {
    pointer.split_once("/names/").map_or(pointer, |(entry, _)| entry)
}

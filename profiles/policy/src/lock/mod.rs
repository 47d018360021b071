//! The lock file: the privileges that targets have, written down to be reviewed, and held against what they have now.
//!
//! Of something that runs it holds what a snapshot says, without identity and without what changes by itself, and the programs
//! of the installed filters, so that the calls which are newly permitted can be named. Of a declaration it holds the workload.

mod base64;
mod compare;
mod declared;
mod entry;
mod order;
mod write;

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) use compare::rules;
pub use compare::{Locked, check};
pub use entry::entry;

use crate::judge::Subject;
use crate::text::{Limits, Node, Place, read};

/// Version of the lock file, `MAJOR.MINOR`.
pub const LOCK_FORMAT: &str = "1.0";

/// Why a lock file was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {place}: {what}")]
pub struct LockError {
    /// The file.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What was found and what was expected.
    pub what: String,
}

/// A lock file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    /// What each target has, by its key ([`key`]).
    pub targets: BTreeMap<String, Value>,
    /// The line of each target.
    pub lines: BTreeMap<String, u32>,
}

/// Under which name a target stands in a lock file: live targets under their own, declarations behind the file that makes them,
/// which is the same whether or not it was named with `./`.
pub fn key(subject: &Subject) -> String {
    match &subject.place {
        Some(place) => format!("{}#{}", plain(&place.file), subject.name),
        None => subject.name.clone(),
    }
}

fn plain(file: &str) -> &str {
    file.strip_prefix("./").unwrap_or(file)
}

impl Lock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// [`LockError`]: hostile or malformed text, another major version, no targets.
    pub fn read(text: &str, file: &str) -> Result<Lock, LockError> {
        let fail = |place: Place, what: String| LockError { file: file.to_owned(), place, what };
        let limits = Limits { bytes: 64 << 20, values: 4_000_000, ..Limits::POLICY };
        let documents = read(text, limits).map_err(|error| fail(error.place, error.what))?;
        let [document] = documents.as_slice() else {
            return Err(fail(Place::START, format!("{} documents, expected one lock file", documents.len())));
        };
        let format = document.text_of("format").unwrap_or_default();
        if format.split('.').next() != Some("1") {
            return Err(fail(
                document.at,
                format!("format {format:?} is not supported, expected {LOCK_FORMAT:?}"),
            ));
        }
        let targets = document.get("targets").map(Node::entries).unwrap_or_default();
        Ok(Lock {
            targets: targets.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect(),
            lines: targets.iter().map(|(key, _)| (key.text.clone(), key.at.line)).collect(),
        })
    }

    /// The text of the lock file: the same targets give the same bytes, one fact a line.
    pub fn write(&self) -> String {
        write::file(&self.targets)
    }

    /// Puts a target in, or what it has now in its place. Filters whose meaning has not changed keep the bytes that are locked: some
    /// engines compile one profile into different programs from run to run.
    pub fn put(&mut self, subject: &Subject) {
        let key = key(subject);
        let mut new = entry(subject);
        if let Some(old) = self.targets.get(&key)
            && compare::same_filters(old, &new)
            && let (Some(old), Some(fields)) = (old.get("seccomp"), new.as_object_mut())
        {
            fields.insert("seccomp".to_owned(), old.clone());
        }
        self.targets.insert(key, new);
    }
}

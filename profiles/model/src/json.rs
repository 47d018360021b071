//! The published JSON form of a snapshot, and JSON pointers (RFC 6901).
//!
//! In the typed form each [`crate::Observed`] value carries its own reason for being unknown. In the published form
//! a value stands plainly or is `null`, and `.unknown[]` lists the nulls that mean *not observed* with their reasons,
//! so that a reader who only wants values can take them with `jq` and a reader who must not mistake unknown for absent
//! has one list to look at.

use serde_json::Value;

use crate::observed::UNKNOWN_MARK;
use crate::snapshot::{SNAPSHOT_FORMAT, Snapshot, Unknown};

mod strict;

pub use strict::parse;

/// Why a JSON document is not a snapshot that this version reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not an object with `.format`.
    #[error("not a snapshot: no text at /format")]
    NotASnapshot,
    /// A major version that this reader does not know.
    #[error("snapshot format {found:?} is not supported, expected {}", supported())]
    Version {
        /// What `.format` says.
        found: String,
    },
    /// A value that has not the shape of its field.
    #[error("at {path}: {what}")]
    Value {
        /// JSON pointer.
        path: String,
        /// What was found and expected.
        what: String,
    },
}

fn major(format: &str) -> &str {
    format.split('.').next().unwrap_or_default()
}

fn supported() -> String {
    format!("{}.x", major(SNAPSHOT_FORMAT))
}

impl Snapshot {
    /// The published form: every unknown value `null` and listed in `.unknown[]`, sorted by path.
    ///
    /// ```
    /// # use plim_model::Snapshot;
    /// # fn show(snapshot: &Snapshot) {
    /// let json = snapshot.to_json();
    /// for unknown in json["unknown"].as_array().into_iter().flatten() {
    ///     println!("{} could not be observed: {}", unknown["path"], unknown["why"]);
    /// }
    /// # }
    /// ```
    pub fn to_json(&self) -> Value {
        let mut unknown = self.unknown.clone();
        // Serialising cannot fail: every key is text and no Serialize of this crate returns an error.
        let mut document = serde_json::to_value(self).unwrap_or(Value::Null);
        if let Value::Object(fields) = &mut document {
            fields.shift_remove("unknown");
            collect_marks(&mut document, &mut String::new(), &mut unknown);
        }
        unknown.sort();
        unknown.dedup();
        if let Value::Object(fields) = &mut document {
            let list = unknown.into_iter().map(|u| serde_json::json!({"path": u.path, "why": u.why}));
            fields.insert("unknown".to_owned(), list.collect());
        }
        document
    }

    /// Everything in this snapshot that could not be observed, as `.unknown[]` lists it.
    pub fn unknowns(&self) -> Vec<Unknown> {
        let list = self.to_json()["unknown"].take();
        serde_json::from_value(list).unwrap_or_default()
    }

    /// Reads the published form. Entries of `.unknown[]` that name a `null` become [`crate::Observed::Unknown`] there;
    /// others stay in [`Snapshot::unknown`].
    ///
    /// # Errors
    /// No `.format`, a major version other than [`SNAPSHOT_FORMAT`]'s, or a value of another type than its field.
    /// Fields that this version does not know are passed over: a minor version may add some.
    pub fn from_json(mut document: Value) -> Result<Snapshot, FormatError> {
        let found = document.get("format").and_then(Value::as_str).ok_or(FormatError::NotASnapshot)?;
        if major(found) != major(SNAPSHOT_FORMAT) {
            return Err(FormatError::Version { found: found.to_owned() });
        }
        let list = document.get_mut("unknown").map_or(Value::Array(Vec::new()), Value::take);
        let unknown: Vec<Unknown> = serde_path_to_error::deserialize(list)
            .map_err(|error| PlacedError::from(error).below("/unknown"))?;
        let mut elsewhere = Vec::new();
        for entry in unknown {
            match document.pointer_mut(&entry.path) {
                Some(value @ Value::Null) => *value = serde_json::json!({ UNKNOWN_MARK: entry.why }),
                _ => elsewhere.push(entry),
            }
        }
        if let Value::Object(fields) = &mut document {
            fields.shift_remove("unknown");
        }
        let mut snapshot: Snapshot =
            serde_path_to_error::deserialize(document).map_err(|error| PlacedError::from(error).below(""))?;
        snapshot.unknown = elsewhere;
        Ok(snapshot)
    }
}

/// Replaces every mark below `value` by null and notes where it stood.
fn collect_marks(value: &mut Value, pointer: &mut String, into: &mut Vec<Unknown>) {
    let length = pointer.len();
    match value {
        Value::Object(fields) => {
            if fields.len() == 1
                && let Some(why) = fields.get(UNKNOWN_MARK).and_then(Value::as_str)
            {
                into.push(Unknown { path: pointer.clone(), why: why.to_owned() });
                *value = Value::Null;
                return;
            }
            for (key, field) in fields {
                pointer.push('/');
                pointer.push_str(&escape(key));
                collect_marks(field, pointer, into);
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                pointer.push_str(&format!("/{index}"));
                collect_marks(item, pointer, into);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One token of a JSON pointer: `~` is written `~0` and `/` is written `~1` (RFC 6901, section 3).
///
/// ```
/// assert_eq!(format!("/mounts/{}", plim_model::json::escape("/proc")), "/mounts/~1proc");
/// ```
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// The inverse of [`escape`].
pub fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// An error of serde with the JSON pointer of the value it is about; its text is `POINTER` + [`MARK`] + message, so that
/// it survives being the custom error of an enclosing deserializer.
pub(crate) struct PlacedError {
    pointer: String,
    message: String,
}

/// Divides pointer and message; a control character that no message of serde holds.
const MARK: char = '\u{1}';

impl PlacedError {
    fn below(self, pointer: &str) -> FormatError {
        let path = format!("{pointer}{}", self.pointer);
        FormatError::Value {
            path: if path.is_empty() { "the top".to_owned() } else { path },
            what: self.message,
        }
    }
}

impl From<serde_path_to_error::Error<serde_json::Error>> for PlacedError {
    fn from(error: serde_path_to_error::Error<serde_json::Error>) -> PlacedError {
        use serde_path_to_error::Segment;
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
                // Enum variants are not places in the document; an unknown place has no name.
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        let message = error.into_inner().to_string();
        match message.split_once(MARK) {
            Some((below, message)) => PlacedError { pointer: pointer + below, message: message.to_owned() },
            None => PlacedError { pointer, message },
        }
    }
}

impl std::fmt::Display for PlacedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{MARK}{}", self.pointer, self.message)
    }
}

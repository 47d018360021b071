//! Text that others wrote, as a tree whose every value knows its line and column.
//!
//! Both readers refuse what could cost more than it says: documents that are too large or nested too deep, more values
//! than [`Limits`] allows (aliases count with all that they repeat), and keys that stand twice in one mapping.

mod json;
mod node;
mod yaml;

pub use node::{Key, Kind, Node, Place};

/// What a document may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole text.
    pub bytes: usize,
    /// Sequences and mappings inside each other.
    pub depth: usize,
    /// Values over all documents of the text.
    pub values: usize,
    /// Values that aliases (`*name`) may repeat; with 0 aliases and merge keys (`<<`) are refused.
    pub repeated: usize,
}

impl Limits {
    /// For files of our own: small, and without aliases, so that a line says what it means.
    pub const POLICY: Limits = Limits { bytes: 4 << 20, depth: 32, values: 200_000, repeated: 0 };
    /// For manifests, Compose files and the like.
    pub const INPUT: Limits = Limits { bytes: 64 << 20, depth: 64, values: 2_000_000, repeated: 200_000 };
}

/// Why a text was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct TextError {
    /// Where.
    pub place: Place,
    /// What was found and what was expected.
    pub what: String,
}

impl TextError {
    pub(crate) fn new(place: Place, what: impl Into<String>) -> TextError {
        TextError { place, what: what.into() }
    }
}

/// Reads all documents of a YAML or JSON text; JSON is told by its first letter. Empty documents are left out.
///
/// ```
/// use plim_policy::text::{Limits, read};
/// let documents = read("a: 1\n---\nb: [x, y]\n", Limits::INPUT).unwrap();
/// assert_eq!(documents[1].get("b").unwrap().items()[1].text(), Some("y"));
/// assert_eq!(documents[1].get("b").unwrap().at.line, 3);
/// let error = read("a: 1\na: 2\n", Limits::INPUT).unwrap_err();
/// assert_eq!(error.to_string(), "line 2, column 1: key \"a\" stands twice, first in line 1");
/// ```
///
/// # Errors
/// [`TextError`] with line and column.
pub fn read(text: &str, limits: Limits) -> Result<Vec<Node>, TextError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > limits.bytes {
        let what = format!("the text has {} bytes, more than the {} that are read", text.len(), limits.bytes);
        return Err(TextError::new(Place::START, what));
    }
    match text.trim_start().chars().next() {
        Some('{' | '[') => match json::read(text, limits) {
            Ok(documents) => Ok(documents),
            // A flow mapping may begin a YAML document too; JSON's complaint is the better one when both fail.
            Err(error) => yaml::read(text, limits).map_err(|_| error),
        },
        _ => yaml::read(text, limits),
    }
}

#[cfg(test)]
mod tests;

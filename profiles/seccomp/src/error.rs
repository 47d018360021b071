//! What is wrong with a profile, and where.

/// Why a profile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Larger than [`crate::dialect::MAX_BYTES`] or of more values than [`crate::dialect::MAX_VALUES`].
    #[error("the profile is larger than the limit of {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// Not JSON.
    #[error("not JSON: line {line}, column {column}: {reason}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The JSON reader's words.
        reason: String,
    },
    /// JSON, but not what a profile says at this place.
    #[error("{}: found {found}, expected {expected}{}", Place(pointer), Hint(nearest.as_deref()))]
    Value {
        /// JSON pointer (RFC 6901) to the place.
        pointer: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
        /// The nearest valid spelling, where one is near.
        nearest: Option<String>,
    },
}

impl ProfileError {
    /// The JSON pointer to the place, where the error has one.
    pub fn pointer(&self) -> Option<&str> {
        match self {
            ProfileError::Value { pointer, .. } => Some(pointer),
            ProfileError::TooLarge { .. } | ProfileError::Syntax { .. } => None,
        }
    }
}

struct Place<'a>(&'a str);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "the profile's top level" } else { self.0 })
    }
}

/// `; did you mean "openat"?`
pub(crate) struct Hint<'a>(pub(crate) Option<&'a str>);

impl std::fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
            None => Ok(()),
        }
    }
}

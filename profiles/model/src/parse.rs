//! Pure parsers of the kernel's text: `/proc/PID/…` and cgroup files.
//!
//! Each takes the text and nothing else, so that a table of strings tests it. Callers bound how much they read.
//! A line that does not have the documented shape is an error with its line number, never skipped: a skipped line
//! would be a fact reported as absent. Fields that a newer kernel adds are ignored where the manual says so.

pub mod cgroup;
pub mod idmap;
pub mod limits;
pub mod mountinfo;
pub mod stat;
pub mod status;

/// What was found where something else was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: found {found}, expected {expected}")]
pub struct ParseError {
    /// Line number, from 1.
    pub line: usize,
    /// What stands there: quoted, escaped and cut to a readable length.
    pub found: String,
    /// What would have been right.
    pub expected: &'static str,
}

/// Longest quotation in an error, in characters.
const QUOTE_LENGTH: usize = 80;

impl ParseError {
    pub(crate) fn new(line: usize, found: &str, expected: &'static str) -> ParseError {
        let mut cut: String = found.chars().take(QUOTE_LENGTH).collect();
        if cut.len() < found.len() {
            cut.push('…');
        }
        ParseError { line, found: format!("{cut:?}"), expected }
    }

    pub(crate) fn missing(line: usize, expected: &'static str) -> ParseError {
        ParseError { line, found: "nothing".to_owned(), expected }
    }
}

/// Reads one number, or says what stood there.
pub(crate) fn number<T: std::str::FromStr>(
    line: usize,
    text: &str,
    expected: &'static str,
) -> Result<T, ParseError> {
    text.parse().map_err(|_| ParseError::new(line, text, expected))
}

/// Lines with their numbers, from 1.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

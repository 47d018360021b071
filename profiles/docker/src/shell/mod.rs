//! A text that a shell would run, as the commands in it.
//!
//! No shell is run and nothing is expanded: what only the running shell knows (a variable, `$(…)`, a glob) stays an unknown
//! piece of its word, so that a reader can tell what the text decides. The grammar is POSIX's (XCU 2.2, 2.3, 2.10) with bash's
//! `$'…'`, `$"…"`, `<(…)` and braces. Two forms of other shells, which no POSIX text has a use for, are read too: PowerShell's
//! `` ` `` and cmd's `^` at the end of a line continue it.

mod lexer;
mod word;

pub use lexer::commands;
pub use word::{Expansion, Part, Word};

/// One command: its words without redirections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The words, with assignments and reserved words among them. At least one.
    pub words: Vec<Word>,
    /// What it is redirected to or from, and the here-documents in which the shell substitutes.
    pub targets: Vec<Word>,
    /// Its standard input is redirected: a pipe, a file or a here-document.
    pub fed: bool,
}

/// Why a text is not one that a shell would run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ShellError {
    /// From 1.
    pub line: usize,
    /// What was found and what was expected.
    pub what: String,
}

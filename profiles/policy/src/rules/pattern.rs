//! `matches` of expressions. CEL's own compiles the pattern with every element that it looks at; here each is compiled once.

use std::cell::RefCell;
use std::collections::HashMap;

use cel::common::types::{CelBool, CelString};
use cel::{Env, ExecutionError};
use regex::Regex;

thread_local! {
    /// By their text. Patterns stand in policies as plain text, so that there are no more than their authors wrote.
    static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// CEL's standard functions, and our `matches`.
pub(crate) fn environment() -> Env {
    let mut env = Env::stdlib();
    let member =
        cel::add_member_overload!(env, fn matches: (CelString<'_>, CelString<'_>) -> Result<CelBool>);
    let global = cel::add_overload!(env, fn matches: (CelString<'_>, CelString<'_>) -> Result<CelBool>, id = "matches");
    debug_assert!(member.is_ok() && global.is_ok(), "built without CEL's own");
    env
}

/// Why a text is no pattern.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    compiled(pattern, |_| ()).map_err(|error| {
        // The words are in the last line, below the pattern with a mark.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        format!("matches: {pattern:?} is no pattern: {}", last.trim_start_matches("error: "))
    })
}

fn matches(text: &CelString<'_>, pattern: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    compiled(pattern.inner(), |regex| CelBool::from(regex.is_match(text.inner()))).map_err(|error| {
        ExecutionError::FunctionError { function: "matches".to_owned(), message: error.to_string() }
    })
}

fn compiled<T>(pattern: &str, with: impl FnOnce(&Regex) -> T) -> Result<T, regex::Error> {
    COMPILED.with_borrow_mut(|known| {
        if let Some(regex) = known.get(pattern) {
            return Ok(with(regex));
        }
        let regex = Regex::new(pattern)?;
        let result = with(&regex);
        known.insert(pattern.to_owned(), regex);
        Ok(result)
    })
}

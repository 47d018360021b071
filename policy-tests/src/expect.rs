//! What a kind of machine is expected to run, so that a quiet skip turns red.
//!
//! An expectation file lists the skips that are all right there, one a line: `LAUNCHER/PROMISE/NAME WORDS OF THE REASON`
//! with `*` for any run of characters; `#` starts a comment. **Every other skip is a failure.**

use anyhow::{Context, Result};

/// The skips that are all right.
pub struct Expectations {
    may_skip: Vec<(String, String)>,
}

impl Expectations {
    /// Reads the text of an expectation file.
    ///
    /// # Errors
    /// A line without a reason, with its number.
    pub fn parse(text: &str) -> Result<Expectations> {
        let mut may_skip = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (test, reason) = line.split_once(char::is_whitespace).with_context(|| {
                format!("line {}: {line:?} has no reason after the test's name", number + 1)
            })?;
            may_skip.push((test.to_owned(), reason.trim().to_owned()));
        }
        Ok(Expectations { may_skip })
    }

    /// Whether the test `launcher/promise/name` may be skipped for `reason`.
    pub fn allows(&self, test: &str, reason: &str) -> bool {
        self.may_skip.iter().any(|(pattern, why)| matches(pattern, test) && matches(why, reason))
    }
}

/// Whether `text` fits `pattern`, where `*` stands for any run of characters.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = pattern.rfind('*').map(|at| &pattern[at + 1..]) else { return rest.is_empty() };
    let middle: Vec<&str> = parts.collect();
    for part in &middle[..middle.len() - 1] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("plim/a/b", "plim/a/b", true),
            ("plim/a/b", "plim/a/bc", false),
            ("*/a/*", "runc/a/x", true),
            ("runc/*", "plim/a", false),
            ("*", "", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c", false),
            ("*v1*", "cgroup v1 memory", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_skip_must_be_listed_with_its_reason() {
        let expected = Expectations::parse("# host\nrunc/*  a promise of plim alone\n").unwrap();
        assert!(expected.allows("runc/cleanup/x", "a promise of plim alone"));
        assert!(!expected.allows("runc/cleanup/x", "root"));
        assert!(!expected.allows("plim/cleanup/x", "a promise of plim alone"));
        assert!(Expectations::parse("runc/x").is_err());
    }
}

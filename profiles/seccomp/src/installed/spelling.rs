//! What is said of a word that is none of the valid ones.

/// A word that is none of those that may stand in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected {what}: {}{}", expected.join(", "), hint(nearest.as_deref()))]
pub struct NotOneOf {
    /// What the word should have named.
    pub what: &'static str,
    /// The word, cut to a length that fits in a message.
    pub found: String,
    /// The valid words.
    pub expected: Vec<String>,
    /// The one that was most likely meant, where one is near.
    pub nearest: Option<String>,
}

impl NotOneOf {
    pub(super) fn new<'a>(
        what: &'static str,
        found: &str,
        expected: impl Iterator<Item = &'a str> + Clone,
    ) -> NotOneOf {
        let nearest = crate::spelling::nearest(found, expected.clone()).map(str::to_owned);
        let found = found.chars().take(80).collect();
        NotOneOf { what, found, expected: expected.map(str::to_owned).collect(), nearest }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest:?}?"))
}

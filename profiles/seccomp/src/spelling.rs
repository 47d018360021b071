//! The nearest valid spelling of a word that is not valid, for an error message.
//!
//! The distance takes time with the product of both lengths, for each candidate, and the words come from files that others wrote: long
//! words have no suggestion, and of a document with many wrong words the first ones do ([`Suggestions`]).

/// Bytes of the longest word that is compared; the longest name of a system call has 28.
const LONGEST: usize = 64;

/// The candidate that `word` was probably meant to be: at most a third of its letters away, transposed neighbours counting as one, case
/// aside. Of several as near one with the same letters (`QE` is `EQ` rather than `NE`), else the first.
///
/// ```
/// use plim_seccomp::spelling::nearest;
/// assert_eq!(nearest("inpsect", ["run", "inspect", "diff"]), Some("inspect"));
/// assert_eq!(nearest("walk", ["run", "inspect", "diff"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let length = word.chars().count();
    let limit = (length / 3).max(1);
    candidates
        .into_iter()
        // Each letter more or less is one change at least.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, candidate)| (*distance, letters(candidate) != letters(&word)))
        .map(|(_, candidate)| candidate)
}

/// The letters of a word, case and order aside.
fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.to_lowercase().chars().collect();
    letters.sort_unstable();
    letters
}

/// `, did you mean …?`, or nothing.
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |found| format!(", did you mean {found:?}?"))
}

/// The suggestions for one document, of which there are only so many.
#[derive(Debug)]
pub(crate) struct Suggestions(usize);

impl Default for Suggestions {
    fn default() -> Suggestions {
        Suggestions(100)
    }
}

impl Suggestions {
    /// What `look` finds, as long as there are any left.
    pub(crate) fn next(&mut self, look: impl FnOnce() -> Option<&'static str>) -> Option<&'static str> {
        self.0 = self.0.checked_sub(1)?;
        look()
    }
}

#[cfg(test)]
mod tests {
    use super::{Suggestions, nearest};

    #[test]
    fn near_is_found_and_far_is_not() {
        let words = ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"];
        assert_eq!(nearest("SCMP_ACT_ALOW", words), Some("SCMP_ACT_ALLOW"));
        assert_eq!(nearest("scmp_act_allow", words), Some("SCMP_ACT_ALLOW"));
        assert_eq!(nearest("banana", words), None);
        assert_eq!(nearest("", words), None);
    }

    /// Counted by the candidates that are asked for.
    #[test]
    fn long_words_and_many_words_are_not_compared() {
        let asked = std::cell::Cell::new(0);
        let counted = || ["mount"].into_iter().inspect(|_| asked.set(asked.get() + 1));
        assert_eq!(nearest(&"x".repeat(1 << 20), counted()), None);
        assert_eq!(asked.get(), 0);
        let mut suggestions = Suggestions::default();
        let found =
            (0..50_000).filter(|_| suggestions.next(|| nearest("muont", counted())).is_some()).count();
        assert_eq!((found, asked.get()), (100, 100));
    }
}

//! The nearest valid spelling for an error message.

/// The candidate that differs least from `word`, when it differs little enough to be a likely typing error
/// (a third of its letters, at least one).
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A hostile profile may name a megabyte; the distance is quadratic.
    const LONGEST: usize = 64;
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_is_found_and_far_is_not() {
        let words = ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"];
        assert_eq!(nearest("SCMP_ACT_ALOW", words.into_iter()), Some("SCMP_ACT_ALLOW"));
        assert_eq!(nearest("banana", words.into_iter()), None);
        assert_eq!(nearest("", words.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), words.into_iter()), None);
    }
}

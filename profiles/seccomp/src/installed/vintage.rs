//! Releases of libseccomp.

use super::known::RELEASES;
use super::spelling::NotOneOf;

/// A release of libseccomp, which decides what names a runtime knows and how overlapping rules are ordered.
///
/// ```
/// use plim_seccomp::installed::Vintage;
/// assert_eq!("2.5.4".parse::<Vintage>().unwrap().to_string(), "2.5.4");
/// let error = "2.5.44".parse::<Vintage>().unwrap_err();
/// assert!(error.to_string().ends_with(r#"did you mean "2.5.4"?"#), "{error}");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vintage(u8);

impl Vintage {
    /// Widely installed. Debian 12's package of it knows the names of 2.5.5 (`seccomp_version` says 2.5.4 nevertheless).
    pub const V2_5_4: Vintage = Vintage(13);

    /// The newest release in the tables.
    pub fn newest() -> Vintage {
        Vintage(u8::try_from(RELEASES.len() - 1).unwrap_or(u8::MAX))
    }

    /// Every release in the tables, oldest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Vintage> + ExactSizeIterator {
        RELEASES.iter().enumerate().map(|(index, _)| Vintage(u8::try_from(index).unwrap_or(u8::MAX)))
    }

    /// Major, minor and patch number.
    pub fn numbers(self) -> (u8, u8, u8) {
        RELEASES[usize::from(self.0)]
    }

    /// The release of these numbers, or the last one before it of the same minor series, for a patch release that is newer than
    /// the tables: what `seccomp_version` of an installed library says.
    pub fn at_most(major: u8, minor: u8, patch: u8) -> Option<Vintage> {
        let asked = (major, minor, patch);
        Vintage::all().rfind(|v| v.numbers() <= asked && (v.numbers().0, v.numbers().1) == (major, minor))
    }

    pub(super) fn index(self) -> u8 {
        self.0
    }

    pub(super) fn is_at_least(self, major: u8, minor: u8, patch: u8) -> bool {
        self.numbers() >= (major, minor, patch)
    }
}

impl Default for Vintage {
    fn default() -> Vintage {
        Vintage::newest()
    }
}

impl std::fmt::Display for Vintage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor, patch) = self.numbers();
        f.pad(&format!("{major}.{minor}.{patch}"))
    }
}

impl std::str::FromStr for Vintage {
    type Err = NotOneOf;

    /// Reads `2.5.4`; `2.5` is the newest of that series. Of a package's version (`2.5.4-1`) the upstream part counts, but Debian's
    /// `2.5.4-1+deb12u1` is 2.5.5, whose names it brings.
    fn from_str(text: &str) -> Result<Vintage, NotOneOf> {
        let upstream = text.split(['-', '+', '~']).next().unwrap_or(text);
        let backported = upstream == "2.5.4" && text.contains("+deb12u");
        let upstream = if backported { "2.5.5" } else { upstream };
        let series = format!("{upstream}.");
        let is_series = upstream.bytes().filter(|byte| *byte == b'.').count() == 1;
        let names: Vec<String> = Vintage::all().map(|v| v.to_string()).collect();
        let found = Vintage::all()
            .zip(&names)
            .rfind(|(_, name)| *name == upstream || (is_series && name.starts_with(&series)));
        found
            .map(|(vintage, _)| vintage)
            .ok_or_else(|| NotOneOf::new("a release of libseccomp", text, names.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let read = |text: &str| text.parse::<Vintage>().map(|v| v.to_string());
        assert_eq!(read("2.5.4").unwrap(), "2.5.4");
        assert_eq!(read("2.5.4-1").unwrap(), "2.5.4");
        assert_eq!(read("2.5.4-1+deb12u1").unwrap(), "2.5.5");
        assert_eq!(read("2.4").unwrap(), "2.4.4");
        assert_eq!(Vintage::V2_5_4.to_string(), "2.5.4");
        assert_eq!(Vintage::newest().to_string(), "2.6.1");
        for bad in ["", "2", "1.0.0", "2.7.0", "v2.5.4", "2.5.4.1", &"9".repeat(500)] {
            let message = read(bad).unwrap_err().to_string();
            assert!(message.contains("2.6.0, 2.6.1") && message.len() < 500, "{bad}: {message}");
        }
    }

    #[test]
    fn a_release_newer_than_the_tables_counts_as_the_last_of_its_series() {
        assert_eq!(Vintage::at_most(2, 5, 99).unwrap().to_string(), "2.5.6");
        assert_eq!(Vintage::at_most(2, 5, 1).unwrap().to_string(), "2.5.1");
        assert_eq!(Vintage::at_most(2, 7, 0), None);
        assert!(Vintage::V2_5_4 < Vintage::newest() && Vintage::V2_5_4.is_at_least(2, 5, 4));
    }
}

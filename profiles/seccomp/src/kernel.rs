//! Kernel releases as profiles compare them.

/// Major and minor number of a kernel release; what follows them does not count in a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The 6 of 6.18.
    pub major: u16,
    /// The 18 of 6.18.
    pub minor: u16,
}

impl KernelVersion {
    /// Reads `uname -r`: `6.18.44-fc`, `3.12-1-amd64`, `5.10-rc5`.
    pub fn from_release(release: &str) -> Option<KernelVersion> {
        let (major, rest) = release.split_once('.')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        KernelVersion::of(major, &rest[..digits])
    }

    /// Reads a profile's `minKernel`: exactly `MAJOR.MINOR`, each at most 255, and not 0.0.
    pub fn from_profile(text: &str) -> Option<KernelVersion> {
        let (major, minor) = text.split_once('.')?;
        KernelVersion::of(major, minor)
            .filter(|v| v.major <= 255 && v.minor <= 255 && (v.major, v.minor) != (0, 0))
    }

    fn of(major: &str, minor: &str) -> Option<KernelVersion> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        Some(KernelVersion { major: number(major)?, minor: number(minor)? })
    }
}

impl std::fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_profile_versions() {
        let v = |major, minor| Some(KernelVersion { major, minor });
        assert_eq!(KernelVersion::from_release("6.18.44-fc-v657"), v(6, 18));
        assert_eq!(KernelVersion::from_release("3.12-1-amd64"), v(3, 12));
        assert_eq!(KernelVersion::from_release("linux"), None);
        assert_eq!(KernelVersion::from_profile("4.8"), v(4, 8));
        for bad in ["4", "4.8.1", "4.x", "0.0", "", "-4.8", "+4.8", "256.1", "4."] {
            assert_eq!(KernelVersion::from_profile(bad), None, "{bad}");
        }
        assert!(v(4, 19) > v(4, 8));
    }
}

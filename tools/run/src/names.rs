//! Ids and names.

use anyhow::{Result, bail};

/// How a container is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// 64 lower-case hex digits.
    pub(crate) id: String,
    /// `--name`, or one made from the id.
    pub(crate) name: String,
}

const HOW: [&str; 16] = [
    "brave", "calm", "deep", "eager", "fair", "grey", "hale", "keen", "laden", "merry", "noble", "proud",
    "quiet", "stout", "swift", "trim",
];
const WHAT: [&str; 16] = [
    "anchor", "ballast", "barque", "beacon", "bosun", "capstan", "clipper", "cutter", "freight", "halyard",
    "keel", "ketch", "lugger", "mizzen", "rudder", "schooner",
];

impl Identity {
    /// From 32 random bytes and `--name`.
    ///
    /// A made-up name ends in four digits of the id: two of them meet once in 16 million runs.
    ///
    /// # Errors
    /// A name that is not `[a-zA-Z0-9][a-zA-Z0-9_.-]*` of at most 255 bytes.
    pub(crate) fn new(random: [u8; 32], name: Option<&str>) -> Result<Identity> {
        use std::fmt::Write as _;
        let mut id = String::with_capacity(64);
        for byte in random {
            // Writing to a String cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        let name = match name {
            Some(name) => check(name)?.to_owned(),
            None => {
                let (how, what) = (HOW[usize::from(random[30] & 15)], WHAT[usize::from(random[31] & 15)]);
                format!("{how}-{what}-{}", &id[..4])
            }
        };
        Ok(Identity { id, name })
    }
}

fn check(name: &str) -> Result<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let bytes = name.as_bytes();
    if bytes.first().is_none_or(|b| !b.is_ascii_alphanumeric()) || !bytes.iter().copied().all(plain) {
        bail!("--name {name:?}: expected letters, digits, _, . and -, the first a letter or digit");
    }
    if name.len() > 255 {
        bail!("--name: it has {} bytes, the most is 255", name.len());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_from_the_id() {
        let identity = Identity::new([0xab; 32], None).unwrap();
        assert_eq!(identity.id, "ab".repeat(32));
        assert_eq!(
            identity.name,
            "noble-halyard-abab".replace("noble-halyard", &format!("{}-{}", HOW[11], WHAT[11]))
        );
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "web1", "9.a_b-c"] {
            assert_eq!(Identity::new([0; 32], Some(good)).unwrap().name, good);
        }
        for bad in ["", "-a", "_a", "a b", "a/b", "..", "ä", &"x".repeat(256)] {
            assert!(Identity::new([0; 32], Some(bad)).is_err(), "{bad:?}");
        }
    }
}

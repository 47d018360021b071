//! Short texts that lie in a table itself.
//!
//! A `&str` in a static is an address, and a position-independent program has to write every such address when it starts, into
//! pages that are then its own. The large tables hold thousands of names, and most runs of a program look at a few of them.

use std::fmt;
use std::ops::Deref;

/// A text of at most `N` bytes (and 255) without a pointer to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inline<const N: usize> {
    // Compared as text is: the bytes first, and what is shorter is filled up with zeros.
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Inline<N> {
    /// The text.
    ///
    /// # Panics
    /// It is longer than `N` bytes. In a table that is an error of the compiler.
    pub const fn new(text: &str) -> Inline<N> {
        let from = text.as_bytes();
        assert!(from.len() <= N && N <= u8::MAX as usize, "the text is too long");
        let mut bytes = [0; N];
        let mut at = 0;
        while at < from.len() {
            bytes[at] = from[at];
            at += 1;
        }
        #[allow(clippy::cast_possible_truncation, reason = "N fits, and const functions have no TryFrom")]
        Inline { bytes, length: from.len() as u8 }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // What came from a text and was cut nowhere is one.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl<const N: usize> Deref for Inline<N> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> fmt::Display for Inline<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const N: usize> fmt::Debug for Inline<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> PartialEq<str> for Inline<N> {
    fn eq(&self, other: &str) -> bool {
        self.bytes[..usize::from(self.length)] == *other.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for Inline<N> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::Inline;

    #[test]
    fn it_is_the_text() {
        for text in ["", "a", "grüße", "eight by", "nine byte"] {
            let inline = Inline::<9>::new(text);
            assert_eq!(inline.as_str(), text);
            assert_eq!((inline.to_string(), format!("{inline:?}")), (text.to_owned(), format!("{text:?}")));
            assert!(inline == *text && inline != *"other");
        }
    }

    #[test]
    fn it_is_ordered_as_text_is() {
        let words = ["", "a", "a\0", "ab", "b", "ba", "é"];
        for one in words {
            for other in words {
                let (left, right) = (Inline::<4>::new(one), Inline::<4>::new(other));
                assert_eq!(left.cmp(&right), one.cmp(other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "the text is too long")]
    fn too_long_is_an_error() {
        let _ = Inline::<3>::new("four");
    }
}

//! Lists of CPUs or memory nodes (`0-3,8`; cpuset(7), "List format").

use crate::parse::{ParseError, number};

/// A set of CPU or memory node numbers, kept as ranges so that `0-4294967295` costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuList {
    /// Inclusive ranges, sorted, apart from each other by at least one number.
    ranges: Vec<(u32, u32)>,
}

impl CpuList {
    /// Reads the kernel's list format. The empty list is the empty set (on v2: inherited from the parent).
    ///
    /// # Errors
    /// Anything but numbers and ascending ranges between commas.
    ///
    /// ```
    /// use plim_model::parse::cgroup::CpuList;
    /// let list = CpuList::parse("0-1,3,2\n")?;
    /// assert_eq!(list.to_string(), "0-3");
    /// assert!(list.contains(3) && !list.contains(4));
    /// # Ok::<(), plim_model::parse::ParseError>(())
    /// ```
    pub fn parse(text: &str) -> Result<CpuList, ParseError> {
        const SHAPE: &str = "numbers and ranges `FIRST-LAST` between commas";
        let text = text.trim();
        if text.is_empty() {
            return Ok(CpuList::default());
        }
        let mut ranges = text
            .split(',')
            .map(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let range: (u32, u32) = (number(1, first, SHAPE)?, number(1, last, SHAPE)?);
                if range.0 > range.1 { Err(ParseError::new(1, part, SHAPE)) } else { Ok(range) }
            })
            .collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Ok(CpuList { ranges: merged })
    }

    /// Whether this number is in the set.
    pub fn contains(&self, number: u32) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    /// Whether everything in `self` is in `other`.
    pub fn is_subset(&self, other: &CpuList) -> bool {
        // Merged ranges cannot be covered by two ranges of the other side.
        self.ranges.iter().all(|(first, last)| other.ranges.iter().any(|(a, b)| a <= first && last <= b))
    }

    /// What is in both.
    pub fn intersection(&self, other: &CpuList) -> CpuList {
        let mut ranges = Vec::new();
        for (a, b) in &self.ranges {
            for (c, d) in &other.ranges {
                let (first, last) = (*a.max(c), *b.min(d));
                if first <= last {
                    ranges.push((first, last));
                }
            }
        }
        CpuList { ranges }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }
}

impl std::fmt::Display for CpuList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> CpuList {
        CpuList::parse(text).expect(text)
    }

    #[test]
    fn reads_and_normalises() {
        let cases = [
            ("", ""),
            ("\n", ""),
            ("0\n", "0"),
            ("0-3,8", "0-3,8"),
            ("8,0-3", "0-3,8"),
            ("0,1,2", "0-2"),
            ("0-5,2-3", "0-5"),
            ("0-4294967295", "0-4294967295"),
            ("4294967295,0-4294967294", "0-4294967295"),
        ];
        for (text, expected) in cases {
            assert_eq!(list(text).to_string(), expected, "{text:?}");
        }
        for text in ["a", "1-", "-1", "3-1", "1,,2", "1, 2", "4294967296", "1-2-3", ","] {
            assert!(CpuList::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn compares_as_sets() {
        assert!(list("1,3").is_subset(&list("0-3")));
        assert!(!list("0-3").is_subset(&list("0-1,3")));
        assert!(list("").is_subset(&list("0")));
        assert_eq!(list("0-3,8-9").intersection(&list("2-8")).to_string(), "2-3,8");
        assert_eq!(list("0-3,8").count(), 5);
        assert_eq!(list("0-4294967295").count(), 1 << 32);
    }

    proptest! {
        #[test]
        fn agrees_with_sets(a in proptest::collection::btree_set(0u32..40, 0..12), b in proptest::collection::btree_set(0u32..40, 0..12)) {
            let text = |set: &std::collections::BTreeSet<u32>| set.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            let (x, y) = (list(&text(&a)), list(&text(&b)));
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert_eq!(x.count(), a.len() as u64);
            let both = x.intersection(&y);
            for n in 0..40 {
                prop_assert_eq!(both.contains(n), a.contains(&n) && b.contains(&n));
            }
            prop_assert_eq!(list(&x.to_string()), x);
        }
    }
}

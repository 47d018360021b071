//! `/proc/PID/uid_map` and `/proc/PID/gid_map` (user_namespaces(7)).

use super::{ParseError, number, numbered};
use crate::IdMapping;

/// Reads a map in the kernel's order. An empty map is a user namespace whose map was not written yet.
///
/// # Errors
/// A line that is not three numbers, a count of 0, or a range that runs past the last 32-bit id.
pub fn parse(text: &str) -> Result<Vec<IdMapping>, ParseError> {
    const SHAPE: &str = "three numbers: first id inside, first id outside, count";
    numbered(text)
        .map(|(line, content)| {
            let words: Vec<&str> = content.split_ascii_whitespace().collect();
            let [inside, outside, count] = words[..] else {
                return Err(ParseError::new(line, content, SHAPE));
            };
            let mapping = IdMapping {
                inside: number(line, inside, SHAPE)?,
                outside: number(line, outside, SHAPE)?,
                count: number(line, count, SHAPE)?,
            };
            let last = mapping.count.checked_sub(1);
            let fits = last.is_some_and(|last| {
                mapping.inside.checked_add(last).is_some() && mapping.outside.checked_add(last).is_some()
            });
            if !fits {
                return Err(ParseError::new(line, content, "a range of at least 1 id that ends below 2^32"));
            }
            Ok(mapping)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_maps() {
        let cases = [
            ("", vec![]),
            ("         0          0 4294967295\n", vec![(0, 0, u32::MAX)]),
            (
                "         0       1000          1\n         1     100000      65536\n",
                vec![(0, 1000, 1), (1, 100_000, 65536)],
            ),
            ("4294967295 4294967295 1", vec![(u32::MAX, u32::MAX, 1)]),
        ];
        for (text, expected) in cases {
            let found: Vec<_> =
                parse(text).expect(text).iter().map(|m| (m.inside, m.outside, m.count)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn refuses_what_the_kernel_never_writes() {
        for text in [
            "0 0",
            "0 0 0",
            "0 0 1 1",
            "a 0 1",
            "-1 0 1",
            "0 0 4294967296",
            "1 0 4294967295\n2 x 1",
            "1 0 4294967296",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(
            parse("0 0 1\n0 0").expect_err("cut").to_string(),
            "line 2: found \"0 0\", expected three numbers: first id inside, first id outside, count"
        );
        assert!(parse("4294967295 0 2").is_err(), "runs past the end");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9 \n\tx-]{0,200}") {
            let _ = parse(&text);
        }
    }
}

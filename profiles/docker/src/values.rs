//! Values of options.

use plim_model::Capability;

/// The pieces between commas, as Go's encoding/csv reads one record: a piece in `"` may hold commas, `""` is a quote in it.
///
/// # Errors
/// A quote that is not closed, or stands inside a piece without quotes.
pub fn csv(text: &str) -> Result<Vec<String>, &'static str> {
    const EXPECTED: &str = "comma-separated values, with a comma inside double quotes";
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut piece = String::new();
            let mut letters = quoted.char_indices();
            let end = loop {
                match letters.next().ok_or(EXPECTED)? {
                    (at, '"') if quoted[at + 1..].starts_with('"') => {
                        piece.push('"');
                        letters.next();
                    }
                    (at, '"') => break at + 1,
                    (_, letter) => piece.push(letter),
                }
            };
            pieces.push(piece);
            rest = match &quoted[end..] {
                "" => return Ok(pieces),
                behind => behind.strip_prefix(',').ok_or(EXPECTED)?,
            };
            continue;
        }
        let (piece, behind) = match rest.split_once(',') {
            Some((piece, behind)) => (piece, Some(behind)),
            None => (rest, None),
        };
        if piece.contains('"') {
            return Err(EXPECTED);
        }
        pieces.push(piece.to_owned());
        match behind {
            Some(behind) => rest = behind,
            None => return Ok(pieces),
        }
    }
}

/// A boolean as Go's strconv.ParseBool reads it.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Bytes as docker/go-units' RAMInBytes reads them: `64m`, `1.5GiB`, `1 k`, `1e3`; units of 1024.
pub fn bytes(text: &str) -> Option<u64> {
    let end = text.rfind(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == ' ')?;
    let (number, suffix) = (&text[..end + 1], text[end + 1..].to_ascii_lowercase());
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().ok()?;
    let (unit, rest) = match suffix.chars().next() {
        None => ("", ""),
        Some('b') => ("", &suffix[1..]),
        Some(letter) => (&suffix[..letter.len_utf8()], &suffix[letter.len_utf8()..]),
    };
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit)?;
    let well_ended = if unit.is_empty() { rest.is_empty() } else { ["", "b", "ib"].contains(&rest) };
    let value = number * 1024_f64.powi(i32::try_from(power).ok()?);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range by the test before it"
    )]
    (well_ended && (0.0..9.2e18).contains(&value)).then_some(value as u64)
}

/// A capability's full name: case and the prefix `CAP_` do not matter (moby's NormalizeLegacyCapabilities); `ALL` stays.
pub fn capability(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    if upper == "ALL" {
        return Some(upper);
    }
    let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    Capability::from_name(&name).map(|known| known.to_string())
}

/// Whether a user is certainly root, or certainly not; names other than `root` are the image's to resolve. Numbers are read as
/// Go's strconv.Atoi does, so `+0` and `-0` are root, too.
pub fn is_root(user: &str) -> Option<bool> {
    match user.split(':').next().unwrap_or_default() {
        "" => None,
        "root" => Some(true),
        name => name.parse::<i64>().ok().map(|id| id == 0),
    }
}

/// What `--security-opt` says: `KEY=VALUE`, or with `:`; `None` where it has no value and needs one.
pub fn security_option(text: &str) -> Option<(&str, Option<&str>)> {
    match text.split_once('=').or_else(|| text.split_once(':')) {
        Some((key, value)) => Some((key, Some(value))),
        // The second is nerdctl's.
        None if ["no-new-privileges", "privileged-without-host-devices"].contains(&text) => {
            Some((text, None))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_as_encoding_csv() {
        let pieces = |text| csv(text).map(|pieces| pieces.join("|"));
        assert_eq!(pieces("a,b"), Ok("a|b".to_owned()));
        assert_eq!(pieces("a,\"b,c\",d"), Ok("a|b,c|d".to_owned()));
        assert_eq!(pieces("\"a\"\"b\""), Ok("a\"b".to_owned()));
        assert_eq!(pieces("a,"), Ok("a|".to_owned()));
        for bad in ["a\"b", "\"a", "\"a\"b"] {
            assert!(csv(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_as_go_units() {
        for (text, expected) in [
            ("64m", Some(64 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("1p", Some(1 << 50)),
            ("1e3", Some(1000)),
            ("1 k", Some(1024)),
            ("7", Some(7)),
            ("7b", Some(7)),
            ("7kb", Some(7168)),
            ("0", Some(0)),
            ("1e3k", Some(1_024_000)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1bb", None),
            ("1ki", None),
            ("-1", None),
            ("1mm", None),
            ("1kib2", None),
            ("inf", None),
            ("1e30", None),
            ("1  k", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn users_as_atoi() {
        for (text, expected) in [
            ("0", Some(true)),
            ("+0", Some(true)),
            ("-0", Some(true)),
            ("00:5", Some(true)),
            ("root", Some(true)),
            ("1000", Some(false)),
            ("", None),
            (":0", None),
            ("app", None),
            ("0x0", None),
        ] {
            assert_eq!(is_root(text), expected, "{text:?}");
        }
    }
}

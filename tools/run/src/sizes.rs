//! Numbers as Docker writes them (github.com/docker/go-units, docker/cli `opts`).

use anyhow::{Context, Result, anyhow, bail};

/// A size in bytes: `64m`, `1.5g`, `2kb`, `512`. Units are powers of 1024, in either case.
///
/// # Errors
/// Not a number, negative, or a unit that is none of `b`, `k`, `m`, `g`, `t`, `p`.
pub(crate) fn bytes(text: &str) -> Result<u64> {
    let split = text.rfind(|c: char| c.is_ascii_digit() || c == '.').map_or(0, |at| at + 1);
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit == "ib" => None,
        "" => Some(0),
        "k" => Some(10),
        "m" => Some(20),
        "g" => Some(30),
        "t" => Some(40),
        "p" => Some(50),
        _ => None,
    };
    let Some(power) = power.filter(|_| !number.is_empty()) else {
        if number.is_empty() {
            bail!("found {text:?}, expected a size such as 64m or 1.5g");
        }
        bail!("unknown unit {unit:?}; the units are b, k, m, g, t and p (powers of 1024), as in 64m");
    };
    let fixed = Decimal::parse(number)
        .ok_or_else(|| anyhow!("found {text:?}, expected a size of at least 0 such as 64m or 1.5g"))?;
    fixed.times(1 << power).with_context(|| format!("{text:?} is too large"))
}

/// A size in bytes, or `-1` for no limit.
///
/// # Errors
/// As [`bytes`].
pub(crate) fn bytes_or_unlimited(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    i64::try_from(bytes(text)?).with_context(|| format!("{text:?} is too large"))
}

/// CPUs in billionths: `1.5` is 1,500,000,000.
///
/// # Errors
/// Not a decimal number, negative, or finer than a billionth.
pub(crate) fn nano_cpus(text: &str) -> Result<u64> {
    let decimal = Decimal::parse(text)
        .ok_or_else(|| anyhow!("found {text:?}, expected a number of CPUs such as 0.5 or 2"))?;
    if decimal.fraction.trim_end_matches('0').len() > 9 {
        bail!("{text:?} is too precise, a billionth of a CPU is the finest");
    }
    decimal.times(1_000_000_000).with_context(|| format!("{text:?} is too large"))
}

/// A whole number within a range, ends included.
///
/// # Errors
/// Not a whole number, or outside.
pub(crate) fn whole(text: &str, low: i64, high: i64) -> Result<i64> {
    let number: i64 = text.parse().map_err(|_| anyhow!("found {text:?}, expected a whole number"))?;
    if !(low..=high).contains(&number) {
        if high == i64::MAX {
            bail!("found {number}, expected at least {low}");
        }
        bail!("found {number}, expected {low} to {high}");
    }
    Ok(number)
}

/// `1`, `t`, `true`, `0`, … as Go's strconv.ParseBool takes them.
///
/// # Errors
/// Another word.
pub(crate) fn boolean(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => bail!("found {text:?}, expected true or false"),
    }
}

/// A decimal number without a sign, kept exactly: binary floating point would turn `0.07` CPUs into 69,999,999 billionths.
struct Decimal<'a> {
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let any = !whole.is_empty() || !fraction.is_empty();
        (any && digits(whole) && digits(fraction)).then_some(Decimal { whole, fraction })
    }

    /// `self * factor`, rounded down; `None` above `i64::MAX`, which is all that the kernel's files take.
    fn times(&self, factor: u64) -> Option<u64> {
        let whole: u128 = if self.whole.is_empty() { 0 } else { self.whole.parse().ok()? };
        // 18 digits keep 10^18 * 2^50 within u128.
        let kept = &self.fraction[..self.fraction.len().min(18)];
        let numerator: u128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
        let denominator = 10u128.pow(u32::try_from(kept.len()).ok()?);
        let factor = u128::from(factor);
        let total = whole.checked_mul(factor)?.checked_add(numerator * factor / denominator)?;
        u64::try_from(total).ok().filter(|n| i64::try_from(*n).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_go_units() {
        for (text, expected) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32K", 32 << 10),
            ("32kb", 32 << 10),
            ("32KiB", 32 << 10),
            ("32 kb", 32 << 10),
            ("32Mb", 32 << 20),
            ("32g", 32 << 30),
            ("32Tb", 32 << 40),
            ("3p", 3 << 50),
            ("32.3kb", 33075),
            ("0.5m", 524_288),
            (".5k", 512),
            ("1.k", 1024),
        ] {
            assert_eq!(bytes(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn bad_sizes_say_what_is_expected() {
        for (text, message) in [
            ("", "expected a size"),
            ("hello", "expected a size"),
            ("-32", "expected a size of at least 0"),
            ("m", "expected a size"),
            ("32q", "unknown unit \"q\"; the units are b, k, m, g, t and p"),
            ("32mm", "unknown unit \"mm\""),
            ("32bb", "unknown unit \"bb\""),
            ("32ib", "unknown unit \"ib\""),
            ("1.2.3m", "expected a size"),
            ("9999999p", "too large"),
            ("1e3", "expected a size"),
        ] {
            let error = bytes(text).expect_err(text).to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn cpus_are_exact() {
        assert_eq!(nano_cpus("1.5").unwrap(), 1_500_000_000);
        assert_eq!(nano_cpus("0.07").unwrap(), 70_000_000);
        assert_eq!(nano_cpus("2").unwrap(), 2_000_000_000);
        assert_eq!(nano_cpus("0.000000001").unwrap(), 1);
        assert_eq!(nano_cpus("1.5000000000000").unwrap(), 1_500_000_000);
        for bad in ["", "-1", "x", "0.0000000001", "1,5"] {
            assert!(nano_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_are_named() {
        assert_eq!(whole("1000", 1000, 1_000_000).unwrap(), 1000);
        assert!(whole("999", 1000, 1_000_000).unwrap_err().to_string().contains("1000 to 1000000"));
        assert!(whole("0", 1, i64::MAX).unwrap_err().to_string().contains("at least 1"));
        assert!(whole("many", 0, 1).is_err());
    }

    #[test]
    fn unlimited_is_minus_one() {
        assert_eq!(bytes_or_unlimited("-1").unwrap(), -1);
        assert_eq!(bytes_or_unlimited("1k").unwrap(), 1024);
        assert!(bytes_or_unlimited("-2").is_err());
    }
}

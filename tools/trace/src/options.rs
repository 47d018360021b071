//! Values of options that `plim trace` and `plim run --trace` share.

use std::time::Duration;

use crate::cause::Kind;

/// Reads a kind of cause.
///
/// # Errors
/// Another word, with the ones there are.
pub fn kind(text: &str) -> Result<Kind, String> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("expected one of {}", all.join(", "))
    })
}

/// Reads the name of a system call.
///
/// # Errors
/// A name that no architecture has, with the nearest.
pub fn syscall(text: &str) -> Result<String, String> {
    if plim_seccomp::syscalls::is_known(text) {
        return Ok(text.to_owned());
    }
    Err(match plim_seccomp::syscalls::nearest(text) {
        Some(nearest) => format!("no system call is called so; nearest: {nearest}"),
        None => "no system call is called so".to_owned(),
    })
}

/// Reads a time: `500ms`, `10s` (or `10`), `5m`, `1h`.
///
/// # Errors
/// Another unit, or no number.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| expected(text))?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(|| expected(text))
}

fn expected(text: &str) -> String {
    format!("found {text:?}, expected a number with ms, s, m or h")
}

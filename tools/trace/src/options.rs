//! Values of options that `plim trace` and `plim run --trace` share.

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

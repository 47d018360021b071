//! The words of an [`Observed::Unknown`]: operation, errno by name, and the privilege that is missing.
//!
//! Pids are written `PID`, so that the same refusal reads the same for every target.

use std::time::Duration;

use nix::errno::Errno;
use plim_model::Observed;
use plim_model::capability::Capability;
use plim_model::parse::{ParseError, status};

/// Why one read of the kernel's text did not give a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// A system call was refused.
    Errno(Errno),
    /// There was more than the bound, which no honest kernel file has.
    TooLong(usize),
    /// There were more than are read, of what is counted.
    TooMany(usize),
    /// It was not read to its end in this time.
    TooSlow(Duration),
    /// The text did not have its documented shape.
    Shape(String),
}

impl ReadError {
    /// Whether the task is gone: ENOENT where its directory was, ESRCH in a directory that is held. Every other error,
    /// such as EMFILE, leaves it unknown.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, ReadError::Errno(Errno::ENOENT | Errno::ESRCH))
    }

    /// The reason, with the operation that was tried.
    pub(crate) fn during(self, operation: &str, needs: Option<&str>) -> String {
        match self {
            ReadError::Errno(errno) => refusal(operation, errno, needs),
            ReadError::TooLong(limit) => format!("{operation}: more than the {limit} bytes that are read"),
            ReadError::TooMany(limit) => format!("{operation}: more than the {limit} that are read"),
            ReadError::TooSlow(limit) => format!("{operation}: not done within {} s", limit.as_secs_f32()),
            ReadError::Shape(problem) => format!("{operation}: {problem}"),
        }
    }
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        ReadError::Errno(errno)
    }
}

impl From<ParseError> for ReadError {
    fn from(error: ParseError) -> Self {
        ReadError::Shape(error.to_string())
    }
}

/// `EACCES (permission denied)`.
pub(crate) fn errno_text(errno: Errno) -> String {
    format!("{errno:?} ({})", errno.desc().to_lowercase())
}

/// The errno by name as the cause of an error.
pub(crate) fn cause(errno: Errno) -> std::io::Error {
    std::io::Error::new(std::io::Error::from(errno).kind(), errno_text(errno))
}

/// The reason for a refused operation, with the capability that would allow it when the errno is a refusal.
pub(crate) fn refusal(operation: &str, errno: Errno, needs: Option<&str>) -> String {
    match (errno, needs) {
        (Errno::EACCES | Errno::EPERM, Some(needs)) if is_held(needs) => format!(
            "{operation}: {}; {needs} is held here, so a security module or the target's user namespace refuses",
            errno_text(errno)
        ),
        (Errno::EACCES | Errno::EPERM, Some(needs)) => {
            format!("{operation}: {}; needs {needs}", errno_text(errno))
        }
        _ => format!("{operation}: {}", errno_text(errno)),
    }
}

/// Whether the calling thread has the capability that `needs` begins with: naming it would send the reader astray.
fn is_held(needs: &str) -> bool {
    let capability = needs.split(' ').next().and_then(Capability::from_name);
    let own = std::fs::read_to_string("/proc/thread-self/status").ok();
    let own = own.and_then(|text| status::parse(&text).ok());
    matches!((capability, own), (Some(capability), Some(own)) if own.capabilities.effective.contains(capability))
}

/// Turns a read into an observation: ENOENT is a feature that this kernel does not have, the rest is not known.
pub(crate) fn observed<T>(operation: &str, needs: Option<&str>, result: Result<T, ReadError>) -> Observed<T> {
    match result {
        Ok(value) => Observed::Present(value),
        Err(ReadError::Errno(Errno::ENOENT)) => Observed::Absent,
        Err(error) => Observed::Unknown(error.during(operation, needs)),
    }
}

/// The capability that passes the kernel's PTRACE_MODE_READ check (ptrace(2)).
pub(crate) const PTRACE: Option<&str> = Some("CAP_SYS_PTRACE");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_absent_and_a_refusal_is_unknown_with_its_reason() {
        assert_eq!(observed::<()>("read x", PTRACE, Err(Errno::ENOENT.into())), Observed::Absent);
        assert_eq!(
            observed::<()>("read x", Some("CAP_63"), Err(Errno::EACCES.into())),
            Observed::Unknown("read x: EACCES (permission denied); needs CAP_63".to_owned())
        );
        assert_eq!(
            observed::<()>("read x", PTRACE, Err(Errno::EIO.into())),
            Observed::Unknown("read x: EIO (i/o error)".to_owned())
        );
    }
}

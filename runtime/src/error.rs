//! What can go wrong while a container is made, run and cleared away.

use nix::errno::Errno;

/// An errno by name and in words: `EPERM (Operation not permitted)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrnoText(pub i32);

impl std::fmt::Display for ErrnoText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let errno = Errno::from_raw(self.0);
        match errno {
            Errno::UnknownErrno => write!(f, "errno {}", self.0),
            known => write!(f, "{known:?} ({})", known.desc()),
        }
    }
}

/// A container could not be made, started or awaited. Everything that was made for it is gone when this is returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// A system call failed.
    #[error("{operation}: {}", ErrnoText(*errno))]
    System {
        /// What was being done, with decoded arguments.
        operation: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// Something asked for cannot be had, and starting without it would be weaker than asked.
    #[error("{operation}: {why}")]
    Refused {
        /// What was being done.
        operation: String,
        /// Why not, with the capability or kernel version that is missing when that is known.
        why: String,
    },
    /// Another running container has this name.
    #[error("name {name:?} is in use by container {id}")]
    NameInUse {
        /// The name asked for.
        name: String,
        /// The container that has it.
        id: String,
    },
    /// The command is not in the container (exit status 127).
    #[error("run {command:?} in the container: {why}")]
    CommandNotFound {
        /// `args[0]`.
        command: String,
        /// Where it was looked for.
        why: String,
    },
    /// The command is there but cannot be executed (exit status 126).
    #[error("run {command:?} in the container: {why}")]
    CommandNotExecutable {
        /// `args[0]`.
        command: String,
        /// Permission, format, or a refusal of ours.
        why: String,
    },
    /// The container's first process ended before the command was started, without a word.
    #[error("{operation}: the container's first process ended early ({ended})")]
    EndedEarly {
        /// What the launcher was waiting for.
        operation: String,
        /// How it ended.
        ended: String,
    },
    /// A signal asked the launcher to stop before the command was started.
    #[error("interrupted by signal {signal} before the command was started")]
    Interrupted {
        /// The signal's number.
        signal: i32,
    },
}

/// Short for results of this crate.
pub type Result<T, E = RuntimeError> = std::result::Result<T, E>;

impl RuntimeError {
    /// The exit status that `docker run` gives: 127 not found, 126 not executable, 128+n interrupted, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            RuntimeError::CommandNotFound { .. } => 127,
            RuntimeError::CommandNotExecutable { .. } => 126,
            RuntimeError::Interrupted { signal } => u8::try_from(128 + signal).unwrap_or(125),
            _ => 125,
        }
    }

    pub(crate) fn refused(operation: impl Into<String>, why: impl Into<String>) -> RuntimeError {
        RuntimeError::Refused { operation: operation.into(), why: why.into() }
    }

    /// As bytes for the pipe from the container to its launcher; the inverse of [`RuntimeError::from_wire`].
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let (kind, number, first, second) = match self {
            RuntimeError::System { operation, errno } => (b's', *errno, operation.as_str(), ""),
            RuntimeError::CommandNotFound { command, why } => (b'n', 0, command.as_str(), why.as_str()),
            RuntimeError::CommandNotExecutable { command, why } => (b'x', 0, command.as_str(), why.as_str()),
            RuntimeError::Refused { operation, why } => (b'r', 0, operation.as_str(), why.as_str()),
            // The others are the launcher's own; a child does not make them.
            other => return RuntimeError::refused("start the container", other.to_string()).to_wire(),
        };
        let mut wire = vec![kind];
        wire.extend_from_slice(&number.to_le_bytes());
        wire.extend_from_slice(first.as_bytes());
        wire.push(0);
        wire.extend_from_slice(second.as_bytes());
        wire
    }

    /// Reads what a child sent. `None` when it is not the form of [`RuntimeError::to_wire`].
    pub(crate) fn from_wire(wire: &[u8]) -> Option<RuntimeError> {
        let (&kind, rest) = wire.split_first()?;
        let (number, text) = rest.split_first_chunk::<4>()?;
        let end = text.iter().position(|&byte| byte == 0)?;
        let first = String::from_utf8_lossy(&text[..end]).into_owned();
        let second = String::from_utf8_lossy(&text[end + 1..]).into_owned();
        Some(match kind {
            b's' => RuntimeError::System { operation: first, errno: i32::from_le_bytes(*number) },
            b'n' => RuntimeError::CommandNotFound { command: first, why: second },
            b'x' => RuntimeError::CommandNotExecutable { command: first, why: second },
            b'r' => RuntimeError::Refused { operation: first, why: second },
            _ => return None,
        })
    }
}

/// Says what was being done when a call failed.
pub(crate) trait During<T> {
    /// Wraps the error with the operation; the closure runs only on failure.
    fn during<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T>;
}

impl<T> During<T> for nix::Result<T> {
    fn during<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| RuntimeError::System { operation: operation().into(), errno: errno as i32 })
    }
}

impl<T> During<T> for std::io::Result<T> {
    fn during<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => RuntimeError::System { operation: operation().into(), errno },
            None => RuntimeError::refused(operation(), error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_survive_the_pipe() {
        for error in [
            RuntimeError::System { operation: "mount proc on /proc".into(), errno: 1 },
            RuntimeError::refused("a", "b"),
            RuntimeError::CommandNotFound { command: "x".into(), why: "not in PATH".into() },
            RuntimeError::CommandNotExecutable { command: "x".into(), why: String::new() },
        ] {
            assert_eq!(RuntimeError::from_wire(&error.to_wire()), Some(error));
        }
        assert_eq!(RuntimeError::from_wire(b"s"), None);
        assert_eq!(RuntimeError::from_wire(b""), None);
    }

    #[test]
    fn errno_is_named_and_worded() {
        assert_eq!(ErrnoText(1).to_string(), "EPERM (Operation not permitted)");
    }
}

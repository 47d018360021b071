//! Exit statuses. `plim run` and `plim exec` return the command's own instead.

/// Clean, the same, or the claim holds.
pub const CLEAN: u8 = 0;
/// Differences, findings at or above the threshold, or a claim that does not hold.
pub const DIFFERENT: u8 = 1;
/// Usage or bad input.
pub const USAGE: u8 = 2;
/// Something could not be observed: never reported as a pass.
pub const UNOBSERVABLE: u8 = 3;
/// What a shell reports for a process that SIGPIPE ended (128 + 13).
pub const BROKEN_PIPE: u8 = 141;

/// An error that ends the tool with a status of its own; any other error ends it with [`USAGE`].
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// What happened, with its causes.
    pub error: anyhow::Error,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Failure {}

/// Gives the error of a result its exit status.
pub trait OrStatus<T> {
    /// `result.or_status(exit::UNOBSERVABLE)?`.
    fn or_status(self, status: u8) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrStatus<T> for Result<T, E> {
    fn or_status(self, status: u8) -> Result<T, Failure> {
        self.map_err(|error| Failure { status, error: error.into() })
    }
}

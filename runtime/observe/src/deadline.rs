//! A bound on the time that one target may take.
//!
//! Every read of a target goes through a [`Deadline`], so that a container that makes the kernel's files long or slow
//! to write costs its own facts and not those of other targets.

use std::time::{Duration, Instant};

use crate::why::ReadError;

/// How long all of one target may take: some 100 µs a thread, for as many threads as are read.
const TARGET: Duration = Duration::from_secs(10);

/// A point in time after which nothing more is read, and how long it was from the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    end: Instant,
    whole: Duration,
}

impl Deadline {
    /// The time for a whole target, from now on.
    pub(crate) fn for_target() -> Deadline {
        Deadline::after(TARGET)
    }

    /// So long from now on.
    pub(crate) fn after(whole: Duration) -> Deadline {
        Deadline { end: Instant::now() + whole, whole }
    }

    /// At most `part` from now on, so that one slow read leaves time for the others.
    pub(crate) fn part(self, part: Duration) -> Deadline {
        let own = Deadline::after(part);
        if own.end < self.end { own } else { self }
    }

    /// What is left of it.
    pub(crate) fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// An error once it has passed.
    pub(crate) fn check(self) -> Result<(), ReadError> {
        if self.left().is_zero() { Err(ReadError::TooSlow(self.whole)) } else { Ok(()) }
    }
}

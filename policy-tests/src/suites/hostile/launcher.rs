//! Attempts to run, read or write the host's `plim-run` from a container.

use crate::Suite;

/// The promise.
pub const SUITE: Suite = Suite { promise: "hostile", tests: &[] };

//! What the default root file system shows of the host, and what its programs can do.

use crate::Suite;

/// The promise.
pub const SUITE: Suite = Suite { promise: "hostile", tests: &[] };

//! What a tool of ours can still do after it has confined itself.

use crate::Suite;

/// The promise.
pub const SUITE: Suite = Suite { promise: "hostile", tests: &[] };

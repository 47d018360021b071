//! Containers that hide refused calls from the tracer, or starve it.

use crate::Suite;

/// The promise.
pub const SUITE: Suite = Suite { promise: "hostile", tests: &[] };

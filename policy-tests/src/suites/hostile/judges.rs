//! Filters, profiles and manifests built to hold up the tools that judge them.

use crate::Suite;

/// The promise.
pub const SUITE: Suite = Suite { promise: "hostile", tests: &[] };

//! Busy hosts and containers that hinder the tools that inspect them.

use crate::Suite;

/// The promise.
pub const SUITE: Suite = Suite { promise: "hostile", tests: &[] };

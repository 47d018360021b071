//! Ends the work on diagrams when the time of a command is up.
//!
//! This crate has no clock. A program that has one sets this, from a signal handler too; from then on every operation in every store is
//! [`Undecided`](super::Undecided), and what is decided already stays so.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Makes every operation on diagrams in this process [`Undecided`](super::Undecided) from now on. Safe in a signal handler.
pub fn interrupt() {
    REQUESTED.store(true, Ordering::Relaxed);
}

pub(super) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

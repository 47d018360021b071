//! The end-to-end suite: what a container is promised, tested against the live kernel, under more than one launcher.
//!
//! A [`Test`] belongs to a promise, says what it needs and which deliberate weakenings must make it fail. It talks to a
//! [`Ctx`], which runs a [`spec::Case`] (an OCI config and a root file system) under a [`launcher::Launcher`]: `plim`,
//! `runc`, or either with one [`weaken::Weakening`]. Inside the container the static `plim-witness` looks around.
//! Nothing here needs cargo at run time, so the whole suite also runs in a VM's initramfs.

pub mod attached;
pub mod attempts;
pub mod bench;
pub mod bench_seccomp;
pub mod bench_trace;
pub mod cli;
pub mod dockerd;
pub mod expect;
pub mod host;
pub mod inventory;
pub mod launcher;
pub mod needs;
pub mod process;
pub mod runner;
pub mod spec;
pub mod suites;
pub mod sys;
pub mod weaken;

use anyhow::{Result, bail};
pub use launcher::{Ctx, Outcome, Running};
pub use needs::Need;
pub use spec::Case;
pub use weaken::Weakening;

/// Ends a test that hangs; nothing that is waited for takes a tenth of it, on a busy machine too.
pub const HANG_GUARD: std::time::Duration = std::time::Duration::from_secs(30);

/// One test of one promise.
#[derive(Clone, Copy)]
pub struct Test {
    /// `promise/name`; the promise is the suite's.
    pub name: &'static str,
    /// What holds when it passes, as a sentence.
    pub says: &'static str,
    /// What the machine and launcher must have; when one is missing the test is skipped and says which.
    pub needs: &'static [Need],
    /// Weakenings under which this test must fail.
    pub red_under: &'static [Weakening],
    /// The test itself; an error is a broken promise.
    pub run: fn(&Ctx) -> Result<()>,
}

/// A named group of tests.
pub struct Suite {
    /// The promise.
    pub promise: &'static str,
    /// Its tests, in the order in which they run.
    pub tests: &'static [Test],
}

/// Fails with both values when `got` is not `want`.
///
/// # Errors
/// When they differ.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Result<()> {
    if got == want { Ok(()) } else { bail!("{what}: got {got:?}, expected {want:?}") }
}

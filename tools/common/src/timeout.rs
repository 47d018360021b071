//! A bound on the time of a whole command, behind the budgets of its parts.
//!
//! What is worked out on decision diagrams has a budget of steps ([`plim_seccomp::diagram`]), which gives the same answer on every
//! machine. This is what is left when a command has many such questions, or spends its time elsewhere: it is not in time what others
//! wait for, and what it did not find out is not known.

use anyhow::Context;

use crate::exit;

/// Most seconds for what is decided by then to be written.
const GRACE: u32 = 10;

/// The flag of every tool that judges.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct TimeoutArgs {
    /// Report what is undecided after SECONDS as such; 0 for no limit
    ///
    /// Exit status 3 where something is undecided for that reason.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(..=604_800))]
    timeout: u32,
}

impl TimeoutArgs {
    /// Starts to count. Call it before this process confines itself: the filter does not list setitimer(2).
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn start(self) -> anyhow::Result<()> {
        if self.timeout == 0 {
            return Ok(());
        }
        let words = "undecided: the time of the command is up (--timeout SECONDS allows more)\n";
        crate::sys::end_after(self.timeout, self.timeout.min(GRACE), exit::UNOBSERVABLE, words)
            .context("set a timer (--timeout 0 goes on without)")
    }
}

//! SIGINT, SIGTERM and SIGHUP, taken as a request to end: what runs is ended first, and what was found is kept.

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The request. Once it was made it stays.
#[derive(Debug)]
pub struct Stop {
    signals: SignalFd,
    asked: std::cell::Cell<bool>,
}

impl Stop {
    /// Blocks the signals; children that are executed get them as ever.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new() -> Result<Stop> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().context("block signals")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&signals, flags).context("make a signalfd")?;
        Ok(Stop { signals, asked: std::cell::Cell::new(false) })
    }

    /// Whether one of the signals came.
    pub fn asked(&self) -> bool {
        if matches!(self.signals.read_signal(), Ok(Some(_))) {
            self.asked.set(true);
        }
        self.asked.get()
    }
}

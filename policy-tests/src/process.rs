//! Programs of this machine that a test starts.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::sys;

/// A daemon or container that ends with the test: asked first, then made to.
pub struct Ended(pub Child);

impl Ended {
    /// Waits until it has ended by itself, at most so long.
    pub fn within(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) {
            if start.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            sys::kill(i32::try_from(self.0.id()).unwrap_or(0), libc::SIGTERM);
            self.within(Duration::from_secs(15));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The output of a command that must succeed.
///
/// # Errors
/// It cannot be started, or fails; with what it said.
pub fn must(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} ended with {:?}: {said}", output.status.code());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Tries until it works, at most so long.
///
/// # Errors
/// That of the last try.
pub fn until<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}

//! The output of a container that runs by itself (`docker run -d`): in its state directory, of bounded size.
//!
//! ```text
//! log.1    what came before, at most HALF_BYTES; not there at first
//! log      what came last
//! ```
//! A reader reads `log.1`, then `log`. The state directory is in memory on most hosts (/run), so the bound matters; and
//! it goes with the container, so the log is there as long as the container runs.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;

use crate::error::{During, Result};

/// The most that one of the two files holds.
pub(crate) const HALF_BYTES: u64 = 1 << 20;

/// The files of a log.
pub(crate) const FILES: [&str; 2] = ["log", "log.1"];

/// The log, written by the launcher alone.
#[derive(Debug)]
pub(crate) struct Log {
    directory: OwnedFd,
    file: File,
    written: u64,
}

impl Log {
    /// Makes the log in a state directory.
    pub(crate) fn new(directory: BorrowedFd<'_>) -> Result<Log> {
        let file = create(directory).during(|| "make the container's log")?;
        let directory =
            directory.try_clone_to_owned().during(|| "duplicate the state directory for the log")?;
        Ok(Log { directory, file, written: 0 })
    }

    fn turn_over(&mut self) -> std::io::Result<()> {
        renameat(&self.directory, FILES[0], &self.directory, FILES[1])?;
        self.file = create(self.directory.as_fd())?;
        self.written = 0;
        Ok(())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.written >= HALF_BYTES {
            self.turn_over()?;
        }
        let room = usize::try_from(HALF_BYTES - self.written).unwrap_or(bytes.len());
        let length = self.file.write(&bytes[..bytes.len().min(room)])?;
        self.written += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn create(directory: BorrowedFd<'_>) -> std::io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(directory, FILES[0], flags, Mode::from_bits_truncate(0o600))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_the_last_and_no_more_than_twice_its_half() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new(File::open(dir.path()).unwrap().as_fd()).unwrap();
        let line = [b'x'; 1000];
        for number in 0..5000u32 {
            log.write_all(&line).unwrap();
            log.write_all(&number.to_be_bytes()).unwrap();
        }
        let [current, before] = FILES.map(|name| std::fs::read(dir.path().join(name)).unwrap());
        assert!(current.len() as u64 <= HALF_BYTES && before.len() as u64 == HALF_BYTES);
        let all = [before, current].concat();
        assert!(all.ends_with(&4999u32.to_be_bytes()));
        // Nothing is missing between the two: whole records from the end backwards.
        for (index, record) in all.rchunks_exact(1004).take(1000).enumerate() {
            let number = 4999 - u32::try_from(index).unwrap();
            assert_eq!(record[1000..], number.to_be_bytes());
        }
    }
}

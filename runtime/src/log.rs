//! The output of a container that runs by itself (`docker run -d`): in its state directory, of bounded size.
//!
//! ```text
//! log.1    what came before, at most HALF_BYTES; not there at first
//! log      what came last
//! ```
//! A reader reads `log.1`, then `log`. The state directory is in memory on most hosts (/run), so the bound matters; and
//! it goes with the container, so the log is there as long as the container runs.

use std::fs::File;
use std::io::{Read as _, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::{During, Result};

/// The most that one of the two files holds.
pub(crate) const HALF_BYTES: u64 = 1 << 20;

/// The files of a log.
pub(crate) const FILES: [&str; 2] = ["log", "log.1"];

/// The log, written by the launcher alone.
#[derive(Debug)]
pub(crate) struct Log {
    directory: PathBuf,
    file: File,
    written: u64,
}

impl Log {
    /// Makes the log in a state directory.
    pub(crate) fn new(directory: &Path) -> Result<Log> {
        let path = directory.join(FILES[0]);
        let file = create(&path).during(|| format!("make {}", path.display()))?;
        Ok(Log { directory: directory.to_owned(), file, written: 0 })
    }

    fn turn_over(&mut self) -> std::io::Result<()> {
        let [current, before] = FILES.map(|name| self.directory.join(name));
        std::fs::rename(&current, before)?;
        self.file = create(&current)?;
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

fn create(path: &Path) -> std::io::Result<File> {
    File::options().create(true).write(true).truncate(true).mode(0o600).open(path)
}

/// Copies a pipe that the container writes to into its log.
#[derive(Debug)]
pub(crate) struct Collector {
    pipe: File,
    log: Log,
    open: bool,
}

impl Collector {
    /// A collector, and the end of its pipe that the container writes to.
    pub(crate) fn new(log: Log) -> Result<(Collector, OwnedFd)> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).during(|| "make a pipe for the log")?;
        // This end alone: another description than the container's.
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).during(|| "set up the pipe for the log")?;
        Ok((Collector { pipe: File::from(reader), log, open: true }, writer))
    }

    /// The log alone, when a terminal takes the place of the pipe.
    pub(crate) fn into_log(self) -> Log {
        self.log
    }

    /// What to poll, while somebody may still write.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.open.then(|| self.pipe.as_fd())
    }

    /// Copies what is there. Output that the log cannot take (its file system is full) is lost: the container is not
    /// stopped for it.
    pub(crate) fn copy(&mut self) {
        // A pipe's whole capacity and no more: one who writes without pause must not keep the launcher here.
        let mut buffer = [0; 64 * 1024];
        match self.pipe.read(&mut buffer) {
            Ok(0) => self.open = false,
            Ok(length) => {
                let _ = self.log.write_all(&buffer[..length]);
            }
            Err(error) => {
                let again = [Errno::EAGAIN as i32, Errno::EINTR as i32];
                self.open = error.raw_os_error().is_some_and(|errno| again.contains(&errno));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_the_last_and_no_more_than_twice_its_half() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new(dir.path()).unwrap();
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

    #[test]
    fn what_is_in_the_pipe_at_the_end_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (mut collector, writer) = Collector::new(Log::new(dir.path()).unwrap()).unwrap();
        collector.copy();
        assert!(collector.pipe().is_some(), "empty is not closed");
        let mut writer = File::from(writer);
        writer.write_all(&[b'y'; 40_000]).unwrap();
        drop(writer);
        collector.copy();
        collector.copy();
        assert!(collector.pipe().is_none());
        assert_eq!(std::fs::read(dir.path().join("log")).unwrap().len(), 40_000);
    }
}

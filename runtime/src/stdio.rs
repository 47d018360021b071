//! Where the container's standard streams go.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::error::{During, Result};
use crate::log::{Collector, Log};

/// One standard stream.
#[derive(Debug, Default)]
pub enum Stream {
    /// The launcher's own.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// This descriptor.
    Descriptor(OwnedFd),
    /// Copied by the launcher to the file `log` in the container's state directory, the last 1 to 2 MiB of it.
    Log,
}

/// The three standard streams. With a terminal (`process.terminal`) they are the pseudo-terminal instead, and
/// [`crate::Running::wait`] copies between it and the launcher's own streams; then only `stdin` is looked at: anything
/// but `Inherit` leaves the terminal without input.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

impl Stdio {
    /// All three inherited (`docker run -i`).
    pub fn inherit() -> Stdio {
        Stdio::default()
    }

    /// Output inherited, input from /dev/null (`docker run` without `-i`).
    pub fn without_input() -> Stdio {
        Stdio { stdin: Stream::Null, ..Stdio::default() }
    }

    /// The streams of a container that runs on by itself (`docker run -d`).
    pub fn detached() -> Stdio {
        Stdio { stdin: Stream::Null, stdout: Stream::Log, stderr: Stream::Log }
    }

    /// Whether a stream goes to the log.
    pub(crate) fn wants_log(&self) -> bool {
        [&self.stdin, &self.stdout, &self.stderr].into_iter().any(|stream| matches!(stream, Stream::Log))
    }

    /// Makes the log in the state directory and puts the pipe that leads there in the place of each [`Stream::Log`].
    pub(crate) fn open_log(&mut self, directory: &Path) -> Result<Collector> {
        let (collector, pipe) = Collector::new(Log::new(directory)?)?;
        for stream in [&mut self.stdin, &mut self.stdout, &mut self.stderr] {
            if matches!(stream, Stream::Log) {
                *stream = Stream::Descriptor(pipe.try_clone().during(|| "duplicate the pipe for the log")?);
            }
        }
        Ok(collector)
    }

    /// The numbers of the descriptors given.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = i32> {
        [&self.stdin, &self.stdout, &self.stderr].into_iter().filter_map(|stream| match stream {
            Stream::Descriptor(fd) => Some(fd.as_raw_fd()),
            _ => None,
        })
    }

    /// In the child: puts the streams on descriptors 0, 1 and 2.
    pub(crate) fn apply(&self) -> Result<()> {
        let streams = [(&self.stdin, 0, "stdin"), (&self.stdout, 1, "stdout"), (&self.stderr, 2, "stderr")];
        for (stream, number, name) in streams {
            let null;
            let source = match stream {
                Stream::Inherit | Stream::Log => continue,
                Stream::Null => {
                    let mut options = File::options();
                    null = options.read(true).write(true).open("/dev/null").during(|| "open /dev/null")?;
                    null.as_fd()
                }
                Stream::Descriptor(fd) => fd.as_fd(),
            };
            match number {
                0 => dup2_stdin(source),
                1 => dup2_stdout(source),
                _ => dup2_stderr(source),
            }
            .during(|| format!("connect {name}"))?;
        }
        Ok(())
    }
}

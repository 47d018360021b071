//! Where the container's standard streams lead.
//!
//! An open file of the caller's is more than a stream: whoever holds a terminal open can read what is typed, change its
//! modes and, with CAP_SYS_ADMIN, type into it; whoever holds a file open can read, truncate and chmod it. So the container
//! gets objects of its own, and threads of the launcher copy ([`crate::copy`]):
//!
//! | the caller's | the container's |
//! |---|---|
//! | pipe (pipe(2)) | the same pipe: it holds nothing but the stream |
//! | `/dev/null`, or closed | the container's own `/dev/null` |
//! | terminal, file, socket, FIFO in a file system, other device | a pipe of its own |
//!
//! Standard output and standard error that lead to one file share one pipe, so that their order is kept. With a terminal
//! (`process.terminal`) all three are the container's pseudo-terminal.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{FileStat, SFlag, fstat, makedev};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout};

use crate::copy::Sink;
use crate::error::{During, Result};
use crate::log::Log;
use crate::rootfs::dev;
use crate::rootfs::resolve::Root;

/// One standard stream.
#[derive(Debug, Default)]
pub enum Stream {
    /// The launcher's own, handed over or copied as the module's table says.
    #[default]
    Inherit,
    /// The container's `/dev/null`.
    Null,
    /// This descriptor, by the same table.
    Descriptor(OwnedFd),
    /// Copied by the launcher to the file `log` in the container's state directory, the last 1 to 2 MiB of it. An output.
    Log,
}

/// The three standard streams. With a terminal (`process.terminal`) [`crate::Running::wait`] copies between it and `stdin`
/// and `stdout`; a `stdin` of [`Stream::Null`] leaves it without input.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

/// What the child puts on one of the descriptors 0 to 2.
#[derive(Debug)]
pub(crate) enum Link {
    /// The container's own /dev/null.
    Null,
    /// The caller's pipe.
    Given(OwnedFd),
    /// A new pipe, whose other end goes to the launcher.
    Made,
    /// The same as standard output.
    AsStdout,
}

/// What the child puts on the descriptors 0 to 2.
#[derive(Debug)]
pub(crate) struct Links([Link; 3]);

/// What the launcher copies from and to.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: Option<Sink>,
    pub(crate) stderr: Option<Sink>,
}

/// A pipe of ours holds this much, so that bulk data needs few switches between the two sides; less where
/// /proc/sys/fs/pipe-user-pages-soft does not allow it. More leaves the processor's cache, and costs more.
const PIPE_BYTES: i32 = 256 << 10;

/// PIPEFS_MAGIC (include/uapi/linux/magic.h).
const PIPEFS_MAGIC: FsType = FsType(0x5049_5045);

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

    /// Decides what the child and the launcher do. `log` is called for the first output that goes there.
    pub(crate) fn decide(self, terminal: bool, log: impl Fn() -> Result<Log>) -> Result<(Links, Ends)> {
        let stdin = match open(self.stdin, std::io::stdin().as_fd())? {
            Opened::File(file) if terminal || kind(&file)? == Kind::Other => (Link::Made, Some(file)),
            Opened::File(file) => (hand_over(file)?, None),
            Opened::Null | Opened::Log => (Link::Null, None),
        };
        let stdout = output(open(self.stdout, std::io::stdout().as_fd())?, terminal, &log)?;
        let stderr = match open(self.stderr, std::io::stderr().as_fd())? {
            _ if terminal => (Link::AsStdout, None),
            opened if stdout.1.as_ref().is_some_and(|sink| leads_to(&opened, sink)) => (Link::AsStdout, None),
            opened => output(opened, false, &log)?,
        };
        Ok((
            Links([stdin.0, stdout.0, stderr.0]),
            Ends { stdin: stdin.1, stdout: stdout.1, stderr: stderr.1 },
        ))
    }
}

/// A [`Stream`] with its descriptor.
enum Opened {
    Null,
    Log,
    File(File),
}

fn open(stream: Stream, own: BorrowedFd<'_>) -> Result<Opened> {
    Ok(match stream {
        Stream::Null => Opened::Null,
        Stream::Log => Opened::Log,
        Stream::Descriptor(fd) => Opened::File(fd.into()),
        Stream::Inherit => match own.try_clone_to_owned() {
            Ok(fd) => Opened::File(fd.into()),
            // Closed.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => Opened::Null,
            Err(error) => return Err(error).during(|| "duplicate a standard stream"),
        },
    })
}

#[derive(PartialEq, Eq)]
enum Kind {
    Null,
    Pipe,
    Other,
}

fn look(file: &File) -> Result<FileStat> {
    fstat(file).during(|| "look at a standard stream")
}

fn kind(file: &File) -> Result<Kind> {
    let stat = look(file)?;
    Ok(match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFCHR if stat.st_rdev == makedev(1, 3) => Kind::Null,
        // One that has a name in a file system has an owner and a mode there.
        SFlag::S_IFIFO
            if fstatfs(file).during(|| "look at a standard stream")?.filesystem_type() == PIPEFS_MAGIC =>
        {
            Kind::Pipe
        }
        _ => Kind::Other,
    })
}

fn hand_over(file: File) -> Result<Link> {
    Ok(if kind(&file)? == Kind::Pipe { Link::Given(file.into()) } else { Link::Null })
}

fn output(opened: Opened, terminal: bool, log: &impl Fn() -> Result<Log>) -> Result<(Link, Option<Sink>)> {
    Ok(match opened {
        Opened::File(file) if terminal || kind(&file)? == Kind::Other => (Link::Made, Some(Sink::File(file))),
        Opened::File(file) => (hand_over(file)?, None),
        Opened::Null if terminal => {
            let null = File::options().write(true).open("/dev/null").during(|| "open /dev/null")?;
            (Link::Made, Some(Sink::File(null)))
        }
        Opened::Null => (Link::Null, None),
        Opened::Log => (Link::Made, Some(Sink::Log(log()?))),
    })
}

/// Whether both are the same file.
fn leads_to(opened: &Opened, sink: &Sink) -> bool {
    match (opened, sink) {
        (Opened::Log, Sink::Log(_)) => true,
        (Opened::File(one), Sink::File(other)) => {
            let same = |a: FileStat, b: FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
            look(one).is_ok_and(|one| look(other).is_ok_and(|other| same(one, other)))
        }
        _ => false,
    }
}

impl Links {
    /// The numbers of the caller's pipes.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = i32> {
        self.0.iter().filter_map(|link| match link {
            Link::Given(fd) => Some(fd.as_raw_fd()),
            _ => None,
        })
    }

    /// In the child, whose root has its /dev: puts the streams on descriptors 0, 1 and 2. Comes back with the launcher's ends
    /// of the pipes made, in this order. Made here, they belong to the root of a user namespace, which may then give them
    /// to `owner`: so the command may open /dev/stdout by its name.
    pub(crate) fn connect(&self, root: &Root, owner: Uid) -> Result<Vec<OwnedFd>> {
        let mut ends = Vec::new();
        for (number, link) in self.0.iter().enumerate() {
            match link {
                Link::Null => put(number, dev::open_null(root)?.as_fd())?,
                Link::Given(fd) => put(number, fd.as_fd())?,
                Link::AsStdout => put(number, std::io::stdout().as_fd())?,
                Link::Made => {
                    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)
                        .during(|| "make a pipe for a standard stream")?;
                    let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
                    if !owner.is_root() {
                        nix::unistd::fchown(&write, Some(owner), None)
                            .during(|| format!("give the pipe of a standard stream to user {owner}"))?;
                    }
                    let (ours, theirs) = if number == 0 { (read, write) } else { (write, read) };
                    put(number, ours.as_fd())?;
                    ends.push(theirs);
                }
            }
        }
        Ok(ends)
    }
}

fn put(number: usize, fd: BorrowedFd<'_>) -> Result<()> {
    match number {
        0 => dup2_stdin(fd),
        1 => dup2_stdout(fd),
        _ => dup2_stderr(fd),
    }
    .during(|| format!("connect {}", ["stdin", "stdout", "stderr"][number]))
}

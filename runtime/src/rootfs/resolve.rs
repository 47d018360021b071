//! Paths inside the container's root, and handles on procfs that nobody can swap.
//!
//! Every path of the container is resolved by the kernel with the container's root as `/` (openat2(2),
//! `RESOLVE_IN_ROOT`, Linux 5.6), so that neither `..` nor a symlink nor a magic link leads out. What comes back is an
//! `O_PATH` descriptor, and the mount is then made on that very file: a rename in between changes nothing.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, mkdirat};
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, fstatfs};

use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// The host's procfs as the child found it, verified to be procfs.
///
/// While the root is being built, `/proc/self/fd/N` under it is a trusted way to name a descriptor to mount(2).
#[derive(Debug)]
pub(crate) struct Procfs(OwnedFd);

impl Procfs {
    /// Opens `/proc` and verifies by its magic number that it is procfs (the class of CVE-2025-52881: a tmpfs in its
    /// place would swallow the writes of LSM labels and sysctls).
    pub(crate) fn open() -> Result<Procfs> {
        let fd = nix::fcntl::open(
            "/proc",
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .during(|| "open /proc")?;
        verify_file_system(fd.as_fd(), PROC_SUPER_MAGIC, "/proc", "procfs")?;
        Ok(Procfs(fd))
    }

    /// Opens a file of this procfs; no symlink, no magic link, no other mount on the way.
    pub(crate) fn open_file(&self, path: &str, flags: OFlag) -> Result<OwnedFd> {
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
        openat2(&self.0, path, how).during(|| format!("open /proc/{path}"))
    }

    /// Writes `value` to a file of the calling process (`/proc/PID/NAME` by its pid in this procfs).
    pub(crate) fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        let fd = self.open_file(path, OFlag::O_WRONLY)?;
        let written = nix::unistd::write(&fd, value)
            .during(|| format!("write {:?} to /proc/{path}", String::from_utf8_lossy(value)))?;
        if written != value.len() {
            return Err(RuntimeError::refused(
                format!("write {:?} to /proc/{path}", String::from_utf8_lossy(value)),
                format!("the kernel took {written} of {} bytes", value.len()),
            ));
        }
        Ok(())
    }

    /// The calling process in this procfs, by number: `self` is a symlink, which [`Procfs::open_file`] refuses.
    pub(crate) fn own_directory(&self) -> Result<String> {
        let link = nix::fcntl::readlinkat(&self.0, "self").during(|| "read the link /proc/self")?;
        Ok(link.to_string_lossy().into_owned())
    }
}

/// The name that mount(2) takes for a descriptor of ours.
pub(crate) fn descriptor_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Fails unless `fd` is on a file system with this magic number.
pub(crate) fn verify_file_system(fd: BorrowedFd<'_>, magic: FsType, path: &str, name: &str) -> Result<()> {
    let found = fstatfs(fd).during(|| format!("look at the file system of {path}"))?.filesystem_type();
    if found != magic {
        return Err(RuntimeError::refused(
            format!("open {path}"),
            format!("it is not on {name} (file system magic {:#x}, expected {:#x})", found.0, magic.0),
        ));
    }
    Ok(())
}

/// What to make where a path is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing: a missing path is an error.
    Error,
    /// A directory, with its parents.
    MakeDirectory,
    /// An empty file, with its parents.
    MakeFile,
}

/// The container's root directory while it is being built.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OwnedFd,
    /// Mounts below it that are part of the root file system itself (a layer over a separate /usr, a directory that
    /// starts empty), and not of the configuration.
    parts: Vec<OwnedFd>,
    /// What is mounted on /proc and on /sys, by the mounts themselves.
    kernels: Vec<(&'static str, OwnedFd)>,
}

/// Where the kernel shows itself.
const KERNELS: [&str; 2] = ["/proc", "/sys"];

impl Root {
    pub(crate) fn new(directory: OwnedFd) -> Root {
        Root { directory, parts: Vec::new(), kernels: Vec::new() }
    }

    /// Notes a mount as a part of the root file system: it gets read-only when the root does.
    pub(crate) fn add_part(&mut self, mount: OwnedFd) {
        self.parts.push(mount);
    }

    /// The mounts that make up the root file system.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(&self.directory).chain(&self.parts).map(AsFd::as_fd)
    }

    /// Notes what was just mounted on `destination`, when that is /proc or /sys; the last one counts.
    pub(crate) fn note(&mut self, destination: &str, mounted: OwnedFd) {
        if let Some(top) = kernel_top(destination) {
            self.kernels.retain(|(noted, _)| *noted != top);
            self.kernels.push((top, mounted));
        }
    }

    /// Opens a path to be covered, as `O_PATH`. What is below /proc and /sys is looked for on the very mount that was
    /// made there, and no symlink is followed: an image whose directories are renamed meanwhile moves no cover elsewhere
    /// (the class of CVE-2025-31133 and CVE-2025-52881).
    pub(crate) fn find(&self, path: &str) -> nix::Result<OwnedFd> {
        for (top, mount) in &self.kernels {
            let rest = path.strip_prefix(top).and_then(|rest| rest.strip_prefix('/'));
            if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                let more = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
                return open_below(mount.as_fd(), rest, more);
            }
        }
        let kernels = KERNELS.iter().any(|top| Path::new(path).starts_with(top));
        self.try_open(path, if kernels { ResolveFlag::RESOLVE_NO_SYMLINKS } else { ResolveFlag::empty() })
    }

    /// Fails unless what was mounted on /proc and /sys is what is found there now.
    pub(crate) fn check_kernels(&self) -> Result<()> {
        for (top, mount) in &self.kernels {
            let doing = || format!("look at {top} in the container");
            let found = self.try_open(top, ResolveFlag::RESOLVE_NO_SYMLINKS).during(doing)?;
            if sys::mount_id(found.as_fd()).during(doing)? != sys::mount_id(mount.as_fd()).during(doing)? {
                return Err(RuntimeError::refused(doing(), "what was mounted there is not visible"));
            }
        }
        Ok(())
    }

    /// What is mounted on /proc.
    pub(crate) fn proc(&self) -> Option<BorrowedFd<'_>> {
        self.kernels.iter().find(|(top, _)| *top == "/proc").map(|(_, mount)| mount.as_fd())
    }

    /// Opens `path` in the root as `O_PATH`. Symlinks are followed, but never out of the root.
    pub(crate) fn open(&self, path: &str, missing: Missing) -> Result<OwnedFd> {
        let opened = match self.try_open(path, ResolveFlag::empty()) {
            Err(Errno::ENOENT) if missing != Missing::Error => return self.make(path, missing),
            other => other,
        };
        opened.during(|| format!("open {path} in the root file system"))
    }

    /// Opens `path` and refuses any symlink on the way: for `/proc`, `/sys` and what is below them, where an image
    /// has no business to put one.
    pub(crate) fn open_no_symlinks(&self, path: &str, missing: Missing) -> Result<OwnedFd> {
        let opened = match self.try_open(path, ResolveFlag::RESOLVE_NO_SYMLINKS) {
            Err(Errno::ENOENT) if missing != Missing::Error => self.make(path, missing).and_then(|_| {
                self.try_open(path, ResolveFlag::RESOLVE_NO_SYMLINKS)
                    .during(|| format!("open {path} in the root file system"))
            })?,
            Err(Errno::ELOOP) => {
                return Err(RuntimeError::refused(
                    format!("open {path} in the root file system"),
                    "a symbolic link is in the way, and the runtime does not mount through links here",
                ));
            }
            other => other.during(|| format!("open {path} in the root file system"))?,
        };
        Ok(opened)
    }

    /// As [`Root::open`] with the plain errno, for callers to whom a missing path is no error.
    pub(crate) fn try_open(&self, path: &str, more: ResolveFlag) -> nix::Result<OwnedFd> {
        open_below(self.directory.as_fd(), path, ResolveFlag::RESOLVE_IN_ROOT | more)
    }

    /// Makes what is missing of `path`. Existing parts may be symlinks inside the root, new ones are never followed.
    fn make(&self, path: &str, missing: Missing) -> Result<OwnedFd> {
        let names: Vec<_> = Path::new(path)
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(Ok(name)),
                Component::ParentDir => Some(Err(RuntimeError::refused(
                    format!("make {path} in the root file system"),
                    "the path has `..` below something that does not exist",
                ))),
                _ => None,
            })
            .collect::<Result<_>>()?;
        let mut at = PathBuf::from("/");
        let mut parent = self.open("/", Missing::Error)?;
        for (index, name) in names.iter().enumerate() {
            at.push(name);
            let doing = || format!("make {} in the root file system", at.display());
            let last = index + 1 == names.len();
            match self.try_open(&at.to_string_lossy(), ResolveFlag::empty()) {
                Ok(found) => parent = found,
                Err(Errno::ENOENT) => {
                    if last && missing == Missing::MakeFile {
                        let how = OpenHow::new()
                            .flags(OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
                            .mode(Mode::from_bits_truncate(0o644))
                            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
                        openat2(&parent, *name, how).during(doing)?;
                    } else {
                        mkdirat(&parent, *name, Mode::from_bits_truncate(0o755)).during(doing)?;
                    }
                    let how = OpenHow::new()
                        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
                        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
                    parent = openat2(&parent, *name, how).during(doing)?;
                }
                Err(errno) => return Err(errno).during(doing),
            }
        }
        Ok(parent)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// `/proc` or `/sys`, when that is what the path means.
pub(crate) fn kernel_top(path: &str) -> Option<&'static str> {
    KERNELS.into_iter().find(|top| Path::new(path).components().eq(Path::new(top).components()))
}

fn open_below(directory: BorrowedFd<'_>, path: &str, more: ResolveFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS | more);
    // EAGAIN: something was renamed during the walk, the kernel cannot tell where `..` leads (openat2(2)).
    for _ in 0..64 {
        match openat2(directory, path, how) {
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

/// Whether `fd` is a directory.
pub(crate) fn is_directory(fd: BorrowedFd<'_>, path: &str) -> Result<bool> {
    let stat = nix::sys::stat::fstat(fd).during(|| format!("look at {path}"))?;
    Ok(SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR)
}

//! Arguments in memory on which a seccomp filter can decide.
//!
//! A filter sees registers, so of openat2(2) it does not see the flags and of renameat(2) not the names: they lie in memory, which
//! the caller can write. Here they lie in memory that is read-only, at the lowest address of the process. A filter that allows
//! exactly these addresses, and no call that would change what is mapped there, allows exactly these flags and names.
//!
//! Landlock (Linux 5.13) would see the files, but a process under it may not look behind /proc/PID/root and /proc/PID/ns of
//! processes outside its domain (security/landlock/task.c, `hook_ptrace_access_check`), which is what an observer is for.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};

use crate::sys::{self, Block, How};

const PATH: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NEXT: ResolveFlag = ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

/// Every way in which a file of a target is opened. None of them writes or creates.
const WAYS: [(OFlag, ResolveFlag); 2] = [(PATH, NEXT), (PATH, NEXT.union(ResolveFlag::RESOLVE_NO_XDEV))];

static PINNED: OnceLock<Pinned> = OnceLock::new();

/// What is pinned in this process.
#[derive(Debug)]
pub struct Pinned {
    block: &'static [How],
    names: Vec<&'static CStr>,
}

/// Pins every way in which [`open_beneath`] opens, and these names. Once in a process.
///
/// # Errors
/// `AlreadyExists` the second time; the names are too long; the memory is not to be had (vm.mmap_min_addr above 1 MiB).
pub fn pin(names: &[CString]) -> io::Result<&'static Pinned> {
    let block = Block::map()?;
    for (how, way) in block.hows.iter_mut().zip(WAYS) {
        *how = how_of(way);
    }
    let mut ends = Vec::new();
    let mut end = 0;
    for name in names {
        let bytes = name.as_bytes_with_nul();
        let room = block.names.get_mut(end..end + bytes.len());
        room.ok_or(io::ErrorKind::InvalidFilename)?.copy_from_slice(bytes);
        ends.push(end..end + bytes.len());
        end += bytes.len();
    }
    let block = block.seal()?;
    let names = ends.into_iter().filter_map(|range| CStr::from_bytes_with_nul(&block.names[range]).ok());
    let pinned = Pinned { block: &block.hows[..WAYS.len()], names: names.collect() };
    PINNED.set(pinned).map_err(|_| io::ErrorKind::AlreadyExists)?;
    PINNED.get().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// What was pinned, if anything was.
pub fn pinned() -> Option<&'static Pinned> {
    PINNED.get()
}

impl Pinned {
    /// The addresses of the arguments of openat2(2).
    pub fn ways(&self) -> impl Iterator<Item = u64> {
        self.block.iter().map(|how| std::ptr::from_ref(how) as u64)
    }

    /// The names, in the order in which they were given.
    pub fn names(&self) -> &[&'static CStr] {
        &self.names
    }

    /// The first address above what is pinned. Whatever changes a mapping that begins below could change what is pinned.
    pub fn end() -> u64 {
        (Block::ADDRESS + Block::SIZE) as u64
    }
}

/// The same name where it is pinned, or the name itself where it is not.
pub fn name(name: &CStr) -> Cow<'_, CStr> {
    let pinned = pinned().and_then(|pinned| pinned.names.iter().find(|known| **known == name));
    pinned.map_or(Cow::Borrowed(name), |known| Cow::Borrowed(*known))
}

/// openat2(2) (Linux 5.6), from pinned memory where these flags are pinned.
///
/// # Errors
/// openat2's; ENOSYS for flags that are not pinned in a process that confined itself.
pub fn open_beneath<P: ?Sized + nix::NixPath>(
    directory: impl AsFd,
    path: &P,
    flags: OFlag,
    resolve: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let way = (flags, resolve);
    let place = pinned().zip(WAYS.iter().position(|known| *known == way));
    let own = how_of(way);
    let how = place.map_or(&own, |(pinned, at)| &pinned.block[at]);
    path.with_nix_path(|path| sys::openat2(directory.as_fd(), path, how))?
}

fn how_of((flags, resolve): (OFlag, ResolveFlag)) -> How {
    How { flags: u64::from(flags.bits().cast_unsigned()), mode: 0, resolve: resolve.bits() }
}

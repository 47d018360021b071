//! The file that a refused call names, looked at from outside after the fact.
//!
//! The path is the container's word: it is followed beneath the process' own root, and never out of it.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlink};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};
use nix::sys::statvfs::{FsFlags, fstatvfs};

/// What is seen of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// The path as the process gave it, made absolute, escaped.
    pub path: String,
    /// The twelve mode bits.
    pub mode: u32,
    /// The owner, as the first user namespace numbers it.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// A regular file.
    pub regular: bool,
    /// A directory.
    pub directory: bool,
    /// `c 1:3` or `b 8:0`.
    pub device: Option<String>,
    /// Its mount is noexec.
    pub no_exec: bool,
    /// Its mount is nodev.
    pub no_device: bool,
    /// Its owner is not in the id map of the process.
    pub owner_unmapped: bool,
}

impl FileFacts {
    /// `/etc/shadow, mode 0640, owner 0:42`.
    pub fn words(&self) -> String {
        let kind = match (&self.device, self.directory) {
            (Some(device), _) => format!(", device {device}"),
            (None, true) => ", a directory".to_owned(),
            (None, false) => String::new(),
        };
        format!("{}{kind}, mode {:04o}, owner {}:{}", self.path, self.mode, self.uid, self.gid)
    }
}

/// A path as the process sees it, from its root; `directory` is the descriptor argument of an `…at` call. `None` when it is
/// relative and the process is gone.
pub fn absolute(pid: i32, directory: Option<i32>, path: &str) -> Option<String> {
    const AT_FDCWD: i32 = -100;
    if path.is_empty() || path.starts_with('/') {
        return (!path.is_empty()).then(|| path.to_owned());
    }
    let base = match directory {
        None | Some(AT_FDCWD) => format!("/proc/{pid}/cwd"),
        Some(fd) if fd >= 0 => format!("/proc/{pid}/fd/{fd}"),
        Some(_) => return None,
    };
    let base = readlink(base.as_str()).ok()?;
    Some(format!("{}/{path}", base.to_str()?.trim_end_matches('/')))
}

/// The root directory of a process; `None` when it is gone.
pub fn root(pid: i32) -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(format!("/proc/{pid}/root").as_str(), flags, Mode::empty()).ok()
}

/// Looks at an absolute path beneath `root`. `None` when the file cannot be looked at.
pub fn look(root: BorrowedFd<'_>, absolute: &str, mapped: impl Fn(u32) -> bool) -> Option<FileFacts> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // The nearest part of it that is there: the file itself, or the directory in which it was to be made.
    let mut at = absolute;
    let file = loop {
        match openat2(root, at, how) {
            Ok(file) => break file,
            Err(Errno::ENOENT) if at.len() > 1 => {
                let parent = at.trim_end_matches('/').rsplit_once('/')?.0;
                at = if parent.is_empty() { "/" } else { parent };
            }
            Err(_) => return None,
        }
    };
    let stat = fstat(&file).ok()?;
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    let mount = fstatvfs(&file).map(|mount| mount.flags()).unwrap_or(FsFlags::empty());
    let number = || format!("{}:{}", major(stat.st_rdev), minor(stat.st_rdev));
    Some(FileFacts {
        path: plim_model::text::escape(at),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        regular: kind == SFlag::S_IFREG,
        directory: kind == SFlag::S_IFDIR,
        device: match kind {
            SFlag::S_IFCHR => Some(format!("c {}", number())),
            SFlag::S_IFBLK => Some(format!("b {}", number())),
            _ => None,
        },
        no_exec: mount.contains(FsFlags::ST_NOEXEC),
        no_device: mount.contains(FsFlags::ST_NODEV),
        owner_unmapped: !mapped(stat.st_uid),
    })
}

//! The target's root file system. **Everything in it is hostile**: its owner chooses every name, symlink, file type,
//! mount and answer.
//!
//! Paths are resolved with openat2(2) (Linux 5.6) inside the root, never through a magic link; what is found is opened
//! O_PATH and looked at with fstat before anything is read, so that no fifo, device or socket is ever opened; lists are
//! bounded; and the caller runs it all under [`crate::deadline`].

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};

use crate::procdir::TaskDir;

/// Most entries that are read of one directory tree.
const MOST_ENTRIES: usize = 8192;
/// How deep a directory tree is followed: /dev/bus/usb/001 is three.
const DEEPEST: usize = 4;

/// A root directory.
pub(crate) struct Root(OwnedFd);

impl Root {
    /// The root of a task.
    pub(crate) fn of(task: &TaskDir) -> Result<Root, Errno> {
        task.root().map(Root)
    }

    /// Any directory taken as a root.
    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Root {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Root(nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty()).expect("a directory"))
    }

    /// What is at `path`, symlinks resolved inside the root.
    pub(crate) fn stat(&self, path: &str) -> Result<FileStat, Errno> {
        let fd = resolve(&self.0, Path::new(path), OFlag::O_PATH, ResolveFlag::RESOLVE_IN_ROOT)?;
        fstat(&fd)
    }

    /// Whether the directory at `path` has no entries.
    pub(crate) fn is_empty_directory(&self, path: &str) -> Result<bool, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK;
        let fd = resolve(&self.0, Path::new(path), flags, ResolveFlag::RESOLVE_IN_ROOT)?;
        let mut directory = Dir::from_fd(fd)?;
        for entry in directory.iter() {
            if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Every file below `path` on the same file system that is no directory, with its path below `path`; symlinks are
    /// told, not followed. `Ok(None)` when there are more than are read.
    pub(crate) fn tree(&self, path: &str) -> Result<Option<Vec<(String, FileStat)>>, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK;
        let top = resolve(&self.0, Path::new(path), flags, ResolveFlag::RESOLVE_IN_ROOT)?;
        let mut found = Vec::new();
        let mut seen = 0;
        let mut open = vec![(String::new(), top, 1)];
        while let Some((prefix, fd, depth)) = open.pop() {
            let mut directory = Dir::from_fd(fd)?;
            let mut names: Vec<CString> = Vec::new();
            for entry in directory.iter() {
                let entry = entry?;
                if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    continue;
                }
                seen += 1;
                if seen > MOST_ENTRIES {
                    return Ok(None);
                }
                names.push(entry.file_name().to_owned());
            }
            for name in names {
                let stat = match fstatat(&directory, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(Errno::ENOENT) => continue,
                    Err(errno) => return Err(errno),
                };
                let shown = format!("{prefix}{}", name.to_string_lossy());
                if kind(&stat) != SFlag::S_IFDIR {
                    found.push((shown, stat));
                } else if depth < DEEPEST {
                    let below = ResolveFlag::RESOLVE_BENEATH
                        | ResolveFlag::RESOLVE_NO_SYMLINKS
                        | ResolveFlag::RESOLVE_NO_XDEV;
                    match resolve(&directory, name.as_c_str(), flags, below) {
                        Ok(fd) => open.push((shown + "/", fd, depth + 1)),
                        // Another file system (/dev/pts, /dev/shm), or replaced meanwhile.
                        Err(Errno::EXDEV | Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR) => {}
                        Err(errno) => return Err(errno),
                    }
                }
            }
        }
        Ok(Some(found))
    }
}

/// The type bits of a file's mode.
pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// openat2 with the flags that everything here has. EAGAIN: a rename or mount raced with `..`; the kernel asks to try
/// again, which a hostile root could go on with for ever.
fn resolve<P: ?Sized + nix::NixPath>(
    directory: impl AsFd,
    path: &P,
    flags: OFlag,
    resolve: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let how =
        OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut last = Errno::EAGAIN;
    for _ in 0..32 {
        match openat2(directory.as_fd(), path, how) {
            Err(Errno::EAGAIN) => last = Errno::EAGAIN,
            other => return other,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn symlinks_stay_inside_the_root() {
        let top = tempfile::tempdir().expect("tempdir");
        std::fs::write(top.path().join("secret"), "outside").expect("write");
        let root = top.path().join("root");
        std::fs::create_dir_all(root.join("dir")).expect("mkdir");
        symlink("../secret", root.join("up")).expect("symlink");
        symlink(top.path().join("secret"), root.join("absolute")).expect("symlink");
        symlink("/", root.join("run")).expect("symlink");
        symlink("loop", root.join("loop")).expect("symlink");
        std::fs::write(root.join("inside"), "").expect("write");
        let root = Root::at(&root);
        assert_eq!(root.stat("/up").map(|_| ()), Err(Errno::ENOENT));
        assert_eq!(root.stat("/absolute").map(|_| ()), Err(Errno::ENOENT));
        assert_eq!(root.stat("/../../secret").map(|_| ()), Err(Errno::ENOENT));
        assert_eq!(root.stat("/loop").map(|_| ()), Err(Errno::ELOOP));
        // /run -> / is the root itself.
        assert!(root.stat("/run/run/inside").is_ok());
        assert_eq!(root.is_empty_directory("/dir"), Ok(true));
        assert_eq!(root.is_empty_directory("/run"), Ok(false));
    }

    #[test]
    fn magic_links_are_not_followed() {
        let root = Root::at(Path::new("/"));
        assert_eq!(root.stat("/proc/self/root/etc").map(|_| ()), Err(Errno::ELOOP));
    }

    #[test]
    fn a_tree_is_read_to_a_bound() {
        let top = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir_all(top.path().join("dev/a/b/c/d/e")).expect("mkdir");
        std::fs::write(top.path().join("dev/a/file"), "").expect("write");
        std::fs::write(top.path().join("dev/a/b/c/d/e/deep"), "").expect("write");
        symlink("/", top.path().join("dev/link")).expect("symlink");
        let root = Root::at(top.path());
        let mut names: Vec<String> =
            root.tree("/dev").expect("read").expect("few").into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, ["a/file", "link"]);
        for n in 0..=MOST_ENTRIES {
            std::fs::write(top.path().join(format!("dev/{n}")), "").expect("write");
        }
        assert!(root.tree("/dev").expect("read").is_none());
    }
}

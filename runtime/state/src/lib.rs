//! The state directory: where it is, whether it can be trusted, and which containers are in it. The runtime writes it, the
//! observers read it, and both find it here.
//!
//! A directory is trusted by what its descriptor shows (its owner, its mode), and everything in it is reached through that
//! descriptor without following a symbolic link. So a user who plants `/tmp/plim-1000`, or a root whose `XDG_RUNTIME_DIR` is
//! a user's, leads neither to other files nor to invented containers. Only names that the runtime gives are looked at.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::geteuid;

/// Mode of the directory and of each container's in it: not to be listed by other users, but to be passed, because the root
/// of a user namespace is one of them and mounts its upper layer there.
pub const MODE: Mode = Mode::from_bits_truncate(0o711);

const OPEN: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The state directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A system call failed.
    #[error("{operation} {}: {errno}", path.display())]
    System {
        /// A verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// It is there, and another user could have made it or could change it.
    #[error("use the state directory {}: {why}", path.display())]
    Untrusted {
        /// The directory, or the one that it is in.
        path: PathBuf,
        /// What was found, and what is expected.
        why: String,
    },
}

/// Where a user's state directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    parent: PathBuf,
    name: String,
    owner: u32,
}

/// Root's: `/run/plim`.
pub fn of_root() -> Place {
    Place { parent: "/run".into(), name: "plim".to_owned(), owner: 0 }
}

/// The calling user's: that of root; else `$XDG_RUNTIME_DIR/plim`; else `/tmp/plim-UID`.
pub fn own() -> Place {
    of_user(geteuid().as_raw(), std::env::var_os("XDG_RUNTIME_DIR"))
}

fn of_user(owner: u32, runtime_dir: Option<OsString>) -> Place {
    // Root's variable may be a user's: sudo and su keep it when they are asked to.
    if owner == 0 {
        return of_root();
    }
    match runtime_dir.map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(parent) => Place { parent, name: "plim".to_owned(), owner },
        None => Place { parent: "/tmp".into(), name: format!("plim-{owner}"), owner },
    }
}

impl Place {
    /// One of the calling user's in another directory, for tests.
    pub fn within(parent: &Path) -> Place {
        Place { parent: parent.to_owned(), name: "plim".to_owned(), owner: geteuid().as_raw() }
    }

    /// For people, and for mount(2).
    pub fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Opens the directory; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be opened, or not be trusted.
    pub fn open(&self) -> Result<Option<StateDirectory>, StateError> {
        let Some(parent) = self.open_parent()? else { return Ok(None) };
        self.open_in(parent.as_fd())
    }

    /// Opens the directory, which is made when there is none.
    ///
    /// # Errors
    /// It cannot be made or opened, or not be trusted.
    pub fn make(&self) -> Result<StateDirectory, StateError> {
        let missing = |path: PathBuf| StateError::System { operation: "open", path, errno: Errno::ENOENT };
        let parent = self.open_parent()?.ok_or_else(|| missing(self.parent.clone()))?;
        if let Some(found) = self.open_in(parent.as_fd())? {
            return Ok(found);
        }
        match mkdirat(&parent, self.name.as_str(), MODE) {
            // Another run was faster.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(self.error("make", errno)),
        }
        self.open_in(parent.as_fd())?.ok_or_else(|| missing(self.path()))
    }

    fn error(&self, operation: &'static str, errno: Errno) -> StateError {
        StateError::System { operation, path: self.path(), errno }
    }

    /// The directory that it is in: of root or of the user, and when others may write there, sticky as /tmp is, so that they
    /// cannot put another directory in the place of ours.
    fn open_parent(&self) -> Result<Option<OwnedFd>, StateError> {
        let error = |errno| StateError::System { operation: "open", path: self.parent.clone(), errno };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent = match openat(AT_FDCWD, &self.parent, flags, Mode::empty()) {
            Ok(parent) => parent,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(error(errno)),
        };
        let found = fstat(&parent).map_err(error)?;
        let sticky = found.st_mode & 0o1000 != 0;
        check(&self.parent, &found, &[0, self.owner], if sticky { 0 } else { 0o022 })?;
        Ok(Some(parent))
    }

    fn open_in(&self, parent: BorrowedFd<'_>) -> Result<Option<StateDirectory>, StateError> {
        let untrusted = |why: &str| StateError::Untrusted { path: self.path(), why: why.to_owned() };
        let fd = match openat(parent, self.name.as_str(), OPEN, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                return Err(untrusted("it is a file or a symbolic link, expected a directory"));
            }
            Err(errno) => return Err(self.error("open", errno)),
        };
        let found = fstat(&fd).map_err(|errno| self.error("look at", errno))?;
        check(&self.path(), &found, &[self.owner], 0o022)?;
        Ok(Some(StateDirectory { fd, path: self.path(), owner: self.owner }))
    }
}

fn check(path: &Path, found: &FileStat, owners: &[u32], forbidden: u32) -> Result<(), StateError> {
    let untrusted = |why| Err(StateError::Untrusted { path: path.to_owned(), why });
    if !owners.contains(&found.st_uid) {
        let expected = owners.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ");
        return untrusted(format!("it belongs to user {}, expected {expected}", found.st_uid));
    }
    if found.st_mode & forbidden != 0 {
        let mode = found.st_mode & 0o7777;
        return untrusted(format!(
            "its mode is {mode:04o}, so that other users can write there (chmod go-w it)"
        ));
    }
    Ok(())
}

/// The open state directory.
#[derive(Debug)]
pub struct StateDirectory {
    fd: OwnedFd,
    path: PathBuf,
    owner: u32,
}

impl StateDirectory {
    /// For people, and for mount(2).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same directory by a new open file, so that a lock on it (flock(2)) is its own.
    ///
    /// # Errors
    /// What openat(2) has.
    pub fn reopen(&self) -> nix::Result<File> {
        openat(&self.fd, ".", OPEN, Mode::empty()).map(File::from)
    }

    /// The ids of the containers in it, in no order.
    ///
    /// # Errors
    /// What getdents64(2) has.
    pub fn ids(&self) -> nix::Result<Vec<String>> {
        let mut listed = Dir::from_fd(openat(&self.fd, ".", OPEN, Mode::empty())?)?;
        let mut ids = Vec::new();
        for entry in listed.iter() {
            if let Ok(name) = entry?.file_name().to_str()
                && is_id(name)
            {
                ids.push(name.to_owned());
            }
        }
        Ok(ids)
    }

    /// Opens a container's directory; `None` when there is none, or something else is there.
    ///
    /// # Errors
    /// What openat(2) has.
    pub fn container(&self, id: &str) -> nix::Result<Option<OwnedFd>> {
        if !is_id(id) {
            return Ok(None);
        }
        let fd = match openat(&self.fd, id, OPEN, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        Ok((fstat(&fd)?.st_uid == self.owner).then_some(fd))
    }
}

impl AsFd for StateDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl StateDirectory {
    /// The descriptor's number, to be kept open in a process that closes the rest.
    pub fn number(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// Whether it is a container's id: 64 lower-case hex digits.
pub fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Reads a regular file in a container's directory, at most `limit` bytes and one: a longer result says that there is more.
/// `None` when it is not there.
///
/// # Errors
/// What openat(2) and read(2) have; EINVAL for another kind of file.
pub fn read(directory: impl AsFd, name: &str, limit: usize) -> nix::Result<Option<Vec<u8>>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let kind = SFlag::from_bits_truncate(fstat(&file)?.st_mode & SFlag::S_IFMT.bits());
    if kind != SFlag::S_IFREG {
        return Err(Errno::EINVAL);
    }
    let mut bytes = Vec::new();
    let read = file.take(limit as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn roots_place_does_not_depend_on_the_environment() {
        for (owner, variable, expected) in [
            (0, Some("/run/user/1000"), "/run/plim"),
            (0, None, "/run/plim"),
            (1000, Some("/run/user/1000"), "/run/user/1000/plim"),
            (1000, Some("relative"), "/tmp/plim-1000"),
            (1000, Some(""), "/tmp/plim-1000"),
            (1000, None, "/tmp/plim-1000"),
        ] {
            let place = of_user(owner, variable.map(Into::into));
            assert_eq!((place.path(), place.owner), (expected.into(), owner), "{owner} {variable:?}");
        }
    }

    #[test]
    fn only_a_directory_that_others_cannot_change_is_trusted() {
        let untrusted = |place: &Place| {
            matches!(place.open(), Err(StateError::Untrusted { .. }))
                && matches!(place.make(), Err(StateError::Untrusted { .. }))
        };
        let top = tempfile::tempdir().unwrap();
        let place = Place::within(top.path());
        assert!(place.open().unwrap().is_none());
        place.make().unwrap();
        assert!(place.open().unwrap().is_some());
        for mode in [0o777, 0o731, 0o713] {
            chmod(&place.path(), mode);
            assert!(untrusted(&place), "{mode:o}");
        }
        chmod(&place.path(), 0o711);
        // The parent: writable by others only when it is sticky.
        for (mode, expected) in [(0o777, true), (0o1777, false), (0o755, false)] {
            chmod(top.path(), mode);
            assert_eq!(untrusted(&place), expected, "{mode:o}");
        }
        let of_another = Place { owner: geteuid().as_raw() + 1, ..place.clone() };
        assert!(untrusted(&of_another));
        // A link to a directory that would be trusted, and a file.
        let other = tempfile::tempdir().unwrap();
        std::fs::remove_dir(place.path()).unwrap();
        symlink(other.path(), place.path()).unwrap();
        assert!(untrusted(&place));
        std::fs::remove_file(place.path()).unwrap();
        std::fs::write(place.path(), "").unwrap();
        assert!(untrusted(&place));
    }

    #[test]
    fn only_containers_are_listed_and_no_link_is_followed() {
        let top = tempfile::tempdir().unwrap();
        let place = Place::within(top.path());
        let state = place.make().unwrap();
        let (real, link) = ("a".repeat(64), "b".repeat(64));
        for name in [real.as_str(), "project", &"a".repeat(63), &"A".repeat(64)] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        symlink(top.path(), place.path().join(&link)).unwrap();
        let mut ids = state.ids().unwrap();
        ids.sort();
        assert_eq!(ids, [real.clone(), link.clone()]);
        assert!(state.container(&link).unwrap().is_none());
        assert!(state.container("project").unwrap().is_none());
        assert!(state.container("..").unwrap().is_none());
        let container = state.container(&real).unwrap().unwrap();
        std::fs::write(place.path().join(&real).join("state.json"), "four").unwrap();
        symlink("state.json", place.path().join(&real).join("log")).unwrap();
        assert_eq!(read(&container, "state.json", 10).unwrap().unwrap(), b"four");
        assert_eq!(read(&container, "state.json", 2).unwrap().unwrap().len(), 3);
        assert_eq!(read(&container, "missing", 2).unwrap(), None);
        assert_eq!(read(&container, "log", 2), Err(Errno::ELOOP));
    }
}

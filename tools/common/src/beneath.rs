//! Files that an input names: a profile of a manifest, a policy that another one extends.
//!
//! The author of the input chooses the name, and the tool may run as root: the file is looked for beneath a directory that the caller
//! chose, `..` and symbolic links do not lead out of it, and nothing on another file system is opened. So no name reaches procfs, sysfs,
//! a device or a FUSE server, where open(2) and read(2) wait as long as their author likes. Names are walked one by one with openat(2),
//! as openat2(2) takes its flags in memory, where the filter that this process is under cannot read them.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};

/// Symbolic links on one way, as the kernel allows (MAXSYMLINKS).
const MOST_LINKS: usize = 40;
/// Bytes of a path (PATH_MAX).
const LONGEST: usize = 4096;

/// Why a name is not a file that is read.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The name leads out of the directory.
    #[error("it is not beneath the directory")]
    Outside,
    /// Something on the way is on another file system.
    #[error("{0} is on another file system than the directory")]
    Mounted(PathBuf),
    /// A directory, a device, a FIFO, a socket.
    #[error("it is not a regular file")]
    NotAFile,
    /// More bytes than are read.
    #[error("it is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
    /// Too long a name, or too many links.
    #[error("the name is too long")]
    TooLong,
    /// What the kernel answers.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<rustix::io::Errno> for Refused {
    fn from(errno: rustix::io::Errno) -> Refused {
        Refused::Io(errno.into())
    }
}

impl Refused {
    /// Whether there is no such file, so that it may be looked for in another directory.
    pub fn is_missing(&self) -> bool {
        matches!(self, Refused::Io(error) if error.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Reads the regular file `name` beneath `directory`, of at most `most` bytes.
///
/// # Errors
/// [`Refused`].
pub fn read(directory: &Path, name: &Path, most: u64) -> Result<Vec<u8>, Refused> {
    if name.as_os_str().len() > LONGEST {
        return Err(Refused::TooLong);
    }
    let top = fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mount = mount(&look(&top)?);
    let mut way = Way { mount, directories: vec![top], links: 0, walked: PathBuf::new() };
    let file = way.walk(name)?;
    let mut bytes = Vec::new();
    File::from(file).take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(Refused::TooLarge(most)) } else { Ok(bytes) }
}

/// The way from the directory to where the walk is.
struct Way {
    mount: u64,
    /// The directory, and those on the way.
    directories: Vec<OwnedFd>,
    links: usize,
    walked: PathBuf,
}

impl Way {
    fn walk(&mut self, name: &Path) -> Result<OwnedFd, Refused> {
        let mut left = parts(name)?;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                if self.directories.len() == 1 {
                    return Err(Refused::Outside);
                }
                self.directories.pop();
                continue;
            }
            self.walked.push(&part);
            let here = &self.directories[self.directories.len() - 1];
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = fs::openat(here, &part, flags, Mode::empty())?;
            let what = look(&found)?;
            if mount(&what) != self.mount {
                return Err(Refused::Mounted(self.walked.clone()));
            }
            match FileType::from_raw_mode(what.stx_mode.into()) {
                FileType::Symlink => {
                    self.links += 1;
                    if self.links > MOST_LINKS {
                        return Err(Refused::TooLong);
                    }
                    let target = fs::readlinkat(&found, "", Vec::new())?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    for part in parts(&target)?.into_iter().rev() {
                        left.push_front(part);
                    }
                }
                FileType::Directory => self.directories.push(found),
                FileType::RegularFile if left.is_empty() => return reopened(here, &part, &what),
                _ => break,
            }
        }
        Err(Refused::NotAFile)
    }
}

/// The file for reading. It may have been exchanged since it was looked at; a FIFO that is there now is not waited for.
fn reopened(directory: &OwnedFd, name: &OsStr, was: &Statx) -> Result<OwnedFd, Refused> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::openat(directory, name, flags, Mode::empty())?;
    let is = look(&file)?;
    let same = |of: &Statx| (mount(of), of.stx_dev_major, of.stx_dev_minor, of.stx_ino);
    if same(&is) == same(was) { Ok(file) } else { Err(Refused::NotAFile) }
}

/// The mount, which Linux 5.8 and later have; 0 for all before.
fn mount(what: &Statx) -> u64 {
    what.stx_mnt_id
}

/// What the kernel knows of an open file without a question to the server of a file system.
fn look(file: &impl AsFd) -> Result<Statx, Refused> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(fs::statx(file, "", flags, StatxFlags::TYPE | StatxFlags::INO | StatxFlags::MNT_ID)?)
}

/// The names of a relative path; `..` among them.
fn parts(path: &Path) -> Result<VecDeque<OsString>, Refused> {
    let part = |component| match component {
        Component::Normal(name) => Some(Ok(name.to_owned())),
        Component::ParentDir => Some(Ok("..".into())),
        Component::CurDir => None,
        Component::RootDir | Component::Prefix(_) => Some(Err(Refused::Outside)),
    };
    path.components().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn outcome(directory: &Path, name: &str) -> String {
        match read(directory, Path::new(name), 64) {
            Ok(bytes) => String::from_utf8(bytes).expect("text"),
            Err(Refused::Io(error)) => format!("{:?}", error.kind()),
            Err(Refused::Mounted(_)) => "Mounted".to_owned(),
            Err(other) => format!("{other:?}"),
        }
    }

    /// Names that an author of manifests may try, beneath a directory of a real file system.
    #[test]
    fn only_regular_files_beneath_the_directory_are_read() {
        let top = tempfile::tempdir().expect("directory");
        let own = top.path().join("own");
        std::fs::create_dir_all(own.join("sub/deep")).expect("directories");
        std::fs::write(top.path().join("secret"), "secret").expect("written");
        std::fs::write(own.join("profile"), "profile").expect("written");
        std::fs::write(own.join("large"), "x".repeat(65)).expect("written");
        std::fs::write(own.join("whole"), "x".repeat(64)).expect("written");
        for (link, target) in [
            ("inside", "sub/../profile"),
            ("sub/up", "../profile"),
            ("outside", "../secret"),
            ("absolute", "/etc/passwd"),
            ("kernel", "/proc/kmsg"),
            ("loop", "loop"),
        ] {
            symlink(target, own.join(link)).expect("link");
        }
        let fifo = own.join("fifo");
        let made = rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
        made.expect("fifo");
        let whole = "x".repeat(64);
        for (name, expected) in [
            ("profile", "profile"),
            ("./sub/../profile", "profile"),
            ("sub/deep/../../profile", "profile"),
            ("inside", "profile"),
            ("sub/up", "profile"),
            ("whole", whole.as_str()),
            ("large", "TooLarge(64)"),
            ("missing", "NotFound"),
            ("profile/x", "NotAFile"),
            ("sub", "NotAFile"),
            ("fifo", "NotAFile"),
            ("", "NotAFile"),
            (".", "NotAFile"),
            ("..", "Outside"),
            ("../secret", "Outside"),
            ("sub/../../secret", "Outside"),
            ("outside", "Outside"),
            ("absolute", "Outside"),
            ("kernel", "Outside"),
            ("/proc/kmsg", "Outside"),
            ("loop", "TooLong"),
        ] {
            assert_eq!(outcome(&own, name), expected, "{name}");
        }
        assert_eq!(outcome(&own, &"x/".repeat(4096)), "TooLong");
    }

    /// The root has other file systems in it, whose files may wait for ever.
    #[test]
    fn nothing_on_another_file_system_is_opened() {
        for name in ["proc/self/status", "proc/kmsg", "sys/kernel/uevent_seqnum", "dev/null", "dev/zero"] {
            assert_eq!(outcome(Path::new("/"), name), "Mounted", "{name}");
        }
    }
}

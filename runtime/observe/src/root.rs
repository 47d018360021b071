//! The target's root file system. **Everything in it is hostile**: its owner chooses every name, symlink, file type,
//! mount and answer.
//!
//! Paths are resolved one name at a time with openat2(2) (Linux 5.6) inside the root, never through a magic link, and onto
//! a mount only when the mount table says first that its file system answers by itself. What is found is opened O_PATH
//! and looked at with fstat before anything is read, so that no fifo, device or socket is ever opened; lists are bounded.
//! As an overlay may be made of anything, and as mounts change while they are looked at, the caller still runs it all
//! in a process of its own (`aside`).

use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use plim_model::parse::mountinfo::{self, MountEntry};
use rustix::fs::{AtFlags, StatxFlags, statx};

use crate::deadline::Deadline;
use crate::pinned::open_beneath;
use crate::procdir::{LARGE, TaskDir};
use crate::why::refusal;

/// Most entries that are read of one directory tree.
const MOST_ENTRIES: usize = 8192;
/// How deep a directory tree is followed: /dev/bus/usb/001 is three.
const DEEPEST_TREE: usize = 4;
/// Directories inside each other on the way to a file.
const DEEPEST: usize = 128;
/// `MAXSYMLINKS` (include/linux/namei.h).
const MOST_LINKS: usize = 40;

/// File systems whose answers come from this kernel and its disks. Any other type may wait for another process (FUSE,
/// autofs) or for another machine (NFS, 9p, CIFS).
const LOCAL: [&str; 45] = [
    "apparmorfs",
    "bcachefs",
    "binder",
    "binfmt_misc",
    "bpf",
    "btrfs",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "exfat",
    "ext2",
    "ext3",
    "ext4",
    "f2fs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "jfs",
    "mqueue",
    "msdos",
    "nilfs2",
    "nsfs",
    "ntfs3",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "resctrl",
    "rootfs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
    "udf",
    "vfat",
    "xfs",
    "zfs",
];

/// Why a path was not looked at to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// A system call was refused.
    #[error("{}", crate::why::errno_text(*.0))]
    Errno(Errno),
    /// The way leads onto a file system that may not answer.
    #[error("{path} is a mount of type {fs_type:?}, whose answers may never come")]
    MayHang {
        /// The mount point inside the root, escaped.
        path: String,
        /// The type in the mount table, escaped.
        fs_type: String,
    },
    /// The way leads onto a mount that the mount table does not have.
    #[error("mounts changed while they were looked at")]
    Changed,
    /// More than 128 directories inside each other.
    #[error("more directories inside each other than the {DEEPEST} that are followed")]
    TooDeep,
}

impl From<Errno> for LookError {
    fn from(errno: Errno) -> Self {
        LookError::Errno(errno)
    }
}

impl LookError {
    /// Whether the path leads nowhere for the target either: nothing is there, it goes through a file, it is a loop or too long.
    pub fn leads_nowhere(&self) -> bool {
        use Errno::{ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR};
        matches!(self, LookError::Errno(ENOENT | ENOTDIR | ELOOP | ENAMETOOLONG))
    }

    /// The reason, with the operation that was tried.
    pub(crate) fn during(&self, operation: &str) -> String {
        match self {
            LookError::Errno(errno) => refusal(operation, *errno, Some("CAP_DAC_READ_SEARCH")),
            other => format!("{operation}: {other}"),
        }
    }
}

/// The mounts that a root has, by what a walk asks of them.
#[derive(Clone, Debug, Default)]
pub struct MountTable {
    types: HashMap<u64, String>,
    /// By the mount below and the path of the mount point: the mount on top of it.
    above: HashMap<(u64, String), u64>,
    /// There is no table.
    unknown: bool,
}

impl MountTable {
    /// Of the `mountinfo` of the task whose root it is.
    pub fn of(mounts: &[MountEntry]) -> MountTable {
        let types = mounts.iter().map(|entry| (entry.id, entry.mount.fs_type.clone())).collect();
        let above =
            mounts.iter().map(|entry| ((entry.parent, entry.mount.target.clone()), entry.id)).collect();
        MountTable { types, above, unknown: false }
    }

    /// Of a root whose tasks have all ended: every mount is entered, as none is served from inside any more.
    pub fn unknown() -> MountTable {
        MountTable { unknown: true, ..MountTable::default() }
    }

    /// Whether it has the mount that a directory is on. The table of a task that changed its root within a mount does not, as
    /// it leaves out what lies above.
    pub fn has(&self, directory: &OwnedFd) -> bool {
        self.unknown || mount_of(directory).is_ok_and(|mount| self.types.contains_key(&mount))
    }

    /// Adds the types of mounts of another task's table: ids are the kernel's.
    pub fn add_types(&mut self, mounts: &[MountEntry]) {
        for entry in mounts {
            self.types.entry(entry.id).or_insert_with(|| entry.mount.fs_type.clone());
        }
    }

    /// The topmost of the mounts that are stacked on a path of the mount `below`.
    fn top(&self, below: u64, path: &str) -> Option<u64> {
        let mut key = (below, path.to_owned());
        let mut top = None;
        // Ids are the kernel's, but a table read while mounts change could have a loop.
        for _ in 0..=self.types.len() {
            match self.above.get(&key) {
                Some(id) if *id != key.0 => (top, key.0) = (Some(*id), *id),
                _ => break,
            }
        }
        top
    }

    fn check(&self, mount: u64, path: &str) -> Result<(), LookError> {
        match self.types.get(&mount) {
            _ if self.unknown => Ok(()),
            Some(fs_type) if LOCAL.binary_search(&fs_type.as_str()).is_ok() => Ok(()),
            Some(fs_type) => Err(LookError::MayHang {
                path: plim_model::text::escape(path),
                fs_type: plim_model::text::escape(fs_type),
            }),
            None => Err(LookError::Changed),
        }
    }
}

/// A root directory and its mounts.
#[derive(Debug)]
pub struct Root {
    top: Place,
    table: Arc<MountTable>,
}

/// What is at a path: on a file system that answers by itself.
#[derive(Debug)]
pub struct Place {
    /// Opened O_PATH.
    pub fd: OwnedFd,
    /// What it is.
    pub stat: FileStat,
    /// Its path inside the root, without links.
    path: String,
    mount: u64,
}

/// The id of the mount that a descriptor is on (Linux 5.8). Nothing is asked of its file system.
fn mount_of(fd: impl AsFd) -> Result<u64, LookError> {
    let found = statx(fd, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::MNT_ID)
        .map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    match found.stx_mask & StatxFlags::MNT_ID.bits() {
        0 => Err(Errno::EOPNOTSUPP.into()),
        _ => Ok(found.stx_mnt_id),
    }
}

impl Root {
    /// The root of a task.
    pub(crate) fn of(task: &TaskDir, mounts: &[MountEntry]) -> Result<Root, LookError> {
        let fd = task.root()?;
        let mut table = MountTable::of(mounts);
        if !table.has(&fd) {
            table.add_types(&own_mounts());
        }
        Root::new(fd, table)
    }

    /// A directory that is opened O_PATH, with the mounts of the task whose root it is.
    ///
    /// # Errors
    /// It is itself on a file system that may not answer; before Linux 5.8 EOPNOTSUPP.
    pub fn new(fd: OwnedFd, table: impl Into<Arc<MountTable>>) -> Result<Root, LookError> {
        let table = table.into();
        let mount = mount_of(&fd)?;
        table.check(mount, "/")?;
        Ok(Root { top: Place { stat: fstat(&fd)?, fd, path: String::new(), mount }, table })
    }

    /// Any directory below which nothing is mounted, taken as a root.
    #[cfg(test)]
    pub(crate) fn at(path: &std::path::Path) -> Root {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mounts = std::fs::read("/proc/self/mountinfo").expect("mountinfo");
        let mounts = plim_model::parse::mountinfo::parse(&mounts).expect("parses");
        Root::new(nix::fcntl::open(path, flags, Mode::empty()).expect("a directory"), MountTable::of(&mounts))
            .expect("a local file system")
    }

    /// What is at `path`, symlinks resolved inside the root.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn open(&self, path: &str) -> Result<Place, LookError> {
        let mut rest: Vec<OsString> = Vec::new();
        let names = |path: &OsStr, rest: &mut Vec<OsString>| {
            let names = path.as_bytes().split(|byte| *byte == b'/').rev();
            let names = names.filter(|name| !name.is_empty() && *name != b".");
            rest.extend(names.map(|name| OsStr::from_bytes(name).to_owned()));
        };
        names(OsStr::new(path), &mut rest);
        let mut links = 0;
        let mut way: Vec<Place> = Vec::new();
        while let Some(name) = rest.pop() {
            let here = way.last().unwrap_or(&self.top);
            if kind(&here.stat) != SFlag::S_IFDIR {
                return Err(Errno::ENOTDIR.into());
            }
            if name == ".." {
                way.pop();
                continue;
            }
            let place = self.step(here, name.as_os_str())?;
            if kind(&place.stat) == SFlag::S_IFLNK {
                links += 1;
                let target = readlinkat(&place.fd, "")?;
                let is_absolute = target.as_bytes().starts_with(b"/");
                // What procfs writes into a magic link is no path of this root.
                let is_magic = is_absolute && self.table.types.get(&place.mount).is_some_and(|t| t == "proc");
                if links > MOST_LINKS || is_magic {
                    return Err(Errno::ELOOP.into());
                }
                if is_absolute {
                    way.clear();
                }
                names(&target, &mut rest);
                continue;
            }
            way.push(place);
            if way.len() > DEEPEST {
                return Err(LookError::TooDeep);
            }
        }
        match way.pop() {
            Some(place) => Ok(place),
            None => self.again(&self.top),
        }
    }

    /// The same place once more.
    fn again(&self, place: &Place) -> Result<Place, LookError> {
        let fd = openat(&place.fd, ".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Place { fd, path: place.path.clone(), ..*place })
    }

    /// One name in a directory; a symlink is not followed. Another mount is entered only when it is known to answer.
    fn step(
        &self,
        here: &Place,
        name: &(impl ?Sized + nix::NixPath + AsRef<OsStr>),
    ) -> Result<Place, LookError> {
        let below = ResolveFlag::RESOLVE_BENEATH;
        let path = format!("{}/{}", here.path, name.as_ref().to_string_lossy());
        let (fd, mount) = match resolve(&here.fd, name, below | ResolveFlag::RESOLVE_NO_XDEV) {
            Ok(fd) => (fd, here.mount),
            Err(Errno::EXDEV) => {
                let expected = self.table.top(here.mount, &path);
                self.table.check(expected.unwrap_or_default(), &path)?;
                let fd = resolve(&here.fd, name, below)?;
                let mount = mount_of(&fd)?;
                if !self.table.unknown && expected != Some(mount) {
                    return Err(LookError::Changed);
                }
                (fd, mount)
            }
            Err(errno) => return Err(errno.into()),
        };
        Ok(Place { stat: fstat(&fd)?, fd, path, mount })
    }

    /// The names in a directory, `most` at most: `None` when there are more.
    fn list(&self, place: &Place, most: usize) -> Result<Option<Vec<CString>>, LookError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut names = Vec::new();
        for entry in Dir::from_fd(openat(&place.fd, ".", flags, Mode::empty())?)?.iter() {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if names.len() == most {
                return Ok(None);
            }
            names.push(entry.file_name().to_owned());
        }
        Ok(Some(names))
    }

    /// What the file at `path` is.
    pub(crate) fn stat(&self, path: &str) -> Result<FileStat, LookError> {
        self.open(path).map(|place| place.stat)
    }

    /// Whether the directory at `path` has no entries.
    pub(crate) fn is_empty_directory(&self, path: &str) -> Result<bool, LookError> {
        Ok(self.list(&self.open(path)?, 0)?.is_some())
    }

    /// Every file below `path` on the same mount that is no directory, with its path below `path`; symlinks are told, not
    /// followed. `Ok(None)` when there are more than are read.
    pub(crate) fn tree(&self, path: &str) -> Result<Option<Vec<(String, FileStat)>>, LookError> {
        let mut found = Vec::new();
        let mut left = MOST_ENTRIES;
        let mut open = vec![(String::new(), self.open(path)?, 1)];
        while let Some((prefix, directory, depth)) = open.pop() {
            let Some(names) = self.list(&directory, left)? else { return Ok(None) };
            left -= names.len();
            for name in names {
                let name = OsStr::from_bytes(name.to_bytes());
                let shown = format!("{prefix}{}", name.to_string_lossy());
                let place = match self.step(&directory, name) {
                    Ok(place) => place,
                    // Removed meanwhile.
                    Err(LookError::Errno(Errno::ENOENT)) => continue,
                    Err(error) => return Err(error),
                };
                if kind(&place.stat) != SFlag::S_IFDIR {
                    found.push((shown, place.stat));
                } else if depth < DEEPEST_TREE && place.mount == directory.mount {
                    // Other mounts (/dev/pts, /dev/shm) are passed over.
                    open.push((shown + "/", place, depth + 1));
                }
            }
        }
        Ok(Some(found))
    }
}

/// The reader's own mounts; none where they cannot be read.
fn own_mounts() -> Vec<MountEntry> {
    let own = TaskDir::open(std::process::id().cast_signed(), Deadline::for_target()).ok();
    let text = own.and_then(|own| own.read("mountinfo", LARGE).ok());
    text.and_then(|text| mountinfo::parse(&text).ok()).unwrap_or_default()
}

/// The type bits of a file's mode.
pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// openat2 with the flags that everything here has. EAGAIN: a rename or mount raced with the walk; the kernel asks to try
/// again, which a hostile root could go on with for ever.
fn resolve<P: ?Sized + nix::NixPath>(
    directory: impl AsFd,
    name: &P,
    resolve: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve = resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let mut last = Errno::EAGAIN;
    for _ in 0..32 {
        match open_beneath(directory.as_fd(), name, flags, resolve) {
            Err(Errno::EAGAIN) => last = Errno::EAGAIN,
            other => return other,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

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
        assert_eq!(root.stat("/up").map(|_| ()), Err(LookError::Errno(Errno::ENOENT)));
        assert_eq!(root.stat("/absolute").map(|_| ()), Err(LookError::Errno(Errno::ENOENT)));
        assert_eq!(root.stat("/../../secret").map(|_| ()), Err(LookError::Errno(Errno::ENOENT)));
        assert_eq!(root.stat("/loop").map(|_| ()), Err(LookError::Errno(Errno::ELOOP)));
        // /run -> / is the root itself.
        assert!(root.stat("/run/run/inside").is_ok());
        assert_eq!(root.is_empty_directory("/dir"), Ok(true));
        assert_eq!(root.is_empty_directory("/run"), Ok(false));
    }

    #[test]
    fn magic_links_are_not_followed() {
        let root = Root::at(Path::new("/"));
        assert_eq!(root.stat("/proc/self/root/etc").map(|_| ()), Err(LookError::Errno(Errno::ELOOP)));
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

    #[test]
    fn a_mount_is_entered_only_when_its_type_is_known_to_answer() {
        assert!(LOCAL.is_sorted());
        let types = [
            ("ext4", true),
            ("overlay", true),
            ("tmpfs", true),
            ("proc", true),
            ("fuse", false),
            ("fuseblk", false),
            ("fuse.sshfs", false),
            ("autofs", false),
            ("nfs", false),
            ("nfs4", false),
            ("cifs", false),
            ("9p", false),
            ("virtiofs", false),
            ("ceph", false),
            ("of-next-year", false),
        ];
        for (fs_type, answers) in types {
            let text = format!(
                "7 1 0:1 / / rw - tmpfs t rw\n8 7 0:2 / /m rw - tmpfs t rw\n9 8 0:3 / /m rw - {fs_type} t rw"
            );
            let table =
                MountTable::of(&plim_model::parse::mountinfo::parse(text.as_bytes()).expect("parses"));
            let top = table.top(7, "/m").expect("mounted");
            assert_eq!((top, table.check(top, "/m").is_ok()), (9, answers), "{fs_type}");
        }
        assert_eq!(MountTable::default().check(7, "/m"), Err(LookError::Changed));
    }

    #[test]
    fn a_walk_that_meets_an_unknown_mount_stops() {
        let top = std::fs::File::open("/").expect("open");
        let own = mount_of(&top).expect("Linux 5.8");
        // Of all mounts the table has this one alone, so that /proc is one that came up since.
        let text = format!("{own} 1 0:1 / / rw - tmpfs t rw");
        let table = MountTable::of(&plim_model::parse::mountinfo::parse(text.as_bytes()).expect("parses"));
        let root = Root::new(top.into(), table).expect("a root");
        assert!(root.stat("/etc").is_ok());
        assert_eq!(root.stat("/proc/self").map(|_| ()), Err(LookError::Changed));
    }
}

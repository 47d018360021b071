//! The file that a refused call is about, looked at from outside after the fact.
//!
//! The path is the container's word: it is followed beneath the process' own root, and never out of it, nor onto a file system
//! that may not answer. All of this is done in the process of [`crate::look`].

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlink};
use nix::sys::stat::{FileStat, Mode, SFlag, major, minor};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use plim_model::CapabilitySet;
use plim_observe::root::{LookError, Place, Root};
use serde::{Deserialize, Serialize};

/// What is wanted of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wants {
    /// Bits of a mode's class: 4 to read, 2 to write, 1 to execute or search; 0 where the call does not say.
    pub access: u32,
    /// The directory in which the name stands is changed, not the file.
    pub in_directory: bool,
    /// A file that is not there is made.
    pub creates: bool,
}

/// Who wants it, as the first user namespace numbers them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups; `None` when the process is gone.
    pub groups: Option<Vec<u32>>,
}

impl Who {
    /// The bits of the class that counts for a file; `None` where only the groups could tell.
    fn class(&self, mode: u32, uid: u32, gid: u32) -> Option<u32> {
        if self.uid == uid {
            return Some(mode >> 6 & 7);
        }
        match &self.groups {
            _ if self.gid == gid => Some(mode >> 3 & 7),
            Some(groups) if groups.contains(&gid) => Some(mode >> 3 & 7),
            Some(_) => Some(mode & 7),
            // In the group or not: the answer is the same.
            None if mode >> 3 & 7 == mode & 7 => Some(mode & 7),
            None => None,
        }
    }
}

/// What is seen of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// The path as the process gave it, made absolute; or the part of it that refuses.
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
    /// It has an access control list beside the mode (acl(5)).
    pub acl: bool,
    /// `immutable` or `append-only` (chattr(1)).
    pub frozen: Option<Cow<'static, str>>,
    /// The capabilities that the file gives to who executes it and insists on (capabilities(7)).
    pub insists_on: CapabilitySet,
    /// What is wanted of it: bits of a mode's class.
    pub wanted: u32,
    /// The mode does not grant that.
    pub mode_refuses: bool,
    /// It is a directory on the way to what is wanted, or in which it stands.
    pub on_the_way: bool,
    /// Somebody else's file in a sticky directory that others may write: fs.protected_regular and the like apply.
    pub protected: bool,
    /// The file system is the kernel's own view (proc, sysfs, …), where no node can be made.
    pub virtual_fs: bool,
}

impl FileFacts {
    /// `/etc/shadow, mode 0640, owner 0:42`.
    pub fn words(&self) -> String {
        let kind = match (&self.device, self.directory) {
            (Some(device), _) => format!(", device {device}"),
            (None, true) => ", a directory".to_owned(),
            (None, false) => String::new(),
        };
        let acl = if self.acl { ", with an ACL" } else { "" };
        format!("{}{kind}, mode {:04o}{acl}, owner {}:{}", self.path, self.mode, self.uid, self.gid)
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

/// The path of the file behind a descriptor; `None` where it has none, or the process is gone.
pub fn behind(pid: i32, descriptor: i32) -> Option<String> {
    let link = readlink(format!("/proc/{pid}/fd/{descriptor}").as_str()).ok()?;
    let path = link.to_str()?;
    (path.starts_with('/') && !path.ends_with(" (deleted)")).then(|| path.to_owned())
}

/// The root directory of a process, or the directory behind another such link; `None` when it is gone.
pub fn root(link: &str) -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(link, flags, Mode::empty()).ok()
}

/// Looks at an absolute path beneath `root`: at the first directory on the way that may not be searched, or else at what the
/// call is about. `None` when nothing is there.
///
/// # Errors
/// It cannot be looked at.
pub fn look(
    root: &Root,
    absolute: &str,
    wants: Wants,
    who: &Who,
    mapped: impl Fn(u32) -> bool,
) -> Result<Option<FileFacts>, LookError> {
    // Longer than any path that the kernel takes in one piece, and than the programs keep.
    const MOST_PARTS: usize = 128;
    let whole = absolute.trim_end_matches('/');
    let mut found: Option<(Place, String)> = None;
    let mut parent: Option<FileStat> = None;
    let ends: Vec<usize> = whole
        .char_indices()
        .filter(|(at, letter)| *letter == '/' && *at > 0)
        .map(|(at, _)| at)
        .chain([whole.len()])
        .take(MOST_PARTS)
        .collect();
    let paths =
        std::iter::once("/").chain(ends.iter().map(|end| &whole[..*end])).filter(|path| !path.is_empty());
    let mut missing = false;
    for path in paths {
        if let Some((Place { fd, stat, .. }, at)) = &found
            && let Some(class) = who.class(stat.st_mode, stat.st_uid, stat.st_gid)
            && class & 1 == 0
            && is(stat, SFlag::S_IFDIR)
        {
            let mut facts = facts(fd, stat, at, &mapped);
            (facts.wanted, facts.mode_refuses, facts.on_the_way) = (1, true, true);
            return Ok(Some(facts));
        }
        match root.open(path) {
            Ok(place) => {
                parent = found.replace((place, path.to_owned())).map(|(place, _)| place.stat);
            }
            Err(LookError::Errno(Errno::ENOENT)) => {
                missing = true;
                break;
            }
            Err(error) if error.leads_nowhere() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let Some((mut place, mut at)) = found else { return Ok(None) };
    let mut on_the_way = missing;
    let mut access = if missing { 3 } else { wants.access };
    if wants.in_directory && !missing {
        let up = at.rsplit_once('/').map_or("/", |(up, _)| if up.is_empty() { "/" } else { up }).to_owned();
        place = root.open(&up)?;
        (at, on_the_way, access, parent) = (up, true, 3, None);
    }
    let stat = &place.stat;
    let mut facts = facts(&place.fd, stat, &at, &mapped);
    facts.on_the_way = on_the_way;
    let class = who.class(stat.st_mode, stat.st_uid, stat.st_gid);
    facts.wanted = access;
    facts.mode_refuses = access != 0 && class.is_some_and(|class| class & access != access);
    facts.protected = wants.creates
        && parent.is_some_and(|up| {
            up.st_mode & 0o1000 != 0 && up.st_mode & 0o022 != 0 && up.st_uid != stat.st_uid
        })
        && stat.st_uid != who.uid;
    Ok(Some(facts))
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

fn facts(file: &OwnedFd, stat: &FileStat, path: &str, mapped: &impl Fn(u32) -> bool) -> FileFacts {
    let mount = fstatvfs(file).map(|mount| mount.flags()).unwrap_or(FsFlags::empty());
    let number = || format!("{}:{}", major(stat.st_rdev), minor(stat.st_rdev));
    let device = if is(stat, SFlag::S_IFCHR) {
        Some(format!("c {}", number()))
    } else {
        is(stat, SFlag::S_IFBLK).then(|| format!("b {}", number()))
    };
    let through = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let attribute = |name: &str| crate::attributes::extended(&through, name);
    FileFacts {
        path: path.to_owned(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        regular: is(stat, SFlag::S_IFREG),
        directory: is(stat, SFlag::S_IFDIR),
        device,
        no_exec: mount.contains(FsFlags::ST_NOEXEC),
        no_device: mount.contains(FsFlags::ST_NODEV),
        owner_unmapped: !mapped(stat.st_uid),
        acl: attribute("system.posix_acl_access").is_some(),
        frozen: crate::attributes::frozen(file.as_fd()).map(Cow::Borrowed),
        insists_on: attribute("security.capability").map(|value| insisted(&value)).unwrap_or_default(),
        wanted: 0,
        mode_refuses: false,
        on_the_way: false,
        protected: false,
        virtual_fs: crate::attributes::is_virtual(file.as_fd()),
    }
}

/// The permitted capabilities of `security.capability` when its effective bit is set (struct vfs_cap_data): without them in
/// the bounding set the kernel does not execute the file.
fn insisted(value: &[u8]) -> CapabilitySet {
    let word = |at: usize| {
        value.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    if word(0) & 1 == 0 {
        return CapabilitySet::default();
    }
    CapabilitySet::from_bits(u64::from(word(4)) | u64::from(word(12)) << 32)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mounts = std::fs::read("/proc/self/mountinfo").expect("mountinfo");
        let mounts = plim_model::parse::mountinfo::parse(&mounts).expect("parses");
        let root = root(dir.path().to_str().expect("text")).expect("opens");
        let root = Root::new(root, plim_observe::root::MountTable::of(&mounts)).expect("a root");
        let make = |path: &str, mode: u32| {
            let at = dir.path().join(path);
            if path.ends_with('/') { std::fs::create_dir(&at) } else { std::fs::write(&at, "x") }
                .expect("made");
            std::fs::set_permissions(&at, std::fs::Permissions::from_mode(mode)).expect("chmod");
        };
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
        make("shut/", 0o700);
        make("shut/file", 0o666);
        make("open/", 0o755);
        make("open/secret", 0o600);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out")).expect("symlink");
        (dir, root)
    }

    #[test]
    fn names_the_part_of_the_path_that_refuses() {
        let (_dir, root) = tree();
        let who = Who { uid: 4242, gid: 4242, groups: Some(Vec::new()) };
        let at = |path: &str, wants: Wants| {
            look(&root, path, wants, &who, |_| true).expect("looks").expect("found")
        };
        let read = Wants { access: 4, ..Wants::default() };
        let shut = at("/shut/file", read);
        assert_eq!((shut.path.as_str(), shut.mode_refuses, shut.on_the_way), ("/shut", true, true));
        let secret = at("/open/secret", read);
        assert_eq!((secret.path.as_str(), secret.mode_refuses, secret.mode), ("/open/secret", true, 0o600));
        let gone = at("/open/new", Wants { access: 2, creates: true, ..Wants::default() });
        assert_eq!((gone.path.as_str(), gone.mode_refuses), ("/open", true));
        let unlinked = at("/open/secret", Wants { in_directory: true, ..Wants::default() });
        assert_eq!((unlinked.path.as_str(), unlinked.mode_refuses), ("/open", true));
        let root_itself = at("/", Wants { access: 5, ..Wants::default() });
        assert_eq!((root_itself.path.as_str(), root_itself.mode_refuses), ("/", false));
        // The link leads to nothing inside.
        assert_eq!(at("/out", read).path, "/");
    }

    #[test]
    fn groups_decide_only_where_they_are_known() {
        let unknown = Who { uid: 1, gid: 1, groups: None };
        assert_eq!(unknown.class(0o640, 0, 42), None);
        assert_eq!(unknown.class(0o600, 0, 42), Some(0));
        let member = Who { groups: Some(vec![42]), ..unknown };
        assert_eq!(member.class(0o640, 0, 42), Some(4));
        assert_eq!(member.class(0o604, 1, 42), Some(6));
    }

    #[test]
    fn file_capabilities_that_are_insisted_on() {
        let net_raw = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(insisted(&net_raw).names(), ["CAP_NET_RAW"]);
        let mut offered = net_raw;
        offered[0] = 0;
        assert!(insisted(&offered).names().is_empty());
        assert!(insisted(&[]).names().is_empty());
    }
}

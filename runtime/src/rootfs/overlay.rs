//! A directory as a read-only lower layer with a throw-away upper layer on a tmpfs of the container's own.
//!
//! What the container sees of the host is less than what the launcher sees: files that only root may read are not readable
//! ([`hidden`](super::hidden)), directories of the host's data are empty, and no set-uid bit or file capability counts.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, stat};
use nix::unistd::{mkdir, symlinkat};

use super::resolve::{Missing, Root, descriptor_path};
use super::{attach_on_itself, attributes, copy_directory, hidden};
use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// One thing that the root is put together of, at an absolute path in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// An overlay over a directory of the host.
    Layer {
        /// Lower directory on the host.
        lower: PathBuf,
        /// `/` for a root that is one overlay.
        at: String,
    },
    /// A directory for others to be mounted in, or one that starts empty.
    Directory {
        /// Where.
        at: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link as it is on the host.
    Link {
        /// Where.
        at: String,
        /// Where to.
        target: PathBuf,
    },
    /// A file of the host, bound read-only.
    File {
        /// The file.
        source: PathBuf,
        /// Where.
        at: String,
    },
}

/// What the launcher decided about an overlay root before the child was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In the order in which they are made: what is below another comes after it.
    pub(crate) pieces: Vec<Piece>,
    /// Directories that start empty.
    pub(crate) private: Vec<String>,
    /// Size of the upper layer in bytes.
    pub(crate) upper_size_bytes: Option<u64>,
    /// A directory of ours on the host to mount the tmpfs on, in the child's mount namespace.
    pub(crate) scratch: PathBuf,
    /// SELinux context of its files.
    pub(crate) label: Option<String>,
    /// In a user namespace: overlayfs keeps its marks in `user.*` attributes (`userxattr`, Linux 5.11).
    pub(crate) in_user_namespace: bool,
}

/// File systems that hold files of their own; others (proc, tmpfs, cgroup, …) are not carried into the container.
const REAL: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "erofs",
    "squashfs", "vfat", "exfat", "ntfs3", "iso9660", "udf", "nfs", "nfs4", "cifs", "9p", "virtiofs",
    "overlay", "fuseblk",
];

/// Kernel file systems and places that are mounted anew: nothing of the host's is shown there.
const ANEW: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What an overlay root over `lower` is put together of, from the text of `/proc/self/mountinfo`.
pub(crate) fn pieces(
    lower: &Path,
    private: &[String],
    mountinfo: &[u8],
    in_user_namespace: bool,
) -> Result<Vec<Piece>> {
    let entries = plim_model::parse::mountinfo::parse(mountinfo)
        .map_err(|error| RuntimeError::refused("read /proc/self/mountinfo", error.to_string()))?;
    // A later mount on the same place covers the earlier one: what is visible counts.
    let mounted: BTreeMap<&Path, &str> =
        entries.iter().map(|entry| (Path::new(&entry.mount.target), entry.mount.fs_type.as_str())).collect();
    if in_user_namespace {
        let mut pieces = Vec::new();
        split(lower, Path::new("/"), private, &mounted, &mut pieces)?;
        return Ok(pieces);
    }
    let mut pieces = vec![Piece::Layer { lower: lower.to_owned(), at: "/".into() }];
    // By path: what is below another comes after it.
    for (target, fs_type) in &mounted {
        let Ok(below) = target.strip_prefix(lower) else { continue };
        let at = Path::new("/").join(below);
        let hidden = private.iter().any(|directory| at.starts_with(directory));
        if below.as_os_str().is_empty() || hidden || !REAL.contains(fs_type) {
            continue;
        }
        // A bind mount of one file (`/etc/resolv.conf` in a nested container) is no lower layer.
        if target.is_dir() {
            pieces.push(Piece::Layer { lower: (*target).to_owned(), at: at.to_string_lossy().into_owned() });
        }
    }
    Ok(pieces)
}

/// In a user namespace the mounts below a directory are locked, and a directory with locked mounts below it cannot be a
/// lower layer, for it would show what they cover (clone_private_mount and has_locked_children, fs/namespace.c). So
/// every directory that carries a mount is made anew, with a layer for each of its entries.
fn split(
    directory: &Path,
    at: &Path,
    private: &[String],
    mounted: &BTreeMap<&Path, &str>,
    pieces: &mut Vec<Piece>,
) -> Result<()> {
    let doing = || format!("list {}, the lower layer", directory.display());
    let mut names =
        std::fs::read_dir(directory).during(doing)?.collect::<std::io::Result<Vec<_>>>().during(doing)?;
    names.sort_by_key(std::fs::DirEntry::file_name);
    for entry in names {
        let (source, at) = (entry.path(), at.join(entry.file_name()));
        let place = at.to_string_lossy().into_owned();
        let kind = entry.file_type().during(doing)?;
        let own = private.contains(&place) || ANEW.contains(&place.as_str());
        let carries = mounted.keys().any(|target| **target != source && target.starts_with(&source))
            || (kind.is_dir() && !own && all_private(&source, &at, private).during(doing)?);
        // What is mounted here but holds no files of its own is not carried into the container.
        let foreign = mounted.get(source.as_path()).is_some_and(|fs_type| !REAL.contains(fs_type));
        if kind.is_symlink() {
            let target =
                std::fs::read_link(&source).during(|| format!("read the link {}", source.display()))?;
            pieces.push(Piece::Link { at: place, target });
        } else if kind.is_dir() && (own || foreign) {
            pieces.push(Piece::Directory { mode: private_mode(&place), at: place });
        } else if kind.is_dir() && carries {
            pieces.push(Piece::Directory { at: place, mode: 0o755 });
            split(&source, &at, private, mounted, pieces)?;
        } else if kind.is_dir() {
            pieces.push(Piece::Layer { lower: source, at: place });
        } else if kind.is_file() {
            pieces.push(Piece::File { source, at: place });
        }
    }
    Ok(())
}

/// On every mount of the host's files: no set-uid bit, no file capability, no device of theirs.
const PLAIN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Whether there are private directories directly in this one, and no others.
fn all_private(source: &Path, at: &Path, private: &[String]) -> std::io::Result<bool> {
    if !private.iter().any(|directory| Path::new(directory).parent() == Some(at)) {
        return Ok(false);
    }
    for entry in std::fs::read_dir(source)? {
        let entry = entry?;
        let place = at.join(entry.file_name());
        if entry.file_type()?.is_dir() && !private.iter().any(|directory| Path::new(directory) == place) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Mounts it; returns the root directory of the container.
pub(crate) fn mount_root(plan: &Plan) -> Result<Root> {
    let scratch = &plan.scratch;
    // An inode costs about a kilobyte, which `size` does not count: no more of them than pages.
    let size = plan
        .upper_size_bytes
        .map_or(String::new(), |bytes| format!(",size={bytes},nr_inodes={}", (bytes / 4096).max(4096)));
    let data = super::labelled(&format!("mode=0755{size}"), plan.label.as_deref());
    mount(Some("plim-upper"), scratch, Some("tmpfs"), PLAIN, Some(data.as_str()))
        .during(|| format!("mount the upper layer's tmpfs ({data}) on {}", scratch.display()))?;
    let merged = scratch.join("root");
    make_directory(&merged, 0o755)?;
    let mut root = None;
    for (number, piece) in plan.pieces.iter().enumerate() {
        if let (None, Piece::Layer { lower, at }) = (&root, piece)
            && at == "/"
        {
            mount_layer(plan, number, lower, at, &merged)?;
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let merged = open(&merged, flags, Mode::empty()).during(|| "open the merged root")?;
            root = Some(Root::new(merged));
            continue;
        }
        if root.is_none() {
            // A plain directory of the tmpfs, in which the pieces come together.
            root = Some(Root::new(attach_on_itself(&merged, copy_directory(&merged)?)?));
        }
        if let Some(root) = &mut root {
            make_piece(plan, number, piece, root)?;
        }
    }
    let Some(mut root) = root else {
        return Err(RuntimeError::refused("mount the overlay root", "there is nothing in it"));
    };
    for (number, directory) in plan.private.iter().enumerate() {
        // Those that the lower layer does not have.
        let there = root.open(directory, Missing::MakeDirectory)?;
        // In a user namespace no directory of an upper layer can be opaque before it is mounted.
        let made = |piece: &Piece| matches!(piece, Piece::Directory { at, .. } if at == directory);
        if plan.in_user_namespace && !plan.pieces.iter().any(made) {
            let part = cover(plan, number, directory, there)?;
            root.add_part(part);
        }
    }
    Ok(root)
}

/// An empty directory of the upper layer's tmpfs, bound: a tmpfs of its own would cost as much again at the end, when the
/// kernel clears it away, and have a size limit of its own.
fn cover(plan: &Plan, number: usize, directory: &str, target: OwnedFd) -> Result<OwnedFd> {
    let doing = || format!("mount an empty directory on {directory}");
    let source = plan.scratch.join(format!("private{number}"));
    make_directory(&source, private_mode(directory))?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let source = open(&source, flags, Mode::empty()).during(doing)?;
    let copy = sys::clone_mount(source.as_fd(), false).during(doing)?;
    sys::move_mount(copy.as_fd(), target.as_fd()).during(doing)?;
    Ok(copy)
}

fn make_piece(plan: &Plan, number: usize, piece: &Piece, root: &mut Root) -> Result<()> {
    match piece {
        Piece::Layer { lower, at } => {
            let target = root.open(at, Missing::MakeDirectory)?;
            mount_layer(plan, number, lower, at, Path::new(&descriptor_path(target.as_fd())))?;
            let mounted = root.open(at, Missing::Error)?;
            root.add_part(mounted);
        }
        Piece::Directory { at, mode } => {
            let made = root.open(at, Missing::MakeDirectory)?;
            let place = descriptor_path(made.as_fd());
            std::fs::set_permissions(place, PermissionsExt::from_mode(*mode))
                .during(|| format!("set the mode of {at} to {mode:o}"))?;
        }
        Piece::Link { at, target } => {
            let (parent, name) = at.rsplit_once('/').unwrap_or(("", at));
            let parent = root.open(if parent.is_empty() { "/" } else { parent }, Missing::Error)?;
            symlinkat(target, &parent, name).during(|| format!("make the link {at} in the root"))?;
        }
        Piece::File { source, at } => {
            let doing = || format!("bind the host's {} read-only", source.display());
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = open(source, flags, Mode::empty()).during(doing)?;
            let target = root.open(at, Missing::MakeFile)?;
            let copy = sys::clone_mount(file.as_fd(), false).during(doing)?;
            sys::move_mount(copy.as_fd(), target.as_fd()).during(doing)?;
            attributes::change(copy.as_fd(), false, MsFlags::MS_RDONLY | PLAIN, MsFlags::empty())
                .during(doing)?;
        }
    }
    Ok(())
}

/// One overlay of `lower` on the directory that `target` names.
fn mount_layer(plan: &Plan, number: usize, lower: &Path, at: &str, target: &Path) -> Result<()> {
    let upper = plan.scratch.join(format!("upper{number}"));
    let work = plan.scratch.join(format!("work{number}"));
    // The merged directory has the mode of the upper one.
    let mode = stat(lower).during(|| format!("look at {}, the lower layer", lower.display()))?.st_mode;
    make_directory(&upper, mode & 0o7777)?;
    make_directory(&work, 0o700)?;
    let mut shown = lower.to_owned();
    if !plan.in_user_namespace {
        let below =
            |path: &String| Some((Path::new(path).strip_prefix(at).ok()?.to_owned(), private_mode(path)));
        hidden::empty_directories(lower, &upper, plan.private.iter().filter_map(below))?;
        match hidden::view(lower, &plan.scratch, number)? {
            Some(view) => shown = view,
            None => hidden::cover_secrets(lower, &upper, at)?,
        }
    }
    let mut data =
        format!("lowerdir={},upperdir={},workdir={}", escape(&shown), escape(&upper), escape(&work));
    if plan.in_user_namespace {
        data.push_str(",userxattr");
    }
    let data = super::labelled(&data, plan.label.as_deref());
    mount(Some("overlay"), target, Some("overlay"), PLAIN, Some(data.as_str()))
        .during(|| format!("mount overlay ({data}) on {at}"))
}

/// The mode that a directory of this name has on every Unix (hier(7)).
fn private_mode(directory: &str) -> u32 {
    match directory {
        "/tmp" | "/var/tmp" => 0o1777,
        "/root" => 0o700,
        _ => 0o755,
    }
}

pub(super) fn make_directory(path: &Path, mode: u32) -> Result<()> {
    mkdir(path, Mode::from_bits_truncate(mode)).during(|| format!("make directory {}", path.display()))
}

/// overlayfs splits layers at `:` and options at `,`, both taken literally after a backslash
/// (Documentation/filesystems/overlayfs.rst).
pub(super) fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_file_systems_get_a_layer_of_their_own() {
        let text = b"1 0 254:0 / / rw - ext4 /dev/vda rw\n\
            2 1 254:1 / /usr rw - ext4 /dev/vdb rw\n\
            3 1 0:5 / /proc rw - proc proc rw\n\
            4 1 254:2 / /home rw - xfs /dev/vdc rw\n\
            5 1 0:6 / /dev/shm rw - tmpfs tmpfs rw\n\
            6 2 254:1 / /usr rw - ext4 /dev/vdb rw\n";
        let pieces = pieces(Path::new("/"), &["/home".to_owned()], text, false).unwrap();
        let layer = |path: &str| Piece::Layer { lower: path.into(), at: path.into() };
        assert_eq!(pieces, [layer("/"), layer("/usr")]);
    }

    #[test]
    fn in_a_user_namespace_no_layer_carries_a_mount() {
        let directory = tempfile::tempdir().unwrap();
        let lower = directory.path();
        for path in
            ["usr/bin", "var/log", "var/cache", "proc", "home/me", "boot", "etc/a", "etc/docker", "srv/a"]
        {
            std::fs::create_dir_all(lower.join(path)).unwrap();
        }
        std::os::unix::fs::symlink("usr/bin", lower.join("bin")).unwrap();
        std::fs::write(lower.join("motd"), "ahoy").unwrap();
        let text = format!(
            "1 0 254:0 / / rw - ext4 /dev/vda rw\n\
             2 1 254:1 / {0}/var/log rw - ext4 /dev/vdb rw\n\
             3 1 0:9 / {0}/boot rw - autofs none rw\n",
            lower.display()
        );
        // Of /etc one directory is private, of /srv each.
        let private = ["/home", "/etc/docker", "/srv/a"].map(str::to_owned);
        let pieces = pieces(lower, &private, text.as_bytes(), true).unwrap();
        let directory = |at: &str| Piece::Directory { at: at.into(), mode: 0o755 };
        let layer = |at: &str| Piece::Layer { lower: lower.join(&at[1..]), at: at.into() };
        assert_eq!(
            pieces,
            [
                Piece::Link { at: "/bin".into(), target: "usr/bin".into() },
                directory("/boot"),
                layer("/etc"),
                directory("/home"),
                Piece::File { source: lower.join("motd"), at: "/motd".into() },
                directory("/proc"),
                directory("/srv"),
                directory("/srv/a"),
                layer("/usr"),
                directory("/var"),
                layer("/var/cache"),
                layer("/var/log"),
            ]
        );
    }

    #[test]
    fn separators_are_escaped() {
        assert_eq!(escape(Path::new("/a:b,c\\d")), "/a\\:b\\,c\\\\d");
    }

    #[test]
    fn usual_modes() {
        assert_eq!(private_mode("/tmp"), 0o1777);
        assert_eq!(private_mode("/root"), 0o700);
        assert_eq!(private_mode("/run"), 0o755);
    }
}

//! /dev: the standard nodes and links, further device nodes, and the console.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mknodat};
use nix::sys::statfs::FsType;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use super::attributes;
use super::resolve::{Missing, Root, descriptor_path, verify_file_system};
use crate::config::DeviceNode;
use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// The nodes that every container has (OCI runtime-spec, config-linux.md "Default Devices").
const STANDARD: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links that programs expect (config-linux.md "Dev symbolic links", and /dev/core as Docker makes it).
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Flags of a mount that shows a single device node.
pub(super) const NODE: MsFlags = MsFlags::MS_RDONLY.union(MsFlags::MS_NOSUID).union(MsFlags::MS_NOEXEC);

/// DEVPTS_SUPER_MAGIC (include/uapi/linux/magic.h).
const DEVPTS_MAGIC: FsType = FsType(0x1cd1);

/// Makes the standard nodes and links, then the configured ones.
///
/// In a user namespace mknod(2) is refused, so the host's nodes are bound instead. They are bound read-only, which lets their
/// devices be written to, and their owners, modes and times not be changed.
pub(crate) fn fill(root: &Root, devices: &[DeviceNode], in_user_namespace: bool) -> Result<()> {
    let dev = root.open_no_symlinks("/dev", Missing::MakeDirectory)?;
    for (name, major, minor) in STANDARD {
        let node = DeviceNode {
            path: format!("/dev/{name}"),
            kind: 'c',
            major: u32::try_from(major).unwrap_or_default(),
            minor: u32::try_from(minor).unwrap_or_default(),
            mode: 0o666,
            uid: 0,
            gid: 0,
        };
        make_node(&dev, name, &node, in_user_namespace)?;
    }
    for (name, target) in LINKS {
        match symlinkat(target, &dev, name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).during(|| format!("make link /dev/{name} to {target}")),
        }
    }
    for node in devices {
        let (parent, name) =
            node.path.rsplit_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
                RuntimeError::refused(
                    format!("make device {:?}", node.path),
                    "it must be an absolute path to a file",
                )
            })?;
        let parent = if parent.is_empty() { "/" } else { parent };
        let directory = root.open(parent, Missing::MakeDirectory)?;
        make_node(&directory, name, node, in_user_namespace)?;
    }
    Ok(())
}

fn make_node(directory: &OwnedFd, name: &str, node: &DeviceNode, in_user_namespace: bool) -> Result<()> {
    let kind = match node.kind {
        'b' => SFlag::S_IFBLK,
        'c' | 'u' => SFlag::S_IFCHR,
        'p' => SFlag::S_IFIFO,
        other => {
            return Err(RuntimeError::refused(
                format!("make device {}", node.path),
                format!("unknown kind {other:?}, expected b, c or p"),
            ));
        }
    };
    let doing = || format!("make device {} ({} {}:{})", node.path, node.kind, node.major, node.minor);
    if in_user_namespace && node.kind != 'p' {
        return bind_node(directory, name, node);
    }
    let number = makedev(node.major.into(), node.minor.into());
    let mode = Mode::from_bits_truncate(node.mode);
    match mknodat(directory, name, kind, mode, number) {
        Ok(()) => {}
        Err(Errno::EEXIST) => return check_existing(directory, name, kind, number, node),
        Err(errno) => return Err(errno).during(doing),
    }
    if node.uid != 0 || node.gid != 0 {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        fchownat(directory, name, Some(uid), Some(gid), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
            .during(doing)?;
    }
    Ok(())
}

/// A node that an image (or an earlier mount) already has is good only if it is the same device.
fn check_existing(
    directory: &OwnedFd,
    name: &str,
    kind: SFlag,
    number: u64,
    node: &DeviceNode,
) -> Result<()> {
    let doing = || format!("make device {} ({} {}:{})", node.path, node.kind, node.major, node.minor);
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let existing = openat(directory, name, flags, Mode::empty()).during(doing)?;
    let stat = fstat(&existing).during(doing)?;
    let same_kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == kind;
    if same_kind && (kind == SFlag::S_IFIFO || stat.st_rdev == number) {
        return Ok(());
    }
    Err(RuntimeError::refused(doing(), "the root file system has something else there"))
}

/// Binds the host's node of the same name, verified by its device number.
fn bind_node(directory: &OwnedFd, name: &str, node: &DeviceNode) -> Result<()> {
    let doing = || format!("bind the host's {} into the container", node.path);
    let source =
        open(node.path.as_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
            .during(doing)?;
    verify_device(source.as_fd(), &node.path, node.major.into(), node.minor.into())?;
    let how = OpenHow::new()
        .flags(OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .mode(Mode::from_bits_truncate(0o666))
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let at = openat2(directory, name, how).during(doing)?;
    let copy = sys::clone_mount(source.as_fd(), false).during(doing)?;
    sys::move_mount(copy.as_fd(), at.as_fd()).during(doing)?;
    attributes::change(copy.as_fd(), false, NODE, MsFlags::empty()).during(doing)
}

/// The container's own /dev/null, found and verified in its root: the host's node would be the container's to chmod.
pub(crate) fn find_null(root: &Root) -> Result<OwnedFd> {
    let null = root.open_no_symlinks("/dev/null", Missing::Error)?;
    verify_device(null.as_fd(), "the container's /dev/null", 1, 3)?;
    Ok(null)
}

/// The same, open for reading and writing.
pub(crate) fn open_null(root: &Root) -> Result<OwnedFd> {
    let null = find_null(root)?;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open(descriptor_path(null.as_fd()).as_str(), flags, Mode::empty())
        .during(|| "open the container's /dev/null")
}

/// Fails unless `fd` is the device `major:minor`.
pub(crate) fn verify_device(fd: BorrowedFd<'_>, path: &str, major: u64, minor: u64) -> Result<()> {
    let stat = fstat(fd).during(|| format!("look at {path}"))?;
    let is_device = matches!(
        SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()),
        SFlag::S_IFCHR | SFlag::S_IFBLK
    );
    if is_device && stat.st_rdev == makedev(major, minor) {
        return Ok(());
    }
    Err(RuntimeError::refused(format!("use {path}"), format!("it is not the device {major}:{minor}")))
}

/// Opens the multiplexer of the container's own devpts, verified to be on devpts (the class of CVE-2025-52565: an
/// image that brings its own /dev/pts or /dev/ptmx must not choose what the console is).
pub(crate) fn open_multiplexer(root: &Root) -> Result<OwnedFd> {
    let doing = || "open /dev/pts/ptmx in the container";
    let how = OpenHow::new().flags(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_SYMLINKS,
    );
    let master = openat2(root.as_fd(), "dev/pts/ptmx", how).during(doing)?;
    verify_file_system(master.as_fd(), DEVPTS_MAGIC, "/dev/pts/ptmx", "devpts")?;
    verify_device(master.as_fd(), "/dev/pts/ptmx", 5, 2)?;
    Ok(master)
}

/// Binds the terminal's slave side onto /dev/console, which is made for it and must not be there as anything else.
pub(crate) fn bind_console(root: &Root, slave: BorrowedFd<'_>) -> Result<()> {
    let doing = || "bind the terminal onto /dev/console";
    verify_file_system(slave, DEVPTS_MAGIC, "the terminal", "devpts")?;
    let dev = root.open_no_symlinks("/dev", Missing::Error)?;
    let how = OpenHow::new()
        .flags(OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .mode(Mode::from_bits_truncate(0o600))
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let console = openat2(&dev, "console", how).during(doing)?;
    let kind = SFlag::from_bits_truncate(fstat(&console).during(doing)?.st_mode & SFlag::S_IFMT.bits());
    if kind != SFlag::S_IFREG {
        return Err(RuntimeError::refused(doing(), "the image has something else than a plain file there"));
    }
    let copy = sys::clone_mount(slave, false).during(doing)?;
    sys::move_mount(copy.as_fd(), console.as_fd()).during(doing)
}

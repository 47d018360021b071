//! Changing the flags and the propagation of a mount that a descriptor names.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::resolve::descriptor_path;
use crate::sys;

/// MOUNT_ATTR__ATIME (include/uapi/linux/mount.h): the atime modes are one field, cleared as a whole.
const ATIME_FIELD: u64 = 0x70;

/// Flags as mount_setattr(2) numbers them, and whether the atime field is to be replaced.
pub(super) fn attributes(flags: MsFlags) -> (u64, bool) {
    let table = [
        (MsFlags::MS_RDONLY, 0x1),
        (MsFlags::MS_NOSUID, 0x2),
        (MsFlags::MS_NODEV, 0x4),
        (MsFlags::MS_NOEXEC, 0x8),
        (MsFlags::MS_NODIRATIME, 0x80),
        (MsFlags::from_bits_retain(256), 0x20_0000),
        (MsFlags::MS_NOATIME, 0x10),
        (MsFlags::MS_STRICTATIME, 0x20),
        (MsFlags::MS_RELATIME, 0),
    ];
    let atime = MsFlags::MS_NOATIME | MsFlags::MS_STRICTATIME | MsFlags::MS_RELATIME;
    let bits = table.iter().filter(|(flag, _)| flags.contains(*flag)).fold(0, |bits, (_, attr)| bits | attr);
    (bits, flags.intersects(atime))
}

/// Sets and clears per-mount flags, on this mount or on it and all below; flags not named keep their value.
///
/// mount_setattr(2) where the kernel has it (5.12); before, a remount with the flags it has (statvfs(3)) and these,
/// which the kernel cannot do for a whole tree: then the error is ENOSYS.
pub(crate) fn change(
    mount_root: BorrowedFd<'_>,
    recursive: bool,
    set: MsFlags,
    clear: MsFlags,
) -> nix::Result<()> {
    if set.is_empty() && clear.is_empty() {
        return Ok(());
    }
    let (set_bits, atime) = attributes(set);
    let (mut clear_bits, _) = attributes(clear);
    if atime || clear_bits & ATIME_FIELD != 0 {
        clear_bits |= ATIME_FIELD;
    }
    match sys::mount_setattr(mount_root, recursive, set_bits, clear_bits, 0) {
        Err(Errno::ENOSYS) if !recursive => {}
        other => return other,
    }
    let flags = (present(fstatvfs(mount_root)?.flags()) | set) - clear;
    mount(
        None::<&str>,
        descriptor_path(mount_root).as_str(),
        None::<&str>,
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags,
        None::<&str>,
    )
}

/// The flags a mount has, as mount(2) numbers them.
fn present(flags: FsFlags) -> MsFlags {
    let table = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    table.iter().filter(|(has, _)| flags.contains(*has)).fold(MsFlags::empty(), |all, (_, flag)| all | *flag)
}

/// Changes how events travel to and from a mount.
pub(crate) fn propagate(mount_root: BorrowedFd<'_>, flags: MsFlags) -> nix::Result<()> {
    mount(None::<&str>, descriptor_path(mount_root).as_str(), None::<&str>, flags, None::<&str>)
}

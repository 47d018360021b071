//! Masked and read-only paths.
//!
//! What is mounted is held by descriptor and verified (the class of CVE-2025-31133: a /dev/null that is not the null
//! device turns a mask into a bind mount of the attacker's choice), and so is what it is mounted on.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::attributes;
use super::dev::verify_device;
use super::resolve::{Root, descriptor_path, is_directory};
use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// The host's /dev/null, verified, to be bound over files.
pub(crate) fn open_null() -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let null = open("/dev/null", flags, Mode::empty()).during(|| "open the host's /dev/null")?;
    verify_device(null.as_fd(), "the host's /dev/null", 1, 3)?;
    Ok(null)
}

/// Opens a path to be covered; `None` when it is not there, which the specification lets pass.
///
/// Below /proc and /sys no symlink is followed: with [`check_proc`] the kernel's own file is what is found.
fn find(root: &Root, path: &str) -> Result<Option<OwnedFd>> {
    let kernel = path.starts_with("/proc/") || path.starts_with("/sys/");
    let more = if kernel { ResolveFlag::RESOLVE_NO_SYMLINKS } else { ResolveFlag::empty() };
    match root.try_open(path, more) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).during(|| format!("open {path} in the root file system, to cover it")),
    }
}

/// Masks every path: a directory by an empty read-only tmpfs, anything else by the null device.
pub(crate) fn mask(root: &Root, paths: &[String]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let null = open_null()?;
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let Some(at) = find(root, path)? else { continue };
        let doing = || format!("mask {path}");
        if !is_directory(at.as_fd(), path)? {
            let copy = sys::clone_mount(null.as_fd(), false).during(doing)?;
            sys::move_mount(copy.as_fd(), at.as_fd()).during(doing)?;
        } else if let Some(empty) = &empty {
            // The same empty directory again: one file system for all, as none can be written.
            let copy = sys::clone_mount(empty.as_fd(), false).during(doing)?;
            sys::move_mount(copy.as_fd(), at.as_fd()).during(doing)?;
        } else {
            let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            let data = Some("nr_blocks=1,nr_inodes=1,mode=755");
            mount(Some("tmpfs"), descriptor_path(at.as_fd()).as_str(), Some("tmpfs"), flags, data)
                .during(doing)?;
            empty = root.try_open(path, ResolveFlag::empty()).ok();
        }
    }
    Ok(())
}

/// Makes every path read-only: bound onto itself, with everything mounted below it.
pub(crate) fn make_read_only(root: &Root, paths: &[String]) -> Result<()> {
    for path in paths {
        let Some(at) = find(root, path)? else { continue };
        let doing = || format!("make {path} read-only");
        let copy = sys::clone_mount(at.as_fd(), true).during(doing)?;
        sys::move_mount(copy.as_fd(), at.as_fd()).during(doing)?;
        match attributes::change(copy.as_fd(), true, MsFlags::MS_RDONLY, MsFlags::empty()) {
            Ok(()) => {}
            // Before mount_setattr(2) (Linux 5.12) only the mount itself can be changed, as runc does everywhere.
            Err(Errno::ENOSYS) => {
                attributes::change(copy.as_fd(), false, MsFlags::MS_RDONLY, MsFlags::empty())
                    .during(doing)?;
            }
            Err(errno) => return Err(errno).during(doing),
        }
    }
    Ok(())
}

/// Fails unless the /proc that was mounted is what the paths below it will be found on.
pub(crate) fn check_proc(root: &Root) -> Result<()> {
    let proc = root
        .try_open("/proc", ResolveFlag::RESOLVE_NO_SYMLINKS)
        .during(|| "open /proc in the root file system")?;
    let magic = fstatfs(&proc).during(|| "look at /proc in the container")?.filesystem_type();
    if magic == PROC_SUPER_MAGIC {
        return Ok(());
    }
    Err(RuntimeError::refused(
        "look at /proc in the container",
        "procfs was mounted there and is not visible",
    ))
}

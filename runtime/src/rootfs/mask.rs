//! Masked and read-only paths.
//!
//! What is mounted is held by descriptor and verified (the class of CVE-2025-31133: a /dev/null that is not the null
//! device turns a mask into a bind mount of the attacker's choice), and so is what it is mounted on.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::resolve::{Missing, Root, descriptor_path, is_directory, kernel_top};
use super::{attributes, dev};
use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// Opens a path to be covered; `None` when it is not there, which the specification lets pass.
fn find(root: &Root, path: &str) -> Result<Option<OwnedFd>> {
    match root.find(path) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).during(|| format!("open {path} in the root file system, to cover it")),
    }
}

/// Masks every path: a directory by an empty read-only tmpfs, anything else by the container's null device, bound read-only.
pub(crate) fn mask(root: &mut Root, paths: &[String]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let node = dev::find_null(root)?;
    let (mut null, mut empty): (Option<OwnedFd>, Option<OwnedFd>) = (None, None);
    for path in paths {
        let Some(at) = find(root, path)? else { continue };
        let doing = || format!("mask {path}");
        if !is_directory(at.as_fd(), path)? {
            let copy = sys::clone_mount(null.as_ref().unwrap_or(&node).as_fd(), false).during(doing)?;
            sys::move_mount(copy.as_fd(), at.as_fd()).during(doing)?;
            if null.is_none() {
                // A copy of this mount has its flags.
                attributes::change(copy.as_fd(), false, dev::NODE, MsFlags::empty()).during(doing)?;
                null = Some(copy);
            }
        } else if let Some(empty) = &empty {
            // The same empty directory again: one file system for all, as none can be written.
            let copy = sys::clone_mount(empty.as_fd(), false).during(doing)?;
            sys::move_mount(copy.as_fd(), at.as_fd()).during(doing)?;
        } else {
            let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            let data = Some("nr_blocks=1,nr_inodes=1,mode=755");
            mount(Some("tmpfs"), descriptor_path(at.as_fd()).as_str(), Some("tmpfs"), flags, data)
                .during(doing)?;
            empty = root.find(path).ok();
        }
        if kernel_top(path).is_some() {
            let cover = root.open_no_symlinks(path, Missing::Error)?;
            root.note(path, cover);
        }
    }
    Ok(())
}

/// Makes every path read-only: bound onto itself, with everything mounted below it.
pub(crate) fn make_read_only(root: &mut Root, paths: &[String]) -> Result<()> {
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
        root.note(path, copy);
    }
    Ok(())
}

/// Fails unless what is mounted on /proc is a procfs: else the paths below it are not the kernel's.
pub(crate) fn check_proc(root: &Root) -> Result<()> {
    const DOING: &str = "look at /proc in the container";
    let magic = root.proc().map(fstatfs).transpose().during(|| DOING)?.map(|found| found.filesystem_type());
    if magic == Some(PROC_SUPER_MAGIC) {
        return root.check_kernels();
    }
    Err(RuntimeError::refused(DOING, "procfs was mounted there and is not visible"))
}

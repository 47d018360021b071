//! The container's root file system, built by the child in its own mount namespace.
//!
//! [`build`] runs before pivot_root(2), while host paths still resolve; [`enter`] makes the root `/` and lets go of
//! the host's tree. In between, everything is done on descriptors below the new root.

pub(crate) mod attributes;
pub(crate) mod dev;
pub(crate) mod hidden;
pub(crate) mod mask;
pub(crate) mod mounts;
pub(crate) mod options;
pub(crate) mod overlay;
pub(crate) mod resolve;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use self::mounts::{CgroupView, Understood};
use self::resolve::Root;
use crate::config::DeviceNode;
use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// Where the root's files come from, decided by the launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory as it is.
    Directory(PathBuf),
    /// A throw-away layer over a directory.
    Overlay(overlay::Plan),
}

/// Everything the child needs to build the root, decided and checked by the launcher.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) source: Source,
    /// Propagation of `/`, from the configuration.
    pub(crate) propagation: MsFlags,
    pub(crate) read_only: bool,
    pub(crate) mounts: Understood<'a>,
    pub(crate) cgroups: Vec<CgroupView>,
    pub(crate) devices: &'a [DeviceNode],
    pub(crate) masked: &'a [String],
    pub(crate) read_only_paths: &'a [String],
    pub(crate) in_user_namespace: bool,
    /// SELinux context of the file systems that are mounted for the container.
    pub(crate) label: Option<&'a str>,
}

/// Options of a mount with the SELinux context of all its files; the context has commas and no quotation mark.
pub(crate) fn labelled(options: &str, label: Option<&str>) -> String {
    match label {
        None => options.to_owned(),
        Some(label) if options.is_empty() => format!("context=\"{label}\""),
        Some(label) => format!("{options},context=\"{label}\""),
    }
}

/// Makes the root and everything mounted in it. The caller is in a mount namespace of its own. `enter_cgroups` is called
/// once, before the first mount that shows cgroups, or at the end.
pub(crate) fn build(plan: &Plan<'_>, enter_cgroups: impl FnOnce() -> Result<()>) -> Result<Root> {
    let shared = plan.propagation.contains(MsFlags::MS_SHARED);
    // A root that is to share mount events with the host must be copied while it still is a peer of the host's mount.
    let mut root = None;
    if let (Source::Directory(path), true) = (&plan.source, shared) {
        root = Some(copy_directory(path)?);
    }
    // Private first: nothing that is mounted from here on may show up on the host. `slave` lets the host's unmounts
    // through, so that a container does not keep a disk busy; it is needed when the container asks for `slave`.
    let outward =
        if plan.propagation.contains(MsFlags::MS_SLAVE) { MsFlags::MS_SLAVE } else { MsFlags::MS_PRIVATE };
    mount(None::<&str>, "/", None::<&str>, outward | MsFlags::MS_REC, None::<&str>)
        .during(|| "make every mount of the new mount namespace private")?;
    let mut root = match (&plan.source, root) {
        (Source::Directory(path), None) => Root::new(attach_on_itself(path, copy_directory(path)?)?),
        (Source::Directory(path), Some(copy)) => Root::new(attach_on_itself(path, copy)?),
        (Source::Overlay(overlay), _) => overlay::mount_root(overlay)?,
    };
    let mut enter_cgroups = Some(enter_cgroups);
    for (mount, options) in &plan.mounts {
        if mounts::shows_cgroups(mount)
            && let Some(enter) = enter_cgroups.take()
        {
            enter()?;
        }
        mounts::make(&mut root, mount, options, &plan.cgroups, plan.label)?;
    }
    if let Some(enter) = enter_cgroups {
        enter()?;
    }
    let dev_is_bound =
        plan.mounts.iter().any(|(mount, options)| mount.destination == "/dev" && options.bind.is_some());
    if !dev_is_bound {
        dev::fill(&root, plan.devices, plan.in_user_namespace)?;
    }
    if plan.mounts.iter().any(|(mount, _)| mount.destination == "/proc" && mount.fs_type == "proc") {
        mask::check_proc(&root)?;
    }
    Ok(root)
}

/// Covers what is to be covered. After every mount, so that nothing is mounted over a cover.
pub(crate) fn cover(plan: &Plan<'_>, root: &mut Root) -> Result<()> {
    mask::make_read_only(root, plan.read_only_paths)?;
    mask::mask(root, plan.masked)?;
    // And what is covered is what the container finds.
    root.check_kernels()
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .during(|| format!("open the root file system {}", path.display()))
}

pub(super) fn copy_directory(path: &Path) -> Result<OwnedFd> {
    let directory = open_directory(path)?;
    sys::clone_mount(directory.as_fd(), true)
        .during(|| format!("bind the root file system {} (needs Linux 5.2)", path.display()))
}

/// pivot_root(2) wants a mount point: the directory is mounted on itself.
pub(super) fn attach_on_itself(path: &Path, copy: OwnedFd) -> Result<OwnedFd> {
    let place = open_directory(path)?;
    sys::move_mount(copy.as_fd(), place.as_fd())
        .during(|| format!("mount the root file system {} on itself", path.display()))?;
    Ok(copy)
}

/// Makes `root` the root of the mount namespace and detaches the host's tree.
///
/// On an initramfs pivot_root(2) is refused with EINVAL ("the current root is on the rootfs"): there the new root is
/// moved over `/` and entered by chroot(2), as switch_root(8) and runc's `--no-pivot` do. What is left below it is the
/// initramfs alone, covered; the host's other mounts are detached first.
pub(crate) fn enter(plan: &Plan<'_>, root: &Root) -> Result<()> {
    fchdir(root).during(|| "change to the root file system")?;
    match pivot_root(".", ".") {
        Ok(()) => {
            // The old root is mounted over the new one now, and the working directory is the old root's place.
            umount2(".", MntFlags::MNT_DETACH).during(|| "detach the host's root")?;
        }
        Err(Errno::EINVAL) if root_is_initramfs() => {
            detach_others()?;
            fchdir(root).during(|| "change to the root file system")?;
            mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
                .during(|| "move the root file system over the initramfs")?;
            chroot(".").during(|| "change root to the root file system")?;
        }
        Err(errno) => return Err(errno).during(|| "pivot_root to the root file system"),
    }
    chdir("/").during(|| "change directory to /")?;
    if plan.propagation != MsFlags::MS_PRIVATE | MsFlags::MS_REC && plan.propagation != MsFlags::MS_PRIVATE {
        mount(None::<&str>, "/", None::<&str>, plan.propagation, None::<&str>)
            .during(|| "set the propagation of the root mount")?;
    }
    if plan.read_only {
        for mount in root.mounts() {
            attributes::change(mount, false, MsFlags::MS_RDONLY, MsFlags::empty())
                .during(|| "make the root file system read-only")?;
        }
    }
    Ok(())
}

/// Whether `/` is the kernel's first root: RAMFS_MAGIC, or tmpfs with mount id of a mount without parent.
fn root_is_initramfs() -> bool {
    let Ok(text) = crate::whole::bytes("/proc/self/mountinfo") else { return false };
    plim_model::parse::mountinfo::parse(&text).is_ok_and(|entries| {
        // The rootfs is its own parent, or is not listed at all and then nothing is mounted at `/`.
        entries
            .iter()
            .find(|entry| entry.mount.target == "/")
            .is_none_or(|entry| entry.mount.fs_type == "rootfs" || entry.parent == entry.id)
    })
}

/// Detaches every mount that is not the new root's, last first. The new root is the working directory.
fn detach_others() -> Result<()> {
    let keep = std::env::current_dir().during(|| "find the path of the root file system")?;
    let text = crate::whole::bytes("/proc/self/mountinfo").during(|| "read /proc/self/mountinfo")?;
    let entries = plim_model::parse::mountinfo::parse(&text)
        .map_err(|error| RuntimeError::refused("read /proc/self/mountinfo", error.to_string()))?;
    for entry in entries.iter().rev() {
        let target = std::path::Path::new(&entry.mount.target);
        // What is above the new root carries it, and cannot be detached without it.
        if target == std::path::Path::new("/") || target.starts_with(&keep) || keep.starts_with(target) {
            continue;
        }
        match umount2(target, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => {
                return Err(errno).during(|| format!("detach the host's mount {}", target.display()));
            }
        }
    }
    Ok(())
}

//! The mounts of the configuration, in order.
//!
//! Each target is resolved in the container's root to a descriptor, and the mount is made on that descriptor.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, mkdirat};

use super::attributes;
use super::options::{self, Options};
use super::resolve::{Missing, Root, descriptor_path, is_directory, kernel_top};
use crate::config::Mount;
use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// One v1 hierarchy as it is shown in the container, or the v2 tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupView {
    /// Directory name below /sys/fs/cgroup (`cpu,cpuacct`).
    pub(crate) name: String,
    /// The container's own cgroup on the host.
    pub(crate) directory: PathBuf,
    /// A v2 tree.
    pub(crate) unified: bool,
}

/// Mounts with understood options; made before the child, so that a typing error costs nothing.
pub(crate) type Understood<'a> = Vec<(&'a Mount, Options)>;

/// Understands every mount's options.
pub(crate) fn understand(mounts: &[Mount]) -> Result<Understood<'_>> {
    mounts.iter().map(|mount| Ok((mount, options::parse(mount)?))).collect()
}

/// Whether this mount needs the container's cgroups to be there.
pub(crate) fn shows_cgroups(mount: &Mount) -> bool {
    // A bind mount may be of anything, the cgroup tree included.
    matches!(mount.fs_type.as_str(), "cgroup" | "cgroup2") || mount.source.starts_with("/sys/fs/cgroup")
}

/// Makes one mount in `root`.
pub(crate) fn make(
    root: &mut Root,
    wanted: &Mount,
    options: &Options,
    cgroups: &[CgroupView],
    label: Option<&str>,
) -> Result<()> {
    if options.bind.is_some() {
        return bind(root, wanted, options);
    }
    match wanted.fs_type.as_str() {
        "cgroup" | "cgroup2" => cgroup(root, wanted, options, cgroups),
        "proc" | "sysfs" => kernels(root, wanted, options),
        // Those that take a context in every namespace; runc labels them too.
        "tmpfs" | "devpts" if !options.data.contains("context=") => fresh(root, wanted, options, label),
        _ => fresh(root, wanted, options, None),
    }
}

/// Where a mount goes. An image has no business to have a symlink for /proc, /sys or /dev, or below them.
fn target(root: &Root, destination: &str, missing: Missing) -> Result<OwnedFd> {
    let guarded = ["/proc", "/sys", "/dev"].iter().any(|top| {
        destination == *top || destination.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
    });
    if guarded { root.open_no_symlinks(destination, missing) } else { root.open(destination, missing) }
}

/// A new file system.
fn fresh(root: &mut Root, wanted: &Mount, options: &Options, label: Option<&str>) -> Result<()> {
    let at = target(root, &wanted.destination, Missing::MakeDirectory)?;
    let doing =
        || format!("mount {} ({}) on {}", wanted.fs_type, wanted.options.join(","), wanted.destination);
    let data = super::labelled(&options.data, label);
    let data = (!data.is_empty()).then_some(data.as_str());
    mount(
        Some(wanted.source.as_str()),
        descriptor_path(at.as_fd()).as_str(),
        Some(wanted.fs_type.as_str()),
        options.set,
        data,
    )
    .during(doing)?;
    if !options.propagation.is_empty() || !options.set_below.is_empty() || !options.clear_below.is_empty() {
        let mounted = target(root, &wanted.destination, Missing::Error)?;
        finish(mounted.as_fd(), MsFlags::empty(), MsFlags::empty(), options).during(doing)?;
    }
    if kernel_top(&wanted.destination).is_some() {
        let mounted = target(root, &wanted.destination, Missing::Error)?;
        root.note(&wanted.destination, mounted);
    }
    Ok(())
}

/// procfs or sysfs: made before it has a place, so that it is known by its mount whatever happens to the place.
fn kernels(root: &mut Root, wanted: &Mount, options: &Options) -> Result<()> {
    let at = target(root, &wanted.destination, Missing::MakeDirectory)?;
    let doing =
        || format!("mount {} ({}) on {}", wanted.fs_type, wanted.options.join(","), wanted.destination);
    let word = |text: &str| CString::new(text).map_err(|_| Errno::EINVAL).during(doing);
    let mut parameters = vec![(c"source".to_owned(), Some(word(&wanted.source)?))];
    // Of the file system as a whole, as mount(2) sets them; what is not here (silent, iversion) changes nothing on these.
    for (flag, name) in [
        (MsFlags::MS_RDONLY, c"ro"),
        (MsFlags::MS_SYNCHRONOUS, c"sync"),
        (MsFlags::MS_DIRSYNC, c"dirsync"),
        (MsFlags::MS_LAZYTIME, c"lazytime"),
    ] {
        if options.set.contains(flag) {
            parameters.push((name.to_owned(), None));
        }
    }
    for part in options.data.split(',').filter(|part| !part.is_empty()) {
        parameters.push(match part.split_once('=') {
            Some((name, value)) => (word(name)?, Some(word(value)?)),
            None => (word(part)?, None),
        });
    }
    let (attributes, _) = attributes::attributes(options.set);
    let mounted = sys::new_mount(&word(&wanted.fs_type)?, &parameters, attributes).during(doing)?;
    sys::move_mount(mounted.as_fd(), at.as_fd()).during(doing)?;
    finish(mounted.as_fd(), MsFlags::empty(), MsFlags::empty(), options).during(doing)?;
    root.note(&wanted.destination, mounted);
    Ok(())
}

/// A file or directory of the host.
fn bind(root: &mut Root, wanted: &Mount, options: &Options) -> Result<()> {
    let recursive = options.bind == Some(true);
    let doing =
        || format!("bind mount {} ({}) on {}", wanted.source, wanted.options.join(","), wanted.destination);
    let source = open(wanted.source.as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .during(|| format!("open {}, the source of a bind mount", wanted.source))?;
    let missing = if is_directory(source.as_fd(), &wanted.source)? {
        Missing::MakeDirectory
    } else {
        Missing::MakeFile
    };
    let at = target(root, &wanted.destination, missing)?;
    let copy = sys::clone_mount(source.as_fd(), recursive).during(doing)?;
    sys::move_mount(copy.as_fd(), at.as_fd()).during(doing)?;
    finish(copy.as_fd(), options.set, options.clear, options).during(doing)?;
    root.note(&wanted.destination, copy);
    Ok(())
}

/// Flags and propagation of a mount just attached.
fn finish(mounted: BorrowedFd<'_>, set: MsFlags, clear: MsFlags, options: &Options) -> nix::Result<()> {
    attributes::change(mounted, false, set, clear)?;
    attributes::change(mounted, true, options.set_below, options.clear_below)?;
    options.propagation.iter().try_for_each(|flags| attributes::propagate(mounted, *flags))
}

/// The container's own cgroups. v2: the tree itself when the container has a cgroup namespace to root it, which the
/// kernel does for a new mount; v1: a tmpfs with one read-only bind per hierarchy, as Docker and runc show it.
fn cgroup(root: &Root, wanted: &Mount, options: &Options, cgroups: &[CgroupView]) -> Result<()> {
    let doing = || format!("mount cgroup ({}) on {}", wanted.options.join(","), wanted.destination);
    let at = target(root, &wanted.destination, Missing::MakeDirectory)?;
    if cgroups.is_empty() {
        // No cgroup of its own (rootless without delegation): an empty place says so better than the host's tree.
        return Ok(());
    }
    if let [CgroupView { directory, unified: true, .. }] = cgroups {
        return attach(directory, at.as_fd(), options, &doing);
    }
    mount(
        Some("cgroup"),
        descriptor_path(at.as_fd()).as_str(),
        Some("tmpfs"),
        options.set - MsFlags::MS_RDONLY,
        Some("mode=755"),
    )
    .during(doing)?;
    let top = target(root, &wanted.destination, Missing::Error)?;
    for view in cgroups {
        mkdirat(&top, view.name.as_str(), Mode::from_bits_truncate(0o755)).during(doing)?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let place = nix::fcntl::openat(&top, view.name.as_str(), flags, Mode::empty()).during(doing)?;
        attach(&view.directory, place.as_fd(), options, &doing)?;
        // systemd mounts `cpu` and `cpuacct` as one and leaves links for each name.
        for name in view.name.split(',').filter(|_| view.name.contains(',')) {
            match nix::unistd::symlinkat(view.name.as_str(), &top, name) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno).during(doing),
            }
        }
    }
    attributes::change(top.as_fd(), false, options.set & MsFlags::MS_RDONLY, MsFlags::empty()).during(doing)
}

/// Binds the container's cgroup directory.
fn attach(
    directory: &Path,
    at: BorrowedFd<'_>,
    options: &Options,
    doing: &impl Fn() -> String,
) -> Result<()> {
    let copy = sys::clone_mount_at(directory).during(|| format!("bind {}", directory.display()))?;
    sys::move_mount(copy.as_fd(), at).during(doing)?;
    attributes::change(copy.as_fd(), false, options.set, options.clear).during(doing)
}

/// Refuses a destination that is not an absolute path, before anything is made.
pub(crate) fn check_destination(mount: &Mount) -> Result<()> {
    if mount.destination.starts_with('/') && !mount.destination.contains('\0') {
        return Ok(());
    }
    Err(RuntimeError::refused(
        format!("mount {} on {:?}", mount.fs_type, mount.destination),
        "the destination must be an absolute path in the container",
    ))
}

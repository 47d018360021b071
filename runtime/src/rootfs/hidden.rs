//! What a root made of the host's files does not show of them.
//!
//! overlayfs checks each access twice: with the credentials of the caller, and with those of the task that mounted the overlay
//! (Documentation/filesystems/overlayfs.rst, "Permission model"). So the lower layer is itself a read-only overlay of the host's
//! directory, the *view*, mounted with the credentials of a user that owns nothing and overrides nothing: a file that not everyone
//! on the host may read cannot be opened in the container by any user with any capability. There is no list of secrets to keep,
//! and no file is looked at when a container starts.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::statfs::{FsType, OVERLAYFS_SUPER_MAGIC, statfs};
use nix::unistd::{Gid, Uid, chown, mkdir, setfsgid, setfsuid, setgroups};

use super::overlay::{escape, make_directory};
use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// A user and group that own no file: the last ids that there are (-1 is not one).
const OWNER_OF_NOTHING: u32 = u32::MAX - 1;

/// ECRYPTFS_SUPER_MAGIC (fs/ecryptfs/ecryptfs_kernel.h).
const ECRYPTFS: FsType = FsType(0xf15f);

/// Mounts the view of `lower`. `None` where the kernel allows one more layer only (FILESYSTEM_MAX_STACK_DEPTH is 2), because
/// `lower` is on an overlay itself; then the caller uses [`cover_secrets`].
pub(super) fn view(lower: &Path, scratch: &Path, number: usize) -> Result<Option<PathBuf>> {
    let found = statfs(lower).during(|| format!("look at the file system of {}", lower.display()))?;
    if [OVERLAYFS_SUPER_MAGIC, ECRYPTFS].contains(&found.filesystem_type()) {
        return Ok(None);
    }
    // Without an upper layer overlayfs wants two lower ones.
    let (view, nothing) = (scratch.join(format!("view{number}")), scratch.join(format!("nothing{number}")));
    make_directory(&view, 0o755)?;
    make_directory(&nothing, 0o755)?;
    let data = format!("lowerdir={}:{}", escape(&nothing), escape(lower));
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    as_owner_of_nothing(|| {
        mount(Some("overlay"), &view, Some("overlay"), flags, Some(data.as_str()))
            .during(|| format!("mount the view of {} ({data})", lower.display()))
    })?;
    Ok(Some(view))
}

/// Runs `action` with file system ids that own nothing, without groups, and with no capability in effect but the one to mount.
/// The groups are not put back: the command's own are set later, in any case.
fn as_owner_of_nothing<T>(action: impl FnOnce() -> Result<T>) -> Result<T> {
    const DOING: &str = "become a user that owns nothing, to mount the view of the host's files";
    let system = |error: caps::errors::CapsError| RuntimeError::refused(DOING, error.to_string());
    let held = caps::read(None, CapSet::Effective).map_err(system)?;
    setgroups(&[]).during(|| DOING)?;
    let group = setfsgid(Gid::from_raw(OWNER_OF_NOTHING));
    let user = setfsuid(Uid::from_raw(OWNER_OF_NOTHING));
    // Neither reports an error (setfsuid(2)); an impossible id changes nothing and returns the one in effect.
    let impossible = u32::MAX;
    if setfsgid(Gid::from_raw(impossible)).as_raw() != OWNER_OF_NOTHING
        || setfsuid(Uid::from_raw(impossible)).as_raw() != OWNER_OF_NOTHING
    {
        return Err(RuntimeError::refused(DOING, "it needs CAP_SETUID and CAP_SETGID"));
    }
    caps::set(None, CapSet::Effective, &HashSet::from([Capability::CAP_SYS_ADMIN])).map_err(system)?;
    let done = action();
    caps::set(None, CapSet::Effective, &held).map_err(system)?;
    setfsuid(user);
    setfsgid(group);
    // A change of ids clears it (prctl(2)); a launcher that died meanwhile has closed the channel, which ends us.
    prctl::set_pdeathsig(Signal::SIGKILL).during(|| "set the parent-death signal")?;
    done
}

/// Makes directories of the merged root empty, each with its mode.
pub(super) fn empty_directories(
    lower: &Path,
    upper: &Path,
    directories: impl Iterator<Item = (PathBuf, u32)>,
) -> Result<()> {
    let mut made = PathBuf::new();
    for (directory, mode) in directories {
        let parent = directory.parent().unwrap_or(Path::new(""));
        if parent != made {
            make_parents(lower, upper, &directory)?;
            made = parent.to_owned();
        }
        empty_directory(upper, &directory, mode)?;
    }
    Ok(())
}

/// An opaque directory of the upper layer covers what the lower one has there.
fn empty_directory(upper: &Path, directory: &Path, mode: u32) -> Result<()> {
    let place = upper.join(directory);
    let doing = || format!("make {} empty in the upper layer", place.display());
    match mkdir(&place, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno).during(doing),
    }
    sys::set_attribute(&place, c"trusted.overlay.opaque", b"y").during(doing)
}

/// Makes the directories above `path` in the upper layer, with the owner and mode of the lower ones, which they are merged with.
fn make_parents(lower: &Path, upper: &Path, path: &Path) -> Result<()> {
    let mut parents: Vec<&Path> =
        path.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty()).collect();
    parents.reverse();
    for parent in parents {
        let (below, above) = (lower.join(parent), upper.join(parent));
        let doing = || format!("make {} in the upper layer", above.display());
        let mode = match below.symlink_metadata() {
            Ok(found) if found.is_dir() => Some(found),
            Ok(_) => return Err(RuntimeError::refused(doing(), "it is not a directory in the lower layer")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).during(doing),
        };
        match mkdir(
            &above,
            Mode::from_bits_truncate(mode.as_ref().map_or(0o755, |found| found.mode() & 0o7777)),
        ) {
            Ok(()) => {}
            Err(Errno::EEXIST) => continue,
            Err(errno) => return Err(errno).during(doing),
        }
        if let Some(found) = mode {
            chown(&above, Some(found.uid().into()), Some(found.gid().into())).during(doing)?;
        }
    }
    Ok(())
}

/// In place of the view: covers what not everyone may read below `/etc`, by looking at every file there. `at` is where `lower`
/// is in the container.
pub(super) fn cover_secrets(lower: &Path, upper: &Path, at: &str) -> Result<()> {
    match at {
        "/" if lower.join("etc").is_dir() => cover_below(lower, upper, Path::new("etc")),
        "/etc" => cover_below(lower, upper, Path::new("")),
        _ => Ok(()),
    }
}

fn cover_below(lower: &Path, upper: &Path, directory: &Path) -> Result<()> {
    let doing =
        || format!("look for files below {} that not everyone may read", lower.join(directory).display());
    for entry in std::fs::read_dir(lower.join(directory)).during(doing)? {
        let entry = entry.during(doing)?;
        let found = entry.metadata().during(doing)?;
        let (path, others) = (directory.join(entry.file_name()), found.mode() & 0o7);
        if found.is_dir() && others & 0o5 == 0o5 {
            cover_below(lower, upper, &path)?;
        } else if found.is_dir() {
            make_parents(lower, upper, &path)?;
            empty_directory(upper, &path, found.mode() & 0o7777)?;
        } else if !found.is_symlink() && others & 0o4 == 0 {
            // A whiteout: the file is not there.
            make_parents(lower, upper, &path)?;
            mknod(&upper.join(&path), SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))
                .during(|| format!("hide {} of the lower layer", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    #[allow(clippy::print_stderr, reason = "a test that does not run says why")]
    fn what_not_everyone_may_read_below_etc_is_covered() {
        if !Uid::effective().is_root() {
            eprintln!("skipped: marks of overlayfs need root");
            return;
        }
        let (lower, upper) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let table = [
            ("etc/passwd", 0o644, false),
            ("etc/shadow", 0o640, true),
            ("etc/ssl/private", 0o700, true),
            ("etc/app/public", 0o644, false),
            ("etc/app/key", 0o600, true),
            ("etc/app/run-only", 0o711, true),
            ("usr/secret", 0o600, false),
        ];
        for (path, mode, _) in table {
            let place = lower.path().join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            if mode & 0o100 == 0 || path.ends_with("run-only") {
                std::fs::write(&place, "").unwrap();
            } else {
                std::fs::create_dir(&place).unwrap();
            }
            std::fs::set_permissions(&place, PermissionsExt::from_mode(mode)).unwrap();
        }
        cover_secrets(lower.path(), upper.path(), "/").unwrap();
        for (path, mode, covered) in table {
            let found = upper.path().join(path).symlink_metadata();
            assert_eq!(found.is_ok(), covered, "{path}");
            if let Ok(found) = found {
                // A directory of the same mode, or a whiteout.
                let whiteout = found.rdev() == 0 && !found.is_dir();
                assert!(whiteout || found.mode() & 0o7777 == mode, "{path}: {:o}", found.mode());
            }
        }
    }
}

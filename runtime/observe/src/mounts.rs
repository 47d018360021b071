//! Mounts of the target, and what they hide or make read-only.

use std::collections::BTreeSet;

use nix::sys::stat::{SFlag, major, minor};
use plim_model::Observed;
use plim_model::parse::mountinfo::MountEntry;

use crate::root::{LookError, Root, kind};

/// Kernel file systems whose files are the kernel's interface: an empty directory of one hides nothing.
const KERNEL: [&str; 5] = ["proc", "sysfs", "cgroup", "cgroup2", "securityfs"];

fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
}

fn in_kernel_tree(entry: &MountEntry) -> bool {
    is_below(&entry.mount.target, "/proc") || is_below(&entry.mount.target, "/sys")
}

fn is_read_only(entry: &MountEntry) -> bool {
    let ro = |options: &[String]| options.iter().any(|option| option == "ro");
    ro(&entry.mount.options) || ro(&entry.mount.super_options)
}

/// Paths that are hidden: a file by a mount of the null device, a directory below /proc or /sys by an empty read-only
/// mount. Each is verified by looking at the path itself, because a mount's name proves nothing.
pub(crate) fn masked_paths(root: &Root, mounts: &[MountEntry]) -> Observed<Vec<String>> {
    let mut masked = Vec::new();
    for entry in mounts {
        match is_masked(root, entry) {
            Ok(true) => masked.push(entry.mount.target.clone()),
            Ok(false) => {}
            Err(error) => {
                let path = plim_model::text::escape(&entry.mount.target);
                return Observed::Unknown(error.during(&format!("look at {path} in the target's root")));
            }
        }
    }
    masked.sort();
    masked.dedup();
    Observed::Present(masked)
}

fn is_masked(root: &Root, entry: &MountEntry) -> Result<bool, LookError> {
    let mount = &entry.mount;
    // A bind mount of one node: of the host's devtmpfs or of the tmpfs that is the container's /dev. Nodes mounted
    // into /dev (rootless engines have no other way to give /dev/null) hide nothing.
    let may_be_null = matches!(mount.fs_type.as_str(), "devtmpfs" | "tmpfs")
        && mount.root != "/"
        && !is_below(&mount.target, "/dev");
    let may_be_empty =
        in_kernel_tree(entry) && is_read_only(entry) && !KERNEL.contains(&mount.fs_type.as_str());
    if !may_be_null && !may_be_empty {
        return Ok(false);
    }
    let stat = match root.stat(&mount.target) {
        Ok(stat) => stat,
        // Covered by a later mount, or unmounted meanwhile.
        Err(error) if error.leads_nowhere() => return Ok(false),
        Err(error) => return Err(error),
    };
    if kind(&stat) == SFlag::S_IFCHR {
        return Ok(may_be_null && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3));
    }
    Ok(may_be_empty && kind(&stat) == SFlag::S_IFDIR && root.is_empty_directory(&mount.target)?)
}

/// Mount points below /proc and /sys that are read-only and not masked.
pub(crate) fn read_only_paths(
    mounts: &[MountEntry],
    masked: &Observed<Vec<String>>,
) -> Observed<Vec<String>> {
    let hidden: BTreeSet<&str> = match masked {
        Observed::Present(paths) => paths.iter().map(String::as_str).collect(),
        Observed::Absent => BTreeSet::new(),
        Observed::Unknown(why) => return Observed::Unknown(why.clone()),
    };
    let mut paths: Vec<String> = mounts
        .iter()
        .filter(|entry| in_kernel_tree(entry) && is_read_only(entry))
        .map(|entry| entry.mount.target.clone())
        .filter(|path| !hidden.contains(path.as_str()))
        .collect();
    paths.sort();
    paths.dedup();
    Observed::Present(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &[u8] = b"\
        1 0 0:40 / / rw - overlay overlay rw\n\
        2 1 0:41 / /proc rw,nosuid - proc proc rw\n\
        3 2 0:41 /bus /proc/bus ro,nosuid - proc proc rw\n\
        4 2 0:42 / /proc/acpi ro,relatime - tmpfs tmpfs ro\n\
        5 2 0:43 /file /proc/kcore rw,nosuid - tmpfs tmpfs rw\n\
        6 1 0:44 / /sys ro,nosuid - sysfs sysfs ro\n\
        7 6 0:42 / /sys/firmware ro,relatime - tmpfs tmpfs ro\n\
        8 6 0:42 / /sys/gone ro,relatime - tmpfs tmpfs ro\n";

    #[test]
    fn a_mask_is_what_hides_and_not_what_is_called_so() {
        let top = tempfile::tempdir().expect("tempdir");
        for directory in ["proc/acpi", "proc/bus", "sys/firmware/dmi"] {
            std::fs::create_dir_all(top.path().join(directory)).expect("mkdir");
        }
        // Named like a mask, but an ordinary file can be read.
        std::fs::write(top.path().join("proc/kcore"), "").expect("write");
        let mounts = plim_model::parse::mountinfo::parse(DOCKER).expect("parses");
        let masked = masked_paths(&Root::at(top.path()), &mounts);
        // /sys/firmware is not empty, so it hides nothing; /sys/gone is covered by something else.
        assert_eq!(masked, Observed::Present(vec!["/proc/acpi".to_owned()]));
        assert_eq!(
            read_only_paths(&mounts, &masked),
            Observed::Present(vec![
                "/proc/bus".to_owned(),
                "/sys/firmware".to_owned(),
                "/sys/gone".to_owned()
            ])
        );
    }
}

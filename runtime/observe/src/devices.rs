//! Device nodes that the target has in its /dev.

use nix::errno::Errno;
use nix::sys::stat::{SFlag, major, minor};
use plim_model::Observed;
use plim_model::snapshot::Device;

use crate::root::{LookError, Root, kind};

/// Every block and character device in the target's /dev and in directories of the same file system below it
/// (/dev/net/tun, /dev/snd/…), sorted by path. Absent when there is no /dev.
pub(crate) fn nodes(root: &Root) -> Observed<Vec<Device>> {
    let files = match root.tree("/dev") {
        Ok(Some(files)) => files,
        Ok(None) => return Observed::Unknown("list /dev of the target: more files than are read".to_owned()),
        Err(LookError::Errno(Errno::ENOENT | Errno::ENOTDIR)) => return Observed::Absent,
        Err(error) => return Observed::Unknown(error.during("list /dev of the target")),
    };
    let mut devices: Vec<Device> = files
        .into_iter()
        .filter_map(|(name, stat)| {
            let letter = match kind(&stat) {
                SFlag::S_IFBLK => "b",
                SFlag::S_IFCHR => "c",
                _ => return None,
            };
            Some(Device {
                path: format!("/dev/{name}"),
                kind: letter.to_owned(),
                major: u32::try_from(major(stat.st_rdev)).ok()?,
                minor: u32::try_from(minor(stat.st_rdev)).ok()?,
            })
        })
        .collect();
    devices.sort();
    Observed::Present(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_nodes_of_this_machine() {
        let nodes = nodes(&Root::at(std::path::Path::new("/")));
        let null = Device { path: "/dev/null".to_owned(), kind: "c".to_owned(), major: 1, minor: 3 };
        assert!(nodes.present().is_some_and(|nodes| nodes.contains(&null)), "{nodes:?}");
    }

    #[test]
    fn no_dev_is_absent_and_files_are_no_devices() {
        let top = tempfile::tempdir().expect("tempdir");
        assert_eq!(nodes(&Root::at(top.path())), Observed::Absent);
        std::fs::create_dir(top.path().join("dev")).expect("mkdir");
        std::fs::write(top.path().join("dev/null"), "").expect("write");
        assert_eq!(nodes(&Root::at(top.path())), Observed::Present(Vec::new()));
    }
}

//! A directory as a read-only lower layer with a throw-away upper layer on a tmpfs of the container's own.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::mkdir;

use super::resolve::{Missing, Root, descriptor_path};
use crate::error::{During, Result, RuntimeError};

/// One overlay: a lower directory and where it shows up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Lower directory on the host.
    pub(crate) lower: PathBuf,
    /// Absolute path in the container; `/` for the first.
    pub(crate) at: String,
}

/// What the launcher decided about an overlay root before the child was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The root first, then file systems below it in mount order.
    pub(crate) layers: Vec<Layer>,
    /// Directories that start empty.
    pub(crate) private: Vec<String>,
    /// Size of the upper layer in bytes.
    pub(crate) upper_size_bytes: Option<u64>,
    /// A directory of ours on the host to mount the tmpfs on, in the child's mount namespace.
    pub(crate) scratch: PathBuf,
    /// In a user namespace: overlayfs keeps its marks in `user.*` attributes (`userxattr`, Linux 5.11).
    pub(crate) in_user_namespace: bool,
}

/// File systems that hold files of their own; others (proc, tmpfs, cgroup, …) are not carried into the container.
const REAL: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "erofs",
    "squashfs", "vfat", "exfat", "ntfs3", "iso9660", "udf", "nfs", "nfs4", "cifs", "9p", "virtiofs",
    "overlay", "fuseblk",
];

/// The layers of an overlay over `lower`, from the text of `/proc/self/mountinfo`.
pub(crate) fn layers(lower: &Path, private: &[String], mountinfo: &[u8]) -> Result<Vec<Layer>> {
    let entries = plim_model::parse::mountinfo::parse(mountinfo)
        .map_err(|error| RuntimeError::refused("read /proc/self/mountinfo", error.to_string()))?;
    let mut layers = vec![Layer { lower: lower.to_owned(), at: "/".into() }];
    for entry in &entries {
        let target = Path::new(&entry.mount.target);
        let Ok(below) = target.strip_prefix(lower) else { continue };
        let at = Path::new("/").join(below);
        let hidden = private.iter().any(|directory| at.starts_with(directory));
        if below.as_os_str().is_empty() || hidden || !REAL.contains(&entry.mount.fs_type.as_str()) {
            continue;
        }
        // A bind mount of one file (`/etc/resolv.conf` in a nested container) is no lower layer.
        if !target.is_dir() {
            continue;
        }
        let at = at.to_string_lossy().into_owned();
        // A later mount on the same place covers the earlier one: one overlay over what is visible is enough.
        if !layers.iter().any(|layer| layer.at == at) {
            layers.push(Layer { lower: target.to_owned(), at });
        }
    }
    Ok(layers)
}

/// Mounts it; returns the root directory of the container.
pub(crate) fn mount_root(plan: &Plan) -> Result<OwnedFd> {
    let scratch = &plan.scratch;
    let size = plan.upper_size_bytes.map_or(String::new(), |bytes| format!(",size={bytes}"));
    let data = format!("mode=0755{size}");
    mount(Some("plim-upper"), scratch, Some("tmpfs"), MsFlags::MS_NODEV, Some(data.as_str()))
        .during(|| format!("mount the upper layer's tmpfs ({data}) on {}", scratch.display()))?;
    let merged = scratch.join("root");
    make_directory(&merged, 0o755)?;
    let mut root = None;
    for (number, layer) in plan.layers.iter().enumerate() {
        let upper = scratch.join(format!("upper{number}"));
        let work = scratch.join(format!("work{number}"));
        make_directory(&upper, 0o755)?;
        make_directory(&work, 0o700)?;
        let mut data = format!(
            "lowerdir={},upperdir={},workdir={}",
            escape(&layer.lower),
            escape(&upper),
            escape(&work)
        );
        if plan.in_user_namespace {
            data.push_str(",userxattr");
        }
        let doing = || format!("mount overlay ({data}) on {}", layer.at);
        match &root {
            None => {
                mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(data.as_str()))
                    .during(doing)?;
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                root = Some(Root::new(open(&merged, flags, Mode::empty()).during(doing)?));
            }
            Some(root) => {
                let target = root.open(&layer.at, Missing::MakeDirectory)?;
                let target = descriptor_path(target.as_fd());
                mount(
                    Some("overlay"),
                    target.as_str(),
                    Some("overlay"),
                    MsFlags::empty(),
                    Some(data.as_str()),
                )
                .during(doing)?;
            }
        }
    }
    let Some(root) = root else {
        return Err(RuntimeError::refused("mount the overlay root", "it has no layer"));
    };
    for directory in &plan.private {
        let target = root.open(directory, Missing::MakeDirectory)?;
        let data = format!("mode={:o}", private_mode(directory));
        mount(
            Some("tmpfs"),
            descriptor_path(target.as_fd()).as_str(),
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(data.as_str()),
        )
        .during(|| format!("mount an empty tmpfs on {directory}"))?;
    }
    root.as_fd().try_clone_to_owned().during(|| "duplicate the root's descriptor")
}

/// The mode that a directory of this name has on every Unix (hier(7)).
fn private_mode(directory: &str) -> u32 {
    match directory {
        "/tmp" | "/var/tmp" => 0o1777,
        "/root" => 0o700,
        _ => 0o755,
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    mkdir(path, Mode::from_bits_truncate(mode)).during(|| format!("make directory {}", path.display()))
}

/// overlayfs splits layers at `:` and options at `,`, both taken literally after a backslash
/// (Documentation/filesystems/overlayfs.rst).
fn escape(path: &Path) -> String {
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
        let layers = layers(Path::new("/"), &["/home".to_owned()], text).unwrap();
        let at: Vec<&str> = layers.iter().map(|layer| layer.at.as_str()).collect();
        assert_eq!(at, ["/", "/usr"]);
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

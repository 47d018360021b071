//! Which cgroup hierarchies this process sees, and where in them it is. Pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use plim_model::cgroup::CgroupVersion;
use plim_model::parse::{cgroup as cgroup_text, mountinfo};

use super::CgroupError;

/// The hierarchies of the host as the caller sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// v1 hierarchies with controllers and named ones, in the kernel's order of `/proc/self/cgroup` reversed (oldest
    /// first), each once.
    pub v1: Vec<V1Hierarchy>,
    /// The unified tree.
    pub v2: Option<V2Hierarchy>,
    /// Controllers that `/proc/self/cgroup` lists in a v1 hierarchy which is mounted nowhere that we can see.
    pub unmounted: BTreeSet<String>,
}

/// One mounted v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Hierarchy {
    /// Its controllers, sorted (`cpu`, `cpuacct`), or one `name=NAME`.
    pub controllers: Vec<String>,
    /// Where the tree is.
    pub tree: Tree,
}

/// The mounted unified tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V2Hierarchy {
    /// Where the tree is.
    pub tree: Tree,
}

/// One mount of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Mount point.
    pub mountpoint: PathBuf,
    /// The caller's own cgroup, as a path below the mount point without a leading `/` (empty: the mount point itself).
    /// `None` when the caller's cgroup is outside of what is mounted (a cgroup namespace made after the mount, or a
    /// bind mount of another subtree).
    pub own: Option<String>,
    /// The mount or its file system is read-only.
    pub read_only: bool,
}

impl V1Hierarchy {
    /// `cpu,cpuacct`, `name=systemd`.
    pub fn label(&self) -> String {
        self.controllers.join(",")
    }
}

impl Layout {
    /// Reads `/proc/self/mountinfo` and `/proc/self/cgroup` and calls [`Layout::detect`].
    ///
    /// # Errors
    /// The files cannot be read or are not what the kernel writes.
    pub fn read() -> Result<Layout, CgroupError> {
        let read = |file: &str| {
            crate::whole::bytes(file).map_err(|error| {
                CgroupError::os("read", file, nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)))
            })
        };
        let mounts = read("/proc/self/mountinfo")?;
        let own = read("/proc/self/cgroup")?;
        Layout::detect(&mounts, &String::from_utf8_lossy(&own))
    }

    /// From the text of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    ///
    /// Of several mounts of one hierarchy the writable one wins, then the one that shows the caller's own cgroup, then
    /// the one whose root is nearest to the hierarchy's, then the later one (it lies on top). A mount that is hidden
    /// below a later mount of the same mount point is not used.
    ///
    /// # Errors
    /// A line that is not what the kernel writes.
    pub fn detect(mountinfo: &[u8], self_cgroup: &str) -> Result<Layout, CgroupError> {
        let mounts = mountinfo::parse(mountinfo)
            .map_err(|source| CgroupError::Parse { file: "/proc/self/mountinfo", source })?;
        let memberships = cgroup_text::membership(self_cgroup)
            .map_err(|source| CgroupError::Parse { file: "/proc/self/cgroup", source })?;

        // Only the top mount of a mount point can be reached by path.
        let visible: Vec<&mountinfo::MountEntry> = mounts
            .iter()
            .enumerate()
            .filter(|(index, entry)| {
                !mounts[index + 1..].iter().any(|later| later.mount.target == entry.mount.target)
            })
            .map(|(_, entry)| entry)
            .collect();

        let mut layout = Layout { v1: Vec::new(), v2: None, unmounted: BTreeSet::new() };
        for membership in memberships.iter().rev() {
            if membership.controllers.is_empty() {
                let candidates = visible.iter().filter(|entry| entry.mount.fs_type == "cgroup2");
                layout.v2 = best(candidates, &membership.path).map(|tree| V2Hierarchy { tree });
                continue;
            }
            let candidates = visible.iter().filter(|entry| {
                entry.mount.fs_type == "cgroup"
                    && membership.controllers.iter().all(|wanted| entry.mount.super_options.contains(wanted))
            });
            let mut controllers = membership.controllers.clone();
            controllers.sort();
            match best(candidates, &membership.path) {
                Some(tree) => layout.v1.push(V1Hierarchy { controllers, tree }),
                None => layout.unmounted.extend(controllers),
            }
        }
        Ok(layout)
    }

    /// Which of the three layouts it is; `None` when no hierarchy is mounted.
    pub fn version(&self) -> Option<CgroupVersion> {
        match (self.v1.is_empty(), self.v2.is_some()) {
            (true, true) => Some(CgroupVersion::V2),
            (false, true) => Some(CgroupVersion::Hybrid),
            (false, false) => Some(CgroupVersion::V1),
            (true, false) => None,
        }
    }

    /// The v1 hierarchy that has this controller.
    pub fn v1_with(&self, controller: &str) -> Option<&V1Hierarchy> {
        self.v1.iter().find(|hierarchy| hierarchy.controllers.iter().any(|c| c == controller))
    }

    /// Every tree, v1 first.
    pub(super) fn trees(&self) -> impl Iterator<Item = &Tree> {
        self.v1.iter().map(|h| &h.tree).chain(self.v2.iter().map(|h| &h.tree))
    }
}

/// Picks the mount to work in.
fn best<'a>(candidates: impl Iterator<Item = &'a &'a mountinfo::MountEntry>, own_path: &str) -> Option<Tree> {
    candidates
        .map(|entry| {
            let read_only = [&entry.mount.options, &entry.mount.super_options]
                .iter()
                .any(|options| options.iter().any(|option| option == "ro"));
            let depth = entry.mount.root.split('/').filter(|part| !part.is_empty()).count();
            let own = below(&entry.mount.root, own_path);
            (depth, Tree { mountpoint: Path::new(&entry.mount.target).to_owned(), own, read_only })
        })
        // max_by_key keeps the last of equals: the mount on top.
        .max_by_key(|(depth, tree)| (!tree.read_only, tree.own.is_some(), std::cmp::Reverse(*depth)))
        .map(|(_, tree)| tree)
}

/// `path` relative to the mounted `root`; `None` when it is outside. `/..` at the start of either (a cgroup namespace
/// whose root is not the mount's) is outside, and so is a cgroup that was removed under its last process.
fn below(root: &str, path: &str) -> Option<String> {
    if path.ends_with(" (deleted)") || [root, path].iter().any(|p| p.split('/').any(|part| part == "..")) {
        return None;
    }
    let rest = match root {
        "/" => path,
        root => path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?,
    };
    Some(rest.trim_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn hybrid_with_comounted_and_named_hierarchies() {
        let own =
            "9:name=systemd:/s.scope\n7:pids:/\n4:memory:/a/b\n3:cpuset:/\n1:cpu,cpuacct:/\n0::/s.scope\n";
        let layout = Layout::detect(HYBRID_MOUNTS.as_bytes(), own).expect("well formed");
        assert_eq!(layout.version(), Some(CgroupVersion::Hybrid));
        let labels: Vec<String> = layout.v1.iter().map(V1Hierarchy::label).collect();
        assert_eq!(labels, ["cpu,cpuacct", "cpuset", "memory", "name=systemd"]);
        assert_eq!(layout.unmounted, BTreeSet::from(["pids".to_owned()]));
        let memory = layout.v1_with("memory").expect("mounted");
        assert_eq!(memory.tree.mountpoint, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(memory.tree.own.as_deref(), Some("a/b"));
        let cpuacct = layout.v1_with("cpuacct").expect("comounted");
        assert_eq!(cpuacct.tree.mountpoint, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(cpuacct.tree.own.as_deref(), Some(""));
        let v2 = layout.v2.expect("mounted");
        assert_eq!(v2.tree.mountpoint, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(v2.tree.own.as_deref(), Some("s.scope"));
    }

    #[test]
    fn pure_v2() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        let layout = Layout::detect(mounts.as_bytes(), "0::/user.slice/user-1000.slice/session-1.scope\n")
            .expect("well formed");
        assert_eq!(layout.version(), Some(CgroupVersion::V2));
        let tree = layout.v2.expect("mounted").tree;
        assert_eq!(tree.own.as_deref(), Some("user.slice/user-1000.slice/session-1.scope"));
        assert!(!tree.read_only);
    }

    #[test]
    fn pure_v1_lists_no_unified_hierarchy() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let layout = Layout::detect(mounts.as_bytes(), "4:memory:/\n").expect("well formed");
        assert_eq!(layout.version(), Some(CgroupVersion::V1));
        // The kernel lists `0::/` whenever cgroup2 was ever mounted, here or elsewhere.
        let layout = Layout::detect(mounts.as_bytes(), "4:memory:/\n0::/\n").expect("well formed");
        assert_eq!(layout.version(), Some(CgroupVersion::V1));
        let nothing = Layout::detect(b"", "0::/\n").expect("well formed");
        assert_eq!(nothing.version(), None);
    }

    #[test]
    fn own_path_inside_a_container() {
        let cases = [
            // Host namespace, only the container's subtree is mounted.
            ("/docker/ab", "/docker/ab", Some("")),
            ("/docker/ab", "/docker/ab/x", Some("x")),
            // A name that only begins the same is another cgroup.
            ("/docker/ab", "/docker/abc", None),
            ("/docker/ab", "/", None),
            // A cgroup namespace: mount and membership are both told relative to it.
            ("/", "/", Some("")),
            ("/", "/x", Some("x")),
            // The namespace was entered after the mount was made, or left: neither can be trusted.
            ("/..", "/", None),
            ("/", "/../other", None),
            ("/../..", "/..", None),
            ("/", "/gone (deleted)", None),
        ];
        for (root, path, expected) in cases {
            assert_eq!(below(root, path).as_deref(), expected, "{root} {path}");
        }
    }

    #[test]
    fn of_several_mounts_the_usable_one() {
        let mounts = "\
30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw
31 23 0:26 /deep /mnt/deep rw - cgroup2 cgroup2 rw
32 23 0:26 / /mnt/all rw - cgroup2 cgroup2 rw
";
        let tree = |mounts: &str, own: &str| {
            Layout::detect(mounts.as_bytes(), own).expect("well formed").v2.expect("mounted").tree
        };
        assert_eq!(tree(mounts, "0::/deep/x\n").mountpoint, Path::new("/mnt/all"));
        // Hidden below something else: not reachable.
        let hidden = format!("{mounts}33 23 0:44 / /mnt/all rw - tmpfs none rw\n");
        assert_eq!(tree(&hidden, "0::/deep/x\n").mountpoint, Path::new("/mnt/deep"));
        // Only a read-only one is left: used, and said.
        let only = "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert!(tree(only, "0::/\n").read_only);
    }

    #[test]
    fn refuses_what_the_kernel_does_not_write() {
        assert!(Layout::detect(b"nonsense\n", "0::/\n").is_err());
        assert!(Layout::detect(b"", "memory:/\n").is_err());
    }
}

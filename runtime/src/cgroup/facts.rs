//! What the machine says that a plan depends on, as plain data; read once by [`Facts::probe`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid};
use plim_model::parse::cgroup::CpuList;

use super::Layout;
use crate::config::Resources;
use crate::whole;

/// The facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Effective user id in the caller's user namespace.
    pub euid: u32,
    /// Mount points in which this process may make a directory.
    pub writable: BTreeSet<PathBuf>,
    /// The v2 cgroups from the mount point down to the caller's own, the mount point first. Only the mount point when
    /// that is writable or the caller's own cgroup is not visible; empty without v2.
    pub v2_levels: Vec<V2Level>,
    /// CPUs that a container may be given; `None` when no file says, or nobody asks.
    pub cpus: Option<CpuList>,
    /// Memory nodes that a container may be given; `None` when no file says, or nobody asks.
    pub mems: Option<CpuList>,
}

/// One v2 cgroup above, or of, the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V2Level {
    /// Below the mount point, without a leading `/`.
    pub path: String,
    /// This process may make a directory there and move processes in and out.
    pub writable: bool,
    /// The root of the real hierarchy, for which the rule "no internal processes" does not hold. Told by the absence of
    /// `cgroup.type`, which every other cgroup has.
    pub real_root: bool,
    /// It has processes of its own, so the kernel enables no controllers for its children unless it is the real root.
    /// Assumed, not read, of a writable mount point.
    pub has_processes: bool,
    /// `cgroup.controllers`: what could be enabled for children.
    pub controllers: BTreeSet<String>,
}

impl Facts {
    /// Reads what a plan for these limits depends on. What cannot be read counts as not there or not writable: the plan
    /// then refuses what leans on it.
    pub fn probe(layout: &Layout, resources: &Resources) -> Facts {
        let writable: BTreeSet<PathBuf> = layout
            .trees()
            .filter(|tree| !tree.read_only && may_write(&tree.mountpoint))
            .map(|tree| tree.mountpoint.clone())
            .collect();
        let v2_levels = match &layout.v2 {
            None => Vec::new(),
            // The levels below, and who is in them, matter only to who cannot write at the top; the list of the
            // root's processes is the costliest read of all (all of the host's, sorted).
            Some(v2) if writable.contains(&v2.tree.mountpoint) => vec![top(&v2.tree.mountpoint)],
            Some(v2) => levels(&v2.tree.mountpoint, v2.tree.own.as_deref()),
        };
        let (cpus, mems) = match (&resources.cpuset_cpus, &resources.cpuset_mems) {
            (None, None) => (None, None),
            _ => cpuset(layout),
        };
        Facts { euid: geteuid().as_raw(), writable, v2_levels, cpus, mems }
    }
}

fn may_write(dir: &Path) -> bool {
    access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

fn levels(mountpoint: &Path, own: Option<&str>) -> Vec<V2Level> {
    let mut found = vec![level(mountpoint, "")];
    let mut path = String::new();
    for part in own.unwrap_or_default().split('/').filter(|part| !part.is_empty()) {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
        found.push(level(mountpoint, &path));
    }
    found
}

/// A mount point that is known to be writable.
fn top(mountpoint: &Path) -> V2Level {
    V2Level {
        path: String::new(),
        writable: true,
        real_root: !mountpoint.join("cgroup.type").exists(),
        has_processes: true,
        controllers: controllers(mountpoint),
    }
}

fn controllers(dir: &Path) -> BTreeSet<String> {
    whole::text(dir.join("cgroup.controllers"))
        .map(|text| text.split_ascii_whitespace().map(str::to_owned).collect())
        .unwrap_or_default()
}

fn level(mountpoint: &Path, path: &str) -> V2Level {
    let dir = mountpoint.join(path);
    let procs = whole::text(dir.join("cgroup.procs"));
    V2Level {
        path: path.to_owned(),
        writable: may_write(&dir) && may_write_file(&dir.join("cgroup.procs")),
        real_root: !dir.join("cgroup.type").exists(),
        has_processes: procs.map_or(true, |text| !text.trim().is_empty()),
        controllers: controllers(&dir),
    }
}

fn may_write_file(file: &Path) -> bool {
    access(file, AccessFlags::W_OK).is_ok()
}

/// The CPUs and nodes at the root of the hierarchy that a container's cpuset will be below.
fn cpuset(layout: &Layout) -> (Option<CpuList>, Option<CpuList>) {
    let dir = match layout.v1_with("cpuset") {
        Some(hierarchy) => Some(&hierarchy.tree.mountpoint),
        None => layout.v2.as_ref().map(|v2| &v2.tree.mountpoint),
    };
    // `effective` first: it is without the CPUs that are offline. v1's name, v2's name, v1 without the former; last the
    // machine's own word, for a v2 subtree without the cpuset controller.
    let read = |names: [&str; 3], machine: &str| {
        let in_tree = dir.into_iter().flat_map(|dir| names.map(|name| dir.join(name)));
        in_tree
            .chain([PathBuf::from(machine)])
            .filter_map(|file| whole::text(file).ok())
            .filter_map(|text| CpuList::parse(text.trim()).ok())
            .find(|list| !list.is_empty())
    };
    (
        read(
            ["cpuset.effective_cpus", "cpuset.cpus.effective", "cpuset.cpus"],
            "/sys/devices/system/cpu/online",
        ),
        read(
            ["cpuset.effective_mems", "cpuset.mems.effective", "cpuset.mems"],
            "/sys/devices/system/node/online",
        ),
    )
}

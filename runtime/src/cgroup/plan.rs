//! From limits to an ordered list of steps. Pure: the same limits, layout and facts give the same steps.

use std::path::PathBuf;

use super::place::Base;
use super::{CgroupError, Facts, Layout, Place, Tree, check, v1, v2};
use crate::config::Resources;

/// The kernel's and Docker's period when none is named.
pub(super) const CPU_PERIOD_DEFAULT_US: u64 = 100_000;

/// Everything to do, hierarchy by hierarchy; v1 first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One per hierarchy that the container is put in.
    pub trees: Vec<TreePlan>,
}

/// What to do in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreePlan {
    /// `memory`, `cpu,cpuacct`, `name=systemd`, or `unified` for v2.
    pub label: String,
    /// It is the v2 tree.
    pub unified: bool,
    /// Mount point.
    pub mountpoint: PathBuf,
    /// Names from the mount point down to the container's cgroup. Steps name a directory by how many of these they go
    /// down: 0 is the mount point.
    pub path: Vec<String>,
    /// How many of `path` were there before the plan and are not removed.
    pub existing: usize,
    /// In order.
    pub steps: Vec<Step>,
}

/// One step; directories by depth in [`TreePlan::path`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// v2: enable controllers for the children of the directory at `depth`, those that are not yet.
    Enable {
        /// Of the parent.
        depth: usize,
        /// Limits lean on these: failure is an error.
        required: Vec<String>,
        /// For accounting only: tried, and left out when refused.
        wanted: Vec<String>,
    },
    /// Make the directory at `depth`. The last must be new; the others are shared with other containers.
    MakeDir {
        /// Of the new directory.
        depth: usize,
    },
    /// v1 cpuset: a new cpuset is empty and takes no task until it has CPUs and nodes; copy the parent's if it is empty.
    Inherit {
        /// Of the directory.
        depth: usize,
        /// `cpuset.cpus` or `cpuset.mems`.
        file: &'static str,
    },
    /// Write a limit in the container's directory.
    Write(Write),
    /// v2: load and attach the device program to the container's directory.
    DeviceProgram(Vec<super::DeviceInsn>),
}

/// One limit as the kernel is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The option in words, for errors.
    pub limit: &'static str,
    /// Whose file it is.
    pub controller: &'static str,
    /// File name and value; the first file that exists is written. More than one where kernels differ.
    pub choices: Vec<(&'static str, String)>,
    /// Unit of the value (`bytes`, `us`, `list`, `tasks`, `weight`, `rule`).
    pub unit: &'static str,
}

impl Write {
    /// With one file.
    pub(super) fn one(
        limit: &'static str,
        controller: &'static str,
        file: &'static str,
        value: impl ToString,
        unit: &'static str,
    ) -> Write {
        Write { limit, controller, choices: vec![(file, value.to_string())], unit }
    }
}

/// Where a controller is on this host.
pub(super) enum Home {
    /// Index into [`Layout::v1`].
    V1(usize),
    /// The unified tree.
    V2,
}

/// Names of the limits that are asked for, for [`Place::choose`].
pub fn asked(resources: &Resources) -> Vec<&'static str> {
    let r = resources;
    [
        (r.memory_max_bytes.is_some(), "memory limit"),
        (r.memory_reservation_bytes.is_some(), "memory reservation"),
        (r.memory_swap_total_bytes.is_some(), "memory plus swap limit"),
        (r.cpu_quota_us.is_some(), "cpu quota"),
        (r.cpu_period_us.is_some(), "cpu period"),
        (r.cpu_shares.is_some(), "cpu shares"),
        (r.cpuset_cpus.is_some(), "cpuset cpus"),
        (r.cpuset_mems.is_some(), "cpuset mems"),
        (r.pids_max.is_some(), "pids limit"),
        (r.blkio_weight.is_some(), "blkio weight"),
        (!r.throttles.is_empty(), "block device throttle"),
        (!r.device_rules.is_empty(), "device rules"),
    ]
    .into_iter()
    .filter_map(|(is_asked, name)| is_asked.then_some(name))
    .collect()
}

/// A controller that a limit leans on.
struct Want {
    limit: &'static str,
    v1: &'static str,
    v2: &'static str,
    v1_file: &'static str,
    v2_file: &'static str,
}

/// Which controllers the limits lean on, by the first limit that does.
fn wants(r: &Resources) -> Vec<Want> {
    let memory = [
        r.memory_max_bytes.is_some(),
        r.memory_reservation_bytes.is_some(),
        r.memory_swap_total_bytes.is_some(),
    ];
    let cpu = [r.cpu_quota_us.is_some(), r.cpu_period_us.is_some(), r.cpu_shares.is_some()];
    let cpuset = [r.cpuset_cpus.is_some(), r.cpuset_mems.is_some()];
    let io = [r.blkio_weight.is_some(), !r.throttles.is_empty()];
    let table: [(&[bool], Want); 6] = [
        (
            &memory,
            Want {
                limit: "memory limit",
                v1: "memory",
                v2: "memory",
                v1_file: "memory.limit_in_bytes",
                v2_file: "memory.max",
            },
        ),
        (
            &cpu,
            Want {
                limit: "cpu limit",
                v1: "cpu",
                v2: "cpu",
                v1_file: "cpu.cfs_quota_us",
                v2_file: "cpu.max",
            },
        ),
        (
            &cpuset,
            Want {
                limit: "cpuset",
                v1: "cpuset",
                v2: "cpuset",
                v1_file: "cpuset.cpus",
                v2_file: "cpuset.cpus",
            },
        ),
        (
            &[r.pids_max.is_some()],
            Want { limit: "pids limit", v1: "pids", v2: "pids", v1_file: "pids.max", v2_file: "pids.max" },
        ),
        (
            &io,
            Want {
                limit: "block I/O limit",
                v1: "blkio",
                v2: "io",
                v1_file: "blkio.throttle.read_bps_device",
                v2_file: "io.max",
            },
        ),
        (
            &[!r.device_rules.is_empty()],
            Want {
                limit: "device rules",
                v1: "devices",
                v2: "devices",
                v1_file: "devices.deny",
                v2_file: "cgroup.procs",
            },
        ),
    ];
    table.into_iter().filter(|(asked, _)| asked.contains(&true)).map(|(_, want)| want).collect()
}

/// Plans one container's cgroups.
///
/// # Errors
/// A value out of range or at odds with another ([`CgroupError::Invalid`]), a limit whose controller this host does not
/// have or this place cannot use ([`CgroupError::NoController`]), device rules that v1 cannot say.
pub fn plan(
    layout: &Layout,
    facts: &Facts,
    place: &Place,
    resources: &Resources,
) -> Result<Plan, CgroupError> {
    check::resources(resources, facts)?;
    let mut trees = Vec::new();
    let usable = |tree: &Tree| !tree.read_only && base_of(tree, place).is_some();
    let v1_usable: Vec<bool> = layout
        .v1
        .iter()
        .map(|h| {
            usable(&h.tree)
                && !matches!(place.base, Base::V2(_))
                && (place.base != Base::Root || facts.writable.contains(&h.tree.mountpoint))
        })
        .collect();
    let v2_usable = layout.v2.as_ref().is_some_and(|h| {
        usable(&h.tree) && (place.base != Base::Root || facts.writable.contains(&h.tree.mountpoint))
    });

    let home = |want: &Want| -> Result<Home, CgroupError> {
        let v1_home = layout.v1.iter().position(|h| h.controllers.iter().any(|name| name == want.v1));
        let looked_for = if v1_home.is_some() { want.v1_file } else { want.v2_file };
        let refuse = |why: String| {
            Err(CgroupError::NoController { limit: want.limit, why, looked_for: looked_for.to_owned() })
        };
        let (v1, v2) = (want.v1, want.v2);
        if let Some(index) = v1_home {
            let mountpoint = layout.v1[index].tree.mountpoint.display();
            return match &place.base {
                _ if v1_usable[index] => Ok(Home::V1(index)),
                Base::V2(_) => refuse(format!(
                    "the {v1} controller is in the v1 hierarchy at {mountpoint}, where this user cannot make a cgroup"
                )),
                _ => refuse(format!(
                    "the v1 hierarchy of the {v1} controller at {mountpoint} cannot be written or does not show this \
                     process's own cgroup"
                )),
            };
        }
        if layout.unmounted.contains(v1) {
            return refuse(format!("the {v1} controller is in a v1 hierarchy that is mounted nowhere"));
        }
        // v2's device program is no controller: any v2 cgroup takes one.
        let has = v2 == "devices" || facts.v2_levels.first().is_some_and(|top| top.controllers.contains(v2));
        match (v2_usable, has) {
            (true, true) => Ok(Home::V2),
            (true, false) => refuse(format!("this host has no {v2} controller in any mounted hierarchy")),
            (false, _) => refuse(format!("no hierarchy with the {v2} controller is mounted and writable")),
        }
    };

    // Sort the limits by hierarchy first: a missing controller is told before anything is made.
    let mut v1_wants = vec![Vec::new(); layout.v1.len()];
    let mut v2_wants = Vec::new();
    for want in wants(resources) {
        match home(&want)? {
            Home::V1(index) => v1_wants[index].push(want.v1),
            Home::V2 => v2_wants.push(want.v2),
        }
    }

    for (index, hierarchy) in layout.v1.iter().enumerate().filter(|(index, _)| v1_usable[*index]) {
        let (path, existing) = path_in(&hierarchy.tree, place);
        trees.push(v1::tree_plan(hierarchy, path, existing, &v1_wants[index], resources)?);
    }
    if let Some(hierarchy) = layout.v2.as_ref().filter(|_| v2_usable) {
        let (path, existing) = path_in(&hierarchy.tree, place);
        trees.push(v2::tree_plan(hierarchy, path, existing, &v2_wants, resources, facts)?);
    }
    if trees.is_empty() {
        return Err(CgroupError::NotDelegated {
            limits: asked(resources).join(", "),
            why: "no mounted hierarchy is writable and shows this process's own cgroup".to_owned(),
        });
    }
    Ok(Plan { trees })
}

/// The path of the place's base in one tree; `None` when it is not visible there.
fn base_of(tree: &Tree, place: &Place) -> Option<String> {
    match &place.base {
        Base::Root => Some(String::new()),
        Base::Own => tree.own.clone(),
        Base::V2(path) => Some(path.clone()),
    }
}

fn path_in(tree: &Tree, place: &Place) -> (Vec<String>, usize) {
    let base = base_of(tree, place).unwrap_or_default();
    let mut path: Vec<String> = base.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let existing = path.len();
    path.extend(place.path.iter().cloned());
    (path, existing)
}

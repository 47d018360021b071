//! The cgroups of a target and the limits that hold there.
//!
//! Membership comes from `/proc/PID/cgroup` and is looked up on the **reader's** mounts: what the container has
//! mounted at /sys/fs/cgroup is its own affair. An effective limit is the smallest over the cgroup and all its
//! ancestors, up to the root of what the reader has mounted.

mod chain;
#[cfg(test)]
mod device_assembly;
mod device_program;
mod device_query;
mod device_rules;
mod files;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::path::Path;

use plim_model::Observed;
use plim_model::cgroup::{Cgroup, CgroupVersion};
use plim_model::parse::cgroup::{Membership, membership};
use plim_model::parse::mountinfo::MountEntry;

pub(crate) use chain::Chain;
pub(crate) use device_query::raw_programs as device_programs;

/// One mounted hierarchy of the reader.
#[derive(Clone, Debug)]
struct Hierarchy {
    /// v1 controllers or `name=NAME`; empty for v2.
    controllers: Vec<String>,
    /// Where it is mounted.
    mount_point: String,
    /// Which directory of it is mounted there: `/`, or the reader's own cgroup in a container.
    root: String,
}

/// What the reader has mounted.
#[derive(Clone, Debug, Default)]
struct Mounted {
    v1: Vec<Hierarchy>,
    v2: Option<Hierarchy>,
}

/// v1 super options that are not controllers (cgroup_show_options, kernel/cgroup/cgroup-v1.c).
const OPTIONS: [&str; 9] =
    ["rw", "ro", "noprefix", "xattr", "clone_children", "none", "cpuset_v2_mode", "favordynmods", "all"];

impl Mounted {
    fn from(mounts: &[MountEntry]) -> Mounted {
        let mut mounted = Mounted::default();
        for entry in mounts {
            let mount = &entry.mount;
            let hierarchy = |controllers| Hierarchy {
                controllers,
                mount_point: mount.target.clone(),
                root: mount.root.clone(),
            };
            match mount.fs_type.as_str() {
                "cgroup" => {
                    let controllers: Vec<String> = mount
                        .super_options
                        .iter()
                        .filter(|option| {
                            !OPTIONS.contains(&option.as_str()) && !option.starts_with("release_agent=")
                        })
                        .cloned()
                        .collect();
                    mounted.v1.push(hierarchy(controllers));
                }
                // The first one: systemd's own, where a container engine bind-mounted others.
                "cgroup2" if mounted.v2.is_none() => mounted.v2 = Some(hierarchy(Vec::new())),
                _ => {}
            }
        }
        mounted
    }

    fn version(&self) -> Observed<CgroupVersion> {
        let v1_controllers = self
            .v1
            .iter()
            .any(|hierarchy| hierarchy.controllers.iter().any(|name| !name.starts_with("name=")));
        match (v1_controllers, &self.v2) {
            (true, Some(_)) => Observed::Present(CgroupVersion::Hybrid),
            (true, None) => Observed::Present(CgroupVersion::V1),
            (false, Some(_)) => Observed::Present(CgroupVersion::V2),
            (false, None) => Observed::Unknown("no cgroup file system is mounted for the reader".to_owned()),
        }
    }
}

/// Where a controller of the target is found.
enum Place {
    V1(Chain),
    V2(Chain),
}

/// Reads everything.
///
/// `fs_root` is `/`; a test gives a directory with a tree of files instead. `mounts` are the reader's own and
/// `membership` the text of the target's `/proc/PID/cgroup`.
pub(crate) fn read(fs_root: &Path, mounts: &[MountEntry], text: &str) -> (Cgroup, Observed<Vec<String>>) {
    let mounted = Mounted::from(mounts);
    let members = match membership(text) {
        Ok(members) => members,
        Err(error) => {
            let why = format!("read /proc/PID/cgroup: {error}");
            let rules = Observed::Unknown(why.clone());
            return (nothing(mounted.version(), why), rules);
        }
    };
    let paths = paths(&members);
    let place = |controller: &str| place(fs_root, &mounted, &members, controller);

    let memory = place("memory").map(|place| match place {
        Place::V1(chain) => v1::memory(&chain),
        Place::V2(chain) => v2::memory(&chain),
    });
    let pids = place("pids").map(|place| match place {
        Place::V1(chain) | Place::V2(chain) => files::pids(&chain),
    });
    let mut cpu = place("cpu").map(|place| match place {
        Place::V1(chain) => v1::cpu(&chain),
        Place::V2(chain) => v2::cpu(&chain),
    });
    let cpuset = place("cpuset");
    match (&mut cpu, cpuset) {
        (Observed::Present(cpu), Observed::Present(Place::V1(chain))) => v1::cpuset(&chain, cpu),
        (Observed::Present(cpu), Observed::Present(Place::V2(chain))) => v2::cpuset(&chain, cpu),
        (Observed::Present(cpu), Observed::Unknown(why)) => {
            cpu.cpuset_cpus = Observed::Unknown(why.clone());
            cpu.effective_cpuset_cpus = Observed::Unknown(why.clone());
            cpu.cpuset_mems = Observed::Unknown(why);
        }
        _ => {}
    }
    // v1 calls it blkio.
    let io = match place("blkio") {
        Observed::Absent => place("io"),
        found => found,
    };
    let io = io.and_then(|place| match place {
        Place::V1(chain) => v1::io(&chain),
        Place::V2(chain) => v2::io(&chain),
    });
    // v1's controller by its name; v2 has none of that name.
    let v1 = match place("devices") {
        Observed::Present(Place::V1(chain)) => v1::device_rules(&chain),
        Observed::Present(Place::V2(_)) | Observed::Absent => Observed::Absent,
        Observed::Unknown(why) => Observed::Unknown(why),
    };
    let programs = match members.iter().find(|member| member.hierarchy_id == 0) {
        Some(member) => chain(fs_root, mounted.v2.iter(), member, "unified")
            .and_then(|chain| device_query::programs(chain.own())),
        // Nobody ever mounted the v2 hierarchy, so nothing is attached there.
        None => Observed::Absent,
    };
    let rules = device_query::rules(v1, programs);
    (Cgroup { version: mounted.version(), paths, memory, cpu, pids, io }, rules)
}

/// All unknown, for one reason.
pub(crate) fn unknown(mounts: &[MountEntry], why: &str) -> Cgroup {
    nothing(Mounted::from(mounts).version(), why.to_owned())
}

fn nothing(version: Observed<CgroupVersion>, why: String) -> Cgroup {
    Cgroup {
        version,
        paths: BTreeMap::new(),
        memory: Observed::Unknown(why.clone()),
        cpu: Observed::Unknown(why.clone()),
        pids: Observed::Unknown(why.clone()),
        io: Observed::Unknown(why),
    }
}

fn paths(members: &[Membership]) -> BTreeMap<String, String> {
    let mut paths = BTreeMap::new();
    for member in members {
        if member.hierarchy_id == 0 {
            paths.insert("unified".to_owned(), member.path.clone());
        }
        for controller in &member.controllers {
            paths.insert(controller.clone(), member.path.clone());
        }
    }
    paths
}

/// Finds the target's cgroup of one controller: on v1 where a v1 hierarchy has it, else on v2 where the root offers it.
fn place(fs_root: &Path, mounted: &Mounted, members: &[Membership], controller: &str) -> Observed<Place> {
    let v1 = members.iter().find(|member| member.controllers.iter().any(|name| name == controller));
    if let Some(member) = v1 {
        let hierarchies = mounted.v1.iter().filter(|mount| mount.controllers.iter().any(|c| c == controller));
        return chain(fs_root, hierarchies, member, controller).map(Place::V1);
    }
    let unified = members.iter().find(|member| member.hierarchy_id == 0);
    let Some(member) = unified else { return Observed::Absent };
    chain(fs_root, mounted.v2.iter(), member, "unified").and_then(|chain| match chain.offers(controller) {
        Observed::Present(true) => Observed::Present(Place::V2(chain)),
        Observed::Present(false) | Observed::Absent => Observed::Absent,
        Observed::Unknown(why) => Observed::Unknown(why),
    })
}

/// The directories from the target's cgroup up to the root of the best mount of its hierarchy.
fn chain<'a>(
    fs_root: &Path,
    hierarchies: impl Iterator<Item = &'a Hierarchy>,
    member: &Membership,
    name: &str,
) -> Observed<Chain> {
    let mut mounted = false;
    // The mount that shows the most ancestors: the one of the shortest root.
    let mut best: Option<Chain> = None;
    for hierarchy in hierarchies {
        mounted = true;
        if let Some(chain) = Chain::new(fs_root, &hierarchy.mount_point, &hierarchy.root, &member.path)
            && best.as_ref().is_none_or(|best| best.len() < chain.len())
        {
            best = Some(chain);
        }
    }
    match best {
        Some(chain) => Observed::Present(chain),
        None if mounted => Observed::Unknown(format!(
            "the target's {name} cgroup lies outside of what the reader has mounted or of its cgroup namespace"
        )),
        None => Observed::Unknown(format!("the {name} cgroup hierarchy is not mounted for the reader")),
    }
}

#[cfg(test)]
mod tests;

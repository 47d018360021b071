//! By what a target's processes are told from others: its pid namespace, or its cgroup where it shares the host's.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use plim_model::parse::{cgroup, mountinfo};

use crate::tracer::{FIRST_PID_NAMESPACE, Identity};

/// The identity of the container or process that is `name` and has `pid`.
///
/// # Errors
/// It is gone; or neither a namespace nor a cgroup is its own.
pub(crate) fn of(name: &str, engine: &str, pid: i32) -> Result<Identity> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/pid"))
        .with_context(|| format!("{name}: readlink /proc/PID/ns/pid"))?;
    let link = link.to_string_lossy();
    let inode = link
        .strip_prefix("pid:[")
        .and_then(|rest| rest.strip_suffix(']')?.parse::<u32>().ok())
        .with_context(|| format!("{name}: found {link:?}, expected pid:[INODE]"))?;
    if inode != FIRST_PID_NAMESPACE || engine == "host" {
        return Ok(Identity::PidNamespace(inode));
    }
    by_cgroup(pid)?.with_context(|| {
        format!(
            "{name} is in the host's pid namespace and in no cgroup of its own, so that its processes cannot be told \
             from others'; trace `host` to see them all"
        )
    })
}

/// The cgroup of a process that is not in the root's, nor in the one of the host's first process.
fn by_cgroup(pid: i32) -> Result<Option<Identity>> {
    let read = |pid: &str| -> Result<Vec<cgroup::Membership>> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).context("read /proc/PID/cgroup")?;
        cgroup::membership(&text).context("read /proc/PID/cgroup")
    };
    let (own, first) = (read(&pid.to_string())?, read("1")?);
    let is_pids = |one: &&cgroup::Membership| one.controllers.iter().any(|name| name == "pids");
    let is_unified = |one: &&cgroup::Membership| one.hierarchy_id == 0;
    let (unified, own, first) = match own.iter().find(is_pids) {
        Some(own) => (false, own, first.iter().find(is_pids)),
        None => match own.iter().find(is_unified) {
            Some(own) => (true, own, first.iter().find(is_unified)),
            None => return Ok(None),
        },
    };
    if own.path == "/" || first.is_some_and(|first| first.path == own.path) || own.path.starts_with("/..") {
        return Ok(None);
    }
    let mounts = std::fs::read("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    let mounts = mountinfo::parse(&mounts).context("read /proc/self/mountinfo")?;
    let root = mounts.iter().map(|entry| &entry.mount).find(|mount| {
        mount.root == "/"
            && if unified {
                mount.fs_type == "cgroup2"
            } else {
                mount.fs_type == "cgroup" && mount.super_options.iter().any(|option| option == "pids")
            }
    });
    let Some(root) = root else { return Ok(None) };
    let directory = Path::new(&root.target).join(own.path.trim_start_matches('/'));
    let id = std::fs::metadata(&directory).with_context(|| format!("stat {}", directory.display()))?.ino();
    Ok(Some(Identity::Cgroup { id, unified }))
}

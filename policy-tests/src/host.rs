//! The host's side of a container: its processes, namespaces and cgroup files, read without the code under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The processes with `PLIM_TEST_TAG=tag` in their environment that run the witness, ascending.
pub fn tagged(tag: &str) -> Vec<i32> {
    let wanted = format!("PLIM_TEST_TAG={tag}");
    let mut found: Vec<i32> = pids()
        .into_iter()
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            exe.to_string_lossy().contains("witness")
                && environment.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes())
        })
        .collect();
    found.sort_unstable();
    found
}

/// Every process there is.
pub fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Parent and state of a process, from `/proc/PID/stat`.
pub fn parent(pid: i32) -> Option<(i32, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

/// Every descendant of this process, with its state.
pub fn descendants() -> Vec<(i32, char)> {
    let parents: BTreeMap<i32, (i32, char)> =
        pids().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let below = |mut pid: i32| {
        for _ in 0..64 {
            match parents.get(&pid) {
                Some((up, _)) if *up == own => return true,
                Some((up, _)) => pid = *up,
                None => return false,
            }
        }
        false
    };
    parents.iter().filter(|(pid, _)| below(**pid)).map(|(pid, (_, state))| (*pid, *state)).collect()
}

/// The link of one namespace of a process (`net:[4026531833]`).
///
/// # Errors
/// When the process or the kind is not there.
pub fn namespace(pid: &str, kind: &str) -> Result<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}"))
        .with_context(|| format!("{kind} namespace of {pid}"))?;
    Ok(link.to_string_lossy().into_owned())
}

/// Where the cgroup hierarchies are mounted: v1 by controller, `unified` for v2.
pub fn hierarchies() -> BTreeMap<String, PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(point), mut right) = (left.split(' ').nth(4), right.split(' ')) else { continue };
        match right.next() {
            Some("cgroup2") => {
                found.entry("unified".to_owned()).or_insert_with(|| PathBuf::from(point));
            }
            Some("cgroup") => {
                for option in right.nth(1).unwrap_or_default().split(',').filter(|word| *word != "rw") {
                    found.entry(option.to_owned()).or_insert_with(|| PathBuf::from(point));
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether a controller can be used, on v1 or v2.
pub fn controller(name: &str) -> Option<CgroupKind> {
    let found = hierarchies();
    if found.contains_key(name) {
        return Some(CgroupKind::V1);
    }
    let controllers = fs::read_to_string(found.get("unified")?.join("cgroup.controllers")).ok()?;
    controllers.split_whitespace().any(|word| word == name).then_some(CgroupKind::V2)
}

/// Which kind of hierarchy holds a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupKind {
    /// One hierarchy for this controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// The directory of a process' cgroup for `controller`.
///
/// # Errors
/// When the process is gone or has no such controller.
pub fn cgroup_dir(pid: i32, name: &str) -> Result<PathBuf> {
    let membership =
        fs::read_to_string(format!("/proc/{pid}/cgroup")).context("reading the container's cgroups")?;
    let found = hierarchies();
    let key = match controller(name) {
        Some(CgroupKind::V1) => name,
        _ => "unified",
    };
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let fits =
            if key == "unified" { names.is_empty() } else { names.split(',').any(|word| word == name) };
        if let (true, Some(mount)) = (fits, found.get(key)) {
            return Ok(mount.join(path.trim_start_matches('/')));
        }
    }
    anyhow::bail!("{name} is in none of the container's cgroups: {membership}")
}

/// A value of a process' cgroup: file `v1` or `v2` of `controller`, whichever the host has.
///
/// # Errors
/// When the file cannot be read.
pub fn cgroup_value(pid: i32, name: &str, v1: &str, v2: &str) -> Result<String> {
    let file = if controller(name) == Some(CgroupKind::V1) { v1 } else { v2 };
    let path = cgroup_dir(pid, name)?.join(file);
    Ok(read(&path).with_context(|| path.display().to_string())?.trim().to_owned())
}

fn read(path: &Path) -> Result<String> {
    Ok(fs::read_to_string(path)?)
}

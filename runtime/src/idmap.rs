//! Id maps of a new user namespace (user_namespaces(7)).

use std::fmt::Write as _;
use std::process::Command;

use nix::unistd::{Pid, getegid, geteuid};
use plim_model::{IdMap, IdMapping};

use crate::error::{During, Result, RuntimeError};

/// The map without any: the caller's own ids are root inside, nothing else exists.
pub(crate) fn own_ids() -> IdMap {
    let one = |outside| vec![IdMapping { inside: 0, outside, count: 1 }];
    IdMap { uid: one(geteuid().as_raw()), gid: one(getegid().as_raw()) }
}

/// Refuses a map the kernel would refuse, with a better word.
pub(crate) fn check(map: &IdMap) -> Result<()> {
    for (name, mappings) in [("uid", &map.uid), ("gid", &map.gid)] {
        let refuse =
            |why: String| Err(RuntimeError::refused(format!("map {name}s of the user namespace"), why));
        if mappings.is_empty() || mappings.len() > 340 {
            return refuse(format!("{} ranges, expected 1 to 340", mappings.len()));
        }
        for mapping in mappings {
            if mapping.count == 0
                || mapping.inside.checked_add(mapping.count).is_none()
                || mapping.outside.checked_add(mapping.count).is_none()
            {
                return refuse(format!(
                    "range {} {} {} is empty or passes 4294967295",
                    mapping.inside, mapping.outside, mapping.count
                ));
            }
        }
    }
    Ok(())
}

fn text(mappings: &[IdMapping]) -> String {
    mappings.iter().fold(String::new(), |mut text, mapping| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {}", mapping.inside, mapping.outside, mapping.count);
        text
    })
}

/// Writes the maps of `pid`'s user namespace. Without privilege, a single own id is written directly with setgroups(2)
/// denied, and ranges go through newuidmap(1) and newgidmap(1), which check /etc/subuid and /etc/subgid.
pub(crate) fn write(pid: Pid, map: &IdMap) -> Result<()> {
    if geteuid().is_root() {
        write_file(pid, "uid_map", &text(&map.uid))?;
        return write_file(pid, "gid_map", &text(&map.gid));
    }
    let own = own_ids();
    let single = |mappings: &[IdMapping], own: &[IdMapping]| matches!((mappings, own), ([one], [own]) if one.outside == own.outside && one.count == 1);
    if single(&map.uid, &own.uid) && single(&map.gid, &own.gid) {
        write_file(pid, "uid_map", &text(&map.uid))?;
        // Without this the kernel refuses an unprivileged gid_map (CVE-2014-8989).
        write_file(pid, "setgroups", "deny")?;
        return write_file(pid, "gid_map", &text(&map.gid));
    }
    helper("newuidmap", pid, &map.uid)?;
    helper("newgidmap", pid, &map.gid)
}

fn write_file(pid: Pid, name: &str, content: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{name}");
    std::fs::write(&path, content).during(|| format!("write {:?} to {path}", content.trim_end()))
}

fn helper(program: &str, pid: Pid, mappings: &[IdMapping]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for mapping in mappings {
        command.args([mapping.inside, mapping.outside, mapping.count].map(|number| number.to_string()));
    }
    let doing = || format!("run {program} (package uidmap) to map a range of ids without root");
    let output = command.output().during(doing)?;
    if output.status.success() {
        return Ok(());
    }
    Err(RuntimeError::refused(doing(), String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Whether `id` of the container exists outside.
pub(crate) fn maps(mappings: &[IdMapping], id: u32) -> bool {
    mappings.iter().any(|mapping| id >= mapping.inside && id - mapping.inside < mapping.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_and_written() {
        let range = |inside, outside, count| IdMapping { inside, outside, count };
        let map = IdMap { uid: vec![range(0, 100_000, 65536)], gid: vec![range(0, 100_000, 65536)] };
        check(&map).unwrap();
        assert_eq!(text(&map.uid), "0 100000 65536\n");
        assert!(maps(&map.uid, 65535) && !maps(&map.uid, 65536));
        for bad in [vec![], vec![range(0, 0, 0)], vec![range(0, u32::MAX, 2)]] {
            assert!(check(&IdMap { uid: bad, gid: map.gid.clone() }).is_err());
        }
    }
}

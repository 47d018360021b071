//! `--device`, `--device-cgroup-rule` and the devices of a privileged container.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use plim_runtime::config::{DeviceNode, DeviceRule};

use crate::volumes::clean;
use crate::world::{HostDevice, PathKind, World};

/// Nodes that are made in every container, and by the runtime.
const STANDARD: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/console",
    "/dev/ptmx",
];

/// Reads `--device` into nodes and rules, in order.
///
/// # Errors
/// Bad syntax; a path that is not there, or that is no device nor a directory of devices.
pub(crate) fn read(list: &[String], world: &impl World) -> Result<(Vec<DeviceNode>, Vec<DeviceRule>)> {
    let (mut nodes, mut rules) = (Vec::new(), Vec::new());
    for text in list {
        for (node, access) in device(text, world).with_context(|| format!("--device {text:?}"))? {
            rules.push(DeviceRule {
                allow: true,
                kind: node.kind,
                major: Some(node.major),
                minor: Some(node.minor),
                access,
            });
            if nodes.iter().any(|other: &DeviceNode| other.path == node.path) {
                bail!("--device {text:?}: two devices at {}", node.path);
            }
            if !STANDARD.contains(&node.path.as_str()) {
                nodes.push(node);
            }
        }
    }
    Ok((nodes, rules))
}

fn is_access(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 3
        && text.chars().all(|c| "rwm".contains(c))
        && text.chars().enumerate().all(|(at, c)| !text[..at].contains(c))
}

fn device(text: &str, world: &impl World) -> Result<Vec<(DeviceNode, String)>> {
    let parts: Vec<&str> = text.split(':').collect();
    // docker/cli parseLinuxDevice: the second part is the access when it reads as one.
    let (host, container, access) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, access] if is_access(access) => (*host, *host, *access),
        [host, container] => (*host, *container, "rwm"),
        [host, container, access] if is_access(access) => {
            (*host, if container.is_empty() { *host } else { *container }, *access)
        }
        [_, _, access] => bail!("unknown access {access:?}, expected any of r, w and m, each once"),
        _ => bail!("too many colons, expected HOST[:CONTAINER][:rwm]"),
    };
    if !host.starts_with('/') {
        bail!("the device on the host {host:?} is not an absolute path");
    }
    let container = clean(container)?;
    let place = world.canonical(Path::new(host)).with_context(|| format!("the device {host}"))?;
    let found = match world.kind(&place).with_context(|| format!("the device {host}"))? {
        PathKind::Device(device) => vec![(container, device)],
        PathKind::Directory => {
            let below = world.devices_below(&place).with_context(|| format!("the directory {host}"))?;
            below
                .into_iter()
                .filter_map(|(path, device)| {
                    let rest = path.strip_prefix(&place).ok()?.to_str()?.to_owned();
                    Some((format!("{}/{rest}", container.trim_end_matches('/')), device))
                })
                .collect()
        }
        PathKind::Other => bail!("{host} is not a device"),
    };
    if found.is_empty() {
        bail!("there is no device below {host}");
    }
    Ok(found.into_iter().map(|(path, device)| (node(path, &device), access.to_owned())).collect())
}

fn node(path: String, device: &HostDevice) -> DeviceNode {
    DeviceNode {
        path,
        kind: device.kind,
        major: device.major,
        minor: device.minor,
        mode: device.mode,
        uid: device.uid,
        gid: device.gid,
    }
}

/// Every device of the host, for `--privileged` (containerd `oci.HostDevices`).
///
/// # Errors
/// `/dev` cannot be read.
pub(crate) fn all(world: &impl World) -> Result<Vec<DeviceNode>> {
    let found = world.devices_below(Path::new("/dev")).context("list the devices below /dev")?;
    Ok(found
        .iter()
        .filter_map(|(path, device)| Some(node(path.to_str()?.to_owned(), device)))
        .filter(|node| !STANDARD.contains(&node.path.as_str()))
        .collect())
}

/// Reads one `--device-cgroup-rule`: `c 10:200 rwm` (moby AppendDevicePermissionsFromCgroupRules).
///
/// # Errors
/// Bad syntax.
pub(crate) fn rule(text: &str) -> Result<DeviceRule> {
    let bad = || {
        anyhow!(
            "--device-cgroup-rule {text:?}: expected TYPE MAJOR:MINOR ACCESS, as \"c 10:200 rwm\", with a, b or c, \
             numbers or *, and any of r, w and m"
        )
    };
    let number = |text: &str| -> Result<Option<u32>> {
        if text == "*" { Ok(None) } else { text.parse().map(Some).map_err(|_| bad()) }
    };
    let expanded = if text == "a" { "a *:* rwm" } else { text };
    let [kind, numbers, access] = expanded.split(' ').collect::<Vec<_>>()[..] else { return Err(bad()) };
    let kind = match kind {
        "a" => 'a',
        "b" => 'b',
        "c" => 'c',
        _ => return Err(bad()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    if !is_access(access) {
        return Err(bad());
    }
    Ok(DeviceRule {
        allow: true,
        kind,
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_owned(),
    })
}

//! `--volume`, `--mount` and `--tmpfs`.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use plim_runtime::config::Mount;

use crate::sizes;
use crate::world::World;
use plim_tools_common::nearest::hint;

/// Mounts that the caller asked for, and what they do to the propagation of the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Sorted by depth, as Docker mounts them, so that a mount never hides another.
    pub(crate) mounts: Vec<Mount>,
    /// `shared` or `rslave` when a mount asks for propagation (moby WithMounts), else `None`.
    pub(crate) root_propagation: Option<&'static str>,
}

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
const VOLUME_MODES: [&str; 12] = [
    "ro",
    "rw",
    "z",
    "Z",
    "consistent",
    "cached",
    "delegated",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
];
/// Flags that moby lets a tmpfs have (moby/sys/mount, MergeTmpfsOptions).
const TMPFS_FLAGS: [&str; 22] = [
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "bind",
    "rbind",
    "strictatime",
    "relatime",
];
const TMPFS_KEYS: [&str; 7] = ["uid", "gid", "mode", "mpol", "nr_blocks", "nr_inodes", "size"];

/// Reads all three options.
///
/// # Errors
/// Bad syntax, an unknown option, a source that is not there (it is never made), two mounts on one place.
pub(crate) fn read(
    volumes: &[String],
    mounts: &[String],
    tmpfs: &[String],
    world: &impl World,
) -> Result<Asked> {
    let mut asked = Asked::default();
    for text in volumes {
        let mount =
            volume(text, &mut asked.root_propagation, world).with_context(|| format!("--volume {text:?}"))?;
        asked.mounts.push(mount);
    }
    for text in mounts {
        let mount = in_words(text, &mut asked.root_propagation, world)
            .with_context(|| format!("--mount {text:?}"))?;
        asked.mounts.push(mount);
    }
    for text in tmpfs {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mount = tmpfs_mount(target, options).with_context(|| format!("--tmpfs {text:?}"))?;
        asked.mounts.push(mount);
    }
    // Stable: mounts of one depth keep the caller's order.
    asked.mounts.sort_by_key(|mount| mount.destination.matches('/').count());
    for (index, mount) in asked.mounts.iter().enumerate() {
        if asked.mounts[..index].iter().any(|other| other.destination == mount.destination) {
            bail!("two mounts on {}", mount.destination);
        }
    }
    Ok(asked)
}

/// A destination in the container, made plain as Go's path.Clean does: it is a name, not yet a place.
pub(crate) fn clean(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        bail!("the path in the container {path:?} is not absolute");
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

fn destination(path: &str) -> Result<String> {
    if path.is_empty() {
        bail!("the path in the container is missing");
    }
    let path = clean(path)?;
    if path == "/" {
        bail!("the path in the container cannot be /; use --rootfs for a root of your own");
    }
    Ok(path)
}

fn volume(text: &str, root: &mut Option<&'static str>, world: &impl World) -> Result<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, modes) = match parts.as_slice() {
        [source, target] => (*source, *target, ""),
        [source, target, modes] => (*source, *target, *modes),
        [_] => bail!("anonymous volumes are not supported, expected SRC:DST[:OPTIONS]"),
        _ => bail!("too many colons, expected SRC:DST[:OPTIONS]"),
    };
    let mut read_only = None;
    let mut propagation = None;
    for mode in modes.split(',').filter(|_| !modes.is_empty()) {
        let conflict = match mode {
            "ro" | "rw" => read_only.replace(mode == "ro").is_some(),
            _ if PROPAGATIONS.contains(&mode) => propagation.replace(mode).is_some(),
            // SELinux relabelling and hints for virtual machines: nothing to do here, and Docker does nothing either
            // where they do not apply.
            "z" | "Z" | "consistent" | "cached" | "delegated" => false,
            "nocopy" => bail!("nocopy is for named volumes, which are not supported"),
            _ => bail!("unknown option {mode:?}{}", hint(mode, VOLUME_MODES)),
        };
        if conflict {
            bail!("the option {mode:?} contradicts an earlier one");
        }
    }
    bind(source, target, read_only.unwrap_or(false), propagation.unwrap_or("rprivate"), root, world)
}

fn bind(
    source: &str,
    target: &str,
    read_only: bool,
    propagation: &str,
    root: &mut Option<&'static str>,
    world: &impl World,
) -> Result<Mount> {
    let destination = destination(target)?;
    if source.is_empty() {
        bail!("the path on the host is missing");
    }
    // docker/cli: a relative path begins with a dot; a bare word is a named volume.
    if !source.starts_with('/') && !source.starts_with('.') {
        bail!("named volumes are not supported; give a path on the host, as ./{source}");
    }
    let place = world.canonical(Path::new(source)).with_context(|| format!("the source {source}"))?;
    let path = place.to_str().ok_or_else(|| anyhow!("the source is not valid UTF-8"))?.to_owned();
    match propagation {
        "shared" | "rshared" => {
            linked(&path, propagation, &["shared:"], world)?;
            *root = Some("shared");
        }
        "slave" | "rslave" => {
            linked(&path, propagation, &["shared:", "master:"], world)?;
            root.get_or_insert("rslave");
        }
        _ => {}
    }
    // moby WithMounts: the order of the options is rbind, ro, propagation.
    let mut options = vec!["rbind".to_owned()];
    if read_only {
        options.push("ro".to_owned());
    }
    options.push(propagation.to_owned());
    Ok(Mount { destination, fs_type: "bind".to_owned(), source: path, options })
}

/// Checks that the mount that holds `source` is in a peer group of the right kind: without one, the kernel would take
/// the propagation asked for and never propagate anything (moby ensureShared).
fn linked(source: &str, propagation: &str, tags: &[&str], world: &impl World) -> Result<()> {
    let text = world.read(Path::new("/proc/self/mountinfo")).context("read /proc/self/mountinfo")?;
    let text = String::from_utf8_lossy(&text);
    // mountinfo(5): id parent major:minor root mount-point options [tag…] - type source options
    let holder = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let point = fields.get(4)?.replace("\\040", " ");
            let tags: Vec<String> =
                fields.iter().skip(6).take_while(|f| **f != "-").map(|f| (*f).to_owned()).collect();
            let below = point == "/" || source == point || source.starts_with(&format!("{point}/"));
            below.then_some((point, tags))
        })
        .max_by_key(|(point, _)| point.len());
    let Some((point, found)) = holder else { bail!("no mount holds {source}") };
    if !found.iter().any(|tag| tags.iter().any(|wanted| tag.starts_with(wanted))) {
        bail!("{propagation}: {source} is on the mount {point}, which does not propagate mounts");
    }
    Ok(())
}

const MOUNT_KEYS: [&str; 12] = [
    "type",
    "source",
    "src",
    "target",
    "destination",
    "dst",
    "readonly",
    "ro",
    "bind-propagation",
    "tmpfs-size",
    "tmpfs-mode",
    "consistency",
];

fn in_words(text: &str, root: &mut Option<&'static str>, world: &impl World) -> Result<Mount> {
    let (mut kind, mut source, mut target) = ("", "", "");
    let (mut read_only, mut propagation) = (false, None);
    let (mut size, mut mode) = (None, None);
    for field in text.split(',') {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field, None),
        };
        if matches!(key, "readonly" | "ro") {
            read_only = value.map_or(Ok(true), sizes::boolean).with_context(|| key.to_owned())?;
            continue;
        }
        if !MOUNT_KEYS.contains(&key) {
            bail!("unknown key {key:?}{}", hint(key, MOUNT_KEYS));
        }
        let value =
            value.filter(|v| !v.is_empty()).ok_or_else(|| anyhow!("{key} needs a value, as {key}=…"))?;
        match key {
            "type" => kind = value,
            "source" | "src" => source = value,
            "target" | "destination" | "dst" => target = value,
            "bind-propagation" if PROPAGATIONS.contains(&value) => propagation = Some(value),
            "bind-propagation" => {
                bail!("unknown propagation {value:?}; it is one of {}", PROPAGATIONS.join(", "))
            }
            "tmpfs-size" => size = Some(sizes::bytes(value).context("tmpfs-size")?),
            "tmpfs-mode" => {
                let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                mode = Some(bits.ok_or_else(|| anyhow!("tmpfs-mode: found {value:?}, expected octal"))?);
            }
            _ => {}
        }
    }
    match kind {
        "bind" if size.is_some() || mode.is_some() => bail!("tmpfs-size and tmpfs-mode are for type=tmpfs"),
        "bind" => bind(source, target, read_only, propagation.unwrap_or("rprivate"), root, world),
        "tmpfs" if !source.is_empty() => bail!("a tmpfs has no source"),
        "tmpfs" if propagation.is_some() => bail!("bind-propagation is for type=bind"),
        "tmpfs" => {
            let mut options = Vec::new();
            options.extend(read_only.then(|| "ro".to_owned()));
            options.extend(size.map(|bytes| format!("size={bytes}")));
            options.extend(mode.map(|bits| format!("mode={bits:o}")));
            tmpfs_mount(target, &options.join(","))
        }
        "" | "volume" => bail!("named volumes are not supported; say type=bind or type=tmpfs"),
        other => bail!("unknown type {other:?}; it is bind or tmpfs"),
    }
}

/// moby WithMounts: `noexec,nosuid,nodev` first, and what the caller says replaces its opposite.
fn tmpfs_mount(target: &str, options: &str) -> Result<Mount> {
    let destination = destination(target)?;
    let mut merged = vec!["noexec".to_owned(), "nosuid".to_owned(), "nodev".to_owned()];
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let checked = match option.split_once('=') {
            Some((key, value)) if TMPFS_KEYS.contains(&key) => format!("{key}={}", tmpfs_value(key, value)?),
            Some((key, _)) => bail!("unknown tmpfs option {key:?}{}", hint(key, TMPFS_KEYS)),
            None if matches!(option, "bind" | "rbind" | "remount") => {
                bail!("{option} cannot be asked of a new tmpfs")
            }
            None if TMPFS_FLAGS.contains(&option) => option.to_owned(),
            None => bail!(
                "unknown tmpfs option {option:?}{}",
                hint(option, TMPFS_FLAGS.into_iter().chain(TMPFS_KEYS))
            ),
        };
        merged.retain(|earlier| !replaces(&checked, earlier));
        merged.push(checked);
    }
    Ok(Mount { destination, fs_type: "tmpfs".to_owned(), source: "tmpfs".to_owned(), options: merged })
}

/// Whether a later option takes the place of an earlier one: the same key, the same flag, or its opposite.
fn replaces(later: &str, earlier: &str) -> bool {
    match (later.split_once('='), earlier.split_once('=')) {
        (Some((later, _)), Some((earlier, _))) => later == earlier,
        (None, None) => earlier == later || earlier == opposite(later),
        _ => false,
    }
}

fn opposite(flag: &str) -> String {
    match flag {
        "ro" => "rw".to_owned(),
        "rw" => "ro".to_owned(),
        "async" => "sync".to_owned(),
        "sync" => "async".to_owned(),
        _ => flag.strip_prefix("no").map_or_else(|| format!("no{flag}"), str::to_owned),
    }
}

/// Checked here, so that a bad value is found before anything is made; the size is given to the kernel in bytes.
fn tmpfs_value(key: &str, value: &str) -> Result<String> {
    let check = || -> Result<String> {
        match key {
            "size" if value.ends_with('%') => {
                sizes::whole(value.trim_end_matches('%'), 1, 100)?;
                Ok(value.to_owned())
            }
            "size" => Ok(sizes::bytes(value)?.to_string()),
            "uid" | "gid" => Ok(sizes::whole(value, 0, i64::from(u32::MAX) - 1)?.to_string()),
            "mode" => {
                u32::from_str_radix(value, 8)
                    .ok()
                    .filter(|bits| *bits <= 0o7777)
                    .ok_or_else(|| anyhow!("found {value:?}, expected octal permissions such as 1777"))?;
                Ok(value.to_owned())
            }
            "nr_inodes" | "nr_blocks" => Ok(sizes::bytes(value)?.to_string()),
            _ => Ok(value.to_owned()),
        }
    };
    check().with_context(|| key.to_owned())
}

//! Mounts by their target, masked and read-only paths, and engine sockets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::identity::without_ids;
use super::{Comparison, Effect};
use crate::mount::{Mount, Propagation};
use crate::snapshot::TargetInfo;
use crate::{Observed, Snapshot};

pub(super) fn compare(comparison: &mut Comparison, a: &Snapshot, b: &Snapshot) {
    let masked = [path_set(&a.masked_paths), path_set(&b.masked_paths)];
    let read_only = [path_set(&a.read_only_paths), path_set(&b.read_only_paths)];
    if let Some((before, after)) = comparison.known("/mounts", &a.mounts, &b.mounts) {
        let old = by_target(before, &a.target, &masked[0]);
        let new = by_target(after, &b.target, &masked[1]);
        let targets: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for target in targets {
            match (old.get(target), new.get(target)) {
                (Some(x), Some(y)) => both(comparison, target, x, y),
                // A read-only remount of a place below /proc or /sys is told as a read-only path.
                (Some(_), None) if read_only[0].contains(target) => {}
                (None, Some(_)) if read_only[1].contains(target) => {}
                (Some(x), None) => one(comparison, target, Some(x), None),
                (None, Some(y)) => one(comparison, target, None, Some(y)),
                (None, None) => {}
            }
        }
    }
    if let Some((before, after)) = comparison.known("/masked_paths", &a.masked_paths, &b.masked_paths) {
        comparison.members("/masked_paths", &set(before), &set(after), Effect::Less, String::clone);
    }
    if let Some((before, after)) =
        comparison.known("/read_only_paths", &a.read_only_paths, &b.read_only_paths)
    {
        // What is masked is not writable either: going from one to the other is told as masking alone.
        let hidden = |paths: BTreeSet<String>, other: &BTreeSet<String>| -> BTreeSet<String> {
            paths.into_iter().filter(|path| !other.contains(path)).collect()
        };
        let (before, after) = (hidden(set(before), &masked[1]), hidden(set(after), &masked[0]));
        comparison.members("/read_only_paths", &before, &after, Effect::Less, String::clone);
    }
    if let Some((before, after)) = comparison.known("/engine_sockets", &a.engine_sockets, &b.engine_sockets) {
        let sockets =
            |list: Option<&Vec<crate::snapshot::EngineSocket>>| list.into_iter().flatten().cloned().collect();
        comparison
            .members("/engine_sockets", &sockets(before), &sockets(after), Effect::More, |s| s.path.clone());
    }
}

fn set(paths: Option<&Vec<String>>) -> BTreeSet<String> {
    paths.into_iter().flatten().cloned().collect()
}

fn path_set(paths: &Observed<Vec<String>>) -> BTreeSet<String> {
    set(paths.present())
}

/// What of a mount says what the target reaches.
#[derive(Debug, PartialEq)]
struct View {
    fs_type: String,
    root: String,
    source: String,
    options: BTreeSet<String>,
    super_options: BTreeSet<String>,
    propagation: Propagation,
}

/// Mounts by target: of several on one target the last covers the others. Masks are told as masked paths.
fn by_target(
    mounts: Option<&Vec<Mount>>,
    target: &TargetInfo,
    masked: &BTreeSet<String>,
) -> BTreeMap<String, View> {
    mounts
        .into_iter()
        .flatten()
        .filter(|mount| !masked.contains(&mount.target))
        .map(|mount| (without_ids(&mount.target, target), view(mount, target)))
        .collect()
}

fn view(mount: &Mount, target: &TargetInfo) -> View {
    let mount = anonymous(mount, target);
    View {
        fs_type: mount.fs_type,
        root: mount.root,
        source: mount.source,
        options: mount.options.into_iter().collect(),
        super_options: mount.super_options.into_iter().collect(),
        propagation: mount.propagation,
    }
}

/// The mount without what names the target and gives it nothing.
pub(super) fn anonymous(mount: &Mount, target: &TargetInfo) -> Mount {
    let clean = |text: &String| without_ids(text, target);
    // The directories of an overlay name the container and its image's layers.
    let directories = ["lowerdir=", "lowerdir+=", "upperdir=", "workdir=", "datadir+="];
    let is_directory =
        |option: &String| mount.fs_type == "overlay" && directories.iter().any(|d| option.starts_with(d));
    Mount {
        target: clean(&mount.target),
        fs_type: mount.fs_type.clone(),
        root: match (mount.fs_type.as_str(), mount.root.as_str()) {
            // Where in the hierarchy the target's own cgroup is, is identity; seeing the whole of it is not.
            ("cgroup" | "cgroup2", root) if root != "/" => "CGROUP".to_owned(),
            (_, root) => without_ids(root, target),
        },
        // The name of a file system without a device is whatever the mounter wrote.
        source: if mount.source.starts_with('/') { clean(&mount.source) } else { String::new() },
        options: mount.options.iter().map(clean).collect(),
        super_options: mount.super_options.iter().filter(|o| !is_directory(o)).map(clean).collect(),
        propagation: mount.propagation,
    }
}

fn key(target: &str) -> String {
    format!("/mounts/{}", crate::json::escape(target))
}

fn one(comparison: &mut Comparison, target: &str, before: Option<&View>, after: Option<&View>) {
    let value = |view: Option<&View>| {
        view.map_or(Value::Null, |view| {
            json!({"fs_type": view.fs_type, "root": view.root, "source": view.source, "options": view.options})
        })
    };
    // A tmpfs shows nothing of the host and may cover something of the image; any other mount is something to reach.
    let memory = before.or(after).is_some_and(|view| ["tmpfs", "ramfs"].contains(&view.fs_type.as_str()));
    let effect = if memory { Effect::Other } else { Effect::from_sides(after.is_some(), before.is_some()) };
    comparison.change(key(target), value(before), value(after), effect);
}

fn both(comparison: &mut Comparison, target: &str, x: &View, y: &View) {
    let key = key(target);
    for (name, before, after) in
        [("fs_type", &x.fs_type, &y.fs_type), ("root", &x.root, &y.root), ("source", &x.source, &y.source)]
    {
        if before != after {
            comparison.change(format!("{key}/{name}"), before, after, Effect::Other);
        }
    }
    if x.options != y.options {
        comparison.change(format!("{key}/options"), &x.options, &y.options, options(&x.options, &y.options));
    }
    if x.super_options != y.super_options {
        let effect = options(&x.super_options, &y.super_options);
        comparison.change(format!("{key}/super_options"), &x.super_options, &y.super_options, effect);
    }
    if x.propagation != y.propagation {
        let effect = Effect::by_order(&travel(x.propagation), &travel(y.propagation));
        comparison.change(format!("{key}/propagation"), x.propagation, y.propagation, effect);
    }
}

/// How far mounts travel: not at all, inward, both ways.
fn travel(propagation: Propagation) -> u8 {
    match propagation {
        Propagation::Private | Propagation::Unbindable => 0,
        Propagation::Slave => 1,
        Propagation::Shared | Propagation::SharedSlave => 2,
    }
}

/// Judges a change of options: without `ro`, `nosuid`, `nodev`, `noexec` or `nosymfollow` there is more to reach; an
/// option that is none of these (`relatime`, `size=…`) says neither.
fn options(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Effect {
    let restricts =
        |option: &&String| ["ro", "nosuid", "nodev", "noexec", "nosymfollow"].contains(&option.as_str());
    // `rw` is the absence of `ro`.
    let counts = |option: &&String| option.as_str() != "rw";
    let lost: Vec<&String> = before.difference(after).filter(counts).collect();
    let gained: Vec<&String> = after.difference(before).filter(counts).collect();
    if !lost.iter().chain(&gained).all(restricts) {
        return Effect::Other;
    }
    Effect::from_sides(!lost.is_empty(), !gained.is_empty())
}

//! What is known of one target: its names, its filters, its users, its root.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plim_model::parse::{idmap, limits, status};
use plim_model::{IdMapping, Observed};
use plim_observe::Selected;
use plim_seccomp::bpf::Program;
use serde_json::Value;

use crate::event::{self, Event};
use crate::files::{self, FileFacts, Who};
use crate::look::{Looker, Patience, Question};
use crate::object;
use crate::tracer::FIRST_USER_NAMESPACE;

/// Stacks of filters that are kept, and their instructions, some 16 bytes each; then all of them are forgotten.
const MOST_STACKS: usize = 256;
const MOST_INSTRUCTIONS: usize = 1 << 18;
/// A stack that was not found is not looked for again so soon: it takes milliseconds.
const NOT_FOUND: Duration = Duration::from_secs(1);
const MOST_NOT_FOUND: usize = 4096;
/// Nested user namespaces whose maps are kept; then all of them are forgotten.
const MOST_MAPS: usize = 1024;

/// Which users a user namespace has.
#[derive(Clone, Debug, Default)]
struct Maps {
    users: Vec<IdMapping>,
    groups: Vec<IdMapping>,
}

fn inside(map: &[IdMapping], outside: u32) -> Option<u32> {
    let row = map.iter().find(|row| outside >= row.outside && outside - row.outside < row.count)?;
    Some(row.inside + (outside - row.outside))
}

/// One target.
pub(crate) struct Target {
    pub(crate) container: String,
    pub(crate) engine: String,
    pub(crate) pid: i32,
    /// The engine's `linux.seccomp`.
    pub(crate) seccomp: Option<Arc<Value>>,
    /// The filters it is started with, where the starter says so: for a task that a filter killed at once.
    declared: Option<Vec<Program>>,
    /// By their digest.
    stacks: BTreeMap<u64, Vec<Program>>,
    /// Digests of stacks that were not found at a thread, and when.
    not_found: BTreeMap<(u64, i32), Instant>,
    /// By the inode of the user namespace.
    maps: BTreeMap<u32, Maps>,
    /// How long its file systems are waited for.
    patience: Patience,
    /// Its root, held for a target that is being started: its processes may have ended when their calls are read.
    root: Option<OwnedFd>,
    /// Its mount namespace, without which the mounts below that root go.
    _mounts: Option<std::fs::File>,
}

impl Target {
    /// Looks at a target that lives. With `held` its root stays open.
    ///
    /// # Errors
    /// It ended meanwhile.
    pub(crate) fn new(selected: &Selected, held: bool, declared: Option<Vec<Program>>) -> Result<Target> {
        let pid = selected.pid.0;
        let seccomp = match plim_observe::declared_seccomp(selected) {
            Observed::Present(seccomp) => Some(Arc::new(seccomp)),
            Observed::Absent | Observed::Unknown(_) => None,
        };
        let mut target = Target {
            container: selected.name.clone().unwrap_or_else(|| selected.id.clone()),
            engine: selected.engine.clone(),
            pid,
            seccomp,
            declared,
            stacks: BTreeMap::new(),
            not_found: BTreeMap::new(),
            maps: BTreeMap::new(),
            patience: Patience::default(),
            root: if held { files::root(&format!("/proc/{pid}/root")) } else { None },
            _mounts: if held { std::fs::File::open(format!("/proc/{pid}/ns/mnt")).ok() } else { None },
        };
        if let Some((inode, maps)) = maps_of(pid) {
            target.maps.insert(inode, maps);
        }
        target.keep_declared();
        if let Ok(Some((_, programs))) = plim_observe::filters::stack_of(pid) {
            target.stacks.insert(event::digest(&programs), programs);
        }
        // Another process may have got the pid meanwhile.
        let again =
            plim_observe::find(Some("pid"), &pid.to_string()).with_context(|| selected.target_name())?;
        anyhow::ensure!(
            again.start_time_ticks == selected.start_time_ticks,
            "{} ended meanwhile",
            selected.target_name()
        );
        Ok(target)
    }

    /// The filters of the stack that the event's task stands on.
    pub(crate) fn filters(&mut self, event: &Event) -> Option<&[Program]> {
        if event.digest == 0 {
            // Nothing tells filters of equal number from each other: it has no more than it was started with, so they are these.
            let same = |declared: &&Vec<Program>| usize::try_from(event.filters) == Ok(declared.len());
            return self.declared.as_ref().filter(same).map(Vec::as_slice);
        }
        if !self.stacks.contains_key(&event.digest) {
            self.look_for(event);
        }
        self.stacks.get(&event.digest).map(Vec::as_slice)
    }

    fn keep_declared(&mut self) {
        if let Some(declared) = &self.declared {
            self.stacks.insert(event::digest(declared), declared.clone());
        }
    }

    fn look_for(&mut self, event: &Event) {
        let recently = |at: &Instant| at.elapsed() < NOT_FOUND;
        if self.not_found.get(&(event.digest, event.tid)).is_some_and(recently) {
            return;
        }
        for tid in [event.tid, event.parent, self.pid] {
            if let Ok(Some((_, programs))) = plim_observe::filters::stack_of(tid) {
                let digest = event::digest(&programs);
                let kept =
                    self.stacks.values().flatten().map(|program| program.instructions().len()).sum::<usize>();
                if self.stacks.len() > MOST_STACKS || kept > MOST_INSTRUCTIONS {
                    self.stacks.clear();
                    self.keep_declared();
                }
                self.stacks.insert(digest, programs);
                if digest == event.digest {
                    return;
                }
            }
        }
        if self.not_found.len() > MOST_NOT_FOUND {
            self.not_found.clear();
        }
        self.not_found.insert((event.digest, event.tid), Instant::now());
    }

    /// The maps of the event's user namespace; `None` when they cannot be known any more.
    fn maps(&mut self, event: &Event) -> Option<&Maps> {
        if !self.maps.contains_key(&event.user_namespace) {
            if self.maps.len() > MOST_MAPS {
                self.maps.clear();
            }
            let (inode, maps) = maps_of(event.pid)?;
            self.maps.insert(inode, maps);
        }
        self.maps.get(&event.user_namespace)
    }

    /// The host's number of the user that is 0 in the event's user namespace.
    pub(crate) fn root_uid(&mut self, event: &Event) -> Option<u32> {
        if event.user_namespace == FIRST_USER_NAMESPACE {
            return Some(0);
        }
        self.maps(event)?.users.iter().find(|row| row.inside == 0).map(|row| row.outside)
    }

    /// A file's owner as the event's process numbers it.
    pub(crate) fn owner(&mut self, event: &Event, file: &FileFacts) -> Option<(u32, u32)> {
        if event.user_namespace == FIRST_USER_NAMESPACE {
            return Some((file.uid, file.gid));
        }
        let maps = self.maps(event)?;
        Some((inside(&maps.users, file.uid)?, inside(&maps.groups, file.gid)?))
    }

    /// The file that the call is about.
    pub(crate) fn file(&mut self, event: &Event, looker: &mut Looker) -> Option<FileFacts> {
        let first = event.user_namespace == FIRST_USER_NAMESPACE;
        // Where its map cannot be known any more nothing is said of it.
        let users = if first { None } else { self.maps(event).map(|maps| maps.users.clone()) };
        let who = Who { uid: event.fsuid, gid: event.fsgid, groups: groups(event.pid) };
        // The process that looks has the link to a descriptor of this one.
        let held =
            self.root.as_ref().map(|root| format!("/proc/{}/fd/{}", std::process::id(), root.as_raw_fd()));
        let objects = object::of(event);
        let question = Question { pid: event.pid, held, first: self.pid, objects, who, users };
        looker.look(&question, &mut self.patience)
    }

    /// Whether the process lives.
    pub(crate) fn is_live(&self) -> bool {
        std::path::Path::new(&format!("/proc/{}", self.pid)).exists()
    }
}

/// The user namespace of a process and its maps.
fn maps_of(pid: i32) -> Option<(u32, Maps)> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/user")).ok()?;
    let inode = link.to_str()?.strip_prefix("user:[")?.strip_suffix(']')?.parse().ok()?;
    let read = |file: &str| idmap::parse(&std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?).ok();
    Some((inode, Maps { users: read("uid_map")?, groups: read("gid_map")? }))
}

fn groups(pid: i32) -> Option<Vec<u32>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status::parse(&text).ok().map(|status| status.groups)
}

/// The AppArmor profile that a process is under, without its mode, or its SELinux context; `None` when it is gone, and of modules
/// that have no labels. `attr/apparmor` is there from Linux 5.8 (before it `attr/current` is whichever module came first).
pub(crate) fn security_label(pid: i32, module: &str) -> Option<String> {
    let files: &[&str] = match module {
        "apparmor" => &["attr/apparmor/current", "attr/current"],
        "selinux" => &["attr/current"],
        _ => return None,
    };
    let text = files.iter().find_map(|file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok())?;
    let label = text.trim_end_matches(['\0', '\n', ' ']);
    let label = label.rsplit_once(" (").map_or(label, |(name, _mode)| name);
    Some(label.to_owned())
}

/// Whether a process has as many descriptors as RLIMIT_NOFILE lets it have; `None` when it is gone.
pub(crate) fn descriptors_used_up(pid: i32) -> Option<bool> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let limit = limits::parse(&text).ok()?.get("RLIMIT_NOFILE")?.soft.value()?;
    /// More than these are not counted.
    const MOST: u64 = 1 << 16;
    let limit = limit.min(MOST);
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let open = open.take(usize::try_from(limit).unwrap_or(usize::MAX)).count();
    Some(u64::try_from(open).unwrap_or(u64::MAX) >= limit)
}

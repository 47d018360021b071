//! Which namespaces are new, shared with the host, or joined.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use plim_model::{IdMap, IdMapping, NamespaceKind};
use plim_runtime::config::{NamespaceMode, TimeOffsets};

use crate::options::Options;
use crate::world::{Facts, World};
use plim_tools_common::nearest::hint;

/// The namespaces and, for a new user namespace, its id maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// By kind; a kind that is not here is the caller's own.
    pub(crate) modes: BTreeMap<NamespaceKind, NamespaceMode>,
    /// Of a new user namespace.
    pub(crate) id_maps: Option<IdMap>,
}

impl Chosen {
    /// Whether the container gets a new namespace of this kind.
    pub(crate) fn is_new(&self, kind: NamespaceKind) -> bool {
        self.modes.get(&kind) == Some(&NamespaceMode::New)
    }

    /// Whether the container shares the caller's namespace of this kind.
    pub(crate) fn is_host(&self, kind: NamespaceKind) -> bool {
        !self.modes.contains_key(&kind)
    }
}

/// Reads `--userns`, `--pid`, `--ipc`, `--uts`, `--network`, `--cgroupns` and `--timens`.
///
/// The cgroup namespace is private by default on v1 too, where Docker's default is the host's: it hides the host's
/// cgroup paths and takes nothing away.
///
/// # Errors
/// An unknown mode, a container that is not running, modes that exclude each other.
pub(crate) fn choose(options: &Options, facts: &Facts, world: &impl World) -> Result<Chosen> {
    let mut modes = BTreeMap::from([(NamespaceKind::Mnt, NamespaceMode::New)]);
    let network = options.network.as_deref().unwrap_or("none");
    if matches!(network, "bridge" | "default") {
        bail!(
            "--network {network}: a bridged network is not supported yet; use none (loopback alone), host or \
             container:NAME"
        );
    }
    for (option, text, kind, own, joinable) in [
        // Docker knows no time namespace: what is not asked for stays the host's.
        (
            "--timens",
            Some(options.timens.as_deref().unwrap_or("host")),
            NamespaceKind::Time,
            "private",
            false,
        ),
        ("--pid", options.pid.as_deref(), NamespaceKind::Pid, "private", true),
        ("--ipc", options.ipc.as_deref(), NamespaceKind::Ipc, "private", true),
        ("--uts", options.uts.as_deref(), NamespaceKind::Uts, "private", false),
        ("--network", Some(network), NamespaceKind::Net, "none", true),
        ("--cgroupns", options.cgroupns.as_deref(), NamespaceKind::Cgroup, "private", false),
    ] {
        let text = text.filter(|text| !text.is_empty()).unwrap_or(own);
        if let Some(mode) = mode(option, text, kind, own, joinable, world)? {
            modes.insert(kind, mode);
        }
    }
    let userns = match options.userns.as_deref() {
        None | Some("") => facts.uid != 0,
        Some("private") => true,
        Some("host") if facts.uid != 0 => {
            bail!(
                "--userns host needs root: without it, only a user namespace gives a container its privileges"
            )
        }
        Some("host") => false,
        Some(other) => {
            bail!("--userns {other:?}: expected host or private{}", hint(other, ["host", "private"]))
        }
    };
    if !userns {
        return Ok(Chosen { modes, id_maps: None });
    }
    exclusions(options, &modes)?;
    modes.insert(NamespaceKind::User, NamespaceMode::New);
    Ok(Chosen { modes, id_maps: Some(id_maps(facts, world)?) })
}

/// The farthest that a clock may be moved: KTIME_SEC_MAX / 2 (kernel/time/namespace.c, proc_timens_set_offset).
const FARTHEST_SECONDS: i64 = i64::MAX / 1_000_000_000 / 2;

/// Reads `--time-offset`; the last of a clock counts.
///
/// # Errors
/// No time namespace of the container's own, another clock, or a number that no clock can be moved by.
pub(crate) fn time_offsets(list: &[String], chosen: &Chosen) -> Result<Option<TimeOffsets>> {
    if list.is_empty() {
        return Ok(None);
    }
    if !chosen.is_new(NamespaceKind::Time) {
        bail!("--time-offset needs --timens private: the host's clocks are not moved");
    }
    let mut offsets = TimeOffsets { monotonic: (0, 0), boottime: (0, 0) };
    for text in list {
        let what = || format!("--time-offset {text:?}");
        let (clock, seconds) =
            text.split_once('=').with_context(|| format!("{}: expected CLOCK=SECONDS", what()))?;
        let seconds = crate::sizes::whole(seconds, -FARTHEST_SECONDS, FARTHEST_SECONDS).with_context(what)?;
        match clock {
            "monotonic" => offsets.monotonic = (seconds, 0),
            "boottime" => offsets.boottime = (seconds, 0),
            _ => {
                let known = ["monotonic", "boottime"];
                bail!("{}: expected monotonic or boottime{}", what(), hint(clock, known))
            }
        }
    }
    Ok(Some(offsets))
}

fn mode(
    option: &str,
    text: &str,
    kind: NamespaceKind,
    own: &str,
    joinable: bool,
    world: &impl World,
) -> Result<Option<NamespaceMode>> {
    if text == own || text == "private" {
        return Ok(Some(NamespaceMode::New));
    }
    if text == "host" {
        return Ok(None);
    }
    if let Some(name) = text.strip_prefix("container:").filter(|_| joinable) {
        let pid = world.container_pid(name).with_context(|| format!("{option} {text:?}"))?;
        return Ok(Some(NamespaceMode::Join(PathBuf::from(format!("/proc/{pid}/ns/{kind}")))));
    }
    let joined = if joinable { " or container:NAME" } else { "" };
    bail!("{option} {text:?}: expected {own}, host{joined}{}", hint(text, [own, "host"]))
}

/// What the kernel does not let root of a new user namespace do (moby verifyPlatformContainerSettings has the same
/// three; the fourth would take joining the other container's user namespace as well).
fn exclusions(options: &Options, modes: &BTreeMap<NamespaceKind, NamespaceMode>) -> Result<()> {
    let why = if options.userns.is_some() {
        "--userns private"
    } else {
        "the user namespace of a caller without root"
    };
    if options.privileged {
        bail!("--privileged cannot be combined with {why}: the privileges would end at that namespace");
    }
    if !modes.contains_key(&NamespaceKind::Net) {
        bail!("--network host cannot be combined with {why}: /sys could not be mounted");
    }
    if !modes.contains_key(&NamespaceKind::Pid) {
        bail!("--pid host cannot be combined with {why}: /proc could not be mounted");
    }
    if modes.values().any(|mode| matches!(mode, NamespaceMode::Join(_))) {
        bail!("container:NAME cannot be combined with {why}: it would not own the namespace it joins");
    }
    Ok(())
}

/// How many ids a private user namespace has: what passwd files and images use.
const ID_COUNT: u32 = 65_536;

/// Where a private user namespace begins when /etc/subuid sets nothing aside: the last 65536 of the range that systemd
/// gives to containers (its UIDS-GIDS document), so that they meet no user of the host.
const FIRST_ID: u32 = 1_879_048_192 - ID_COUNT;

/// For root: the range of the user `containers` in /etc/subuid and /etc/subgid (Podman's convention), else a fixed one.
/// For others: root in the container is the caller, and there is no other id.
fn id_maps(facts: &Facts, world: &impl World) -> Result<IdMap> {
    if facts.uid != 0 {
        let one = |outside| vec![IdMapping { inside: 0, outside, count: 1 }];
        return Ok(IdMap { uid: one(facts.uid), gid: one(facts.gid) });
    }
    let range = |path: &str| -> u32 {
        let text = world.read(Path::new(path)).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|line| {
                let mut fields = line.strip_prefix("containers:")?.split(':');
                let (first, count): (u32, u32) =
                    (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
                (count >= ID_COUNT && first.checked_add(ID_COUNT).is_some()).then_some(first)
            })
            .next()
            .unwrap_or(FIRST_ID)
    };
    let map = |outside| vec![IdMapping { inside: 0, outside, count: ID_COUNT }];
    Ok(IdMap { uid: map(range("/etc/subuid")), gid: map(range("/etc/subgid")) })
}

/// Checks `--sysctl` and adds Docker's defaults (moby WithSysctls; runc `configs/validate`, sysctl): only what belongs to
/// a namespace of the container's own may be set, anything else would be the host's.
///
/// # Errors
/// No `=`, a sysctl of the host, or of a namespace that is not the container's own.
pub(crate) fn sysctls(list: &[String], chosen: &Chosen) -> Result<BTreeMap<String, String>> {
    let mut sysctls = BTreeMap::new();
    if chosen.is_new(NamespaceKind::Net) {
        let user = chosen.is_new(NamespaceKind::User);
        sysctls.extend(
            crate::defaults::network_sysctls(user).into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
    }
    for text in list {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .with_context(|| format!("--sysctl {text:?}: expected NAME=VALUE"))?;
        // sysctl(8): the first separator decides which of the two spellings it is.
        let name = match name.find(['.', '/']) {
            Some(at) if name[at..].starts_with('/') => swap_separators(name),
            _ => name.to_owned(),
        };
        let Some(kind) = sysctl_namespace(&name) else {
            if name == "kernel.hostname" {
                bail!("--sysctl {text:?}: use --hostname");
            }
            bail!("--sysctl {text:?}: it is not of a namespace, setting it would change the host");
        };
        if !chosen.is_new(kind) {
            bail!("--sysctl {text:?}: it is of the {kind} namespace, which is not the container's own");
        }
        sysctls.insert(name, value.to_owned());
    }
    Ok(sysctls)
}

fn swap_separators(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c == '/' {
                '.'
            } else if c == '.' {
                '/'
            } else {
                c
            }
        })
        .collect()
}

fn sysctl_namespace(name: &str) -> Option<NamespaceKind> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    // A name is turned into a path below /proc/sys: no part of it may climb.
    if name.split(['.', '/']).any(str::is_empty) {
        return None;
    }
    match name {
        _ if IPC.contains(&name) || name.starts_with("fs.mqueue.") => Some(NamespaceKind::Ipc),
        _ if name.starts_with("net.") => Some(NamespaceKind::Net),
        "kernel.domainname" => Some(NamespaceKind::Uts),
        _ => None,
    }
}

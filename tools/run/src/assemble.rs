//! From options and facts to a [`ContainerConfig`]: pure, and everything that can be wrong is found here, before anything
//! is made.

use std::path::Path;

use anyhow::{Context, Result, bail};
use plim_model::{Capability, CapabilitySet, CapabilitySets, NamespaceKind};
use plim_runtime::config::{ContainerConfig, Mount, Process, Resources, Rootfs, RootfsSource};
use plim_runtime::oci::annotations;

use crate::names::Identity;
use crate::namespaces::Chosen;
use crate::options::Options;
use crate::security::Granted;
use crate::world::{Facts, PathKind, World};
use crate::{
    apparmor, defaults, devices, environment, limits, namespaces, profile, security, selinux, sizes, users,
    volumes,
};

/// The container, and what the caller should be told about it.
#[derive(Clone, Debug)]
pub(crate) struct Assembled {
    /// The container.
    pub(crate) config: ContainerConfig,
    /// Sentences for standard error.
    pub(crate) notes: Vec<String>,
    /// The same about security modules that are active and do not confine the container, by the annotation that says it in a
    /// printed document.
    pub(crate) unconfined: Vec<(&'static str, String)>,
}

/// Puts the container together.
///
/// # Errors
/// The first option whose value is wrong, by name, with what was expected.
pub(crate) fn assemble(
    options: &Options,
    identity: Identity,
    facts: &Facts,
    world: &impl World,
) -> Result<Assembled> {
    let args = command(options)?;
    let chosen = namespaces::choose(options, facts, world)?;
    let security = security::options(&options.security_opt)?;
    let held = if chosen.is_new(NamespaceKind::User) { world.kernel_capabilities()? } else { facts.held };
    let granted = security::capabilities(&options.cap_add, &options.cap_drop, options.privileged, held)?;

    let resources = resources(options, facts, world)?;
    let rootfs = rootfs(options, facts, resources.limits.memory_max_bytes, world)?;
    let (RootfsSource::Directory(root) | RootfsSource::Overlay { lower: root, .. }) = &rootfs.source;
    let passwd = world.read_in_root(root, "/etc/passwd")?.unwrap_or_default();
    let group = world.read_in_root(root, "/etc/group")?.unwrap_or_default();
    let user =
        users::resolve(options.user.as_deref().unwrap_or_default(), &options.group_add, &passwd, &group)?;
    let user = fit_to_maps(user, &chosen)?;

    let host_name = host_name(options, &identity, &chosen, facts)?;
    let asked = volumes::read(&options.volume, &options.mount, &options.tmpfs, world)?;
    let masked = !(options.privileged || security.unmask);
    let seccomp = profile::filter(&security.seccomp, options.privileged, granted.set, facts, world)?;
    let apparmor = apparmor::choose(&security.apparmor, options.privileged, facts, world)?;
    let shared = options.privileged
        || [NamespaceKind::Pid, NamespaceKind::Ipc].iter().any(|kind| chosen.is_host(*kind));
    // The default root is mounted nosuid.
    let nosuid = options.rootfs.is_none() || security.no_new_privileges;
    let selinux = selinux::choose(&security.label, shared, nosuid, &identity.id, world)?;
    let may_raise = Capability::from_name("CAP_SYS_RESOURCE").is_some_and(|c| facts.held.contains(c));

    let config = ContainerConfig {
        process: Process {
            args,
            env: environment::read(options, &host_name, &user.home, world)?,
            cwd: volumes::clean(options.workdir.as_deref().unwrap_or("/")).context("--workdir")?,
            terminal: options.tty,
            capabilities: sets(granted.set, user.user.uid),
            user: user.user,
            no_new_privileges: security.no_new_privileges,
            rlimits: limits::ulimits(&options.ulimit, may_raise, world)?,
            oom_score_adj: oom_score(options)?,
        },
        hostname: chosen.is_new(NamespaceKind::Uts).then_some(host_name),
        domainname: domain_name(options, &chosen)?,
        mounts: mounts(options, &chosen, asked.mounts)?,
        rootfs: Rootfs {
            propagation: asked.root_propagation.unwrap_or(&rootfs.propagation).to_owned(),
            ..rootfs
        },
        time_offsets: namespaces::time_offsets(&options.time_offset, &chosen)?,
        masked_paths: if masked { masked_paths(options, world) } else { Vec::new() },
        read_only_paths: if masked {
            defaults::READ_ONLY_PATHS.map(str::to_owned).to_vec()
        } else {
            Vec::new()
        },
        devices: if options.privileged {
            let mut all = devices::all(world)?;
            for node in resources.nodes {
                if !all.iter().any(|other| other.path == node.path) {
                    all.push(node);
                }
            }
            all
        } else {
            resources.nodes
        },
        sysctls: namespaces::sysctls(&options.sysctl, &chosen)?,
        resources: resources.limits,
        cgroup_path: options
            .cgroup_parent
            .as_deref()
            .map(|parent| cgroup_path(parent, &identity.id))
            .transpose()?,
        seccomp,
        apparmor_profile: apparmor.profile,
        selinux_label: selinux.process,
        mount_label: selinux.mount,
        init: init(options, &chosen)?,
        privileged: options.privileged,
        loopback_up: chosen.is_new(NamespaceKind::Net),
        image: Some(match &options.rootfs {
            Some(path) => path.display().to_string(),
            None => "the host's root".to_owned(),
        }),
        id: identity.id,
        name: identity.name,
        namespaces: chosen.modes,
        id_maps: chosen.id_maps,
    };
    let mut notes = notes(options, &granted);
    notes.extend(limits::weight_note(&config.resources, world));
    let unconfined: Vec<_> = [(annotations::APPARMOR, apparmor.note), (annotations::SELINUX, selinux.note)]
        .into_iter()
        .filter_map(|(annotation, note)| Some((annotation, note?)))
        .collect();
    Ok(Assembled { config, notes, unconfined })
}

fn command(options: &Options) -> Result<Vec<String>> {
    let entrypoint = options.entrypoint.iter().filter(|program| !program.is_empty());
    let args: Vec<String> = entrypoint.chain(&options.command).cloned().collect();
    match args.first() {
        None => bail!("no command was given, expected plim run [OPTIONS] [--] COMMAND [ARG…]"),
        Some(first) if first.is_empty() => bail!("the command is empty"),
        Some(_) => Ok(args),
    }
}

/// `--storage-opt`; the last size counts.
fn layer_bytes(options: &Options) -> Result<Option<u64>> {
    let mut bytes = None;
    for text in &options.storage_opt {
        let what = || format!("--storage-opt {text:?}");
        match text.split_once('=') {
            Some(("size", size)) => bytes = Some(sizes::bytes(size).with_context(what)?),
            _ => bail!("{}: expected size=SIZE", what()),
        }
        if bytes == Some(0) {
            bail!("{}: expected more than 0", what());
        }
        if options.rootfs.is_some() {
            bail!(
                "{}: with --rootfs the container writes to that directory, whose size is not limited",
                what()
            );
        }
    }
    Ok(bytes)
}

fn rootfs(options: &Options, facts: &Facts, memory_bytes: Option<u64>, world: &impl World) -> Result<Rootfs> {
    let asked = layer_bytes(options)?;
    let directories = |path: &str| match world.directories_in(Path::new(path)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.with_context(|| format!("list the host's {path}")),
    };
    let source = match &options.rootfs {
        None => RootfsSource::Overlay {
            lower: "/".into(),
            private: defaults::private_directories(
                &directories("/")?,
                &directories("/var")?,
                &directories("/etc")?,
            ),
            upper_size_bytes: asked.or(Some(defaults::layer_bytes(facts.memory_bytes, memory_bytes))),
        },
        Some(given) => {
            let what = || format!("--rootfs {}", given.display());
            let path = world.canonical(given).with_context(what)?;
            if world.kind(&path).with_context(what)? != PathKind::Directory {
                bail!("{}: it is not a directory", what());
            }
            if path == Path::new("/") {
                bail!(
                    "{}: the host's own root is not changed in place; without --rootfs the container has it below a \
                     layer that is thrown away",
                    what()
                );
            }
            RootfsSource::Directory(path)
        }
    };
    Ok(Rootfs { source, read_only: options.read_only, propagation: "private".to_owned() })
}

/// A user that the namespace does not map cannot be had; groups that it does not map are left out when they come from
/// the files, as they name nobody there.
fn fit_to_maps(mut user: users::Resolved, chosen: &Chosen) -> Result<users::Resolved> {
    let Some(maps) = &chosen.id_maps else { return Ok(user) };
    let within = |id: u32, maps: &[plim_model::IdMapping]| {
        maps.iter().any(|map| id >= map.inside && id - map.inside < map.count)
    };
    for (what, id, maps) in [("user", user.user.uid, &maps.uid), ("group", user.user.gid, &maps.gid)] {
        if !within(id, maps) {
            let count = maps.iter().map(|map| u64::from(map.count)).sum::<u64>();
            bail!("the {what} {id} is not in the container's user namespace, which has {count} ids from 0");
        }
    }
    user.user.additional_gids.retain(|gid| within(*gid, &maps.gid));
    Ok(user)
}

fn host_name(options: &Options, identity: &Identity, chosen: &Chosen, facts: &Facts) -> Result<String> {
    match options.hostname.as_deref() {
        Some(_) if chosen.is_host(NamespaceKind::Uts) => {
            bail!("--hostname cannot be combined with --uts host: it would rename the host")
        }
        // __NEW_UTS_LEN
        Some(name)
            if name.is_empty() || name.len() > 64 || name.contains(|c: char| !c.is_ascii_graphic()) =>
        {
            bail!("--hostname {name:?}: expected 1 to 64 letters, digits, - and .")
        }
        Some(name) => Ok(name.to_owned()),
        // moby: a container on the host's network has the host's name.
        None if chosen.is_host(NamespaceKind::Uts) || chosen.is_host(NamespaceKind::Net) => {
            Ok(facts.host_name.clone())
        }
        None => Ok(identity.id.chars().take(12).collect()),
    }
}

fn domain_name(options: &Options, chosen: &Chosen) -> Result<Option<String>> {
    match options.domainname.as_deref() {
        Some(_) if chosen.is_host(NamespaceKind::Uts) => {
            bail!("--domainname cannot be combined with --uts host: it would rename the host's domain")
        }
        Some(name)
            if name.is_empty() || name.len() > 64 || name.contains(|c: char| !c.is_ascii_graphic()) =>
        {
            bail!("--domainname {name:?}: expected 1 to 64 letters, digits, - and .")
        }
        name => Ok(name.map(str::to_owned)),
    }
}

struct Asked {
    limits: Resources,
    nodes: Vec<plim_runtime::config::DeviceNode>,
}

/// The limits and devices that the options ask for.
///
/// A caller without root gets device rules only if it asks for a device: in its user namespace no node can be made and
/// none on a mount of its own opens (user_namespaces(7), mount(8) nodev), and the rules would take a cgroup that it
/// most often does not have.
fn resources(options: &Options, facts: &Facts, world: &impl World) -> Result<Asked> {
    let mut limits = limits::resources(options, world)?;
    let (nodes, rules) = devices::read(&options.device, world)?;
    let extra: Vec<_> =
        options.device_cgroup_rule.iter().map(|text| devices::rule(text)).collect::<Result<_>>()?;
    if options.privileged {
        limits.device_rules = vec![defaults::all_devices_rule()];
    } else if facts.uid == 0 || !rules.is_empty() || !extra.is_empty() {
        limits.device_rules = plim_runtime::cgroup::docker_default_rules();
        limits.device_rules.extend(rules);
        limits.device_rules.extend(extra);
    }
    Ok(Asked { limits, nodes })
}

/// moby `oci.SetCapabilities`: a user that is not root keeps the bounding set alone, which is what execve would leave
/// it anyway. Nothing is inheritable or ambient (CVE-2022-24769).
fn sets(granted: CapabilitySet, uid: u32) -> CapabilitySets {
    let live = if uid == 0 { granted } else { CapabilitySet::EMPTY };
    CapabilitySets {
        bounding: granted,
        permitted: live,
        effective: live,
        inheritable: CapabilitySet::EMPTY,
        ambient: CapabilitySet::EMPTY,
    }
}

fn oom_score(options: &Options) -> Result<Option<i32>> {
    match options.oom_score_adj {
        Some(score) if !(-1000..=1000).contains(&score) => {
            bail!("--oom-score-adj {score}: expected -1000 to 1000")
        }
        score => Ok(score),
    }
}

fn init(options: &Options, chosen: &Chosen) -> Result<bool> {
    if options.init && !chosen.is_new(NamespaceKind::Pid) {
        bail!("--init needs a pid namespace of the container's own, where it is pid 1");
    }
    Ok(options.init)
}

/// moby WithMounts: the defaults that no mount of the caller's replaces, then the caller's.
fn mounts(options: &Options, chosen: &Chosen, asked: Vec<Mount>) -> Result<Vec<Mount>> {
    let shm =
        sizes::bytes(&options.shm_size).with_context(|| format!("--shm-size {:?}", options.shm_size))?;
    if shm == 0 {
        bail!("--shm-size {:?}: expected more than 0", options.shm_size);
    }
    let replaced = |path: &str| asked.iter().any(|mount| mount.destination == path);
    let mut mounts = defaults::mounts(shm);
    mounts.retain(|mount| {
        let below_dev = mount.destination.starts_with("/dev/");
        !replaced(&mount.destination) && (!below_dev || !replaced("/dev"))
    });
    for mount in &mut mounts {
        match mount.destination.as_str() {
            "/sys" | "/sys/fs/cgroup" if options.privileged => mount.options.retain(|option| option != "ro"),
            // moby: the host's shared memory goes with its ipc namespace.
            "/dev/shm" if chosen.is_host(NamespaceKind::Ipc) => {
                *mount = Mount {
                    destination: "/dev/shm".to_owned(),
                    fs_type: "bind".to_owned(),
                    source: "/dev/shm".to_owned(),
                    options: vec!["rbind".to_owned(), "rprivate".to_owned()],
                };
            }
            // The group tty (5) does not exist where only one id is mapped; devpts refuses it with EINVAL.
            "/dev/pts"
                if chosen.id_maps.as_ref().is_some_and(|maps| maps.gid.iter().all(|m| m.count <= 5)) =>
            {
                mount.options.retain(|option| option != "gid=5");
            }
            _ => {}
        }
    }
    mounts.extend(asked);
    Ok(mounts)
}

fn masked_paths(options: &Options, world: &impl World) -> Vec<String> {
    let mut paths = defaults::MASKED_PATHS.map(str::to_owned).to_vec();
    if options.rootfs.is_none() {
        paths.push(defaults::MACHINE_ID.to_owned());
    }
    // All CPUs of a machine have it or none; most virtual machines have none, and one question is cheap.
    if world.kind(Path::new("/sys/devices/system/cpu/cpu0/thermal_throttle")).is_ok() {
        let possible = world.read(Path::new("/sys/devices/system/cpu/possible")).unwrap_or_default();
        paths.extend(defaults::thermal_paths(&String::from_utf8_lossy(&possible)));
    }
    paths
}

/// `PARENT/ID`; a parent without a slash is below the root of the hierarchy, as in Docker with the cgroupfs driver.
pub(crate) fn cgroup_path(parent: &str, id: &str) -> Result<String> {
    let clean = volumes::clean(&format!("/{parent}")).context("--cgroup-parent")?;
    if parent.is_empty() || parent.split('/').any(|part| part == "..") {
        bail!("--cgroup-parent {parent:?}: expected the path of a cgroup without ..");
    }
    Ok(format!("{}/{id}", clean.trim_end_matches('/')))
}

fn notes(options: &Options, granted: &Granted) -> Vec<String> {
    let mut notes = Vec::new();
    if !granted.missing.is_empty() {
        let names = granted.missing.names().join(", ");
        notes.push(if options.privileged {
            format!("--privileged grants every capability that the caller holds; it does not hold {names}")
        } else {
            format!("the caller does not hold {names}, so the container does not get it")
        });
    }
    notes
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;

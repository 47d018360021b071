//! What a configuration asks for, checked before anything is made.

use nix::unistd::geteuid;
use plim_model::NamespaceKind;
use plim_model::rlimit::{Limit, Rlimits};

use crate::config::{ContainerConfig, NamespaceMode};
use crate::error::{Result, RuntimeError};
use crate::rootfs::{mounts, options};
use crate::{credentials, idmap, namespaces, state, sysctl};

/// What was checked, opened and decided before anything was made.
pub(crate) struct Checked<'a> {
    pub(crate) namespaces: namespaces::Plan,
    pub(crate) mounts: mounts::Understood<'a>,
    pub(crate) propagation: nix::mount::MsFlags,
    pub(crate) id_maps: Option<plim_model::IdMap>,
    pub(crate) group_changes: bool,
    pub(crate) in_user_namespace: bool,
    pub(crate) rlimits: Vec<(String, u32, u64, u64)>,
}

impl Checked<'_> {
    pub(crate) fn new(config: &ContainerConfig) -> Result<Checked<'_>> {
        state::check(config)?;
        sysctl::check(config)?;
        config.mounts.iter().try_for_each(mounts::check_destination)?;
        let user = config.namespaces.get(&NamespaceKind::User);
        let new_user = user == Some(&NamespaceMode::New);
        if !new_user && config.id_maps.is_some() {
            return Err(RuntimeError::refused("map ids", "there is no new user namespace to map them in"));
        }
        let id_maps = new_user.then(|| config.id_maps.clone().unwrap_or_else(idmap::own_ids));
        if let Some(map) = &id_maps {
            idmap::check(map)?;
            check_user_is_mapped(config, map)?;
        }
        let single = id_maps.as_ref().is_some_and(|map| map.gid.iter().all(|range| range.count == 1));
        credentials::check(
            &config.process.capabilities,
            if user.is_some() { None } else { Some(credentials::held()?) },
        )?;
        for (name, set, kind) in [
            ("host name", config.hostname.is_some(), NamespaceKind::Uts),
            ("NIS domain name", config.domainname.is_some(), NamespaceKind::Uts),
            ("clock offsets", config.time_offsets.is_some(), NamespaceKind::Time),
        ] {
            if set && config.namespaces.get(&kind) != Some(&NamespaceMode::New) {
                return Err(RuntimeError::refused(
                    format!("set the container's {name}"),
                    format!("it has no {kind} namespace of its own, so it would change the host"),
                ));
            }
        }
        let word = config.rootfs.propagation.as_str();
        let propagation =
            options::propagation(if word.is_empty() { "rprivate" } else { word }).ok_or_else(|| {
                RuntimeError::refused(
                    "set the propagation of the root mount",
                    format!(
                        "unknown word {word:?}, expected [r]private, [r]slave, [r]shared or [r]unbindable"
                    ),
                )
            })?;
        Ok(Checked {
            namespaces: namespaces::Plan::new(&config.namespaces)?,
            mounts: mounts::understand(&config.mounts)?,
            propagation,
            id_maps,
            group_changes: geteuid().is_root() || !single,
            in_user_namespace: user.is_some(),
            rlimits: limits(&config.process.rlimits)?,
        })
    }
}

fn check_user_is_mapped(config: &ContainerConfig, map: &plim_model::IdMap) -> Result<()> {
    let user = &config.process.user;
    for (what, mappings, id) in [("user", &map.uid, user.uid), ("group", &map.gid, user.gid)] {
        if !idmap::maps(mappings, id) {
            return Err(RuntimeError::refused(
                format!("run as {what} {id}"),
                "the id maps of the user namespace do not have it",
            ));
        }
    }
    Ok(())
}

/// Limits by the kernel's number (asm-generic/resource.h).
fn limits(rlimits: &Rlimits) -> Result<Vec<(String, u32, u64, u64)>> {
    const NAMES: [&str; 16] = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let number = |limit: Limit| limit.value().unwrap_or(libc::RLIM_INFINITY);
    rlimits
        .iter()
        .map(|(name, limit)| {
            let bare = name.strip_prefix("RLIMIT_").unwrap_or(name);
            let index =
                NAMES.iter().position(|known| *known == bare).and_then(|index| u32::try_from(index).ok());
            let index = index.ok_or_else(|| {
                RuntimeError::refused(
                    format!("set the limit {name}"),
                    format!("unknown name, expected RLIMIT_ and one of {}", NAMES.join(", ")),
                )
            })?;
            let (soft, hard) = (number(limit.soft), number(limit.hard));
            if soft > hard {
                return Err(RuntimeError::refused(
                    format!("set the limit {name}"),
                    format!("the soft limit {} is above the hard limit {}", limit.soft, limit.hard),
                ));
            }
            Ok((name.clone(), index, soft, hard))
        })
        .collect()
}

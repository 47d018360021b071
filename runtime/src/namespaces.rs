//! Which namespaces are new, which are joined, and in which order.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use plim_model::NamespaceKind;

use crate::config::NamespaceMode;
use crate::error::{During, Result, RuntimeError};
use crate::observers;

/// CLONE_NEWTIME (Linux 5.6); nix has no name for it.
pub(crate) const NEW_TIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// The flag of clone(2), unshare(2) and setns(2) for a kind.
pub(crate) fn flag(kind: NamespaceKind) -> CloneFlags {
    match kind {
        NamespaceKind::Cgroup => CloneFlags::CLONE_NEWCGROUP,
        NamespaceKind::Ipc => CloneFlags::CLONE_NEWIPC,
        NamespaceKind::Mnt => CloneFlags::CLONE_NEWNS,
        NamespaceKind::Net => CloneFlags::CLONE_NEWNET,
        NamespaceKind::Pid => CloneFlags::CLONE_NEWPID,
        NamespaceKind::Time => NEW_TIME,
        NamespaceKind::User => CloneFlags::CLONE_NEWUSER,
        NamespaceKind::Uts => CloneFlags::CLONE_NEWUTS,
    }
}

/// The namespaces of one container, with every joined one open.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    new: Vec<NamespaceKind>,
    joined: Vec<(NamespaceKind, OwnedFd)>,
}

impl Plan {
    /// Opens what is to be joined and verifies that each file is a namespace of the kind it is named for (NS_GET_NSTYPE
    /// is left to setns(2), which compares with the flag).
    pub(crate) fn new(wanted: &BTreeMap<NamespaceKind, NamespaceMode>) -> Result<Plan> {
        let mut plan = Plan::default();
        for (kind, mode) in wanted {
            match mode {
                NamespaceMode::New => plan.new.push(*kind),
                NamespaceMode::Join(path) => {
                    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                        .during(|| format!("open the {kind} namespace {} to join", path.display()))?;
                    plan.joined.push((*kind, file));
                }
            }
        }
        if !plan.is_new(NamespaceKind::Mnt) {
            return Err(RuntimeError::refused(
                "make the container",
                "a container needs a mount namespace of its own for its root file system",
            ));
        }
        Ok(plan)
    }

    pub(crate) fn is_new(&self, kind: NamespaceKind) -> bool {
        self.new.contains(&kind)
    }

    pub(crate) fn is_joined(&self, kind: NamespaceKind) -> bool {
        self.joined.iter().any(|(joined, _)| *joined == kind)
    }

    /// The numbers of the descriptors of what is joined.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = i32> {
        self.joined.iter().map(|(_, file)| file.as_raw_fd())
    }

    /// What clone3(2) makes: user, because it owns the others, and pid, because it cannot be entered later. The rest
    /// is left to the child, which makes them while the launcher goes on (a network namespace takes a while).
    pub(crate) fn at_clone(&self) -> u64 {
        let flags = [NamespaceKind::User, NamespaceKind::Pid].into_iter().filter(|kind| self.is_new(*kind));
        flags.fold(0, |bits, kind| bits | u64::from(flag(kind).bits().cast_unsigned()))
    }

    /// Whether a helper process has to join before the container's first process is cloned: a user namespace must be
    /// entered before new ones are made in it, and a joined pid namespace holds only later children (setns(2)).
    pub(crate) fn needs_helper(&self) -> bool {
        self.is_joined(NamespaceKind::User) || self.is_joined(NamespaceKind::Pid)
    }

    /// Refuses a pid namespace whose processes could look into the container's first one.
    pub(crate) fn refuse_observers(&self) -> Result<()> {
        let joined = self.joined.iter().filter(|(kind, _)| *kind == NamespaceKind::Pid);
        joined.map(|(_, file)| file).try_for_each(observers::refuse)
    }

    /// In the helper: joins the user and pid namespaces. It is undumpable before, so that the processes there that have no
    /// CAP_SYS_PTRACE over the launcher see nothing of it or of its child.
    pub(crate) fn join_in_helper(&self) -> Result<()> {
        nix::sys::prctl::set_dumpable(false).during(|| "make the process undumpable")?;
        // pid first while we may still hold capabilities over its owner; a pid namespace owned by the user namespace
        // to be joined is possible only after, so it is tried again.
        let mut pid_joined = !self.is_joined(NamespaceKind::Pid);
        for kind in [NamespaceKind::Pid, NamespaceKind::User, NamespaceKind::Pid] {
            if kind == NamespaceKind::Pid && pid_joined {
                continue;
            }
            for (_, file) in self.joined.iter().filter(|(joined, _)| *joined == kind) {
                match setns(file, flag(kind)) {
                    Ok(()) => pid_joined |= kind == NamespaceKind::Pid,
                    Err(Errno::EPERM)
                        if kind == NamespaceKind::Pid && self.is_joined(NamespaceKind::User) => {}
                    Err(errno) => return Err(errno).during(|| format!("join the {kind} namespace")),
                }
            }
        }
        if pid_joined {
            return Ok(());
        }
        Err(Errno::EPERM).during(|| "join the pid namespace")
    }

    /// In the child: joins the other namespaces. The mount namespace is never joined.
    pub(crate) fn join(&self) -> Result<()> {
        for (kind, file) in &self.joined {
            if !matches!(kind, NamespaceKind::User | NamespaceKind::Pid) {
                setns(file.as_fd(), flag(*kind)).during(|| format!("join the {kind} namespace"))?;
            }
        }
        Ok(())
    }

    /// In the child: makes the other new namespaces, but for the cgroup namespace.
    pub(crate) fn unshare(&self) -> Result<()> {
        let kinds = || {
            self.new.iter().filter(|kind| {
                !matches!(
                    kind,
                    NamespaceKind::User | NamespaceKind::Pid | NamespaceKind::Time | NamespaceKind::Cgroup
                )
            })
        };
        let flags = kinds().fold(CloneFlags::empty(), |flags, kind| flags | flag(*kind));
        unshare(flags).during(|| {
            let names: Vec<&str> = kinds().map(|kind| kind.as_str()).collect();
            format!("make new namespaces ({}; needs CAP_SYS_ADMIN)", names.join(", "))
        })
    }

    /// In the child, when it is in its cgroups: makes the cgroup namespace, whose root is where its maker is
    /// (cgroup_namespaces(7)).
    pub(crate) fn unshare_cgroup(&self) -> Result<()> {
        if !self.is_new(NamespaceKind::Cgroup) {
            return Ok(());
        }
        unshare(CloneFlags::CLONE_NEWCGROUP).during(|| "make a new cgroup namespace (needs CAP_SYS_ADMIN)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_its_own_mount_namespace() {
        assert!(Plan::new(&BTreeMap::new()).is_err());
        let wanted = [NamespaceKind::Mnt, NamespaceKind::Pid, NamespaceKind::Net]
            .into_iter()
            .map(|kind| (kind, NamespaceMode::New))
            .collect();
        let plan = Plan::new(&wanted).unwrap();
        assert_eq!(plan.at_clone(), u64::from(CloneFlags::CLONE_NEWPID.bits().cast_unsigned()));
        assert!(!plan.needs_helper());
    }

    #[test]
    fn a_missing_namespace_is_named() {
        let wanted = [(NamespaceKind::Net, NamespaceMode::Join("/nonexistent/ns".into()))].into();
        let error = Plan::new(&wanted).unwrap_err().to_string();
        assert!(error.contains("net namespace /nonexistent/ns") && error.contains("ENOENT"), "{error}");
    }
}

//! Namespaces of the target, and who shares them.

use std::collections::BTreeMap;

use plim_model::namespace::Namespace;
use plim_model::{HostPid, NamespaceId, NamespaceKind, Namespaces, Observed};

use crate::Selected;
use crate::engines;
use crate::error::{EngineError, sentence};
use crate::procdir::{Process, TaskDir};
use crate::why::{self, observed};

/// Inodes by kind; a kind that the kernel does not have is absent.
pub(crate) type Inodes = BTreeMap<NamespaceKind, Observed<NamespaceId>>;

/// The namespaces of one task.
pub(crate) fn inodes(task: &TaskDir) -> Inodes {
    NamespaceKind::ALL
        .into_iter()
        .map(|kind| {
            let operation = format!("readlink /proc/PID/ns/{kind}");
            (kind, observed(&operation, why::PTRACE, task.namespace(kind)))
        })
        .collect()
}

/// `PF_KTHREAD` (include/linux/sched.h) in field 9 of stat.
const PF_KTHREAD: u64 = 0x0020_0000;

/// The host's namespaces: those of pid 1. Where pid 1 may not be read (it may hold capabilities that the reader lacks)
/// those of kthreadd, the parent of all kernel threads, which stays in the initial namespaces for ever.
pub(crate) fn host() -> Inodes {
    let init = Process::open(HostPid(1)).map(|process| inodes(&process.dir));
    let threads = Process::open(HostPid(2)).ok().filter(|process| is_kernel_thread(&process.dir));
    let threads = threads.map(|process| inodes(&process.dir)).unwrap_or_default();
    NamespaceKind::ALL
        .into_iter()
        .map(|kind| {
            let of_init = match &init {
                Ok(init) => init.get(&kind).cloned().unwrap_or_default(),
                Err(error) => Observed::Unknown(error.to_string()),
            };
            let inode = match of_init {
                Observed::Unknown(why) => match threads.get(&kind) {
                    Some(Observed::Present(inode)) => Observed::Present(*inode),
                    _ => Observed::Unknown(format!("pid 1: {why}")),
                },
                other => other,
            };
            (kind, inode)
        })
        .collect()
}

fn is_kernel_thread(task: &TaskDir) -> bool {
    let Ok(stat) = task.text("stat") else { return false };
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(9 - 3));
    flags.and_then(|flags| flags.parse::<u64>().ok()).is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// The running containers of every engine with their namespaces: what a target's namespaces are compared with.
#[derive(Debug, Default)]
pub struct Neighbours {
    known: Vec<(String, HostPid, Inodes)>,
    /// Containers that could not be read, and why: the target may share namespaces with them.
    pub(crate) unread: Vec<String>,
}

impl Neighbours {
    /// Nobody: no engine is asked, and `shared_with` stays empty.
    pub fn none() -> Neighbours {
        Neighbours::default()
    }

    /// Asks every engine for its running containers. Engines that could not be asked are told beside.
    pub fn survey() -> (Neighbours, Vec<EngineError>) {
        let (targets, errors) = engines::all();
        (Neighbours::of(&targets), errors)
    }

    /// Of a list that is at hand. A container that ended meanwhile shares nothing any more.
    pub fn of(targets: &[Selected]) -> Neighbours {
        let mut neighbours = Neighbours::default();
        for target in targets {
            let read = target.open_process().and_then(|process| {
                let inodes = inodes(&process.dir);
                process.check_alive(&target.target_name())?;
                Ok(inodes)
            });
            match read {
                Ok(inodes) => neighbours.known.push((target.target_name(), target.pid, inodes)),
                Err(error) if error.is_gone() => {}
                Err(error) => neighbours.unread.push(format!(
                    "compare with {}: {}",
                    target.target_name(),
                    sentence(&error)
                )),
            }
        }
        neighbours
    }

    /// Other containers in this namespace, sorted.
    pub(crate) fn sharing(&self, own: HostPid, kind: NamespaceKind, inode: NamespaceId) -> Vec<String> {
        let mut names: Vec<String> = self
            .known
            .iter()
            .filter(|(_, pid, inodes)| {
                *pid != own && inodes.get(&kind).and_then(Observed::present) == Some(&inode)
            })
            .map(|(name, _, _)| name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// The target's namespaces compared with the host's and the neighbours'.
pub(crate) fn describe(own: &Inodes, host: &Inodes, pid: HostPid, neighbours: &Neighbours) -> Namespaces {
    own.iter()
        .map(|(&kind, inode)| {
            let namespace = inode.clone().map(|inode| {
                let of_host = host.get(&kind).cloned().unwrap_or_default();
                Namespace {
                    inode,
                    shared_with_host: of_host.map(|of_host| of_host == inode),
                    shared_with: neighbours.sharing(pid, kind, inode),
                }
            });
            (kind, namespace)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_who_shares_and_says_when_it_does_not_know() {
        let inode = NamespaceId(7);
        let own: Inodes = [
            (NamespaceKind::Net, Observed::Present(inode)),
            (NamespaceKind::Time, Observed::Absent),
            (NamespaceKind::Uts, Observed::Present(NamespaceId(9))),
        ]
        .into();
        let host: Inodes = [
            (NamespaceKind::Net, Observed::Present(NamespaceId(1))),
            (NamespaceKind::Uts, Observed::Unknown("no".to_owned())),
        ]
        .into();
        let neighbours = Neighbours {
            known: vec![
                ("docker:b".to_owned(), HostPid(3), own.clone()),
                ("docker:self".to_owned(), HostPid(2), own.clone()),
            ],
            unread: Vec::new(),
        };
        let told = describe(&own, &host, HostPid(2), &neighbours);
        let net = told[&NamespaceKind::Net].present().expect("net");
        assert_eq!(net.shared_with_host, Observed::Present(false));
        assert_eq!(net.shared_with, ["docker:b"]);
        assert_eq!(told[&NamespaceKind::Time], Observed::Absent);
        let uts = told[&NamespaceKind::Uts].present().expect("uts");
        assert_eq!(uts.shared_with_host, Observed::Unknown("no".to_owned()));
    }
}

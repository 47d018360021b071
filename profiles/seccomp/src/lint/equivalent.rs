//! Calls that do what another call does.

use std::collections::BTreeMap;

use super::guard::always;
use super::{Class, Finding, Permit, Severity, View};
use crate::action::Action;
use crate::diagram::Undecided;
use crate::resolve::enosys;

/// Each call does everything that those before it in its row do. Rows that end in a star also hold backwards.
#[rustfmt::skip]
static CHAINS: [&[&str]; 58] = [
    &["open", "openat", "openat2"], &["creat", "open"], &["chmod", "fchmodat", "fchmodat2"],
    &["chown", "fchownat"], &["lchown", "fchownat"], &["chown", "chown32", "*"], &["fchown", "fchown32", "*"],
    &["mknod", "mknodat"], &["mkdir", "mkdirat"], &["rmdir", "unlinkat"], &["unlink", "unlinkat"],
    &["rename", "renameat", "renameat2"], &["link", "linkat"], &["symlink", "symlinkat"],
    &["readlink", "readlinkat"], &["access", "faccessat", "faccessat2"], &["stat", "newfstatat", "statx"],
    &["stat", "stat64", "*"], &["stat64", "fstatat64", "statx"], &["execve", "execveat"], &["fork", "clone", "clone3"],
    &["vfork", "clone"], &["mount", "fsmount"], &["umount", "umount2"], &["setxattr", "setxattrat"],
    &["getxattr", "getxattrat"], &["listxattr", "listxattrat"], &["removexattr", "removexattrat"],
    &["utime", "utimes", "utimensat"], &["futimesat", "utimensat"], &["init_module", "finit_module", "*"],
    &["kexec_load", "kexec_file_load", "*"], &["settimeofday", "clock_settime", "*"], &["stime", "clock_settime"],
    &["clock_settime", "clock_settime64", "*"], &["adjtimex", "clock_adjtime"], &["kill", "pidfd_send_signal", "*"],
    &["tkill", "tgkill", "*"], &["setrlimit", "prlimit64"], &["getrlimit", "prlimit64"], &["accept", "accept4"],
    &["sendto", "sendmsg", "sendmmsg"], &["recvfrom", "recvmsg", "recvmmsg"], &["dup2", "dup3"], &["pipe", "pipe2"],
    &["epoll_create", "epoll_create1"], &["eventfd", "eventfd2"], &["inotify_init", "inotify_init1"],
    &["signalfd", "signalfd4"], &["mprotect", "pkey_mprotect"], &["quotactl", "quotactl_fd"],
    &["process_vm_readv", "ptrace"], &["process_vm_writev", "ptrace"], &["mmap", "mmap2", "*"],
    &["truncate", "truncate64", "*"], &["fcntl", "fcntl64", "*"], &["getdents", "getdents64", "*"],
    &["setuid", "setuid32", "*"],
];

/// Pairs (refused, does the same).
fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    CHAINS.iter().flat_map(|chain| {
        let both = chain.last() == Some(&"*");
        let names = if both { &chain[..chain.len() - 1] } else { chain };
        names.iter().enumerate().flat_map(move |(at, old)| {
            let newer = names[at + 1..].iter().map(move |new| (*old, *new));
            newer.flat_map(move |(old, new)| {
                [Some((old, new)), both.then_some((new, old))].into_iter().flatten()
            })
        })
    })
}

/// S013.
pub(super) fn unequal(view: &mut View<'_>) -> Result<Vec<Finding>, Undecided> {
    let mut found: BTreeMap<(&str, &str), (Finding, Vec<&str>)> = BTreeMap::new();
    for arch in view.arches.clone() {
        for (refused, same) in pairs() {
            let (Some(a), Some(b)) = (view.of(arch, refused), view.of(arch, same)) else { continue };
            let (least, most) = (view.least(a), view.most(a));
            // What an allow list does not name may just be out of use.
            if most == Permit::Refused && !view.is_named(arch, refused) {
                continue;
            }
            // ENOSYS says "take another", which is what it is for.
            let absent = always(view, a, Action::Errno(enosys(arch)));
            let severity = match (most, view.most(b), view.least(b)) {
                (Permit::Refused, Permit::Made, _) if !absent => Severity::Medium,
                (Permit::Made, Permit::Made, Permit::Made) if least == Permit::Refused => Severity::High,
                _ => continue,
            };
            let Some(nr) = crate::syscalls::number(arch, same) else { continue };
            let call = view.example(arch, nr, |action| Permit::of(action) == Permit::Made);
            let how = if most == Permit::Refused { "refused" } else { "refused for some of its arguments" };
            let message = format!("{refused} is {how}, and {same}, which can do the same, is let through");
            let pointer = call.and_then(|call| view.pointer(&call));
            let finding =
                Finding::new(Class::Unequal, severity, message).witness(call.as_ref()).pointer(pointer);
            found.entry((refused, same)).or_insert_with(|| (finding, Vec::new())).1.push(arch.name());
        }
    }
    Ok(found
        .into_values()
        .map(|(finding, arches)| finding.evidence([format!("so on {}", arches.join(", "))]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls;

    #[test]
    fn every_name_is_known() {
        for (a, b) in pairs() {
            assert!(syscalls::is_known(a) && syscalls::is_known(b), "{a} {b}");
        }
        assert!(pairs().any(|pair| pair == ("open", "openat2")));
        assert!(pairs().any(|pair| pair == ("finit_module", "init_module")));
        assert!(!pairs().any(|pair| pair == ("openat2", "open")));
    }
}

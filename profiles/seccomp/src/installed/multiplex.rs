//! Calls that some architectures make through one call for many: `socketcall` and `ipc`.
//!
//! A rule for such a call is made twice: for its own number, where the architecture has one, and for the multiplexer with the call's
//! place as the first argument. The rule's own condition on the first argument gives way to that.

use super::known::{Known, known};
use super::vintage::Vintage;
use crate::arch::Arch;
use crate::syscalls::SyscallNr;

/// The places in `socketcall`, from 1 (include/uapi/linux/net.h).
const SOCKET_CALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// The places in `ipc` (include/uapi/linux/ipc.h).
const IPC_CALLS: [(&str, u8); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// Whether `vintage` makes rules for multiplexers on this architecture. Where it does, rules for calls that the architecture lacks are
/// dropped at once; elsewhere they are kept, and can conflict.
pub(super) fn multiplexes(vintage: Vintage, arch: Arch) -> bool {
    match arch {
        Arch::X86 | Arch::S390 | Arch::S390x => true,
        Arch::Ppc | Arch::Ppc64 | Arch::Ppc64le | Arch::Mips | Arch::Mipsel => vintage.is_at_least(2, 5, 2),
        // New in 2.6.0, which added them with it.
        Arch::M68k | Arch::Sh | Arch::Sheb => true,
        _ => false,
    }
}

/// The multiplexer's name and the place of `name` in it, on an architecture where `vintage` adds such rules.
pub(super) fn multiplexed(vintage: Vintage, arch: Arch, name: &str) -> Option<(&'static str, u8)> {
    if !multiplexes(vintage, arch) {
        return None;
    }
    let socket = SOCKET_CALLS.iter().position(|call| *call == name);
    let socket = socket.and_then(|at| u8::try_from(at + 1).ok()).map(|place| ("socketcall", place));
    socket.or_else(|| IPC_CALLS.iter().find(|(call, _)| *call == name).map(|(_, place)| ("ipc", *place)))
}

/// The number by which a runtime that asks libseccomp for `name` is answered: none for a multiplexed call, whose own number libseccomp
/// keeps to itself.
pub(super) fn resolved_number(vintage: Vintage, arch: Arch, name: &str) -> Option<SyscallNr> {
    match known(vintage, arch, name) {
        Known::Number(number) if multiplexed(vintage, arch, name).is_none() => Some(number),
        _ => None,
    }
}

//! Which arguments tell what a call is about, so that a rule which allows it may name them.
//!
//! Only numbers count that a program means: a family, a request, an option, flags. Lengths, descriptors and addresses differ from run
//! to run, and what a pointer points at no filter can see.

use crate::constants::ConstantSet;

/// How a seen value becomes a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// One of the values that were seen, in these bits.
    Value(u64),
    /// Of these bits none that was not seen; the others are free.
    Bits(u64),
}

impl How {
    /// The bits of the argument that count.
    pub fn mask(self) -> u64 {
        match self {
            How::Value(mask) | How::Bits(mask) => mask,
        }
    }
}

/// One argument that tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Its number, 0 to 5.
    pub index: u8,
    /// How it is compared.
    pub how: How,
}

const W32: u64 = 0xffff_ffff;
/// The flags of clone(2) that make namespaces: CLONE_NEWNS to CLONE_NEWNET.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// unshare(2) knows CLONE_NEWTIME too.
const UNSHARE: u64 = NEW_NAMESPACES | 0x80;
const PROT_EXEC: u64 = 4;
const S_IFMT: u64 = 0o170_000;
/// The type of a socket without SOCK_NONBLOCK and SOCK_CLOEXEC.
const SOCK_TYPE: u64 = 0xf;

const fn value(index: u8) -> Telling {
    Telling { index, how: How::Value(W32) }
}
const fn value_in(index: u8, mask: u64) -> Telling {
    Telling { index, how: How::Value(mask) }
}
const fn bits(index: u8, mask: u64) -> Telling {
    Telling { index, how: How::Bits(mask) }
}

/// By name. Two at most, in the order of the call.
static TABLE: [(&str, &[Telling]); 27] = [
    ("arch_prctl", &[value(0)]),
    ("bpf", &[value(0)]),
    ("clone", &[bits(0, NEW_NAMESPACES)]),
    ("fcntl", &[value(1)]),
    ("fcntl64", &[value(1)]),
    ("ioctl", &[value(1)]),
    ("ipc", &[value_in(0, 0xffff)]),
    ("keyctl", &[value(0)]),
    ("mknod", &[value_in(1, S_IFMT)]),
    ("mknodat", &[value_in(2, S_IFMT)]),
    ("modify_ldt", &[value(0)]),
    ("mprotect", &[bits(2, PROT_EXEC)]),
    ("personality", &[value(0)]),
    ("pkey_mprotect", &[bits(2, PROT_EXEC)]),
    ("prctl", &[value(0)]),
    ("ptrace", &[value(0)]),
    ("quotactl", &[value_in(0, 0xffff_ff00)]),
    ("reboot", &[value(2)]),
    ("seccomp", &[value(0)]),
    ("setns", &[bits(1, UNSHARE)]),
    ("setsockopt", &[value(1), value(2)]),
    ("socket", &[value(0), value_in(1, SOCK_TYPE)]),
    ("socketcall", &[value(0)]),
    ("socketpair", &[value(0)]),
    ("syslog", &[value(0)]),
    ("umount2", &[bits(1, W32)]),
    ("unshare", &[bits(0, UNSHARE)]),
];

/// The telling arguments of a call; empty for most calls.
///
/// ```
/// use plim_seccomp::telling::{self, How};
/// assert_eq!(telling::of("prctl")[0].index, 0);
/// assert_eq!(telling::of("clone")[0].how, How::Bits(0x7e02_0000));
/// assert!(telling::of("read").is_empty());
/// ```
pub fn of(syscall: &str) -> &'static [Telling] {
    TABLE.binary_search_by(|row| row.0.cmp(syscall)).map_or(&[], |at| TABLE[at].1)
}

/// The calls that have telling arguments.
pub fn calls() -> impl Iterator<Item = (&'static str, &'static [Telling])> {
    TABLE.iter().copied()
}

/// The word for a value of a telling argument: of a masked one the mask is part of it.
pub fn word(set: Option<ConstantSet>, value: u64) -> String {
    set.and_then(|set| crate::constants::name(set, value)).unwrap_or_else(|| crate::constants::plain(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, arguments};

    #[test]
    fn every_row_is_a_number_of_a_known_call() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for (name, telling) in TABLE {
            assert!(crate::syscalls::is_known(name), "{name}");
            assert!((1..=2).contains(&telling.len()) && telling.is_sorted_by(|a, b| a.index < b.index));
            for one in telling {
                let argument = arguments::argument(Arch::X86_64, name, one.index)
                    .or_else(|| arguments::argument(Arch::X86, name, one.index));
                // `socketcall` and `ipc` are numbered by hand in no table of 64-bit calls.
                let Some(argument) = argument else { continue };
                assert_ne!(argument.width, arguments::Width::Pointer, "{name} {}", argument.name);
                let bits = argument.width.mask(false);
                assert_eq!(
                    one.how.mask() & !bits,
                    0,
                    "{name} {}: bits that the kernel does not read",
                    argument.name
                );
            }
        }
    }
}

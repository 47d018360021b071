//! System call names and numbers of every architecture.
//!
//! The table is generated from the kernel's uapi headers by `tables/generate.py` (Linux 6.12 and 7.3) and was compared
//! with libseccomp's: they agree but for names that only one of them has. A test compares it with what another generator made of the
//! headers, the crate linux-raw-sys.

mod table;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::inline::Inline;
pub(crate) use table::Column;
use table::{NONE, TABLE};

/// A name, and its number in each column.
type Row<const COLUMNS: usize> = (Inline<31>, [u32; COLUMNS]);

const fn rows<const COLUMNS: usize, const ROWS: usize>(
    written: [(&str, [u32; COLUMNS]); ROWS],
) -> [Row<COLUMNS>; ROWS] {
    let mut rows = [(Inline::new(""), [NONE; COLUMNS]); ROWS];
    let mut at = 0;
    while at < ROWS {
        rows[at] = (Inline::new(written[at].0), written[at].1);
        at += 1;
    }
    rows
}

/// A system call number as it stands in `seccomp_data.nr`, x32's bit 30 and MIPS' thousands included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SyscallNr(pub u32);

impl std::fmt::Display for SyscallNr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A name that some architecture knows; the key to its numbers on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KnownName(usize);

impl KnownName {
    /// Looks a name up; `None` when no architecture knows it.
    pub(crate) fn find(name: &str) -> Option<KnownName> {
        TABLE.binary_search_by(|row| row.0.as_str().cmp(name)).ok().map(KnownName)
    }

    /// Its number on `arch`.
    pub(crate) fn number(self, arch: Arch) -> Option<SyscallNr> {
        let number = TABLE[self.0].1[arch.column() as usize];
        (number != NONE).then_some(SyscallNr(number))
    }
}

/// The number of `name` on `arch`.
///
/// ```
/// use plim_seccomp::{arch::Arch, syscalls::{self, SyscallNr}};
/// assert_eq!(syscalls::number(Arch::X86_64, "socket"), Some(SyscallNr(41)));
/// assert_eq!(syscalls::number(Arch::X86, "socket"), Some(SyscallNr(359)));
/// assert_eq!(syscalls::number(Arch::X32, "socket"), Some(SyscallNr(0x4000_0000 + 41)));
/// ```
pub fn number(arch: Arch, name: &str) -> Option<SyscallNr> {
    KnownName::find(name)?.number(arch)
}

/// The name of `number` on `arch`; where two names share a number, the one that comes first in the alphabet.
pub fn name(arch: Arch, number: SyscallNr) -> Option<&'static str> {
    let column = arch.column() as usize;
    TABLE.iter().find(|row| row.1[column] == number.0 && number.0 != NONE).map(|row| row.0.as_str())
}

/// The names that `arch` has, in alphabetical order.
pub fn names(arch: Arch) -> impl Iterator<Item = &'static str> {
    calls(arch).map(|(name, _)| name)
}

/// The calls that `arch` has, by name.
pub fn calls(arch: Arch) -> impl Iterator<Item = (&'static str, SyscallNr)> {
    let column = arch.column() as usize;
    TABLE
        .iter()
        .map(move |row| (row.0.as_str(), row.1[column]))
        .filter(|(_, number)| *number != NONE)
        .map(|(name, number)| (name, SyscallNr(number)))
}

/// Whether any architecture knows `name`.
pub fn is_known(name: &str) -> bool {
    KnownName::find(name).is_some()
}

/// The known name that `name` was most likely meant to be, when one is near enough.
pub fn nearest(name: &str) -> Option<&'static str> {
    crate::spelling::nearest(name, TABLE.iter().map(|row| row.0.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::X32_SYSCALL_BIT;

    #[test]
    fn rows_are_sorted_and_used() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        assert!(TABLE.iter().all(|row| row.1.iter().any(|n| *n != NONE)));
    }

    #[test]
    fn names_and_numbers_are_inverse() {
        for arch in Arch::all() {
            let mut seen = 0;
            for (call, nr) in calls(arch) {
                assert_eq!(number(arch, call), Some(nr));
                let back = name(arch, nr).unwrap();
                assert_eq!(number(arch, back), Some(nr), "{arch} {call}");
                assert_eq!(arch == Arch::X32, nr.0 & X32_SYSCALL_BIT != 0);
                seen += 1;
            }
            assert!(seen > 300, "{arch} has {seen}");
        }
    }

    /// Numbers that the kernel's documentation and old binaries fix for ever.
    #[test]
    fn known_numbers() {
        for (arch, call, nr) in [
            (Arch::X86_64, "read", 0),
            (Arch::X86_64, "clone3", 435),
            (Arch::X86_64, "mseal", 462),
            (Arch::X86_64, "uretprobe", 335),
            (Arch::X86_64, "file_getattr", 468),
            (Arch::X86, "socketcall", 102),
            (Arch::X86, "exit", 1),
            (Arch::X32, "rt_sigaction", 0x4000_0200),
            (Arch::Aarch64, "openat", 56),
            (Arch::Arm, "cacheflush", 0x000f_0002),
            (Arch::Mipsel, "open", 4005),
            (Arch::Mips64, "open", 5002),
            (Arch::S390x, "clone", 120),
            (Arch::Ppc64le, "swapcontext", 249),
            (Arch::Riscv64, "riscv_flush_icache", 259),
        ] {
            assert_eq!(number(arch, call), Some(SyscallNr(nr)), "{arch} {call}");
        }
        assert_eq!(number(Arch::Aarch64, "open"), None);
        assert_eq!(number(Arch::X86_64, "socketcall"), None);
    }

    /// Every number of the crate linux-raw-sys is the table's too (`tables/generate.py --raw-sys`).
    #[test]
    fn linux_raw_sys_agrees() {
        let text = include_str!("../../tests/data/linux-raw-sys.tsv");
        let mut lines = text.lines().map(|line| line.split('\t'));
        let arches: Vec<Arch> =
            lines.next().unwrap().skip(1).map(|arch| Arch::from_name(arch).expect(arch)).collect();
        let mut compared = 0;
        for mut row in lines {
            let call = row.next().unwrap();
            for (arch, theirs) in arches.iter().zip(row).filter(|(_, theirs)| *theirs != ".") {
                let ours = number(*arch, call).map(|SyscallNr(nr)| nr.to_string());
                assert_eq!(ours.as_deref(), Some(theirs), "{call} on {arch}");
                compared += 1;
            }
        }
        assert!(
            arches.len() == 13 && compared > 4500,
            "{compared} numbers of {} architectures",
            arches.len()
        );
    }

    #[test]
    fn a_typing_error_finds_its_name() {
        assert_eq!(nearest("opennat"), Some("openat"));
        assert_eq!(nearest("setockopt"), Some("setsockopt"));
        assert_eq!(nearest("this_is_no_call_at_all"), None);
    }
}

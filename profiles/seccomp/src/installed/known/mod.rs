//! What each release of libseccomp knows: names, and their numbers by architecture.

mod table;

use super::vintage::Vintage;
use crate::arch::Arch;
use crate::syscalls::{self, SyscallNr};
pub(super) use table::RELEASES;
use table::{ARCHES, EXCEPTIONS, LOST, NAMES};

/// What a name is to a release of libseccomp, on one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It does not know the name at all.
    Not,
    /// It knows the name, as a call that this architecture lacks.
    Elsewhere,
    /// Its number.
    Number(SyscallNr),
}

/// The place of a letter of the table in [`RELEASES`].
fn place(letter: u8) -> u8 {
    letter - b'a'
}

/// What `name` is to `vintage` on `arch`.
///
/// ```
/// use plim_seccomp::{Arch, SyscallNr, installed::{Known, Vintage, known}};
/// let old = "2.5.4".parse::<Vintage>().unwrap();
/// assert_eq!(known(old, Arch::X86_64, "cachestat"), Known::Not);
/// assert_eq!(known(Vintage::newest(), Arch::X86_64, "cachestat"), Known::Number(SyscallNr(451)));
/// assert_eq!(known(old, Arch::X86_64, "chown32"), Known::Elsewhere);
/// ```
pub fn known(vintage: Vintage, arch: Arch, name: &str) -> Known {
    let Ok(at) = NAMES.binary_search_by(|row| row.0.cmp(name)) else { return Known::Not };
    let (name, since, numbers) = NAMES[at];
    let release = vintage.index();
    let lost = LOST.iter().any(|(lost, end)| *lost == name && release >= *end);
    // A letter, by construction of the table.
    if lost || !u8::try_from(since).is_ok_and(|since| release >= place(since)) {
        return Known::Not;
    }
    let column = arch.column();
    let exception = EXCEPTIONS
        .iter()
        .find(|(odd, on, first, end, _)| *odd == name && *on == column && (*first..*end).contains(&release));
    let number = match exception {
        Some((.., number)) => number.map(SyscallNr),
        None => match numbers.as_bytes()[column as usize] {
            b'.' => None,
            letter => (release >= place(letter)).then(|| syscalls::number(arch, name)).flatten(),
        },
    };
    number.map_or(Known::Elsewhere, Known::Number)
}

/// Whether `vintage` has the architecture at all.
pub fn knows_arch(vintage: Vintage, arch: Arch) -> bool {
    vintage.index() >= place(ARCHES.as_bytes()[arch.column() as usize])
}

/// The names that `vintage` knows, in alphabetical order.
pub fn names(vintage: Vintage) -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|row| row.0).filter(move |name| known(vintage, Arch::X86_64, name) != Known::Not)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_in_order() {
        assert!(RELEASES.is_sorted_by(|a, b| a < b));
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(NAMES.iter().all(|row| row.2.len() == ARCHES.len()));
        let letters = b'a'..b'a' + u8::try_from(RELEASES.len()).unwrap();
        for (name, since, numbers) in &NAMES {
            assert!(letters.contains(&u8::try_from(*since).unwrap()), "{name}");
            assert!(numbers.bytes().all(|letter| letter == b'.' || letters.contains(&letter)), "{name}");
        }
    }

    /// Counts of libseccomp's own tables.
    #[test]
    fn counts() {
        let count = |text: &str, arch| {
            let vintage = text.parse().unwrap();
            let numbers =
                names(vintage).filter(|name| matches!(known(vintage, arch, name), Known::Number(_)));
            (names(vintage).count(), numbers.count())
        };
        assert_eq!(count("2.3.0", Arch::X86_64), (423, 327));
        assert_eq!(count("2.4.4", Arch::Parisc64), (469, 374));
        assert_eq!(count("2.5.4", Arch::X86_64), (481, 362));
        assert_eq!(count("2.5.4", Arch::X86), (481, 440));
        assert_eq!(count("2.6.1", Arch::S390), (508, 440));
        assert_eq!(count("2.6.1", Arch::Sh), (508, 436));
    }

    /// Names come and never go, with one exception of 2.5.0.
    #[test]
    fn later_releases_know_more() {
        let releases: Vec<Vintage> = Vintage::all().collect();
        for pair in releases.windows(2) {
            let [before, after]: [BTreeSet<&str>; 2] = [pair[0], pair[1]].map(|v| names(v).collect());
            let lost: Vec<_> = before.difference(&after).collect();
            assert!(lost.is_empty() || lost == [&"oldwait4"], "{}: {lost:?}", pair[1]);
        }
    }

    #[test]
    fn architectures() {
        let v = |text: &str| text.parse::<Vintage>().unwrap();
        assert!(knows_arch(v("2.3.0"), Arch::X86) && !knows_arch(v("2.3.3"), Arch::Parisc));
        assert!(!knows_arch(v("2.4.4"), Arch::Riscv64) && knows_arch(v("2.5.0"), Arch::Riscv64));
        assert!(!knows_arch(v("2.5.6"), Arch::Loongarch64) && knows_arch(v("2.6.0"), Arch::Sheb));
    }

    #[test]
    fn exceptions() {
        let v = |text: &str| text.parse::<Vintage>().unwrap();
        assert_eq!(known(v("2.4.1"), Arch::Aarch64, "getrlimit"), Known::Number(SyscallNr(163)));
        assert_eq!(known(v("2.4.2"), Arch::Aarch64, "getrlimit"), Known::Elsewhere);
        assert_eq!(known(v("2.5.0"), Arch::Aarch64, "getrlimit"), Known::Number(SyscallNr(163)));
        assert_eq!(known(v("2.4.4"), Arch::X86_64, "oldwait4"), Known::Elsewhere);
        assert_eq!(known(v("2.5.0"), Arch::X86_64, "oldwait4"), Known::Not);
        assert_eq!(known(v("2.6.1"), Arch::X86_64, "no_such_call"), Known::Not);
    }
}

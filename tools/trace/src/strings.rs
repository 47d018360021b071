//! Which arguments of system calls are strings: the programs read them while the process waits.

use plim_seccomp::{Arch, arguments, syscalls};

/// Where i386's rows begin in the map `strings`.
const I386_ROWS: u32 = 1024;
/// Pointers of these names are NUL-terminated strings.
const STRINGS: [&str; 15] = [
    "filename",
    "pathname",
    "path",
    "oldname",
    "newname",
    "dev_name",
    "dir_name",
    "type",
    "new_root",
    "put_old",
    "from_pathname",
    "to_pathname",
    "specialfile",
    "special",
    "fs_name",
];

/// The rows of the map `strings`: which arguments of which call are strings.
pub(crate) fn rows() -> Vec<(u32, u32)> {
    let mut rows = Vec::new();
    for (arch, first) in [(Arch::X86_64, 0), (Arch::X86, I386_ROWS)] {
        for (name, number) in syscalls::calls(arch).filter(|(_, number)| number.0 < I386_ROWS) {
            // A byte for each of the first three: the index and one.
            let places = indices(arch, name)
                .take(3)
                .filter_map(|index| u32::try_from(index + 1).ok())
                .enumerate()
                .fold(0, |places, (at, place)| places | place << (8 * at));
            if places != 0 {
                rows.push((first + number.0, places));
            }
        }
    }
    rows
}

/// Which arguments of a call are strings, in their order: the first three are told.
pub(crate) fn indices(arch: Arch, syscall: &str) -> impl Iterator<Item = usize> {
    // A file system is named, as is what a path begins at; names of attributes and hosts are not paths.
    let by_name = matches!(syscall, "umount" | "umount2" | "acct" | "oldumount" | "name_to_handle_at");
    arguments::on(arch, syscall)
        .iter()
        .enumerate()
        .filter(move |(_, argument)| {
            argument.width == arguments::Width::Pointer
                && (STRINGS.contains(&argument.name.as_str()) || (by_name && argument.name == "name"))
        })
        .map(|(index, _)| index)
}

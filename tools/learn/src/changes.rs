//! Which calls make, change or remove files or give sockets an address, and with which arguments.

use crate::event::What;

/// One call.
pub(crate) struct Change {
    pub(crate) syscall: &'static str,
    what: What,
    /// Index of the path or descriptor.
    path: Option<u8>,
    /// Index of the directory's descriptor that the path begins at.
    base: Option<u8>,
    second: Option<(u8, Option<u8>)>,
    /// The file at the (second) path was not there before.
    pub(crate) creates: bool,
}

impl Change {
    /// `struct change` of bpf/record.h.
    pub(crate) fn row(&self) -> [u8; 8] {
        let place = |index: Option<u8>| index.map_or(0, |index| index + 1);
        let (second, second_base) = match self.second {
            Some((path, base)) => (Some(path), base),
            None => (None, None),
        };
        let [what, ..] = (self.what as u32).to_le_bytes();
        [what, place(self.path), place(self.base), place(second), place(second_base), 0, 0, 0]
    }
}

const fn at(syscall: &'static str, what: What, path: Option<u8>, base: Option<u8>, creates: bool) -> Change {
    Change { syscall, what, path, base, second: None, creates }
}
const fn opens(syscall: &'static str) -> Change {
    at(syscall, What::Open, None, None, false)
}
const fn path(syscall: &'static str, index: u8) -> Change {
    at(syscall, What::Path, Some(index), None, false)
}
const fn path_at(syscall: &'static str, base: u8, index: u8) -> Change {
    at(syscall, What::Path, Some(index), Some(base), false)
}
const fn makes(syscall: &'static str, base: Option<u8>, index: u8) -> Change {
    at(syscall, What::Path, Some(index), base, true)
}
const fn moves(syscall: &'static str, from: (u8, Option<u8>), to: (u8, Option<u8>)) -> Change {
    Change { syscall, what: What::Path, path: Some(from.0), base: from.1, second: Some(to), creates: false }
}
const fn descriptor(syscall: &'static str) -> Change {
    at(syscall, What::Descriptor, Some(0), None, false)
}

pub(crate) static TABLE: [Change; 47] = [
    opens("open"),
    opens("openat"),
    opens("openat2"),
    opens("creat"),
    opens("open_by_handle_at"),
    makes("mkdir", None, 0),
    makes("mkdirat", Some(0), 1),
    makes("mknod", None, 0),
    makes("mknodat", Some(0), 1),
    makes("symlink", None, 1),
    makes("symlinkat", Some(1), 2),
    makes("link", None, 1),
    makes("linkat", Some(2), 3),
    moves("rename", (0, None), (1, None)),
    moves("renameat", (1, Some(0)), (3, Some(2))),
    moves("renameat2", (1, Some(0)), (3, Some(2))),
    path("rmdir", 0),
    path("unlink", 0),
    path_at("unlinkat", 0, 1),
    path("chmod", 0),
    path_at("fchmodat", 0, 1),
    path_at("fchmodat2", 0, 1),
    path("chown", 0),
    path("lchown", 0),
    path("chown32", 0),
    path("lchown32", 0),
    path_at("fchownat", 0, 1),
    path("truncate", 0),
    path("truncate64", 0),
    path("utime", 0),
    path("utimes", 0),
    path_at("utimensat", 0, 1),
    path_at("utimensat_time64", 0, 1),
    path_at("futimesat", 0, 1),
    path("setxattr", 0),
    path("lsetxattr", 0),
    path("removexattr", 0),
    path("lremovexattr", 0),
    path_at("setxattrat", 0, 1),
    path_at("removexattrat", 0, 1),
    descriptor("fchmod"),
    descriptor("fchown"),
    descriptor("fchown32"),
    descriptor("fsetxattr"),
    descriptor("fremovexattr"),
    at("bind", What::Bind, None, None, true),
    at("listen", What::Listen, None, None, false),
];

/// Whether a call by this name makes what its path names.
pub(crate) fn creates(syscall: &str) -> bool {
    TABLE.iter().any(|change| change.syscall == syscall && change.creates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plim_seccomp::{Arch, arguments};

    #[test]
    fn paths_are_pointers_and_bases_descriptors() {
        for change in &TABLE {
            let name = change.syscall;
            assert!(plim_seccomp::syscalls::is_known(name), "{name}");
            if change.what != What::Path {
                continue;
            }
            let pairs = change.path.map(|path| (path, change.base)).into_iter().chain(change.second);
            for (path, base) in pairs {
                let width =
                    |index| arguments::argument(Arch::X86_64, name, index).map(|argument| argument.width);
                // A call that 64-bit machines do not have has no arguments there.
                let Some(found) = width(path) else { continue };
                assert_eq!(found, arguments::Width::Pointer, "{name} {path}");
                if let Some(base) = base {
                    assert_eq!(width(base), Some(arguments::Width::W32), "{name} {base}");
                }
            }
        }
    }
}

//! What a file carries beside its mode: extended attributes, chattr's flags, the kind of its file system.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, fstatfs, getxattr, statx};

/// An extended attribute of the file behind a path; `None` when it has none of that name, or a longer one than the kernel's
/// own are.
pub(crate) fn extended(path: &str, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let length = getxattr(path, name, &mut value).ok()?;
    Some(value.get(..length)?.to_vec())
}

/// `immutable` or `append-only`, where the file is.
pub(crate) fn frozen(file: BorrowedFd<'_>) -> Option<&'static str> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE).ok()?;
    match found.stx_attributes {
        set if set.contains(StatxAttributes::IMMUTABLE) => Some("immutable"),
        set if set.contains(StatxAttributes::APPEND) => Some("append-only"),
        _ => None,
    }
}

/// File systems in which the kernel shows itself (include/uapi/linux/magic.h): proc, sysfs, cgroup, cgroup2, debugfs, tracefs,
/// bpf, securityfs.
const VIRTUAL: [i64; 8] =
    [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0xcafe_4a11, 0x7363_6673];

/// Whether the file lies in a file system in which no node can be made.
pub(crate) fn is_virtual(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).is_ok_and(|found| VIRTUAL.contains(&found.f_type))
}

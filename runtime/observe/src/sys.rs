//! The crate's one door to `unsafe`: system calls that nix does not wrap.
#![allow(unsafe_code, reason = "the one place of this crate where the kernel's raw interface is called")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use plim_seccomp::bpf::Insn;

/// `PTRACE_SECCOMP_GET_FILTER` (Linux 4.4, include/uapi/linux/ptrace.h).
const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;
/// `PTRACE_SECCOMP_GET_METADATA` (Linux 4.16, include/uapi/linux/ptrace.h).
const PTRACE_SECCOMP_GET_METADATA: libc::c_uint = 0x420d;
/// `NS_GET_PARENT` (Linux 4.9, include/uapi/linux/nsfs.h): `_IO(0xb7, 0x2)`.
const NS_GET_PARENT: libc::Ioctl = 0xb702;
/// `lsm_list_modules(2)` (Linux 6.8): one number on every architecture.
const SYS_LSM_LIST_MODULES: libc::c_long = 461;
/// The kernel's limit for one filter (include/uapi/linux/bpf_common.h).
pub(crate) const BPF_MAXINSNS: usize = 4096;

/// Opens a descriptor that names the process with this pid for good (pidfd_open(2), Linux 5.3). It is close-on-exec.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let raw = RawFd::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the call succeeded, so `raw` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The parent of a pid or user namespace (ioctl_ns(2)). EPERM when it lies outside the caller's own namespace.
pub(crate) fn namespace_parent(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: NS_GET_PARENT takes no argument; the descriptor is open for as long as it is borrowed.
    let raw = Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) })?;
    // SAFETY: the call succeeded, so `raw` is a new descriptor that nobody else owns; the kernel opens it O_CLOEXEC.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Numbers of the active security modules in the kernel's order (lsm_list_modules(2), Linux 6.8).
pub(crate) fn lsm_list_modules() -> Result<Vec<u64>, Errno> {
    let mut ids = [0u64; 64];
    let mut size = u32::try_from(std::mem::size_of_val(&ids)).map_err(|_| Errno::E2BIG)?;
    // SAFETY: `ids` is writable for `size` bytes and both outlive the call; the kernel writes no more than `size`.
    let result = unsafe { libc::syscall(SYS_LSM_LIST_MODULES, ids.as_mut_ptr(), &raw mut size, 0u32) };
    let count = usize::try_from(Errno::result(result)?).map_err(|_| Errno::EINVAL)?;
    Ok(ids.into_iter().take(count).collect())
}

/// Filter number `index` (0 is the oldest) of the ptrace-stopped `tid`, as it was installed; ENOENT past the last.
///
/// EACCES without CAP_SYS_ADMIN in the initial user namespace or with a filter on the caller itself; ESRCH unless
/// the calling thread traces `tid` and it is stopped; EIO on a kernel without CONFIG_CHECKPOINT_RESTORE.
pub(crate) fn seccomp_filter(tid: i32, index: usize) -> Result<Vec<Insn>, Errno> {
    let mut raw = vec![libc::sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; BPF_MAXINSNS];
    // SAFETY: the kernel writes at most BPF_MAXINSNS instructions (no longer program can be installed) and `raw` has
    // room for as many; it is exclusively ours during the call.
    let result = unsafe {
        libc::ptrace(
            PTRACE_SECCOMP_GET_FILTER,
            tid,
            std::ptr::without_provenance_mut::<libc::c_void>(index),
            raw.as_mut_ptr(),
        )
    };
    let length = usize::try_from(Errno::result(result)?).map_err(|_| Errno::EINVAL)?;
    raw.truncate(length);
    Ok(raw.into_iter().map(|insn| Insn { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k }).collect())
}

/// The readable flags of filter number `index` of the ptrace-stopped `tid` (Linux 4.16): of seccomp(2)'s flags, the
/// kernel keeps and tells SECCOMP_FILTER_FLAG_LOG alone.
pub(crate) fn seccomp_filter_flags(tid: i32, index: usize) -> Result<u64, Errno> {
    /// `struct seccomp_metadata` (include/uapi/linux/ptrace.h).
    #[repr(C)]
    struct Metadata {
        filter_off: u64,
        flags: u64,
    }
    let mut metadata = Metadata { filter_off: u64::try_from(index).map_err(|_| Errno::EINVAL)?, flags: 0 };
    // SAFETY: the kernel copies exactly the size that is passed in and out of `metadata`, which is that large and ours.
    let result = unsafe {
        libc::ptrace(
            PTRACE_SECCOMP_GET_METADATA,
            tid,
            std::ptr::without_provenance_mut::<libc::c_void>(std::mem::size_of::<Metadata>()),
            &raw mut metadata,
        )
    };
    Errno::result(result).map(|_| metadata.flags)
}

/// One non-blocking wait for any change of the traced `tid` (waitpid(2) with `__WALL`): its raw wait status, or `None`
/// when nothing happened yet. nix's waitpid knows no real-time signals and would lose the one that was delivered.
pub(crate) fn wait_traced(tid: i32) -> Result<Option<i32>, Errno> {
    let mut status = 0;
    // SAFETY: `status` is ours and writable; waitpid writes nothing else.
    let result = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::WNOHANG) };
    Errno::result(result).map(|waited| (waited == tid).then_some(status))
}

/// Lets the stopped `tid` run again as it was, delivering `signal` if that is what it was stopped for (0 for none).
pub(crate) fn ptrace_detach(tid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: PTRACE_DETACH takes a signal number in place of a pointer and touches no memory of ours.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_DETACH,
            tid,
            std::ptr::null_mut::<libc::c_void>(),
            libc::c_long::from(signal),
        )
    };
    Errno::result(result).map(drop)
}

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

/// Forks (fork(2)): the child's pid, or `None` in the child, which runs this thread alone.
///
/// glibc leaves its allocator usable in the child; any other lock that another thread holds stays locked there for ever.
/// The child ends with [`exit_now`], never by returning.
pub(crate) fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: the callers' children allocate, make system calls and end with _exit; they take no lock of this program.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Some(child.as_raw())),
        nix::unistd::ForkResult::Child => Ok(None),
    }
}

/// Ends a forked child without the exit handlers of the program that it was forked from.
pub(crate) fn exit_now() -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(0) }
}

/// Closes every descriptor but these (close_range(2), Linux 5.9), in a forked child that ends with [`exit_now`].
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<libc::c_uint> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    let mut first = 0;
    for last in keep.iter().map(|fd| fd.checked_sub(1)).chain([Some(libc::c_uint::MAX)]) {
        if let Some(last) = last.filter(|last| first <= *last) {
            // SAFETY: the objects that own these descriptors are copies of the parent's, which the child never drops.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
        first = last.map_or(1, |last| last.saturating_add(2));
    }
}

/// Has the kernel reap the children of the calling process (signal(7), SIGCHLD with SIG_IGN).
pub(crate) fn ignore_children() {
    // SAFETY: SIG_IGN is no handler, so none of ours is called in a signal's context.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Sends the calling process SIGKILL when its parent thread ends (`PR_SET_PDEATHSIG`).
pub(crate) fn die_with_parent() {
    // SAFETY: prctl takes two integers here and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

// bpf(2): operations and types of linux/bpf.h.
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Of the cgroup and its ancestors, as they are run.
const BPF_F_QUERY_EFFECTIVE: u32 = 1;

/// The part of `union bpf_attr` that BPF_PROG_QUERY knows since Linux 4.15.
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_count: u32,
    reserved: u32,
}

/// The part of `union bpf_attr` that BPF_OBJ_GET_INFO_BY_FD knows.
#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_length: u32,
    info: u64,
}

/// The leading part of `struct bpf_prog_info` that every kernel with BPF_PROG_QUERY has.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_bytes: u32,
    xlated_bytes: u32,
    jited: u64,
    xlated: u64,
}

/// What the kernel tells of a loaded program.
#[derive(Debug)]
pub(crate) struct BpfProgram {
    /// `BPF_PROG_TYPE_*`.
    pub(crate) kind: u32,
    /// Its instructions after the kernel's verifier, 8 bytes each; `None` when this reader is not told.
    pub(crate) instructions: Option<Vec<[u8; 8]>>,
}

fn bpf<A>(operation: libc::c_int, attr: &mut A) -> Result<libc::c_long, Errno> {
    // SAFETY: private to this file, whose callers pass the repr(C) leading part of union bpf_attr for `operation`, of which
    // the kernel reads and writes no more than the size given, and in it addresses of memory that is theirs over the call.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_bpf, operation, std::ptr::from_mut(attr), std::mem::size_of::<A>())
    })
}

/// The ids of the device programs that are run for processes in the v2 cgroup (Linux 4.15).
///
/// EPERM without CAP_NET_ADMIN in the initial user namespace (newer kernels take CAP_SYS_ADMIN as well); ENOSPC when
/// there are more than `most`; EBADF when the directory is no v2 cgroup; EINVAL without CONFIG_CGROUP_BPF.
pub(crate) fn device_program_ids(cgroup: BorrowedFd<'_>, most: usize) -> Result<Vec<u32>, Errno> {
    let mut ids = vec![0u32; most];
    let mut attr = QueryAttr {
        target_fd: u32::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::EBADF)?,
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: BPF_F_QUERY_EFFECTIVE,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_count: u32::try_from(most).map_err(|_| Errno::E2BIG)?,
        reserved: 0,
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    ids.truncate(usize::try_from(attr.prog_count).map_err(|_| Errno::E2BIG)?);
    Ok(ids)
}

/// Opens a loaded program. ENOENT when it is gone; EPERM without CAP_SYS_ADMIN in the initial user namespace. The
/// descriptor is close-on-exec.
pub(crate) fn bpf_program_open(id: u32) -> Result<OwnedFd, Errno> {
    /// `prog_id`, `next_id`, `open_flags`.
    #[repr(C)]
    struct IdAttr([u32; 3]);
    let raw = bpf(BPF_PROG_GET_FD_BY_ID, &mut IdAttr([id, 0, 0]))?;
    let raw = RawFd::try_from(raw).map_err(|_| Errno::EBADF)?;
    // SAFETY: the call succeeded, so `raw` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A program's kind and, up to `most`, its instructions; E2BIG when it has more. The kernel holds them back from readers
/// without CAP_BPF (CAP_SYS_ADMIN before Linux 5.8); and where net.core.bpf_jit_harden has hidden their constants, from
/// those who may not see its addresses (kernel.kptr_restrict).
pub(crate) fn bpf_program_info(program: BorrowedFd<'_>, most: usize) -> Result<BpfProgram, Errno> {
    let fd = u32::try_from(program.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    let ask = |info: &mut ProgramInfo| {
        let info_length = u32::try_from(std::mem::size_of::<ProgramInfo>()).map_err(|_| Errno::E2BIG)?;
        let info = std::ptr::from_mut(info) as u64;
        bpf(BPF_OBJ_GET_INFO_BY_FD, &mut InfoAttr { bpf_fd: fd, info_length, info })
    };
    let mut first = ProgramInfo::default();
    ask(&mut first)?;
    let bytes = usize::try_from(first.xlated_bytes).map_err(|_| Errno::E2BIG)?;
    if bytes / 8 > most {
        return Err(Errno::E2BIG);
    }
    let mut instructions = vec![[0u8; 8]; bytes / 8];
    // A loaded program does not change. The kernel copies at most as many bytes as are offered here.
    let mut second = ProgramInfo {
        xlated_bytes: first.xlated_bytes,
        xlated: instructions.as_mut_ptr() as u64,
        ..ProgramInfo::default()
    };
    ask(&mut second)?;
    let told = bytes > 0 && second.xlated != 0 && second.xlated_bytes == first.xlated_bytes;
    Ok(BpfProgram { kind: first.kind, instructions: told.then_some(instructions) })
}

/// `struct open_how` (include/uapi/linux/openat2.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct How {
    pub(crate) flags: u64,
    pub(crate) mode: u64,
    pub(crate) resolve: u64,
}

/// openat2(2) (Linux 5.6) with `how` at the address where the caller keeps it, which is what a seccomp filter sees of it.
pub(crate) fn openat2(directory: BorrowedFd<'_>, path: &std::ffi::CStr, how: &How) -> Result<OwnedFd, Errno> {
    // SAFETY: the path ends with a NUL, `how` is as large as the size says, and the kernel writes to neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            directory.as_raw_fd(),
            path.as_ptr(),
            std::ptr::from_ref(how),
            std::mem::size_of::<How>(),
        )
    };
    let raw = RawFd::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the call succeeded, so `raw` is a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Memory at [`Block::ADDRESS`].
#[repr(C)]
pub(crate) struct Block {
    pub(crate) hows: [How; Block::HOWS],
    pub(crate) names: [u8; Block::SIZE - Block::HOWS * std::mem::size_of::<How>()],
}

impl Block {
    /// Below everything else that a process maps (a program that is not position-independent begins at 4 MiB), above
    /// vm.mmap_min_addr.
    pub(crate) const ADDRESS: usize = 1 << 20;
    /// Whole pages of every page size that Linux has.
    pub(crate) const SIZE: usize = 1 << 16;
    /// Room for so many.
    pub(crate) const HOWS: usize = 16;

    /// Maps it, filled with zeros.
    ///
    /// # Errors
    /// EEXIST when something is mapped there, EPERM where vm.mmap_min_addr is higher.
    pub(crate) fn map() -> Result<&'static mut Block, Errno> {
        const { assert!(std::mem::size_of::<Block>() == Block::SIZE) };
        let place = std::ptr::without_provenance_mut::<libc::c_void>(Block::ADDRESS);
        // SAFETY: MAP_FIXED_NOREPLACE (Linux 4.17) leaves alone what is mapped.
        let mapped = unsafe {
            libc::mmap(
                place,
                Block::SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        if mapped.addr() != Block::ADDRESS {
            // SAFETY: an older kernel took the address for a hint; the mapping is new and nothing points into it.
            unsafe { libc::munmap(mapped, Block::SIZE) };
            return Err(Errno::EEXIST);
        }
        // SAFETY: the mapping is new, writable, aligned to a page, as large as a Block, never unmapped, and zeros are a Block.
        Ok(unsafe { &mut *mapped.cast::<Block>() })
    }

    /// Makes it read-only for good.
    pub(crate) fn seal(&'static mut self) -> Result<&'static Block, Errno> {
        let place = std::ptr::from_mut(self);
        // SAFETY: the one reference to it was given up for this call, and only shared ones are made of it from now on.
        Errno::result(unsafe { libc::mprotect(place.cast(), Block::SIZE, libc::PROT_READ) })?;
        // SAFETY: as in `map`; nothing writes to it any more.
        Ok(unsafe { &*place })
    }
}

/// What the tests do to have a cgroup with programs.
#[cfg(test)]
pub(crate) mod attach {
    use super::{AsRawFd, BorrowedFd, Errno, FromRawFd, OwnedFd, RawFd, bpf};

    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_ATTACH: libc::c_int = 8;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const BPF_F_ALLOW_MULTI: u32 = 2;

    #[repr(C)]
    struct LoadAttr {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log: [u32; 4],
        kernel_version: u32,
        flags: u32,
    }

    /// Loads a device program.
    pub(crate) fn load(instructions: &[[u8; 8]]) -> Result<OwnedFd, Errno> {
        let mut attr = LoadAttr {
            kind: BPF_PROG_TYPE_CGROUP_DEVICE,
            count: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
            instructions: instructions.as_ptr() as u64,
            license: c"Dual MIT/GPL".as_ptr() as u64,
            log: [0; 4],
            kernel_version: 0,
            flags: 0,
        };
        let raw = RawFd::try_from(bpf(BPF_PROG_LOAD, &mut attr)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the call succeeded, so `raw` is a new descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(raw) })
    }

    /// Attaches it to a v2 cgroup, beside those of its ancestors.
    pub(crate) fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
        let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::EBADF);
        let mut attr = [number(cgroup)?, number(program)?, super::BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI];
        bpf(BPF_PROG_ATTACH, &mut attr).map(drop)
    }
}

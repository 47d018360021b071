//! bpf(2), as far as the device program of a v2 cgroup needs it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::cgroup::DeviceInsn;

/// Operations and types of linux/bpf.h; all since Linux 4.15 or before.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// The programs of all ancestors run too, and the children may attach their own: a container can only narrow.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads up to the log level; the kernel takes the rest as zero.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_count: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The part of `union bpf_attr` that BPF_PROG_ATTACH reads.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a device program. Needs CAP_SYS_ADMIN, or CAP_BPF since Linux 5.8.
pub(crate) fn load_device_program(program: &[DeviceInsn]) -> nix::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_count: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"plim_devices\0\0\0\0",
    };
    // SAFETY: `attr` is the leading part of union bpf_attr, of which the kernel reads the size given; `insns` points to
    // `insn_count` repr(C) copies of struct bpf_insn and `license` to a terminated string, both alive over the call. A
    // program's descriptor is always close-on-exec.
    super::own_result(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw mut attr, size_of::<LoadAttr>())
    })
}

/// Attaches it to a v2 cgroup; it stays until the cgroup is removed. Needs what loading needs.
pub(crate) fn attach_device_program(cgroup: BorrowedFd<'_>, program: &OwnedFd) -> nix::Result<()> {
    let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::EBADF);
    let mut attr = AttachAttr {
        target_fd: number(cgroup)?,
        attach_bpf_fd: number(program.as_fd())?,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attr` is the leading part of union bpf_attr, of which the kernel reads the size given; both descriptors
    // are open over the call.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw mut attr, size_of::<AttachAttr>())
    })
    .map(drop)
}

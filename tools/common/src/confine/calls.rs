//! Which system calls each phase needs, with which arguments, and which ones no phase ever asks for.

use std::collections::BTreeMap;

use plim_observe::pinned::Pinned;
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::Phase;

/// A call and when it is allowed: always, or when one of the rules holds.
pub(super) type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// What is allowed in a phase. Other calls fail with ENOSYS.
pub(super) fn listed(phase: Phase, pinned: Option<&Pinned>) -> anyhow::Result<Calls> {
    let mut calls: Calls = ALWAYS.into_iter().map(unconditional).collect();
    calls.extend(memory()?);
    // abort(3) sends the signal to the own process.
    calls.insert(libc::SYS_tgkill, vec![rule(&[is(0, std::process::id().into())?])?]);
    // Rust's standard library checks a descriptor that it closes.
    let mut descriptors = vec![libc::F_GETFD];
    if phase.has_threads() {
        // clone3 has its flags in memory: with ENOSYS libc asks clone.
        let thread: u64 = libc::CLONE_THREAD.cast_unsigned().into();
        let mut rules = vec![rule(&[bits(0, thread, thread)?])?];
        if phase.observes() {
            // fork(3): a look that may never end is made by a child, which is as confined.
            rules.push(rule(&[is(0, FORK)?])?);
        }
        calls.insert(libc::SYS_clone, rules);
        calls.extend(THREADS.into_iter().map(unconditional));
    }
    if phase.looks() {
        calls.extend(LOOKING.into_iter().map(unconditional));
        let changes = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC).cast_unsigned();
        calls.insert(libc::SYS_openat, vec![rule(&[bits(2, changes.into(), 0)?])?]);
        // rustix makes the older call where there is one.
        #[cfg(target_arch = "x86_64")]
        calls.insert(libc::SYS_open, vec![rule(&[bits(1, changes.into(), 0)?])?]);
    }
    if phase.observes() {
        calls.extend(OBSERVING.into_iter().map(unconditional));
        descriptors.extend([libc::F_DUPFD_CLOEXEC, libc::F_SETFD, libc::F_GETFL]);
        calls.insert(libc::SYS_prctl, one_of(0, PRCTL)?);
        // The next phase installs its filters over these (SECCOMP_SET_MODE_FILTER).
        calls.insert(libc::SYS_seccomp, one_of(0, [1])?);
        // A limit of this process is asked for, not set.
        calls.insert(libc::SYS_prlimit64, vec![rule(&[is(0, 0)?, address(2, 0)?])?]);
        calls.insert(libc::SYS_ioctl, one_of(1, QUESTIONS)?);
    }
    if phase == Phase::Attach {
        calls.insert(libc::SYS_perf_event_open, Vec::new());
        calls.insert(libc::SYS_ioctl, one_of(1, QUESTIONS.into_iter().chain(PERF))?);
    }
    if let Some(commands) = phase.bpf_commands() {
        calls.insert(libc::SYS_bpf, one_of(0, commands)?);
    }
    calls
        .insert(libc::SYS_fcntl, one_of(1, descriptors.iter().map(|command| command.unsigned_abs().into()))?);
    if let Some(pinned) = pinned {
        if phase.looks() {
            let ways = pinned.ways().map(|way| rule(&[address(2, way)?])).collect::<anyhow::Result<_>>()?;
            calls.insert(libc::SYS_openat2, ways);
        }
        // A finished temporary file takes the place of the old one, or goes away.
        if let [temporary, place] = pinned.names() {
            let here = u64::from(libc::AT_FDCWD.cast_unsigned());
            let (temporary, place) = (temporary.as_ptr() as u64, place.as_ptr() as u64);
            let rename = rule(&[is(0, here)?, address(1, temporary)?, is(2, here)?, address(3, place)?])?;
            calls.insert(libc::SYS_renameat, vec![rename]);
            calls.insert(libc::SYS_unlinkat, vec![rule(&[is(0, here)?, address(1, temporary)?, is(2, 0)?])?]);
        }
    }
    Ok(calls)
}

/// What kills the process in a phase: what no parser ever asks for, unless the phase lists it.
pub(super) fn alarmed(phase: Phase, listed: &Calls) -> anyhow::Result<Calls> {
    let mut calls: Calls =
        ALARM.into_iter().filter(|call| !listed.contains_key(call)).map(unconditional).collect();
    if phase.observes() {
        // A child that does not end is left behind; that it cannot be ended is no alarm.
        calls.remove(&libc::SYS_kill);
    }
    if let Some(commands) = phase.bpf_commands() {
        let others = commands.into_iter().map(|command| dword(0, SeccompCmpOp::Ne, command));
        calls.insert(libc::SYS_bpf, vec![rule(&others.collect::<anyhow::Result<Vec<_>>>()?)?]);
    }
    Ok(calls)
}

/// Memory that is written and then executed is how a parser's fault becomes a program; and nothing below the end of what is
/// pinned changes. Addresses above 2^56 are those that the kernel takes a tag off (arm64) and that would begin lower without it.
fn memory() -> anyhow::Result<Calls> {
    const EXECUTABLE: u64 = libc::PROT_EXEC as u64;
    const FIXED: u64 = libc::MAP_FIXED as u64;
    const MREMAP_FIXED: u64 = libc::MREMAP_FIXED as u64;
    let not_executable = || bits(2, EXECUTABLE, 0);
    let above = |argument| -> anyhow::Result<_> {
        Ok([qword(argument, SeccompCmpOp::Ge, Pinned::end())?, qword(argument, SeccompCmpOp::Lt, 1 << 56)?])
    };
    let [from, to] = above(0)?;
    let [new_from, new_to] = above(4)?;
    let own = [from.clone(), to.clone()];
    Ok(Calls::from([
        (
            libc::SYS_mmap,
            vec![
                rule(&[not_executable()?, bits(3, FIXED, 0)?])?,
                rule(&[not_executable()?, from.clone(), to.clone()])?,
            ],
        ),
        (libc::SYS_mprotect, vec![rule(&[not_executable()?, from.clone(), to.clone()])?]),
        (libc::SYS_munmap, vec![rule(&own)?]),
        (libc::SYS_madvise, vec![rule(&own)?]),
        (
            libc::SYS_mremap,
            vec![
                rule(&[from.clone(), to.clone(), bits(3, MREMAP_FIXED, 0)?])?,
                rule(&[from, to, new_from, new_to])?,
            ],
        ),
    ]))
}

impl Phase {
    fn has_threads(self) -> bool {
        self.observes() || self == Phase::JudgeInThreads
    }

    /// Files are opened for reading.
    pub(super) fn looks(self) -> bool {
        self.observes() || self == Phase::Watch
    }

    /// Another phase follows.
    pub(super) fn observes(self) -> bool {
        matches!(self, Phase::Observe | Phase::Attach)
    }

    fn bpf_commands(self) -> Option<Vec<u64>> {
        match self {
            Phase::Attach => Some([BPF_MAPS, BPF_ATTACH].concat()),
            Phase::Watch => Some(BPF_MAPS.to_vec()),
            Phase::Observe | Phase::Judge | Phase::JudgeInThreads => None,
        }
    }
}

fn unconditional(call: i64) -> (i64, Vec<SeccompRule>) {
    (call, Vec::new())
}

fn rule(conditions: &[SeccompCondition]) -> anyhow::Result<SeccompRule> {
    Ok(SeccompRule::new(conditions.to_vec())?)
}

fn one_of(argument: u8, values: impl IntoIterator<Item = u64>) -> anyhow::Result<Vec<SeccompRule>> {
    values.into_iter().map(|value| rule(&[is(argument, value)?])).collect()
}

/// Of an argument that the kernel takes for an int.
fn dword(argument: u8, operator: SeccompCmpOp, value: u64) -> anyhow::Result<SeccompCondition> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?)
}

fn is(argument: u8, value: u64) -> anyhow::Result<SeccompCondition> {
    dword(argument, SeccompCmpOp::Eq, value & u64::from(u32::MAX))
}

fn bits(argument: u8, mask: u64, value: u64) -> anyhow::Result<SeccompCondition> {
    dword(argument, SeccompCmpOp::MaskedEq(mask), value)
}

/// Of an argument that is an address.
fn qword(argument: u8, operator: SeccompCmpOp, value: u64) -> anyhow::Result<SeccompCondition> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?)
}

fn address(argument: u8, value: u64) -> anyhow::Result<SeccompCondition> {
    qword(argument, SeccompCmpOp::Eq, value)
}

/// Reading and writing what is open, time, the end.
#[rustfmt::skip]
pub(super) const ALWAYS: [i64; 26] = [
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_fstat, libc::SYS_brk,
    libc::SYS_futex, libc::SYS_sched_yield, libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    libc::SYS_getpid, libc::SYS_gettid, libc::SYS_getrandom, libc::SYS_clock_gettime, libc::SYS_gettimeofday,
    libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_exit, libc::SYS_exit_group,
];

/// What a thread asks for when it begins.
const THREADS: [i64; 3] = [libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_sched_getaffinity];

/// What is there is looked at; the ring of a tracer is waited for.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const LOOKING: [i64; 14] = [
    libc::SYS_poll, libc::SYS_ppoll, libc::SYS_fstatfs, libc::SYS_statfs, libc::SYS_getxattr, libc::SYS_pread64,
    libc::SYS_stat, libc::SYS_lstat, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_readlink, libc::SYS_readlinkat,
    libc::SYS_getdents64, libc::SYS_getcwd,
];
/// The same.
#[cfg(not(target_arch = "x86_64"))]
#[rustfmt::skip]
const LOOKING: [i64; 10] = [
    libc::SYS_ppoll, libc::SYS_fstatfs, libc::SYS_statfs, libc::SYS_getxattr, libc::SYS_pread64,
    libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_readlinkat, libc::SYS_getdents64, libc::SYS_getcwd,
];

/// What is asked about this process, what a process is held by, the capabilities that are given up for the next phase, and what a
/// child takes that looks.
#[rustfmt::skip]
const OBSERVING: [i64; 17] = [
    libc::SYS_pidfd_open, libc::SYS_uname, libc::SYS_sysinfo, SYS_LSM_LIST_MODULES, libc::SYS_capget, libc::SYS_capset,
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getppid,
    libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_lgetxattr,
    libc::SYS_pipe2, libc::SYS_close_range, libc::SYS_wait4,
];

/// `lsm_list_modules(2)` (Linux 6.8): one number on every architecture.
const SYS_LSM_LIST_MODULES: i64 = 461;

/// An end with the parent; names of threads; capabilities that are given up; no new privileges (include/uapi/linux/prctl.h).
const PRCTL: [u64; 5] = [1, 15, 23, 38, 47];

/// The flags of fork(3): CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, SIGCHLD.
const FORK: u64 = 0x0120_0011;

/// `NS_GET_USERNS` to `NS_GET_OWNER_UID` (include/uapi/linux/nsfs.h), `TCGETS`, `TIOCGWINSZ`: they change nothing.
const QUESTIONS: [u64; 6] = [0xb701, 0xb702, 0xb703, 0xb704, 0x5401, 0x5413];

/// `PERF_EVENT_IOC_ENABLE`, `PERF_EVENT_IOC_SET_BPF` (include/uapi/linux/perf_event.h).
const PERF: [u64; 2] = [0x2400, 0x4004_2408];

/// `enum bpf_cmd` (include/uapi/linux/bpf.h): elements of maps that are there are looked up, set and deleted.
const BPF_MAPS: [u64; 3] = [1, 2, 3];
/// `BPF_OBJ_GET_INFO_BY_FD`, `BPF_RAW_TRACEPOINT_OPEN`, `BPF_LINK_CREATE`: programs that are loaded are attached. No map and no
/// program is made.
const BPF_ATTACH: [u64; 3] = [15, 17, 28];

/// What no parser ever asks for.
#[rustfmt::skip]
const ALARM: [i64; 51] = [
    // Programs and processes. (clone and clone3 fail with ENOSYS: a library may try a thread.)
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_kcmp, libc::SYS_pidfd_open, libc::SYS_pidfd_getfd, libc::SYS_pidfd_send_signal, libc::SYS_kill,
    libc::SYS_unshare, libc::SYS_setns,
    // Sockets.
    libc::SYS_socket, libc::SYS_socketpair, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept,
    libc::SYS_accept4, libc::SYS_sendmsg, libc::SYS_sendto, libc::SYS_recvmsg,
    // Who one is.
    libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setgroups, libc::SYS_capset,
    // The shape of the file system.
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_mknodat, libc::SYS_linkat,
    libc::SYS_symlinkat, libc::SYS_fchmodat, libc::SYS_fchownat, libc::SYS_open_by_handle_at, libc::SYS_move_mount,
    // The kernel's own doors.
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_kexec_load, libc::SYS_bpf,
    libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter,
    libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key,
];

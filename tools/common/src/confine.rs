//! A tool confines itself before it looks at data that others wrote.
//!
//! Files of containers, profiles from the internet and filters of live processes are read by tools that run as root. So
//! a tool works in two phases: first it opens and reads all it needs and opens the place of its result, then it calls
//! [`enter`], and only then it parses, judges and draws. From there on the kernel holds it to memory, the descriptors it
//! has and, where the result is a file, one rename. A tool that watches looks at more while it works, and says so in its [`Phase`].
//!
//! Two filters are installed, made with seccompiler for the architecture that this was built for:
//!
//! * the **list**: what computing and writing need. Any other call fails with ENOSYS, as on a kernel that has no such call,
//!   so that a libc which tries a newer one first falls back to one on the list;
//! * the **alarm**: what no parser ever asks for (a program, a socket, another process, a mount, the kernel's own doors) kills
//!   the process. A call of another architecture kills it too.
//!
//! No filter can be read with ptrace by a process that is itself under one (ptrace(2), `PTRACE_SECCOMP_GET_FILTER`), which is
//! why live targets are read before.

use std::collections::BTreeMap;

use anyhow::Context;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::output::Destination;

/// The flag that turns it off.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct ConfineArgs {
    /// Do not confine this process before it parses what it read (for debuggers and tracers)
    #[arg(long)]
    pub no_self_confine: bool,
}

/// What is left to do after everything was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    /// A finished temporary file is renamed over the old one, or removed.
    pub rename: bool,
    /// The work is shared out among threads, which this confines too.
    pub threads: bool,
    /// A loaded tracer is read, and what its events speak of is looked at: processes, filters, files beneath a root.
    pub watch: bool,
}

impl Phase {
    /// What writing to this place needs.
    pub fn writing_to(destination: &Destination) -> Phase {
        Phase { rename: destination.is_replaced(), ..Phase::default() }
    }

    /// The same with threads.
    #[must_use]
    pub fn with_threads(self) -> Phase {
        Phase { threads: true, ..self }
    }
}

impl ConfineArgs {
    /// Confines every thread of this process for good, unless that was turned off.
    ///
    /// # Errors
    /// The kernel refuses; the flag that goes on without is named.
    pub fn enter(self, phase: Phase) -> anyhow::Result<()> {
        if self.no_self_confine { Ok(()) } else { enter(phase) }
    }
}

/// Confines every thread of this process for good. Sets no_new_privs.
///
/// # Errors
/// The kernel refuses (no seccomp, or a filter that forbids it).
pub fn enter(phase: Phase) -> anyhow::Result<()> {
    for program in programs(phase)? {
        seccompiler::apply_filter_all_threads(&program).context(
            "confine this process before it parses what it read (--no-self-confine goes on without)",
        )?;
    }
    Ok(())
}

/// The alarm, then the list, which allows no further filter.
///
/// # Errors
/// An architecture that seccompiler does not know.
pub fn programs(phase: Phase) -> anyhow::Result<[BpfProgram; 2]> {
    let arch: TargetArch = std::env::consts::ARCH
        .try_into()
        .map_err(|error| anyhow::anyhow!("{error:?}"))
        .context("confine this process (--no-self-confine goes on without)")?;
    let mut listed: BTreeMap<i64, Vec<SeccompRule>> =
        LISTED.into_iter().map(|call| (call, Vec::new())).collect();
    // Memory that is written and then executed is how a parser's fault becomes a program.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        listed
            .insert(call, vec![rule(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC.cast_unsigned().into()), 0)?]);
    }
    // Rust's standard library asks it when a descriptor is closed, nothing more.
    listed.insert(libc::SYS_fcntl, vec![rule(1, SeccompCmpOp::Eq, libc::F_GETFD.cast_unsigned().into())?]);
    // abort(3) sends the signal to the own process.
    listed.insert(libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?]);
    if phase.threads {
        // clone3 has its flags in memory, where no filter sees them: with ENOSYS libc asks clone.
        let thread: u64 = libc::CLONE_THREAD.cast_unsigned().into();
        listed.insert(libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
        listed.extend(THREADS.into_iter().map(|call| (call, Vec::new())));
    }
    if phase.rename {
        listed.extend(RENAME.into_iter().map(|call| (call, Vec::new())));
    }
    let mut alarmed: BTreeMap<i64, Vec<SeccompRule>> =
        ALARM.into_iter().map(|call| (call, Vec::new())).collect();
    if phase.watch {
        listed.extend(WATCHING.into_iter().map(|call| (call, Vec::new())));
        let changes = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC).cast_unsigned();
        let reading = rule(2, SeccompCmpOp::MaskedEq(changes.into()), libc::O_RDONLY.cast_unsigned().into())?;
        listed.insert(libc::SYS_openat, vec![reading]);
        let allowed = BPF_COMMANDS.map(|command| rule(0, SeccompCmpOp::Eq, command));
        listed.insert(libc::SYS_bpf, allowed.into_iter().collect::<anyhow::Result<_>>()?);
        let others = BPF_COMMANDS
            .map(|command| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, command));
        let others = SeccompRule::new(others.into_iter().collect::<Result<_, _>>()?)?;
        alarmed.insert(libc::SYS_bpf, vec![others]);
    }
    let enosys = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    Ok([
        SeccompFilter::new(alarmed, SeccompAction::Allow, SeccompAction::KillProcess, arch)?.try_into()?,
        SeccompFilter::new(listed, enosys, SeccompAction::Allow, arch)?.try_into()?,
    ])
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> anyhow::Result<SeccompRule> {
    // Each of these arguments is an int or smaller than 2^32: the kernel looks at the low word.
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

/// Reading and writing what is open, memory, time, the end.
#[rustfmt::skip]
const LISTED: [i64; 29] = [
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_fstat,
    libc::SYS_munmap, libc::SYS_mremap, libc::SYS_brk, libc::SYS_madvise,
    libc::SYS_futex, libc::SYS_sched_yield, libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    libc::SYS_getpid, libc::SYS_gettid, libc::SYS_getrandom, libc::SYS_clock_gettime, libc::SYS_gettimeofday,
    libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_exit, libc::SYS_exit_group,
];

/// What a thread asks for when it begins.
const THREADS: [i64; 3] = [libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_sched_getaffinity];

/// The temporary file takes its place, or goes away.
#[cfg(target_arch = "x86_64")]
const RENAME: [i64; 5] =
    [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_unlink, libc::SYS_unlinkat];
/// The temporary file takes its place, or goes away.
#[cfg(not(target_arch = "x86_64"))]
const RENAME: [i64; 3] = [libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_unlinkat];

/// The ring is waited for, and what is there is looked at. openat2 keeps a look at a container's file beneath the container's root; its
/// flags lie in memory, where no filter sees them.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const WATCHING: [i64; 14] = [
    libc::SYS_poll, libc::SYS_ppoll, libc::SYS_openat2, libc::SYS_fstatfs, libc::SYS_statfs, libc::SYS_getxattr,
    libc::SYS_stat, libc::SYS_lstat, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_readlink, libc::SYS_readlinkat,
    libc::SYS_getdents64, libc::SYS_getcwd,
];
/// The same.
#[cfg(not(target_arch = "x86_64"))]
#[rustfmt::skip]
const WATCHING: [i64; 10] = [
    libc::SYS_ppoll, libc::SYS_openat2, libc::SYS_fstatfs, libc::SYS_statfs, libc::SYS_getxattr,
    libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_readlinkat, libc::SYS_getdents64, libc::SYS_getcwd,
];

/// `enum bpf_cmd` (include/uapi/linux/bpf.h): elements of maps that are there are looked up, set and deleted; an iterator that is loaded
/// is linked and read. No map and no program is made.
const BPF_COMMANDS: [u64; 5] = [1, 2, 3, 28, 33];

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

#[cfg(test)]
mod tests {
    use super::*;
    use plim_seccomp::bpf::{Insn, Program};
    use plim_seccomp::interpret::{SeccompData, run_stack};
    use plim_seccomp::{Action, Arch, Errno, syscalls};

    fn stack(phase: Phase) -> [Program; 2] {
        programs(phase).expect("a known architecture").map(|program| {
            let instructions =
                program.iter().map(|i| Insn { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
            Program::from_instructions(instructions).expect("the kernel takes it")
        })
    }

    fn arch() -> Arch {
        Arch::from_name(std::env::consts::ARCH).expect("known")
    }

    fn verdict(stack: &[Program], name: &str, args: [u64; 6]) -> Action {
        let nr = syscalls::number(arch(), name).expect("of this machine").0;
        run_stack(stack, &SeccompData { nr, arch: arch().audit_token(), ip: 0, args })
    }

    /// Every call of the machine is in one of the three classes, and the alarm is no smaller than it says.
    #[test]
    fn every_call_is_listed_refused_or_an_alarm() {
        let stack = stack(Phase::default());
        let zero = [0; 6];
        let (mut allowed, mut killed) = (Vec::new(), 0);
        for (name, _) in syscalls::calls(arch()) {
            match verdict(&stack, name, zero) {
                Action::Allow => allowed.push(name),
                Action::Errno(Errno::ENOSYS) => {}
                Action::KillProcess => killed += 1,
                other => panic!("{name}: {other}"),
            }
        }
        assert_eq!(killed, ALARM.len(), "an alarm call that stands on the list as well would not kill");
        // mmap and mprotect without PROT_EXEC; fcntl(F_GETFD) and tgkill(self) are not all-zero.
        assert_eq!(allowed.len(), LISTED.len() + 2, "{allowed:?}");
        for name in ["openat", "clone", "clone3", "ioctl", "rename", "unlink", "prctl", "memfd_create"] {
            if syscalls::number(arch(), name).is_some() {
                assert_eq!(verdict(&stack, name, zero), Action::Errno(Errno::ENOSYS), "{name}");
            }
        }
    }

    #[test]
    fn arguments_count() {
        let stack = stack(Phase::default());
        let refused = Action::Errno(Errno::ENOSYS);
        assert_eq!(verdict(&stack, "mmap", [0, 4096, 3, 0x22, 0, 0]), Action::Allow);
        assert_eq!(verdict(&stack, "mmap", [0, 4096, 7, 0x22, 0, 0]), refused);
        assert_eq!(verdict(&stack, "mprotect", [0, 4096, 4, 0, 0, 0]), refused);
        assert_eq!(verdict(&stack, "tgkill", [1, 1, 6, 0, 0, 0]), refused);
        assert_eq!(verdict(&stack, "tgkill", [std::process::id().into(), 1, 6, 0, 0, 0]), Action::Allow);
    }

    #[test]
    fn threads_and_no_processes() {
        let stack = stack(Phase::default().with_threads());
        let refused = Action::Errno(Errno::ENOSYS);
        // What glibc's pthread_create passes, and fork.
        assert_eq!(verdict(&stack, "clone", [0x003d_0f00, 1, 2, 3, 4, 0]), Action::Allow);
        assert_eq!(verdict(&stack, "clone", [0x0120_0011, 0, 0, 0, 0, 0]), refused);
        assert_eq!(verdict(&stack, "clone3", [0; 6]), refused);
        assert_eq!(verdict(&stack, "openat", [0; 6]), refused);
    }

    #[test]
    fn a_tracer_looks_and_changes_nothing() {
        let stack = stack(Phase { watch: true, ..Phase::default() });
        let refused = Action::Errno(Errno::ENOSYS);
        let open = |flags: i32| verdict(&stack, "openat", [0, 0, flags.cast_unsigned().into(), 0, 0, 0]);
        assert_eq!(open(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY | libc::O_PATH), Action::Allow);
        for flags in
            [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC, libc::O_TMPFILE | libc::O_RDWR]
        {
            assert_eq!(open(flags), refused, "{flags:#x}");
        }
        for command in 0..64 {
            let expected = if BPF_COMMANDS.contains(&command) { Action::Allow } else { Action::KillProcess };
            assert_eq!(verdict(&stack, "bpf", [command, 0, 0, 0, 0, 0]), expected, "{command}");
        }
        for alarm in ["socket", "execve", "ptrace", "setns", "kill"] {
            assert_eq!(verdict(&stack, alarm, [0; 6]), Action::KillProcess, "{alarm}");
        }
        assert_eq!(verdict(&stack, "clone", [0x003d_0f00, 0, 0, 0, 0, 0]), refused);
    }

    #[test]
    fn a_result_in_a_file_may_be_renamed_and_no_more() {
        let stack = stack(Phase { rename: true, ..Phase::default() });
        assert_eq!(verdict(&stack, "renameat", [0; 6]), Action::Allow);
        assert_eq!(verdict(&stack, "unlinkat", [0; 6]), Action::Allow);
        assert_eq!(verdict(&stack, "openat", [0; 6]), Action::Errno(Errno::ENOSYS));
    }
}

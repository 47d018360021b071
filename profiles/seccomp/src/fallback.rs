//! What libc and programs do when a call fails, for calls that have an older substitute.
//!
//! A filter that refuses such a call with EPERM says "you may not", where ENOSYS says "this kernel does not have it": only the second
//! makes the caller take the older way. Sources: glibc (January 2026) and musl (May 2025); paths are those of their source trees.

use crate::arch::Arch;

/// What happens when the call fails with something else than ENOSYS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// Nothing: libc goes on after any error.
    None,
    /// libc passes the error on, and it is the program that probes; most probe for ENOSYS alone.
    Probed,
    /// libc takes the older call after ENOSYS and only then, so what it does fails.
    Breaks,
}

/// One call with a substitute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The call.
    pub syscall: &'static str,
    /// The older call that does for it; `None` where callers do without.
    pub older: Option<&'static str>,
    /// What a wrong error does.
    pub harm: Harm,
    /// Who falls back to what, and where that is written.
    pub behaviour: &'static str,
}

const fn row(
    syscall: &'static str,
    older: Option<&'static str>,
    harm: Harm,
    behaviour: &'static str,
) -> Fallback {
    Fallback { syscall, older, harm, behaviour }
}

/// By name.
#[rustfmt::skip]
static TABLE: [Fallback; 22] = [
    row("clone3", Some("clone"), Harm::Breaks, "glibc since 2.34 starts threads and posix_spawn() with it and takes clone after ENOSYS only (sysdeps/unix/sysv/linux/clone-internal.c, spawni.c)"),
    row("close_range", Some("close"), Harm::None, "glibc since 2.34 goes through /proc/self/fd after any error (closefrom(), posix_spawn())"),
    row("copy_file_range", Some("read"), Harm::Probed, "glibc since 2.30 passes the error on; programs copy by hand after ENOSYS"),
    row("epoll_pwait2", Some("epoll_pwait"), Harm::Probed, "glibc since 2.35 passes the error on (sysdeps/unix/sysv/linux/epoll_pwait2.c); programs take epoll_pwait after ENOSYS"),
    row("execveat", Some("execve"), Harm::Breaks, "fexecve() of glibc and musl takes /proc/self/fd after ENOSYS only (sysdeps/unix/sysv/linux/fexecve.c, src/process/fexecve.c)"),
    row("faccessat2", Some("faccessat"), Harm::Breaks, "faccessat() of glibc since 2.33 and of musl takes faccessat after ENOSYS only (sysdeps/unix/sysv/linux/faccessat.c, src/unistd/faccessat.c)"),
    row("fchmodat2", Some("fchmodat"), Harm::Breaks, "fchmodat() with flags of glibc since 2.39 and of musl goes through /proc/self/fd after ENOSYS only (sysdeps/unix/sysv/linux/fchmodat.c, src/stat/fchmodat.c)"),
    row("futex_waitv", Some("futex"), Harm::Probed, "no wrapper in libc; programs probe for it and take futex after ENOSYS"),
    row("getrandom", Some("openat"), Harm::Breaks, "arc4random() of glibc since 2.36 reads /dev/urandom after ENOSYS and ends the process after any other error (stdlib/arc4random.c)"),
    row("landlock_create_ruleset", None, Harm::Probed, "no wrapper in libc; programs take ENOSYS and EOPNOTSUPP for a kernel without Landlock"),
    row("memfd_create", Some("openat"), Harm::Probed, "glibc since 2.27 passes the error on; programs make a temporary file after ENOSYS"),
    row("mlock2", Some("mlock"), Harm::Breaks, "mlock2() of glibc says EINVAL, flags not known, after ENOSYS only (sysdeps/unix/sysv/linux/mlock2.c)"),
    row("mount_setattr", Some("mount"), Harm::Probed, "glibc since 2.36 passes the error on; libmount takes mount after ENOSYS"),
    row("mseal", None, Harm::Probed, "glibc passes the error on (sysdeps/unix/sysv/linux/syscalls.list); programs do without after ENOSYS"),
    row("open_tree", Some("mount"), Harm::Probed, "glibc since 2.36 passes the error on; libmount takes mount after ENOSYS"),
    row("openat2", Some("openat"), Harm::Probed, "libc passes the error on; programs that resolve paths with it take openat after ENOSYS"),
    row("pidfd_open", Some("kill"), Harm::Probed, "glibc since 2.36 passes the error on; programs do without after ENOSYS"),
    row("preadv2", Some("preadv"), Harm::Breaks, "preadv2() of glibc takes preadv after ENOSYS only (sysdeps/unix/sysv/linux/preadv2.c)"),
    row("pwritev2", Some("pwritev"), Harm::Breaks, "pwritev2() of glibc takes pwritev after ENOSYS only (sysdeps/unix/sysv/linux/pwritev2.c)"),
    row("renameat2", Some("renameat"), Harm::Breaks, "renameat2() of glibc says EINVAL, flags not known, after ENOSYS only, and programs go on from there (sysdeps/unix/sysv/linux/renameat2.c)"),
    row("rseq", None, Harm::None, "glibc since 2.35 does without after any error (sysdeps/unix/sysv/linux/rseq-internal.h)"),
    row("statx", Some("newfstatat"), Harm::Breaks, "statx() of glibc and musl, and every stat of 32-bit programs, takes the older calls after ENOSYS only (sysdeps/unix/sysv/linux/statx.c, fstatat64.c, src/stat/fstatat.c)"),
];

/// The calls for which any other error than ENOSYS breaks or misleads their callers, by name: the rows of 64-bit architectures.
pub fn wants_enosys() -> impl Iterator<Item = &'static Fallback> {
    TABLE.iter().filter(|row| row.harm != Harm::None)
}

static TIME64: &str = "32-bit programs of glibc since 2.34 and musl since 1.2 ask with 64-bit time first and take the older call \
                       after ENOSYS only (sysdeps/unix/sysv/linux/clock_gettime.c, src/time/clock_gettime.c)";

/// What is known of one call on one architecture.
///
/// ```
/// use plim_seccomp::{Arch, fallback::{self, Harm}};
/// assert_eq!(fallback::of(Arch::X86_64, "clone3").unwrap().harm, Harm::Breaks);
/// assert!(fallback::of(Arch::X86_64, "read").is_none());
/// ```
pub fn of(arch: Arch, syscall: &'static str) -> Option<Fallback> {
    if let Ok(at) = TABLE.binary_search_by(|row| row.syscall.cmp(syscall)) {
        let fstatat64 = syscall == "statx" && arch.has_narrow_arguments();
        return Some(if fstatat64 { Fallback { older: Some("fstatat64"), ..TABLE[at] } } else { TABLE[at] });
    }
    if !arch.has_narrow_arguments() {
        return None;
    }
    let at = TIME64_CALLS.iter().find(|pair| pair.0 == syscall)?;
    Some(row(at.0, Some(at.1), Harm::Breaks, TIME64))
}

/// Calls of 32-bit architectures with 64-bit time (Linux 5.1), and those with 32 bits.
static TIME64_CALLS: [(&str, &str); 20] = [
    ("clock_adjtime64", "clock_adjtime"),
    ("clock_getres_time64", "clock_getres"),
    ("clock_gettime64", "clock_gettime"),
    ("clock_nanosleep_time64", "clock_nanosleep"),
    ("clock_settime64", "clock_settime"),
    ("futex_time64", "futex"),
    ("io_pgetevents_time64", "io_pgetevents"),
    ("mq_timedreceive_time64", "mq_timedreceive"),
    ("mq_timedsend_time64", "mq_timedsend"),
    ("ppoll_time64", "ppoll"),
    ("pselect6_time64", "pselect6"),
    ("recvmmsg_time64", "recvmmsg"),
    ("rt_sigtimedwait_time64", "rt_sigtimedwait"),
    ("sched_rr_get_interval_time64", "sched_rr_get_interval"),
    ("semtimedop_time64", "ipc"),
    ("timer_gettime64", "timer_gettime"),
    ("timer_settime64", "timer_settime"),
    ("timerfd_gettime64", "timerfd_gettime"),
    ("timerfd_settime64", "timerfd_settime"),
    ("utimensat_time64", "utimensat"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls;

    #[test]
    fn rows_are_sorted_and_known() {
        assert!(TABLE.is_sorted_by(|a, b| a.syscall < b.syscall));
        for row in &TABLE {
            assert!(syscalls::is_known(row.syscall), "{}", row.syscall);
            assert!(row.older.is_none_or(syscalls::is_known), "{}", row.syscall);
        }
    }

    #[test]
    fn time_is_64_bits_wide_everywhere_else() {
        assert_eq!(of(Arch::X86, "clock_gettime64").unwrap().harm, Harm::Breaks);
        for (new, old) in TIME64_CALLS {
            assert!(
                syscalls::number(Arch::X86, new).is_some() && syscalls::number(Arch::X86, old).is_some(),
                "{new}"
            );
        }
        assert_eq!(of(Arch::X86, "futex_time64").unwrap().harm, Harm::Breaks);
        assert!(of(Arch::X86_64, "futex_time64").is_none());
        assert!(of(Arch::X86, "clock_gettime").is_none());
    }
}

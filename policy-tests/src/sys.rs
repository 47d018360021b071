//! The one unsafe door of the tests.

#![allow(unsafe_code, reason = "the crate's one door to calls that have no safe form")]

use std::ffi::CString;
use std::io;

/// Makes orphaned descendants children of this process (prctl(2), PR_SET_CHILD_SUBREAPER), so that whatever a launcher
/// leaves behind can be found.
pub fn become_subreaper() {
    // SAFETY: an option with an integer argument.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Collects `pid` if it is a dead child of this process.
pub fn reap(pid: i32) {
    // SAFETY: no status is asked for.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
}

/// kill(2).
pub fn kill(pid: i32, signal: i32) {
    if pid > 0 {
        // SAFETY: an integer call.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Removes close-on-exec from `fd`: a descriptor that the launcher is given and must not hand on.
pub fn make_inheritable(fd: i32) {
    // SAFETY: fcntl on an integer descriptor.
    unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
}

/// The bare floor of a container start: clone3 into six namespaces, pivot_root into `root`, mount /proc, execve of
/// `program`; no cgroup, no seccomp, no capability change. Gives the child's exit status.
///
/// # Errors
/// The errno of clone3 (needs CAP_SYS_ADMIN); a later step's failure is the child's exit status 100 to 106.
pub fn floor(root: &str, program: &str) -> io::Result<i32> {
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    let flags = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let args = CloneArgs {
        flags: u64::from(flags.cast_unsigned()),
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        ..CloneArgs::default()
    };
    let (Ok(root), Ok(program)) = (CString::new(root), CString::new(program)) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    // SAFETY: the process has one thread and no shared stack is asked for, so the child runs on a copy of this one;
    // every string outlives its call.
    unsafe {
        let pid = libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>());
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            let none = std::ptr::null();
            let step = |code: i32, failed: bool| {
                if failed {
                    libc::_exit(code);
                }
            };
            let proc = c"proc".as_ptr();
            step(
                100,
                libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) != 0,
            );
            step(101, libc::mount(root.as_ptr(), root.as_ptr(), none, libc::MS_BIND, none.cast()) != 0);
            step(102, libc::chdir(root.as_ptr()) != 0);
            step(103, libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) != 0);
            step(104, libc::umount2(c".".as_ptr(), libc::MNT_DETACH) != 0);
            step(105, libc::mount(proc, c"/proc".as_ptr(), proc, 0, none.cast()) != 0);
            let argv = [program.as_ptr(), std::ptr::null()];
            let envp = [std::ptr::null()];
            libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr());
            libc::_exit(106);
        }
        let mut status = 0;
        #[allow(clippy::cast_possible_truncation, reason = "pids fit in 32 bits")]
        libc::waitpid(pid as i32, &raw mut status, 0);
        Ok(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) })
    }
}

/// One call that is made again and again: its number and its arguments.
pub type Call = (i64, [u64; 6]);

/// What a filter costs: nanoseconds to install it, and of each call on average, in a child that is given up afterwards.
///
/// # Errors
/// No memory or process can be had; the kernel refuses the filter.
pub fn under_filter(filter: &[u8], calls: &[Call], rounds: u64) -> io::Result<(u64, Vec<u64>)> {
    let slots = calls.len() + 2;
    // SAFETY: a new anonymous mapping, checked below; zeros are valid numbers.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            slots * size_of::<u64>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let page: *mut u64 = page.cast();
    let now = || {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a valid place; the vDSO answers, so no filter is asked.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
    };
    let mut instructions: Vec<u64> = Vec::with_capacity(filter.len() / 8);
    instructions.extend(filter.as_chunks::<8>().0.iter().map(|insn| u64::from_le_bytes(*insn)));
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len()).unwrap_or(u16::MAX),
        filter: instructions.as_mut_ptr().cast(),
    };
    // SAFETY: the process has one thread. The child allocates nothing, writes below `slots` into the shared page only and ends here; the
    // calls that it makes take integers, or pointers that are null.
    unsafe {
        let pid = libc::fork();
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let start = now();
            let refused = libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program) != 0;
            let took = now() - start;
            if !refused {
                for (index, (nr, a)) in calls.iter().enumerate() {
                    let start = now();
                    for _ in 0..rounds {
                        libc::syscall(*nr, a[0], a[1], a[2], a[3], a[4], a[5]);
                    }
                    // In thousandths, since a call takes some tens of nanoseconds.
                    page.add(2 + index).write((now() - start) * 1000 / rounds);
                }
                page.add(1).write(took);
                page.write(1);
            }
            libc::_exit(0);
        }
        libc::waitpid(pid, std::ptr::null_mut(), 0);
        let done = page.read() == 1;
        let result = (page.add(1).read(), (2..slots).map(|slot| page.add(slot).read()).collect());
        libc::munmap(page.cast(), slots * size_of::<u64>());
        if done { Ok(result) } else { Err(io::Error::other("the kernel refuses the filter")) }
    }
}

/// The most memory that any ended child of this process had at once, in bytes (getrusage(2), RUSAGE_CHILDREN).
pub fn most_memory_of_children() -> u64 {
    // SAFETY: zeros are a valid rusage, and the place is valid.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    usage.ru_maxrss.cast_unsigned() * 1024
}

/// Whether the kernel has a BPF program of this id (bpf(2), BPF_PROG_GET_FD_BY_ID).
pub fn bpf_program_exists(id: u32) -> bool {
    const BPF_PROG_GET_FD_BY_ID: i32 = 13;
    let attributes = [id, 0, 0];
    // SAFETY: the kernel reads the attributes, of which it is given the size; the descriptor is closed at once.
    unsafe {
        let descriptor = libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_GET_FD_BY_ID,
            attributes.as_ptr(),
            size_of_val(&attributes),
        );
        if descriptor >= 0 {
            libc::close(i32::try_from(descriptor).unwrap_or(-1));
        }
        descriptor >= 0
    }
}

/// Lets a command that root starts come without some capabilities, by number: they are taken from the bounding set.
pub fn without_capabilities(command: &mut std::process::Command, numbers: &[u8]) {
    use std::os::unix::process::CommandExt;
    let numbers = numbers.to_vec();
    // SAFETY: between fork and exec prctl alone is called, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            for number in &numbers {
                if libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(*number), 0, 0, 0) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// How an attempted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It returned without an error.
    Made,
    /// With this errno.
    Failed(i32),
    /// This signal ended the process.
    Killed(i32),
    /// The process could not confine itself.
    Unconfined,
}

/// Makes one call in a child that confines itself before. A call that waits is ended after 2 s.
///
/// # Errors
/// No process is to be had.
pub fn attempt(confine: impl FnOnce() -> bool, call: i64, a: [u64; 6]) -> io::Result<Attempt> {
    const CONFINED: i32 = 254;
    // SAFETY: the process has one thread, so the child finds every lock free. Of the calls that are made, those that return twice
    // end both processes at once; what the arguments point to outlives them.
    unsafe {
        let pid = libc::fork();
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            libc::alarm(2);
            if !confine() {
                libc::_exit(CONFINED);
            }
            let result = libc::syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
            libc::_exit(if result < 0 { *libc::__errno_location() } else { 0 });
        }
        let mut status = 0;
        if libc::waitpid(pid, &raw mut status, 0) != pid {
            return Err(io::Error::last_os_error());
        }
        Ok(match libc::WEXITSTATUS(status) {
            _ if libc::WIFSIGNALED(status) => Attempt::Killed(libc::WTERMSIG(status)),
            0 => Attempt::Made,
            CONFINED => Attempt::Unconfined,
            errno => Attempt::Failed(errno),
        })
    }
}

/// A descriptor of a process (pidfd_open(2)), which stays open.
///
/// # Errors
/// There is no such process.
pub fn pidfd(pid: u32) -> io::Result<i32> {
    // SAFETY: two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)
}

/// Whether a file has an extended attribute of this name.
pub fn has_attribute(path: &std::path::Path, name: &std::ffi::CStr) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: two strings that end with a NUL; nothing is written.
    unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) >= 0 }
}

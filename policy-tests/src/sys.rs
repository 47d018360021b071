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

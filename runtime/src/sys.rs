//! The only door to `unsafe` of this crate: system calls that nix has no safe form for.
//!
//! Descriptors that come out are owned and close-on-exec.
#![allow(unsafe_code, reason = "system calls without a safe form in nix; every block names its invariant")]

pub(crate) mod bpf;

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::NixPath;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// What a fork or clone returned to.
pub(crate) enum Forked<T> {
    /// The new process.
    Child,
    /// The caller.
    Parent(T),
}

/// fork(2) through glibc, which takes its own locks around it.
pub(crate) fn fork() -> nix::Result<Forked<Pid>> {
    // SAFETY: the child runs only code of this crate that takes no lock another thread of the caller could hold;
    // glibc's fork handlers leave malloc usable.
    match Errno::result(unsafe { libc::fork() })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Pid::from_raw(pid))),
    }
}

/// clone3(2) without sharing memory, with a pidfd. `exit_signal` is 0 only with `CLONE_PARENT`.
pub(crate) fn clone3(
    flags: u64,
    exit_signal: i32,
    cgroup: Option<BorrowedFd<'_>>,
) -> nix::Result<Forked<(Pid, OwnedFd)>> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid clone_args: no stack, no tls, no flags.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = u64::try_from(exit_signal).map_err(|_| Errno::EINVAL)?;
    let mut size = 64; // CLONE_ARGS_SIZE_VER0, Linux 5.3
    if let Some(cgroup) = cgroup {
        args.flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP, Linux 5.7
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::EBADF)?;
        size = 88; // CLONE_ARGS_SIZE_VER2
    }
    // SAFETY: without CLONE_VM the child has its own copy of memory and stack, as after fork(2); `args` outlives
    // the call. The caller is single-threaded or accepts that the child may not take locks of other threads.
    match Errno::result(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size) })? {
        0 => Ok(Forked::Child),
        pid => {
            let pid = i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?;
            // SAFETY: the kernel stored a fresh close-on-exec descriptor here, which nothing else owns.
            Ok(Forked::Parent((Pid::from_raw(pid), unsafe { OwnedFd::from_raw_fd(pidfd) })))
        }
    }
}

/// Ends the process at once, without destructors or exit handlers, which belong to the launcher.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no precondition.
    unsafe { libc::_exit(code) }
}

/// Takes over a descriptor number that a received message carried, or that a process which shared the descriptors left.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the number comes from SCM_RIGHTS of a message just received, or from a process that opened it in this
    // process's table and gave up its own claim: so it is open and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn own_result(value: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = Errno::result(value)?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: a descriptor-returning system call succeeded; the number is fresh and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// open_tree(2), Linux 5.2: a detached copy of the mount that `at` is on, rooted there.
pub(crate) fn clone_mount(at: BorrowedFd<'_>, recursive: bool) -> nix::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    // SAFETY: the path is a constant C string and the descriptor is borrowed.
    own_result(unsafe { libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), c"".as_ptr(), flags) })
}

/// The same of a path, links followed: of file systems in which nobody can put a symlink (cgroupfs), and of our executable.
pub(crate) fn clone_mount_at(path: &Path) -> nix::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    path.with_nix_path(|path| {
        // SAFETY: the path is a C string that lives as long as the call.
        own_result(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
    })?
}

/// move_mount(2), Linux 5.2: attaches the mount `from` exactly on the file that `onto` is.
pub(crate) fn move_mount(from: BorrowedFd<'_>, onto: BorrowedFd<'_>) -> nix::Result<()> {
    const F_EMPTY_PATH: u32 = 0x4;
    const T_EMPTY_PATH: u32 = 0x40;
    // SAFETY: both paths are constant C strings, both descriptors are borrowed.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            onto.as_raw_fd(),
            c"".as_ptr(),
            F_EMPTY_PATH | T_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// fsopen(2), fsconfig(2) and fsmount(2), Linux 5.2: a new file system on a mount that is attached nowhere yet.
/// `parameters` are names with a value, or flags; `attributes` as mount_setattr(2) numbers them.
pub(crate) fn new_mount(
    fs_type: &CStr,
    parameters: &[(CString, Option<CString>)],
    attributes: u64,
) -> nix::Result<OwnedFd> {
    const CLOEXEC: u32 = 1; // FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
    const SET_FLAG: u32 = 0;
    const SET_STRING: u32 = 1;
    const CMD_CREATE: u32 = 6;
    // SAFETY: the type is a C string that outlives the call.
    let context = own_result(unsafe { libc::syscall(libc::SYS_fsopen, fs_type.as_ptr(), CLOEXEC) })?;
    let configure = |command: u32, key: *const libc::c_char, value: *const libc::c_char| {
        // SAFETY: both are null or C strings that outlive the call, as the command wants them.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0)
        })
    };
    for (key, value) in parameters {
        match value {
            Some(value) => configure(SET_STRING, key.as_ptr(), value.as_ptr())?,
            None => configure(SET_FLAG, key.as_ptr(), std::ptr::null())?,
        };
    }
    configure(CMD_CREATE, std::ptr::null(), std::ptr::null())?;
    // SAFETY: no pointers.
    own_result(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, attributes) })
}

/// statx(2) STATX_MNT_ID, Linux 5.8: the number of the mount that `fd` is on.
pub(crate) fn mount_id(fd: BorrowedFd<'_>) -> nix::Result<u64> {
    // SAFETY: all-zero is a valid statx.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a constant C string, the descriptor is borrowed, the structure outlives the call.
    Errno::result(unsafe {
        libc::statx(fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_MNT_ID, &raw mut found)
    })?;
    if found.stx_mask & libc::STATX_MNT_ID == 0 { Err(Errno::ENOSYS) } else { Ok(found.stx_mnt_id) }
}

/// mount_setattr(2), Linux 5.12, on the mount that `mount` is the root of.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> nix::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the structure outlives the call and its size is passed along.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// pidfd_open(2), Linux 5.3.
pub(crate) fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: no pointers.
    own_result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
}

/// pidfd_send_signal(2), Linux 5.1; `signal` by number, so that real-time signals pass too.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    // SAFETY: a null siginfo is allowed: the kernel fills in what kill(2) would.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// kill(2) with a signal by number.
pub(crate) fn kill(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: no pointers.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// seccomp(2) SECCOMP_SET_MODE_FILTER for the calling thread.
pub(crate) fn load_filter(program: &[libc::sock_filter], flags: u64) -> nix::Result<()> {
    let fprog = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from `filter`, which is alive and that long, and writes nothing.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog)
    })
    .map(drop)
}

/// prlimit(2): sets one limit of a process; 0 is the caller.
pub(crate) fn set_limit_of(pid: Pid, resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the new limit is read, the old one is not asked for.
    Errno::result(unsafe { libc::prlimit(pid.as_raw(), resource, &raw const limit, std::ptr::null_mut()) })
        .map(drop)
}

/// setrlimit(2): sets one limit of the caller.
pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    set_limit_of(Pid::from_raw(0), resource, soft, hard)
}

/// Sets signals to their default action: Rust ignores SIGPIPE, and a caller may ignore more. Handlers end with execve(2)
/// by themselves, but until then they are the launcher's.
pub(crate) fn default_signal_actions() {
    for signal in 1..=31 {
        // SAFETY: SIG_DFL is always a valid action. SIGKILL, SIGSTOP and glibc's own two signals refuse, harmlessly.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Brings the loopback interface of the calling thread's network namespace up (netdevice(7), SIOCSIFFLAGS).
pub(crate) fn loopback_up() -> nix::Result<()> {
    // SAFETY: no pointers.
    let socket = own_result(libc::c_long::from(unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    }))?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(up).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the request is a full ifreq and outlives the call.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
        .map(drop)
}

/// Unlocks the slave of a pseudo-terminal and opens it **through the master** (TIOCGPTPEER, Linux 4.13), so that no
/// path in the container decides which file it is.
pub(crate) fn open_pty_slave(master: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags by value and returns a fresh descriptor.
    own_result(libc::c_long::from(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }))
}

/// Makes `terminal` the controlling terminal of the calling session leader.
pub(crate) fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: the argument is a plain integer.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Copies the window size of one terminal to another; quiet when `from` is no terminal.
pub(crate) fn copy_window_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, TIOCSWINSZ reads one.
    unsafe {
        if libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) == 0 {
            libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, &raw const size);
        }
    }
}

/// Whether `signal` is a number the kernel knows, and its name for messages.
pub(crate) fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |known| known.as_str().to_owned())
}

/// close_range(2), Linux 5.9: closes every descriptor from 3 on but these. For processes that never run destructors.
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<u32> =
        keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd >= 3).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1);
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX);
}

fn close_range(first: u32, last: u32) {
    // SAFETY: the callers are processes of their own that end in execve or _exit: no owner of these numbers runs again.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed == 0 {
        return;
    }
    // No close_range (seccomp of an outer container): one by one, as far as this process may open.
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map_or(1024, |(soft, _)| soft.min(1 << 20));
    for fd in first..=last.min(u32::try_from(limit).unwrap_or(1024)) {
        // SAFETY: as above.
        unsafe { libc::close(fd.cast_signed()) };
    }
}

/// sigwaitinfo(2): the number of the next pending signal of `set`, real-time ones included.
pub(crate) fn wait_for_signal(set: &nix::sys::signal::SigSet) -> nix::Result<i32> {
    // SAFETY: the set is read, no information is asked for.
    Errno::result(unsafe { libc::sigwaitinfo(set.as_ref(), std::ptr::null_mut()) })
}

/// Reaps a child by its pidfd (waitid(2), Linux 5.4): its exit code, or the number of the signal that killed it.
/// `None` with `wait` off while it still runs.
pub(crate) fn reap(pidfd: BorrowedFd<'_>, wait: bool) -> nix::Result<Option<crate::Exit>> {
    loop {
        // SAFETY: all-zero is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | if wait { 0 } else { libc::WNOHANG };
        let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(|_| Errno::EBADF)?;
        // SAFETY: `info` is written by the kernel and outlives the call.
        match Errno::result(unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, options) }) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
        // SAFETY: waitid succeeded, so the fields of a SIGCHLD are there, or all are zero (WNOHANG, still running).
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(None);
        }
        return Ok(Some(match info.si_code {
            libc::CLD_EXITED => crate::Exit::Exited(u8::try_from(status & 0xff).unwrap_or_default()),
            _ => crate::Exit::Signaled(status),
        }));
    }
}

/// setdomainname(2).
pub(crate) fn set_domain_name(name: &str) -> nix::Result<()> {
    // SAFETY: the length of the name is passed along.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// setxattr(2): an extended attribute of the file itself, never of what a link leads to.
pub(crate) fn set_attribute(path: &Path, name: &CStr, value: &[u8]) -> nix::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: both strings end with NUL, the length of the value is passed along, and all outlive the call.
    Errno::result(unsafe {
        libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    })
    .map(drop)
}

/// sched_setscheduler(2): the class of work that does not preempt others when it wakes (sched(7), SCHED_BATCH).
pub(crate) fn be_batch() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure is read and outlives the call. A refusal changes nothing.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
}

/// Whether this process was executed by a descriptor: AT_EXECFN is then `/dev/fd/N` (getauxval(3), execveat(2)).
pub(crate) fn executed_by_descriptor() -> bool {
    // SAFETY: no pointers; 0 when the entry is missing.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) };
    if name == 0 {
        return false;
    }
    // SAFETY: the kernel put a C string there, above the stack, where it stays as long as the process runs.
    unsafe { CStr::from_ptr(std::ptr::with_exposed_provenance(usize::try_from(name).unwrap_or_default())) }
        .to_bytes()
        .starts_with(b"/dev/fd/")
}

/// keyctl(2) KEYCTL_JOIN_SESSION_KEYRING without a name: a new, empty session keyring that nothing else can join.
pub(crate) fn new_session_keyring() -> nix::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name is allowed and asks for an anonymous keyring.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    })
    .map(drop)
}

/// keyctl(2) KEYCTL_GET_KEYRING_ID of the session keyring, without making one: ENOKEY when there is none.
pub(crate) fn session_keyring() -> nix::Result<()> {
    const GET_KEYRING_ID: libc::c_int = 0;
    const SESSION_KEYRING: libc::c_int = -3;
    // SAFETY: no pointers.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION_KEYRING, 0) }).map(drop)
}

/// ioctl_ns(2) NS_GET_PARENT: the pid or user namespace above. EPERM: it is out of the caller's sight, or there is none.
pub(crate) fn parent_namespace(namespace: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    const NS_GET_PARENT: libc::Ioctl = 0xb702;
    // SAFETY: the request takes no argument and returns a fresh descriptor, close-on-exec.
    own_result(libc::c_long::from(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) }))
}

//! Calls made to be refused, for the tests of `plim trace`: each leaves its last errno, and runs in a child of its own.

use std::fs;
use std::os::fd::AsRawFd;

use crate::sys::{self, Ended, Raw};
use crate::tries::{attempt, integer, path};

/// One of the calls of this file; `None` when the word is none of them.
pub(crate) fn refused(call: &[String]) -> Option<Raw> {
    let word = |index: usize| call.get(index).map_or("", String::as_str);
    let value = |index: usize| integer(word(index)).unwrap_or(0);
    let rest = |from: usize| call.get(from..).unwrap_or_default();
    Some(match word(0) {
        "as" => become_user(value(1)).and_then(|()| attempt(rest(2))),
        "slowly" => linger(attempt(rest(1))),
        "nested" => linger(new_user_namespace().and_then(|()| attempt(rest(1)))),
        "pause" => {
            std::thread::sleep(std::time::Duration::from_millis(value(1)));
            Ok(0)
        }
        "without-descriptors" => open_until_refused(word(1)),
        "without-processes" => fork_until_refused(),
        "large-file" => large_file(word(1), value(2)),
        "queue" => queue_until_refused(),
        "timers" => timers_until_refused(),
        "copy" => io(fs::copy(word(1), word(2))),
        "setxattr" => set_attribute(word(1), word(2), &hex(word(3))),
        "acl" => set_attribute(word(1), "system.posix_acl_access", &acl(value(2), value(3))),
        "append-only" => freeze(word(1)),
        "ptrace" => trace_the_undumpable(),
        "signal" => signal_another_user(value(1)),
        "attach-memory" => attach_memory(),
        "lease" => lease(word(1)),
        "bind" => bind(value(1)),
        "raise-interface" => raise_interface(),
        "listen-audit" => listen_audit(),
        "set-tid" => set_tid(value(1)),
        "exec-memory" => map_executable(word(1)),
        "filtered" => filtered(word(1), value(2), rest(3)),
        "notified" => notified(value(1), rest(2)),
        "landlocked" => landlocked(rest(1)),
        _ => return None,
    })
}

fn io<T>(result: std::io::Result<T>) -> Raw {
    result.map(|_| 0).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let two = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("0"), 16).unwrap_or(0);
    digits.chunks(2).map(two).collect()
}

fn become_user(user: u64) -> Result<(), i32> {
    sys::native(libc::SYS_setgroups, [0; 6])?;
    sys::native(libc::SYS_setresgid, [user, user, user, 0, 0, 0])?;
    sys::native(libc::SYS_setresuid, [user, user, user, 0, 0, 0])?;
    Ok(())
}

fn new_user_namespace() -> Result<(), i32> {
    let own = sys::native(libc::SYS_geteuid, [0; 6])?;
    sys::native(libc::SYS_unshare, [0x1000_0000, 0, 0, 0, 0, 0])?;
    let write =
        |file: &str, text: String| fs::write(file, text).map_err(|e| e.raw_os_error().unwrap_or(libc::EIO));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {own} 1"))
}

/// Opens a file until that is refused; the children of `try` end with what they opened.
fn open_until_refused(file: &str) -> Raw {
    let mut held = Vec::new();
    for _ in 0..4096 {
        held.push(fs::File::open(file).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?);
    }
    Ok(0)
}

fn fork_until_refused() -> Raw {
    let mut children = Vec::new();
    let mut answer = Ok(0);
    for _ in 0..4096 {
        match sys::fork() {
            Ok(0) => {
                std::thread::sleep(std::time::Duration::from_secs(20));
                sys::exit_now(0);
            }
            Ok(child) => children.push(child),
            Err(errno) => {
                answer = Err(errno);
                break;
            }
        }
    }
    for child in children {
        let _ = sys::native(libc::SYS_kill, [u64::from(child.unsigned_abs()), 9, 0, 0, 0, 0]);
        sys::wait(child);
    }
    answer
}

/// Makes a file longer than RLIMIT_FSIZE lets it be, with SIGXFSZ ignored.
fn large_file(file: &str, length: u64) -> Raw {
    sys::ignore(libc::SIGXFSZ);
    let file = fs::File::create(file).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    sys::native(libc::SYS_ftruncate, [u64::from(file.as_raw_fd().unsigned_abs()), length, 0, 0, 0, 0])
}

fn queue_until_refused() -> Raw {
    const CREATE: u64 = 0o102;
    // One message of 8 kB each.
    let attributes = sys::low_memory(&[0i64, 1, 8192, 0].map(i64::to_ne_bytes).concat(), 64);
    for index in 0..256 {
        sys::native(
            libc::SYS_mq_open,
            [path(&format!("plimtest-{index}")), CREATE, 0o600, attributes, 0, 0],
        )?;
    }
    Ok(0)
}

fn timers_until_refused() -> Raw {
    let id = sys::low_memory(&[], 8);
    for _ in 0..4096 {
        sys::native(libc::SYS_timer_create, [1, 0, id, 0, 0, 0])?;
    }
    Ok(0)
}

fn set_attribute(file: &str, name: &str, value: &[u8]) -> Raw {
    let bytes = sys::low_memory(value, value.len() + 1);
    sys::native(libc::SYS_setxattr, [path(file), path(name), bytes, value.len() as u64, 0, 0])
}

/// An access control list (linux/posix_acl_xattr.h): rw for the owner, PERMISSIONS for one user, nothing for the rest.
fn acl(user: u64, permissions: u64) -> Vec<u8> {
    let user = u32::try_from(user).unwrap_or(0);
    let permissions = u16::try_from(permissions).unwrap_or(0);
    let entries: [(u16, u16, u32); 5] = [
        (1, 6, u32::MAX),
        (2, permissions, user),
        (4, 6, u32::MAX),
        (0x10, 6, u32::MAX),
        (0x20, 6, u32::MAX),
    ];
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permission, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permission.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Sets FS_APPEND_FL (ioctl_iflags(2)).
fn freeze(file: &str) -> Raw {
    const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
    let file = fs::File::open(file).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    let flags = sys::low_memory(&0x20u64.to_ne_bytes(), 8);
    sys::native(
        libc::SYS_ioctl,
        [u64::from(file.as_raw_fd().unsigned_abs()), FS_IOC_SETFLAGS, flags, 0, 0, 0],
    )
}

/// Attaches to a child that made itself undumpable.
fn trace_the_undumpable() -> Raw {
    const PTRACE_ATTACH: u64 = 16;
    let (read, write) = std::io::pipe().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    let child = sys::fork()?;
    if child == 0 {
        let _ = sys::native(libc::SYS_prctl, [4, 0, 0, 0, 0, 0]);
        drop(write);
        std::thread::sleep(std::time::Duration::from_secs(20));
        sys::exit_now(0);
    }
    drop(write);
    let _ = std::io::read_to_string(read);
    let pid = u64::from(child.unsigned_abs());
    let answer = sys::native(libc::SYS_ptrace, [PTRACE_ATTACH, pid, 0, 0, 0, 0]);
    let _ = sys::native(libc::SYS_kill, [pid, 9, 0, 0, 0, 0]);
    answer
}

/// Asks whether a child that became USER may be sent a signal.
fn signal_another_user(user: u64) -> Raw {
    let (read, write) = std::io::pipe().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    let child = sys::fork()?;
    if child == 0 {
        let _ = become_user(user);
        drop(write);
        // Nobody may end it: it ends when its parent has asked.
        std::thread::sleep(std::time::Duration::from_millis(300));
        sys::exit_now(0);
    }
    drop(write);
    let _ = std::io::read_to_string(read);
    let answer = sys::native(libc::SYS_kill, [u64::from(child.unsigned_abs()), 0, 0, 0, 0, 0]);
    sys::wait(child);
    answer
}

/// Attaches a System V segment that nobody may read.
fn attach_memory() -> Raw {
    const IPC_CREAT: u64 = 0o1000;
    let id = sys::native(libc::SYS_shmget, [0, 4096, IPC_CREAT, 0, 0, 0])?;
    let id = id.unsigned_abs();
    let answer = sys::native(libc::SYS_shmat, [id, 0, 0, 0, 0, 0]);
    let _ = sys::native(libc::SYS_shmctl, [id, 0, 0, 0, 0, 0]);
    answer
}

fn lease(file: &str) -> Raw {
    let file = fs::File::open(file).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    let descriptor = u64::from(file.as_raw_fd().unsigned_abs());
    sys::native(libc::SYS_fcntl, [descriptor, libc::F_SETLEASE.unsigned_abs().into(), 0, 0, 0, 0])
}

/// Binds a TCP socket of IPv4 to a port of the loopback.
fn bind(port: u64) -> Raw {
    let socket = sys::native(libc::SYS_socket, [2, 1, 0, 0, 0, 0])?.unsigned_abs();
    let mut address = 2u16.to_ne_bytes().to_vec();
    address.extend(u16::try_from(port).unwrap_or(0).to_be_bytes());
    address.extend([127, 0, 0, 1]);
    let address = sys::low_memory(&address, 16);
    sys::native(libc::SYS_bind, [socket, address, 16, 0, 0, 0])
}

/// SIOCSIFFLAGS on the loopback.
fn raise_interface() -> Raw {
    const SIOCSIFFLAGS: u64 = 0x8914;
    let socket = sys::native(libc::SYS_socket, [2, 2, 0, 0, 0, 0])?.unsigned_abs();
    let request = sys::low_memory(b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x49\0", 40);
    sys::native(libc::SYS_ioctl, [socket, SIOCSIFFLAGS, request, 0, 0, 0])
}

/// Joins the group of NETLINK_AUDIT that reads the log.
fn listen_audit() -> Raw {
    const NETLINK_AUDIT: u64 = 9;
    let socket = sys::native(libc::SYS_socket, [16, 3, NETLINK_AUDIT, 0, 0, 0])?.unsigned_abs();
    let mut address = 16u16.to_ne_bytes().to_vec();
    address.extend([0; 6]);
    address.extend(1u32.to_ne_bytes());
    let address = sys::low_memory(&address, 12);
    sys::native(libc::SYS_bind, [socket, address, 12, 0, 0, 0])
}

/// clone3 with a pid of one's own choice.
fn set_tid(pid: u64) -> Raw {
    let wanted = sys::low_memory(&u32::try_from(pid).unwrap_or(0).to_ne_bytes(), 4);
    let words: [u64; 11] = [0, 0, 0, 0, 17, 0, 0, 0, wanted, 1, 0];
    let arguments = sys::low_memory(&words.map(u64::to_ne_bytes).concat(), 88);
    let child = sys::native(libc::SYS_clone3, [arguments, 88, 0, 0, 0, 0])?;
    if child == 0 {
        sys::exit_now(0);
    }
    Ok(child)
}

/// Maps a file to be executed.
fn map_executable(file: &str) -> Raw {
    let file = fs::File::open(file).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    let descriptor = u64::from(file.as_raw_fd().unsigned_abs());
    linger(sys::native(libc::SYS_mmap, [0, 4096, 5, 2, descriptor, 0]))
}

/// Installs a filter of the process' own that answers call NUMBER with ACTION (errno, trap, trace, kill), and makes a call.
/// Gives up reading files before the call (landlock(7)).
fn landlocked(call: &[String]) -> Raw {
    const CREATE_RULESET: i64 = 444;
    const RESTRICT_SELF: i64 = 446;
    const ACCESS_FS_READ_FILE: u64 = 1 << 2;
    const PR_SET_NO_NEW_PRIVS: u64 = 38;
    let handled = sys::low_memory(&ACCESS_FS_READ_FILE.to_ne_bytes(), 8);
    let ruleset = sys::native(CREATE_RULESET, [handled, 8, 0, 0, 0, 0])?;
    sys::native(libc::SYS_prctl, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0])?;
    sys::native(RESTRICT_SELF, [ruleset.unsigned_abs(), 0, 0, 0, 0, 0])?;
    linger(attempt(call))
}

fn filtered(action: &str, number: u64, call: &[String]) -> Raw {
    let action = match action {
        "errno" => libc::SECCOMP_RET_ERRNO | libc::EXDEV.unsigned_abs(),
        "trap" => libc::SECCOMP_RET_TRAP,
        "trace" => libc::SECCOMP_RET_TRACE,
        "log" => libc::SECCOMP_RET_LOG,
        _ => libc::SECCOMP_RET_KILL_PROCESS,
    };
    sys::install_filter(u32::try_from(number).unwrap_or(0), action, false)?;
    linger(attempt(call))
}

/// Stays for a moment: what a process alone knows (its filters, its user namespace) goes with it.
fn linger(answer: Raw) -> Raw {
    std::thread::sleep(std::time::Duration::from_millis(100));
    answer
}

/// The same with a supervisor, a process that shares the descriptors and refuses with EPERM.
fn notified(number: u64, call: &[String]) -> Raw {
    const CLONE_FILES: u64 = 0x400;
    let (read, write) = std::io::pipe().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    let child = sys::native(libc::SYS_clone, [CLONE_FILES | 17, 0, 0, 0, 0, 0])?;
    if child == 0 {
        let listener =
            sys::install_filter(u32::try_from(number).unwrap_or(0), libc::SECCOMP_RET_USER_NOTIF, true);
        let listener = u64::try_from(listener.unwrap_or(-1)).unwrap_or(0);
        let bytes = sys::low_memory(&listener.to_ne_bytes(), 8);
        let _ =
            sys::native(libc::SYS_write, [u64::from(write.as_raw_fd().unsigned_abs()), bytes, 8, 0, 0, 0]);
        let errno = linger(attempt(call)).err().unwrap_or(0);
        sys::exit_now(errno);
    }
    let mut listener = [0; 8];
    std::io::Read::read_exact(&mut &read, &mut listener).map_err(|_| libc::EIO)?;
    supervise(u64::from_ne_bytes(listener))?;
    match sys::wait(i32::try_from(child).unwrap_or(-1)) {
        Some((_, Ended::Code(0))) => Ok(0),
        Some((_, Ended::Code(errno))) => Err(errno),
        _ => Err(libc::EIO),
    }
}

/// Answers one call with EPERM (seccomp_unotify(2)).
fn supervise(listener: u64) -> Result<(), i32> {
    const RECV: u64 = 0xc050_2100;
    const SEND: u64 = 0xc018_2101;
    let request = sys::low_memory(&[], 80);
    sys::native(libc::SYS_ioctl, [listener, RECV, request, 0, 0, 0])?;
    let mut answer = sys::bytes_at(request, 8);
    answer.extend([0; 8]);
    answer.extend((-libc::EPERM).to_ne_bytes());
    answer.extend([0; 4]);
    let answer = sys::low_memory(&answer, 24);
    sys::native(libc::SYS_ioctl, [listener, SEND, answer, 0, 0, 0]).map(drop)
}

//! The one unsafe door: raw system calls by number, on both x86 tables, and the few libc calls that have no safe form.

#![allow(unsafe_code, reason = "the crate's one door to raw system calls")]

use std::ffi::CString;

/// What a raw call gave: the value, or the errno.
pub(crate) type Raw = Result<i64, i32>;

fn decode(value: i64) -> Raw {
    if (-4095..0).contains(&value) { Err(i32::try_from(-value).unwrap_or(i32::MAX)) } else { Ok(value) }
}

/// One native call with up to six arguments.
pub(crate) fn native(number: i64, args: [u64; 6]) -> Raw {
    let value: i64;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel checks every pointer it is given; the callers pass pointers to memory they own or values
    // that are not pointers. rcx and r11 are declared clobbered as the syscall instruction overwrites them.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number => value, in("rdi") args[0], in("rsi") args[1],
            in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; svc preserves every register but x0.
    unsafe {
        std::arch::asm!("svc 0", in("x8") number, inlateout("x0") args[0] => value, in("x1") args[1],
            in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5]);
    }
    decode(value)
}

/// One call through the 32-bit gate (`int 0x80`), by the i386 table. Pointers must lie below 4 GiB.
#[cfg(target_arch = "x86_64")]
pub(crate) fn int80(number: i64, args: [u64; 6]) -> Raw {
    let value: i64;
    // SAFETY: as for `native`. rbx and rbp belong to the compiler, so they are saved by hand around the gate; r8 to
    // r11 are declared clobbered because the compat entry clears them.
    unsafe {
        std::arch::asm!(
            "push rbx", "push rbp", "mov rbx, r12", "mov rbp, r13", "int 0x80", "pop rbp", "pop rbx",
            inlateout("rax") number => value, in("r12") args[0], in("rcx") args[1], in("rdx") args[2],
            in("rsi") args[3], in("rdi") args[4], in("r13") args[5],
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _);
    }
    // The 32-bit result comes back in eax; its sign is the errno's.
    #[allow(clippy::cast_possible_truncation, reason = "the i386 ABI returns 32 bits")]
    decode(i64::from(value as i32))
}

/// No 32-bit gate on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn int80(_: i64, _: [u64; 6]) -> Raw {
    Err(libc::ENOSYS)
}

/// `len` bytes below 4 GiB, filled with `bytes` and zeroes, never freed: a pointer that the 32-bit gate can pass too.
pub(crate) fn low_memory(bytes: &[u8], len: usize) -> u64 {
    let size = len.max(bytes.len()).max(1);
    // SAFETY: a fresh private anonymous mapping of at least `bytes.len()` bytes, checked before it is written.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let at = libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if at == libc::MAP_FAILED {
            return 0;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast::<u8>(), bytes.len());
        at as u64
    }
}

/// The bytes at an address that [`low_memory`] gave.
pub(crate) fn bytes_at(address: u64, length: usize) -> Vec<u8> {
    // SAFETY: the caller names memory of its own of at least that length, which is never freed.
    unsafe { std::slice::from_raw_parts(address as *const u8, length) }.to_vec()
}

/// Joins a new session keyring and adds a key of type user to it (keyctl(2) KEYCTL_JOIN_SESSION_KEYRING, add_key(2)).
pub(crate) fn session_key(name: &str) -> Raw {
    const SESSION_KEYRING: u64 = 0xffff_ffff_ffff_fffd; // KEY_SPEC_SESSION_KEYRING, -3
    native(libc::SYS_keyctl, [1, 0, 0, 0, 0, 0])?;
    let text = |text: &str| low_memory(text.as_bytes(), text.len() + 1);
    native(libc::SYS_add_key, [text("user"), text(name), text("secret"), 6, SESSION_KEYRING, 0])
}

/// Ignores a signal.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: a disposition touches no memory.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// How a child ended.
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
}

/// fork(2): 0 in the child.
pub(crate) fn fork() -> Result<i32, i32> {
    // SAFETY: the witness has one thread, so the child may use the whole library.
    let pid = unsafe { libc::fork() };
    if pid < 0 { Err(errno()) } else { Ok(pid) }
}

/// Waits for `pid` (or any child when -1); `None` when there is none.
pub(crate) fn wait(pid: i32) -> Option<(i32, Ended)> {
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        let got = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if got < 0 && errno() == libc::EINTR {
            continue;
        }
        if got <= 0 {
            return None;
        }
        let ended = if libc::WIFSIGNALED(status) {
            Ended::Signal(libc::WTERMSIG(status))
        } else {
            Ended::Code(libc::WEXITSTATUS(status))
        };
        return Some((got, ended));
    }
}

/// Ends this process at once, running no destructors: for forked children. Not libc's `_exit`, which leaves in the
/// sixth argument's register what a probe put there.
pub(crate) fn exit_now(code: i32) -> ! {
    loop {
        let _ = native(libc::SYS_exit_group, [u64::from(code.unsigned_abs()), 0, 0, 0, 0, 0]);
    }
}

/// The calling thread's errno.
pub(crate) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Blocks `signals` for this thread and what it forks.
pub(crate) fn block(signals: &[i32]) {
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Waits up to `milliseconds` for one of the blocked `signals`; `None` on time-out. A tracer's stop interrupts
/// sigtimedwait(2) with EINTR, which is no reason to end.
pub(crate) fn wait_signal(signals: &[i32], milliseconds: u64) -> Option<i32> {
    let end = std::time::Instant::now() + std::time::Duration::from_millis(milliseconds);
    loop {
        let rest = end.saturating_duration_since(std::time::Instant::now());
        // SAFETY: the set is initialised before use; the timeout outlives the call; no siginfo is asked for.
        let got = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            let seconds = i64::try_from(rest.as_secs()).unwrap_or(i64::MAX);
            let timeout = libc::timespec { tv_sec: seconds, tv_nsec: i64::from(rest.subsec_nanos()) };
            libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const timeout)
        };
        if got > 0 {
            return Some(got);
        }
        if errno() != libc::EINTR {
            return None;
        }
    }
}

/// Raises `signal` here with its default action.
pub(crate) fn die(signal: i32) {
    // SAFETY: setting a default disposition and raising a signal touch no memory.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// execvp(3); returns the errno when it fails.
pub(crate) fn exec(args: &[String]) -> i32 {
    let words: Vec<CString> = args.iter().filter_map(|word| CString::new(word.as_str()).ok()).collect();
    let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    if words.is_empty() {
        return libc::EINVAL;
    }
    // SAFETY: a null-terminated array of pointers to strings that live until the call returns.
    unsafe { libc::execvp(pointers[0], pointers.as_ptr()) };
    errno()
}

/// dup2(2) of a freshly opened file on `as_fd`, without close-on-exec: a descriptor that leaks on purpose.
pub(crate) fn leak(path: &str, as_fd: i32) {
    use std::os::fd::AsRawFd;
    if let Ok(file) = std::fs::File::open(path) {
        // SAFETY: both descriptors are valid; the new one is leaked on purpose.
        unsafe { libc::dup2(file.as_raw_fd(), as_fd) };
    }
}

/// Whether `fd` is a terminal, and its rows and columns.
pub(crate) fn terminal(fd: i32) -> Option<(u16, u16)> {
    // SAFETY: winsize is plain data and outlives the call.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) == 0).then_some((size.ws_row, size.ws_col))
    }
}

/// Consumed processor time of this process, in microseconds.
pub(crate) fn cpu_time_us() -> u64 {
    // SAFETY: timespec is plain data and outlives the call.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time);
        u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1000).unwrap_or(0)
    }
}

/// The argument word that marks a probing call; libc never passes it as a sixth argument.
pub(crate) const MARK: u64 = 0x5EC0_0D1E;

/// Installs, on top of whatever filters there are, one that turns every call whose sixth argument is [`MARK`] into
/// `SECCOMP_RET_TRACE`. Without a tracer the kernel then skips the call and gives ENOSYS, and an older filter's ERRNO,
/// TRAP or KILL takes precedence (seccomp(2)), so every verdict shows and no probed call is executed.
pub(crate) fn install_probe() -> Result<(), i32> {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // seccomp_data: nr 0, arch 4, ip 8, args 16 + 8 i; the low word of args[5] on a little-endian machine is at 56.
    let mark = u32::try_from(MARK).unwrap_or(0);
    let program = [
        libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: 56 },
        libc::sock_filter { code: EQUAL, jt: 0, jf: 1, k: mark },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_TRACE },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    // SAFETY: the program and its header outlive the calls, and the kernel copies and checks them.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(errno());
        }
        let header = libc::sock_fprog { len: 4, filter: program.as_ptr().cast_mut() };
        if libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const header) != 0 {
            return Err(errno());
        }
    }
    Ok(())
}

/// Installs a filter that gives one action for one native call and allows the rest, on top of whatever filters there are; with
/// `listen` it answers with the descriptor of the supervisor's.
pub(crate) fn install_filter(number: u32, action: u32, listen: bool) -> Raw {
    const SET_MODE_FILTER: u64 = 1;
    const NEW_LISTENER: u64 = 8;
    let program = [
        libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: number },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: action },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let header = libc::sock_fprog { len: 4, filter: program.as_ptr().cast_mut() };
    native(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS.unsigned_abs().into(), 1, 0, 0, 0, 0])?;
    let flags = if listen { NEW_LISTENER } else { 0 };
    native(libc::SYS_seccomp, [SET_MODE_FILTER, flags, (&raw const header) as u64, 0, 0, 0])
}

/// One io_uring (include/uapi/linux/io_uring.h), mapped, of one entry.
pub(crate) struct Ring {
    fd: u64,
    submissions: *mut u8,
    completions: *mut u8,
    entries: *mut u8,
    parameters: [u32; 30],
}

/// Places in struct io_uring_params, in words.
const SUBMISSION: usize = 10;
const COMPLETION: usize = 20;
/// Words of struct io_sqring_offsets and io_cqring_offsets.
const HEAD: usize = 0;
const TAIL: usize = 1;
const FLAGS: usize = 4;
const CQES: usize = 5;
const ARRAY: usize = 6;
/// The kernel's thread sleeps (IORING_SQ_NEED_WAKEUP), and is woken (IORING_ENTER_SQ_WAKEUP).
const NEED_WAKEUP: u32 = 1;
const ENTER_SQ_WAKEUP: u64 = 2;

impl Ring {
    /// io_uring_setup(2) and its three mappings. The errno where the kernel refuses.
    pub(crate) fn new(polled: bool) -> Result<Ring, i32> {
        const SQPOLL: u32 = 2;
        let mut parameters = [0_u32; 30];
        parameters[2] = if polled { SQPOLL } else { 0 };
        parameters[4] = 10_000;
        let fd = native(libc::SYS_io_uring_setup, [1, parameters.as_mut_ptr() as u64, 0, 0, 0, 0])?;
        let fd = fd.unsigned_abs();
        let map = |offset: u64| {
            let (write, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
            let arguments =
                [0, 4096, u64::from(write.unsigned_abs()), u64::from(shared.unsigned_abs()), fd, offset];
            native(libc::SYS_mmap, arguments).map(|at| at.unsigned_abs() as *mut u8)
        };
        let (submissions, completions, entries) = (map(0)?, map(0x800_0000)?, map(0x1000_0000)?);
        Ok(Ring { fd, submissions, completions, entries, parameters })
    }

    fn word(base: *mut u8, offset: u32) -> *mut u32 {
        // SAFETY: the kernel gave the offset, which lies in the mapped page; a ring of one entry takes less than a page.
        unsafe { base.add(offset as usize) }.cast()
    }

    /// Puts openat(AT_FDCWD, PATH, O_WRONLY) into the ring; `path` ends with a NUL and is there until it has completed.
    pub(crate) fn submit_open(&mut self, path: &'static [u8]) {
        const OPENAT: u32 = 18;
        let tail = Ring::word(self.submissions, self.parameters[SUBMISSION + TAIL]);
        let array = Ring::word(self.submissions, self.parameters[SUBMISSION + ARRAY]);
        let address = path.as_ptr() as u64;
        // opcode, fd, off, addr, len (a mode), open_flags.
        let mut entry = [0_u32; 16];
        entry[0] = OPENAT;
        entry[1] = libc::AT_FDCWD.cast_unsigned();
        entry[4] = u32::try_from(address & 0xffff_ffff).unwrap_or(0);
        entry[5] = u32::try_from(address >> 32).unwrap_or(0);
        entry[7] = libc::O_WRONLY.cast_unsigned();
        // SAFETY: one entry of 64 bytes, its index and the tail lie in the mapped pages; the kernel reads the entry after the tail.
        unsafe {
            self.entries.cast::<[u32; 16]>().write_volatile(entry);
            array.write_volatile(0);
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            tail.write_volatile(tail.read_volatile().wrapping_add(1));
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        }
        let flags = Ring::word(self.submissions, self.parameters[SUBMISSION + FLAGS]);
        // SAFETY: as above.
        let wake = if unsafe { flags.read_volatile() } & NEED_WAKEUP != 0 { ENTER_SQ_WAKEUP } else { 0 };
        if self.parameters[2] == 0 || wake != 0 {
            let _ = native(libc::SYS_io_uring_enter, [self.fd, 1, 0, wake, 0, 0]);
        }
    }

    /// The result of an operation that has completed; `None` when none has.
    pub(crate) fn completed(&mut self) -> Option<i32> {
        let head = Ring::word(self.completions, self.parameters[COMPLETION + HEAD]);
        let tail = Ring::word(self.completions, self.parameters[COMPLETION + TAIL]);
        // SAFETY: all lie in the mapped page; there are two entries of 16 bytes, of which the third word is the result.
        unsafe {
            if head.read_volatile() == tail.read_volatile() {
                return None;
            }
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            let index = head.read_volatile() & 1;
            let offset = self.parameters[COMPLETION + CQES] + 16 * index + 8;
            let result = Ring::word(self.completions, offset).read_volatile();
            head.write_volatile(head.read_volatile().wrapping_add(1));
            Some(result.cast_signed())
        }
    }
}

//! The kernel as an oracle.
//!
//! No call is executed. The child first installs a filter that answers ERRNO(4095) to everything, then the filter under test. Both
//! run for every call; ALLOW, LOG, TRACE and USER_NOTIF are weaker than an error, so they show as 4095, and of two errors the newer
//! filter's wins. Results go through shared memory, so the child needs no call of its own, and the parent ends it with SIGKILL.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use plim_seccomp::Arch;
use plim_seccomp::bpf::{Insn, Program, code};
use plim_seccomp::resolve::Call;

/// What the oracle answers when the filter under test would let a call pass.
pub(crate) const PASSED: u16 = 4095;
/// The oracle lets seccomp(2) through when its unused fourth argument is this, to install the filter under test.
const MAGIC: u32 = 0x706c_696d;
/// `__NR_seccomp` on x86-64.
const SECCOMP: u32 = 317;
/// In results: the call returned something that is no error.
const NO_ERROR: u32 = u32::MAX;

fn oracle() -> Program {
    let jump = |code, jt, jf, k| Insn { code, jt, jf, k };
    Program::from_instructions(vec![
        Insn::stmt(code::LD_W_ABS, 4),
        jump(code::JMP_JEQ_K, 0, 5, Arch::X86_64.audit_token()),
        Insn::stmt(code::LD_W_ABS, 0),
        jump(code::JMP_JEQ_K, 0, 3, SECCOMP),
        Insn::stmt(code::LD_W_ABS, 16 + 3 * 8),
        jump(code::JMP_JEQ_K, 0, 1, MAGIC),
        Insn::stmt(code::RET_K, 0x7fff_0000),
        Insn::stmt(code::RET_K, 0x0005_0000 | u32::from(PASSED)),
    ])
    .unwrap()
}

/// The call by the native door.
unsafe fn native(nr: u32, args: &[u64; 6]) -> i64 {
    let ret: i64;
    // SAFETY: the oracle is installed, so the kernel refuses the call before it looks at the arguments. (Before that it is used for
    // seccomp(2) only, with a program that outlives the call.) rcx and r11 are the registers that `syscall` overwrites.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") u64::from(nr) => ret,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
        );
    }
    ret
}

/// The call by the 32-bit door. The kernel takes the low halves of the registers.
unsafe fn compat(nr: u32, args: &[u64; 6]) -> i64 {
    let ret: u64;
    // SAFETY: as for `native`. rbx and rbp, which the compiler keeps to itself, are saved on the stack (the block does not promise
    // `nostack`); r8 to r11 are lost on older kernels.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "push rbp",
            "mov rbx, [r8]",
            "mov rcx, [r8 + 8]",
            "mov rdx, [r8 + 16]",
            "mov rsi, [r8 + 24]",
            "mov rdi, [r8 + 32]",
            "mov rbp, [r8 + 40]",
            "int 0x80",
            "pop rbp",
            "pop rbx",
            inlateout("rax") u64::from(nr) => ret,
            inlateout("r8") args.as_ptr() => _,
            lateout("rcx") _, lateout("rdx") _, lateout("rsi") _, lateout("rdi") _,
            lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    // The result is a 32-bit number; kernels differ in whether they extend its sign.
    i64::from(u32::try_from(ret & 0xffff_ffff).unwrap_or_default().cast_signed())
}

/// Shared between parent and child.
struct Shared {
    base: *mut AtomicU32,
    length: usize,
}

impl Shared {
    fn new(length: usize) -> Shared {
        // SAFETY: a new anonymous mapping, checked below; it is zeroed, which is a valid AtomicU32.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length * 4,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED);
        Shared { base: base.cast(), length }
    }

    fn get(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.length);
        // SAFETY: within the mapping, which lives as long as `self`; all access is atomic.
        unsafe { &*self.base.add(index) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, unmapped once.
        unsafe { libc::munmap(self.base.cast(), self.length * 4) };
    }
}

/// Slots before the results.
const DONE: usize = 0;
const FAILED: usize = 1;
const FIRST: usize = 2;

/// The errors that the kernel answers to `calls` under `program`, or why it cannot be asked.
pub(crate) fn ask(program: &Program, calls: &[Call]) -> Result<Vec<u32>, String> {
    let shared = Shared::new(FIRST + calls.len());
    let filters = [oracle(), program.clone()].map(|filter| raw(&filter));
    // SAFETY: the child runs `child` only, which allocates nothing and returns never.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error().to_string()),
        0 => child(&filters, calls, &shared),
        pid => watch(pid, calls, &shared),
    }
}

fn raw(program: &Program) -> Vec<libc::sock_filter> {
    let convert = |insn: &Insn| libc::sock_filter { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k };
    program.instructions().iter().map(convert).collect()
}

fn child(filters: &[Vec<libc::sock_filter>; 2], calls: &[Call], shared: &Shared) -> ! {
    // SAFETY: plain prctl calls without pointers; the child dies with its parent, and new privileges are given up.
    let ready = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
            && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    };
    if !ready {
        shared.get(FAILED).store(1, Ordering::Release);
    }
    for filter in filters {
        let length = u16::try_from(filter.len()).unwrap_or(u16::MAX);
        let fprog = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
        let pointer = std::ptr::from_ref(&fprog) as u64;
        let args = [1, 0, pointer, u64::from(MAGIC), 0, 0];
        // SAFETY: SECCOMP_SET_MODE_FILTER reads the program, which lives until this function ends, that is for ever.
        let ret = unsafe { native(SECCOMP, &args) };
        if ret != 0 {
            shared.get(FAILED).store(u32::try_from(-ret).unwrap_or(NO_ERROR), Ordering::Release);
        }
    }
    if shared.get(FAILED).load(Ordering::Acquire) == 0 {
        for (index, call) in calls.iter().enumerate() {
            // SAFETY: both filters are installed, see `native` and `compat`.
            let ret = unsafe {
                match call.arch == Arch::X86.audit_token() {
                    true => compat(call.nr, &call.args),
                    false => native(call.nr, &call.args),
                }
            };
            // Stored plus one, so that 0 means that the call never came back.
            let error = if (-4095..=0).contains(&ret) {
                u32::try_from(-ret).unwrap_or(NO_ERROR)
            } else {
                NO_ERROR - 1
            };
            shared.get(FIRST + index).store(error + 1, Ordering::Release);
        }
    }
    shared.get(DONE).store(1, Ordering::Release);
    // There is no call to end with: the parent does it.
    loop {
        std::hint::spin_loop();
    }
}

fn watch(pid: libc::pid_t, calls: &[Call], shared: &Shared) -> Result<Vec<u32>, String> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut status = 0;
    let ended = loop {
        if shared.get(DONE).load(Ordering::Acquire) == 1 {
            break Ok(());
        }
        // SAFETY: our own child; `status` is a valid place.
        if unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid {
            let at = (0..calls.len()).find(|index| shared.get(FIRST + index).load(Ordering::Acquire) == 0);
            let call = at.map(|index| format!("{:x?}", calls[index])).unwrap_or_default();
            return Err(format!("the child ended with status {status:#x} at {call}"));
        }
        if Instant::now() > deadline {
            break Err("the child takes more than two minutes".to_owned());
        }
        std::thread::sleep(Duration::from_micros(200));
    };
    // SAFETY: our own child, which was not waited for yet.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, &raw mut status, 0);
    }
    ended?;
    match shared.get(FAILED).load(Ordering::Acquire) {
        0 => {
            Ok((0..calls.len()).map(|index| shared.get(FIRST + index).load(Ordering::Acquire) - 1).collect())
        }
        error => {
            Err(format!("installing the filters: {}", std::io::Error::from_raw_os_error(error.cast_signed())))
        }
    }
}

/// Whether seccomp(2) installs these instructions, tried in a child of its own that ends right after.
pub(crate) fn kernel_takes(instructions: &[Insn]) -> bool {
    let filter: Vec<libc::sock_filter> = instructions
        .iter()
        .map(|insn| libc::sock_filter { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k })
        .collect();
    let shared = Shared::new(1);
    // SAFETY: the child makes two calls, stores a number and waits to be killed; it allocates nothing.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            let fprog = libc::sock_fprog {
                len: u16::try_from(filter.len()).unwrap_or(u16::MAX),
                filter: filter.as_ptr().cast_mut(),
            };
            // SAFETY: as in `child`.
            let ret = unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                native(SECCOMP, &[1, 0, std::ptr::from_ref(&fprog) as u64, 0, 0, 0])
            };
            shared.get(0).store(if ret == 0 { 1 } else { 2 }, Ordering::Release);
            loop {
                std::hint::spin_loop();
            }
        }
        pid => {
            while shared.get(0).load(Ordering::Acquire) == 0 {
                std::hint::spin_loop();
            }
            // SAFETY: our own child.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
            shared.get(0).load(Ordering::Acquire) == 1
        }
    }
}

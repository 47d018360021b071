//! The one unsafe door of this test: a child under filters, raw system calls, and memory shared with the child.
#![allow(unsafe_code, reason = "fork, mmap and raw system calls are what this test is about")]

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use plim_seccomp::Arch;
use plim_seccomp::bpf::{Insn, Program, code};

/// The error that the guard answers to every call.
pub(crate) const REFUSED: u16 = 4095;
/// The guard lets seccomp(2) through when its unused fourth argument is this, to install the filter under test.
const MAGIC: u32 = 0x706c_696d;
/// `__NR_seccomp` on x86-64.
const SECCOMP: u32 = 317;

/// A process of its own that runs `run` and then waits to be killed: it needs no call to end, and dies with this value.
pub(crate) struct Child {
    pid: libc::pid_t,
    status: Cell<Option<i32>>,
}

impl Child {
    /// `run` works on a copy of one thread of this process, so it must not allocate or lock.
    pub(crate) fn start(run: impl FnOnce()) -> io::Result<Child> {
        // SAFETY: the child runs `run`, which allocates nothing, and never returns from here.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                run();
                loop {
                    std::hint::spin_loop();
                }
            }
            pid => Ok(Child { pid, status: Cell::new(None) }),
        }
    }

    /// Its status when it ended by itself, as a filter that kills makes it.
    pub(crate) fn ended(&self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: our own child, not waited for yet; `status` is a valid place.
        let mut reaped = || unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) } == self.pid;
        if self.status.get().is_none() && reaped() {
            self.status.set(Some(status));
        }
        self.status.get()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // SAFETY: our own child, which was not waited for yet.
            unsafe {
                libc::kill(self.pid, libc::SIGKILL);
                libc::waitpid(self.pid, std::ptr::null_mut(), 0);
            }
        }
    }
}

/// Numbers that parent and child share; all are 0 at first.
pub(crate) struct Shared {
    base: *mut AtomicU32,
    length: usize,
}

impl Shared {
    pub(crate) fn new(length: usize) -> Shared {
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

    fn slot(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.length);
        // SAFETY: within the mapping, which lives as long as `self`; all access is atomic.
        unsafe { &*self.base.add(index) }
    }

    pub(crate) fn get(&self, index: usize) -> u32 {
        self.slot(index).load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, index: usize, value: u32) {
        self.slot(index).store(value, Ordering::Release);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, unmapped once.
        unsafe { libc::munmap(self.base.cast(), self.length * 4) };
    }
}

/// Instructions as the kernel reads them.
pub(crate) fn raw(instructions: &[Insn]) -> Vec<libc::sock_filter> {
    let convert = |insn: &Insn| libc::sock_filter { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k };
    instructions.iter().map(convert).collect()
}

/// Answers [`REFUSED`] to everything but the seccomp(2) of [`Guarded::install`].
pub(crate) fn guard() -> Guard {
    let jump = |code, jt, jf, k| Insn { code, jt, jf, k };
    let program = Program::from_instructions(vec![
        Insn::stmt(code::LD_W_ABS, 4),
        jump(code::JMP_JEQ_K, 0, 5, Arch::X86_64.audit_token()),
        Insn::stmt(code::LD_W_ABS, 0),
        jump(code::JMP_JEQ_K, 0, 3, SECCOMP),
        Insn::stmt(code::LD_W_ABS, 16 + 3 * 8),
        jump(code::JMP_JEQ_K, 0, 1, MAGIC),
        Insn::stmt(code::RET_K, 0x7fff_0000),
        Insn::stmt(code::RET_K, 0x0005_0000 | u32::from(REFUSED)),
    ])
    .unwrap();
    Guard(raw(program.instructions()))
}

/// The guard's instructions, made before the fork.
pub(crate) struct Guard(Vec<libc::sock_filter>);

/// A thread that the guard keeps from executing any call.
pub(crate) struct Guarded(());

impl Guard {
    /// Puts the calling thread under the guard, for ever. The error is the kernel's.
    pub(crate) fn enter(&self) -> Result<Guarded, i64> {
        install(&self.0).map(Guarded)
    }
}

impl Guarded {
    /// Adds a filter.
    pub(crate) fn install(&self, filter: &[libc::sock_filter]) -> Result<(), i64> {
        install(filter)
    }

    /// What the kernel returns to the call: by `int 0x80` when its architecture is i386's, else by `syscall`.
    pub(crate) fn call(&self, arch: u32, nr: u32, args: &[u64; 6]) -> i64 {
        if arch == Arch::X86.audit_token() {
            // SAFETY: the guard is installed, so the kernel refuses the call before it looks at the arguments.
            return unsafe { compat(nr, args) };
        }
        if nr == SECCOMP && args[3] & 0xffff_ffff == u64::from(MAGIC) {
            // The one call that the guard would let through.
            std::process::abort();
        }
        // SAFETY: as above.
        unsafe { native(nr, args) }
    }
}

/// Installs a filter on the calling thread, which gives up new privileges and dies with its parent. The error is the kernel's.
pub(crate) fn install(filter: &[libc::sock_filter]) -> Result<(), i64> {
    // Under the guard the two are refused, and were done before.
    // SAFETY: plain prctl calls without pointers.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    }
    let len = u16::try_from(filter.len()).unwrap_or(u16::MAX);
    let fprog = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    let pointer = std::ptr::from_ref(&fprog) as u64;
    // SAFETY: SECCOMP_SET_MODE_FILTER (1) reads the program, which outlives the call.
    match unsafe { native(SECCOMP, &[1, 0, pointer, u64::from(MAGIC), 0, 0]) } {
        0 => Ok(()),
        error => Err(-error),
    }
}

/// The call by the native door.
unsafe fn native(nr: u32, args: &[u64; 6]) -> i64 {
    let ret: i64;
    // SAFETY: the caller says that the call is refused or harmless. rcx and r11 are the registers that `syscall` overwrites.
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

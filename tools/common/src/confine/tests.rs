use super::*;
use plim_seccomp::bpf::{Insn, Program};
use plim_seccomp::diagram::Store;
use plim_seccomp::interpret::{SeccompData, run_stack};
use plim_seccomp::{Action, Arch, Errno, syscalls};

const REFUSED: Action = Action::Errno(Errno::ENOSYS);

/// Every call that some phase allows, with the reason why nothing on disk and no other process changes by it. A call of a later
/// kernel that is put on a list has to be put here too.
#[rustfmt::skip]
const CHANGES_NOTHING: [(&str, &[&str]); 9] = [
    ("of what is open already", &[
        "read", "write", "readv", "writev", "pread64", "lseek", "close", "fsync", "fdatasync", "fstat", "getdents64", "fstatfs",
        "poll", "ppoll", "pipe2", "close_range",
    ]),
    ("this process' memory", &["mmap", "mprotect", "munmap", "mremap", "madvise", "brk"]),
    ("this process' threads and signals", &[
        "futex", "sched_yield", "restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "tgkill",
        "clone", "wait4", "set_robust_list", "rseq", "exit", "exit_group",
    ]),
    ("asks about this process", &[
        "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getcwd", "sched_getaffinity", "prlimit64", "capget",
    ]),
    ("asks about the machine", &[
        "getrandom", "clock_gettime", "gettimeofday", "clock_nanosleep", "nanosleep", "uname", "sysinfo", "lsm_list_modules",
    ]),
    ("looks at files", &[
        "open", "openat", "openat2", "stat", "lstat", "newfstatat", "statx", "statfs", "readlink", "readlinkat", "getxattr", "lgetxattr",
        "faccessat", "faccessat2",
    ]),
    ("by one of some arguments", &["fcntl", "ioctl", "prctl", "bpf", "perf_event_open"]),
    ("holds a process", &["pidfd_open"]),
    ("gives up", &["capset", "seccomp"]),
];
/// What a result in a file takes.
const OF_THE_RESULT: [&str; 2] = ["renameat", "unlinkat"];

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

/// Names of files that are pinned for every test of this process.
fn pinned() -> [u64; 2] {
    let names = [c"/tmp/.plim-new".to_owned(), c"/tmp/result".to_owned()];
    let pinned = pinned::pinned().map_or_else(|| pinned::pin(&names), Ok);
    // Another test may have been faster.
    let pinned = pinned.or_else(|error| pinned::pinned().ok_or(error)).expect("pinned");
    [pinned.names()[0].as_ptr() as u64, pinned.names()[1].as_ptr() as u64]
}

/// Whatever the arguments are: decided over all of them, not tried.
#[test]
fn what_a_phase_can_allow_changes_nothing() {
    pinned();
    for phase in Phase::ALL {
        let mut store = Store::new();
        let diagram = store.of_stack(&stack(phase)).expect("decided");
        let all = crate::calls::read(&mut store, diagram, &[arch()]).expect("decided");
        let mut allowed = 0;
        for call in &all.arches[0].calls {
            if call.answer.unconditional().is_some_and(|action| !action.makes_the_call()) {
                continue;
            }
            allowed += 1;
            let known = CHANGES_NOTHING.iter().any(|(_, names)| names.contains(&call.name));
            assert!(known || OF_THE_RESULT.contains(&call.name), "{phase:?} allows {}", call.name);
        }
        assert!(allowed > calls::ALWAYS.len(), "{phase:?}: {allowed}");
        for unnamed in &all.arches[0].unnamed {
            assert!(!unnamed.answer.unconditional().is_none_or(Action::makes_the_call), "{phase:?}");
        }
    }
}

/// Every call is listed, refused or an alarm; each phase allows no more than the one before it.
#[test]
fn phases_grow_narrower() {
    pinned();
    let zero = [0; 6];
    for (earlier, later) in [
        (Phase::Attach, Phase::Observe),
        (Phase::Attach, Phase::Watch),
        (Phase::Observe, Phase::JudgeInThreads),
        (Phase::JudgeInThreads, Phase::Judge),
    ] {
        let (earlier, later) = (stack(earlier), stack(later));
        for (name, _) in syscalls::calls(arch()) {
            let [before, after] = [verdict(&earlier, name, zero), verdict(&later, name, zero)];
            assert!(matches!(after, Action::Allow | REFUSED | Action::KillProcess), "{name}: {after}");
            assert!(before == Action::Allow || after != Action::Allow, "{name}: {before}, then {after}");
        }
    }
}

#[test]
fn other_architectures_and_x32_kill() {
    for phase in Phase::ALL {
        let stack = stack(phase);
        let of = |arch: u32, nr: u32| run_stack(&stack, &SeccompData { nr, arch, ip: 0, args: [0; 6] });
        let own = arch().audit_token();
        for other in Arch::all().map(Arch::audit_token).filter(|token| *token != own) {
            assert_eq!(of(other, 4), Action::KillProcess, "{phase:?} {other:#x}");
        }
        if cfg!(target_arch = "x86_64") {
            assert_eq!(of(own, 0x4000_0000), Action::KillProcess, "{phase:?}: x32 read");
        }
        assert_eq!(of(own, 0x3fff_ffff), REFUSED, "{phase:?}");
    }
}

#[test]
fn nothing_that_is_pinned_can_be_changed() {
    let [name, _] = pinned();
    let end = pinned::Pinned::end();
    for phase in Phase::ALL {
        let stack = stack(phase);
        for below in [0, 4096, name & !0xfff, end - 4096, 1 << 56 | name, 0xff << 56 | end] {
            for (call, args) in [
                ("munmap", [below, 1 << 20, 0, 0, 0, 0]),
                ("mprotect", [below, 1 << 20, 3, 0, 0, 0]),
                ("madvise", [below, 1 << 20, 4, 0, 0, 0]),
                ("mremap", [below, 4096, 4096, 3, 1 << 32, 0]),
                ("mremap", [1 << 32, 4096, 4096, 3, below, 0]),
                ("mmap", [below, 1 << 20, 3, 0x32, 0, 0]),
            ] {
                assert_eq!(verdict(&stack, call, args), REFUSED, "{phase:?} {call} {args:x?}");
            }
        }
        for (call, args) in [
            ("munmap", [end, 4096, 0, 0, 0, 0]),
            ("mprotect", [end, 4096, 3, 0, 0, 0]),
            ("madvise", [1 << 46, 4096, 4, 0, 0, 0]),
            ("mremap", [end, 4096, 8192, 1, 0, 0]),
            ("mmap", [0, 4096, 3, 0x22, 0, 0]),
            ("mmap", [end, 4096, 3, 0x32, 0, 0]),
        ] {
            assert_eq!(verdict(&stack, call, args), Action::Allow, "{phase:?} {call} {args:x?}");
        }
        assert_eq!(verdict(&stack, "mmap", [0, 4096, 7, 0x22, 0, 0]), REFUSED);
        assert_eq!(verdict(&stack, "mprotect", [end, 4096, 4, 0, 0, 0]), REFUSED);
    }
}

#[test]
fn files_are_opened_for_reading_alone() {
    let [name, place] = pinned();
    for phase in Phase::ALL {
        let stack = stack(phase);
        let looks = if phase.looks() { Action::Allow } else { REFUSED };
        let open = |flags: i32| verdict(&stack, "openat", [0, 0, flags.cast_unsigned().into(), 0, 0, 0]);
        assert_eq!(open(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY | libc::O_PATH), looks);
        for flags in
            [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC, libc::O_TMPFILE | libc::O_RDWR]
        {
            assert_eq!(open(flags), REFUSED, "{phase:?} {flags:#x}");
            if syscalls::number(arch(), "open").is_some() {
                let older =
                    |flags: i32| verdict(&stack, "open", [0, flags.cast_unsigned().into(), 0, 0, 0, 0]);
                assert_eq!([older(flags), older(libc::O_PATH)], [REFUSED, looks], "{phase:?} {flags:#x}");
            }
        }
        let way = pinned::pinned().and_then(|pinned| pinned.ways().next()).expect("one");
        assert_eq!(verdict(&stack, "openat2", [3, 1 << 40, way, 24, 0, 0]), looks, "{phase:?}");
        for other in [way + 8, way | 1 << 32, 0, 1 << 40] {
            assert_eq!(verdict(&stack, "openat2", [3, 1 << 40, other, 24, 0, 0]), REFUSED, "{phase:?}");
        }
        let here = 0xffff_ff9c;
        let rename = |args: [u64; 4]| verdict(&stack, "renameat", [args[0], args[1], args[2], args[3], 0, 0]);
        assert_eq!(rename([here, name, here, place]), Action::Allow, "{phase:?}");
        for others in [[3, name, here, place], [here, name + 1, here, place], [here, place, here, name]] {
            assert_eq!(rename(others), REFUSED, "{phase:?} {others:x?}");
        }
        assert_eq!(verdict(&stack, "unlinkat", [here, name, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(verdict(&stack, "unlinkat", [here, place, 0, 0, 0, 0]), REFUSED);
        assert_eq!(verdict(&stack, "unlinkat", [here, name, 0x200, 0, 0, 0]), REFUSED);
    }
}

#[test]
fn threads_and_no_programs() {
    for phase in Phase::ALL {
        let stack = stack(phase);
        let threads = matches!(phase, Phase::Observe | Phase::Attach | Phase::JudgeInThreads);
        let expected = |allowed| if allowed { Action::Allow } else { REFUSED };
        // What glibc's pthread_create passes, and fork.
        assert_eq!(verdict(&stack, "clone", [0x003d_0f00, 1, 2, 3, 4, 0]), expected(threads), "{phase:?}");
        assert_eq!(verdict(&stack, "clone", [0x0120_0011; 6]), expected(phase.observes()), "{phase:?}");
        for namespaces in [0x0002_0000, 0x0400_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(verdict(&stack, "clone", [0x0120_0011 | namespaces; 6]), REFUSED, "{phase:?}");
        }
        assert_eq!(verdict(&stack, "clone3", [0; 6]), REFUSED, "{phase:?}");
        assert_eq!(verdict(&stack, "tgkill", [1, 1, 6, 0, 0, 0]), REFUSED, "{phase:?}");
        assert_eq!(verdict(&stack, "tgkill", [std::process::id().into(), 1, 6, 0, 0, 0]), Action::Allow);
        assert_ne!(verdict(&stack, "kill", [1; 6]), Action::Allow, "{phase:?}");
        for alarm in ["socket", "execve", "ptrace", "setns", "mount", "unshare"] {
            assert_eq!(verdict(&stack, alarm, [0; 6]), Action::KillProcess, "{phase:?} {alarm}");
        }
    }
}

#[test]
fn bpf_makes_no_program_and_no_map() {
    for phase in Phase::ALL {
        let stack = stack(phase);
        let commands: &[u64] = match phase {
            Phase::Attach => &[1, 2, 3, 15, 17, 28],
            Phase::Watch => &[1, 2, 3],
            Phase::Observe | Phase::Judge | Phase::JudgeInThreads => &[],
        };
        for command in 0..64 {
            let expected = if commands.contains(&command) { Action::Allow } else { Action::KillProcess };
            assert_eq!(verdict(&stack, "bpf", [command, 0, 0, 0, 0, 0]), expected, "{phase:?} {command}");
        }
    }
}

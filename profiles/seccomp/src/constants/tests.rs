use super::*;

#[path = "linux_raw_sys.rs"]
mod linux_raw_sys_list;
use super::ConstantSet;

#[test]
fn rows_stand_in_the_order_of_the_type_and_are_consistent() {
    for (index, row) in table::ROWS.iter().enumerate() {
        assert_eq!(row.set as usize, index, "{:?}", row.set);
        assert!(row.values.is_sorted_by_key(|v| v.0) && row.flags.is_sorted_by_key(|v| v.0), "{:?}", row.set);
        assert!(!row.values.is_empty() || !row.flags.is_empty(), "{:?}", row.set);
        assert!(row.flags.iter().all(|(bits, _)| bits & row.field == 0), "{:?}", row.set);
        let mut names: Vec<&str> = row.set.constants().map(|(_, name)| name).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b), "{:?} has a name twice", row.set);
    }
}

#[test]
fn names_and_values_are_inverse() {
    for set in ConstantSet::all() {
        for (number, text) in set.constants() {
            assert_eq!(value(set, text), Some(number), "{set:?} {text}");
            let back = name(set, number).unwrap();
            assert_eq!(value(set, &back), Some(number), "{set:?} {text} {back}");
        }
    }
}

/// A second generator, bindgen over the same headers, found the same values.
#[test]
fn linux_raw_sys_agrees() {
    for (set, text, theirs) in linux_raw_sys_list::LIST {
        assert_eq!(value(set, text), Some(theirs.into()), "{set:?} {text}");
    }
    assert!(linux_raw_sys_list::LIST.len() > 500, "{}", linux_raw_sys_list::LIST.len());
}

/// And so did libc's authors, by hand.
#[test]
fn libc_agrees() {
    macro_rules! same {
        ($set:ident: $($name:ident)*) => {
            $(assert_eq!(
                value(ConstantSet::$set, stringify!($name)).map(|v| v & 0xffff_ffff),
                Some(libc::$name as u64 & 0xffff_ffff),
                stringify!($name)
            );)*
        };
    }
    same!(AddressFamily: AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_RDS AF_CAN AF_TIPC AF_ALG AF_VSOCK AF_XDP);
    same!(SocketType: SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_SEQPACKET SOCK_CLOEXEC SOCK_NONBLOCK);
    same!(CloneFlags: CLONE_VM CLONE_THREAD CLONE_NEWNS CLONE_NEWUSER CLONE_NEWNET CLONE_NEWPID CLONE_NEWCGROUP SIGCHLD);
    same!(Personality: ADDR_NO_RANDOMIZE READ_IMPLIES_EXEC MMAP_PAGE_ZERO UNAME26);
    same!(PrctlOption: PR_SET_NAME PR_SET_SECCOMP PR_CAPBSET_DROP PR_SET_NO_NEW_PRIVS PR_SET_MM PR_SET_PTRACER PR_CAP_AMBIENT);
    same!(OpenFlags: O_RDWR O_CREAT O_TRUNC O_CLOEXEC O_NOFOLLOW O_PATH O_TMPFILE O_DIRECTORY);
    same!(MmapFlags: MAP_SHARED MAP_PRIVATE MAP_FIXED MAP_ANONYMOUS MAP_HUGETLB MAP_FIXED_NOREPLACE);
    same!(FcntlCommand: F_DUPFD F_GETFL F_SETFL F_SETOWN F_OFD_SETLK F_ADD_SEALS F_SETPIPE_SZ);
    same!(PtraceRequest: PTRACE_TRACEME PTRACE_ATTACH PTRACE_SEIZE PTRACE_POKEDATA PTRACE_GETREGSET);
    same!(KeyctlOperation: KEYCTL_JOIN_SESSION_KEYRING KEYCTL_READ KEYCTL_SETPERM KEYCTL_INVALIDATE);
    same!(Madvice: MADV_DONTNEED MADV_HUGEPAGE MADV_HWPOISON MADV_FREE);
    same!(MountFlags: MS_RDONLY MS_BIND MS_REC MS_REMOUNT MS_PRIVATE MS_SHARED MS_MOVE);
    same!(UmountFlags: MNT_DETACH MNT_FORCE UMOUNT_NOFOLLOW);
    same!(SeccompFlags: SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_NEW_LISTENER);
    same!(IoctlRequest: TIOCSTI TIOCLINUX TIOCGWINSZ FIONREAD TCGETS TIOCSCTTY TIOCNOTTY);
    same!(Resource: RLIMIT_NOFILE RLIMIT_NPROC RLIMIT_CORE RLIMIT_MEMLOCK);
    same!(MemfdFlags: MFD_CLOEXEC MFD_ALLOW_SEALING);
    same!(Signal: SIGKILL SIGSYS SIGUSR1);
}

#[test]
fn flags_and_values_are_joined() {
    use ConstantSet::*;
    let says = |set, value: u64, text: &str| assert_eq!(name(set, value).as_deref(), Some(text));
    says(OpenFlags, 0, "O_RDONLY");
    says(OpenFlags, 0o100 | 1 | 0o2000000, "O_WRONLY|O_CREAT|O_CLOEXEC");
    says(OpenFlags, 0x101000, "O_RDONLY|O_SYNC");
    says(SocketType, 0x80001, "SOCK_STREAM|SOCK_CLOEXEC");
    says(
        CloneFlags,
        0x3d0f00,
        "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS|CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID",
    );
    says(Personality, 0xffff_ffff, "query");
    says(Personality, 0x2_0008, "PER_LINUX32|UNAME26");
    says(MmapProt, 0, "PROT_NONE");
    says(MmapProt, 5, "PROT_READ|PROT_EXEC");
    says(FutexOperation, 0x80, "FUTEX_WAIT|FUTEX_PRIVATE_FLAG");
    says(MountFlags, 0x5000 | 1 << 40, "MS_BIND|MS_REC|0x10000000000");
    assert_eq!(name(NamespaceFlags, 0), None);
    assert_eq!(name(AddressFamily, u64::MAX), None);
    assert_eq!(mask(CloneFlags, 0x7e02_0000).unwrap().matches('|').count(), 6);
    assert_eq!(mask(CloneFlags, 0x1000_0001), None);
    assert_eq!(mask(OpenFlags, 3), None);
}

#[test]
fn texts_are_read() {
    use ConstantSet::*;
    assert_eq!(value(SocketType, "SOCK_RAW | SOCK_CLOEXEC"), Some(0x80003));
    assert_eq!(value(OpenFlags, "0x41|O_APPEND"), Some(0x441));
    assert_eq!(value(OpenFlags, "0644"), Some(0o644));
    assert_eq!(value(Whence, "-1"), Some(u64::MAX));
    for bad in [
        "",
        "|",
        "O_CREAT|",
        "o_creat",
        "0x",
        "1x",
        "99999999999999999999",
        "-9223372036854775809",
        "+1",
        "0x+1",
        "--1",
    ] {
        assert_eq!(value(OpenFlags, bad), None, "{bad:?}");
    }
    assert_eq!(nearest(AddressFamily, "AF_INTE"), Some("AF_INET"));
}

#[test]
fn sets_of_one_architecture_say_so() {
    assert!(ConstantSet::AddressFamily.holds_on(Arch::Mips));
    assert!(!ConstantSet::OpenFlags.holds_on(Arch::Aarch64));
    assert!(ConstantSet::OpenFlags.holds_on(Arch::X86) && ConstantSet::OpenFlags.holds_on(Arch::S390x));
    assert!(ConstantSet::CloneFlags.holds_on(Arch::Aarch64) && !ConstantSet::CloneFlags.holds_on(Arch::Mips));
    assert!(
        !ConstantSet::IoctlRequest.holds_on(Arch::Ppc64le) && !ConstantSet::PtraceRequest.holds_on(Arch::Arm)
    );
}

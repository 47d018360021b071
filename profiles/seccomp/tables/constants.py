#!/usr/bin/env python3
"""Writes src/constants/table.rs: the constants that system call arguments take, by name and value (x86-64).

The facts are the headers that programs are compiled with: the kernel's (`linux-libc-dev`, unpacked with `dpkg-deb -x` into HEADERS)
and, where only libc names a thing, glibc's. The compiler evaluates them; two names of one value in one set stop the script unless
one is declared an alias.

    profiles/seccomp/tables/constants.py HEADERS > profiles/seccomp/src/constants/table.rs
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ALL = (1 << 64) - 1


class Set:
    """One set. `values` are exclusive and live in the bits of `field`; `flags` are bits outside of it."""

    def __init__(self, name, doc, headers, values=None, flags=None, drop=None, alias=None, field=None, keep=None,
                 scope="Everywhere", exact=(), auto=False):
        self.name, self.doc, self.headers = name, doc, headers.split()
        self.values, self.flags, self.drop, self.alias = values, flags, drop, alias
        self.field = field if field is not None else (0 if values is None else ALL)
        self.keep, self.scope, self.exact, self.auto = keep, scope, exact, auto


IOCTL = ("asm/ioctls.h linux/sockios.h linux/fs.h linux/loop.h linux/if_tun.h linux/userfaultfd.h linux/kvm.h linux/nsfs.h"
         " linux/pidfd.h linux/seccomp.h linux/random.h linux/fuse.h linux/vhost.h linux/dm-ioctl.h linux/perf_event.h"
         " linux/fscrypt.h linux/fsverity.h linux/blkzoned.h linux/tiocl.h linux/vt.h linux/kd.h linux/watchdog.h linux/uinput.h"
         " linux/input.h linux/if_tunnel.h linux/vfio.h linux/iommufd.h")
SETS = [
    Set("AddressFamily", "Address families (socket(2))", "sys/socket.h", r"AF_\w+", drop="AF_MAX", alias="AF_LOCAL|AF_FILE|AF_ROUTE"),
    Set("SocketType", "Socket types and their flags (socket(2))", "sys/socket.h", "SOCK_(STREAM|DGRAM|RAW|RDM|SEQPACKET|DCCP|PACKET)",
        "SOCK_(CLOEXEC|NONBLOCK)", field=0xf, scope="NotMips"),
    Set("SocketCall", "Operations of socketcall(2)", "linux/net.h", "SYS_[A-Z0-9]+"),
    Set("IpcCall", "Operations of ipc(2)", "linux/ipc.h", "(SEM|MSG|SHM)(OP|GET|CTL|TIMEDOP|SND|RCV|AT|DT)"),
    Set("IpcControl", "Commands of semctl(2), msgctl(2) and shmctl(2)", "linux/ipc.h", "IPC_(RMID|SET|STAT|INFO)", "IPC_64", field=0xff),
    Set("IpcFlags", "Flags of semget(2), msgget(2) and shmget(2)", "linux/ipc.h", None, "IPC_(CREAT|EXCL|NOWAIT)"),
    Set("CloneFlags", "Flags of clone(2), with the exit signal in the low byte", "linux/sched.h asm/signal.h", "SIG[A-Z0-9]+",
        r"CLONE_\w+", drop="CLONE_NEWTIME|CLONE_ARGS.*|SIGRTM.*|SIGSTKSZ|SIGUNUSED|SIGEV.*", alias="SIGIOT|SIGPOLL", field=0xff,
        keep=1 << 32, scope="NotMips"),
    Set("NamespaceFlags", "Flags of unshare(2) and setns(2)", "linux/sched.h", None,
        "CLONE_(NEW[A-Z]+|VM|FS|FILES|SIGHAND|THREAD|SYSVSEM)"),
    Set("Personality", "Execution domains and their flags (personality(2))", "linux/personality.h",
        "PER_(LINUX|SVR4|SVR3|SCOSVR3|OSR5|WYSEV386|ISCR4|BSD|SUNOS|XENIX|LINUX32|IRIX32|IRIXN32|IRIX64|RISCOS|SOLARIS|UW7|OSF4|HPUX)",
        "UNAME26|ADDR_NO_RANDOMIZE|FDPIC_FUNCPTRS|MMAP_PAGE_ZERO|ADDR_COMPAT_LAYOUT|READ_IMPLIES_EXEC|ADDR_LIMIT_32BIT|SHORT_INODE"
        "|WHOLE_SECONDS|STICKY_TIMEOUTS|ADDR_LIMIT_3GB", field=0xff, exact=[(0xffff_ffff, "query")]),
    Set("PrctlOption", "Options of prctl(2)", "linux/prctl.h", r"PR_\w+",
        drop="PR_(SET_MM_|PPC_DEXCR_|FP_EXC|FP_MODE|TIMING|ENDIAN|UNALIGN|FPEMU|TSC_|MCE_|SPEC_|MTE_|TAGGED|CAP_AMBIENT_|PAC_AP|SVE_VL|SME_VL"
        "|SCHED_CORE_(GET|CREATE|SHARE_TO|SHARE_FROM|SCOPE|MAX)|MDWE|SET_VMA_|RISCV_V_VSTATE|RISCV_CTX|RISCV_SCOPE|DEXCR_ARCH|PMLEN"
        "|SYS_DISPATCH|SET_PTRACER_ANY|KSM_|SHADOW_STACK|THP_DISABLE_EXCEPT|FUTEX_HASH_|TIMER_CREATE_RESTORE_IDS_|CFI_|BRANCH|RSEQ_SLICE_EXT_|RSEQ_SLICE_EXTENSION_).*"
        "|PR_SVE_SET_VL_ONEXEC|PR_SME_SET_VL_ONEXEC", alias="x"),
    Set("ArchPrctlOption", "Options of arch_prctl(2)", "asm/prctl.h", r"ARCH_\w+", drop="ARCH_SHSTK_(SHSTK|WRSS)|ARCH_XCOMP_TILE.*", scope="X86"),
    Set("OpenFlags", "Flags of open(2): access mode and the rest", "linux/fcntl.h", "O_(RDONLY|WRONLY|RDWR)", r"O_\w+",
        drop="O_ACCMODE", alias="O_NDELAY", field=3, scope="Open"),
    Set("DescriptorFlags", "Flags of pipe2(2), dup3(2) and their like", "linux/fcntl.h", None, "O_(CLOEXEC|NONBLOCK|DIRECT|EXCL)", scope="Open"),
    Set("FcntlCommand", "Commands of fcntl(2)", "linux/fcntl.h", r"F_\w+",
        drop="F_(RDLCK|WRLCK|UNLCK|EXLCK|SHLCK|LINUX_SPECIFIC_BASE|SEAL_.*|OWNER_.*)", scope="NotMips"),
    Set("MmapProt", "Protections of mmap(2) and mprotect(2)", "linux/mman.h", None, r"PROT_(READ|WRITE|EXEC|SEM|GROWSDOWN|GROWSUP)",
        exact=[(0, "PROT_NONE")], scope="NotMips"),
    Set("MmapFlags", "Flags of mmap(2)", "linux/mman.h", "MAP_(SHARED|PRIVATE|SHARED_VALIDATE|DROPPABLE)", r"MAP_[A-Z0-9_]+",
        drop=r"MAP_TYPE|MAP_FILE|MAP_HUGE_.*", field=0xf, scope="NotMipsPower"),
    Set("MremapFlags", "Flags of mremap(2)", "linux/mman.h", None, r"MREMAP_\w+"),
    Set("MsyncFlags", "Flags of msync(2)", "asm/mman.h", None, "MS_(ASYNC|INVALIDATE|SYNC)", scope="NotMips"),
    Set("MlockFlags", "Flags of mlock2(2)", "asm/mman.h", None, r"MLOCK_\w+"),
    Set("MlockallFlags", "Flags of mlockall(2)", "asm/mman.h", None, r"MCL_\w+", scope="NotMipsPower"),
    Set("Madvice", "Advice of madvise(2)", "asm/mman.h", r"MADV_\w+", scope="NotMips"),
    Set("Fadvice", "Advice of posix_fadvise(2)", "linux/fadvise.h", r"POSIX_FADV_\w+"),
    Set("KeyctlOperation", "Operations of keyctl(2)", "linux/keyctl.h", r"KEYCTL_\w+", drop="KEYCTL_(CAPS|SUPPORTS|MOVE_EXCL).*"),
    Set("PtraceRequest", "Requests of ptrace(2)", "linux/ptrace.h asm/ptrace-abi.h", r"PTRACE_\w+",
        drop="PTRACE_(EVENT_|O_|PEEKSIGINFO_SHARED|SYSCALL_INFO_|EVENTMSG_).*", scope="X86"),
    Set("BpfCommand", "Commands of bpf(2)", "linux/bpf.h", "enum:bpf_cmd", alias="BPF_PROG_RUN", drop="__MAX_BPF_CMD|BPF_PROG_RUN_OPTS"),
    Set("MountFlags", "Flags of mount(2)", "linux/mount.h", None, r"MS_\w+", drop="MS_RMT_MASK|MS_MGC_MSK|MS_VERBOSE"),
    Set("UmountFlags", "Flags of umount2(2)", "sys/mount.h", None, "MNT_(FORCE|DETACH|EXPIRE)|UMOUNT_NOFOLLOW"),
    Set("OpenTreeFlags", "Flags of open_tree(2)", "linux/mount.h linux/fcntl.h", None,
        "OPEN_TREE_(CLONE|CLOEXEC|NAMESPACE)|AT_(EMPTY_PATH|NO_AUTOMOUNT|SYMLINK_NOFOLLOW|RECURSIVE)", scope="NotMips"),
    Set("MoveMountFlags", "Flags of move_mount(2)", "linux/mount.h", None, r"MOVE_MOUNT_\w+", drop="MOVE_MOUNT__MASK"),
    Set("FsopenFlags", "Flags of fsopen(2)", "linux/mount.h", None, r"FSOPEN_\w+"),
    Set("FspickFlags", "Flags of fspick(2)", "linux/mount.h", None, r"FSPICK_\w+"),
    Set("FsconfigCommand", "Commands of fsconfig(2)", "linux/mount.h", "enum:fsconfig_command"),
    Set("FsmountFlags", "Flags of fsmount(2)", "linux/mount.h", None, r"FSMOUNT_\w+"),
    Set("MountAttributes", "Attributes of fsmount(2)", "linux/mount.h", "MOUNT_ATTR_(RELATIME|NOATIME|STRICTATIME)",
        "MOUNT_ATTR_(RDONLY|NOSUID|NODEV|NOEXEC|NODIRATIME|IDMAP|NOSYMFOLLOW)", field=0x70),
    Set("AtFlags", "Flags of the calls whose names end in at", "linux/fcntl.h", None,
        "AT_(SYMLINK_NOFOLLOW|SYMLINK_FOLLOW|NO_AUTOMOUNT|EMPTY_PATH|RECURSIVE|STATX_FORCE_SYNC|STATX_DONT_SYNC)"),
    Set("UnlinkFlags", "Flags of unlinkat(2)", "linux/fcntl.h", None, "AT_REMOVEDIR"),
    Set("AccessFlags", "Flags of faccessat2(2)", "linux/fcntl.h", None, "AT_(EACCESS|SYMLINK_NOFOLLOW|EMPTY_PATH)"),
    Set("StatxMask", "Fields of statx(2)", "linux/stat.h", None, r"STATX_\w+", drop="STATX_(ATTR_|BASIC|ALL|_RES).*"),
    Set("AccessMode", "Modes of access(2)", "unistd.h", None, "(R|W|X)_OK", exact=[(0, "F_OK")]),
    Set("RenameFlags", "Flags of renameat2(2)", "linux/fs.h", None, "RENAME_(NOREPLACE|EXCHANGE|WHITEOUT)"),
    Set("XattrFlags", "Flags of setxattr(2)", "linux/xattr.h", None, "XATTR_(CREATE|REPLACE)"),
    Set("SeccompOperation", "Operations of seccomp(2)", "linux/seccomp.h", r"SECCOMP_(SET_MODE|GET)_\w+"),
    Set("SeccompFlags", "Flags of seccomp(2)", "linux/seccomp.h", None, r"SECCOMP_FILTER_FLAG_\w+"),
    Set("FutexOperation", "Operations of futex(2)", "linux/futex.h",
        "FUTEX_(WAIT|WAKE|FD|REQUEUE|CMP_REQUEUE|WAKE_OP|LOCK_PI|UNLOCK_PI|TRYLOCK_PI|WAIT_BITSET|WAKE_BITSET|WAIT_REQUEUE_PI"
        "|CMP_REQUEUE_PI|LOCK_PI2)", "FUTEX_(PRIVATE_FLAG|CLOCK_REALTIME)", field=0x7f),
    Set("Signal", "Signals", "asm/signal.h", "SIG[A-Z0-9]+", drop="SIGRTM.*|SIGSTKSZ|SIGUNUSED|SIGEV.*", alias="SIGIOT|SIGPOLL", scope="NotMips"),
    Set("SignalMaskHow", "How sigprocmask(2) changes the mask", "asm/signal.h", "SIG_(BLOCK|UNBLOCK|SETMASK)", scope="NotMips"),
    Set("SocketLevel", "Levels of setsockopt(2)", "sys/socket.h netinet/in.h netinet/tcp.h netinet/udp.h linux/netlink.h",
        "SOL_[A-Z0-9]+", scope="NotMips"),
    Set("MessageFlags", "Flags of send(2) and recv(2)", "sys/socket.h", None, r"MSG_\w+", alias="MSG_TRYHARD"),
    Set("ShutdownHow", "How shutdown(2) closes", "sys/socket.h", "SHUT_(RD|WR|RDWR)"),
    Set("Clock", "Clocks", "linux/time.h", "CLOCK_[A-Z_]+"),
    Set("TimerFlags", "Flags of timer_settime(2) and timerfd_settime(2)", "linux/timerfd.h linux/time.h", None, "TFD_TIMER_(ABSTIME|CANCEL_ON_SET)"),
    Set("TimerfdFlags", "Flags of timerfd_create(2)", "linux/fcntl.h linux/timerfd.h", None, "TFD_(CLOEXEC|NONBLOCK)", scope="NotMips"),
    Set("Resource", "Resources of setrlimit(2)", "linux/resource.h", "RLIMIT_[A-Z]+", scope="NotMips"),
    Set("Whence", "Where lseek(2) counts from", "linux/fs.h", "SEEK_(SET|CUR|END|DATA|HOLE)"),
    Set("EventfdFlags", "Flags of eventfd(2)", "sys/eventfd.h", None, r"EFD_\w+", scope="NotMips"),
    Set("EpollFlags", "Flags of epoll_create1(2)", "linux/fcntl.h linux/eventpoll.h", None, "EPOLL_CLOEXEC", scope="NotMips"),
    Set("EpollOperation", "Operations of epoll_ctl(2)", "linux/eventpoll.h", r"EPOLL_CTL_\w+"),
    Set("InotifyFlags", "Flags of inotify_init1(2)", "sys/inotify.h", None, "IN_(CLOEXEC|NONBLOCK)", scope="NotMips"),
    Set("InotifyMask", "Events of inotify_add_watch(2)", "linux/inotify.h", None, r"IN_\w+", drop="IN_(CLOEXEC|NONBLOCK|CLOSE|MOVE|ALL_EVENTS)"),
    Set("SignalfdFlags", "Flags of signalfd(2)", "linux/fcntl.h linux/signalfd.h", None, r"SFD_\w+", scope="NotMips"),
    Set("MemfdFlags", "Flags of memfd_create(2)", "linux/memfd.h", None, r"MFD_\w+", drop="MFD_HUGE_.*"),
    Set("UserfaultfdFlags", "Flags of userfaultfd(2)", "linux/fcntl.h linux/userfaultfd.h", None, "O_(CLOEXEC|NONBLOCK)|UFFD_USER_MODE_ONLY", scope="NotMips"),
    Set("PerfFlags", "Flags of perf_event_open(2)", "linux/perf_event.h", None, r"PERF_FLAG_\w+"),
    Set("IoUringRegister", "Operations of io_uring_register(2)", "linux/io_uring.h", "enum:io_uring_register_op", drop="IORING_REGISTER_LAST"),
    Set("IoUringEnter", "Flags of io_uring_enter(2)", "linux/io_uring.h", None, r"IORING_ENTER_\w+"),
    Set("ModuleFlags", "Flags of finit_module(2)", "linux/module.h", None, r"MODULE_INIT_\w+"),
    Set("KexecFlags", "Flags of kexec_load(2)", "linux/kexec.h", None, "KEXEC_(ON_CRASH|PRESERVE_CONTEXT|UPDATE_ELFCOREHDR|CRASH_HOTPLUG_SUPPORT)"),
    Set("KexecFileFlags", "Flags of kexec_file_load(2)", "linux/kexec.h", None, r"KEXEC_FILE_\w+"),
    Set("RebootCommand", "Commands of reboot(2)", "linux/reboot.h", r"LINUX_REBOOT_CMD_\w+"),
    Set("SchedulingPolicy", "Policies of sched_setscheduler(2)", "linux/sched.h", "SCHED_(NORMAL|FIFO|RR|BATCH|ISO|IDLE|DEADLINE|EXT)",
        "SCHED_RESET_ON_FORK", field=0xff),
    Set("IoPriorityWho", "Whom ioprio_set(2) means", "linux/ioprio.h", "enum:", keep=None, exact=[(1, "IOPRIO_WHO_PROCESS"), (2, "IOPRIO_WHO_PGRP"), (3, "IOPRIO_WHO_USER")]),
    Set("PriorityWhich", "Whom setpriority(2) means", "linux/resource.h", "PRIO_(PROCESS|PGRP|USER)"),
    Set("WaitOptions", "Options of wait4(2) and waitid(2)", "linux/wait.h", None, "W(NOHANG|UNTRACED|EXITED|CONTINUED|NOWAIT)|__W(NOTHREAD|ALL|CLONE)"),
    Set("IdType", "Whom waitid(2) waits for", "linux/wait.h", "P_(ALL|PID|PGID|PIDFD)"),
    Set("IntervalTimer", "Timers of setitimer(2)", "linux/time.h", "ITIMER_(REAL|VIRTUAL|PROF)"),
    Set("MembarrierCommand", "Commands of membarrier(2)", "linux/membarrier.h", "enum:membarrier_cmd", alias="MEMBARRIER_CMD_SHARED"),
    Set("PidfdFlags", "Flags of pidfd_open(2)", "linux/pidfd.h", None, "PIDFD_(NONBLOCK|THREAD)", scope="NotMips"),
    Set("PidfdSignalFlags", "Flags of pidfd_send_signal(2)", "linux/pidfd.h", None, r"PIDFD_SIGNAL_\w+"),
    Set("CloseRangeFlags", "Flags of close_range(2)", "linux/close_range.h", None, r"CLOSE_RANGE_\w+"),
    Set("LandlockRuleType", "Kinds of Landlock rules", "linux/landlock.h", "enum:landlock_rule_type"),
    Set("FallocateMode", "Modes of fallocate(2)", "linux/falloc.h", None, r"FALLOC_FL_\w+"),
    Set("SpliceFlags", "Flags of splice(2)", "fcntl.h", None, r"SPLICE_F_\w+"),
    Set("SyncRangeFlags", "Flags of sync_file_range(2)", "linux/fs.h", None, "SYNC_FILE_RANGE_(WAIT_BEFORE|WRITE|WAIT_AFTER)"),
    Set("RandomFlags", "Flags of getrandom(2)", "linux/random.h", None, r"GRND_\w+"),
    Set("ReadWriteFlags", "Flags of preadv2(2) and pwritev2(2)", "linux/fs.h", None, r"RWF_\w+", drop="RWF_SUPPORTED"),
    Set("FanotifyInit", "Flags of fanotify_init(2)", "linux/fanotify.h", "FAN_CLASS_(NOTIF|CONTENT|PRE_CONTENT)",
        "FAN_(CLOEXEC|NONBLOCK|UNLIMITED_QUEUE|UNLIMITED_MARKS|ENABLE_AUDIT|REPORT_PIDFD|REPORT_TID|REPORT_FID|REPORT_DIR_FID|REPORT_NAME"
        "|REPORT_TARGET_FID|REPORT_FD_ERROR|REPORT_MNT)", field=0xc),
    Set("FanotifyMark", "Flags of fanotify_mark(2)", "linux/fanotify.h", None, "FAN_MARK_(ADD|REMOVE|DONT_FOLLOW|ONLYDIR|MOUNT|IGNORED_MASK"
        "|IGNORED_SURV_MODIFY|FLUSH|FILESYSTEM|EVICTABLE|IGNORE)"),
    Set("MemoryPolicy", "Modes of set_mempolicy(2)", "linux/mempolicy.h", "enum:", exact=[(0, "MPOL_DEFAULT"), (1, "MPOL_PREFERRED"), (2, "MPOL_BIND"),
        (3, "MPOL_INTERLEAVE"), (4, "MPOL_LOCAL"), (5, "MPOL_PREFERRED_MANY"), (6, "MPOL_WEIGHTED_INTERLEAVE")], flags=r"MPOL_F_(STATIC_NODES|RELATIVE_NODES|NUMA_BALANCING)", field=0xff),
    Set("KcmpType", "What kcmp(2) compares", "linux/kcmp.h", "enum:kcmp_type", drop="KCMP_TYPES"),
    Set("FlockOperation", "Operations of flock(2)", "linux/fcntl.h", "LOCK_(SH|EX|UN|MAND)", "LOCK_NB", field=0xffff_fffb),
    Set("IoctlRequest", "Requests of ioctl(2), the ones that profiles speak of", IOCTL,
        r"TIOC\w+|TC[GSX]\w+|FIO\w+|SIOC\w+|FS_IOC\w*|FI(CLONE|DEDUPE|FREEZE|THAW|TRIM|BMAP|GETBSZ)\w*|BLK\w+|LOOP_\w+|TUN[SG]\w+|UFFDIO_\w+"
        r"|KVM_[A-Z_0-9]+|NS_[A-Z_]+|PIDFD_GET_\w+|SECCOMP_IOCTL_\w+|RND\w+|FUSE_DEV_IOC\w+|VHOST_\w+|DM_[A-Z_]+|PERF_EVENT_IOC_\w+|VT_\w+|KD\w+"
        r"|VFIO_[A-Z_]+|EVIOC\w+|UI_[A-Z_]+",
        drop=r"SIOC(DEVPRIVATE|PROTOPRIVATE)|TIOCPKT_\w+|TIOCSER_TEMT|TIOCM_\w+|TIOCL_\w+|BLK_\w+|\w+_OLD|KVM_(CAP|REG|EXIT|MAX)_\w+|\w*_FLAGS?(_\w+)?|\w+_(PAGE_SIZE|BITMAP\w*|PAGES_SHIFT)|VFIO_DEVICE_FEATURE_.+|VFIO_\w+_MASK|DM_DEFERRED_REMOVE",
        auto=True, scope="NotMipsPower", keep="ioctl"),
]


def compile_values(headers, base, names):
    program = "#define _GNU_SOURCE\n" + "".join(f"#include <{h}>\n" for h in headers)
    program += "#include <stdio.h>\n" if "stdio.h" not in headers else ""
    program += "int main(void) {\n" + "".join(f'  printf("{n} %llu\\n", (unsigned long long)({n}));\n' for n in names) + "}\n"
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "values")
        run = subprocess.run(["gcc", "-x", "c", "-w", "-o", out, *base, "-"], input=program, capture_output=True, text=True,
                             env={**os.environ, "LC_ALL": "C"})
        if run.returncode:
            return None, run.stderr
        text = subprocess.run([out], capture_output=True, text=True, check=True).stdout
    return {n: int(v) for n, v in (line.split() for line in text.splitlines())}, None


def macros(headers, base):
    program = "#define _GNU_SOURCE\n" + "".join(f"#include <{h}>\n" for h in headers)
    text = subprocess.run(["gcc", "-x", "c", "-w", "-dM", "-E", *base, "-"], input=program, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^#define (\w+) +\S", text, re.M)
    full = subprocess.run(["gcc", "-x", "c", "-w", "-E", *base, "-"], input=program, capture_output=True, text=True, check=True).stdout
    return sorted(set(names)), full


def members(full, enum):
    if not enum:
        return []
    body = re.search(r"enum\s+" + enum + r"\s*\{(.*?)\}", full, re.S).group(1)
    body = "\n".join(line for line in body.splitlines() if not line.startswith("#"))
    return [re.split(r"[\s=]", part.strip())[0] for part in body.split(",") if part.strip()]


def read(a_set, base):
    names, full = macros(a_set.headers, base)
    names += [n for n in re.findall(r"\b([A-Z_][A-Z0-9_]+)\s*(?:=[^,}]*)?[,}\n]", full) if n not in names]
    names = sorted(set(names))

    def matching(pattern):
        if pattern is None:
            return []
        found = members(full, pattern[5:]) if pattern.startswith("enum:") else [n for n in names if re.fullmatch(pattern, n)]
        return [n for n in found if not (a_set.drop and re.fullmatch(a_set.drop, n))]

    values = matching(a_set.values)
    flags = [n for n in matching(a_set.flags) if n not in values]
    known, error = compile_values(a_set.headers, base, values + flags)
    if known is None:
        bad = set(re.findall(r"[‘'](\w+)[’'] undeclared", error)) | set(re.findall(r"identifier [‘'](\w+)[’']", error))
        values, flags = [n for n in values if n not in bad], [n for n in flags if n not in bad]
        known, error = compile_values(a_set.headers, base, values + flags)
        while known is None:  # ioctl macros with a type that user space does not have
            lines = {int(n) for n in re.findall(r"<stdin>:(\d+):", error)}
            first = len(a_set.headers) + (2 if "stdio.h" not in a_set.headers else 1) + 2
            both = values + flags
            gone = {both[n - first] for n in lines if 0 <= n - first < len(both)}
            if not gone:
                sys.exit(f"{a_set.name}: {error[:2000]}")
            values, flags = [n for n in values if n not in gone], [n for n in flags if n not in gone]
            known, error = compile_values(a_set.headers, base, values + flags)
    return settle(a_set, values, known, "values") + list(a_set.exact), settle(a_set, flags, known, "flags")


def settle(a_set, names, known, what):
    """(value, name) sorted, canonical name first among equal values."""
    pairs = []
    for name in names:
        value = known[name]
        if isinstance(a_set.keep, int) and value >= a_set.keep:
            continue
        if a_set.keep == "ioctl" and (value < 0x1000 or value > 0xffff_ffff or (name.startswith("KVM_") and value >> 8 & 0xff != 0xae)):
            continue
        if what == "flags" and value == 0:
            continue
        alias = bool(a_set.alias and re.fullmatch(a_set.alias, name))
        pairs.append((value, alias, name))
    pairs.sort()
    by_value = {}
    for value, alias, name in pairs:
        if not alias:
            by_value.setdefault(value, []).append(name)
    clashes = {hex(v): n for v, n in by_value.items() if len(n) > 1}
    if clashes and not a_set.auto:
        print(f"{a_set.name}: {what}: {clashes}", file=sys.stderr)
    if what == "flags" and not a_set.auto:
        for value, alias, name in pairs:
            if value & a_set.field and not alias:
                print(f"{a_set.name}: {name} {value:#x} lies in the field {a_set.field:#x}", file=sys.stderr)
    return [(value, name) for value, _, name in pairs]


def number(value):
    return str(value) if value < 4096 else f"{value:#x}"


# Modules of linux-raw-sys, the first that has a name is asked.
MODULES = ["general", "net", "prctl", "ptrace", "io_uring", "ioctl", "loop_device", "mempolicy"]


def check_list(crate, base):
    """What a second generator (bindgen, in the crate linux-raw-sys) made of the same headers, as Rust for a test."""
    homes = {}
    for module in MODULES:
        for name in re.findall(r"^pub const (\w+): u32 = ", (crate / f"src/x86_64/{module}.rs").read_text(), re.M):
            homes.setdefault(name, module)
    print("// Written by tables/constants.py --check-list; edit that, not this.")
    print("//! What the crate linux-raw-sys has of the sets' constants.")
    print("#![cfg_attr(rustfmt, rustfmt_skip)]\n")
    print("use linux_raw_sys::{" + ", ".join(sorted(MODULES)) + "};\n\nuse super::ConstantSet::{self, *};\n")
    rows = []
    for one in SETS:
        values, flags = read(one, base)
        rows += [f"    ({one.name}, \"{n}\", {homes[n]}::{n})," for v, n in values + flags if n in homes and v < 1 << 32]
    print(f"pub(super) static LIST: [(ConstantSet, &str, u32); {len(rows)}] = [")
    print("\n".join(rows) + "\n];")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headers", type=pathlib.Path, metavar="HEADERS")
    parser.add_argument("--check-list", type=pathlib.Path, metavar="DIR",
                        help="write the test's list of what the crate linux-raw-sys, unpacked in DIR, has too")
    args = parser.parse_args()
    include = args.headers / "usr/include"
    base = ["-isystem", str(include / "x86_64-linux-gnu"), "-isystem", str(include)]
    if args.check_list:
        return check_list(args.check_list, base)
    print("// Written by tables/constants.py; edit that, not this.")
    print("//! Constants of system call arguments, from the headers of the kernel and of glibc (x86-64).")
    print("#![cfg_attr(rustfmt, rustfmt_skip)]\n")
    print("use super::Scope::*;\nuse super::{Row, named};\n")
    print("/// A set of constants that an argument takes.")
    print("#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum ConstantSet {")
    for one in SETS:
        print(f"    /// {one.doc}.\n    {one.name},")
    print("}\n")
    rows = []
    for one in SETS:
        values, flags = read(one, base)
        if not values and not flags:
            print(f"{one.name}: empty", file=sys.stderr)
        values.sort(key=lambda p: p[0])
        text = lambda pairs: pairs and "named([" + ",".join(f'({number(v)},"{n}")' for v, n in pairs) + "])" or "[]"
        rows.append(f"    Row {{ set: ConstantSet::{one.name}, field: {one.field:#x}, scope: {one.scope}, "
                    f"values: &{text(values)}, flags: &{text(flags)} }},")
    print("/// One row for each set, in the order of [`ConstantSet`].")
    print(f"pub(super) static ROWS: [Row; {len(rows)}] = [")
    print("\n".join(rows) + "\n];")


if __name__ == "__main__":
    main()

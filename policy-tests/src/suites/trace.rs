//! `plim run --trace`: refusals made on purpose, each with its reason; and what is not refused is not told.
//!
//! Each row is one call of the witness (`try`); the trace of a whole container must be exactly the rows' expectations, in
//! their order.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench_trace::flood::flood;
use crate::{Ctx, Need, Outcome, Suite, Test, Weakening as W};

const NEEDS: &[Need] = &[
    Need::Plim,
    Need::Built("plim-run"),
    Need::Capability(39, "CAP_BPF"),
    Need::Kernel(5, 15),
    Need::File("/sys/kernel/btf/vmlinux"),
];

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "trace",
    tests: &[
        Test {
            name: "filters",
            says: "what the default profile refuses is told as seccomp, with the rule; what it allows is judged by the kernel",
            needs: NEEDS,
            red_under: &[W::NoSeccomp],
            run: filters,
        },
        Test {
            name: "thirty_two_bit_gate",
            says: "a filter's refusal through int 0x80 is told by the 32-bit table's names",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
                Need::Ia32,
            ],
            red_under: &[W::NoSeccomp],
            run: thirty_two_bit_gate,
        },
        Test {
            name: "actions",
            says: "ERRNO with any number, TRAP and KILL are told as seccomp, LOG not at all",
            needs: NEEDS,
            red_under: &[W::NoSeccomp],
            run: actions,
        },
        Test {
            name: "capabilities",
            says: "without a filter the missing capability is named",
            needs: NEEDS,
            red_under: &[W::SysAdmin],
            run: capabilities,
        },
        Test {
            name: "files",
            says: "a user who is no owner is told of the mode, not of a capability alone; read-only mounts are told",
            needs: NEEDS,
            red_under: &[W::AsRoot],
            run: files,
        },
        Test {
            name: "limits",
            says: "RLIMIT_NOFILE, RLIMIT_MEMLOCK and pids.max are told as limits",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
                Need::Controller("pids"),
            ],
            red_under: &[W::NoPids],
            run: limits,
        },
        Test {
            name: "attach",
            says: "a tracer that comes in the middle of a storm of calls and goes again tells the refused ones alone",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Built("plim-trace"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
                Need::Program("sh"),
                Need::Program("unshare"),
            ],
            red_under: &[W::NoSeccomp],
            run: attach,
        },
        Test {
            name: "flood",
            says: "refusals as fast as they can be made: each is told or counted as missed, in bounded memory, and the tracer ends at once",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Built("plim-trace"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
            ],
            red_under: &[W::NoSeccomp],
            run: flooded,
        },
    ],
};

/// A call of `try`; and what is told of it: call, errno (`-` for a signal), kind, and what is missing.
type Row = (&'static str, Option<[&'static str; 4]>);

/// Runs the rows in one container and compares the whole trace.
fn table(ctx: &Ctx, options: &[&str], rows: &[Row]) -> Result<()> {
    let mut words = vec!["try"];
    for (index, (call, _)) in rows.iter().enumerate() {
        if index > 0 {
            words.push("--");
        }
        words.extend(call.split(' '));
    }
    let (outcome, denials) = trace(ctx, options, &words)?;
    let verdicts = outcome.verdicts()?;
    let mut told = denials.iter();
    for ((call, expected), (_, verdict)) in rows.iter().zip(&verdicts) {
        let Some([syscall, errno, kind, missing]) = expected else { continue };
        // Not every kernel has modules, port access or kexec.
        if verdict == "ENOSYS" && *errno != "ENOSYS" {
            continue;
        }
        crate::same(call, verdict.as_str(), *errno)?;
        let denial = told.next().with_context(|| format!("{call}: not told; the trace: {denials:?}"))?;
        let text = |pointer: &str| denial.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        let missing_is = match *kind {
            "seccomp" => text("/cause/rule"),
            _ => text("/cause/capability"),
        };
        let got = [text("/syscall"), text("/errno"), text("/cause/kind")];
        let right = got == [*syscall, *errno, *kind] && missing_is.starts_with(missing);
        ensure!(right, "{call}: expected {expected:?}, got {got:?}: {denial}");
    }
    let rest: Vec<&Value> = told.collect();
    ensure!(rest.is_empty(), "told, and not refused: {rest:?}");
    Ok(())
}

/// Every denial that `plim run --trace` tells of one container.
fn trace(ctx: &Ctx, options: &[&str], words: &[&str]) -> Result<(Outcome, Vec<Value>)> {
    let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
    let file = dir.path().join("trace").display().to_string();
    let mut all = vec!["--trace", "--trace-format", "jsonl", "--trace-output", &file];
    all.extend(options);
    let outcome = ctx.plim(&all, words)?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("no trace: {outcome:?}"))?;
    let denials: Result<Vec<Value>> =
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect();
    Ok((outcome, denials?))
}

const DEFAULT: &str = "/defaultAction";

fn filters(ctx: &Ctx) -> Result<()> {
    let refused = |call, name| (call, Some([name, "EPERM", "seccomp", DEFAULT]));
    let rows: &[Row] = &[
        refused("unshare 0x20000", "unshare"),
        refused("unshare 0x10000000", "unshare"),
        refused("syscall 308 3 0", "setns"),
        refused("mount-tmpfs /tmp", "mount"),
        refused("umount /tmp", "umount2"),
        refused("syscall 155 s:/ s:/", "pivot_root"),
        refused("syscall 167 s:/x", "swapon"),
        refused("syscall 168 s:/x", "swapoff"),
        refused("syscall 169 0 0 0", "reboot"),
        refused("syscall 175 0 0 0", "init_module"),
        refused("syscall 176 s:x", "delete_module"),
        refused("syscall 313 3 s:x", "finit_module"),
        refused("syscall 246 0 0 0 0", "kexec_load"),
        refused("syscall 163 s:/x", "acct"),
        refused("syscall 321 0 m:128 128", "bpf"),
        refused("syscall 298 m:128 0 -1 -1 0", "perf_event_open"),
        refused("syscall 323 0", "userfaultfd"),
        refused("syscall 250 0 0", "keyctl"),
        refused("syscall 248 s:user s:x s:y 1 0", "add_key"),
        refused("syscall 172 3", "iopl"),
        refused("syscall 227 0 m:16", "clock_settime"),
        refused("syscall 135 0x40000", "personality"),
        refused("syscall 425 1 m:128", "io_uring_setup"),
        refused("syscall 430 s:tmpfs 0", "fsopen"),
        refused("sethostname x", "sethostname"),
        // Refused with another number, so that libc falls back.
        ("syscall 435 m:88 88", Some(["clone3", "ENOSYS", "seccomp", "/syscalls/"])),
        // Let through, and judged by the kernel.
        ("syscall 141 0 0 -5", Some(["setpriority", "EACCES", "capability", "CAP_SYS_NICE"])),
        ("udp 9", None),
        ("create /x y", None),
        ("chmod /x 0600", None),
        ("chown /x 1", None),
        ("socket 17 3", None),
        ("syscall 135 0", None),
        ("open /nowhere", None),
        ("write /proc/sys/kernel/hostname x", Some(["openat", "EROFS", "permission", "-"])),
    ];
    table(ctx, &[], rows)
}

fn thirty_two_bit_gate(ctx: &Ctx) -> Result<()> {
    let refused = |call, name| (call, Some([name, "EPERM", "seccomp", DEFAULT]));
    table(
        ctx,
        &[],
        &[
            refused("int80 21 s:x s:/tmp s:tmpfs 0 0", "mount"),
            refused("int80 310 0x20000", "unshare"),
            refused("int80 88 0 0 0", "reboot"),
            ("int80 20", None),
        ],
    )
}

fn actions(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
    let file = dir.path().join("profile.json");
    let rule = |name: &str, action: &str| json!({"names": [name], "action": action});
    let errno =
        |name: &str, errno: u32| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno});
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            errno("mount", 13), errno("setns", 38), errno("acct", 22), errno("vhangup", 151),
            {"names": ["alarm"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
             "args": [{"index": 0, "value": 100, "op": "SCMP_CMP_GE"}]},
            rule("swapon", "SCMP_ACT_TRAP"), rule("swapoff", "SCMP_ACT_KILL_PROCESS"),
            rule("reboot", "SCMP_ACT_KILL_THREAD"), rule("getpriority", "SCMP_ACT_LOG")
        ]
    });
    std::fs::write(&file, profile.to_string())?;
    let option = format!("seccomp={}", file.display());
    // The rules stand in the specification in the runtime's own order: only that one is named is looked at here.
    let (_, denials) = trace(
        ctx,
        &["--security-opt", &option],
        &[
            "try",
            "mount-tmpfs",
            "/tmp",
            "--",
            "syscall",
            "308",
            "3",
            "--",
            "syscall",
            "163",
            "s:/x",
            "--",
            "syscall",
            "153",
            "--",
            "syscall",
            "37",
            "99",
            "--",
            "syscall",
            "37",
            "100",
            "--",
            "syscall",
            "167",
            "s:/x",
            "--",
            "syscall",
            "168",
            "s:/x",
            "--",
            "syscall",
            "169",
            "0",
            "--",
            "syscall",
            "140",
            "0",
            "0",
        ],
    )?;
    let got: Vec<String> = denials
        .iter()
        .map(|denial| {
            let text = |pointer: &str| denial.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
            let rule = text("/cause/rule").split_inclusive('/').take(2).collect::<String>();
            format!("{} {} {} {rule}", text("/syscall"), text("/errno"), text("/cause/kind"))
        })
        .collect();
    let expected = [
        "mount EACCES seccomp /syscalls/",
        "setns ENOSYS seccomp /syscalls/",
        "acct EINVAL seccomp /syscalls/",
        "vhangup 151 seccomp /syscalls/",
        "alarm EPERM seccomp /syscalls/",
        "swapon - seccomp /syscalls/",
        "swapoff - seccomp /syscalls/",
        "reboot - seccomp /syscalls/",
    ];
    crate::same("the trace", got, expected.map(str::to_owned).to_vec())
}

fn capabilities(ctx: &Ctx) -> Result<()> {
    let lacks = |call, name, capability| (call, Some([name, "EPERM", "capability", capability]));
    let rows: &[Row] = &[
        lacks("socket 17 3", "socket", "CAP_NET_RAW"),
        lacks("socket 2 3 1", "socket", "CAP_NET_RAW"),
        lacks("chroot /", "chroot", "CAP_SYS_CHROOT"),
        lacks("setuid 5", "setuid", "CAP_SETUID"),
        lacks("syscall 106 5", "setgid", "CAP_SETGID"),
        lacks("syscall 116 0 0", "setgroups", "CAP_SETGID"),
        lacks("sethostname x", "sethostname", "CAP_SYS_ADMIN"),
        lacks("syscall 171 s:x 1", "setdomainname", "CAP_SYS_ADMIN"),
        lacks("mount-tmpfs /tmp", "mount", "CAP_SYS_ADMIN"),
        lacks("umount /proc", "umount2", "CAP_SYS_ADMIN"),
        lacks("syscall 155 s:/ s:/", "pivot_root", "CAP_SYS_ADMIN"),
        lacks("unshare 0x20000", "unshare", "CAP_SYS_ADMIN"),
        lacks("unshare 0x40000000", "unshare", "CAP_SYS_ADMIN"),
        lacks("syscall 56 0x20000011", "clone", "CAP_SYS_ADMIN"),
        lacks("syscall 167 s:/x 0", "swapon", "CAP_SYS_ADMIN"),
        lacks("mknod /y c 1 3", "mknodat", "CAP_MKNOD"),
        lacks("syscall 163 s:/x", "acct", "CAP_SYS_PACCT"),
        lacks("syscall 227 0 m:16", "clock_settime", "CAP_SYS_TIME"),
        lacks("syscall 175 0 0 0", "init_module", "CAP_SYS_MODULE"),
        lacks("syscall 172 3", "iopl", "CAP_SYS_RAWIO"),
        lacks("syscall 173 0 1 1", "ioperm", "CAP_SYS_RAWIO"),
        lacks("syscall 246 0 0 0 0", "kexec_load", "CAP_SYS_BOOT"),
        lacks("syscall 169 0xfee1dead 672274793 0", "reboot", "CAP_SYS_BOOT"),
        lacks("syscall 153", "vhangup", "CAP_SYS_TTY_CONFIG"),
        lacks("syscall 157 24 5", "prctl", "CAP_SETPCAP"),
        lacks("syscall 251 1 0 0x2000", "ioprio_set", "CAP_SYS_NICE"),
        lacks("syscall 103 5 0 0", "syslog", "CAP_SYSLOG"),
        ("syscall 141 0 0 -5", Some(["setpriority", "EACCES", "capability", "CAP_SYS_NICE"])),
        ("create /z y", None),
        lacks("chown /z 1", "fchownat", "CAP_CHOWN"),
        ("udp 9", None),
        ("syscall 57", None),
        ("syscall 149 m:4096 4096", None),
    ];
    table(ctx, &["--cap-drop", "ALL", "--security-opt", "seccomp=unconfined"], rows)
}

fn files(ctx: &Ctx) -> Result<()> {
    let rows: &[Row] = &[
        ("create /x y", Some(["openat", "EACCES", "permission", "CAP_DAC_OVERRIDE"])),
        ("mkdir /y", Some(["mkdir", "EACCES", "permission", "CAP_DAC_OVERRIDE"])),
        ("unlink /bin/witness", Some(["unlink", "EACCES", "permission", "CAP_DAC_OVERRIDE"])),
        ("chmod /bin/witness 0777", Some(["fchmodat", "EPERM", "permission", "CAP_FOWNER"])),
        ("chown /bin/witness 1000", Some(["fchownat", "EPERM", "permission", "CAP_CHOWN"])),
        ("exec /proc", Some(["execve", "EACCES", "permission", "-"])),
        ("setuid 0", Some(["setuid", "EPERM", "capability", "CAP_SETUID"])),
        ("open /bin/witness", None),
        ("setuid 1000", None),
    ];
    table(ctx, &["-u", "1000:1000", "--security-opt", "seccomp=unconfined"], rows)?;
    table(
        ctx,
        &["--read-only", "-u", "0:0"],
        &[
            ("create /x y", Some(["openat", "EROFS", "permission", "-"])),
            ("mkdir /y", Some(["mkdir", "EROFS", "permission", "-"])),
            ("open /bin/witness", None),
        ],
    )
}

fn limits(ctx: &Ctx) -> Result<()> {
    table(
        ctx,
        &["--ulimit", "memlock=8192:8192"],
        &[
            ("syscall 149 m:65536 65536", Some(["mlock", "ENOMEM", "limit", "CAP_IPC_LOCK"])),
            ("syscall 149 m:4096 4096", None),
        ],
    )?;
    let (_, nofile) = trace(ctx, &["--ulimit", "nofile=3:3"], &["try", "open", "/bin/witness"])?;
    told_limit(&nofile, "EMFILE", "RLIMIT_NOFILE")?;
    let (_, pids) = trace(ctx, &["--pids-limit", "1"], &["try", "udp", "9"])?;
    told_limit(&pids, "EAGAIN", "pids.max")
}

/// At least one denial, and all of this limit: a program that runs into one may try again.
fn told_limit(denials: &[Value], errno: &str, detail: &str) -> Result<()> {
    ensure!(!denials.is_empty(), "{detail}: nothing was told");
    for denial in denials {
        let text = |pointer: &str| denial.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        let right = text("/errno") == errno
            && text("/cause/kind") == "limit"
            && text("/cause/detail").starts_with(detail);
        ensure!(right, "{detail}: {denial}");
    }
    Ok(())
}

fn attach(ctx: &Ctx) -> Result<()> {
    const STORM: &str = "echo ready; for i in 1 2 3; do (while :; do cat /etc/hostname >/dev/null; \
        unshare -m true 2>/dev/null; read x </proc/self/stat; done) & done; wait";
    let mut running = ctx.plim_host_start(&[], &["sh", "-c", STORM])?;
    running.wait_for("ready")?;
    let target = format!("plim:{}", running.case.tag);
    let mut told = 0;
    for _ in 0..10 {
        let outcome = ctx.tool("plim-trace", &["--format", "jsonl", "--duration", "200ms", &target])?;
        ensure!(outcome.code == 0, "status {}: {}", outcome.code, outcome.stderr);
        for line in outcome.stdout.lines() {
            let denial: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let text = |pointer: &str| denial.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
            let got = [text("/syscall"), text("/errno"), text("/cause/kind"), text("/cause/rule")];
            ensure!(got == ["unshare", "EPERM", "seccomp", DEFAULT], "told: {denial}");
            told += 1;
        }
    }
    ensure!(told >= 10, "{told} refusals were told of a storm");
    Ok(())
}

fn flooded(ctx: &Ctx) -> Result<()> {
    let options = ctx.weakening.map_or(&[][..], W::options);
    let flood = flood(&ctx.bin, options, 2, Duration::from_secs(1), 0)?;
    ensure!(flood.made > 10_000, "{} refusals are no flood", flood.made);
    let counts = format!(
        "{} made, {} told, {} lost, {} runs skipped",
        flood.made, flood.told, flood.lost, flood.skipped_runs
    );
    ensure!(flood.unaccounted() == 0, "{counts}");
    crate::same("its exit status", flood.status, if flood.lost > 0 { 3 } else { 0 })?;
    ensure!(flood.memory_bytes < 128 << 20, "the tracer had {} bytes of memory", flood.memory_bytes);
    ensure!(flood.output_bytes < 64 << 10, "its report has {} bytes", flood.output_bytes);
    // The ring is read to its end; emulation takes its time.
    ensure!(flood.stopped_in < Duration::from_secs(10), "it ended after {:?}", flood.stopped_in);
    Ok(())
}

//! AppArmor and SELinux: the default label of a container.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::must;
use crate::suites::text;
use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

/// docker-default as the dockerd of the machine that packed the guest has it in its binary (policy-tests/kernels/run.sh).
const DOCKERS: &str = "/docker-default";

const APPARMOR: &[Need] = &[Need::Plim, Need::Root, Need::AppArmor, Need::Program("apparmor_parser")];

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "apparmor_default",
            says: "where AppArmor is active containers run under plim-default, in every user namespace; privileged ones do not",
            needs: APPARMOR,
            red_under: &[W::NoAppArmor],
            run: apparmor_default,
        },
        Test {
            name: "apparmor_by_name",
            says: "a profile that is asked for is entered or an error; where the default cannot be had a printed document says so",
            needs: APPARMOR,
            red_under: &[W::SilentFailure],
            run: apparmor_by_name,
        },
        Test {
            name: "apparmor_refusals",
            says: "plim-default refuses each call that Docker's docker-default refuses, with the same error, and allows what it allows",
            needs: &[
                Need::Plim,
                Need::Root,
                Need::AppArmor,
                Need::Program("apparmor_parser"),
                Need::File(DOCKERS),
            ],
            red_under: &[W::NoAppArmor],
            run: apparmor_refusals,
        },
    ],
};

const LABEL: [&str; 3] = ["/witness", "try", "read"];

/// The AppArmor label of a container's process.
fn label(ctx: &Ctx, options: &[&str]) -> Result<String> {
    let outcome = ctx.plim_host(options, &[&LABEL[..], &["/proc/self/attr/apparmor/current"]].concat())?;
    let verdicts = outcome.verdicts()?;
    verdicts.into_iter().next().map(|(_, label)| label).context("no label")
}

fn apparmor_default(ctx: &Ctx) -> Result<()> {
    for options in [&[][..], &["--userns", "private"], &["--pid", "host"], &["--user", "1000", "--init"]] {
        let got = label(ctx, options).with_context(|| format!("{options:?}"))?;
        same(&format!("label with {options:?}"), got.as_str(), "plim-default (enforce)")?;
    }
    for options in [&["--privileged"][..], &["--security-opt", "apparmor=unconfined"]] {
        same("label", label(ctx, options)?.as_str(), "unconfined")?;
    }
    let mut running = ctx.plim_host_start(&[], &["/witness", "hold", "20"])?;
    running.wait_for("ready")?;
    let name = format!("plim:{}", running.case.tag);
    let snapshot: Value =
        serde_json::from_str(&ctx.tool("plim-inspect", &["--format", "json", &name])?.stdout)?;
    same("what inspect says", text(&snapshot, "/lsm/apparmor")?, "plim-default (enforce)")
}

fn apparmor_by_name(ctx: &Ctx) -> Result<()> {
    let refused = ctx.plim_host(&["--security-opt", "apparmor=no-such-profile"], &["true"])?;
    same("status with a profile that is not there", refused.code, 125)?;
    // Root finds it; a user who is not root cannot look.
    for (user, noted) in [(0, false), (1000, true)] {
        let mut command = Command::new(ctx.bin.join("plim-run"));
        command.args(["--print-spec", "--", "true"]).uid(user).gid(user);
        let spec: Value = serde_json::from_str(&must(&mut command)?)?;
        let named = spec.pointer("/process/apparmorProfile").is_some();
        let said = spec.pointer("/annotations/io.plimsoll.apparmor").is_some();
        same(&format!("named and said for user {user}"), (named, said), (!noted, noted))?;
    }
    Ok(())
}

/// How two profiles answer a call.
enum Row {
    /// Both refuse it, with EACCES.
    Refused(&'static str),
    /// Both let it through.
    Allowed(&'static str),
}
use Row::{Allowed, Refused};

const TABLE: &[Row] = &[
    // Files of /proc itself.
    Refused("open-rw /proc/sysrq-trigger"),
    Refused("open /proc/sysrq-trigger"),
    Refused("open /proc/kcore"),
    Refused("open-rw /proc/uptime"),
    Refused("open-rw /proc/version"),
    Allowed("open /proc/uptime"),
    Allowed("open-rw /proc/self/oom_score_adj"),
    Allowed("open-rw /proc/self/comm"),
    // Directories of /proc that are not processes.
    Refused("open-rw /proc/irq/default_smp_affinity"),
    Refused("open-rw /proc/tty/drivers"),
    Refused("open-rw /proc/bus/pci/devices"),
    Allowed("open /proc/tty/drivers"),
    // Settings of the kernel.
    Refused("open-rw /proc/sys/vm/overcommit_memory"),
    Refused("open-rw /proc/sys/fs/file-max"),
    Refused("open-rw /proc/sys/net/ipv4/ip_forward"),
    Refused("open-rw /proc/sys/kernel/core_pattern"),
    Refused("open-rw /proc/sys/kernel/modprobe"),
    Refused("open-rw /proc/sys/kernel/hostname"),
    Refused("open-rw /proc/sys/kernel/dmesg_restrict"),
    Refused("open-rw /proc/sys/kernel/msgmax"),
    Refused("open-rw /proc/sys/kernel/sysrq"),
    Refused("open-rw /proc/sys/kernel/seccomp/actions_logged"),
    Refused("open-rw /proc/sys/kernel/shmmax"),
    Refused("open-rw /proc/sys/kernel/sem"),
    Refused("open-rw /proc/sys/kernel/domainname"),
    Allowed("open /proc/sys/kernel/core_pattern"),
    // Devices, drivers, kernel objects.
    Refused("open-rw /sys/module/printk/parameters/time"),
    Refused("open-rw /sys/kernel/mm/transparent_hugepage/enabled"),
    Refused("open-rw /sys/devices/system/clocksource/clocksource0/current_clocksource"),
    Refused("open /sys/kernel/security/lsm"),
    Refused("list /sys/firmware/acpi"),
    Allowed("open /sys/devices/system/cpu/online"),
    Allowed("open /sys/module/printk/parameters/time"),
    // Mounts: new, bound, moved, remounted, and the root; 155 is pivot_root(2), 165 mount(2) with MS_BIND and MS_MOVE.
    Refused("mount-tmpfs /tmp"),
    Refused("mount-proc /tmp"),
    Refused("remount-rw /"),
    Refused("syscall 165 s:/etc s:/tmp s: 0x1000"),
    Refused("syscall 165 s:/dev/shm s:/tmp s: 0x2000"),
    Refused("syscall 155 s:/tmp s:/tmp"),
    Allowed("umount /dev/mqueue"),
    // What is left to capabilities and seccomp.
    Allowed("socket 17 3"),
    Allowed("socket 2 1"),
    Allowed("socket 1 1"),
    Allowed("create /tmp/file x"),
    Allowed("chown /tmp 1"),
    Allowed("mkdir /etc/directory"),
    Allowed("unshare 0x20000000"),
    Allowed("ptrace-traceme"),
    Allowed("exec /witness exit 0"),
];

/// With the host's pid namespace: its processes are not to be signalled, traced or looked into.
const OUTSIDE: &[Row] = &[
    Refused("kill 1 0"),
    Refused("read /proc/1/environ"),
    Refused("readlink /proc/1/root"),
    Allowed("read /proc/1/comm"),
];

/// Everything but the profile allows the calls.
fn verdicts(ctx: &Ctx, profile: &str, more: &[&str], rows: &[Row]) -> Result<Vec<(String, String)>> {
    let named = format!("apparmor={profile}");
    let mut options = vec!["--cap-add", "ALL", "-v", "/sys:/sys"];
    for option in ["seccomp=unconfined", "systempaths=unconfined", &named] {
        options.extend(["--security-opt", option]);
    }
    options.extend(more);
    let mut words = vec!["/witness", "try"];
    for (index, row) in rows.iter().enumerate() {
        let (Refused(call) | Allowed(call)) = row;
        if index > 0 {
            words.push("--");
        }
        words.extend(call.split(' '));
    }
    ctx.plim_host(&options, &words)?.verdicts().with_context(|| format!("under {profile}"))
}

/// A profile of the kernel's, until dropped. Loaded as dockerd loads it.
struct Dockers;

impl Dockers {
    fn load() -> Result<Dockers> {
        must(Command::new("apparmor_parser").args(["-Kr", DOCKERS])).map(|_| Dockers)
    }
}

impl Drop for Dockers {
    fn drop(&mut self) {
        let _ = must(Command::new("apparmor_parser").args(["--remove", DOCKERS]));
    }
}

fn apparmor_refusals(ctx: &Ctx) -> Result<()> {
    // Loads ours.
    label(ctx, &[])?;
    let _dockers = Dockers::load()?;
    for (more, rows) in [(&[][..], TABLE), (&["--pid", "host"], OUTSIDE)] {
        let none = verdicts(ctx, "unconfined", more, rows)?;
        let dockers = verdicts(ctx, "docker-default", more, rows)?;
        let ours = verdicts(ctx, "plim-default", more, rows)?;
        let mut wrong = Vec::new();
        for (row, ((none, dockers), ours)) in rows.iter().zip(none.iter().zip(&dockers).zip(&ours)) {
            let (without, theirs, answer) = (none.1.as_str(), dockers.1.as_str(), ours.1.as_str());
            let right = match row {
                Refused(_) => without != "EACCES" && theirs == "EACCES" && answer == "EACCES",
                Allowed(_) => theirs != "EACCES" && theirs == answer,
            };
            if !right {
                wrong.push(format!(
                    "{}: unconfined {without}, docker-default {theirs}, plim-default {answer}",
                    ours.0
                ));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    Ok(())
}

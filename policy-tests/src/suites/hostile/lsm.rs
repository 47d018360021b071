//! AppArmor and SELinux: the default label of a container.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::must;
use crate::suites::text;
use crate::suites::trace::modules::Enforced;
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
        Test {
            name: "selinux",
            says: "where the SELinux policy has container_t each container has it, with categories of its own; asked labels are had",
            needs: &[Need::Plim, Need::Root, Need::SelinuxWithoutPolicy, Need::Program("secilc")],
            red_under: &[W::NoSelinux],
            run: selinux,
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

/// What container-selinux's types mean, in the least of CIL: everything of the host is `plim_t`, a container may not read what is
/// labelled `secret_t`, and its type is entered from the host's. Classes that are not named are allowed.
const POLICY: &str = "
(handleunknown allow)
(policycap nnp_nosuid_transition)
(class file (read write open getattr map execute))
(class process (fork transition dyntransition))
(class process2 (nnp_transition nosuid_transition))
(classorder (process file process2))
(user system_u) (role object_r) (role system_r)
(type plim_t) (type secret_t) (type container_t) (type other_t) (type container_file_t)
(roletype system_r plim_t) (roletype system_r secret_t) (roletype system_r container_t) (roletype system_r other_t)
(roletype object_r plim_t) (roletype object_r secret_t) (roletype object_r container_file_t)
(userrole system_u system_r) (userrole system_u object_r)
(sensitivity s0) (sensitivityorder (s0))
(level low (s0)) (level high (s0 (range c0 c1023))) (levelrange all (low high)) (levelrange none (low low))
(userlevel system_u low) (userrange system_u all)
(sensitivitycategory s0 (range c0 c1023))
(context common (system_u system_r plim_t none))
(context secret (system_u object_r secret_t none))
(typeattribute any) (typeattributeset any (plim_t secret_t container_t other_t container_file_t))
(allow plim_t any (file (read write open getattr map execute)))
(allow container_t any (file (write open getattr map execute)))
(allow container_t plim_t (file (read)))
(allow container_t container_t (file (read)))
(allow container_t container_file_t (file (read)))
(allow any any (process (fork)))
(allow plim_t plim_t (process (transition dyntransition)))
(allow plim_t container_t (process (transition)))
(allow plim_t container_t (process2 (nnp_transition nosuid_transition)))
(genfscon proc / common)
(genfscon proc /version secret)
";

fn selinux(ctx: &Ctx) -> Result<()> {
    let named = ["--security-opt", "label=type:container_t"];
    same("status with a label and no policy", ctx.plim_host(&named, &["true"])?.code, 125)?;
    let categories: String = (0..1024).map(|n| format!("(category c{n})")).collect();
    let order: String = (0..1024).map(|n| format!("c{n} ")).collect();
    let _enforced = Enforced::load(&format!("{categories}(categoryorder ({order})){POLICY}"))?;
    let words = ["/witness", "try", "read", "/proc/self/attr/current", "--", "open", "/proc/version"];
    let seen = |options: &[&str]| -> Result<(String, String)> {
        let verdicts = ctx.plim_host(options, &words)?.verdicts().with_context(|| format!("{options:?}"))?;
        let [(_, label), (_, version)] = &verdicts[..] else { anyhow::bail!("{verdicts:?}") };
        Ok((label.trim_end_matches('\0').to_owned(), version.clone()))
    };
    let mut levels = Vec::new();
    for _ in 0..2 {
        let (label, version) = seen(&[])?;
        let level =
            label.strip_prefix("system_u:system_r:container_t:s0:c").with_context(|| label.clone())?;
        levels.push(level.to_owned());
        same("what its type may not read", version.as_str(), "EACCES")?;
    }
    ensure!(levels[0] != levels[1], "two containers have the categories {}", levels[0]);
    let report =
        ctx.plim_host(&["--security-opt", "label=level:s0:c1,c2"], &["/witness", "report"])?.json()?;
    for point in ["/", "/dev", "/dev/shm"] {
        let mut lines = report["mounts"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let line = lines.rfind(|line| line.split(' ').nth(4) == Some(point)).unwrap_or_default();
        let label = "context=\"system_u:object_r:container_file_t:s0:c1,c2\"";
        let plain = label.replace('"', "");
        ensure!(
            line.contains(label) || line.contains(&plain),
            "the mount on {point} has not {label}: {line}"
        );
    }
    for options in [&["--security-opt", "label=disable"][..], &["--privileged"], &["--pid", "host"]] {
        same("label", seen(options)?, ("system_u:system_r:plim_t:s0".to_owned(), "ok".to_owned()))?;
    }
    // In the policy and not to be entered; not in it at all.
    for label in ["label=type:other_t", "label=type:no_such_t"] {
        same(label, ctx.plim_host(&["--security-opt", label], &["/witness", "exit", "0"])?.code, 125)?;
    }
    Ok(())
}

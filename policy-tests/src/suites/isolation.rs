//! Isolation: the container has namespaces of its own and does not see the host's.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{expect_verdicts, text};
use crate::{Ctx, Need, Suite, Test, Weakening as W, host, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "isolation",
    tests: &[
        Test {
            name: "namespaces",
            says: "mount, pid, network, ipc, uts and cgroup namespaces are new, seen from inside and outside",
            needs: &[],
            red_under: &[W::HostPid, W::HostNet, W::HostIpc, W::HostUts, W::HostCgroup],
            run: namespaces,
        },
        Test {
            name: "processes",
            says: "the command is pid 1 and sees no process but its own",
            needs: &[],
            red_under: &[W::HostPid],
            run: processes,
        },
        Test {
            name: "network",
            says: "the only interface is a loopback, and it is up",
            needs: &[],
            red_under: &[W::HostNet],
            run: network,
        },
        Test {
            name: "hostname",
            says: "the hostname is the one that was asked for, and the host keeps its own",
            needs: &[],
            red_under: &[W::HostUts],
            run: hostname,
        },
        Test {
            name: "cgroup_view",
            says: "the container sees its own cgroup as the root of every hierarchy",
            needs: &[],
            red_under: &[W::HostCgroup],
            run: cgroup_view,
        },
        Test {
            name: "no_new_namespaces",
            says: "the container can make no user namespace and enter no other",
            needs: &[],
            red_under: &[W::NoSeccomp],
            run: no_new_namespaces,
        },
        Test {
            name: "user_namespace",
            says: "with a user namespace, root inside is nobody outside",
            needs: &[],
            red_under: &[W::HostUser],
            run: user_namespace,
        },
        Test {
            name: "without_root",
            says: "a caller without root gets the same confinement, in a user namespace where root is that caller",
            needs: &[Need::Plim, Need::UserNamespaces],
            red_under: &[W::NoSeccomp, W::NoMasks],
            run: without_root,
        },
        Test {
            name: "time_namespace",
            says: "--timens private moves the container's clocks and no others; without it they are the host's",
            needs: &[Need::Plim, Need::File("/proc/self/ns/time")],
            red_under: &[W::HostTime],
            run: time_namespace,
        },
    ],
};

fn namespaces(ctx: &Ctx) -> Result<()> {
    let mut running = ctx.start(ctx.case(&["hold", "20"])?)?;
    running.wait_for("ready")?;
    let pid = running.host_pid()?.to_string();
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let (inside, ours) = (host::namespace(&pid, kind)?, host::namespace("self", kind)?);
        ensure!(inside != ours, "the {kind} namespace is the host's, {ours}");
    }
    same(
        "user namespace, which was not asked for",
        host::namespace(&pid, "user")?,
        host::namespace("self", "user")?,
    )?;
    running.signal(libc::SIGTERM);
    running.finish()?;
    let report = ctx.report(ctx.case(&["report"])?)?;
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let inside = text(&report, &format!("/namespaces/{kind}"))?;
        ensure!(
            inside != host::namespace("self", kind)?,
            "the {kind} namespace is the host's, seen from inside"
        );
    }
    Ok(())
}

fn processes(ctx: &Ctx) -> Result<()> {
    let report = ctx.report(ctx.case(&["report"])?)?;
    same("pid", report["pid"].as_i64(), Some(1))?;
    same("processes", report["processes"].clone(), json!(["1 witness"]))
}

fn network(ctx: &Ctx) -> Result<()> {
    let report = ctx.report(ctx.case(&["report"])?)?;
    // The kernel makes tunnel devices in every namespace when their modules are built in; none is up.
    let interfaces = report["interfaces"].as_object().cloned().unwrap_or_default();
    for name in interfaces.keys() {
        let fallback =
            ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];
        ensure!(name == "lo" || fallback.contains(&name.as_str()), "there is an interface {name}");
    }
    ensure!(host::namespace("self", "net")? != text(&report, "/namespaces/net")?, "it is the host's network");
    same("loopback is up", interfaces.get("lo").and_then(serde_json::Value::as_bool), Some(true))?;
    expect_verdicts(ctx, |case| case, &[("udp 9", "ok")])
}

fn hostname(ctx: &Ctx) -> Result<()> {
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let report = ctx.report(ctx.case(&["report"])?)?;
    same("hostname", text(&report, "/hostname")?, "plimtest")?;
    same("the host's name", std::fs::read_to_string("/proc/sys/kernel/hostname")?, before)
}

fn cgroup_view(ctx: &Ctx) -> Result<()> {
    let report = ctx.report(ctx.case(&["report"])?)?;
    for line in text(&report, "/cgroup")?.lines() {
        // Hierarchies that the launcher does not manage may show as a place above the namespace's root.
        let (names, path) =
            line.split_once(':').map_or(("", ""), |(_, rest)| rest.split_once(':').unwrap_or(("", "")));
        ensure!(path == "/" || names.contains("name="), "{line} tells of the host's tree");
        ensure!(!path.contains("plimtest"), "{line} tells the cgroup's name on the host");
    }
    Ok(())
}

fn no_new_namespaces(ctx: &Ctx) -> Result<()> {
    // CLONE_NEWUSER is 0x10000000; setns to one's own namespace is refused before it is looked at.
    let table = [
        ("unshare 0x10000000", "EPERM"),
        ("syscall 56 0x10000011", "EPERM"),
        ("setns /proc/self/ns/uts", "EPERM"),
    ];
    expect_verdicts(ctx, |case| case, &table)
}

fn without_root(ctx: &Ctx) -> Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    const USER: u32 = 1000;
    let start = |words: &[&str]| -> Result<crate::Running> {
        let case = ctx.case(&[])?;
        // The build directory may be where only root may go.
        let launcher = case.dir.path().join("plim-run");
        std::fs::copy(ctx.bin.join("plim-run"), &launcher)?;
        let runtime = case.dir.path().join("runtime");
        std::fs::create_dir(&runtime)?;
        std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o700))?;
        chown(&runtime, Some(USER), Some(USER))?;
        let mut command = std::process::Command::new(launcher);
        command.uid(USER).gid(USER).current_dir("/").env("XDG_RUNTIME_DIR", runtime);
        command
            .args(["--name", &case.tag, "-e", &format!("PLIM_TEST_TAG={}", case.tag), "--rootfs"])
            .arg(&case.rootfs);
        command.args(ctx.weakening.map_or(&[][..], W::options)).args(["--", "/bin/witness"]).args(words);
        ctx.start_command(&mut command, case)
    };
    let mut running = start(&["hold", "20"])?;
    running.wait_for("ready")?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.host_pid()?))?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    same("uid on the host", uid.split_whitespace().collect(), vec!["1000"; 4])?;
    drop(running);
    let report = start(&["report"])?.finish()?.json()?;
    same("uid inside", text(&report, "/uid")?, "0 0 0 0")?;
    for kind in ["mnt", "pid", "net", "ipc", "uts", "user"] {
        let inside = text(&report, &format!("/namespaces/{kind}"))?;
        ensure!(inside != host::namespace("self", kind)?, "the {kind} namespace is the host's");
    }
    same("seccomp mode", text(&report, "/seccomp/mode")?, "2")?;
    for path in crate::spec::MASKED {
        ensure!(report["masked"][path] != "open", "{path} can be read");
    }
    let bounding = u64::from_str_radix(text(&report, "/capabilities/bounding")?, 16)?;
    let names = plim_model::CapabilitySet::from_bits(bounding).names();
    same("bounding set", names.len(), crate::spec::DEFAULT_CAPABILITIES.len())?;
    same(
        "uid_map",
        start(&["try", "read", "/proc/self/uid_map"])?.finish()?.verdicts()?[0]
            .1
            .split_whitespace()
            .collect(),
        vec!["0", "1000", "1"],
    )
}

/// Seconds since the boot, as /proc/uptime has it.
fn uptime(text: &str) -> Result<f64> {
    text.split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("uptime {text:?}"))
}

fn time_namespace(ctx: &Ctx) -> Result<()> {
    const DAY: f64 = 86_400.0;
    let host = || -> Result<f64> { uptime(&std::fs::read_to_string("/proc/uptime")?) };
    let words = ["try", "readlink", "/proc/self/ns/time", "--", "read", "/proc/uptime"];
    let seen = |options: &[&str]| -> Result<(String, f64)> {
        let verdicts = ctx.plim(options, &words)?.verdicts()?;
        Ok((verdicts[0].1.clone(), uptime(&verdicts[1].1)?))
    };
    let own = host::namespace("self", "time")?;
    let before = host()?;
    // What a weakening adds counts last; the offset without the namespace would be refused.
    let (namespace, private) = seen(&["--timens", "private"])?;
    ensure!(namespace != own, "it is the host's time namespace");
    ensure!((before - 1.0..=host()? + 1.0).contains(&private), "the clocks moved though nobody asked");
    let (_, moved) = seen(&["--timens", "private", "--time-offset", "boottime=86400"])?;
    ensure!(
        (before + DAY - 1.0..=host()? + DAY + 1.0).contains(&moved),
        "uptime {moved}, the host's is {before}"
    );
    same("the time namespace that nobody asked for", seen(&[])?.0, own)
}

fn user_namespace(ctx: &Ctx) -> Result<()> {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let case = ctx.case(&["hold", "20"])?;
    let mut case = case.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map);
    if let Some(list) = case.spec["linux"]["namespaces"].as_array_mut() {
        list.push(json!({"type": "user"}));
    }
    let mut running = ctx.start(case)?;
    running.wait_for("ready")?;
    let pid = running.host_pid()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    same("uid on the host", uid.split_whitespace().next(), Some("100000"))?;
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map"))?;
    same("uid_map", map.split_whitespace().collect::<Vec<_>>(), vec!["0", "100000", "65536"])?;
    ensure!(
        host::namespace(&pid.to_string(), "user")? != host::namespace("self", "user")?,
        "no user namespace"
    );
    Ok(())
}

//! Docker's own containers judged by `plim check`.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::dockerd::Daemon;
use crate::{Ctx, same};

/// Rules that fail or cannot be told, and the status.
fn judged(ctx: &Ctx, daemon: &Daemon, args: &[&str]) -> Result<(i32, BTreeSet<String>)> {
    let socket = daemon.socket();
    let all = [&["--format", "json", "-q"], args].concat();
    let outcome = ctx.tool_with("plim-check", &all, &[("DOCKER_HOST", &socket)])?;
    let found: Value = serde_json::from_str(&outcome.stdout).with_context(|| format!("{outcome:?}"))?;
    super::first_format(&found)?;
    let findings = found["findings"].as_array().context("no findings")?;
    let bad = findings.iter().filter(|finding| finding["outcome"] != "pass");
    let rules = bad.map(|finding| {
        let outcome = if finding["outcome"] == "not-observable" { "?" } else { "" };
        Ok(format!("{outcome}{}", super::text(finding, "/rule")?))
    });
    Ok((outcome.code, rules.collect::<Result<_>>()?))
}

fn set(rules: &[&str]) -> BTreeSet<String> {
    rules.iter().map(|&rule| rule.to_owned()).collect()
}

pub(super) fn check(ctx: &Ctx) -> Result<()> {
    let daemon = Daemon::start()?;
    let image = ctx.case(&[])?;
    std::fs::create_dir_all(image.rootfs.join("host"))?;
    daemon.import(&image.rootfs, "plimtest:1")?;
    let name = |suffix: &str| format!("{}-{suffix}", image.tag);
    let run = |suffix: &str, options: &[&str]| {
        let name = name(suffix);
        let head = ["run", "-d", "--pull", "never", "--network", "none", "--name", &name];
        daemon.must(&[&head[..], options, &["plimtest:1", "/bin/witness", "hold", "100"]].concat())
    };
    let socket = format!("{}:/var/run/docker.sock", daemon.dir.join("sock").display());
    run("plain", &[])?;
    let limits = ["-m", "64m", "--pids-limit", "50", "--cpus", "0.5", "--restart", "on-failure:3"];
    let least =
        ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "-u", "1000:1000"];
    run("hard", &[&limits[..], &least, &["--health-cmd", "true"]].concat())?;
    let loose =
        ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--pid", "host", "--ipc", "host"];
    run("bad", &[&loose[..], &["-v", "/etc:/host", "-v", &socket, "--restart", "always"]].concat())?;
    let target = |suffix: &str| format!("docker:{}", name(suffix));

    // Docker's default is within baseline, and the hardened one within everything but what only a daemon can give.
    let (code, bad) = judged(ctx, &daemon, &["-p", "pack:pss-baseline", &target("plain")])?;
    same("plain, baseline", (code, bad), (0, set(&[])))?;
    let packs = ["-p", "pack:pss-restricted", "-p", "pack:cis-docker-5", "-p", "pack:nsa-cisa"];
    let (code, bad) = judged(ctx, &daemon, &[&packs[..], &[&target("hard")]].concat())?;
    same("hard", (code, bad), (1, set(&["CIS-5.31"])))?;
    // Whatever runtime and libseccomp this host has: the filter is what the engine was asked for.
    let (_, bad) = judged(ctx, &daemon, &["-p", "pack:hardened", &target("hard")])?;
    ensure!(bad.is_subset(&set(&["DOCK-seccomp"])), "hardened: {bad:?}");

    let (code, bad) = judged(ctx, &daemon, &["-p", "pack:pss-baseline", &target("bad")])?;
    let expected = ["PSS-capabilities", "PSS-hostNamespaces", "PSS-hostPathVolumes", "PSS-seccompProfile"];
    same("bad, baseline", (code, bad), (1, set(&expected)))?;
    // The benchmark from the kernel's state, and from docker inspect alone.
    let both = [
        "CIS-5.4", "CIS-5.6", "CIS-5.11", "CIS-5.12", "CIS-5.13", "CIS-5.15", "CIS-5.16", "CIS-5.17",
        "CIS-5.22", "CIS-5.26", "CIS-5.27", "CIS-5.29",
    ];
    let with = |more: &[&str]| set(&[&both[..], more].concat());
    // The socket of this daemon is not called docker.sock on the host: only the kernel's state shows what it is.
    let (_, bad) = judged(ctx, &daemon, &["-p", "pack:cis-docker-5", &target("bad")])?;
    same("bad, benchmark, from kernel state", bad, with(&["CIS-5.31", "CIS-5.32"]))?;
    // Docker itself turns the label off for a container in the host's process and IPC namespaces.
    let file = daemon.dir.join("inspect.json").display().to_string();
    std::fs::write(&file, daemon.must(&["inspect", &name("bad")])?)?;
    let (_, bad) = judged(ctx, &daemon, &["-p", "pack:cis-docker-5", &file])?;
    same("bad, benchmark, from docker inspect", bad, with(&["CIS-5.3"]))?;

    // All containers, and their lock.
    let socket = daemon.socket();
    let variables = [("DOCKER_HOST", socket.as_str())];
    let args = ["--all", "-p", "pack:pss-baseline", "--format", "json", "-q"];
    let outcome = ctx.tool_with("plim-check", &args, &variables)?;
    let found: Value = serde_json::from_str(&outcome.stdout).with_context(|| format!("{outcome:?}"))?;
    for suffix in ["plain", "hard", "bad"] {
        let judged =
            found["findings"].as_array().is_some_and(|all| all.iter().any(|f| f["target"] == target(suffix)));
        ensure!(judged, "--all left {suffix} out");
    }
    let lock = daemon.dir.join("plim.lock").display().to_string();
    let outcome = ctx.tool_with("plim-lock", &["-q", "-o", &lock, &target("hard")], &variables)?;
    same(&format!("status of plim lock: {}", outcome.stderr), outcome.code, 0)?;
    same("the locked one", judged(ctx, &daemon, &["--lock", &lock, &target("hard")])?.0, 0)?;
    daemon.must(&["rm", "-f", &name("hard")])?;
    // runc's filters differ in their bytes from run to run, and mean the same.
    run("hard", &[&limits[..], &least, &["--health-cmd", "true"]].concat())?;
    same("made anew", judged(ctx, &daemon, &["--lock", &lock, &target("hard")])?, (0, set(&[])))?;
    daemon.must(&["rm", "-f", &name("hard")])?;
    run("hard", &[&limits[..], &least[..5], &["--health-cmd", "true"]].concat())?;
    let (code, bad) = judged(ctx, &daemon, &["--lock", &lock, &target("hard")])?;
    same("grown", (code, bad), (1, set(&["PLIM-K006"])))
}

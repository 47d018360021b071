//! Docker's own containers, seen through `plim inspect` and `plim diff`, under a daemon that the test starts and stops.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::inspect::{check_shape, snapshot};
use crate::dockerd::Daemon;
use crate::launcher::Outcome;
use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "docker",
    tests: &[
        Test {
            name: "inspect_and_diff",
            says: "a Docker container's snapshot tells what docker run was asked for, and one changed option is one change",
            needs: &[
                Need::Plim,
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Built("plim-inspect"),
                Need::Built("plim-diff"),
                Need::Controller("memory"),
            ],
            red_under: &[W::InspectElsewhere, W::DiffBlind, W::DiffElsewhere],
            run: inspect_and_diff,
        },
        Test {
            name: "trace",
            says: "refusals in a Docker container are told with their reasons and the engine's rule, and nothing of the engine's own",
            needs: &[
                Need::Plim,
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Built("plim-trace"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
            ],
            red_under: &[W::InspectElsewhere],
            run: trace,
        },
        Test {
            name: "check",
            says: "plim check judges Docker's containers by the kernel's state and the engine's word, by name, all of them, and from docker inspect",
            needs: &[
                Need::Plim,
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Built("plim-check"),
                Need::Built("plim-lock"),
                Need::Controller("memory"),
            ],
            red_under: &[W::InspectElsewhere],
            run: super::docker_check::check,
        },
    ],
};

fn inspect_and_diff(ctx: &Ctx) -> Result<()> {
    let (daemon, image) = Daemon::with_witness(ctx)?;
    let names = [format!("{}-a", image.tag), format!("{}-b", image.tag), format!("{}-c", image.tag)];
    let run = |name: &String, more: &[&str]| -> Result<String> {
        let limits = ["-m", "64m", "--pids-limit", "50", "--cap-drop", "NET_RAW"];
        Ok(format!("pid:{}", daemon.hold(name, &[&limits[..], more].concat())?))
    };
    let pids = [run(&names[0], &[])?, run(&names[1], &[])?, run(&names[2], &["--cap-drop", "MKNOD"])?];
    let found = snapshot(ctx, &pids[0])?;
    check_shape(&found)?;
    same("memory", &found["cgroup"]["memory"]["max_bytes"], &json!(64 << 20))?;
    same("pids", &found["cgroup"]["pids"]["max"], &json!(50))?;
    same("filters", found["seccomp"]["filters"].as_array().map(Vec::len), Some(1))?;
    let bounding = found["capabilities"]["bounding"].as_array().cloned().unwrap_or_default();
    same("bounding set", bounding.len(), 13)?;
    ensure!(!bounding.contains(&json!("CAP_NET_RAW")), "CAP_NET_RAW is there");
    same("changes between equals", super::diff::changes(ctx, &pids[0], &pids[1])?, vec![])?;
    let found = super::diff::changes(ctx, &pids[0], &pids[2])?;
    ensure!(!found.is_empty(), "a dropped capability is no change");
    for change in &found {
        let expected = change["area"] == "capabilities"
            && change["before"] == "CAP_MKNOD"
            && change["after"] == Value::Null;
        // docker-default ties no call to CAP_MKNOD, so the filters are equal.
        ensure!(expected, "--cap-drop MKNOD shows as {change}");
    }
    Ok(())
}

fn trace(ctx: &Ctx) -> Result<()> {
    let (daemon, image) = Daemon::with_witness(ctx)?;
    let name = format!("{}-t", image.tag);
    let target = format!("pid:{}", daemon.hold(&name, &["--cap-drop", "MKNOD"])?);
    let outcome = std::thread::scope(|scope| -> Result<Outcome> {
        let args = ["--format", "jsonl", "--duration", "9s", "-q", target.as_str()];
        let tracer = scope.spawn(move || ctx.tool("plim-trace", &args));
        // It needs a moment to come up, and what happens before it is there is told by nobody.
        for _ in 0..3 {
            std::thread::sleep(Duration::from_secs(2));
            daemon.must(&[
                "exec",
                &name,
                "/bin/witness",
                "try",
                "unshare",
                "0x20000",
                "--",
                "syscall",
                "141",
                "0",
                "0",
                "-5",
                "--",
                "mknod",
                "/y",
                "c",
                "1",
                "3",
                "--",
                "create",
                "/x",
                "y",
                "--",
                "udp",
                "9",
            ])?;
            daemon.must(&["exec", "-u", "1000", &name, "/bin/witness", "try", "mkdir", "/z"])?;
        }
        tracer.join().map_err(|_| anyhow::anyhow!("the thread of plim-trace panicked"))?
    })?;
    ensure!(outcome.code == 0, "status {}: {}", outcome.code, outcome.stderr);
    let mut told = BTreeSet::new();
    for line in outcome.stdout.lines() {
        let denial: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let text = |pointer: &str| denial.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        told.insert(
            ["/comm", "/syscall", "/errno", "/cause/kind", "/cause/rule", "/cause/capability"]
                .map(text)
                .join(" "),
        );
    }
    let expected = [
        "witness mkdir EACCES permission - CAP_DAC_OVERRIDE",
        "witness mknodat EPERM capability - CAP_MKNOD",
        "witness setpriority EACCES capability - CAP_SYS_NICE",
        "witness unshare EPERM seccomp /defaultAction -",
    ];
    same("what is told", told, expected.map(str::to_owned).into_iter().collect())
}

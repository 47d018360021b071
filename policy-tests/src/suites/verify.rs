//! `plim seccomp` on what runs: the filter in the kernel is the declared one, for every process.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::inspect::held;
use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

const NEEDS: &[Need] = &[Need::Plim, Need::Root, Need::Built("plim-seccomp")];

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "verify",
    tests: &[
        Test {
            name: "installed",
            says: "the filter in the kernel is what the profile means: equal, and status 0; and it is none of another profile",
            needs: NEEDS,
            red_under: &[W::NoSeccomp],
            run: installed,
        },
        Test {
            name: "entered",
            says: "a process that entered the container without the filter is found: status 1",
            needs: &[Need::Plim, Need::Root, Need::Built("plim-seccomp"), Need::Program("nsenter")],
            red_under: &[W::NoSeccomp],
            run: entered,
        },
        Test {
            name: "bad_input",
            says: "a filter that the kernel would refuse is one clear error with the instruction, status 2",
            needs: &[Need::Plim, Need::Built("plim-seccomp")],
            red_under: &[W::SilentFailure],
            run: bad_input,
        },
    ],
};

fn verified(ctx: &Ctx, arguments: &[&str], status: i32) -> Result<Value> {
    let outcome = ctx.tool("plim-seccomp", &[&["verify", "--format", "json"], arguments].concat())?;
    same(&format!("status of verify {arguments:?}: {}", outcome.stderr), outcome.code, status)?;
    serde_json::from_str(&outcome.stdout).with_context(|| format!("{outcome:?}"))
}

fn installed(ctx: &Ctx) -> Result<()> {
    let running = held(ctx, &["--security-opt", "seccomp=preset:tcpdump"])?;
    let target = format!("plim:{}", running.case.tag);
    let found = verified(ctx, &[&target], 0)?;
    same("holds", found["holds"].clone(), json!(true))?;
    same("filters", found["groups"][0]["filters"].clone(), json!(1))?;
    let found = verified(ctx, &[&target, "--profile", "preset:docker-default"], 1)?;
    let changes = found["groups"][0]["changes"].as_array().context("no changes")?;
    ensure!(changes.iter().all(|change| change["syscall"] == "socket"), "more than socket: {changes:?}");

    // The same by the bytes that are dumped.
    let file = running.case.dir.path().join("installed.bpf").display().to_string();
    let outcome = ctx.tool("plim-seccomp", &["dump", &target, "--format", "raw", "-o", &file])?;
    same("status of dump", outcome.code, 0)?;
    let outcome = ctx.tool("plim-seccomp", &["equal", &file, "preset:tcpdump"])?;
    same(&format!("status of equal: {}", outcome.stdout), outcome.code, 0)?;
    let outcome = ctx.tool("plim-seccomp", &["subset", &target, "preset:docker-default"])?;
    same("status of subset", outcome.code, 0)
}

fn entered(ctx: &Ctx) -> Result<()> {
    let running = held(ctx, &[])?;
    let target = format!("plim:{}", running.case.tag);
    let pid = running.host_pid()?.to_string();
    // Joins the namespaces and the cgroup's place in them, and not the filter: no kernel interface does that.
    let mut outsider = Command::new("nsenter")
        .args(["-t", &pid, "-p", "--", "sleep", "30"])
        .stdin(Stdio::null())
        .spawn()
        .context("nsenter")?;
    let found = (0..50).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        verified(ctx, &[&target], 1).ok()
    });
    let _ = outsider.kill();
    let _ = outsider.wait();
    let found = found.context("the process without the filter was not found")?;
    same("verdict", found["groups"][0]["verdict"].clone(), json!("different"))?;
    same("filters", found["groups"][0]["filters"].clone(), json!(0))
}

fn bad_input(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("bad.bpf");
    for (bytes, expected) in [
        (&[0x15, 0, 9, 0, 0, 0, 0, 0][..], "instruction 0: jump by 9"),
        (&[0x20, 0, 0, 0, 4, 0, 0, 0], "instruction 0: the last instruction does not return"),
        (&[0x20, 0, 0, 0, 4, 0, 0], "truncated"),
    ] {
        std::fs::write(&file, bytes)?;
        let outcome = ctx.tool("plim-seccomp", &["show", &file.display().to_string()])?;
        same(&format!("status for {bytes:?}"), outcome.code, 2)?;
        ensure!(
            outcome.stderr.contains("bad.bpf") && outcome.stderr.contains(expected),
            "{bytes:?}: {}",
            outcome.stderr
        );
    }
    Ok(())
}

//! runc and crun, given a bundle.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::profiles::{conflict, oci_profiles};
use super::{is_installed, version, without_hybrid};
use crate::launcher::Running;
use crate::{Ctx, same};

pub(super) fn runtime(ctx: &Ctx, program: &str) -> Result<()> {
    let engine = version(program, program)?;
    for (what, profile) in oci_profiles()? {
        let mut running = start(ctx, program, &profile)?;
        running.wait_for("ready").with_context(|| what.clone())?;
        let file = running.case.dir.path().join("profile.json");
        is_installed(ctx, &what, &running.host_pid()?.to_string(), &file, &engine)?;
    }
    let mut running = start(ctx, program, &conflict()?)?;
    let outcome = running.wait()?;
    ensure!(outcome.code != 0, "{program} takes one condition with two actions: {outcome:?}");
    let file = running.case.dir.path().join("profile.json").display().to_string();
    let outcome = ctx.tool("plim-seccomp", &["show", &file, "--as", &engine])?;
    same(&format!("status for a conflict: {}", outcome.stderr), outcome.code, 2)?;
    ensure!(outcome.stderr.contains("/syscalls/2"), "no place: {}", outcome.stderr);
    Ok(())
}

/// The witness under a runtime, with the profile beside the bundle's config.
fn start(ctx: &Ctx, program: &str, profile: &Value) -> Result<Running> {
    let mut case = ctx.case(&["hold", "30"])?.with("/linux/seccomp", profile.clone());
    if let Some(fields) = case.spec["linux"].as_object_mut() {
        fields.remove("cgroupsPath");
        fields.remove("resources");
    }
    std::fs::write(case.dir.path().join("profile.json"), profile.to_string())?;
    if let Some(weakening) = ctx.weakening {
        weakening.apply(&mut case.spec);
    }
    case.write()?;
    let mut command = if program == "crun" { without_hybrid(program) } else { Command::new(program) };
    command.arg("--root").arg(case.dir.path().join("state"));
    if program == "crun" {
        command.arg("--cgroup-manager=disabled");
    }
    command.args(["run", "--bundle"]).arg(case.dir.path()).arg(&case.tag);
    ctx.start_command(&mut command, case)
}

//! dockerd with runc, and processes that enter its containers.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::profiles::engine_profiles;
use super::{files, is_installed, security_option, version};
use crate::dockerd::Daemon;
use crate::process::Ended;
use crate::{Ctx, same, sys};

pub(super) fn docker(ctx: &Ctx) -> Result<()> {
    let (daemon, case) = Daemon::with_witness(ctx)?;
    let engine = format!("{}/{}", version("dockerd", "docker")?, version("runc", "runc")?);
    let profiles = engine_profiles()?;
    let files = files(&case, &profiles)?;
    for ((what, _), file) in profiles.iter().zip(&files) {
        let name = crate::spec::fresh_tag();
        let option = security_option(ctx, file);
        let pid = daemon.hold(&name, &["--security-opt", &option])?;
        is_installed(ctx, what, &pid, file, &engine)?;
        if *what == "docker-default" {
            entered(ctx, &daemon, &name, &pid)?;
        }
        daemon.must(&["rm", "-f", &name])?;
    }
    Ok(())
}

/// The engine's own config on disk is the declared profile; `docker exec` puts the filter on, `nsenter` does not.
fn entered(ctx: &Ctx, daemon: &Daemon, name: &str, pid: &str) -> Result<()> {
    let verified = |status: i32| -> Result<Value> {
        let mut command = Command::new(ctx.bin.join("plim-seccomp"));
        command
            .args(["verify", "--format", "json", &format!("docker:{name}")])
            .env("DOCKER_HOST", daemon.socket());
        let output = command.output().context("plim-seccomp")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        same(&format!("status of verify docker:{name}: {said}"), output.status.code(), Some(status))?;
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    daemon.must(&["exec", "-d", name, "/bin/witness", "hold", "50"])?;
    std::thread::sleep(Duration::from_millis(300));
    let found = verified(0)?;
    // runc writes one profile in more than one way, so equal filters may be two groups.
    let groups = found["groups"].as_array().context("no groups")?;
    ensure!(
        groups.iter().all(|group| group["verdict"] == "equal"),
        "docker exec without the filter: {found}"
    );
    let threads = groups.iter().filter_map(|group| group["threads"].as_array()).map(Vec::len);
    same("processes", threads.sum::<usize>(), 2)?;
    let mut enter = Command::new("nsenter");
    enter
        .args(["-t", pid, "-m", "-p", "--", "/bin/witness", "hold", "40"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut outsider = Ended(enter.spawn().context("nsenter")?);
    std::thread::sleep(Duration::from_millis(500));
    let found = verified(1)?;
    // Its parent is outside the container, and the container ends only when that one has reaped it.
    let inside = found["groups"][0]["threads"][0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    sys::kill(inside.filter(|pid| *pid > 1).context("no pid")?, libc::SIGKILL);
    outsider.within(Duration::from_secs(5));
    same("verdict", found["groups"][0]["verdict"].clone(), json!("different"))?;
    same("filters", found["groups"][0]["filters"].clone(), json!(0))
}

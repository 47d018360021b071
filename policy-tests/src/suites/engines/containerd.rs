//! containerd with runc, by ctr.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::profiles::{engine_profiles, oci_profiles};
use super::{files, is_installed, version};
use crate::process::{Ended, must, until};
use crate::{Ctx, Weakening as W};

pub(super) fn containerd(ctx: &Ctx) -> Result<()> {
    let engine = format!("{}/{}", version("containerd", "containerd")?, version("runc", "runc")?);
    let mut profiles = engine_profiles()?;
    let plain: Vec<(String, Value)> = oci_profiles()?;
    profiles.push((
        "no architectures listed",
        plain.iter().find(|(what, _)| what.starts_with("no arch")).context("gone")?.1.clone(),
    ));
    let case = ctx.case(&[])?;
    let files = files(&case, &profiles)?;
    let dir = case.dir.path();
    let socket = dir.join("sock");
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
        dir.join("root"),
        dir.join("state"),
        socket,
        dir.join("ttrpc"),
    );
    std::fs::write(dir.join("config.toml"), config)?;
    let log = std::fs::File::create(dir.join("log"))?;
    let mut daemon = Command::new("containerd");
    daemon.arg("-c").arg(dir.join("config.toml")).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let _daemon = Ended(daemon.spawn().context("containerd")?);
    let ctr = |words: &[&str]| {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(&socket).args(words);
        command
    };
    until(Duration::from_secs(20), || must(&mut ctr(&["version"]))).context("containerd does not answer")?;
    for ((what, _), file) in profiles.iter().zip(&files) {
        let name = crate::spec::fresh_tag();
        let mut run = ctr(&["run", "-d", "--rootfs"]);
        if ctx.weakening != Some(W::NoSeccomp) {
            run.args(["--seccomp", "--seccomp-profile"]).arg(file);
        }
        must(run.arg(&case.rootfs).args([&name, "/bin/witness", "hold", "60"]))
            .with_context(|| (*what).to_owned())?;
        let result = (|| {
            let tasks = must(&mut ctr(&["tasks", "ls"]))?;
            let row = tasks.lines().find(|line| line.starts_with(&name)).context("no task")?;
            let pid = row.split_whitespace().nth(1).context("no pid")?;
            is_installed(ctx, what, pid, file, &engine)
        })();
        must(&mut ctr(&["tasks", "kill", "-s", "KILL", &name]))?;
        // It takes a moment to be seen as ended.
        until(Duration::from_secs(10), || must(&mut ctr(&["containers", "rm", &name])))?;
        result?;
    }
    Ok(())
}

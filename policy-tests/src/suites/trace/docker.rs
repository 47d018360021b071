//! The table in Docker's own containers, under a daemon that the test starts: `plim trace docker:NAME` and `docker exec`.

use anyhow::{Context, Result};

use super::tables::{self, Group};
use super::{compare, parse, profile, words};
use crate::attached::Tracer;
use crate::dockerd::Daemon;
use crate::{Ctx, Need};

pub(super) fn table(ctx: &Ctx) -> Result<()> {
    let daemon = Daemon::start()?;
    let image = ctx.case(&[])?;
    daemon.import(&image.rootfs, "plimtest")?;
    for (index, group) in tables::all().enumerate() {
        if group.name == tables::GATE.name && Need::Ia32.missing(ctx).is_some() {
            continue;
        }
        let name = format!("{}-{index}", image.tag);
        one(ctx, &daemon, &name, group).with_context(|| format!("{} under Docker", group.name))?;
        daemon.must(&["rm", "-f", &name])?;
    }
    Ok(())
}

fn one(ctx: &Ctx, daemon: &Daemon, name: &str, group: &Group) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
    let profile = profile(group, dir.path())?;
    // Docker's own AppArmor profile, where there is one, refuses some of it first: EACCES for a mount.
    let mut run =
        vec!["run", "-d", "--network", "none", "--security-opt", "apparmor=unconfined", "--name", name];
    run.extend(group.options);
    if let Some(profile) = &profile {
        run.extend(["--security-opt", profile]);
    }
    run.extend(["plimtest", "/bin/witness", "hold", "60"]);
    daemon.must(&run)?;
    let target = format!("docker:{name}");
    let tracer = Tracer::start(ctx, &["--format", "jsonl", &target], &[("DOCKER_HOST", &daemon.socket())])?;
    // A command that ended before its filters could be read is told without the rule.
    let rows = [&[("pause 200", None)], group.rows].concat();
    let mut exec = vec!["exec", name, "/bin/witness"];
    exec.extend(words(&rows));
    let outcome = daemon.docker(&exec)?;
    let trace = tracer.stop()?;
    compare(ctx, &rows, &outcome, parse(&trace.stdout)?)
}

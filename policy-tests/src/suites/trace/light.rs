//! `plim trace --light`: what filters refuse, all of it, and nothing else.

use std::io::Write;

use anyhow::{Context, Result};

use super::tables::{self, Group, Row};
use super::{UNTOLD, compare, parse, profile, words};
use crate::attached::{Tracer, ended_well};
use crate::{Ctx, needs};

/// Every action of a profile, filters of a process' own, and the default profile beside refusals of every other kind.
pub(super) fn tells(ctx: &Ctx) -> Result<()> {
    [&tables::ACTIONS, &tables::OWN_FILTERS, &tables::FILTERS, &tables::OWNERS]
        .into_iter()
        .try_for_each(|group| one(ctx, group, TRIES).with_context(|| group.name))
}

/// From Linux 7.0 on the kernel may skip its program, and the tracer says so: then it is asked again, so many times in all.
const TRIES: usize = 3;

fn one(ctx: &Ctx, group: &Group, tries: usize) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
    let profile = profile(group, dir.path())?;
    let go = dir.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU)?;
    let volume = format!("{}:/held:ro", dir.path().display());
    let mut options = vec!["-v", &volume];
    options.extend(group.options);
    if let Some(profile) = &profile {
        options.extend(["--security-opt", profile]);
    }
    let rows: Vec<Row> = group.rows.iter().map(by_filters_alone).collect();
    // Held back until the tracer has come.
    let mut command = vec!["sh", "-c", "echo ready; read go </held/go; exec /witness \"$@\"", "sh"];
    command.extend(words(&rows));
    let mut running = ctx.plim_host_start(&options, &command)?;
    running.wait_for("ready")?;
    let target = format!("plim:{}", running.case.tag);
    let mut tracer = Tracer::start(ctx, &["--light", "--format", "jsonl", &target], &[])?;
    // Also for reading, so that it is no wait for a container that has died.
    let mut go = std::fs::OpenOptions::new().read(true).write(true).open(&go)?;
    go.write_all(b"go\n")?;
    let outcome = running.finish()?;
    let trace = tracer.wait()?;
    let skipped = needs::kernel().0 >= (7, 0) && trace.stderr.contains("the kernel skipped ");
    if skipped && tries > 1 {
        return one(ctx, group, tries - 1);
    }
    ended_well(&trace)?;
    compare(ctx, &rows, &outcome, parse(&trace.stdout)?)
}

/// A refusal for another reason is one, and is not looked at.
fn by_filters_alone((call, expected): &Row) -> Row {
    (
        call,
        expected.map(|[name, errno, kind, words]| {
            [name, errno, if kind == "seccomp" { kind } else { UNTOLD }, words]
        }),
    )
}

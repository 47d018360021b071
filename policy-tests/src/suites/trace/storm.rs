//! Attaching in the middle of a storm of calls, and a flood of refusals.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{parse, text};
use crate::attached::ended_well;
use crate::bench_trace::flood::{Flood, Kind, Load, flood};
use crate::{Ctx, Weakening as W};

/// How often the tracer comes.
const TIMES: usize = 25;

/// Forks, execs, files, refused and allowed calls, all at once; at the lowest priority, so that the tracer gets a turn on a machine
/// of few processors.
const STORM: &str = "renice -n 19 $$ >/dev/null; echo ready; for i in 1 2 3; do (while :; do cat /etc/hostname >/dev/null; \
    unshare -m true 2>/dev/null; read x </proc/self/stat; done) & done; wait";

pub(super) fn attach(ctx: &Ctx) -> Result<()> {
    let mut running = ctx.plim_host_start(&[], &["sh", "-c", STORM])?;
    running.wait_for("ready")?;
    let target = format!("plim:{}", running.case.tag);
    let mut told = 0;
    for round in 0..TIMES {
        let outcome = ctx.tool("plim-trace", &["--format", "jsonl", "--duration", "100ms", &target])?;
        ended_well(&outcome)?;
        for denial in parse(&outcome.stdout)? {
            let got =
                ["/syscall", "/errno", "/cause/kind", "/cause/rule"].map(|pointer| text(&denial, pointer));
            let right = got == ["unshare", "EPERM", "seccomp", "/defaultAction"];
            ensure!(right, "attachment {round} told: {denial}");
            told += 1;
        }
    }
    ensure!(told >= TIMES, "{told} refusals were told of a storm");
    Ok(())
}

/// Where tasks share a processor each is interrupted anywhere, the programs too: what one is refused meanwhile must not be missed.
pub(super) fn shared_processors(ctx: &Ctx) -> Result<()> {
    const EACH: usize = 2000;
    let loops = 3 * std::thread::available_parallelism()?.get();
    let script = format!(
        "exec 2>/dev/null; for loop in $(seq {loops}); do (i=0; while [ $i -lt {EACH} ]; do i=$((i + 1)); cd /; cd /tmp; \
            echo x >/proc/sys/kernel/ostype; done) & done; wait"
    );
    let command = ["sh", "-c", &script];
    let (outcome, mut denials) = super::traced(|options| ctx.plim_host_start(options, &command)?.finish())?;
    if let Some(weakening) = ctx.weakening {
        weakening.denials(&mut denials);
    }
    let written =
        |denial: &&serde_json::Value| text(denial, "/decoded/filename") == "/proc/sys/kernel/ostype";
    crate::same("refusals told", denials.iter().filter(written).count(), loops * EACH)
        .with_context(|| outcome.stderr)
}

pub(super) fn flooded(ctx: &Ctx) -> Result<()> {
    let options = ctx.weakening.map_or(&[][..], W::options);
    for crowded in [false, true] {
        let load = Load { kind: Kind::Same, processes: 2, span: Duration::from_secs(1), rate: 0, crowded };
        survived(&flood(&ctx.bin, options, &load)?)?;
    }
    Ok(())
}

fn survived(flood: &Flood) -> Result<()> {
    ensure!(flood.made > 10_000, "{} refusals are no flood", flood.made);
    let counts = format!(
        "{} made, {} told, {} lost, {} runs skipped",
        flood.made, flood.told, flood.lost, flood.skipped_runs
    );
    ensure!(flood.unaccounted() == 0, "{counts}");
    crate::same("its exit status", flood.status, if flood.lost + flood.skipped_runs > 0 { 3 } else { 0 })?;
    ensure!(flood.memory_bytes < 128 << 20, "the tracer had {} bytes of memory", flood.memory_bytes);
    ensure!(flood.output_bytes < 64 << 10, "its report has {} bytes", flood.output_bytes);
    Ok(())
}

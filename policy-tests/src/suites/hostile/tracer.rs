//! Containers that hide refused calls from the tracer, or starve it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::attached::Tracer;
use crate::bench_trace::flood::{Flood, Kind, Load, QUIET_RATE, beside, flood, told};
use crate::{Ctx, Need, Outcome, Suite, Test, Weakening as W, same};

/// What every trace needs, and more.
macro_rules! traced {
    ($($more:expr),* $(,)?) => {
        &[
            Need::Plim,
            Need::Built("plim-run"),
            Need::Built("plim-trace"),
            Need::Capability(39, "CAP_BPF"),
            Need::Kernel(5, 15),
            Need::File("/sys/kernel/btf/vmlinux"),
            $($more),*
        ]
    };
}

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "denied_paths",
            says: "20,000 denied calls a second with one path are all told, and one costs the tracer no more than some of one call",
            needs: traced!(),
            red_under: &[W::TraceForgets],
            run: denied_paths,
        },
        Test {
            name: "quiet_neighbour",
            says: "a container that makes up refusals as fast as it can (paths, arguments) loses its own alone, and they are counted; those of another one are all told",
            needs: traced!(),
            red_under: &[W::TraceForgets],
            run: quiet_neighbour,
        },
        Test {
            name: "rings",
            says: "operations through an io_uring are counted and said, with status 3, whoever submits them, also by --light; a ring that is not used is not",
            needs: traced!(Need::Rings, Need::Program("sh")),
            red_under: &[W::SilentFailure],
            run: rings,
        },
        Test {
            name: "learned_rings",
            says: "plim learn does not take a workload that used an io_uring for seen: record, propose and verify end with status 3",
            needs: traced!(Need::Rings, Need::Built("plim-learn"), Need::Program("sh")),
            red_under: &[W::LearnForgets],
            run: learned_rings,
        },
    ],
};

/// Every call is told or counted as missed, of the flood's own container, and the memory is bounded.
fn accounted(flood: &Flood) -> Result<()> {
    let counts = format!(
        "{} made, {} told, {} lost, {} runs skipped; {}",
        flood.made, flood.told, flood.lost, flood.skipped_runs, flood.missed
    );
    ensure!(flood.unaccounted() == 0, "{counts}");
    same("exit status", flood.status, if flood.lost + flood.skipped_runs > 0 { 3 } else { 0 })?;
    ensure!(flood.memory_bytes < 128 << 20, "the tracer had {} bytes of memory", flood.memory_bytes);
    Ok(())
}

fn denied_paths(ctx: &Ctx) -> Result<()> {
    let load = |kind, rate, millis| {
        let span = Duration::from_millis(millis);
        let mut flood = flood(&ctx.bin, &[], &Load { kind, processes: 1, span, rate, crowded: false })?;
        if let Some(weakening) = ctx.weakening {
            let mut told = vec![Value::Null];
            weakening.denials(&mut told);
            flood.told = if told.is_empty() { 0 } else { flood.told };
        }
        accounted(&flood).with_context(|| format!("{kind:?}"))?;
        Ok::<Flood, anyhow::Error>(flood)
    };
    same("events lost at 20,000 a second", load(Kind::Path, 20_000, 500)?.lost, 0)?;
    // The ring is written over several times, so that what lies behind the path differs. By processor time, which a busy machine
    // does not stretch; of the calls that are judged anew while it is counted each costs ten times as much and more.
    let (one, path) = (load(Kind::Same, 0, 300)?, load(Kind::Path, 0, 300)?);
    // Under emulation it is not filled once.
    if path.told < 20_000 {
        return Ok(());
    }
    let ratio = path.us_each() / one.us_each();
    ensure!(ratio < 5.0, "{:.2} µs for each, {:.2} for one call", path.us_each(), one.us_each());
    Ok(())
}

fn quiet_neighbour(ctx: &Ctx) -> Result<()> {
    for kind in [Kind::Paths, Kind::Arguments] {
        let span = Duration::from_millis(800);
        let load = Load { kind, processes: 2, span, rate: 0, crowded: false };
        let (flood, neighbour) = beside(&ctx.bin, &[], &load, true)?;
        let mut neighbour = neighbour.context("a neighbour")?;
        if let Some(weakening) = ctx.weakening {
            weakening.denials(&mut neighbour.groups);
        }
        accounted(&flood).with_context(|| format!("{kind:?}"))?;
        ensure!(neighbour.made > u64::from(QUIET_RATE) / 4, "the neighbour made {} calls", neighbour.made);
        let quiet = told(&neighbour.groups);
        ensure!(
            flood.skipped_runs > 0 || quiet == neighbour.made,
            "{kind:?}: of the neighbour's {} calls {quiet} are told; {}",
            neighbour.made,
            flood.missed
        );
        let unseen = flood.missed["targets"].as_array().context("missed.targets")?;
        ensure!(unseen.len() <= 1, "{}", flood.missed);
        same(
            "events lost of the flood",
            unseen.first().map_or(0, |one| one["lost"].as_u64().unwrap_or(0)),
            flood.lost,
        )?;
    }
    Ok(())
}

/// Operations that the witness submits.
const OPERATIONS: u64 = 20;

/// The trace of a witness that had its ring before the tracer came.
fn ring(ctx: &Ctx, count: u64, mode: &str, options: &[&str]) -> Result<Outcome> {
    let dir = tempfile::Builder::new().prefix("plimtest-ring-").tempdir()?;
    let volume = format!("{}:/go:ro", dir.path().display());
    let script = format!(
        "{{ until [ -e /go/now ]; do sleep 0.02; done; echo go; }} | /witness ring {count} {mode}; echo done; exec sleep 60"
    );
    let options_of_run = ["-v", &volume, "--security-opt", "seccomp=unconfined"];
    let mut running = ctx.plim_host_start(&options_of_run, &["sh", "-c", &script])?;
    running.wait_for("ready")?;
    let target = format!("plim:{}", running.case.tag);
    let mut tracer = Tracer::start(ctx, &[options, &[&target]].concat(), &[])?;
    std::fs::write(dir.path().join("now"), "")?;
    running.wait_for("done")?;
    let refused = format!("\"refused\":{count},");
    ensure!(running.stdout().replace(' ', "").contains(&refused) || count == 0, "{}", running.stdout());
    tracer.signal(libc::SIGTERM);
    let mut outcome = tracer.wait()?;
    if let Some(weakening) = ctx.weakening {
        weakening.answer("plim-trace", &mut outcome);
    }
    Ok(outcome)
}

fn rings(ctx: &Ctx) -> Result<()> {
    let light = Need::LightTrace.missing(ctx).is_none();
    let cases: [(&str, &[&str]); 4] = [
        ("", &["--format", "jsonl"]),
        ("polled", &["--format", "json"]),
        ("polled", &["--format", "jsonl", "--summary"]),
        ("", &["--format", "json", "--light"]),
    ];
    for (mode, options) in cases {
        if options.contains(&"--light") && !light {
            continue;
        }
        let outcome = ring(ctx, OPERATIONS, mode, options)?;
        same("exit status", outcome.code, 3)
            .with_context(|| format!("{mode} {options:?}: {}", outcome.stderr))?;
        let last =
            if options.contains(&"jsonl") { outcome.stdout.lines().last() } else { Some(&*outcome.stdout) };
        let document: Value = serde_json::from_str(last.context("nothing was said")?)?;
        let missed = &document["missed"];
        same("operations", missed["ring_operations"].as_u64(), Some(OPERATIONS))?;
        same("operations of the target", missed["targets"][0]["ring_operations"].as_u64(), Some(OPERATIONS))?;
    }
    let unused = ring(ctx, 0, "", &["--format", "json"])?;
    same("exit status with a ring that is not used", unused.code, 0).with_context(|| unused.stderr)
}

fn learned_rings(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-ring-").tempdir()?;
    let (dir, witness) = (dir.path().display().to_string(), ctx.witness().display().to_string());
    let count = OPERATIONS.to_string();
    let volume = format!("{witness}:/witness:ro");
    let run = ["--security-opt", "seccomp=unconfined", "-v", &volume, "/witness", "ring", &count];
    let outcome = ctx.tool("plim-learn", &[&["record", "-o", &dir, "--"], &run[..]].concat())?;
    same("exit status of record", outcome.code, 3).with_context(|| outcome.stderr)?;
    let mut recording: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{dir}/recording-001.json"))?)?;
    if let Some(weakening) = ctx.weakening {
        weakening.learned(&mut recording);
    }
    same("operations", recording["missed"]["ring_operations"].as_u64(), Some(OPERATIONS))?;
    let made = |name: &str| {
        recording["calls"].as_array().is_some_and(|calls| calls.iter().any(|call| call["syscall"] == name))
    };
    ensure!(made("io_uring_setup") && made("io_uring_enter"), "the ring's own calls are not recorded");
    let proposed = ctx.tool("plim-learn", &["propose", &dir])?;
    same("exit status of propose", proposed.code, 3).with_context(|| proposed.stderr)?;
    let verified = ctx.tool("plim-learn", &["verify", "--format", "json", &dir])?;
    same("exit status of verify", verified.code, 3)
        .with_context(|| format!("{}{}", verified.stdout, verified.stderr))?;
    let verdict: Value = serde_json::from_str(&verified.stdout)?;
    ensure!(verdict["passed"] == true && verdict["unknown"].is_string(), "{verdict}");
    Ok(())
}

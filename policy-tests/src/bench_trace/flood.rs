//! A flood of refusals: what is told, what is lost, and what it does to the tracer.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Trace, Witness, claim, float};
use crate::bench_seccomp::Claim;

/// What is poured.
pub struct Load {
    /// How many processes of the container make refused calls.
    pub processes: u32,
    /// How long they do.
    pub span: Duration,
    /// Calls a second of each process; 0: as fast as it can.
    pub rate: u32,
    /// The tracer gets a turn only where nobody else wants one: nice 19.
    pub crowded: bool,
}

/// What a flood came to.
pub struct Flood {
    /// Refused calls that were made.
    pub made: u64,
    /// Told, in groups.
    pub told: u64,
    /// Said to be lost.
    pub lost: u64,
    /// Program runs that the kernel said to have skipped: preemptible kernels (7.x) do where two tasks share a processor.
    pub skipped_runs: u64,
    /// How long the calls were made.
    pub took: Duration,
    /// The most memory that the tracer had, the ring included.
    pub memory_bytes: u64,
    /// Bytes that the tracer wrote.
    pub output_bytes: u64,
    /// From the request to end until it had ended.
    pub stopped_in: Duration,
    /// Its exit status: 3 when not everything was seen.
    pub status: i32,
}

impl Flood {
    /// Calls that were neither told nor counted as missed, or told without having been made.
    pub fn unaccounted(&self) -> u64 {
        let counted = self.told + self.lost;
        counted.saturating_sub(self.made) + self.made.saturating_sub(counted + self.skipped_runs)
    }

    /// Refused calls a second.
    pub fn rate(&self) -> f64 {
        float(self.made) / self.took.as_secs_f64()
    }
}

/// kexec_load: refused by the default profile, and does nothing.
const CALL: &str = "246";

/// Lets a container with these options of `plim run` make refused calls.
///
/// # Errors
/// Nothing can be traced here, or the tracer dies.
pub fn flood(bin: &Path, options: &[&str], load: &Load) -> Result<Flood> {
    let words = [
        CALL.to_owned(),
        load.processes.to_string(),
        load.span.as_millis().to_string(),
        load.rate.to_string(),
    ];
    let mut all = vec!["flood"];
    all.extend(words.iter().map(String::as_str));
    let mut witness = Witness::contained(bin, options, &all)?;
    let target = format!("plim:{}", witness.name);
    let mut trace = Trace::start(bin, &["--summary", "--format", "json"], &target, Stdio::piped())?;
    let mut from = trace.child.stdout.take().context("its stdout")?;
    if load.crowded {
        let renice = Command::new("renice").args(["-n", "19", "-p", &trace.pid().to_string()]).output()?;
        ensure!(renice.status.success(), "{renice:?}");
    }
    let answer = witness.ask("go")?;
    let counted: Value =
        serde_json::from_str(&answer).with_context(|| format!("the witness says {answer:?}"))?;
    let number = |key: &str| counted[key].as_u64().with_context(|| format!("the witness says {answer}"));
    ensure!(number("other")? == 0, "calls were made that were not refused: {answer}");
    let memory =
        std::fs::read_to_string(format!("/proc/{}/status", trace.pid())).context("the tracer died")?;
    let kib = memory.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = kib.context("VmHWM")?.trim().trim_end_matches(" kB").parse()?;
    let (stopped_in, status) = trace.stop()?;
    let mut text = String::new();
    from.read_to_string(&mut text)?;
    let report: Value = serde_json::from_str(&text).with_context(|| format!("the tracer says {text:?}"))?;
    let groups = report["groups"].as_array().context("groups")?;
    // The container's end is no call of the flood.
    let of_flood = groups.iter().filter(|group| group["denial"]["syscall"] == "kexec_load");
    Ok(Flood {
        made: number("refused")?,
        told: of_flood.filter_map(|group| group["count"].as_u64()).sum(),
        lost: report["missed"]["lost"].as_u64().context("lost")?,
        skipped_runs: report["missed"]["skipped_runs"].as_u64().context("skipped_runs")?,
        took: Duration::from_micros(number("us")?),
        memory_bytes: kib * 1024,
        output_bytes: u64::try_from(text.len())?,
        stopped_in,
        status,
    })
}

pub(super) fn claims(bin: &Path) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    // A processor makes them, the other one reads. The best of some: what else the machine does is not the tracer's.
    let mut best: Option<Flood> = None;
    for _ in 0..5 {
        let load = Load { processes: 1, span: Duration::from_secs(2), rate: 1_050_000, crowded: false };
        let flood = flood(bin, &[], &load)?;
        if best.as_ref().is_none_or(|best| flood.lost < best.lost) {
            best = Some(flood);
        }
        if best.as_ref().is_some_and(|best| best.lost == 0) {
            break;
        }
    }
    let best = best.context("no flood")?;
    let detail = format!("{} made in {:.2} s, {} lost", best.made, best.took.as_secs_f64(), best.lost);
    claims.push(claim("a refusal at a million a second, µs", 1.0, 1e6 / best.rate(), detail));
    claims.push(claim("of them lost", 0.0, float(best.lost), String::new()));
    // More than there are processors, and the reader gets what they leave.
    let load = Load { processes: 6, span: Duration::from_secs(10), rate: 0, crowded: true };
    let worst = flood(bin, &[], &load)?;
    let detail = format!("{:.2} million a second for {:.0} s", worst.rate() / 1e6, worst.took.as_secs_f64());
    claims.push(claim("a flood, µs for each refusal", 0.5, 1e6 / worst.rate(), detail));
    let detail = format!(
        "{} made, {} told, {} lost, {} runs skipped",
        worst.made, worst.told, worst.lost, worst.skipped_runs
    );
    let unaccounted = float(worst.unaccounted());
    claims.push(claim("of the flood neither told nor counted as missed", 0.0, unaccounted, detail));
    let mib = float(worst.memory_bytes) / f64::from(1 << 20);
    claims.push(claim("the tracer's memory in it, MiB", 96.0, mib, "the ring of 16 MiB included".to_owned()));
    claims.push(claim("its report, KiB", 64.0, float(worst.output_bytes) / 1024.0, "--summary".to_owned()));
    claims.push(claim("until it has ended, s", 1.0, worst.stopped_in.as_secs_f64(), String::new()));
    claims.push(claim(
        "from its start to the first refusal told, ms",
        100.0,
        first_event(bin)?,
        "the best of ten".to_owned(),
    ));
    Ok(claims)
}

/// From the start of `plim trace` to the first line of its report, in a container that is refused a call each millisecond and
/// else does nothing.
fn first_event(bin: &Path) -> Result<f64> {
    let mut witness = Witness::contained(bin, &[], &["flood", CALL, "1", "20000", "1000"])?;
    let target = format!("plim:{}", witness.name);
    std::io::Write::write_all(&mut witness.to, b"go\n")?;
    let mut best = f64::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        let mut trace = Command::new(bin.join("plim-trace"))
            .args(["-q", "--format", "jsonl", &target])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let read = trace.stdout.take().context("its stdout")?.read(&mut [0; 64]);
        best = best.min(start.elapsed().as_secs_f64() * 1000.0);
        let _ = trace.kill();
        trace.wait()?;
        ensure!(read? > 0, "plim trace told nothing");
    }
    Ok(best)
}

//! A flood of refusals: what is told, what is lost, and what it does to the tracer.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Trace, Witness, claim, float};
use crate::bench_seccomp::Claim;

/// What a flood consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// kexec_load(2) without arguments: refused by the default profile, and does nothing.
    Same,
    /// The same with a first argument that never repeats.
    Arguments,
    /// rmdir(2) of one path on a read-only mount.
    Path,
    /// rmdir(2) of a path that never repeats.
    Paths,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Same, Kind::Arguments, Kind::Path, Kind::Paths];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Same => "one call",
            Kind::Arguments => "a call with changing arguments",
            Kind::Path => "one path",
            Kind::Paths => "changing paths",
        }
    }

    /// The call that is refused.
    pub fn syscall(self) -> &'static str {
        match self {
            Kind::Same | Kind::Arguments => "kexec_load",
            Kind::Path | Kind::Paths => "rmdir",
        }
    }

    /// What the witness is asked for behind the rate.
    fn word(self) -> Option<&'static str> {
        match self {
            Kind::Same => None,
            Kind::Arguments => Some("arguments"),
            Kind::Path => Some("path"),
            Kind::Paths => Some("paths"),
        }
    }
}

/// What is poured.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Which calls.
    pub kind: Kind,
    /// How many processes of the container make refused calls.
    pub processes: u32,
    /// How long they do.
    pub span: Duration,
    /// Calls a second of each process; 0: as fast as it can.
    pub rate: u32,
    /// The tracer gets a turn only where nobody else wants one: nice 19.
    pub crowded: bool,
}

/// Calls of a container that is traced beside the flood and makes [`QUIET_RATE`] refused ones a second.
pub struct Neighbour {
    /// Refused calls that it made.
    pub made: u64,
    /// What the report has of them.
    pub groups: Vec<Value>,
}

/// Refused calls a second of the neighbour.
pub const QUIET_RATE: u32 = 50;

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
    /// Processor time of the tracer from the first call to the last.
    pub cpu: Duration,
    /// `missed` of the report.
    pub missed: Value,
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

    /// Processor time of the tracer for each event that was told while the calls were made, in microseconds.
    pub fn us_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / float(self.told.max(1))
    }
}

/// kexec_load.
const CALL: &str = "246";

/// Lets a container with these options of `plim run` make refused calls.
///
/// # Errors
/// Nothing can be traced here, or the tracer dies.
pub fn flood(bin: &Path, options: &[&str], load: &Load) -> Result<Flood> {
    Ok(beside(bin, options, load, false)?.0)
}

/// The same, with a quiet container that is traced by the same tracer where that is wanted.
///
/// # Errors
/// As [`flood`].
pub fn beside(
    bin: &Path,
    options: &[&str],
    load: &Load,
    with_neighbour: bool,
) -> Result<(Flood, Option<Neighbour>)> {
    let millis = load.span.as_millis().to_string();
    let start = |processes: u32, rate: u32, kind: Kind| {
        let words = [CALL.to_owned(), processes.to_string(), millis.clone(), rate.to_string()];
        let all = ["flood"].into_iter().chain(words.iter().map(String::as_str)).chain(kind.word());
        Witness::contained(bin, options, &all.collect::<Vec<_>>())
    };
    let mut witness = start(load.processes, load.rate, load.kind)?;
    let mut neighbour = if with_neighbour { Some(start(1, QUIET_RATE, Kind::Same)?) } else { None };
    let target = format!("plim:{}", witness.name);
    let other = neighbour.as_ref().map(|neighbour| format!("plim:{}", neighbour.name));
    let options: Vec<&str> = ["--summary", "--format", "json"].into_iter().chain(other.as_deref()).collect();
    let mut trace = Trace::start(bin, &options, &target, Stdio::piped())?;
    let mut from = trace.child.stdout.take().context("its stdout")?;
    // Read while it is written: it may be longer than a pipe holds.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).map(|_| text)
    });
    if load.crowded {
        let renice = Command::new("renice").args(["-n", "19", "-p", &trace.pid().to_string()]).output()?;
        ensure!(renice.status.success(), "{renice:?}");
    }
    if let Some(neighbour) = &mut neighbour {
        std::io::Write::write_all(&mut neighbour.to, b"go\n")?;
    }
    let pid = trace.pid();
    let memory = std::thread::spawn(move || last_peak_kib(pid));
    let before = cpu_time(trace.pid())?;
    let answer = witness.ask("go")?;
    let cpu = cpu_time(trace.pid())? - before;
    let quiet = neighbour.as_mut().map(Witness::line).transpose()?;
    let (stopped_in, status) = trace.stop()?;
    let kib = memory.join().ok().flatten().context("the tracer's memory was never seen")?;
    let text = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    let report: Value = serde_json::from_str(&text).with_context(|| format!("the tracer says {text:?}"))?;
    let groups = report["groups"].as_array().context("groups")?;
    // The container's end is no call of the flood.
    let of = |name: &str, syscall: &str| {
        let is =
            |group: &&Value| group["denial"]["container"] == name && group["denial"]["syscall"] == syscall;
        groups.iter().filter(is).cloned().collect::<Vec<Value>>()
    };
    let of_flood = of(&witness.name, load.kind.syscall());
    let (made, took) = made(&answer)?;
    let flood = Flood {
        made,
        told: told(&of_flood),
        lost: report["missed"]["lost"].as_u64().context("lost")?,
        skipped_runs: report["missed"]["skipped_runs"].as_u64().context("skipped_runs")?,
        took,
        cpu,
        missed: report["missed"].clone(),
        memory_bytes: kib * 1024,
        output_bytes: u64::try_from(text.len())?,
        stopped_in,
        status,
    };
    let neighbour = match (neighbour, quiet) {
        (Some(neighbour), Some(answer)) => {
            let groups = of(&neighbour.name, Kind::Same.syscall());
            Some(Neighbour { made: self::made(&answer)?.0, groups })
        }
        _ => None,
    };
    Ok((flood, neighbour))
}

/// How many calls groups count.
pub fn told(groups: &[Value]) -> u64 {
    groups.iter().filter_map(|group| group["count"].as_u64()).sum()
}

/// How many refused calls a witness says that it made, and how long that took.
/// The most memory of a process (`VmHWM` of proc(5), in KiB) as it was last seen before the process ended: a container that ends
/// ends its tracer, too.
fn last_peak_kib(pid: i32) -> Option<u64> {
    let peak = || -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        kib.trim().trim_end_matches(" kB").parse().ok()
    };
    let mut last = None;
    while let Some(kib) = peak() {
        last = Some(kib);
        std::thread::sleep(Duration::from_millis(20));
    }
    last
}

fn made(answer: &str) -> Result<(u64, Duration)> {
    let counted: Value =
        serde_json::from_str(answer).with_context(|| format!("the witness says {answer:?}"))?;
    let number = |key: &str| counted[key].as_u64().with_context(|| format!("the witness says {answer}"));
    ensure!(number("other")? == 0, "calls were made that were not refused: {answer}");
    Ok((number("refused")?, Duration::from_micros(number("us")?)))
}

/// Processor time of a process' first thread so far.
fn cpu_time(pid: i32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).context("the tracer died")?;
    let ns = text.split(' ').next().and_then(|word| word.parse().ok()).context("schedstat")?;
    Ok(Duration::from_nanos(ns))
}

pub(super) fn claims(bin: &Path) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    // A processor makes them, the other one reads. The best of some: what else the machine does is not the tracer's.
    let mut best: Option<Flood> = None;
    for _ in 0..5 {
        let load = Load {
            kind: Kind::Same,
            processes: 1,
            span: Duration::from_secs(2),
            rate: 1_050_000,
            crowded: false,
        };
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
    // What is refused a container that opens what it may not, all the time: none is lost, and each costs the tracer less than this.
    for (kind, rate, most_us) in
        [(Kind::Path, 20_000, 5.0), (Kind::Arguments, 20_000, 25.0), (Kind::Paths, 10_000, 60.0)]
    {
        let span = Duration::from_secs(5);
        let flood = flood(bin, &[], &Load { kind, processes: 1, span, rate, crowded: false })?;
        let name = kind.name();
        let detail = format!("{} made in {:.2} s", flood.made, flood.took.as_secs_f64());
        claims.push(claim(&format!("{name}, {rate} a second, lost"), 0.0, float(flood.lost), detail));
        claims.push(claim(
            &format!("{name}, µs of the tracer for each"),
            most_us,
            flood.us_each(),
            String::new(),
        ));
    }
    for kind in Kind::ALL {
        let load = Load { kind, processes: 2, span: Duration::from_secs(5), rate: 0, crowded: false };
        let (flood, neighbour) = beside(bin, &[], &load, true)?;
        let neighbour = neighbour.context("a neighbour")?;
        let unseen = float(neighbour.made.saturating_sub(told(&neighbour.groups)));
        let name = kind.name();
        let detail = format!("{} made, {} told, {} lost", flood.made, flood.told, flood.lost);
        claims.push(claim(
            &format!("{name} as fast as can be, lost of another container"),
            0.0,
            unseen,
            detail,
        ));
        claims.push(claim(
            &format!("{name}, the tracer's memory, MiB"),
            112.0,
            float(flood.memory_bytes) / f64::from(1 << 20),
            String::new(),
        ));
    }
    // More than there are processors, and the reader gets what they leave.
    let load = Load { kind: Kind::Same, processes: 6, span: Duration::from_secs(10), rate: 0, crowded: true };
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

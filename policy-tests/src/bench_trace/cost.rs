//! What calls cost while somebody traces, beside empty programs on the same tracepoints.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use aya::programs::{BtfTracePoint, TracePoint};
use aya::{Btf, Ebpf, EbpfLoader};

use super::{Trace, Witness, claim, float};
use crate::bench_seccomp::Claim;
use crate::cli::which;

static EMPTY: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/empty.o"));

/// What is asked of the witness: short bursts, so that one falls between what else the machine does.
const CALLS: [(&str, &str); 2] =
    [("getppid", "getppid 1000 25"), ("a byte from /dev/zero to /dev/null", "byte 400 25")];

/// Empty programs on both tracepoints, for as long as it lives: on perf's probes of them where the tracer stands on those.
fn empty() -> Result<Ebpf> {
    let btf = Btf::from_sys_fs().context("read the kernel's BTF")?;
    let mut ebpf = EbpfLoader::new().btf(Some(&btf)).load(EMPTY).context("load empty programs")?;
    let tracefs = Path::new("/sys/kernel/tracing/events/raw_syscalls").exists();
    let by_perf = crate::needs::kernel().0 >= (7, 0) && tracefs;
    for name in ["sys_enter", "sys_exit"] {
        if by_perf {
            let program: &mut TracePoint = ebpf
                .program_mut(&format!("{name}_perf"))
                .context("the object has it")?
                .try_into()
                .context("its kind")?;
            program.load().context("load an empty program")?;
            program.attach("raw_syscalls", name).context("attach an empty program")?;
            continue;
        }
        let program: &mut BtfTracePoint =
            ebpf.program_mut(name).context("the object has it")?.try_into().context("its kind")?;
        program.load(name, &btf).context("load an empty program")?;
        program.attach().context("attach an empty program")?;
    }
    Ok(ebpf)
}

/// Picoseconds of each call of [`CALLS`], the least seen.
#[derive(Clone, Copy)]
struct Fastest([u64; CALLS.len()]);

impl Fastest {
    const NONE: Fastest = Fastest([u64::MAX; CALLS.len()]);

    fn measure(&mut self, witness: &mut Witness) -> Result<()> {
        for (fastest, (_, question)) in self.0.iter_mut().zip(CALLS) {
            let answer = witness.ask(question)?;
            *fastest =
                answer.parse::<u64>().with_context(|| format!("{question}: {answer:?}"))?.min(*fastest);
        }
        Ok(())
    }
}

/// Who traces while calls are measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Nobody,
    Empty,
    Trace,
    Light,
}

/// How many there are.
const WAYS: usize = 4;

/// The fastest calls by way: of a process in the traced container, of one on the host, and of one in another container under
/// the default filter.
struct Measured {
    inside: [Fastest; WAYS],
    outside: [Fastest; WAYS],
    filtered: [Fastest; WAYS],
}

fn measure(bin: &Path, rounds: usize, ways: &[Way]) -> Result<Measured> {
    let mut inside = Witness::contained(bin, &["--security-opt", "seccomp=unconfined"], &["pace"])?;
    let mut filtered = Witness::contained(bin, &[], &["pace"])?;
    let mut outside = Witness::on_the_host(bin, &["pace"])?;
    let target = format!("plim:{}", inside.name);
    let mut times = [[Fastest::NONE; WAYS]; 3];
    for round in 0..rounds {
        for turn in 0..ways.len() {
            let way = ways[(turn + round) % ways.len()];
            let _programs = if way == Way::Empty { Some(empty()?) } else { None };
            let _trace = match way {
                Way::Nobody | Way::Empty => None,
                Way::Trace => Some(Trace::start(bin, &[], &target, Stdio::null())?),
                Way::Light => Some(Trace::start(bin, &["--light"], &target, Stdio::null())?),
            };
            for (times, witness) in times.iter_mut().zip([&mut inside, &mut outside, &mut filtered]) {
                times[way as usize].measure(witness)?;
            }
        }
    }
    let [inside, outside, filtered] = times;
    Ok(Measured { inside, outside, filtered })
}

/// Nanoseconds of a call of [`CALLS`].
fn ns(of: &[Fastest; WAYS], way: Way, call: usize) -> f64 {
    float(of[way as usize].0[call]) / 1000.0
}

pub(super) fn claims(bin: &Path, rounds: usize) -> Result<Vec<Claim>> {
    let light = Trace::start(bin, &["--light"], "host", Stdio::null()).is_ok();
    let mut ways = vec![Way::Nobody, Way::Empty, Way::Trace];
    ways.extend(light.then_some(Way::Light));
    let measured = measure(bin, rounds.max(10), &ways)?;
    let mut claims = Vec::new();
    for (call, (name, _)) in CALLS.iter().enumerate() {
        let mut beside_empty = |what: &str, at_most: f64, of: &[Fastest; WAYS]| {
            let [traced, empty, untraced] =
                [Way::Trace, Way::Empty, Way::Nobody].map(|way| ns(of, way, call));
            let detail = format!("{traced:.1} ns; {empty:.1} with empty programs, {untraced:.1} untraced");
            claims.push(claim(
                &format!("{name}, {what}, to empty programs"),
                at_most,
                traced / empty,
                detail,
            ));
        };
        beside_empty("traced", 1.15, &measured.inside);
        beside_empty("of others", 1.05, &measured.outside);
    }
    if light {
        claims.extend(light_of(&measured));
    }
    strace(bin, &measured.inside[Way::Trace as usize], &mut claims)?;
    Ok(claims)
}

/// What `--light` costs the calls of others, alone: quick enough for a kernel under emulation.
pub(super) fn light_claims(bin: &Path, rounds: usize) -> Result<Vec<Claim>> {
    Ok(light_of(&measure(bin, rounds.max(10), &[Way::Nobody, Way::Light])?))
}

/// Processes that have a filter do pay, as the program runs whenever the kernel asks one: told, not promised.
fn light_of(measured: &Measured) -> Vec<Claim> {
    let of = |call: usize, name: &str| {
        let [light, untraced] = [Way::Light, Way::Nobody].map(|way| ns(&measured.outside, way, call));
        let detail = format!(
            "{light:.1} ns, {untraced:.1} untraced; under a filter {:.1} ns, {:.1} untraced",
            ns(&measured.filtered, Way::Light, call),
            ns(&measured.filtered, Way::Nobody, call)
        );
        claim(&format!("{name}, of others, --light, to untraced"), 1.03, light / untraced, detail)
    };
    CALLS.iter().enumerate().map(|(call, (name, _))| of(call, name)).collect()
}

/// The same loop under `strace -f`, which writes what it sees to /dev/null.
fn strace(bin: &Path, ours: &Fastest, claims: &mut Vec<Claim>) -> Result<()> {
    if which("strace").is_none() {
        let why = "strace is not installed (Debian: strace)".to_owned();
        claims.push(Claim { what: "to strace -f".to_owned(), at_most: 0.04, value: None, detail: why });
        return Ok(());
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null"]).arg(bin.join("plim-witness")).arg("pace");
    let mut traced = Witness::start(&mut command, None, String::new())?;
    for ((name, _), (question, ours)) in
        CALLS.iter().zip(["getppid 200 10", "byte 100 10"].iter().zip(ours.0))
    {
        let answer = traced.ask(question)?;
        let theirs = answer.parse::<u64>().with_context(|| format!("{question}: {answer:?}"))?;
        ensure!(theirs > 0, "strace: {question}: {answer:?}");
        let detail = format!("{:.0} times", float(theirs) / float(ours));
        claims.push(claim(
            &format!("{name}, traced, to strace -f"),
            0.04,
            float(ours) / float(theirs),
            detail,
        ));
    }
    Ok(())
}

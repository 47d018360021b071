//! What calls cost while somebody traces, beside empty programs on the same tracepoints.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader};

use super::{Trace, Witness, claim, float};
use crate::bench_seccomp::Claim;
use crate::cli::which;

static EMPTY: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/empty.o"));

/// What is asked of the witness: short bursts, so that one falls between what else the machine does.
const CALLS: [(&str, &str); 2] =
    [("getppid", "getppid 1000 25"), ("a byte from /dev/zero to /dev/null", "byte 400 25")];

/// Empty programs on both tracepoints, for as long as it lives.
fn empty() -> Result<Ebpf> {
    let btf = Btf::from_sys_fs().context("read the kernel's BTF")?;
    let mut ebpf = EbpfLoader::new().btf(Some(&btf)).load(EMPTY).context("load empty programs")?;
    for name in ["sys_enter", "sys_exit"] {
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

/// Nobody, empty programs, `plim trace`, `plim trace --light`.
const WAYS: usize = 4;

pub(super) fn claims(bin: &Path, rounds: usize) -> Result<Vec<Claim>> {
    let mut inside = Witness::contained(bin, &["--security-opt", "seccomp=unconfined"], &["pace"])?;
    let mut filtered = Witness::contained(bin, &[], &["pace"])?;
    let mut outside = Witness::on_the_host(bin, &["pace"])?;
    let target = format!("plim:{}", inside.name);
    let mut times = [[Fastest::NONE; WAYS]; 3];
    let light = Trace::start(bin, &["--light"], &target, Stdio::null()).is_ok();
    for round in 0..rounds.max(10) {
        for turn in 0..WAYS {
            let way = (turn + round) % WAYS;
            let _programs = if way == 1 { Some(empty()?) } else { None };
            let _trace = match way {
                2 => Some(Trace::start(bin, &[], &target, Stdio::null())?),
                3 if light => Some(Trace::start(bin, &["--light"], &target, Stdio::null())?),
                3 => continue,
                _ => None,
            };
            for (times, witness) in times.iter_mut().zip([&mut inside, &mut outside, &mut filtered]) {
                times[way].measure(witness)?;
            }
        }
    }
    let mut claims = Vec::new();
    let [inside, outside, filtered] = times;
    for (at, (name, _)) in CALLS.iter().enumerate() {
        let ns = |of: &[Fastest; WAYS], way: usize| float(of[way].0[at]) / 1000.0;
        let mut compare = |what: &str, at_most: f64, of: &[Fastest; WAYS], way: usize, beside: usize| {
            let detail = format!(
                "{:.1} ns; {:.1} with empty programs, {:.1} untraced",
                ns(of, way),
                ns(of, 1),
                ns(of, 0)
            );
            claims.push(claim(what, at_most, ns(of, way) / ns(of, beside), detail));
        };
        compare(&format!("{name}, traced, to empty programs"), 1.15, &inside, 2, 1);
        compare(&format!("{name}, of others, to empty programs"), 1.05, &outside, 2, 1);
        if light {
            // Processes that have a filter do pay, as the program runs whenever the kernel asks one: told, not promised.
            let detail = format!(
                "{:.1} ns, {:.1} untraced; under a filter {:.1} ns, {:.1} untraced",
                ns(&outside, 3),
                ns(&outside, 0),
                ns(&filtered, 3),
                ns(&filtered, 0)
            );
            let value = ns(&outside, 3) / ns(&outside, 0);
            claims.push(claim(&format!("{name}, of others, --light, to untraced"), 1.03, value, detail));
        }
    }
    strace(bin, &inside[2], &mut claims)?;
    Ok(claims)
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

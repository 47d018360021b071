//! What filters cost: to compile, to install and for each call, beside libseccomp's binary tree in the same run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use plim_model::CapabilitySet;
use plim_seccomp::arch::X32_SYSCALL_BIT;
use plim_seccomp::bpf::Program;
use plim_seccomp::resolve::{EnosysAbove, Facts, KernelVersion, Resolved, resolve};
use plim_seccomp::{Arch, compile, dialect, interpret, presets};

use crate::sys;

/// One promise, and what was measured.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What is measured, with its unit.
    pub what: String,
    /// The most that is promised.
    pub at_most: f64,
    /// What it was; `None` where it cannot be measured here.
    pub value: Option<f64>,
    /// More to know: the figures behind a ratio.
    pub detail: String,
}

impl Claim {
    fn new(what: &str, at_most: f64, value: f64, detail: String) -> Claim {
        Claim { what: what.to_owned(), at_most, value: Some(value), detail }
    }

    /// Whether the promise is kept; what cannot be measured is not.
    pub fn holds(&self) -> bool {
        self.value.is_some_and(|value| value <= self.at_most)
    }
}

/// Docker's default profile for a container with Docker's default capabilities on this machine's kernel.
fn docker_default(enosys_above: EnosysAbove) -> Result<Resolved> {
    let written = dialect::parse(presets::get("docker-default").context("the preset")?.as_bytes())?;
    let kernel = KernelVersion { major: 6, minor: 18 };
    let facts = Facts { enosys_above, ..Facts::new(Arch::X86_64, CapabilitySet::DOCKER_DEFAULT, kernel) };
    resolve(&written, &facts)?.context("the preset confines")
}

fn median<T: Copy + Ord>(list: &mut [T]) -> Option<T> {
    list.sort_unstable();
    list.get(list.len() / 2).copied()
}

/// As a number with a fraction; times and sizes here are far below 2³².
fn float(value: impl TryInto<u32>) -> f64 {
    f64::from(value.try_into().unwrap_or(u32::MAX))
}

/// What libseccomp builds of the same rules, and how long that takes in microseconds. `None` where its Python module is not installed.
fn libseccomp(resolved: &Resolved) -> Result<Option<(Program, f64)>> {
    let folder = tempfile::tempdir()?;
    let (source, target) = (folder.path().join("profile.json"), folder.path().join("filter.bpf"));
    std::fs::write(&source, resolved.to_oci_json().to_string())?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiles/seccomp/tests/libseccomp.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).arg(&source).arg(&target).args(["tree", "time"]);
    let Ok(output) = command.output() else { return Ok(None) };
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let took = text.trim().parse().with_context(|| format!("{script} says {text:?}"))?;
    Ok(Some((Program::from_bytes(&std::fs::read(target)?)?, took)))
}

/// All promises about filters. `bin`: where the tools are.
///
/// # Errors
/// Something that every machine can do fails: the preset does not compile, the kernel takes no filter.
pub fn claims(bin: &Path, rounds: usize) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    let resolved = docker_default(EnosysAbove::HighestNamed)?;
    let mut times = Vec::new();
    for _ in 0..rounds.max(20) {
        let start = Instant::now();
        compile::compile(&resolved)?;
        times.push(start.elapsed().as_micros());
    }
    let program = compile::compile(&resolved)?;
    let compiled = float(median(&mut times).unwrap_or_default());
    claims.push(Claim::new("compile docker-default and prove it, ms", 2.0, compiled / 1000.0, String::new()));
    let length = program.instructions().len();
    claims.push(Claim::new("its instructions", 220.0, float(length), String::new()));
    let executed = (0..467).map(|nr| {
        let call = interpret::SeccompData { nr, arch: Arch::X86_64.audit_token(), ..Default::default() };
        interpret::run_raw(&program, &call).executed
    });
    let (sum, most) = executed.fold((0, 0), |(sum, most), one| (sum + one, most.max(one)));
    let detail = format!("{most} at most");
    claims.push(Claim::new("executed on average over all numbers", 10.0, f64::from(sum) / 467.0, detail));
    // First, because it asks how much memory children took, and libseccomp is asked in one.
    tools(bin, rounds, &mut claims)?;
    against_libseccomp(rounds, compiled, &mut claims)?;
    Ok(claims)
}

/// Calls whose way through the filter differs, and which do nothing: number, arguments.
const CALLS: [(&str, sys::Call); 4] = [
    ("an allowed call (getppid)", (libc::SYS_getppid, [0; 6])),
    ("a refused call (kexec_load)", (libc::SYS_kexec_load, [0; 6])),
    ("an allowed condition (personality)", (libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0])),
    ("a refused condition (socket)", (libc::SYS_socket, [40, 0, 0, 0, 0, 0])),
];

/// How many instructions more than the tree our filter executes for a call at the most, and for how many numbers it executes more.
fn longer_way(ours: &Program, tree: &Program, tables: &[(Arch, u32)]) -> (f64, usize) {
    /// Above the highest number of each table.
    const NUMBERS: u32 = 600;
    let mut most = f64::MIN;
    let mut longer = 0;
    for (arch, first) in tables {
        for nr in *first..first + NUMBERS {
            let more = COMPARED.map(|argument| {
                let args = [argument, 0, 0, 0, 0, 0];
                let call = interpret::SeccompData { nr, arch: arch.audit_token(), ip: 0, args };
                let [mine, theirs] = [ours, tree].map(|program| interpret::run_raw(program, &call).executed);
                f64::from(mine) - f64::from(theirs)
            });
            let more = more.into_iter().fold(f64::MIN, f64::max);
            longer += usize::from(more > 0.0);
            most = most.max(more);
        }
    }
    (most, longer)
}

/// First arguments that Docker's profile compares with, and their neighbours: domains, personalities, clone's flags.
const COMPARED: [u64; 14] =
    [0, 1, 8, 37, 38, 39, 40, 0x2_0000, 0x2_0008, 0xffff_ffff, 0x1000_0000, 0x7e02_0000, 1 << 32, u64::MAX];

fn against_libseccomp(rounds: usize, compiled_us: f64, claims: &mut Vec<Claim>) -> Result<()> {
    let resolved = docker_default(EnosysAbove::Never)?;
    let ours = compile::compile(&resolved)?;
    let Some((tree, build_us)) = libseccomp(&resolved)? else {
        let why = "libseccomp's Python module is not installed (Debian: python3-seccomp)";
        for (what, at_most) in [("install, to libseccomp's tree", 0.5), ("a call, to libseccomp's tree", 1.0)]
        {
            claims.push(Claim { what: what.to_owned(), at_most, value: None, detail: why.to_owned() });
        }
        return Ok(());
    };
    let detail = format!("{compiled_us:.0} µs with the proof, {build_us:.0} µs");
    claims.push(Claim::new("compile, to libseccomp's tree", 0.5, compiled_us / build_us, detail));
    let lengths = [&ours, &tree].map(|program| program.instructions().len());
    let detail = format!("{} instructions, {}", lengths[0], lengths[1]);
    claims.push(Claim::new("size, to libseccomp's tree", 0.5, float(lengths[0]) / float(lengths[1]), detail));
    let tables = [(Arch::X86_64, 0), (Arch::X86, 0), (Arch::X32, X32_SYSCALL_BIT)];
    let (most, longer) = longer_way(&ours, &tree, &tables);
    let detail = format!(
        "{longer} calls with any; every number of x86-64, i386 and x32, with arguments that are compared"
    );
    claims.push(Claim::new("instructions more than libseccomp's tree, the most", 0.0, most, detail));
    let programs = [ours.to_bytes(), tree.to_bytes()];
    let calls = CALLS.map(|(_, call)| call);
    let mut installs = [const { Vec::new() }; 2];
    let mut costs = vec![[const { Vec::new() }; 2]; CALLS.len()];
    for round in 0..rounds.max(20) {
        // Each goes first half of the time.
        for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (install, each) = sys::under_filter(&programs[which], &calls, 2000)?;
            installs[which].push(install);
            for (list, cost) in costs.iter_mut().zip(each) {
                list[which].push(cost);
            }
        }
    }
    let [mine, theirs] = installs.map(|mut list| float(median(&mut list).unwrap_or_default()) / 1000.0);
    let detail = format!("{mine:.0} µs, {theirs:.0} µs");
    claims.push(Claim::new("install, to libseccomp's tree", 0.5, mine / theirs, detail));
    for ((name, _), lists) in CALLS.iter().zip(costs) {
        // The fastest of many rounds: what is above it is the machine's.
        let [mine, theirs] = lists.map(|list| float(list.into_iter().min().unwrap_or_default()) / 1000.0);
        let detail = format!("{mine:.1} ns, {theirs:.1} ns");
        // A twentieth is what two runs of the same filter differ by.
        claims.push(Claim::new(&format!("{name}, to libseccomp's tree"), 1.05, mine / theirs, detail));
    }
    Ok(())
}

/// Runs a program to its end, and says how long that took.
fn timed(command: &mut Command, fine: &[i32]) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.output()?;
    let took = start.elapsed();
    let code = output.status.code();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(code.is_some_and(|code| fine.contains(&code)), "{command:?} ended with {code:?}: {said}");
    Ok(took)
}

/// Calls that `eval` is given.
const LINES: u32 = 400_000;

fn tools(bin: &Path, rounds: usize, claims: &mut Vec<Claim>) -> Result<()> {
    let diff = || {
        let mut command = Command::new(bin.join("plim-diff"));
        command.args(["--only", "seccomp", "preset:docker-default", "preset:tcpdump"]);
        command
    };
    let mut times = Vec::new();
    for _ in 0..rounds.clamp(10, 40) {
        times.push(timed(&mut diff(), &[0, 1])?.as_micros());
    }
    let took = float(median(&mut times).unwrap_or_default()) / 1000.0;
    claims.push(Claim::new("plim diff of two profiles, ms", 15.0, took, "the whole process".to_owned()));
    let memory = float(sys::most_memory_of_children() / 1024) / 1024.0;
    let detail = "the largest program of this part".to_owned();
    claims.push(Claim::new("its memory, MiB", 64.0, memory, detail));
    let folder = tempfile::tempdir()?;
    let calls = folder.path().join("calls");
    let mut text = String::new();
    for index in 0..LINES {
        let (nr, first) = (index % 463, index % 48);
        text.push_str(&format!(
            "{{\"arch\":\"x86_64\",\"nr\":{nr},\"args\":[{first},\"0x80001\",0,0,0,0]}}\n"
        ));
    }
    std::fs::write(&calls, text)?;
    let mut best = f64::MAX;
    for _ in 0..3 {
        let mut eval = Command::new(bin.join("plim-seccomp"));
        eval.args(["eval", "preset:docker-default", "--calls"]).arg(&calls);
        let took = timed(&mut eval, &[0])?;
        best = best.min(took.as_secs_f64() * 1e6 / f64::from(LINES));
    }
    let detail = format!("{:.2} million calls a second", 1.0 / best);
    claims.push(Claim::new("plim seccomp eval, µs for each call", 1.0, best, detail));
    Ok(())
}

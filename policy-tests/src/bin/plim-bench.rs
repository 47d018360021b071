//! `plim-bench [--rounds N] [--check] [--bin DIR] [--format table|json] [--only PART]`: what starting a container, a filter and a
//! tracer cost, beside their peers. PART: start, seccomp, trace or light (of tracing, what `--light` costs others).
//!
//! Every contestant starts a static `true` in the same root file system, in interleaved rounds; the table tells medians and
//! ratios. `--check` ends with 1 when a promised ratio does not hold. Needs root; build everything with `--release`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use plim_policy_tests::bench::Contestant;
use plim_policy_tests::bench_seccomp::{self, Claim};
use plim_policy_tests::bench_trace;
use plim_policy_tests::cli::which;
use plim_policy_tests::spec::Case;
use serde_json::{Value, json};

/// A start by plim takes at most this part of runc's.
const OF_RUNC: f64 = 1.0 / 6.0;
/// A start by plim takes at most this many times the floor.
const OF_FLOOR: f64 = 2.5;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "plim-bench: error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let (mut rounds, mut check, mut as_json, mut only) = (60, false, false, None);
    let beside = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
    let mut bin = std::env::var_os("PLIM_BIN_DIR").map_or(beside, PathBuf::from);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--rounds" => rounds = value()?.parse().context("--rounds")?,
            "--check" => check = true,
            "--bin" => bin = value()?.into(),
            "--format" => as_json = value()? == "json",
            "--only" => match value()?.as_str() {
                "start" => only = Some(Part::Start),
                "seccomp" => only = Some(Part::Seccomp),
                "trace" => only = Some(Part::Trace),
                "light" => only = Some(Part::Light),
                other => bail!("--only {other:?}: expected start, seccomp, trace or light"),
            },
            other => bail!("unknown argument {other:?}"),
        }
    }
    ensure!(nix::unistd::geteuid().is_root(), "it needs root");
    ensure!(rounds > 0, "--rounds must be at least 1");
    // Filters first: what memory their tools take is asked of all children that ended.
    let filters = match only {
        Some(Part::Start | Part::Trace | Part::Light) => Vec::new(),
        _ => bench_seccomp::claims(&bin, rounds)?,
    };
    let traced = match only {
        Some(Part::Start | Part::Seccomp) => Vec::new(),
        Some(Part::Light) => bench_trace::light_claims(&bin, rounds)?,
        _ => bench_trace::claims(&bin, rounds)?,
    };
    let filters_hold = filters.iter().chain(&traced).all(Claim::holds);
    let mut out = std::io::stdout().lock();
    if matches!(only, Some(Part::Seccomp | Part::Trace | Part::Light)) {
        if as_json {
            let json = json!({"format": "1.0", "rounds": rounds, "filters": rows_of(&filters), "trace": rows_of(&traced), "hold": filters_hold});
            writeln!(out, "{json:#}")?;
        } else {
            print_claims(&mut out, "filters", &filters)?;
            print_claims(&mut out, "tracing", &traced)?;
        }
        return Ok(filters_hold || !check);
    }
    let case = Case::new(&bin.join("plim-witness"), &[])?;
    std::fs::copy(bin.join("plim-witness"), case.rootfs.join("bin/true"))?;
    let mut contestants = contestants(&bin, &case)?;
    // One round to warm the caches, and to see who works here at all.
    contestants.retain_mut(|one| match one.once(0) {
        Ok(_) => true,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "plim-bench: {} is left out: {error:#}", one.name);
            false
        }
    });
    contestants.iter_mut().for_each(|one| one.times.clear());
    for round in 1..=rounds {
        for one in &mut contestants {
            one.once(round)?;
        }
    }
    let median = |name: &str| contestants.iter().find(|one| one.name == name).map(Contestant::median_us);
    let plim = median("plim").context("plim does not run here")?;
    let claims = [("runc", OF_RUNC), ("floor", OF_FLOOR)].map(|(peer, bound)| {
        let ratio = median(peer).filter(|us| *us > 0).map(|us| as_float(plim) / as_float(us));
        (peer, bound, ratio)
    });
    let holds =
        filters_hold && claims.iter().all(|(_, bound, ratio)| ratio.is_some_and(|ratio| ratio <= *bound));
    if as_json {
        let rows: Vec<Value> = contestants
            .iter()
            .map(
                |one| json!({"name": one.name, "median_us": one.median_us().to_string().parse::<u64>().ok()}),
            )
            .collect();
        let claims: Vec<Value> = claims
            .iter()
            .map(|(peer, bound, ratio)| json!({"plim_to": peer, "at_most": bound, "ratio": ratio}))
            .collect();
        writeln!(
            out,
            "{:#}",
            json!({"format": "1.0", "rounds": rounds, "medians": rows, "claims": claims, "filters": rows_of(&filters), "trace": rows_of(&traced), "hold": holds})
        )?;
    } else {
        writeln!(
            out,
            "{:24} {:>10} {:>8}   ({rounds} interleaved rounds)",
            "start of `true`", "median", "of plim"
        )?;
        for one in &contestants {
            let us = one.median_us();
            writeln!(
                out,
                "{:24} {:>7.2} ms {:>8.2}",
                one.name,
                as_float(us) / 1000.0,
                as_float(us) / as_float(plim)
            )?;
        }
        for (peer, bound, ratio) in claims {
            match ratio {
                Some(ratio) => {
                    let word = if ratio <= bound { "holds" } else { "DOES NOT HOLD" };
                    writeln!(out, "plim / {peer}: {ratio:.3}, at most {bound:.3}: {word}")?;
                }
                None => writeln!(out, "plim / {peer}: {peer} does not run here")?,
            }
        }
    }
    if !as_json {
        print_claims(&mut out, "filters", &filters)?;
        print_claims(&mut out, "tracing", &traced)?;
    }
    Ok(holds || !check)
}

/// What is measured when not everything is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Start,
    Seccomp,
    Trace,
    /// Of tracing, what `--light` costs others.
    Light,
}

fn print_claims(out: &mut impl Write, title: &str, claims: &[Claim]) -> Result<()> {
    if !claims.is_empty() {
        writeln!(out, "{title:64} {:>9} {:>9}", "measured", "at most")?;
    }
    for claim in claims {
        let value = claim.value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.3}"));
        let word = if claim.holds() { "holds" } else { "DOES NOT HOLD" };
        let detail = if claim.detail.is_empty() { String::new() } else { format!(" ({})", claim.detail) };
        writeln!(out, "{:64} {value:>9} {:>9}  {word}{detail}", claim.what, claim.at_most)?;
    }
    Ok(())
}

fn rows_of(claims: &[Claim]) -> Vec<Value> {
    let row = |claim: &Claim| {
        json!({
            "what": claim.what, "at_most": claim.at_most, "value": claim.value, "holds": claim.holds(), "detail": claim.detail,
        })
    };
    claims.iter().map(row).collect()
}

fn as_float(us: u128) -> f64 {
    u32::try_from(us).map_or(f64::MAX, f64::from)
}

fn contestants(bin: &Path, case: &Case) -> Result<Vec<Contestant>> {
    let path = |path: PathBuf| path.display().to_string();
    let (root, plim, floor) =
        (path(case.rootfs.clone()), path(bin.join("plim-run")), path(bin.join("plim-floor")));
    let mut all = vec![
        Contestant::new("floor", &[&floor, &root, "/bin/true"]),
        Contestant::new("plim", &[&plim, "--rootfs", &root, "--", "/bin/true"]),
        Contestant::new("plim, host's own root", &[&plim, "--", "/bin/true"]),
    ];
    // The very config that plim runs, for the OCI runtimes.
    let printed =
        Command::new(&plim).args(["--print-spec", "--rootfs", &root, "--", "/bin/true"]).output()?;
    ensure!(printed.status.success(), "--print-spec: {}", String::from_utf8_lossy(&printed.stderr));
    std::fs::write(case.dir.path().join("config.json"), printed.stdout)?;
    let bundle = path(case.dir.path().to_owned());
    let state = path(case.dir.path().join("state"));
    for runtime in ["runc", "crun"] {
        if which(runtime).is_some() {
            all.push(Contestant::new(
                runtime,
                &[runtime, "--root", &state, "run", "--bundle", &bundle, "{}"],
            ));
        }
    }
    if which("bwrap").is_some() {
        let words =
            ["bwrap", "--unshare-all", "--bind", &root, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"];
        all.push(Contestant::new("bwrap, no cgroup, no filter", &words));
    }
    Ok(all)
}

//! The end-to-end suite as one program: runs on a host or as a static binary in a VM's initramfs.
//!
//! ```text
//! plim-suite [--launcher plim|runc|both|weakened:KIND[:plim|runc]] [--filter TEXT] [--prove] [--list]
//!            [--expect FILE] [--bin DIR] [--format table|json]
//! ```
//! `--prove` runs each test under the weakenings that must make it fail, and says for every test which did. The programs under test are looked for in
//! `--bin`, else `$PLIM_BIN_DIR`, else beside this one. Exit status 1 when something failed, 2 on bad usage.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use plim_policy_tests::expect::Expectations;
use plim_policy_tests::launcher::Engine;
use plim_policy_tests::runner::{self, Plan};
use plim_policy_tests::{Weakening, attempts, sys};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "plim-suite: error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    // What the suite starts again itself for: crate::attempts.
    match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [word, directory, how @ ..] if word == "attempts" => {
            let confined = how.first().is_none_or(|word| word != "unconfined");
            let made = attempts::run(directory.as_ref(), confined, &mut std::io::stdout())?;
            writeln!(std::io::stdout(), "{made} attempts")?;
            return Ok(true);
        }
        [word] if word == "wait" => return attempts::wait().map(|()| true),
        _ => {}
    }
    let beside = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
    let bin = std::env::var_os("PLIM_BIN_DIR").map_or(beside, PathBuf::from);
    let mut plan = Plan {
        engines: vec![Engine::Plim],
        weakening: None,
        filter: None,
        prove: false,
        expectations: None,
        bin,
    };
    let (mut list, mut as_json) = (false, false);
    let mut expect = std::env::var_os("PLIM_EXPECT").map(PathBuf::from);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--launcher" => launcher(&mut plan, &value()?)?,
            "--filter" => plan.filter = Some(value()?),
            "--expect" => expect = Some(value()?.into()),
            "--bin" => plan.bin = value()?.into(),
            "--prove" => plan.prove = true,
            "--list" => list = true,
            "--format" => match value()?.as_str() {
                "json" => as_json = true,
                "table" => as_json = false,
                other => bail!("--format {other:?}: expected table or json"),
            },
            other => bail!("unknown argument {other:?}; the source's first lines list them"),
        }
    }
    if let Some(file) = expect {
        let text = std::fs::read_to_string(&file).with_context(|| format!("--expect {}", file.display()))?;
        plan.expectations = Some(Expectations::parse(&text).with_context(|| file.display().to_string())?);
    }
    let mut out = std::io::stdout();
    if list {
        for (_, name, test) in plan.tests() {
            writeln!(out, "{name}  {}", test.says)?;
        }
        return Ok(true);
    }
    sys::become_subreaper();
    let lines = plan.run(&mut |line| {
        if !as_json {
            let _ = runner::write_line(&mut out, line);
            let _ = out.flush();
        }
    })?;
    if lines.is_empty() {
        bail!("no test fits the filter");
    }
    if as_json {
        writeln!(out, "{:#}", runner::to_json(&lines))?;
    } else {
        if plan.prove {
            runner::write_proof(&mut out, &lines)?;
        }
        runner::write_summary(&mut out, &lines)?;
    }
    Ok(runner::totals(&lines).1 == 0)
}

fn launcher(plan: &mut Plan, text: &str) -> Result<()> {
    let mut words = text.split(':');
    let first = words.next().unwrap_or_default();
    let engine = if first == "weakened" {
        let kind = words.next().unwrap_or_default();
        let known = || Weakening::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        plan.weakening = Some(
            Weakening::from_name(kind)
                .with_context(|| format!("weakened:{kind:?}: expected one of {}", known()))?,
        );
        words.next().unwrap_or("plim")
    } else {
        first
    };
    plan.engines = match engine {
        "plim" => vec![Engine::Plim],
        "runc" => vec![Engine::Runc],
        "both" => vec![Engine::Plim, Engine::Runc],
        other => bail!("--launcher {other:?}: expected plim, runc, both or weakened:KIND"),
    };
    Ok(())
}

//! `record`: what a workload uses.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use plim_learn::recording::{Recording, Workload};
use plim_learn::session::{Prepared, may_record};
use plim_learn::stop::Stop;
use plim_learn::trial::{self, Engine, Trials};
use plim_observe::Selected;
use plim_tools_common::beside::beside;
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::output::write_atomically;
use plim_tools_common::target::{TargetName, find_live};

use crate::input;

/// How often a container that is recorded is looked at.
const PACE: Duration = Duration::from_millis(50);

/// Record what a command or a running container uses: system calls, capabilities, files, devices, ports
///
/// A command runs in a container of plim run, with any of its options before it. Several recordings in one directory are merged.
#[derive(Debug, Parser)]
#[command(override_usage = "plim learn record [OPTIONS] TARGET\n       \
                            plim learn record [OPTIONS] -- [OPTIONS OF plim run] COMMAND [ARG…]")]
pub(crate) struct Args {
    /// A running container: docker:NAME, plim:NAME, a name or the beginning of an id
    #[arg(value_name = "TARGET", required_unless_present = "command")]
    target: Option<String>,
    /// Directory of the recording
    #[arg(short = 'o', long = "output", value_name = "DIR", default_value = "plim-learn")]
    dir: PathBuf,
    /// Run this shell command beside the container and end with it; its status 0 means that the workload works. It knows
    /// $PLIM_CONTAINER, $PLIM_ENGINE and $PLIM_PID (the container's first process)
    #[arg(long, value_name = "SHELL COMMAND")]
    test: Option<String>,
    /// Run this shell command before the workload, here and at every trial: it puts back what an earlier run has changed
    #[arg(long, value_name = "SHELL COMMAND", conflicts_with = "target")]
    before: Option<String>,
    /// The longest that a run with --test may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = input::duration)]
    timeout: Duration,
    /// Record a running container for this time [default: until it ends, or until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = input::duration, conflicts_with_all = ["test", "command"])]
    duration: Option<Duration>,
    /// Say less on stderr
    #[arg(short, long)]
    quiet: bool,
    /// Options of plim run, a command and its arguments
    #[arg(value_name = "COMMAND", last = true, conflicts_with = "target")]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    may_record().or_status(exit::UNOBSERVABLE)?;
    let selected = args.target.as_deref().map(|target| find_live(&TargetName::parse(target)?)).transpose()?;
    std::fs::create_dir_all(&args.dir).with_context(|| format!("make {}", args.dir.display()))?;
    let path = next(&args.dir)?;
    let status = match (&selected, &args.test) {
        (Some(selected), _) => running(args, selected, &path)?,
        (None, Some(test)) => tested(args, test, &path)?,
        (None, None) => command(args, &path)?,
    };
    // A container that never started wrote none.
    if path.is_file() {
        let recording = input::recordings(std::slice::from_ref(&path))?;
        crate::note(args.quiet, &summary(&recording, &path))?;
        if !recording.missed.is_nothing() {
            crate::note(false, &recording.missed.words())?;
            return Ok(if status == exit::CLEAN { exit::UNOBSERVABLE } else { status });
        }
    }
    Ok(status)
}

/// The first name that is free.
fn next(dir: &Path) -> Result<PathBuf> {
    let last = input::recordings_of(dir)?.into_iter().filter_map(|path| {
        let name = path.file_stem()?.to_str()?.strip_prefix("recording-")?.to_owned();
        name.parse::<u32>().ok()
    });
    let number = last.max().unwrap_or(0) + 1;
    Ok(dir.join(format!("recording-{number:03}.json")))
}

fn summary(recording: &Recording, path: &Path) -> String {
    let mut names: Vec<&str> = recording
        .calls
        .iter()
        .filter(|call| !call.runtime)
        .filter_map(|call| call.syscall.as_deref())
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut capabilities: Vec<&str> = recording
        .capabilities
        .iter()
        .filter(|one| one.granted && one.as_itself)
        .map(|one| one.capability.as_str())
        .collect();
    capabilities.dedup();
    format!(
        "{} system calls, {} capabilities asked for, {} files changed, {} kinds of refusal, in {}",
        names.len(),
        capabilities.len(),
        recording.files.len(),
        recording.refused.len(),
        path.display()
    )
}

fn write(recording: &Recording, path: &Path) -> Result<()> {
    let text = plim_tools_common::output::json_text(recording).context("write the recording as JSON")?;
    write_atomically(path, text.as_bytes())
}

/// How the workload is tested, and what goes before it, for those who run it again.
fn remember(args: &Args, path: &Path) -> Result<()> {
    let mut recording = input::recordings(&[path.to_owned()])?;
    if let Some(workload) = &mut recording.workload {
        workload.test.clone_from(&args.test);
        workload.before.clone_from(&args.before);
    }
    write(&recording, path)
}

/// The command has the terminal; its end is the end.
fn command(args: &Args, path: &Path) -> Result<u8> {
    if let Some(shell) = &args.before {
        let status =
            Command::new("sh").args(["-c", shell]).status().context("execute the command of --before")?;
        ensure!(status.success(), "the command of --before: {status}");
    }
    let status = Command::new(beside("plim-run"))
        .arg("--learn")
        .arg(path)
        .args(&args.command)
        .stdin(Stdio::inherit())
        .status()
        .context("execute plim-run")?;
    if args.before.is_some() && path.is_file() {
        remember(args, path)?;
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::DIFFERENT))
}

fn tested(args: &Args, test: &str, path: &Path) -> Result<u8> {
    let workload = Workload {
        options: Vec::new(),
        command: args.command.clone(),
        test: Some(test.to_owned()),
        before: args.before.clone(),
    };
    let trials = Trials::new(workload, Engine::Plim, args.timeout, Stop::new()?)?;
    let outcome = trials.record(&args.command, path)?;
    ensure!(path.is_file(), "nothing was recorded: {}; it said: {}", outcome.why, outcome.said);
    remember(args, path)?;
    if outcome.passed {
        return Ok(exit::CLEAN);
    }
    // What a workload uses that does not work is not what it needs.
    let failed = path.with_extension("failed");
    std::fs::rename(path, &failed).with_context(|| format!("rename {}", path.display()))?;
    crate::note(false, &format!("{}; it said: {}", outcome.why, outcome.said))?;
    crate::note(false, &format!("what was recorded of it is in {} and is not merged", failed.display()))?;
    Ok(exit::DIFFERENT)
}

fn running(args: &Args, selected: &Selected, path: &Path) -> Result<u8> {
    let stop = Stop::new()?;
    let session = Prepared::new()
        .and_then(|prepared| prepared.attach(selected, true, None, None))
        .or_status(exit::UNOBSERVABLE)?;
    crate::note(args.quiet, &format!("recording {}", selected.target_name()))?;
    let longest = args.duration.or(args.test.as_ref().map(|_| args.timeout));
    let until = longest.map(|longest| Instant::now() + longest);
    let name = selected.name.as_deref().unwrap_or(&selected.id);
    let mut test = match &args.test {
        Some(words) => Some(
            trial::test(words, name, &selected.engine, selected.pid.0).spawn().context("execute the test")?,
        ),
        None => None,
    };
    let mut passed = true;
    while !stop.asked() && session.is_live() && !session.has_stopped() {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        if let Some(running) = &mut test
            && let Some(status) = running.try_wait().context("wait for the test")?
        {
            passed = status.success();
            test = None;
            break;
        }
        std::thread::sleep(PACE);
    }
    if let Some(mut running) = test {
        passed = false;
        running.kill().context("end the test")?;
        running.wait().context("wait for the test")?;
    }
    write(&session.end(None)?, path)?;
    Ok(if passed { exit::CLEAN } else { exit::DIFFERENT })
}

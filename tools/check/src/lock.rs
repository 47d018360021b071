//! `plim lock`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use plim_policy::lock::Lock;
use plim_policy::rules::Source;
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus as _};
use plim_tools_common::output::Destination;
use plim_tools_common::timeout::TimeoutArgs;

use crate::files::{Files, ProfileArgs};
use crate::gather::{CommandLines, collect};

const NAME: &str = "plim-lock";

/// Write down the privileges that targets have, for plim check --lock to hold them to
///
/// Of something that runs the file holds namespaces, capabilities, the installed filters, mounts, devices, limits and the like,
/// one fact a line; of a manifest, Compose file or command line what it asks for.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = AFTER_HELP)]
pub struct Args {
    /// What to lock: something that runs, a file, or a directory of files; with --update by default everything that is locked
    #[arg(value_name = "TARGET", required_unless_present_any = ["all", "lines", "files", "update"])]
    targets: Vec<String>,
    /// Every running container of every engine
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    command_lines: CommandLines,
    /// The lock file
    #[arg(short, long, value_name = "FILE", default_value = "plim.lock")]
    output: PathBuf,
    /// Keep the other targets of the lock file, and the bytes of filters whose meaning has not changed
    #[arg(long)]
    update: bool,
    /// Say less on stderr
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    profiles: ProfileArgs,
    #[command(flatten)]
    timeout: TimeoutArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

const AFTER_HELP: &str =
    "Exit status: 0 written, 2 usage or bad input, 3 written, but something could not be observed";

/// Reads a lock file.
///
/// # Errors
/// The file with what is wrong in it.
pub fn read(path: &str, files: &Files) -> anyhow::Result<Lock> {
    let (text, _) = files.text(path, None).map_err(anyhow::Error::msg)?;
    Ok(Lock::read(&text, path)?)
}

/// Writes the lock file.
///
/// # Errors
/// A target that cannot be read; a lock file that cannot be read or replaced.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    args.timeout.start()?;
    let to_stdout = args.output == Path::new("-");
    let name = args.output.display().to_string();
    let there = !to_stdout && args.output.exists();
    anyhow::ensure!(
        args.update || !there,
        "{name} is there; --update writes it anew after its changes were reviewed with plim check --lock {name}"
    );
    anyhow::ensure!(!args.update || there, "{name} is not there to be updated");
    let mut targets = args.targets.clone();
    let mut command_lines = args.command_lines.clone();
    let everything =
        targets.is_empty() && !args.all && command_lines.lines.is_empty() && command_lines.files.is_empty();
    let out = if to_stdout { Destination::stdout() } else { Destination::file(&args.output)? };
    args.confine.observe(&out, Reads::of_all(args.all || everything, &args.targets))?;
    let mut files = Files::new(args.confine.no_self_confine, &args.profiles);
    files.add_data(&args.output);
    if everything {
        // What is looked at stands in the lock file: here it is parsed in the phase that looks.
        targets = locked_targets(&read(&name, &files)?, &name)?;
    }
    command_lines.lines.dedup();
    let collected = collect(&targets, args.all, &command_lines)?;
    args.confine.enter(Phase::Judge)?;

    let mut lock = if args.update { read(&name, &files)? } else { Lock::default() };
    if everything {
        lock.targets.retain(|key, _| !key.contains('#'));
    }
    let gathered = collected.understand()?;
    let mut unknown = Vec::new();
    let mut put = BTreeSet::new();
    for subject in &gathered.subjects {
        let key = plim_policy::lock::key(subject);
        anyhow::ensure!(
            put.insert(key.clone()),
            "{key} stands twice; a lock file tells targets apart by their names"
        );
        if let Some((path, why)) = subject.undecided().next() {
            // Missing from the lock file, it would be no growth whatever it turned out to be.
            let error = anyhow::anyhow!("{key} cannot be locked: its {path} is not decided: {why}");
            return Ok(Err(error).or_status(exit::UNOBSERVABLE)?);
        }
        lock.put(subject);
        for fact in subject.snapshot_json["unknown"].as_array().into_iter().flatten() {
            unknown
                .push(format!("{}: {} could not be observed: {}", subject.name, fact["path"], fact["why"]));
        }
    }
    anyhow::ensure!(!lock.targets.is_empty(), "nothing runs and nothing was named that could be locked");
    out.emit(lock.write().as_bytes()).context("lock file")?;
    let mut talk = gathered.notes;
    talk.extend(unknown.iter().cloned());
    if !args.quiet {
        let count = lock.targets.len();
        talk.push(format!("{count} {} in {name}", if count == 1 { "target" } else { "targets" }));
    }
    crate::notes(NAME, &talk)?;
    Ok(if unknown.is_empty() && !gathered.incomplete { exit::CLEAN } else { exit::UNOBSERVABLE })
}

/// Files by the part before `#`, everything else by its name.
fn locked_targets(lock: &Lock, name: &str) -> anyhow::Result<Vec<String>> {
    let mut targets: Vec<String> = Vec::new();
    for key in lock.targets.keys() {
        // With a slash it is a file, whatever else its name could mean.
        let target = match key.split_once('#') {
            Some((file, _)) if !file.contains('/') => format!("./{file}"),
            Some((file, _)) => file.to_owned(),
            None => key.clone(),
        };
        anyhow::ensure!(
            !target.starts_with("container/"),
            "{name}: {key} was locked from a command line; name it again with --cmdline"
        );
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

//! `plim lock`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use plim_policy::lock::Lock;
use plim_policy::rules::Source;
use plim_tools_common::{exit, output};

use crate::files::Disk;
use crate::gather::gather;

const NAME: &str = "plim-lock";

/// Write down the privileges that targets have, for plim check --lock to hold them to
///
/// Of something that runs the file holds namespaces, capabilities, the installed filters, mounts, devices, limits and the like,
/// one fact a line; of a manifest, Compose file or command line what it asks for.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = AFTER_HELP)]
pub struct Args {
    /// What to lock: something that runs, a file, or a directory of files; with --update by default everything that is locked
    #[arg(value_name = "TARGET", required_unless_present_any = ["all", "command_lines", "update"])]
    targets: Vec<String>,
    /// Every running container of every engine
    #[arg(long)]
    all: bool,
    /// Lock what this docker run command line would start
    #[arg(long = "cmdline", value_name = "COMMAND")]
    command_lines: Vec<String>,
    /// The lock file
    #[arg(short, long, value_name = "FILE", default_value = "plim.lock")]
    output: PathBuf,
    /// Keep the other targets of the lock file, and the bytes of filters whose meaning has not changed
    #[arg(long)]
    update: bool,
    /// Say less on stderr
    #[arg(short, long)]
    quiet: bool,
}

const AFTER_HELP: &str =
    "Exit status: 0 written, 2 usage or bad input, 3 written, but something could not be observed";

/// Reads a lock file.
///
/// # Errors
/// The file with what is wrong in it.
pub fn read(path: &str) -> anyhow::Result<Lock> {
    let (text, _) = Disk.text(path, None).map_err(anyhow::Error::msg)?;
    Ok(Lock::read(&text, path)?)
}

/// Writes the lock file.
///
/// # Errors
/// A target that cannot be read; a lock file that cannot be read or replaced.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let to_stdout = args.output == Path::new("-");
    let name = args.output.display().to_string();
    let there = !to_stdout && args.output.exists();
    anyhow::ensure!(
        args.update || !there,
        "{name} is there; --update writes it anew after its changes were reviewed with plim check --lock {name}"
    );
    anyhow::ensure!(!args.update || there, "{name} is not there to be updated");
    let mut lock = if args.update { read(&name)? } else { Lock::default() };
    let mut targets = args.targets.clone();
    let mut command_lines = args.command_lines.clone();
    if targets.is_empty() && !args.all && command_lines.is_empty() {
        // Files by the part before `#`, everything else by its name.
        for key in lock.targets.keys() {
            let target = key.split_once('#').map_or(key.as_str(), |(file, _)| file).to_owned();
            if target.starts_with("container/") {
                anyhow::bail!("{name}: {key} was locked from a command line; name it again with --cmdline");
            }
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        lock.targets.retain(|key, _| !key.contains('#'));
    }
    command_lines.dedup();
    let gathered = gather(&targets, args.all, &command_lines)?;
    let mut unknown = Vec::new();
    for subject in &gathered.subjects {
        lock.put(subject);
        for fact in subject.snapshot_json["unknown"].as_array().into_iter().flatten() {
            unknown
                .push(format!("{}: {} could not be observed: {}", subject.name, fact["path"], fact["why"]));
        }
    }
    anyhow::ensure!(!lock.targets.is_empty(), "nothing runs and nothing was named that could be locked");
    let text = lock.write();
    if to_stdout {
        output::to_stdout(text.as_bytes())?;
    } else {
        output::write_atomically(&args.output, text.as_bytes()).context("lock file")?;
    }
    let mut talk = gathered.notes;
    talk.extend(unknown.iter().cloned());
    if !args.quiet {
        let count = lock.targets.len();
        talk.push(format!("{count} {} in {name}", if count == 1 { "target" } else { "targets" }));
    }
    crate::notes(NAME, &talk)?;
    Ok(if unknown.is_empty() && !gathered.incomplete { exit::CLEAN } else { exit::UNOBSERVABLE })
}

//! `plim inspect`: prints what the kernel says about a container.
#![forbid(unsafe_code)]

mod draw;
mod tree;
mod words;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use plim_model::Snapshot;
use plim_observe::{Neighbours, Selected, SnapshotOptions};
use plim_tools_common::args::{Format, Output};
use plim_tools_common::target::TargetName;
use plim_tools_common::{exit, output};

const NAME: &str = "plim-inspect";

/// Show what the kernel says about containers and processes
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    after_help = "Exit status: 0 everything was observed, 2 usage or bad target, 3 something could not be observed (the rest is printed)."
)]
struct Args {
    /// docker:NAME, plim:NAME, pid:N, self, host, a container's name or the beginning of its id, or a snapshot file
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    targets: Vec<String>,
    /// Every running container of every engine
    #[arg(long, conflicts_with = "targets")]
    all: bool,
    /// Draw who shares which namespaces instead
    #[arg(long)]
    tree: bool,
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    plim_tools_common::run_main(NAME, run)
}

fn run(args: Args) -> anyhow::Result<u8> {
    anyhow::ensure!(
        !(args.tree && args.output.format == Format::Json),
        "--tree is a drawing; the same facts stand in --format json under .namespaces"
    );
    let mut status = exit::CLEAN;
    let (neighbours, unasked) = Neighbours::survey();
    for error in unasked {
        status = exit::UNOBSERVABLE;
        if !args.output.quiet {
            output::to_stderr(
                format!("{NAME}: {:#}; its containers are not compared with\n", anyhow::Error::from(error))
                    .as_bytes(),
            )?;
        }
    }
    let options = SnapshotOptions { already_stopped: false, neighbours };
    let mut snapshots = Vec::new();
    if args.all {
        // Those that could not be asked were told above.
        let (targets, _) = plim_observe::all();
        for target in targets {
            match plim_observe::snapshot_with(&target, &options) {
                Ok(snapshot) => snapshots.push(snapshot),
                // It ended since the list was made: the others are still wanted.
                Err(error) if !args.output.quiet => {
                    output::to_stderr(format!("{NAME}: {:#}\n", anyhow::Error::from(error)).as_bytes())?;
                }
                Err(_) => {}
            }
        }
    }
    for word in &args.targets {
        snapshots.push(load(word, &options)?);
    }
    let documents: Vec<serde_json::Value> = snapshots.iter().map(Snapshot::to_json).collect();
    if documents.iter().any(|document| document["unknown"].as_array().is_some_and(|list| !list.is_empty())) {
        status = exit::UNOBSERVABLE;
    }
    match args.output.format {
        Format::Json if args.targets.len() == 1 => args.output.emit_json(&documents[0])?,
        Format::Json => args.output.emit_json(&documents)?,
        Format::Table if args.tree => args.output.emit(tree::draw(&snapshots).as_bytes())?,
        Format::Table => {
            let style = args.output.style();
            let drawn: Vec<String> =
                snapshots.iter().map(|snapshot| draw::snapshot(snapshot, style)).collect();
            args.output.emit(drawn.join("\n").as_bytes())?;
        }
    }
    if args.all && snapshots.is_empty() && !args.output.quiet {
        output::to_stderr(format!("{NAME}: no container is running\n").as_bytes())?;
    }
    Ok(status)
}

/// A live target, or a snapshot that was saved.
fn load(word: &str, options: &SnapshotOptions) -> anyhow::Result<Snapshot> {
    let selected: Selected = match TargetName::parse(word)? {
        TargetName::Engine { engine, name } => plim_observe::find(Some(&engine), &name)?,
        TargetName::Pid(pid) => plim_observe::find(Some("pid"), &pid.to_string())?,
        TargetName::SelfProcess => plim_observe::find(Some("self"), "")?,
        TargetName::Host => plim_observe::find(Some("host"), "")?,
        TargetName::Bare(name) => plim_observe::find(None, &name)?,
        TargetName::File(path) => {
            let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            return saved(&text).with_context(|| path.display().to_string());
        }
        TargetName::Stdin => {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut text).context("read stdin")?;
            return saved(&text).context("stdin");
        }
        TargetName::Preset(name) => anyhow::bail!(
            "preset:{name} is data, not something that runs; inspect shows live targets and saved snapshots"
        ),
    };
    Ok(plim_observe::snapshot_with(&selected, options)?)
}

fn saved(text: &[u8]) -> anyhow::Result<Snapshot> {
    let document: serde_json::Value = serde_json::from_slice(text).context("not JSON")?;
    Snapshot::from_json(document).context("not a snapshot")
}

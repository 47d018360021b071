//! `plim inspect`: prints what the kernel says about a container.
#![forbid(unsafe_code)]

mod draw;
mod tree;
mod words;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use plim_model::Snapshot;
use plim_observe::{Neighbours, SnapshotOptions};
use plim_tools_common::args::{Format, Output};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::target::{Fetched, TargetName, fetch, find_live};
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
    #[command(flatten)]
    confine: ConfineArgs,
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
    let reads = Reads::of_all(args.all, &args.targets);
    let (out, style) = (args.output.destination()?, args.output.style());
    args.confine.observe(&out, reads)?;
    let (neighbours, unasked) = match reads {
        Reads::Files => Default::default(),
        Reads::Targets | Reads::Own => Neighbours::survey(),
    };
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
    let mut gathered = Vec::new();
    if args.all {
        // Those that could not be asked were told above.
        let (targets, _) = plim_observe::all();
        for target in targets {
            match plim_observe::snapshot_with(&target, &options) {
                Ok(snapshot) => gathered.push(Gathered::Live(Box::new(snapshot))),
                // It ended since the list was made: the others are still wanted.
                Err(error) if !args.output.quiet => {
                    output::to_stderr(format!("{NAME}: {:#}\n", anyhow::Error::from(error)).as_bytes())?;
                }
                Err(_) => {}
            }
        }
    }
    for word in &args.targets {
        gathered.push(gather(word, &options)?);
    }
    args.confine.enter(Phase::Judge)?;

    let snapshots = gathered.into_iter().map(Gathered::snapshot).collect::<anyhow::Result<Vec<_>>>()?;
    let documents: Vec<serde_json::Value> = snapshots.iter().map(Snapshot::to_json).collect();
    if documents.iter().any(|document| document["unknown"].as_array().is_some_and(|list| !list.is_empty())) {
        status = exit::UNOBSERVABLE;
    }
    match args.output.format {
        Format::Json if args.targets.len() == 1 => out.emit_json(&documents[0])?,
        Format::Json => out.emit_json(&documents)?,
        Format::Table if args.tree => out.emit(tree::draw(&snapshots).as_bytes())?,
        Format::Table => {
            let drawn: Vec<String> =
                snapshots.iter().map(|snapshot| draw::snapshot(snapshot, style)).collect();
            out.emit(drawn.join("\n").as_bytes())?;
        }
    }
    if args.all && snapshots.is_empty() && !args.output.quiet {
        output::to_stderr(format!("{NAME}: no container is running\n").as_bytes())?;
    }
    Ok(status)
}

/// What was read of one target.
enum Gathered {
    Live(Box<Snapshot>),
    Saved(Fetched),
}

/// Reads a live target, or the file of a snapshot that was saved.
fn gather(word: &str, options: &SnapshotOptions) -> anyhow::Result<Gathered> {
    let target = TargetName::parse(word)?;
    if let TargetName::Preset(name) = &target {
        anyhow::bail!(
            "preset:{name} is data, not something that runs; inspect shows live targets and saved snapshots"
        );
    }
    if let Some(fetched) = fetch(&target)? {
        return Ok(Gathered::Saved(fetched));
    }
    Ok(Gathered::Live(Box::new(plim_observe::snapshot_with(&find_live(&target)?, options)?)))
}

impl Gathered {
    fn snapshot(self) -> anyhow::Result<Snapshot> {
        match self {
            Gathered::Live(snapshot) => Ok(*snapshot),
            Gathered::Saved(file) => saved(file.bytes()).with_context(|| file.what().to_owned()),
        }
    }
}

fn saved(text: &[u8]) -> anyhow::Result<Snapshot> {
    let document = plim_model::json::parse(text).context("not JSON")?;
    Snapshot::from_json(document).context("not a snapshot")
}

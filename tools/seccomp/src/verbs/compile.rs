//! `compile`: a profile as the filter that the kernel runs.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit;
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::Destination;
use plim_tools_common::seccomp_side::{self, Content};

use crate::shapes;

/// Compile a profile to classic BPF, and prove that the result means what the profile means
#[derive(Parser)]
pub(crate) struct Args {
    /// A profile
    profile: String,
    /// What is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "raw")]
    format: Format,
    /// Write to FILE, replacing it only when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// struct sock_filter after struct sock_filter, little-endian.
    Raw,
    /// Text with names.
    Disasm,
    /// The instructions and their text.
    Json,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    ensure!(
        args.format != Format::Raw || args.output.is_some() || !std::io::stdout().is_terminal(),
        "a filter is binary and stdout is a terminal: name a file with -o, or --format disasm"
    );
    let out = match &args.output {
        Some(path) => Destination::file(path)?,
        None => Destination::stdout(),
    };
    args.confine.observe(&out, Reads::of([args.profile.as_str()]))?;
    let gathered = seccomp_side::gather(&args.profile)?;
    let facts = args.facts.gather_reading()?;
    args.confine.enter(Phase::Judge)?;

    let side = gathered.side()?;
    ensure!(
        matches!(side.content, Content::Profile(_)),
        "{} is a filter already; `plim seccomp dump` writes it, `decompile` makes a profile of it",
        side.name
    );
    let reading = facts.reading(side.bounding);
    let meaning = side.meaning(&reading)?;
    crate::notes(&meaning.notes(&side.name))?;
    let programs = meaning.programs(reading.facts.arch)?;
    let [program] = programs.as_slice() else {
        anyhow::bail!(
            "{}: neither a default action nor a rule: seccomp is off, and there is no filter",
            side.name
        )
    };
    match args.format {
        Format::Raw => out.emit(&program.to_bytes())?,
        Format::Disasm => out.emit(super::disasm::text(&programs).as_bytes())?,
        Format::Json => out.emit_json(&shapes::Filters::of(&side.name, None, &programs))?,
    }
    Ok(exit::CLEAN)
}

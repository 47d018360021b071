//! `disasm`: filters as text with names.

use clap::Parser;
use plim_seccomp::bpf::Program;
use plim_seccomp::disasm::disassemble;
use plim_tools_common::args::{Format, Output};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::{exit, seccomp_side};

use crate::shapes;

/// Disassemble a filter, with the names of architectures, calls, arguments and actions
#[derive(Parser)]
pub(crate) struct Args {
    /// A filter, a live target, or a profile, which is compiled
    target: String,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    confine: ConfineArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let out = args.output.destination()?;
    args.confine.observe(&out, Reads::of([args.target.as_str()]))?;
    let gathered = seccomp_side::gather(&args.target)?;
    let facts = args.facts.gather_reading()?;
    args.confine.enter(Phase::Judge)?;

    let side = gathered.side()?;
    let reading = facts.reading(side.bounding);
    let meaning = side.meaning(&reading)?;
    if !args.output.quiet {
        crate::notes(&meaning.notes(&side.name))?;
    }
    let programs = meaning.programs(reading.facts.arch)?;
    match args.output.format {
        Format::Json => out.emit_json(&shapes::Filters::of(&side.name, None, &programs))?,
        Format::Table => out.emit(text(&programs).as_bytes())?,
    }
    Ok(exit::CLEAN)
}

/// The filters, oldest first, with a heading where there are several.
pub(crate) fn text(programs: &[Program]) -> String {
    match programs {
        [] => "no filter: every call is allowed\n".to_owned(),
        [only] => disassemble(only),
        several => several
            .iter()
            .enumerate()
            .map(|(index, program)| {
                let age = match index {
                    0 => ", the oldest: runs last",
                    _ if index + 1 == several.len() => ", the newest: runs first",
                    _ => "",
                };
                format!("filter {index} of {}{age}\n{}", several.len(), disassemble(program))
            })
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

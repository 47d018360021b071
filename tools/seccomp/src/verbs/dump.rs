//! `dump`: the filters that are installed in a live target.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use plim_model::Observed;
use plim_observe::filters::Means;
use plim_seccomp::bpf::Program;
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::output::Destination;
use plim_tools_common::target::{TargetName, find_live};

use crate::shapes;

/// Print the filters installed in a live target, oldest first
#[derive(Parser)]
pub(crate) struct Args {
    /// docker:NAME, plim:NAME, pid:N, self, host, or a container's name
    target: String,
    /// What is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "disasm")]
    format: Format,
    /// How they are read: the BPF task iterator stops nothing, ptrace stops the target for some microseconds
    #[arg(long, value_name = "MEANS", value_parser = means(), default_value = "any")]
    means: Means,
    /// Only this one of several filters; 0 is the oldest
    #[arg(long, value_name = "INDEX")]
    filter: Option<usize>,
    /// Write to FILE, replacing it only when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    confine: ConfineArgs,
}

fn means() -> impl clap::builder::TypedValueParser<Value = Means> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(["any", "iterator", "ptrace"]).map(|word| match word.as_str() {
        "iterator" => Means::Iterator,
        "ptrace" => Means::Ptrace,
        _ => Means::Any,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text with names.
    Disasm,
    /// One filter as struct sock_filter after struct sock_filter, little-endian.
    Raw,
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
    args.confine.observe(&out, Reads::Targets)?;
    let selected = find_live(&TargetName::parse(&args.target)?)?;
    let dump = plim_observe::filters::dump(selected.pid, args.means);
    args.confine.enter(Phase::Judge)?;

    let (method, mut programs): (Option<String>, Vec<Program>) = match dump {
        Observed::Present(dump) => {
            if let Some(why) = &dump.instead_of_iterator {
                crate::notes(&[format!("read with {}; the BPF task iterator: {why}", dump.method)])?;
            }
            (Some(dump.method.to_string()), dump.into_programs())
        }
        Observed::Absent => (None, Vec::new()),
        Observed::Unknown(why) => {
            let error = anyhow::anyhow!("{why}").context(format!("filters of {}", args.target));
            return Ok(Err(error).or_status(exit::UNOBSERVABLE)?);
        }
    };
    if let Some(index) = args.filter {
        ensure!(index < programs.len(), "--filter {index}: {} has {}", args.target, count(programs.len()));
        programs = vec![programs.swap_remove(index)];
    }
    match args.format {
        Format::Disasm => out.emit(super::disasm::text(&programs).as_bytes())?,
        Format::Json => out.emit_json(&shapes::Filters::of(&args.target, method, &programs))?,
        Format::Raw => {
            let [program] = programs.as_slice() else {
                let hint = if programs.is_empty() { "" } else { "; choose one with --filter INDEX" };
                anyhow::bail!("{} has {}{hint}", args.target, count(programs.len()))
            };
            out.emit(&program.to_bytes())?;
        }
    }
    Ok(exit::CLEAN)
}

fn count(filters: usize) -> String {
    match filters {
        0 => "no filter".to_owned(),
        1 => "one filter, number 0".to_owned(),
        n => format!("{n} filters, 0 (the oldest) to {}", n - 1),
    }
}

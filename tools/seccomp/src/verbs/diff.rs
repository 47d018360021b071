//! `diff`: every class of calls that two sides answer differently.

use clap::{Parser, ValueEnum};
use plim_model::diff::{Area, Diff, UnknownFact};
use plim_tools_common::args::Output;
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::{diff_table, seccomp_diff};

use crate::pair::Pair;

/// List every class of calls that A and B answer differently, with the condition and an example
///
/// Signs: + B lets more happen, - B lets less happen, ~ neither (another error, a log entry, somebody else to ask).
#[derive(Parser)]
pub(crate) struct Args {
    /// A profile, a filter or a live target
    a: String,
    /// Another one
    b: String,
    #[command(flatten)]
    names: seccomp_diff::NamesArgs,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    confine: ConfineArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people; calls and architectures that change alike are one row.
    Table,
    /// As `plim diff` writes it: {"format","same","changes"}.
    Json,
    /// A page with every change, and the syscall wall on which the calls that differ stand out.
    Html,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let (out, style) = (args.output.destination()?, args.output.style());
    args.confine.observe(&out, Reads::of([args.a.as_str(), args.b.as_str()]))?;
    let pair = Pair::gather(&args.a, &args.b, &args.facts, args.output.quiet)?;
    args.confine.enter(Phase::Judge)?;

    let (names, meanings) = pair.meanings()?;
    let found = seccomp_diff::compare(&meanings[0], &meanings[1], args.names.wanted());
    let unknown = found.unknown.into_iter().map(|(side, why)| UnknownFact {
        side,
        area: Area::Seccomp,
        path: "/seccomp/filters".to_owned(),
        why,
    });
    let diff = Diff::new(found.changes, unknown.collect()).with_findings(found.findings);
    match args.output.format {
        Format::Json => out.emit_json(&diff)?,
        Format::Table => out.emit(diff_table::table(&diff, style).as_bytes())?,
        Format::Html => {
            let sides = [Ok(&meanings[0]), Ok(&meanings[1])];
            let page =
                diff_table::page([&names[0], &names[1]], &diff, Some(sides)).or_status(exit::UNOBSERVABLE)?;
            out.emit(page.as_bytes())?;
        }
    }
    let mut talk = diff_table::unknown(&diff);
    if !args.output.quiet && !diff.changes.is_empty() {
        talk.push(diff_table::summary(&diff));
    }
    crate::notes(&talk)?;
    Ok(match (diff.changes.is_empty(), diff.unknown.is_empty()) {
        (false, _) => exit::DIFFERENT,
        (true, false) => exit::UNOBSERVABLE,
        (true, true) => exit::CLEAN,
    })
}

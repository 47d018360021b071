//! `decompile`: a filter as a profile.

use clap::Parser;
use plim_seccomp::diagram::Store;
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::seccomp_side;

use crate::back::BackArgs;

/// Write a filter as a profile that is proven equal, or say exactly what a profile cannot
///
/// Filters that are installed together become one profile. Exit status 1: the profile differs, and stderr lists in what.
#[derive(Parser)]
pub(crate) struct Args {
    /// A filter or a live target (or a profile, which is written anew)
    target: String,
    #[command(flatten)]
    back: BackArgs,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let out = args.back.destination()?;
    args.confine.observe(&out, Reads::of([args.target.as_str()]))?;
    let gathered = seccomp_side::gather(&args.target)?;
    let facts = args.facts.gather_reading()?;
    args.confine.enter(Phase::Judge)?;

    let side = gathered.side()?;
    let meaning = side.meaning(&facts.reading(side.bounding))?;
    if !args.back.quiet {
        crate::notes(&meaning.notes(&side.name))?;
    }
    let mut store = Store::new();
    let diagram = meaning.diagram(&mut store, &side.name)?;
    args.back.write(out, &mut store, diagram, args.facts.arch())
}

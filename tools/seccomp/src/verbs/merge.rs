//! `merge`: one profile of two.

use clap::Parser;
use plim_seccomp::exact;
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::facts::FactArgs;

use crate::back::BackArgs;
use crate::pair::Pair;

/// Write the profile that permits what either permits, or what both permit
///
/// The union gives each call the weaker answer of the two by the kernel's precedence, the intersection the stronger. The profile
/// is proven to mean just that; exit status 1: a profile cannot say all of it, and stderr lists what.
#[derive(Parser)]
pub(crate) struct Args {
    /// A profile, a filter or a live target
    a: String,
    /// Another one
    b: String,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    back: BackArgs,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct How {
    /// What either permits
    #[arg(long)]
    union: bool,
    /// What both permit
    #[arg(long)]
    intersect: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let out = args.back.destination()?;
    args.confine.observe(&out, Reads::of([args.a.as_str(), args.b.as_str()]))?;
    let pair = Pair::gather(&args.a, &args.b, &args.facts, args.back.quiet)?;
    args.confine.enter(Phase::Judge)?;

    let mut pair = pair.compare()?;
    let [a, b] = pair.diagrams;
    let merged = match args.how.union {
        true => exact::union(&mut pair.store, a, b),
        false => exact::intersect(&mut pair.store, a, b),
    };
    let merged = merged.or_status(exit::UNOBSERVABLE)?;
    args.back.write(out, &mut pair.store, merged, args.facts.arch())
}

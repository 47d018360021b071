//! `subset` and `equal`: claims about every call, with a counterexample where they fail.

use clap::Parser;
use plim_seccomp::exact;
use plim_seccomp::witness::Witness;
use plim_tools_common::args::{Format, Output};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::facts::FactArgs;

use crate::pair::Pair;
use crate::shapes;

/// Prove that everything A permits is permitted by B too, or show a call for which it is not
///
/// Killing, trapping and any error refuse a call alike; a call that is left to a supervisor or tracer is more than a refused one
/// and less than an allowed one (and the two of them, or two tracers with different data, are no part of each other); allowed
/// and logged permits as much as allowed.
#[derive(Parser)]
pub(crate) struct SubsetArgs {
    #[command(flatten)]
    both: Both,
}

/// Prove that A and B give every call the same answer, or show a call for which they do not
#[derive(Parser)]
pub(crate) struct EqualArgs {
    #[command(flatten)]
    both: Both,
}

#[derive(clap::Args)]
struct Both {
    /// A profile, a filter or a live target
    a: String,
    /// Another one
    b: String,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    confine: ConfineArgs,
}

pub(crate) fn subset(args: &SubsetArgs) -> anyhow::Result<u8> {
    run(&args.both, exact::subset, ["permits nothing that", "does not"], "permits a call that")
}

pub(crate) fn equal(args: &EqualArgs) -> anyhow::Result<u8> {
    run(&args.both, exact::equal, ["answers every call as", "does"], "answers a call otherwise than")
}

type Prover = fn(
    &mut plim_seccomp::diagram::Store,
    plim_seccomp::diagram::Diagram,
    plim_seccomp::diagram::Diagram,
) -> Result<exact::Verdict, plim_seccomp::diagram::Undecided>;

fn run(args: &Both, prove: Prover, holds: [&str; 2], fails: &str) -> anyhow::Result<u8> {
    let out = args.output.destination()?;
    args.confine.observe(&out, Reads::of([args.a.as_str(), args.b.as_str()]))?;
    let pair = Pair::gather(&args.a, &args.b, &args.facts, args.output.quiet)?;
    args.confine.enter(Phase::Judge)?;

    let mut pair = pair.compare()?;
    let [a, b] = pair.diagrams;
    let verdict = prove(&mut pair.store, a, b).or_status(exit::UNOBSERVABLE)?;
    match args.output.format {
        Format::Json => out.emit_json(&shapes::Claim::of(&verdict))?,
        Format::Table => {
            let [a, b] = pair.names.each_ref().map(|name| plim_tools_common::escape(name));
            let text = match &verdict.witness {
                None => format!("holds: {a} {} {b} {}\n", holds[0], holds[1]),
                Some(witness) => format!(
                    "does not hold: {a} {fails} {b} {}\n{}\n  {a}: {}\n  {b}: {}\n",
                    holds[1],
                    Witness::from(&witness.call),
                    witness.a,
                    witness.b
                ),
            };
            out.emit(text.as_bytes())?;
        }
    }
    Ok(if verdict.holds { exit::CLEAN } else { exit::DIFFERENT })
}

//! `verify`: does the workload still work under the proposal?

use anyhow::Result;
use clap::Parser;
use plim_learn::proposal::Proposal;
use plim_learn::trial::Engine;
use plim_tools_common::args::Output;
use plim_tools_common::exit;
use plim_tools_common::output::Style;
use plim_trace::denial::Denial;
use plim_trace::report;
use serde_json::json;

use crate::verbs::trying::TrialArgs;

/// Run the workload again under the proposal, and explain every call that is refused and was not before
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    trial: TrialArgs,
    /// Run it this often; all must pass
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    let (proposal, trials) = args.trial.read()?;
    let mut outcome = trials.under(&proposal, true)?;
    let mut refusals = outcome.refusals.take().unwrap_or_default();
    for _ in 1..args.runs {
        if !outcome.passed {
            break;
        }
        outcome = trials.under(&proposal, true)?;
        let more = outcome.refusals.take().unwrap_or_default();
        refusals.denials.extend(more.denials);
        refusals.unknown = refusals.unknown.or(more.unknown);
    }
    let new = new_denials(&proposal, &refusals.denials);
    match args.output.format {
        plim_tools_common::args::Format::Json => args.output.emit_json(&json!({
            "format": "1.0",
            "passed": outcome.passed,
            "why": outcome.why,
            "engine": trials.engine.name(),
            "runs": args.runs,
            "said": outcome.said,
            "denials": new,
            "unknown": refusals.unknown,
        }))?,
        plim_tools_common::args::Format::Table => {
            let mut text = String::new();
            for denial in &new {
                text.push_str(&report::line(denial, None, Style::plain(false)));
                text.push('\n');
            }
            let verdict = if outcome.passed { "passes" } else { "FAILS" };
            text.push_str(&format!(
                "{verdict} under {}: {}; {} new kinds of refusal\n",
                trials.engine.name(),
                outcome.why,
                new.len()
            ));
            if let Some(why) = &refusals.unknown {
                text.push_str(&format!("not every refusal was observed: {why}\n"));
            }
            if !outcome.passed && !outcome.said.is_empty() {
                text.push_str(&format!("it said: {}\n", plim_model::text::escape_message(&outcome.said)));
            }
            args.output.emit(text.as_bytes())?;
        }
    }
    if trials.engine != Engine::Plim {
        crate::note(
            args.output.quiet,
            "what was refused before the tracer was attached to the running container is not seen",
        )?;
    }
    Ok(match (outcome.passed, refusals.unknown) {
        (false, _) => exit::DIFFERENT,
        (true, Some(_)) => exit::UNOBSERVABLE,
        (true, None) => exit::CLEAN,
    })
}

/// One of each kind of refusal that was not there while recording.
fn new_denials(proposal: &Proposal, denials: &[Denial]) -> Vec<Denial> {
    let mut seen = std::collections::BTreeSet::new();
    let is_new = |denial: &&Denial| {
        let name = denial.syscall.clone().unwrap_or_else(|| denial.number.to_string());
        !proposal.refused.iter().any(|known| known.name == name)
    };
    let mut new: Vec<Denial> = Vec::new();
    for denial in denials.iter().filter(is_new) {
        // The call as it is written holds addresses and numbers that differ in every run.
        if seen.insert((denial.syscall.clone(), denial.errno.clone(), format!("{:?}", denial.cause))) {
            new.push(denial.clone());
        }
    }
    new
}

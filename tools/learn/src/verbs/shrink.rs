//! `shrink`: takes away whatever the workload's test does not miss.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use plim_learn::proposal::Proposal;
use plim_learn::shrink::{Found, Log, removable, search, without};
use plim_learn::trial::{Outcome, Trials};
use plim_model::CapabilitySet;
use plim_model::diff::Diff;
use plim_seccomp::diagram::Store;
use plim_seccomp::dialect;
use plim_seccomp::exact;
use plim_seccomp::resolve::{Facts, KernelVersion, resolve};
use plim_seccomp::witness::Witness;
use plim_seccomp::{Arch, presets};
use plim_tools_common::args::{Format, Output};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::output::Style;
use plim_tools_common::seccomp_side::Meaning;
use plim_tools_common::{diff_table, seccomp_diff};
use serde_json::json;

use crate::verbs::trying::TrialArgs;

/// Take away capabilities, system calls and directories until nothing more can go with the workload's test still passing
///
/// Nothing is widened. What was tried is logged: a search that was stopped goes on where it was. The result is compared with
/// docker-default. A trial may take five times as long as the workload under the whole proposal (but 5 s in any case), and --timeout at most.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    trial: TrialArgs,
    /// What was tried [default: shrink.log beside the proposal]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Write the shrunk proposal to FILE, which verify and shrink read
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// A trial passes when this many runs of it do: for a workload whose test is not always right
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    let (proposal, mut trials) = args.trial.read()?;
    let whole = trials.under(&proposal, false)?;
    ensure_works(&whole)?;
    trials.expect(whole.took);
    let log = args.log.clone().unwrap_or_else(|| beside(&args.trial.proposal));
    let question = (&proposal, &trials.workload, &trials.engine, args.runs);
    let mut log = Log::open(&log, &question)?;
    if !log.is_empty() {
        crate::note(args.output.quiet, &format!("going on after {} trials", log.len()))?;
    }
    let items = removable(&proposal);
    let found = shrink(args, &proposal, &trials, &items, &mut log)?;
    let mut shrunk = without(&proposal, &found.removed);
    explain(&mut shrunk, &proposal, &found);
    // The search may have had luck: what is told to work is seen to work again.
    ensure_works(&trials.under(&shrunk, false)?)
        .context("what was found does not pass a second time; try --runs")?;
    if let Some(path) = &args.save {
        let text = plim_tools_common::output::json_text(&shrunk).context("write the proposal as JSON")?;
        plim_tools_common::output::write_atomically(path, text.as_bytes())?;
    }
    let proof = Proof::against_default(&shrunk)?;
    match args.output.format {
        Format::Json => args.output.emit_json(&json!({
            "format": "1.0",
            "proposal": shrunk,
            "removed": found.removed,
            "needed": found.needed,
            "trials": log.len(),
            "subset_of_docker_default": proof.holds,
            "witness": proof.witness,
            "diff_to_docker_default": proof.diff,
        }))?,
        Format::Table => {
            args.output.emit(text(&shrunk, &found, log.len(), &proof, args.output.style()).as_bytes())?;
        }
    }
    Ok(exit::CLEAN)
}

fn ensure_works(outcome: &Outcome) -> Result<()> {
    if outcome.passed {
        return Ok(());
    }
    let error = anyhow::anyhow!(
        "the workload does not work under the proposal: {}; it said: {}",
        outcome.why,
        outcome.said
    );
    Err(exit::Failure { status: exit::DIFFERENT, error }.into())
}

fn beside(proposal: &std::path::Path) -> PathBuf {
    if proposal.is_dir() { proposal.join("shrink.log") } else { proposal.with_extension("shrink.log") }
}

fn shrink(
    args: &Args,
    proposal: &Proposal,
    trials: &Trials,
    items: &[String],
    log: &mut Log,
) -> Result<Found> {
    let bar = if args.output.quiet || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} settled, {msg} [{elapsed}]");
        ProgressBar::new(items.len() as u64)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    };
    let trial = |removed: &std::collections::BTreeSet<String>| -> Result<(bool, String)> {
        let less = without(proposal, removed);
        let mut outcome = trials.under(&less, false)?;
        for _ in 1..args.runs {
            if !outcome.passed {
                break;
            }
            outcome = trials.under(&less, false)?;
        }
        Ok((outcome.passed, outcome.why))
    };
    let found = search(items, log, trial, |settled, _, removed| {
        bar.set_position(settled as u64);
        bar.set_message(format!("{removed} removed"));
    });
    bar.finish_and_clear();
    found
}

/// Adds to the evidence of what is left what happened without it.
fn explain(shrunk: &mut Proposal, whole: &Proposal, found: &Found) {
    let add = |id: &str, evidence: &mut String| {
        if let Some(why) = found.needed.get(id) {
            evidence.push_str(&format!("; without it {why}"));
        }
    };
    for entry in &mut shrunk.calls {
        let id = entry.id();
        add(&id, &mut entry.evidence);
    }
    for kept in &mut shrunk.capabilities {
        add(&kept.name.clone(), &mut kept.evidence);
    }
    for directory in &mut shrunk.tmpfs {
        add(&format!("tmpfs {}", directory.name), &mut directory.evidence);
    }
    let gone = whole.capabilities.iter().filter(|one| found.removed.contains(&one.name));
    for one in gone {
        let evidence = format!("{}; the test passes without it", one.evidence);
        shrunk.dropped.push(plim_learn::proposal::Reasoned { name: one.name.clone(), evidence });
    }
}

/// What the profile permits beyond docker-default, and what it does not.
struct Proof {
    holds: bool,
    witness: Option<String>,
    diff: Diff,
}

impl Proof {
    fn against_default(proposal: &Proposal) -> Result<Proof> {
        let text = proposal.profile(false).to_string();
        let default = presets::get("docker-default").context("the preset docker-default")?;
        let kernel = KernelVersion { major: 6, minor: 0 };
        let caps =
            proposal.capabilities.iter().filter_map(|one| plim_model::Capability::from_name(&one.name));
        let caps: CapabilitySet = caps.collect();
        let meaning = |text: &str| -> Result<Meaning> {
            let written = dialect::parse(text.as_bytes())?;
            let resolved = resolve(&written, &Facts::new(Arch::X86_64, caps, kernel))?;
            Ok(resolved.map_or(Meaning::Stack(Vec::new()), |resolved| Meaning::Rules(Box::new(resolved))))
        };
        let [own, default] = [meaning(&text)?, meaning(default)?];
        let mut store = Store::new();
        let a = own.diagram(&mut store, "the profile")?;
        let b = default.diagram(&mut store, "docker-default")?;
        let verdict = exact::subset(&mut store, a, b).or_status(exit::UNOBSERVABLE)?;
        let compared = seccomp_diff::compare(&default, &own, true);
        Ok(Proof {
            holds: verdict.holds,
            witness: verdict.witness.map(|witness| Witness::from(&witness.call).to_string()),
            diff: Diff::new(compared.changes, Vec::new()),
        })
    }
}

fn text(shrunk: &Proposal, found: &Found, trials: usize, proof: &Proof, style: Style) -> String {
    let mut text = diff_table::table(&proof.diff, style);
    text.push_str(&format!(
        "docker-default (A) against what was learned (B): {}\n\n",
        diff_table::summary(&proof.diff)
    ));
    text.push_str(&crate::verbs::propose::table(shrunk, style));
    let removed: Vec<&str> = found.removed.iter().map(String::as_str).collect();
    text.push_str(&format!(
        "\n{} could go ({}), {} are needed, each seen to be by a trial without it; {trials} trials\n",
        removed.len(),
        if removed.is_empty() { "nothing".to_owned() } else { removed.join(", ") },
        found.needed.len(),
    ));
    text.push_str(&match (&proof.witness, proof.holds) {
        (_, true) => {
            "proven: the profile permits nothing that docker-default with these capabilities does not\n"
                .to_owned()
        }
        (Some(witness), false) => {
            format!(
                "the profile permits a call that docker-default with these capabilities does not: {witness}\n"
            )
        }
        (None, false) => "the profile permits more than docker-default with these capabilities\n".to_owned(),
    });
    for limit in &shrunk.limits {
        text.push_str(&format!("limit: {limit}\n"));
    }
    text
}

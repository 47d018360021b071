//! `plim diff A B`: what one target reaches that the other does not, by meaning.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use plim_model::diff::{Area, AreaSet, Diff};
use plim_tools_common::args::Output;
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::seccomp_side::Meaning;
use plim_tools_common::timeout::TimeoutArgs;
use plim_tools_common::{diff_table, seccomp_diff};

mod judge;
mod side;
mod unified;

use judge::Judged;
use side::{Gathered, Side};

/// Compare two targets by meaning
///
/// A and B are live targets (docker:NAME, plim:NAME, pid:N, self, host, or a container's bare name), saved snapshots,
/// seccomp profiles in Docker's, OCI's or Podman's dialect, OCI config.json files, raw BPF filters (- is stdin), or
/// preset:NAME. A profile or a filter is compared with anything else by seccomp alone.
///
/// Signs: + B reaches more, - B reaches less, ~ neither contains the other. Identity (inodes, pids, ids, names) and what
/// changes by itself (memory in use) is no difference.
#[derive(Parser)]
#[command(name = "plim-diff", version, after_help = AFTER_HELP)]
struct Args {
    /// The first target
    a: String,
    /// The second target
    b: String,
    /// Compare these areas only, between commas
    #[arg(long, value_name = "AREAS", value_delimiter = ',', value_parser = area_parser())]
    only: Vec<Area>,
    /// Check a claim: `same`, or `subset`: A reaches nothing that B does not (A within B). A difference that is neither
    /// more nor less, except between two ways to refuse or to allow a call, counts against it
    #[arg(long, value_enum, value_name = "CLAIM")]
    require: Option<Claim>,
    #[command(flatten)]
    names: seccomp_diff::NamesArgs,
    #[command(flatten)]
    facts: plim_tools_common::facts::FactArgs,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    timeout: TimeoutArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

const AFTER_HELP: &str = "Exit status: 0 the same, or the claim holds; 1 different, or the claim does not hold; 2 usage \
or bad input; 3 no difference found, or nothing found against the claim, but something that matters is unknown (listed on \
stderr)";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people; rows that say the same for several architectures or capability sets are one.
    Table,
    /// The model itself, versioned: {"format","same","changes"}.
    Json,
    /// Both sides as text with the lines that differ; it shows, and does not decide.
    Unified,
    /// A page with every change, and the syscall wall on which the calls that differ stand out.
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Claim {
    /// There is no difference.
    Same,
    /// A reaches nothing that B does not.
    Subset,
}

fn area_parser() -> impl clap::builder::TypedValueParser<Value = Area> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(Area::ALL.map(Area::as_str))
        .try_map(|word| Area::from_name(&word).ok_or("unknown area"))
}

fn main() -> ExitCode {
    plim_tools_common::run_main("plim-diff", run)
}

fn run(args: Args) -> anyhow::Result<u8> {
    args.timeout.start()?;
    anyhow::ensure!(args.a != "-" || args.b != "-", "both targets are -, but stdin can be read once");
    let asked: Option<AreaSet> = (!args.only.is_empty()).then(|| args.only.iter().copied().collect());
    let areas = asked.clone().unwrap_or_else(AreaSet::all);
    let (out, style) = (args.output.destination()?, args.output.style());
    args.confine.observe(&out, Reads::of([args.a.as_str(), args.b.as_str()]))?;
    let (a, b) = (Gathered::read(&args.a, &areas)?, Gathered::read(&args.b, &areas)?);
    let facts = args.facts.gather_reading()?;
    args.confine.enter(Phase::Judge)?;

    let (a, b) = (a.side()?, b.side()?);
    let judged = judge::judge(&a, &b, asked.as_ref(), &facts, args.names.wanted())?;
    match args.output.format {
        Format::Json => out.emit_json(&judged.diff)?,
        Format::Table => out.emit(diff_table::table(&judged.diff, style).as_bytes())?,
        Format::Unified => {
            let [x, y] = texts(&a, &b, &judged, &areas);
            out.emit(unified::draw((&a.name, &b.name), &x, &y, style).as_bytes())?;
        }
        Format::Html => {
            let sides = judged.meanings.as_ref();
            let sides = sides.map(|sides| sides.each_ref().map(|side| side.as_ref().map_err(String::as_str)));
            let page =
                diff_table::page([&a.name, &b.name], &judged.diff, sides).or_status(exit::UNOBSERVABLE)?;
            out.emit(page.as_bytes())?;
        }
    }
    let status = status(&judged.diff, args.require);
    let talk = talk(&judged, args.require, status, args.output.quiet);
    plim_tools_common::output::to_stderr(talk.as_bytes())?;
    Ok(status)
}

/// Both sides as text for `--format unified`.
fn texts(a: &Side, b: &Side, judged: &Judged, areas: &AreaSet) -> [String; 2] {
    if let (Some(x), Some(y)) = (&a.snapshot, &b.snapshot) {
        let mut texts = [unified::snapshot(x, areas), unified::snapshot(y, areas)];
        if let [Some(old), Some(new)] = [a, b].map(Side::programs) {
            let [old, new] = [old, new].map(|programs| Meaning::Stack(programs.to_vec()));
            for (text, calls) in texts.iter_mut().zip(seccomp_diff::texts([&old, &new])) {
                text.push_str(&calls);
            }
        }
        return texts;
    }
    match &judged.meanings {
        Some([Ok(x), Ok(y)]) => seccomp_diff::texts([x, y]),
        Some(sides) => sides.clone().map(|side| match side {
            Ok(meaning) => {
                let [text, _] = seccomp_diff::texts([&meaning, &meaning]);
                text
            }
            Err(why) => format!("not known: {why}\n"),
        }),
        None => [String::new(), String::new()],
    }
}

/// A definite answer goes before an unknown: a difference that was found stays one, whatever else is unknown.
fn status(diff: &Diff, claim: Option<Claim>) -> u8 {
    let against = match claim {
        None | Some(Claim::Same) => !diff.changes.is_empty(),
        Some(Claim::Subset) => !diff.a_within_b(),
    };
    match (against, diff.unknown.is_empty()) {
        (true, _) => exit::DIFFERENT,
        (false, false) => exit::UNOBSERVABLE,
        (false, true) => exit::CLEAN,
    }
}

/// What goes to stderr. The list of unknown facts is no talk that `--quiet` may silence: without it status 3 says nothing.
fn talk(judged: &Judged, claim: Option<Claim>, status: u8, quiet: bool) -> String {
    let mut lines: Vec<String> = judged.notes.iter().map(|note| format!("note: {note}")).collect();
    if !quiet && !judged.diff.changes.is_empty() {
        lines.push(diff_table::summary(&judged.diff));
    }
    lines.extend(diff_table::unknown(&judged.diff));
    if let Some(claim) = claim.filter(|_| !quiet) {
        let words = match claim {
            Claim::Same => "A and B are the same",
            Claim::Subset => "A reaches nothing that B does not",
        };
        let verdict = match status {
            exit::CLEAN => "holds",
            exit::DIFFERENT => "does not hold",
            _ => "is not shown: something is unknown",
        };
        lines.push(format!("the claim \"{words}\" {verdict}"));
    }
    lines.iter().map(|line| format!("plim-diff: {}\n", plim_model::text::escape_message(line))).collect()
}

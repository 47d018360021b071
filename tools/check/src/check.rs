//! `plim check`.

use clap::{Parser, ValueEnum};
use plim_model::CapabilitySet;
use plim_policy::judge::{Options, judge};
use plim_policy::rules::{Date, PolicySet, load};
use plim_policy::{Findings, Severity};
use plim_tools_common::args::Output;
use plim_tools_common::facts::FactArgs;
use plim_tools_common::{exit, output};

use crate::files::{Disk, parse_day, today};
use crate::gather::{Gathered, gather};
use crate::render;

const NAME: &str = "plim-check";

/// The policy of who names none.
const DEFAULT: &str = "pack:docker-default";

/// Judge containers, manifests and command lines by policies
///
/// A target is something that runs (docker:NAME, plim:NAME, pid:N, self, host, a name), a file or - for stdin (snapshots,
/// Kubernetes manifests, Compose files, OCI config.json, docker inspect, image configurations), or a directory of such files.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = AFTER_HELP)]
pub struct Args {
    /// What to judge
    #[arg(value_name = "TARGET", required_unless_present_any = ["all", "command_lines", "explain"])]
    targets: Vec<String>,
    /// Every running container of every engine
    #[arg(long)]
    all: bool,
    /// Judge what this docker run command line would start
    #[arg(long = "cmdline", value_name = "COMMAND")]
    command_lines: Vec<String>,
    /// A policy file, or pack:NAME (pack:pss-restricted@1.31) [default: pack:docker-default]
    #[arg(short, long = "policy", value_name = "POLICY")]
    policies: Vec<String>,
    /// Fail on findings of this severity or worse
    #[arg(long, value_name = "SEVERITY", default_value = "low", value_parser = parse_severity)]
    fail_on: Severity,
    /// Say what a rule checks, why, and what to do about it
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
    /// The day by which ignores expire [default: today]
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    today: Option<Date>,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    output: Output<Format>,
}

const AFTER_HELP: &str = "Exit status: 0 nothing fails, 1 findings at or above --fail-on, 2 usage or bad input, 3 nothing fails \
but something at or above --fail-on could not be observed";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// The model itself, versioned: {"format","findings","summary"}.
    Json,
}

fn parse_severity(word: &str) -> Result<Severity, String> {
    Severity::from_name(word).ok_or_else(|| {
        let names = Severity::ALL.map(Severity::as_str);
        format!("expected {}{}", names.join(", "), plim_tools_common::nearest::hint(word, names))
    })
}

/// Judges.
///
/// # Errors
/// A target or policy that cannot be read.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let default = [DEFAULT.to_owned()];
    let policies = if args.policies.is_empty() { &default[..] } else { &args.policies };
    let set = load(policies, &Disk)?;
    if let Some(id) = &args.explain {
        return explain(args, &set, id);
    }
    let mut gathered = gather(&args.targets, args.all, &args.command_lines)?;
    let findings = judged(args, &set, &mut gathered)?;
    let mut talk = gathered.notes.clone();
    if args.policies.is_empty() {
        talk.push(format!("judged by {DEFAULT}; name another with --policy"));
    }
    match args.output.format {
        Format::Json => args.output.emit_json(&findings)?,
        Format::Table => args.output.emit(render::table(&findings, args.output.style()).as_bytes())?,
    }
    if args.output.format != Format::Table {
        talk.push(render::summary(&findings));
    }
    if !args.output.quiet {
        let lines: String =
            talk.iter().map(|line| format!("{NAME}: {}\n", plim_model::text::escape_message(line))).collect();
        output::to_stderr(lines.as_bytes())?;
    }
    Ok(status(&findings, args.fail_on, gathered.incomplete))
}

fn judged(args: &Args, set: &PolicySet, gathered: &mut Gathered) -> anyhow::Result<Findings> {
    let options = Options {
        today: args.today.unwrap_or_else(today),
        facts: args.facts.facts(Some(CapabilitySet::DOCKER_DEFAULT))?,
        source: &Disk,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let mut findings = judge(set, &gathered.subjects, &options);
    findings.not_applicable.append(&mut gathered.not_applicable);
    findings.not_applicable.sort();
    Ok(findings)
}

fn status(findings: &Findings, threshold: Severity, incomplete: bool) -> u8 {
    if findings.fails_at(threshold) {
        exit::DIFFERENT
    } else if incomplete || findings.unobserved_at(threshold) {
        exit::UNOBSERVABLE
    } else {
        exit::CLEAN
    }
}

fn explain(args: &Args, set: &PolicySet, id: &str) -> anyhow::Result<u8> {
    let Some(rule) = set.rule(id) else {
        let hint = plim_tools_common::nearest::hint(id, set.rules.iter().map(|rule| rule.id.as_str()));
        anyhow::bail!("no rule {id:?} in these policies{hint}");
    };
    args.output.emit(render::explain(rule).as_bytes())?;
    Ok(exit::CLEAN)
}

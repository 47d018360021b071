//! `plim check`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use plim_model::CapabilitySet;
use plim_policy::judge::{Options, judge_with};
use plim_policy::rules::{Date, PolicySet, load};
use plim_policy::{Finding, Findings, Severity, packs, report};
use plim_tools_common::args::Output;
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit;
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::{Destination, Style};
use plim_tools_common::timeout::TimeoutArgs;

use crate::files::{Files, ProfileArgs, parse_day, today};
use crate::gather::{CommandLines, Gathered, collect};
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
    #[arg(value_name = "TARGET", required_unless_present_any = ["all", "lines", "files", "explain"])]
    targets: Vec<String>,
    /// Every running container of every engine
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    command_lines: CommandLines,
    /// A policy file, or pack:NAME (pack:pss-restricted@1.31) [default: pack:docker-default]
    #[arg(short, long = "policy", value_name = "POLICY")]
    policies: Vec<String>,
    /// Fail on findings of this severity or worse
    #[arg(long, value_name = "SEVERITY", default_value = "low", value_parser = parse_severity)]
    fail_on: Severity,
    /// Fail when a target has more privileges than this lock file says
    #[arg(long, value_name = "FILE")]
    lock: Option<String>,
    /// Say what a rule checks, why, and what to do about it; without --policy a rule of any pack
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
    /// The day by which ignores expire [default: today]
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    today: Option<Date>,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    profiles: ProfileArgs,
    #[command(flatten)]
    timeout: TimeoutArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

const AFTER_HELP: &str = "Exit status: 0 nothing fails, 1 findings at or above --fail-on, 2 usage or bad input, 3 nothing fails \
but something at or above --fail-on could not be observed";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// The model itself, versioned: {"format","findings","summary"}.
    Json,
    /// SARIF 2.1.0, as GitHub's code scanning takes it.
    Sarif,
    /// JUnit XML: a suite per target, a case per rule.
    Junit,
    /// Annotations of a GitHub Actions step; the whole goes to its summary.
    Github,
    /// For a comment on a pull request.
    Markdown,
    /// One page.
    Html,
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
    args.timeout.start()?;
    let default = [DEFAULT.to_owned()];
    // Held to a lock file, a target needs no other judge.
    let by_default = args.policies.is_empty() && args.lock.is_none();
    let policies = if by_default { &default[..] } else { &args.policies };
    let place = Place::of(args)?;
    args.confine.observe(&place.out, Reads::of_all(args.all, &args.targets))?;
    let mut files = Files::new(args.confine.no_self_confine, &args.profiles);
    files.add_policies(policies);
    if let Some(id) = &args.explain {
        args.confine.enter(Phase::Judge)?;
        // Who asks for a rule by its id may not know which pack has it.
        let all: Vec<String> = packs::names().map(|name| format!("pack:{name}")).collect();
        let policies = if args.policies.is_empty() { &all } else { &args.policies };
        return explain(&load(policies, &files)?, id, place.out);
    }
    if let Some(lock) = &args.lock {
        files.add_data(Path::new(lock));
    }
    let collected = collect(&args.targets, args.all, &args.command_lines)?;
    collected.add_profiles_to(&mut files);
    let facts = args.facts.gather()?;
    let options = Options {
        today: args.today.unwrap_or_else(today),
        facts: facts.facts(Some(CapabilitySet::DOCKER_DEFAULT)),
        engine: facts.engine(),
        libseccomp: facts.libseccomp(),
        source: &files,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    args.confine.enter(Phase::JudgeInThreads)?;

    let set = load(policies, &files)?;
    let lock = args.lock.as_deref().map(|lock| crate::lock::read(lock, &files)).transpose()?;
    let mut gathered = collected.understand()?;
    let mut talk = gathered.notes.clone();
    let mut grown = Vec::new();
    if let (Some(lock), Some(file)) = (&lock, &args.lock) {
        let locked = plim_policy::lock::check(lock, file, &gathered.subjects);
        grown = locked.findings;
        if !locked.shrunk.is_empty() {
            let names = locked.shrunk.join(", ");
            talk.push(format!("less than is locked: {names}; plim lock --update -o {file} writes that down"));
        }
        if !locked.unseen.is_empty() {
            talk.push(format!("in {file} and not looked at: {}", locked.unseen.join(", ")));
        }
    }
    let findings = judged(&set, &mut gathered, &options, grown);
    if by_default {
        talk.push(format!("judged by {DEFAULT}; name another with --policy"));
    }
    place.emit(args, &set, &findings)?;
    if args.output.format != Format::Table {
        talk.push(render::summary(&findings));
    }
    if !args.output.quiet {
        crate::notes(NAME, &talk)?;
    }
    Ok(status(&findings, args.fail_on, gathered.incomplete))
}

/// What was opened, and what is left to know of the machine, before this process confines itself.
struct Place {
    out: Destination,
    style: Style,
    /// The step's summary, which holds what the ten annotations of a step have no room for.
    summary: Option<(PathBuf, File)>,
    /// Paths of reports are relative to it.
    directory: Option<String>,
}

impl Place {
    fn of(args: &Args) -> anyhow::Result<Place> {
        let summary = match std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
            Some(path) if args.output.format == Format::Github && args.explain.is_none() => {
                let path = PathBuf::from(path);
                let file = File::options().append(true).create(true).open(&path);
                let file = file.with_context(|| format!("append to {}", path.display()))?;
                Some((path, file))
            }
            _ => None,
        };
        let directory = std::env::current_dir().ok().map(|path| path.display().to_string());
        Ok(Place { out: args.output.destination()?, style: args.output.style(), summary, directory })
    }

    /// Writes the findings in the format that was asked for.
    fn emit(self, args: &Args, set: &PolicySet, findings: &Findings) -> anyhow::Result<()> {
        let out = self.out;
        match args.output.format {
            Format::Json => out.emit_json(findings),
            Format::Table => out.emit(render::table(findings, self.style).as_bytes()),
            Format::Sarif => {
                // Findings without a file of their own belong to the policy, or the lock.
                let own = args.policies.iter().find(|policy| !policy.starts_with("pack:"));
                let fallback = own.or(args.lock.as_ref()).map_or("plim-policy.yaml", String::as_str);
                let rules = report::rules(set);
                out.emit_json(&report::sarif(findings, &rules, self.directory.as_deref(), fallback))
            }
            Format::Junit => out.emit(report::junit(findings).as_bytes()),
            Format::Github => {
                if let Some((path, mut file)) = self.summary {
                    use std::io::Write;
                    file.write_all(report::markdown(findings).as_bytes())
                        .with_context(|| format!("append to {}", path.display()))?;
                }
                out.emit(report::github(findings).as_bytes())
            }
            Format::Markdown => out.emit(report::markdown(findings).as_bytes()),
            Format::Html => out.emit(report::html(findings).as_bytes()),
        }
    }
}

fn judged(set: &PolicySet, gathered: &mut Gathered, options: &Options<'_>, more: Vec<Finding>) -> Findings {
    let mut findings = judge_with(set, &gathered.subjects, options, more);
    findings.not_applicable.append(&mut gathered.not_applicable);
    findings.not_applicable.sort();
    findings
}

fn status(findings: &Findings, threshold: Severity, incomplete: bool) -> u8 {
    if findings.fails_at(threshold) {
        exit::DIFFERENT
    } else if incomplete || findings.findings.is_empty() || findings.unobserved_at(threshold) {
        // Where nothing was judged nothing passed.
        exit::UNOBSERVABLE
    } else {
        exit::CLEAN
    }
}

fn explain(set: &PolicySet, id: &str, out: Destination) -> anyhow::Result<u8> {
    let known = report::rules(set);
    let Some(about) = known.iter().find(|rule| rule.id == id) else {
        let hint = plim_tools_common::nearest::hint(id, known.iter().map(|rule| rule.id.as_str()));
        anyhow::bail!("no rule {id:?} in these policies{hint}");
    };
    out.emit(render::explain(about, set.rule(id)).as_bytes())?;
    Ok(exit::CLEAN)
}

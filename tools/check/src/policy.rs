//! `plim policy`: start a policy, test a policy.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use plim_model::CapabilitySet;
use plim_policy::Outcome;
use plim_policy::judge::{Options, judge};
use plim_policy::rules::{Date, load};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::Destination;
use plim_tools_common::timeout::TimeoutArgs;
use plim_tools_common::{exit, output};

use crate::files::{Files, ProfileArgs, parse_day, today};
use crate::gather::{CommandLines, collect};

mod test;

const NAME: &str = "plim-policy";

/// Start and test policies
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str =
    "Exit status: 0 written, or every test holds; 1 a test does not hold; 2 usage or bad input";

#[derive(Debug, Subcommand)]
enum Verb {
    Init(Init),
    Test(test::Args),
    List(List),
}

/// Write a policy that passes today: a pack, and an ignore with an end for everything that it finds now
#[derive(Debug, Parser)]
struct Init {
    /// What the policy is for: something that runs, a file, or a directory of files
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    targets: Vec<String>,
    /// Every running container of every engine
    #[arg(long)]
    all: bool,
    /// The pack or policy to build on
    #[arg(short, long = "policy", value_name = "POLICY", default_value = "pack:hardened")]
    policies: Vec<String>,
    /// Where the policy goes [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The last day of the ignores [default: in 90 days]
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    expires: Option<Date>,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    profiles: ProfileArgs,
    #[command(flatten)]
    timeout: TimeoutArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

/// List the packs that are shipped
#[derive(Debug, Parser)]
struct List {}

/// Runs a verb.
///
/// # Errors
/// A file or target that cannot be read.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    match &args.verb {
        Verb::Init(args) => init(args),
        Verb::Test(args) => test::run(args),
        Verb::List(_) => list(),
    }
}

fn list() -> anyhow::Result<u8> {
    let mut text = String::new();
    for name in plim_policy::packs::names() {
        let pack = format!("pack:{name}");
        let count = load(std::slice::from_ref(&pack), &Files::default())?.rules.len();
        let own = plim_policy::rules::read(plim_policy::packs::get(name).unwrap_or_default(), &pack, None)?;
        let title = own.title.unwrap_or_default();
        text.push_str(&format!("{pack:<20} {count:>2} rules  {title}\n"));
    }
    output::to_stdout(text.as_bytes())?;
    Ok(exit::CLEAN)
}

/// What judging depends on, asked of the machine.
fn options<'s>(facts: &FactArgs, files: &'s Files, today: Date) -> anyhow::Result<Options<'s>> {
    let facts = facts.gather()?;
    Ok(Options {
        today,
        facts: facts.facts(Some(CapabilitySet::DOCKER_DEFAULT)),
        engine: facts.engine(),
        libseccomp: facts.libseccomp(),
        source: files,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    })
}

fn init(args: &Init) -> anyhow::Result<u8> {
    args.timeout.start()?;
    let out = match &args.output {
        Some(path) => Destination::file(path)?,
        None => Destination::stdout(),
    };
    args.confine.observe(&out, Reads::of_all(args.all, &args.targets))?;
    let mut files = Files::new(args.confine.no_self_confine, &args.profiles);
    files.add_policies(&args.policies);
    let collected = collect(&args.targets, args.all, &CommandLines::default())?;
    collected.add_profiles_to(&mut files);
    let day = today();
    let options = options(&args.facts, &files, day)?;
    args.confine.enter(Phase::JudgeInThreads)?;

    let set = load(&args.policies, &files)?;
    let gathered = collected.understand()?;
    crate::notes(NAME, &gathered.notes)?;
    let findings = judge(&set, &gathered.subjects, &options);
    let expires = args.expires.unwrap_or_else(|| in_days(90));
    let mut open: BTreeMap<(&str, &str), (&str, &str)> = BTreeMap::new();
    for finding in
        findings.findings.iter().filter(|f| matches!(f.outcome, Outcome::Fail | Outcome::NotObservable))
    {
        open.insert((&finding.target, &finding.rule), (&finding.title, finding.outcome.as_str()));
    }
    let quoted = |text: &str| serde_json::Value::String(text.to_owned()).to_string();
    let mut text = format!(
        "# Written by plim policy init on {day}: passes today. Every ignore below is something to repair or to decide about\n\
         # before {expires}; after that day it is a finding again.\n\
         format: \"1.0\"\nname: project\nextends:\n"
    );
    for policy in &args.policies {
        text.push_str(&format!("  - {}\n", quoted(policy)));
    }
    if !open.is_empty() {
        text.push_str("ignores:\n");
    }
    for ((target, rule), (title, outcome)) in &open {
        text.push_str(&format!(
            "  - rule: {}\n    target: {}\n    reason: {}\n    expires: {expires}\n",
            quoted(rule),
            quoted(target),
            quoted(&format!("{outcome} on {day}: {title}"))
        ));
    }
    out.emit(text.as_bytes())?;
    Ok(exit::CLEAN)
}

fn in_days(days: u64) -> Date {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Date::of_unix_seconds(since.as_secs() + days * 86_400)
}

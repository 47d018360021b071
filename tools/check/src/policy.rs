//! `plim policy`: start a policy, test a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};
use plim_model::CapabilitySet;
use plim_policy::Outcome;
use plim_policy::judge::{Options, judge};
use plim_policy::rules::{Date, Source, load};
use plim_policy::text::{Limits, Node, read};
use plim_tools_common::confine::{ConfineArgs, Phase};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::Destination;
use plim_tools_common::{exit, output};

use crate::files::{Files, parse_day, today};
use crate::gather::{Collected, Gathered, collect};

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
    Test(Test),
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
    confine: ConfineArgs,
}

/// Run the tests of policies: targets in, expected findings out
#[derive(Debug, Parser)]
struct Test {
    /// Test files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    facts: FactArgs,
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
        Verb::Test(args) => test(args),
        Verb::List(_) => list(),
    }
}

fn list() -> anyhow::Result<u8> {
    let mut text = String::new();
    for name in plim_policy::packs::names() {
        let set = load(&[format!("pack:{name}")], &Files::default())?;
        text.push_str(&format!("pack:{name:<16} {} rules\n", set.rules.len()));
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
    let mut files = Files::new(args.confine.no_self_confine);
    files.add_policies(&args.policies);
    let collected = collect(&args.targets, args.all, &[])?;
    collected.add_profiles_to(&mut files);
    let day = today();
    let options = options(&args.facts, &files, day)?;
    let out = match &args.output {
        Some(path) => Destination::file(path)?,
        None => Destination::stdout(),
    };
    args.confine.enter(Phase::writing_to(&out).with_threads())?;

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

const FILE_KEYS: [&str; 4] = ["format", "policy", "today", "tests"];
const TEST_KEYS: [&str; 5] = ["name", "target", "cmdline", "today", "expect"];
const EXPECT_KEYS: [&str; 4] = ["fail", "not-observable", "ignored", "pass"];

fn test(args: &Test) -> anyhow::Result<u8> {
    let (mut lines, mut held, mut failed) = (Vec::new(), 0, 0);
    for file in &args.files {
        for (name, outcome) in tests_of(file, &args.facts)? {
            match outcome {
                None => held += 1,
                Some(wrong) => {
                    failed += 1;
                    lines.push(format!("{file}: {name}"));
                    lines.extend(wrong.into_iter().map(|line| format!("  {line}")));
                }
            }
        }
    }
    lines.push(format!("{held} tests hold, {failed} do not"));
    let text: String =
        lines.iter().map(|line| format!("{}\n", plim_model::text::escape_message(line))).collect();
    output::to_stdout(text.as_bytes())?;
    Ok(if failed == 0 { exit::CLEAN } else { exit::DIFFERENT })
}

/// The tests of one file: name, and what is wrong.
fn tests_of(file: &str, facts: &FactArgs) -> anyhow::Result<Vec<(String, Option<Vec<String>>)>> {
    // Tests name what they look at, one's own files: they are read as they come.
    let files = Files::new(true);
    let (text, _) = files.text(file, None).map_err(anyhow::Error::msg)?;
    let fail = |node: &Node, what: String| anyhow::anyhow!("{file}: {}: {what}", node.at);
    let documents = read(&text, Limits::POLICY).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
    let [document] = documents.as_slice() else { anyhow::bail!("{file}: expected one document") };
    keys(document, &FILE_KEYS).map_err(|what| fail(document, what))?;
    let directory = Path::new(file).parent().map(Path::to_owned).unwrap_or_default();
    let beside = |name: &str| directory.join(name).display().to_string();
    let policies: Vec<String> = match document.get("policy") {
        None => anyhow::bail!("{file}: {}: policy is missing", document.at),
        Some(node) => {
            node.text().into_iter().chain(node.items().iter().filter_map(Node::text)).collect::<Vec<_>>()
        }
    }
    .into_iter()
    .map(|name| if name.starts_with("pack:") { name.to_owned() } else { beside(name) })
    .collect();
    let set = load(&policies, &files)?;
    let day = |node: &Node| -> anyhow::Result<Option<Date>> {
        let Some(day) = node.get("today") else { return Ok(None) };
        let parsed = day.text().and_then(Date::parse);
        parsed.map(Some).ok_or_else(|| fail(day, "today: expected a day as 2026-12-31".to_owned()))
    };
    let of_file = day(document)?;
    let tests = document.get("tests").map(Node::items).unwrap_or_default();
    anyhow::ensure!(!tests.is_empty(), "{file}: {}: no tests", document.at);
    let mut results = Vec::new();
    for test in tests {
        keys(test, &TEST_KEYS).map_err(|what| fail(test, what))?;
        let name = test.text_of("name").ok_or_else(|| fail(test, "name is missing".to_owned()))?;
        let gathered: Gathered = match (test.text_of("target"), test.text_of("cmdline")) {
            (Some(target), None) => collect(&[beside(target)], false, &[]),
            (None, Some(line)) => collect(&[], false, &[line.to_owned()]),
            _ => return Err(fail(test, "expected one of target and cmdline".to_owned())),
        }
        .and_then(Collected::understand)
        .with_context(|| format!("{file}: {}: {name}", test.at))?;
        let expect = test.get("expect").ok_or_else(|| fail(test, "expect is missing".to_owned()))?;
        keys(expect, &EXPECT_KEYS).map_err(|what| fail(expect, what))?;
        let today = day(test)?.or(of_file).unwrap_or_else(today);
        let findings = judge(&set, &gathered.subjects, &options(facts, &files, today)?);
        let mut wrong = Vec::new();
        for (word, outcome) in [
            ("fail", Outcome::Fail),
            ("not-observable", Outcome::NotObservable),
            ("ignored", Outcome::Ignored),
            ("pass", Outcome::Pass),
        ] {
            let Some(list) = expect.get(word) else { continue };
            let expected: BTreeSet<&str> =
                list.text().into_iter().chain(list.items().iter().filter_map(Node::text)).collect();
            let of = |finding: &&plim_policy::Finding| finding.outcome == outcome;
            let found: BTreeSet<&str> =
                findings.findings.iter().filter(of).map(|f| f.rule.as_str()).collect();
            for rule in expected.difference(&found) {
                let instead = findings.findings.iter().find(|finding| finding.rule == **rule);
                let instead = instead.map_or("not judged", |finding| finding.outcome.as_str());
                wrong.push(format!("{rule}: expected {word}, found {instead}"));
            }
            // Of passes only those that matter are named. That one target does not need every ignore says nothing.
            if outcome != Outcome::Pass {
                let more = found.difference(&expected).filter(|rule| **rule != "PLIM-P002");
                wrong.extend(more.map(|rule| format!("{rule}: {word}, which was not expected")));
            }
        }
        results.push((name.to_owned(), (!wrong.is_empty()).then_some(wrong)));
    }
    Ok(results)
}

fn keys(node: &Node, known: &[&str]) -> Result<(), String> {
    for (key, _) in node.entries() {
        if !known.contains(&key.text.as_str()) {
            let hint = plim_tools_common::nearest::hint(&key.text, known.iter().copied());
            return Err(format!("unknown key {:?}{hint}; there are {}", key.text, known.join(", ")));
        }
    }
    Ok(())
}

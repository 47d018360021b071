//! `plim policy test`: targets in, expected findings out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use plim_policy::Outcome;
use plim_policy::judge::{Options, judge};
use plim_policy::rules::{Date, Source, load};
use plim_policy::text::{Limits, Node, read};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::Destination;
use plim_tools_common::timeout::TimeoutArgs;
use plim_tools_common::{exit, output};

use crate::files::{self, Files, ProfileArgs, today};
use crate::gather::{Collected, CommandLines, collect};

/// Run the tests of policies: targets in, expected findings out
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Test files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    profiles: ProfileArgs,
    #[command(flatten)]
    timeout: TimeoutArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

const FILE_KEYS: [&str; 4] = ["format", "policy", "today", "tests"];
const TEST_KEYS: [&str; 5] = ["name", "target", "cmdline", "today", "expect"];
const EXPECT_KEYS: [&str; 4] = ["fail", "not-observable", "ignored", "pass"];

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    args.timeout.start()?;
    args.confine.observe(&Destination::stdout(), Reads::Files)?;
    let mut files = Files::new(args.confine.no_self_confine, &args.profiles);
    let mut targets = Targets { open: args.confine.no_self_confine, ..Targets::default() };
    for file in &args.files {
        files.add(Path::new(file), None);
        if let Ok((text, _)) = files.text(file, None) {
            targets.add(&text, Path::new(file));
            // A command line is typed here, and names files from here.
            files.add_profiles(&text, None);
        }
    }
    targets.add_profiles_to(&mut files);
    let options = super::options(&args.facts, &files, today())?;
    args.confine.enter(Phase::JudgeInThreads)?;

    let (mut lines, mut held, mut failed) = (Vec::new(), 0, 0);
    for file in &args.files {
        for (name, outcome) in tests_of(file, &files, &targets, &options)? {
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

/// What tests look at, read before this process confines itself and thus before the tests are parsed: everything behind the word
/// `target` that could be a name and is there.
#[derive(Default)]
struct Targets {
    known: BTreeMap<PathBuf, Result<Collected, String>>,
    /// Not confined: what is missing is read when it is asked for.
    open: bool,
}

impl Targets {
    fn add(&mut self, text: &str, from: &Path) {
        for name in files::named_after("target", text) {
            let path = files::beside(Path::new(name), Some(from));
            if path.exists() && !self.known.contains_key(&path) {
                let collected = read_target(&path);
                self.known.insert(path, collected);
            }
        }
    }

    fn add_profiles_to(&self, files: &mut Files) {
        self.known.values().flatten().for_each(|collected| collected.add_profiles_to(files));
    }

    fn get(&self, path: &Path) -> Result<Collected, String> {
        match self.known.get(path) {
            Some(known) => known.clone(),
            None if self.open => read_target(path),
            None => Err(format!(
                "read {}: not there, or not seen to be a target's name before this process confined itself (--no-self-confine)",
                path.display()
            )),
        }
    }
}

/// A test looks at files alone: what runs differs from day to day.
fn read_target(path: &Path) -> Result<Collected, String> {
    // With a slash it is a path, whatever else its name could mean.
    let name = if path.components().count() > 1 { path.to_owned() } else { Path::new(".").join(path) };
    collect(&[name.display().to_string()], false, &CommandLines::default())
        .map_err(|error| format!("{error:#}"))
}

/// The tests of one file: name, and what is wrong.
fn tests_of(
    file: &str,
    files: &Files,
    targets: &Targets,
    options: &Options<'_>,
) -> anyhow::Result<Vec<(String, Option<Vec<String>>)>> {
    let (text, _) = files.text(file, None).map_err(anyhow::Error::msg)?;
    let fail = |node: &Node, what: String| anyhow::anyhow!("{file}: {}: {what}", node.at);
    let documents = read(&text, Limits::POLICY).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
    let [document] = documents.as_slice() else { anyhow::bail!("{file}: expected one document") };
    keys(document, &FILE_KEYS).map_err(|what| fail(document, what))?;
    let beside = |name: &str| files::beside(Path::new(name), Some(Path::new(file))).display().to_string();
    let policies: Vec<String> = match document.get("policy") {
        None => anyhow::bail!("{file}: {}: policy is missing", document.at),
        Some(node) => {
            node.text().into_iter().chain(node.items().iter().filter_map(Node::text)).collect::<Vec<_>>()
        }
    }
    .into_iter()
    .map(|name| if name.starts_with("pack:") { name.to_owned() } else { beside(name) })
    .collect();
    let set = load(&policies, files)?;
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
        let collected = match (test.text_of("target"), test.text_of("cmdline")) {
            (Some(target), None) => targets
                .get(&files::beside(Path::new(target), Some(Path::new(file))))
                .map_err(anyhow::Error::msg),
            (None, Some(line)) => {
                collect(&[], false, &CommandLines { lines: vec![line.to_owned()], files: Vec::new() })
            }
            _ => return Err(fail(test, "expected one of target and cmdline".to_owned())),
        };
        let gathered = collected
            .and_then(Collected::understand)
            .with_context(|| format!("{file}: {}: {name}", test.at))?;
        if gathered.incomplete {
            return Err(fail(test, gathered.notes.join("; ")));
        }
        let expect = test.get("expect").ok_or_else(|| fail(test, "expect is missing".to_owned()))?;
        keys(expect, &EXPECT_KEYS).map_err(|what| fail(expect, what))?;
        let today = day(test)?.or(of_file).unwrap_or(options.today);
        let findings = judge(&set, &gathered.subjects, &Options { today, ..*options });
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

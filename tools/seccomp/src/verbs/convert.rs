//! `convert`: a profile in another dialect.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use plim_seccomp::diagram::Store;
use plim_seccomp::dialect::{self, Dialect, Fate, Rewritten, Unsaid, Written};
use plim_seccomp::resolve::{Facts, resolve};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::Destination;
use plim_tools_common::seccomp_side::{self, Content};

use crate::shapes;

/// Write a profile in another dialect, and say what that dialect cannot
///
/// The result is read back and proven to mean the same for the facts below. What the dialect has no words for is settled for
/// these facts, dropped where no answer depends on it, or lost, and listed on stderr. Exit status 1: something was lost.
#[derive(Parser)]
pub(crate) struct Args {
    /// A profile
    profile: String,
    /// Whose JSON is written
    #[arg(long, value_enum, value_name = "DIALECT")]
    to: To,
    /// What is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "profile")]
    format: Format,
    /// Write to FILE, replacing it only when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Say only what was lost
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// Docker's, with archMap, includes and excludes.
    Docker,
    /// The OCI runtime specification's linux.seccomp, for one machine and one container.
    Oci,
    /// Podman's, with errors by name.
    Podman,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The profile alone.
    Profile,
    /// The profile and what it cannot say, versioned.
    Json,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let out = match &args.output {
        Some(path) => Destination::file(path)?,
        None => Destination::stdout(),
    };
    args.confine.observe(&out, Reads::of([args.profile.as_str()]))?;
    let gathered = seccomp_side::gather(&args.profile)?;
    let facts = args.facts.gather()?;
    ensure!(
        facts.engine().is_none() && facts.libseccomp().is_none(),
        "convert writes what the profile says; what an engine installs of it writes `decompile PROFILE --as ENGINE`"
    );
    args.confine.enter(Phase::Judge)?;

    let side = gathered.side()?;
    let Content::Profile(written) = &side.content else {
        anyhow::bail!("{} is no profile but a filter; `decompile` makes a profile of it", side.name)
    };
    let facts = facts.facts(None);
    let dialect = match args.to {
        To::Docker => Dialect::Docker,
        To::Oci => Dialect::Oci,
        To::Podman => Dialect::Podman,
    };
    let rewritten = dialect::write(written, dialect, &facts);
    prove(written, &rewritten, &facts, &side.name)?;
    match args.format {
        Format::Profile => out.emit_json(&rewritten.json)?,
        Format::Json => out.emit_json(&shapes::Conversion::of(&rewritten))?,
    }
    crate::notes(&statement(&rewritten.unsaid, args.quiet))?;
    let lost = rewritten.unsaid.iter().any(|unsaid| unsaid.fate == Fate::Lost);
    Ok(if lost { exit::DIFFERENT } else { exit::CLEAN })
}

/// Reads the result back and compares the meanings.
fn prove(written: &Written, rewritten: &Rewritten, facts: &Facts, name: &str) -> anyhow::Result<()> {
    let again = dialect::parse(rewritten.json.to_string().as_bytes())
        .context("internal error: the result is no profile, and is not written")?;
    let mut store = Store::new();
    let mut meaning = |profile: &Written| -> anyhow::Result<_> {
        let resolved = resolve(profile, facts).with_context(|| name.to_owned())?;
        let diagram = resolved.map(|resolved| store.of_resolved(&resolved)).transpose();
        Ok(diagram.with_context(|| name.to_owned()).or_status(exit::UNOBSERVABLE)?)
    };
    let same = meaning(written)? == meaning(&again)?;
    ensure!(same, "internal error: the result does not mean the same, and is not written");
    Ok(())
}

/// What is said, with the places that share a fate and a reason in one line.
fn statement(unsaid: &[Unsaid], only_lost: bool) -> Vec<String> {
    const SHOWN: usize = 4;
    let mut groups: Vec<(Fate, &str, Vec<&str>)> = Vec::new();
    for one in unsaid.iter().filter(|one| !only_lost || one.fate == Fate::Lost) {
        match groups.iter_mut().find(|(fate, what, _)| (*fate, *what) == (one.fate, one.what.as_str())) {
            Some((_, _, pointers)) => pointers.push(&one.pointer),
            None => groups.push((one.fate, &one.what, vec![&one.pointer])),
        }
    }
    groups
        .into_iter()
        .map(|(fate, what, pointers)| {
            let shown = pointers[..pointers.len().min(SHOWN)].join(" ");
            let more = match pointers.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{}: {shown}{more}: {what}", fate.as_str())
        })
        .collect()
}

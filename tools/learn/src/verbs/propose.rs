//! `propose`: the least privilege that was seen to be needed.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use plim_learn::forms;
use plim_learn::proposal::{Entry, Proposal, Reasoned, Source, Verdict};
use plim_learn::propose::{Choices, RUNTIMES, propose};
use plim_tools_common::args::Output;
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit;
use plim_tools_common::output::Style;
use plim_tools_common::table::{Cell, Table};

use crate::input;

/// Propose a seccomp profile, capabilities and a read-only root from recordings, each entry with the evidence for it
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Recordings, or directories of them; they are merged
    #[arg(value_name = "RECORDING", required = true)]
    recordings: Vec<PathBuf>,
    #[command(flatten)]
    choices: ChoiceArgs,
    /// Where engines find the profile: put into flags and manifests
    #[arg(long, value_name = "PATH", default_value = "seccomp.json")]
    profile: String,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    confine: ConfineArgs,
}

/// How a proposal is made, for every verb that may make one.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChoiceArgs {
    /// Allow calls whatever their arguments
    #[arg(long)]
    no_arguments: bool,
    /// Allow calls that were not seen but are usual too: signals, errors, the end of a process
    #[arg(long)]
    usual: bool,
    /// Runtimes that have to be able to start the container with the profile: runc, crun, none
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_values = RUNTIMES, value_parser = runtime)]
    runtime: Vec<String>,
}

impl ChoiceArgs {
    pub(crate) fn choices(&self) -> Choices {
        Choices { arguments: !self.no_arguments, usual: self.usual, runtimes: self.runtime.clone() }
    }
}

fn runtime(word: &str) -> Result<String, String> {
    if word == "none" || RUNTIMES.contains(&word) {
        return Ok(word.to_owned());
    }
    Err(format!(
        "expected one of {}, none{}",
        RUNTIMES.join(", "),
        plim_tools_common::nearest::hint(word, RUNTIMES)
    ))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: every entry with its evidence.
    Table,
    /// The proposal itself, versioned.
    Json,
    /// The seccomp profile for Docker, with comments.
    Docker,
    /// The same for Podman and CRI-O.
    Podman,
    /// The same as OCI's linux.seccomp, without comments.
    Oci,
    /// A Kubernetes manifest: security context and volumes.
    Kubernetes,
    /// A drop-in for a systemd service.
    Systemd,
    /// A docker run command line.
    Flags,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    let (out, style) = (args.output.destination()?, args.output.style());
    args.confine.observe(&out, Reads::Files)?;
    let texts = input::read_recordings(&args.recordings)?;
    args.confine.enter(Phase::Judge)?;

    let recording = input::merged(&texts)?;
    let proposal = propose(&recording, &args.choices.choices());
    match args.output.format {
        Format::Json => out.emit_json(&proposal)?,
        Format::Docker | Format::Podman => out.emit_json(&proposal.profile(true))?,
        Format::Oci => out.emit_json(&proposal.profile(false))?,
        Format::Table => out.emit(table(&proposal, style).as_bytes())?,
        Format::Kubernetes => out.emit(forms::kubernetes(&proposal, &args.profile).as_bytes())?,
        Format::Systemd => out.emit(forms::systemd(&proposal).as_bytes())?,
        Format::Flags => out.emit(forms::command_line(&proposal, &args.profile).as_bytes())?,
    }
    for limit in &proposal.limits {
        crate::note(args.output.quiet, limit)?;
    }
    if args.output.format == Format::Systemd && proposal.calls.iter().any(|entry| !entry.args.is_empty()) {
        crate::note(
            args.output.quiet,
            "systemd has no conditions on arguments: such calls are allowed whole",
        )?;
    }
    let unseen: Vec<&str> = proposal.usual.iter().map(|entry| entry.syscall.as_str()).collect();
    if !unseen.is_empty() {
        let text = format!(
            "not seen but usual, and not in the proposal (--usual puts them in): {}",
            unseen.join(", ")
        );
        crate::note(args.output.quiet, &text)?;
    }
    Ok(if recording.missed.is_nothing() { exit::CLEAN } else { exit::UNOBSERVABLE })
}

/// Every entry with its evidence.
pub(crate) fn table(proposal: &Proposal, style: Style) -> String {
    let mut table = Table::new(style, ["AREA", "WHAT", "CONDITION", "WHY"]);
    let mut plain: std::collections::BTreeMap<(Source, &str), Vec<&str>> = std::collections::BTreeMap::new();
    for entry in &proposal.calls {
        match entry.source {
            Source::Used => drop(table.row([
                Cell::new("seccomp allow"),
                Cell::new(&entry.syscall),
                Cell::new(entry.when.as_deref().unwrap_or_default()),
                Cell::new(&entry.evidence),
            ])),
            source => {
                let why = if source == Source::Fallback { fallback(entry) } else { entry.evidence.as_str() };
                plain.entry((source, why)).or_default().push(&entry.syscall);
            }
        }
    }
    for ((source, why), names) in plain {
        let area = match source {
            Source::Fallback if why == ENOSYS => "seccomp ENOSYS",
            Source::Runtime => "seccomp runtime",
            Source::Usual => "seccomp usual",
            _ => "seccomp allow",
        };
        table.row([Cell::new(area), Cell::lines(wrapped(&names)), Cell::new(""), Cell::new(why)]);
    }
    let mut rows = |area: &str, rows: &[Reasoned]| {
        for row in rows {
            table.row([Cell::new(area), Cell::new(&row.name), Cell::new(""), Cell::new(&row.evidence)]);
        }
    };
    rows("capability keep", &proposal.capabilities);
    rows("capability drop", &proposal.dropped);
    rows("tmpfs", &proposal.tmpfs);
    rows("writable", &proposal.written);
    rows("device", &proposal.devices);
    rows("port", &proposal.ports);
    let nnp = match proposal.privileged_programs.as_slice() {
        [] => "no program gave its caller more than it had".to_owned(),
        programs => format!("gave more than their callers had: {}", programs.join(", ")),
    };
    let yes = |on: bool| if on { "yes" } else { "no" };
    table.row(["no-new-privileges", yes(proposal.no_new_privileges), "", &nnp]);
    table.row(["read-only root", yes(proposal.read_only), "", ""]);
    table.render()
}

const ENOSYS: &str = "libc takes an older call after ENOSYS and only then";

fn fallback(entry: &Entry) -> &str {
    if entry.verdict == Verdict::Enosys { ENOSYS } else { &entry.evidence }
}

fn wrapped(names: &[&str]) -> Vec<String> {
    names.chunks(4).map(|some| some.join(", ")).collect()
}

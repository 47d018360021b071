//! `verify`: is the filter in the kernel what the profile means, for every thread?

mod declared;
mod judge;

use anyhow::{Context, ensure};
use clap::Parser;
use plim_model::Observed;
use plim_observe::filters::{Means, read_all};
use plim_seccomp::bpf::Program;
use plim_tools_common::args::{Format, Output};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::diff_table;
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::{Style, Tone};
use plim_tools_common::seccomp_side;
use plim_tools_common::table::{Cell, Table};
use plim_tools_common::target::{TargetName, find_live};

use crate::shapes::{Verdict, Verified};
use declared::Declared;

/// Compare the filters in the kernel with the declared profile, for every thread of every process of a target
///
/// The profile is the one that the engine handed to its runtime, read from the engine's own config on disk, or --profile. Without --as and
/// --libseccomp, all that could have installed it are tried, and the one that fits is named. A thread with the declared filter and
/// more on top is fine: filters only take away. Exit status 1: some thread runs under another filter, or under none.
#[derive(Parser)]
pub(crate) struct Args {
    /// docker:NAME, plim:NAME, pid:N, or a container's name
    target: String,
    /// A profile, preset or filter to compare with, instead of what the engine was told
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    confine: ConfineArgs,
}

/// One thread, and what it runs under.
struct Thread {
    pid: i32,
    tid: i32,
    comm: String,
    filters: Observed<Vec<Program>>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let (out, style) = (args.output.destination()?, args.output.style());
    args.confine.observe(&out, Reads::Targets)?;
    let selected = find_live(&TargetName::parse(&args.target)?)?;
    let bare = matches!(selected.engine.as_str(), "pid" | "self" | "host");
    ensure!(
        args.profile.is_some() || !bare,
        "{} is a process, for which no engine declares a profile: name one with --profile",
        args.target
    );
    let declared = match &args.profile {
        Some(profile) => declared::Raw::Named(Box::new(seccomp_side::gather(profile)?)),
        None => declared::Raw::Engine(plim_observe::declared_seccomp(&selected)),
    };
    let threads = read_all(&selected, Means::Any)
        .with_context(|| format!("filters of {}", args.target))
        .or_status(exit::UNOBSERVABLE)?;
    let bounding = seccomp_side::bounding(&selected);
    let facts = args.facts.gather()?;
    args.confine.enter(Phase::Judge)?;

    let threads: Vec<Thread> = threads
        .into_iter()
        .map(|thread| Thread {
            pid: thread.pid.0,
            tid: thread.tid,
            comm: thread.comm,
            filters: thread.filters.map(|dump| dump.into_programs()),
        })
        .collect();
    let first = threads.iter().find(|thread| thread.tid == selected.pid.0);
    let declared = Declared::of(declared, &selected.engine, &args.target, &facts, bounding)?;
    let verified = judge::judge(&args.target, &declared, &threads, first)?;
    match args.output.format {
        Format::Json => out.emit_json(&verified)?,
        Format::Table => out.emit(draw(&verified, style).as_bytes())?,
    }
    let any = |verdict: Verdict| verified.groups.iter().any(|group| group.verdict == verdict);
    Ok(match (any(Verdict::Different), any(Verdict::Unknown) || verified.groups.is_empty()) {
        (true, _) => exit::DIFFERENT,
        (false, true) => exit::UNOBSERVABLE,
        (false, false) => exit::CLEAN,
    })
}

fn draw(verified: &Verified, style: Style) -> String {
    let mut text = format!("declared: {}\n", plim_tools_common::escape(&verified.declared.to_string()));
    let mut table = Table::new(style, ["PID", "TID", "COMMAND", "FILTERS", "VERDICT"]);
    for group in &verified.groups {
        let tone = match group.verdict {
            Verdict::Equal | Verdict::Narrower => Tone::Good,
            Verdict::Different => Tone::Bad,
            Verdict::Unknown => Tone::Warn,
        };
        for thread in &group.threads {
            table.row([
                Cell::new(thread.pid.to_string()),
                Cell::new(thread.tid.to_string()),
                Cell::new(&thread.comm),
                Cell::new(group.filters.map_or("?".to_owned(), |count| count.to_string())),
                Cell::new(group.words()).tone(tone),
            ]);
        }
    }
    text.push_str(&table.render());
    for group in verified.groups.iter().filter(|group| !group.changes.is_empty()) {
        let ids: Vec<String> = group.threads.iter().map(|thread| thread.tid.to_string()).collect();
        text.push_str(&format!("\nA: declared, B: in the kernel for {}\n", ids.join(", ")));
        text.push_str(&diff_table::table(
            &plim_model::diff::Diff::new(group.changes.clone(), Vec::new()),
            style,
        ));
    }
    text
}

//! `plim learn`: the least privilege with which a workload still works.
#![forbid(unsafe_code)]

mod input;
mod verbs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const NAME: &str = "plim-learn";

/// Learn the least privilege with which a workload still works
///
/// record what it uses, propose a profile and capabilities, verify that it works with them, shrink them until nothing more can go.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    bin_name = "plim learn",
    version,
    after_help = "Exit status: 0 it works, 1 it does not, 2 usage or bad input, 3 something could not be observed; \
                  record with a command and no --test: as plim run.\n\n\
                  Example:\n  \
                  plim learn record -o web --test 'nsenter -n -t $PLIM_PID curl -fsS http://127.0.0.1/' -- nginx -g 'daemon off;'\n  \
                  plim learn propose web --format docker > seccomp.json\n  \
                  plim learn verify web\n  \
                  plim learn shrink web -o web/shrunk.json"
)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Record(verbs::record::Args),
    Propose(verbs::propose::Args),
    Verify(verbs::verify::Args),
    Shrink(verbs::shrink::Args),
}

fn main() -> ExitCode {
    plim_tools_common::run_main(NAME, |args: Args| match &args.verb {
        Verb::Record(args) => verbs::record::run(args),
        Verb::Propose(args) => verbs::propose::run(args),
        Verb::Verify(args) => verbs::verify::run(args),
        Verb::Shrink(args) => verbs::shrink::run(args),
    })
}

/// Says something on stderr.
fn note(quiet: bool, text: &str) -> anyhow::Result<()> {
    if quiet {
        return Ok(());
    }
    let text = plim_model::text::escape_message(text);
    plim_tools_common::output::to_stderr(format!("{NAME}: {text}\n").as_bytes())
}

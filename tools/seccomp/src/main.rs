//! `plim seccomp VERB`: what profiles and filters mean, exactly.
//!
//! Each verb has three phases: read all that is named and open the place of the result; confine this process
//! ([`plim_tools_common::confine`]); parse, decide and draw.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use plim_tools_common::timeout::TimeoutArgs;

mod back;
mod pair;
mod shapes;
mod verbs;

const NAME: &str = "plim-seccomp";

/// Show, check, compare and convert seccomp profiles and filters
///
/// A profile is JSON in Docker's, OCI's or Podman's dialect, an OCI config.json, or preset:NAME. A filter is raw BPF
/// (FILE.bpf) or what is installed in a live target (docker:NAME, plim:NAME, pid:N, self, host). - is stdin.
#[derive(Parser)]
#[command(name = NAME, version, after_help = AFTER_HELP)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    timeout: TimeoutArgs,
}

const AFTER_HELP: &str = "Exit status: 0 clean, the same, or the claim holds; 1 differences, findings, or a claim that does \
not hold; 2 usage or bad input; 3 something could not be observed or decided";

#[derive(Subcommand)]
enum Verb {
    Show(verbs::show::Args),
    Explain(verbs::explain::Args),
    Lint(verbs::lint::Args),
    Eval(verbs::eval::Args),
    Subset(verbs::claim::SubsetArgs),
    Equal(verbs::claim::EqualArgs),
    Compile(verbs::compile::Args),
    Convert(verbs::convert::Args),
    Diff(verbs::diff::Args),
    Merge(verbs::merge::Args),
    Disasm(verbs::disasm::Args),
    Decompile(verbs::decompile::Args),
    Dump(verbs::dump::Args),
    Verify(verbs::verify::Args),
    Table(verbs::table::Args),
}

fn main() -> ExitCode {
    plim_tools_common::run_main(NAME, |args: Args| {
        args.timeout.start()?;
        run(args.verb)
    })
}

fn run(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Explain(args) => verbs::explain::run(&args),
        Verb::Show(args) => verbs::show::run(&args),
        Verb::Subset(args) => verbs::claim::subset(&args),
        Verb::Equal(args) => verbs::claim::equal(&args),
        Verb::Lint(args) => verbs::lint::run(&args),
        Verb::Eval(args) => verbs::eval::run(&args),
        Verb::Compile(args) => verbs::compile::run(&args),
        Verb::Convert(args) => verbs::convert::run(&args),
        Verb::Merge(args) => verbs::merge::run(&args),
        Verb::Diff(args) => verbs::diff::run(&args),
        Verb::Decompile(args) => verbs::decompile::run(&args),
        Verb::Disasm(args) => verbs::disasm::run(&args),
        Verb::Verify(args) => verbs::verify::run(&args),
        Verb::Dump(args) => verbs::dump::run(&args),
        Verb::Table(args) => verbs::table::run(&args),
    }
}

/// Writes notes to stderr, each behind the tool's name.
fn notes(notes: &[String]) -> anyhow::Result<()> {
    let text: String =
        notes.iter().map(|note| format!("{NAME}: {}\n", plim_model::text::escape_message(note))).collect();
    plim_tools_common::output::to_stderr(text.as_bytes())
}

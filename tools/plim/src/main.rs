//! `plim VERB ARGUMENTS…` executes `plim-VERB`, found beside this program or on PATH, as git does.
//!
//! It stands in front of every start of a container, so a known verb costs one look into the program's own directory and
//! one execve; the list of verbs is made only for the help and for errors.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use plim_tools_common::exit;

mod verbs;

const USAGE: &str = "Usage: plim VERB [ARGUMENTS…]\n       plim help [VERB]\n       plim --version\n";

/// The verb whose program makes containers, and so must run from a file that no container can write.
const RUNS_CONTAINERS: &str = "run";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => ExitCode::from(plim_tools_common::app::report("plim", &error, &mut std::io::stderr())),
    }
}

fn run(arguments: &[OsString]) -> anyhow::Result<u8> {
    let Some((first, rest)) = arguments.split_first() else {
        // As clap does for a missing subcommand: the help is an answer to an error here.
        plim_tools_common::output::to_stderr(help().as_bytes())?;
        return Ok(exit::USAGE);
    };
    match first.to_str() {
        Some("--help" | "-h") => print(&help()),
        Some("--version" | "-V") => print(concat!("plim ", env!("CARGO_PKG_VERSION"), "\n")),
        Some("help") => match rest {
            [] => print(&help()),
            [verb, ..] => execute(verb, &[OsString::from("--help")]),
        },
        Some("--generate") => match rest {
            [what] => plim_tools_common::app::generate("plim", definition(), &what.to_string_lossy()),
            _ => anyhow::bail!("--generate: expected one of bash, zsh, fish, man"),
        },
        Some(flag) if flag.starts_with('-') => {
            anyhow::bail!("unknown option {flag:?}; options of a verb stand behind it\n{USAGE}")
        }
        _ => execute(first, rest),
    }
}

/// Replaces this process by the verb's program; returns only with an error.
fn execute(verb: &OsStr, arguments: &[OsString]) -> anyhow::Result<u8> {
    let name = verb.to_str().filter(|name| verbs::is_name(name)).ok_or_else(|| {
        anyhow::anyhow!("{verb:?} is no verb: expected lower-case letters, digits and dashes\n{USAGE}")
    })?;
    let Some(program) = verbs::find(name) else {
        let known = verbs::all();
        let hint = plim_tools_common::nearest::hint(name, known.iter().map(|verb| verb.name.as_str()));
        let names: Vec<&str> = known.iter().map(|verb| verb.name.as_str()).collect();
        let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        anyhow::bail!("unknown verb {name:?}{hint} (no plim-{name} beside plim or on PATH; found: {list})");
    };
    if name == RUNS_CONTAINERS {
        // It would execute itself anew otherwise. A script of the user's own, say, is executed as it is.
        plim_runtime::execute_sealed(&program, arguments);
    }
    let error = Command::new(&program).args(arguments).exec();
    Err(anyhow::Error::from(error).context(format!("execute {}", program.display())))
}

fn print(text: &str) -> anyhow::Result<u8> {
    plim_tools_common::output::to_stdout(text.as_bytes())?;
    Ok(exit::CLEAN)
}

fn help() -> String {
    let mut text = format!(
        "Shows, proves and enforces how much of the Linux kernel a container can reach\n\n{USAGE}\nVerbs:\n"
    );
    let verbs = verbs::all();
    let width = verbs.iter().map(|verb| verb.name.len()).max().unwrap_or_default();
    for verb in &verbs {
        let line = format!("  {:width$}  {}", verb.name, verb.about());
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if verbs.is_empty() {
        text.push_str("  (no program plim-VERB beside plim or on PATH)\n");
    }
    text.push_str("\nEach verb is a program plim-VERB; `plim help VERB` shows its options.\n");
    text
}

/// The clap definition that completions and the man page are made of.
fn definition() -> clap::Command {
    let verbs = verbs::all().into_iter().map(|verb| {
        let about = verb.about();
        // clap takes static names without its `string` feature; this process ends right after.
        let name: &'static str = verb.name.leak();
        clap::Command::new(name).about(about)
    });
    clap::Command::new("plim")
        .about("Shows, proves and enforces how much of the Linux kernel a container can reach")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(verbs)
}

//! The frame around every tool: arguments in, an exit status out.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::exit;

/// Parses the arguments, runs the tool and turns what comes back into an exit status.
///
/// Usage errors end with status 2 and `--help` with 0, as clap prints them. An error of the tool is one sentence of
/// causes on stderr (`plim-x: error: cause: cause`), with the status of its [`exit::Failure`] or 2. A broken pipe says
/// nothing. `--generate bash|zsh|fish|man` as the only argument prints completions or the man page from the same
/// definition; it is not in the help because packagers use it, not people.
pub fn run_main<A: Parser>(name: &'static str, run: impl FnOnce(A) -> anyhow::Result<u8>) -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let result = match generate_request(&arguments) {
        Some(what) => generate(name, A::command(), &what),
        None => match A::try_parse_from(arguments) {
            Ok(parsed) => run(parsed),
            Err(error) => {
                // Nothing can be said when even stderr is closed.
                let _ = error.print();
                return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::CLEAN });
            }
        },
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => ExitCode::from(report(name, &error, &mut std::io::stderr())),
    }
}

/// Writes the error as a sentence and returns the status that it ends the tool with: for a tool without [`run_main`].
pub fn report(name: &str, error: &anyhow::Error, stderr: &mut dyn Write) -> u8 {
    if is_broken_pipe(error) {
        return exit::BROKEN_PIPE;
    }
    let text = plim_model::text::escape_message(&format!("{error:#}"));
    // Nothing can be said when even stderr is closed.
    let _ = writeln!(stderr, "{name}: {text}");
    error.downcast_ref::<exit::Failure>().map_or(exit::USAGE, |failure| failure.status)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let chain = match error.downcast_ref::<exit::Failure>() {
        Some(failure) => failure.error.chain(),
        None => error.chain(),
    };
    chain
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Answers `--generate` for a tool with a frame of its own (`plim run`, whose statuses are Docker's); `None` when it was
/// not asked.
pub fn generate_if_asked(
    name: &'static str,
    command: impl FnOnce() -> clap::Command,
) -> Option<anyhow::Result<u8>> {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().take(4).collect();
    generate_request(&arguments).map(|what| generate(name, command(), &what))
}

/// What `--generate` asks for, when it stands alone.
fn generate_request(arguments: &[std::ffi::OsString]) -> Option<String> {
    match arguments {
        [_, flag, what] if flag == "--generate" => Some(what.to_string_lossy().into_owned()),
        [_, flag] => flag.to_str()?.strip_prefix("--generate=").map(str::to_owned),
        _ => None,
    }
}

/// Prints completions (`bash`, `zsh`, `fish`) or the man page (`man`) of a definition.
///
/// # Errors
/// Another word, or what the reader of the pipe answers.
pub fn generate(name: &'static str, command: clap::Command, what: &str) -> anyhow::Result<u8> {
    use clap_complete::Shell;
    let mut command = command.name(name).bin_name(name);
    let mut text = Vec::new();
    match what {
        "bash" => clap_complete::generate(Shell::Bash, &mut command, name, &mut text),
        "zsh" => clap_complete::generate(Shell::Zsh, &mut command, name, &mut text),
        "fish" => clap_complete::generate(Shell::Fish, &mut command, name, &mut text),
        "man" => clap_mangen::Man::new(command).render(&mut text)?,
        other => anyhow::bail!("--generate: found {other:?}, expected bash, zsh, fish or man"),
    }
    crate::output::to_stdout(&text)?;
    Ok(exit::CLEAN)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::exit::OrStatus;

    fn broken_pipe() -> std::io::Error {
        std::io::Error::from(std::io::ErrorKind::BrokenPipe)
    }

    #[test]
    fn errors_are_sentences_with_a_status() {
        let mut stderr = Vec::new();
        let error = anyhow::anyhow!("EACCES").context("open /x\x1b").context("reading target");
        assert_eq!(report("plim-x", &error, &mut stderr), exit::USAGE);
        assert_eq!(String::from_utf8_lossy(&stderr), "plim-x: reading target: open /x\\u{1b}: EACCES\n");

        let mut stderr = Vec::new();
        let failure: Result<(), _> =
            Err(anyhow::anyhow!("EPERM")).context("ptrace").or_status(exit::UNOBSERVABLE);
        let error = anyhow::Error::from(failure.expect_err("fails"));
        assert_eq!(report("plim-x", &error, &mut stderr), exit::UNOBSERVABLE);
        assert_eq!(String::from_utf8_lossy(&stderr), "plim-x: ptrace: EPERM\n");
        let error = error.context("filters of pid 7");
        assert_eq!(report("plim-x", &error, &mut Vec::new()), exit::UNOBSERVABLE);
    }

    #[test]
    fn a_broken_pipe_is_quiet() {
        let mut stderr = Vec::new();
        let error = anyhow::Error::from(broken_pipe()).context("writing to stdout");
        assert_eq!(report("plim-x", &error, &mut stderr), exit::BROKEN_PIPE);
        let error = anyhow::Error::from(Err::<(), _>(broken_pipe()).or_status(3).expect_err("fails"));
        assert_eq!(report("plim-x", &error, &mut stderr), exit::BROKEN_PIPE);
        assert!(stderr.is_empty());
    }

    #[test]
    fn generate_stands_alone() {
        let request = |words: &[&str]| generate_request(&words.iter().map(Into::into).collect::<Vec<_>>());
        assert_eq!(request(&["x", "--generate", "man"]).as_deref(), Some("man"));
        assert_eq!(request(&["x", "--generate=zsh"]).as_deref(), Some("zsh"));
        assert_eq!(request(&["x", "--", "--generate", "man"]), None);
        assert_eq!(request(&["x", "--generate"]), None);
    }
}

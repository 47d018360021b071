//! What tracing costs the calls of everybody, and what becomes of a flood of refusals.

mod cost;
pub mod flood;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench_seccomp::Claim;
use crate::spec::Case;

/// All promises about tracing. `bin`: where the tools are.
///
/// # Errors
/// Nothing can be traced here: no privilege, no BTF.
pub fn claims(bin: &Path, rounds: usize) -> Result<Vec<Claim>> {
    let mut claims = cost::claims(bin, rounds)?;
    claims.extend(flood::claims(bin)?);
    Ok(claims)
}

/// What `plim trace --light` costs others.
///
/// # Errors
/// No program of ours may stand behind a function of this kernel.
pub fn light_claims(bin: &Path, rounds: usize) -> Result<Vec<Claim>> {
    cost::light_claims(bin, rounds)
}

/// A witness that answers lines, on the host or in a container of ours, and ends with this.
struct Witness {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Its root file system.
    _case: Option<Case>,
    name: String,
}

impl Witness {
    fn start(command: &mut Command, case: Option<Case>, name: String) -> Result<Witness> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let to = child.stdin.take().context("its stdin")?;
        let from = BufReader::new(child.stdout.take().context("its stdout")?);
        let mut witness = Witness { child, to, from, _case: case, name };
        let first = witness.line()?;
        ensure!(first == "ready", "{command:?} says {first:?}");
        Ok(witness)
    }

    fn on_the_host(bin: &Path, words: &[&str]) -> Result<Witness> {
        Witness::start(Command::new(bin.join("plim-witness")).args(words), None, String::new())
    }

    /// Under `plim run` with these options.
    fn contained(bin: &Path, options: &[&str], words: &[&str]) -> Result<Witness> {
        let case = Case::new(&bin.join("plim-witness"), &[])?;
        let name = case.tag.clone();
        let mut command = Command::new(bin.join("plim-run"));
        command.args(["-i", "--name", &name, "--rootfs"]).arg(&case.rootfs).args(options);
        command.args(["--", "/bin/witness"]).args(words);
        Witness::start(&mut command, Some(case), name)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.from.read_line(&mut line).context("read what the witness says")?;
        Ok(line.trim_end().to_owned())
    }

    fn ask(&mut self, question: &str) -> Result<String> {
        writeln!(self.to, "{question}").context("ask the witness")?;
        self.line()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `plim trace` that has attached.
struct Trace {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Trace {
    /// With what it reports on `stdout`.
    fn start(bin: &Path, options: &[&str], target: &str, stdout: Stdio) -> Result<Trace> {
        let mut command = Command::new(bin.join("plim-trace"));
        command.args(options).arg(target);
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn()?;
        let stderr = BufReader::new(child.stderr.take().context("its stderr")?);
        let mut trace = Trace { child, stderr };
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = trace.stderr.read_line(&mut line)?;
            ensure!(read > 0, "{command:?}: {said}");
            if line.contains(": tracing ") {
                return Ok(trace);
            }
            said.push_str(&line);
        }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }

    /// Asks it to end; how long that took, and its exit status.
    fn stop(&mut self) -> Result<(Duration, i32)> {
        let start = Instant::now();
        crate::sys::kill(self.pid(), libc::SIGTERM);
        let status = self.child.wait()?;
        Ok((start.elapsed(), status.code().unwrap_or(-1)))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As a number with a fraction: what is counted and timed here is far below 2⁵³.
#[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
fn float(value: u64) -> f64 {
    value as f64
}

fn claim(what: &str, at_most: f64, value: f64, detail: String) -> Claim {
    Claim { what: what.to_owned(), at_most, value: Some(value), detail }
}

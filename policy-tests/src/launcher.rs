//! Who runs a [`Case`]: `plim run --bundle`, `runc run`, or one of them weakened.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::spec::Case;
use crate::weaken::Weakening;
use crate::{host, sys};

/// The longest that a launcher may take before the test fails. Software emulation is slow.
const TIME_LIMIT: Duration = Duration::from_secs(40);

/// The program that starts containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `plim-run`
    Plim,
    /// `runc`
    Runc,
}

impl Engine {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Plim => "plim",
            Engine::Runc => "runc",
        }
    }
}

/// What a test runs with.
pub struct Ctx {
    /// Who starts containers.
    pub engine: Engine,
    /// The promise that is broken on purpose.
    pub weakening: Option<Weakening>,
    /// Where the built programs are.
    pub bin: PathBuf,
    /// runc's state.
    runc_root: TempDir,
}

/// How a launcher ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status, 128+n when a signal ended the launcher itself.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// The first line of stdout that is JSON.
    ///
    /// # Errors
    /// When there is none.
    pub fn json(&self) -> Result<Value> {
        let line = self.stdout.lines().find_map(|line| serde_json::from_str(line).ok());
        line.with_context(|| format!("no JSON from the container: {self:?}"))
    }

    /// The verdict of each `try`, in order.
    ///
    /// # Errors
    /// When the witness did not answer.
    pub fn verdicts(&self) -> Result<Vec<(String, String)>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let answer = self.json()?;
        let calls = answer.as_array().with_context(|| format!("not a list of verdicts: {answer}"))?;
        Ok(calls.iter().map(|call| (text(&call["call"]), text(&call["result"]))).collect())
    }
}

impl Ctx {
    /// A context for one engine, with the programs of `bin`.
    ///
    /// # Errors
    /// When no temporary directory can be made.
    pub fn new(engine: Engine, weakening: Option<Weakening>, bin: &Path) -> Result<Ctx> {
        let runc_root = tempfile::Builder::new().prefix("plimtest-runc-").tempdir()?;
        Ok(Ctx { engine, weakening, bin: bin.to_owned(), runc_root })
    }

    /// The witness on the host.
    pub fn witness(&self) -> PathBuf {
        self.bin.join("plim-witness")
    }

    /// A Docker-like case that runs the witness with `args`.
    ///
    /// # Errors
    /// See [`Case::new`].
    pub fn case(&self, args: &[&str]) -> Result<Case> {
        Case::new(&self.witness(), args)
    }

    /// Runs the witness in a Docker-like container to its end.
    ///
    /// # Errors
    /// See [`Ctx::run`].
    pub fn witness_run(&self, args: &[&str]) -> Result<Outcome> {
        self.run(self.case(args)?)
    }

    /// Runs a case to its end.
    ///
    /// # Errors
    /// When the launcher cannot be started or does not end in time.
    pub fn run(&self, case: Case) -> Result<Outcome> {
        self.start(case)?.finish()
    }

    /// Runs the case and reads the report of its witness.
    ///
    /// # Errors
    /// When the container did not report.
    pub fn report(&self, case: Case) -> Result<Value> {
        let outcome = self.run(case)?;
        ensure!(outcome.code == 0, "the launcher ended with {}: {}", outcome.code, outcome.stderr);
        outcome.json()
    }

    /// Starts a case.
    ///
    /// # Errors
    /// When the launcher cannot be started.
    pub fn start(&self, mut case: Case) -> Result<Running> {
        if let Some(weakening) = self.weakening {
            weakening.prepare(&mut case);
            weakening.apply(&mut case.spec);
            if weakening == Weakening::NoStdio {
                case.stdin = None;
            }
        }
        case.write()?;
        let mut command = self.command(&case);
        command.current_dir(case.dir.path());
        Running::spawn(&mut command, case, self)
    }

    /// The launcher's command line for a case whose config is written.
    pub fn command(&self, case: &Case) -> Command {
        match self.engine {
            Engine::Plim => {
                let mut command = Command::new(self.bin.join("plim-run"));
                command.arg("--bundle").arg(case.dir.path()).args(["--name", &case.tag]);
                if case.stdin.is_some() {
                    command.arg("-i");
                }
                command
            }
            Engine::Runc => {
                let mut command = Command::new("runc");
                command
                    .arg("--root")
                    .arg(self.runc_root.path())
                    .args(["run", "--bundle"])
                    .arg(case.dir.path());
                command.arg(&case.tag);
                command
            }
        }
    }

    /// Starts any launcher command as if it ran `case` (whose tag must be in the container's environment).
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_command(&self, command: &mut Command, case: Case) -> Result<Running> {
        Running::spawn(command, case, self)
    }
}

/// A launcher that runs.
pub struct Running {
    /// The launcher.
    pub child: Child,
    /// What it runs.
    pub case: Case,
    cleanup: Option<Command>,
    weakening: Option<Weakening>,
    witness: PathBuf,
}

impl Running {
    fn spawn(command: &mut Command, case: Case, ctx: &Ctx) -> Result<Running> {
        let dir = case.dir.path();
        match &case.stdin {
            Some(bytes) => {
                fs::write(dir.join("stdin"), bytes)?;
                command.stdin(File::open(dir.join("stdin"))?);
            }
            None => {
                command.stdin(Stdio::null());
            }
        }
        command.stdout(File::create(dir.join("stdout"))?).stderr(File::create(dir.join("stderr"))?);
        // What a careless caller leaves open must not reach the container (the CVE-2024-21626 class).
        let careless = File::open("/")?;
        sys::make_inheritable(careless.as_raw_fd());
        let child =
            command.spawn().with_context(|| format!("starting {}", command.get_program().display()))?;
        let cleanup = (ctx.engine == Engine::Runc).then(|| {
            let mut delete = Command::new("runc");
            delete.arg("--root").arg(ctx.runc_root.path()).args(["delete", "--force", &case.tag]);
            delete.stdout(Stdio::null()).stderr(Stdio::null());
            delete
        });
        Ok(Running { child, case, cleanup, weakening: ctx.weakening, witness: ctx.witness() })
    }

    /// What the launcher has written to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.case.dir.path().join("stdout"))
    }

    /// Waits until `text` is on stdout.
    ///
    /// # Errors
    /// When the launcher ends or time runs out before it is.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let start = Instant::now();
        while !self.stdout().contains(text) {
            let ended = self.child.try_wait()?;
            if ended.is_some() && !self.stdout().contains(text) {
                bail!(
                    "ended ({ended:?}) before saying {text:?}: {}",
                    read(&self.case.dir.path().join("stderr"))
                );
            }
            ensure!(start.elapsed() < TIME_LIMIT, "did not say {text:?} in {TIME_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The witness' pid on the host.
    ///
    /// # Errors
    /// When it is not there.
    pub fn host_pid(&self) -> Result<i32> {
        // The last: a weakened command has a wrapper before it.
        host::tagged(&self.case.tag).last().copied().context("the container has no process on the host")
    }

    /// Sends a signal to the launcher.
    pub fn signal(&self, signal: i32) {
        sys::kill(i32::try_from(self.child.id()).unwrap_or(0), signal);
    }

    /// Waits for the launcher's end and collects what it said.
    ///
    /// # Errors
    /// When time runs out; the launcher is then killed.
    pub fn finish(mut self) -> Result<Outcome> {
        self.wait()
    }

    /// As [`Running::finish`], for work that takes `longer` than a test usually may.
    ///
    /// # Errors
    /// When time runs out; the launcher is then killed.
    pub fn finish_long(mut self, longer: Duration) -> Result<Outcome> {
        self.wait_within(TIME_LIMIT + longer)
    }

    /// As [`Running::finish`], keeping the bundle.
    ///
    /// # Errors
    /// When time runs out; the launcher is then killed.
    pub fn wait(&mut self) -> Result<Outcome> {
        self.wait_within(TIME_LIMIT)
    }

    fn wait_within(&mut self, limit: Duration) -> Result<Outcome> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > limit {
                bail!(
                    "the launcher did not end in {limit:?}: {}",
                    read(&self.case.dir.path().join("stderr"))
                );
            }
            std::thread::sleep(Duration::from_micros(500));
        };
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let dir = self.case.dir.path();
        let mut outcome =
            Outcome { code, stdout: read(&dir.join("stdout")), stderr: read(&dir.join("stderr")) };
        if let Some(weakening) = self.weakening {
            crate::inventory::leave_behind(weakening, &self.case.tag, &self.witness);
            weakening.answer("launcher", &mut outcome);
        }
        Ok(outcome)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            for pid in host::tagged(&self.case.tag) {
                sys::kill(pid, libc::SIGKILL);
            }
            // A launcher whose container ended cleans up after it; killing it at once would test something else.
            let start = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(2) {
                std::thread::sleep(Duration::from_millis(2));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(delete) = &mut self.cleanup {
            let _ = delete.status();
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

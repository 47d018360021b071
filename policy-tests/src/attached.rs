//! A `plim trace` that a test attaches to something that runs already.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::launcher::{Ctx, Outcome};
use crate::sys;

/// The longest that the tracer may take to come or to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// Status 0; or 3, when it says that the kernel skipped runs of its programs, as preemptible ones do.
///
/// # Errors
/// Another status, with what it says.
pub fn ended_well(outcome: &Outcome) -> Result<()> {
    let skipped = outcome.code == 3 && outcome.stderr.contains("the kernel skipped");
    ensure!(outcome.code == 0 || skipped, "the tracer ended with {}: {}", outcome.code, outcome.stderr);
    Ok(())
}

/// The tracer, attached.
pub struct Tracer {
    /// Its process.
    pub child: Child,
    dir: TempDir,
}

impl Tracer {
    /// Starts it and waits until it is attached.
    ///
    /// # Errors
    /// It ends, or does not say that it traces.
    pub fn start(ctx: &Ctx, args: &[&str], environment: &[(&str, &str)]) -> Result<Tracer> {
        let dir = tempfile::Builder::new().prefix("plimtest-tracer-").tempdir()?;
        let stdout = File::create(dir.path().join("stdout"))?;
        Tracer::start_on(ctx, args, environment, stdout.into(), dir)
    }

    /// The same, with its standard output elsewhere.
    ///
    /// # Errors
    /// As [`Tracer::start`].
    pub fn start_to(ctx: &Ctx, args: &[&str], stdout: Stdio) -> Result<Tracer> {
        let dir = tempfile::Builder::new().prefix("plimtest-tracer-").tempdir()?;
        Tracer::start_on(ctx, args, &[], stdout, dir)
    }

    fn start_on(
        ctx: &Ctx,
        args: &[&str],
        environment: &[(&str, &str)],
        stdout: Stdio,
        dir: TempDir,
    ) -> Result<Tracer> {
        let mut command = Command::new(ctx.bin.join("plim-trace"));
        match ctx.weakening {
            Some(weakening) => command.args(weakening.ask("plim-trace", args)),
            None => command.args(args),
        };
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(stdout);
        command.stderr(File::create(dir.path().join("stderr"))?);
        let child = command.spawn().context("plim-trace")?;
        let mut tracer = Tracer { child, dir };
        let start = Instant::now();
        while !tracer.said("stderr").contains("plim-trace: tracing ") {
            if let Some(status) = tracer.child.try_wait()? {
                bail!("plim-trace {args:?} ended with {status}: {}", tracer.said("stderr"));
            }
            ensure!(start.elapsed() < PATIENCE, "plim-trace does not say that it traces");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(tracer)
    }

    /// What it said so far, on `stdout` or `stderr`.
    pub fn said(&self, stream: &str) -> String {
        fs::read_to_string(self.dir.path().join(stream)).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        sys::kill(i32::try_from(self.child.id()).unwrap_or(0), signal);
    }

    /// Ends it with SIGINT, and gives what it said. What happened before is told.
    ///
    /// # Errors
    /// As [`Tracer::wait`], [`ended_well`].
    pub fn stop(mut self) -> Result<Outcome> {
        self.signal(libc::SIGINT);
        let outcome = self.wait()?;
        ended_well(&outcome)?;
        Ok(outcome)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub fn wait(&mut self) -> Result<Outcome> {
        use std::os::unix::process::ExitStatusExt;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(start.elapsed() < PATIENCE, "plim-trace does not end");
            std::thread::sleep(Duration::from_millis(2));
        };
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ok(Outcome { code, stdout: self.said("stdout"), stderr: self.said("stderr") })
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

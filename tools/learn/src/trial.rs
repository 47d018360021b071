//! Runs a workload once, as it was or under a proposal, and tells whether it did its work.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use plim_tools_common::beside::beside;
use plim_trace::denial::Denial;
use serde::{Deserialize, Serialize};

use crate::container::{Container, PACE, Tail};
use crate::forms;
use crate::proposal::Proposal;
use crate::recording::Workload;
use crate::stop::Stop;

/// Who runs the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Engine {
    /// `plim run`.
    Plim,
    /// `docker run` or `podman run`, with this image.
    Other {
        /// `docker` or `podman`.
        program: String,
        /// The image.
        image: String,
    },
}

impl Engine {
    /// The word for it in target names.
    pub fn name(&self) -> &str {
        match self {
            Engine::Plim => "plim",
            Engine::Other { program, .. } => program,
        }
    }
}

/// A run that takes this many times as long as one that worked has failed; but it always has some seconds.
const PATIENCE: u32 = 5;
const SHORTEST: Duration = Duration::from_secs(5);

/// How workloads are run.
#[derive(Debug)]
pub struct Trials {
    /// What is run.
    pub workload: Workload,
    /// Who runs it.
    pub engine: Engine,
    /// The longest that one run may take, and what goes before it.
    pub timeout: Duration,
    /// The longest that is waited for a run: no longer than `timeout`.
    longest: Duration,
    /// A request to stop, looked at while something runs.
    pub stop: Stop,
    count: std::cell::Cell<u32>,
}

/// Calls that were refused during one run.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// Those that were seen.
    pub denials: Vec<Denial>,
    /// Why there may be others: no tracer, or one that saw only a part.
    pub unknown: Option<String>,
}

impl Refusals {
    /// Nothing was seen.
    pub(crate) fn unknown(why: String) -> Refusals {
        Refusals { denials: Vec::new(), unknown: Some(why) }
    }

    /// Reads the document of a trace.
    pub(crate) fn parse(document: &[u8]) -> Refusals {
        #[derive(Deserialize)]
        struct Document {
            denials: Vec<Denial>,
            missed: Missed,
        }
        #[derive(Deserialize)]
        struct Missed {
            lost: u64,
            skipped_runs: u64,
            left_out: u64,
            /// `null` where the kernel does not show them.
            ring_operations: Option<u64>,
        }
        match serde_json::from_slice::<Document>(document) {
            Ok(Document {
                denials,
                missed: Missed { lost: 0, skipped_runs: 0, left_out: 0, ring_operations: Some(0) },
            }) => Refusals { denials, unknown: None },
            Ok(Document { denials, missed }) => {
                let rings = missed
                    .ring_operations
                    .map_or("an unknown number of".to_owned(), |count| count.to_string());
                let unknown = format!(
                    "{} refusals were lost and {} left out, the kernel skipped {} runs of the tracer, and {rings} operations were \
                     submitted to an io_uring",
                    missed.lost, missed.left_out, missed.skipped_runs
                );
                Refusals { denials, unknown: Some(unknown) }
            }
            Err(error) => Refusals::unknown(format!("the trace cannot be read: {error}")),
        }
    }
}

/// How one run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// It did its work.
    pub passed: bool,
    /// How that is known: the status, or what did not happen.
    pub why: String,
    /// What it said last.
    pub said: String,
    /// How long it ran.
    pub took: Duration,
    /// Calls that were refused meanwhile; `None` where nobody asked for them.
    pub refusals: Option<Refusals>,
}

/// What is done beside the run.
enum Beside<'a> {
    Nothing,
    /// Record to this file (`plim run` alone).
    Record(&'a Path),
    Trace,
}

/// A command that tests a container.
pub fn test(words: &str, container: &str, engine: &str, pid: i32) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", words])
        .env("PLIM_CONTAINER", container)
        .env("PLIM_ENGINE", engine)
        .env("PLIM_PID", pid.to_string());
    command
}

/// The largest trace that is read: a document of `plim run --trace` holds 100,000 refusals.
const MAX_TRACE: u64 = 256 << 20;

fn read_trace(path: &Path) -> Refusals {
    use std::io::Read;
    let mut document = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(MAX_TRACE).read_to_end(&mut document)) {
        Ok(_) => Refusals::parse(&document),
        Err(error) => Refusals::unknown(format!("nothing was traced: {error}")),
    }
}

impl Trials {
    /// Trials of a workload.
    ///
    /// # Errors
    /// There is no command to run.
    pub fn new(workload: Workload, engine: Engine, timeout: Duration, stop: Stop) -> Result<Trials> {
        let by_image =
            matches!(engine, Engine::Other { .. }) || workload.options.iter().any(|word| word == "--bundle");
        ensure!(
            !workload.command.is_empty() || by_image,
            "the workload has no command to run again: record it with plim learn record -- COMMAND"
        );
        Ok(Trials { workload, engine, timeout, longest: timeout, stop, count: std::cell::Cell::new(0) })
    }

    /// A run that worked took this long: what waits for an answer that does not come waits no longer than makes sense.
    pub fn expect(&mut self, took: Duration) {
        self.longest = self.timeout.min((took * PATIENCE).max(SHORTEST));
    }

    /// Runs the workload as `words` of `plim run` say and records what it uses to `path`.
    ///
    /// # Errors
    /// It could not be run at all, or not recorded.
    pub fn record(&self, words: &[String], path: &Path) -> Result<Outcome> {
        self.run(words.to_vec(), &Beside::Record(path))
    }

    /// Runs the workload under a proposal; with `trace`, what is refused meanwhile is told.
    ///
    /// # Errors
    /// It could not be run at all: what fails under the proposal is no error.
    pub fn under(&self, proposal: &Proposal, trace: bool) -> Result<Outcome> {
        let dir =
            tempfile::Builder::new().prefix("plim-learn.").tempdir().context("make a temporary directory")?;
        let profile = dir.path().join("seccomp.json");
        // Without comments, which OCI does not have.
        std::fs::write(&profile, proposal.profile(false).to_string())
            .with_context(|| format!("write {}", profile.display()))?;
        let mut words = forms::flags(proposal, &profile.display().to_string());
        words.extend(match &self.engine {
            Engine::Plim => self.workload.options.clone(),
            Engine::Other { .. } => self.workload.options_beside_image(),
        });
        match &self.engine {
            Engine::Plim if self.workload.command.is_empty() => {}
            Engine::Plim => words.push("--".to_owned()),
            Engine::Other { image, .. } => words.push(image.clone()),
        }
        words.extend(self.workload.command.iter().cloned());
        self.run(words, if trace { &Beside::Trace } else { &Beside::Nothing })
    }

    fn run(&self, words: Vec<String>, beside: &Beside<'_>) -> Result<Outcome> {
        self.count.set(self.count.get() + 1);
        let name = format!("plim-learn-{}-{}", std::process::id(), self.count.get());
        let dir =
            tempfile::Builder::new().prefix("plim-learn.").tempdir().context("make a temporary directory")?;
        let traced = dir.path().join("denials");
        let untraceable = match beside {
            Beside::Trace => plim_trace::tracer::may_trace().err(),
            _ => None,
        };
        let trace = matches!(beside, Beside::Trace) && untraceable.is_none();
        let mut command = self.launcher(&name);
        match (beside, &self.engine) {
            (Beside::Record(path), _) => drop(command.arg("--learn").arg(path)),
            (_, Engine::Plim) if trace => {
                command.args(["--trace", "--trace-format", "json", "--trace-output"]).arg(&traced);
            }
            _ => {}
        }
        let tail = Tail::default();
        self.before(&tail)?;
        let begun = Instant::now();
        let child = tail.spawn(command.args(&words))?;
        let mut container = Container::new(child, name, &self.engine);
        let watch = trace && self.engine != Engine::Plim;
        let ended = match &self.workload.test {
            None => self.own_status(&mut container, watch),
            Some(words) => self.with_test(&mut container, words, watch, &tail),
        };
        let took = begun.elapsed();
        let watched = container.end()?;
        let (passed, why) = ended?;
        let refusals = match (beside, untraceable) {
            (Beside::Nothing | Beside::Record(_), _) => None,
            (Beside::Trace, Some(why)) => Some(Refusals::unknown(why.to_string())),
            (Beside::Trace, None) if watch => Some(watched.unwrap_or_else(|| {
                Refusals::unknown("the container ended before a tracer was attached".to_owned())
            })),
            (Beside::Trace, None) => Some(read_trace(&traced)),
        };
        Ok(Outcome { passed, why, said: tail.take(), took, refusals })
    }

    fn before(&self, tail: &Tail) -> Result<()> {
        let Some(shell) = &self.workload.before else { return Ok(()) };
        let until = Instant::now() + self.timeout;
        let mut running = tail.spawn(Command::new("sh").args(["-c", shell]))?;
        let ended = loop {
            if let Some(status) = running.try_wait().context("wait for the command before the run")? {
                break status;
            }
            if self.is_late(until)? {
                running.kill().context("end the command before the run")?;
                running.wait().context("wait for the command before the run")?;
                bail!("the command before the run took longer than {} s", self.timeout.as_secs_f32());
            }
            std::thread::sleep(PACE);
        };
        ensure!(ended.success(), "{}; it said: {}", words(ended, "the command before the run"), tail.take());
        Ok(())
    }

    fn launcher(&self, name: &str) -> Command {
        let mut command = match &self.engine {
            Engine::Plim => Command::new(beside("plim-run")),
            Engine::Other { program, .. } => {
                let mut command = Command::new(program);
                command.args(["run", "--rm"]);
                command
            }
        };
        command.args(["--name", name]);
        command
    }

    /// The workload's own end tells.
    fn own_status(&self, container: &mut Container<'_>, watch: bool) -> Result<(bool, String)> {
        let until = Instant::now() + self.longest;
        let mut found = !watch;
        loop {
            if let Some(status) = container.ended()? {
                return Ok((status.success(), words(status, "the workload")));
            }
            if !found && let Some(selected) = container.find() {
                container.watch(&selected);
                found = true;
            }
            if self.is_late(until)? {
                return Ok((false, format!("it ran longer than {} s", self.longest.as_secs_f32())));
            }
            std::thread::sleep(PACE);
        }
    }

    /// The test's end tells.
    fn with_test(
        &self,
        container: &mut Container<'_>,
        words_of_test: &str,
        watch: bool,
        tail: &Tail,
    ) -> Result<(bool, String)> {
        let until = Instant::now() + self.longest;
        let selected = loop {
            if let Some(selected) = container.find() {
                break selected;
            }
            if let Some(status) = container.ended()? {
                return Ok((false, words(status, "the workload")));
            }
            if self.is_late(until)? {
                return Ok((false, "the container did not start in time".to_owned()));
            }
            std::thread::sleep(PACE);
        };
        if watch {
            container.watch(&selected);
        }
        let pid = selected.pid.0;
        let mut running = tail.spawn(&mut test(words_of_test, &container.name, self.engine.name(), pid))?;
        let verdict = loop {
            if let Some(status) = running.try_wait().context("wait for the test")? {
                return match status.success() {
                    true => self.by_itself(container, pid, until),
                    false => Ok((false, words(status, "the test"))),
                };
            }
            // A server that is gone answers no test: there is nothing to wait for.
            if let Some(status) = container.ended()?.filter(|status| !status.success()) {
                break Ok(words(status, "the workload"));
            }
            match self.is_late(until) {
                Ok(false) => std::thread::sleep(PACE),
                Ok(true) => break Ok(format!("the test ran longer than {} s", self.longest.as_secs_f32())),
                Err(stopped) => break Err(stopped),
            }
        };
        running.kill().context("end the test")?;
        running.wait().context("wait for the test")?;
        Ok((false, verdict?))
    }

    /// The test passed. A workload that ended by itself meanwhile has a say, too.
    fn by_itself(&self, container: &mut Container<'_>, pid: i32, until: Instant) -> Result<(bool, String)> {
        while !Path::new(&format!("/proc/{pid}")).exists() && !self.is_late(until)? {
            match container.ended()? {
                Some(status) if status.success() => break,
                Some(status) => return Ok((false, words(status, "the test passed, but the workload"))),
                None => std::thread::sleep(PACE),
            }
        }
        Ok((true, "the test passed".to_owned()))
    }

    fn is_late(&self, until: Instant) -> Result<bool> {
        if self.stop.asked() {
            bail!("stopped by a signal");
        }
        Ok(Instant::now() >= until)
    }
}

fn words(status: ExitStatus, what: &str) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("{what} ended with status {code}"),
        (None, Some(signal)) => format!("{what} was ended by signal {signal}"),
        (None, None) => format!("{what} ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(before: Option<&str>, timeout: Duration) -> Trials {
        let workload = Workload {
            command: vec!["true".to_owned()],
            before: before.map(str::to_owned),
            ..Workload::default()
        };
        Trials::new(workload, Engine::Plim, timeout, Stop::new().expect("a signalfd")).expect("a command")
    }

    #[test]
    fn a_run_is_waited_for_as_long_as_makes_sense() {
        let seconds = Duration::from_secs;
        for (took, timeout, longest) in [(2, 60, 10), (0, 60, 5), (20, 60, 60), (0, 3, 3)] {
            let mut trials = trials(None, seconds(timeout));
            assert_eq!(trials.longest, seconds(timeout));
            trials.expect(seconds(took));
            assert_eq!((trials.longest, trials.timeout), (seconds(longest), seconds(timeout)), "{took}");
        }
    }

    #[test]
    fn what_goes_before_a_run_has_to_succeed_in_time() {
        let before =
            |shell, millis| trials(Some(shell), Duration::from_millis(millis)).before(&Tail::default());
        before("true", 60_000).expect("succeeds");
        let failed = before("exit 3", 60_000).expect_err("fails").to_string();
        assert!(failed.contains("ended with status 3"), "{failed}");
        let late = before("exec sleep 60", 100).expect_err("is late").to_string();
        assert!(late.contains("took longer than 0.1 s"), "{late}");
    }

    #[test]
    fn a_trace_that_saw_a_part_is_not_taken_for_the_whole() {
        let document = |missed: &str| format!(r#"{{"format": "1.0", "denials": [], "missed": {missed}}}"#);
        let whole = r#"{"lost": 0, "skipped_runs": 0, "left_out": 0, "ring_operations": 0}"#;
        assert_eq!(Refusals::parse(document(whole).as_bytes()).unknown, None);
        for part in [
            r#"{"lost": 1, "skipped_runs": 0, "left_out": 0, "ring_operations": 0}"#,
            r#"{"lost": 0, "skipped_runs": 2, "left_out": 0, "ring_operations": 0}"#,
            r#"{"lost": 0, "skipped_runs": 0, "left_out": 3, "ring_operations": 0}"#,
            r#"{"lost": 0, "skipped_runs": 0, "left_out": 0, "ring_operations": 4}"#,
            r#"{"lost": 0, "skipped_runs": 0, "left_out": 0, "ring_operations": null}"#,
            r#"{"lost": 0, "skipped_runs": 0, "left_out": 0}"#,
            "{}",
        ] {
            assert!(Refusals::parse(document(part).as_bytes()).unknown.is_some(), "{part}");
        }
        assert!(Refusals::parse(b"").unknown.is_some());
        assert!(read_trace(Path::new("/nowhere")).unknown.is_some());
    }
}

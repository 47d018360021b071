//! Runs a workload once, as it was or under a proposal, and tells whether it did its work.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plim_observe::Selected;
use plim_tools_common::beside::beside;
use plim_trace::denial::Denial;
use plim_trace::report::{Format, Look, Report, Wanted};
use plim_trace::session::Session;
use plim_trace::tracer::Scope;
use plim_trace::watch::Watch;

use crate::forms;
use crate::proposal::Proposal;
use crate::recording::Workload;
use crate::stop::Stop;

/// How long a container may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked at what runs.
const PACE: Duration = Duration::from_millis(5);
/// Bytes kept of what the workload and its test said last.
const TAIL: usize = 4096;

/// Who runs the container.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// How workloads are run.
#[derive(Debug)]
pub struct Trials {
    /// What is run.
    pub workload: Workload,
    /// Who runs it.
    pub engine: Engine,
    /// The longest that one run may take.
    pub timeout: Duration,
    /// A request to stop, looked at while something runs.
    pub stop: Stop,
    count: std::cell::Cell<u32>,
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
    /// Calls that were refused meanwhile, where they were traced.
    pub denials: Vec<Denial>,
}

/// What is done beside the run.
enum Beside<'a> {
    Nothing,
    /// Record to this file (`plim run` alone).
    Record(&'a Path),
    Trace,
}

/// Everything that one of the processes wrote, of which the end is kept.
#[derive(Clone, Debug, Default)]
struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    fn read(&self, mut from: impl Read + Send + 'static) {
        let tail = self.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let Ok(mut kept) = tail.0.lock() else { return };
                kept.extend_from_slice(&buffer[..count]);
                let surplus = kept.len().saturating_sub(TAIL);
                kept.drain(..surplus);
            }
        });
    }

    fn take(&self) -> String {
        let kept = self.0.lock().map(|kept| kept.clone()).unwrap_or_default();
        String::from_utf8_lossy(&kept).trim_end().to_owned()
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
        Ok(Trials { workload, engine, timeout, stop, count: std::cell::Cell::new(0) })
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
        // Docker 20.10 knows no defaultErrnoRet and OCI no comments; both read this.
        std::fs::write(&profile, proposal.profile(false).to_string())
            .with_context(|| format!("write {}", profile.display()))?;
        let mut words = forms::flags(proposal, &profile.display().to_string());
        words.extend(self.workload.options.iter().cloned());
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
        let mut command = self.launcher(&name);
        match (beside, &self.engine) {
            (Beside::Record(path), _) => drop(command.arg("--learn").arg(path)),
            (Beside::Trace, Engine::Plim) => {
                command.args(["--trace", "--trace-format", "jsonl", "--trace-output"]).arg(&traced);
            }
            _ => {}
        }
        command.args(&words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("execute {:?}", command.get_program()))?;
        let tail = Tail::default();
        if let Some(out) = child.stdout.take() {
            tail.read(out);
        }
        if let Some(err) = child.stderr.take() {
            tail.read(err);
        }
        let mut container = Container { child, name, engine: &self.engine, watching: None };
        let trace_here = matches!((beside, &self.engine), (Beside::Trace, Engine::Other { .. }));
        let ended = match &self.workload.test {
            None => self.own_status(&mut container, trace_here),
            Some(test) => self.with_test(&mut container, test, trace_here, &tail),
        };
        let denials = container.end();
        let (passed, why) = ended?;
        let denials = if trace_here { denials? } else { read_denials(&traced)? };
        Ok(Outcome { passed, why, said: tail.take(), denials })
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
    fn own_status(&self, container: &mut Container<'_>, trace: bool) -> Result<(bool, String)> {
        let until = Instant::now() + self.timeout;
        loop {
            if let Some(status) = container.child.try_wait().context("wait for the container")? {
                return Ok((status.success(), words(status, "the workload")));
            }
            if trace && container.watching.is_none() {
                container.find();
            }
            if self.passed_time(until)? {
                return Ok((false, format!("it ran longer than {} s", self.timeout.as_secs_f32())));
            }
            std::thread::sleep(PACE);
        }
    }

    /// The test's end tells.
    fn with_test(
        &self,
        container: &mut Container<'_>,
        test: &str,
        trace: bool,
        tail: &Tail,
    ) -> Result<(bool, String)> {
        let until = Instant::now() + self.timeout;
        let pid = loop {
            if let Some(pid) = container.pid() {
                break pid;
            }
            if let Some(status) = container.child.try_wait().context("wait for the container")? {
                return Ok((false, words(status, "the workload")));
            }
            if self.passed_time(until)? {
                return Ok((false, "the container did not start in time".to_owned()));
            }
            std::thread::sleep(PACE);
        };
        if trace {
            container.find();
        }
        let mut test = Command::new("sh")
            .args(["-c", test])
            .env("PLIM_CONTAINER", &container.name)
            .env("PLIM_ENGINE", self.engine.name())
            .env("PLIM_PID", pid.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("execute the test")?;
        if let Some(out) = test.stdout.take() {
            tail.read(out);
        }
        if let Some(err) = test.stderr.take() {
            tail.read(err);
        }
        loop {
            if let Some(status) = test.try_wait().context("wait for the test")? {
                return match status.success() {
                    true => self.by_itself(container, pid, until),
                    false => Ok((false, words(status, "the test"))),
                };
            }
            let failed = container.child.try_wait().context("wait for the container")?;
            let failed = failed.filter(|status| !status.success());
            let late = self.passed_time(until);
            if failed.is_some() || !matches!(late, Ok(false)) {
                test.kill().context("end the test")?;
                test.wait().context("wait for the test")?;
                late?;
                return Ok((
                    false,
                    match failed {
                        Some(status) => words(status, "the workload"),
                        None => format!("the test ran longer than {} s", self.timeout.as_secs_f32()),
                    },
                ));
            }
            std::thread::sleep(PACE);
        }
    }

    /// The test passed. A workload that ended by itself meanwhile has a say, too.
    fn by_itself(&self, container: &mut Container<'_>, pid: i32, until: Instant) -> Result<(bool, String)> {
        while !Path::new(&format!("/proc/{pid}")).exists() && !self.passed_time(until)? {
            match container.child.try_wait().context("wait for the container")? {
                Some(status) if status.success() => break,
                Some(status) => return Ok((false, words(status, "the test passed, but the workload"))),
                None => std::thread::sleep(PACE),
            }
        }
        Ok((true, "the test passed".to_owned()))
    }

    fn passed_time(&self, until: Instant) -> Result<bool> {
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

/// A container that runs in the foreground of a launcher.
struct Container<'a> {
    child: Child,
    name: String,
    engine: &'a Engine,
    watching: Option<Session<Vec<u8>>>,
}

impl Container<'_> {
    /// The first process, once there is one.
    fn pid(&self) -> Option<i32> {
        self.selected().map(|selected| selected.pid.0)
    }

    fn selected(&self) -> Option<Selected> {
        plim_observe::find(Some(self.engine.name()), &self.name).ok()
    }

    /// Attaches a tracer as soon as the container can be seen. What was refused before is not seen.
    fn find(&mut self) {
        let Some(selected) = self.selected() else { return };
        let begin = || -> Result<Session<Vec<u8>>> {
            let mut watch = Watch::new(Scope::Everything)?;
            watch.add(&selected, true, None)?;
            watch.attach()?;
            let style = plim_tools_common::output::Style::plain(false);
            let look = Look { format: Format::Jsonl, summary: false, times: false, style };
            let report = Report::new(Vec::new(), look, Wanted::default());
            Session::begin(watch, report)
        };
        self.watching = begin().ok();
    }

    /// Ends the container and its launcher: asks, then kills.
    fn end(&mut self) -> Result<Vec<Denial>> {
        if matches!(self.child.try_wait(), Ok(None)) {
            let launcher = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or_default());
            // It passes the signal on.
            let _ = kill(launcher, Signal::SIGTERM);
            let until = Instant::now() + GRACE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(PACE);
            }
            if matches!(self.child.try_wait(), Ok(None)) {
                self.kill();
            }
        }
        self.child.wait().context("wait for the container")?;
        let Some(session) = self.watching.take() else { return Ok(Vec::new()) };
        let (bytes, _) = session.end()?;
        parse_denials(&String::from_utf8_lossy(&bytes))
    }

    /// The container's first process is killed and not the launcher, which has still to write its report.
    fn kill(&mut self) {
        match (self.engine, self.pid()) {
            (Engine::Plim, Some(pid)) => drop(kill(Pid::from_raw(pid), Signal::SIGKILL)),
            (Engine::Plim, None) => drop(self.child.kill()),
            (Engine::Other { program, .. }, _) => {
                let _ = Command::new(program).args(["rm", "-f", &self.name]).output();
            }
        }
        let until = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(PACE);
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

fn read_denials(path: &PathBuf) -> Result<Vec<Denial>> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse_denials(&text),
        // Nothing was traced, or the container never started.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

fn parse_denials(text: &str) -> Result<Vec<Denial>> {
    text.lines().map(|line| serde_json::from_str(line).context("read a refusal of the trace")).collect()
}

//! A container in the foreground of a launcher: found, looked at while it runs, and ended.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plim_model::HostPid;
use plim_observe::Selected;
use plim_tools_common::output::Style;
use plim_trace::report::{Format, Look, Report, Wanted};
use plim_trace::session::Session;
use plim_trace::tracer::Scope;
use plim_trace::watch::Watch;

use crate::trial::{Engine, Refusals};

/// How long a container may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether something ended.
pub(crate) const PACE: Duration = Duration::from_millis(5);
/// How often docker and podman are asked for a container that does not run yet: each question is a program of its own.
const ASKED: Duration = Duration::from_millis(50);
/// Bytes kept of what the workload and its test said last.
const TAIL: usize = 4096;

/// What some processes wrote, of which the end is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    /// Executes a command without input and reads what it writes.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("execute {}", command.get_program().to_string_lossy()))?;
        if let Some(out) = child.stdout.take() {
            self.read(out);
        }
        if let Some(err) = child.stderr.take() {
            self.read(err);
        }
        Ok(child)
    }

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

    pub(crate) fn take(&self) -> String {
        let kept = self.0.lock().map(|kept| kept.clone()).unwrap_or_default();
        String::from_utf8_lossy(&kept).trim_end().to_owned()
    }
}

/// The container and its launcher.
pub(crate) struct Container<'a> {
    pub(crate) child: Child,
    pub(crate) name: String,
    engine: &'a Engine,
    asked: Option<Instant>,
    watching: Option<Result<Session<Vec<u8>>>>,
}

impl<'a> Container<'a> {
    pub(crate) fn new(child: Child, name: String, engine: &'a Engine) -> Container<'a> {
        Container { child, name, engine, asked: None, watching: None }
    }

    /// Its first process, once there is one.
    pub(crate) fn find(&mut self) -> Option<Selected> {
        let Engine::Other { program, .. } = self.engine else {
            return plim_observe::find(Some("plim"), &self.name).ok();
        };
        if self.asked.is_some_and(|asked| asked.elapsed() < ASKED) {
            return None;
        }
        self.asked = Some(Instant::now());
        let format = ["inspect", "--format", "{{.Id}} {{.State.Pid}}", &self.name];
        let output = Command::new(program).args(format).stderr(Stdio::null()).output().ok()?;
        let answer = String::from_utf8(output.stdout).ok()?;
        let (id, pid) = answer.trim().split_once(' ')?;
        let pid = pid.parse().ok().filter(|pid| *pid > 0)?;
        Selected::container(program, id, Some(self.name.clone()), HostPid(pid), None).ok()
    }

    /// Attaches a tracer once. What was refused before is not seen.
    pub(crate) fn watch(&mut self, selected: &Selected) {
        let begin = || -> Result<Session<Vec<u8>>> {
            let mut watch = Watch::new(Scope::Everything)?;
            watch.add(selected, true, None)?;
            watch.attach()?;
            // A document has a bound on what it holds.
            let look =
                Look { format: Format::Json, summary: false, times: false, style: Style::plain(false) };
            Session::begin(watch, Report::new(Vec::new(), look, Wanted::default()))
        };
        if self.watching.is_none() {
            self.watching = Some(begin());
        }
    }

    /// Whether the launcher has ended, and how.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        self.child.try_wait().context("wait for the container")
    }

    fn wait_until(&mut self, until: Instant) -> bool {
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(PACE);
        }
        true
    }

    /// Ends the container and its launcher: asks, then kills. What its tracer saw is told; `None` when it had none.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn end(&mut self) -> Result<Option<Refusals>> {
        if matches!(self.child.try_wait(), Ok(None)) {
            let launcher = Pid::from_raw(i32::try_from(self.child.id()).context("the launcher's pid")?);
            // It passes the signal on.
            let _ = kill(launcher, Signal::SIGTERM);
            if !self.wait_until(Instant::now() + GRACE) {
                self.kill();
            }
        }
        self.child.wait().context("wait for the container")?;
        Ok(self.watching.take().map(|watching| match watching.and_then(Session::end) {
            Ok((document, _)) => Refusals::parse(&document),
            Err(error) => Refusals::unknown(format!("{error:#}")),
        }))
    }

    /// The container's first process is killed and not the launcher, which has still to write its report.
    fn kill(&mut self) {
        match (self.engine, self.find()) {
            (Engine::Plim, Some(selected)) => drop(kill(Pid::from_raw(selected.pid.0), Signal::SIGKILL)),
            (Engine::Plim, None) => drop(self.child.kill()),
            (Engine::Other { program, .. }, _) => {
                let _ = Command::new(program).args(["rm", "-f", &self.name]).output();
            }
        }
        if !self.wait_until(Instant::now() + GRACE) {
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

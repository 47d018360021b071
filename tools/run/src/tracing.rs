//! `--trace`: the tracer is attached while the command is still held back, and reports when the container has ended.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use plim_observe::Selected;
use plim_runtime::config::ContainerConfig;
use plim_runtime::{Stdio, Stream};
use plim_tools_common::output::{Destination, Style};
use plim_trace::report::{Format, Look, Report, Wanted};
use plim_trace::session::Session;
use plim_trace::tracer::Scope;
use plim_trace::watch::Watch;

use crate::options::Options;

/// Where the report goes.
enum Place {
    Stderr(std::io::Stderr),
    Opened(Box<Destination>),
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Place::Stderr(stderr) => stderr.write(bytes),
            Place::Opened(opened) => opened.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Place::Stderr(stderr) => stderr.flush(),
            Place::Opened(opened) => opened.flush(),
        }
    }
}

/// A tracer that is loaded, and the place of its report; the container is not made yet.
pub(crate) struct Prepared {
    watch: Watch,
    report: Report<BufWriter<Place>>,
}

/// A tracer that sees the container.
pub(crate) struct Tracing(Session<BufWriter<Place>>);

impl Prepared {
    /// Loads the tracer and opens the place.
    ///
    /// # Errors
    /// The privilege or kernel feature that is missing; a place that cannot be opened.
    pub(crate) fn new(options: &Options) -> Result<Prepared> {
        let place = match options.trace_output.as_deref() {
            None => Place::Stderr(std::io::stderr()),
            Some(path) if path == Path::new("-") => Place::Opened(Box::new(Destination::stdout())),
            Some(path) => Place::Opened(Box::new(Destination::file(path).context("--trace-output")?)),
        };
        let watch = Watch::for_causes(&options.trace_cause, None).context("--trace")?;
        if watch.scope() == Scope::Everything && !watch.sees_capabilities() {
            crate::tell("--trace: this kernel shows no refused capabilities: such a refusal is unknown");
        }
        let wanted = Wanted { causes: options.trace_cause.clone(), syscalls: options.trace_syscall.clone() };
        // People read it at the end, programs as it comes.
        let summary = options.trace_format == Format::Table && !options.trace_live;
        let out = BufWriter::new(place);
        let (format, times) = (options.trace_format, options.trace_times);
        let look = Look { format, summary, times, style: Style::plain(false) };
        let report = Report::new(out, look, wanted);
        Ok(Prepared { watch, report })
    }

    /// Attaches the tracer to the container, whose command has not been started. What its first process does up to its
    /// execve is the runtime's work and is not told.
    ///
    /// # Errors
    /// The container shares the host's pid namespace, or the kernel refuses.
    pub(crate) fn attach(mut self, config: &ContainerConfig, pid: plim_model::HostPid) -> Result<Tracing> {
        let name = Some(config.name.clone());
        let target = Selected::container("plim", &config.id, name, pid, config.image.clone())?;
        let declared = config.seccomp.as_ref().map(|seccomp| vec![seccomp.program.clone()]);
        self.watch.add(&target, false, declared).context("--trace")?;
        self.watch.attach().context("--trace")?;
        Ok(Tracing(Session::begin(self.watch, self.report)?))
    }
}

impl Tracing {
    /// Detaches the tracer and finishes the report.
    ///
    /// # Errors
    /// It could not be written.
    pub(crate) fn end(self) -> Result<()> {
        let (out, missed) = self.0.end().context("--trace")?;
        for words in missed.words() {
            crate::tell(&format!("--trace: {words}"));
        }
        match out.into_inner().map_err(|error| error.into_error()).context("--trace-output")? {
            Place::Stderr(_) => Ok(()),
            Place::Opened(opened) => opened.finish().context("--trace-output"),
        }
    }
}

/// The container's own output makes way for a report on standard output.
///
/// # Errors
/// Standard error cannot be duplicated.
pub(crate) fn stdio(options: &Options, stdio: Stdio) -> Result<Stdio> {
    use std::os::fd::AsFd;
    if options.trace_output.as_deref() != Some(Path::new("-")) {
        return Ok(stdio);
    }
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().context("duplicate standard error")?;
    Ok(Stdio { stdout: Stream::Descriptor(stderr), ..stdio })
}

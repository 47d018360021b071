//! `plim trace`: every refused system call of running containers, as it happens, with the reason.
#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use plim_tools_common::args::Output;
use plim_tools_common::beside::beside;
use plim_tools_common::confine::{ConfineArgs, Phase};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::output;
use plim_tools_common::target::{TargetName, find_live};
use plim_trace::cause::Kind;
use plim_trace::options;
use plim_trace::report::{Format, Look, Report, Wanted};
use plim_trace::tracer::Scope;
use plim_trace::watch::Watch;

const NAME: &str = "plim-trace";
/// Events handed out before the clock and the signals are looked at again.
const BATCH: usize = 4096;
/// The longest time that an event waits to be read, and that a signal waits to be obeyed.
const PACE: Duration = Duration::from_millis(20);
/// How long a summary on a terminal stands before it is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);

/// Show every refused system call of containers, with the reason
///
/// What is refused is told as it happens: by a seccomp filter, for want of a capability, by the mode of a file, by a
/// limit. What cannot be told is called unknown. Nothing about the container is changed.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    bin_name = "plim trace",
    version,
    override_usage = "plim trace [OPTIONS] TARGET…\n       plim trace [OPTIONS] --all\n       plim trace [OPTIONS] -- COMMAND [ARG…]",
    after_help = "A COMMAND is run by plim run in a new container, with its standard output on standard error; for options of \
                  the container use plim run --trace.\n\n\
                  Ends with the last target, after --duration, or at SIGINT and SIGTERM.\n\n\
                  Exit status: 0 everything was seen, 2 usage or bad target, 3 something could not be observed (no privilege, \
                  events lost or not seen, operations submitted to an io_uring); with COMMAND: as plim run."
)]
struct Args {
    /// docker:NAME, plim:NAME, pid:N, host, a container's name or the beginning of its id
    #[arg(value_name = "TARGET", required_unless_present_any = ["all", "command"])]
    targets: Vec<String>,
    /// Every running container of every engine
    #[arg(long, conflicts_with_all = ["targets", "command"])]
    all: bool,
    /// End after this time: 500ms, 10s, 5m
    #[arg(long, value_name = "TIME", value_parser = options::duration, conflicts_with = "command")]
    duration: Option<Duration>,
    /// Tell equal refusals once, at the end, with their number, the first and the last; on a terminal as they grow
    #[arg(long)]
    summary: bool,
    /// Only refusals of these kinds: seccomp, capability, lsm, permission, namespace, limit, unknown
    ///
    /// lsm is what Landlock and AppArmor refuse, where the kernel allows fexit programs behind them, and what SELinux refuses and
    /// logs. What other security modules refuse cannot be seen: it is unknown, with the names of those that may have refused.
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', value_parser = options::kind)]
    cause: Vec<Kind>,
    /// Only what seccomp filters refuse, at no cost to processes that have none
    ///
    /// Needs a kernel that allows fexit programs. Chosen by itself where --cause asks for seccomp alone and the kernel
    /// allows it; not from Linux 7.0 on, where the kernel may skip its program for one of two processes that share a processor
    /// (what was skipped is counted). Refusals for other reasons (capabilities, files, limits, security modules) are not looked at.
    #[arg(long, conflicts_with = "command")]
    light: bool,
    /// Only these system calls
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = options::syscall)]
    syscall: Vec<String>,
    /// Tell when each was refused
    #[arg(long)]
    times: bool,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    confine: ConfineArgs,
    /// A command to run in a new container, and its arguments
    #[arg(value_name = "COMMAND", last = true, conflicts_with = "targets")]
    command: Vec<String>,
}

fn main() -> ExitCode {
    plim_tools_common::run_main(NAME, run)
}

fn run(args: Args) -> Result<u8> {
    if !args.command.is_empty() {
        return Err(run_command(&args));
    }
    anyhow::ensure!(
        !args.light || args.cause.iter().all(|kind| *kind == Kind::Seccomp),
        "--light sees what seccomp filters refuse and nothing else: --cause can name seccomp alone"
    );
    let stop = Stop::new()?;
    let out = args.output.destination()?;
    let confine = args.confine.for_children();
    let watch = match args.light {
        true => Watch::confined(Scope::Filters, confine),
        false => Watch::for_causes(&args.cause, confine),
    };
    let mut watch = watch.or_status(exit::UNOBSERVABLE)?;
    // What containers are and do is data that others wrote. A COMMAND is run, and traced, by plim run, which is a launcher.
    args.confine.observe_and_attach(&out)?;
    let mut selected = Vec::new();
    let mut status = exit::CLEAN;
    if args.all {
        let (found, unasked) = plim_observe::all();
        selected.extend(found);
        for error in unasked {
            status = exit::UNOBSERVABLE;
            note(&args, &format!("{:#}; its containers are not traced", anyhow::Error::from(error)))?;
        }
        anyhow::ensure!(!selected.is_empty(), "no container is running");
    }
    for word in &args.targets {
        selected.push(find_live(&TargetName::parse(word)?)?);
    }
    for target in &selected {
        watch.add(target, true, None).or_status(exit::UNOBSERVABLE)?;
    }
    if watch.scope() == Scope::Filters {
        if args.cause.is_empty() {
            note(&args, "only what filters refuse is looked at; refusals for other reasons are not seen")?;
        }
    } else if !watch.sees_capabilities() {
        status = exit::UNOBSERVABLE;
        note(&args, "this kernel shows no refused capabilities: such a refusal is unknown")?;
    }
    let wanted = Wanted { causes: args.cause.clone(), syscalls: args.syscall.clone() };
    let out = std::io::BufWriter::new(out);
    let style = args.output.style();
    let look = Look { format: args.output.format, summary: args.summary, times: args.times, style };
    let mut report = Report::new(out, look, wanted);
    // A summary on a terminal is drawn again and again.
    let mut screen =
        (args.summary && args.output.format == Format::Table && style.width.is_some()).then(Instant::now);
    let lines = terminal_lines();
    watch.attach().or_status(exit::UNOBSERVABLE)?;
    args.confine.enter(Phase::Watch)?;
    note(&args, &format!("tracing {}", names(&selected)))?;
    let end = args.duration.map(|duration| Instant::now() + duration);
    while !stop.asked() && end.is_none_or(|end| Instant::now() < end) {
        let read = watch.drain(BATCH, |told| report.tell(told))?;
        report.flush()?;
        if let Some(drawn) = screen.as_mut().filter(|drawn| drawn.elapsed() >= REDRAW) {
            *drawn = Instant::now();
            report.redraw(lines, &watch.missed()?)?;
        }
        if read == 0 && !watch.has_live_targets() {
            break;
        }
        let left = end.map_or(PACE, |end| end.saturating_duration_since(Instant::now()).min(PACE));
        watch.wait(read, BATCH, left);
    }
    let missed = watch.end(|told| report.tell(told))?;
    let (out, missed) = report.finish(missed)?;
    let out = out.into_inner().map_err(|error| error.into_error()).context("write the report")?;
    out.finish()?;
    for words in missed.words() {
        status = exit::UNOBSERVABLE;
        note(&args, &words)?;
    }
    Ok(status)
}

/// The terminal's height.
fn terminal_lines() -> usize {
    const USUAL: u16 = 24;
    let lines = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_row);
    usize::from(if lines == 0 { USUAL } else { lines })
}

fn names(selected: &[plim_observe::Selected]) -> String {
    let names: Vec<String> = selected.iter().map(plim_observe::Selected::target_name).collect();
    names.join(", ")
}

fn note(args: &Args, text: &str) -> Result<()> {
    if args.output.quiet {
        return Ok(());
    }
    output::to_stderr(format!("{NAME}: {text}\n").as_bytes())
}

/// SIGINT, SIGTERM and SIGHUP, taken as a request to end: the programs are detached and the report is finished.
struct Stop(SignalFd);

impl Stop {
    fn new() -> Result<Stop> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().context("block signals")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Stop(SignalFd::with_flags(&signals, flags).context("make a signalfd")?))
    }

    fn asked(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

/// Becomes `plim run --trace`; comes back with an error alone.
fn run_command(args: &Args) -> anyhow::Error {
    let mut command = Command::new(beside("plim-run"));
    let format = match args.output.format {
        Format::Table => "table",
        Format::Json => "json",
        Format::Jsonl => "jsonl",
    };
    command.arg("--trace").args(["--trace-format", format]);
    let output = args.output.output.as_deref().unwrap_or_else(|| std::path::Path::new("-"));
    command.arg("--trace-output").arg(output);
    for (option, set) in [("--trace-live", !args.summary), ("--trace-times", args.times)] {
        if set {
            command.arg(option);
        }
    }
    if !args.cause.is_empty() {
        let words: Vec<&str> = args.cause.iter().map(|kind| kind.as_str()).collect();
        command.arg("--trace-cause").arg(words.join(","));
    }
    if !args.syscall.is_empty() {
        command.arg("--trace-syscall").arg(args.syscall.join(","));
    }
    let error = command.arg("--").args(&args.command).exec();
    anyhow::Error::from(error).context("execute plim-run")
}

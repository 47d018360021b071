//! What the tracer says and how it goes: forms, filters, ends, missing privileges.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{parse, shape, text};
use crate::attached::{Tracer, ended_well};
use crate::launcher::Outcome;
use crate::{Ctx, Running, cli, needs, same, sys};

/// A container that is refused something all the time.
const REFUSED: &str = "echo ready; while :; do unshare -m true 2>/dev/null; done";
/// What is told of it.
const WHY: [&str; 4] = ["unshare", "EPERM", "seccomp", "/defaultAction"];

fn refused(ctx: &Ctx, options: &[&str]) -> Result<(Running, String)> {
    let mut running = ctx.plim_host_start(options, &["sh", "-c", REFUSED])?;
    running.wait_for("ready")?;
    let target = format!("plim:{}", running.case.tag);
    Ok((running, target))
}

fn is_expected(denial: &Value) -> Result<()> {
    let got = ["/syscall", "/errno", "/cause/kind", "/cause/rule"].map(|pointer| text(denial, pointer));
    ensure!(got == WHY, "told: {denial}");
    Ok(())
}

pub(super) fn host_pid(ctx: &Ctx) -> Result<()> {
    let (_running, target) = refused(ctx, &["--pid", "host"])?;
    let tracer = Tracer::start(ctx, &["--format", "jsonl", &target], &[])?;
    // A process of the host that is refused something as well.
    let witness = ctx.witness();
    for _ in 0..20 {
        let outside =
            Command::new(&witness).args(["try", "as", "65534", "write", "/etc/passwd", "x"]).output()?;
        ensure!(
            String::from_utf8_lossy(&outside.stdout).contains("EACCES"),
            "the host refused nothing: {outside:?}"
        );
        std::thread::sleep(Duration::from_millis(25));
    }
    let denials = parse(&tracer.stop()?.stdout)?;
    ensure!(!denials.is_empty(), "nothing was told of the container");
    denials.iter().try_for_each(is_expected)
}

pub(super) fn exercise(ctx: &Ctx) -> Result<()> {
    const PROFILE: [&str; 2] = ["--security-opt", "seccomp=preset:tcpdump"];
    let run = |options: &[&str], command: &[&str]| -> Result<Vec<Value>> {
        let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
        let file = dir.path().join("trace").display().to_string();
        let trace = ["--trace", "--trace-format", "jsonl", "--trace-output", &file];
        let outcome = ctx.plim_host(&[&trace[..], options].concat(), command)?;
        parse(&std::fs::read_to_string(&file).with_context(|| format!("no trace: {outcome:?}"))?)
    };
    // Which sockets this tcpdump opens before that of AF_PACKET depends on its libpcap: without them it does not come to it.
    let by_filter = run(&PROFILE, &["timeout", "5", "tcpdump", "-i", "lo", "-c", "1"])?;
    ensure!(!by_filter.is_empty(), "nothing was told of tcpdump under its profile");
    for denial in &by_filter {
        let got = ["/comm", "/syscall", "/errno", "/cause/kind"].map(|pointer| text(denial, pointer));
        ensure!(got == ["tcpdump", "socket", "EPERM", "seccomp"], "told: {denial}");
        same("remedy", text(denial, "/remedy/rule/names/0"), "socket")?;
    }
    let packet = |denials: &[Value], kind: &str, capability: &str| -> Result<()> {
        let is_packet = |denial: &&Value| {
            denial["decoded"]["family"] == "AF_PACKET"
                && text(denial, "/decoded/type").starts_with("SOCK_RAW")
        };
        let refused =
            denials.iter().find(is_packet).with_context(|| format!("no AF_PACKET socket: {denials:?}"))?;
        let got =
            ["/syscall", "/errno", "/cause/kind", "/cause/capability"].map(|pointer| text(refused, pointer));
        ensure!(got == ["socket", "EPERM", kind, capability], "told: {refused}");
        Ok(())
    };
    packet(&run(&PROFILE, &["/witness", "try", "socket", "17", "3", "768"])?, "seccomp", "-")?;
    let without = run(&["--cap-drop", "NET_RAW"], &["timeout", "5", "tcpdump", "-i", "lo", "-c", "1"])?;
    packet(&without, "capability", "CAP_NET_RAW")
}

pub(super) fn forms(ctx: &Ctx) -> Result<()> {
    let (running, target) = refused(ctx, &[])?;
    let ask = |args: &[&str]| -> Result<String> {
        let began = Instant::now();
        let outcome = ctx.tool("plim-trace", &[args, &["--duration", "300ms", &target]].concat())?;
        ended_well(&outcome).with_context(|| format!("{args:?}"))?;
        ensure!(began.elapsed() >= Duration::from_millis(300), "{args:?}: ended before its duration");
        Ok(outcome.stdout)
    };
    let lines = parse(&ask(&["--format", "jsonl", "--syscall", "unshare,mount"])?)?;
    ensure!(!lines.is_empty(), "nothing was told");
    lines.iter().try_for_each(|denial| shape(denial).and_then(|()| is_expected(denial)))?;
    same("container", text(&lines[0], "/container"), running.case.tag.as_str())?;
    same("engine", text(&lines[0], "/engine"), "plim")?;
    same("decoded", text(&lines[0], "/decoded/flags"), "CLONE_NEWNS")?;
    same("told of another call", ask(&["--format", "jsonl", "--syscall", "mount"])?, String::new())?;
    same(
        "told of another cause",
        ask(&["--format", "jsonl", "--cause", "limit,capability"])?,
        String::new(),
    )?;
    let timed = parse(&ask(&["--format", "jsonl", "--times", "--cause", "seccomp"])?)?;
    ensure!(
        !timed.is_empty() && timed.iter().all(|denial| denial["boot_ns"].is_u64()),
        "no times: {timed:?}"
    );
    let document: Value = serde_json::from_str(&ask(&["--format", "json"])?)?;
    super::super::first_format(&document)?;
    same("lost", &document["missed"]["lost"], &Value::from(0))?;
    ensure!(
        document["denials"].as_array().is_some_and(|all| !all.is_empty()),
        "an empty document: {document}"
    );
    let told = " = EPERM: seccomp /defaultAction: ";
    let remedy =
        " -> allow unshare with flags == CLONE_NEWNS in the seccomp profile (docker run --security-opt ";
    let table = ask(&[])?;
    ensure!(!table.is_empty(), "an empty table");
    for line in table.lines() {
        let begins = line.starts_with(&format!("{} unshare[", running.case.tag));
        ensure!(begins && line.contains("] unshare(CLONE_NEWNS)") && line.contains(told), "a line: {line}");
        ensure!(line.contains(remedy), "a line without its remedy: {line}");
    }
    let summary = ask(&["--summary"])?;
    let mut rows = summary.lines();
    let head: Vec<&str> = rows.next().unwrap_or_default().split_whitespace().collect();
    let columns = ["COUNT", "FIRST", "LAST", "CONTAINER", "COMMAND", "CALL", "ERROR", "WHY", "REMEDY"];
    same("columns", head, columns.to_vec())?;
    let count =
        rows.next().and_then(|row| row.split_whitespace().next()).and_then(|count| count.parse::<u64>().ok());
    ensure!(
        count.is_some_and(|count| count > 1) && rows.next().is_none(),
        "no summary of one kind: {summary}"
    );
    let groups: Value = serde_json::from_str(&ask(&["--summary", "--format", "json", "--times"])?)?;
    let group = &groups["groups"][0];
    ensure!(group["first_boot_ns"].as_u64() < group["last_boot_ns"].as_u64(), "no span: {groups}");
    terminal(ctx, &target)?;
    all(ctx, &running.case.tag)
}

/// On a terminal a summary is drawn as it grows.
fn terminal(ctx: &Ctx, target: &str) -> Result<()> {
    if cli::which("script").is_none() {
        return Ok(());
    }
    let tool = ctx.bin.canonicalize()?.join("plim-trace").display().to_string();
    let command = format!("{tool} --summary --duration 1800ms {target}");
    let output =
        Command::new("script").args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output()?;
    let drawn = String::from_utf8_lossy(&output.stdout).matches("\u{1b}[H\u{1b}[J").count();
    ensure!(drawn >= 2, "a summary on a terminal was drawn {drawn} times: {output:?}");
    Ok(())
}

fn all(ctx: &Ctx, tag: &str) -> Result<()> {
    // The machine may have other containers, and other engines that cannot be asked.
    let outcome = ctx.tool("plim-trace", &["--format", "jsonl", "--duration", "400ms", "--all"])?;
    let told = parse(&outcome.stdout)?.iter().filter(|denial| text(denial, "/container") == tag).count();
    ensure!(told > 0, "--all tells nothing of {tag}: {outcome:?}");
    Ok(())
}

pub(super) fn detaches(ctx: &Ctx) -> Result<()> {
    let (_running, target) = refused(ctx, &[])?;
    let args = ["--format", "jsonl", target.as_str()];
    for (signal, status) in [(libc::SIGINT, 0), (libc::SIGTERM, 0), (libc::SIGHUP, 0), (libc::SIGKILL, 137)] {
        let mut tracer = Tracer::start(ctx, &args, &[])?;
        std::thread::sleep(Duration::from_millis(200));
        let programs = programs_of(tracer.child.id())?;
        tracer.signal(signal);
        let outcome = tracer.wait()?;
        if status == 0 {
            ended_well(&outcome).with_context(|| format!("signal {signal}"))?;
            let denials = parse(&outcome.stdout)?;
            ensure!(!denials.is_empty(), "signal {signal}: nothing was told");
            denials.iter().try_for_each(is_expected)?;
        }
        ensure!(status == 0 || outcome.code == status, "signal {signal}: {outcome:?}");
        gone(&programs, &format!("signal {signal}"))?;
    }
    let (reader, writer) = std::io::pipe()?;
    let (mut tracer, programs) = with_programs(|| Tracer::start_to(ctx, &args, writer.try_clone()?.into()))?;
    drop((reader, writer));
    let outcome = tracer.wait()?;
    ensure!(outcome.code != 0 && outcome.stderr.lines().count() == 1, "a closed pipe: {outcome:?}");
    gone(&programs, "a closed pipe")?;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let (mut tracer, programs) = with_programs(|| Tracer::start_to(ctx, &args, full.try_clone()?.into()))?;
    let outcome = tracer.wait()?;
    let said = outcome.stderr.lines().last().unwrap_or_default();
    ensure!(outcome.code != 0 && said.contains("No space left on device"), "a full disk: {outcome:?}");
    gone(&programs, "a full disk")
}

/// A tracer whose programs were seen: one that cannot write may have ended before they are looked at.
fn with_programs(start: impl Fn() -> Result<Tracer>) -> Result<(Tracer, Vec<u32>)> {
    const TRIES: usize = 10;
    for _ in 0..TRIES {
        let mut tracer = start()?;
        match programs_of(tracer.child.id()) {
            Ok(programs) => return Ok((tracer, programs)),
            Err(_) => tracer.wait().map(drop)?,
        }
    }
    bail!("no tracer of {TRIES} had programs")
}

/// The BPF programs that a process holds, by id.
fn programs_of(pid: u32) -> Result<Vec<u32>> {
    let mut programs = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let ids = text.lines().filter_map(|line| line.strip_prefix("prog_id:"));
        programs.extend(ids.filter_map(|id| id.trim().parse::<u32>().ok()));
    }
    ensure!(!programs.is_empty(), "the tracer has no programs");
    Ok(programs)
}

/// Waits until none of the programs is in the kernel any more.
fn gone(programs: &[u32], after: &str) -> Result<()> {
    let start = Instant::now();
    while let Some(id) = programs.iter().find(|id| sys::bpf_program_exists(**id)) {
        ensure!(start.elapsed() < crate::HANG_GUARD, "after {after} program {id} is still in the kernel");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

pub(super) fn privileges(ctx: &Ctx) -> Result<()> {
    let tool = ctx.bin.join("plim-trace");
    let ask = |command: &mut Command, what: &str| -> Result<()> {
        let output = command.stdin(Stdio::null()).output()?;
        let mut outcome = Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        if let Some(weakening) = ctx.weakening {
            weakening.answer("plim-trace", &mut outcome);
        }
        same(&format!("status where it lacks {what}"), outcome.code, 3)?;
        let one_line = outcome.stderr.lines().count() == 1 && outcome.stderr.contains(what);
        ensure!(one_line, "expected one line that names {what}: {}", outcome.stderr);
        Ok(())
    };
    const SYS_ADMIN: u8 = 21;
    const PERFMON: u8 = 38;
    const BPF: u8 = 39;
    for (lacking, what) in [
        (&[SYS_ADMIN, BPF][..], "tracing needs CAP_BPF (or"),
        (&[SYS_ADMIN, PERFMON], "tracing needs CAP_PERFMON (or"),
        (&[SYS_ADMIN, BPF, PERFMON], "tracing needs CAP_BPF and CAP_PERFMON (or"),
    ] {
        let mut command = Command::new(&tool);
        sys::without_capabilities(&mut command, lacking);
        ask(command.args(["--duration", "1s", "host"]), what)?;
    }
    if needs::kernel().0 < (5, 15) {
        return ask(Command::new(&tool).args(["--duration", "1s", "host"]), "5.15");
    }
    if cli::which("unshare").is_some() && cli::which("mount").is_some() {
        let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" --duration 1s host";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]).arg(&tool);
        ask(&mut command, "CONFIG_DEBUG_INFO_BTF")?;
    } else if !std::path::Path::new("/proc/self/ns/mnt").exists() {
        bail!("no mount namespaces");
    }
    Ok(())
}

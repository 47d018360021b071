//! What a tool of ours can still do after it has confined itself, and when it does so.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::attached::Tracer;
use crate::process::{must, until};
use crate::suites::inspect::held;
use crate::sys;
use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "confined_to_no_change",
            says: "in every phase of self-confinement, no call opens for writing, makes, renames, deletes, executes, signals or loads",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::Unconfined],
            run: no_change,
        },
        Test {
            name: "confined_before_input",
            says: "every tool that reads a file is confined, without capabilities to change anything, before it reads the first byte",
            needs: &[Need::Plim],
            red_under: &[W::Unconfined],
            run: before_input,
        },
        Test {
            name: "confined_before_targets",
            says: "every tool that looks at a container is confined before it opens a file of the container, its engine or its processes",
            needs: &[Need::Plim, Need::Root, Need::Program("strace")],
            red_under: &[W::Unconfined],
            run: before_targets,
        },
        Test {
            name: "confined_without_capabilities",
            says: "a tool that judges and draws has no capability",
            needs: &[Need::Plim],
            red_under: &[W::Unconfined],
            run: without_capabilities,
        },
        Test {
            name: "confined_tracer",
            says: "a tracer that waits for events is confined, with the capabilities to look and no others",
            needs: &[Need::Plim, Need::Root, Need::Kernel(5, 10)],
            red_under: &[W::Unconfined],
            run: tracer,
        },
        Test {
            name: "confined_with_less",
            says: "root without CAP_SYS_PTRACE, as in a container, confines itself as well and judges without a capability",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::Unconfined],
            run: with_less,
        },
        Test {
            name: "confined_results",
            says: "a confined tool writes its result into a file whole, and leaves nothing behind when it fails",
            needs: &[Need::Plim],
            red_under: &[W::SilentFailure],
            run: results,
        },
        Test {
            name: "confined_sees_as_much",
            says: "a confined observer and tool see of a container what unconfined ones see",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::InspectElsewhere],
            run: sees_as_much,
        },
    ],
};

/// `CAP_DAC_READ_SEARCH`, `CAP_SYS_PTRACE`, `CAP_CHECKPOINT_RESTORE`.
const LOOKING: u64 = 1 << 2 | 1 << 19 | 1 << 40;
/// `CAP_BPF`.
const BPF: u64 = 1 << 39;

fn no_change(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-attempts-").tempdir()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("attempts").arg(dir.path());
    if ctx.weakening == Some(W::Unconfined) {
        command.arg("unconfined");
    }
    let said = must(&mut command)?;
    let (last, wrong) =
        said.trim_end().rsplit_once('\n').map_or((said.trim_end(), ""), |(wrong, last)| (last, wrong));
    ensure!(wrong.is_empty(), "{wrong}");
    let made: usize = last.strip_suffix(" attempts").context("no count")?.parse()?;
    ensure!(made > 500, "{made} attempts were made");
    Ok(())
}

fn before_input(ctx: &Ctx) -> Result<()> {
    for (name, args) in [
        ("plim-inspect", &["-"][..]),
        ("plim-diff", &["-", "preset:docker-default"]),
        ("plim-check", &["-"]),
        ("plim-seccomp", &["show", "-"]),
        ("plim-seccomp", &["explain", "-", "read"]),
        ("plim-seccomp", &["disasm", "-"]),
        ("plim-seccomp", &["decompile", "-"]),
        ("plim-seccomp", &["compile", "-", "--format", "json"]),
        ("plim-seccomp", &["convert", "-", "--to", "oci"]),
        ("plim-seccomp", &["lint", "-"]),
        ("plim-seccomp", &["diff", "-", "preset:docker-default"]),
        ("plim-seccomp", &["subset", "-", "preset:docker-default"]),
        ("plim-seccomp", &["merge", "--union", "-", "preset:docker-default"]),
    ] {
        let mut child = tool(ctx, name, args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let confined = waits_in(&mut child, "0 0x0 ").and_then(|()| confined(child.id(), LOOKING));
        drop(child.stdin.take());
        child.wait()?;
        confined.with_context(|| format!("{name} {args:?}"))?;
    }
    Ok(())
}

fn before_targets(ctx: &Ctx) -> Result<()> {
    let running = held(ctx, &[])?;
    let pid = running.host_pid()?.to_string();
    let dir = tempfile::Builder::new().prefix("plimtest-strace-").tempdir()?;
    let calls = dir.path().join("calls");
    let (name, target) = (format!("plim:{}", running.case.tag), format!("pid:{pid}"));
    for (tool_name, args) in [
        ("plim-inspect", &[name.as_str()][..]),
        ("plim-inspect", &["--all"]),
        ("plim-diff", &[target.as_str(), name.as_str()]),
        ("plim-check", &[name.as_str()]),
        ("plim-seccomp", &["show", name.as_str()]),
        ("plim-seccomp", &["dump", name.as_str(), "--format", "disasm"]),
        ("plim-seccomp", &["verify", name.as_str()]),
        ("plim-trace", &[name.as_str(), "--duration", "50ms"]),
    ] {
        let traced = tool(ctx, tool_name, args);
        let mut strace = Command::new("strace");
        // The process itself, not its helper.
        strace
            .args(["-qq", "-s", "200", "-e", "trace=open,openat,openat2,connect,seccomp", "-o"])
            .arg(&calls);
        strace.arg(traced.get_program()).args(traced.get_args());
        let status = strace.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        let text = fs::read_to_string(&calls)?;
        ensure!(text.lines().count() > 5, "{tool_name} {args:?} ended with {status}: {text}");
        let first = text.lines().take_while(|line| !line.starts_with("seccomp(SECCOMP_SET_MODE_FILTER"));
        let others = [format!("/proc/{pid}"), "/run/".to_owned(), "connect(".to_owned()];
        for line in first {
            let early = others.iter().any(|other| line.contains(other.as_str()));
            ensure!(!early, "{tool_name} {args:?}: not confined yet at {line}");
        }
        ensure!(text.contains(&others[0]), "{tool_name} {args:?}: never looked at the target");
    }
    running.signal(libc::SIGKILL);
    running.finish().map(drop)
}

fn without_capabilities(ctx: &Ctx) -> Result<()> {
    judging(tool(ctx, "plim-seccomp", &SHOW))
}

fn with_less(ctx: &Ctx) -> Result<()> {
    const SYS_PTRACE: u8 = 19;
    let target = format!("pid:{}", std::process::id());
    let mut observing = tool(ctx, "plim-inspect", &["--format", "json", &target]);
    sys::without_capabilities(&mut observing, &[SYS_PTRACE]);
    let status = observing.stdout(Stdio::null()).stderr(Stdio::null()).status()?.code();
    ensure!(matches!(status, Some(0 | 3)), "plim-inspect ended with {status:?}");
    let mut command = tool(ctx, "plim-seccomp", &SHOW);
    sys::without_capabilities(&mut command, &[SYS_PTRACE]);
    judging(command)
}

/// Its result is longer than a pipe holds.
const SHOW: [&str; 4] = ["show", "preset:docker-default", "--format", "json"];

fn judging(mut command: Command) -> Result<()> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let confined = waits_in(&mut child, "1 0x1 ").and_then(|()| confined(child.id(), 0));
    child.kill()?;
    child.wait()?;
    confined
}

fn tracer(ctx: &Ctx) -> Result<()> {
    let running = held(ctx, &[])?;
    let target = format!("pid:{}", running.host_pid()?);
    let mut args = vec![target.as_str()];
    if ctx.weakening == Some(W::Unconfined) {
        args.insert(0, "--no-self-confine");
    }
    let tracer = Tracer::start(ctx, &args, &[])?;
    let result = confined(tracer.child.id(), LOOKING | BPF);
    tracer.stop()?;
    running.signal(libc::SIGKILL);
    running.finish()?;
    result
}

fn results(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-results-").tempdir()?;
    let place = dir.path().join("result.json");
    let broken = dir.path().join("broken.json");
    fs::write(&place, "old")?;
    fs::write(&broken, "{")?;
    let (place, broken) = (place.display().to_string(), broken.display().to_string());
    let failed = ctx.tool("plim-seccomp", &["show", &broken, "-o", &place])?;
    same("status of what cannot be parsed", failed.code, 2)?;
    same("the result of what failed", fs::read_to_string(&place)?.as_str(), "old")?;
    let done =
        ctx.tool("plim-seccomp", &["show", "preset:docker-default", "--format", "json", "-o", &place])?;
    same("status", done.code, 0)?;
    let _: serde_json::Value = serde_json::from_str(&fs::read_to_string(&place)?).context("the result")?;
    same("files that are left", fs::read_dir(dir.path())?.count(), 2)
}

fn sees_as_much(ctx: &Ctx) -> Result<()> {
    let running = held(ctx, &[])?;
    let (name, target) = (format!("plim:{}", running.case.tag), format!("pid:{}", running.host_pid()?));
    for (tool, args) in [
        ("plim-inspect", &["--format", "json", name.as_str()][..]),
        ("plim-inspect", &["--format", "json", &target]),
        ("plim-seccomp", &["show", "--format", "json", name.as_str()]),
    ] {
        let confined = ctx.tool(tool, args)?;
        let free =
            Ctx::new(ctx.engine, None, &ctx.bin)?.tool(tool, &[args, &["--no-self-confine"]].concat())?;
        same("status", confined.code, free.code)?;
        let read = |said: &str| serde_json::from_str::<serde_json::Value>(said).context("not JSON");
        let (mut confined, mut free) = (read(&confined.stdout)?, read(&free.stdout)?);
        for snapshot in [&mut confined, &mut free] {
            for volatile in ["/cgroup", "/processes", "/taken", "/observer"] {
                if let Some(value) = snapshot.pointer_mut(volatile) {
                    value.take();
                }
            }
        }
        same("what is seen", confined, free)?;
    }
    running.signal(libc::SIGKILL);
    running.finish().map(drop)
}

fn tool(ctx: &Ctx, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(ctx.bin.join(name));
    command.args(args);
    if ctx.weakening == Some(W::Unconfined) {
        command.arg("--no-self-confine");
    }
    command
}

/// Waits until the process waits in a call: its number and first argument as /proc/PID/syscall has them.
fn waits_in(child: &mut Child, call: &str) -> Result<()> {
    let path = format!("/proc/{}/syscall", child.id());
    until(Duration::from_secs(20), || {
        if let Some(status) = child.try_wait()? {
            return Ok(Err(anyhow::anyhow!("ended with {status}")));
        }
        ensure!(fs::read_to_string(&path)?.starts_with(call), "not there yet");
        Ok(Ok(()))
    })?
}

/// Fails unless the process is under filters, gains no privileges and has none of the other capabilities.
fn confined(pid: u32, capabilities: u64) -> Result<()> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let fields: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(":\t")).collect();
    let field = |name: &str| fields.get(name).copied().with_context(|| format!("no {name}"));
    same("Seccomp", field("Seccomp")?, "2")?;
    same("NoNewPrivs", field("NoNewPrivs")?, "1")?;
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let has = u64::from_str_radix(field(set)?, 16)?;
        ensure!(has & !capabilities == 0, "{set}: {has:#x}, expected none but {capabilities:#x}");
    }
    Ok(())
}

//! The life of a container: how it starts, what it is told, how it ends.

use std::io::Read;
use std::process::Stdio;

use anyhow::{Result, ensure};
use serde_json::json;

use super::text;
use crate::{Ctx, Need, Suite, Test, Weakening as W, same, sys};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "lifecycle",
    tests: &[
        Test {
            name: "exit_status",
            says: "the command's exit status is the launcher's",
            needs: &[],
            red_under: &[W::MaskedExit],
            run: exit_status,
        },
        Test {
            name: "killed",
            says: "a command that a signal kills gives 128+n",
            needs: &[],
            red_under: &[W::MaskedExit],
            run: killed,
        },
        Test {
            name: "output",
            says: "stdout is the command's, byte for byte",
            needs: &[],
            red_under: &[W::Chatty],
            run: output,
        },
        Test {
            name: "signals_forwarded",
            says: "a signal to the launcher reaches the command",
            needs: &[],
            red_under: &[W::Deaf],
            run: signals_forwarded,
        },
        Test {
            name: "stdin",
            says: "with -i the command reads the launcher's stdin to its end",
            needs: &[],
            red_under: &[W::NoStdio],
            run: stdin,
        },
        Test {
            name: "terminal",
            says: "with a terminal, descriptors 0 to 2 are one pseudo-terminal of the container's own",
            needs: &[],
            red_under: &[W::NoStdio],
            run: terminal,
        },
        Test {
            name: "children_die",
            says: "when the command ends, its children end with it",
            needs: &[],
            red_under: &[W::LeavesProcess],
            run: children_die,
        },
        Test {
            name: "statuses_of_docker",
            says: "127 when the command is not there, 126 when it cannot be executed, 125 when plim run itself fails",
            needs: &[Need::Plim],
            red_under: &[W::SilentFailure, W::MaskedExit],
            run: statuses_of_docker,
        },
        Test {
            name: "init",
            says: "--init reaps orphans, forwards signals and gives the command's status",
            needs: &[Need::Plim],
            red_under: &[W::MaskedExit, W::Deaf],
            run: init,
        },
        Test {
            name: "bad_options",
            says: "a bad option is one clear error with the nearest spelling, status 125, before anything is made",
            needs: &[Need::Plim],
            red_under: &[W::SilentFailure],
            run: bad_options,
        },
    ],
};

fn exit_status(ctx: &Ctx) -> Result<()> {
    for code in [0, 1, 7, 255] {
        same("status", ctx.witness_run(&["exit", &code.to_string()])?.code, code)?;
    }
    Ok(())
}

fn killed(ctx: &Ctx) -> Result<()> {
    let mut running = ctx.start(ctx.case(&["hold", "20"])?)?;
    running.wait_for("ready")?;
    sys::kill(running.host_pid()?, libc::SIGKILL);
    same("status after SIGKILL", running.finish()?.code, 137)
}

fn output(ctx: &Ctx) -> Result<()> {
    let outcome = ctx.witness_run(&["echo", "one", "two  three", "ü"])?;
    same("stdout", outcome.stdout, "one two  three ü\n".to_owned())?;
    same("stderr", outcome.stderr, String::new())
}

fn signals_forwarded(ctx: &Ctx) -> Result<()> {
    let mut running = ctx.start(ctx.case(&["signals"])?)?;
    running.wait_for("ready")?;
    for (signal, name) in [(libc::SIGUSR1, "SIGUSR1"), (libc::SIGHUP, "SIGHUP"), (libc::SIGINT, "SIGINT")] {
        running.signal(signal);
        let start = std::time::Instant::now();
        while !running.stdout().contains(name) {
            ensure!(
                start.elapsed() < crate::HANG_GUARD,
                "{name} did not reach the command: {:?}",
                running.stdout()
            );
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
    running.signal(libc::SIGTERM);
    same("status", running.finish()?.code, 0)
}

fn stdin(ctx: &Ctx) -> Result<()> {
    let mut case = ctx.case(&["cat"])?;
    case.stdin = Some(b"line one\nline two without an end".to_vec());
    same("echoed", ctx.run(case)?.stdout, "line one\nline two without an end".to_owned())?;
    same("without stdin", ctx.run(ctx.case(&["cat"])?)?.stdout, String::new())
}

fn terminal(ctx: &Ctx) -> Result<()> {
    let pty = nix::pty::openpty(
        Some(&nix::pty::Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 }),
        None,
    )?;
    let mut case = ctx.case(&["report"])?.with("/process/terminal", json!(true));
    if let Some(weakening) = ctx.weakening {
        weakening.apply(&mut case.spec);
    }
    case.write()?;
    let mut command = ctx.command(&case);
    command.stdin(Stdio::from(pty.slave.try_clone()?)).stdout(Stdio::from(pty.slave.try_clone()?));
    let mut child = command.stderr(Stdio::from(pty.slave)).spawn()?;
    // `command` keeps its copies of the slave until it is dropped.
    drop(command);
    let mut master = std::fs::File::from(pty.master);
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    // EIO is how a pseudo-terminal says that its last writer is gone.
    while let Ok(count) = master.read(&mut buffer) {
        if count == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..count]);
    }
    let code = child.wait()?.code();
    let said = String::from_utf8_lossy(&all).into_owned();
    same("status", code, Some(0)).map_err(|error| error.context(said.clone()))?;
    let outcome = crate::Outcome { code: 0, stdout: said, stderr: String::new() };
    let report = outcome.json()?;
    for fd in ["0", "1", "2"] {
        let path = text(&report, &format!("/fds/{fd}"))?;
        ensure!(path.starts_with("/dev/pts/") || path == "/dev/console", "descriptor {fd} is {path}");
        let seen = std::fs::read_link("/proc/self/fd/0").unwrap_or_default();
        ensure!(seen.to_string_lossy() != path || path == "/dev/pts/0", "it is the host's terminal");
    }
    ensure!(report["terminals"][0].is_array(), "descriptor 0 is no terminal");
    ensure!(report["dev"]["console"].is_string(), "there is no /dev/console");
    Ok(())
}

fn children_die(ctx: &Ctx) -> Result<()> {
    let mut running = ctx.start(ctx.case(&["children"])?)?;
    running.wait()?;
    // A launcher may report the end a moment before the kernel has finished the last child.
    for _ in 0..100 {
        if running.host_pid().is_err() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let left = running.host_pid();
    if let Ok(pid) = left {
        sys::kill(pid, libc::SIGKILL);
    }
    ensure!(left.is_err(), "a child outlived the container");
    Ok(())
}

fn statuses_of_docker(ctx: &Ctx) -> Result<()> {
    let args =
        |first: &str| -> Result<crate::Case> { Ok(ctx.case(&[])?.with("/process/args", json!([first]))) };
    same("not there", ctx.run(args("/bin/nothing")?)?.code, 127)?;
    same("not on PATH", ctx.run(args("nothing")?)?.code, 127)?;
    same("not executable", ctx.run(args("/etc/passwd")?)?.code, 126)?;
    same("a directory", ctx.run(args("/etc")?)?.code, 126)?;
    let bad = ctx.run(args("/bin/witness")?.with("/root/path", json!("nowhere")))?;
    same("no root file system", bad.code, 125)?;
    ensure!(bad.stderr.contains("nowhere"), "the error does not name the directory: {}", bad.stderr);
    ensure!(bad.stderr.lines().count() <= 2, "not one clear error: {}", bad.stderr);
    Ok(())
}

fn init(ctx: &Ctx) -> Result<()> {
    let answer = ctx.plim(&["--init"], &["orphans", "5"])?.json()?;
    ensure!(answer["pid"].as_i64() != Some(1), "the command itself is pid 1");
    same("zombies", answer["zombies"].as_u64(), Some(0))?;
    same("status", ctx.plim(&["--init"], &["exit", "9"])?.code, 9)?;
    same("killed", ctx.plim(&["--init"], &["die", "15"])?.code, 143)?;
    let mut running = ctx.plim_start(&["--init"], &["signals"])?;
    running.wait_for("ready")?;
    running.signal(libc::SIGUSR1);
    running.wait_for("SIGUSR1")?;
    running.signal(libc::SIGTERM);
    same("status after SIGTERM", running.finish()?.code, 0)
}

fn bad_options(ctx: &Ctx) -> Result<()> {
    let cases: [(&[&str], &str); 9] = [
        (&["--cap-add", "NET_ROW"], "NET_RAW"),
        (&["--cap-drop", "CAP_SYS_ADMON"], "SYS_ADMIN"),
        (&["-m", "12q"], "12q"),
        (&["-m", "1k"], "memory"),
        (&["--cpus=-1"], "cpus"),
        (&["--security-opt", "seccomp=preset:docker-defualt"], "docker-default"),
        (&["--security-opt", "seccomp=/nowhere.json"], "/nowhere.json"),
        (&["--network", "hots"], "host"),
        (&["--ulimit", "nofiles=1"], "nofile"),
    ];
    for (options, hint) in cases {
        let outcome = ctx.plim(options, &["exit", "0"])?;
        same(&format!("status of {options:?}"), outcome.code, 125)?;
        ensure!(outcome.stderr.contains(hint), "{options:?} does not say {hint:?}: {}", outcome.stderr);
    }
    Ok(())
}

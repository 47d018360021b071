//! The caller's terminal, files and device nodes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::json;

use crate::process::{Ended, until};
use crate::{Case, Ctx, Need, Outcome, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "stdio_streams",
            says: "of the caller's streams a container gets pipes as they are, and of everything else a pipe of its own",
            needs: &[Need::Plim, Need::Program("sh")],
            red_under: &[W::HandsOver],
            run: streams,
        },
        Test {
            name: "stdio_typed_input",
            says: "without -i and -t, what is typed stays the caller's, and so do its terminal's modes",
            needs: &[Need::Plim],
            red_under: &[W::HandsOver],
            run: typed_input,
        },
        Test {
            name: "stdio_null_device",
            says: "stdin and masks are the container's own null device; nodes of the host are bound read-only",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::ExtraDevices],
            run: null_device,
        },
        Test {
            name: "stdio_copies",
            says: "copied streams are whole and in order, and end when the input ends",
            needs: &[Need::Plim],
            red_under: &[W::NoStdio, W::Chatty],
            run: copies,
        },
        Test {
            name: "stdio_reader_gone",
            says: "when the reader of the output goes away, the container is told as without a launcher between",
            needs: &[Need::Plim],
            red_under: &[W::MaskedExit],
            run: reader_gone,
        },
        Test {
            name: "stdio_background",
            says: "a launcher in the background that reads its terminal stops, and goes on in the foreground",
            needs: &[Need::Plim, Need::Program("setsid"), Need::Program("bash")],
            red_under: &[W::NoStdio],
            run: background,
        },
        Test {
            name: "stdio_pairs_of_options",
            says: "every pair of options that change how a container starts gives one that starts",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::MaskedExit],
            run: pairs_of_options,
        },
    ],
};

/// A stream of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Terminal,
    File,
    Socket,
    Fifo,
    Pipe,
    Null,
}

const KINDS: [Kind; 6] = [Kind::Terminal, Kind::File, Kind::Socket, Kind::Fifo, Kind::Pipe, Kind::Null];

/// What is handed to the launcher, and the test's end, which does not block.
struct Stream {
    theirs: OwnedFd,
    ours: File,
}

impl Stream {
    fn new(kind: Kind, dir: &Path) -> Result<Stream> {
        let name = dir.join(format!("{kind:?}"));
        let (theirs, ours): (OwnedFd, OwnedFd) = match kind {
            Kind::Terminal => {
                let pty = nix::pty::openpty(None, None)?;
                (pty.slave, pty.master)
            }
            Kind::File => (File::create(&name)?.into(), File::open(&name)?.into()),
            Kind::Socket => {
                let (a, b) = std::os::unix::net::UnixStream::pair()?;
                (a.into(), b.into())
            }
            Kind::Fifo => {
                if !name.exists() {
                    nix::unistd::mkfifo(&name, nix::sys::stat::Mode::from_bits_truncate(0o600))?;
                }
                let mut options = File::options();
                let ours = options.read(true).custom_flags(libc::O_NONBLOCK).open(&name)?;
                (File::options().write(true).open(&name)?.into(), ours.into())
            }
            Kind::Pipe => {
                let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
                (write, read)
            }
            Kind::Null => (
                File::options().read(true).write(true).open("/dev/null")?.into(),
                File::open("/dev/null")?.into(),
            ),
        };
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        for fd in [&theirs, &ours] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        Ok(Stream { theirs, ours: ours.into() })
    }

    /// The same for input: of a pipe the other end.
    fn input(kind: Kind, dir: &Path) -> Result<Stream> {
        if kind != Kind::Pipe {
            let stream = Stream::new(kind, dir)?;
            let theirs = match kind {
                Kind::Fifo | Kind::File => File::open(dir.join(format!("{kind:?}")))?.into(),
                _ => stream.theirs,
            };
            return Ok(Stream { theirs, ..stream });
        }
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        Ok(Stream { theirs: read, ours: write.into() })
    }

    fn stdio(&self) -> Result<Stdio> {
        Ok(self.theirs.try_clone()?.into())
    }

    /// Device and inode, by which a file is known.
    fn identity(&self) -> Result<String> {
        let stat = File::from(self.theirs.try_clone()?).metadata()?;
        Ok(format!("{}:{}", stat.dev(), stat.ino()))
    }

    /// What was written, once the launcher has ended.
    fn said(&self) -> String {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = (&self.ours).read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..length]);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The launcher with the case's root, or under [`W::HandsOver`] the witness in its place.
fn launcher(ctx: &Ctx, case: &Case, options: &[&str], words: &[&str]) -> Command {
    if ctx.weakening == Some(W::HandsOver) {
        let mut command = Command::new(ctx.witness());
        command.args(words);
        return command;
    }
    let mut command = Command::new(ctx.bin.join("plim-run"));
    command.args(["--name", &case.tag, "-e", &format!("PLIM_TEST_TAG={}", case.tag), "--rootfs"]);
    let no_input = ctx.weakening == Some(W::NoStdio);
    command.arg(&case.rootfs).args(options.iter().filter(|option| !(no_input && **option == "-i"))).arg("--");
    if let Some(wrapper) = ctx.weakening.and_then(W::wrapper) {
        command.args(["/bin/witness", wrapper]);
    }
    command.arg("/bin/witness").args(words);
    command
}

/// Runs it to its end.
fn finish(command: &mut Command) -> Result<i32> {
    let mut child = Ended(command.spawn()?);
    ensure!(child.within(Duration::from_secs(30)), "the launcher did not end");
    Ok(child.0.wait()?.code().unwrap_or(-1))
}

const LOOK: [&str; 9] =
    ["try", "stat", "/proc/self/fd/0", "--", "stat", "/proc/self/fd/1", "--", "stat", "/proc/self/fd/2"];

/// Each verdict of `try stat`: device and inode, then the kind.
fn seen(said: &str) -> Result<Vec<(String, String)>> {
    let outcome = Outcome { code: 0, stdout: said.to_owned(), stderr: String::new() };
    let split = |text: &str| text.split_once(' ').map(|(id, kind)| (id.to_owned(), kind.to_owned()));
    outcome
        .verdicts()?
        .iter()
        .map(|(call, result)| split(result).with_context(|| format!("{call}: {result}")))
        .collect()
}

fn check(what: &str, kind: Kind, given: &str, seen: &(String, String)) -> Result<()> {
    match kind {
        Kind::Pipe => same(&format!("{what}, a pipe"), (seen.0.as_str(), seen.1.as_str()), (given, "fifo")),
        Kind::Null => {
            same(&format!("{what}, /dev/null"), seen.1.as_str(), "char 1:3")?;
            let host = fs::metadata("/dev/null")?;
            ensure!(seen.0 != format!("{}:{}", host.dev(), host.ino()), "{what}: it is the host's /dev/null");
            Ok(())
        }
        _ => {
            ensure!(seen.0 != given, "{what}: it is the caller's {kind:?}");
            same(&format!("{what}, a {kind:?}"), seen.1.as_str(), "fifo")
        }
    }
}

fn streams(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&[])?;
    let dir = case.dir.path();
    for kind in KINDS {
        let (out, input, err) =
            (Stream::new(Kind::Pipe, dir)?, Stream::input(kind, dir)?, Stream::new(kind, dir)?);
        for (options, expected) in [(&["-i"][..], kind), (&[][..], Kind::Null)] {
            let mut command = launcher(ctx, &case, options, &LOOK);
            command.stdin(input.stdio()?).stdout(out.stdio()?).stderr(err.stdio()?);
            same("status", finish(&mut command)?, 0)?;
            drop(command);
            let seen = seen(&out.said())?;
            check(&format!("stdin with {options:?}"), expected, &input.identity()?, &seen[0])?;
            check("stderr", kind, &err.identity()?, &seen[2])?;
        }
        // As standard output it also carries the answer.
        if kind != Kind::Null {
            let out = Stream::new(kind, dir)?;
            let mut command = launcher(ctx, &case, &[], &LOOK);
            command.stdin(Stdio::null()).stdout(out.stdio()?).stderr(out.stdio()?);
            same("status", finish(&mut command)?, 0)?;
            drop(command);
            let given = out.identity()?;
            let seen = seen(&out.said())?;
            check("stdout", kind, &given, &seen[1])?;
            check("stderr that is stdout", kind, &given, &seen[2])?;
            same("one pipe for both", &seen[1].0, &seen[2].0)?;
        }
    }
    // A stream that the caller closed.
    let out = Stream::new(Kind::Pipe, dir)?;
    let command = launcher(ctx, &case, &["-i"], &LOOK);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" <&- 2>&-"]).arg(command.get_program()).args(command.get_args());
    shell.stdout(out.stdio()?);
    same("status", finish(&mut shell)?, 0)?;
    let seen = seen(&out.said())?;
    check("closed stdin", Kind::Null, "", &seen[0])?;
    check("closed stderr", Kind::Null, "", &seen[2])
}

fn typed_input(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&[])?;
    let terminal = Stream::new(Kind::Terminal, case.dir.path())?;
    (&terminal.ours).write_all(b"typed\n")?;
    let mut command = launcher(ctx, &case, &[], &["cat"]);
    command.stdin(terminal.stdio()?).stdout(terminal.stdio()?).stderr(terminal.stdio()?);
    let mut child = Ended(command.spawn()?);
    child.within(Duration::from_secs(if ctx.weakening.is_some() { 1 } else { 30 }));
    drop(child);
    fcntl(&terminal.theirs, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut left = [0; 64];
    let length = File::from(terminal.theirs.try_clone()?).read(&mut left).unwrap_or(0);
    same("what is left of the input", &left[..length], &b"typed\n"[..])?;
    let flags = tcgetattr(terminal.theirs.as_fd())?.local_flags;
    ensure!(
        flags.contains(LocalFlags::ECHO | LocalFlags::ICANON),
        "the terminal's modes were changed: {flags:?}"
    );
    Ok(())
}

fn null_device(ctx: &Ctx) -> Result<()> {
    let host = fs::metadata("/dev/null")?;
    let host = format!("{}:{}", host.dev(), host.ino());
    let mask = "/proc/timer_list";
    let words = ["try", "stat", "/proc/self/fd/0", "--", "stat", mask, "--", "stat", "/dev/null"];
    let outcome = ctx.run(ctx.case(&words)?.with("/linux/maskedPaths", json!([mask, "/proc/keys"])))?;
    for (what, (id, kind)) in ["stdin", mask, "/dev/null"].into_iter().zip(seen(&outcome.stdout)?) {
        same(what, kind.as_str(), "char 1:3")?;
        ensure!(id != host, "{what} is the host's node");
    }
    // A cover cannot be changed, even where the node could be.
    let chmod = ["try", "chmod", mask, "0666", "--", "chmod", "/proc/keys", "0666"];
    let masked = ctx.run(ctx.case(&chmod)?.with("/linux/maskedPaths", json!([mask, "/proc/keys"])))?;
    for (call, result) in masked.verdicts()? {
        same(&call, result.as_str(), "EROFS")?;
    }
    // Where nodes cannot be made, the host's are bound: the worst map is the one that owns them.
    const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    let mut words = vec!["try".to_owned()];
    for node in NODES {
        // Their modes as they are: a node of the host that can be changed is not.
        words.extend(["chmod", &format!("/dev/{node}"), "0666", "--"].map(str::to_owned));
    }
    words.extend(["write", "/dev/null", "x", "--", "chmod", "/proc/self/fd/0", "0666"].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let case = ctx.case(&words)?;
    let mut case = case.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map);
    if let Some(list) = case.spec["linux"]["namespaces"].as_array_mut() {
        list.push(json!({"type": "user"}));
    }
    for (call, result) in ctx.run(case)?.verdicts()? {
        same(&call, result.as_str(), if call.starts_with("write") { "ok" } else { "EROFS" })?;
    }
    Ok(())
}

fn copies(ctx: &Ctx) -> Result<()> {
    let megabytes = std::env::var("PLIM_COPY_MEGABYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let mut case = ctx.case(&["cat"])?;
    let input: Vec<u8> = (0..megabytes << 17).flat_map(|word: u64| word.to_le_bytes()).collect();
    case.stdin = Some(input.clone());
    let mut running = ctx.start(case)?;
    same("status", running.wait()?.code, 0)?;
    ensure!(fs::read(running.case.dir.path().join("stdout"))? == input, "the copy is not what was read");
    // Both outputs to one file: as they were written.
    let case = ctx.case(&[])?;
    let out = Stream::new(Kind::File, case.dir.path())?;
    let mut command = launcher(ctx, &case, &[], &["alternate", "200"]);
    command.stdin(Stdio::null()).stdout(out.stdio()?).stderr(out.stdio()?);
    same("status", finish(&mut command)?, 0)?;
    let expected: String = (0..200).map(|line| format!("out {line}\nerr {line}\n")).collect();
    same("the order", out.said(), expected)
}

/// The witness writes without end, and ends with 7 when it cannot any more.
fn reader_gone(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&[])?;
    for (kind, options) in [
        (Kind::Socket, &[][..]),
        (Kind::Fifo, &[]),
        (Kind::Pipe, &[]),
        (Kind::Terminal, &[]),
        (Kind::Pipe, &["-t"]),
    ] {
        let out = Stream::new(kind, case.dir.path())?;
        let mut command = launcher(ctx, &case, options, &["pour"]);
        command.stdin(Stdio::null()).stdout(out.stdio()?).stderr(Stdio::null());
        let mut child = Ended(command.spawn()?);
        drop(command);
        let Stream { theirs, ours } = out;
        drop(theirs);
        let mut buffer = [0; 64];
        until(Duration::from_secs(10), || Ok((&ours).read_exact(&mut buffer)?))?;
        drop(ours);
        ensure!(child.within(Duration::from_secs(20)), "{kind:?}, {options:?}: it still runs");
        same(&format!("status with {kind:?}, {options:?}"), child.0.wait()?.code(), Some(7))?;
    }
    Ok(())
}

fn background(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&[])?;
    let terminal = Stream::new(Kind::Terminal, case.dir.path())?;
    let command = launcher(ctx, &case, &["-i"], &["cat"]);
    // An interactive shell with the terminal as its controlling one.
    let mut shell = Command::new("setsid");
    shell.args(["-c", "bash", "-c", "set -m; \"$0\" \"$@\" & wait $!; echo stopped $?; fg %1"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.stdin(terminal.stdio()?).stdout(terminal.stdio()?).stderr(terminal.stdio()?);
    let mut child = Ended(shell.spawn()?);
    let mut said = String::new();
    // `wait` returns when the job stops; then it is brought to the foreground and reads.
    let status: i32 = until(Duration::from_secs(10), || {
        said += &terminal.said();
        let line = said.lines().find_map(|line| line.strip_prefix("stopped "));
        Ok(line.context("the shell does not say why its job stopped")?.trim().parse()?)
    })?;
    same("why it stopped", status, 128 + libc::SIGTTIN)?;
    (&terminal.ours).write_all(b"in the foreground\n\x04")?;
    ensure!(child.within(Duration::from_secs(10)), "it did not go on: {}", said + &terminal.said());
    said += &terminal.said();
    // Once by the terminal's echo, once by the container.
    same("lines", said.matches("in the foreground").count(), 2).map_err(|error| error.context(said))
}

fn pairs_of_options(ctx: &Ctx) -> Result<()> {
    let mut alone: Vec<Vec<String>> = [
        &["-d"][..],
        &["-i"],
        &["-t"],
        &["--init"],
        &["--read-only"],
        &["--userns", "private"],
        &["--user", "1000"],
    ]
    .iter()
    .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
    .collect();
    for name in plim_seccomp::presets::names() {
        alone.push(vec!["--security-opt".to_owned(), format!("seccomp=preset:{name}")]);
    }
    let mut failed = Vec::new();
    for (index, first) in alone.iter().enumerate() {
        for second in &alone[index..] {
            // A preset, given twice, is the last one.
            if first != second && first[0] == second[0] {
                continue;
            }
            let case = ctx.case(&[])?;
            let options: Vec<&str> = first.iter().chain(second).map(String::as_str).collect();
            let detached = options.contains(&"-d");
            let mut command = launcher(ctx, &case, &options, &["exit", "9"]);
            command.stdin(Stdio::null()).stdout(File::create(case.dir.path().join("out"))?);
            command.stderr(File::create(case.dir.path().join("err"))?);
            let code = finish(&mut command)?;
            if code != if detached { 0 } else { 9 } {
                failed.push((options.join(" "), code, fs::read_to_string(case.dir.path().join("err"))?));
            }
        }
    }
    ensure!(failed.is_empty(), "did not start: {failed:?}");
    Ok(())
}

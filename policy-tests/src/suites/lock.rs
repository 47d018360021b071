//! `plim lock` and `plim check --lock` on what runs: every growth of one privilege is caught, and nothing else.
//!
//! Each case is a container of its own with one option changed. It is held to the lock of the container without that change, under the
//! same name, and for growths the other way round too: what has less than is locked passes.

use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use plim_seccomp::presets;
use serde_json::{Value, json};

use crate::{Ctx, Need, Running, Suite, Test, Weakening as W, same};

const NEEDS: &[Need] = &[
    Need::Plim,
    Need::Root,
    Need::Built("plim-check"),
    Need::Built("plim-lock"),
    Need::Controller("memory"),
    Need::Controller("pids"),
    Need::File("/dev/kmsg"),
    Need::Processors(2),
];

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "lock",
    tests: &[
        Test {
            name: "growths",
            says: "plim check --lock fails for each of 45 single growths of a running container, in the area that grew, and passes the way back",
            needs: NEEDS,
            red_under: &[W::InspectElsewhere],
            run: growths,
        },
        Test {
            name: "others",
            says: "plim check --lock passes 40 containers that have less, or the same under other options",
            needs: NEEDS,
            red_under: &[W::InspectElsewhere],
            run: others,
        },
        Test {
            name: "merge",
            says: "plim lock writes the same bytes of two containers whatever their order, one after the other or together",
            needs: NEEDS,
            red_under: &[W::DiffBlind],
            run: merge,
        },
    ],
};

/// What every container is asked for, one option a word.
const BASE: [&str; 16] = [
    "--cap-drop=ALL",
    "--cap-add=CHOWN",
    "--cap-add=KILL",
    "--security-opt=no-new-privileges",
    "--memory=64m",
    "--memory-swap=64m",
    "--cpus=0.5",
    "--cpu-shares=512",
    "--cpuset-cpus=0",
    "--pids-limit=50",
    "--ulimit=nofile=512:1024",
    "--user=1000:1000",
    "--read-only",
    "--volume=@data:/data:ro",
    "--tmpfs=/scratch",
    "--sysctl=net.ipv4.ip_unprivileged_port_start=1024",
];

/// Options that are taken away, options that come instead, the rule that must see it, and whether the way back is less.
type Growth = (&'static [&'static str], &'static [&'static str], &'static str, Back);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Back {
    Less,
    /// Another thing is gained for it.
    Other,
}

/// `@` stands for the directory of the test's files.
const GROWTHS: [Growth; 45] = [
    (&[], &["--cap-add=NET_ADMIN"], "K002", Back::Less),
    (&[], &["--cap-add=NET_RAW"], "K002", Back::Less),
    (&[], &["--cap-add=DAC_OVERRIDE"], "K002", Back::Less),
    (&[], &["--cap-add=SYS_TIME"], "K002", Back::Less),
    (&[], &["--cap-add=SYS_PTRACE"], "K002", Back::Less),
    (&[], &["--cap-add=SYS_MODULE"], "K012", Back::Less),
    (&[], &["--cap-add=SYS_ADMIN"], "K012", Back::Less),
    (&["--security-opt=no-new-privileges"], &[], "K002", Back::Less),
    (&[], &["--pid=host"], "K001", Back::Less),
    (&[], &["--ipc=host"], "K001", Back::Less),
    (&[], &["--uts=host"], "K001", Back::Less),
    (&["--sysctl=net.ipv4.ip_unprivileged_port_start=1024"], &["--network=host"], "K001", Back::Other),
    (&[], &["--cgroupns=host"], "K001", Back::Less),
    (&["--user=1000:1000"], &["--user=0:1000"], "K006", Back::Less),
    (&["--user=1000:1000"], &["--user=1000:0"], "K006", Back::Other),
    (&[], &["--group-add=27"], "K006", Back::Less),
    (&[], &["--security-opt=seccomp=unconfined"], "K003", Back::Less),
    (&[], &["--security-opt=seccomp=@bpf.json"], "K003", Back::Less),
    (&[], &["--security-opt=seccomp=@keyctl.json"], "K003", Back::Less),
    (&[], &["--security-opt=seccomp=@mount.json"], "K003", Back::Less),
    (&[], &["--security-opt=seccomp=@alg.json"], "K003", Back::Less),
    (&["--read-only"], &[], "K004", Back::Less),
    (&["--volume=@data:/data:ro"], &["--volume=@data:/data"], "K004", Back::Less),
    (&["--volume=@data:/data:ro"], &["--volume=@other:/data:ro"], "K004", Back::Other),
    (&[], &["--volume=/etc:/host:ro"], "K004", Back::Less),
    (&[], &["--volume=@docker.sock:/run/docker.sock"], "K012", Back::Less),
    (&["--tmpfs=/scratch"], &["--tmpfs=/scratch:exec"], "K004", Back::Less),
    (&[], &["--shm-size=128m"], "K004", Back::Less),
    (&[], &["--security-opt=systempaths=unconfined"], "K004", Back::Less),
    (&[], &["--device=/dev/kmsg"], "K005", Back::Less),
    (&[], &["--device-cgroup-rule=c 10:200 rwm"], "K005", Back::Less),
    (&[], &["--device-cgroup-rule=a"], "K005", Back::Less),
    (&["--memory=64m", "--memory-swap=64m"], &["--memory=128m", "--memory-swap=128m"], "K008", Back::Less),
    (&["--memory=64m", "--memory-swap=64m"], &[], "K008", Back::Less),
    (&["--memory-swap=64m"], &["--memory-swap=128m"], "K008", Back::Less),
    (&["--cpus=0.5"], &["--cpus=1"], "K008", Back::Less),
    (&["--cpus=0.5"], &[], "K008", Back::Less),
    (&["--cpu-shares=512"], &["--cpu-shares=1024"], "K008", Back::Less),
    (&["--cpuset-cpus=0"], &["--cpuset-cpus=0-1"], "K008", Back::Less),
    (&["--pids-limit=50"], &["--pids-limit=100"], "K008", Back::Less),
    (&["--pids-limit=50"], &["--pids-limit=-1"], "K008", Back::Less),
    (&["--ulimit=nofile=512:1024"], &["--ulimit=nofile=512:2048"], "K009", Back::Less),
    (&["--ulimit=nofile=512:1024"], &["--ulimit=nofile=1024:1024"], "K009", Back::Less),
    (
        &["--sysctl=net.ipv4.ip_unprivileged_port_start=1024"],
        &["--sysctl=net.ipv4.ip_unprivileged_port_start=0"],
        "K010",
        Back::Less,
    ),
    (&[], &["--sysctl=kernel.msgmax=65536"], "K010", Back::Less),
];

/// Options that are taken away and options that come instead: less, or nothing at all.
const OTHERS: [(&[&str], &[&str]); 40] = [
    (&[], &[]),
    (&[], &["--hostname=other"]),
    (&[], &["--domainname=x"]),
    (&[], &["--env=A=1"]),
    (&[], &["--workdir=/tmp"]),
    (&[], &["--init"]),
    (&[], &["--interactive"]),
    (&[], &["--rm"]),
    (&[], &["--oom-score-adj=500"]),
    (&[], &["--network=none"]),
    (&[], &["--pid=private"]),
    (&[], &["--ipc=private"]),
    (&[], &["--uts=private"]),
    (&[], &["--cgroupns=private"]),
    (&[], &["--timens=private"]),
    (&[], &["--security-opt=seccomp=@same.json"]),
    (&["--cpus=0.5"], &["--cpu-quota=50000"]),
    (&["--cpus=0.5"], &["--cpu-quota=25000", "--cpu-period=50000"]),
    (&["--cap-add=KILL"], &[]),
    (&["--cap-add=CHOWN"], &[]),
    (&["--cap-add=CHOWN", "--cap-add=KILL"], &[]),
    (&["--memory=64m", "--memory-swap=64m"], &["--memory=32m", "--memory-swap=32m"]),
    (&[], &["--memory-reservation=16m"]),
    (&["--cpus=0.5"], &["--cpus=0.25"]),
    (&["--cpu-shares=512"], &["--cpu-shares=256"]),
    (&["--pids-limit=50"], &["--pids-limit=20"]),
    (&["--ulimit=nofile=512:1024"], &["--ulimit=nofile=256:512"]),
    (&["--ulimit=nofile=512:1024"], &["--ulimit=nofile=512:512"]),
    (&[], &["--ulimit=core=0:0"]),
    (&[], &["--ulimit=fsize=1000000:1000000"]),
    (&[], &["--ulimit=memlock=65536:65536"]),
    (&[], &["--security-opt=seccomp=preset:tcpdump"]),
    (&[], &["--security-opt=seccomp=@no-chmod.json"]),
    (&["--volume=@data:/data:ro"], &[]),
    (&["--tmpfs=/scratch"], &[]),
    (&[], &["--tmpfs=/extra"]),
    (&["--tmpfs=/scratch"], &["--tmpfs=/scratch:size=1m"]),
    (&[], &["--shm-size=32m"]),
    (&[], &["--sysctl=kernel.msgmax=1024"]),
    (
        &["--sysctl=net.ipv4.ip_unprivileged_port_start=1024"],
        &["--sysctl=net.ipv4.ip_unprivileged_port_start=2000"],
    ),
];

/// A rule that does not pass, and its evidence.
type Bad = (String, Value);

/// A root file system that the containers share, and the files that options name.
struct Bench<'c> {
    ctx: &'c Ctx,
    image: crate::Case,
    files: tempfile::TempDir,
    _socket: UnixListener,
}

impl<'c> Bench<'c> {
    fn new(ctx: &'c Ctx) -> Result<Bench<'c>> {
        let image = ctx.case(&[])?;
        for directory in ["data", "host", "scratch", "extra", "run", "tmp"] {
            std::fs::create_dir_all(image.rootfs.join(directory))?;
        }
        let files = tempfile::Builder::new().prefix("plimtest-lock-").tempdir()?;
        for directory in ["data", "other"] {
            std::fs::create_dir(files.path().join(directory))?;
        }
        let socket = UnixListener::bind(files.path().join("docker.sock"))?;
        let allow = |name: &str| json!({"names": [name], "action": "SCMP_ACT_ALLOW"});
        let mut alg = allow("socket");
        alg["args"] = json!([{"index": 0, "value": libc::AF_ALG, "op": "SCMP_CMP_EQ"}]);
        let own =
            [("bpf", allow("bpf")), ("keyctl", allow("keyctl")), ("mount", allow("mount")), ("alg", alg)];
        for (name, rule) in own {
            profile(files.path(), name, |rules| rules.push(rule))?;
        }
        profile(files.path(), "same", |_| {})?;
        profile(files.path(), "no-chmod", |rules| {
            for names in rules.iter_mut().filter_map(|rule| rule["names"].as_array_mut()) {
                names.retain(|name| name != "chmod");
            }
        })?;
        Ok(Bench { ctx, image, files, _socket: socket })
    }

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    /// A container that holds, always of one name.
    fn start(&self, without: &[&str], with: &[&str]) -> Result<Running> {
        let place = format!("{}/", self.files.path().display());
        for option in without {
            ensure!(BASE.contains(option), "{option} is none of the base's");
        }
        let words: Vec<String> = BASE
            .iter()
            .filter(|option| !without.contains(option))
            .chain(with)
            .map(|option| option.replace('@', &place))
            .collect();
        let mut options = vec!["--name", self.image.tag.as_str()];
        options.extend(words.iter().map(String::as_str));
        let case = self.ctx.case(&[])?;
        let mut running = self.ctx.plim_start_in(case, &self.image.rootfs, &options, &["hold", "40"])?;
        running.wait_for("ready").with_context(|| format!("{with:?}"))?;
        Ok(running)
    }

    fn target(&self) -> String {
        format!("plim:{}", self.image.tag)
    }

    fn lock(&self, name: &str) -> Result<String> {
        let file = self.file(name);
        let outcome = self.ctx.tool("plim-lock", &["-q", "-o", &file, &self.target()])?;
        same(&format!("status of plim lock: {}", outcome.stderr), outcome.code, 0)?;
        Ok(file)
    }

    /// Status, what does not pass, and what was said beside it.
    fn check(&self, lock: &str) -> Result<(i32, Vec<Bad>, String)> {
        let args = ["--lock", lock, "--format", "json", &self.target()];
        let outcome = self.ctx.tool("plim-check", &args)?;
        let found: Value = serde_json::from_str(&outcome.stdout).with_context(|| format!("{outcome:?}"))?;
        super::first_format(&found)?;
        let mut bad = Vec::new();
        for finding in found["findings"].as_array().context("no findings")? {
            if finding["outcome"] != "pass" {
                let rule = super::text(finding, "/rule")?;
                bad.push((rule.trim_start_matches("PLIM-").to_owned(), finding["evidence"].clone()));
            }
        }
        Ok((outcome.code, bad, outcome.stderr))
    }
}

/// Docker's default profile with a change of its rules.
fn profile(directory: &Path, name: &str, change: impl FnOnce(&mut Vec<Value>)) -> Result<()> {
    let text = presets::get("docker-default").context("not shipped")?;
    let mut json: Value = serde_json::from_str(text)?;
    let rules = json["syscalls"].as_array_mut().context("no rules")?;
    change(rules);
    rules.retain(|rule| rule["names"].as_array().is_none_or(|names| !names.is_empty()));
    Ok(std::fs::write(directory.join(format!("{name}.json")), json.to_string())?)
}

fn growths(ctx: &Ctx) -> Result<()> {
    let bench = Bench::new(ctx)?;
    let base = bench.start(&[], &[])?;
    let lock = bench.lock("base.lock")?;
    same("nothing has changed", bench.check(&lock)?.0, 0)?;
    drop(base);
    let mut back = Vec::new();
    for (index, (without, with, rule, way)) in GROWTHS.iter().enumerate() {
        let grown = bench.start(without, with)?;
        let (code, bad, _) = bench.check(&lock)?;
        let what = format!("{without:?} -> {with:?}");
        same(&format!("{what}: status, with {bad:?}"), code, 1)?;
        let seen = bad.iter().find(|(found, _)| found == rule);
        let (_, evidence) = seen.with_context(|| format!("{what}: no {rule} in {bad:?}"))?;
        ensure!(
            evidence.as_array().is_some_and(|facts| !facts.is_empty()),
            "{what}: the growth is not named"
        );
        if *way == Back::Less {
            back.push((what, bench.lock(&format!("{index}.lock"))?));
        }
        drop(grown);
    }
    let base = bench.start(&[], &[])?;
    for (what, lock) in back {
        let (code, bad, said) = bench.check(&lock)?;
        same(&format!("back from {what}: status, with {bad:?}"), code, 0)?;
        ensure!(said.contains("plim lock --update"), "back from {what}: no offer in {said:?}");
    }
    drop(base);
    Ok(())
}

fn others(ctx: &Ctx) -> Result<()> {
    let bench = Bench::new(ctx)?;
    let base = bench.start(&[], &[])?;
    let lock = bench.lock("base.lock")?;
    drop(base);
    for (without, with) in OTHERS {
        let other = bench.start(without, with)?;
        let (code, bad, said) = bench.check(&lock)?;
        same(&format!("{without:?} -> {with:?}: status, with {bad:?} {said}"), code, 0)?;
        drop(other);
    }
    // Used memory, further processes and time are no privileges.
    let mut busy = bench.start(&[], &[])?;
    busy.wait_for("ready")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    same("a second look", bench.check(&lock)?.0, 0)
}

fn merge(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let first = super::inspect::held(ctx, &["--memory=64m"])?;
    let second = super::inspect::held(ctx, &["--memory=32m"])?;
    let (a, b) = (format!("plim:{}", first.case.tag), format!("plim:{}", second.case.tag));
    let lock = |name: &str, targets: &[&str], update: bool| -> Result<String> {
        let file = dir.path().join(name).display().to_string();
        let mut args = vec!["-q", "-o", &file];
        args.extend(update.then_some("--update"));
        args.extend(targets);
        let outcome = ctx.tool("plim-lock", &args)?;
        same(&format!("status of plim lock: {}", outcome.stderr), outcome.code, 0)?;
        Ok(std::fs::read_to_string(&file)?)
    };
    let together = lock("together", &[&a, &b], false)?;
    same("the order of targets", lock("turned", &[&b, &a], false)?, together.clone())?;
    lock("after", &[&a], false)?;
    same("one after the other", lock("after", &[&b], true)?, together.clone())?;
    same("everything that is locked", lock("after", &[], true)?, together.clone())?;
    // A merge tool sees lines: the entries of both stand apart, and their facts each in a line.
    let entry = |target: &str| {
        together.lines().position(|line| line.trim_end_matches(':').trim_matches([' ', '"']) == target)
    };
    let (at, other) = (entry(&a).context("no entry")?, entry(&b).context("no entry")?);
    ensure!(at.abs_diff(other) > 30, "{at} and {other} in {together}");
    for fact in ["          max_bytes: 67108864", "          max_bytes: 33554432"] {
        let found = together.lines().filter(|line| line.trim() == fact.trim()).count();
        ensure!(found >= 1, "{fact} has no line of its own");
    }
    Ok(())
}

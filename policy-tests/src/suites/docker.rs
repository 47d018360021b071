//! Docker's own containers, seen through `plim inspect` and `plim diff`, under a daemon that the test starts and stops.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::inspect::{check_shape, snapshot};
use crate::launcher::Outcome;
use crate::{Ctx, Need, Suite, Test, Weakening as W, same, sys};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "docker",
    tests: &[
        Test {
            name: "inspect_and_diff",
            says: "a Docker container's snapshot tells what docker run was asked for, and one changed option is one change",
            needs: &[
                Need::Plim,
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Built("plim-inspect"),
                Need::Built("plim-diff"),
                Need::Controller("memory"),
            ],
            red_under: &[W::InspectElsewhere, W::DiffBlind, W::DiffElsewhere],
            run: inspect_and_diff,
        },
        Test {
            name: "trace",
            says: "refusals in a Docker container are told with their reasons and the engine's rule, and nothing of the engine's own",
            needs: &[
                Need::Plim,
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Built("plim-trace"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
            ],
            red_under: &[W::InspectElsewhere],
            run: trace,
        },
        Test {
            name: "check",
            says: "plim check judges Docker's containers by the kernel's state and the engine's word, by name, all of them, and from docker inspect",
            needs: &[
                Need::Plim,
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Built("plim-check"),
                Need::Built("plim-lock"),
                Need::Controller("memory"),
            ],
            red_under: &[W::InspectElsewhere],
            run: super::docker_check::check,
        },
    ],
};

/// A daemon of the test's own.
pub(super) struct Daemon {
    pub(super) dir: PathBuf,
    child: Child,
    _guard: tempfile::TempDir,
}

impl Daemon {
    pub(super) fn start() -> Result<Daemon> {
        let guard = tempfile::Builder::new().prefix("plimtest-dockerd-").tempdir()?;
        let dir = guard.path().to_owned();
        let log = fs::File::create(dir.join("log"))?;
        let socket = format!("unix://{}", dir.join("sock").display());
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(dir.join("data")).arg("--exec-root").arg(dir.join("exec"));
        command.arg("--pidfile").arg(dir.join("pid")).args(["-H", &socket]);
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        // overlay2 cannot lie on an overlay; vfs can lie anywhere.
        command.args(["--storage-driver=vfs"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("dockerd")?;
        let daemon = Daemon { dir, child, _guard: guard };
        let start = Instant::now();
        while daemon.docker(&["version"])?.code != 0 {
            if start.elapsed() > Duration::from_secs(30) {
                bail!("dockerd does not answer: {}", fs::read_to_string(daemon.dir.join("log"))?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }

    pub(super) fn socket(&self) -> String {
        format!("unix://{}", self.dir.join("sock").display())
    }

    fn docker(&self, args: &[&str]) -> Result<Outcome> {
        let output =
            Command::new("docker").args(["-H", &self.socket()]).args(args).output().context("docker")?;
        Ok(Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    pub(super) fn must(&self, args: &[&str]) -> Result<String> {
        let outcome = self.docker(args)?;
        ensure!(outcome.code == 0, "docker {args:?}: {}", outcome.stderr);
        Ok(outcome.stdout.trim().to_owned())
    }

    pub(super) fn import(&self, rootfs: &Path, image: &str) -> Result<()> {
        let tar = self.dir.join("image.tar");
        let packed = Command::new("tar").arg("-C").arg(rootfs).arg("-cf").arg(&tar).arg(".").status()?;
        ensure!(packed.success(), "tar failed");
        self.must(&["import", &tar.display().to_string(), image]).map(drop)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(ids) = self.docker(&["ps", "-aq"]) {
            for id in ids.stdout.split_whitespace() {
                let _ = self.docker(&["rm", "-f", id]);
            }
        }
        sys::kill(i32::try_from(self.child.id()).unwrap_or(0), libc::SIGTERM);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for line in fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().rev() {
            let point = line.split(' ').nth(4).unwrap_or_default();
            if point.starts_with(&self.dir.display().to_string()) {
                let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
            }
        }
    }
}

fn inspect_and_diff(ctx: &Ctx) -> Result<()> {
    let daemon = Daemon::start()?;
    let image = ctx.case(&[])?;
    daemon.import(&image.rootfs, "plimtest")?;
    let names = [format!("{}-a", image.tag), format!("{}-b", image.tag), format!("{}-c", image.tag)];
    let run = |name: &str, options: &[&str]| {
        let mut args =
            vec!["run", "-d", "--network", "none", "-m", "64m", "--pids-limit", "50", "--name", name];
        args.extend(options);
        args.extend(["plimtest", "/bin/witness", "hold", "60"]);
        daemon.must(&args)
    };
    let id = run(&names[0], &["--cap-drop", "NET_RAW"])?;
    run(&names[1], &["--cap-drop", "NET_RAW"])?;
    run(&names[2], &["--cap-drop", "NET_RAW", "--cap-drop", "MKNOD"])?;
    let pid: i64 = daemon.must(&["inspect", "-f", "{{.State.Pid}}", &id])?.parse()?;
    let found = snapshot(ctx, &format!("pid:{pid}"))?;
    check_shape(&found)?;
    same("memory", &found["cgroup"]["memory"]["max_bytes"], &json!(64 << 20))?;
    same("pids", &found["cgroup"]["pids"]["max"], &json!(50))?;
    same("filters", found["seccomp"]["filters"].as_array().map(Vec::len), Some(1))?;
    let bounding = found["capabilities"]["bounding"].as_array().cloned().unwrap_or_default();
    same("bounding set", bounding.len(), 13)?;
    ensure!(!bounding.contains(&json!("CAP_NET_RAW")), "CAP_NET_RAW is there");
    let pids: Vec<String> = names
        .iter()
        .map(|name| Ok(format!("pid:{}", daemon.must(&["inspect", "-f", "{{.State.Pid}}", name])?)))
        .collect::<Result<_>>()?;
    same("changes between equals", super::diff::changes(ctx, &pids[0], &pids[1])?, vec![])?;
    let found = super::diff::changes(ctx, &pids[0], &pids[2])?;
    ensure!(!found.is_empty(), "a dropped capability is no change");
    for change in &found {
        let expected = change["area"] == "capabilities"
            && change["before"] == "CAP_MKNOD"
            && change["after"] == Value::Null;
        // docker-default ties no call to CAP_MKNOD, so the filters are equal.
        ensure!(expected, "--cap-drop MKNOD shows as {change}");
    }
    Ok(())
}

fn trace(ctx: &Ctx) -> Result<()> {
    let daemon = Daemon::start()?;
    let image = ctx.case(&[])?;
    daemon.import(&image.rootfs, "plimtest")?;
    let name = format!("{}-t", image.tag);
    let id = daemon.must(&[
        "run",
        "-d",
        "--network",
        "none",
        "--cap-drop",
        "MKNOD",
        "--name",
        &name,
        "plimtest",
        "/bin/witness",
        "hold",
        "60",
    ])?;
    let pid = daemon.must(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    let target = format!("pid:{pid}");
    let outcome = std::thread::scope(|scope| -> Result<Outcome> {
        let args = ["--format", "jsonl", "--duration", "9s", "-q", target.as_str()];
        let tracer = scope.spawn(move || ctx.tool("plim-trace", &args));
        // It needs a moment to come up, and what happens before it is there is told by nobody.
        for _ in 0..3 {
            std::thread::sleep(Duration::from_secs(2));
            daemon.must(&[
                "exec",
                &name,
                "/bin/witness",
                "try",
                "unshare",
                "0x20000",
                "--",
                "syscall",
                "141",
                "0",
                "0",
                "-5",
                "--",
                "mknod",
                "/y",
                "c",
                "1",
                "3",
                "--",
                "create",
                "/x",
                "y",
                "--",
                "udp",
                "9",
            ])?;
            daemon.must(&["exec", "-u", "1000", &name, "/bin/witness", "try", "mkdir", "/z"])?;
        }
        tracer.join().map_err(|_| anyhow::anyhow!("the thread of plim-trace panicked"))?
    })?;
    ensure!(outcome.code == 0, "status {}: {}", outcome.code, outcome.stderr);
    let mut told = BTreeSet::new();
    for line in outcome.stdout.lines() {
        let denial: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let text = |pointer: &str| denial.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        told.insert(
            ["/comm", "/syscall", "/errno", "/cause/kind", "/cause/rule", "/cause/capability"]
                .map(text)
                .join(" "),
        );
    }
    let expected = [
        "witness mkdir EACCES permission - CAP_DAC_OVERRIDE",
        "witness mknodat EPERM capability - CAP_MKNOD",
        "witness setpriority EACCES capability - CAP_SYS_NICE",
        "witness unshare EPERM seccomp /defaultAction -",
    ];
    same("what is told", told, expected.map(str::to_owned).into_iter().collect())
}

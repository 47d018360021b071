//! A Docker daemon that a test starts and stops.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Ctx;
use crate::launcher::Outcome;
use crate::process::{Ended, until};
use crate::spec::Case;

/// The image that has the witness.
const IMAGE: &str = "plimtest";

/// A daemon of the test's own.
pub struct Daemon {
    /// Its directory, with data, log and socket.
    pub dir: PathBuf,
    child: Option<Ended>,
    _guard: tempfile::TempDir,
}

impl Daemon {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// It cannot be started, or does not answer.
    pub fn start() -> Result<Daemon> {
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
        let child = Ended(command.spawn().context("dockerd")?);
        let daemon = Daemon { dir, child: Some(child), _guard: guard };
        until(Duration::from_secs(30), || daemon.must(&["version"])).with_context(|| {
            let log = fs::read_to_string(daemon.dir.join("log")).unwrap_or_default();
            format!("dockerd does not answer: {log}")
        })?;
        Ok(daemon)
    }

    /// Starts it with an image of the witness, as which [`Daemon::hold`] runs. The case is the image's.
    ///
    /// # Errors
    /// As of [`Daemon::start`] and [`Daemon::import`].
    pub fn with_witness(ctx: &Ctx) -> Result<(Daemon, Case)> {
        let daemon = Daemon::start()?;
        let image = ctx.case(&[])?;
        daemon.import(&image.rootfs, IMAGE)?;
        Ok((daemon, image))
    }

    /// Runs a container of that image, which holds still for a minute; the pid of its process.
    ///
    /// # Errors
    /// docker fails.
    pub fn hold(&self, name: &str, options: &[&str]) -> Result<String> {
        let head = ["run", "-d", "--network", "none", "--name", name];
        self.must(&[&head[..], options, &[IMAGE, "/bin/witness", "hold", "60"]].concat())?;
        self.must(&["inspect", "-f", "{{.State.Pid}}", name])
    }

    /// `unix://…`: its `DOCKER_HOST`.
    pub fn socket(&self) -> String {
        format!("unix://{}", self.dir.join("sock").display())
    }

    /// Runs docker with it.
    ///
    /// # Errors
    /// docker cannot be started.
    pub fn docker(&self, args: &[&str]) -> Result<Outcome> {
        let output =
            Command::new("docker").args(["-H", &self.socket()]).args(args).output().context("docker")?;
        Ok(Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs docker with it, and gives its output.
    ///
    /// # Errors
    /// docker fails.
    pub fn must(&self, args: &[&str]) -> Result<String> {
        let outcome = self.docker(args)?;
        ensure!(outcome.code == 0, "docker {args:?}: {}", outcome.stderr);
        Ok(outcome.stdout.trim().to_owned())
    }

    /// Makes an image of a root file system.
    ///
    /// # Errors
    /// tar or docker fails.
    pub fn import(&self, rootfs: &Path, image: &str) -> Result<()> {
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
        // Before its mounts.
        drop(self.child.take());
        for line in fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().rev() {
            let point = line.split(' ').nth(4).unwrap_or_default();
            if point.starts_with(&self.dir.display().to_string()) {
                let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
            }
        }
    }
}

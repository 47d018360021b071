//! What other engines install: the kernel holds the filter that `plim seccomp --as ENGINE` says.
//!
//! Each engine is the real program of this machine, and so is its libseccomp. The profiles are those on which engines differ:
//! an argument named twice, rules equal to the default, names that nobody knows, socketcall and ipc, ENOSYS above what is named.

mod containerd;
mod docker;
mod podman;
mod profiles;
mod runtimes;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use plim_seccomp::installed::Vintage;
use serde_json::{Value, json};

use crate::launcher::Outcome;
use crate::{Case, Ctx, Need, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "engines",
    tests: &[
        Test {
            name: "runc",
            says: "runc installs what --as runc says, profile by profile, and refuses what --as refuses",
            needs: &[Need::Plim, Need::Root, Need::Built("plim-seccomp"), Need::Program("runc")],
            red_under: &[W::NoSeccomp],
            run: |ctx| runtimes::runtime(ctx, "runc"),
        },
        Test {
            name: "crun",
            says: "crun installs what --as crun says, profile by profile, and refuses what --as refuses",
            needs: &[Need::Plim, Need::Root, Need::Built("plim-seccomp"), Need::Program("crun")],
            red_under: &[W::NoSeccomp],
            run: |ctx| runtimes::runtime(ctx, "crun"),
        },
        Test {
            name: "podman",
            says: "podman installs what --as podman says, in both dialects",
            needs: &[
                Need::Plim,
                Need::Root,
                Need::Built("plim-seccomp"),
                Need::Program("podman"),
                Need::Program("crun"),
            ],
            red_under: &[W::NoSeccomp],
            run: podman::podman,
        },
        Test {
            name: "containerd",
            says: "containerd installs what --as containerd says: OCI's keys and no others",
            needs: &[
                Need::Plim,
                Need::Root,
                Need::Built("plim-seccomp"),
                Need::Program("containerd"),
                Need::Program("ctr"),
                Need::Program("runc"),
            ],
            red_under: &[W::NoSeccomp],
            run: containerd::containerd,
        },
        Test {
            name: "docker",
            says: "dockerd installs what --as docker says, and a process that entered its container without the filter is found",
            needs: &[
                Need::Plim,
                Need::Root,
                Need::Built("plim-seccomp"),
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Program("runc"),
                Need::Program("nsenter"),
            ],
            red_under: &[W::NoSeccomp],
            run: docker::docker,
        },
    ],
};

/// The version that a program gives of itself, in the form `PROGRAM@VERSION`.
fn version(program: &str, spelling: &str) -> Result<String> {
    let output = Command::new(program).arg("--version").output().with_context(|| program.to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "runc version 1.1.5+ds1", "Docker version 20.10.24+dfsg1, build …", "containerd github.com/… 1.6.20~ds1 …"
    let number = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_digit());
    let first = text.lines().next().unwrap_or_default();
    let found =
        first.split([' ', ',']).find(number).with_context(|| format!("{program} --version says {text:?}"))?;
    Ok(format!("{spelling}@{found}"))
}

/// `--libseccomp VERSION` of the installed library, where the package manager tells it.
fn libseccomp() -> Vec<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Version}", "libseccomp2"]);
    let text = query.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let known = text.ok().filter(|text| text.parse::<Vintage>().is_ok());
    known.map_or_else(Vec::new, |text| vec!["--libseccomp".to_owned(), text])
}

/// One process' filter against a profile.
fn verify(ctx: &Ctx, pid: &str, profile: &Path, engine: &str) -> Result<Outcome> {
    let (target, profile) = (format!("pid:{pid}"), profile.display().to_string());
    let library = libseccomp();
    let mut words = vec![
        "verify",
        "--format",
        "json",
        &target,
        "--profile",
        &profile,
        "--as",
        engine,
        "--skip-unknown-names",
    ];
    words.extend(library.iter().map(String::as_str));
    ctx.tool("plim-seccomp", &words)
}

/// It is the profile's, and not another's.
fn is_installed(ctx: &Ctx, what: &str, pid: &str, profile: &Path, engine: &str) -> Result<()> {
    let outcome = verify(ctx, pid, profile, engine)?;
    same(&format!("{what} --as {engine}: {}{}", outcome.stdout, outcome.stderr), outcome.code, 0)?;
    let found: Value = serde_json::from_str(&outcome.stdout).with_context(|| format!("{outcome:?}"))?;
    same(what, found["groups"][0]["verdict"].clone(), json!("equal"))?;
    same(&format!("filters of {what}"), found["groups"][0]["filters"].clone(), json!(1))?;
    let target = format!("pid:{pid}");
    let outcome =
        ctx.tool("plim-seccomp", &["verify", &target, "--profile", "preset:tcpdump", "--as", "written"])?;
    same(&format!("{what} against another profile"), outcome.code, 1)
}

/// crun refuses hosts with cgroup v1 and a v2 tree that has controllers: it is shown none.
fn without_hybrid(program: &str) -> Command {
    if Path::new("/sys/fs/cgroup/unified/cgroup.controllers").exists() {
        let mut command = Command::new("unshare");
        command.args([
            "-m",
            "--propagation",
            "slave",
            "sh",
            "-c",
            "umount /sys/fs/cgroup/unified && exec \"$@\"",
            "sh",
            program,
        ]);
        command
    } else {
        Command::new(program)
    }
}

/// Each profile as a file beside the bundle.
fn files(case: &Case, profiles: &[(&'static str, Value)]) -> Result<Vec<PathBuf>> {
    let write = |(index, (_, profile)): (usize, &(&str, Value))| {
        let file = case.dir.path().join(format!("profile-{index}.json"));
        std::fs::write(&file, profile.to_string())?;
        Ok(file)
    };
    profiles.iter().enumerate().map(write).collect()
}

/// `--security-opt` of Docker and Podman, weakened when the test is tested.
fn security_option(ctx: &Ctx, profile: &Path) -> String {
    match ctx.weakening {
        Some(W::NoSeccomp) => "seccomp=unconfined".to_owned(),
        _ => format!("seccomp={}", profile.display()),
    }
}

//! State directories that other users planted or own.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use plim_model::HostPid;
use plim_model::state::{ContainerState, STATE_FORMAT};

use crate::process::until;
use crate::{Case, Ctx, Need, Suite, Test, Weakening as W, host, same, sys};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "state_planted",
            says: "a state directory that another user could have planted is refused, and nothing behind it is touched",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::FollowsLinks],
            run: planted,
        },
        Test {
            name: "state_own_names",
            says: "in the state directory only what the runtime named is removed",
            needs: &[Need::Plim, Need::Root, Need::UserNamespaces],
            red_under: &[W::FollowsLinks],
            run: own_names,
        },
        Test {
            name: "state_forged",
            says: "root does not find containers in a user's XDG_RUNTIME_DIR",
            needs: &[Need::Plim, Need::Root, Need::Built("plim-inspect")],
            red_under: &[W::InspectElsewhere],
            run: forged,
        },
        Test {
            name: "state_killed_before_the_claim",
            says: "a launcher and its janitor that are killed before they have a state directory leave no cgroup",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::LeavesCgroup],
            run: killed_before_the_claim,
        },
    ],
};

/// A user that no machine has.
const USER: u32 = 54_321;

/// plim-run as that user, with `XDG_RUNTIME_DIR` or without, to its end.
fn run_as_user(ctx: &Ctx, case: &Case, runtime_dir: Option<&Path>, state: &Path) -> Result<i32> {
    // The build directory may be where only root may go.
    let launcher = case.dir.path().join("plim-run");
    if !launcher.exists() {
        fs::copy(ctx.bin.join("plim-run"), &launcher)?;
    }
    let mut command = Command::new(launcher);
    command.uid(USER).gid(USER).current_dir("/").env_remove("XDG_RUNTIME_DIR");
    if let Some(runtime_dir) = runtime_dir {
        command.env("XDG_RUNTIME_DIR", runtime_dir);
    }
    command.arg("--rootfs").arg(&case.rootfs).args(["--", "/bin/witness", "exit", "0"]);
    let code = command.stdin(Stdio::null()).stderr(Stdio::null()).status()?.code().unwrap_or(-1);
    if let Some(weakening) = ctx.weakening {
        weakening.collect(state);
    }
    Ok(code)
}

/// A directory of the user's with the files that a container's has, and another with a name that no container has.
fn victim(parent: &Path, mode: u32) -> Result<PathBuf> {
    let victim = parent.join("victim");
    for name in ["project".to_owned(), "0".repeat(63), ".hidden".to_owned()] {
        let project = victim.join(name);
        fs::create_dir_all(&project)?;
        for file in ["log", "log.1", "state.json", "cgroups.json"] {
            fs::write(project.join(file), "{}")?;
            chown(project.join(file), Some(USER), Some(USER))?;
        }
        chown(&project, Some(USER), Some(USER))?;
    }
    chown(&victim, Some(USER), Some(USER))?;
    fs::set_permissions(&victim, Permissions::from_mode(mode))?;
    Ok(victim)
}

fn untouched(victim: &Path) -> Result<()> {
    for project in fs::read_dir(victim)?.flatten() {
        // What the runtime itself may make there.
        if project.file_name() == ".names" {
            continue;
        }
        let left = fs::read_dir(project.path())?.count();
        same(&format!("files in {}", project.path().display()), left, 4)?;
    }
    ensure!(fs::read_dir(victim)?.count() >= 3, "a directory is gone");
    Ok(())
}

/// Removes a link at the end of the test.
struct Planted(PathBuf);

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn planted(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&[])?;
    let dir = case.dir.path();
    // A link in /tmp. It is root's, so that the kernel's own protection (fs.protected_symlinks) lets the user follow it.
    let behind = victim(dir, 0o711)?;
    let planted = Planted(format!("/tmp/plim-{USER}").into());
    symlink(&behind, &planted.0)?;
    same("status behind a link", run_as_user(ctx, &case, None, &planted.0)?, 125)?;
    untouched(&behind)?;
    drop(planted);
    // The same in a runtime directory; and the other ways in which one is not this user's alone.
    for (what, parent_owner, parent_mode, mode, owner, link) in [
        ("a link", USER, 0o700, 0o711, USER, true),
        ("another user's directory", USER, 0o700, 0o711, USER + 1, false),
        ("a directory that others can write to", USER, 0o700, 0o777, USER, false),
        ("a directory in another user's", USER + 1, 0o755, 0o711, USER, false),
        ("a directory where others can put one", USER, 0o777, 0o711, USER, false),
    ] {
        let runtime = dir.join("runtime");
        fs::create_dir(&runtime)?;
        let behind = victim(&runtime, mode)?;
        chown(&behind, Some(owner), Some(owner))?;
        let state = runtime.join("plim");
        if link {
            symlink(&behind, &state)?;
        } else {
            fs::rename(&behind, &state)?;
        }
        chown(&runtime, Some(parent_owner), Some(parent_owner))?;
        fs::set_permissions(&runtime, Permissions::from_mode(parent_mode))?;
        same(&format!("status with {what}"), run_as_user(ctx, &case, Some(&runtime), &state)?, 125)?;
        untouched(&state)?;
        fs::remove_dir_all(&runtime)?;
    }
    Ok(())
}

fn own_names(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&[])?;
    let runtime = case.dir.path().join("runtime");
    fs::create_dir(&runtime)?;
    let state = runtime.join("plim");
    fs::rename(victim(&runtime, 0o711)?, &state)?;
    // What a dead run left is removed, so that the rest stays for its name alone.
    let stale = state.join("f".repeat(64));
    fs::create_dir(&stale)?;
    fs::write(stale.join("log"), "")?;
    for path in [&runtime, &stale] {
        chown(path, Some(USER), Some(USER))?;
    }
    fs::set_permissions(&runtime, Permissions::from_mode(0o700))?;
    same("status", run_as_user(ctx, &case, Some(&runtime), &state)?, 0)?;
    ensure!(!stale.exists(), "the stale directory is still there");
    untouched(&state)
}

/// A state file that says of this very process that it is a container.
fn forged(ctx: &Ctx) -> Result<()> {
    let runtime = tempfile::Builder::new().prefix("plimtest-").tempdir()?;
    let id = "e".repeat(64);
    let container = runtime.path().join("plim").join(&id);
    fs::create_dir_all(&container)?;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let state = ContainerState {
        format: STATE_FORMAT.to_owned(),
        id: id.clone(),
        name: "plimtest-forged".to_owned(),
        pid: HostPid(i32::try_from(std::process::id())?),
        start_time_ticks: plim_model::parse::stat::start_time(&stat).context("no start time")?,
        monitor_pid: HostPid(1),
        args: Vec::new(),
        image: None,
        cgroup_paths: Default::default(),
        spec: serde_json::json!({}),
    };
    fs::write(container.join("state.json"), serde_json::to_vec(&state)?)?;
    for path in [runtime.path(), &runtime.path().join("plim"), &container, &container.join("state.json")] {
        chown(path, Some(USER), Some(USER))?;
    }
    let variables = [("XDG_RUNTIME_DIR", runtime.path().to_str().context("a path that is text")?)];
    for target in ["plim:plimtest-forged", "plimtest-forged", id.as_str()] {
        let outcome = ctx.tool_with("plim-inspect", &["--format", "json", target], &variables)?;
        ensure!(outcome.code != 0, "{target} was found: {}", outcome.stdout);
    }
    Ok(())
}

/// A launcher is held at its claim by the lock on the whole state directory, and killed there with its janitor.
fn killed_before_the_claim(ctx: &Ctx) -> Result<()> {
    let state = Path::new("/run/plim");
    if !state.exists() {
        ctx.witness_run(&["exit", "0"])?;
    }
    let held = Flock::lock(File::open(state)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    let mut running = ctx.start(ctx.case(&["exit", "0"])?)?;
    let launcher = i32::try_from(running.child.id())?;
    // `->` begins a line of /proc/locks for one that waits.
    until(Duration::from_secs(10), || {
        let locks = fs::read_to_string("/proc/locks")?;
        let waits = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.contains(&"->") && words.contains(&launcher.to_string().as_str())
        };
        ensure!(locks.lines().any(waits), "the launcher does not wait for the lock");
        Ok(())
    })?;
    let janitor = until(Duration::from_secs(10), || {
        let children =
            host::pids().into_iter().filter(|pid| host::parent(*pid).is_some_and(|of| of.0 == launcher));
        let named = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "plim-janitor\n")
        };
        children.into_iter().find(named).context("there is no janitor")
    })?;
    sys::kill(janitor, libc::SIGKILL);
    running.signal(libc::SIGKILL);
    running.wait()?;
    drop(held);
    let tag = running.case.tag.clone();
    ctx.witness_run(&["exit", "0"])?;
    for mount in host::hierarchies().values() {
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        let left = entries(mount)
            .chain(entries(&mount.join("plimtest")))
            .find(|entry| entry.file_name().to_string_lossy().contains(&tag));
        ensure!(left.is_none(), "the cgroup {left:?} is left");
    }
    Ok(())
}

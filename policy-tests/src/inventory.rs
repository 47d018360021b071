//! What there is on the host that a container could leave behind, before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{Weakening, host, sys};

/// cgroups of every hierarchy, mounts of this mount namespace, descendants of this process, the namespaces of those,
/// and state and temporary directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory(BTreeSet<String>);

impl Inventory {
    /// Takes stock. The caller must be a subreaper ([`sys::become_subreaper`]), so that what outlives its launcher is
    /// still a descendant; dead children that nobody waits for are collected on the way.
    pub fn take() -> Inventory {
        let mut all = BTreeSet::new();
        for (kind, mount) in host::hierarchies() {
            directories(&mount, &mut |dir| {
                // A directory with children is there for them.
                if fs::read_dir(dir)
                    .is_ok_and(|all| all.flatten().any(|one| one.file_type().is_ok_and(|t| t.is_dir())))
                {
                    return;
                }
                // The parent of the cases, made by whichever launcher comes first, is nobody's.
                if !strangers(dir) && dir != mount.join("plimtest") {
                    all.insert(format!("cgroup {kind} {}", dir.display()));
                }
            });
        }
        // With PLIM_SHARED_HOST set, others mount things meanwhile: only mounts that name us count.
        let shared = std::env::var_os("PLIM_SHARED_HOST").is_some();
        for line in fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines() {
            if shared && !line.contains("plim") && !line.contains(" nsfs ") {
                continue;
            }
            // Ids and parents are numbers that come and go; the rest tells a mount.
            all.insert(format!("mount {}", line.split(' ').skip(2).collect::<Vec<_>>().join(" ")));
        }
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        for (pid, state) in host::descendants() {
            if state == 'Z' && host::parent(pid).is_some_and(|(parent, _)| parent == own) {
                sys::reap(pid);
                continue;
            }
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            all.insert(format!("process {pid} {}", name.trim()));
            for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"] {
                if let (Ok(theirs), Ok(ours)) =
                    (host::namespace(&pid.to_string(), kind), host::namespace("self", kind))
                    && theirs != ours
                {
                    all.insert(format!("namespace {theirs} of process {pid}"));
                }
            }
        }
        for dir in ["/run/plim", "/tmp", "/run", "/var/tmp"] {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let ours = dir == "/run/plim" && !name.starts_with('.')
                    || name.contains("plim") && !name.starts_with("plimtest-");
                if ours && !(dir == "/run/plim" && somebody_elses(&entry.path())) {
                    all.insert(format!("file {dir}/{name}"));
                }
            }
        }
        Inventory(all)
    }

    /// What is here and was not there `before`.
    pub fn beyond(&self, before: &Inventory) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }

    /// Looks up to `looks` times until nothing is left that was not there `before`. Looks and not seconds: on a busy machine each
    /// takes longer, as what is waited for does.
    ///
    /// # Errors
    /// The list of what is left.
    pub fn settle(before: &Inventory, looks: usize) -> Result<()> {
        let mut left = Inventory::take().beyond(before);
        let mut looked = 0;
        loop {
            if left.is_empty() {
                return Ok(());
            }
            if looked == looks {
                bail!("left behind after {looks} looks:\n    {}", left.join("\n    "));
            }
            looked += 1;
            let now = Inventory::take();
            // What was there all the time: other users of the machine come and go meanwhile.
            left.retain(|item| now.0.contains(item));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn directories(dir: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            see(&entry.path());
            directories(&entry.path(), see);
        }
    }
}

/// Whether the cgroup holds a process that does not descend from this one: another user of the machine.
fn strangers(dir: &Path) -> bool {
    let tasks = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut pids = tasks.lines().filter_map(|line| line.parse::<i32>().ok()).peekable();
    if pids.peek().is_none() {
        let text = dir.to_string_lossy();
        return !(text.contains("plim") || text.contains("test"));
    }
    let ours: Vec<i32> = host::descendants().into_iter().map(|(pid, _)| pid).collect();
    pids.all(|pid| !ours.contains(&pid))
}

/// Whether a process holds the state directory's lock: then it belongs to somebody who lives, and if that is one of
/// ours, the inventory lists the process itself.
fn somebody_elses(dir: &Path) -> bool {
    use nix::errno::Errno;
    use nix::fcntl::{Flock, FlockArg};
    let Ok(file) = fs::File::open(dir) else { return false };
    matches!(Flock::lock(file, FlockArg::LockExclusiveNonblock), Err((_, Errno::EWOULDBLOCK)))
}

/// Leaves something behind on purpose, after a container's end.
pub fn leave_behind(weakening: Weakening, tag: &str, witness: &Path) {
    match weakening {
        Weakening::LeavesCgroup => {
            if let Some(mount) = host::hierarchies().values().next() {
                let _ = fs::create_dir(mount.join(format!("left-{tag}")));
            }
        }
        Weakening::LeavesMount => {
            let dir = PathBuf::from(format!("/tmp/plimtest-left-{tag}"));
            let _ = fs::create_dir(&dir);
            let none: Option<&str> = None;
            let _ = nix::mount::mount(Some("tmpfs"), &dir, Some("tmpfs"), nix::mount::MsFlags::empty(), none);
        }
        Weakening::LeavesProcess => {
            let mut hold = Command::new(witness);
            hold.args(["hold", "4"]).env("PLIM_TEST_TAG", tag);
            let _ = hold.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        }
        Weakening::LeavesNamespace => {
            let file = PathBuf::from(format!("/tmp/plimtest-left-{tag}"));
            let _ = fs::File::create(&file);
            // The namespace is made by a thread, which takes nothing else along.
            let kept = std::thread::spawn(move || {
                let none: Option<&str> = None;
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS)?;
                let made = Some("/proc/thread-self/ns/uts");
                nix::mount::mount(made, &file, none, nix::mount::MsFlags::MS_BIND, none)
            });
            let _ = kept.join();
        }
        Weakening::LeavesState => {
            let _ = fs::create_dir_all(format!("/run/plim/left-{tag}"));
        }
        _ => {}
    }
}

/// Removes what [`leave_behind`] left.
pub fn sweep_up() {
    for mount in host::hierarchies().values() {
        for entry in fs::read_dir(mount).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("left-plimtest") {
                let _ = fs::remove_dir(entry.path());
            }
        }
        // The parent of the cases' cgroups, which no launcher owns.
        let _ = fs::remove_dir(mount.join("plimtest"));
    }
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("plimtest-left-") {
            let _ = nix::mount::umount(&entry.path());
            let _ = fs::remove_dir(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
    for entry in fs::read_dir("/run/plim").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("left-plimtest") {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

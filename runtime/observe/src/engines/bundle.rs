//! The OCI specification (config.json) that an engine wrote for a running container, found on disk.
//!
//! A container's first process is the child of the engine's monitor, which lives outside of it: containerd's shim works in
//! the bundle's directory, conmon is told it with `-b`. Docker's usual places are looked at first.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use plim_model::{HostPid, NamespaceKind, Observed};
use serde_json::Value;

use crate::Selected;
use crate::aside::Aside;
use crate::procdir::{Process, read_bounded};
use crate::why::{self, ReadError, refusal};

/// Bound for one specification: its seccomp rules are the longest part.
const LARGEST: usize = 16 << 20;

/// How long looking for one may take.
const LOOK: Duration = Duration::from_secs(3);

/// Where dockerd's own containerd and a separate one keep the bundles of Docker's containers.
const DOCKER: [&str; 2] = [
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
    "/run/containerd/io.containerd.runtime.v2.task/moby",
];

/// The specification of the selected container's bundle.
pub(super) fn spec(selected: &Selected) -> Observed<Value> {
    let process = match selected.open_process() {
        Ok(process) => process,
        Err(error) => return Observed::Unknown(error.to_string()),
    };
    let mut directories = Vec::new();
    if selected.engine == "docker" {
        directories.extend(DOCKER.iter().map(|top| Path::new(top).join(&selected.id)));
    }
    let mut reasons = Vec::new();
    match monitors_bundles(&process) {
        Ok(found) => directories.extend(found),
        Err(why) => reasons.push(why),
    }
    let membership = match process.dir.text("cgroup") {
        Ok(membership) => membership,
        Err(error) => return Observed::Unknown(error.during("read /proc/PID/cgroup", None)),
    };
    // A directory is the monitor's word, and may lie on a file system that does not answer.
    let looking = Aside::begin(process.dir.as_fd(), process.dir.deadline().part(LOOK), |answers| {
        answers.give(&first_of(&directories, &membership, reasons));
    });
    match looking {
        Ok(mut aside) => aside.next("look for the engine's config.json"),
        Err(why) => Observed::Unknown(format!("look for the engine's config.json: {why}")),
    }
}

/// The first specification that belongs to the container.
fn first_of(directories: &[PathBuf], membership: &str, mut reasons: Vec<String>) -> Observed<Value> {
    for directory in directories {
        let path = directory.join("config.json");
        match read(&path) {
            Ok(Some(spec)) if belongs(&spec, directory, membership) => return Observed::Present(spec),
            Ok(Some(_)) => reasons.push(format!("{} is of another container", path.display())),
            Ok(None) => {}
            Err(why) => reasons.push(why),
        }
    }
    let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    Observed::Unknown(format!("the engine's config.json was not found{why}"))
}

/// Where the parent of the first process works, and what it was told with `-b` or `--bundle`.
fn monitors_bundles(init: &Process) -> Result<Vec<PathBuf>, String> {
    let unreadable = |what: &str, error: ReadError| error.during(what, why::PTRACE);
    let stat = init.dir.text("stat").map_err(|error| unreadable("read /proc/PID/stat", error))?;
    // `pid (comm) state ppid`: comm may hold anything, so the last parenthesis counts.
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
    let parent = match parent {
        Some(pid) if pid > 1 => HostPid(pid),
        _ => return Err("its monitor has ended".to_owned()),
    };
    let parent = Process::open(parent).map_err(|error| error.to_string())?;
    // A parent inside the container is no monitor; what it says of itself is the container's word.
    let mounts = |task: &crate::procdir::TaskDir| {
        task.namespace(NamespaceKind::Mnt).map_err(|error| unreadable("readlink /proc/PID/ns/mnt", error))
    };
    if mounts(&parent.dir)? == mounts(&init.dir)? {
        return Err("its parent shares its mounts, so it is no monitor".to_owned());
    }
    let mut directories = Vec::new();
    if let Ok(cwd) = nix::fcntl::readlinkat(&parent.dir, "cwd") {
        directories.push(PathBuf::from(cwd));
    }
    let arguments = parent
        .dir
        .read("cmdline", 1 << 20)
        .map_err(|error| unreadable("read /proc/PID/cmdline of the monitor", error))?;
    let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
    for pair in arguments.windows(2) {
        if matches!(pair[0], b"-b" | b"--bundle") && pair[1].starts_with(b"/") {
            directories.push(PathBuf::from(std::ffi::OsString::from_vec(pair[1].to_vec())));
        }
    }
    // Another process may have got the parent's pid: then this one has another parent by now.
    let now = init.dir.text("stat").map_err(|error| unreadable("read /proc/PID/stat", error))?;
    if now.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok())
        != Some(parent.pid.0)
    {
        return Err("its monitor ended meanwhile".to_owned());
    }
    Ok(directories)
}

/// A monitor may serve several containers of a pod, so its directory proves nothing: the specification is this
/// container's when the last part of its cgroup path, or of its directory, names the cgroup that the process is in.
fn belongs(spec: &Value, directory: &Path, membership: &str) -> bool {
    let names = |word: &str| {
        word.len() >= 12
            && membership.lines().any(|line| {
                line.split(['/', ':']).any(|part| {
                    part == word || part.strip_suffix(".scope").is_some_and(|part| part.ends_with(word))
                })
            })
    };
    let path = spec.pointer("/linux/cgroupsPath").and_then(Value::as_str).unwrap_or_default();
    let last = path.rsplit(['/', ':']).next().unwrap_or_default();
    let directory = directory.iter().rev().filter_map(|part| part.to_str()).find(|part| *part != "userdata");
    names(last) || directory.is_some_and(names)
}

/// The specification at `path`; `None` where there is none.
fn read(path: &Path) -> Result<Option<Value>, String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let fd = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => return Ok(None),
        Err(errno) => {
            return Err(refusal(&format!("open {}", path.display()), errno, Some("CAP_DAC_READ_SEARCH")));
        }
    };
    let bytes =
        read_bounded(fd, LARGEST).map_err(|error| error.during(&format!("read {}", path.display()), None))?;
    let spec: Value =
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    match spec.get("ociVersion") {
        Some(_) => Ok(Some(spec)),
        None => Err(format!("{} has no ociVersion, so it is no OCI specification", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_specification_of_another_container_is_not_taken() {
        let id = "1aa1af8d1f3c4c57";
        let v1 = format!("7:pids:/docker/{id}\n0::/\n");
        let systemd = format!("0::/system.slice/docker-{id}.scope\n");
        let spec = |path: &str| json!({"ociVersion": "1.0.2", "linux": {"cgroupsPath": path}});
        let other = Path::new("/run/x/ffffffffffffffff");
        for (path, membership, expected) in [
            (format!("/docker/{id}"), &v1, true),
            (format!("system.slice:docker:{id}"), &systemd, true),
            ("/docker/0000000000000000".to_owned(), &v1, false),
            (String::new(), &v1, false),
        ] {
            assert_eq!(belongs(&spec(&path), other, membership), expected, "{path} {membership}");
        }
        // Podman's: the cgroup may be named after the pod's manager, the directory after the container.
        let podman = format!("/var/lib/containers/storage/overlay-containers/{id}/userdata");
        assert!(belongs(&spec(""), Path::new(&podman), &format!("0::/machine.slice/libpod-{id}.scope\n")));
    }

    #[test]
    fn reads_what_is_a_specification_and_says_why_not() {
        let top = tempfile::tempdir().expect("tempdir");
        let path = top.path().join("config.json");
        assert_eq!(read(&path), Ok(None));
        std::fs::write(&path, "{}").expect("write");
        assert!(read(&path).expect_err("none").ends_with("has no ociVersion, so it is no OCI specification"));
        std::fs::write(&path, "{\"ociVersion\":\"1.0.2\"}").expect("write");
        assert!(read(&path).expect("reads").is_some());
    }
}

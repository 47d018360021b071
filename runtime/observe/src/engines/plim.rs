//! Containers that Plimsoll's own runtime started: their state files.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use plim_model::state::{ContainerState, STATE_FORMAT};

use super::{Engine, Known, RUNNING};
use crate::Selected;
use crate::error::{EngineError, FindError};
use crate::procdir::{Process, read_bounded};
use crate::why::ReadError;

/// Bound for one state file: it holds a whole OCI specification with its seccomp rules.
const LARGEST: usize = 16 << 20;

/// State files of root and of the calling user.
pub(super) struct Plim;

/// Where state files may be.
fn directories() -> Vec<PathBuf> {
    let user = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    let user = user.map(|directory| PathBuf::from(directory).join("plim"));
    std::iter::once(PathBuf::from("/run/plim")).chain(user).collect()
}

fn unreachable(operation: &str, path: &Path, errno: Errno) -> EngineError {
    EngineError::Unreachable {
        engine: "plim",
        what: format!("{operation} {}", path.display()),
        source: crate::why::cause(errno),
    }
}

fn io_errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// The state files below `directory`. A directory that is not there holds none; a container's that vanishes while it is
/// read has ended; one that another user owns is not this reader's.
fn states_in(directory: &Path) -> Result<Vec<ContainerState>, EngineError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreachable("list", directory, io_errno(&error))),
    };
    let mut states = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreachable("list", directory, io_errno(&error)))?;
        let path = entry.path().join("state.json");
        if let Some(state) = state_at(&path)? {
            states.push(state);
        }
    }
    states.sort_by(|a: &ContainerState, b| a.id.cmp(&b.id));
    Ok(states)
}

fn state_at(path: &Path) -> Result<Option<ContainerState>, EngineError> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let fd = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        // Not a container's directory, or just gone.
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        Err(errno) => return Err(unreachable("open", path, errno)),
    };
    let answer = |found: String| EngineError::Answer {
        engine: "plim",
        what: format!("read {}", path.display()),
        found,
        expected: format!("a container state of format {STATE_FORMAT}"),
    };
    let bytes = read_bounded(fd, LARGEST).map_err(|error| match error {
        ReadError::Errno(errno) => unreachable("read", path, errno),
        _ => answer(format!("more than {LARGEST} bytes")),
    })?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| answer(error.to_string()))?;
    let format = value.get("format").and_then(|format| format.as_str()).unwrap_or("none");
    if format.split('.').next() != STATE_FORMAT.split('.').next() {
        return Err(answer(format!("format {:?}", plim_model::text::escape(format).to_string())));
    }
    serde_json::from_value(value).map(Some).map_err(|error| answer(error.to_string()))
}

/// Whether the container still runs: the process has the pid *and* started when the state file says.
///
/// # Errors
/// The process cannot be looked at, which is no sign that it has ended.
fn lives(state: &ContainerState) -> Result<bool, EngineError> {
    match Process::open(state.pid) {
        Ok(process) => Ok(process.start_time_ticks() == state.start_time_ticks),
        Err(error) if error.is_gone() => Ok(false),
        Err(source) => Err(EngineError::Container { engine: "plim", container: state.name.clone(), source }),
    }
}

fn live_states() -> Result<Vec<ContainerState>, EngineError> {
    let mut live = Vec::new();
    for state in states()? {
        if lives(&state)? {
            live.push(state);
        }
    }
    Ok(live)
}

fn states() -> Result<Vec<ContainerState>, EngineError> {
    let mut states = Vec::new();
    for directory in directories() {
        // root's directory is of no concern to a user who may not list it.
        let mine = std::fs::metadata(&directory).map(|metadata| metadata.uid());
        match states_in(&directory) {
            Ok(found) => states.extend(found),
            Err(EngineError::Unreachable { source, .. })
                if source.kind() == std::io::ErrorKind::PermissionDenied
                    && mine.is_ok_and(|uid| uid != nix::unistd::geteuid().as_raw()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(states)
}

impl Engine for Plim {
    fn name(&self) -> &'static str {
        "plim"
    }

    /// Stale files, of containers that ended without their monitor, are passed over.
    fn known(&self) -> Result<Vec<Known>, EngineError> {
        Ok(live_states()?
            .into_iter()
            .map(|state| Known {
                id: state.id,
                names: vec![state.name],
                image: state.image,
                state: RUNNING.to_owned(),
            })
            .collect())
    }

    fn select(&self, known: &Known) -> Result<Selected, FindError> {
        let state = live_states()?.into_iter().find(|state| state.id == known.id);
        let title = || format!("plim:{}", known.names.first().unwrap_or(&known.id));
        let state =
            state.ok_or_else(|| FindError::NotRunning { target: title(), state: "gone".to_owned() })?;
        let mut selected = Selected::container("plim", &state.id, Some(state.name), state.pid, state.image)?;
        selected.start_time_ticks = state.start_time_ticks;
        Ok(selected)
    }

    fn declared(&self, selected: &Selected) -> Result<Option<serde_json::Value>, EngineError> {
        Ok(states()?.into_iter().find(|state| state.id == selected.id).map(|state| state.spec))
    }
}

#[cfg(test)]
mod tests {
    use plim_model::HostPid;

    use super::*;

    fn state(id: &str, start_time_ticks: u64) -> serde_json::Value {
        serde_json::json!({
            "format": "1.0", "id": id, "name": "web", "pid": std::process::id(),
            "start_time_ticks": start_time_ticks, "monitor_pid": 1, "args": ["sh"], "image": null,
            "cgroup_paths": {}, "spec": {}
        })
    }

    #[test]
    fn reads_states_and_knows_the_stale_ones() {
        let top = tempfile::tempdir().expect("tempdir");
        let own = Process::open(HostPid(std::process::id().cast_signed())).expect("self");
        for (id, ticks) in [("aaa", own.start_time_ticks()), ("bbb", own.start_time_ticks() + 1)] {
            std::fs::create_dir(top.path().join(id)).expect("mkdir");
            std::fs::write(top.path().join(id).join("state.json"), state(id, ticks).to_string())
                .expect("write");
        }
        std::fs::create_dir(top.path().join("empty")).expect("mkdir");
        let states = states_in(top.path()).expect("reads");
        let live: Vec<&str> = states
            .iter()
            .filter(|state| lives(state).expect("looked at"))
            .map(|state| state.id.as_str())
            .collect();
        assert_eq!((states.len(), live), (2, vec!["aaa"]));
    }

    #[test]
    fn says_what_is_wrong_with_a_state_file() {
        let top = tempfile::tempdir().expect("tempdir");
        let path = top.path().join("state.json");
        for (content, expected) in [
            ("{\"format\":\"2.0\"}", "found format \"2.0\", expected a container state of format 1.0"),
            ("nonsense", "found expected ident at line 1 column 2, expected a container state of format 1.0"),
        ] {
            std::fs::write(&path, content).expect("write");
            let error = state_at(&path).expect_err("an error").to_string();
            assert!(error.ends_with(expected), "{error}");
        }
        assert!(states_in(&top.path().join("missing")).expect("none").is_empty());
    }
}

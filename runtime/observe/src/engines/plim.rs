//! Containers that Plimsoll's own runtime started: their state files.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use plim_model::state::{ContainerState, STATE_FORMAT};
use plim_state::{StateDirectory, StateError};

use super::{Engine, Known, RUNNING};
use crate::Selected;
use crate::error::{EngineError, FindError};
use crate::procdir::Process;

/// Bound for one state file: it holds a whole OCI specification with its seccomp rules.
const LARGEST: usize = 16 << 20;

/// State files of root and of the calling user.
pub(super) struct Plim;

fn unreachable(operation: &str, path: &Path, errno: Errno) -> EngineError {
    EngineError::Unreachable {
        engine: "plim",
        what: format!("{operation} {}", path.display()),
        source: crate::why::cause(errno),
    }
}

fn unusable(error: StateError) -> EngineError {
    match error {
        StateError::System { operation, path, errno } => unreachable(operation, &path, errno),
        StateError::Untrusted { path, why } => EngineError::Answer {
            engine: "plim",
            what: format!("use the state directory {}", path.display()),
            found: why,
            expected: "a directory that only this user can change".to_owned(),
        },
    }
}

/// The state files in a directory. A container's directory that vanishes while it is read has ended.
fn states_in(directory: &StateDirectory) -> Result<Vec<ContainerState>, EngineError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |errno| unreachable(operation, &path, errno)
    };
    let mut states = Vec::new();
    for id in directory.ids().map_err(failed("list", directory.path()))? {
        let path = directory.path().join(&id);
        if let Some(container) = directory.container(&id).map_err(failed("open", &path))?
            && let Some(state) = state_at(&container, path.join(FILE))?
        {
            states.push(state);
        }
    }
    states.sort_by(|a: &ContainerState, b| a.id.cmp(&b.id));
    Ok(states)
}

const FILE: &str = "state.json";

/// The state in a container's directory; `path` is for people.
fn state_at(container: &OwnedFd, path: PathBuf) -> Result<Option<ContainerState>, EngineError> {
    let answer = |found: String| EngineError::Answer {
        engine: "plim",
        what: format!("read {}", path.display()),
        found,
        expected: format!("a container state of format {STATE_FORMAT}"),
    };
    let read =
        plim_state::read(container, FILE, LARGEST).map_err(|errno| unreachable("read", &path, errno))?;
    let Some(bytes) = read else { return Ok(None) };
    if bytes.len() > LARGEST {
        return Err(answer(format!("more than {LARGEST} bytes")));
    }
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
    let (roots, own) = (plim_state::of_root(), plim_state::own());
    let mut states = Vec::new();
    match roots.open() {
        Ok(Some(directory)) => states.extend(states_in(&directory)?),
        Ok(None) => {}
        // root's directory is of no concern to a user who may not list it.
        Err(StateError::System { errno: Errno::EACCES, .. }) if own != roots => {}
        Err(error) => return Err(unusable(error)),
    }
    if own != roots
        && let Some(directory) = own.open().map_err(unusable)?
    {
        states.extend(states_in(&directory)?);
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
        let state_directory = || plim_state::Place::within(top.path()).make().expect("a state directory");
        let (live, stale, empty) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let own = Process::open(HostPid(std::process::id().cast_signed())).expect("self");
        let directory = state_directory();
        for (id, ticks) in [(&live, own.start_time_ticks()), (&stale, own.start_time_ticks() + 1)] {
            std::fs::create_dir(directory.path().join(id)).expect("mkdir");
            std::fs::write(directory.path().join(id).join(FILE), state(id, ticks).to_string())
                .expect("write");
        }
        std::fs::create_dir(directory.path().join(&empty)).expect("mkdir");
        let states = states_in(&directory).expect("reads");
        let running: Vec<&str> = states
            .iter()
            .filter(|state| lives(state).expect("looked at"))
            .map(|state| state.id.as_str())
            .collect();
        assert_eq!((states.len(), running), (2, vec![live.as_str()]));
    }

    #[test]
    fn says_what_is_wrong_with_a_state_file() {
        let top = tempfile::tempdir().expect("tempdir");
        let path = top.path().join(FILE);
        let directory = OwnedFd::from(std::fs::File::open(top.path()).expect("opens"));
        for (content, expected) in [
            ("{\"format\":\"2.0\"}", "found format \"2.0\", expected a container state of format 1.0"),
            ("nonsense", "found expected ident at line 1 column 2, expected a container state of format 1.0"),
        ] {
            std::fs::write(&path, content).expect("write");
            let error = state_at(&directory, path.clone()).expect_err("an error").to_string();
            assert!(error.ends_with(expected), "{error}");
        }
        std::fs::remove_file(&path).expect("removes");
        assert_eq!(state_at(&directory, path).expect("none"), None);
    }
}

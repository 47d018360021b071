//! What can go wrong before there is a snapshot. What could not be read *in* a target is no error: it is
//! [`plim_model::Observed::Unknown`] in the snapshot.

use std::io;

use plim_model::HostPid;

/// A target could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// No process has this pid, in the reader's pid namespace.
    #[error("no process has pid {pid}")]
    NoSuchProcess {
        /// The pid that was asked for.
        pid: HostPid,
    },
    /// The process lives but the reader's /proc does not show it.
    #[error("/proc does not show process {pid} to this user (mount option hidepid=)")]
    Hidden {
        /// The pid that was asked for.
        pid: HostPid,
    },
    /// Something needed to begin could not be opened.
    #[error("open {what}")]
    Open {
        /// What was opened.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The process ended between the first and the last read: nothing that was read is handed out.
    #[error("target {target} died while it was read")]
    Died {
        /// The target's name.
        target: String,
    },
    /// The pid belongs to another process than the one that the engine started.
    #[error("target {target} is gone: its pid {pid} belongs to another process now")]
    Reused {
        /// The target's name.
        target: String,
        /// The pid.
        pid: HostPid,
    },
}

impl ObserveError {
    /// Whether the process that was meant does not run any more. Every other error leaves that unknown.
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            ObserveError::NoSuchProcess { .. } | ObserveError::Died { .. } | ObserveError::Reused { .. }
        )
    }
}

/// An engine could not be asked, or gave an answer that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine is not there or refuses.
    #[error("{engine}: {what}")]
    Unreachable {
        /// The engine.
        engine: &'static str,
        /// Operation and place.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// It answered, but not with what its interface promises.
    #[error("{engine}: {what}: found {found}, expected {expected}")]
    Answer {
        /// The engine.
        engine: &'static str,
        /// Operation and place.
        what: String,
        /// What came, escaped and cut to a readable length.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// It answered, but the process of a container that runs could not be looked at.
    #[error("{engine}: container {container}")]
    Container {
        /// The engine.
        engine: &'static str,
        /// The container's name or id.
        container: String,
        /// Why not.
        source: ObserveError,
    },
    /// A setting in the environment that cannot be used.
    #[error("{engine}: {variable} is {value:?}, expected {expected}")]
    Setting {
        /// The engine.
        engine: &'static str,
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What can be used.
        expected: &'static str,
    },
}

/// A name did not lead to exactly one running target.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No such engine.
    #[error("unknown engine {engine:?}, expected one of {}", known.join(", "))]
    UnknownEngine {
        /// What was asked for.
        engine: String,
        /// The engines there are.
        known: Vec<&'static str>,
    },
    /// Nothing has this name or id.
    #[error(
        "no running container is called {name:?}{}{}",
        words("; nearest: ", nearest),
        words("; not asked: ", unasked)
    )]
    NotFound {
        /// What was looked for.
        name: String,
        /// Names that are spelt alike, as target names.
        nearest: Vec<String>,
        /// Engines that could not be asked, with the reason.
        unasked: Vec<String>,
    },
    /// Several have it.
    #[error("{name:?} is ambiguous; it may be {}", candidates.join(", "))]
    Ambiguous {
        /// What was looked for.
        name: String,
        /// Every candidate, as target names that are not ambiguous.
        candidates: Vec<String>,
    },
    /// It exists but does not run.
    #[error("{target} is not running (it is {state})")]
    NotRunning {
        /// The target's name.
        target: String,
        /// The engine's word for its state.
        state: String,
    },
    /// A pid that is none.
    #[error("{text:?} is not a pid, expected a number from 1 to {}", i32::MAX)]
    BadPid {
        /// What stood there.
        text: String,
    },
    /// The process behind the name cannot be had.
    #[error(transparent)]
    Target(#[from] ObserveError),
    /// The engine that was named cannot be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// An error with its causes.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn words(introduction: &str, list: &[String]) -> String {
    if list.is_empty() { String::new() } else { format!("{introduction}{}", list.join(", ")) }
}

//! Container engines: who knows the running containers by name.
//!
//! A new engine is one new file and one line in [`ENGINES`].

mod bundle;
pub(crate) mod docker;
mod http;
mod pid;
mod plim;

use plim_model::{HostPid, Observed};

use crate::Selected;
use crate::error::{EngineError, FindError, sentence};

/// What an engine says of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) names: Vec<String>,
    pub(crate) image: Option<String>,
    /// `running`, or the engine's word for what it does instead.
    pub(crate) state: String,
}

/// One engine.
pub(crate) trait Engine: Sync {
    /// Its word in target names.
    fn name(&self) -> &'static str;
    /// Every container that it knows, stopped ones included; empty when the engine is not installed here.
    fn known(&self) -> Result<Vec<Known>, EngineError>;
    /// The first process of one of them, held long enough to be sure that it is the container's.
    fn select(&self, known: &Known) -> Result<Selected, FindError>;
    /// Looks up a name that the user gave for this very engine: an engine that is not there is an error. Engines whose
    /// names are no names of containers have their own way.
    fn find(&self, name: &str) -> Result<Vec<Known>, EngineError> {
        Ok(matching(self.known()?, name))
    }
    /// Whether the engine is to be asked when no engine was named.
    fn holds_containers(&self) -> bool {
        true
    }
    /// What the engine was asked to make of the container, in its own form; `None` when it does not say.
    fn declared(&self, selected: &Selected) -> Result<Option<serde_json::Value>, EngineError>;
}

/// Every engine that this version knows.
pub(crate) const ENGINES: [&dyn Engine; 5] =
    [&plim::Plim, &docker::Docker, &pid::ByPid, &pid::Own, &pid::Host];

/// The word for a container that runs.
const RUNNING: &str = "running";
/// A shorter prefix of an id is no name: `a` would match every sixteenth container.
const SHORTEST_PREFIX: usize = 3;

/// An exact name, or an exact id, or else every container whose id begins so.
fn matching(known: Vec<Known>, name: &str) -> Vec<Known> {
    let (exact, rest): (Vec<Known>, Vec<Known>) =
        known.into_iter().partition(|known| known.id == name || known.names.iter().any(|own| own == name));
    if !exact.is_empty() {
        return exact;
    }
    if name.len() < SHORTEST_PREFIX || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Vec::new();
    }
    rest.into_iter().filter(|known| known.id.starts_with(name)).collect()
}

fn title(engine: &dyn Engine, known: &Known) -> String {
    format!("{}:{}", engine.name(), known.names.first().unwrap_or(&known.id))
}

/// See [`crate::find`].
pub(crate) fn find(engine: Option<&str>, name: &str) -> Result<Selected, FindError> {
    find_in(&ENGINES, engine, name)
}

fn find_in(engines: &[&dyn Engine], engine: Option<&str>, name: &str) -> Result<Selected, FindError> {
    let asked: Vec<&dyn Engine> = match engine {
        Some(word) => engines.iter().copied().filter(|engine| engine.name() == word).collect(),
        None => engines.iter().copied().filter(|engine| engine.holds_containers()).collect(),
    };
    if let (Some(word), true) = (engine, asked.is_empty()) {
        return Err(FindError::UnknownEngine {
            engine: word.to_owned(),
            known: engines.iter().map(|engine| engine.name()).collect(),
        });
    }
    let mut candidates: Vec<(&dyn Engine, Known)> = Vec::new();
    let mut unasked = Vec::new();
    for one in &asked {
        // Named, an engine that is not installed is an error; one of many, it just has no containers.
        let found = match engine {
            Some(_) => one.find(name),
            None => one.known().map(|known| matching(known, name)),
        };
        match found {
            Ok(found) => candidates.extend(found.into_iter().map(|known| (*one, known))),
            // Named by the user, its failure is the answer; one of many, it is a remark.
            Err(error) if engine.is_some() => return Err(error.into()),
            Err(error) => unasked.push(sentence(&error)),
        }
    }
    // A stopped container does not stand in the way of a running one.
    if candidates.iter().any(|(_, known)| known.state == RUNNING) {
        candidates.retain(|(_, known)| known.state == RUNNING);
    }
    match candidates.as_slice() {
        [] => Err(FindError::NotFound { name: name.to_owned(), nearest: nearest(&asked, name), unasked }),
        [(engine, known)] if known.state != RUNNING => {
            Err(FindError::NotRunning { target: title(*engine, known), state: known.state.clone() })
        }
        [(engine, known)] => engine.select(known),
        many => {
            let mut candidates: Vec<String> =
                many.iter().map(|(engine, known)| title(*engine, known)).collect();
            candidates.sort();
            Err(FindError::Ambiguous { name: name.to_owned(), candidates })
        }
    }
}

/// Names of running containers that are spelt alike, at most a third of the letters away (two swapped neighbours count
/// as one): at most three, the best first.
fn nearest(engines: &[&dyn Engine], name: &str) -> Vec<String> {
    let letters = name.chars().count();
    let mut near: Vec<(usize, String)> = Vec::new();
    for engine in engines {
        for known in engine.known().unwrap_or_default() {
            let distance = |own: &String| strsim::damerau_levenshtein(own, name);
            if let Some(best) = known.names.iter().map(distance).min()
                && best <= (letters / 3).max(1)
                && known.state == RUNNING
            {
                near.push((best, title(*engine, &known)));
            }
        }
    }
    near.sort();
    near.into_iter().take(3).map(|(_, title)| title).collect()
}

/// Every running container of every engine, by target name, and the engines that could not be asked.
pub(crate) fn all() -> (Vec<Selected>, Vec<EngineError>) {
    let (mut targets, mut errors) = (Vec::new(), Vec::new());
    for engine in ENGINES.into_iter().filter(|engine| engine.holds_containers()) {
        match engine.known() {
            Ok(known) => {
                for known in known.into_iter().filter(|known| known.state == RUNNING) {
                    match engine.select(&known) {
                        Ok(selected) => targets.push(selected),
                        Err(FindError::Engine(error)) => errors.push(error),
                        Err(FindError::Target(source)) if !source.is_gone() => {
                            let container = known.names.first().unwrap_or(&known.id).clone();
                            errors.push(EngineError::Container { engine: engine.name(), container, source });
                        }
                        // It ended since the list was made.
                        Err(_) => {}
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    targets.sort_by_key(Selected::target_name);
    (targets, errors)
}

/// See [`crate::declared`].
pub(crate) fn declared(selected: &Selected) -> Result<Option<serde_json::Value>, EngineError> {
    match ENGINES.into_iter().find(|engine| engine.name() == selected.engine) {
        Some(engine) => engine.declared(selected),
        None => Ok(None),
    }
}

/// See [`crate::declared_spec`].
pub(crate) fn declared_spec(selected: &Selected) -> Observed<serde_json::Value> {
    if selected.engine != "plim" {
        return bundle::spec(selected);
    }
    match declared(selected) {
        Ok(Some(spec)) => Observed::Present(spec),
        Ok(None) => Observed::Unknown("its state file is gone".to_owned()),
        Err(error) => Observed::Unknown(sentence(&error)),
    }
}

/// A pid as an engine gives it.
fn pid_of(value: Option<i64>) -> Option<HostPid> {
    value.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0).map(HostPid)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(&'static str, Vec<Known>);

    impl Engine for Fake {
        fn name(&self) -> &'static str {
            self.0
        }
        fn known(&self) -> Result<Vec<Known>, EngineError> {
            Ok(self.1.clone())
        }
        fn select(&self, known: &Known) -> Result<Selected, FindError> {
            Selected::container(self.0, &known.id, known.names.first().cloned(), own_pid(), None)
                .map_err(Into::into)
        }
        fn declared(&self, _: &Selected) -> Result<Option<serde_json::Value>, EngineError> {
            Ok(None)
        }
    }

    fn own_pid() -> HostPid {
        HostPid(std::process::id().cast_signed())
    }

    fn known(id: &str, name: &str, state: &str) -> Known {
        Known { id: id.to_owned(), names: vec![name.to_owned()], image: None, state: state.to_owned() }
    }

    #[test]
    fn a_bare_name_is_looked_for_everywhere() {
        let a = Fake("a", vec![known("abc123", "web", "running"), known("abd456", "db", "exited")]);
        let b = Fake("b", vec![known("fff999", "web", "running"), known("abc777", "cache", "running")]);
        let engines: [&dyn Engine; 2] = [&a, &b];
        let find = |engine, name| find_in(&engines, engine, name);
        assert_eq!(find(None, "cache").expect("found").target_name(), "b:cache");
        assert_eq!(find(Some("a"), "web").expect("found").id, "abc123");
        assert_eq!(find(None, "fff").expect("by prefix").id, "fff999");
        let text = |engine, name| find(engine, name).expect_err("an error").to_string();
        assert_eq!(text(None, "web"), "\"web\" is ambiguous; it may be a:web, b:web");
        assert_eq!(text(None, "abc"), "\"abc\" is ambiguous; it may be a:web, b:cache");
        assert_eq!(text(None, "db"), "a:db is not running (it is exited)");
        assert_eq!(text(Some("b"), "cahce"), "no running container is called \"cahce\"; nearest: b:cache");
        assert_eq!(text(Some("x"), "web"), "unknown engine \"x\", expected one of a, b");
        // Two digits are no prefix.
        assert_eq!(text(None, "ff"), "no running container is called \"ff\"");
    }
}

//! Docker, by its Engine API (v1.24 and up) on its Unix socket. Podman's compatible service answers the same way.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Engine, Known, http, pid_of};
use crate::Selected;
use crate::error::{EngineError, FindError};
use crate::helper::{self, Request};

const NAME: &str = "docker";

/// The daemon at `DOCKER_HOST` (`unix://PATH`) or at its usual place.
pub(super) struct Docker;

/// One element of `GET /containers/json`.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Names", default)]
    names: Vec<String>,
    #[serde(rename = "Image", default)]
    image: Option<String>,
    #[serde(rename = "State", default)]
    state: String,
}

/// What is taken of `GET /containers/ID/json`.
#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "State")]
    state: State,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "Pid", default)]
    pid: Option<i64>,
    #[serde(rename = "Status", default)]
    status: String,
}

/// The socket and whether the user named it; `None` where Docker is not installed.
fn socket() -> Result<Option<PathBuf>, EngineError> {
    socket_from(std::env::var_os("DOCKER_HOST"))
}

fn socket_from(variable: Option<OsString>) -> Result<Option<PathBuf>, EngineError> {
    match variable.filter(|value| !value.is_empty()) {
        Some(value) => match value.as_bytes().strip_prefix(b"unix://") {
            Some(path) if path.starts_with(b"/") => Ok(Some(OsString::from_vec(path.to_vec()).into())),
            _ => Err(EngineError::Setting {
                engine: NAME,
                variable: "DOCKER_HOST",
                value: value.to_string_lossy().into_owned(),
                expected: "unix:///PATH: only containers of this machine can be observed",
            }),
        },
        None => {
            let usual = ["/run/docker.sock", "/var/run/docker.sock"];
            Ok(usual.into_iter().map(PathBuf::from).find(|path| path.symlink_metadata().is_ok()))
        }
    }
}

/// The bytes of the daemon's answer, or why there are none.
pub(crate) type Relayed = Result<Vec<u8>, String>;

/// In the helper: asks for one of the paths that this file asks for. The answer is not looked at.
pub(crate) fn relayed(path: &str) -> Relayed {
    let expected = path
        .strip_prefix("/containers/")
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/?=".contains(&byte)));
    match socket() {
        Ok(Some(socket)) if expected => http::exchange(&socket, path).map_err(|error| {
            error
                .raw_os_error()
                .map_or(error.to_string(), |errno| crate::why::errno_text(nix::errno::Errno::from_raw(errno)))
        }),
        _ => Err(format!("GET {path}: not a request of this program")),
    }
}

/// Asks and parses. A 404 is `None`.
fn ask<T: DeserializeOwned>(socket: &std::path::Path, path: &str) -> Result<Option<T>, EngineError> {
    let answer = match helper::ask(&Request::Docker(path.to_owned())) {
        None => http::get(socket, path),
        Some(relayed) => relayed
            .and_then(|relayed: Relayed| relayed)
            .map_err(io::Error::other)
            .and_then(|bytes| http::parse(&bytes)),
    };
    let answer = answer.map_err(|source| EngineError::Unreachable {
        engine: NAME,
        what: format!("ask the daemon at {}", socket.display()),
        source: match source.raw_os_error() {
            Some(errno) => crate::why::cause(nix::errno::Errno::from_raw(errno)),
            None => source,
        },
    })?;
    let wrong = |found: String, expected: &str| EngineError::Answer {
        engine: NAME,
        what: format!("GET {path}"),
        found,
        expected: expected.to_owned(),
    };
    match answer.status {
        200 => serde_json::from_slice(&answer.body)
            .map(Some)
            .map_err(|error| wrong(error.to_string(), "the Engine API's JSON")),
        404 => Ok(None),
        status => {
            let message: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
            Err(wrong(format!("status {status} {}", plim_model::text::escape(message.trim())), "status 200"))
        }
    }
}

fn list() -> Result<Vec<Known>, EngineError> {
    let Some(socket) = socket()? else { return Ok(Vec::new()) };
    let listed: Vec<Listed> = ask(&socket, "/containers/json?all=1")?.unwrap_or_default();
    Ok(listed.into_iter().map(known).collect())
}

/// What the list becomes, for tests that have no daemon.
#[cfg(test)]
pub(super) fn read_list(body: &[u8]) {
    let listed: Vec<Listed> = serde_json::from_slice(body).unwrap_or_default();
    let known: Vec<Known> = listed.into_iter().map(known).collect();
    drop(super::matching(known, "web"));
    drop(serde_json::from_slice::<Inspected>(body));
}

/// Names come as `/web`; `/web/alias` is a legacy link to another container.
fn known(listed: Listed) -> Known {
    let mut names: Vec<String> = listed
        .names
        .iter()
        .filter_map(|name| name.strip_prefix('/'))
        .filter(|name| !name.contains('/'))
        .map(str::to_owned)
        .collect();
    names.sort();
    // A paused container has a first process as any other.
    let state = if listed.state == "paused" { super::RUNNING.to_owned() } else { listed.state };
    Known { id: listed.id, names, image: listed.image, state }
}

/// An id goes into a path.
fn checked(id: &str) -> Result<&str, EngineError> {
    if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(id);
    }
    Err(EngineError::Answer {
        engine: NAME,
        what: "GET /containers/json".to_owned(),
        found: format!("the id {:?}", id.chars().take(80).collect::<String>()),
        expected: "hexadecimal digits".to_owned(),
    })
}

impl Engine for Docker {
    fn name(&self) -> &'static str {
        NAME
    }

    fn known(&self) -> Result<Vec<Known>, EngineError> {
        list()
    }

    fn find(&self, name: &str) -> Result<Vec<Known>, EngineError> {
        if socket()?.is_none() {
            return Err(EngineError::Unreachable {
                engine: NAME,
                what: "ask the daemon at /run/docker.sock".to_owned(),
                source: crate::why::cause(nix::errno::Errno::ENOENT),
            });
        }
        Ok(super::matching(list()?, name))
    }

    fn select(&self, known: &Known) -> Result<Selected, FindError> {
        let title = known.names.first().unwrap_or(&known.id);
        let gone = |state: &str| FindError::NotRunning {
            target: format!("{NAME}:{title}"),
            state: state.to_owned(),
        };
        let socket = socket()?.ok_or_else(|| gone("gone"))?;
        let path = format!("/containers/{}/json", checked(&known.id)?);
        let pid = || -> Result<_, FindError> {
            let answer: Inspected = ask(&socket, &path)?.ok_or_else(|| gone("gone"))?;
            pid_of(answer.state.pid).ok_or_else(|| gone(&answer.state.status))
        };
        let first = pid()?;
        let selected =
            Selected::container(NAME, &known.id, known.names.first().cloned(), first, known.image.clone())?;
        // Asked again once the process is held: were it another one that got the pid of a container that died between
        // the answer and the opening, the daemon would no longer give this pid.
        if pid()? == first { Ok(selected) } else { Err(gone("restarting")) }
    }

    fn declared(&self, selected: &Selected) -> Result<Option<serde_json::Value>, EngineError> {
        match socket()? {
            Some(socket) => ask(&socket, &format!("/containers/{}/json", checked(&selected.id)?)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn takes_a_unix_socket_and_says_so_of_anything_else() {
        let socket = |value: &str| socket_from(Some(value.into()));
        assert_eq!(socket("unix:///run/d.sock").expect("a path"), Some(PathBuf::from("/run/d.sock")));
        for value in ["tcp://1.2.3.4:2375", "unix://relative", "/run/docker.sock"] {
            let error = socket(value).expect_err("refused").to_string();
            assert!(error.starts_with(&format!("docker: DOCKER_HOST is {value:?}, expected unix:///PATH")));
        }
    }

    #[test]
    fn a_daemon_that_is_not_there_is_an_error_that_says_where() {
        let top = tempfile::tempdir().expect("tempdir");
        let path = top.path().join("d.sock");
        let error = ask::<serde_json::Value>(&path, "/containers/json").expect_err("nobody there");
        assert_eq!(
            crate::error::sentence(&error),
            format!("docker: ask the daemon at {}: ENOENT (no such file or directory)", path.display())
        );
        assert!(
            matches!(error, EngineError::Unreachable { source, .. } if source.kind() == io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn names_lose_their_slash_and_links_are_no_names() {
        let listed = Listed {
            id: "abc".to_owned(),
            names: vec!["/web".to_owned(), "/other/alias".to_owned()],
            image: None,
            state: "paused".to_owned(),
        };
        let known = known(listed);
        assert_eq!((known.names, known.state.as_str()), (vec!["web".to_owned()], "running"));
        assert!(checked("../../etc").is_err() && checked("").is_err());
    }
}

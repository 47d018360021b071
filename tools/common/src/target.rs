//! Target names: everything that a tool can look at, in one notation.

use std::path::PathBuf;

use crate::nearest::hint;

mod kind;
mod live;
mod load;
pub use kind::{FileKind, KindError, recognise};
pub use live::find_live;
pub use load::{Fetched, Loaded, MAX_BYTES, fetch, load};

/// Engines that have a name in the notation, whether or not this version can look into them.
pub const ENGINES: [&str; 8] = ["containerd", "cri", "docker", "lxc", "nspawn", "plim", "podman", "systemd"];

/// What a target's name says about where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetName {
    /// `docker:NAME`, `plim:NAME`, …: one of [`ENGINES`] and a name or id prefix there.
    Engine {
        /// The engine's word.
        engine: String,
        /// Name, id or id prefix.
        name: String,
    },
    /// `pid:N`, a process in the reader's pid namespace; N is 1 or more.
    Pid(i32),
    /// `self`: the reading process.
    SelfProcess,
    /// `host`: pid 1.
    Host,
    /// A name or id prefix that is looked for in every engine.
    Bare(String),
    /// A file, whose content says what it is.
    File(PathBuf),
    /// `-`: a file on stdin.
    Stdin,
    /// `preset:NAME`: shipped data.
    Preset(String),
}

/// Why a word is no target name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetNameError {
    /// Nothing at all.
    #[error("target name is empty")]
    Empty,
    /// A prefix that is neither an engine nor one of the other words.
    #[error(
        "target {found:?}: unknown kind {prefix:?}{hint}; expected docker:NAME, plim:NAME, pid:N, self, host, preset:NAME, a container's name, or a path with a slash"
    )]
    UnknownPrefix {
        /// The whole word.
        found: String,
        /// What stands before the colon.
        prefix: String,
        /// The nearest valid word as a question, or nothing.
        hint: String,
    },
    /// A prefix with nothing behind it.
    #[error("target {found:?}: nothing after the colon, expected a {expected}")]
    NothingNamed {
        /// The whole word.
        found: String,
        /// What should follow.
        expected: &'static str,
    },
    /// Not a process id.
    #[error("target {found:?}: expected a process id from 1 to 2147483647 after \"pid:\"")]
    BadPid {
        /// The whole word.
        found: String,
    },
}

impl TargetName {
    /// Reads a name.
    ///
    /// A known prefix decides first (`containerd:NAMESPACE/ID` is not a path), then what looks like a path: a slash in
    /// it, or `.json`, `.yaml`, `.yml`, `.bpf` at its end.
    ///
    /// # Errors
    /// An empty word, an unknown prefix (with the nearest spelling), nothing behind a prefix, a pid that is none.
    ///
    /// ```
    /// use plim_tools_common::target::TargetName;
    /// assert_eq!(TargetName::parse("pid:7")?, TargetName::Pid(7));
    /// assert_eq!(TargetName::parse("./web")?, TargetName::File("./web".into()));
    /// assert_eq!(TargetName::parse("web")?, TargetName::Bare("web".into()));
    /// assert!(TargetName::parse("dokcer:web").unwrap_err().to_string().contains("\"docker\""));
    /// # Ok::<(), plim_tools_common::target::TargetNameError>(())
    /// ```
    pub fn parse(word: &str) -> Result<TargetName, TargetNameError> {
        match word {
            "" => return Err(TargetNameError::Empty),
            "-" => return Ok(TargetName::Stdin),
            "self" => return Ok(TargetName::SelfProcess),
            "host" => return Ok(TargetName::Host),
            // Directories, which no container can be called.
            "." | ".." => return Ok(TargetName::File(word.into())),
            _ => {}
        }
        let found = || word.to_owned();
        let looks_like_a_path =
            word.contains('/') || [".json", ".yaml", ".yml", ".bpf"].iter().any(|end| word.ends_with(end));
        match word.split_once(':') {
            Some(("pid", number)) => match number.parse() {
                Ok(pid) if pid >= 1 && !number.starts_with('+') => Ok(TargetName::Pid(pid)),
                _ => Err(TargetNameError::BadPid { found: found() }),
            },
            Some(("preset", "")) => Err(TargetNameError::NothingNamed { found: found(), expected: "preset" }),
            Some(("preset", name)) => Ok(TargetName::Preset(name.to_owned())),
            Some((engine, name)) if ENGINES.contains(&engine) => match name {
                "" => {
                    Err(TargetNameError::NothingNamed { found: found(), expected: "container's name or id" })
                }
                name => Ok(TargetName::Engine { engine: engine.to_owned(), name: name.to_owned() }),
            },
            Some((prefix, _)) if !looks_like_a_path => Err(TargetNameError::UnknownPrefix {
                found: found(),
                prefix: prefix.to_owned(),
                hint: hint(prefix, ENGINES.into_iter().chain(["pid", "preset"])),
            }),
            Some(_) | None if looks_like_a_path => Ok(TargetName::File(word.into())),
            Some(_) | None => Ok(TargetName::Bare(word.to_owned())),
        }
    }
}

impl std::str::FromStr for TargetName {
    type Err = TargetNameError;

    fn from_str(word: &str) -> Result<TargetName, TargetNameError> {
        TargetName::parse(word)
    }
}

/// As [`TargetName::parse`] reads it.
impl std::fmt::Display for TargetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetName::Engine { engine, name } => write!(f, "{engine}:{name}"),
            TargetName::Pid(pid) => write!(f, "pid:{pid}"),
            TargetName::SelfProcess => f.write_str("self"),
            TargetName::Host => f.write_str("host"),
            TargetName::Bare(name) => f.write_str(name),
            TargetName::File(path) => path.display().fmt(f),
            TargetName::Stdin => f.write_str("-"),
            TargetName::Preset(name) => write!(f, "preset:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_and_writes_it_back() {
        let engine = |engine: &str, name: &str| TargetName::Engine {
            engine: engine.to_owned(),
            name: name.to_owned(),
        };
        for (word, expected) in [
            ("docker:web", engine("docker", "web")),
            ("plim:a.b-c_d", engine("plim", "a.b-c_d")),
            ("containerd:moby/0123", engine("containerd", "moby/0123")),
            ("docker:x.json", engine("docker", "x.json")),
            ("systemd:ssh.service", engine("systemd", "ssh.service")),
            ("pid:1", TargetName::Pid(1)),
            ("pid:2147483647", TargetName::Pid(i32::MAX)),
            ("self", TargetName::SelfProcess),
            ("host", TargetName::Host),
            ("web", TargetName::Bare("web".to_owned())),
            ("0123abc", TargetName::Bare("0123abc".to_owned())),
            ("./web", TargetName::File("./web".into())),
            ("/x:y", TargetName::File("/x:y".into())),
            ("a:b/c", TargetName::File("a:b/c".into())),
            ("p.json", TargetName::File("p.json".into())),
            ("c:p.yaml", TargetName::File("c:p.yaml".into())),
            ("f.bpf", TargetName::File("f.bpf".into())),
            ("-", TargetName::Stdin),
            ("preset:docker-default", TargetName::Preset("docker-default".to_owned())),
        ] {
            let found = TargetName::parse(word).expect(word);
            assert_eq!(found, expected, "{word}");
            assert_eq!(found.to_string(), word);
        }
    }

    #[test]
    fn refuses_with_the_nearest_spelling() {
        for (word, expected) in [
            ("", "target name is empty"),
            ("dokcer:web", "unknown kind \"dokcer\", did you mean \"docker\"?"),
            ("perset:x", "did you mean \"preset\"?"),
            ("zzz:web", "unknown kind \"zzz\"; expected docker:NAME"),
            ("docker:", "nothing after the colon, expected a container's name or id"),
            ("preset:", "nothing after the colon, expected a preset"),
            ("pid:", "expected a process id from 1"),
            ("pid:0", "expected a process id from 1"),
            ("pid:-1", "expected a process id from 1"),
            ("pid:+1", "expected a process id from 1"),
            ("pid:2147483648", "expected a process id from 1"),
            ("pid:1x", "expected a process id from 1"),
        ] {
            let error = TargetName::parse(word).expect_err(word).to_string();
            assert!(error.contains(expected), "{word}: {error}");
        }
    }
}

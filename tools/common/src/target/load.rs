//! Files and presets as data.

use std::io::Read;

use anyhow::Context;
use plim_model::Snapshot;
use plim_seccomp::bpf::Program;
use plim_seccomp::dialect::{self, Written};
use plim_seccomp::presets;

use super::{FileKind, TargetName, recognise};

/// The largest file that is read, in bytes: a snapshot with 100,000 mounts is a quarter of it.
pub const MAX_BYTES: u64 = 64 << 20;

/// What a file or a preset holds.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// A saved snapshot.
    Snapshot(Box<Snapshot>),
    /// A seccomp profile of any dialect, or the one in an OCI config.json.
    Profile(Box<Written>),
    /// Raw BPF that the kernel would take.
    Filter(Program),
}

/// A target that is data, read but not looked at: everything from here on is computation alone.
#[derive(Clone, Debug)]
pub struct Fetched {
    what: String,
    bytes: Vec<u8>,
}

impl Fetched {
    /// What was read, for messages: `read FILE`.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The content, for who keeps it.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Recognises and parses the content.
    ///
    /// # Errors
    /// The file with what was found in it and what was expected.
    pub fn decode(&self) -> anyhow::Result<Loaded> {
        decode(&self.bytes).with_context(|| self.what.clone())
    }
}

/// Reads a target that is data: a file, stdin or a preset. `None` for a live target.
///
/// # Errors
/// A file that cannot be read; an unknown preset with the nearest name.
pub fn fetch(target: &TargetName) -> anyhow::Result<Option<Fetched>> {
    let (what, bytes) = match target {
        TargetName::File(path) => {
            let what = format!("read {}", path.display());
            let file = std::fs::File::open(path).with_context(|| what.clone())?;
            (what.clone(), read_bounded(file).with_context(|| what)?)
        }
        TargetName::Stdin => {
            ("read stdin".to_owned(), read_bounded(std::io::stdin().lock()).context("read stdin")?)
        }
        TargetName::Preset(name) => {
            let text = presets::get(name).with_context(|| {
                let names: Vec<&str> = presets::names().collect();
                let hint = crate::nearest::hint(name, names.iter().copied());
                format!("unknown preset {name:?}{hint}; there are {}", names.join(", "))
            })?;
            (format!("preset {name}"), text.as_bytes().to_vec())
        }
        TargetName::Engine { .. }
        | TargetName::Pid(_)
        | TargetName::SelfProcess
        | TargetName::Host
        | TargetName::Bare(_) => return Ok(None),
    };
    Ok(Some(Fetched { what, bytes }))
}

/// Reads and parses a target that is data. `None` for a live target.
///
/// # Errors
/// As [`fetch`] and [`Fetched::decode`].
pub fn load(target: &TargetName) -> anyhow::Result<Option<Loaded>> {
    fetch(target)?.map(|fetched| fetched.decode()).transpose()
}

fn read_bounded(reader: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    anyhow::ensure!(bytes.len() as u64 <= MAX_BYTES, "larger than {} MiB", MAX_BYTES >> 20);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> anyhow::Result<Loaded> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match recognise(bytes)? {
        FileKind::Snapshot => {
            let snapshot = Snapshot::from_json(plim_model::json::parse(bytes)?).context("snapshot")?;
            Ok(Loaded::Snapshot(Box::new(snapshot)))
        }
        FileKind::Profile => Ok(Loaded::Profile(Box::new(dialect::parse(bytes).context("seccomp profile")?))),
        FileKind::Bpf => Ok(Loaded::Filter(Program::from_bytes(bytes).context("BPF program")?)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn load_bytes(bytes: &[u8]) -> anyhow::Result<Loaded> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(bytes)?;
        Ok(load(&TargetName::File(file.path().to_owned()))?.expect("a file is data"))
    }

    #[test]
    fn loads_by_content() {
        let allow = [6, 0, 0, 0, 0, 0, 0xff, 0x7f];
        assert!(matches!(load_bytes(&allow).expect("BPF"), Loaded::Filter(_)));
        let profile = br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
        assert!(matches!(load_bytes(profile).expect("profile"), Loaded::Profile(_)));
        let preset = load(&TargetName::Preset("docker-default".to_owned())).expect("shipped");
        assert!(matches!(preset, Some(Loaded::Profile(_))));
        assert!(load(&TargetName::SelfProcess).expect("live").is_none());
    }

    #[test]
    fn errors_name_the_file_and_the_place() {
        for (bytes, expected) in [
            (&br#"{"defaultAction":"SCMP_ACT_ALOW"}"#[..], "SCMP_ACT_ALLOW"),
            (br#"{"format":"1.0","target":{}}"#, "snapshot: at /target: missing field `engine`"),
            (br#"{"format":"9.0","target":{}}"#, "snapshot format \"9.0\" is not supported"),
            (&[0xff; 8], "BPF program: "),
            (b"", "file is empty"),
        ] {
            let error = format!("{:#}", load_bytes(bytes).expect_err("refused"));
            assert!(error.starts_with("read /") && error.contains(expected), "{error}");
        }
        let missing = format!("{:#}", load(&TargetName::File("/no/such.json".into())).expect_err("missing"));
        assert!(missing.starts_with("read /no/such.json: No such file"), "{missing}");
        let preset =
            load(&TargetName::Preset("docker-defalut".to_owned())).expect_err("misspelt").to_string();
        assert!(preset.contains("did you mean \"docker-default\"?"), "{preset}");
    }
}

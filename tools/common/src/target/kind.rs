//! What a file is, told from its content and never from its name.

use serde::de::{IgnoredAny, MapAccess, Visitor};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A saved snapshot (`plim inspect --format json`).
    Snapshot,
    /// A seccomp profile in Docker's, OCI's or Podman's dialect, or an OCI config.json that holds one.
    Profile,
    /// Classic BPF: `struct sock_filter` after `struct sock_filter`, little-endian.
    Bpf,
}

/// Why a file is none of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// No content.
    #[error("file is empty, expected a snapshot, a seccomp profile, an OCI config.json or raw BPF")]
    Empty,
    /// Looks like JSON and is not.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object.
    #[error("found {0}, expected an object: a snapshot, a seccomp profile or an OCI config.json")]
    NotAnObject(&'static str),
    /// A known kind that this tool cannot take yet.
    #[error("{0} is not supported by this tool yet")]
    NotSupported(&'static str),
    /// Any other JSON object.
    #[error(
        "JSON object with the keys {keys}, expected a snapshot (format, target), a seccomp profile (defaultAction) or an OCI config.json (ociVersion)"
    )]
    UnknownObject {
        /// The first keys at the top, quoted.
        keys: String,
    },
    /// Any other text.
    #[error("text that is neither JSON nor a known kind of YAML")]
    UnknownText,
    /// Binary of the wrong size.
    #[error("binary of {0} bytes, which is not a multiple of 8: a truncated dump, or no BPF program")]
    OddSize(usize),
}

/// Tells the kind of a file from its content.
///
/// # Errors
/// What it looks like instead; Compose files and Kubernetes manifests by their names.
pub fn recognise(bytes: &[u8]) -> Result<FileKind, KindError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    let Some(text) = text else {
        return if bytes.len().is_multiple_of(8) {
            Ok(FileKind::Bpf)
        } else {
            Err(KindError::OddSize(bytes.len()))
        };
    };
    match text.trim_start().chars().next() {
        None => Err(KindError::Empty),
        Some('{') => by_keys(&top_level_keys(text)?),
        Some('[') => Err(KindError::NotAnObject("an array (the output of `docker inspect`?)")),
        Some(_) => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => Err(KindError::NotAnObject("a single JSON value")),
            Err(_) => by_lines(text),
        },
    }
}

fn by_keys(keys: &[String]) -> Result<FileKind, KindError> {
    let has = |key: &str| keys.iter().any(|found| found == key);
    if has("format") && (has("target") || has("namespaces")) {
        return Ok(FileKind::Snapshot);
    }
    if has("format") && has("changes") {
        return Err(KindError::NotSupported("a diff"));
    }
    if has("apiVersion") && has("kind") {
        return Err(KindError::NotSupported("a Kubernetes manifest"));
    }
    if has("services") {
        return Err(KindError::NotSupported("a Compose file"));
    }
    if ["defaultAction", "syscalls", "archMap", "architectures", "ociVersion", "linux"]
        .iter()
        .any(|key| has(key))
    {
        return Ok(FileKind::Profile);
    }
    let shown: Vec<String> = keys.iter().take(5).map(|key| format!("{key:?}")).collect();
    Err(KindError::UnknownObject {
        keys: if shown.is_empty() { "(none)".to_owned() } else { shown.join(", ") },
    })
}

/// YAML is told by its lines; it is not read further at this stage.
fn by_lines(text: &str) -> Result<FileKind, KindError> {
    let starts = |key: &str| text.lines().any(|line| line.starts_with(key));
    if starts("apiVersion:") && starts("kind:") {
        Err(KindError::NotSupported("a Kubernetes manifest"))
    } else if starts("services:") {
        Err(KindError::NotSupported("a Compose file"))
    } else {
        Err(KindError::UnknownText)
    }
}

/// The keys at the top of a JSON object, without building its values.
fn top_level_keys(text: &str) -> Result<Vec<String>, KindError> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Vec<String>, M::Error> {
            let mut keys = Vec::new();
            while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                keys.push(key);
            }
            Ok(keys)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let keys = serde::Deserializer::deserialize_map(&mut reader, Keys)
        .and_then(|keys| reader.end().map(|()| keys))
        .map_err(|error| KindError::NotJson(error.to_string()))?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_by_content() {
        for (text, expected) in [
            (r#"{"format":"1.0","target":{}}"#, FileKind::Snapshot),
            (r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[]}"#, FileKind::Profile),
            ("\u{feff} \n{\"syscalls\":[]}", FileKind::Profile),
            (r#"{"ociVersion":"1.0.2","process":{}}"#, FileKind::Profile),
        ] {
            assert_eq!(recognise(text.as_bytes()), Ok(expected), "{text}");
        }
        assert_eq!(recognise(&[6, 0, 0, 0, 0, 0, 0xff, 0x7f]), Ok(FileKind::Bpf));
    }

    #[test]
    fn refuses_the_rest_by_name() {
        for (bytes, expected) in [
            (&b""[..], "file is empty"),
            (b" \n", "file is empty"),
            (b"{\"defaultAction\": ", "not JSON: EOF while parsing a value at line 1 column"),
            (b"{} x", "not JSON: trailing characters at line 1 column 4"),
            (b"[{}]", "found an array"),
            (b"17", "found a single JSON value"),
            (b"{}", "JSON object with the keys (none)"),
            (b"{\"a\":1,\"b\":2}", "JSON object with the keys \"a\", \"b\""),
            (b"{\"format\":\"1.0\",\"same\":true,\"changes\":[]}", "a diff is not supported"),
            (
                b"{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}",
                "a Kubernetes manifest is not supported by this tool yet",
            ),
            (b"# x\napiVersion: v1\nkind: Pod\n", "a Kubernetes manifest is not supported by this tool yet"),
            (b"services:\n  web:\n", "a Compose file is not supported by this tool yet"),
            (b"hello\n", "text that is neither JSON"),
            (b"\x00\x01\x02", "binary of 3 bytes"),
        ] {
            let error = recognise(bytes).expect_err("refused").to_string();
            assert!(error.contains(expected), "{bytes:?}: {error}");
        }
    }
}

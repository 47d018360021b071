//! `-v` and `--mount`.

use crate::options::Engine;
use crate::shell::Word;
use crate::values::boolean;

/// What a container gets beside its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `bind` (of the host), `volume`, `tmpfs` or another kind of the engine's.
    pub kind: String,
    /// The host's path of a bind, else the volume's name; an unknown directory as it is written (`$PWD/data`).
    pub source: String,
    /// Where.
    pub target: String,
    /// Cannot be written.
    pub read_only: bool,
    /// `private`, `rslave`, `rshared`, ….
    pub propagation: String,
}

/// A mount, or `None` where the text leaves it to a variable what is mounted.
pub type Known = Option<Mount>;

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "rshared", "rslave", "shared", "slave"];
const VOLUME_OPTIONS: [&str; 10] =
    ["cached", "consistent", "default", "delegated", "nocopy", "ro", "rw", "z", "Z", "volume-nocopy"];
/// Podman's (podman-run(1), `--volume`), beside Docker's.
const PODMAN_OPTIONS: [&str; 20] = [
    "U",
    "O",
    "copy",
    "bind",
    "rbind",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "noatime",
    "idmap",
    "nodup",
    "norbind",
    "no-dereference",
    "async",
    "sync",
    "rro",
    "relatime",
];

/// `[SOURCE:]TARGET[:OPTIONS]` of `-v`: a source that is a path is a bind, any other names a volume.
///
/// # Errors
/// What is expected.
pub fn volume(word: &Word, engine: Engine) -> Result<Known, &'static str> {
    const EXPECTED: &str = "[SOURCE:]TARGET[:OPTIONS], with an absolute TARGET";
    let mut parts = word.split(':');
    if parts.len() > 3 || parts.iter().any(|part| part.parts().is_empty()) {
        return Err(EXPECTED);
    }
    let last = parts.last().cloned().unwrap_or_default();
    let mut options = None;
    if parts.len() == 3 || (parts.len() == 2 && !is_path(&last) && last.known().is_some()) {
        options = parts.pop();
    }
    let options = match options.as_ref().map(Word::known) {
        None => "",
        Some(Some(known)) => known,
        // It may be `rshared`.
        Some(None) => return Ok(None),
    };
    let options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
    let podman = engine != Engine::Docker;
    for option in &options {
        let name = option.split('=').next().unwrap_or_default();
        let known = PROPAGATIONS.contains(option)
            || VOLUME_OPTIONS.contains(option)
            || podman && (PODMAN_OPTIONS.contains(&name) || name == "upperdir" || name == "workdir");
        if !known {
            return Err("[SOURCE:]TARGET[:OPTIONS], with options such as ro, z, rslave");
        }
    }
    let (source, target) = match parts.as_slice() {
        [target] => (Word::default(), target),
        [source, target] => (source.clone(), target),
        _ => return Err(EXPECTED),
    };
    if target.known().is_some_and(|target| !target.starts_with('/') || target.trim_matches('/').is_empty()) {
        return Err(EXPECTED);
    }
    if !source.is_directory_path() {
        return Ok(None);
    }
    let bind = is_path(&source);
    if !bind && !source.parts().is_empty() && !is_name(&source.source()) {
        return Err("a path or the name of a volume ([a-zA-Z0-9][a-zA-Z0-9_.-]*) as SOURCE");
    }
    Ok(Some(Mount {
        kind: if bind { "bind" } else { "volume" }.to_owned(),
        source: source.source(),
        target: target.source(),
        read_only: options.contains(&"ro") || options.contains(&"rro"),
        propagation: propagation(options.iter().copied()),
    }))
}

fn propagation<'o>(mut options: impl Iterator<Item = &'o str>) -> String {
    options.find(|option| PROPAGATIONS.contains(option)).unwrap_or("private").to_owned()
}

/// Absolute, or relative to a directory that the shell knows.
fn is_path(word: &Word) -> bool {
    word.prefix().starts_with(['/', '.']) || (word.prefix().is_empty() && word.unknown().is_some())
}

fn is_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Keys of `--mount` that decide nothing that is judged (docker/cli `opts/mount.go`, podman-run(1)).
const OTHER_KEYS: [&str; 24] = [
    "bind-create-src",
    "bind-nonrecursive",
    "bind-recursive",
    "consistency",
    "image-subpath",
    "tmpfs-mode",
    "tmpfs-options",
    "tmpfs-size",
    "volume-driver",
    "volume-label",
    "volume-nocopy",
    "volume-subpath",
    "z",
    "Z",
    "relabel",
    "u",
    "chown",
    "idmap",
    "subpath",
    "tmpcopyup",
    "notmpcopyup",
    "no-dereference",
    "nodup",
    "options",
];
/// Flags of the mount itself that Podman takes as keys.
const MOUNT_FLAGS: [&str; 10] =
    ["exec", "noexec", "dev", "nodev", "suid", "nosuid", "uid", "gid", "mode", "size"];

/// The `KEY=VALUE` pieces of `--mount`; keys are of any case.
///
/// # Errors
/// What is expected.
pub fn mount(pieces: &[Word], engine: Engine) -> Result<Known, String> {
    let mut mount = Mount {
        kind: "volume".to_owned(),
        source: String::new(),
        target: String::new(),
        read_only: false,
        propagation: "private".to_owned(),
    };
    let mut known = true;
    // A volume of the local driver is what its options say (mount(8)'s).
    let (mut option, mut device) = (String::new(), None);
    for piece in pieces {
        let (key, value) = match piece.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (piece.clone(), None),
        };
        let Some(name) = key.known().map(str::to_ascii_lowercase) else {
            known = false;
            continue;
        };
        let text = value.as_ref().map(Word::source).unwrap_or_default();
        let certain = value.as_ref().is_none_or(|value| value.known().is_some());
        match name.as_str() {
            "type" => {
                known &= certain;
                mount.kind = text.to_ascii_lowercase();
            }
            "source" | "src" => {
                known &= value.as_ref().is_some_and(Word::is_directory_path);
                mount.source = text;
            }
            "target" | "dst" | "destination" => mount.target = text,
            "readonly" | "ro" | "rro" | "rw" => {
                let said = match &value {
                    None => Some(true),
                    // Read-only or not: the less strict.
                    Some(value) if value.known().is_none() => Some(name == "rw"),
                    Some(_) => boolean(&text),
                };
                let said = said.ok_or_else(|| format!("{name}: true or false"))?;
                mount.read_only = said != (name == "rw");
            }
            "bind-propagation" => {
                known &= certain;
                mount.propagation = text;
            }
            "volume-opt" => match text.split_once('=') {
                Some(("o", options)) => {
                    known &= certain;
                    option = options.to_owned();
                }
                Some(("device", path)) => {
                    known &= certain;
                    device = Some(path.to_owned());
                }
                Some(("type", _)) => {}
                _ => known &= certain,
            },
            other if OTHER_KEYS.contains(&other) => {}
            other
                if engine != Engine::Docker
                    && (MOUNT_FLAGS.contains(&other) || PROPAGATIONS.contains(&other)) =>
            {
                if PROPAGATIONS.contains(&other) {
                    mount.propagation = other.to_owned();
                }
            }
            other => {
                return Err(format!(
                    "a key of --mount instead of {other:?}, such as type, source, target, readonly"
                ));
            }
        }
    }
    if option.split(',').any(|word| word == "bind" || word == "rbind")
        && let Some(device) = device
    {
        mount.kind = "bind".to_owned();
        mount.source = device;
    }
    let kinds: &[&str] = match engine {
        Engine::Docker => &["bind", "volume", "tmpfs", "npipe", "cluster", "image"],
        _ => &["bind", "volume", "tmpfs", "npipe", "cluster", "image", "artifact", "devpts", "glob", "ramfs"],
    };
    if !known || mount.kind == "glob" {
        return Ok(None);
    }
    if !kinds.contains(&mount.kind.as_str()) {
        return Err(format!("type={}", kinds.join("|")));
    }
    if mount.target.is_empty() || (mount.kind == "bind" && mount.source.is_empty()) {
        return Err("a target, and a source for type=bind".to_owned());
    }
    Ok(Some(mount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Option<(String, String, bool)> {
        let mount = volume(&Word::of(text, 1), Engine::Docker).ok()??;
        Some((mount.kind, mount.source, mount.read_only))
    }

    #[test]
    fn volumes() {
        let expected = |kind: &str, source: &str, ro| Some((kind.to_owned(), source.to_owned(), ro));
        assert_eq!(bind("/a:/b"), expected("bind", "/a", false));
        assert_eq!(bind("/a:/b:ro,z"), expected("bind", "/a", true));
        assert_eq!(bind("./a:/b"), expected("bind", "./a", false));
        assert_eq!(bind("data:/b"), expected("volume", "data", false));
        assert_eq!(bind("/b"), expected("volume", "", false));
        assert_eq!(bind("/b:ro"), expected("volume", "", true));
        for bad in ["", ":", "b", "/a:b", "/a:/", "/a:/b:xx", "/a:/b:ro:z", "-x:/b", "/a:/b:", ":/b"] {
            assert!(volume(&Word::of(bad, 1), Engine::Docker).is_err(), "{bad}");
        }
        // Podman has more options.
        assert!(volume(&Word::of("/a:/b:U", 1), Engine::Docker).is_err());
        assert!(volume(&Word::of("/a:/b:U", 1), Engine::Podman).is_ok());
    }

    #[test]
    fn mounts() {
        let read = |text: &str| {
            let pieces: Vec<Word> =
                crate::values::csv(text)?.iter().map(|piece| Word::of(piece, 1)).collect();
            mount(&pieces, Engine::Docker)
        };
        let certain = |text: &str| read(text).unwrap().unwrap();
        assert_eq!(certain("type=bind,src=/,dst=/host").source, "/");
        assert_eq!(certain("TYPE=BIND,Source=/a,Target=/b,RO").kind, "bind");
        assert!(certain("type=bind,src=/a,dst=/b,readonly").read_only);
        assert!(!certain("type=bind,src=/a,dst=/b,ro=0").read_only);
        let local = certain(
            "type=volume,dst=/x,volume-driver=local,volume-opt=type=none,\"volume-opt=o=bind,ro\",volume-opt=device=/",
        );
        assert_eq!((local.kind.as_str(), local.source.as_str()), ("bind", "/"));
        for bad in [
            "type=bind,dst=/b",
            "type=bind,src=/a",
            "type=bnd,src=/a,dst=/b",
            "sorce=/a,dst=/b",
            "type=bind,src=/a,dst=/b,ro=maybe",
            "\"x",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

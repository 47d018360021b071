//! [`ContainerConfig`] to and from an OCI runtime-spec `config.json`.
//!
//! Both ways are total over what the runtime can do: [`to_spec`] leaves nothing out, and [`from_bundle`] either honours a
//! property, refuses it by its JSON pointer, or (for keys that the specification does not know) returns a
//! [`Warning`]. Nothing is dropped silently: a `config.json` is a statement about confinement.
//!
//! What the specification has no word for is kept in [`annotations`]. A root file system with a throw-away upper layer
//! is stated as its lower layer, **read-only**, with an empty tmpfs on each private directory, plus annotations that
//! say that it is an overlay. So another runtime runs the document with less access to these, never with more. One thing
//! it cannot know: the files of the lower layer that not everyone may read, which this runtime does not let the container read.

mod cursor;
mod read;
mod resources;
mod seccomp;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plim_model::NamespaceKind;
use plim_seccomp::arch::Arch;
use plim_seccomp::resolve::KernelVersion;
use serde_json::Value;

pub use cursor::{FieldError, Warning};
pub use read::from_spec;
pub use write::{OCI_VERSION, to_spec};

use crate::config::{ContainerConfig, NamespaceMode, ThrottleKind};

/// Annotation keys for what the specification has no word for. Other annotations are kept out of the config: they
/// are for other programs, and the specification has a runtime ignore them.
pub mod annotations {
    /// The container's id.
    pub const ID: &str = "io.plimsoll.id";
    /// The container's name.
    pub const NAME: &str = "io.plimsoll.name";
    /// Where the root file system comes from, in words.
    pub const IMAGE: &str = "io.plimsoll.image";
    /// `true`: an init at pid 1, the command is its child.
    pub const INIT: &str = "io.plimsoll.init";
    /// `true`: `--privileged` was asked. It grants nothing; what it granted is in the document.
    pub const PRIVILEGED: &str = "io.plimsoll.privileged";
    /// `true` or `false`: bring the loopback interface up. Without it: in a new network namespace, as runc does.
    pub const LOOPBACK: &str = "io.plimsoll.loopback";
    /// `overlay`: `root.path` is the lower layer of an overlay with a throw-away upper layer on tmpfs.
    pub const ROOTFS: &str = "io.plimsoll.rootfs";
    /// A JSON list of the directories that start empty. The first mounts of the document are theirs.
    pub const ROOTFS_PRIVATE: &str = "io.plimsoll.rootfs.private";
    /// Size of the upper layer in bytes.
    pub const ROOTFS_UPPER_SIZE: &str = "io.plimsoll.rootfs.upper-size-bytes";
    /// Why the container has no AppArmor profile on a machine where AppArmor is active. For readers: it changes nothing.
    pub const APPARMOR: &str = "io.plimsoll.apparmor";
    /// Why the container has no SELinux label on a machine where SELinux is active. For readers: it changes nothing.
    pub const SELINUX: &str = "io.plimsoll.selinux";
    /// `true`: the overlay is read-only too, upper layer included.
    pub const ROOTFS_READ_ONLY: &str = "io.plimsoll.rootfs.read-only";
}

/// The specification's number for "no limit" (RLIM_INFINITY).
const RLIM_INFINITY: u64 = u64::MAX;

/// A `config.json` larger than this is refused unread: Docker's own, default seccomp profile included, has 60 KB.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Throttle lists of `linux.resources.blockIO`.
const THROTTLE_KEYS: [(&str, ThrottleKind); 4] = [
    ("throttleReadBpsDevice", ThrottleKind::ReadBytes),
    ("throttleWriteBpsDevice", ThrottleKind::WriteBytes),
    ("throttleReadIOPSDevice", ThrottleKind::ReadOperations),
    ("throttleWriteIOPSDevice", ThrottleKind::WriteOperations),
];

/// Facts about the machine that a document is read for.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The native architecture, for the seccomp profile.
    pub arch: Arch,
    /// The kernel's release.
    pub kernel: KernelVersion,
    /// What relative paths are relative to: the bundle's directory, absolute.
    pub bundle: PathBuf,
}

/// A bundle, read.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The container. `id` and `name` are empty unless annotations give them: the specification leaves the id to
    /// the command line.
    pub config: ContainerConfig,
    /// What in the document has no effect.
    pub warnings: Vec<Warning>,
}

/// Why a bundle cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// `config.json` is far larger than any real one.
    #[error("{path} has {size} bytes; more than {MAX_CONFIG_BYTES} are not read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// `config.json` is not JSON.
    #[error("{path} is not JSON")]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Line and column.
        source: serde_json::Error,
    },
    /// `config.json` says something that is wrong or cannot be honoured.
    #[error("{path}")]
    Field {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: FieldError,
    },
}

/// Reads `DIR/config.json`.
///
/// Paths in the result are absolute; nothing beside `config.json` is opened.
///
/// # Errors
/// The file cannot be read, is not JSON, or has a property that is wrong or cannot be honoured.
pub fn from_bundle(dir: &Path, arch: Arch, kernel: KernelVersion) -> Result<Bundle, BundleError> {
    let bundle = dir.canonicalize().map_err(|source| BundleError::Read { path: dir.to_owned(), source })?;
    let path = bundle.join("config.json");
    let read_error = |source| BundleError::Read { path: path.clone(), source };
    let size = std::fs::metadata(&path).map_err(read_error)?.len();
    if size > MAX_CONFIG_BYTES {
        return Err(BundleError::TooLarge { path, size });
    }
    let text = std::fs::read(&path).map_err(read_error)?;
    let spec: Value = serde_json::from_slice(&text)
        .map_err(|source| BundleError::NotJson { path: path.clone(), source })?;
    from_spec(&spec, &Facts { arch, kernel, bundle }).map_err(|source| BundleError::Field { path, source })
}

/// runc brings the loopback interface of a network namespace that it makes up, and leaves a joined one alone.
fn default_loopback(namespaces: &BTreeMap<NamespaceKind, NamespaceMode>) -> bool {
    namespaces.get(&NamespaceKind::Net) == Some(&NamespaceMode::New)
}

/// The specification's own words for the kinds; two differ from `/proc/PID/ns`.
fn namespace_name(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Mnt => "mount",
        NamespaceKind::Net => "network",
        other => other.as_str(),
    }
}

/// How a private directory looks to a runtime that does not know the annotation.
fn private_options(path: &str) -> [&'static str; 3] {
    match path {
        "/tmp" | "/var/tmp" => ["nosuid", "nodev", "mode=1777"],
        "/root" => ["nosuid", "nodev", "mode=700"],
        _ => ["nosuid", "nodev", "mode=755"],
    }
}

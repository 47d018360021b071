//! What can go wrong with a container's cgroups, as sentences for the person who asked for the limit.

use std::path::PathBuf;

use nix::errno::Errno;

/// A refusal. `limit` is the name of the option in words (`memory limit`, `cpu quota`).
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel's text could not be read.
    #[error("read {file}")]
    Parse {
        /// `/proc/self/mountinfo` or `/proc/self/cgroup`.
        file: &'static str,
        /// Where and what.
        source: plim_model::parse::ParseError,
    },
    /// A value that no kernel takes, or that contradicts another.
    #[error("{limit}: found {found}, expected {expected}")]
    Invalid {
        /// Which limit.
        limit: &'static str,
        /// As it was asked.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// The controller that would enforce the limit is not there.
    #[error("{limit} cannot be enforced: {why}; looked for {looked_for}")]
    NoController {
        /// Which limit.
        limit: &'static str,
        /// What is missing, naming the controller.
        why: String,
        /// File that would take the limit.
        looked_for: String,
    },
    /// The file that would take the limit is not there although its controller is.
    #[error(
        "{limit} cannot be enforced: this kernel's {controller} controller has no file {looked_for}{hint}"
    )]
    NoFile {
        /// Which limit.
        limit: &'static str,
        /// `memory`, `blkio`, ….
        controller: String,
        /// The file, or the alternatives.
        looked_for: String,
        /// What would bring it, with a leading `; `, or empty.
        hint: &'static str,
    },
    /// No cgroup may be made by this user, but limits were asked.
    #[error("limits were asked ({limits}), but no cgroup is writable for this user: {why}")]
    NotDelegated {
        /// Names of the limits.
        limits: String,
        /// What to delegate, and how.
        why: String,
    },
    /// Device rules that v1's files cannot say.
    #[error("device rule {rule} cannot be enforced on cgroup v1: {why}")]
    DeviceRule {
        /// As the kernel would be told.
        rule: String,
        /// Which earlier rule it cuts into.
        why: String,
    },
    /// The cgroup is there already.
    #[error("cgroup {0} exists already: is a container of this id running")]
    Exists(PathBuf),
    /// The path leads out of the tree or is empty.
    #[error("cgroup path {found:?}: {why}")]
    BadPath {
        /// As it was asked.
        found: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Controllers could not be enabled on v2.
    #[error("enable {controllers} for the children of {dir}: {errno}{hint}")]
    Enable {
        /// As written (`+cpu +memory`).
        controllers: String,
        /// The cgroup.
        dir: PathBuf,
        /// Why the kernel refused.
        errno: Errno,
        /// What to do about it, with a leading `; `, or empty.
        hint: String,
    },
    /// A file took no value.
    #[error("{limit}: write {value:?} to {file}: {errno}{hint}")]
    Write {
        /// Which limit.
        limit: &'static str,
        /// As written.
        value: String,
        /// The file.
        file: PathBuf,
        /// Why the kernel refused.
        errno: Errno,
        /// What it means here, with a leading `; `, or empty.
        hint: &'static str,
    },
    /// Any other call.
    #[error("{what} {path}: {errno}")]
    Os {
        /// The operation (`open`, `mkdir`, `rmdir`).
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// bpf(2) refused the device program.
    #[error("device rules: {what} on {dir}: {errno}{hint}")]
    Bpf {
        /// `load the device program`, `attach it`.
        what: &'static str,
        /// The cgroup.
        dir: PathBuf,
        /// Why not.
        errno: Errno,
        /// The missing capability when that is the reason, with a leading `; `, or empty.
        hint: &'static str,
    },
    /// Processes outlived every attempt within the time allowed.
    #[error("{what} {path}: still {left} after {waited_ms} ms")]
    Busy {
        /// The operation (`kill all processes of`, `freeze`, `rmdir`).
        what: &'static str,
        /// The cgroup.
        path: PathBuf,
        /// What is left, in words.
        left: String,
        /// Time spent in milliseconds.
        waited_ms: u128,
    },
}

impl CgroupError {
    /// An [`CgroupError::Os`].
    pub(super) fn os(what: &'static str, path: impl Into<PathBuf>, errno: Errno) -> CgroupError {
        CgroupError::Os { what, path: path.into(), errno }
    }

    /// An [`CgroupError::Invalid`].
    pub(super) fn invalid(
        limit: &'static str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> CgroupError {
        CgroupError::Invalid { limit, found: found.to_string(), expected: expected.into() }
    }
}

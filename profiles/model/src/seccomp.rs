//! What the kernel says of a target's seccomp state (proc_pid_status(5), seccomp(2)).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Observed;

/// The `Seccomp:` field of `/proc/PID/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeccompMode {
    /// 0, `SECCOMP_MODE_DISABLED`: every system call is reachable.
    Disabled,
    /// 1, `SECCOMP_MODE_STRICT`: read, write, _exit and sigreturn only.
    Strict,
    /// 2, `SECCOMP_MODE_FILTER`: one or more filters decide.
    Filter,
    /// A number that this version does not know.
    #[serde(untagged)]
    Other(u32),
}

/// One installed filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeccompFilter {
    /// Length in BPF instructions (1 to 4096).
    pub length: u32,
    /// SHA-256 over the little-endian `struct sock_filter` bytes, lower-case hex.
    pub sha256: String,
    /// `SECCOMP_FILTER_FLAG_LOG` was set (PTRACE_SECCOMP_GET_METADATA); other flags are not readable.
    pub log: Observed<bool>,
    /// What the filter does, summarised per architecture; empty where it could not be decided.
    #[serde(default)]
    pub summary: Vec<SeccompArchSummary>,
}

/// How one filter treats the system calls of one architecture.
///
/// Each count is a number of system calls of that architecture's table, judged over all arguments, so
/// `allowed + refused + conditional` is the size of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeccompArchSummary {
    /// `SCMP_ARCH_X86_64`, `SCMP_ARCH_X86`, …
    pub arch: String,
    /// Calls allowed whatever their arguments.
    pub allowed: u32,
    /// Calls refused whatever their arguments.
    pub refused: u32,
    /// Calls whose verdict depends on an argument.
    pub conditional: u32,
}

/// The seccomp state of a target's first process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seccomp {
    /// The mode.
    pub mode: Observed<SeccompMode>,
    /// `Seccomp_filters:` of `/proc/PID/status` (Linux 5.9), the cross-check of `filters`.
    pub filter_count: Observed<u32>,
    /// The installed filters, oldest first.
    pub filters: Observed<Vec<SeccompFilter>>,
}

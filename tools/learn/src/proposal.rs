//! The least privilege that was seen to be needed, each entry with the evidence for it: what `plim learn propose` writes and
//! `verify` and `shrink` try out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::recording::Workload;

/// Version of the document.
pub const FORMAT: &str = "1.0";

/// Why an entry is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The workload was seen to use it.
    Used,
    /// A container runtime needs it between installing the filter and executing the command.
    Runtime,
    /// libc takes an older call after ENOSYS and only then.
    Fallback,
    /// Not seen, but usual: signals, errors, the end of a process. Offered, and not part of the proposal unless it is asked for.
    Usual,
}

/// What happens to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is made.
    Allow,
    /// It is refused with ENOSYS, as on a kernel that does not have it.
    Enosys,
}

/// A condition on one argument, as OCI writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Number of the argument.
    pub index: u8,
    /// The bits that are compared.
    pub value: u64,
    /// What they must be.
    pub value_two: u64,
    /// `SCMP_CMP_MASKED_EQ`: of an argument that the kernel reads as 32 bits, the others do not count.
    pub op: String,
}

/// One rule about a system call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The call.
    pub syscall: String,
    /// What happens.
    pub verdict: Verdict,
    /// All of these hold; empty for every call of that name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub args: Vec<Condition>,
    /// The conditions in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub when: Option<String>,
    /// Why it is there.
    pub source: Source,
    /// What was seen.
    pub evidence: String,
}

impl Entry {
    /// A name for the entry that is the same in every run: `socket family == AF_INET`.
    pub fn id(&self) -> String {
        match &self.when {
            Some(when) => format!("{} {when}", self.syscall),
            None => self.syscall.clone(),
        }
    }
}

/// Something that is given or taken away, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reasoned {
    /// A capability, path, device or port.
    pub name: String,
    /// What was seen.
    pub evidence: String,
}

/// The proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// `1.0`
    pub format: String,
    /// How it is tried out; `null` when the recordings do not say.
    pub workload: Option<Workload>,
    /// Architectures whose calls were seen (`SCMP_ARCH_X86_64`, …).
    pub architectures: Vec<String>,
    /// Rules of the filter; any other call is refused with EPERM.
    pub calls: Vec<Entry>,
    /// Calls that were not seen and are usual. See [`Source::Usual`].
    pub usual: Vec<Entry>,
    /// Capabilities to keep; every other one is dropped.
    pub capabilities: Vec<Reasoned>,
    /// Capabilities that the container had and did not use.
    pub dropped: Vec<Reasoned>,
    /// No program has to give more than its caller had.
    pub no_new_privileges: bool,
    /// Programs that gave more, which stand against it.
    pub privileged_programs: Vec<String>,
    /// The root file system may be read-only, with the tmpfs below.
    pub read_only: bool,
    /// Directories where files were made.
    pub tmpfs: Vec<Reasoned>,
    /// Files that no tmpfs can stand in for: they want a volume, or a root that can be written to.
    pub written: Vec<Reasoned>,
    /// Devices beyond those of every container, `PATH:ACCESS`.
    pub devices: Vec<Reasoned>,
    /// Ports that were listened on, `tcp/80`.
    pub ports: Vec<Reasoned>,
    /// Calls that were refused while recording as well, and what they came back with.
    pub refused: Vec<Reasoned>,
    /// What the proposal does not cover.
    pub limits: Vec<String>,
}

/// The JSON Schema of a proposal.
pub fn schema() -> Value {
    schemars::schema_for!(Proposal).to_value()
}

impl Proposal {
    /// Reads a proposal.
    ///
    /// # Errors
    /// It is none, or of another major version.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Proposal> {
        let proposal: Proposal = serde_json::from_slice(bytes)?;
        let major = |format: &str| format.split('.').next().map(str::to_owned);
        anyhow::ensure!(
            major(&proposal.format) == major(FORMAT),
            "format {:?}: expected {FORMAT}",
            proposal.format
        );
        Ok(proposal)
    }

    /// The profile in the form that Docker, Podman, containerd and CRI-O read, which is OCI's `linux.seccomp` as well. Comments are
    /// left out of `oci`.
    pub fn profile(&self, comments: bool) -> Value {
        let mut rules = Vec::new();
        let mut push = |names: Vec<&str>, entry: &Entry, comment: &str| {
            let mut rule = json!({"names": names});
            if entry.verdict == Verdict::Enosys {
                rule["action"] = "SCMP_ACT_ERRNO".into();
                rule["errnoRet"] = 38.into();
            } else {
                rule["action"] = "SCMP_ACT_ALLOW".into();
            }
            if !entry.args.is_empty() {
                rule["args"] = json!(entry.args);
            }
            if comments {
                rule["comment"] = comment.into();
            }
            rules.push(rule);
        };
        for (verdict, source, why) in [
            (Verdict::Allow, Source::Used, "used by the workload"),
            (Verdict::Allow, Source::Runtime, "used by the container runtime before it executes the command"),
            (Verdict::Allow, Source::Usual, "not seen, but usual"),
            (Verdict::Allow, Source::Fallback, "what libc falls back to"),
            (Verdict::Enosys, Source::Fallback, "libc falls back to an older call after ENOSYS only"),
        ] {
            let of: Vec<&Entry> = self
                .calls
                .iter()
                .filter(|entry| entry.verdict == verdict && entry.source == source)
                .collect();
            let plain: Vec<&str> =
                of.iter().filter(|entry| entry.args.is_empty()).map(|entry| entry.syscall.as_str()).collect();
            if let Some(first) = of.iter().find(|entry| entry.args.is_empty()) {
                push(plain, first, why);
            }
            for entry in of.iter().filter(|entry| !entry.args.is_empty()) {
                push(vec![&entry.syscall], entry, entry.when.as_deref().unwrap_or(why));
            }
        }
        json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "architectures": self.architectures,
            "syscalls": rules
        })
    }
}

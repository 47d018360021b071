//! One refused call as it is published.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cause::{Cause, Kind};

/// One refused call. A line of `--format jsonl`; `--format json` has a list of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Denial {
    /// Nanoseconds since boot; only with `--times`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub boot_ns: Option<u64>,
    /// The engine's name for the container, or its id.
    pub container: String,
    /// The engine: `docker`, `plim`, `pid`, …
    pub engine: String,
    /// The process, as the host numbers it.
    pub pid: i32,
    /// The thread.
    pub tid: i32,
    /// `comm`, escaped: the process' own word for itself.
    pub comm: String,
    /// `x86_64`, `i386` or `x32`.
    pub arch: String,
    /// The call's name; `null` for a number without one.
    pub syscall: Option<String>,
    /// Its number, bit 30 of x32 included.
    pub number: u32,
    /// Six arguments, each a hexadecimal string.
    pub args: Vec<String>,
    /// The arguments by name, in words; strings as they were at the exit.
    pub decoded: Map<String, Value>,
    /// What it came back with (`EPERM`); `null` when a filter killed the task, or sent SIGSYS.
    pub errno: Option<String>,
    /// Who refused, and why.
    pub cause: Cause,
    /// The smallest change that would allow it, in the words of each engine.
    pub remedy: Map<String, Value>,
    /// The call as a person writes it.
    #[serde(skip)]
    pub call: String,
}

/// The JSON Schema of one denial.
pub fn schema() -> Value {
    schemars::schema_for!(Denial).to_value()
}

/// The smallest change, where there is one to name.
pub fn remedy(cause: &Cause, rule: Option<(Value, Option<String>)>) -> Map<String, Value> {
    let mut remedy = Map::new();
    let mut put = |key: &str, value: Value| {
        remedy.insert(key.to_owned(), value);
    };
    match (cause.kind, rule) {
        (Kind::Seccomp, Some((rule, condition))) => {
            let names = rule["names"][0].as_str().unwrap_or_default().to_owned();
            put(
                "summary",
                Value::from(match condition {
                    Some(condition) => format!("allow {names} with {condition} in the seccomp profile"),
                    None => format!("allow {names} in the seccomp profile"),
                }),
            );
            put("rule", rule);
            put("docker", Value::from("--security-opt seccomp=FILE with the rule in .syscalls"));
            put(
                "kubernetes",
                Value::from("securityContext.seccompProfile: {type: Localhost, localhostProfile: FILE}"),
            );
        }
        (Kind::Capability, _) => {
            if let Some(name) = &cause.capability {
                let short = name.trim_start_matches("CAP_");
                put("summary", Value::from(format!("add the capability {name}")));
                put("capability", Value::from(name.clone()));
                put("docker", Value::from(format!("--cap-add {short}")));
                put("podman", Value::from(format!("--cap-add {short}")));
                put("kubernetes", Value::from(format!("securityContext.capabilities.add: [\"{short}\"]")));
            }
        }
        (Kind::Permission, _) => {
            let detail = cause.detail.as_deref().unwrap_or_default();
            put(
                "summary",
                Value::from(if detail.contains("read-only") {
                    "mount a writable volume or tmpfs there"
                } else if detail.contains("noexec") || detail.contains("nodev") {
                    "mount it without that option"
                } else {
                    "change the mode or the owner of the file, or run as a user who may"
                }),
            );
        }
        (Kind::Limit, _) => {
            let detail = cause.detail.as_deref().unwrap_or_default();
            let (summary, docker) = if detail.starts_with("RLIMIT_NOFILE") {
                ("raise the limit on open files", "--ulimit nofile=N")
            } else if detail.starts_with("RLIMIT_NPROC") {
                ("raise the limit on the user's processes", "--ulimit nproc=N")
            } else if detail.starts_with("RLIMIT_MEMLOCK") {
                ("raise the limit on locked memory", "--ulimit memlock=BYTES")
            } else if detail.starts_with("pids.max") {
                ("raise the limit on processes of the container", "--pids-limit N")
            } else if detail.contains("device cgroup") {
                ("give the container the device", "--device PATH")
            } else {
                ("raise the limit", "")
            };
            put("summary", Value::from(summary));
            if !docker.is_empty() {
                put("docker", Value::from(docker));
                put("podman", Value::from(docker));
            }
        }
        _ => {}
    }
    remedy
}

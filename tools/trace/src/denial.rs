//! One refused call as it is published.

use plim_seccomp::Arch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cause::Cause;
use crate::strings;

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
    /// `comm`: the process' own word for itself.
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
}

impl Denial {
    /// The call as a person writes it: `socket(AF_PACKET, SOCK_RAW, 768)`.
    pub fn call(&self) -> String {
        let name = self.syscall.clone().unwrap_or_else(|| format!("call {}", self.number));
        if self.decoded.is_empty() && self.syscall.is_none() {
            return format!("{name}({})", self.args.join(", "));
        }
        let strings: Vec<usize> =
            Arch::from_name(&self.arch).map_or_else(Vec::new, |arch| strings::indices(arch, &name).collect());
        let words: Vec<String> = self
            .decoded
            .values()
            .enumerate()
            .map(|(index, value)| {
                let word = value.as_str().unwrap_or_default();
                if strings.contains(&index) && !word.starts_with("0x") && word != "NULL" {
                    format!("\"{word}\"")
                } else {
                    word.to_owned()
                }
            })
            .collect();
        format!("{name}({})", words.join(", "))
    }
}

/// The JSON Schema of one denial.
pub fn schema() -> Value {
    schemars::schema_for!(Denial).to_value()
}

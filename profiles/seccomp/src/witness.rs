//! One call as our JSON writes it, the form that `plim seccomp eval` reads.

use schemars::JsonSchema;
use serde::Serialize;

use crate::action::Action;
use crate::arch::Arch;
use crate::interpret::SeccompData;
use crate::syscalls::{self, SyscallNr};

/// `{"arch":"x86_64","syscall":"socket","nr":41,"args":["0x26","0x0","0x0","0x0","0x0","0x0"]}`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Witness {
    /// The kernel's everyday name (`x86_64`, `i386`, `x32`, `aarch64`, …), or the audit token in hexadecimal.
    pub arch: String,
    /// The call's name, where the number has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscall: Option<String>,
    /// The number as it stands in `seccomp_data.nr` (x32: with bit 30).
    pub nr: u32,
    /// The arguments in hexadecimal.
    pub args: [String; 6],
}

impl From<&SeccompData> for Witness {
    fn from(call: &SeccompData) -> Witness {
        let arch = Arch::from_audit_token(call.arch, call.nr);
        Witness {
            arch: arch.map_or_else(|| format!("{:#x}", call.arch), |arch| arch.name().to_owned()),
            syscall: arch.and_then(|arch| syscalls::name(arch, SyscallNr(call.nr))).map(str::to_owned),
            nr: call.nr,
            args: call.args.map(|argument| format!("{argument:#x}")),
        }
    }
}

/// `socket(0x26, 0x0, …) on x86_64`: the arguments up to the last that is not 0.
impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.args.iter().rposition(|argument| argument != "0x0").map_or(0, |last| last + 1);
        let more = if used < 6 { if used == 0 { "…" } else { ", …" } } else { "" };
        let name = self.syscall.clone().unwrap_or_else(|| format!("number {}", self.nr));
        write!(f, "{name}({}{more}) on {}", self.args[..used].join(", "), self.arch)
    }
}

/// An action in JSON: `{"action":"SCMP_ACT_ERRNO","errno":"EPERM"}`, see [`Action::to_json`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ActionJson(pub Action);

impl JsonSchema for ActionJson {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Action".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "A seccomp action by OCI's name; errno: the error's name, its number when it has none, \
                            or SCMP_ACT_TRACE's number",
            "properties": {
                "action": {"type": "string", "enum": Action::NAMES},
                "errno": {"type": ["string", "integer"]},
            },
            "required": ["action"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_json_and_as_text() {
        let call = SeccompData { nr: 41, arch: 0xc000_003e, args: [38, 3, 0, 0, 0, 0], ip: 0 };
        let witness = Witness::from(&call);
        assert_eq!(
            serde_json::to_string(&witness).unwrap(),
            r#"{"arch":"x86_64","syscall":"socket","nr":41,"args":["0x26","0x3","0x0","0x0","0x0","0x0"]}"#
        );
        assert_eq!(witness.to_string(), "socket(0x26, 0x3, …) on x86_64");
        let foreign = Witness::from(&SeccompData { nr: 7, arch: 5, ..SeccompData::default() });
        assert_eq!(foreign.to_string(), "number 7(…) on 0x5");
    }
}

//! What a filter answers: a seccomp return action (seccomp(2), include/uapi/linux/seccomp.h).

use serde::{Serialize, Serializer};

use crate::errno::Errno;

/// The verdict on one call.
///
/// The order of the variants is the kernel's order of precedence, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// `SECCOMP_RET_KILL_PROCESS` (Linux 4.14): the process dies of SIGSYS. Also what the kernel does with an action value that
    /// it does not know.
    KillProcess,
    /// `SECCOMP_RET_KILL_THREAD`: the calling thread dies.
    KillThread,
    /// `SECCOMP_RET_TRAP`: SIGSYS to the thread; the call is not made.
    Trap,
    /// `SECCOMP_RET_ERRNO`: the call is not made and returns this error (0: it seems to succeed).
    Errno(Errno),
    /// `SECCOMP_RET_USER_NOTIF` (Linux 5.0): a supervisor answers.
    Notify,
    /// `SECCOMP_RET_TRACE`: a tracer is told, with this number; without one the call returns ENOSYS.
    Trace(u16),
    /// `SECCOMP_RET_LOG` (Linux 4.14): made, and logged.
    Log,
    /// `SECCOMP_RET_ALLOW`: made.
    Allow,
}

const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0x0000_0000;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const USER_NOTIF: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

impl Action {
    /// OCI's names, `SCMP_ACT_KILL` (the old name of `SCMP_ACT_KILL_THREAD`) among them.
    pub const NAMES: [&'static str; 9] = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ];

    /// One action of each kind, the strongest first, with data 0 where the kind has data.
    pub(crate) const KINDS: [Action; 8] = [
        Action::KillProcess,
        Action::KillThread,
        Action::Trap,
        Action::Errno(Errno::NONE),
        Action::Notify,
        Action::Trace(0),
        Action::Log,
        Action::Allow,
    ];

    /// The place of this action's kind in [`Action::KINDS`].
    pub(crate) fn kind(self) -> usize {
        match self {
            Action::KillProcess => 0,
            Action::KillThread => 1,
            Action::Trap => 2,
            Action::Errno(_) => 3,
            Action::Notify => 4,
            Action::Trace(_) => 5,
            Action::Log => 6,
            Action::Allow => 7,
        }
    }

    /// The value that a filter returns for this action: action in the high 16 bits, data in the low 16.
    pub fn to_ret(self) -> u32 {
        match self {
            Action::KillProcess => KILL_PROCESS,
            Action::KillThread => KILL_THREAD,
            Action::Trap => TRAP,
            Action::Errno(errno) => ERRNO | u32::from(errno.number()),
            Action::Notify => USER_NOTIF,
            Action::Trace(data) => TRACE | u32::from(data),
            Action::Log => LOG,
            Action::Allow => ALLOW,
        }
    }

    /// What the kernel does with the value that a filter returned (`__seccomp_filter`, kernel/seccomp.c).
    ///
    /// Data that no effect depends on is dropped; an error number above 4095 becomes 4095; an unknown action kills the process.
    pub fn from_ret(ret: u32) -> Action {
        let [low, high, ..] = ret.to_le_bytes();
        let data = u16::from_le_bytes([low, high]);
        match ret & 0xffff_0000 {
            KILL_THREAD => Action::KillThread,
            TRAP => Action::Trap,
            ERRNO => Action::Errno(Errno::clamped(data)),
            USER_NOTIF => Action::Notify,
            TRACE => Action::Trace(data),
            LOG => Action::Log,
            ALLOW => Action::Allow,
            _ => Action::KillProcess,
        }
    }

    /// OCI's name: `SCMP_ACT_ERRNO`.
    pub fn name(self) -> &'static str {
        match self {
            Action::KillProcess => "SCMP_ACT_KILL_PROCESS",
            Action::KillThread => "SCMP_ACT_KILL_THREAD",
            Action::Trap => "SCMP_ACT_TRAP",
            Action::Errno(_) => "SCMP_ACT_ERRNO",
            Action::Notify => "SCMP_ACT_NOTIFY",
            Action::Trace(_) => "SCMP_ACT_TRACE",
            Action::Log => "SCMP_ACT_LOG",
            Action::Allow => "SCMP_ACT_ALLOW",
        }
    }

    /// Whether the call itself is made (allowed or logged), with no one else to ask.
    pub fn makes_the_call(self) -> bool {
        matches!(self, Action::Allow | Action::Log)
    }

    /// How much this action lets through, for "does B permit more than A": larger permits more.
    ///
    /// Two refusals that return an error are equal here, whatever the number; `Notify` and `Trace` leave it to somebody else and
    /// stand between.
    pub fn permissiveness(self) -> u8 {
        match self {
            Action::KillProcess => 0,
            Action::KillThread => 1,
            Action::Trap => 2,
            Action::Errno(_) => 3,
            Action::Notify => 4,
            Action::Trace(_) => 5,
            // A log entry restricts nothing.
            Action::Log | Action::Allow => 6,
        }
    }

    /// `{"action":"SCMP_ACT_ERRNO","errno":"EPERM"}`; `errno` is there for `SCMP_ACT_ERRNO` (the name, or the number when it has
    /// none) and, as `SCMP_ACT_TRACE`'s data, always a number.
    pub fn to_json(self) -> serde_json::Value {
        match self {
            Action::Errno(errno) => match errno.name() {
                Some(name) => serde_json::json!({"action": self.name(), "errno": name}),
                None => serde_json::json!({"action": self.name(), "errno": errno.number()}),
            },
            Action::Trace(data) => serde_json::json!({"action": self.name(), "errno": data}),
            _ => serde_json::json!({"action": self.name()}),
        }
    }
}

/// The OCI name, with the error in brackets: `SCMP_ACT_ERRNO (EPERM)`.
impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Errno(errno) => f.pad(&format!("{} ({errno})", self.name())),
            Action::Trace(data) => f.pad(&format!("{} ({data})", self.name())),
            _ => f.pad(self.name()),
        }
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ret_values_round_trip_in_order_of_precedence() {
        let actions = [
            Action::KillProcess,
            Action::KillThread,
            Action::Trap,
            Action::Errno(Errno::EPERM),
            Action::Notify,
            Action::Trace(7),
            Action::Log,
            Action::Allow,
        ];
        assert!(actions.is_sorted());
        // The kernel compares the action part as a signed number.
        let ranks: Vec<i32> = actions.iter().map(|a| (a.to_ret() & 0xffff_0000).cast_signed()).collect();
        assert!(ranks.is_sorted());
        for action in actions {
            assert_eq!(Action::from_ret(action.to_ret()), action);
        }
    }

    #[test]
    fn odd_ret_values_mean_what_the_kernel_does() {
        assert_eq!(Action::from_ret(0x7fff_1234), Action::Allow);
        assert_eq!(Action::from_ret(0x0003_0007), Action::Trap);
        assert_eq!(Action::from_ret(0x0005_ffff), Action::Errno(Errno::clamped(4095)));
        assert_eq!(Action::from_ret(0x1234_0000), Action::KillProcess);
        assert_eq!(Action::from_ret(0xffff_ffff), Action::KillProcess);
        assert_eq!(Action::from_ret(1), Action::KillThread);
    }

    #[test]
    fn json_is_ocis() {
        assert_eq!(
            Action::Errno(Errno::EPERM).to_json().to_string(),
            r#"{"action":"SCMP_ACT_ERRNO","errno":"EPERM"}"#
        );
        assert_eq!(Action::Allow.to_json().to_string(), r#"{"action":"SCMP_ACT_ALLOW"}"#);
        assert_eq!(
            Action::Errno(Errno::clamped(4000)).to_json().to_string(),
            r#"{"action":"SCMP_ACT_ERRNO","errno":4000}"#
        );
    }
}

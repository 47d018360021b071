//! Why a call was refused: a pure function of what the kernel told of it and of what is known of its surroundings.
//!
//! Nothing is guessed. Each reason rests on something that was seen: an exit without an enter and the decision of the
//! installed filters; a capability that was asked for inside the call and not held; the mode of a file; a limit. Where
//! nothing was seen the cause is [`Kind::Unknown`], with what is known.

mod capability;
mod file;
mod limit;
mod seccomp;

pub use capability::maps_memory;
use plim_model::Capability;
use plim_seccomp::bpf::Program;
use plim_seccomp::interpret::{self, SeccompData};
use plim_seccomp::{Action, Arch, Errno, SyscallNr, syscalls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Event, flag};
use crate::files::FileFacts;

/// Who refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A seccomp filter.
    Seccomp,
    /// A capability is missing.
    Capability,
    /// A security module.
    Lsm,
    /// Mode, owner or mount of a file, or the owner of a process.
    Permission,
    /// The capability is held, but not in the user namespace in which the kernel asks for it.
    Namespace,
    /// A resource limit, of the process or of its cgroup.
    Limit,
    /// Nothing that was seen explains it.
    Unknown,
}

impl Kind {
    /// Every kind, in the order of the type.
    pub const ALL: [Kind; 7] = [
        Kind::Seccomp,
        Kind::Capability,
        Kind::Lsm,
        Kind::Permission,
        Kind::Namespace,
        Kind::Limit,
        Kind::Unknown,
    ];

    /// The word for it: `seccomp`, `capability`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Seccomp => "seccomp",
            Kind::Capability => "capability",
            Kind::Lsm => "lsm",
            Kind::Permission => "permission",
            Kind::Namespace => "namespace",
            Kind::Limit => "limit",
            Kind::Unknown => "unknown",
        }
    }
}

/// The reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// Who refused.
    pub kind: Kind,
    /// The capability that was missing, or that would override a mode (`CAP_NET_RAW`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub capability: Option<String>,
    /// JSON pointer of the deciding rule in the engine's `linux.seccomp`: `/defaultAction`, `/syscalls/3`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<String>,
    /// What was seen, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
}

impl Cause {
    fn new(kind: Kind, detail: impl Into<String>) -> Cause {
        Cause { kind, capability: None, rule: None, detail: Some(detail.into()) }
    }

    fn with(kind: Kind, capability: Capability, detail: impl Into<String>) -> Cause {
        Cause { capability: Some(capability.to_string()), ..Cause::new(kind, detail) }
    }
}

/// What is known beside the event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The filters of the very stack that the task stands on, oldest first.
    pub filters: Option<&'a [Program]>,
    /// Refused capabilities are seen on this kernel.
    pub sees_capabilities: bool,
    /// The user that is 0 in the task's user namespace, as the first one numbers it; `None` when its map is not known.
    pub root_uid: Option<u32>,
    /// The file that the call is about.
    pub file: Option<&'a FileFacts>,
    /// Security modules that refuse without a trace here (`apparmor`, `selinux`, …).
    pub silent_modules: &'a [String],
    /// The AppArmor profile or SELinux context of the process, where that module refused.
    pub security_label: Option<&'a str>,
    /// The kernel skipped runs of the programs: any enter may be missing.
    pub skipped_runs: bool,
    /// The process has as many descriptors as it may; `None` when it is gone.
    pub descriptors_used_up: Option<bool>,
}

/// The architecture of an event's number.
pub fn arch(event: &Event) -> Arch {
    match (event.has(flag::COMPAT), event.number & plim_seccomp::arch::X32_SYSCALL_BIT) {
        (true, _) => Arch::X86,
        (false, 0) => Arch::X86_64,
        (false, _) => Arch::X32,
    }
}

/// The name of the call, where the number has one.
pub fn name(event: &Event) -> Option<&'static str> {
    syscalls::name(arch(event), SyscallNr(event.number))
}

/// What the filters decide about the call of an event.
pub fn decision(event: &Event, filters: &[Program]) -> Action {
    let data =
        SeccompData { nr: event.number, arch: arch(event).audit_token(), ip: event.ip, args: event.args };
    interpret::run_stack(filters, &data)
}

/// The errno that a call came back with; `None` when it succeeded.
pub fn errno(event: &Event) -> Option<Errno> {
    u64::try_from(event.ret.checked_neg()?).ok().filter(|errno| *errno > 0).and_then(Errno::from_number)
}

/// Whether and why the call was refused; `None` for an error that is no refusal.
pub fn judge(event: &Event, known: &Known<'_>) -> Option<Cause> {
    if event.has(flag::ENTERED) { entered(event, known) } else { seccomp::not_entered(event, known) }
}

/// What is no refusal though it is called EPERM or EACCES: the answer to the question, whoever asks it (epoll_ctl(2): a file
/// that cannot be polled; futex(2): a lock of another thread; setsid(2) and setpgid(2): a leader of its group stays one).
const ANSWERS: [&str; 5] = ["epoll_ctl", "futex", "futex_time64", "setsid", "setpgid"];

fn entered(event: &Event, known: &Known<'_>) -> Option<Cause> {
    let name = name(event).unwrap_or("");
    let errno = errno(event)?.number();
    match errno {
        // EPERM, EACCES
        1 | 13 => {
            if let Some(module) = event.module {
                let what = if module == "selinux" { "to the context" } else { "by the profile" };
                let by = known.security_label.map(|label| format!(" {what} {label}"));
                return Some(Cause::new(Kind::Lsm, format!("{module} refused it{}", by.unwrap_or_default())));
            }
            let asked = capability::relevant(event, name);
            match asked.last() {
                Some(last) => Some(capability::missing(event, known, &asked, last)),
                None if ANSWERS.contains(&name) => None,
                None => Some(file::judge(event, known, name).unwrap_or_else(|| unexplained(known))),
            }
        }
        // EROFS
        30 => Some(file::read_only(known)),
        errno => limit::judge(event, known, name, errno),
    }
}

/// EPERM or EACCES, and nothing that was seen explains it.
fn unexplained(known: &Known<'_>) -> Cause {
    if !known.sees_capabilities {
        return Cause::new(
            Kind::Unknown,
            "this kernel does not let refused capabilities be seen, and no filter refused the call",
        );
    }
    let mut detail = "no filter refused it and no capability was asked for".to_owned();
    if let Some(file) = known.file {
        detail.push_str(&format!("; the file: {}", file.words()));
    }
    if !known.silent_modules.is_empty() {
        detail.push_str(&format!(
            "; {} may have refused, which cannot be observed here",
            known.silent_modules.join(" or ")
        ));
    }
    Cause::new(Kind::Unknown, detail)
}

#[cfg(test)]
mod tests;

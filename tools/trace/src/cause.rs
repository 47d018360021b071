//! Why a call was refused: a pure function of what the kernel told of it and of what is known of its surroundings.
//!
//! Nothing is guessed. Each reason rests on something that was seen: an exit without an enter and the decision of the
//! installed filters; a capability that was asked for inside the call and not held; the mode of a file; a limit. Where
//! nothing was seen the cause is [`Kind::Unknown`], with what is known.

use plim_model::{Capability, CapabilitySet};
use plim_seccomp::bpf::Program;
use plim_seccomp::interpret::{self, SeccompData};
use plim_seccomp::{Action, Arch, Errno, SyscallNr, syscalls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Asked, Event, flag};
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
    /// The user that is 0 in the task's user namespace, as the first one numbers it.
    pub root_uid: u32,
    /// The file that the call names.
    pub file: Option<&'a FileFacts>,
    /// Security modules that refuse without a trace here (`apparmor`, `selinux`, …).
    pub silent_modules: &'a [String],
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
    if event.has(flag::ENTERED) { entered(event, known) } else { not_entered(event, known) }
}

/// An exit without an enter: a filter, unless its own decision says otherwise.
fn not_entered(event: &Event, known: &Known<'_>) -> Option<Cause> {
    let errno = errno(event);
    let outcome = |action: &str| match errno {
        Some(errno) => format!("{action}: the call came back with {errno} and was not made"),
        None => format!("{action}: the call was not made"),
    };
    // A tracer may answer for the kernel, an enter may have been missed: then only the filter's own decision counts.
    let certain = !event.has(flag::PTRACED) && !event.has(flag::STALE);
    let refused = matches!(errno, Some(e) if e.number() == 1 || e.number() == 13);
    let Some(filters) = known.filters else {
        if event.has(flag::KILLED | flag::SIGSYS) || (certain && event.has(flag::BITMAP)) {
            let what =
                if event.has(flag::KILLED) { "the filter killed the task" } else { "a filter refused" };
            return Some(Cause::new(
                Kind::Seccomp,
                format!("{what}; its filters could not be read, so the rule is not known"),
            ));
        }
        let why = "the kernel was not seen to enter the call, and the task's filters could not be read";
        return refused.then(|| Cause::new(Kind::Unknown, why));
    };
    let action = decision(event, filters);
    let seccomp = |detail: String| Some(Cause::new(Kind::Seccomp, detail));
    match action {
        Action::Errno(given) if errno.map_or(0, Errno::number) == given.number() => {
            seccomp(outcome(&format!("{} ({given})", action.name())))
        }
        Action::Trap if event.has(flag::SIGSYS) => seccomp(format!("{}: SIGSYS was sent", action.name())),
        Action::KillProcess | Action::KillThread if event.has(flag::KILLED | flag::SIGSYS) => {
            seccomp(format!("{}: the task was killed by SIGSYS", action.name()))
        }
        Action::Notify => seccomp(outcome(&format!("{} (a supervisor decided)", action.name()))),
        Action::Trace(_) if errno == Some(Errno::ENOSYS) && !event.has(flag::PTRACED) => {
            seccomp(outcome(&format!("{} (and nobody traces the task)", action.name())))
        }
        Action::Trace(_) => seccomp(outcome(&format!("{} (a tracer decided)", action.name()))),
        Action::Allow | Action::Log if event.has(flag::PTRACED) => refused.then(|| {
            Cause::new(
                Kind::Unknown,
                "the filters allow the call; the task is traced, and its tracer may have answered",
            )
        }),
        Action::Allow | Action::Log if event.has(flag::OLDER) => refused.then(|| {
            Cause::new(Kind::Unknown, "the tracer came while the task was in the call; the filters allow it")
        }),
        Action::Allow | Action::Log => refused.then(|| {
            Cause::new(
                Kind::Unknown,
                "the filters allow the call; how the kernel came to refuse it was not seen",
            )
        }),
        _ => Some(Cause::new(
            Kind::Unknown,
            format!("the filters answer {}, but the call ended otherwise", action.name()),
        )),
    }
}

/// Capabilities by number (include/uapi/linux/capability.h).
mod cap {
    pub(super) const CHOWN: u8 = 0;
    pub(super) const DAC_OVERRIDE: u8 = 1;
    pub(super) const DAC_READ_SEARCH: u8 = 2;
    pub(super) const FOWNER: u8 = 3;
    pub(super) const FSETID: u8 = 4;
    pub(super) const KILL: u8 = 5;
    pub(super) const IPC_LOCK: u8 = 14;
    pub(super) const SYS_ADMIN: u8 = 21;
    pub(super) const SYS_RESOURCE: u8 = 24;
}

/// The flags of clone, clone3 and unshare that make namespaces: CLONE_NEWTIME to CLONE_NEWNET.
const NEW_NAMESPACES: u64 = 0x7e02_0080;

/// vm_enough_memory asks for CAP_SYS_ADMIN whenever memory is mapped, and takes a no for an answer.
fn asks_for_memory(event: &Event, name: &str) -> bool {
    match name {
        "mmap" | "mmap2" | "mremap" | "brk" | "execve" | "execveat" | "mprotect" | "pkey_mprotect"
        | "fork" | "vfork" | "shmat" | "remap_file_pages" | "shmget" | "memfd_create" => true,
        "clone" => event.args[0] & NEW_NAMESPACES == 0,
        // Its flags lie in memory; memory that is not to be had is ENOMEM, so an EPERM is about namespaces.
        "clone3" => event.ret != -1,
        _ => false,
    }
}

/// What the kernel asked for in the task's own right and in earnest.
fn relevant<'a>(event: &'a Event, name: &str) -> Vec<&'a Asked> {
    let noise = asks_for_memory(event, name);
    event
        .asked
        .iter()
        .filter(|asked| asked.as_itself && !asked.quietly)
        .filter(|asked| !(noise && asked.capability.number() == cap::SYS_ADMIN))
        .collect()
}

fn entered(event: &Event, known: &Known<'_>) -> Option<Cause> {
    let name = name(event).unwrap_or("");
    let asked = relevant(event, name);
    match errno(event)?.number() {
        // A file that cannot be polled, a lock of another thread: the answer to the question, not a refusal (epoll_ctl(2),
        // futex(2)).
        1 if asked.is_empty() && matches!(name, "epoll_ctl" | "futex" | "futex_time64") => None,
        // EPERM, EACCES
        1 | 13 => Some(match asked.last() {
            Some(last) => missing(event, known, &asked, last),
            None => without_capability(event, known, name),
        }),
        // EAGAIN
        11 => match name {
            "fork" | "vfork" | "clone" | "clone3" => {
                let by_user = event.asked.iter().any(|asked| {
                    [cap::SYS_RESOURCE, cap::SYS_ADMIN].contains(&asked.capability.number())
                        && (asked.capability.number() == cap::SYS_RESOURCE || !asks_for_memory(event, name))
                });
                Some(if by_user {
                    Cause::new(Kind::Limit, "RLIMIT_NPROC: the user has as many processes as it may")
                } else {
                    Cause::new(
                        Kind::Limit,
                        "pids.max of the cgroup, or kernel.threads-max: RLIMIT_NPROC was not asked for",
                    )
                })
            }
            "mlock" | "mlock2" | "mlockall" if asked_for(event, cap::IPC_LOCK) => Some(memlock()),
            _ => None,
        },
        // ENOMEM
        12 => match name {
            "mlock" | "mlock2" | "mlockall" if asked_for(event, cap::IPC_LOCK) => Some(memlock()),
            _ => None,
        },
        // EMFILE
        24 => match name {
            "inotify_init" | "inotify_init1" => Some(Cause::new(
                Kind::Limit,
                "fs.inotify.max_user_instances of the user, or RLIMIT_NOFILE of the process",
            )),
            _ => {
                Some(Cause::new(Kind::Limit, "RLIMIT_NOFILE: the process has as many descriptors as it may"))
            }
        },
        // EROFS
        30 => Some(Cause::new(
            Kind::Permission,
            match known.file {
                Some(file) => format!("{} lies on a mount or file system that is read-only", file.path),
                None => "the mount or the file system is read-only".to_owned(),
            },
        )),
        _ => None,
    }
}

fn asked_for(event: &Event, number: u8) -> bool {
    event.asked.iter().any(|asked| asked.capability.number() == number)
}

fn memlock() -> Cause {
    Cause {
        capability: Capability::from_number(cap::IPC_LOCK).map(|capability| capability.to_string()),
        ..Cause::new(Kind::Limit, "RLIMIT_MEMLOCK: the process has as much memory locked as it may")
    }
}

/// The last capability that was asked for and not held decided.
fn missing(event: &Event, known: &Known<'_>, asked: &[&Asked], last: &Asked) -> Cause {
    let capability = last.capability;
    let number = capability.number();
    // Held, but over another user namespace.
    if CapabilitySet::from_bits(event.effective).contains(capability)
        && last.user_namespace != event.user_namespace
    {
        return Cause::with(
            Kind::Namespace,
            capability,
            format!(
                "{capability} is held in the process' user namespace, but the kernel asks for it in another one"
            ),
        );
    }
    let root = event.fsuid == known.root_uid;
    let file = || known.file.map(|file| format!(": {}", file.words())).unwrap_or_default();
    match number {
        cap::DAC_OVERRIDE | cap::DAC_READ_SEARCH if !root => Cause::with(
            Kind::Permission,
            capability,
            format!("the file's mode does not let user {} in{}", event.fsuid, file()),
        ),
        cap::DAC_OVERRIDE | cap::DAC_READ_SEARCH => Cause::with(
            Kind::Capability,
            capability,
            format!("root without it is bound by the file's mode{}", file()),
        ),
        cap::FOWNER | cap::CHOWN | cap::FSETID if !root => Cause::with(
            Kind::Permission,
            capability,
            format!("user {} does not own the file, or may not give it away{}", event.fsuid, file()),
        ),
        cap::KILL if !root => Cause::with(
            Kind::Permission,
            capability,
            format!("user {} does not own the process that the signal is for", event.fsuid),
        ),
        _ => {
            let mut before: Vec<String> = asked
                .iter()
                .map(|asked| asked.capability.to_string())
                .filter(|name| *name != capability.to_string())
                .collect();
            before.dedup();
            let alternatives = match before.as_slice() {
                // The kernel takes the general one in place of the special one (bpf_capable, perfmon_capable, …).
                [special]
                    if number == cap::SYS_ADMIN
                        && ["CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG", "CAP_CHECKPOINT_RESTORE"]
                            .contains(&special.as_str()) =>
                {
                    return Cause {
                        capability: Some(special.clone()),
                        ..Cause::new(
                            Kind::Capability,
                            format!(
                                "{special} was asked for and is not held; CAP_SYS_ADMIN would do as well"
                            ),
                        )
                    };
                }
                [] => String::new(),
                several => format!("; before it the kernel asked for {}", several.join(", ")),
            };
            let whose = match (root, known.root_uid) {
                (true, _) => String::new(),
                (false, _) => format!(" (the process runs as user {})", event.fsuid),
            };
            Cause::with(
                Kind::Capability,
                capability,
                format!("{capability} was the last thing asked for, and is not held{whose}{alternatives}"),
            )
        }
    }
}

/// EPERM or EACCES without a capability having been asked for.
fn without_capability(event: &Event, known: &Known<'_>, name: &str) -> Cause {
    let access = errno(event).is_some_and(|errno| errno.number() == 13);
    if let Some(cause) = known.file.and_then(|file| by_file(file, name, access)) {
        return cause;
    }
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

/// What the file itself says.
fn by_file(file: &FileFacts, name: &str, access: bool) -> Option<Cause> {
    let executes = matches!(name, "execve" | "execveat");
    if file.device.is_some() && !access && matches!(name, "open" | "openat" | "openat2" | "creat") {
        // The mode would give EACCES and ask for a capability: only the device cgroup answers EPERM to an open.
        return Some(Cause::new(
            Kind::Limit,
            format!("the container's device cgroup does not have {}", file.words()),
        ));
    }
    if executes && access {
        if file.no_exec {
            return Some(Cause::new(Kind::Permission, format!("mounted noexec: {}", file.words())));
        }
        if !file.regular || file.mode & 0o111 == 0 {
            return Some(Cause::new(Kind::Permission, format!("not executable: {}", file.words())));
        }
    }
    if file.no_device && access && file.device.is_some() {
        return Some(Cause::new(Kind::Permission, format!("mounted nodev: {}", file.words())));
    }
    if access && file.owner_unmapped {
        return Some(Cause::new(
            Kind::Namespace,
            format!(
                "the owner has no number in the process' user namespace, so that its capabilities do not count: {}",
                file.words()
            ),
        ));
    }
    None
}

#[cfg(test)]
#[path = "cause_tests.rs"]
mod tests;

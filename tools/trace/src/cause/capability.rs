//! A capability that was asked for inside the call and not held.

use plim_model::{Capability, CapabilitySet};

use super::{Cause, Kind, Known, errno, limit};
use crate::event::{Asked, Event, flag};
use crate::tracer::FIRST_USER_NAMESPACE;

/// Capabilities by number (include/uapi/linux/capability.h).
pub(super) mod cap {
    pub(in crate::cause) const CHOWN: u8 = 0;
    pub(in crate::cause) const DAC_OVERRIDE: u8 = 1;
    pub(in crate::cause) const DAC_READ_SEARCH: u8 = 2;
    pub(in crate::cause) const FOWNER: u8 = 3;
    pub(in crate::cause) const FSETID: u8 = 4;
    pub(in crate::cause) const KILL: u8 = 5;
    pub(in crate::cause) const NET_ADMIN: u8 = 12;
    pub(in crate::cause) const IPC_LOCK: u8 = 14;
    pub(in crate::cause) const SYS_ADMIN: u8 = 21;
    pub(in crate::cause) const SYS_RESOURCE: u8 = 24;
}

/// The flags of clone, clone3 and unshare that make namespaces: CLONE_NEWTIME to CLONE_NEWNET.
const NEW_NAMESPACES: u64 = 0x7e02_0080;

/// The kernel takes CAP_SYS_ADMIN in place of these (bpf_capable, perfmon_capable, …).
const SPECIAL: [&str; 4] = ["CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG", "CAP_CHECKPOINT_RESTORE"];

/// vm_enough_memory asks for CAP_SYS_ADMIN whenever memory is mapped, and takes a no for an answer.
pub(super) fn asks_for_memory(event: &Event, name: &str) -> bool {
    match name {
        "clone" => event.args[0] & NEW_NAMESPACES == 0,
        // Its flags lie in memory; memory that is not to be had is ENOMEM, so an EPERM is about namespaces.
        "clone3" => event.ret != -1,
        _ => maps_memory(name),
    }
}

/// Calls that map memory whatever their arguments; vm_enough_memory asks for CAP_SYS_ADMIN in each.
pub fn maps_memory(syscall: &str) -> bool {
    matches!(
        syscall,
        "mmap"
            | "mmap2"
            | "mremap"
            | "brk"
            | "execve"
            | "execveat"
            | "mprotect"
            | "pkey_mprotect"
            | "fork"
            | "vfork"
            | "shmat"
            | "remap_file_pages"
            | "shmget"
            | "memfd_create"
    )
}

/// What the kernel asked for in the task's own right and in earnest.
pub(super) fn relevant<'a>(event: &'a Event, name: &str) -> Vec<&'a Asked> {
    let noise = asks_for_memory(event, name);
    event
        .asked
        .iter()
        .filter(|asked| asked.as_itself && !asked.quietly)
        .filter(|asked| !(noise && asked.capability.number() == cap::SYS_ADMIN))
        .collect()
}

/// Whether a capability was asked for at all.
pub(super) fn asked_for(event: &Event, number: u8) -> bool {
    event.asked.iter().any(|asked| asked.capability.number() == number)
}

/// The last capability that was asked for and not held decided.
pub(super) fn missing(event: &Event, known: &Known<'_>, asked: &[&Asked], last: &Asked) -> Cause {
    let capability = last.capability;
    let own = last.user_namespace == event.user_namespace;
    let inside = event.user_namespace != FIRST_USER_NAMESPACE;
    // Held, but over another user namespace.
    if CapabilitySet::from_bits(event.effective).contains(capability) && !own {
        return Cause::with(
            Kind::Namespace,
            capability,
            format!(
                "{capability} is held in the process' user namespace, but the kernel asks for it in {}",
                if last.user_namespace == FIRST_USER_NAMESPACE { "the first one" } else { "another one" }
            ),
        );
    }
    if inside && !own && last.user_namespace == FIRST_USER_NAMESPACE {
        return Cause::with(
            Kind::Namespace,
            capability,
            format!(
                "the kernel asks for {capability} in the first user namespace, and the process is in another: granting it \
                 to the container would not be enough"
            ),
        );
    }
    if capability.number() == cap::IPC_LOCK
        && let Some(cause) = limit::memlock(event)
    {
        return cause;
    }
    if let Some(cause) = of_network_sysctl(known, capability) {
        return cause;
    }
    if let Some(cause) = of_owner(event, known, asked, capability) {
        return cause;
    }
    // The kernel takes the general one in place of the special one.
    let before = names_before(asked, capability);
    let (capability, also) = match before.as_slice() {
        [special] if capability.number() == cap::SYS_ADMIN && SPECIAL.contains(&special.as_str()) => (
            Capability::from_name(special).unwrap_or(capability),
            "; CAP_SYS_ADMIN would do as well".to_owned(),
        ),
        [] => (capability, String::new()),
        several => (capability, format!("; before it the kernel asked for {}", several.join(", "))),
    };
    Cause::with(
        Kind::Capability,
        capability,
        format!(
            "{capability} was asked for {}, and {}{also}",
            place(event, last),
            held(event, known, capability)
        ),
    )
}

/// With CAP_NET_ADMIN one stands as the owner before a sysctl of the network (net_ctl_permissions()): what the mode refuses the
/// owner it refuses everybody.
fn of_network_sysctl(known: &Known<'_>, capability: Capability) -> Option<Cause> {
    let file = known.file.filter(|file| file.path.starts_with("/proc/sys/net/"))?;
    let owner_may = file.mode >> 6 & file.wanted == file.wanted;
    (capability.number() == cap::NET_ADMIN && file.wanted != 0 && !owner_may).then(|| {
        Cause::new(
            Kind::Permission,
            format!("the mode does not allow it, and here no capability overrides it: {}", file.words()),
        )
    })
}

/// What else was asked for, each once.
fn names_before(asked: &[&Asked], last: Capability) -> Vec<String> {
    let mut names: Vec<String> = asked
        .iter()
        .filter(|asked| asked.capability != last)
        .map(|asked| asked.capability.to_string())
        .collect();
    names.dedup();
    names
}

/// In which user namespace, in words that do not change from run to run.
fn place(event: &Event, last: &Asked) -> &'static str {
    match (last.user_namespace == event.user_namespace, last.user_namespace == FIRST_USER_NAMESPACE) {
        (true, true) => "in the first user namespace, which is the process' own",
        (false, true) => "in the first user namespace",
        (true, false) => "in the process' own user namespace",
        (false, false) => "in another user namespace than the process' own",
    }
}

/// How it is not held, and with that whether granting it would have been enough.
fn held(event: &Event, known: &Known<'_>, capability: Capability) -> String {
    let root = known.root_uid == Some(event.fsuid);
    let bounding = CapabilitySet::from_bits(event.bounding).contains(capability);
    match (bounding, root) {
        (false, true) => "is not in the bounding set: granting it passes this check".to_owned(),
        (false, false) => format!(
            "is not in the bounding set, and user {} would not get it from there: granting it is enough for root alone",
            event.fsuid
        ),
        (true, true) => "is in the bounding set, but was given up by the process".to_owned(),
        (true, false) if event.has(flag::NO_NEW_PRIVS) => format!(
            "is in the bounding set, but user {} has not got it, and no_new_privs keeps it from getting it by execve",
            event.fsuid
        ),
        (true, false) => {
            format!("is in the bounding set, but user {} has not got it: root would have it", event.fsuid)
        }
    }
}

/// Capabilities that stand in for owning a file or a process: for a user who is not root it is the mode or the owner that
/// refuses.
fn of_owner(event: &Event, known: &Known<'_>, asked: &[&Asked], last: Capability) -> Option<Cause> {
    // A mode is refused with EACCES; to read or to search the smaller capability is enough and is asked for first.
    let access = errno(event).is_some_and(|errno| errno.number() == 13);
    let smaller = asked.iter().find(|asked| asked.capability.number() == cap::DAC_READ_SEARCH);
    let (capability, also) = match (last.number(), smaller) {
        (cap::DAC_OVERRIDE, Some(smaller)) if access => {
            (smaller.capability, "; CAP_DAC_OVERRIDE would do as well")
        }
        _ => (last, ""),
    };
    let root = known.root_uid == Some(event.fsuid);
    let user = event.fsuid;
    let file = known.file.map(|file| format!(": {}", file.words())).unwrap_or_default();
    let what = match known.file {
        Some(file) if file.on_the_way && file.directory => "the directory's mode",
        _ => "the file's mode",
    };
    let acl = if known.file.is_some_and(|file| file.acl) { " or ACL" } else { "" };
    match capability.number() {
        cap::DAC_OVERRIDE | cap::DAC_READ_SEARCH if access && !root => Some(Cause::with(
            Kind::Permission,
            capability,
            format!("{what}{acl} does not let user {user} in{file}"),
        )),
        cap::DAC_OVERRIDE | cap::DAC_READ_SEARCH if access => Some(Cause::with(
            Kind::Capability,
            capability,
            format!("root without it is bound by {what}{acl}{file}{also}"),
        )),
        cap::FOWNER | cap::CHOWN | cap::FSETID if !root => Some(Cause::with(
            Kind::Permission,
            capability,
            format!("user {user} does not own the file, or may not give it away{file}"),
        )),
        cap::FOWNER | cap::CHOWN | cap::FSETID => Some(Cause::with(
            Kind::Capability,
            capability,
            format!("root without it is bound by who owns the file{file}"),
        )),
        cap::KILL if !root => Some(Cause::with(
            Kind::Permission,
            capability,
            format!("user {user} does not own the process that the signal is for"),
        )),
        _ => None,
    }
}

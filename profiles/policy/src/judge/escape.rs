//! Known ways out of a container, each with the facts that open it.
//!
//! A list and not a proof: none of these being there does not show that there is no way out.

use plim_model::snapshot::Snapshot;
use plim_model::{Capability, CapabilitySet, NamespaceKind, Observed};

use super::Subject;
use super::check::Answer;
use crate::declared::Container;

/// All that are open; of what is not known there are none.
pub(crate) fn ways_out(subject: &Subject) -> Vec<String> {
    let answers: Vec<Answer> = match (&subject.snapshot, &subject.workload) {
        (Some(snapshot), _) => vec![live(snapshot)],
        (None, Some(workload)) => {
            let many = workload.containers.len() > 1;
            let of = |name: &str| if many { format!("container {name}: ") } else { String::new() };
            workload.containers.iter().map(|container| declared(container, &of(&container.name))).collect()
        }
        (None, None) => Vec::new(),
    };
    let open = |answer: Answer| match answer {
        Answer::Broken(open) => open,
        Answer::Holds | Answer::Unknown(_) => Vec::new(),
    };
    answers.into_iter().flat_map(open).collect()
}

fn has(set: CapabilitySet, name: &str) -> bool {
    Capability::from_name(name).is_some_and(|capability| set.contains(capability))
}

/// Host directories through which the host is changed or its engine commanded.
const DANGEROUS: [&str; 13] = [
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/run",
];

/// Beginnings of paths whose content root of the host runs or believes.
const BELIEVED: [&str; 22] = [
    "/bin/",
    "/boot/",
    "/etc/cron",
    "/etc/init.d",
    "/etc/kubernetes",
    "/etc/ld.so.",
    "/etc/pam.d",
    "/etc/passwd",
    "/etc/profile",
    "/etc/shadow",
    "/etc/sudoers",
    "/etc/systemd",
    "/lib/",
    "/proc/sys",
    "/root/.ssh",
    "/sbin/",
    "/usr/bin",
    "/usr/lib",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/var/spool/cron",
];

/// Whether a host path leads to something dangerous: one of the directories, or an engine's socket.
fn dangerous_path(path: &str) -> bool {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    DANGEROUS.contains(&path)
        || BELIEVED.iter().any(|start| path.starts_with(start) || path == start.trim_end_matches('/'))
        || ["docker.sock", "containerd.sock", "crio.sock", "podman.sock"]
            .iter()
            .any(|name| path.ends_with(name))
        || path.starts_with("/var/lib/kubelet") && !path.contains("/pods/")
}

/// Whether a rule of the device cgroup lets every disk be opened. `m` alone makes a node and opens nothing.
fn every_disk(rule: &str) -> bool {
    let rule = if rule == "a" { "a *:* rwm" } else { rule };
    rule.starts_with("a *:*") || rule.starts_with("b *:*") && !rule.ends_with(" m")
}

/// Whether a device of the host is, by its name, a disk or the machine's memory.
fn disk_or_memory(device: &str) -> bool {
    ["dm-", "kmem", "mapper/", "md", "mem", "nvme", "port", "sd", "vd", "xvd"]
        .iter()
        .any(|name| device.strip_prefix("/dev/").is_some_and(|rest| rest.starts_with(name)))
}

/// What a live target shows.
pub(super) fn live(snapshot: &Snapshot) -> Answer {
    let (mut open, mut unknown) = (Vec::new(), Vec::new());
    let mut note = |what: &str, why: &str| unknown.push(format!("{what}: {why}"));

    // Capabilities of a user namespace of its own count for what that namespace owns.
    let own_user_namespace = match snapshot.namespaces.get(&NamespaceKind::User) {
        Some(Observed::Present(namespace)) => match &namespace.shared_with_host {
            Observed::Present(shared) => Some(!shared),
            Observed::Absent => Some(false),
            Observed::Unknown(why) => {
                note("user namespace", why);
                None
            }
        },
        Some(Observed::Unknown(why)) => {
            note("user namespace", why);
            None
        }
        Some(Observed::Absent) | None => Some(false),
    };
    let sets = match &snapshot.capabilities {
        Observed::Present(sets) => Some(sets.bounding.union(sets.permitted)),
        Observed::Absent => None,
        Observed::Unknown(why) => {
            note("capabilities", why);
            None
        }
    };
    if let Some(held) = sets
        && own_user_namespace == Some(false)
    {
        let shares = |kind: NamespaceKind| {
            matches!(snapshot.namespaces.get(&kind), Some(Observed::Present(namespace))
                if namespace.shared_with_host == Observed::Present(true))
        };
        for (name, how) in [
            ("SYS_ADMIN", "mounts what it likes"),
            ("SYS_MODULE", "loads kernel modules"),
            ("SYS_RAWIO", "reaches ports and memory of the machine"),
            ("DAC_READ_SEARCH", "opens files of the host by their handle"),
            ("BPF", "loads programs into the kernel"),
            ("PERFMON", "reads kernel memory through tracing"),
            ("SYS_BOOT", "reboots the host or loads another kernel"),
        ] {
            if has(held, name) {
                open.push(format!("PLIM-E001 CAP_{name} on the host: {how}"));
            }
        }
        if has(held, "SYS_PTRACE") && shares(NamespaceKind::Pid) {
            open.push("PLIM-E002 CAP_SYS_PTRACE and the host's processes: enters them".to_owned());
        }
        if has(held, "NET_ADMIN") && shares(NamespaceKind::Net) {
            open.push(
                "PLIM-E003 CAP_NET_ADMIN in the host's network: changes its routes and filters".to_owned(),
            );
        }
    }
    match &snapshot.engine_sockets {
        Observed::Present(sockets) => open.extend(sockets.iter().map(|socket| {
            format!(
                "PLIM-E010 the control socket of {} is at {}: starts a container that owns the host",
                socket.engine, socket.path
            )
        })),
        Observed::Absent => {}
        Observed::Unknown(why) => note("engine sockets", why),
    }
    match &snapshot.devices.cgroup_rules {
        Observed::Present(rules) => open.extend(
            rules
                .iter()
                .filter(|rule| every_disk(rule))
                .map(|rule| format!("PLIM-E011 may open every block device (device rule {rule})")),
        ),
        Observed::Absent => {}
        Observed::Unknown(why) => note("device rules", why),
    }
    match (&snapshot.mounts, &snapshot.read_only_paths) {
        (Observed::Present(mounts), read_only) => {
            for mount in mounts.iter().filter(|mount| mount.target != "/") {
                let writable = !mount.options.iter().any(|option| option == "ro");
                let disk = mount.source.starts_with("/dev/")
                    && !["overlay", "tmpfs"].contains(&mount.fs_type.as_str());
                if disk && mount.root == "/" {
                    open.push(format!(
                        "PLIM-E012 the whole of {} is mounted at {}",
                        mount.source, mount.target
                    ));
                } else if disk && writable && dangerous_path(&mount.root) {
                    open.push(format!(
                        "PLIM-E012 the host's {} is mounted at {} and writable",
                        mount.root, mount.target
                    ));
                }
                if mount.fs_type == "cgroup" && writable && sets.is_some_and(|held| has(held, "SYS_ADMIN")) {
                    open.push(format!(
                        "PLIM-E013 a writable cgroup v1 at {}: its release agent runs on the host",
                        mount.target
                    ));
                }
            }
            let proc_sys_writable = match read_only {
                Observed::Present(paths) => !paths.iter().any(|path| path == "/proc/sys" || path == "/proc"),
                Observed::Absent => true,
                Observed::Unknown(why) => {
                    note("read-only paths", why);
                    false
                }
            };
            let root = snapshot.user.present().is_some_and(|user| user.uid.contains(&0));
            let own_mounts = !matches!(snapshot.namespaces.get(&NamespaceKind::Mnt), Some(Observed::Present(namespace))
                if namespace.shared_with_host == Observed::Present(true));
            if proc_sys_writable && root && own_user_namespace == Some(false) && own_mounts {
                open.push(
                    "PLIM-E014 /proc/sys is writable: kernel.core_pattern runs programs on the host"
                        .to_owned(),
                );
            }
            if !own_mounts {
                open.push("PLIM-E015 the host's own mounts are the target's".to_owned());
            }
        }
        (Observed::Absent, _) => {}
        (Observed::Unknown(why), _) => note("mounts", why),
    }
    if !open.is_empty() {
        Answer::Broken(open)
    } else if unknown.is_empty() {
        Answer::Holds
    } else {
        Answer::Unknown(unknown.join("; "))
    }
}

/// What a declaration asks for.
pub(super) fn declared(container: &Container, of: &str) -> Answer {
    let mut open = Vec::new();
    let mut say = |what: String| open.push(format!("{of}{what}"));
    let privileged = container.privileged == Some(true);
    if privileged {
        say("PLIM-E016 privileged: every capability and every device of the host".to_owned());
    }
    let namespace = |kind: &str| container.namespaces.as_ref()?.get(kind).map(String::as_str);
    let shares = |kind: &str| namespace(kind) == Some("host");
    let as_host = namespace("user").is_none_or(|user| user == "host");
    let held = |name: &str| {
        let names = container.capabilities.as_ref();
        as_host
            && !privileged
            && names.is_some_and(|held| held.iter().any(|known| known.strip_prefix("CAP_") == Some(name)))
    };
    for name in ["SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF", "PERFMON", "SYS_BOOT"] {
        if held(name) {
            say(format!("PLIM-E001 CAP_{name} on the host"));
        }
    }
    if held("SYS_PTRACE") && shares("pid") {
        say("PLIM-E002 CAP_SYS_PTRACE and the host's processes: enters them".to_owned());
    }
    if held("NET_ADMIN") && shares("net") {
        say("PLIM-E003 CAP_NET_ADMIN in the host's network: changes its routes and filters".to_owned());
    }
    for device in container.devices.iter().chain(&container.device_rules).flatten() {
        if every_disk(device) && !privileged {
            say(format!("PLIM-E011 may open every block device (device rule {device})"));
        } else if disk_or_memory(device) {
            say(format!("PLIM-E011 may open the host's {device}"));
        }
    }
    for mount in container.mounts.iter().flatten().filter(|mount| mount.kind == "bind") {
        if dangerous_path(&mount.source) && (!mount.read_only || mount.source.ends_with(".sock")) {
            say(format!("PLIM-E012 the host's {} is mounted at {}", mount.source, mount.target));
        }
    }
    let writable = container.proc_sys_read_only == Some(false) && as_host && !privileged;
    if writable && container.root == Some(true) {
        say("PLIM-E014 /proc/sys is writable: kernel.core_pattern runs programs on the host".to_owned());
    }
    if shares("mnt") {
        say("PLIM-E015 the host's own mounts are the target's".to_owned());
    }
    if !open.is_empty() {
        return Answer::Broken(open);
    }
    let facts =
        ["capabilities", "devices", "mounts", "namespaces", "privileged", "proc_sys_read_only", "root"];
    if let Some(why) = container.why_undecided(&facts) {
        return Answer::Unknown(format!("{of}{why}"));
    }
    if container.capabilities.is_none() || container.mounts.is_none() {
        return Answer::Unknown(format!("{of}the declaration does not decide capabilities and mounts"));
    }
    if writable && container.root.is_none() {
        return Answer::Unknown(format!(
            "{of}/proc/sys is writable to root, and who it runs as is not decided"
        ));
    }
    Answer::Holds
}

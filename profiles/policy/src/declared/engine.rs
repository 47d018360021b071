//! What Docker's own options come to: shared by `docker run`, Compose and `docker inspect`.

use std::collections::BTreeMap;

use plim_docker::Engine;
use plim_docker::values::{self, is_root};
use plim_model::{Capability, CapabilitySet};

use super::model::{Resources, bounding, capability_names};
use super::{Container, DeclaredMount, Port};

/// Docker's options as they were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// Whose defaults hold; `None`: Docker's.
    pub(super) engine: Option<Engine>,
    /// [`Container::undecided`].
    pub(super) undecided: BTreeMap<String, String>,
    pub(super) name: String,
    pub(super) image: Option<String>,
    pub(super) user: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) privileged: bool,
    pub(super) cap_add: Vec<String>,
    pub(super) cap_drop: Vec<String>,
    pub(super) security_opt: Vec<String>,
    pub(super) read_only: bool,
    pub(super) pid: String,
    pub(super) ipc: String,
    pub(super) uts: String,
    pub(super) userns: String,
    pub(super) cgroupns: String,
    pub(super) network: String,
    pub(super) cgroup_parent: Option<String>,
    pub(super) mounts: Vec<DeclaredMount>,
    pub(super) devices: Vec<String>,
    pub(super) sysctls: BTreeMap<String, String>,
    pub(super) ports: Vec<Port>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) millicpus: Option<u64>,
    pub(super) cpu_shares: Option<u64>,
    pub(super) pids: Option<i64>,
    pub(super) restart: String,
    pub(super) healthcheck: Option<bool>,
    pub(super) ulimits: Vec<String>,
    pub(super) runtime: String,
    pub(super) labels: BTreeMap<String, String>,
}

/// What Podman gives by default (containers.conf(5), `default_capabilities`).
fn podman_default() -> CapabilitySet {
    let names =
        "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT";
    names.split(' ').filter_map(|name| Capability::from_name(&format!("CAP_{name}"))).collect()
}

impl Options {
    pub(super) fn container(mut self) -> Container {
        self.ulimits.sort();
        let add = capability_names(self.cap_add.iter().map(String::as_str));
        let drop = capability_names(self.cap_drop.iter().map(String::as_str));
        let privileged = self.privileged;
        let unless_privileged = |word: &str| if privileged { "unconfined" } else { word }.to_owned();
        let defaults = match self.engine {
            Some(Engine::Podman) => podman_default(),
            _ => CapabilitySet::DOCKER_DEFAULT,
        };
        let mut container = Container {
            role: "container",
            image: self.image.take(),
            groups: Some(std::mem::take(&mut self.groups)),
            root: self.user.as_deref().and_then(is_root),
            privileged: Some(privileged),
            capabilities: Some(bounding(defaults, privileged, &add, &drop)),
            cap_add: Some(add),
            cap_drop: Some(drop),
            no_new_privs: Some(false),
            read_only_root: Some(self.read_only),
            seccomp: Some(unless_privileged("default")),
            apparmor: Some(unless_privileged("default")),
            selinux: Some(unless_privileged("default")),
            namespaces: Some(self.namespaces()),
            masked_paths: Some(!privileged),
            proc_sys_read_only: Some(!privileged),
            resources: self.resources(),
            user: self.user.filter(|user| !user.is_empty()),
            ..Container::default()
        };
        for option in &self.security_opt {
            let (key, value) = values::security_option(option).unwrap_or((option, None));
            match (key, value.unwrap_or_default()) {
                // What is no boolean does not start; Compose files and the engine's own answers are read leniently.
                ("no-new-privileges", value) => {
                    container.no_new_privs = Some(values::boolean(value).unwrap_or(value.is_empty()));
                }
                ("seccomp", "unconfined") => container.seccomp = Some("unconfined".to_owned()),
                ("seccomp", "builtin" | "") => container.seccomp = Some("default".to_owned()),
                ("seccomp", profile) => {
                    container.seccomp = Some("profile".to_owned());
                    // The engine's API is given the profile itself.
                    let inline = profile.trim_start().starts_with('{');
                    container.seccomp_profile = Some(if inline { "inline" } else { profile }.to_owned());
                }
                ("apparmor", profile) => container.apparmor = Some(profile.to_owned()),
                ("label", "disable") | ("disable", _) => container.selinux = Some("unconfined".to_owned()),
                ("label", label) => container.selinux = Some(label.to_owned()),
                // Podman's unmask takes paths, `ALL` or both (podman-run(1)); one path less masked is a mask that is not in place.
                ("systempaths", "unconfined") | ("unmask", _) => {
                    container.masked_paths = Some(false);
                    container.proc_sys_read_only = Some(false);
                }
                _ => {}
            }
        }
        self.mounts.sort();
        self.mounts.dedup();
        self.devices.sort();
        self.ports.sort();
        container.name = self.name;
        container.mounts = Some(self.mounts);
        container.devices = Some(self.devices);
        container.sysctls = Some(self.sysctls);
        container.ports = Some(self.ports);
        container.leave_undecided(self.undecided);
        container
    }

    fn namespaces(&self) -> BTreeMap<&'static str, String> {
        let mode = |word: &str| match word {
            "" | "private" | "none" | "bridge" | "default" => "own".to_owned(),
            other => other.to_owned(),
        };
        let joins =
            |word: &str| word == "host" || word.starts_with("container:") || word.starts_with("service:");
        BTreeMap::from([
            ("cgroup", mode(&self.cgroupns)),
            ("ipc", mode(&self.ipc)),
            ("mnt", "own".to_owned()),
            ("net", if joins(&self.network) { self.network.clone() } else { "own".to_owned() }),
            ("pid", mode(&self.pid)),
            // One user namespace of its own takes a daemon that remaps, or Podman's modes.
            (
                "user",
                match self.userns.as_str() {
                    "" | "host" => "host".to_owned(),
                    _ => "own".to_owned(),
                },
            ),
            ("uts", mode(&self.uts)),
        ])
    }

    fn resources(&self) -> Resources {
        Resources {
            memory_max_bytes: Some(self.memory_bytes.filter(|bytes| *bytes != 0)),
            millicpus: Some(self.millicpus.filter(|cpus| *cpus != 0)),
            cpu_shares: Some(self.cpu_shares.filter(|shares| *shares != 0)),
            pids_max: Some(self.pids.and_then(|pids| u64::try_from(pids).ok()).filter(|pids| *pids != 0)),
            restart: Some(if self.restart.is_empty() { "no".to_owned() } else { self.restart.clone() }),
            healthcheck: self.healthcheck,
            ulimits: Some(self.ulimits.clone()),
            cgroup_parent: Some(self.cgroup_parent.clone().filter(|parent| !parent.is_empty())),
            network: Some(match self.network.as_str() {
                "" | "default" | "bridge" => "bridge".to_owned(),
                other => other.to_owned(),
            }),
            // What Docker runs unless it is told otherwise, and what `docker inspect` calls it.
            runtime: Some(self.runtime.clone()).filter(|name| !["", "runc"].contains(&name.as_str())),
        }
    }
}

/// Everything that another container has mounted: what that is is not written here.
pub(super) fn volumes_from(text: &str) -> DeclaredMount {
    let (source, mode) =
        text.rsplit_once(':').filter(|(_, mode)| ["ro", "rw"].contains(mode)).unwrap_or((text, "rw"));
    DeclaredMount {
        kind: "volumes-from".to_owned(),
        source: source.to_owned(),
        target: String::new(),
        read_only: mode == "ro",
        propagation: "private".to_owned(),
    }
}

/// `HOST[:CONTAINER][:ACCESS]` of `--device`.
pub(super) fn device(text: &str) -> String {
    let (path, rest) = text.split_once(':').unwrap_or((text, ""));
    let access = rest.rsplit(':').next().filter(|word| word.bytes().all(|letter| b"rwm".contains(&letter)));
    device_with(path, access.unwrap_or_default())
}

/// A device and what may be done with it; nothing said is everything.
pub(super) fn device_with(path: &str, access: &str) -> String {
    let all = access.is_empty() || "rwm".chars().all(|letter| access.contains(letter));
    if all { path.to_owned() } else { format!("{path} {access}") }
}

/// `[HOST:]CONTAINER[:OPTIONS]` of `-v`; a host part that is no path names a volume.
pub(super) fn volume(text: &str) -> DeclaredMount {
    let mut parts: Vec<&str> = text.split(':').collect();
    // The last part holds options unless it is a path.
    let options =
        if parts.len() > 1 && !parts[parts.len() - 1].starts_with('/') { parts.pop() } else { None };
    let (source, target) = match parts.as_slice() {
        [target] => ("", *target),
        [source, target, ..] => (*source, *target),
        [] => ("", ""),
    };
    let options: Vec<&str> = options.unwrap_or_default().split(',').collect();
    let is_path = source.starts_with(['/', '.', '~', '$']);
    let travels = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
    DeclaredMount {
        kind: if is_path { "bind" } else { "volume" }.to_owned(),
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: options.contains(&"ro"),
        propagation: options.iter().find(|option| travels.contains(option)).unwrap_or(&"private").to_string(),
    }
}

/// `[[IP:]HOST:]CONTAINER[/PROTOCOL]` of `-p`, ranges as their first port.
pub(super) fn port(text: &str) -> Option<Port> {
    let text = text.split('/').next().unwrap_or_default();
    // An IPv6 address stands in brackets.
    let (host_ip, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((ip, rest)) => (ip.to_owned(), rest),
        None => match text.matches(':').count() {
            2.. => text.split_once(':').map(|(ip, rest)| (ip.to_owned(), rest))?,
            _ => (String::new(), text),
        },
    };
    let number = |text: &str| -> Option<u16> { text.split('-').next()?.parse().ok() };
    let (host_port, container_port) = match rest.split_once(':') {
        Some(("", container)) => (0, number(container)?),
        Some((host, container)) => (number(host)?, number(container)?),
        None => (0, number(rest)?),
    };
    Some(Port { host_ip, host_port, container_port })
}

/// A number of CPUs in thousandths.
pub(super) fn cpus(text: &str) -> Option<u64> {
    super::quantity::millis(text)
}

//! The one vocabulary of all declared forms.

use std::collections::BTreeMap;

use plim_model::CapabilitySet;
use schemars::JsonSchema;
use serde::Serialize;

use crate::text::{Node, Place};

/// Where a declaration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A pod, or something that makes pods.
    Kubernetes,
    /// A service of a Compose file.
    Compose,
    /// A `docker run` command line.
    DockerRun,
    /// What Docker says of a container (`docker inspect`).
    Docker,
    /// An OCI runtime configuration.
    Oci,
    /// An image's configuration.
    Image,
}

impl Form {
    /// Every form.
    pub const ALL: [Form; 6] =
        [Form::Kubernetes, Form::Compose, Form::DockerRun, Form::Docker, Form::Oci, Form::Image];

    /// The word in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Kubernetes => "kubernetes",
            Form::Compose => "compose",
            Form::DockerRun => "docker-run",
            Form::Docker => "docker",
            Form::Oci => "oci",
            Form::Image => "image",
        }
    }
}

/// Containers that are asked for together.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Workload {
    /// Where it comes from.
    pub form: Form,
    /// Kubernetes' kind (`Deployment`), else `service`, `container` or `image`.
    pub kind: String,
    /// Its name; generated names are the prefix with `*`.
    pub name: String,
    /// Kubernetes' namespace, or the Compose project.
    pub namespace: Option<String>,
    /// Labels of what makes the containers.
    pub labels: BTreeMap<String, String>,
    /// `linux`, or `windows` where it says so.
    pub os: String,
    /// The containers: init containers first, then the others, then ephemeral ones.
    pub containers: Vec<Container>,
    /// Where it is written.
    #[serde(skip)]
    pub at: Place,
    /// Kubernetes' pod as it is written (`metadata` and `spec`), for rules about what no other form has.
    #[serde(skip)]
    pub pod: Option<Box<Node>>,
}

impl Workload {
    /// `KIND/NAME`, with its namespace in front where it has one.
    pub fn target_name(&self) -> String {
        match &self.namespace {
            Some(namespace) if self.form == Form::Kubernetes => {
                format!("{namespace}/{}/{}", self.kind, self.name)
            }
            _ => format!("{}/{}", self.kind, self.name),
        }
    }
}

/// One container. `Option`s that are `None` are not decided by the declaration and missing from the JSON form, except
/// where a doc comment says that `null` means "none".
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// `container`, `init`, `sidecar` (an init container that stays) or `ephemeral`.
    pub role: &'static str,
    /// The image's reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Who it runs as, as written (`1000`, `app:app`); `null`: whatever the image says.
    pub user: Option<String>,
    /// Groups beside the user's own, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Whether it certainly runs as root, or certainly does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<bool>,
    /// All devices, capabilities and no seccomp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// The bounding set that the engine will give, sorted names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// Names added, as capabilities are spelt (`CAP_NET_ADMIN`, `ALL`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_add: Option<Vec<String>>,
    /// Names dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_drop: Option<Vec<String>>,
    /// Whether execve may not gain privileges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_new_privs: Option<bool>,
    /// The root file system cannot be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_root: Option<bool>,
    /// `default` (the engine's), `unconfined`, `profile` (one of its own), or `unset` (up to the node).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
    /// The profile's path, where it has one of its own; inline profiles are `inline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<String>,
    /// `default`, `unconfined`, `unset`, or a profile's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// `default`, `unconfined` or the label's options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
    /// By kind (`cgroup`, `ipc`, `mnt`, `net`, `pid`, `user`, `uts`): `own`, `host`, `shareable`, or whose (`container:db`).
    /// `user: host` is what engines do unless they are told otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<BTreeMap<&'static str, String>>,
    /// What is mounted beside the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<DeclaredMount>>,
    /// Devices of the host by their path there, with the access behind it where that is not all (`/dev/sda r`); rules of the
    /// device cgroup that were asked for, and requests for GPUs, as they are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
    /// All rules of the device cgroup that permit something, where the declaration holds the engine's own too (`c 1:3 rwm`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_rules: Option<Vec<String>>,
    /// Sysctls that are set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<BTreeMap<String, String>>,
    /// Published ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<Port>>,
    /// Whether the engine's masked and read-only paths of /proc and /sys are in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked_paths: Option<bool>,
    /// Whether /proc/sys is among the read-only ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc_sys_read_only: Option<bool>,
    /// The rest is grouped because only some forms say anything of it.
    #[serde(flatten)]
    pub resources: Resources,
    /// Facts that the text leaves to a variable, by their path (`namespaces.net`), and why; they are missing from the JSON form.
    #[serde(skip)]
    pub undecided: BTreeMap<String, String>,
}

impl Container {
    /// Takes away what `undecided` names, so that asking for it is an error and not an answer.
    pub(super) fn leave_undecided(&mut self, undecided: BTreeMap<String, String>) {
        for path in undecided.keys() {
            match path.as_str() {
                "user" => self.user = None,
                "groups" => self.groups = None,
                "image" => self.image = None,
                "root" => self.root = None,
                "privileged" => self.privileged = None,
                "capabilities" => self.capabilities = None,
                "cap_add" => self.cap_add = None,
                "cap_drop" => self.cap_drop = None,
                "no_new_privs" => self.no_new_privs = None,
                "read_only_root" => self.read_only_root = None,
                "seccomp" => (self.seccomp, self.seccomp_profile) = (None, None),
                "apparmor" => self.apparmor = None,
                "selinux" => self.selinux = None,
                "namespaces" => self.namespaces = None,
                "mounts" => self.mounts = None,
                "devices" => self.devices = None,
                "sysctls" => self.sysctls = None,
                "ports" => self.ports = None,
                "masked_paths" => self.masked_paths = None,
                "proc_sys_read_only" => self.proc_sys_read_only = None,
                "memory_max_bytes" => self.resources.memory_max_bytes = None,
                "millicpus" => self.resources.millicpus = None,
                "cpu_shares" => self.resources.cpu_shares = None,
                "pids_max" => self.resources.pids_max = None,
                "restart" => self.resources.restart = None,
                "healthcheck" => self.resources.healthcheck = None,
                "ulimits" => self.resources.ulimits = None,
                "cgroup_parent" => self.resources.cgroup_parent = None,
                "network" => self.resources.network = None,
                "runtime" => self.resources.runtime = None,
                other => {
                    if let (Some(kind), Some(namespaces)) =
                        (other.strip_prefix("namespaces."), &mut self.namespaces)
                    {
                        namespaces.remove(kind);
                    }
                }
            }
        }
        self.undecided = undecided;
    }

    /// Why none of these facts can be judged, where one of them is undecided.
    pub(crate) fn why_undecided(&self, facts: &[&str]) -> Option<&str> {
        let concerned = |path: &str| facts.contains(&path.split('.').next().unwrap_or_default());
        self.undecided.iter().find(|(path, _)| concerned(path)).map(|(_, why)| why.as_str())
    }
}

/// Every fact that [`Container::leave_undecided`] takes away.
pub(super) const FACTS: [&str; 30] = [
    "apparmor",
    "cap_add",
    "cap_drop",
    "capabilities",
    "cgroup_parent",
    "cpu_shares",
    "devices",
    "groups",
    "healthcheck",
    "image",
    "masked_paths",
    "memory_max_bytes",
    "millicpus",
    "mounts",
    "namespaces",
    "network",
    "no_new_privs",
    "pids_max",
    "ports",
    "privileged",
    "proc_sys_read_only",
    "read_only_root",
    "restart",
    "root",
    "runtime",
    "seccomp",
    "selinux",
    "sysctls",
    "ulimits",
    "user",
];

/// Limits and life cycle. `Some(None)` is "no limit", written `null`; `None` is not decided.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Resources {
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<Option<u64>>,
    /// Thousandths of a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub millicpus: Option<Option<u64>>,
    /// Relative weight, as v1 shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<Option<u64>>,
    /// Tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<Option<u64>>,
    /// `no`, `always`, `on-failure`, `on-failure:N`, `unless-stopped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// A health check is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<bool>,
    /// Rlimits that are set: `nofile=SOFT:HARD`, or one number for both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ulimits: Option<Vec<String>>,
    /// The parent cgroup, `null` for the engine's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<Option<String>>,
    /// Docker's network: `bridge` (docker0), `host`, `none`, or a network's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The OCI runtime or runtime class, where it is not the engine's own: `runsc` and `kata` are other kernels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct DeclaredMount {
    /// `bind` (of the host), `volume`, `tmpfs`, `volumes-from` (whatever the container that is its source has), or Kubernetes' volume type.
    pub kind: String,
    /// The host's path of a bind mount, else the volume's name.
    pub source: String,
    /// Where.
    pub target: String,
    /// Cannot be written.
    pub read_only: bool,
    /// `private`, `rslave`, `rshared`, `shared`, ….
    pub propagation: String,
}

/// A port of the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Port {
    /// The host's address, empty for all of them.
    pub host_ip: String,
    /// The host's port; 0 for any free one.
    pub host_port: u16,
    /// The container's.
    pub container_port: u16,
}

/// The paths that engines hide below /proc and /sys (OCI `linux.maskedPaths` as Docker and containerd write it). Kernels lack
/// some of them.
pub(crate) const DEFAULT_MASKED: [&str; 8] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];

/// `net_admin`, `NET_ADMIN` and `CAP_NET_ADMIN` are one; `all` is `ALL`.
pub(crate) fn capability_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" || upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

/// Sorted names of [`capability_name`].
pub(crate) fn capability_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(capability_name).collect();
    names.sort();
    names.dedup();
    names
}

/// What an engine with Docker's defaults gives: the defaults, or everything but `drop` after `add: ALL`, or only `add` after
/// `drop: ALL` (moby `daemon/pkg/oci/caps`, containerd's CRI plug-in). Unknown names are kept: nothing is lost by them.
pub(crate) fn bounding(
    defaults: CapabilitySet,
    privileged: bool,
    add: &[String],
    drop: &[String],
) -> Vec<String> {
    let all = || -> Vec<String> { plim_model::Capability::known().map(|c| c.to_string()).collect() };
    if privileged {
        let mut names = all();
        names.sort();
        return names;
    }
    let has = |list: &[String], name: &str| list.iter().any(|known| known == name);
    let mut names = match (has(add, "ALL"), has(drop, "ALL")) {
        (true, _) => all(),
        (false, true) => Vec::new(),
        (false, false) => defaults.names(),
    };
    names.retain(|name| !has(drop, name));
    names.extend(add.iter().filter(|name| *name != "ALL").cloned());
    names.sort();
    names.dedup();
    names
}

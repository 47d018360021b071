//! [`ContainerConfig`]: everything the runtime does for one container, as plain data.
//!
//! It says what is wanted; nothing here touches the machine. Fields follow the OCI runtime specification
//! (config.md, config-linux.md) where it has a word for them, so that `oci` can translate both ways without loss.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::LazyLock;

use plim_model::rlimit::Rlimits;
use plim_model::{CapabilitySets, IdMap, NamespaceKind};

/// One container. Build it with `plim run`'s defaults or from an OCI bundle, then hand it to `create`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerConfig {
    /// 64 lower-case hex digits.
    pub id: String,
    /// Unique among running containers; `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    pub name: String,
    /// What runs in it.
    pub process: Process,
    /// Host name in the new uts namespace; needs `NamespaceKind::Uts` to be new.
    pub hostname: Option<String>,
    /// NIS domain name in the new uts namespace.
    pub domainname: Option<String>,
    /// The root file system.
    pub rootfs: Rootfs,
    /// Mounts in order; targets are resolved inside the root, never through a symlink out of it.
    pub mounts: Vec<Mount>,
    /// Each namespace kind that is not the caller's own.
    pub namespaces: BTreeMap<NamespaceKind, NamespaceMode>,
    /// Id maps of a new user namespace; `None` without one.
    pub id_maps: Option<IdMap>,
    /// `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` offsets of a new time namespace, in seconds and nanoseconds.
    pub time_offsets: Option<TimeOffsets>,
    /// Files masked by /dev/null, directories by an empty read-only tmpfs. A path that is not there is skipped,
    /// as the specification says; one that cannot be masked is an error.
    pub masked_paths: Vec<String>,
    /// Paths remounted read-only. The same rule.
    pub read_only_paths: Vec<String>,
    /// Device nodes made in /dev beside the standard six (null, zero, full, random, urandom, tty).
    pub devices: Vec<DeviceNode>,
    /// sysctls by dotted name; only those of the container's own namespaces may be set.
    pub sysctls: BTreeMap<String, String>,
    /// Limits. `None` everywhere means that no limit file is written; a cgroup is still made.
    pub resources: Resources,
    /// Where the cgroup goes, below the caller's own cgroup unless it starts with `/`; default `/plim-ID`.
    pub cgroup_path: Option<String>,
    /// The filter to install; `None` is `seccomp=unconfined`.
    pub seccomp: Option<Seccomp>,
    /// AppArmor profile to enter on exec (`/proc/self/attr/apparmor/exec`); an error where AppArmor is not active.
    pub apparmor_profile: Option<String>,
    /// SELinux context of the command, entered on exec (`/proc/self/attr/exec`); an error where SELinux is not active.
    pub selinux_label: Option<String>,
    /// SELinux context of every file on the file systems that are mounted for the container (`context=`, mount(8)).
    pub mount_label: Option<String>,
    /// Put an init at pid 1 that forwards signals and reaps, with the command as its child (docker run --init).
    pub init: bool,
    /// Docker's `--privileged` was asked: nothing is masked, all devices are there.
    pub privileged: bool,
    /// Bring the loopback interface of a new network namespace up.
    pub loopback_up: bool,
    /// Where the root file system comes from, in words for a person.
    pub image: Option<String>,
}

/// The first process.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Command and arguments; `args[0]` is looked up in the container's PATH.
    pub args: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Working directory in the container, absolute; made when missing, as Docker does.
    pub cwd: String,
    /// Give it a pseudo-terminal (`-t`).
    pub terminal: bool,
    /// Who it runs as, in the container's ids.
    pub user: User,
    /// The five sets at the moment of execve.
    pub capabilities: CapabilitySets,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// By `RLIMIT_…` name.
    pub rlimits: Rlimits,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

/// Numeric ids, resolved from names by the caller with the container's own /etc/passwd and /etc/group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// File mode creation mask; `None` keeps 0022.
    pub umask: Option<u32>,
}

/// The root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rootfs {
    /// Where the files come from.
    pub source: RootfsSource,
    /// Make it read-only after everything is mounted (`--read-only`).
    pub read_only: bool,
    /// Propagation of the container's root mount: `private` (Docker's default for `/`), `rprivate`, `slave`, `rslave`,
    /// `shared`, `rshared`, `unbindable`, `runbindable`.
    pub propagation: String,
}

/// Where the container's files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootfsSource {
    /// A directory, used as it is (`--rootfs`, OCI `root.path`).
    Directory(PathBuf),
    /// A directory as a read-only lower layer with a throw-away upper layer on tmpfs. For `/`, other file systems
    /// mounted below it (a separate /usr) are overlaid too, and each of `private` starts empty. No set-uid bit and no file
    /// capability counts, and a file that not everyone may read cannot be read in the container; where `lower` is on an
    /// overlay itself, such files below `/etc` are not there.
    Overlay {
        /// The lower layer, `/` by default.
        lower: PathBuf,
        /// Directories that start empty (`/tmp`, `/run`, `/home`, `/root`, `/var/lib`); what is above them is no link.
        private: Vec<String>,
        /// Size of the upper layer in bytes; `None` is tmpfs's default, half of memory.
        upper_size_bytes: Option<u64>,
    },
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the container.
    pub destination: String,
    /// `bind`, `proc`, `sysfs`, `tmpfs`, `devpts`, `mqueue`, `cgroup`, ….
    pub fs_type: String,
    /// Source as mount(2) takes it; for `bind` an absolute host path.
    pub source: String,
    /// Options as mount(8) and the OCI specification spell them (`ro`, `nosuid`, `rbind`, `rprivate`, `mode=755`).
    /// An option that is not known is an error.
    pub options: Vec<String>,
}

/// How one namespace is had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceMode {
    /// A new one.
    New,
    /// The one this file names (`/proc/PID/ns/net`, a bind-mounted namespace).
    Join(PathBuf),
}

/// Clock offsets of a time namespace (time_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOffsets {
    /// Seconds and nanoseconds added to CLOCK_MONOTONIC.
    pub monotonic: (i64, u32),
    /// Seconds and nanoseconds added to CLOCK_BOOTTIME.
    pub boottime: (i64, u32),
}

/// A device node to make in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Absolute path in the container.
    pub path: String,
    /// `b`, `c` or `p`.
    pub kind: char,
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
}

/// One rule of the device cgroup, in order; the last rule that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// `a` (all), `b` or `c`.
    pub kind: char,
    /// `None` is every major number.
    pub major: Option<u32>,
    /// `None` is every minor number.
    pub minor: Option<u32>,
    /// Any of `r`, `w`, `m`.
    pub access: String,
}

/// cgroup limits. `None` leaves the kernel's default. On v2, cpu shares are translated to a weight as runc does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Hard limit in bytes.
    pub memory_max_bytes: Option<u64>,
    /// Best-effort protection in bytes (`--memory-reservation`).
    pub memory_reservation_bytes: Option<u64>,
    /// Memory **plus** swap in bytes, as Docker's `--memory-swap`; -1 is unlimited swap.
    pub memory_swap_total_bytes: Option<i64>,
    /// Microseconds of CPU per period; -1 is no limit.
    pub cpu_quota_us: Option<i64>,
    /// Period in microseconds, 1,000 to 1,000,000.
    pub cpu_period_us: Option<u64>,
    /// Relative weight in v1's range 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// CPU list (`0-3,8`).
    pub cpuset_cpus: Option<String>,
    /// Memory node list.
    pub cpuset_mems: Option<String>,
    /// Most tasks; -1 is no limit.
    pub pids_max: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Throttles.
    pub throttles: Vec<Throttle>,
    /// Device rules; empty means that the device cgroup is left as it is inherited.
    pub device_rules: Vec<DeviceRule>,
}

/// One throttle of one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// What is throttled.
    pub kind: ThrottleKind,
    /// Bytes or operations per second, at least 1.
    pub rate: u64,
}

/// What a throttle counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleKind {
    /// `--device-read-bps`
    ReadBytes,
    /// `--device-write-bps`
    WriteBytes,
    /// `--device-read-iops`
    ReadOperations,
    /// `--device-write-iops`
    WriteOperations,
}

/// A compiled filter with the profile it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Seccomp {
    /// The program, already validated.
    pub program: plim_seccomp::bpf::Program,
    /// `SECCOMP_FILTER_FLAG_LOG`, `…_SPEC_ALLOW`, … (seccomp(2)); other bits are an error.
    pub flags: u64,
    /// The profile resolved for this container in OCI form, for `--print-spec` and the state file.
    pub oci: OciProfile,
}

/// A profile in OCI's words.
#[derive(Clone, Debug)]
pub enum OciProfile {
    /// As it was resolved or read.
    Value(serde_json::Value),
    /// Parsed when it is asked for: nobody waits for it before the container's first process is cloned.
    Later(&'static LazyLock<serde_json::Value>),
}

impl Deref for OciProfile {
    type Target = serde_json::Value;

    fn deref(&self) -> &serde_json::Value {
        match self {
            OciProfile::Value(value) => value,
            OciProfile::Later(value) => value,
        }
    }
}

impl PartialEq for OciProfile {
    fn eq(&self, other: &OciProfile) -> bool {
        **self == **other
    }
}

//! Docker's defaults, each with where Docker states it (moby `daemon/pkg/oci`, containerd and runc for the rest).

use plim_runtime::config::{DeviceRule, Mount};

mod capabilities;

pub(crate) use capabilities::{SECCOMP_PRESET, capabilities};

/// moby `daemon/pkg/oci/defaults.go`, defaultUnixPathEnv.
pub(crate) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What starts empty when the root is the host's own, whether the host has it or not: other people's files and sockets to services
/// of the host.
const PRIVATE_DIRECTORIES: [&str; 6] = ["/tmp", "/run", "/home", "/root", "/var/lib", "/var/tmp"];

/// Top-level directories that packages install programs in, and their configuration (hier(7); Nix and Guix have a store of their
/// own). `/dev`, `/proc` and `/sys` are mounted anew, and of `/var` each directory is private.
const SHOWN: [&str; 10] = ["bin", "dev", "etc", "gnu", "nix", "proc", "sbin", "sys", "usr", "var"];

/// What engines keep below /etc: registries, credentials, keys and addresses of the cluster. Most of it is for root alone, but not
/// all.
const ENGINES: [&str; 9] =
    ["cni", "containerd", "containers", "crio", "docker", "kubernetes", "rancher", "k0s", "nomad.d"];

/// Which directories start empty when the root is the host's own, given the names of the directories in its `/`, `/var` and
/// `/etc`. What is not there for programs is data: it is shown when it is asked for (`-v /opt:/opt:ro`).
pub(crate) fn private_directories(top: &[String], var: &[String], etc: &[String]) -> Vec<String> {
    let data = top.iter().filter(|name| !SHOWN.contains(&name.as_str()) && !name.starts_with("lib"));
    let engines = etc.iter().filter(|name| ENGINES.contains(&name.as_str()));
    let all: std::collections::BTreeSet<String> = PRIVATE_DIRECTORIES
        .map(str::to_owned)
        .into_iter()
        .chain(data.map(|name| format!("/{name}")))
        .chain(var.iter().map(|name| format!("/var/{name}")))
        .chain(engines.map(|name| format!("/etc/{name}")))
        .collect();
    all.into_iter().collect()
}

/// Names the machine, and with it every container on it: empty, as in Docker's images (machine-id(5)).
pub(crate) const MACHINE_ID: &str = "/etc/machine-id";

/// The most that the throw-away layer takes, unless half of the memory of the host, or of the container's limit, is less: then a
/// full layer is ENOSPC, and not the end of a process of the container or of the host.
pub(crate) fn layer_bytes(host_memory_bytes: u64, limit_bytes: Option<u64>) -> u64 {
    const MOST: u64 = 1 << 30;
    let memory = limit_bytes.unwrap_or(u64::MAX).min(host_memory_bytes);
    MOST.min(memory / 2)
}

/// moby `daemon/pkg/oci/defaults.go`, defaultLinuxMaskedPaths, less the thermal throttle counters, which depend on the
/// machine and are added by [`thermal_paths`].
pub(crate) const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts", // GHSA-6fw5-f8r9-fgfm: timing of key strokes
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap", // GHSA-jq35-85cj-fj4p: the power meter tells what the CPU computes
    "/sys/firmware",
];

/// moby masks `thermal_throttle` of each possible CPU where it is there (GHSA-6fw5-f8r9-fgfm); `possible` is the
/// kernel's list in /sys/devices/system/cpu/possible.
pub(crate) fn thermal_paths(possible: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for range in possible.trim().split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(low), Ok(high)) = (low.parse::<u32>(), high.parse::<u32>()) {
            // CONFIG_NR_CPUS is at most 8192.
            paths.extend(
                (low..=high.min(8191)).map(|n| format!("/sys/devices/system/cpu/cpu{n}/thermal_throttle")),
            );
        }
    }
    paths
}

/// moby `daemon/pkg/oci/defaults.go`, ReadonlyPaths.
pub(crate) const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// moby `daemon/pkg/oci/defaults.go`, Mounts; `/dev/shm` gets its size as `daemon/oci_linux.go` (WithMounts) gives it.
pub(crate) fn mounts(shm_bytes: u64) -> Vec<Mount> {
    let shm_size = format!("size={shm_bytes}");
    let mount = |destination: &str, fs_type: &str, source: &str, options: &[&str]| Mount {
        destination: destination.to_owned(),
        fs_type: fs_type.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm_size]),
    ]
}

/// Every device, for `--privileged`.
pub(crate) fn all_devices_rule() -> DeviceRule {
    DeviceRule { allow: true, kind: 'a', major: None, minor: None, access: "rwm".to_owned() }
}

/// moby `daemon/oci_linux.go`, WithCommonOptions: a new network namespace lets anyone in it open low ports, and ping
/// without a capability; the latter cannot be set in a user namespace, where the range of groups is not mapped.
pub(crate) fn network_sysctls(user_namespace: bool) -> Vec<(&'static str, &'static str)> {
    let mut list = vec![("net.ipv4.ip_unprivileged_port_start", "0")];
    if !user_namespace {
        list.push(("net.ipv4.ping_group_range", "0 2147483647"));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thermal_paths_follow_the_kernels_list() {
        assert_eq!(
            thermal_paths("0-1,3\n"),
            [
                "/sys/devices/system/cpu/cpu0/thermal_throttle",
                "/sys/devices/system/cpu/cpu1/thermal_throttle",
                "/sys/devices/system/cpu/cpu3/thermal_throttle",
            ]
        );
        assert!(thermal_paths("").is_empty());
        assert!(thermal_paths("x-y").is_empty());
    }

    #[test]
    fn directories_of_data_are_private() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let top =
            names(&["bin", "boot", "data", "etc", "lib", "lib64", "libx32", "opt", "proc", "usr", "var"]);
        let private = private_directories(&top, &names(&["cache", "lib", "www"]), &names(&["apt", "docker"]));
        assert_eq!(
            private,
            [
                "/boot",
                "/data",
                "/etc/docker",
                "/home",
                "/opt",
                "/root",
                "/run",
                "/tmp",
                "/var/cache",
                "/var/lib",
                "/var/tmp",
                "/var/www",
            ]
        );
    }

    #[test]
    fn the_layer_takes_a_gibibyte_or_half_of_the_memory() {
        const G: u64 = 1 << 30;
        for (host, limit, expected) in
            [(64 * G, None, G), (G, None, G / 2), (64 * G, Some(G / 4), G / 8), (G, Some(8 * G), G / 2)]
        {
            assert_eq!(layer_bytes(host, limit), expected, "{host} {limit:?}");
        }
    }

    #[test]
    fn the_first_device_rule_denies_everything() {
        let rules = plim_runtime::cgroup::docker_default_rules();
        assert!(!rules[0].allow && rules[0].kind == 'a');
        assert!(rules[1..].iter().all(|rule| rule.allow));
        // No block device can be opened, and no memory device (1:1 mem, 1:2 kmem, 1:4 port).
        assert!(rules[1..].iter().all(|rule| rule.kind == 'c' || rule.access == "m"));
        assert!(
            !rules
                .iter()
                .any(|r| r.allow && r.major == Some(1) && [Some(1), Some(2), Some(4)].contains(&r.minor))
        );
    }
}

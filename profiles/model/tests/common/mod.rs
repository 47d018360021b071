//! A snapshot of a container with Docker's default confinement, to start every case from.

use std::collections::BTreeMap;

use plim_model::cgroup::{Cgroup, CgroupVersion, Cpu, Io, Level, Memory, Pids};
use plim_model::mount::{Mount, Propagation};
use plim_model::namespace::Namespace;
use plim_model::process::User;
use plim_model::rlimit::{Limit, Rlimit};
use plim_model::seccomp::{Seccomp, SeccompArchSummary, SeccompFilter, SeccompMode};
use plim_model::snapshot::{Devices, Lsm, SNAPSHOT_FORMAT, Snapshot, TargetInfo};
use plim_model::{
    CapabilitySet, CapabilitySets, HostPid, IdMap, IdMapping, NamespaceId, NamespaceKind, Observed,
};

pub(crate) fn mount(target: &str, root: &str, fs_type: &str, options: &[&str]) -> Mount {
    Mount {
        target: target.to_owned(),
        root: root.to_owned(),
        fs_type: fs_type.to_owned(),
        source: fs_type.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        super_options: vec!["rw".to_owned()],
        propagation: Propagation::Private,
    }
}

pub(crate) fn docker_like(id: &str, pid: i32) -> Snapshot {
    let capabilities = CapabilitySet::from_bits(0xa804_25fb);
    let private = |offset: u64| {
        Observed::Present(Namespace {
            inode: NamespaceId(4_026_532_000 + u64::try_from(pid).expect("positive") * 10 + offset),
            shared_with_host: Observed::Present(false),
            shared_with: vec![],
        })
    };
    let mut namespaces: BTreeMap<_, _> =
        (0..).zip(NamespaceKind::ALL).map(|(n, kind)| (kind, private(n))).collect();
    for kind in [NamespaceKind::User, NamespaceKind::Time, NamespaceKind::Cgroup] {
        namespaces.insert(
            kind,
            Observed::Present(Namespace {
                inode: NamespaceId(4_026_531_837),
                shared_with_host: Observed::Present(true),
                shared_with: vec![],
            }),
        );
    }
    let whole = IdMapping { inside: 0, outside: 0, count: u32::MAX };
    Snapshot {
        format: SNAPSHOT_FORMAT.to_owned(),
        target: TargetInfo {
            engine: "docker".to_owned(),
            id: id.to_owned(),
            name: Some(format!("name-{pid}")),
            pid: HostPid(pid),
            image: Some("debian:12".to_owned()),
            command: vec!["sleep".to_owned(), "60".to_owned()],
        },
        user: Observed::Present(User { uid: [0; 4], gid: [0; 4], groups: vec![0] }),
        namespaces,
        id_maps: Observed::Present(IdMap { uid: vec![whole], gid: vec![whole] }),
        capabilities: Observed::Present(CapabilitySets {
            effective: capabilities,
            permitted: capabilities,
            inheritable: CapabilitySet::EMPTY,
            bounding: capabilities,
            ambient: CapabilitySet::EMPTY,
        }),
        no_new_privs: Observed::Present(false),
        seccomp: Seccomp {
            mode: Observed::Present(SeccompMode::Filter),
            filter_count: Observed::Present(1),
            filters: Observed::Present(vec![SeccompFilter {
                length: 266,
                sha256: "ab".repeat(32),
                log: Observed::Unknown("PTRACE_SECCOMP_GET_METADATA: EINVAL".to_owned()),
                summary: vec![SeccompArchSummary {
                    arch: "SCMP_ARCH_X86_64".to_owned(),
                    allowed: 300,
                    refused: 70,
                    conditional: 3,
                }],
            }]),
        },
        lsm: Lsm {
            active: Observed::Present(vec!["capability".to_owned(), "landlock".to_owned()]),
            ..Lsm::default()
        },
        cgroup: Cgroup {
            version: Observed::Present(CgroupVersion::Hybrid),
            paths: BTreeMap::from([("memory".to_owned(), format!("/docker/{id}"))]),
            memory: Observed::Present(Memory {
                max_bytes: Observed::Present(Limit::Of(64 << 20)),
                effective_max_bytes: Observed::Present(Limit::Of(64 << 20)),
                swap_max_bytes: Observed::Absent,
                effective_swap_max_bytes: Observed::Absent,
                low_bytes: Observed::Absent,
                high_bytes: Observed::Absent,
                current_bytes: Observed::Present(u64::try_from(pid).expect("positive") * 4096),
                levels: vec![Level {
                    path: format!("/docker/{id}"),
                    max: Observed::Present(Limit::Of(64 << 20)),
                }],
            }),
            cpu: Observed::Present(Cpu {
                quota_us: Observed::Present(Limit::Max),
                period_us: Observed::Present(100_000),
                effective_millicpus: Observed::Present(Limit::Max),
                shares: Observed::Present(1024),
                cpuset_cpus: Observed::Present("0-1".to_owned()),
                effective_cpuset_cpus: Observed::Present("0-1".to_owned()),
                ..Cpu::default()
            }),
            pids: Observed::Present(Pids {
                max: Observed::Present(Limit::Of(100)),
                effective_max: Observed::Present(Limit::Of(100)),
                current: Observed::Present(3),
                levels: vec![],
            }),
            io: Observed::Present(Io::default()),
        },
        mounts: Observed::Present(vec![
            Mount {
                super_options: vec![format!("upperdir=/var/lib/docker/overlay2/{id}/diff"), "rw".to_owned()],
                ..mount("/", "/", "overlay", &["relatime", "rw"])
            },
            mount("/proc", "/", "proc", &["nodev", "noexec", "nosuid", "rw"]),
            mount("/proc/sys", "/sys", "proc", &["nodev", "noexec", "nosuid", "ro"]),
            mount("/proc/kcore", "/null", "tmpfs", &["nosuid", "rw"]),
            mount("/etc/hostname", &format!("/var/lib/docker/containers/{id}/hostname"), "ext4", &["rw"]),
        ]),
        masked_paths: Observed::Present(vec!["/proc/kcore".to_owned()]),
        read_only_paths: Observed::Present(vec!["/proc/sys".to_owned()]),
        devices: Devices {
            nodes: Observed::Present(vec![]),
            cgroup_rules: Observed::Present(vec!["c 1:3 rwm".to_owned(), "c 5:* rwm".to_owned()]),
        },
        rlimits: Observed::Present(BTreeMap::from([(
            "RLIMIT_NOFILE".to_owned(),
            Rlimit { soft: Limit::Of(1024), hard: Limit::Of(4096) },
        )])),
        sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_owned(), Observed::Present("0".to_owned()))]),
        engine_sockets: Observed::Present(vec![]),
        process_count: Observed::Present(u32::try_from(pid).expect("positive")),
        odd_processes: Observed::Present(vec![]),
        unknown: vec![],
    }
}

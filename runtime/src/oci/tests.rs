//! Round trips, and every property that cannot be honoured.

use std::collections::BTreeMap;
use std::path::PathBuf;

use plim_model::rlimit::{Limit, Rlimit};
use plim_model::{Capability, CapabilitySet, CapabilitySets, IdMap, IdMapping, NamespaceKind};
use plim_seccomp::arch::Arch;
use plim_seccomp::{compile, dialect, resolve};
use serde_json::{Value, json};

use super::*;
use crate::config::*;

fn facts() -> Facts {
    Facts {
        arch: Arch::from_name("x86_64").unwrap(),
        kernel: KernelVersion { major: 6, minor: 18 },
        bundle: PathBuf::from("/bundle"),
    }
}

fn seccomp(bounding: CapabilitySet) -> Seccomp {
    let text = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        ],
    });
    let written = dialect::parse(text.to_string().as_bytes()).unwrap();
    let facts = resolve::Facts::new(facts().arch, bounding, facts().kernel);
    let resolved = resolve::resolve(&written, &facts).unwrap().unwrap();
    Seccomp {
        program: compile::compile(&resolved).unwrap(),
        flags: 0,
        oci: OciProfile::Value(resolved.to_oci_json()),
    }
}

/// A config in which every field says something.
fn rich() -> ContainerConfig {
    let set = |numbers: &[u8]| -> CapabilitySet {
        numbers.iter().filter_map(|n| Capability::from_number(*n)).collect()
    };
    let rule = |allow, kind, major, minor, access: &str| DeviceRule {
        allow,
        kind,
        major,
        minor,
        access: access.to_owned(),
    };
    let throttle = |kind, rate| Throttle { major: 8, minor: 16, kind, rate };
    ContainerConfig {
        id: "ab".repeat(32),
        name: "calm-keel".to_owned(),
        process: Process {
            args: vec!["sh".to_owned(), "-c".to_owned(), "echo \"\u{e4}\"".to_owned()],
            env: vec!["PATH=/bin".to_owned(), "EMPTY=".to_owned()],
            cwd: "/srv".to_owned(),
            terminal: true,
            user: User { uid: 1000, gid: 1001, additional_gids: vec![1001, 4], umask: Some(0o27) },
            capabilities: CapabilitySets {
                effective: set(&[0]),
                permitted: set(&[0, 1]),
                inheritable: set(&[0, 1, 2]),
                bounding: set(&[0, 1, 2, 13]),
                ambient: set(&[0, 40]),
            },
            no_new_privileges: true,
            rlimits: BTreeMap::from([
                ("RLIMIT_CORE".to_owned(), Rlimit { soft: Limit::Of(0), hard: Limit::Max }),
                ("RLIMIT_NOFILE".to_owned(), Rlimit { soft: Limit::Of(1024), hard: Limit::Of(4096) }),
            ]),
            oom_score_adj: Some(-17),
        },
        hostname: Some("box".to_owned()),
        domainname: Some("yard".to_owned()),
        rootfs: Rootfs {
            source: RootfsSource::Overlay {
                lower: PathBuf::from("/"),
                private: vec!["/tmp".to_owned(), "/root".to_owned(), "/var/lib".to_owned()],
                upper_size_bytes: Some(1 << 30),
            },
            read_only: true,
            propagation: "rslave".to_owned(),
        },
        mounts: vec![
            Mount {
                destination: "/proc".to_owned(),
                fs_type: "proc".to_owned(),
                source: "proc".to_owned(),
                options: vec!["nosuid".to_owned()],
            },
            Mount {
                destination: "/tmp".to_owned(),
                fs_type: "bind".to_owned(),
                source: "/srv/x".to_owned(),
                options: vec!["rbind".to_owned(), "ro".to_owned()],
            },
        ],
        namespaces: NamespaceKind::ALL
            .into_iter()
            .map(|kind| match kind {
                NamespaceKind::Net => (kind, NamespaceMode::Join(PathBuf::from("/proc/7/ns/net"))),
                _ => (kind, NamespaceMode::New),
            })
            .collect(),
        id_maps: Some(IdMap {
            uid: vec![IdMapping { inside: 0, outside: 100_000, count: 65_536 }],
            gid: vec![IdMapping { inside: 0, outside: 200_000, count: 65_536 }],
        }),
        time_offsets: Some(TimeOffsets { monotonic: (-5, 1), boottime: (86_400, 999_999_999) }),
        masked_paths: vec!["/proc/kcore".to_owned()],
        read_only_paths: vec!["/proc/sys".to_owned()],
        devices: vec![DeviceNode {
            path: "/dev/fuse".to_owned(),
            kind: 'c',
            major: 10,
            minor: 229,
            mode: 0o600,
            uid: 1,
            gid: 2,
        }],
        sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_owned(), "1".to_owned())]),
        resources: Resources {
            memory_max_bytes: Some(64 << 20),
            memory_reservation_bytes: Some(32 << 20),
            memory_swap_total_bytes: Some(-1),
            cpu_quota_us: Some(50_000),
            cpu_period_us: Some(100_000),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0-1".to_owned()),
            cpuset_mems: Some("0".to_owned()),
            pids_max: Some(100),
            blkio_weight: Some(300),
            throttles: vec![
                throttle(ThrottleKind::ReadBytes, 1),
                throttle(ThrottleKind::WriteBytes, 2),
                throttle(ThrottleKind::ReadOperations, 3),
                throttle(ThrottleKind::WriteOperations, 4),
            ],
            device_rules: vec![
                rule(false, 'a', None, None, "rwm"),
                rule(true, 'c', Some(10), Some(229), "rw"),
                rule(true, 'b', Some(8), None, "r"),
            ],
        },
        cgroup_path: Some("/yard/x".to_owned()),
        seccomp: Some(seccomp(set(&[0, 1, 2, 13]))),
        apparmor_profile: Some("mine".to_owned()),
        selinux_label: Some("system_u:system_r:container_t:s0:c1,c2".to_owned()),
        mount_label: Some("system_u:object_r:container_file_t:s0:c1,c2".to_owned()),
        init: true,
        privileged: true,
        loopback_up: true,
        image: Some("the host's root".to_owned()),
    }
}

fn read(spec: &Value) -> Bundle {
    from_spec(spec, &facts()).unwrap_or_else(|error| panic!("{error}\n{spec:#}"))
}

#[test]
fn a_rich_config_survives_the_round_trip() {
    let config = rich();
    let spec = to_spec(&config);
    let bundle = read(&spec);
    assert_eq!(bundle.config, config);
    assert_eq!(bundle.warnings, []);
    assert_eq!(to_spec(&bundle.config).to_string(), spec.to_string(), "same input, same bytes");
}

#[test]
fn a_plain_config_survives_the_round_trip() {
    let mut config = rich();
    config.id = String::new();
    config.name = String::new();
    config.hostname = None;
    config.domainname = None;
    config.rootfs = Rootfs {
        source: RootfsSource::Directory(PathBuf::from("/srv/root")),
        read_only: false,
        propagation: "private".to_owned(),
    };
    config.namespaces =
        BTreeMap::from([(NamespaceKind::Mnt, NamespaceMode::New), (NamespaceKind::Net, NamespaceMode::New)]);
    config.id_maps = None;
    config.time_offsets = None;
    config.masked_paths.clear();
    config.read_only_paths.clear();
    config.devices.clear();
    config.sysctls.clear();
    config.resources = Resources::default();
    config.cgroup_path = None;
    config.seccomp = None;
    config.apparmor_profile = None;
    config.selinux_label = None;
    config.mount_label = None;
    config.process.rlimits.clear();
    config.process.oom_score_adj = None;
    config.process.user = User { uid: 0, gid: 0, additional_gids: Vec::new(), umask: None };
    config.init = false;
    config.privileged = false;
    config.image = None;
    let spec = to_spec(&config);
    assert!(spec.get("annotations").is_none(), "{spec:#}");
    assert_eq!(read(&spec).config, config);
}

/// The reference library reads what is written, and finds every key that was written in a place it knows.
#[test]
fn the_document_is_what_the_reference_types_take() {
    let spec = to_spec(&rich());
    let typed: oci_spec::runtime::Spec = serde_json::from_value(spec.clone()).unwrap();
    let again = serde_json::to_value(&typed).unwrap();
    fn covered(ours: &Value, theirs: &Value, at: &str) {
        match (ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) => {
                for (key, value) in ours {
                    let their =
                        theirs.get(key).unwrap_or_else(|| panic!("{at}/{key} is not in the reference types"));
                    covered(value, their, &format!("{at}/{key}"));
                }
            }
            // Sets have an order of their own there.
            (Value::Array(ours), Value::Array(theirs)) if ours.iter().all(Value::is_string) => {
                assert_eq!(ours.len(), theirs.len(), "{at}");
            }
            (Value::Array(ours), Value::Array(theirs)) => {
                assert_eq!(ours.len(), theirs.len(), "{at}");
                for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                    covered(ours, theirs, &format!("{at}/{index}"));
                }
            }
            _ => assert_eq!(ours, theirs, "{at}"),
        }
    }
    covered(&spec, &again, "");
}

#[test]
fn an_overlay_is_read_only_to_those_who_do_not_know_it() {
    let mut config = rich();
    config.rootfs.read_only = false;
    let spec = to_spec(&config);
    assert_eq!(spec["root"], json!({"path": "/", "readonly": true}));
    let destinations: Vec<&str> =
        spec["mounts"].as_array().unwrap().iter().filter_map(|m| m["destination"].as_str()).collect();
    assert_eq!(destinations, ["/tmp", "/root", "/var/lib", "/proc", "/tmp"]);
    assert_eq!(read(&spec).config, config);
}

/// What every document needs, and no more.
fn minimal() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {"args": ["true"], "cwd": "/"},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "pid"}]},
    })
}

#[test]
fn a_minimal_bundle_has_the_specifications_defaults() {
    let config = read(&minimal()).config;
    assert_eq!(config.rootfs.source, RootfsSource::Directory(PathBuf::from("/bundle/rootfs")));
    assert_eq!(config.rootfs.propagation, "private");
    assert_eq!(config.process.capabilities, CapabilitySets::default());
    assert!(config.loopback_up && !config.process.terminal && !config.process.no_new_privileges);
    assert_eq!(config.resources, Resources::default());
    assert!(config.seccomp.is_none() && config.hostname.is_none() && config.id.is_empty());
}

/// `minimal` with `value` at `pointer`, objects on the way made.
fn with(pointer: &str, value: Value) -> Value {
    let mut spec = minimal();
    let mut at = &mut spec;
    for key in pointer.trim_start_matches('/').split('/') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key];
    }
    *at = value;
    spec
}

#[test]
fn what_cannot_be_honoured_is_refused_by_its_pointer() {
    for (pointer, value) in [
        ("/hooks", json!({"prestart": [{"path": "/bin/true"}]})),
        ("/hooks", json!({"poststop": [{"path": "/bin/true"}]})),
        ("/vm", json!({"kernel": {"path": "/vmlinuz"}})),
        ("/windows", json!({"layerFolders": ["x"]})),
        ("/solaris", json!({"milestone": "x"})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 4})),
        ("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 1})),
        ("/process/execCPUAffinity", json!({"initial": "0"})),
        ("/process/commandLine", json!("cmd /c dir")),
        ("/process/user/username", json!("web")),
        ("/linux/mountLabel", json!("x\",size=1")),
        ("/linux/intelRdt", json!({"closID": "x"})),
        ("/linux/personality", json!({"domain": "LINUX32"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"})),
        ("/linux/netDevices", json!({"eth0": {"name": "eth1"}})),
        ("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 1}])),
        ("/linux/resources/rdma", json!({"mlx5": {"hcaHandles": 3}})),
        ("/linux/resources/unified", json!({"memory.high": "1"})),
        ("/linux/resources/network", json!({"classID": 7})),
        ("/linux/resources/memory/kernelTCP", json!(5)),
        ("/linux/resources/memory/kernel", json!(5)),
        ("/linux/resources/memory/swappiness", json!(5)),
        ("/linux/resources/memory/disableOOMKiller", json!(true)),
        ("/linux/resources/cpu/idle", json!(1)),
        ("/linux/resources/cpu/burst", json!(1)),
        ("/linux/resources/cpu/realtimeRuntime", json!(1)),
        ("/linux/resources/cpu/realtimePeriod", json!(1)),
        ("/linux/resources/blockIO/leafWeight", json!(100)),
        ("/linux/resources/blockIO/weightDevice", json!([{"major": 8, "minor": 0, "weight": 100}])),
        ("/linux/seccomp/listenerPath", json!("/run/agent.sock")),
    ] {
        let error = from_spec(&with(pointer, value.clone()), &facts()).expect_err(pointer);
        assert_eq!(error.pointer, pointer, "{error}");
    }
}

#[test]
fn engines_say_nothing_in_many_words() {
    for (pointer, value) in [
        ("/hooks", json!({})),
        ("/process/selinuxLabel", json!("")),
        ("/process/apparmorProfile", json!("")),
        ("/linux/mountLabel", json!("")),
        ("/linux/resources/memory", json!({"disableOOMKiller": false, "limit": 0, "swap": 0})),
        ("/linux/resources/cpu", json!({"shares": 0, "cpus": ""})),
        ("/linux/resources/blockIO", json!({"weight": 0})),
        ("/linux/resources/pids", json!({"limit": 0})),
        ("/linux/seccomp", json!(null)),
        ("/hostname", json!("")),
    ] {
        let bundle = read(&with(pointer, value));
        assert_eq!(bundle.config, read(&minimal()).config, "{pointer}");
        assert_eq!(bundle.warnings, [], "{pointer}");
    }
}

#[test]
fn wrong_values_are_refused_by_their_pointer() {
    for (pointer, value, at, message) in [
        ("/ociVersion", json!("2.0.0"), "/ociVersion", "expected 1.x"),
        ("/process", json!(null), "/process", "missing"),
        ("/process/args", json!([]), "/process/args", "name of a command"),
        ("/process/args", json!(["a", 7]), "/process/args/1", "found 7, expected a string"),
        ("/process/args", json!(["a\0b"]), "/process/args/0", "NUL"),
        ("/process/cwd", json!("srv"), "/process/cwd", "absolute"),
        ("/process/env", json!(["A=1", "B"]), "/process/env/1", "NAME=VALUE"),
        ("/process/oomScoreAdj", json!(1001), "/process/oomScoreAdj", "from -1000 to 1000"),
        ("/process/user/uid", json!(-1), "/process/user/uid", "at least 0"),
        ("/process/user/umask", json!(512), "/process/user/umask", "from 0 to 511"),
        (
            "/process/capabilities/bounding",
            json!(["CAP_X"]),
            "/process/capabilities/bounding/0",
            "unknown capability",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
            "/process/rlimits/0/type",
            "unknown",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]),
            "/process/rlimits/0",
            "soft limit 2 is above the hard limit 1",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALOW"}),
            "/linux/seccomp/defaultAction",
            "SCMP_ACT_ALOW",
        ),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "/linux/seccomp", "supervisor"),
        ("/root/path", json!(""), "/root/path", "path of a directory"),
        ("/mounts", json!([{"destination": "x", "type": "tmpfs"}]), "/mounts/0/destination", "absolute"),
        ("/mounts", json!([{"destination": "/x"}]), "/mounts/0/type", "missing"),
        ("/mounts", json!([{"destination": "/x", "options": ["bind"]}]), "/mounts/0", "no source"),
        (
            "/mounts",
            json!([{"destination": "/x", "type": "bind", "source": "/y",
                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}]),
            "/mounts/0/uidMappings",
            "not supported",
        ),
        ("/linux/namespaces", json!([{"type": "pid"}]), "/linux/namespaces", "mount namespace"),
        ("/linux/namespaces", json!([{"type": "mnt"}]), "/linux/namespaces/0/type", "unknown kind"),
        (
            "/linux/namespaces",
            json!([{"type": "mount", "path": "/proc/1/ns/mnt"}]),
            "/linux/namespaces/0/path",
            "joining a mount namespace",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "mount"}]),
            "/linux/namespaces/1/type",
            "twice",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "user"}]),
            "/linux/uidMappings",
            "new user namespace needs it",
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 1, "size": 1}]),
            "/linux/gidMappings",
            "missing beside uidMappings",
        ),
        ("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}), "/linux/timeOffsets", "new time namespace"),
        ("/linux/rootfsPropagation", json!("both"), "/linux/rootfsPropagation", "expected one of private"),
        ("/linux/maskedPaths", json!(["proc"]), "/linux/maskedPaths/0", "absolute"),
        ("/linux/devices", json!([{"type": "x", "path": "/dev/x"}]), "/linux/devices/0/type", "b, c, u or p"),
        (
            "/linux/resources/devices",
            json!([{"allow": true, "access": "rx"}]),
            "/linux/resources/devices/0/access",
            "r, w and m",
        ),
        ("/linux/resources/devices", json!([{}]), "/linux/resources/devices/0/allow", "missing"),
        ("/linux/resources/memory/limit", json!(-2), "/linux/resources/memory/limit", "from -1"),
        ("/linux/resources/cpu/period", json!(1), "/linux/resources/cpu/period", "1000 to 1000000"),
        ("/linux/resources/blockIO/weight", json!(5), "/linux/resources/blockIO/weight", "10 to 1000"),
        (
            "/linux/resources/blockIO/throttleReadBpsDevice",
            json!([{"major": 8, "minor": 0, "rate": 0}]),
            "/linux/resources/blockIO/throttleReadBpsDevice/0/rate",
            "at least 1",
        ),
        (
            "/annotations/io.plimsoll.init",
            json!("yes"),
            "/annotations/io.plimsoll.init",
            "\"true\" or \"false\"",
        ),
    ] {
        let error = from_spec(&with(pointer, value), &facts()).expect_err(at);
        assert_eq!(error.pointer, at, "{error}");
        assert!(error.problem.contains(message), "{at}: {}", error.problem);
    }
}

#[test]
fn unknown_properties_are_reported_and_ignored() {
    for pointer in
        ["/zebra", "/process/zebra", "/root/zebra", "/linux/zebra", "/linux/resources/memory/zebra"]
    {
        let bundle = read(&with(pointer, json!(1)));
        let places: Vec<&str> = bundle.warnings.iter().map(|w| w.pointer.as_str()).collect();
        assert_eq!(places, [pointer]);
    }
    let bundle = read(&with("/annotations/org.example.x", json!("1")));
    assert_eq!(bundle.warnings, []);
    let bundle = read(&with("/annotations/io.plimsoll.x", json!("1")));
    assert_eq!(bundle.warnings.len(), 1);
}

#[test]
fn a_bind_mount_has_many_spellings() {
    for mount in [
        json!({"destination": "/x", "type": "bind", "source": "data", "options": ["rbind"]}),
        json!({"destination": "/x", "type": "none", "source": "data", "options": ["rbind"]}),
        json!({"destination": "/x", "source": "data", "options": ["rbind"]}),
    ] {
        let config = read(&with("/mounts", json!([mount]))).config;
        assert_eq!(
            (config.mounts[0].fs_type.as_str(), config.mounts[0].source.as_str()),
            ("bind", "/bundle/data")
        );
    }
}

#[test]
fn a_directory_is_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let facts = facts();
    let read = || from_bundle(dir.path(), facts.arch, facts.kernel);
    assert!(matches!(read(), Err(BundleError::Read { .. })));
    std::fs::write(dir.path().join("config.json"), "{").unwrap();
    assert!(matches!(read(), Err(BundleError::NotJson { .. })));
    std::fs::write(dir.path().join("config.json"), "{}").unwrap();
    assert!(matches!(read(), Err(BundleError::Field { .. })));
    std::fs::write(dir.path().join("config.json"), minimal().to_string()).unwrap();
    let root = dir.path().canonicalize().unwrap().join("rootfs");
    assert_eq!(read().unwrap().config.rootfs.source, RootfsSource::Directory(root));
}

#[test]
fn dockers_profile_survives_the_round_trip() {
    let mut config = rich();
    let bounding = config.process.capabilities.bounding;
    let text = plim_seccomp::presets::get("docker-default").unwrap();
    let written = dialect::parse(text.as_bytes()).unwrap();
    let facts = resolve::Facts::new(facts().arch, bounding, facts().kernel);
    let resolved = resolve::resolve(&written, &facts).unwrap().unwrap();
    config.seccomp = Some(Seccomp {
        program: compile::compile(&resolved).unwrap(),
        flags: resolved.flag_bits(),
        oci: OciProfile::Value(resolved.to_oci_json()),
    });
    let bundle = read(&to_spec(&config));
    assert_eq!(bundle.warnings, []);
    assert!(bundle.config == config);
}

#[test]
fn a_system_call_that_nobody_knows_is_reported() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["read", "sockett"], "action": "SCMP_ACT_ERRNO"}]});
    let bundle = read(&with("/linux/seccomp", profile));
    assert_eq!(bundle.warnings.len(), 1);
    assert!(bundle.warnings[0].pointer.starts_with("/linux/seccomp/syscalls/0"), "{:?}", bundle.warnings);
    assert!(bundle.warnings[0].message.contains("sockett"));
}

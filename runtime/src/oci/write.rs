//! [`to_spec`]: a [`ContainerConfig`] as an OCI `config.json`.

use plim_model::rlimit::Limit;
use serde_json::{Map, Value, json};

use super::annotations as note;
use crate::config::{ContainerConfig, NamespaceMode, Process, Resources, Rootfs, RootfsSource, Throttle};

/// The version of the specification that the document follows. `domainname` and `timeOffsets` came with 1.1.0.
pub const OCI_VERSION: &str = "1.1.0";

/// An object that is built key by key and leaves out what is not set.
#[derive(Default)]
struct Builder(Map<String, Value>);

impl Builder {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn set_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    fn set_list(&mut self, key: &str, list: Vec<Value>) {
        if !list.is_empty() {
            self.set(key, list);
        }
    }

    fn set_object(&mut self, key: &str, object: Builder) {
        if !object.0.is_empty() {
            self.set(key, object.0);
        }
    }
}

/// The container as an OCI runtime-spec document: what was asked for, in the words every engine knows.
///
/// Total: each field of the config has a place in it, and [`super::from_spec`] reads the same config back. What the
/// specification has no word for is in annotations (see [`super::annotations`]); a runtime that does not know them
/// starts a container with fewer rights to the files, but for those of the lower layer that not everyone may read: an
/// overlaid root is stated as its lower layer read-only, with an empty tmpfs on each private directory.
pub fn to_spec(config: &ContainerConfig) -> Value {
    let mut spec = Builder::default();
    spec.set("ociVersion", OCI_VERSION);
    let mut process = process(&config.process);
    process.set_some("apparmorProfile", config.apparmor_profile.as_deref());
    process.set_some("selinuxLabel", config.selinux_label.as_deref());
    spec.set("process", process.0);
    spec.set("root", root(&config.rootfs));
    spec.set_some("hostname", config.hostname.as_deref());
    spec.set_some("domainname", config.domainname.as_deref());
    spec.set("mounts", mounts(config));
    spec.set_object("annotations", annotations(config));
    spec.set("linux", linux(config));
    Value::Object(spec.0)
}

fn process(process: &Process) -> Builder {
    let mut user = Builder::default();
    user.set("uid", process.user.uid);
    user.set("gid", process.user.gid);
    user.set_some("umask", process.user.umask);
    user.set_list("additionalGids", process.user.additional_gids.iter().map(|gid| json!(gid)).collect());

    let sets = &process.capabilities;
    let mut out = Builder::default();
    out.set("terminal", process.terminal);
    out.set("user", user.0);
    out.set("args", process.args.clone());
    out.set_list("env", process.env.iter().map(|entry| json!(entry)).collect());
    out.set("cwd", process.cwd.as_str());
    out.set(
        "capabilities",
        json!({
            "bounding": sets.bounding.names(),
            "effective": sets.effective.names(),
            "inheritable": sets.inheritable.names(),
            "permitted": sets.permitted.names(),
            "ambient": sets.ambient.names(),
        }),
    );
    let number = |limit: Limit| limit.value().unwrap_or(super::RLIM_INFINITY);
    out.set_list(
        "rlimits",
        process
            .rlimits
            .iter()
            .map(
                |(kind, limit)| json!({"type": kind, "soft": number(limit.soft), "hard": number(limit.hard)}),
            )
            .collect(),
    );
    out.set("noNewPrivileges", process.no_new_privileges);
    out.set_some("oomScoreAdj", process.oom_score_adj);
    out
}

fn root(rootfs: &Rootfs) -> Value {
    match &rootfs.source {
        RootfsSource::Directory(path) => {
            json!({"path": path.to_string_lossy(), "readonly": rootfs.read_only})
        }
        RootfsSource::Overlay { lower, .. } => json!({"path": lower.to_string_lossy(), "readonly": true}),
    }
}

fn mounts(config: &ContainerConfig) -> Vec<Value> {
    let private = match &config.rootfs.source {
        RootfsSource::Overlay { private, .. } => private.as_slice(),
        RootfsSource::Directory(_) => &[],
    };
    let private = private.iter().map(|path| {
        json!({"destination": path, "type": "tmpfs", "source": "tmpfs", "options": super::private_options(path)})
    });
    let listed = config.mounts.iter().map(|mount| {
        let mut out = Builder::default();
        out.set("destination", mount.destination.as_str());
        out.set("type", mount.fs_type.as_str());
        out.set("source", mount.source.as_str());
        out.set_list("options", mount.options.iter().map(|option| json!(option)).collect());
        Value::Object(out.0)
    });
    private.chain(listed).collect()
}

fn annotations(config: &ContainerConfig) -> Builder {
    let mut out = Builder::default();
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    out.set_some(note::ID, text(&config.id));
    out.set_some(note::NAME, text(&config.name));
    out.set_some(note::IMAGE, config.image.as_deref());
    out.set_some(note::INIT, config.init.then_some("true"));
    out.set_some(note::PRIVILEGED, config.privileged.then_some("true"));
    if config.loopback_up != super::default_loopback(&config.namespaces) {
        out.set(note::LOOPBACK, if config.loopback_up { "true" } else { "false" });
    }
    if let RootfsSource::Overlay { private, upper_size_bytes, .. } = &config.rootfs.source {
        out.set(note::ROOTFS, "overlay");
        out.set(note::ROOTFS_PRIVATE, json!(private).to_string());
        out.set_some(note::ROOTFS_UPPER_SIZE, upper_size_bytes.map(|bytes| bytes.to_string()));
        out.set_some(note::ROOTFS_READ_ONLY, config.rootfs.read_only.then_some("true"));
    }
    out
}

fn linux(config: &ContainerConfig) -> Value {
    let mut out = Builder::default();
    if let Some(maps) = &config.id_maps {
        let list = |maps: &[plim_model::IdMapping]| -> Vec<Value> {
            maps.iter()
                .map(|m| json!({"containerID": m.inside, "hostID": m.outside, "size": m.count}))
                .collect()
        };
        out.set("uidMappings", list(&maps.uid));
        out.set("gidMappings", list(&maps.gid));
    }
    let sysctls: Map<String, Value> = config.sysctls.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    out.set_object("sysctl", Builder(sysctls));
    out.set_object("resources", resources(&config.resources));
    out.set_some("cgroupsPath", config.cgroup_path.as_deref());
    out.set(
        "namespaces",
        config
            .namespaces
            .iter()
            .map(|(kind, mode)| {
                let mut out = Builder::default();
                out.set("type", super::namespace_name(*kind));
                if let NamespaceMode::Join(path) = mode {
                    out.set("path", path.to_string_lossy());
                }
                Value::Object(out.0)
            })
            .collect::<Vec<Value>>(),
    );
    let devices = config.devices.iter().map(|d| {
        json!({
            "path": d.path, "type": d.kind.to_string(), "major": d.major, "minor": d.minor,
            "fileMode": d.mode, "uid": d.uid, "gid": d.gid,
        })
    });
    out.set_list("devices", devices.collect());
    out.set_some("seccomp", config.seccomp.as_ref().map(|s| (*s.oci).clone()));
    out.set_some("mountLabel", config.mount_label.as_deref());
    out.set("rootfsPropagation", config.rootfs.propagation.as_str());
    out.set_list("maskedPaths", config.masked_paths.iter().map(|path| json!(path)).collect());
    out.set_list("readonlyPaths", config.read_only_paths.iter().map(|path| json!(path)).collect());
    if let Some(offsets) = config.time_offsets {
        let clock = |(secs, nanosecs): (i64, u32)| json!({"secs": secs, "nanosecs": nanosecs});
        out.set(
            "timeOffsets",
            json!({"monotonic": clock(offsets.monotonic), "boottime": clock(offsets.boottime)}),
        );
    }
    Value::Object(out.0)
}

fn resources(resources: &Resources) -> Builder {
    let mut memory = Builder::default();
    memory.set_some("limit", resources.memory_max_bytes);
    memory.set_some("reservation", resources.memory_reservation_bytes);
    memory.set_some("swap", resources.memory_swap_total_bytes);

    let mut cpu = Builder::default();
    cpu.set_some("shares", resources.cpu_shares);
    cpu.set_some("quota", resources.cpu_quota_us);
    cpu.set_some("period", resources.cpu_period_us);
    cpu.set_some("cpus", resources.cpuset_cpus.as_deref());
    cpu.set_some("mems", resources.cpuset_mems.as_deref());

    let mut pids = Builder::default();
    pids.set_some("limit", resources.pids_max);

    let mut block_io = Builder::default();
    block_io.set_some("weight", resources.blkio_weight);
    for (key, kind) in super::THROTTLE_KEYS {
        let of_kind = resources.throttles.iter().filter(|t| t.kind == kind);
        block_io.set_list(key, of_kind.map(throttle).collect());
    }

    let rules = resources.device_rules.iter().map(|rule| {
        let mut out = Builder::default();
        out.set("allow", rule.allow);
        out.set("type", rule.kind.to_string());
        out.set_some("major", rule.major);
        out.set_some("minor", rule.minor);
        out.set("access", rule.access.as_str());
        Value::Object(out.0)
    });

    let mut out = Builder::default();
    out.set_list("devices", rules.collect());
    out.set_object("memory", memory);
    out.set_object("cpu", cpu);
    out.set_object("pids", pids);
    out.set_object("blockIO", block_io);
    out
}

fn throttle(throttle: &Throttle) -> Value {
    json!({"major": throttle.major, "minor": throttle.minor, "rate": throttle.rate})
}

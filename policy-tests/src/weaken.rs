//! Deliberate weakenings of a launcher: each breaks one promise, and the tests of that promise must then fail.

use serde_json::{Value, json};

use crate::spec::set;

macro_rules! weakenings {
    ($($kind:ident $name:literal $says:literal,)*) => {
        /// One promise broken on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Weakening { $(#[doc = $says] $kind,)* }

        impl Weakening {
            /// All of them.
            pub const ALL: &'static [Weakening] = &[$(Weakening::$kind,)*];

            /// The name on the command line, `weakened:NAME`.
            pub fn name(self) -> &'static str {
                match self { $(Weakening::$kind => $name,)* }
            }
        }
    };
}

weakenings! {
    HostPid "host-pid" "The host's pid namespace.",
    HostNet "host-net" "The host's network namespace.",
    HostIpc "host-ipc" "The host's ipc namespace.",
    HostUts "host-uts" "The host's uts namespace.",
    HostCgroup "host-cgroupns" "The host's cgroup namespace.",
    NoMasks "no-masks" "No masked paths.",
    NoReadOnlyPaths "no-read-only-paths" "No read-only paths.",
    WritableRoot "writable-root" "A root that should be read-only is writable.",
    WritableMounts "writable-mounts" "Every `ro` option of a mount is dropped.",
    LooseMounts "loose-mounts" "nosuid, nodev and noexec are dropped.",
    HostRootInside "host-root-inside" "The host's root is mounted at /data.",
    SharedPropagation "shared-propagation" "Binds are shared with the host.",
    ExtraDevices "extra-devices" "The host's /dev is mounted over the container's.",
    NoDeviceRules "no-device-rules" "The device cgroup allows everything.",
    SysAdmin "sys-admin" "CAP_SYS_ADMIN is added to every set.",
    Inheritable "inheritable" "The inheritable and ambient sets are filled.",
    KeepsBounding "keeps-bounding" "The bounding set keeps CAP_SYS_PTRACE.",
    NoNewPrivsOff "no-nnp" "no_new_privs is not set.",
    AsRoot "as-root" "The user is root whatever was asked.",
    NoSeccomp "no-seccomp" "No seccomp filter.",
    NativeOnly "native-only" "The filter forgets the calls that only the 32-bit table has.",
    NoPids "no-pids" "No pids limit.",
    NoMemory "no-memory" "No memory limit.",
    NoCpu "no-cpu" "No cpu quota, shares or cpuset.",
    NoRlimits "no-rlimits" "No resource limits.",
    NoSysctl "no-sysctl" "No sysctls.",
    LeakedFd "leaked-fd" "A descriptor of a directory is open in the container.",
    MaskedExit "masked-exit" "The exit status is hidden.",
    Deaf "deaf" "Signals do not reach the command, and orphans are not reaped.",
    NoStdio "no-stdio" "stdin is empty and there is no terminal.",
    LeavesCgroup "leaves-cgroup" "A cgroup stays behind.",
    LeavesMount "leaves-mount" "A mount stays behind.",
    LeavesProcess "leaves-process" "A process stays behind.",
}

impl Weakening {
    /// Reads a [`name`](Weakening::name).
    pub fn from_name(name: &str) -> Option<Weakening> {
        Weakening::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Breaks the config.
    pub fn apply(self, spec: &mut Value) {
        match self {
            Weakening::HostPid => without_namespace(spec, "pid"),
            Weakening::HostNet => without_namespace(spec, "network"),
            Weakening::HostIpc => {
                without_namespace(spec, "ipc");
                // mqueue of the host's namespace cannot be mounted with new options.
                retain(spec, "/mounts", |mount| mount["type"] != "mqueue");
            }
            Weakening::HostUts => {
                without_namespace(spec, "uts");
                remove(spec, "", "hostname");
            }
            Weakening::HostCgroup => without_namespace(spec, "cgroup"),
            Weakening::NoMasks => set(spec, "/linux/maskedPaths", json!([])),
            Weakening::NoReadOnlyPaths => set(spec, "/linux/readonlyPaths", json!([])),
            Weakening::WritableRoot => set(spec, "/root/readonly", json!(false)),
            Weakening::WritableMounts => without_options(spec, &["ro", "rro"]),
            Weakening::LooseMounts => without_options(spec, &["nosuid", "nodev", "noexec"]),
            Weakening::HostRootInside => push(
                spec,
                "/mounts",
                json!({"destination": "/data", "type": "bind", "source": "/", "options": ["rbind", "rw"]}),
            ),
            Weakening::SharedPropagation => {
                set(spec, "/linux/rootfsPropagation", json!("rshared"));
                each_bind(spec, |options| {
                    options.retain(|option| !option.as_str().is_some_and(|text| text.ends_with("private")));
                    options.push(json!("rshared"));
                });
            }
            Weakening::ExtraDevices => {
                let bind = json!({"destination": "/dev", "type": "bind", "source": "/dev", "options": ["bind", "rw"]});
                push(spec, "/mounts", bind);
                allow_devices(spec);
            }
            Weakening::NoDeviceRules => allow_devices(spec),
            Weakening::SysAdmin => {
                for name in ["bounding", "effective", "permitted"] {
                    push(spec, &format!("/process/capabilities/{name}"), json!("CAP_SYS_ADMIN"));
                }
            }
            Weakening::Inheritable => {
                let permitted = spec["process"]["capabilities"]["permitted"].clone();
                set(spec, "/process/capabilities/inheritable", permitted.clone());
                set(spec, "/process/capabilities/ambient", permitted);
            }
            Weakening::KeepsBounding => push(spec, "/process/capabilities/bounding", json!("CAP_SYS_PTRACE")),
            Weakening::NoNewPrivsOff => set(spec, "/process/noNewPrivileges", json!(false)),
            Weakening::AsRoot => set(spec, "/process/user", json!({"uid": 0, "gid": 0})),
            Weakening::NoSeccomp => remove(spec, "/linux", "seccomp"),
            Weakening::NativeOnly => {
                // The calls that only the 32-bit table has: a filter that forgot that the other gate is there.
                if let Some(rules) = spec.pointer_mut("/linux/seccomp/syscalls").and_then(Value::as_array_mut)
                {
                    for rule in rules.iter_mut() {
                        if let Some(names) = rule["names"].as_array_mut() {
                            names.retain(|name| name != "socketcall" && name != "umount");
                        }
                    }
                    rules.retain(|rule| rule["names"].as_array().is_some_and(|names| !names.is_empty()));
                }
            }
            Weakening::NoPids => remove(spec, "/linux/resources", "pids"),
            Weakening::NoMemory => remove(spec, "/linux/resources", "memory"),
            Weakening::NoCpu => remove(spec, "/linux/resources", "cpu"),
            Weakening::NoRlimits => remove(spec, "/process", "rlimits"),
            Weakening::NoSysctl => remove(spec, "/linux", "sysctl"),
            Weakening::LeakedFd => prefix(spec, "leak-fd"),
            Weakening::MaskedExit => prefix(spec, "mask-exit"),
            Weakening::Deaf => prefix(spec, "deaf"),
            Weakening::NoStdio => set(spec, "/process/terminal", json!(false)),
            Weakening::LeavesCgroup | Weakening::LeavesMount | Weakening::LeavesProcess => {}
        }
    }

    /// The option of `plim run` that breaks the same promise, where there is one.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Weakening::HostPid => &["--pid", "host"],
            Weakening::HostNet => &["--network", "host"],
            Weakening::NoMasks => &["--security-opt", "systempaths=unconfined"],
            Weakening::SysAdmin => &["--cap-add", "SYS_ADMIN"],
            Weakening::NoSeccomp => &["--security-opt", "seccomp=unconfined"],
            Weakening::HostRootInside => &["-v", "/:/mnt"],
            _ => &[],
        }
    }
}

fn without_namespace(spec: &mut Value, kind: &str) {
    retain(spec, "/linux/namespaces", |namespace| namespace["type"] != kind);
}

fn retain(spec: &mut Value, pointer: &str, keep: impl Fn(&Value) -> bool) {
    if let Some(items) = spec.pointer_mut(pointer).and_then(Value::as_array_mut) {
        items.retain(keep);
    }
}

fn push(spec: &mut Value, pointer: &str, value: Value) {
    if let Some(items) = spec.pointer_mut(pointer).and_then(Value::as_array_mut) {
        items.push(value);
    }
}

fn remove(spec: &mut Value, pointer: &str, key: &str) {
    if let Some(object) = spec.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.remove(key);
    }
}

fn without_options(spec: &mut Value, dropped: &[&str]) {
    let Some(mounts) = spec["mounts"].as_array_mut() else { return };
    for mount in mounts {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| !dropped.iter().any(|word| option == word));
        }
    }
}

fn each_bind(spec: &mut Value, edit: impl Fn(&mut Vec<Value>)) {
    let Some(mounts) = spec["mounts"].as_array_mut() else { return };
    for mount in mounts.iter_mut().filter(|mount| mount["type"] == "bind") {
        if let Some(options) = mount["options"].as_array_mut() {
            edit(options);
        }
    }
}

fn allow_devices(spec: &mut Value) {
    set(spec, "/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
}

/// Puts one of the witness' broken wrappers before the command.
fn prefix(spec: &mut Value, wrapper: &str) {
    if let Some(args) = spec.pointer_mut("/process/args").and_then(Value::as_array_mut) {
        args.insert(0, json!(wrapper));
        args.insert(0, json!("/bin/witness"));
    }
}

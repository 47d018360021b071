//! Weakenings of the OCI config: what the launcher is told is less than what the test asked for.

use serde_json::{Value, json};

use super::Weakening;
use crate::spec::set;

impl Weakening {
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
            Weakening::HostUser => {
                without_namespace(spec, "user");
                remove(spec, "/linux", "uidMappings");
                remove(spec, "/linux", "gidMappings");
            }
            Weakening::HostTime => {
                without_namespace(spec, "time");
                remove(spec, "/linux", "timeOffsets");
            }
            Weakening::NoMasks => set(spec, "/linux/maskedPaths", json!([])),
            Weakening::NoReadOnlyPaths => set(spec, "/linux/readonlyPaths", json!([])),
            Weakening::WritableRoot => set(spec, "/root/readonly", json!(false)),
            Weakening::WritableMounts => without_options(spec, &["ro", "rro"]),
            Weakening::LooseMounts => without_options(spec, &["nosuid", "nodev", "noexec"]),
            Weakening::HostRootInside => host_root(spec),
            Weakening::HostDirectory => {
                let by_descriptor =
                    spec["process"]["cwd"].as_str().is_some_and(|cwd| cwd.starts_with("/proc/"));
                if by_descriptor {
                    host_root(spec);
                    set(spec, "/process/cwd", json!("/data"));
                }
            }
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
            Weakening::NetRaw => {
                for name in ["bounding", "effective", "permitted"] {
                    push(spec, &format!("/process/capabilities/{name}"), json!("CAP_NET_RAW"));
                }
            }
            Weakening::NoNetRaw => {
                for name in ["bounding", "effective", "permitted"] {
                    retain(spec, &format!("/process/capabilities/{name}"), |one| one != "CAP_NET_RAW");
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
            Weakening::LeaksEnvironment => push(spec, "/process/env", json!("SECRET_OF_THE_HOST=1")),
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
            Weakening::SharedCgroup => set(spec, "/linux/cgroupsPath", json!("/plimtest-shared")),
            Weakening::NoPids => remove(spec, "/linux/resources", "pids"),
            Weakening::NoMemory => remove(spec, "/linux/resources", "memory"),
            Weakening::NoCpu => remove(spec, "/linux/resources", "cpu"),
            Weakening::NoIo => remove(spec, "/linux/resources", "blockIO"),
            Weakening::NoRlimits => remove(spec, "/process", "rlimits"),
            Weakening::NoSysctl => remove(spec, "/linux", "sysctl"),
            Weakening::NoStdio => set(spec, "/process/terminal", json!(false)),
            // These break something else than the config.
            _ => {}
        }
        if let (Some(wrapper), Some(args)) =
            (self.wrapper(), spec.pointer_mut("/process/args").and_then(Value::as_array_mut))
        {
            args.splice(0..0, [json!("/bin/witness"), json!(wrapper)]);
        }
    }
}

fn host_root(spec: &mut Value) {
    let bind = json!({"destination": "/data", "type": "bind", "source": "/", "options": ["rbind", "rw"]});
    push(spec, "/mounts", bind);
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

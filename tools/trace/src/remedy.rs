//! The smallest change that would allow a refused call, in the words of Docker, Podman and Kubernetes.

use serde_json::{Map, Value};

use crate::cause::{Cause, Kind};
use crate::files::FileFacts;

/// What the words depend on, beside the cause.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The rule that would allow the call, and what its condition says.
    pub rule: Option<(&'a Value, Option<&'a str>)>,
    /// The file that the call is about.
    pub file: Option<&'a FileFacts>,
    /// The process is root in its user namespace.
    pub root: bool,
    /// The missing capability is in the bounding set.
    pub bounded: bool,
    /// The file's owner, as the container numbers it.
    pub owner: Option<(u32, u32)>,
    /// The security module that refused.
    pub module: Option<&'a str>,
}

/// The words, under construction.
struct Words(Map<String, Value>);

impl Words {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Docker's option is Podman's, too.
    fn engines(&mut self, option: &str, kubernetes: &str) {
        for (engine, words) in [("docker", option), ("podman", option), ("kubernetes", kubernetes)] {
            if !words.is_empty() {
                self.put(engine, words);
            }
        }
    }
}

/// The smallest change, where there is one to name.
pub fn of(cause: &Cause, facts: &Facts<'_>) -> Map<String, Value> {
    let mut words = Words(Map::new());
    match cause.kind {
        Kind::Seccomp => seccomp(&mut words, facts),
        Kind::Capability => capability(&mut words, cause, facts),
        Kind::Namespace => namespace(&mut words, cause),
        Kind::Permission => permission(&mut words, cause, facts),
        Kind::Limit => limit(&mut words, cause),
        Kind::Lsm => module(&mut words, facts),
        Kind::Unknown => {}
    }
    words.0
}

fn module(words: &mut Words, facts: &Facts<'_>) {
    match facts.module {
        Some("apparmor") => {
            words.put("summary", "allow it in the AppArmor profile, or give the container another one");
            words.engines(
                "--security-opt apparmor=PROFILE",
                "securityContext.appArmorProfile: {type: Localhost, localhostProfile: PROFILE}",
            );
        }
        Some("selinux") => {
            words.put(
                "summary",
                "allow it in the SELinux policy (audit2allow), or give the container another type",
            );
            words.engines("--security-opt label=type:TYPE", "securityContext.seLinuxOptions: {type: TYPE}");
        }
        // No engine sets it up.
        Some("landlock") => {
            words.put("summary", "the process, or one that started it, has confined itself with Landlock");
        }
        _ => {}
    }
}

fn seccomp(words: &mut Words, facts: &Facts<'_>) {
    let Some((rule, condition)) = facts.rule else { return };
    let name = rule.pointer("/names/0").and_then(Value::as_str).unwrap_or_default();
    words.put(
        "summary",
        match condition {
            Some(condition) => format!("allow {name} with {condition} in the seccomp profile"),
            None => format!("allow {name} in the seccomp profile"),
        },
    );
    words.put("rule", rule.clone());
    words.engines(
        "--security-opt seccomp=FILE, with the rule among its syscalls",
        "securityContext.seccompProfile: {type: Localhost, localhostProfile: FILE}, with the rule among its syscalls",
    );
}

fn capability(words: &mut Words, cause: &Cause, facts: &Facts<'_>) {
    let Some(name) = &cause.capability else { return };
    let short = name.trim_start_matches("CAP_");
    let summary = match (facts.bounded, facts.root) {
        (true, true) => format!("do not drop {name} in the process before the call"),
        (true, false) => {
            format!("run it as root of the container, which has {name}, or give its file the capability")
        }
        (false, true) => format!("add the capability {name}"),
        (false, false) => {
            format!("add the capability {name}, and run it as root or give its file the capability")
        }
    };
    words.put("summary", summary);
    words.put("capability", name.clone());
    match (facts.bounded, facts.root) {
        (true, true) => {}
        (true, false) => words.engines("--user 0", "securityContext.runAsUser: 0"),
        (false, true) => words.engines(
            &format!("--cap-add {short}"),
            &format!("securityContext.capabilities.add: [\"{short}\"]"),
        ),
        (false, false) => words.engines(
            &format!("--cap-add {short} --user 0"),
            &format!("securityContext.capabilities.add: [\"{short}\"], securityContext.runAsUser: 0"),
        ),
    }
}

fn namespace(words: &mut Words, cause: &Cause) {
    if cause.capability.is_some() {
        words.put("summary", "run the container in the host's user namespace");
        words.engines("--userns host", "spec.hostUsers: true");
    } else {
        words.put("summary", "map the file's owner into the container's user namespace, or give the file to one that is mapped");
    }
}

fn permission(words: &mut Words, cause: &Cause, facts: &Facts<'_>) {
    let detail = cause.detail.as_deref().unwrap_or_default();
    let path = facts.file.map(|file| file.path.as_str());
    let directory = facts.file.map(|file| match file.directory {
        true => file.path.as_str(),
        false => file.path.rsplit_once('/').map_or("/", |(up, _)| if up.is_empty() { "/" } else { up }),
    });
    match (detail, path, directory) {
        (detail, Some(path), Some(directory)) if detail.contains("read-only") => {
            read_only(words, path, directory)
        }
        (detail, _, _) if detail.contains("read-only") => {
            words.put("summary", "mount a writable volume or tmpfs there")
        }
        (detail, _, Some(directory)) if detail.starts_with("mounted noexec") => {
            words.put("summary", format!("mount {directory} without noexec"));
            words.engines(&format!("--tmpfs {directory}:exec"), "");
        }
        (detail, ..) if detail.starts_with("mounted nodev") => words.put("summary", "mount it without nodev"),
        (detail, ..) if detail.contains("does not own the process") => {
            words.put("summary", "signal it as the user who owns it, or as root with CAP_KILL");
            words.engines("--user 0", "securityContext.runAsUser: 0");
        }
        (detail, ..) if detail.contains("(chattr)") => {
            words.put("summary", "take the flag off the file on the host (chattr -i -a)")
        }
        _ => {
            words.put("summary", "change the mode or the owner of the file, or run as a user who may");
            if let Some((uid, gid)) = facts.owner {
                words.engines(
                    &format!("--user {uid}:{gid}"),
                    &format!("securityContext: {{runAsUser: {uid}, runAsGroup: {gid}}}"),
                );
            }
        }
    }
}

/// A path on a read-only mount: the root, a volume, or what engines mount so on purpose.
fn read_only(words: &mut Words, path: &str, directory: &str) {
    if let Some(name) = path.strip_prefix("/proc/sys/") {
        let name = name.replace('/', ".");
        words.put("summary", format!("set the sysctl {name} when the container is made"));
        words.engines(
            &format!("--sysctl {name}=VALUE"),
            &format!("securityContext.sysctls: [{{name: {name}, value: VALUE}}]"),
        );
    } else if path.starts_with("/proc/") || path.starts_with("/sys/") {
        words.put("summary", format!("the container's view of {path} is read-only on purpose"));
        words.put("docker", "--security-opt systempaths=unconfined");
        words.put("podman", format!("--security-opt unmask={path}"));
        words.put("kubernetes", "securityContext.procMount: Unmasked");
    } else {
        words.put("summary", format!("mount a writable volume or tmpfs at {directory}"));
        words.engines(
            &format!("--tmpfs {directory}, or -v VOLUME:{directory}"),
            &format!("volumeMounts: [{{name: VOLUME, mountPath: {directory}}}], with an emptyDir"),
        );
    }
}

fn limit(words: &mut Words, cause: &Cause) {
    const NODE: &str = "no field of a pod: the container runtime's default on the node";
    let detail = cause.detail.as_deref().unwrap_or_default();
    let rlimits = [
        ("RLIMIT_NOFILE", "open files", "nofile=N"),
        ("RLIMIT_NPROC", "the user's processes", "nproc=N"),
        ("RLIMIT_MEMLOCK", "locked memory", "memlock=BYTES"),
        ("RLIMIT_SIGPENDING", "queued signals", "sigpending=N"),
        ("RLIMIT_MSGQUEUE", "bytes in message queues", "msgqueue=BYTES"),
        ("RLIMIT_FSIZE", "the size of files", "fsize=BYTES"),
    ];
    if let Some((_, what, option)) = rlimits.iter().find(|(name, ..)| detail.starts_with(name)) {
        words.put("summary", format!("raise the limit on {what}"));
        words.engines(&format!("--ulimit {option}"), NODE);
    } else if detail.starts_with("pids.max") {
        words.put("summary", "raise the limit on processes of the container");
        words.engines("--pids-limit N", "no field of a pod: the kubelet's podPidsLimit");
    } else if let Some(device) = detail.strip_prefix("the container's device cgroup does not have ") {
        let path = device.split(", ").next().unwrap_or("PATH");
        words.put("summary", format!("give the container the device {path}"));
        words.engines(&format!("--device {path}"), "a device plugin's resource");
    } else if detail.contains("device cgroup") {
        let rule = detail
            .split("the device ")
            .nth(1)
            .and_then(|rest| rest.strip_suffix(" be made"))
            .unwrap_or("c N:N");
        words.put("summary", format!("let the container make the device {rule}"));
        words.engines(&format!("--device-cgroup-rule '{rule} m'"), "");
    } else if let Some(name) = ["fs.inotify.max_user_instances", "fs.fanotify.max_user_groups", "user.max_"]
        .into_iter()
        .find(|name| detail.starts_with(name))
    {
        words.put(
            "summary",
            format!(
                "raise the host's sysctl {name}{}",
                if name.ends_with('_') { "*_namespaces" } else { "" }
            ),
        );
    } else {
        words.put("summary", "raise the limit");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cause(kind: Kind, capability: Option<&str>, detail: &str) -> Cause {
        Cause { kind, capability: capability.map(str::to_owned), rule: None, detail: Some(detail.to_owned()) }
    }

    fn words<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
        map.get(key).and_then(Value::as_str).unwrap_or("-")
    }

    #[test]
    fn every_kind_that_has_one_names_it_for_each_engine() {
        let rule = json!({"names": ["mount"], "action": "SCMP_ACT_ALLOW"});
        let file = FileFacts { path: "/data/x".to_owned(), regular: true, ..FileFacts::default() };
        let root = Facts {
            root: true,
            rule: Some((&rule, None)),
            file: Some(&file),
            owner: Some((7, 8)),
            ..Facts::default()
        };
        for (cause, docker) in [
            (
                cause(Kind::Seccomp, None, "x"),
                "--security-opt seccomp=FILE, with the rule among its syscalls",
            ),
            (cause(Kind::Capability, Some("CAP_NET_RAW"), "x"), "--cap-add NET_RAW"),
            (cause(Kind::Namespace, Some("CAP_SYS_ADMIN"), "x"), "--userns host"),
            (cause(Kind::Permission, None, "the file's mode does not let user 5 in"), "--user 7:8"),
            (cause(Kind::Permission, None, "/data/x lies on a mount or file system that is read-only"), {
                "--tmpfs /data, or -v VOLUME:/data"
            }),
            (cause(Kind::Limit, None, "RLIMIT_NOFILE: …"), "--ulimit nofile=N"),
            (cause(Kind::Limit, None, "pids.max of the cgroup, or …"), "--pids-limit N"),
            (
                cause(
                    Kind::Limit,
                    None,
                    "the container's device cgroup does not have /dev/x, device c 1:11, mode 0600",
                ),
                { "--device /dev/x" },
            ),
            (
                cause(
                    Kind::Limit,
                    None,
                    "the container's device cgroup does not let the device c 1:5 be made",
                ),
                { "--device-cgroup-rule 'c 1:5 m'" },
            ),
        ] {
            let map = of(&cause, &root);
            assert_eq!((words(&map, "docker"), words(&map, "podman")), (docker, docker), "{cause:?}");
            let expected = !docker.contains("cgroup-rule");
            assert_eq!(map.contains_key("kubernetes"), expected, "{cause:?}");
            assert!(map.contains_key("summary"));
        }
        assert!(of(&cause(Kind::Unknown, None, "x"), &root).is_empty());
        for (module, docker) in [
            ("landlock", "-"),
            ("apparmor", "--security-opt apparmor=PROFILE"),
            ("selinux", "--security-opt label=type:TYPE"),
        ] {
            let map = of(&cause(Kind::Lsm, None, "x"), &Facts { module: Some(module), ..root });
            assert_eq!(words(&map, "docker"), docker);
            assert!(map.contains_key("summary"));
        }
    }

    #[test]
    fn a_capability_that_a_user_would_not_get_is_not_only_added() {
        let cause = cause(Kind::Capability, Some("CAP_NET_RAW"), "x");
        let of = |bounded, root| of(&cause, &Facts { bounded, root, ..Facts::default() });
        assert_eq!(words(&of(false, false), "docker"), "--cap-add NET_RAW --user 0");
        assert_eq!(words(&of(true, false), "docker"), "--user 0");
        assert_eq!(words(&of(true, true), "docker"), "-");
    }

    #[test]
    fn a_sysctl_is_no_volume() {
        let file = FileFacts { path: "/proc/sys/net/core/somaxconn".to_owned(), ..FileFacts::default() };
        let map = of(
            &cause(Kind::Permission, None, "… is read-only"),
            &Facts { file: Some(&file), ..Facts::default() },
        );
        assert_eq!(words(&map, "podman"), "--sysctl net.core.somaxconn=VALUE");
    }
}

//! OCI runtime configurations (`config.json`): what an engine told its runtime, no defaults left to fill in.

use std::collections::BTreeMap;

use super::model::{Resources, bounding};
use super::{Container, DEFAULT_MASKED, DeclaredMount, Form, Workload, capability_names};
use crate::text::Node;

pub(super) fn read(document: &Node, stem: &str) -> Workload {
    let process = document.get("process");
    let linux = document.get("linux");
    let resource = |path: &[&str]| linux.and_then(|linux| linux.get("resources")?.path(path)?.int());
    let list = |path: &[&str]| -> Vec<String> {
        let items = document.path(path).map(Node::items).unwrap_or_default();
        items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
    };
    let uid = document.path(&["process", "user", "uid"]).and_then(Node::int);
    let gid = document.path(&["process", "user", "gid"]).and_then(Node::int);
    let caps = list(&["process", "capabilities", "bounding"]);
    let caps = capability_names(caps.iter().map(String::as_str));
    let seccomp = linux.and_then(|linux| linux.get("seccomp"));
    let masked = list(&["linux", "maskedPaths"]);
    let quota = resource(&["cpu", "quota"]).filter(|quota| *quota > 0);
    let period = resource(&["cpu", "period"]).filter(|period| *period > 0).unwrap_or(100_000);
    let positive = |value: Option<i64>| value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v != 0);
    let name = document
        .path(&["annotations", "io.kubernetes.cri.container-name"])
        .and_then(Node::text)
        .or_else(|| document.text_of("hostname"))
        .unwrap_or(stem)
        .to_owned();
    let text = |key: &str| process.and_then(|process| process.text_of(key)).map(str::to_owned);
    let device_rules =
        linux.and_then(|linux| linux.path(&["resources", "devices"])).map(Node::items).unwrap_or_default();
    let any_device = device_rules.iter().any(|rule| {
        rule.bool_of("allow") == Some(true)
            && rule.get("major").is_none()
            && ["a", ""].contains(&rule.text_of("type").unwrap_or_default())
    });
    let everything = bounding(plim_model::CapabilitySet::DOCKER_DEFAULT, true, &[], &[]);
    let container = Container {
        name: name.clone(),
        role: "container",
        image: document
            .path(&["annotations", "io.kubernetes.cri.image-name"])
            .and_then(Node::text)
            .map(str::to_owned),
        user: uid.map(|uid| gid.map_or(uid.to_string(), |gid| format!("{uid}:{gid}"))),
        root: uid.map(|uid| uid == 0),
        privileged: Some(
            any_device && seccomp.is_none() && everything.iter().all(|name| caps.contains(name)),
        ),
        capabilities: Some(caps),
        groups: Some(list(&["process", "user", "additionalGids"])),
        no_new_privs: Some(process.and_then(|process| process.bool_of("noNewPrivileges")) == Some(true)),
        read_only_root: Some(document.path(&["root", "readonly"]).and_then(Node::bool) == Some(true)),
        seccomp: Some(if seccomp.is_some() { "profile" } else { "unconfined" }.to_owned()),
        seccomp_profile: seccomp.map(|_| "inline".to_owned()),
        // Engines write neither where the kernel has no such module, which the file does not say.
        apparmor: text("apparmorProfile"),
        selinux: text("selinuxLabel"),
        namespaces: Some(namespaces(linux)),
        mounts: Some(mounts(document)),
        devices: Some(
            linux
                .and_then(|linux| linux.get("devices"))
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .filter_map(|device| device.text_of("path").map(str::to_owned))
                .collect(),
        ),
        sysctls: Some(
            linux
                .and_then(|linux| linux.get("sysctl"))
                .map(Node::entries)
                .unwrap_or_default()
                .iter()
                .map(|(key, value)| (key.text.clone(), value.text().unwrap_or_default().to_owned()))
                .collect(),
        ),
        device_rules: Some(device_rules.iter().filter_map(device_rule).collect()),
        // Kernels and engines differ in the rest; without these two the host's memory and keys are readable.
        masked_paths: Some(
            DEFAULT_MASKED[1..3].iter().all(|path| masked.iter().any(|masked| masked == path)),
        ),
        proc_sys_read_only: Some(
            list(&["linux", "readonlyPaths"]).iter().any(|path| path == "/proc/sys" || path == "/proc"),
        ),
        resources: Resources {
            memory_max_bytes: Some(positive(resource(&["memory", "limit"]))),
            millicpus: Some(quota.and_then(|quota| u64::try_from(quota * 1000 / period).ok())),
            cpu_shares: Some(positive(resource(&["cpu", "shares"]))),
            pids_max: Some(positive(resource(&["pids", "limit"]))),
            ulimits: Some(
                process
                    .and_then(|process| process.get("rlimits"))
                    .map(Node::items)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|limit| {
                        let part = |key: &str| limit.text_of(key).unwrap_or_default();
                        Some(format!("{}={}:{}", limit.text_of("type")?, part("soft"), part("hard")))
                    })
                    .collect(),
            ),
            ..Resources::default()
        },
        ..Container::default()
    };
    Workload {
        form: Form::Oci,
        kind: "container".to_owned(),
        name,
        namespace: None,
        labels: document
            .get("annotations")
            .map(Node::entries)
            .unwrap_or_default()
            .iter()
            .map(|(k, v)| (k.text.clone(), v.text().unwrap_or_default().to_owned()))
            .collect(),
        os: if document.get("windows").is_some() { "windows" } else { "linux" }.to_owned(),
        containers: vec![container],
        at: document.at,
        pod: None,
    }
}

/// A rule of the device cgroup that permits something, as cgroup v1 writes it.
fn device_rule(rule: &Node) -> Option<String> {
    let number = |key: &str| {
        rule.int_of(key).filter(|number| *number >= 0).map_or_else(|| "*".to_owned(), |n| n.to_string())
    };
    let kind = rule.text_of("type").filter(|kind| !kind.is_empty()).unwrap_or("a");
    let access = rule.text_of("access").filter(|access| !access.is_empty()).unwrap_or("rwm");
    (rule.bool_of("allow") == Some(true))
        .then(|| format!("{kind} {}:{} {access}", number("major"), number("minor")))
}

/// A kind that is not listed is the runtime's own, which is the host's; one with a path is somebody's.
fn namespaces(linux: Option<&Node>) -> BTreeMap<&'static str, String> {
    let list = linux.and_then(|linux| linux.get("namespaces")).map(Node::items).unwrap_or_default();
    [
        ("cgroup", "cgroup"),
        ("ipc", "ipc"),
        ("mnt", "mount"),
        ("net", "network"),
        ("pid", "pid"),
        ("user", "user"),
        ("uts", "uts"),
    ]
    .into_iter()
    .map(|(kind, word)| {
        let found = list.iter().find(|entry| entry.text_of("type") == Some(word));
        let value = match found {
            None => "host".to_owned(),
            Some(entry) => {
                entry.text_of("path").map_or_else(|| "own".to_owned(), |path| format!("path:{path}"))
            }
        };
        (kind, value)
    })
    .collect()
}

fn mounts(document: &Node) -> Vec<DeclaredMount> {
    let mut mounts: Vec<DeclaredMount> = document
        .get("mounts")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .map(|mount| {
            let options: Vec<&str> = mount
                .get("options")
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .filter_map(Node::text)
                .collect();
            let bind = options.contains(&"bind") || options.contains(&"rbind");
            let travels = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
            DeclaredMount {
                kind: if bind { "bind" } else { mount.text_of("type").unwrap_or("unknown") }.to_owned(),
                source: mount.text_of("source").unwrap_or_default().to_owned(),
                target: mount.text_of("destination").unwrap_or_default().to_owned(),
                read_only: options.contains(&"ro"),
                propagation: options.iter().find(|o| travels.contains(o)).unwrap_or(&"private").to_string(),
            }
        })
        .collect();
    mounts.sort();
    mounts
}

//! What Docker says of its containers: `docker inspect`, `GET /containers/ID/json`.

use super::engine::{self, Options};
use super::{Declared, DeclaredMount, Form, Port, Workload};
use crate::text::Node;

/// Reads one answer, or the array that `docker inspect` prints.
pub(super) fn read(document: &Node, stem: &str, into: &mut Declared) {
    match document.items() {
        [] => into.workloads.push(container(document, stem)),
        many => into.workloads.extend(many.iter().map(|one| container(one, stem))),
    }
}

fn container(node: &Node, stem: &str) -> Workload {
    let name = node.text_of("Name").unwrap_or(stem).trim_start_matches('/').to_owned();
    let host = |key: &str| node.path(&["HostConfig", key]);
    let text = |key: &str| host(key).and_then(Node::text).unwrap_or_default().to_owned();
    let texts = |key: &str| -> Vec<String> {
        host(key)
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(|n| n.text().map(str::to_owned))
            .collect()
    };
    let number = |key: &str| host(key).and_then(Node::int).and_then(|n| u64::try_from(n).ok());
    let labels = node.path(&["Config", "Labels"]).map(Node::entries).unwrap_or_default();
    let restart = match (
        host("RestartPolicy").and_then(|p| p.text_of("Name")).unwrap_or_default(),
        host("RestartPolicy").and_then(|p| p.int_of("MaximumRetryCount")).unwrap_or(0),
    ) {
        ("on-failure", count) if count > 0 => format!("on-failure:{count}"),
        (name, _) => name.to_owned(),
    };
    let quota = host("CpuQuota").and_then(Node::int).filter(|quota| *quota > 0);
    let period = host("CpuPeriod").and_then(Node::int).filter(|period| *period > 0).unwrap_or(100_000);
    let options = Options {
        name: name.clone(),
        image: node.path(&["Config", "Image"]).and_then(Node::text).map(str::to_owned),
        user: node.path(&["Config", "User"]).and_then(Node::text).map(str::to_owned),
        privileged: host("Privileged").and_then(Node::bool) == Some(true),
        cap_add: texts("CapAdd"),
        cap_drop: texts("CapDrop"),
        security_opt: texts("SecurityOpt"),
        read_only: host("ReadonlyRootfs").and_then(Node::bool) == Some(true),
        pid: text("PidMode"),
        ipc: text("IpcMode"),
        uts: text("UTSMode"),
        userns: text("UsernsMode"),
        cgroupns: text("CgroupnsMode"),
        network: text("NetworkMode"),
        cgroup_parent: Some(text("CgroupParent")),
        mounts: node.get("Mounts").map(Node::items).unwrap_or_default().iter().map(mount).collect(),
        groups: texts("GroupAdd"),
        devices: host("Devices")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(|device| {
                let access = device.text_of("CgroupPermissions").unwrap_or_default();
                Some(engine::device_with(device.text_of("PathOnHost")?, access))
            })
            .chain(texts("DeviceCgroupRules"))
            .chain(host("DeviceRequests").filter(|list| !list.items().is_empty()).map(|_| "gpus".to_owned()))
            .collect(),
        sysctls: host("Sysctls")
            .map(Node::entries)
            .unwrap_or_default()
            .iter()
            .map(|(key, value)| (key.text.clone(), value.text().unwrap_or_default().to_owned()))
            .collect(),
        ports: host("PortBindings").map(Node::entries).unwrap_or_default().iter().flat_map(ports).collect(),
        memory_bytes: number("Memory"),
        millicpus: number("NanoCpus")
            .filter(|nano| *nano > 0)
            .map(|nano| nano / 1_000_000)
            .or_else(|| u64::try_from(quota? * 1000 / period).ok()),
        cpu_shares: number("CpuShares"),
        pids: host("PidsLimit").and_then(Node::int),
        restart,
        healthcheck: Some(
            node.path(&["Config", "Healthcheck", "Test"])
                .is_some_and(|test| test.items().first().and_then(Node::text) != Some("NONE")),
        ),
        ulimits: host("Ulimits")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(|limit| {
                let part = |key: &str| limit.text_of(key).unwrap_or_default();
                Some(format!("{}={}:{}", limit.text_of("Name")?, part("Soft"), part("Hard")))
            })
            .collect(),
        runtime: text("Runtime"),
        ..Options::default()
    };
    let mut container = options.container();
    // An empty user is the image's: root, since the engine writes the image's user here too.
    if container.user.is_none() {
        container.root = Some(true);
    }
    if let Some(masked) = host("MaskedPaths") {
        container.masked_paths = Some(!masked.items().is_empty());
    }
    if let Some(paths) = host("ReadonlyPaths") {
        container.proc_sys_read_only =
            Some(paths.items().iter().any(|path| path.text() == Some("/proc/sys")));
    }
    Workload {
        form: Form::Docker,
        kind: "container".to_owned(),
        name,
        namespace: None,
        labels: labels
            .iter()
            .map(|(k, v)| (k.text.clone(), v.text().unwrap_or_default().to_owned()))
            .collect(),
        os: "linux".to_owned(),
        containers: vec![container],
        at: node.at,
        pod: None,
    }
}

fn mount(node: &Node) -> DeclaredMount {
    let text = |key: &str| node.text_of(key).unwrap_or_default().to_owned();
    let kind = text("Type");
    DeclaredMount {
        source: if kind == "volume" { text("Name") } else { text("Source") },
        kind,
        target: text("Destination"),
        read_only: node.bool_of("RW") == Some(false),
        propagation: match text("Propagation") {
            none if none.is_empty() => "private".to_owned(),
            some => some,
        },
    }
}

fn ports((key, bindings): &(crate::text::Key, Node)) -> Vec<Port> {
    let container = engine::port(&key.text).map_or(0, |port| port.container_port);
    bindings
        .items()
        .iter()
        .map(|binding| Port {
            host_ip: binding.text_of("HostIp").unwrap_or_default().to_owned(),
            host_port: binding.text_of("HostPort").and_then(|port| port.parse().ok()).unwrap_or(0),
            container_port: container,
        })
        .collect()
}

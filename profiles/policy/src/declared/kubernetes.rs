//! Kubernetes objects: pods, everything that makes pods, lists of them, and admission reviews.

use std::collections::BTreeMap;

use super::model::{Resources, bounding, capability_names};
use super::quantity::{millis, quantity};
use super::{Container, Declared, DeclaredError, DeclaredMount, Form, Port, Workload};
use crate::text::{Key, Kind, Node};

mod shape;

/// Where the pod template stands, by kind (core/v1, apps/v1, batch/v1).
const TEMPLATES: [(&str, &[&str]); 9] = [
    ("PodTemplate", &["template"]),
    ("ReplicationController", &["spec", "template"]),
    ("ReplicaSet", &["spec", "template"]),
    ("Deployment", &["spec", "template"]),
    ("DaemonSet", &["spec", "template"]),
    ("StatefulSet", &["spec", "template"]),
    ("Job", &["spec", "template"]),
    ("CronJob", &["spec", "jobTemplate", "spec", "template"]),
    ("Pod", &[]),
];

/// Annotations of the time before fields (deprecated in 1.30 and 1.19).
pub(crate) const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
pub(crate) const SECCOMP_POD_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub(crate) const SECCOMP_CONTAINER_ANNOTATION: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Reads one object.
///
/// # Errors
/// An object whose pod has not the shape of a pod: the API server would refuse it too.
pub(super) fn read(object: &Node, into: &mut Declared) -> Result<(), DeclaredError> {
    let kind = object.text_of("kind").unwrap_or_default();
    if kind == "AdmissionReview" {
        let reviewed = object
            .path(&["request", "object"])
            .ok_or_else(|| DeclaredError::new(object.at, "an AdmissionReview without .request.object"))?;
        let before = into.workloads.len();
        read(reviewed, into)?;
        // A pod that is being created may not have its name and namespace yet: the request does.
        for workload in &mut into.workloads[before..] {
            if workload.namespace.is_none() {
                workload.namespace =
                    object.path(&["request", "namespace"]).and_then(Node::text).map(str::to_owned);
            }
            if workload.name == "?"
                && let Some(name) = object.path(&["request", "name"]).and_then(Node::text)
            {
                workload.name = name.to_owned();
            }
        }
        return Ok(());
    }
    if kind.ends_with("List")
        && let Some(items) = object.get("items")
    {
        let version = object.text_of("apiVersion").unwrap_or("v1");
        return items.items().iter().try_for_each(|item| {
            if item.get("kind").is_some() {
                return read(item, into);
            }
            // Items of a typed list (PodList) do not repeat their kind.
            let mut item = item.clone();
            if let Kind::Map(entries) = &mut item.kind {
                for (key, text) in [("kind", kind.trim_end_matches("List")), ("apiVersion", version)] {
                    let node =
                        Node { at: items.at, kind: Kind::Scalar { text: text.to_owned(), quoted: true } };
                    entries.push((Key { text: key.to_owned(), at: items.at }, node));
                }
            }
            read(&item, into)
        });
    }
    let known = TEMPLATES.iter().find(|(name, _)| *name == kind).map(|(_, path)| *path);
    // Kinds of others (Rollout, Service of Knative) keep their pod at the same place.
    let path = known.unwrap_or(&["spec", "template"]);
    let pod = object.path(path);
    let is_pod = |pod: &&Node| pod.path(&["spec", "containers"]).is_some();
    match pod.filter(|pod| known.is_some() || is_pod(pod)) {
        Some(pod) => into.workloads.push(workload(object, pod, kind)?),
        None if known.is_some() => {
            let what = format!("a {kind} without .{}", path.join("."));
            return Err(DeclaredError::new(object.at, what));
        }
        None => {
            let name = object.path(&["metadata", "name"]).and_then(Node::text).unwrap_or("?");
            into.not_applicable.push((format!("{kind}/{name}"), "asks for no containers".to_owned()));
        }
    }
    Ok(())
}

fn workload(object: &Node, pod: &Node, kind: &str) -> Result<Workload, DeclaredError> {
    shape::pod(pod)?;
    let metadata = object.get("metadata");
    let text = |key: &str| metadata.and_then(|metadata| metadata.text_of(key));
    let name =
        text("name").map(str::to_owned).or_else(|| text("generateName").map(|name| format!("{name}*")));
    let labels = pod.path(&["metadata", "labels"]).or_else(|| object.path(&["metadata", "labels"]));
    let spec = pod.get("spec").ok_or_else(|| DeclaredError::new(pod.at, "a pod without .spec"))?;
    let context = PodContext::of(pod, spec);
    Ok(Workload {
        form: Form::Kubernetes,
        kind: kind.to_owned(),
        name: name.unwrap_or_else(|| "?".to_owned()),
        namespace: text("namespace").map(str::to_owned),
        labels: labels.map(Node::entries).unwrap_or_default().iter().map(pair).collect(),
        os: spec.path(&["os", "name"]).and_then(Node::text).unwrap_or("linux").to_owned(),
        containers: containers(spec).map(|(role, node)| container(&context, role, node)).collect(),
        at: object.at,
        pod: Some(Box::new(pod.clone())),
    })
}

fn pair((key, value): &(Key, Node)) -> (String, String) {
    (key.text.clone(), value.text().unwrap_or_default().to_owned())
}

/// All containers of a pod with their role, in the order in which the API visits them.
pub(crate) fn containers(spec: &Node) -> impl Iterator<Item = (&'static str, &Node)> {
    let list = |key: &str| spec.get(key).map(Node::items).unwrap_or_default().iter();
    // An init container that restarts always is a sidecar (1.28).
    let init = |node: &Node| if node.text_of("restartPolicy") == Some("Always") { "sidecar" } else { "init" };
    list("initContainers")
        .map(move |node| (init(node), node))
        .chain(list("containers").map(|node| ("container", node)))
        .chain(list("ephemeralContainers").map(|node| ("ephemeral", node)))
}

/// What the pod says for all its containers.
struct PodContext<'n> {
    spec: &'n Node,
    security: Option<&'n Node>,
    annotations: &'n [(Key, Node)],
}

impl<'n> PodContext<'n> {
    fn of(pod: &'n Node, spec: &'n Node) -> PodContext<'n> {
        PodContext {
            spec,
            security: spec.get("securityContext"),
            annotations: pod.path(&["metadata", "annotations"]).map(Node::entries).unwrap_or_default(),
        }
    }

    fn annotation(&self, key: &str) -> Option<&'n str> {
        self.annotations.iter().find(|(known, _)| known.text == key).and_then(|(_, value)| value.text())
    }

    fn on(&self, key: &str) -> bool {
        self.spec.bool_of(key) == Some(true)
    }
}

/// One container, what the pod says filled in where it says nothing itself.
fn container(pod: &PodContext<'_>, role: &'static str, node: &Node) -> Container {
    let own = node.get("securityContext");
    let merged =
        |key: &str| own.and_then(|own| own.get(key)).or_else(|| pod.security.and_then(|pod| pod.get(key)));
    let name = node.text_of("name").unwrap_or("?").to_owned();
    let privileged = own.and_then(|own| own.bool_of("privileged")).unwrap_or(false);
    let caps = |key: &str| {
        let list = own.and_then(|own| own.path(&["capabilities", key])).map(Node::items).unwrap_or_default();
        capability_names(list.iter().filter_map(Node::text))
    };
    let (add, drop) = (caps("add"), caps("drop"));
    let uid = merged("runAsUser").and_then(Node::int);
    let group = merged("runAsGroup").and_then(Node::int);
    let non_root = merged("runAsNonRoot").and_then(Node::bool) == Some(true);
    let seccomp = seccomp(pod, &name, merged("seccompProfile"), privileged);
    let limits = node.path(&["resources", "limits"]);
    let masked =
        !privileged && own.and_then(|own| own.text_of("procMount")).is_none_or(|mount| mount == "Default");
    Container {
        undecided: BTreeMap::new(),
        image: node.text_of("image").map(str::to_owned),
        user: uid.map(|uid| group.map_or(uid.to_string(), |group| format!("{uid}:{group}"))),
        groups: Some(groups(pod)),
        // The kubelet refuses to start a container that is root and may not be.
        root: match uid {
            Some(uid) => Some(uid == 0),
            None if non_root => Some(false),
            None => None,
        },
        privileged: Some(privileged),
        capabilities: Some(bounding(plim_model::CapabilitySet::DOCKER_DEFAULT, privileged, &add, &drop)),
        cap_add: Some(add),
        cap_drop: Some(drop),
        no_new_privs: Some(
            own.and_then(|own| own.bool_of("allowPrivilegeEscalation")) == Some(false) && !privileged,
        ),
        read_only_root: Some(own.and_then(|own| own.bool_of("readOnlyRootFilesystem")) == Some(true)),
        seccomp: Some(seccomp.0),
        seccomp_profile: seccomp.1,
        apparmor: Some(apparmor(pod, &name, merged("appArmorProfile"), privileged)),
        selinux: Some(merged("seLinuxOptions").map_or_else(|| "default".to_owned(), selinux)),
        namespaces: Some(namespaces(pod, node)),
        mounts: Some(mounts(pod, node)),
        devices: Some(devices(node)),
        device_rules: None,
        sysctls: Some(
            pod.security
                .and_then(|security| security.get("sysctls"))
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .filter_map(|s| {
                    Some((s.text_of("name")?.to_owned(), s.text_of("value").unwrap_or("").to_owned()))
                })
                .collect(),
        ),
        ports: Some(ports(pod, node)),
        masked_paths: Some(masked),
        proc_sys_read_only: Some(masked),
        resources: Resources {
            memory_max_bytes: Some(limits.and_then(|limits| quantity(limits.text_of("memory")?))),
            millicpus: Some(limits.and_then(|limits| millis(limits.text_of("cpu")?))),
            restart: Some(pod.spec.text_of("restartPolicy").unwrap_or("Always").to_lowercase()),
            healthcheck: Some(node.get("livenessProbe").is_some() || node.get("readinessProbe").is_some()),
            runtime: pod.spec.text_of("runtimeClassName").map(str::to_owned),
            ..Resources::default()
        },
        name,
        role,
    }
}

/// The groups that every container of the pod is in.
fn groups(pod: &PodContext<'_>) -> Vec<String> {
    let list = pod.security.and_then(|security| security.get("supplementalGroups")).map(Node::items);
    let file_system = pod.security.and_then(|security| security.get("fsGroup"));
    let all = list.unwrap_or_default().iter().chain(file_system);
    all.filter_map(|group| group.text().map(str::to_owned)).collect()
}

/// Block volumes, whose paths are the container's, and what device plug-ins are asked for (`nvidia.com/gpu`).
fn devices(node: &Node) -> Vec<String> {
    let volumes = node.get("volumeDevices").map(Node::items).unwrap_or_default();
    let limits = node.path(&["resources", "limits"]).map(Node::entries).unwrap_or_default();
    let plugged = limits.iter().filter(|(key, value)| key.text.contains('/') && value.text() != Some("0"));
    volumes
        .iter()
        .filter_map(|device| {
            Some(format!("volume {} at {}", device.text_of("name")?, device.text_of("devicePath")?))
        })
        .chain(plugged.map(|(key, _)| key.text.clone()))
        .collect()
}

fn seccomp(
    pod: &PodContext<'_>,
    container: &str,
    profile: Option<&Node>,
    privileged: bool,
) -> (String, Option<String>) {
    if privileged {
        return ("unconfined".to_owned(), None);
    }
    if let Some(profile) = profile {
        return match profile.text_of("type").unwrap_or_default() {
            "RuntimeDefault" => ("default".to_owned(), None),
            "Localhost" => ("profile".to_owned(), profile.text_of("localhostProfile").map(str::to_owned)),
            _ => ("unconfined".to_owned(), None),
        };
    }
    let annotation = pod
        .annotation(&format!("{SECCOMP_CONTAINER_ANNOTATION}{container}"))
        .or_else(|| pod.annotation(SECCOMP_POD_ANNOTATION));
    match annotation {
        Some("runtime/default" | "docker/default") => ("default".to_owned(), None),
        Some("unconfined") => ("unconfined".to_owned(), None),
        Some(local) if local.starts_with("localhost/") => {
            ("profile".to_owned(), Some(local.trim_start_matches("localhost/").to_owned()))
        }
        // Unconfined, unless the node's kubelet has seccompDefault.
        _ => ("unset".to_owned(), None),
    }
}

fn apparmor(pod: &PodContext<'_>, container: &str, profile: Option<&Node>, privileged: bool) -> String {
    if let Some(profile) = profile {
        return match profile.text_of("type").unwrap_or_default() {
            "RuntimeDefault" => "default".to_owned(),
            "Localhost" => profile.text_of("localhostProfile").unwrap_or("?").to_owned(),
            _ => "unconfined".to_owned(),
        };
    }
    match pod.annotation(&format!("{APPARMOR_ANNOTATION}{container}")) {
        Some("runtime/default") => "default".to_owned(),
        Some("unconfined") => "unconfined".to_owned(),
        Some(local) => local.trim_start_matches("localhost/").to_owned(),
        None if privileged => "unconfined".to_owned(),
        // The runtime's default, where the node has AppArmor.
        None => "default".to_owned(),
    }
}

fn selinux(options: &Node) -> String {
    let part = |key: &str| options.text_of(key).unwrap_or("");
    format!("{}:{}:{}:{}", part("user"), part("role"), part("type"), part("level"))
}

fn namespaces(pod: &PodContext<'_>, node: &Node) -> BTreeMap<&'static str, String> {
    let word = |host: bool| if host { "host" } else { "own" }.to_owned();
    let share = pod.on("shareProcessNamespace");
    let pid = match node.text_of("targetContainerName") {
        Some(target) if !pod.on("hostPID") => format!("container:{target}"),
        _ if share && !pod.on("hostPID") => "pod".to_owned(),
        _ => word(pod.on("hostPID")),
    };
    BTreeMap::from([
        ("cgroup", "own".to_owned()),
        ("ipc", word(pod.on("hostIPC"))),
        ("mnt", "own".to_owned()),
        ("net", word(pod.on("hostNetwork"))),
        ("pid", pid),
        ("user", word(pod.spec.bool_of("hostUsers") != Some(false))),
        ("uts", word(pod.on("hostNetwork"))),
    ])
}

/// The type of a volume: the one key beside its name.
pub(crate) fn volume_type(volume: &Node) -> Option<&str> {
    volume
        .entries()
        .iter()
        .find(|(key, value)| key.text != "name" && !value.is_null())
        .map(|(key, _)| key.text.as_str())
}

fn mounts(pod: &PodContext<'_>, node: &Node) -> Vec<DeclaredMount> {
    let volumes = pod.spec.get("volumes").map(Node::items).unwrap_or_default();
    let mut mounts: Vec<DeclaredMount> = node
        .get("volumeMounts")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .map(|mount| {
            let name = mount.text_of("name").unwrap_or_default();
            let volume = volumes.iter().find(|volume| volume.text_of("name") == Some(name));
            let host = volume.and_then(|volume| volume.path(&["hostPath", "path"])).and_then(Node::text);
            DeclaredMount {
                kind: match host {
                    Some(_) => "bind".to_owned(),
                    None => volume.and_then(volume_type).unwrap_or("unknown").to_owned(),
                },
                source: match mount.text_of("subPath").or_else(|| mount.text_of("subPathExpr")) {
                    Some(below) => format!("{}/{below}", host.unwrap_or(name).trim_end_matches('/')),
                    None => host.unwrap_or(name).to_owned(),
                },
                target: mount.text_of("mountPath").unwrap_or_default().to_owned(),
                read_only: mount.bool_of("readOnly") == Some(true),
                propagation: match mount.text_of("mountPropagation") {
                    Some("Bidirectional") => "rshared".to_owned(),
                    Some("HostToContainer") => "rslave".to_owned(),
                    _ => "private".to_owned(),
                },
            }
        })
        .collect();
    mounts.sort();
    mounts
}

fn ports(pod: &PodContext<'_>, node: &Node) -> Vec<Port> {
    let number = |port: &Node, key: &str| port.int_of(key).and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
    let mut ports: Vec<Port> = node
        .get("ports")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .filter_map(|port| {
            let container_port = number(port, "containerPort");
            let host_port = match number(port, "hostPort") {
                0 if pod.on("hostNetwork") => container_port,
                host => host,
            };
            let host_ip = port.text_of("hostIP").unwrap_or_default().to_owned();
            (host_port != 0).then_some(Port { host_ip, host_port, container_port })
        })
        .collect();
    ports.sort();
    ports
}

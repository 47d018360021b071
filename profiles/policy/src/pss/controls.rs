//! The controls, one function each. Each pushes what breaks it.

use super::{Control, Verdict, Version};
use crate::declared::kubernetes::{
    APPARMOR_ANNOTATION, SECCOMP_CONTAINER_ANNOTATION, SECCOMP_POD_ANNOTATION, containers, volume_type,
};
use crate::text::{Key, Node};

const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Sysctls that keep to their namespace, and the version since which they are on the list.
const SAFE_SYSCTLS: [(&str, u32); 14] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
    ("net.ipv4.tcp_slow_start_after_idle", 37),
    ("net.ipv4.tcp_notsent_lowat", 37),
];

const RESTRICTED_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// A pod and its parts.
struct Pod<'n> {
    spec: Option<&'n Node>,
    security: Option<&'n Node>,
    annotations: &'n [(Key, Node)],
}

pub(super) fn judge(control: Control, version: Version, pod: &Node) -> Verdict {
    let spec = pod.get("spec");
    let pod = Pod {
        spec,
        security: spec.and_then(|spec| spec.get("securityContext")),
        annotations: pod.path(&["metadata", "annotations"]).map(Node::entries).unwrap_or_default(),
    };
    let mut found = Vec::new();
    use Control as C;
    let linux_only = [C::AllowPrivilegeEscalation, C::CapabilitiesRestricted, C::SeccompRestricted];
    if version.0 >= 25 && linux_only.contains(&control) && pod.is_windows() {
        return Verdict::NotLinux;
    }
    // Root of a user namespace of its own is nobody on the node.
    let relaxed = [C::ProcMount, C::RunAsNonRoot, C::RunAsUser];
    if version.0 >= 35
        && relaxed.contains(&control)
        && pod.spec.and_then(|spec| spec.bool_of("hostUsers")) == Some(false)
    {
        return Verdict::Kept;
    }
    match control {
        C::AllowPrivilegeEscalation => pod.allow_privilege_escalation(&mut found),
        C::AppArmorProfile => pod.app_armor(&mut found),
        C::CapabilitiesBaseline => pod.capabilities(&mut found, &BASELINE_CAPABILITIES, false),
        C::CapabilitiesRestricted => pod.capabilities(&mut found, &["NET_BIND_SERVICE"], true),
        C::HostNamespaces => pod.host_namespaces(&mut found),
        C::HostPathVolumes => pod.volumes(&mut found, |kinds| kinds.contains(&"hostPath")),
        C::HostPorts => pod.host_ports(&mut found),
        C::HostProbesAndHostLifecycle => pod.host_probes(&mut found),
        C::Privileged => pod.privileged(&mut found),
        C::ProcMount | C::ProcMountRestricted => pod.proc_mount(&mut found),
        // The API server makes a volume that says nothing an emptyDir.
        C::RestrictedVolumes => pod.volumes(&mut found, |kinds| {
            !kinds.is_empty() && !kinds.iter().any(|kind| RESTRICTED_VOLUMES.contains(kind))
        }),
        C::RunAsNonRoot => pod.run_as_non_root(&mut found),
        C::RunAsUser => pod.run_as_user(&mut found),
        C::SeLinuxOptions => pod.selinux(&mut found, version),
        C::SeccompBaseline if version.0 < 19 => pod.seccomp_annotations(&mut found),
        C::SeccompBaseline => {
            pod.seccomp_profiles(&mut found);
        }
        C::SeccompRestricted => pod.seccomp_everywhere(&mut found),
        C::Sysctls => pod.sysctls(&mut found, version),
        C::WindowsHostProcess => pod.host_process(&mut found),
    }
    if found.is_empty() { Verdict::Kept } else { Verdict::Broken(found) }
}

fn container_name(node: &Node) -> String {
    format!("container {}", node.text_of("name").unwrap_or("?"))
}

impl<'n> Pod<'n> {
    fn is_windows(&self) -> bool {
        self.spec.and_then(|spec| spec.path(&["os", "name"])).and_then(Node::text) == Some("windows")
    }

    fn containers(&self) -> impl Iterator<Item = &'n Node> {
        self.spec.into_iter().flat_map(|spec| containers(spec).map(|(_, node)| node))
    }

    /// The security contexts of the pod and of each container, with their owner's name.
    fn contexts(&self) -> impl Iterator<Item = (String, &'n Node)> {
        let pod = self.security.map(|node| ("pod".to_owned(), node));
        pod.into_iter().chain(
            self.containers().filter_map(|node| Some((container_name(node), node.get("securityContext")?))),
        )
    }

    fn allow_privilege_escalation(&self, found: &mut Vec<String>) {
        for node in self.containers() {
            let allow = node
                .get("securityContext")
                .and_then(|own| own.bool_of("allowPrivilegeEscalation"))
                .unwrap_or(true);
            if allow {
                found.push(format!("{}: allowPrivilegeEscalation is not false", container_name(node)));
            }
        }
    }

    fn app_armor(&self, found: &mut Vec<String>) {
        for (owner, context) in self.contexts() {
            if let Some(profile) = context.get("appArmorProfile") {
                let kind = profile.text_of("type").unwrap_or_default();
                if !["RuntimeDefault", "Localhost"].contains(&kind) {
                    found.push(format!("{owner}: appArmorProfile.type is {kind:?}"));
                }
            }
        }
        for (key, value) in self.annotations {
            let value = value.text().unwrap_or_default();
            let allowed = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
            if key.text.starts_with(APPARMOR_ANNOTATION) && !allowed {
                found.push(format!("annotation {}={value:?}", key.text));
            }
        }
    }

    fn capabilities(&self, found: &mut Vec<String>, allowed: &[&str], drop_all: bool) {
        for node in self.containers() {
            let capabilities = node.path(&["securityContext", "capabilities"]);
            let list = |key: &str| {
                capabilities.and_then(|caps| caps.get(key)).map(Node::items).unwrap_or_default().iter()
            };
            if drop_all && !list("drop").any(|name| name.text() == Some("ALL")) {
                found.push(format!("{}: capabilities.drop does not name ALL", container_name(node)));
            }
            for name in list("add").map(|name| name.text().unwrap_or_default()) {
                if !allowed.contains(&name) {
                    found.push(format!("{}: capabilities.add names {name}", container_name(node)));
                }
            }
        }
    }

    fn host_namespaces(&self, found: &mut Vec<String>) {
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            if self.spec.and_then(|spec| spec.bool_of(key)) == Some(true) {
                found.push(format!("{key} is true"));
            }
        }
    }

    fn volumes(&self, found: &mut Vec<String>, bad: impl Fn(&[&str]) -> bool) {
        for volume in self.spec.and_then(|spec| spec.get("volumes")).map(Node::items).unwrap_or_default() {
            let kinds: Vec<&str> = volume
                .entries()
                .iter()
                .filter(|(key, value)| key.text != "name" && !value.is_null())
                .map(|(key, _)| key.text.as_str())
                .collect();
            if bad(&kinds) {
                let name = volume.text_of("name").unwrap_or("?");
                let kind = volume_type(volume).unwrap_or("unknown");
                found.push(format!("volume {name} is of type {kind}"));
            }
        }
    }

    fn host_ports(&self, found: &mut Vec<String>) {
        for node in self.containers() {
            for port in node.get("ports").map(Node::items).unwrap_or_default() {
                match port.int_of("hostPort") {
                    None | Some(0) => {}
                    Some(port) => found.push(format!("{}: hostPort is {port}", container_name(node))),
                }
            }
        }
    }

    fn host_probes(&self, found: &mut Vec<String>) {
        let handlers: [&[&str]; 5] = [
            &["livenessProbe"],
            &["readinessProbe"],
            &["startupProbe"],
            &["lifecycle", "postStart"],
            &["lifecycle", "preStop"],
        ];
        for node in self.containers() {
            for path in handlers {
                for action in ["httpGet", "tcpSocket"] {
                    let host = node
                        .path(path)
                        .and_then(|handler| handler.path(&[action, "host"]))
                        .and_then(Node::text);
                    if let Some(host) = host.filter(|host| !host.is_empty()) {
                        let path = path.join(".");
                        found.push(format!("{}: {path}.{action}.host is {host:?}", container_name(node)));
                    }
                }
            }
        }
    }

    fn privileged(&self, found: &mut Vec<String>) {
        for node in self.containers() {
            if node.get("securityContext").and_then(|own| own.bool_of("privileged")) == Some(true) {
                found.push(format!("{}: privileged is true", container_name(node)));
            }
        }
    }

    fn proc_mount(&self, found: &mut Vec<String>) {
        for node in self.containers() {
            match node.path(&["securityContext", "procMount"]).and_then(Node::text) {
                None | Some("Default") => {}
                Some(other) => found.push(format!("{}: procMount is {other:?}", container_name(node))),
            }
        }
    }

    fn run_as_non_root(&self, found: &mut Vec<String>) {
        let pod = self.security.and_then(|security| security.bool_of("runAsNonRoot"));
        if pod == Some(false) {
            found.push("pod: runAsNonRoot is false".to_owned());
        }
        for node in self.containers() {
            match node.get("securityContext").and_then(|own| own.bool_of("runAsNonRoot")) {
                Some(true) => {}
                Some(false) => found.push(format!("{}: runAsNonRoot is false", container_name(node))),
                None if pod == Some(true) => {}
                None => found
                    .push(format!("{}: runAsNonRoot is not true, nor is the pod's", container_name(node))),
            }
        }
    }

    fn run_as_user(&self, found: &mut Vec<String>) {
        for (owner, context) in self.contexts() {
            if context.int_of("runAsUser") == Some(0) {
                found.push(format!("{owner}: runAsUser is 0"));
            }
        }
    }

    fn selinux(&self, found: &mut Vec<String>, version: Version) {
        let engine = (version.0 >= 31).then_some("container_engine_t");
        for (owner, context) in self.contexts() {
            let Some(options) = context.get("seLinuxOptions") else { continue };
            let text = |key: &str| options.text_of(key).unwrap_or_default();
            let kind = text("type");
            let known = ["", "container_t", "container_init_t", "container_kvm_t"].contains(&kind);
            if !known && Some(kind) != engine {
                found.push(format!("{owner}: seLinuxOptions.type is {kind:?}"));
            }
            for key in ["user", "role"] {
                if !text(key).is_empty() {
                    found.push(format!("{owner}: seLinuxOptions.{key} is {:?}", text(key)));
                }
            }
        }
    }

    fn seccomp_annotations(&self, found: &mut Vec<String>) {
        let names: Vec<String> = self
            .containers()
            .map(|node| format!("{SECCOMP_CONTAINER_ANNOTATION}{}", node.text_of("name").unwrap_or_default()))
            .chain([SECCOMP_POD_ANNOTATION.to_owned()])
            .collect();
        for (key, value) in self.annotations.iter().filter(|(key, _)| names.contains(&key.text)) {
            let value = value.text().unwrap_or_default();
            if !["runtime/default", "docker/default"].contains(&value) && !value.starts_with("localhost/") {
                found.push(format!("annotation {}={value:?}", key.text));
            }
        }
    }

    fn seccomp_profiles(&self, found: &mut Vec<String>) {
        for (owner, context) in self.contexts() {
            if let Some(profile) = context.get("seccompProfile") {
                let kind = profile.text_of("type").unwrap_or_default();
                if !["RuntimeDefault", "Localhost"].contains(&kind) {
                    found.push(format!("{owner}: seccompProfile.type is {kind:?}"));
                }
            }
        }
    }

    fn seccomp_everywhere(&self, found: &mut Vec<String>) {
        self.seccomp_profiles(found);
        // A pod's own profile counts for its containers only where it is a good one.
        let good = |context: Option<&Node>| {
            let kind =
                context.and_then(|context| context.path(&["seccompProfile", "type"])).and_then(Node::text);
            matches!(kind, Some("RuntimeDefault" | "Localhost"))
        };
        if good(self.security) {
            return;
        }
        for node in self.containers() {
            if node.path(&["securityContext", "seccompProfile"]).is_none() {
                found.push(format!("{}: no seccompProfile, nor has the pod one", container_name(node)));
            }
        }
    }

    fn sysctls(&self, found: &mut Vec<String>, version: Version) {
        let list =
            self.security.and_then(|security| security.get("sysctls")).map(Node::items).unwrap_or_default();
        for name in list.iter().map(|sysctl| sysctl.text_of("name").unwrap_or_default()) {
            if !SAFE_SYSCTLS.iter().any(|(safe, since)| *safe == name && version.0 >= *since) {
                found.push(format!("sysctl {name} is set"));
            }
        }
    }

    fn host_process(&self, found: &mut Vec<String>) {
        for (owner, context) in self.contexts() {
            if context.get("windowsOptions").and_then(|options| options.bool_of("hostProcess")) == Some(true)
            {
                found.push(format!("{owner}: windowsOptions.hostProcess is true"));
            }
        }
    }
}

//! The Pod Security Standards as a table: each control in passing and failing form, for every kind of container, overrides between
//! pod and container, and every version at which something changes. Facts are those of the standard's page in the Kubernetes
//! documentation and of the admission controller's behaviour; the manifests are made here.

mod common;

use plim_policy::declared;
use plim_policy::pss::{Control, Level, Verdict, Version};
use plim_policy::text::{Limits, read};
use serde_json::{Value, json};

/// Versions around every change, and the last.
const VERSIONS: [u32; 19] = [0, 7, 8, 18, 19, 21, 22, 23, 24, 25, 26, 27, 29, 31, 32, 34, 35, 36, 37];

/// From which version to which one a level forbids the pod.
type Ranges = &'static [(u32, u32)];
const NEVER: Ranges = &[];
const ALWAYS: Ranges = &[(0, 99)];
const UNTIL_26: Ranges = &[(0, 26)];

/// A pod that both levels of every version let in.
fn base() -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": "registry.example/app:1",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        })
    };
    let mut sidecar = container("sidecar");
    sidecar["restartPolicy"] = json!("Always");
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "annotations": {}},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [container("init"), sidecar],
            "containers": [container("main"), container("second")],
            "ephemeralContainers": [container("debug")],
            "volumes": [{"name": "cache", "emptyDir": {}}],
        },
    })
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (key, value) in fields {
                if value.is_null() {
                    into.as_object_mut().unwrap().shift_remove(key);
                } else {
                    merge(&mut into[key], value);
                }
            }
        }
        other => *into = other.clone(),
    }
}

const PLACES: [(&str, usize); 5] = [
    ("initContainers", 0),
    ("initContainers", 1),
    ("containers", 0),
    ("containers", 1),
    ("ephemeralContainers", 0),
];

/// What is merged into one container: name, patch, when baseline and when restricted forbids it.
fn container_cases() -> Vec<(&'static str, Value, Ranges, Ranges)> {
    let context = |fields: Value| json!({"securityContext": fields});
    let caps = |add: &[&str], drop: &[&str]| json!({"securityContext": {"capabilities": {"add": add, "drop": drop}}});
    vec![
        ("privileged", context(json!({"privileged": true})), ALWAYS, ALWAYS),
        ("not privileged", context(json!({"privileged": false})), NEVER, NEVER),
        ("escalation", context(json!({"allowPrivilegeEscalation": true})), NEVER, &[(8, 99)]),
        ("escalation unsaid", context(json!({"allowPrivilegeEscalation": null})), NEVER, &[(8, 99)]),
        ("no context", json!({"securityContext": null}), NEVER, &[(8, 99)]),
        ("adds CHOWN", caps(&["CHOWN"], &["ALL"]), NEVER, &[(22, 99)]),
        ("adds NET_BIND_SERVICE", caps(&["NET_BIND_SERVICE"], &["ALL"]), NEVER, NEVER),
        ("adds NET_RAW", caps(&["NET_RAW"], &["ALL"]), ALWAYS, ALWAYS),
        ("adds SYS_ADMIN", caps(&["SYS_ADMIN"], &["ALL"]), ALWAYS, ALWAYS),
        ("adds ALL", caps(&["ALL"], &["ALL"]), ALWAYS, ALWAYS),
        ("adds in small letters", caps(&["chown"], &["ALL"]), ALWAYS, ALWAYS),
        ("adds with prefix", caps(&["CAP_CHOWN"], &["ALL"]), ALWAYS, ALWAYS),
        ("drops some", caps(&[], &["NET_RAW"]), NEVER, &[(22, 99)]),
        ("drops in small letters", caps(&[], &["all"]), NEVER, &[(22, 99)]),
        ("drops nothing", context(json!({"capabilities": {"drop": null}})), NEVER, &[(22, 99)]),
        ("no capabilities", context(json!({"capabilities": null})), NEVER, &[(22, 99)]),
        ("host port", json!({"ports": [{"containerPort": 80, "hostPort": 80}]}), ALWAYS, ALWAYS),
        ("host port 0", json!({"ports": [{"containerPort": 80, "hostPort": 0}]}), NEVER, NEVER),
        ("no host port", json!({"ports": [{"containerPort": 80}]}), NEVER, NEVER),
        (
            "second port",
            json!({"ports": [{"containerPort": 1}, {"containerPort": 2, "hostPort": 2}]}),
            ALWAYS,
            ALWAYS,
        ),
        (
            "probe host",
            json!({"livenessProbe": {"httpGet": {"port": 1, "host": "a"}}}),
            &[(34, 99)],
            &[(34, 99)],
        ),
        (
            "readiness host",
            json!({"readinessProbe": {"tcpSocket": {"port": 1, "host": "a"}}}),
            &[(34, 99)],
            &[(34, 99)],
        ),
        (
            "startup host",
            json!({"startupProbe": {"httpGet": {"port": 1, "host": "127.0.0.1"}}}),
            &[(34, 99)],
            &[(34, 99)],
        ),
        ("empty probe host", json!({"livenessProbe": {"httpGet": {"port": 1, "host": ""}}}), NEVER, NEVER),
        ("probe", json!({"livenessProbe": {"exec": {"command": ["true"]}}}), NEVER, NEVER),
        (
            "hook host",
            json!({"lifecycle": {"postStart": {"httpGet": {"port": 1, "host": "a"}}}}),
            &[(34, 99)],
            &[(34, 99)],
        ),
        (
            "stop hook host",
            json!({"lifecycle": {"preStop": {"tcpSocket": {"port": 1, "host": "a"}}}}),
            &[(34, 99)],
            &[(34, 99)],
        ),
        ("hook", json!({"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}), NEVER, NEVER),
        ("apparmor unconfined", context(json!({"appArmorProfile": {"type": "Unconfined"}})), ALWAYS, ALWAYS),
        ("apparmor default", context(json!({"appArmorProfile": {"type": "RuntimeDefault"}})), NEVER, NEVER),
        (
            "apparmor local",
            context(json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "x"}})),
            NEVER,
            NEVER,
        ),
        ("apparmor without type", context(json!({"appArmorProfile": {}})), ALWAYS, ALWAYS),
        ("selinux type", context(json!({"seLinuxOptions": {"type": "spc_t"}})), ALWAYS, ALWAYS),
        ("selinux container_t", context(json!({"seLinuxOptions": {"type": "container_t"}})), NEVER, NEVER),
        (
            "selinux container_kvm_t",
            context(json!({"seLinuxOptions": {"type": "container_kvm_t", "level": "s0"}})),
            NEVER,
            NEVER,
        ),
        (
            "selinux container_engine_t",
            context(json!({"seLinuxOptions": {"type": "container_engine_t"}})),
            &[(0, 30)],
            &[(0, 30)],
        ),
        ("selinux user", context(json!({"seLinuxOptions": {"user": "sysadm_u"}})), ALWAYS, ALWAYS),
        ("selinux role", context(json!({"seLinuxOptions": {"role": "sysadm_r"}})), ALWAYS, ALWAYS),
        ("selinux empty", context(json!({"seLinuxOptions": {}})), NEVER, NEVER),
        ("unmasked", context(json!({"procMount": "Unmasked"})), ALWAYS, ALWAYS),
        ("masked", context(json!({"procMount": "Default"})), NEVER, NEVER),
        (
            "seccomp unconfined",
            context(json!({"seccompProfile": {"type": "Unconfined"}})),
            &[(19, 99)],
            &[(19, 99)],
        ),
        (
            "seccomp local",
            context(json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}})),
            NEVER,
            NEVER,
        ),
        ("seccomp without type", context(json!({"seccompProfile": {}})), &[(19, 99)], &[(19, 99)]),
        ("root allowed", context(json!({"runAsNonRoot": false})), NEVER, ALWAYS),
        ("root forbidden", context(json!({"runAsNonRoot": true})), NEVER, NEVER),
        ("user 0", context(json!({"runAsUser": 0})), NEVER, &[(23, 99)]),
        ("user 1", context(json!({"runAsUser": 1})), NEVER, NEVER),
        ("host process", context(json!({"windowsOptions": {"hostProcess": true}})), ALWAYS, ALWAYS),
        ("no host process", context(json!({"windowsOptions": {"hostProcess": false}})), NEVER, NEVER),
        ("read-only root", context(json!({"readOnlyRootFilesystem": true})), NEVER, NEVER),
    ]
}

/// What is merged into the whole pod.
fn pod_cases() -> Vec<(&'static str, Value, Ranges, Ranges)> {
    let spec = |fields: Value| json!({"spec": fields});
    let context = |fields: Value| json!({"spec": {"securityContext": fields}});
    let annotation = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    let volume = |kind: &str, fields: Value| json!({"spec": {"volumes": [{"name": "v", kind: fields}]}});
    let sysctl =
        |name: &str| json!({"spec": {"securityContext": {"sysctls": [{"name": name, "value": "1"}]}}});
    let apparmor = "container.apparmor.security.beta.kubernetes.io/main";
    let seccomp = "container.seccomp.security.alpha.kubernetes.io/main";
    let seccomp_pod = "seccomp.security.alpha.kubernetes.io/pod";
    let mut cases = vec![
        ("nothing", json!({}), NEVER, NEVER),
        ("host network", spec(json!({"hostNetwork": true})), ALWAYS, ALWAYS),
        ("host pid", spec(json!({"hostPID": true})), ALWAYS, ALWAYS),
        ("host ipc", spec(json!({"hostIPC": true})), ALWAYS, ALWAYS),
        (
            "no host namespaces",
            spec(json!({"hostNetwork": false, "hostPID": false, "hostIPC": false})),
            NEVER,
            NEVER,
        ),
        ("shared processes", spec(json!({"shareProcessNamespace": true})), NEVER, NEVER),
        ("apparmor annotation", annotation(apparmor, "unconfined"), ALWAYS, ALWAYS),
        ("apparmor annotation default", annotation(apparmor, "runtime/default"), NEVER, NEVER),
        ("apparmor annotation local", annotation(apparmor, "localhost/x"), NEVER, NEVER),
        ("apparmor annotation empty", annotation(apparmor, ""), NEVER, NEVER),
        (
            "apparmor annotation of nobody",
            annotation("container.apparmor.security.beta.kubernetes.io/zz", "unconfined"),
            ALWAYS,
            ALWAYS,
        ),
        ("apparmor of the pod", context(json!({"appArmorProfile": {"type": "Unconfined"}})), ALWAYS, ALWAYS),
        (
            "apparmor default of the pod",
            context(json!({"appArmorProfile": {"type": "RuntimeDefault"}})),
            NEVER,
            NEVER,
        ),
        ("seccomp annotation", annotation(seccomp, "unconfined"), &[(0, 18)], &[(0, 18)]),
        ("seccomp annotation default", annotation(seccomp, "runtime/default"), NEVER, NEVER),
        ("seccomp annotation docker", annotation(seccomp, "docker/default"), NEVER, NEVER),
        ("seccomp annotation local", annotation(seccomp, "localhost/x"), NEVER, NEVER),
        ("seccomp annotation empty", annotation(seccomp, ""), &[(0, 18)], &[(0, 18)]),
        (
            "seccomp annotation of nobody",
            annotation("container.seccomp.security.alpha.kubernetes.io/zz", "unconfined"),
            NEVER,
            NEVER,
        ),
        ("seccomp annotation of the pod", annotation(seccomp_pod, "unconfined"), &[(0, 18)], &[(0, 18)]),
        ("seccomp annotation of the pod, default", annotation(seccomp_pod, "runtime/default"), NEVER, NEVER),
        (
            "seccomp of the pod unconfined",
            context(json!({"seccompProfile": {"type": "Unconfined"}})),
            &[(19, 99)],
            &[(19, 99)],
        ),
        ("seccomp of the pod local", context(json!({"seccompProfile": {"type": "Localhost"}})), NEVER, NEVER),
        ("no seccomp", context(json!({"seccompProfile": null})), NEVER, &[(19, 99)]),
        ("selinux of the pod", context(json!({"seLinuxOptions": {"type": "unconfined_t"}})), ALWAYS, ALWAYS),
        (
            "selinux of the pod, container_init_t",
            context(json!({"seLinuxOptions": {"type": "container_init_t"}})),
            NEVER,
            NEVER,
        ),
        (
            "selinux of the pod, engine",
            context(json!({"seLinuxOptions": {"type": "container_engine_t"}})),
            &[(0, 30)],
            &[(0, 30)],
        ),
        ("selinux of the pod, user", context(json!({"seLinuxOptions": {"user": "u"}})), ALWAYS, ALWAYS),
        ("root allowed by the pod", context(json!({"runAsNonRoot": false})), NEVER, ALWAYS),
        ("root unsaid", context(json!({"runAsNonRoot": null})), NEVER, ALWAYS),
        ("user 0 of the pod", context(json!({"runAsUser": 0})), NEVER, &[(23, 99)]),
        ("user 1000 of the pod", context(json!({"runAsUser": 1000})), NEVER, NEVER),
        (
            "host process of the pod",
            context(json!({"windowsOptions": {"hostProcess": true}})),
            ALWAYS,
            ALWAYS,
        ),
        ("user namespace", spec(json!({"hostUsers": false})), NEVER, NEVER),
        (
            "user namespace, root",
            spec(json!({"hostUsers": false, "securityContext": {"runAsNonRoot": null, "runAsUser": 0}})),
            NEVER,
            &[(0, 34)],
        ),
        (
            "host users, root",
            spec(json!({"hostUsers": true, "securityContext": {"runAsNonRoot": false}})),
            NEVER,
            ALWAYS,
        ),
        (
            "two sysctls",
            json!({"spec": {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}, {"name": "kernel.msgmax", "value": "1"}]}}}),
            ALWAYS,
            ALWAYS,
        ),
        ("no volumes", json!({"spec": {"volumes": null}}), NEVER, NEVER),
        ("volume of nothing", json!({"spec": {"volumes": [{"name": "v"}]}}), NEVER, NEVER),
        (
            "second volume",
            json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/"}}]}}),
            ALWAYS,
            ALWAYS,
        ),
    ];
    for kind in [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ] {
        cases.push((kind, volume(kind, json!({})), NEVER, NEVER));
    }
    cases.push(("hostPath", volume("hostPath", json!({"path": "/"})), ALWAYS, ALWAYS));
    for kind in [
        "awsElasticBlockStore",
        "azureDisk",
        "azureFile",
        "cephfs",
        "cinder",
        "fc",
        "flexVolume",
        "flocker",
        "gcePersistentDisk",
        "gitRepo",
        "glusterfs",
        "iscsi",
        "nfs",
        "photonPersistentDisk",
        "portworxVolume",
        "quobyte",
        "rbd",
        "scaleIO",
        "storageos",
        "vsphereVolume",
    ] {
        cases.push((kind, volume(kind, json!({})), NEVER, ALWAYS));
    }
    for (name, forbidden) in [
        ("kernel.shm_rmid_forced", NEVER),
        ("net.ipv4.ip_local_port_range", NEVER),
        ("net.ipv4.tcp_syncookies", NEVER),
        ("net.ipv4.ping_group_range", NEVER),
        ("net.ipv4.ip_unprivileged_port_start", NEVER),
        ("net.ipv4.ip_local_reserved_ports", UNTIL_26),
        ("net.ipv4.tcp_keepalive_time", &[(0, 28)]),
        ("net.ipv4.tcp_fin_timeout", &[(0, 28)]),
        ("net.ipv4.tcp_keepalive_intvl", &[(0, 28)]),
        ("net.ipv4.tcp_keepalive_probes", &[(0, 28)]),
        ("net.ipv4.tcp_rmem", &[(0, 31)]),
        ("net.ipv4.tcp_wmem", &[(0, 31)]),
        ("net.ipv4.tcp_slow_start_after_idle", &[(0, 36)]),
        ("net.ipv4.tcp_notsent_lowat", &[(0, 36)]),
        ("kernel.msgmax", ALWAYS),
        ("net.core.somaxconn", ALWAYS),
        ("net/ipv4/tcp_syncookies", ALWAYS),
    ] {
        cases.push((name, sysctl(name), forbidden, forbidden));
    }
    cases
}

/// Pods in which pod and containers say different things.
fn mixed_cases() -> Vec<(&'static str, Value, Ranges, Ranges)> {
    let every = |fields: Value| {
        let mut pod = base();
        for (list, index) in PLACES {
            merge(&mut pod["spec"][list][index]["securityContext"], &fields);
        }
        pod
    };
    let pod = |mut pod: Value, patch: Value| {
        merge(&mut pod, &patch);
        pod
    };
    let context = |fields: Value| json!({"spec": {"securityContext": fields}});
    let windows = json!({"spec": {"os": {"name": "windows"}, "securityContext": {"seccompProfile": null}}});
    vec![
        (
            "each says non-root",
            pod(every(json!({"runAsNonRoot": true})), context(json!({"runAsNonRoot": null}))),
            NEVER,
            NEVER,
        ),
        (
            "pod allows root, each forbids it",
            pod(every(json!({"runAsNonRoot": true})), context(json!({"runAsNonRoot": false}))),
            NEVER,
            ALWAYS,
        ),
        (
            "each has seccomp",
            pod(
                every(json!({"seccompProfile": {"type": "Localhost"}})),
                context(json!({"seccompProfile": null})),
            ),
            NEVER,
            NEVER,
        ),
        (
            "pod unconfined, each confined",
            pod(
                every(json!({"seccompProfile": {"type": "RuntimeDefault"}})),
                context(json!({"seccompProfile": {"type": "Unconfined"}})),
            ),
            &[(19, 99)],
            &[(19, 99)],
        ),
        (
            "user namespace, unmasked",
            pod(every(json!({"procMount": "Unmasked"})), json!({"spec": {"hostUsers": false}})),
            &[(0, 34)],
            ALWAYS,
        ),
        (
            "host users, unmasked",
            pod(every(json!({"procMount": "Unmasked"})), json!({"spec": {"hostUsers": true}})),
            ALWAYS,
            ALWAYS,
        ),
        (
            "user namespace, each root",
            pod(every(json!({"runAsUser": 0, "runAsNonRoot": false})), json!({"spec": {"hostUsers": false}})),
            NEVER,
            &[(0, 34)],
        ),
        (
            "windows",
            pod(every(json!({"allowPrivilegeEscalation": null, "capabilities": null})), windows.clone()),
            NEVER,
            &[(8, 24)],
        ),
        (
            "windows adding SYS_ADMIN",
            pod(
                every(json!({"capabilities": {"add": ["SYS_ADMIN"]}, "allowPrivilegeEscalation": null})),
                windows.clone(),
            ),
            ALWAYS,
            &[(0, 24)],
        ),
        (
            "windows unconfined",
            pod(every(json!({"seccompProfile": {"type": "Unconfined"}})), windows.clone()),
            &[(19, 99)],
            &[(19, 24)],
        ),
        (
            "windows host process",
            pod(every(json!({"windowsOptions": {"hostProcess": true}})), windows),
            ALWAYS,
            ALWAYS,
        ),
        (
            "linux by name",
            pod(every(json!({"capabilities": null})), json!({"spec": {"os": {"name": "linux"}}})),
            NEVER,
            &[(22, 99)],
        ),
    ]
}

/// Whether a level of a version lets the pod in, and by which controls it does not.
fn broken(manifest: &Value, level: Level, version: Version) -> Vec<&'static str> {
    let documents = read(&manifest.to_string(), Limits::INPUT).expect("JSON");
    let declared = declared::read(&documents, "x").expect("a pod");
    let pod = declared.workloads[0].pod.as_ref().expect("a pod");
    Control::all()
        .filter(|control| control.applies(level, version))
        .filter(|control| matches!(control.judge(version, pod), Verdict::Broken(_)))
        .map(Control::id)
        .collect()
}

fn check(name: &str, manifest: &Value, baseline: Ranges, restricted: Ranges) {
    for minor in VERSIONS {
        for (level, ranges) in [(Level::Baseline, baseline), (Level::Restricted, restricted)] {
            let expected = ranges.iter().any(|(first, last)| (*first..=*last).contains(&minor));
            let found = broken(manifest, level, Version(minor));
            assert_eq!(
                !found.is_empty(),
                expected,
                "{name} at {level:?} of 1.{minor}: {found:?}\n{manifest}"
            );
        }
    }
}

#[test]
fn the_table() {
    let mut manifests = 0;
    for (name, patch, baseline, restricted) in container_cases() {
        for (list, index) in PLACES {
            let mut pod = base();
            merge(&mut pod["spec"][list][index], &patch);
            check(&format!("{name} in {list} {index}"), &pod, baseline, restricted);
            manifests += 1;
        }
    }
    for (name, patch, baseline, restricted) in pod_cases() {
        let mut pod = base();
        merge(&mut pod, &patch);
        check(name, &pod, baseline, restricted);
        manifests += 1;
    }
    for (name, pod, baseline, restricted) in mixed_cases() {
        check(name, &pod, baseline, restricted);
        manifests += 1;
    }
    assert!(manifests >= 300, "{manifests} manifests");
}

#[test]
fn everything_that_makes_pods() {
    let mut pod = base();
    merge(&mut pod, &json!({"spec": {"hostPID": true}}));
    let template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
    let of = |kind: &str, version: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    let mut kinds = vec![
        json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}),
        of("CronJob", "batch/v1", json!({"jobTemplate": {"spec": {"template": template}}})),
        of("Rollout", "argoproj.io/v1alpha1", json!({"template": template})),
    ];
    for kind in ["ReplicationController", "ReplicaSet", "Deployment", "DaemonSet", "StatefulSet", "Job"] {
        kinds.push(of(kind, "apps/v1", json!({"template": template})));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": kinds});
    let pods = json!({"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "p"}, "spec": pod["spec"]}]});
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"namespace": "prod", "name": "named", "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": pod["spec"]}}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}});
    let text = [list, pods, review, service].map(|document| document.to_string()).join("\n");
    let declared = declared::read(&read(&text, Limits::INPUT).unwrap(), "x").unwrap();
    let names: Vec<String> = declared.workloads.iter().map(|workload| workload.target_name()).collect();
    assert_eq!(names.len(), 11);
    assert_eq!(names[10], "prod/Pod/named");
    assert_eq!(names[9], "Pod/p");
    assert_eq!(declared.not_applicable, [("Service/s".to_owned(), "asks for no containers".to_owned())]);
    for workload in &declared.workloads {
        assert_eq!(workload.containers.len(), 5);
        let pod = workload.pod.as_ref().unwrap();
        assert!(
            matches!(Control::HostNamespaces.judge(Version::LATEST, pod), Verdict::Broken(_)),
            "{}",
            workload.kind
        );
    }
}

#[test]
fn a_pod_of_the_wrong_shape_is_refused() {
    for (patch, expected) in [
        (
            json!({"spec": {"hostNetwork": "true"}}),
            "spec.hostNetwork: found \"true\", expected true or false",
        ),
        (json!({"spec": {"containers": {"a": 1}}}), "spec.containers: found a mapping, expected a list"),
        (
            json!({"spec": {"securityContext": {"runAsUser": "0"}}}),
            "spec.securityContext.runAsUser: found \"0\", expected a whole number",
        ),
        (json!({"spec": {"containers": ["x"]}}), "spec.containers: found \"x\", expected a mapping"),
        (json!({"spec": null}), "a pod without .spec"),
        (
            json!({"spec": {"containers": [{"name": "c", "securityContext": {"privileged": 1}}]}}),
            "container c: securityContext.privileged: found 1, expected true or false",
        ),
    ] {
        let mut pod = base();
        merge(&mut pod, &patch);
        // A list is replaced as a whole; what is left of the base would come first.
        pod["spec"].as_object_mut().into_iter().for_each(|spec| {
            spec.shift_remove("initContainers");
        });
        let error =
            declared::read(&read(&pod.to_string(), Limits::INPUT).unwrap(), "x").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn versions_and_levels_choose_the_controls() {
    let ids = |level, minor| -> Vec<&str> {
        Control::all().filter(|control| control.applies(level, Version(minor))).map(Control::id).collect()
    };
    assert_eq!(ids(Level::Baseline, 0).len(), 11);
    assert_eq!(ids(Level::Baseline, 34).len(), 12);
    // Stricter controls stand in for baseline's.
    for (gone, come, minor) in [
        ("capabilities_baseline", "capabilities_restricted", 22),
        ("seccompProfile_baseline", "seccompProfile_restricted", 19),
        ("procMount", "procMount_restricted", 35),
        ("hostPathVolumes", "restrictedVolumes", 0),
    ] {
        let now = ids(Level::Restricted, minor);
        assert!(now.contains(&come) && !now.contains(&gone), "{come}");
        if minor > 0 {
            let before = ids(Level::Restricted, minor - 1);
            assert!(!before.contains(&come) && before.contains(&gone), "{gone}");
        }
    }
    assert_eq!(Version::parse("1.99"), Some(Version::LATEST));
    assert_eq!(Version::parse("v1.31"), Some(Version(31)));
    assert_eq!((Version::parse("2.1"), Version::parse("1.x"), Version::parse("1.")), (None, None, None));
}

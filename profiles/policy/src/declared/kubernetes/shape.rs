//! Fields that decide about confinement must have their type: what the API server would refuse must not pass as unset.

use super::{DeclaredError, Kind, Node, containers};

fn wrong<T>(node: &Node, path: &str, expected: &str) -> Result<T, DeclaredError> {
    Err(DeclaredError::new(node.at, format!("{path}: found {}, expected {expected}", node.describe())))
}

fn map(parent: &Node, key: &str, path: &str) -> Result<(), DeclaredError> {
    match parent.get(key) {
        Some(node) if !matches!(node.kind, Kind::Map(_)) => {
            wrong(node, &format!("{path}.{key}"), "a mapping")
        }
        _ => Ok(()),
    }
}

fn list(parent: &Node, key: &str, path: &str) -> Result<(), DeclaredError> {
    match parent.get(key) {
        Some(node) if !matches!(node.kind, Kind::List(_)) => wrong(node, &format!("{path}.{key}"), "a list"),
        _ => Ok(()),
    }
}

fn bools(parent: Option<&Node>, keys: &[&str], path: &str) -> Result<(), DeclaredError> {
    let Some(parent) = parent else { return Ok(()) };
    for key in keys {
        if let Some(node) = parent.get(key)
            && node.bool().is_none()
        {
            return wrong(node, &format!("{path}.{key}"), "true or false");
        }
    }
    Ok(())
}

fn ints(parent: Option<&Node>, keys: &[&str], path: &str) -> Result<(), DeclaredError> {
    let Some(parent) = parent else { return Ok(()) };
    for key in keys {
        if let Some(node) = parent.get(key)
            && node.int().is_none()
        {
            return wrong(node, &format!("{path}.{key}"), "a whole number");
        }
    }
    Ok(())
}

pub(super) fn pod(pod: &Node) -> Result<(), DeclaredError> {
    let Some(spec) = pod.get("spec") else {
        return Err(DeclaredError::new(pod.at, "a pod without .spec"));
    };
    if !matches!(spec.kind, Kind::Map(_)) {
        return wrong(spec, "spec", "a mapping");
    }
    map(pod, "metadata", "")?;
    if let Some(metadata) = pod.get("metadata") {
        map(metadata, "annotations", "metadata")?;
        map(metadata, "labels", "metadata")?;
    }
    for key in ["initContainers", "containers", "ephemeralContainers", "volumes"] {
        list(spec, key, "spec")?;
    }
    for (key, item) in
        ["volumes", "initContainers", "containers", "ephemeralContainers"].iter().flat_map(|key| {
            spec.get(key).map(Node::items).unwrap_or_default().iter().map(move |item| (key, item))
        })
    {
        if !matches!(item.kind, Kind::Map(_)) {
            return wrong(item, &format!("spec.{key}"), "a mapping");
        }
    }
    bools(Some(spec), &["hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"], "spec")?;
    map(spec, "securityContext", "spec")?;
    map(spec, "os", "spec")?;
    security(spec.get("securityContext"), "spec.securityContext")?;
    if let Some(security) = spec.get("securityContext") {
        list(security, "sysctls", "spec.securityContext")?;
    }
    for (index, (_, container)) in containers(spec).enumerate() {
        let path =
            format!("container {}", container.text_of("name").map_or(index.to_string(), str::to_owned));
        map(container, "securityContext", &path)?;
        list(container, "ports", &path)?;
        let own = container.get("securityContext");
        let path = format!("{path}: securityContext");
        security(own, &path)?;
        if let Some(own) = own {
            map(own, "capabilities", &path)?;
            if let Some(capabilities) = own.get("capabilities") {
                list(capabilities, "add", &path)?;
                list(capabilities, "drop", &path)?;
            }
        }
        for port in container.get("ports").map(Node::items).unwrap_or_default() {
            ints(Some(port), &["hostPort", "containerPort"], &path)?;
        }
    }
    Ok(())
}

fn security(node: Option<&Node>, path: &str) -> Result<(), DeclaredError> {
    bools(node, &["privileged", "allowPrivilegeEscalation", "readOnlyRootFilesystem", "runAsNonRoot"], path)?;
    ints(node, &["runAsUser", "runAsGroup"], path)?;
    let Some(node) = node else { return Ok(()) };
    for key in ["seccompProfile", "appArmorProfile", "seLinuxOptions", "windowsOptions"] {
        map(node, key, path)?;
    }
    bools(node.get("windowsOptions"), &["hostProcess"], path)
}

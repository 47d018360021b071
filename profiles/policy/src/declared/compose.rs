//! Compose files (compose-spec): each service is a workload.

use std::collections::BTreeMap;

use super::engine::{self, Options};
use super::{Declared, DeclaredError, DeclaredMount, Form, Port, Workload};
use crate::text::{Kind, Node};

/// How many services may extend one another in a row.
const DEEPEST: usize = 16;

/// Reads a Compose file.
///
/// # Errors
/// A value of another type than its key has; one that holds a variable where it decides about confinement; a service that
/// extends another file: `docker compose config` writes such files out.
pub(super) fn read(document: &Node, into: &mut Declared) -> Result<(), DeclaredError> {
    let services = document.get("services").map(Node::entries).unwrap_or_default();
    for (name, service) in services {
        if !matches!(service.kind, Kind::Map(_)) && !service.is_null() {
            let what = format!("service {}: found {}, expected a mapping", name.text, service.describe());
            return Err(DeclaredError::new(service.at, what));
        }
        let layers = layers(document, service, DEEPEST)?;
        let service = Service { name: &name.text, layers };
        let mut options = service.options()?;
        into.workloads.push(Workload {
            form: Form::Compose,
            kind: "service".to_owned(),
            name: name.text.clone(),
            namespace: document.text_of("name").map(str::to_owned),
            labels: std::mem::take(&mut options.labels),
            os: "linux".to_owned(),
            containers: vec![options.container()],
            at: name.at,
            pod: None,
        });
    }
    Ok(())
}

/// The service and what it extends, itself first.
fn layers<'n>(document: &'n Node, service: &'n Node, left: usize) -> Result<Vec<&'n Node>, DeclaredError> {
    let mut layers = vec![service];
    let Some(extends) = service.get("extends") else { return Ok(layers) };
    if extends.get("file").is_some() {
        let what = "extends another file; check the output of `docker compose config`, which writes it out";
        return Err(DeclaredError::new(extends.at, what));
    }
    let name = extends.text().or_else(|| extends.text_of("service")).unwrap_or_default();
    let base = document.path(&["services", name]).filter(|_| left > 0).ok_or_else(|| {
        DeclaredError::new(extends.at, format!("extends {name:?}, which is no service of this file"))
    })?;
    layers.extend(self::layers(document, base, left - 1)?);
    Ok(layers)
}

struct Service<'n> {
    name: &'n str,
    layers: Vec<&'n Node>,
}

impl<'n> Service<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.layers.iter().find_map(|layer| layer.get(key))
    }

    fn wrong<T>(&self, node: &Node, key: &str, expected: &str) -> Result<T, DeclaredError> {
        let variable = node.text().is_some_and(|text| text.contains('$'));
        let hint = if variable {
            "; check the output of `docker compose config`, which fills variables in"
        } else {
            ""
        };
        let what =
            format!("service {}: {key}: found {}, expected {expected}{hint}", self.name, node.describe());
        Err(DeclaredError::new(node.at, what))
    }

    fn flag(&self, key: &str) -> Result<bool, DeclaredError> {
        let Some(node) = self.get(key) else { return Ok(false) };
        match (node.bool(), node.text()) {
            (Some(truth), _) => Ok(truth),
            (None, Some("true")) => Ok(true),
            (None, Some("false")) => Ok(false),
            _ => self.wrong(node, key, "true or false"),
        }
    }

    fn text(&self, key: &str) -> Result<String, DeclaredError> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(node) => match node.text() {
                Some(text) => Ok(text.to_owned()),
                None => self.wrong(node, key, "text"),
            },
        }
    }

    /// A list of texts; those of extended services are added to it. One text is a list of one.
    fn texts(&self, key: &str) -> Result<Vec<String>, DeclaredError> {
        let mut all = Vec::new();
        for layer in &self.layers {
            let Some(node) = layer.get(key) else { continue };
            if let Some(text) = node.text() {
                all.push(text.to_owned());
                continue;
            }
            if !matches!(node.kind, Kind::List(_)) {
                return self.wrong(node, key, "a list");
            }
            for item in node.items() {
                match item.text() {
                    Some(text) => all.push(text.to_owned()),
                    None => return self.wrong(item, key, "text"),
                }
            }
        }
        Ok(all)
    }

    /// `KEY: VALUE` or a list of `KEY=VALUE`.
    fn pairs(&self, key: &str) -> BTreeMap<String, String> {
        let mut pairs = BTreeMap::new();
        for layer in self.layers.iter().rev() {
            let Some(node) = layer.get(key) else { continue };
            for (key, value) in node.entries() {
                pairs.insert(key.text.clone(), value.text().unwrap_or_default().to_owned());
            }
            for text in node.items().iter().filter_map(Node::text) {
                let (key, value) = text.split_once('=').unwrap_or((text, ""));
                pairs.insert(key.to_owned(), value.to_owned());
            }
        }
        pairs
    }

    fn number<T>(
        &self,
        keys: &[&[&str]],
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, DeclaredError> {
        for path in keys {
            let found = self.layers.iter().find_map(|layer| layer.path(path));
            if let Some(node) = found {
                return match node.text().and_then(&parse) {
                    Some(value) => Ok(Some(value)),
                    None => self.wrong(node, &path.join("."), expected),
                };
            }
        }
        Ok(None)
    }

    fn options(&self) -> Result<Options, DeclaredError> {
        let limit = |name: &'static str| -> [&'static str; 4] { ["deploy", "resources", "limits", name] };
        let healthcheck = self.get("healthcheck");
        let quota = self.number(&[&["cpu_quota"]], "microseconds", |text| text.parse::<f64>().ok())?;
        let period = self.number(&[&["cpu_period"]], "microseconds", |text| text.parse::<f64>().ok())?;
        let cpus = self.number(&[&["cpus"], &limit("cpus")], "a number of CPUs", engine::cpus)?;
        Ok(Options {
            engine: None,
            undecided: BTreeMap::new(),
            name: self.name.to_owned(),
            image: self.get("image").and_then(Node::text).map(str::to_owned),
            user: Some(self.text("user")?).filter(|user| !user.is_empty()),
            privileged: self.flag("privileged")?,
            cap_add: self.texts("cap_add")?,
            cap_drop: self.texts("cap_drop")?,
            security_opt: self.texts("security_opt")?,
            read_only: self.flag("read_only")?,
            pid: self.text("pid")?,
            ipc: self.text("ipc")?,
            uts: self.text("uts")?,
            userns: self.text("userns_mode")?,
            cgroupns: self.text("cgroup")?,
            network: match self.text("network_mode")? {
                // A service joins the project's own network unless it says otherwise.
                mode if mode.is_empty() => "project".to_owned(),
                mode => mode,
            },
            cgroup_parent: Some(self.text("cgroup_parent")?),
            mounts: self.mounts()?,
            groups: self.texts("group_add")?,
            devices: self.devices()?,
            sysctls: self.pairs("sysctls"),
            ports: self.ports()?,
            memory_bytes: self.number(
                &[&["mem_limit"], &limit("memory")],
                "a size such as 64m",
                plim_docker::values::bytes,
            )?,
            millicpus: cpus.or_else(|| engine::cpus(&(quota? / period.unwrap_or(100_000.0)).to_string())),
            cpu_shares: self.number(&[&["cpu_shares"]], "a number", |text| text.parse().ok())?,
            pids: self.number(&[&["pids_limit"], &limit("pids")], "a number", |text| text.parse().ok())?,
            restart: match self.get("restart").and_then(Node::bool) {
                // `restart: no` without quotes.
                Some(false) => "no".to_owned(),
                _ => self.text("restart")?,
            },
            healthcheck: healthcheck.map(|check| check.bool_of("disable") != Some(true)),
            ulimits: self.get("ulimits").map(Node::entries).unwrap_or_default().iter().map(ulimit).collect(),
            runtime: self.text("runtime")?,
            labels: self.pairs("labels"),
        })
    }

    /// Devices, rules of the device cgroup, and requests for GPUs.
    fn devices(&self) -> Result<Vec<String>, DeclaredError> {
        let mut devices = Vec::new();
        for layer in &self.layers {
            for item in layer.get("devices").map(Node::items).unwrap_or_default() {
                // In short, or in words (`source`, `target`, `permissions`).
                match (item.text(), item.text_of("source")) {
                    (Some(text), _) => devices.push(engine::device(text)),
                    (None, Some(path)) => {
                        let access = item.text_of("permissions").unwrap_or_default();
                        devices.push(engine::device_with(path, access));
                    }
                    (None, None) => return self.wrong(item, "devices", "HOST[:CONTAINER[:rwm]]"),
                }
            }
            let requested = layer.path(&["deploy", "resources", "reservations", "devices"]);
            if requested.is_some_and(|list| !list.items().is_empty()) || layer.get("gpus").is_some() {
                devices.push("gpus".to_owned());
            }
        }
        devices.extend(self.texts("device_cgroup_rules")?);
        Ok(devices)
    }

    fn mounts(&self) -> Result<Vec<DeclaredMount>, DeclaredError> {
        let mut mounts = Vec::new();
        for layer in &self.layers {
            for item in layer.get("volumes").map(Node::items).unwrap_or_default() {
                if let Some(text) = item.text() {
                    mounts.push(engine::volume(text));
                    continue;
                }
                if !matches!(item.kind, Kind::Map(_)) {
                    return self.wrong(item, "volumes", "text or a mapping");
                }
                let text = |key: &str| item.text_of(key).unwrap_or_default().to_owned();
                mounts.push(DeclaredMount {
                    kind: text("type"),
                    source: text("source"),
                    target: text("target"),
                    read_only: item.bool_of("read_only") == Some(true),
                    propagation: item
                        .path(&["bind", "propagation"])
                        .and_then(Node::text)
                        .unwrap_or("private")
                        .to_owned(),
                });
            }
        }
        mounts.extend(self.texts("volumes_from")?.iter().map(|from| engine::volumes_from(from)));
        mounts.extend(self.texts("tmpfs")?.into_iter().map(|target| DeclaredMount {
            kind: "tmpfs".to_owned(),
            source: String::new(),
            target: target.split(':').next().unwrap_or_default().to_owned(),
            read_only: false,
            propagation: "private".to_owned(),
        }));
        Ok(mounts)
    }

    fn ports(&self) -> Result<Vec<Port>, DeclaredError> {
        let mut ports = Vec::new();
        for item in
            self.layers.iter().flat_map(|layer| layer.get("ports").map(Node::items).unwrap_or_default())
        {
            let port = match item.text() {
                Some(text) => engine::port(text),
                None => {
                    let first =
                        |key: &str| -> Option<u16> { item.text_of(key)?.split('-').next()?.parse().ok() };
                    first("target").map(|container_port| Port {
                        host_ip: item.text_of("host_ip").unwrap_or_default().to_owned(),
                        host_port: first("published").unwrap_or(0),
                        container_port,
                    })
                }
            };
            match port {
                Some(port) => ports.push(port),
                None => return self.wrong(item, "ports", "[[IP:]HOST:]CONTAINER"),
            }
        }
        Ok(ports)
    }
}

/// `NAME: NUMBER`, or `NAME: {soft: …, hard: …}`.
fn ulimit((name, value): &(crate::text::Key, Node)) -> String {
    let part = |key: &str| value.text_of(key).unwrap_or_default();
    match value.text() {
        Some(both) => format!("{}={both}", name.text),
        None => format!("{}={}:{}", name.text, part("soft"), part("hard")),
    }
}

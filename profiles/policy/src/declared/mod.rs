//! What a file or command line asks an engine for: Kubernetes manifests, Compose files, OCI configurations, `docker run`
//! command lines, images, and what `docker inspect` says of a running container.
//!
//! Every form becomes [`Workload`]s of [`Container`]s in one vocabulary, so that a rule is written once. A fact that the
//! file does not decide (an image does not say which capabilities it will get) is `None` and missing from the JSON form;
//! "there is no limit" is a fact, and written `null`.

pub mod command_line;
pub mod compose;
pub mod docker;
mod engine;
pub mod image;
pub mod kubernetes;
mod model;
pub mod oci;
mod quantity;

pub use model::{Container, DeclaredMount, Form, Port, Workload};
pub(crate) use model::{DEFAULT_MASKED, capability_names};

use crate::text::{Node, Place};

/// Why a document is none that can be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct DeclaredError {
    /// Where in the text.
    pub place: Place,
    /// What was found and what was expected.
    pub what: String,
}

impl DeclaredError {
    pub(crate) fn new(place: Place, what: impl Into<String>) -> DeclaredError {
        DeclaredError { place, what: what.into() }
    }
}

/// What the documents of one file turned out to be.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// What can be judged.
    pub workloads: Vec<Workload>,
    /// Objects in which no container is asked for, or that are not Linux: name and why.
    pub not_applicable: Vec<(String, String)>,
}

/// Tells which of the forms a document has, from its keys.
pub fn recognise(document: &Node) -> Option<Form> {
    let has = |key: &str| document.get(key).is_some();
    if has("apiVersion") && has("kind") {
        Some(Form::Kubernetes)
    } else if has("ociVersion") {
        Some(Form::Oci)
    } else if has("services") {
        Some(Form::Compose)
    } else if has("HostConfig") {
        Some(Form::Docker)
    } else if (has("config") && (has("rootfs") || has("architecture"))) || (has("Config") && has("RootFS")) {
        Some(Form::Image)
    } else if matches!(document.items(), [first, ..] if first.get("HostConfig").is_some()) {
        Some(Form::Docker)
    } else if matches!(document.items(), [first, ..] if first.get("RootFS").is_some()) {
        Some(Form::Image)
    } else {
        None
    }
}

/// Reads all documents of a file. `stem` names what the file itself does not name (an image, an OCI bundle).
///
/// # Errors
/// A document of no known form, or one whose shape is not that of its form.
pub fn read(documents: &[Node], stem: &str) -> Result<Declared, DeclaredError> {
    let mut declared = Declared::default();
    for document in documents {
        match recognise(document) {
            Some(Form::Kubernetes) => kubernetes::read(document, &mut declared)?,
            Some(Form::Compose) => compose::read(document, &mut declared)?,
            Some(Form::Oci) => declared.workloads.push(oci::read(document, stem)),
            Some(Form::Image) => image::read(document, stem, &mut declared),
            Some(Form::Docker) => docker::read(document, stem, &mut declared),
            Some(Form::DockerRun) | None => {
                let keys: Vec<String> =
                    document.entries().iter().take(5).map(|(key, _)| format!("{:?}", key.text)).collect();
                let found = if keys.is_empty() {
                    document.describe()
                } else {
                    format!("a mapping with the keys {}", keys.join(", "))
                };
                return Err(DeclaredError::new(
                    document.at,
                    format!(
                        "found {found}, expected a Kubernetes object (apiVersion, kind), a Compose file (services), an OCI \
                         config.json (ociVersion), an image's configuration (config, rootfs) or the output of docker inspect"
                    ),
                ));
            }
        }
    }
    Ok(declared)
}

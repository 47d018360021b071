//! Images: `docker image inspect`, or the configuration of an OCI image. They say who runs and nothing of how confined.

use plim_docker::values::is_root;

use super::model::Resources;
use super::{Container, Declared, Form, Workload};
use crate::text::Node;

/// Reads one configuration, or the array that `docker image inspect` prints.
pub(super) fn read(document: &Node, stem: &str, into: &mut Declared) {
    match document.items() {
        [] => into.workloads.push(image(document, stem)),
        many => into.workloads.extend(many.iter().map(|one| image(one, stem))),
    }
}

fn image(node: &Node, stem: &str) -> Workload {
    let config = node.get("config").or_else(|| node.get("Config"));
    let tag = node.get("RepoTags").and_then(|tags| tags.items().first()).and_then(Node::text);
    let name = tag.unwrap_or(stem).to_owned();
    let user = config.and_then(|config| config.text_of("User")).filter(|user| !user.is_empty());
    let labels = config.and_then(|config| config.get("Labels")).map(Node::entries).unwrap_or_default();
    let test = config.and_then(|config| config.path(&["Healthcheck", "Test"]));
    let container = Container {
        name: name.clone(),
        role: "container",
        image: tag.map(str::to_owned),
        // Without a user the engine runs it as root.
        root: user.map_or(Some(true), is_root),
        user: user.map(str::to_owned),
        resources: Resources {
            healthcheck: Some(
                test.is_some_and(|test| test.items().first().and_then(Node::text) != Some("NONE")),
            ),
            ..Resources::default()
        },
        ..Container::default()
    };
    let os = node.text_of("os").or_else(|| node.text_of("Os")).unwrap_or("linux");
    Workload {
        form: Form::Image,
        kind: "image".to_owned(),
        name,
        namespace: None,
        labels: labels
            .iter()
            .map(|(k, v)| (k.text.clone(), v.text().unwrap_or_default().to_owned()))
            .collect(),
        os: os.to_owned(),
        containers: vec![container],
        at: node.at,
        pod: None,
    }
}

//! Which fields expressions can name, by the schema of what they look at: a misspelt one is told when the policy is read.

use std::sync::OnceLock;

use serde_json::Value;

use crate::declared::{Container, Workload};

/// The schema of a variable.
fn schema(variable: &str) -> Option<&'static Value> {
    static SNAPSHOT: OnceLock<Value> = OnceLock::new();
    static WORKLOAD: OnceLock<Value> = OnceLock::new();
    static CONTAINER: OnceLock<Value> = OnceLock::new();
    match variable {
        "snapshot" => Some(SNAPSHOT.get_or_init(plim_model::snapshot::schema)),
        "workload" => Some(WORKLOAD.get_or_init(|| schemars::schema_for!(Workload).to_value())),
        "container" => Some(CONTAINER.get_or_init(|| schemars::schema_for!(Container).to_value())),
        _ => None,
    }
}

/// What is known of a value before there is one.
#[derive(Clone)]
pub(super) struct Shape {
    /// How it is called in messages.
    name: String,
    root: &'static Value,
    at: &'static Value,
}

impl Shape {
    /// Of a variable.
    pub(super) fn of(variable: &str) -> Option<Shape> {
        let root = schema(variable)?;
        Some(Shape { name: variable.to_owned(), root, at: root })
    }

    /// Of what is at a path below it; `None` where anything may be.
    ///
    /// # Errors
    /// The first field that there is not, with the nearest.
    pub(super) fn below(mut self, path: &[String]) -> Result<Option<Shape>, String> {
        for field in path {
            let forms = forms(self.root, self.at);
            let next = forms.iter().find_map(|form| {
                let open = || Some(&form["additionalProperties"]).filter(|open| open.is_object());
                form["properties"].get(field).or_else(open)
            });
            match next {
                Some(next) => self.at = next,
                // A form of which nothing is said holds anything.
                None if forms
                    .iter()
                    .any(|form| ["type", "properties"].iter().all(|key| form.get(key).is_none())) =>
                {
                    return Ok(None);
                }
                None => {
                    let known = forms.iter().filter_map(|form| form["properties"].as_object());
                    let known: Vec<&str> =
                        known.flat_map(|fields| fields.keys().map(String::as_str)).collect();
                    let hint = crate::spelling::hint(field, known.iter().copied());
                    let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err(format!("{} has no field {field:?}{hint}; there are {there}", self.name));
                }
            }
            self.name = format!("{}.{field}", self.name);
        }
        Ok(Some(self))
    }

    /// Of the elements of a list; `None` of anything else.
    pub(super) fn element(self, name: &str) -> Option<Shape> {
        let at = forms(self.root, self.at).into_iter().find_map(|form| form.get("items"))?;
        Some(Shape { name: name.to_owned(), root: self.root, at })
    }
}

/// What a value can be, references followed; that it can be null is no form.
fn forms<'s>(root: &'s Value, at: &'s Value) -> Vec<&'s Value> {
    if let Some(reference) = at["$ref"].as_str() {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map(|target| forms(root, target)).unwrap_or_default();
    }
    let several: Vec<&Value> = ["anyOf", "oneOf", "allOf"]
        .iter()
        .filter_map(|key| at[key].as_array())
        .flatten()
        .filter(|form| form["type"] != "null")
        .flat_map(|form| forms(root, form))
        .collect();
    match at.get("properties") {
        Some(_) => several.into_iter().chain([at]).collect(),
        None if several.is_empty() => vec![at],
        None => several,
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    fn check(variable: &str, path: &[String]) -> Result<(), String> {
        Shape::of(variable).expect("a variable").below(path).map(|_| ())
    }

    #[test]
    fn fields_are_known() {
        let path = |text: &str| -> Vec<String> { text.split('.').map(str::to_owned).collect() };
        for (variable, known) in [
            ("snapshot", "no_new_privs"),
            ("snapshot", "namespaces.user.shared_with_host"),
            ("snapshot", "cgroup.memory.effective_max_bytes"),
            ("snapshot", "rlimits.RLIMIT_NOFILE.hard"),
            ("container", "namespaces.pid"),
            ("container", "memory_max_bytes"),
            ("workload", "labels.app"),
        ] {
            assert_eq!(check(variable, &path(known)), Ok(()));
        }
        for (variable, wrong, nearest) in [
            (
                "snapshot",
                "no_new_prvs",
                "snapshot has no field \"no_new_prvs\", did you mean \"no_new_privs\"?",
            ),
            (
                "snapshot",
                "capabilities.boundin",
                "snapshot.capabilities has no field \"boundin\", did you mean \"bounding\"?",
            ),
            ("snapshot", "cgroup.memory.max", "snapshot.cgroup.memory has no field \"max\""),
            ("snapshot", "mounts.target", "snapshot.mounts has no field \"target\"; there are none"),
            (
                "container",
                "previleged",
                "container has no field \"previleged\", did you mean \"privileged\"?",
            ),
            ("workload", "pod", "workload has no field \"pod\""),
        ] {
            let error = check(variable, &path(wrong)).expect_err(wrong);
            assert!(error.starts_with(nearest), "{error}");
        }
        let mount = |field: &str| {
            let mounts = Shape::of("container").expect("a variable").below(&path("mounts")).expect("a field");
            mounts.expect("a shape").element("m").expect("a list").below(&path(field)).map(|_| ())
        };
        assert_eq!(mount("source"), Ok(()));
        assert!(
            mount("sorce")
                .expect_err("a word")
                .starts_with("m has no field \"sorce\", did you mean \"source\"?")
        );
    }
}

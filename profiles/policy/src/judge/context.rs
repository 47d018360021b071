//! Targets as CEL sees them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cel::Context;
use cel::objects::{Key, Map, Value};
use serde_json::Value as Json;

use super::Subject;
use crate::rules::{Check, Rule};

thread_local! {
    /// CEL's own functions: made once, since every context needs the same.
    static ENVIRONMENT: Arc<cel::Env> = Arc::new(crate::rules::environment());
}

fn context() -> Context<'static, 'static> {
    ENVIRONMENT.with(|environment| Context::with_env(environment.clone()))
}

/// What expressions look at.
pub(super) struct Sections {
    /// The parts of a snapshot; `None`: all of it.
    snapshot: Option<BTreeSet<String>>,
    /// Whether any looks at a declaration.
    declared: bool,
    /// Whether any looks at more of it than one container.
    workload: bool,
}

pub(super) fn sections(rules: &[Rule]) -> Sections {
    let mut all = BTreeSet::new();
    let (mut declared, mut workload) = (false, false);
    for check in rules.iter().flat_map(|rule| rule.live.iter().chain(&rule.declared)) {
        let Check::Assert(expression) = check else { continue };
        // One that names nothing is evaluated too.
        declared |=
            !expression.names("snapshot") || expression.names("container") || expression.names("workload");
        workload |= expression.names("workload");
        if expression.names("snapshot") {
            match expression.sections("snapshot") {
                Some(sections) => all.extend(sections.into_iter().map(str::to_owned)),
                None => return Sections { snapshot: None, declared: true, workload: true },
            }
        }
    }
    Sections { snapshot: Some(all), declared, workload }
}

/// Facts that are not known: path from the variable, and why.
pub(super) type Unknown = Vec<(Vec<String>, String)>;

/// One target made ready: a context for what is live, and one per declared container with its JSON form.
pub(super) struct Prepared {
    pub(super) live: Option<(Context<'static, 'static>, Unknown)>,
    pub(super) containers: Vec<(Json, Context<'static, 'static>)>,
    /// The JSON form of the whole declaration, where an expression looks at it.
    pub(super) workload: Json,
    pub(super) largest: usize,
}

impl Prepared {
    pub(super) fn of(subject: &Subject, sections: &Sections) -> Prepared {
        let mut largest = 1;
        let workload = subject.workload.as_ref().filter(|_| sections.declared);
        // Serialising plain data cannot fail.
        let json = |value: Result<Json, serde_json::Error>| value.unwrap_or(Json::Null);
        let whole = workload.filter(|_| sections.workload).map(|workload| {
            let json = json(serde_json::to_value(workload));
            (convert(&json, &mut largest), json)
        });
        let containers = workload.map(|workload| workload.containers.as_slice()).unwrap_or_default();
        let containers: Vec<(Json, Value)> = containers
            .iter()
            .map(|container| {
                let mut json = json(serde_json::to_value(container));
                for path in container.undecided.keys() {
                    // `null` would be an answer.
                    if let Some(fields) = json.as_object_mut() {
                        fields.remove(path.as_str());
                    }
                }
                let value = convert(&json, &mut largest);
                (json, value)
            })
            .collect();
        let declare = |context: &mut Context<'static, 'static>, container: Value| {
            if let Some((whole, _)) = &whole {
                context.add_variable_from_value("workload", whole.clone());
            }
            context.add_variable_from_value("container", container);
        };
        let live = subject.snapshot.as_ref().map(|_| {
            let mut unknown: Unknown = Vec::new();
            for entry in subject.snapshot_json["unknown"].as_array().into_iter().flatten() {
                let path = entry["path"].as_str().unwrap_or_default();
                let segments = path.split('/').skip(1).map(plim_model::json::unescape);
                let whole: Vec<String> = std::iter::once("snapshot".to_owned()).chain(segments).collect();
                unknown.push((whole, entry["why"].as_str().unwrap_or_default().to_owned()));
            }
            let mut fields = HashMap::new();
            for (name, json) in subject.snapshot_json.as_object().into_iter().flatten() {
                if sections.snapshot.as_ref().is_none_or(|wanted| wanted.contains(name)) {
                    fields.insert(Key::from(name.clone()), convert(json, &mut largest));
                }
            }
            let mut value = Value::Map(Map { map: Arc::new(fields) });
            for (path, _) in &unknown {
                value = without(value, &path[1..]);
            }
            let mut context = context();
            context.add_variable_from_value("snapshot", value);
            if workload.is_some() {
                // What runs is one container.
                let only = containers.first().map_or(Value::Null, |(_, value)| value.clone());
                declare(&mut context, only);
            }
            (context, unknown)
        });
        let contexts = containers.into_iter().map(|(json, container)| {
            let mut context = context();
            declare(&mut context, container);
            (json, context)
        });
        let containers = contexts.collect();
        let workload = whole.map_or(Json::Null, |(_, json)| json);
        Prepared { live, containers, workload, largest }
    }
}

fn convert(json: &Json, largest: &mut usize) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        // One kind of whole numbers, so that `0` in an expression is the same number; what is larger is told as text is.
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(float)) if number.is_f64() => Value::Float(float),
            _ => Value::Int(i64::MAX),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => {
            *largest = (*largest).max(items.len());
            Value::List(Arc::new(items.iter().map(|item| convert(item, largest)).collect()))
        }
        Json::Object(fields) => {
            *largest = (*largest).max(fields.len());
            let map = fields.iter().map(|(key, value)| (Key::from(key.clone()), convert(value, largest)));
            Value::Map(Map { map: Arc::new(map.collect()) })
        }
    }
}

/// The value without the fact at `path`, so that asking for it is an error and not a null.
fn without(value: Value, path: &[String]) -> Value {
    let [first, rest @ ..] = path else { return value };
    match value {
        Value::Map(map) => {
            let mut fields = Arc::unwrap_or_clone(map.map);
            let key = Key::from(first.clone());
            if rest.is_empty() {
                fields.remove(&key);
            } else if let Some(inner) = fields.remove(&key) {
                fields.insert(key, without(inner, rest));
            }
            Value::Map(Map { map: Arc::new(fields) })
        }
        Value::List(items) => {
            let mut items = Arc::unwrap_or_clone(items);
            if let Some(item) = first.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                *item = without(std::mem::replace(item, Value::Null), rest);
            }
            Value::List(Arc::new(items))
        }
        other => other,
    }
}

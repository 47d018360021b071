//! YAML that a merge tool likes: one fact a line, keys sorted, texts quoted as JSON quotes them where they need it.

use std::collections::BTreeMap;

use serde_json::Value;

const HEAD: &str =
    "# The privileges that these targets had when this file was written, one fact a line, for review.
# `plim check --lock` fails when a target has more than is written here; `plim lock --update` writes it anew.
";

pub(super) fn file(targets: &BTreeMap<String, Value>) -> String {
    let mut text = format!("{HEAD}format: \"{}\"\n", super::LOCK_FORMAT);
    if targets.is_empty() {
        text.push_str("targets: {}\n");
        return text;
    }
    text.push_str("targets:\n");
    for (name, value) in targets {
        entry(&mut text, name, value, 1);
    }
    text
}

fn entry(text: &mut String, key: &str, value: &Value, depth: usize) {
    text.push_str(&"  ".repeat(depth));
    text.push_str(&scalar(key));
    text.push(':');
    below(text, value, depth);
}

/// What stands behind `KEY:` or `-`.
fn below(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            for (key, value) in sorted {
                entry(text, key, value, depth + 1);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            for item in items {
                text.push_str(&"  ".repeat(depth + 1));
                text.push('-');
                match item {
                    // A mapping of a list is written in one line: JSON is YAML.
                    Value::Object(_) | Value::Array(_) => {
                        text.push(' ');
                        text.push_str(&sorted(item).to_string());
                        text.push('\n');
                    }
                    scalar => below(text, scalar, depth + 1),
                }
            }
        }
        Value::Object(_) => text.push_str(" {}\n"),
        Value::Array(_) => text.push_str(" []\n"),
        Value::String(word) => {
            text.push(' ');
            text.push_str(&scalar(word));
            text.push('\n');
        }
        other => {
            text.push(' ');
            text.push_str(&other.to_string());
            text.push('\n');
        }
    }
}

/// The same with the keys of every mapping in order.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> =
                fields.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Plain where every reader takes it for text, else quoted.
fn scalar(word: &str) -> String {
    let plain = word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && word.len() < 200
        && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "_./-".contains(letter))
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
            .contains(&word.to_ascii_lowercase().as_str());
    if plain {
        return word.to_owned();
    }
    let mut quoted = String::new();
    for letter in Value::String(word.to_owned()).to_string().chars() {
        // YAML's own escape, for all of Unicode.
        if plim_model::text::deceives(letter) {
            quoted.push_str(&format!("\\U{:08x}", u32::from(letter)));
        } else {
            quoted.push(letter);
        }
    }
    quoted
}

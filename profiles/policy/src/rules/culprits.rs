//! Which elements of a list break an `all`, or fulfil an `exists` that must not hold: what a person looks for in the evidence.

use cel::objects::{Key, Value};
use cel::{Context, Program};
use serde_json::{Map, Value as Json};

/// Elements that one finding names.
const SHOWN: usize = 5;

/// One part of an expression that speaks of a list: its text, and a program that picks the elements.
pub(super) struct Culprits {
    list: String,
    program: Program,
}

/// The parts of `source`, joined by `&&`, that are `LIST.all(name, …)` or `!LIST.exists(name, …)`.
pub(super) fn of(source: &str) -> Vec<Culprits> {
    conjuncts(source).into_iter().filter_map(one).collect()
}

fn one(part: &str) -> Option<Culprits> {
    let (part, call, negate) = match part.strip_prefix('!') {
        Some(rest) => (rest.trim_start(), ".exists(", false),
        None => (part, ".all(", true),
    };
    let (list, rest) = part.split_once(call)?;
    let (name, body) = rest.strip_suffix(')')?.split_once(',')?;
    let letters =
        |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.".contains(letter));
    // The whole part must be this one call.
    if !letters(list) || !letters(name.trim()) || !closed(body) {
        return None;
    }
    let body = if negate { format!("!({})", body.trim()) } else { body.trim().to_owned() };
    let program = Program::compile(&format!("{list}.filter({}, {body})", name.trim())).ok()?;
    Some(Culprits { list: list.to_owned(), program })
}

impl Culprits {
    /// The elements, each in a line; none where they cannot be told.
    pub(super) fn told(&self, context: &Context<'_, '_>) -> Vec<String> {
        let Ok(Value::List(found)) = self.program.execute(context) else { return Vec::new() };
        let line = |value: &Value| {
            let text = json(value).to_string();
            let short: String = text.chars().take(300).collect();
            format!("{}: {short}{}", self.list, if short.len() < text.len() { "…" } else { "" })
        };
        let mut lines: Vec<String> = found.iter().take(SHOWN).map(line).collect();
        if found.len() > SHOWN {
            lines.push(format!("{}: and {} more", self.list, found.len() - SHOWN));
        }
        lines
    }

    /// The list's name, as the facts name it.
    pub(super) fn list(&self) -> &str {
        &self.list
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => Json::String(text.as_ref().clone()),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => {
            let mut fields: Vec<(String, Json)> = map
                .map
                .iter()
                .filter_map(|(key, value)| match key {
                    Key::String(name) => Some((name.as_ref().clone(), json(value))),
                    _ => None,
                })
                .collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Json::Object(fields.into_iter().collect::<Map<String, Json>>())
        }
        _ => Json::Null,
    }
}

/// The text cut at every `&&` outside of brackets and quotes.
fn conjuncts(source: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let mut scan = Scan::default();
    for (at, letter) in source.char_indices() {
        if scan.outside() && source[at..].starts_with("&&") && at >= start {
            parts.push(source[start..at].trim());
            start = at + 2;
        }
        // `a || b && c` is no list of parts.
        if scan.outside() && source[at..].starts_with("||") {
            return Vec::new();
        }
        scan.take(letter);
    }
    parts.push(source[start..].trim());
    parts
}

fn closed(text: &str) -> bool {
    let mut scan = Scan::default();
    text.chars().all(|letter| {
        scan.take(letter);
        scan.depth >= 0
    }) && scan.outside()
}

/// Brackets and quotes, as CEL has them.
#[derive(Default)]
struct Scan {
    depth: i32,
    quote: Option<char>,
    escaped: bool,
}

impl Scan {
    fn outside(&self) -> bool {
        self.depth == 0 && self.quote.is_none()
    }

    fn take(&mut self, letter: char) {
        match (self.quote, letter) {
            (Some(_), _) if self.escaped => self.escaped = false,
            (Some(_), '\\') => self.escaped = true,
            (Some(quote), letter) if letter == quote => self.quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => self.quote = Some(letter),
            (None, '(' | '[' | '{') => self.depth += 1,
            (None, ')' | ']' | '}') => self.depth -= 1,
            (None, _) => {}
        }
    }
}

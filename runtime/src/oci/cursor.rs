//! A walk over a JSON document that knows where it is and what nobody has looked at.
//!
//! serde's derived readers drop unknown keys without a word and say no place in an error. A bundle is a statement
//! about confinement, so each key is taken, refused, or reported.

use serde_json::{Map, Value};

/// What is wrong at one place of a `config.json`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {problem}")]
pub struct FieldError {
    /// JSON pointer (RFC 6901); empty for the document itself.
    pub pointer: String,
    /// What was found, and what was expected or why it cannot be honoured.
    pub problem: String,
}

/// Something in a bundle that has no effect, and that the caller should show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// Why it has no effect.
    pub message: String,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value,
    pub(super) pointer: String,
}

/// An object of which each key is to be taken once; what is left over is reported by [`Object::finish`].
pub(super) struct Object<'a> {
    map: &'a Map<String, Value>,
    pub(super) pointer: String,
    taken: Vec<&'static str>,
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A name for what is there, short enough for one line.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => format!("{s:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Whether a value says nothing: engines write `false`, `0`, `""`, `[]` and `{}` where they mean "not set".
fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(list) => list.iter().all(is_neutral),
        Value::Object(map) => map.values().all(is_neutral),
    }
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Node { value, pointer: String::new() }
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> FieldError {
        FieldError { pointer: self.pointer.clone(), problem: problem.into() }
    }

    fn expected(&self, what: &str) -> FieldError {
        self.error(format!("found {}, expected {what}", describe(self.value)))
    }

    pub(super) fn object(&self) -> Result<Object<'a>, FieldError> {
        let map = self.value.as_object().ok_or_else(|| self.expected("an object"))?;
        Ok(Object { map, pointer: self.pointer.clone(), taken: Vec::new() })
    }

    pub(super) fn list(&self) -> Result<Vec<Node<'a>>, FieldError> {
        let list = self.value.as_array().ok_or_else(|| self.expected("a list"))?;
        Ok(list
            .iter()
            .enumerate()
            .map(|(index, value)| Node { value, pointer: format!("{}/{index}", self.pointer) })
            .collect())
    }

    pub(super) fn str(&self) -> Result<&'a str, FieldError> {
        let text = self.value.as_str().ok_or_else(|| self.expected("a string"))?;
        // Every string of a bundle ends up in a system call sooner or later.
        if text.contains('\0') {
            return Err(self.error("the string contains a NUL character"));
        }
        Ok(text)
    }

    pub(super) fn string(&self) -> Result<String, FieldError> {
        self.str().map(str::to_owned)
    }

    pub(super) fn strings(&self) -> Result<Vec<String>, FieldError> {
        self.list()?.iter().map(Node::string).collect()
    }

    pub(super) fn absolute_path(&self) -> Result<String, FieldError> {
        let path = self.str()?;
        if !path.starts_with('/') {
            return Err(self.expected("an absolute path"));
        }
        Ok(path.to_owned())
    }

    pub(super) fn bool(&self) -> Result<bool, FieldError> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    pub(super) fn u64(&self) -> Result<u64, FieldError> {
        self.value.as_u64().ok_or_else(|| self.expected("a whole number of at least 0"))
    }

    pub(super) fn i64(&self) -> Result<i64, FieldError> {
        self.value.as_i64().ok_or_else(|| self.expected("a whole number"))
    }

    pub(super) fn u32(&self) -> Result<u32, FieldError> {
        self.u64()?.try_into().map_err(|_| self.expected("a number of at most 4294967295"))
    }

    /// A whole number within a range, ends included.
    pub(super) fn within(&self, low: i64, high: i64) -> Result<i64, FieldError> {
        self.i64()
            .ok()
            .filter(|n| (low..=high).contains(n))
            .ok_or_else(|| self.expected(&format!("a whole number from {low} to {high}")))
    }
}

impl<'a> Object<'a> {
    pub(super) fn at(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, escape(key))
    }

    /// The value of `key`; `None` when it is missing or null.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node<'a>> {
        self.taken.push(key);
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        Some(Node { value, pointer: self.at(key) })
    }

    pub(super) fn require(&mut self, key: &'static str) -> Result<Node<'a>, FieldError> {
        self.take(key)
            .ok_or_else(|| FieldError { pointer: self.at(key), problem: "missing, and required".to_owned() })
    }

    /// An error if `key` says anything: it is part of the specification and cannot be honoured.
    pub(super) fn refuse(&mut self, key: &'static str, why: &str) -> Result<(), FieldError> {
        match self.take(key) {
            Some(node) if !is_neutral(node.value) => Err(node.error(why)),
            _ => Ok(()),
        }
    }

    /// Every member, for an object used as a map.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> + '_ {
        self.map.iter().map(|(key, value)| (key.as_str(), Node { value, pointer: self.at(key) }))
    }

    /// Reports the keys that nobody took. The specification (spec.md, "Extensibility") has a runtime ignore
    /// properties that it does not know; they are ignored aloud.
    pub(super) fn finish(self, warnings: &mut Vec<Warning>) {
        for key in self.map.keys().filter(|key| !self.taken.contains(&key.as_str())) {
            warnings.push(Warning {
                pointer: self.at(key),
                message: "not a property of the OCI runtime specification, ignored".to_owned(),
            });
        }
    }
}

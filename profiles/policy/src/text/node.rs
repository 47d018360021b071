//! One value of a document.

use std::fmt;

use super::TextError;

/// Line and column, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column in characters.
    pub column: u32,
}

impl Place {
    /// The first letter of a text.
    pub const START: Place = Place { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its first letter.
    pub at: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a value is. Scalars stay text: what they mean depends on who reads them (`yes` is true to Kubernetes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A scalar; `quoted` ones are text and nothing else.
    Scalar {
        /// The letters, escapes resolved.
        text: String,
        /// In quotes, or a block.
        quoted: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its letters.
    pub text: String,
    /// Where.
    pub at: Place,
}

impl Kind {
    /// A sequence that is whole. A vector that grew has room for more; millions of small ones would be mostly room.
    pub(super) fn list(mut items: Vec<Node>) -> Kind {
        items.shrink_to_fit();
        Kind::List(items)
    }

    /// A mapping that is whole.
    pub(super) fn map(mut entries: Vec<(Key, Node)>) -> Kind {
        entries.shrink_to_fit();
        Kind::Map(entries)
    }
}

/// Refuses a key that stands twice: of several, the one that comes first in the text.
pub(super) fn repeated_key(entries: &[(Key, Node)]) -> Result<(), TextError> {
    let mut keys: Vec<&Key> = entries.iter().map(|(key, _)| key).collect();
    keys.sort_unstable_by(|a, b| a.text.cmp(&b.text).then(a.at.cmp(&b.at)));
    let twice = keys.windows(2).filter(|pair| pair[0].text == pair[1].text);
    match twice.min_by_key(|pair| pair[1].at) {
        Some(pair) => {
            let what = format!("key {:?} stands twice, first in line {}", pair[1].text, pair[0].at.line);
            Err(TextError::new(pair[1].at, what))
        }
        None => Ok(()),
    }
}

impl Node {
    /// The value of a key, unless it is null (`key:` alone is as good as no key to every reader of such files).
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => {
                entries.iter().find(|(known, _)| known.text == key).map(|(_, v)| v).filter(|v| !v.is_null())
            }
            Kind::Scalar { .. } | Kind::List(_) => None,
        }
    }

    /// [`Node::get`] of one key after the other.
    pub fn path(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The elements of a sequence; none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Scalar { .. } | Kind::Map(_) => &[],
        }
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar { .. } | Kind::List(_) => &[],
        }
    }

    /// The letters of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The letters of the scalar at a key.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// Whether it is the plain scalar that means nothing.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// A plain scalar as YAML 1.1 and 1.2 both mean it: `true`, `yes`, `on`, `y` and their opposites.
    pub fn bool(&self) -> Option<bool> {
        let Kind::Scalar { text, quoted: false } = &self.kind else { return None };
        match text.as_str() {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
                Some(false)
            }
            _ => None,
        }
    }

    /// The truth at a key.
    pub fn bool_of(&self, key: &str) -> Option<bool> {
        self.get(key)?.bool()
    }

    /// A plain scalar that is a whole number: decimal, `0x…`, `0o…`, or octal with a leading zero (YAML 1.1).
    pub fn int(&self) -> Option<i64> {
        let Kind::Scalar { text, quoted: false } = &self.kind else { return None };
        let digits = text.replace('_', "");
        let (sign, digits) = match digits.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, digits.strip_prefix('+').unwrap_or(&digits)),
        };
        let value = if let Some(hex) = digits.strip_prefix("0x") {
            i64::from_str_radix(hex, 16)
        } else if let Some(octal) = digits.strip_prefix("0o") {
            i64::from_str_radix(octal, 8)
        } else if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
            i64::from_str_radix(digits, 8)
        } else if digits.starts_with(|first: char| first.is_ascii_digit()) {
            digits.parse()
        } else {
            return None;
        };
        value.ok().map(|value| sign * value)
    }

    /// The number at a key.
    pub fn int_of(&self, key: &str) -> Option<i64> {
        self.get(key)?.int()
    }

    /// What it is, in words for an error.
    pub fn describe(&self) -> String {
        match &self.kind {
            _ if self.is_null() => "nothing".to_owned(),
            Kind::Scalar { text, quoted: false } if self.bool().is_some() || self.int().is_some() => {
                text.clone()
            }
            Kind::Scalar { text, .. } => {
                let mut short: String = text.chars().take(60).collect();
                if short.len() < text.len() {
                    short.push('…');
                }
                format!("{short:?}")
            }
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
        }
    }

    /// As JSON, plain scalars read by YAML 1.2's core schema.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            _ if self.is_null() => Value::Null,
            Kind::Scalar { text, quoted: false } => match text.as_str() {
                "true" | "True" | "TRUE" => Value::Bool(true),
                "false" | "False" | "FALSE" => Value::Bool(false),
                _ if self.int().is_some() => self.int().into(),
                _ if text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => text
                    .parse::<f64>()
                    .ok()
                    .and_then(serde_json::Number::from_f64)
                    .map_or_else(|| Value::String(text.clone()), Value::Number),
                _ => Value::String(text.clone()),
            },
            Kind::Scalar { text, .. } => Value::String(text.clone()),
            Kind::List(items) => items.iter().map(Node::to_json).collect(),
            Kind::Map(entries) => Value::Object(
                entries.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect(),
            ),
        }
    }
}

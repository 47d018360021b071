//! Reads values out of [`Node`]s and says precisely where they do not fit.

use std::borrow::Cow;

use super::json::Node;
use crate::error::ProfileError;

/// The longest piece of somebody's profile that an error message repeats, in characters.
const QUOTED: usize = 80;

/// A value and the way to it; the way becomes a JSON pointer only when an error needs one.
#[derive(Clone, Copy)]
pub(super) struct At<'p, 'a> {
    pub(super) node: &'a Node<'a>,
    parent: Option<&'p At<'p, 'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy)]
enum Segment<'a> {
    Root(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'p, 'a> At<'p, 'a> {
    /// A value that stands at `pointer` in its file.
    pub(super) fn root(node: &'a Node<'a>, pointer: &'a str) -> At<'p, 'a> {
        At { node, parent: None, segment: Segment::Root(pointer) }
    }

    /// The JSON pointer (RFC 6901).
    pub(super) fn pointer(&self) -> String {
        let mut text = self.parent.map(At::pointer).unwrap_or_default();
        match self.segment {
            Segment::Root(pointer) => text.push_str(pointer),
            Segment::Key(key) => {
                text.push('/');
                text.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Index(index) => {
                text.push('/');
                text.push_str(&index.to_string());
            }
        }
        text
    }

    /// The error that something else was expected here.
    pub(super) fn unexpected(&self, expected: impl Into<String>) -> ProfileError {
        self.error(describe(self.node), expected, None)
    }

    pub(super) fn error(
        &self,
        found: impl Into<String>,
        expected: impl Into<String>,
        nearest: Option<&str>,
    ) -> ProfileError {
        ProfileError::Value {
            pointer: self.pointer(),
            found: found.into(),
            expected: expected.into(),
            nearest: nearest.map(str::to_owned),
        }
    }

    /// An object whose keys are among `keys`, each at most once.
    pub(super) fn object(
        &self,
        keys: &[&'static str],
    ) -> Result<&'a [(Cow<'a, str>, Node<'a>)], ProfileError> {
        let Node::Object(entries) = self.node else { return Err(self.unexpected("an object")) };
        for (index, (key, _)) in entries.iter().enumerate() {
            if !keys.contains(&key.as_ref()) {
                let nearest = crate::spelling::nearest(key, keys.iter().copied());
                let found = format!("the unknown key {}", quote(key));
                return Err(self.error(found, format!("one of {}", keys.join(", ")), nearest));
            }
            // Known keys are few, so this is never long: an object with more keys repeats one.
            if entries[..index].iter().any(|(other, _)| other == key) {
                return Err(self.error(format!("the key {} twice", quote(key)), "it once", None));
            }
        }
        Ok(entries)
    }

    /// The value of a key; a null counts as not there.
    pub(super) fn get(&'p self, key: &'static str) -> Option<At<'p, 'a>> {
        let Node::Object(entries) = self.node else { return None };
        let (_, node) = entries.iter().find(|(k, _)| k == key)?;
        (!matches!(node, Node::Null)).then_some(At { node, parent: Some(self), segment: Segment::Key(key) })
    }

    /// Whether a key is there at all.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(self.node, Node::Object(entries) if entries.iter().any(|(k, _)| k == key))
    }

    /// The elements of a list.
    pub(super) fn list(&'p self) -> Result<impl Iterator<Item = At<'p, 'a>>, ProfileError> {
        let Node::List(nodes) = self.node else { return Err(self.unexpected("a list")) };
        Ok(nodes.iter().enumerate().map(move |(index, node)| At {
            node,
            parent: Some(self),
            segment: Segment::Index(index),
        }))
    }

    pub(super) fn text(&self) -> Result<&'a str, ProfileError> {
        match self.node {
            Node::Text(text) => Ok(text),
            _ => Err(self.unexpected("a string")),
        }
    }

    /// A whole number from 0 to `most`.
    pub(super) fn number(&self, most: u64) -> Result<u64, ProfileError> {
        match self.node {
            Node::Unsigned(number) if *number <= most => Ok(*number),
            _ => Err(self.unexpected(format!("a whole number from 0 to {most}"))),
        }
    }

    /// One of the words that `find` knows; `words` is for the message.
    pub(super) fn word<'w, T>(
        &self,
        find: impl FnOnce(&str) -> Option<T>,
        words: impl Iterator<Item = &'w str> + Clone,
    ) -> Result<T, ProfileError> {
        let text = self.text()?;
        find(text).ok_or_else(|| {
            let nearest = crate::spelling::nearest(text, words.clone());
            let list: Vec<&str> = words.collect();
            self.error(quote(text), format!("one of {}", list.join(", ")), nearest)
        })
    }
}

/// Text of the profile as a message may repeat it: escaped and cut.
pub(super) fn quote(text: &str) -> String {
    let cut: String = text.chars().take(QUOTED).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{dots}")
}

fn describe(node: &Node<'_>) -> String {
    match node {
        Node::Null => "null".to_owned(),
        Node::Bool(value) => value.to_string(),
        Node::Unsigned(number) => number.to_string(),
        Node::OtherNumber(text) => text.clone(),
        Node::Text(text) => quote(text),
        Node::List(_) => "a list".to_owned(),
        Node::Object(_) => "an object".to_owned(),
    }
}

//! JSON that keeps what serde_json's `Value` loses: repeated keys. Bounded in depth (serde_json's 128) and in number of values.

use std::borrow::Cow;
use std::cell::Cell;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::error::ProfileError;

/// One JSON value, borrowing from the text where it can.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// A number that is negative, broken or larger than 64 bits, as it would be printed.
    OtherNumber(String),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// In the order of the text, repeated keys included.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

const OVER_BUDGET: &str = "too many values";

pub(super) fn parse(bytes: &[u8], max_values: usize) -> Result<Node<'_>, ProfileError> {
    let budget = Cell::new(max_values);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read =
        Budget(&budget).deserialize(&mut deserializer).and_then(|node| deserializer.end().map(|()| node));
    read.map_err(|error| {
        if budget.get() == 0 && error.to_string().starts_with(OVER_BUDGET) {
            return ProfileError::TooLarge { limit: max_values, unit: "JSON values" };
        }
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        ProfileError::Syntax { line: error.line(), column: error.column(), reason: reason.to_owned() }
    })
}

struct Budget<'b>(&'b Cell<usize>);

impl<'de> DeserializeSeed<'de> for Budget<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom(OVER_BUDGET))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Budget<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(u64::try_from(value).map_or_else(|_| Node::OtherNumber(value.to_string()), Node::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::OtherNumber(value.to_string()))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element_seed(Budget(self.0))? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(Node::Text(key)) = map.next_key_seed(Budget(self.0))? {
            entries.push((key, map.next_value_seed(Budget(self.0))?));
        }
        Ok(Node::Object(entries))
    }
}

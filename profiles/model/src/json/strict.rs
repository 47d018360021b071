//! JSON that others wrote, as serde_json's `Value`, without what that lets pass: a key that stands twice in one object, of which
//! the last would count, and documents that cost more than they say.

use std::cell::Cell;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Values of one document, keys not counted: a snapshot with 100,000 mounts is well within.
const MAX_VALUES: usize = 2_000_000;

/// Reads one document.
///
/// ```
/// let error = plim_model::json::parse(b"{\"a\": 1,\n \"a\": 2}").unwrap_err();
/// assert_eq!(error.to_string(), "the key \"a\" stands twice at line 2 column 4");
/// ```
///
/// # Errors
/// Not JSON, a key that stands twice, more than 2,000,000 values, or more than 127 inside each other: with line and column.
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let left = Cell::new(MAX_VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(&left).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

struct Strict<'l>(&'l Cell<usize>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| D::Error::custom(format!("more than {MAX_VALUES} values")))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Strict(self.0))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:?} stands twice")));
            }
            fields.insert(key, map.next_value_seed(Strict(self.0))?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_serde_json_reads() {
        let text =
            r#" {"a": [1, -2, 1.5, 18446744073709551615, null, true, "\u00e9\n"], "b": {"a": {}}, "": []} "#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        for wrong in ["", "{", "{} x", "[1,]", "{\"a\" 1}", "\u{feff}{}", "nul"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
            assert!(serde_json::from_str::<Value>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn refuses_what_is_ambiguous_or_too_much() {
        for (text, expected) in [
            ("{\"a\": {\"b\": 1, \"c\": 2,\n\"b\": 3}}", "the key \"b\" stands twice at line 2 column 3"),
            ("[{\"a\": 1, \"\\u0061\": 1}]", "the key \"a\" stands twice at line 1 column 18"),
            (&"[".repeat(1_000), "recursion limit exceeded at line 1 column 128"),
            (&format!("[{}0]", "0,".repeat(MAX_VALUES)), "more than 2000000 values at line 1 column 3999999"),
        ] {
            let error = parse(text.as_bytes()).expect_err("refused").to_string();
            assert_eq!(error, expected);
        }
    }
}

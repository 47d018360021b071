//! Resource limits (getrlimit(2), `/proc/PID/limits`).

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A limit that may be off.
///
/// In JSON a number, or the string `"max"` (cgroup v2's own word) when there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// At most this many; the unit is in the field's name.
    Of(u64),
    /// No limit at this place.
    Max,
}

impl Limit {
    /// The number, or `None` when there is no limit.
    pub fn value(self) -> Option<u64> {
        match self {
            Limit::Of(value) => Some(value),
            Limit::Max => None,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::Of(value) => value.fmt(f),
            Limit::Max => f.pad("max"),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Limit::Of(value) => serializer.serialize_u64(*value),
            Limit::Max => serializer.serialize_str("max"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Word(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(value) => Ok(Limit::Of(value)),
            Raw::Word(word) if word == "max" => Ok(Limit::Max),
            Raw::Word(word) => {
                Err(serde::de::Error::custom(format!("found {word:?}, expected a number or \"max\"")))
            }
        }
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number in the unit of the field's name, or \"max\" when there is no limit.",
            "anyOf": [{"type": "integer", "minimum": 0}, {"const": "max"}]
        })
    }
}

/// One resource limit; the unit depends on the resource (bytes, seconds, counts: getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rlimit {
    /// What the kernel enforces.
    pub soft: Limit,
    /// How far the process may raise the soft limit without CAP_SYS_RESOURCE.
    pub hard: Limit,
}

/// Limits by the kernel's name (`RLIMIT_NOFILE`).
pub type Rlimits = BTreeMap<String, Rlimit>;

//! [`Observed`]: what is known of one fact, and why the rest is not.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The key that marks an unknown value while a snapshot is between its typed form and its published JSON form.
///
/// In the published form ([`crate::Snapshot::to_json`]) an unknown value is `null` and its place and reason
/// stand in `.unknown[]`; the marker never leaves this crate.
pub(crate) const UNKNOWN_MARK: &str = "$unknown";

/// One fact as it was observed.
///
/// ENOENT of a kernel feature that does not exist is [`Observed::Absent`]; a refusal to look (EACCES, EPERM) is
/// [`Observed::Unknown`] with its reason. No consumer may treat unknown as either present or absent, which is why
/// this type offers no `unwrap_or`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Observed<T> {
    /// The kernel said so.
    Present(T),
    /// The kernel has no such thing for this target (feature not built in, file not there, no limit file at this level).
    #[default]
    Absent,
    /// It could not be observed; the text says why (operation and errno name, or the privilege missing).
    Unknown(String),
}

impl<T> Observed<T> {
    /// The value when it is present.
    pub fn present(&self) -> Option<&T> {
        match self {
            Observed::Present(value) => Some(value),
            Observed::Absent | Observed::Unknown(_) => None,
        }
    }

    /// Applies `f` to a present value and keeps the two other outcomes.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Observed::Present(value) => Observed::Present(f(value)),
            Observed::Absent => Observed::Absent,
            Observed::Unknown(why) => Observed::Unknown(why),
        }
    }

    /// Applies `f`, which may itself not know, to a present value.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Observed<U>) -> Observed<U> {
        match self {
            Observed::Present(value) => f(value),
            Observed::Absent => Observed::Absent,
            Observed::Unknown(why) => Observed::Unknown(why),
        }
    }

    /// The same fact by reference.
    pub fn as_ref(&self) -> Observed<&T> {
        match self {
            Observed::Present(value) => Observed::Present(value),
            Observed::Absent => Observed::Absent,
            Observed::Unknown(why) => Observed::Unknown(why.clone()),
        }
    }

    /// Whether the fact could not be observed.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Observed::Unknown(_))
    }
}

impl<T> From<Option<T>> for Observed<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Observed::Absent, Observed::Present)
    }
}

impl<T: Serialize> Serialize for Observed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        match self {
            Observed::Present(value) => value.serialize(serializer),
            Observed::Absent => serializer.serialize_none(),
            Observed::Unknown(why) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(UNKNOWN_MARK, why)?;
                map.end()
            }
        }
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for Observed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match value {
            serde_json::Value::Null => Ok(Observed::Absent),
            serde_json::Value::Object(ref map) if map.len() == 1 && map.contains_key(UNKNOWN_MARK) => {
                let why = map[UNKNOWN_MARK].as_str().unwrap_or_default();
                Ok(Observed::Unknown(why.to_owned()))
            }
            // The detour over a value loses the place of an error within it: keep it as a pointer in the text.
            value => serde_path_to_error::deserialize(value)
                .map(Observed::Present)
                .map_err(|error| serde::de::Error::custom(crate::json::PlacedError::from(error))),
        }
    }
}

/// In the published form the value stands plainly or is null.
impl<T: JsonSchema> JsonSchema for Observed<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Observed_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

//! JSON one level at a time, so that whoever finds something wrong knows where, numbers keep every digit and a field
//! that is given twice is seen. What lies deeper stays text, which makes nesting without end harmless.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A value whose parts are not yet looked at.
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    /// A number as it is written.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<&'a RawValue>),
    Object(Vec<(Cow<'a, str>, &'a RawValue)>),
}

impl<'a> Value<'a> {
    /// The value in `json`; `None` where a text in it is not Unicode (half of a surrogate pair).
    pub(crate) fn read(json: &'a RawValue) -> Option<Value<'a>> {
        let text = json.get();
        match text.as_bytes().first()? {
            b'{' => serde_json::from_str(text).ok().map(|Fields(fields)| Value::Object(fields)),
            b'[' => serde_json::from_str(text).ok().map(Value::Array),
            b'"' => serde_json::from_str(text).ok().map(|Text(text)| Value::Text(text)),
            b't' => Some(Value::Boolean(true)),
            b'f' => Some(Value::Boolean(false)),
            b'n' => Some(Value::Null),
            _ => Some(Value::Number(text)),
        }
    }

    /// What sort of value this is, for an error.
    pub(crate) fn sort(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Boolean(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

/// A text borrowed from JSON unless it holds an escape. (`Cow` by itself is only ever borrowed as a direct field.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of an object in the order written, also those given twice.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object).map(Fields)
    }
}

//! An event as JSON with the fields of `POST /api/v1/track`, for whoever stores many that did not come over HTTP.

use std::borrow::Cow;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Draft, Identity, check, check_session_id, excerpt, identify};
use crate::error::{Code, Error};

/// What an event is when nothing else is said.
pub const DEFAULT_TYPE: &str = "custom";

/// An event that can be stored, if what it names exists.
#[derive(Debug, PartialEq)]
pub struct Event<'a> {
    /// Which event it is.
    pub identity: Identity,
    /// Who did it.
    pub user_id: Cow<'a, str>,
    /// What sort of event.
    pub event_type: Cow<'a, str>,
    /// What was done.
    pub event_name: Cow<'a, str>,
    /// Its amount: the field `value`, or else a number in `properties.value`.
    pub value: Option<f64>,
    /// The properties as JSON text of an object.
    pub properties: &'a str,
    /// The experiment it belongs to, when only one.
    pub experiment: Option<Cow<'a, str>>,
    /// The variant that was seen.
    pub variant: Option<Cow<'a, str>>,
    /// The visit it belongs to.
    pub session_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
struct Fields<'a> {
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    event_name: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Option<Text<'a>>,
    #[serde(borrow)]
    experiment_id: Option<Text<'a>>,
    #[serde(borrow)]
    variant_id: Option<Text<'a>>,
    /// Read by hand: the JSON parser's own reading of a number can be off in the last place.
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    event_id: Option<Text<'a>>,
    #[serde(borrow)]
    session_id: Option<Text<'a>>,
}

/// A text borrowed from JSON unless it holds an escape. (`Cow` by itself is only ever borrowed as a direct field.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The event in `json`; `fresh` makes a UUIDv7 of `now` for one that has no id. `received` is when an event came that is
/// read again, which says when it happened where the event itself does not.
///
/// # Errors
/// [`Code::InvalidEvent`], also where it is no JSON or has other fields, and what [`check`] and [`identify`] say.
pub fn read(
    json: &str,
    fresh: impl FnOnce() -> Uuid,
    now: i64,
    received: Option<i64>,
) -> Result<Event<'_>, Error> {
    let fields: Fields<'_> = serde_json::from_str(json).map_err(|error| {
        Error::new(
            Code::InvalidEvent,
            format!("the event cannot be read: {error}"),
            "send a JSON object with the fields of POST /api/v1/track",
        )
    })?;
    let event_type = fields.event_type.map_or(Cow::Borrowed(DEFAULT_TYPE), |text| text.0);
    let experiment = fields.experiment_id.map(|text| text.0);
    let variant = fields.variant_id.map(|text| text.0);
    let session_id = fields.session_id.map(|text| text.0);
    let properties = fields.properties.map_or("{}", RawValue::get);
    let draft = Draft {
        user_id: &fields.user_id,
        event_type: &event_type,
        event_name: &fields.event_name,
        value: None,
        properties: Some(properties),
        experiment: experiment.as_deref(),
        variant: variant.as_deref(),
    };
    check(&draft)?;
    if let Some(session_id) = &session_id {
        check_session_id(session_id)?;
    }
    let value = value(fields.value, properties)?;
    check(&Draft { value, properties: None, ..draft })?;
    let time = fields.timestamp.map(|text| read_time(&text.0)).transpose()?;
    let identity = match &fields.event_id {
        Some(Text(id)) => identify(Some(id), time, Uuid::nil(), now)?,
        None => identify(None, time.or(received), fresh(), now)?,
    };
    Ok(Event {
        identity,
        user_id: fields.user_id,
        event_type,
        event_name: fields.event_name,
        value,
        properties,
        experiment,
        variant,
        session_id,
    })
}

/// A point in time as RFC 3339 writes it, in microseconds since 1970.
///
/// # Errors
/// [`Code::InvalidEventTime`].
pub fn read_time(text: &str) -> Result<i64, Error> {
    let time: Timestamp = text.parse().map_err(|_| {
        Error::new(
            Code::InvalidEventTime,
            format!("timestamp \"{}\" cannot be read", excerpt(text)),
            "write it as RFC 3339 with an offset, such as 2026-01-31T12:00:00.250Z",
        )
    })?;
    // As PostgreSQL reads it: an event sent over SQL and over HTTP must be the same one.
    let microseconds = TimestampRound::new().smallest(Unit::Microsecond).mode(RoundMode::HalfEven);
    Ok(time.round(microseconds).unwrap_or(time).as_microsecond())
}

fn value(field: Option<&RawValue>, properties: &str) -> Result<Option<f64>, Error> {
    if let Some(field) = field {
        return match number(field.get()) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::new(
                Code::InvalidEvent,
                "field \"value\" must be a number",
                "send a finite number or none",
            )),
        };
    }
    value_property(properties).map_err(|error| {
        Error::new(
            Code::InvalidEvent,
            format!("event properties cannot be read: {error}"),
            "send an object such as {\"country\": \"NZ\"}",
        )
    })
}

/// The number in `properties.value`, of an event that has no amount of its own.
///
/// # Errors
/// The parser's, where the text is no JSON object.
pub fn value_property(properties: &str) -> Result<Option<f64>, serde_json::Error> {
    // Not even looked at where it cannot be.
    if !properties.contains("value") {
        return Ok(None);
    }
    let Valued(value) = serde_json::from_str(properties)?;
    Ok(value.and_then(|value| number(value.get())))
}

/// What JSON text says, if it is a number; one too large for a double is infinite here and refused later.
pub fn number(json: &str) -> Option<f64> {
    let first = json.bytes().next()?;
    if first == b'-' || first.is_ascii_digit() { json.parse().ok() } else { None }
}

/// The last `value` of an object; the last of equal keys is also the one that jsonb keeps.
struct Valued<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Valued<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Option<&'de RawValue>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut value = None;
                while let Some(key) = entries.next_key::<Cow<'de, str>>()? {
                    if key == "value" {
                        value = Some(entries.next_value()?);
                    } else {
                        entries.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(value)
            }
        }
        deserializer.deserialize_map(Entries).map(Valued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::version_7_time;

    const NOW: i64 = 1_800_000_000_000_000;

    fn fresh() -> Uuid {
        Uuid::from_u128((((NOW / 1000) as u128) << 80) | (7 << 76) | (0b10 << 62) | 42)
    }

    fn of(json: &str) -> Result<Event<'_>, Error> {
        read(json, fresh, NOW, None)
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let event = of(r#"{"user_id":"u","event_name":"n"}"#).unwrap();
        assert_eq!(
            event.identity,
            Identity { event_id: fresh(), event_time: version_7_time(fresh()).unwrap() }
        );
        assert_eq!((&*event.event_type, event.properties, event.value), ("custom", "{}", None));
        assert_eq!(of(r#"{"user_id":"u","event_name":"n","value":null,"properties":null,"event_type":null,"experiment_id":null,"variant_id":null,"timestamp":null,"event_id":null,"session_id":null}"#).unwrap(), event);
    }

    #[test]
    fn every_field_is_read() {
        let event = of(r#"{"user_id":"\u00fc","event_name":"n","event_type":"exposure","experiment_id":"e","variant_id":"a","value":0.1,
            "properties":{"a": 1},"timestamp":"2027-01-15T09:00:00.0000005+01:00","event_id":"order-1","session_id":"s"}"#)
        .unwrap();
        assert_eq!(event.user_id, "ü");
        assert_eq!(event.value, Some(0.1));
        assert_eq!(event.properties, r#"{"a": 1}"#);
        assert_eq!(event.identity.event_time, 1_800_000_000_000_000);
        assert_eq!(
            (event.experiment.as_deref(), event.variant.as_deref(), event.session_id.as_deref()),
            (Some("e"), Some("a"), Some("s"))
        );
        let value = |json| of(json).unwrap().value;
        assert_eq!(value(r#"{"user_id":"u","event_name":"n","properties":{"value":2.5}}"#), Some(2.5));
        assert_eq!(value(r#"{"user_id":"u","event_name":"n","properties":{"value":"2.5"}}"#), None);
        assert_eq!(
            value(r#"{"user_id":"u","event_name":"n","properties":{"value":2.5},"value":1}"#),
            Some(1.0)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (fields, code, message) in [
            (r#""userid":1"#, Code::InvalidEvent, "the event cannot be read: unknown field `userid`"),
            (
                r#""session_id":7"#,
                Code::InvalidEvent,
                "the event cannot be read: invalid type: integer `7`, expected a string",
            ),
            (r#""session_id":"""#, Code::InvalidEvent, "session id \"\" is not acceptable"),
            (r#""value":"1""#, Code::InvalidEvent, "field \"value\" must be a number"),
            (r#""value":1e999"#, Code::InvalidEvent, "event value inf is not a finite number"),
            (r#""properties":[]"#, Code::InvalidEvent, "event properties are not a JSON object"),
            (r#""properties":{"value":1e309}"#, Code::InvalidEvent, "event value inf is not a finite number"),
            (
                r#""properties":{"value":1e999}"#,
                Code::InvalidEvent,
                "event properties hold a number with the exponent 999",
            ),
            (
                r#""event_type":"exposure""#,
                Code::VariantRequired,
                "exposure of user \"u\" names no experiment",
            ),
            (r#""timestamp":"yesterday""#, Code::InvalidEventTime, "timestamp \"yesterday\" cannot be read"),
            (r#""timestamp":"9998-01-01T00:00:00Z""#, Code::InvalidEventTime, "event time is in the future"),
            (r#""event_id":"order-1""#, Code::EventTimeRequired, "event id"),
        ] {
            let json = format!(r#"{{"user_id":"u","event_name":"n",{fields}}}"#);
            let error = of(&json).unwrap_err();
            assert_eq!(error.code, code, "{json}");
            assert!(error.message.starts_with(message), "{json}: {}", error.message);
        }
        for json in [
            "",
            "7",
            "[]",
            "null",
            "\"{}\"",
            "{}",
            r#"{"user_id":"u"}"#,
            r#"{"user_id":"u","event_name":null}"#,
            "{",
        ] {
            assert_eq!(of(json).unwrap_err().code, Code::InvalidEvent, "{json}");
        }
        assert_eq!(of(r#"{"user_id":"","event_name":"n"}"#).unwrap_err().code, Code::InvalidUserId);
    }
}

//! An event as it will be stored, and as JSON where it must outlive this process.
//!
//! The JSON has the fields of `POST /api/v1/track`, so that whatever is found in a spool or among rejected events can be
//! sent again as it is, by hand if need be.

use ab_core::event::excerpt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// An event as it will be stored, its identity fixed.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Who did it.
    pub user_id: String,
    /// With the user and the time, what makes it this event.
    pub event_id: Uuid,
    /// When it happened.
    pub event_time: Timestamp,
    /// What sort of event.
    pub event_type: String,
    /// What was done.
    pub event_name: String,
    /// An amount.
    pub value: Option<f64>,
    /// A JSON object as text; none is the same as an empty one.
    pub properties: Option<String>,
    /// The experiment it counts in, when only one.
    pub experiment: Option<String>,
    /// The variant that was seen.
    pub variant: Option<String>,
    /// The visit it was part of.
    pub session_id: Option<String>,
}

/// The same with the names it has over HTTP.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tracked {
    user_id: String,
    event_id: Uuid,
    timestamp: Timestamp,
    event_type: String,
    event_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    experiment_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
}

impl Event {
    /// What it takes up in the queue.
    pub fn weight(&self) -> u32 {
        let bytes = self.user_id.len() + self.properties.as_ref().map_or(0, String::len);
        1 + u32::try_from(bytes / 1024).unwrap_or(u32::MAX)
    }

    /// The event as JSON on a single line.
    ///
    /// # Errors
    /// When its properties are not JSON, which none are that were read by this gateway.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let properties = self.properties.clone().map(RawValue::from_string).transpose()?;
        let json = serde_json::to_string(&Tracked {
            user_id: self.user_id.clone(),
            event_id: self.event_id,
            timestamp: self.event_time,
            event_type: self.event_type.clone(),
            event_name: self.event_name.clone(),
            value: self.value,
            properties,
            experiment_id: self.experiment.clone(),
            variant_id: self.variant.clone(),
            session_id: self.session_id.clone(),
        })?;
        // Properties are kept as they were sent. Between their parts there may be a line's end, within a text never.
        Ok(if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json })
    }

    /// The event that [`Event::to_json`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn from_json(json: &str) -> serde_json::Result<Event> {
        let tracked: Tracked = serde_json::from_str(json)?;
        Ok(Event {
            user_id: tracked.user_id,
            event_id: tracked.event_id,
            event_time: tracked.timestamp,
            event_type: tracked.event_type,
            event_name: tracked.event_name,
            value: tracked.value,
            properties: tracked.properties.map(|properties| Box::<str>::from(properties).into_string()),
            experiment: tracked.experiment_id,
            variant: tracked.variant_id,
            session_id: tracked.session_id,
        })
    }

    /// Whose event it is and which, for a log line.
    pub fn label(&self) -> String {
        format!("{} of user \"{}\"", self.event_id, excerpt(&self.user_id))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub fn event(user: &str) -> Event {
        Event {
            user_id: user.to_owned(),
            event_id: Uuid::from_u128(7),
            event_time: Timestamp::from_microsecond(1_800_000_000_123_456).unwrap(),
            event_type: "custom".to_owned(),
            event_name: "clicked".to_owned(),
            value: None,
            properties: None,
            experiment: None,
            variant: None,
            session_id: None,
        }
    }

    #[test]
    fn json_has_the_names_of_track_and_no_line_ends() {
        let event = Event {
            properties: Some("{\n\"a\":\r\n [1, \"\\n\"]}".to_owned()),
            experiment: Some("e".to_owned()),
            ..event("u")
        };
        let json = event.to_json().unwrap();
        assert_eq!(
            json,
            r#"{"user_id":"u","event_id":"00000000-0000-0000-0000-000000000007","timestamp":"2027-01-15T08:00:00.123456Z","event_type":"custom","event_name":"clicked","properties":{ "a":   [1, "\n"]},"experiment_id":"e"}"#
        );
        assert!(Event::from_json(&json.replace("event_name", "name")).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            user_id in ".{1,20}", event_name in ".{1,20}", value in proptest::option::of(proptest::num::f64::NORMAL),
            text in ".{0,20}", id in any::<u128>(), time in 946_684_800_000_000_i64..4_000_000_000_000_000,
            session_id in proptest::option::of(".{1,9}"),
        ) {
            let event = Event {
                event_id: Uuid::from_u128(id),
                event_time: Timestamp::from_microsecond(time).unwrap(),
                event_name,
                value,
                properties: Some(serde_json::json!({ "a": text }).to_string()),
                variant: Some("v".to_owned()),
                session_id,
                ..event(&user_id)
            };
            let json = event.to_json().unwrap();
            prop_assert!(!json.contains('\n'));
            prop_assert_eq!(Event::from_json(&json).unwrap(), event);
        }
    }
}

//! What an event must look like, and when two events are the same one.
//!
//! An event is identified by (workspace, user_id, event_id, event_time). Sending it again, whenever and from wherever,
//! must name the same four, so every way of leaving one of them out is given one meaning here.

pub mod json;

use uuid::Uuid;

use crate::error::{Code, Error};
use crate::key;

/// The longest user id, in bytes.
pub const MAX_USER_ID_BYTES: usize = 512;
/// The longest event name, in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// The longest session id, in bytes.
pub const MAX_SESSION_ID_BYTES: usize = 512;
/// The longest event type, in bytes.
pub const MAX_TYPE_BYTES: usize = 64;
/// The largest properties object, in bytes of JSON text.
pub const MAX_PROPERTIES_BYTES: usize = 32 * 1024;
/// The largest exponent of a number in properties, of either sign: more than a double has.
const MAX_EXPONENT: u32 = 400;
/// The type of event that says a user saw a variant.
pub const EXPOSURE: &str = "exposure";
/// Attributes of the context that every exposure records where they are known.
pub const DIMENSIONS: [&str; 3] = ["country", "platform", "device"];
/// The longest value of a dimension, in characters.
pub const MAX_DIMENSION_CHARS: usize = 256;
/// Nothing is dated before 2000-01-01, in microseconds since 1970.
pub const EARLIEST: i64 = 946_684_800_000_000;
/// How far ahead of us a client's clock may be, in microseconds: a day.
pub const MAX_AHEAD: i64 = 86_400_000_000;
/// The namespace in which an event id that is not a UUID becomes a UUIDv5.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x6f0c_1b1e_8f0d_5d43_9a52_7a1b_c0de_ab01);

/// An event as it was sent, for [`check`].
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// Who did it.
    pub user_id: &'a str,
    /// What sort of event: `exposure`, `conversion`, `purchase`, `custom`, …
    pub event_type: &'a str,
    /// What was done.
    pub event_name: &'a str,
    /// An amount, in whatever unit the metric means.
    pub value: Option<f64>,
    /// The properties as JSON text of an object.
    pub properties: Option<&'a str>,
    /// The experiment it belongs to, when only one.
    pub experiment: Option<&'a str>,
    /// The variant that was seen.
    pub variant: Option<&'a str>,
}

/// Which event it is, apart from its workspace and user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Unique per user and time.
    pub event_id: Uuid,
    /// Microseconds since 1970.
    pub event_time: i64,
}

/// Whether `text` can identify a user: 1 to 512 bytes without NUL.
#[inline]
pub fn is_user_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_USER_ID_BYTES && !text.as_bytes().contains(&0)
}

/// Refuses a user id that nobody can have.
///
/// # Errors
/// [`Code::InvalidUserId`].
pub fn check_user_id(text: &str) -> Result<(), Error> {
    if is_user_id(text) {
        return Ok(());
    }
    let what = if text.is_empty() {
        "user id is empty".to_owned()
    } else if text.len() > MAX_USER_ID_BYTES {
        format!("user id \"{}\" has {} bytes", excerpt(text), text.len())
    } else {
        format!("user id \"{}\" holds a NUL byte", excerpt(text))
    };
    Err(Error::new(
        Code::InvalidUserId,
        what,
        format!("send an id of 1 to {MAX_USER_ID_BYTES} bytes without NUL"),
    ))
}

/// Refuses a session id that cannot be stored.
///
/// # Errors
/// [`Code::InvalidEvent`].
pub fn check_session_id(text: &str) -> Result<(), Error> {
    if !text.is_empty() && text.len() <= MAX_SESSION_ID_BYTES && !text.contains('\0') {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidEvent,
        format!("session id \"{}\" is not acceptable", excerpt(text)),
        format!("send an id of 1 to {MAX_SESSION_ID_BYTES} bytes without NUL, or none"),
    ))
}

/// Checks everything about an event but its identity and whether what it names exists.
///
/// # Errors
/// [`Code::InvalidUserId`], [`Code::InvalidEvent`], [`Code::InvalidKey`], [`Code::VariantRequired`].
pub fn check(draft: &Draft<'_>) -> Result<(), Error> {
    check_user_id(draft.user_id)?;
    let invalid = |message: String, hint: String| Err(Error::new(Code::InvalidEvent, message, hint));
    let name = draft.event_name;
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains('\0') {
        return invalid(
            format!("event name \"{}\" is not acceptable", excerpt(name)),
            format!("use 1 to {MAX_NAME_BYTES} bytes without NUL"),
        );
    }
    let mut kind = draft.event_type.bytes();
    if !(kind.next().is_some_and(|first| first.is_ascii_lowercase())
        && kind.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && draft.event_type.len() <= MAX_TYPE_BYTES)
    {
        return invalid(
            format!("event type \"{}\" is not acceptable", excerpt(draft.event_type)),
            format!(
                "use lower-case letters, digits and \"_\", starting with a letter, at most {MAX_TYPE_BYTES} bytes"
            ),
        );
    }
    if let Some(value) = draft.value
        && !value.is_finite()
    {
        return invalid(
            format!("event value {value} is not a finite number"),
            "send a finite number or none".into(),
        );
    }
    if let Some(properties) = draft.properties {
        if properties.len() > MAX_PROPERTIES_BYTES {
            return invalid(
                format!("event properties have {} bytes", properties.len()),
                format!("send at most {MAX_PROPERTIES_BYTES} bytes of JSON"),
            );
        }
        // jsonb cannot hold a NUL, so such an event could be accepted but never stored.
        if !properties.trim_start().starts_with('{') || holds_escaped_nul(properties) {
            return invalid(
                "event properties are not a JSON object without NUL characters".into(),
                "send an object such as {\"country\": \"NZ\"}".into(),
            );
        }
        if let Some(exponent) = giant_exponent(properties) {
            return invalid(
                format!("event properties hold a number with the exponent {}", excerpt(exponent)),
                format!("send numbers with an exponent of at most {MAX_EXPONENT}, or texts"),
            );
        }
    }
    for (role, text) in [("experiment", draft.experiment), ("variant", draft.variant)] {
        if let Some(text) = text {
            key::check(role, text)?;
        }
    }
    if draft.event_type == EXPOSURE && (draft.experiment.is_none() || draft.variant.is_none()) {
        return Err(Error::new(
            Code::VariantRequired,
            format!("exposure of user \"{}\" names no experiment or no variant", excerpt(draft.user_id)),
            "name both, or let the assignment record the exposure: ab_expose in SQL, \"expose\": true over HTTP",
        ));
    }
    if draft.variant.is_some() && draft.experiment.is_none() {
        return invalid("event names a variant but no experiment".into(), "name the experiment too".into());
    }
    Ok(())
}

/// Which event this is, from what the sender said of it; `fresh` is a UUIDv7 made at `now` for a sender who said nothing.
///
/// # Errors
/// [`Code::EventTimeRequired`] when an id without a time is not a UUIDv7, [`Code::InvalidEventTime`],
/// [`Code::InvalidEventId`] when an id is empty or longer than 512 bytes.
pub fn identify(
    event_id: Option<&str>,
    event_time: Option<i64>,
    fresh: Uuid,
    now: i64,
) -> Result<Identity, Error> {
    let event_id = match event_id {
        None => fresh,
        Some(text) if text.is_empty() || text.len() > MAX_USER_ID_BYTES => {
            return Err(Error::new(
                Code::InvalidEventId,
                format!("event id \"{}\" has {} bytes", excerpt(text), text.len()),
                "send a UUID, another text of at most 512 bytes, or none",
            ));
        }
        Some(text) => Uuid::try_parse(text).unwrap_or_else(|_| Uuid::new_v5(&NAMESPACE, text.as_bytes())),
    };
    let event_time = match event_time {
        Some(time) => time,
        None => version_7_time(event_id).ok_or_else(|| {
            Error::new(
                Code::EventTimeRequired,
                format!("event id {event_id} is not a UUIDv7 and came without a time"),
                "send the event's time with it, so that a retry is the same event, or use a UUIDv7",
            )
        })?,
    };
    check_time(event_time, now)?;
    Ok(Identity { event_id, event_time })
}

/// Refuses a time before 2000 or more than a day after `now`.
///
/// # Errors
/// [`Code::InvalidEventTime`].
pub fn check_time(event_time: i64, now: i64) -> Result<(), Error> {
    if event_time >= EARLIEST && event_time <= now.saturating_add(MAX_AHEAD) {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidEventTime,
        format!(
            "event time is {}",
            if event_time < EARLIEST { "before the year 2000" } else { "in the future" }
        ),
        "send a time from the year 2000 on, at most a day ahead of now",
    ))
}

/// The time in a UUIDv7, in microseconds since 1970 and exact to the millisecond; `None` for other UUIDs.
pub fn version_7_time(id: Uuid) -> Option<i64> {
    if id.get_version_num() != 7 {
        return None;
    }
    Some((id.as_u128() >> 80) as i64 * 1_000)
}

/// The beginning of a text that may be long, to name it in an error.
pub fn excerpt(text: &str) -> String {
    const MAX_CHARACTERS: usize = 64;
    let mut shown: String = text.chars().take(MAX_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// The first exponent in JSON text beyond [`MAX_EXPONENT`]. jsonb holds such a number in a few bytes and writes it out with
/// all its zeros: a few thousand of them would be more text than a dump or a consumer of the publication can take.
fn giant_exponent(json: &str) -> Option<&str> {
    let mut is_text = false;
    let mut is_escaped = false;
    let mut before = b' ';
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'e' | b'E' if !is_text && before.is_ascii_digit() => {
                let signed = json[at + 1..].trim_start_matches(['+', '-']);
                let digits = &signed[..signed.bytes().take_while(u8::is_ascii_digit).count()];
                let exponent = digits.trim_start_matches('0');
                if exponent.len() > 3 || exponent.parse().is_ok_and(|exponent: u32| exponent > MAX_EXPONENT) {
                    return Some(digits);
                }
            }
            _ => {}
        }
        before = byte;
    }
    None
}

/// Whether JSON text holds the escape of a NUL: an odd number of backslashes before `u0000`.
fn holds_escaped_nul(json: &str) -> bool {
    json.match_indices("u0000")
        .any(|(at, _)| json[..at].bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    fn fresh() -> Uuid {
        Uuid::from_u128((((NOW / 1000) as u128) << 80) | (7 << 76) | (0b10 << 62) | 42)
    }

    fn draft() -> Draft<'static> {
        Draft {
            user_id: "u",
            event_type: "custom",
            event_name: "clicked",
            value: None,
            properties: None,
            experiment: None,
            variant: None,
        }
    }

    #[test]
    fn an_event_with_nothing_said_can_be_retried_by_its_id_alone() {
        let first = identify(None, None, fresh(), NOW + 999).unwrap();
        let again = identify(Some(&first.event_id.to_string()), None, Uuid::nil(), NOW + 5_000_000).unwrap();
        assert_eq!(first, again);
        assert_eq!(first.event_time, NOW);
    }

    #[test]
    fn other_ids_need_a_time() {
        assert_eq!(identify(Some("order-17"), None, fresh(), NOW).unwrap_err().code, Code::EventTimeRequired);
        let sent = identify(Some("order-17"), Some(NOW), fresh(), NOW).unwrap();
        assert_eq!(sent.event_id, Uuid::new_v5(&NAMESPACE, b"order-17"));
        assert_eq!(sent, identify(Some("order-17"), Some(NOW), Uuid::nil(), NOW + 1).unwrap());
        assert_eq!(identify(Some(""), Some(NOW), fresh(), NOW).unwrap_err().code, Code::InvalidEventId);
    }

    #[test]
    fn times_stay_between_2000_and_tomorrow() {
        let code = |time| identify(None, Some(time), fresh(), NOW).map(|_| ()).map_err(|error| error.code);
        assert_eq!(code(EARLIEST), Ok(()));
        assert_eq!(code(EARLIEST - 1), Err(Code::InvalidEventTime));
        assert_eq!(code(NOW + MAX_AHEAD), Ok(()));
        assert_eq!(code(NOW + MAX_AHEAD + 1), Err(Code::InvalidEventTime));
        assert_eq!(code(253_370_764_800_000_000), Err(Code::InvalidEventTime));
    }

    #[test]
    fn each_bad_field_is_named() {
        let code = |draft: Draft<'_>| check(&draft).map_err(|error| error.code);
        assert_eq!(code(draft()), Ok(()));
        let long = "x".repeat(513);
        assert_eq!(code(Draft { user_id: "", ..draft() }), Err(Code::InvalidUserId));
        assert_eq!(code(Draft { user_id: &long, ..draft() }), Err(Code::InvalidUserId));
        assert_eq!(code(Draft { user_id: "a\0", ..draft() }), Err(Code::InvalidUserId));
        assert_eq!(code(Draft { event_name: "", ..draft() }), Err(Code::InvalidEvent));
        assert_eq!(code(Draft { event_name: &long, ..draft() }), Err(Code::InvalidEvent));
        assert_eq!(code(Draft { event_type: "Purchase", ..draft() }), Err(Code::InvalidEvent));
        assert_eq!(code(Draft { value: Some(f64::NAN), ..draft() }), Err(Code::InvalidEvent));
        assert_eq!(code(Draft { value: Some(f64::INFINITY), ..draft() }), Err(Code::InvalidEvent));
        assert_eq!(code(Draft { properties: Some("[1]"), ..draft() }), Err(Code::InvalidEvent));
        assert_eq!(code(Draft { properties: Some(r#"{"a":"\u0000"}"#), ..draft() }), Err(Code::InvalidEvent));
        assert_eq!(code(Draft { properties: Some(r#"{"a":"\\u0000"}"#), ..draft() }), Ok(()));
        for giant in ["1e401", "-2.5E+131000", "1e-16000", "7e0099999999999999999999"] {
            let properties = format!(r#"{{"e": "\"", "n": [{giant}]}}"#);
            assert_eq!(
                code(Draft { properties: Some(&properties), ..draft() }),
                Err(Code::InvalidEvent),
                "{giant}"
            );
        }
        for small in
            ["1e400", "1E-0000308", "1e0", r#""1e999""#, r#""\\\"1e999""#, "true", r#""\\", "7e999": 1"#]
        {
            let properties = format!(r#"{{"n": {small}}}"#);
            assert_eq!(code(Draft { properties: Some(&properties), ..draft() }), Ok(()), "{small}");
        }
        assert_eq!(code(Draft { experiment: Some("a:b"), ..draft() }), Err(Code::InvalidKey));
        assert_eq!(code(Draft { variant: Some("a"), ..draft() }), Err(Code::InvalidEvent));
        assert_eq!(
            code(Draft { event_type: EXPOSURE, experiment: Some("e"), ..draft() }),
            Err(Code::VariantRequired)
        );
    }

    #[test]
    fn session_ids_are_bounded_texts() {
        assert_eq!(check_session_id("s"), Ok(()));
        for bad in ["", "a\0", &"x".repeat(513)] {
            assert_eq!(check_session_id(bad).unwrap_err().code, Code::InvalidEvent);
        }
    }

    #[test]
    fn excerpts_are_short_and_printable() {
        assert_eq!(excerpt("a\nb"), "a\\nb");
        assert_eq!(excerpt(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    }
}

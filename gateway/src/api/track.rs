//! `POST /api/v1/track` and `/api/v1/track/batch`: events in, answered when they are on disk.
//!
//! Whatever can be known to be wrong without the database is refused before it is queued, so that the queue holds only
//! events that the engine accepts; whether the experiment exists is the database's to say.

use std::borrow::Cow;
use std::sync::Arc;

use ab_core::event::{self, Draft, json};
use ab_core::{Code, Error};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Field, Shape, Text, json, json_body, optional, parse, required, respond};
use crate::Gateway;
use crate::clock::fresh_id;
use crate::enrichment::{Attributes, Enrichment, NotAnAddress, is_of_page};
use crate::event::Event;
use crate::ingest::Outcome;
use crate::metrics::Route;
use crate::problem::{HttpCode, Problem};
use crate::session::Sessions;

/// The largest properties with every other field at its longest.
const MAX_BODY: usize = 64 * 1024;
const MAX_BATCH_BODY: usize = 4 * 1024 * 1024;
/// More events than this in one request are refused together.
const MAX_EVENTS: usize = 100;
/// A sender's clock that is so little off is right, in microseconds; the way here alone may take as long.
const MIN_CORRECTION: i64 = 1_000_000;
/// And one that is more than a day off is nothing to reckon with.
const MAX_CORRECTION: i64 = 86_400_000_000;
/// What an event is when nothing else is said.
const DEFAULT_TYPE: &str = "custom";

const FIELDS: &[Field] = &[
    required("user_id", Shape::Text),
    required("event_name", Shape::Text),
    optional("event_type", Shape::Text),
    optional("experiment_id", Shape::Text),
    optional("variant_id", Shape::Text),
    optional("value", Shape::Number),
    optional("properties", Shape::Object),
    optional("timestamp", Shape::Text),
    optional("event_id", Shape::Text),
    optional("session_id", Shape::Text),
    optional("ip", Shape::Text),
    optional("user_agent", Shape::Text),
    optional("sent_at", Shape::Text),
];

const BATCH_FIELDS: &[Field] = &[required("events", Shape::List), optional("sent_at", Shape::Text)];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrackRequest<'a> {
    user_id: String,
    event_name: String,
    event_type: Option<String>,
    experiment_id: Option<String>,
    variant_id: Option<String>,
    /// Read by hand: the JSON parser's own reading of a number can be off in the last place.
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    timestamp: Option<String>,
    event_id: Option<String>,
    session_id: Option<String>,
    /// Looked up and forgotten.
    #[serde(borrow)]
    ip: Option<Text<'a>>,
    #[serde(borrow)]
    user_agent: Option<Text<'a>>,
    sent_at: Option<String>,
}

/// What all events of a request are read with.
pub(super) struct Reading<'a> {
    enrichment: &'a Enrichment,
    /// Where the visits are, of the users of a page.
    sessions: Option<&'a Sessions>,
    /// Of the request's sender.
    attributes: Attributes,
    /// Now by the database's clock.
    pub(super) now: i64,
    correction: Correction,
}

/// Where an event's correction by `sent_at` comes from.
///
/// It is the difference between two clocks and the time on the way, so it is another one whenever the same event is sent
/// again, however it is rounded: between two steps of any rounding lies a boundary. The time of an event is a part
/// of its identity, and corrected anew a retry would be another event. What has an id of its own to be known again by
/// therefore keeps the time that it came with. What has none is another event each time it is sent, corrected or not.
#[derive(Clone, Copy)]
enum Correction {
    /// The event is the request.
    OfEvent,
    /// The same for all events of a request, in microseconds.
    OfRequest(i64),
}

impl<'a> Reading<'a> {
    /// For the one event that a request is.
    fn one(gateway: &'a Gateway, parts: &Parts) -> Reading<'a> {
        Reading { correction: Correction::OfEvent, ..Reading::many(gateway, parts) }
    }

    /// For the events that a request holds.
    pub(super) fn many(gateway: &'a Gateway, parts: &Parts) -> Reading<'a> {
        Reading {
            correction: Correction::OfRequest(0),
            enrichment: &gateway.enrichment,
            sessions: is_of_page(parts).then_some(&gateway.sessions),
            attributes: gateway.enrichment.of_request(parts),
            now: gateway.clock.now(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchRequest<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    sent_at: Option<String>,
}

#[derive(Serialize)]
struct TrackAnswer {
    success: bool,
    event_id: String,
}

#[derive(Serialize)]
struct BatchAnswer {
    success: bool,
    /// How many events are stored.
    count: usize,
    errors: Vec<ItemError>,
}

#[derive(Serialize)]
struct ItemError {
    /// Which event, counted from 0.
    index: usize,
    code: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Answers `POST /api/v1/track`.
pub async fn track(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::Track);
    let (parts, body) = request.into_parts();
    let answer = async {
        // Before the body is waited for: it was sent at the beginning of that.
        let reading = Reading::one(&gateway, &parts);
        let body = json_body(&gateway, &parts, body, MAX_BODY).await?;
        let event = read_event(&body, &reading).inspect_err(|problem| refuse(&gateway, problem))?;
        let event_id = event.event_id.to_string();
        let ticket = gateway.ingest.submit(vec![event], gateway.write_patience)?;
        match ticket.outcomes().await.pop() {
            Some(Outcome::Failed(problem)) => Err(problem),
            _ => Ok(json(StatusCode::ACCEPTED, &TrackAnswer { success: true, event_id })),
        }
    };
    respond(answer.await, &parts, watch)
}

/// Answers `POST /api/v1/track/batch`.
pub async fn track_batch(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::TrackBatch);
    let (parts, body) = request.into_parts();
    let answer = async {
        let reading = Reading::many(&gateway, &parts);
        let body = json_body(&gateway, &parts, body, MAX_BATCH_BODY).await?;
        let refused = |problem: &Problem| refuse(&gateway, problem);
        let Batch { events, places, mut errors } = read_batch(&body, reading, refused)?;
        let mut count = 0;
        let mut unavailable = None;
        if !events.is_empty() {
            let ticket = gateway.ingest.submit(events, gateway.write_patience)?;
            for (outcome, index) in ticket.outcomes().await.into_iter().zip(places) {
                match outcome {
                    Outcome::Stored | Outcome::Duplicate | Outcome::Spooled => count += 1,
                    Outcome::Failed(problem) => {
                        errors.push(item_error(index, &problem));
                        if problem.is_temporary() {
                            unavailable = Some(problem);
                        }
                    }
                }
            }
        }
        match unavailable {
            // Nothing is stored, so the request as a whole is what to send again.
            Some(problem) if count == 0 => Err(problem),
            _ => {
                errors.sort_by_key(|error| error.index);
                Ok(json(StatusCode::ACCEPTED, &BatchAnswer { success: errors.is_empty(), count, errors }))
            }
        }
    };
    respond(answer.await, &parts, watch)
}

/// Counts an event that does not get as far as the queue.
pub(super) fn refuse(gateway: &Gateway, problem: &Problem) {
    gateway.metrics.events.receive(1);
    gateway.metrics.events.reject(1, problem);
}

fn item_error(index: usize, problem: &Problem) -> ItemError {
    ItemError {
        index,
        code: problem.code().to_owned(),
        detail: problem.detail().to_owned(),
        hint: problem.advice().map(str::to_owned),
    }
}

struct Batch {
    /// What can be queued.
    events: Vec<Event>,
    /// Where in the request each of them was.
    places: Vec<usize>,
    /// What is wrong with the others.
    errors: Vec<ItemError>,
}

/// `refused` hears of each event that is not good.
fn read_batch(body: &[u8], mut reading: Reading<'_>, refused: impl Fn(&Problem)) -> Result<Batch, Problem> {
    let request: BatchRequest<'_> = parse(body, BATCH_FIELDS)?;
    if request.events.len() > MAX_EVENTS {
        return Err(Problem::new(
            HttpCode::BatchTooLarge,
            format!("the batch holds {} events, at most {MAX_EVENTS} are taken", request.events.len()),
        )
        .hint("split the batch"));
    }
    if request.events.is_empty() {
        return Err(Problem::new(HttpCode::InvalidRequest, "field \"events\" holds no event"));
    }
    reading.correction = Correction::OfRequest(correction(request.sent_at.as_deref(), reading.now)?);
    let mut batch = Batch { events: Vec::new(), places: Vec::new(), errors: Vec::new() };
    for (index, event) in request.events.iter().enumerate() {
        match read_event(event.get().as_bytes(), &reading) {
            Ok(event) => {
                batch.events.push(event);
                batch.places.push(index);
            }
            Err(problem) => {
                refused(&problem);
                batch.errors.push(item_error(index, &problem));
            }
        }
    }
    Ok(batch)
}

/// An event ready to be queued, or what is wrong with it.
pub(super) fn read_event(body: &[u8], reading: &Reading<'_>) -> Result<Event, Problem> {
    let now = reading.now;
    let request: TrackRequest<'_> = parse(body, FIELDS)?;
    let event_type = request.event_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned());
    let properties = request.properties.map(RawValue::get);
    let draft = Draft {
        user_id: &request.user_id,
        event_type: &event_type,
        event_name: &request.event_name,
        value: None,
        properties,
        experiment: request.experiment_id.as_deref(),
        variant: request.variant_id.as_deref(),
    };
    event::check(&draft)?;
    if let Some(session_id) = &request.session_id {
        event::check_session_id(session_id)?;
    }
    let value = value(request.value, properties)?;
    event::check(&Draft { value, properties: None, ..draft })?;
    let correction = match reading.correction {
        Correction::OfEvent => correction(request.sent_at.as_deref(), now)?,
        Correction::OfRequest(_) if request.sent_at.is_some() => {
            return Err(Problem::new(HttpCode::InvalidRequest, "field \"sent_at\" is not an event's")
                .hint("in a batch it stands beside \"events\"; in a stream there is none"));
        }
        Correction::OfRequest(correction) => correction,
    };
    let mut event_time = request.timestamp.as_deref().map(json::read_time).transpose()?;
    if request.event_id.is_none() {
        event_time = event_time.map(|time| time.saturating_add(correction));
    }
    let identity = event::identify(request.event_id.as_deref(), event_time, fresh_id(now), now)?;
    let event_time = Timestamp::from_microsecond(identity.event_time)
        .map_err(|_| Error::new(Code::InvalidEventTime, "event time is out of range", "send another time"))?;
    let ip = request.ip.as_ref().map(|text| &*text.0);
    let user_agent = request.user_agent.as_ref().map(|text| &*text.0);
    let attributes = reading.enrichment.of_event(ip, user_agent).map_err(|NotAnAddress| {
        Problem::new(HttpCode::InvalidRequest, "field \"ip\" is not an IP address")
            .hint("send the address alone, or leave it out")
    })?;
    let properties = attributes.or(&reading.attributes).add_to(properties);
    let visit = || Some(reading.sessions?.of(&request.user_id, now).to_string());
    let session_id = request.session_id.or_else(visit);
    Ok(Event {
        event_id: identity.event_id,
        event_time,
        event_name: request.event_name,
        value,
        properties: properties.map(Cow::into_owned),
        experiment: request.experiment_id,
        variant: request.variant_id,
        session_id,
        user_id: request.user_id,
        event_type,
    })
}

/// What to add to the times of a sender at whose clock it was `sent_at` when it was `now` here, in microseconds.
fn correction(sent_at: Option<&str>, now: i64) -> Result<i64, Problem> {
    let Some(sent_at) = sent_at else { return Ok(0) };
    let difference = now.saturating_sub(json::read_time(sent_at)?);
    if difference.abs() > MAX_CORRECTION {
        let way = if difference > 0 { "behind" } else { "ahead of" };
        return Err(Error::new(
            Code::InvalidEventTime,
            format!("sent_at \"{}\" is more than a day {way} the gateway's clock", event::excerpt(sent_at)),
            "set the sender's clock, and take sent_at from it anew each time the request is sent",
        )
        .into());
    }
    Ok(if difference.abs() > MIN_CORRECTION { difference } else { 0 })
}

/// The event's amount: its own field, or else a number in `properties.value`.
fn value(field: Option<&RawValue>, properties: Option<&str>) -> Result<Option<f64>, Problem> {
    if let Some(field) = field {
        return match json::number(field.get()) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::new(HttpCode::InvalidRequest, "field \"value\" must be a number")),
        };
    }
    let Some(properties) = properties else { return Ok(None) };
    json::value_property(properties).map_err(|error| {
        Problem::new(HttpCode::MalformedJson, format!("field \"properties\" cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrichment::TrustedProxies;

    const NOW: i64 = 1_800_000_000_000_000;

    fn with_reading<T>(read: impl FnOnce(Reading<'_>) -> T) -> T {
        let enrichment = Enrichment::new(TrustedProxies::default(), None).unwrap();
        read(Reading {
            enrichment: &enrichment,
            sessions: None,
            attributes: Attributes::default(),
            now: NOW,
            correction: Correction::OfEvent,
        })
    }

    fn batch(json: &[u8]) -> Result<Batch, Problem> {
        with_reading(|reading| read_batch(json, reading, |_| ()))
    }

    fn read(json: &str) -> Result<Event, Problem> {
        with_reading(|reading| read_event(json.as_bytes(), &reading))
    }

    fn refused(json: &str) -> (String, String) {
        let problem = read(json).unwrap_err();
        (problem.code().to_owned(), problem.detail().to_owned())
    }

    #[test]
    fn the_smallest_event_is_complete() {
        let event = read(r#"{"user_id":"u","event_name":"clicked"}"#).unwrap();
        assert_eq!(event.event_type, "custom");
        assert_eq!(event.event_time.as_microsecond(), NOW);
        assert_eq!(event.event_id.get_version_num(), 7);
        assert_eq!(event.value, None);
    }

    #[test]
    fn the_value_is_the_field_or_else_the_property() {
        let value =
            |rest: &str| read(&format!(r#"{{"user_id":"u","event_name":"n",{rest}}}"#)).unwrap().value;
        assert_eq!(value(r#""value":1.5,"properties":{"value":2}"#), Some(1.5));
        assert_eq!(value(r#""value":null,"properties":{"value":2}"#), Some(2.0));
        assert_eq!(value(r#""properties":{"value":"2"}"#), None);
        assert_eq!(value(r#""properties":{"a":{"value":2}}"#), None);
        assert_eq!(value(r#""properties":{"value":2,"value":3,"\u0076alue":4}"#), Some(4.0));
        assert_eq!(value(r#""value":-0.1"#), Some(-0.1));
        // Rounds up in a parser that is not exact.
        assert_eq!(value(r#""value":9007199254740993.0"#), Some(9_007_199_254_740_992.0));
    }

    #[test]
    fn times_are_rfc_3339_with_an_offset() {
        assert_eq!(json::read_time("2026-01-31T12:00:00+02:00").unwrap(), 1_769_853_600_000_000);
        assert_eq!(json::read_time("2026-01-31T10:00:00.1234565Z").unwrap(), 1_769_853_600_123_456);
        for bad in
            ["2026-01-31T12:00:00", "2026-01-31", "yesterday", "", "1769853600", "2026-13-01T00:00:00Z"]
        {
            assert_eq!(json::read_time(bad).unwrap_err().code, Code::InvalidEventTime, "{bad}");
        }
    }

    #[test]
    fn a_wrong_clock_is_corrected_by_sent_at() {
        // The sender's clock is at 2027-01-15T07:00:00Z when it is eight here.
        let time = |fields: &str| {
            let event = read(&format!(r#"{{"user_id":"u","event_name":"n",{fields}}}"#));
            event.map(|event| event.event_time.to_string()).map_err(|problem| problem.code().to_owned())
        };
        let of = |timestamp: &str, sent_at: &str| {
            time(&format!(r#""timestamp":"{timestamp}","sent_at":"{sent_at}""#))
        };
        let ok = |time: &str| Ok(time.to_owned());
        assert_eq!(of("2027-01-15T06:59:58Z", "2027-01-15T07:00:00Z"), ok("2027-01-15T07:59:58Z"));
        assert_eq!(of("2027-01-16T07:00:00Z", "2027-01-16T08:00:00Z"), ok("2027-01-15T07:00:00Z"));
        // As long as the way here may have taken.
        assert_eq!(of("2027-01-15T07:59:58Z", "2027-01-15T07:59:59Z"), ok("2027-01-15T07:59:58Z"));
        assert_eq!(of("2027-01-15T07:59:58Z", "2027-01-15T08:00:01Z"), ok("2027-01-15T07:59:58Z"));
        assert_eq!(
            of("2027-01-15T07:00:00Z", "2027-01-16T08:00:00.000001Z"),
            Err("invalid_event_time".into())
        );
        assert_eq!(of("2027-01-15T07:00:00Z", "yesterday"), Err("invalid_event_time".into()));
        // What can be sent again must be the same event then.
        assert_eq!(
            time(
                r#""timestamp":"2027-01-15T06:00:00Z","sent_at":"2027-01-15T07:00:00Z","event_id":"order-1""#
            ),
            ok("2027-01-15T06:00:00Z")
        );
        // It is the gateway's own time already.
        assert_eq!(time(r#""sent_at":"2027-01-15T07:00:00Z""#), ok("2027-01-15T08:00:00Z"));
        let events = r#"{"user_id":"u","event_name":"n","timestamp":"2027-01-15T06:59:58Z"}"#;
        let of_batch =
            batch(format!(r#"{{"sent_at":"2027-01-15T07:00:00Z","events":[{events}]}}"#).as_bytes());
        assert_eq!(of_batch.unwrap().events[0].event_time.to_string(), "2027-01-15T07:59:58Z");
        let inside = br#"{"events":[{"user_id":"u","event_name":"n","sent_at":"2027-01-15T07:00:00Z"}]}"#;
        assert_eq!(batch(inside).unwrap().errors[0].code, "invalid_request");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (r#"{"event_name":"n"}"#, "invalid_request", "field \"user_id\" is missing"),
            (
                r#"{"user_id":1,"event_name":"n"}"#,
                "invalid_request",
                "field \"user_id\" must be a text, not a number",
            ),
            (
                r#"{"user_id":"u","event_name":null}"#,
                "invalid_request",
                "field \"event_name\" must be a text, not null",
            ),
            (
                r#"{"user_id":"u","event_name":"n","userid":1}"#,
                "invalid_request",
                "field \"userid\" is unknown",
            ),
            (
                r#"{"user_id":"u","event_name":"n","value":"1"}"#,
                "invalid_request",
                "field \"value\" must be a number",
            ),
            (
                r#"{"user_id":"u","event_name":"n","timestamp":5}"#,
                "invalid_request",
                "field \"timestamp\" must be a text, not a number",
            ),
            (
                r#"{"user_id":"u","event_name":"n","ip":"1.2.3.4.5"}"#,
                "invalid_request",
                "field \"ip\" is not an IP address",
            ),
            (r#"[1]"#, "invalid_request", "a JSON object is needed, not a list"),
            (r#"{"user_id":"","event_name":"n"}"#, "invalid_user_id", "user id is empty"),
            (
                r#"{"user_id":"u","event_name":"n","value":1e999}"#,
                "invalid_event",
                "event value inf is not a finite number",
            ),
            (
                r#"{"user_id":"u","event_name":"n","properties":[]}"#,
                "invalid_event",
                "event properties are not a JSON object without NUL characters",
            ),
            (
                r#"{"user_id":"u","event_name":"n","timestamp":"9999-01-01T00:00:00Z"}"#,
                "invalid_event_time",
                "event time is in the future",
            ),
            (
                r#"{"user_id":"u","event_name":"n","event_type":"exposure"}"#,
                "variant_required",
                "exposure of user \"u\" names no experiment or no variant",
            ),
            (r#"{"user_id":"u","event_name":"n","event_id":"order-1"}"#, "event_time_required", ""),
        ];
        for (json, code, detail) in cases {
            let (found_code, found_detail) = refused(json);
            assert_eq!(found_code, code, "{json}");
            assert!(found_detail.starts_with(detail), "{json}: {found_detail}");
        }
        for json in
            ["", "{", "nonsense", "{\"user_id\":\"u\u{1}\"}", "{\"user_id\":\"u\",\"event_name\":\"n\"} x"]
        {
            assert_eq!(refused(json).0, "malformed_json", "{json}");
        }
    }

    #[test]
    fn a_batch_keeps_the_good_and_names_the_bad() {
        let Batch { events, places, errors } = batch(
            br#"{"events":[{"user_id":"a","event_name":"n"},{"user_id":2,"event_name":"n"},7,{"user_id":"b","event_name":"n"}]}"#,
        )
        .unwrap();
        assert_eq!(events.iter().map(|event| event.user_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(places, [0, 3]);
        assert_eq!(errors.iter().map(|error| error.index).collect::<Vec<_>>(), [1, 2]);
        let many = format!("{{\"events\":[{}]}}", vec!["{}"; 101].join(","));
        assert_eq!(batch(many.as_bytes()).map(|_| ()).unwrap_err().code(), "batch_too_large");
        assert_eq!(batch(br#"{"events":[]}"#).map(|_| ()).unwrap_err().code(), "invalid_request");
        assert_eq!(batch(br#"{"events":{}}"#).map(|_| ()).unwrap_err().code(), "invalid_request");
    }
}

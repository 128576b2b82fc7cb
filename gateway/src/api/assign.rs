//! `POST /api/v1/assign`: which variants a user gets, from memory.
//!
//! The path that must be fast: one parse that borrows from the body, one look at the snapshot, and answers that
//! are copied into place. Only `expose` makes it wait, for the commit of the exposures.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ab_core::event;
use ab_core::experiment::{Decision, Reason};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Field, Shape, json_body, json_bytes, optional, parse, required, respond};
use crate::Gateway;
use crate::ingest::{Event, Outcome};
use crate::problem::{HttpCode, Problem};
use crate::snapshot::{Entry, write_not_found};

/// The longest request: a thousand keys and a generous context.
const MAX_BODY: usize = 256 * 1024;
/// More than this in one request is a mistake.
const MAX_EXPERIMENTS: usize = 1_000;
/// An answer does not wait longer than this for its exposures: showing the right variant comes first.
const EXPOSURE_PATIENCE: Duration = Duration::from_secs(1);
/// Tells whether the exposures asked for are recorded.
const EXPOSURE_HEADER: HeaderName = HeaderName::from_static("ab-exposure");

const FIELDS: &[Field] = &[
    required("user_id", Shape::Text),
    optional("experiments", Shape::Texts),
    optional("context", Shape::Object),
    optional("expose", Shape::Truth),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssignRequest<'a> {
    /// Must be there, but may be null, as in SQL: then nobody can be assigned.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    experiments: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    expose: Option<bool>,
}

/// Borrowed unless it holds an escape. (`Cow` by itself is only ever borrowed as a direct field.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Answers `POST /api/v1/assign`.
pub async fn assign(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async {
        let json = json_body(&parts, body, MAX_BODY).await?;
        let Answered { json, exposures } = answer(&gateway, &json)?;
        let mut response = json_bytes(StatusCode::OK, json);
        if let Some(exposures) = exposures {
            response.headers_mut().insert(EXPOSURE_HEADER, record(&gateway, exposures).await);
        }
        Ok(response)
    };
    respond(answer.await, &parts)
}

struct Answered {
    json: Vec<u8>,
    /// What to record, when that was asked for.
    exposures: Option<Vec<Event>>,
}

fn answer(gateway: &Gateway, json: &[u8]) -> Result<Answered, Problem> {
    let request: AssignRequest<'_> = parse(json, FIELDS)?;
    if request.context.is_some_and(|context| !context.get().starts_with('{')) {
        return Err(Problem::new(HttpCode::InvalidRequest, "field \"context\" must be an object"));
    }
    let snapshot = gateway.snapshot.load();
    let Some(snapshot) = snapshot.as_deref() else {
        return Err(Problem::new(HttpCode::NotReady, "no configuration has been loaded yet"));
    };
    let now = gateway.clock.now();
    // An empty id is nobody's, so nobody is assigned by it.
    let user_id = request.user_id.as_ref().map_or("", |text| &text.0);
    let mut exposures = request.expose.unwrap_or_default().then(Vec::new);
    let mut answers = Answers::new(request.experiments.as_ref().map_or(64, Vec::len));
    let mut expose = |entry: &Entry, decision: &Decision<'_>| {
        if let (Some(exposures), Some(variant)) = (&mut exposures, decision.variant) {
            exposures.push(exposure(user_id, entry.experiment.key(), &variant.key, now));
        }
    };
    match &request.experiments {
        Some(keys) if keys.len() > MAX_EXPERIMENTS => {
            return Err(Problem::new(
                HttpCode::TooManyExperiments,
                format!(
                    "{} experiments are asked for, at most {MAX_EXPERIMENTS} are answered at once",
                    keys.len()
                ),
            ));
        }
        Some(keys) => {
            for Text(key) in keys {
                match snapshot.find(key) {
                    Some(entry) => {
                        let decision = entry.experiment.decide(user_id, now);
                        entry.write_answer(&decision, answers.next());
                        expose(entry, &decision);
                    }
                    None => write_not_found(key, answers.next()),
                }
            }
        }
        None => {
            for entry in snapshot.all() {
                let decision = entry.experiment.decide(user_id, now);
                if decision.reason != Reason::NotRunning {
                    entry.write_answer(&decision, answers.next());
                    expose(entry, &decision);
                }
            }
        }
    }
    Ok(Answered { json: answers.finish(), exposures })
}

/// The response as it is written.
struct Answers {
    json: Vec<u8>,
    any: bool,
}

impl Answers {
    fn new(expected: usize) -> Answers {
        let mut json = Vec::with_capacity(32 + expected * 160);
        json.extend_from_slice(b"{\"assignments\":[");
        Answers { json, any: false }
    }

    /// Where the next answer goes.
    fn next(&mut self) -> &mut Vec<u8> {
        if std::mem::replace(&mut self.any, true) {
            self.json.push(b',');
        }
        &mut self.json
    }

    fn finish(mut self) -> Vec<u8> {
        self.json.extend_from_slice(b"]}");
        self.json
    }
}

fn exposure(user_id: &str, experiment: &str, variant: &str, now: i64) -> Event {
    Event {
        user_id: user_id.to_owned(),
        event_id: super::track::fresh_id(now),
        event_time: Timestamp::from_microsecond(now).unwrap_or(Timestamp::UNIX_EPOCH),
        event_type: event::EXPOSURE.to_owned(),
        event_name: event::EXPOSURE.to_owned(),
        value: None,
        properties: None,
        experiment: Some(experiment.to_owned()),
        variant: Some(variant.to_owned()),
        session_id: None,
    }
}

/// Waits for the exposures' commit; the word for the header.
///
/// `failed` means that not all of them are known to be recorded (some may be, a little later). Asking again is safe: the
/// first exposure counts.
async fn record(gateway: &Gateway, mut exposures: Vec<Event>) -> HeaderValue {
    // An experiment asked for twice is still seen once.
    exposures.sort_by(|left, right| left.experiment.cmp(&right.experiment));
    exposures.dedup_by(|left, right| left.experiment == right.experiment);
    if exposures.is_empty() {
        return HeaderValue::from_static("none");
    }
    // While the database is known to be away nobody is kept waiting; the exposures still are queued for its return.
    let connected = gateway.connected.load(Ordering::Relaxed);
    let patience = if connected { EXPOSURE_PATIENCE } else { Duration::ZERO };
    let recorded = match gateway.ingest.submit(exposures, gateway.write_patience) {
        Ok(ticket) => {
            ticket.outcomes_within(patience).await.iter().all(|outcome| *outcome == Outcome::Stored)
        }
        Err(_) => false,
    };
    HeaderValue::from_static(if recorded { "recorded" } else { "failed" })
}

//! `POST /api/v1/assign`: which variants a user gets, from memory.
//!
//! The path that must be fast: one parse that borrows from the body, one look at the snapshot, and answers that
//! are copied into place. Only `expose` makes it wait, for the commit of the exposures, and the few users of a sticky
//! experiment whose stored variant has to be read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ab_core::decision::{Decision, Evaluation, Subject};
use ab_core::event;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Answers, Decided, Field, LazyContext, Shape, Text, add_key, check_context, confirmed, decided_response,
    json_body, optional, parse, required, respond,
};
use crate::Gateway;
use crate::ingest::{Event, Outcome};
use crate::problem::{HttpCode, Problem};
use crate::snapshot::{Entry, View, write_not_found};
use crate::sticky::Known;

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

/// Answers `POST /api/v1/assign`.
pub async fn assign(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async {
        let json = json_body(&parts, body, MAX_BODY).await?;
        let decided = confirmed(&gateway, |known| decide(&gateway, &json, known)).await?;
        let mut response = decided_response(decided.json, &decided.unconfirmed);
        if let Some(exposures) = decided.exposures {
            response.headers_mut().insert(EXPOSURE_HEADER, record(&gateway, exposures).await);
        }
        Ok(response)
    };
    respond(answer.await, &parts)
}

fn decide(gateway: &Gateway, json: &[u8], known: &Known) -> Result<Decided, Problem> {
    let request: AssignRequest<'_> = parse(json, FIELDS)?;
    check_context(request.context)?;
    let snapshot = gateway.snapshot.load();
    let Some(snapshot) = snapshot.as_deref() else {
        return Err(Problem::new(HttpCode::NotReady, "no configuration has been loaded yet"));
    };
    let context = LazyContext::new(request.context);
    // An empty id is nobody's, so nobody is assigned by it.
    let user_id = request.user_id.as_ref().map_or("", |text| &text.0);
    let view = View::new(snapshot, known);
    let mut deciding = Deciding {
        subject: Subject { user_id, context: &context, now: gateway.clock.now() },
        view: &view,
        exposures: request.expose.unwrap_or_default().then(Vec::new),
        unconfirmed: String::new(),
    };
    let mut answers =
        Answers::new(b"{\"assignments\":[", request.experiments.as_ref().map_or(64, Vec::len) * 160);
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
                    Some(entry) => entry.write_answer(deciding.decide(entry), answers.next()),
                    None => write_not_found(key, answers.next()),
                }
            }
        }
        None => {
            for entry in snapshot.live() {
                let decision = deciding.decide(entry);
                if decision.variant.is_some() {
                    entry.write_answer(decision, answers.next());
                }
            }
        }
    }
    let Deciding { exposures, unconfirmed, .. } = deciding;
    Ok(Decided { json: answers.finish(), exposures, unconfirmed, open: view.open() })
}

/// The decisions of one request.
struct Deciding<'a> {
    subject: Subject<'a>,
    view: &'a View<'a>,
    exposures: Option<Vec<Event>>,
    unconfirmed: String,
}

impl Deciding<'_> {
    /// Decides, and notes what showing it amounts to: for who is held out, that they met the holdout.
    fn decide(&mut self, entry: &Entry) -> Decision {
        let evaluation = Evaluation::new(self.subject, self.view);
        let decision = entry.experiment.decide(&evaluation);
        if evaluation.is_unconfirmed() {
            add_key(&mut self.unconfirmed, entry.experiment.key());
        }
        if let Some(exposures) = &mut self.exposures
            && let Some((unit, met)) = entry.experiment.exposures(&evaluation, decision)
        {
            let now = self.subject.now;
            exposures.extend(met.into_iter().map(|met| exposure(&unit, met.experiment, met.variant, now)));
        }
        decision
    }
}

fn exposure(unit: &str, experiment: String, variant: String, now: i64) -> Event {
    Event {
        user_id: unit.to_owned(),
        event_id: super::track::fresh_id(now),
        event_time: Timestamp::from_microsecond(now).unwrap_or(Timestamp::UNIX_EPOCH),
        event_type: event::EXPOSURE.to_owned(),
        event_name: event::EXPOSURE.to_owned(),
        value: None,
        properties: None,
        experiment: Some(experiment),
        variant: Some(variant),
        session_id: None,
    }
}

/// Waits for the exposures' commit; the word for the header.
///
/// `failed` means that not all of them are known to be recorded (some may be, a little later). Asking again is safe: the
/// first exposure counts.
async fn record(gateway: &Gateway, mut exposures: Vec<Event>) -> HeaderValue {
    // An experiment asked for twice is still seen once, and so is a holdout that binds several.
    exposures
        .sort_by(|left, right| (&left.experiment, &left.user_id).cmp(&(&right.experiment, &right.user_id)));
    exposures.dedup_by(|left, right| left.experiment == right.experiment && left.user_id == right.user_id);
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

//! `POST /api/v1/assign`: which variants a user gets, from memory.
//!
//! The path that must be fast: one parse that borrows from the body, one look at the snapshot, and answers that
//! are copied into place. Only `expose` makes it wait, for the commit of the exposures, and the few users of a sticky
//! experiment whose stored variant has to be read.

use std::borrow::Cow;
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
use crate::clock::fresh_id;
use crate::event::Event;
use crate::ingest::Outcome;
use crate::metrics::Route;
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
    let watch = gateway.metrics.watch(Route::Assign);
    let (parts, body) = request.into_parts();
    let answer = async {
        let json = json_body(&gateway, &parts, body, MAX_BODY).await?;
        let decided = confirmed(&gateway, |known| decide(&gateway, &json, known)).await?;
        gateway.metrics.assignments.inc_by(decided.count as u64);
        let mut response = decided_response(decided.json, &decided.unconfirmed);
        if let Some(mut exposures) = decided.exposures {
            let enrichment = gateway.enrichment.of_request(&parts);
            for exposure in &mut exposures {
                exposure.properties = enrichment.add_to(exposure.properties.as_deref()).map(Cow::into_owned);
            }
            response.headers_mut().insert(EXPOSURE_HEADER, record(&gateway, exposures).await);
        }
        Ok(response)
    };
    respond(answer.await, &parts, watch)
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
        subject: Subject::new(user_id, &context, gateway.clock.now()),
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
    let count = answers.count;
    Ok(Decided { json: answers.finish(), exposures, count, unconfirmed, open: view.open() })
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
            let properties = entry.experiment.dimensions(self.subject.context);
            exposures.extend(
                met.into_iter()
                    .map(|met| exposure(&unit, met.experiment, met.variant, properties.clone(), now)),
            );
        }
        decision
    }
}

fn exposure(unit: &str, experiment: String, variant: String, properties: Option<String>, now: i64) -> Event {
    Event {
        user_id: unit.to_owned(),
        event_id: fresh_id(now),
        event_time: Timestamp::from_microsecond(now).unwrap_or(Timestamp::UNIX_EPOCH),
        event_type: event::EXPOSURE.to_owned(),
        event_name: event::EXPOSURE.to_owned(),
        value: None,
        properties,
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
    // While the database is known to be away nobody is kept waiting; the exposures still are queued for its return, or
    // spooled.
    let connected = gateway.connected.load(Ordering::Relaxed);
    let patience = if connected { EXPOSURE_PATIENCE } else { Duration::ZERO };
    let recorded = match gateway.ingest.submit(exposures, gateway.write_patience) {
        Ok(ticket) => ticket.outcomes_within(patience).await.iter().all(Outcome::is_stored),
        Err(_) => false,
    };
    HeaderValue::from_static(if recorded { "recorded" } else { "failed" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::UNCONFIRMED_HEADER;
    use super::super::tests::{gateway, post, read};
    use super::*;

    /// An experiment in which everybody gets variant a.
    fn experiment(key: &str, id: i64, more: &str) -> String {
        format!(
            r#"{{"id":{id},"workspace":"default","key":"{key}","salt":"{key}","status":"running","traffic":1000000,
            "variants":[{{"key":"a"}},{{"key":"b"}}],"ranges":[{{"from":0,"to":1000000,"variant":0}}]{more}}}"#
        )
    }

    fn holdout(arm: usize) -> String {
        format!(
            r#"{{"id":9,"workspace":"default","key":"h","kind":"holdout","salt":"h","status":"running","traffic":1000000,
            "variants":[{{"key":"holdout"}},{{"key":"programme"}}],"ranges":[{{"from":0,"to":1000000,"variant":{arm}}}]}}"#
        )
    }

    fn exposed(gateway: &Gateway, json: &str) -> Vec<(String, String, String)> {
        let decided = decide(gateway, json.as_bytes(), &Known::default())
            .unwrap_or_else(|problem| panic!("{problem:?}"));
        let text = |text: Option<String>| text.unwrap_or_default();
        decided
            .exposures
            .unwrap_or_default()
            .into_iter()
            .map(|event| (event.user_id, text(event.experiment), text(event.variant)))
            .collect()
    }

    #[tokio::test]
    async fn the_context_decides_and_only_variants_are_listed_unasked() {
        let here = r#","targeting":{"attribute":"geo.country","operator":"equals","values":["NZ"]}"#;
        let gateway = gateway(&[
            ("experiment", "here", &experiment("here", 1, here)),
            ("experiment", "everywhere", &experiment("everywhere", 2, "")),
            ("experiment", "h", &holdout(1)),
        ]);
        let answer =
            async |body: &str| read(assign(State(Arc::clone(&gateway)), post("/", body)).await).await;
        let given = |key: &str| json!({"experiment_id": key, "variant_id": "a", "variant_name": "a", "config": null, "reason": "split"});
        let refused = |key: &str, reason: &str| json!({"experiment_id": key, "variant_id": null, "variant_name": null, "config": null, "reason": reason});
        assert_eq!(
            answer(r#"{"user_id":"u","context":{"geo":{"country":"NZ"}}}"#).await,
            json!({"assignments": [given("everywhere"), given("here")]})
        );
        assert_eq!(
            answer(r#"{"user_id":"u","context":{"geo":null}}"#).await,
            json!({"assignments": [given("everywhere")]})
        );
        assert_eq!(answer(r#"{"user_id":null}"#).await, json!({"assignments": []}));
        assert_eq!(
            answer(r#"{"user_id":"u","experiments":["here","no"]}"#).await,
            json!({"assignments": [refused("here", "not_targeted"), refused("no", "not_found")]})
        );
        assert_eq!(answer(r#"{"user_id":"u","context":[1]}"#).await["code"], "invalid_request");
    }

    #[tokio::test]
    async fn who_is_held_out_meets_the_holdout() {
        let [bound, forced, unit] = [
            r#","holdouts":["h"]"#,
            r#","overrides":[{"user_id":"u","variant":1}]"#,
            r#","unit":"account.id""#,
        ];
        for (arm, expected) in
            [(0, vec![("u", "h", "holdout")]), (1, vec![("u", "e", "a"), ("u", "h", "programme")])]
        {
            let gateway = gateway(&[
                ("experiment", "e", &experiment("e", 1, bound)),
                ("experiment", "forced", &experiment("forced", 2, forced)),
                ("experiment", "by_account", &experiment("by_account", 3, unit)),
                ("experiment", "h", &holdout(arm)),
            ]);
            let mut expected: Vec<_> = expected
                .iter()
                .map(|(user, key, variant)| (user.to_string(), key.to_string(), variant.to_string()))
                .collect();
            // Asked for or not.
            for experiments in [r#","experiments":["e","forced","by_account"]"#, ""] {
                assert_eq!(
                    exposed(&gateway, &format!(r#"{{"user_id":"u","expose":true{experiments}}}"#)),
                    expected
                );
            }
            expected.insert(0, ("7".into(), "by_account".into(), "a".into()));
            let found = exposed(&gateway, r#"{"user_id":"u","expose":true,"context":{"account":{"id":7}}}"#);
            assert_eq!(found, expected);
            assert!(exposed(&gateway, r#"{"user_id":"u"}"#).is_empty());
        }
    }

    #[tokio::test]
    async fn without_the_database_the_hash_answers_and_says_so() {
        let sticky = r#","sticky":{"contested":[[0,1000000]],"traffic":1000000}"#;
        let gateway = gateway(&[
            ("experiment", "s", &experiment("s", 1, sticky)),
            ("experiment", "plain", &experiment("plain", 2, "")),
        ]);
        let request = || post("/", r#"{"user_id":"u","experiments":["plain","s"]}"#);
        let response = assign(State(Arc::clone(&gateway)), request()).await;
        assert_eq!(response.headers()[UNCONFIRMED_HEADER], "s");
        assert_eq!(read(response).await["assignments"][1]["variant_id"], "a");
        let mut known = Known::default();
        known.put(1, "u", Some("b".into()));
        let decided = decide(&gateway, br#"{"user_id":"u","experiments":["s"]}"#, &known);
        let decided = decided.unwrap_or_else(|problem| panic!("{problem:?}"));
        assert!(decided.open.is_none() && decided.unconfirmed.is_empty());
        let answer: serde_json::Value = serde_json::from_slice(&decided.json).unwrap();
        assert_eq!(answer["assignments"][0]["variant_id"], "b");
        assert_eq!(answer["assignments"][0]["reason"], "sticky");
    }
}

//! `/api/v1/flags` and `/api/v1/flags/{key}`: the values of feature flags for a user, from memory.
//!
//! As `POST` with a JSON body and as `GET` with the same in the query, for whatever can only fetch a URL.

use std::sync::Arc;

use ab_core::decision::{Evaluation, Subject};
use ab_core::flag::{Flag, FlagReason};
use ab_core::{Code, Error, event};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Answers, Decided, Field, LazyContext, Shape, Text, answer_confirmed, check_context, json_body, optional,
    parse, required, respond,
};
use crate::Gateway;
use crate::metrics::Route;
use crate::problem::{HttpCode, Problem};
use crate::snapshot::{Snapshot, View};
use crate::sticky::Known;

/// The longest request: a thousand keys and a generous context.
const MAX_BODY: usize = 256 * 1024;
/// More than this in one request is a mistake.
const MAX_FLAGS: usize = 1_000;

const FIELDS: &[Field] =
    &[required("user_id", Shape::Text), optional("flags", Shape::Texts), optional("context", Shape::Object)];
const FIELDS_OF_ONE: &[Field] = &[required("user_id", Shape::Text), optional("context", Shape::Object)];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlagsRequest<'a> {
    /// Must be there, but may be null, as in SQL: then percentages and splits give nothing.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    flags: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlagRequest<'a> {
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
}

/// Whom flags are evaluated for.
struct User<'a> {
    id: Option<&'a str>,
    context: Option<&'a RawValue>,
}

type PathParameters = Result<RawPathParams, RawPathParamsRejection>;

/// Answers `POST /api/v1/flags`.
pub async fn flags(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::Flags);
    let (parts, body) = request.into_parts();
    let answer = async {
        let json = json_body(&gateway, &parts, body, MAX_BODY).await?;
        answer_confirmed(&gateway, |known| {
            let request: FlagsRequest<'_> = parse(&json, FIELDS)?;
            let user = User { id: request.user_id.as_ref().map(|text| &*text.0), context: request.context };
            evaluate_all(&gateway, &user, request.flags.as_deref(), known)
        })
        .await
    };
    respond(answer.await, &parts, watch)
}

/// Answers `POST /api/v1/flags/{key}`.
pub async fn flag(
    State(gateway): State<Arc<Gateway>>,
    parameters: PathParameters,
    request: Request,
) -> Response {
    let watch = gateway.metrics.watch(Route::Flag);
    let (parts, body) = request.into_parts();
    let answer = async {
        let key = key(&parts, &parameters)?;
        let json = json_body(&gateway, &parts, body, MAX_BODY).await?;
        answer_confirmed(&gateway, |known| {
            let request: FlagRequest<'_> = parse(&json, FIELDS_OF_ONE)?;
            let user = User { id: request.user_id.as_ref().map(|text| &*text.0), context: request.context };
            evaluate_one(&gateway, &user, key, known)
        })
        .await
    };
    respond(answer.await, &parts, watch)
}

/// Answers `GET /api/v1/flags`.
pub async fn fetch_flags(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::Flags);
    let (parts, _) = request.into_parts();
    let answer = async {
        let asked = Asked::of(&parts)?;
        answer_confirmed(&gateway, |known| evaluate_all(&gateway, &asked.user(), None, known)).await
    };
    respond(answer.await.map(unstored), &parts, watch)
}

/// Answers `GET /api/v1/flags/{key}`.
pub async fn fetch_flag(
    State(gateway): State<Arc<Gateway>>,
    parameters: PathParameters,
    request: Request,
) -> Response {
    let watch = gateway.metrics.watch(Route::Flag);
    let (parts, _) = request.into_parts();
    let answer = async {
        let key = key(&parts, &parameters)?;
        let asked = Asked::of(&parts)?;
        answer_confirmed(&gateway, |known| evaluate_one(&gateway, &asked.user(), key, known)).await
    };
    respond(answer.await.map(unstored), &parts, watch)
}

/// The key in the path; one that cannot be read names nothing.
fn key<'a>(parts: &'a Parts, parameters: &'a PathParameters) -> Result<&'a str, Problem> {
    match parameters {
        Ok(parameters) => Ok(parameters.iter().next().map_or("", |(_, value)| value)),
        Err(_) => Err(not_found(parts.uri.path().rsplit('/').next().unwrap_or_default())),
    }
}

fn not_found(flag: &str) -> Problem {
    Error::new(
        Code::FlagNotFound,
        format!("flag \"{}\" does not exist", event::excerpt(flag)),
        "check the key; flags are found in the workspace that the gateway serves",
    )
    .into()
}

/// A kill switch must not wait for a cache on the way to forget what it has seen.
fn unstored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a query says.
#[derive(Debug)]
struct Asked {
    user_id: String,
    context: Option<Box<RawValue>>,
}

impl Asked {
    fn of(parts: &Parts) -> Result<Asked, Problem> {
        let invalid = |detail: String| {
            Problem::new(HttpCode::InvalidRequest, detail)
                .hint("the parameters are user_id and context, a JSON object, each once and percent-encoded")
        };
        let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| invalid("the query cannot be read".to_owned()))?;
        let (mut user_id, mut context) = (None, None);
        for (name, value) in parameters {
            let place = match name.as_str() {
                "user_id" => &mut user_id,
                "context" => &mut context,
                _ => {
                    return Err(invalid(format!("parameter \"{}\" is unknown", event::excerpt(&name))));
                }
            };
            if place.replace(value).is_some() {
                return Err(invalid(format!("parameter \"{name}\" is given twice")));
            }
        }
        let context = match context {
            Some(json) => Some(RawValue::from_string(json).map_err(|error| {
                Problem::new(
                    HttpCode::MalformedJson,
                    format!("parameter \"context\" is not JSON that can be read: {error}"),
                )
            })?),
            None => None,
        };
        let user_id = user_id.ok_or_else(|| invalid("parameter \"user_id\" is missing".to_owned()))?;
        Ok(Asked { user_id, context })
    }

    fn user(&self) -> User<'_> {
        User { id: Some(&self.user_id), context: self.context.as_deref() }
    }
}

/// Evaluates the flags with these keys, or all there are.
fn evaluate_all(
    gateway: &Gateway,
    user: &User<'_>,
    keys: Option<&[Text<'_>]>,
    known: &Known,
) -> Result<Decided, Problem> {
    check_context(user.context)?;
    if let Some(keys) = keys
        && keys.len() > MAX_FLAGS
    {
        return Err(Problem::new(
            HttpCode::TooManyFlags,
            format!("{} flags are asked for, at most {MAX_FLAGS} are answered at once", keys.len()),
        ));
    }
    with_snapshot(gateway, user, known, |snapshot, evaluating| {
        let mut answers = Answers::new(b"{\"flags\":[", keys.map_or(64, <[_]>::len) * 64);
        match keys {
            None => {
                for flag in snapshot.flags() {
                    evaluating.write(flag, answers.next());
                }
            }
            Some(keys) => {
                for Text(key) in keys {
                    match snapshot.find_flag(key) {
                        Some(flag) => evaluating.write(flag, answers.next()),
                        None => write(key, "null", FlagReason::NotFound, answers.next()),
                    }
                }
            }
        }
        Ok(answers.finish())
    })
}

fn evaluate_one(gateway: &Gateway, user: &User<'_>, key: &str, known: &Known) -> Result<Decided, Problem> {
    check_context(user.context)?;
    with_snapshot(gateway, user, known, |snapshot, evaluating| {
        let flag = snapshot.find_flag(key).ok_or_else(|| not_found(key))?;
        let mut json = Vec::with_capacity(128);
        evaluating.write(flag, &mut json);
        Ok(json)
    })
}

fn with_snapshot(
    gateway: &Gateway,
    user: &User<'_>,
    known: &Known,
    evaluate: impl FnOnce(&Snapshot, &mut Evaluating<'_>) -> Result<Vec<u8>, Problem>,
) -> Result<Decided, Problem> {
    let snapshot = gateway.snapshot.load();
    let Some(snapshot) = snapshot.as_deref() else {
        return Err(Problem::new(HttpCode::NotReady, "no configuration has been loaded yet"));
    };
    let context = LazyContext::new(user.context);
    // An empty id is nobody's.
    let subject = Subject::new(user.id.unwrap_or_default(), &context, gateway.clock.now());
    let view = View::new(snapshot, known);
    let mut evaluating = Evaluating { subject, view: &view, count: 0, unconfirmed: String::new() };
    let json = evaluate(snapshot, &mut evaluating)?;
    let Evaluating { unconfirmed, count, .. } = evaluating;
    Ok(Decided { json, exposures: None, count, unconfirmed, open: view.open() })
}

struct Evaluating<'a> {
    subject: Subject<'a>,
    view: &'a View<'a>,
    count: usize,
    unconfirmed: String,
}

impl Evaluating<'_> {
    fn write(&mut self, flag: &Flag, out: &mut Vec<u8>) {
        self.count += 1;
        let evaluation = Evaluation::new(self.subject, self.view);
        let decision = flag.evaluate(&evaluation);
        if evaluation.is_unconfirmed() {
            super::add_key(&mut self.unconfirmed, flag.key());
        }
        write(flag.key(), decision.value.get(), decision.reason, out);
    }
}

fn write(key: &str, value: &str, reason: FlagReason, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"flag\":");
    // A text can always be written to memory.
    let _ = serde_json::to_writer(&mut *out, key);
    out.extend_from_slice(b",\"value\":");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b",\"reason\":\"");
    out.extend_from_slice(reason.as_str().as_bytes());
    out.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::{Value, json};

    use super::super::tests::{gateway, post, read};
    use super::*;

    const LOCAL: &str = r#"{"workspace":"default","key":"local","salt":"local","kind":"json","default":{"x":1.0},"off":null,
        "rules":[{"when":{"attribute":"country","operator":"equals","values":["NZ"]},"value":["\u00e9"]}],"layouts":[null]}"#;
    const KILLED: &str = r#"{"workspace":"default","key":"killed","salt":"killed","kind":"boolean","default":true,"off":false,
        "rules":[],"layouts":[],"killed":true}"#;

    fn flags_gateway() -> Arc<Gateway> {
        gateway(&[("flag", "local", LOCAL), ("flag", "killed", KILLED)])
    }

    fn get(query: &str) -> Request {
        axum::http::Request::get(format!("/api/v1/flags{query}")).body(Body::empty()).unwrap()
    }

    fn one(flag: &str, value: Value, reason: &str) -> Value {
        json!({"flag": flag, "value": value, "reason": reason})
    }

    #[tokio::test]
    async fn asked_for_or_all_in_order_of_their_keys() {
        let gateway = flags_gateway();
        let answer = async |body: &str| read(flags(State(Arc::clone(&gateway)), post("/", body)).await).await;
        let killed = one("killed", json!(false), "killed");
        let default = one("local", json!({"x": 1.0}), "default");
        assert_eq!(answer(r#"{"user_id":null}"#).await, json!({"flags": [killed, default]}));
        assert_eq!(
            answer(r#"{"user_id":"u","flags":["local","no \"such\""],"context":{"country":"NZ"}}"#).await,
            json!({"flags": [one("local", json!(["é"]), "rule"), one("no \"such\"", Value::Null, "not_found")]})
        );
        assert_eq!(answer(r#"{"user_id":"u","flags":[]}"#).await, json!({"flags": []}));
        let many = format!(r#"{{"user_id":"u","flags":[{}]}}"#, vec![r#""local""#; MAX_FLAGS + 1].join(","));
        for (body, code) in [
            (r#"{"flags":["local"]}"#, "invalid_request"),
            (r#"{"user_id":"u","context":"NZ"}"#, "invalid_request"),
            (r#"{"user_id":"u","flag":"local"}"#, "invalid_request"),
            ("{", "malformed_json"),
            (many.as_str(), "too_many_flags"),
        ] {
            assert_eq!(answer(body).await["code"], code, "{body}");
        }
    }

    #[tokio::test]
    async fn a_query_says_the_same_as_a_body() {
        let gateway = flags_gateway();
        let answer = async |query: &str| fetch_flags(State(Arc::clone(&gateway)), get(query)).await;
        let response = answer("?context=%7B%22country%22%3A+%22NZ%22%7D&user_id=u%2B1").await;
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(read(response).await["flags"][1], one("local", json!(["é"]), "rule"));
        for (query, code) in [
            ("", "invalid_request"),
            ("?user_id=u&user_id=v", "invalid_request"),
            ("?user_id=u&flag=local", "invalid_request"),
            ("?user_id=u&context=7", "invalid_request"),
            ("?user_id=u&context=%7B", "malformed_json"),
        ] {
            assert_eq!(read(answer(query).await).await["code"], code, "{query}");
        }
        let (parts, _) = get("?user_id=u%2B1").into_parts();
        assert_eq!(Asked::of(&parts).map(|asked| asked.user_id).unwrap(), "u+1");
    }

    #[tokio::test]
    async fn one_flag_is_one_object_or_a_problem() {
        let gateway = flags_gateway();
        let evaluate =
            |key| evaluate_one(&gateway, &User { id: Some("u"), context: None }, key, &Known::default());
        let Ok(decided) = evaluate("killed") else { panic!("there is such a flag") };
        assert_eq!(
            serde_json::from_slice::<Value>(&decided.json).unwrap(),
            one("killed", json!(false), "killed")
        );
        assert_eq!(
            evaluate("nowhere").err().map(|problem| problem.code().to_owned()).as_deref(),
            Some("flag_not_found")
        );
    }
}

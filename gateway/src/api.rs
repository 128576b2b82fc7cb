//! The HTTP surface: which path leads where, and how a body is read.
//!
//! There are no middleware layers: what every route needs is a function here that the routes call, so that the path of an
//! assignment holds nothing it does not use.

pub mod assign;
pub mod flags;
pub mod health;
pub mod metrics;
pub mod results;
pub mod stream;
pub mod track;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use ab_core::context::{Attribute, Context, JsonContext};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::BytesMut;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use crate::Gateway;
use crate::event::Event;
use crate::metrics::{Route, Watch};
use crate::problem::{self, HttpCode, Problem};
use crate::sticky::{self, Known, Open};

/// Names what would have been answered by stored variants, which could not be read.
const UNCONFIRMED_HEADER: HeaderName = HeaderName::from_static("ab-unconfirmed");
/// The longest list in that header; clients and proxies refuse heads of 8 KiB and more.
const MAX_UNCONFIRMED: usize = 4 * 1024;

/// Of a body that is too long, so much is read and thrown away.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// Every route there is.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route(Route::Assign.path(), post(assign::assign))
        .route(Route::Flags.path(), get(flags::fetch_flags).post(flags::flags))
        .route(Route::Flag.path(), get(flags::fetch_flag).post(flags::flag))
        .route(Route::Track.path(), post(track::track))
        .route(Route::TrackBatch.path(), post(track::track_batch))
        .route(Route::TrackStream.path(), post(stream::track_stream))
        .route(Route::Results.path(), get(results::results))
        .route(Route::Live.path(), get(health::live))
        .route(Route::Ready.path(), get(health::ready))
        .route(Route::Metrics.path(), get(metrics::metrics))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(gateway)
}

async fn no_route(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::None);
    let (parts, _) = request.into_parts();
    let detail = format!("there is nothing at {}", parts.uri.path());
    respond(Err(Problem::new(HttpCode::RouteNotFound, detail)), &parts, watch)
}

async fn wrong_method(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::None);
    let (parts, _) = request.into_parts();
    let detail = format!("{} does not answer {}", parts.uri.path(), parts.method);
    let problem = Problem::new(HttpCode::MethodNotAllowed, detail)
        .hint("the methods it answers are in the Allow header");
    respond(Err(problem), &parts, watch)
}

/// The answer, or the problem of the request that `parts` came from; the request is counted as answered.
fn respond(answer: Result<Response, Problem>, parts: &Parts, watch: Watch<'_>) -> Response {
    let response = answer.unwrap_or_else(|problem| problem.at(parts.uri.path()).into_response());
    watch.answered(response.status());
    response
}

/// A response of JSON that is already written.
fn json_bytes(status: StatusCode, json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // The answers are structs of texts and numbers; there is nothing in them that could not be written.
    json_bytes(status, serde_json::to_vec(value).unwrap_or_default())
}

/// The whole body, if it is said to be JSON and no longer than `limit`.
///
/// A sender may be slow, but not silent for longer than the gateway's `body_patience`.
async fn json_body(gateway: &Gateway, parts: &Parts, mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !is_json(content_type) {
        return Err(Problem::new(HttpCode::UnsupportedMediaType, "the body is not said to be JSON")
            .hint("send the header Content-Type: application/json"));
    }
    let too_large = || {
        Problem::new(HttpCode::BodyTooLarge, format!("the body is longer than {limit} bytes"))
            .hint("send less at once")
    };
    let announced =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        discard(gateway, body).await;
        return Err(too_large());
    }
    let mut limited = Limited::new(&mut body, limit);
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    loop {
        let frame = match timeout(gateway.body_patience, limited.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => {
                discard(gateway, body).await;
                return Err(too_large());
            }
            Ok(Some(Err(_))) => {
                return Err(Problem::new(HttpCode::InvalidRequest, "the body ended before it was complete"));
            }
            Err(_) => return Err(problem::too_slow(gateway.body_patience)),
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.is_empty() && whole.is_empty() {
            // Most bodies come in one piece, which is then handed on as it is.
            first = data;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// Reads what is left of a refused body, if that is not too much.
///
/// A connection that is closed with something unread is reset, and its sender may never see why.
async fn discard(gateway: &Gateway, mut body: Body) {
    let mut left = MAX_DISCARDED;
    while let Ok(Some(Ok(frame))) = timeout(gateway.body_patience, body.frame()).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

fn is_json(content_type: &[u8]) -> bool {
    const JSON: &[u8] = b"application/json";
    if content_type == JSON {
        return true;
    }
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let subtype_json = essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json");
    essence.eq_ignore_ascii_case(JSON) || subtype_json
}

/// A text borrowed from the body unless it holds an escape. (`Cow` by itself is only ever borrowed as a direct field.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A context that is taken apart when a rule first looks at it; most requests meet none that does.
struct LazyContext<'a> {
    json: Option<&'a RawValue>,
    parsed: OnceCell<JsonContext<'a>>,
}

impl<'a> LazyContext<'a> {
    fn new(json: Option<&'a RawValue>) -> LazyContext<'a> {
        LazyContext { json, parsed: OnceCell::new() }
    }
}

impl Context for LazyContext<'_> {
    fn attribute(&self, path: &[Box<str>]) -> Option<Attribute<'_>> {
        let json = self.json?;
        self.parsed.get_or_init(|| JsonContext::new(json)).attribute(path)
    }
}

/// A context is an object, or there is none.
fn check_context(context: Option<&RawValue>) -> Result<(), Problem> {
    match context {
        Some(context) if !context.get().starts_with('{') => {
            Err(Problem::new(HttpCode::InvalidRequest, "field \"context\" must be an object"))
        }
        _ => Ok(()),
    }
}

/// What was decided for a request, and what that left open.
struct Decided {
    json: Vec<u8>,
    /// What to record, when that was asked for.
    exposures: Option<Vec<Event>>,
    /// How many experiments or flags it is about.
    count: usize,
    /// The keys that were answered without what is stored about them.
    unconfirmed: String,
    open: Option<Open>,
}

/// Appends a key to a list of them.
fn add_key(list: &mut String, key: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(key);
}

/// Decides, asks the database for what that left open, and then decides again.
///
/// The answer to one question can lead to another, where one experiment requires another; hence a loop. When the
/// database does not answer, the hash's answer stands.
async fn confirmed(
    gateway: &Gateway,
    decide: impl Fn(&Known) -> Result<Decided, Problem>,
) -> Result<Decided, Problem> {
    let mut known = Known::default();
    let mut decided = decide(&known)?;
    let mut deadline = None;
    while let Some(open) = decided.open.take() {
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + sticky::PATIENCE);
        if !sticky::ask(gateway, open, &mut known, deadline).await {
            break;
        }
        decided = decide(&known)?;
    }
    Ok(decided)
}

/// The same for flags, as a response.
async fn answer_confirmed(
    gateway: &Gateway,
    decide: impl Fn(&Known) -> Result<Decided, Problem>,
) -> Result<Response, Problem> {
    let decided = confirmed(gateway, decide).await?;
    gateway.metrics.evaluations.inc_by(decided.count as u64);
    Ok(decided_response(decided.json, &decided.unconfirmed))
}

fn decided_response(json: Vec<u8>, unconfirmed: &str) -> Response {
    let mut response = json_bytes(StatusCode::OK, json);
    if !unconfirmed.is_empty() {
        let keys = if unconfirmed.len() > MAX_UNCONFIRMED { "*" } else { unconfirmed };
        // Keys consist of letters, digits and a few signs.
        if let Ok(keys) = HeaderValue::from_str(keys) {
            response.headers_mut().insert(UNCONFIRMED_HEADER, keys);
        }
    }
    response
}

/// A list of answers as it is written.
struct Answers {
    json: Vec<u8>,
    count: usize,
}

impl Answers {
    /// A list that begins with `opening`, and may get as long as `expected`.
    fn new(opening: &[u8], expected: usize) -> Answers {
        let mut json = Vec::with_capacity(32 + expected);
        json.extend_from_slice(opening);
        Answers { json, count: 0 }
    }

    /// Where the next answer goes.
    fn next(&mut self) -> &mut Vec<u8> {
        if self.count > 0 {
            self.json.push(b',');
        }
        self.count += 1;
        &mut self.json
    }

    fn finish(mut self) -> Vec<u8> {
        self.json.extend_from_slice(b"]}");
        self.json
    }
}

/// What a field of a request may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Object,
    Number,
    Truth,
    List,
    Texts,
}

/// A field of a request, to say what is wrong with one that cannot be read.
struct Field {
    name: &'static str,
    shape: Shape,
    required: bool,
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true }
}

const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false }
}

/// Reads a request from JSON.
///
/// # Errors
/// [`HttpCode::MalformedJson`], or [`HttpCode::InvalidRequest`] naming the field that is wrong.
fn parse<'a, T: Deserialize<'a>>(json: &'a [u8], fields: &[Field]) -> Result<T, Problem> {
    serde_json::from_slice(json).map_err(|error| diagnose(json, &error, fields))
}

/// What is wrong with `json`; the parser was fast and knows only where it stopped, so look again.
fn diagnose(json: &[u8], error: &serde_json::Error, fields: &[Field]) -> Problem {
    let invalid = |detail: String| Problem::new(HttpCode::InvalidRequest, detail);
    let malformed = |error: &serde_json::Error| {
        Problem::new(HttpCode::MalformedJson, format!("the JSON cannot be read: {error}"))
    };
    if error.classify() != Category::Data {
        return malformed(error);
    }
    let object = match serde_json::from_slice::<Value>(json) {
        Ok(Value::Object(object)) => object,
        Ok(other) => return invalid(format!("a JSON object is needed, not {}", a(&other))),
        Err(error) => return malformed(&error),
    };
    let names = || fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = object.keys().find(|key| !fields.iter().any(|field| field.name == key.as_str())) {
        let unknown = ab_core::event::excerpt(unknown);
        return invalid(format!("field \"{unknown}\" is unknown"))
            .hint(format!("the fields are {}", names()));
    }
    for field in fields {
        match object.get(field.name) {
            None | Some(Value::Null) if !field.required => {}
            None => return invalid(format!("field \"{}\" is missing", field.name)),
            Some(value) => {
                if let Some(mismatch) = mismatch(field.shape, value) {
                    return invalid(format!("field \"{}\" {mismatch}", field.name));
                }
            }
        }
    }
    // Such as a field given twice.
    invalid(error.to_string())
}

fn mismatch(shape: Shape, value: &Value) -> Option<String> {
    let (fits, wanted) = match shape {
        Shape::Text => (value.is_string(), "a text"),
        Shape::Object => (value.is_object(), "an object"),
        Shape::Number => (value.is_number(), "a number"),
        Shape::Truth => (value.is_boolean(), "true or false"),
        Shape::List => (value.is_array(), "a list"),
        Shape::Texts => {
            if let Some(other) =
                value.as_array().and_then(|list| list.iter().find(|element| !element.is_string()))
            {
                return Some(format!("must be a list of texts, but holds {}", a(other)));
            }
            (value.is_array(), "a list of texts")
        }
    };
    (!fits).then(|| format!("must be {wanted}, not {}", a(value)))
}

fn a(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::configuration::Configuration;
    use crate::snapshot::{Change, Snapshot};

    /// A gateway that has loaded these documents from a database that it cannot reach any more.
    pub(super) fn gateway(documents: &[(&str, &str, &str)]) -> Arc<Gateway> {
        let url = "postgresql://nobody@127.0.0.1:1/nowhere";
        let configuration = Configuration::parse_from(["ab-gateway", "--database-url", url]);
        let (gateway, _writers) = Gateway::new(&configuration).unwrap();
        let mut snapshot = Snapshot::empty(1);
        for (kind, key, document) in documents {
            snapshot.apply(Change { kind, key, document: Some(document) }, None);
        }
        gateway.snapshot.store(Some(Arc::new(snapshot)));
        gateway
    }

    pub(super) async fn read(response: Response) -> Value {
        let body = axum::body::to_bytes(response.into_body(), 1_000_000).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    pub(super) fn post(path: &str, body: &str) -> Request {
        axum::http::Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap()
    }

    #[test]
    fn json_is_recognised_by_its_type() {
        for good in
            ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/x+json"]
        {
            assert!(is_json(good.as_bytes()), "{good}");
        }
        for bad in ["", "text/plain", "application/jsonp", "application/x-www-form-urlencoded", "+json"] {
            assert!(!is_json(bad.as_bytes()), "{bad}");
        }
    }
}

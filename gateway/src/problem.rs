//! Every answer that is not a success, in the one form of RFC 9457.
//!
//! The codes of the engine keep their names; the few that only HTTP can meet are [`HttpCode`]. Whatever comes from the
//! database is translated here and nowhere else: what a caller did wrong is said, what went wrong inside is logged and
//! answered in general words.

use std::borrow::Cow;
use std::time::Duration;

use ab_core::{Code, Error, Kind};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio_postgres::error::{DbError, SqlState};

/// Failures that exist over HTTP only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpCode {
    /// The body is not JSON.
    MalformedJson,
    /// The body is JSON of another shape than the request has.
    InvalidRequest,
    /// More events than one request may carry.
    BatchTooLarge,
    /// More experiments than one request may ask for.
    TooManyExperiments,
    /// More flags than one request may ask for.
    TooManyFlags,
    /// The body is longer than this route takes.
    BodyTooLarge,
    /// The body is not said to be JSON.
    UnsupportedMediaType,
    /// The body did not come, or not fast enough.
    RequestTimeout,
    /// No route has this path.
    RouteNotFound,
    /// The path exists, but not for this method.
    MethodNotAllowed,
    /// More waits to be written than may wait.
    QueueFull,
    /// The gateway is shutting down.
    ShuttingDown,
    /// No configuration has been loaded yet.
    NotReady,
    /// The database could not be reached, or not in time.
    DatabaseUnavailable,
    /// Something is wrong on this side; the log says what.
    Internal,
}

impl HttpCode {
    /// The name by which users meet this failure.
    pub const fn as_str(self) -> &'static str {
        match self {
            HttpCode::MalformedJson => "malformed_json",
            HttpCode::InvalidRequest => "invalid_request",
            HttpCode::BatchTooLarge => "batch_too_large",
            HttpCode::TooManyExperiments => "too_many_experiments",
            HttpCode::TooManyFlags => "too_many_flags",
            HttpCode::BodyTooLarge => "body_too_large",
            HttpCode::UnsupportedMediaType => "unsupported_media_type",
            HttpCode::RequestTimeout => "request_timeout",
            HttpCode::RouteNotFound => "route_not_found",
            HttpCode::MethodNotAllowed => "method_not_allowed",
            HttpCode::QueueFull => "queue_full",
            HttpCode::ShuttingDown => "shutting_down",
            HttpCode::NotReady => "not_ready",
            HttpCode::DatabaseUnavailable => "database_unavailable",
            HttpCode::Internal => "internal",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            HttpCode::MalformedJson
            | HttpCode::InvalidRequest
            | HttpCode::BatchTooLarge
            | HttpCode::TooManyExperiments
            | HttpCode::TooManyFlags => StatusCode::BAD_REQUEST,
            HttpCode::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            HttpCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            HttpCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            HttpCode::RouteNotFound => StatusCode::NOT_FOUND,
            HttpCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            HttpCode::QueueFull => StatusCode::TOO_MANY_REQUESTS,
            HttpCode::ShuttingDown | HttpCode::NotReady | HttpCode::DatabaseUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            HttpCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whole seconds after which asking again may help.
    const fn retry_after(self) -> Option<&'static str> {
        match self {
            HttpCode::QueueFull | HttpCode::ShuttingDown | HttpCode::NotReady => Some("1"),
            HttpCode::DatabaseUnavailable => Some("5"),
            _ => None,
        }
    }
}

/// A failure on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
    hint: Option<String>,
    instance: Option<String>,
    retry_after: Option<&'static str>,
}

impl Problem {
    /// A failure that only HTTP knows.
    pub fn new(code: HttpCode, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            status: code.status(),
            code: Cow::Borrowed(code.as_str()),
            detail: detail.into(),
            hint: None,
            instance: None,
            retry_after: code.retry_after(),
        }
    }

    /// The same failure with advice on what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, said to be of the request for `path`.
    pub fn at(mut self, path: &str) -> Problem {
        self.instance = Some(path.to_owned());
        self
    }

    /// The stable name.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The same if this build knows it, else one word for all others.
    pub fn known_code(&self) -> &'static str {
        match self.code {
            Cow::Borrowed(code) => code,
            Cow::Owned(_) => "other",
        }
    }

    /// What is wrong, in words.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What to do about it, if anything is known to help.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.retry_after.is_some()
    }

    /// What the engine's `code` and `message` mean over HTTP, wherever they were raised.
    ///
    /// A code that this build does not know comes from a newer extension, about something that was sent.
    pub fn named(code: &str, message: &str) -> Problem {
        let Some(known) = Code::parse(code) else {
            return Problem {
                code: Cow::Owned(code.to_owned()),
                ..Problem::new(HttpCode::InvalidRequest, message.to_owned())
            };
        };
        Problem {
            status: status(known.kind()),
            code: Cow::Borrowed(known.as_str()),
            detail: Cow::Owned(message.to_owned()),
            hint: None,
            instance: None,
            retry_after: None,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::named(error.code.as_str(), &error.message).hint(error.hint)
    }
}

const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidArgument | Kind::InvalidTime => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Exists | Kind::WrongState => StatusCode::CONFLICT,
        Kind::CorruptConfiguration => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a failed statement calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The database is away, busy or shutting down: the same statement may succeed later.
    Temporary,
    /// What was sent cannot be accepted.
    Refused(Problem),
    /// A rule that somebody gave the tables stands against it, which no sender can know.
    Violation(Problem),
    /// The statement met a defect: of the data, of the extension or of this program. Splitting a batch tells which.
    Unexpected,
    /// The set-up is wrong: a missing function, a missing right. No part of a batch would fare better.
    Misconfigured,
}

impl Failure {
    /// What to answer a caller who asked for just this.
    pub fn problem(self) -> Problem {
        match self {
            Failure::Refused(problem) | Failure::Violation(problem) => problem,
            Failure::Temporary => unavailable(),
            Failure::Unexpected | Failure::Misconfigured => internal(),
        }
    }
}

/// The database is away or did not answer in time.
pub fn unavailable() -> Problem {
    Problem::new(HttpCode::DatabaseUnavailable, "the database cannot be reached at the moment")
        .hint("send the request again later; an event with the same event_id and timestamp counts once")
}

/// The caller has sent nothing of a body for so long.
pub fn too_slow(patience: Duration) -> Problem {
    let detail = format!("nothing of the body came for {} seconds", patience.as_secs());
    Problem::new(HttpCode::RequestTimeout, detail)
}

/// The gateway will not live to see the end of this.
pub fn stopping() -> Problem {
    Problem::new(HttpCode::ShuttingDown, "the gateway is shutting down before it has read everything")
}

/// Something that is not the caller's fault and not for their eyes.
pub fn internal() -> Problem {
    Problem::new(HttpCode::Internal, "the request could not be answered; the gateway's log says why")
}

/// Sorts a failure of the driver or the server.
pub fn failure(error: &tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(error) => database_failure(error),
        // Without a word from the server the connection is gone, or never was.
        None => Failure::Temporary,
    }
}

/// Whether the session is gone, so that only another one can answer.
pub fn is_broken(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none_or(|error| error.code().code().starts_with("57P"))
}

fn database_failure(error: &DbError) -> Failure {
    let code = error.detail().and_then(|detail| detail.lines().next()?.strip_prefix("code="));
    match (code, error.code()) {
        (Some(code), _) => {
            let problem = Problem::named(code.trim(), error.message());
            match error.hint() {
                _ if problem.status.is_server_error() => Failure::Unexpected,
                Some(hint) => Failure::Refused(problem.hint(hint)),
                None => Failure::Refused(problem),
            }
        }
        (None, state) => by_state(state, error.message()),
    }
}

fn by_state(state: &SqlState, message: &str) -> Failure {
    match state.code() {
        // Serialisation failure, deadlock, lock not available, read-only after a failover, cancelled or too slow.
        "40001" | "40P01" | "55P03" | "25006" | "57014" => Failure::Temporary,
        text => match text.get(..2).unwrap_or_default() {
            "08" | "53" | "57" | "58" => Failure::Temporary,
            // A value the server cannot read, such as a number out of its range or JSON nested too deeply.
            "22" | "54" => Failure::Refused(Problem::new(HttpCode::InvalidRequest, message.to_owned())),
            // A rule of the tables, or one that somebody added to them: it was made for people who see the log.
            "23" | "P0" => Failure::Violation(Problem::new(
                HttpCode::InvalidRequest,
                "the database refused this by one of its rules",
            )),
            "0A" | "28" | "3D" | "3F" | "42" => Failure::Misconfigured,
            _ => Failure::Unexpected,
        },
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    instance: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            // RFC 9457, section 4.2.1: the status says what sort of problem it is, `code` says which one.
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: &self.code,
            hint: self.hint.as_deref(),
            instance: self.instance.as_deref(),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_engine_has_a_status() {
        for &code in Code::ALL {
            let problem = Problem::named(code.as_str(), "x");
            assert_eq!(problem.code(), code.as_str());
            assert_eq!(
                problem.status.is_server_error(),
                code == Code::CorruptConfiguration,
                "{}",
                code.as_str()
            );
        }
        assert_eq!(Problem::named("experiment_not_found", "x").status, StatusCode::NOT_FOUND);
        assert_eq!(Problem::named("wrong_status", "x").status, StatusCode::CONFLICT);
        assert_eq!(Problem::named("of_a_later_version", "x").status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn states_are_sorted_by_what_helps() {
        let kind = |code: &str| by_state(&SqlState::from_code(code), "message");
        for code in ["08006", "57P01", "57P03", "53300", "53100", "40001", "40P01", "57014", "25006"] {
            assert_eq!(kind(code), Failure::Temporary, "{code}");
        }
        for code in ["22P02", "22003", "22021", "54001"] {
            assert!(matches!(kind(code), Failure::Refused(_)), "{code}");
        }
        for code in ["23505", "P0001"] {
            assert!(matches!(kind(code), Failure::Violation(_)), "{code}");
        }
        for code in ["42883", "42501", "0A000", "28P01"] {
            assert_eq!(kind(code), Failure::Misconfigured, "{code}");
        }
        for code in ["XX000", "XX001", "F0000"] {
            assert_eq!(kind(code), Failure::Unexpected, "{code}");
        }
    }

    #[test]
    fn a_server_error_says_nothing_of_the_inside() {
        assert_eq!(Failure::Unexpected.problem().status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(Failure::Temporary.problem().retry_after, Some("5"));
    }

    #[tokio::test]
    async fn the_document_has_the_fields_of_the_contract() {
        let problem = Problem::from(Error::new(Code::InvalidUserId, "user id is empty", "send one"));
        let response = problem.at("/api/v1/track").into_response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "user id is empty",
                "code": "invalid_user_id", "hint": "send one", "instance": "/api/v1/track"
            })
        );
    }
}

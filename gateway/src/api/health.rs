//! Whether the process lives, and whether it can answer.
//!
//! Ready means able to assign. A database that is away makes the answers stale, not wrong, so it is told and does not
//! take the gateway out of service: that would turn one outage into two. Events are taken meanwhile where there is a spool.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::{json, respond};
use crate::Gateway;
use crate::metrics::Route;
use crate::problem::{HttpCode, Problem};

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready<'a> {
    status: &'static str,
    workspace: &'a str,
    config_version: i64,
    database: &'static str,
    /// Whether the configuration may have changed unheard.
    stale: bool,
    /// Whether events wait on this machine's disk for the database.
    spooling: bool,
}

/// Answers `GET /health/live`.
pub async fn live(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::Live);
    let (parts, _) = request.into_parts();
    respond(Ok(json(StatusCode::OK, &Live { status: "live" })), &parts, watch)
}

/// Answers `GET /health/ready`.
pub async fn ready(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::Ready);
    let (parts, _) = request.into_parts();
    let answer = match gateway.snapshot.load().as_deref() {
        None => Err(Problem::new(HttpCode::NotReady, "no configuration has been loaded yet")),
        Some(snapshot) => {
            let connected = gateway.connected.load(Ordering::Relaxed);
            Ok(json(
                StatusCode::OK,
                &Ready {
                    status: "ready",
                    workspace: &gateway.workspace,
                    config_version: snapshot.version,
                    database: if connected { "up" } else { "down" },
                    stale: !connected,
                    spooling: gateway.ingest.spool().is_some_and(|spool| !spool.is_empty()),
                },
            ))
        }
    };
    respond(answer, &parts, watch)
}

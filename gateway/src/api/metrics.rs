//! `GET /metrics`: what this process counts, for Prometheus.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use tracing::error;

use super::respond;
use crate::Gateway;
use crate::metrics::{Moment, Route};
use crate::problem;
use crate::spool::Spool;

/// Answers `GET /metrics`.
pub async fn metrics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::Metrics);
    let (parts, _) = request.into_parts();
    let moment = Moment {
        config_version: gateway.snapshot.load().as_ref().map_or(0, |snapshot| snapshot.version),
        is_connected: gateway.connected.load(Ordering::Relaxed),
        queue_used: gateway.ingest.used(),
        queue_capacity: gateway.ingest.capacity(),
        spool_bytes: gateway.ingest.spool().map_or(0, Spool::bytes),
        spool_age: gateway.ingest.spool().map_or(Duration::ZERO, Spool::age),
    };
    let answer = match gateway.metrics.text(moment) {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            let content_type = HeaderValue::from_static(prometheus::TEXT_FORMAT);
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            Ok(response)
        }
        Err(error) => {
            error!(%error, "the metrics could not be written");
            Err(problem::internal())
        }
    };
    respond(answer, &parts, watch)
}

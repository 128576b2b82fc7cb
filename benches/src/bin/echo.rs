//! The least an HTTP server in this stack can do with an assignment: read the request, write an answer of the same shape.
//!
//! It is what `POST /api/v1/assign` is measured against: the difference is what deciding costs.

use std::net::SocketAddr;

use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Request {
    user_id: String,
    experiments: Vec<String>,
    context: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Response {
    assignments: Vec<Assignment>,
}

#[derive(Serialize)]
struct Assignment {
    experiment_id: String,
    variant_id: &'static str,
    variant_name: &'static str,
    config: Option<Box<RawValue>>,
    reason: &'static str,
}

async fn assign(Json(request): Json<Request>) -> Json<Response> {
    std::hint::black_box((&request.user_id, &request.context));
    let assignments = request
        .experiments
        .into_iter()
        .map(|experiment_id| Assignment {
            experiment_id,
            variant_id: "treatment",
            variant_name: "treatment",
            config: None,
            reason: "split",
        })
        .collect();
    Json(Response { assignments })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8081").parse()?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{address}");
    axum::serve(listener, Router::new().route("/api/v1/assign", post(assign))).await?;
    Ok(())
}

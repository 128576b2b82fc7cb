//! `GET /api/v1/experiments/{id}/results`: the rows of `ab_results`, as JSON.

use std::sync::Arc;

use ab_core::{Code, Error, event, key};
use axum::extract::{RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use deadpool_postgres::Object;
use serde::{Serialize, Serializer};
use tokio_postgres::Row;
use tracing::{error, warn};

use super::{json, respond};
use crate::Gateway;
use crate::database::{describe, describe_pool};
use crate::metrics::Route;
use crate::problem::{self, Failure, Problem};

/// The names are fixed; the casts make what arrives independent of how the database keeps it.
const STATEMENT: &str = "
    select metric, variant, is_control, units::bigint, conversions::bigint, total::float8, mean::float8, variance::float8,
           ci_low::float8, ci_high::float8, diff::float8, diff_low::float8, diff_high::float8,
           lift::float8, lift_low::float8, lift_high::float8, p_value::float8, significant
      from ab_results($1)";

#[derive(Serialize)]
struct Results<'a> {
    experiment_id: &'a str,
    results: Vec<ResultRow>,
}

#[derive(Serialize)]
struct ResultRow {
    metric: String,
    variant: String,
    is_control: Option<bool>,
    units: Option<i64>,
    conversions: Option<i64>,
    total: Float,
    mean: Float,
    variance: Float,
    ci_low: Float,
    ci_high: Float,
    diff: Float,
    diff_low: Float,
    diff_high: Float,
    lift: Float,
    lift_low: Float,
    lift_high: Float,
    p_value: Float,
    significant: Option<bool>,
}

/// A number where there is one; JSON has no word for infinity.
struct Float(Option<f64>);

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) if number.is_finite() => serializer.serialize_f64(number),
            _ => serializer.serialize_none(),
        }
    }
}

/// Answers `GET /api/v1/experiments/{id}/results`.
pub async fn results(
    State(gateway): State<Arc<Gateway>>,
    parameters: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    request: Request,
) -> Response {
    let watch = gateway.metrics.watch(Route::Results);
    let (parts, _) = request.into_parts();
    let answer = async {
        let parameters =
            parameters.map_err(|_| not_found(parts.uri.path().rsplit('/').nth(1).unwrap_or_default()))?;
        let experiment = parameters.iter().next().map_or("", |(_, value)| value);
        if !key::is_valid(experiment) {
            return Err(not_found(experiment));
        }
        let results = fetch(&gateway, experiment).await?;
        Ok(json(StatusCode::OK, &Results { experiment_id: experiment, results }))
    };
    respond(answer.await, &parts, watch)
}

fn not_found(experiment: &str) -> Problem {
    Error::new(
        Code::ExperimentNotFound,
        format!("experiment \"{}\" does not exist", event::excerpt(experiment)),
        "check the key; experiments are found in the workspace that the gateway serves",
    )
    .into()
}

async fn fetch(gateway: &Gateway, experiment: &str) -> Result<Vec<ResultRow>, Problem> {
    let mut renewed = false;
    loop {
        let client = gateway.database.queries.get().await.map_err(|error| {
            warn!(reason = describe_pool(&error), "cannot connect to read results");
            problem::unavailable()
        })?;
        let error = match query(&client, experiment).await {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        let failure = problem::failure(&error);
        if failure == Failure::Misconfigured {
            drop(Object::take(client));
        }
        // A session from before an upgrade fails like this, and one that broke while it was idle; a new one may not.
        if (failure == Failure::Misconfigured || problem::is_broken(&error)) && !renewed {
            renewed = true;
            continue;
        }
        if !matches!(failure, Failure::Refused(_)) {
            error!(reason = describe(&error), experiment, "results could not be read");
        }
        return Err(failure.problem());
    }
}

async fn query(client: &Object, experiment: &str) -> Result<Vec<ResultRow>, tokio_postgres::Error> {
    let statement = client.prepare_cached(STATEMENT).await?;
    client.query(&statement, &[&experiment]).await?.iter().map(row).collect()
}

fn row(row: &Row) -> Result<ResultRow, tokio_postgres::Error> {
    let float = |name: &str| row.try_get(name).map(Float);
    Ok(ResultRow {
        metric: row.try_get("metric")?,
        variant: row.try_get("variant")?,
        is_control: row.try_get("is_control")?,
        units: row.try_get("units")?,
        conversions: row.try_get("conversions")?,
        total: float("total")?,
        mean: float("mean")?,
        variance: float("variance")?,
        ci_low: float("ci_low")?,
        ci_high: float("ci_high")?,
        diff: float("diff")?,
        diff_low: float("diff_low")?,
        diff_high: float("diff_high")?,
        lift: float("lift")?,
        lift_low: float("lift_low")?,
        lift_high: float("lift_high")?,
        p_value: float("p_value")?,
        significant: row.try_get("significant")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_null() {
        let floats =
            [Some(0.1), Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None].map(Float);
        assert_eq!(serde_json::to_string(&floats).unwrap(), "[0.1,null,null,null,null]");
    }

    #[test]
    fn a_row_is_an_object_with_the_names_of_the_columns() {
        let none = || Float(None);
        let row = ResultRow {
            metric: "sales".into(),
            variant: "control".into(),
            is_control: Some(true),
            units: Some(0),
            conversions: Some(0),
            total: Float(Some(0.0)),
            mean: none(),
            variance: none(),
            ci_low: none(),
            ci_high: none(),
            diff: none(),
            diff_low: none(),
            diff_high: none(),
            lift: none(),
            lift_low: none(),
            lift_high: none(),
            p_value: none(),
            significant: None,
        };
        assert_eq!(
            serde_json::to_value(Results { experiment_id: "t", results: vec![row] }).unwrap(),
            serde_json::json!({"experiment_id": "t", "results": [{
                "metric": "sales", "variant": "control", "is_control": true, "units": 0, "conversions": 0, "total": 0.0,
                "mean": null, "variance": null, "ci_low": null, "ci_high": null, "diff": null, "diff_low": null,
                "diff_high": null, "lift": null, "lift_low": null, "lift_high": null, "p_value": null, "significant": null
            }]})
        );
    }
}

//! Thompson sampling for `ab_rebalance`.

use ab_core::bandit::{Arm, Posterior, shares};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::error::report;

/// The share of each variant, adding up to one; `kind` is beta or normal.
#[pg_extern]
fn thompson_weights(
    kind: &str,
    units: Vec<i64>,
    totals: Vec<f64>,
    squares: Vec<f64>,
    minimum_share: f64,
    seed: i64,
) -> Result<Vec<f64>, ErrorReport> {
    let arms: Vec<Arm> = units
        .iter()
        .zip(&totals)
        .zip(&squares)
        .map(|((&units, &total), &total_of_squares)| Arm {
            units: u64::try_from(units).unwrap_or_default(),
            total,
            total_of_squares,
        })
        .collect();
    let posterior = if kind == "beta" { Posterior::Beta } else { Posterior::Normal };
    shares(posterior, &arms, minimum_share, seed.cast_unsigned()).map_err(report)
}

//! What the tables of results are made of: a variant's own interval and its comparison with control.

use ab_core::statistics::comparison::{self, Arm, Kind};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::refuse;

/// The level of every result of an experiment.
const ALPHA: f64 = 0.05;

fn kind_of(kind: &str) -> Kind {
    if kind == "conversion" { Kind::Conversion } else { Kind::Mean }
}

/// The 95 % interval of an arm's own mean.
#[pg_extern]
#[expect(clippy::type_complexity, reason = "the shape of a SQL function")]
fn interval_of(
    kind: &str,
    units: i64,
    conversions: i64,
    mean: Option<f64>,
    variance: Option<f64>,
) -> Result<TableIterator<'static, (name!(ci_low, Option<f64>), name!(ci_high, Option<f64>))>, ErrorReport> {
    let arm = arm(units, conversions, mean, variance);
    let interval = comparison::own_interval(kind_of(kind), &arm, ALPHA).map_err(refuse)?;
    Ok(TableIterator::once((interval.low, interval.high)))
}

/// An arm against control at alpha 0.05.
#[pg_extern]
#[expect(clippy::too_many_arguments, clippy::type_complexity, reason = "the shape of a SQL function")]
fn compare_to_control(
    kind: &str,
    control_units: i64,
    control_conversions: i64,
    control_mean: Option<f64>,
    control_variance: Option<f64>,
    units: i64,
    conversions: i64,
    mean: Option<f64>,
    variance: Option<f64>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(diff, Option<f64>),
            name!(diff_low, Option<f64>),
            name!(diff_high, Option<f64>),
            name!(lift, Option<f64>),
            name!(lift_low, Option<f64>),
            name!(lift_high, Option<f64>),
            name!(p_value, Option<f64>),
            name!(significant, Option<bool>),
            name!(note, Option<&'static str>),
        ),
    >,
    ErrorReport,
> {
    let control = arm(control_units, control_conversions, control_mean, control_variance);
    let treatment = arm(units, conversions, mean, variance);
    let found = comparison::compare(kind_of(kind), &control, &treatment, ALPHA).map_err(refuse)?;
    Ok(TableIterator::once((
        found.diff,
        found.diff_low,
        found.diff_high,
        found.lift,
        found.lift_low,
        found.lift_high,
        found.p_value,
        found.significant,
        found.note.map(|note| note.as_str()),
    )))
}

/// What does not exist yet, as the mean of nobody, is not read by the engine.
fn arm(units: i64, conversions: i64, mean: Option<f64>, variance: Option<f64>) -> Arm {
    Arm { units, conversions, mean: mean.unwrap_or(0.0), variance: variance.unwrap_or(0.0) }
}

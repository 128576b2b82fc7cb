//! The engine's statistics as SQL functions: sufficient statistics in, one row out.
//!
//! A NULL where a number must be is no mistake in a query over many experiments: the row then holds NULLs and the note
//! `null_input`. Numbers that no data can have are an error.

use ab_core::statistics::comparison::{self, Arm, Kind};
use ab_core::statistics::mean::{Sample, mean_interval, welch_test};
use ab_core::statistics::proportion::{Proportion, proportion_interval, proportion_test};
use ab_core::statistics::{Alternative, Interval, InvalidArgument};
use ab_core::{Code, Error};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::error::report;

const NULL_INPUT: &str = "null_input";
/// The level of every result of an experiment.
const ALPHA: f64 = 0.05;

fn refuse(invalid: InvalidArgument) -> ErrorReport {
    report(Error::new(Code::InvalidArgument, invalid.message, format!("correct {}", invalid.argument)))
}

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

/// Welch's t test.
#[pg_extern]
#[expect(clippy::too_many_arguments, clippy::type_complexity, reason = "the shape of a SQL function")]
fn ab_ttest(
    n1: Option<i64>,
    mean1: Option<f64>,
    var1: Option<f64>,
    n2: Option<i64>,
    mean2: Option<f64>,
    var2: Option<f64>,
    alpha: Option<f64>,
    alternative: Option<&str>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(diff, Option<f64>),
            name!(se, Option<f64>),
            name!(statistic, Option<f64>),
            name!(df, Option<f64>),
            name!(p_value, Option<f64>),
            name!(ci_low, Option<f64>),
            name!(ci_high, Option<f64>),
            name!(lift, Option<f64>),
            name!(lift_low, Option<f64>),
            name!(lift_high, Option<f64>),
            name!(method, &'static str),
            name!(note, Option<&'static str>),
        ),
    >,
    ErrorReport,
> {
    const METHOD: &str = "welch_t";
    let (
        Some(n1),
        Some(mean1),
        Some(var1),
        Some(n2),
        Some(mean2),
        Some(var2),
        Some(alpha),
        Some(alternative),
    ) = (n1, mean1, var1, n2, mean2, var2, alpha, alternative)
    else {
        return Ok(TableIterator::once((
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            METHOD,
            Some(NULL_INPUT),
        )));
    };
    let alternative: Alternative = alternative.parse().map_err(refuse)?;
    let control = Sample { n: n1, mean: mean1, variance: var1 };
    let treatment = Sample { n: n2, mean: mean2, variance: var2 };
    let test = welch_test(control, treatment, alpha, alternative).map_err(refuse)?;
    Ok(TableIterator::once((
        test.diff,
        test.standard_error,
        test.statistic,
        test.degrees_of_freedom,
        test.p_value,
        test.low,
        test.high,
        test.lift.lift,
        test.lift.low,
        test.lift.high,
        METHOD,
        test.note.map(|note| note.as_str()),
    )))
}

/// The pooled two-proportion z-test.
#[pg_extern]
#[expect(clippy::type_complexity, reason = "the shape of a SQL function")]
fn ab_ztest(
    n1: Option<i64>,
    x1: Option<i64>,
    n2: Option<i64>,
    x2: Option<i64>,
    alpha: Option<f64>,
    alternative: Option<&str>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(p1, Option<f64>),
            name!(p2, Option<f64>),
            name!(diff, Option<f64>),
            name!(statistic, Option<f64>),
            name!(p_value, Option<f64>),
            name!(ci_low, Option<f64>),
            name!(ci_high, Option<f64>),
            name!(lift, Option<f64>),
            name!(lift_low, Option<f64>),
            name!(lift_high, Option<f64>),
            name!(method, &'static str),
            name!(note, Option<&'static str>),
        ),
    >,
    ErrorReport,
> {
    const METHOD: &str = "pooled_z";
    let (Some(n1), Some(x1), Some(n2), Some(x2), Some(alpha), Some(alternative)) =
        (n1, x1, n2, x2, alpha, alternative)
    else {
        return Ok(TableIterator::once((
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            METHOD,
            Some(NULL_INPUT),
        )));
    };
    let alternative: Alternative = alternative.parse().map_err(refuse)?;
    let control = Proportion { n: n1, conversions: x1 };
    let treatment = Proportion { n: n2, conversions: x2 };
    let test = proportion_test(control, treatment, alpha, alternative).map_err(refuse)?;
    Ok(TableIterator::once((
        test.control_rate,
        test.treatment_rate,
        test.diff,
        test.statistic,
        test.p_value,
        test.low,
        test.high,
        test.lift.lift,
        test.lift.low,
        test.lift.high,
        METHOD,
        test.note.map(|note| note.as_str()),
    )))
}

type IntervalRow = TableIterator<
    'static,
    (
        name!(estimate, Option<f64>),
        name!(ci_low, Option<f64>),
        name!(ci_high, Option<f64>),
        name!(method, &'static str),
        name!(note, Option<&'static str>),
    ),
>;

fn interval_row(interval: Option<Interval>, method: &'static str) -> IntervalRow {
    TableIterator::once(match interval {
        None => (None, None, None, method, Some(NULL_INPUT)),
        Some(found) => (found.estimate, found.low, found.high, method, found.note.map(|note| note.as_str())),
    })
}

/// The share x of n with its Wilson interval.
#[pg_extern]
fn ab_proportion_ci(x: Option<i64>, n: Option<i64>, alpha: Option<f64>) -> Result<IntervalRow, ErrorReport> {
    let interval = match (x, n, alpha) {
        (Some(x), Some(n), Some(alpha)) => {
            Some(proportion_interval(Proportion { n, conversions: x }, alpha).map_err(refuse)?)
        }
        _ => None,
    };
    Ok(interval_row(interval, "wilson"))
}

/// A mean with its t interval.
#[pg_extern]
fn ab_mean_ci(
    n: Option<i64>,
    mean: Option<f64>,
    var: Option<f64>,
    alpha: Option<f64>,
) -> Result<IntervalRow, ErrorReport> {
    let interval = match (n, mean, var, alpha) {
        (Some(n), Some(mean), Some(variance), Some(alpha)) => {
            Some(mean_interval(Sample { n, mean, variance }, alpha).map_err(refuse)?)
        }
        _ => None,
    };
    Ok(interval_row(interval, "t"))
}

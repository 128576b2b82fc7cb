//! How much each arm of a bandit deserves, and what the arms come to.

use ab_core::statistics::InvalidArgument;
use ab_core::statistics::bandit::{Bandit, PeriodArm, bandit, period_estimates, rate_weights};
use ab_core::statistics::bayes::Prior;
use ab_core::statistics::mean::Sample;
use ab_core::statistics::proportion::Proportion;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::{Argument, NULL_INPUT, check_length, refuse, samples};

type ArmRows = TableIterator<
    'static,
    (
        Option<i32>,
        Option<f64>,
        Option<f64>,
        Option<f64>,
        Option<f64>,
        Option<f64>,
        Option<&'static str>,
        Option<&'static str>,
    ),
>;

/// The weights of arms by their means.
#[pg_extern]
#[expect(clippy::too_many_arguments, reason = "the shape of a SQL function")]
fn ab_bandit(
    n: Option<Vec<Option<i64>>>,
    mean: Option<Vec<Option<f64>>>,
    var: Option<Vec<Option<f64>>>,
    algorithm: Option<&str>,
    floor: Option<f64>,
    maximize: Option<bool>,
    prior_mean: Option<f64>,
    prior_sd: Option<f64>,
) -> Result<ArmRows, ErrorReport> {
    let alone = |note| TableIterator::once((None, None, None, None, None, None, None, Some(note)));
    let (Some(n), Some(mean), Some(var), Some(algorithm), Some(floor), Some(maximize), Some(prior_mean)) =
        (Vec::complete(n), Vec::complete(mean), Vec::complete(var), algorithm, floor, maximize, prior_mean)
    else {
        return Ok(alone(NULL_INPUT));
    };
    let find = || -> Result<(Bandit, &'static str), InvalidArgument> {
        let arms = samples(["n", "mean", "var"], &n, &mean, &var)?;
        let algorithm: ab_core::statistics::bandit::Algorithm = algorithm.parse()?;
        let prior = Prior { mean: prior_mean, sd: prior_sd };
        Ok((bandit(&arms, algorithm, floor, maximize, prior)?, algorithm.as_str()))
    };
    let (found, method) = find().map_err(refuse)?;
    let note = found.note.map(|note| note.as_str());
    if let (true, Some(note)) = (found.arms.is_empty(), note) {
        return Ok(alone(note));
    }
    let rows = (1..).zip(found.arms).map(move |(number, arm)| {
        let sd = arm.sd;
        (Some(number), arm.mean, sd, arm.probability_best, arm.expected_loss, arm.weight, Some(method), note)
    });
    Ok(TableIterator::new(rows))
}

type EstimateRows = TableIterator<
    'static,
    (
        Option<i32>,
        Option<i64>,
        Option<f64>,
        Option<f64>,
        Option<i32>,
        Option<&'static str>,
        Option<&'static str>,
    ),
>;

/// What arms come to whose weights were changed.
#[pg_extern]
fn ab_bandit_estimate(
    period: Option<Vec<Option<i32>>>,
    arm: Option<Vec<Option<i32>>>,
    n: Option<Vec<Option<i64>>>,
    mean: Option<Vec<Option<f64>>>,
    variance: Option<Vec<Option<f64>>>,
) -> Result<EstimateRows, ErrorReport> {
    let alone = |note| TableIterator::once((None, None, None, None, None, None, Some(note)));
    let (Some(period), Some(arm), Some(n), Some(mean), Some(variance)) = (
        Vec::complete(period),
        Vec::complete(arm),
        Vec::complete(n),
        Vec::complete(mean),
        Vec::complete(variance),
    ) else {
        return Ok(alone(NULL_INPUT));
    };
    let find = || {
        check_length("arm", arm.len(), "period", period.len())?;
        check_length("n", n.len(), "period", period.len())?;
        let samples = samples(["n", "mean", "variance"], &n, &mean, &variance)?;
        let rows = period.iter().zip(&arm).zip(samples);
        let cells: Vec<PeriodArm> =
            rows.map(|((&period, &arm), sample)| PeriodArm { period, arm, sample }).collect();
        period_estimates(&cells)
    };
    let (found, periods, note) = find().map_err(refuse)?;
    let note = note.map(|note| note.as_str());
    let periods = i32::try_from(periods).ok();
    if found.is_empty() {
        return Ok(alone("too_few_arms"));
    }
    let rows = found.into_iter().map(move |arm| {
        let method = Some("period_stratified");
        (Some(arm.arm), Some(arm.n), arm.estimate, arm.standard_error, periods, method, note)
    });
    Ok(TableIterator::new(rows))
}

/// The weights of a bandit's variants by Thompson sampling, adding up to one; NULL beyond the range of a double. `kind` is
/// beta, of which totals are conversions, or normal.
#[pg_extern]
fn thompson_weights(
    kind: &str,
    units: Vec<i64>,
    totals: Vec<f64>,
    squares: Vec<f64>,
    minimum_share: f64,
) -> Result<Option<Vec<f64>>, ErrorReport> {
    let counted = units.iter().zip(&totals).zip(&squares);
    if kind == "beta" {
        let rate = |((&n, &total), _): ((&i64, &f64), &f64)| {
            let conversions = (total as i64).clamp(0, n);
            Proportion { n, conversions }
        };
        let arms: Vec<Proportion> = counted.map(rate).collect();
        return rate_weights(&arms, minimum_share).map(|(weights, _)| Some(weights)).map_err(refuse);
    }
    let sample = |((&n, &total), &squares): ((&i64, &f64), &f64)| {
        let mean = if n > 0 { total / n as f64 } else { 0.0 };
        let variance = if n > 1 { ((squares - total * mean) / (n - 1) as f64).max(0.0) } else { 0.0 };
        Sample { n, mean, variance }
    };
    let arms: Vec<Sample> = counted.map(sample).collect();
    if arms.iter().any(|arm| !(arm.mean.is_finite() && arm.variance.is_finite())) {
        return Ok(None);
    }
    let found = bandit(&arms, Default::default(), minimum_share, true, Prior::FLAT).map_err(refuse)?;
    Ok(found.arms.iter().map(|arm| arm.weight).collect())
}

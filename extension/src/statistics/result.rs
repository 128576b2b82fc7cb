//! What the tables of results are made of: the arms of a metric by the experiment's settings.

use ab_core::analysis::{Analysis, Mode, Units};
use ab_core::error::{Code, Error};
use ab_core::statistics::comparison::{self, Arm, Comparison, Kind, Settings};
use ab_core::statistics::recommendation::{self, Evidence, Recommendation};
use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::refuse;
use crate::error::report;

/// The settings with all that was left out, or an error that says what is wrong with them in `what`.
#[pg_extern]
fn complete_analysis(what: &str, analysis: JsonB) -> Result<JsonB, ErrorReport> {
    let analysis = Analysis::compile(what, &analysis.0.to_string()).map_err(report)?;
    let complete = serde_json::to_value(&analysis).expect("plain numbers and texts");
    Ok(JsonB(complete))
}

/// The rows of the arms of one metric, the control first.
#[pg_extern]
#[expect(clippy::too_many_arguments, clippy::type_complexity, reason = "the shape of a SQL function")]
fn metric_results(
    kind: &str,
    analysis: JsonB,
    lower_is_better: bool,
    margin: Option<f64>,
    z_bound: Option<f64>,
    is_over: bool,
    units: Vec<i64>,
    conversions: Vec<i64>,
    mean: Vec<Option<f64>>,
    variance: Vec<Option<f64>>,
    covariate_mean: Vec<Option<f64>>,
    covariate_variance: Vec<Option<f64>>,
    covariance: Vec<Option<f64>>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(arm, i32),
            name!(ci_low, Option<f64>),
            name!(ci_high, Option<f64>),
            name!(diff, Option<f64>),
            name!(se, Option<f64>),
            name!(statistic, Option<f64>),
            name!(df, Option<f64>),
            name!(diff_low, Option<f64>),
            name!(diff_high, Option<f64>),
            name!(lift, Option<f64>),
            name!(lift_low, Option<f64>),
            name!(lift_high, Option<f64>),
            name!(p_value, Option<f64>),
            name!(sequential_p_value, Option<f64>),
            name!(sequential_low, Option<f64>),
            name!(sequential_high, Option<f64>),
            name!(chance_to_win, Option<f64>),
            name!(expected_loss, Option<f64>),
            name!(cuped_diff, Option<f64>),
            name!(cuped_low, Option<f64>),
            name!(cuped_high, Option<f64>),
            name!(cuped_lift, Option<f64>),
            name!(cuped_lift_low, Option<f64>),
            name!(cuped_lift_high, Option<f64>),
            name!(cuped_p_value, Option<f64>),
            name!(variance_reduction, Option<f64>),
            name!(covariate_balance_p_value, Option<f64>),
            name!(guardrail, Option<&'static str>),
            name!(decisive_p_value, Option<f64>),
            name!(method, Option<&'static str>),
            name!(note, Option<&'static str>),
        ),
    >,
    ErrorReport,
> {
    // Coming back is a conversion of its own sort; all the rest are means of users' values.
    let kind = match kind {
        "conversion" | "retention" => Kind::Conversion,
        "ratio" => Kind::Ratio,
        _ => Kind::Mean,
    };
    let analysis = Analysis::compile("the results", &analysis.0.to_string()).map_err(report)?;
    let settings = Settings {
        alpha: analysis.alpha,
        mode: match analysis.mode {
            Mode::Fixed => comparison::Mode::Fixed,
            Mode::Sequential => comparison::Mode::Sequential,
            Mode::GroupSequential => comparison::Mode::GroupSequential { z_bound },
            Mode::Bayesian => comparison::Mode::Bayesian,
        },
        tuning_units: analysis.tuning_units(),
        is_over,
        prior: analysis.prior(),
        is_adjusted: analysis.cuped,
        lower_is_better,
        margin,
    };
    let arms: Vec<Arm> = (0..units.len())
        .map(|arm| Arm {
            units: units[arm],
            conversions: conversions[arm],
            mean: mean[arm],
            variance: variance[arm],
            covariate_mean: covariate_mean[arm],
            covariate_variance: covariate_variance[arm],
            covariance: covariance[arm],
        })
        .collect();
    let rows = comparison::compare_arms(kind, &arms, &settings).map_err(refuse)?;
    Ok(TableIterator::new((1..).zip(rows).map(|(arm, row)| {
        // The control is compared with nobody.
        let Comparison { raw, adjusted, .. } = row.comparison.unwrap_or_default();
        let found = row.comparison.unwrap_or_default();
        (
            arm,
            row.low,
            row.high,
            raw.diff,
            raw.standard_error,
            raw.statistic,
            raw.degrees_of_freedom,
            raw.low,
            raw.high,
            raw.lift,
            raw.lift_low,
            raw.lift_high,
            raw.p_value,
            found.sequential_p_value,
            found.sequential_low,
            found.sequential_high,
            found.chance_to_win,
            found.expected_loss,
            adjusted.diff,
            adjusted.low,
            adjusted.high,
            adjusted.lift,
            adjusted.lift_low,
            adjusted.lift_high,
            adjusted.p_value,
            found.variance_reduction,
            found.covariate_balance_p_value,
            found.guardrail.map(|guardrail| guardrail.as_str()),
            found.decisive_p_value,
            found.method,
            found.note.map(|note| note.as_str()),
        )
    })))
}

/// The look that is due at so many units, if one is.
#[pg_extern]
fn due_look(
    analysis: JsonB,
    units: i64,
    treatments: i32,
    past_information: Vec<f64>,
    past_bounds: Vec<f64>,
    is_over: bool,
) -> Result<
    TableIterator<
        'static,
        (name!(information, f64), name!(alpha_spent, f64), name!(z_bound, f64), name!(p_bound, f64)),
    >,
    ErrorReport,
> {
    let analysis = Analysis::compile("the look", &analysis.0.to_string()).map_err(report)?;
    let treatments = usize::try_from(treatments).unwrap_or_default();
    let units = if is_over { Units::Final(units) } else { Units::SoFar(units) };
    let look = analysis.due_look(units, treatments, &past_information, &past_bounds).map_err(refuse)?;
    Ok(TableIterator::new(
        look.into_iter().map(|look| (look.information, look.alpha_spent, look.z_bound, look.p_bound)),
    ))
}

/// What an experiment's results say to do: the evidence is a [`recommendation::Evidence`] in JSON.
#[pg_extern]
#[expect(clippy::type_complexity, reason = "the shape of a SQL function")]
fn recommend(
    evidence: JsonB,
) -> Result<
    TableIterator<
        'static,
        (name!(decision, &'static str), name!(variant, Option<String>), name!(reasons, Vec<String>)),
    >,
    ErrorReport,
> {
    let evidence: Evidence = serde_json::from_value(evidence.0).map_err(|error| {
        report(Error::new(
            Code::InvalidAnalysis,
            format!("the evidence cannot be read: {error}"),
            "look at ab_results() for figures that are out of range",
        ))
    })?;
    let Recommendation { decision, variant, reasons } = recommendation::recommend(&evidence);
    Ok(TableIterator::once((decision.as_str(), variant, reasons)))
}

//! The results of one metric of an experiment: each variant's own interval and its comparison with the control.
//!
//! Why this module exists: which methods belong to which kind of metric and to which mode of analysis is decided in one place,
//! here, and not in SQL. What a row is made of are the methods' own modules.

use super::bayes::{Posterior, Prior, normal_posterior};
use super::covariate::{CovariateSample, CupedTest, cuped_test, pooled_theta};
use super::group_sequential::repeated_interval;
use super::mean::{Sample, WelchTest, mean_interval, welch_test};
use super::noninferiority::{Guardrail, Margin, noninferiority_test};
use super::proportion::{Proportion, proportion_interval, proportion_test};
use super::sequential::{has_burned_in, sequential_test};
use super::{Alternative, Interval, InvalidArgument, Note};

/// What a metric measures of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whether the user did it at all: pooled z-test, Newcombe, Wilson, Fieller with z.
    Conversion,
    /// A number per user (a count or a sum): Welch's test, t intervals, Fieller with t.
    Mean,
    /// The same of a ratio that was linearised: its mean is the ratio, its variance that of what makes it up.
    Ratio,
}

impl Kind {
    /// The name of the method that compares two arms.
    fn method(self) -> &'static str {
        match self {
            Kind::Conversion => "pooled_z",
            Kind::Mean => "welch_t",
            Kind::Ratio => "ratio_welch_t",
        }
    }
}

/// When an experiment is decided, and with it which p-values and intervals may be looked at before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Once, when all planned users are there.
    Fixed,
    /// At any time, by confidence sequences.
    Sequential,
    /// At planned looks.
    GroupSequential {
        /// The critical value of the last look, `None` before the first.
        z_bound: Option<f64>,
    },
    /// When the expected loss is small enough to be accepted.
    Bayesian,
}

/// What an experiment says about how its results are to be found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The error rate of tests and intervals.
    pub alpha: f64,
    /// When it is decided.
    pub mode: Mode,
    /// The planned number of users of all arms, where confidence sequences are narrowest.
    pub tuning_units: f64,
    /// Whether it has stopped or reached its planned end, and is looked at for the last time.
    pub is_over: bool,
    /// What was believed of the lift before, as fractions of the control's mean.
    pub prior: Prior,
    /// Whether the estimate adjusted for the covariate is the one that decides.
    pub is_adjusted: bool,
    /// Whether less of the metric is better.
    pub lower_is_better: bool,
    /// Of a guardrail, by how much of the control's mean the treatment may be worse.
    pub margin: Option<f64>,
}

/// A variant's sufficient statistics for one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arm {
    /// Exposed users.
    pub units: i64,
    /// Users with at least one event; read for [`Kind::Conversion`] only.
    pub conversions: i64,
    /// Mean over all exposed users; `None` where it is unknown.
    pub mean: Option<f64>,
    /// Sample variance (n − 1) over all exposed users; `None` where it is unknown.
    pub variance: Option<f64>,
    /// Mean of the covariate, the same metric before first exposure; `None` where nothing was kept of it.
    pub covariate_mean: Option<f64>,
    /// Its sample variance.
    pub covariate_variance: Option<f64>,
    /// The sample covariance of both.
    pub covariance: Option<f64>,
}

impl Arm {
    /// `None` for figures beyond the range of a double; those that do not exist yet (0/0 in SQL) must not fail the row.
    fn sample(&self) -> Option<Sample> {
        let mean = if self.units < 1 { 0.0 } else { self.mean? };
        let variance = if self.units < 2 { 0.0 } else { self.variance? };
        Some(Sample { n: self.units, mean, variance })
    }

    fn proportion(&self) -> Proportion {
        Proportion { n: self.units, conversions: self.conversions }
    }

    fn covariate_sample(&self) -> Option<CovariateSample> {
        let Sample { n, mean, variance } = self.sample()?;
        let (covariate_variance, covariance) = if n < 2 {
            (0.0, 0.0)
        } else {
            // Each was rounded by itself: what is beyond the most by rounding is the most.
            let (covariate_variance, covariance) = (self.covariate_variance?, self.covariance?);
            let most = variance.sqrt() * covariate_variance.sqrt();
            (covariate_variance, covariance.clamp(-most, most))
        };
        let covariate_mean = if n < 1 { 0.0 } else { self.covariate_mean? };
        Some(CovariateSample { n, mean, variance, covariate_mean, covariate_variance, covariance })
    }
}

/// A difference from the control with its two-sided interval and p-value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Effect {
    /// Treatment minus control.
    pub diff: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// The difference in standard errors, under the null hypothesis.
    pub statistic: Option<f64>,
    /// Degrees of freedom; `None` for a z-test.
    pub degrees_of_freedom: Option<f64>,
    /// Lower bound of the difference.
    pub low: Option<f64>,
    /// Upper bound of the difference.
    pub high: Option<f64>,
    /// Difference relative to the control's absolute value, as a fraction.
    pub lift: Option<f64>,
    /// Lower bound of the lift.
    pub lift_low: Option<f64>,
    /// Upper bound of the lift.
    pub lift_high: Option<f64>,
    /// Two-sided p-value.
    pub p_value: Option<f64>,
}

impl From<WelchTest> for Effect {
    fn from(test: WelchTest) -> Effect {
        Effect {
            diff: test.diff,
            standard_error: test.standard_error,
            statistic: test.statistic,
            degrees_of_freedom: test.degrees_of_freedom,
            low: test.low,
            high: test.high,
            lift: test.lift.lift,
            lift_low: test.lift.low,
            lift_high: test.lift.high,
            p_value: test.p_value,
        }
    }
}

/// A treatment against its control. What the mode or the data gives no figures for is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Comparison {
    /// The raw estimate, by `method`.
    pub raw: Effect,
    /// The estimate adjusted for the covariate (CUPED); empty where there is no covariate.
    pub adjusted: Effect,
    /// By how much adjusting reduced the variance of the difference.
    pub variance_reduction: Option<f64>,
    /// p-value of a difference of the covariate between the arms, which randomisation rules out.
    pub covariate_balance_p_value: Option<f64>,
    /// Always-valid p-value of the estimate that decides.
    pub sequential_p_value: Option<f64>,
    /// Lower bound that holds at all looks together.
    pub sequential_low: Option<f64>,
    /// Upper bound that holds at all looks together.
    pub sequential_high: Option<f64>,
    /// P(the treatment is better than the control).
    pub chance_to_win: Option<f64>,
    /// What shipping the treatment loses on average over what is not known, in the metric's unit.
    pub expected_loss: Option<f64>,
    /// What a guardrail says.
    pub guardrail: Option<Guardrail>,
    /// The p-value that decides, in this mode: of the raw or the adjusted estimate, fixed or always valid.
    pub decisive_p_value: Option<f64>,
    /// The name of the method that decides.
    pub method: Option<&'static str>,
    /// Why a figure is missing, or how to read it.
    pub note: Option<Note>,
}

/// One variant's row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Lower bound of its own rate (Wilson) or mean (t).
    pub low: Option<f64>,
    /// Upper bound.
    pub high: Option<f64>,
    /// Its comparison with the control; `None` for the control itself.
    pub comparison: Option<Comparison>,
}

/// The rows of the arms of one metric, the control first.
///
/// # Errors
/// [`InvalidArgument`] for impossible statistics or settings; see the methods' own modules.
pub fn compare_arms(kind: Kind, arms: &[Arm], settings: &Settings) -> Result<Vec<Row>, InvalidArgument> {
    let Some(control) = arms.first() else { return Ok(Vec::new()) };
    let moments: Vec<_> = arms
        .iter()
        .filter_map(Arm::covariate_sample)
        .map(|arm| (arm.n, arm.covariate_variance, arm.covariance))
        .collect();
    let theta = if moments.len() == arms.len() { pooled_theta(&moments)? } else { None };
    arms.iter()
        .enumerate()
        .map(|(index, arm)| {
            let own = own_interval(kind, arm, settings.alpha)?;
            let comparison = match index {
                0 => None,
                _ => Some(compare(kind, control, arm, theta, settings)?),
            };
            Ok(Row { low: own.low, high: own.high, comparison })
        })
        .collect()
}

fn own_interval(kind: Kind, arm: &Arm, alpha: f64) -> Result<Interval, InvalidArgument> {
    match (kind, arm.sample()) {
        (_, None) => Ok(Interval { estimate: None, low: None, high: None, note: Some(Note::Overflow) }),
        (Kind::Conversion, Some(_)) => proportion_interval(arm.proportion(), alpha),
        (Kind::Mean | Kind::Ratio, Some(sample)) => mean_interval(sample, alpha),
    }
}

fn compare(
    kind: Kind,
    control: &Arm,
    treatment: &Arm,
    theta: Option<f64>,
    settings: &Settings,
) -> Result<Comparison, InvalidArgument> {
    let (Some(first), Some(second)) = (control.sample(), treatment.sample()) else {
        return Ok(Comparison { note: Some(Note::Overflow), ..Comparison::default() });
    };
    let alpha = settings.alpha;
    let (raw, note) = match kind {
        Kind::Conversion => {
            let test =
                proportion_test(control.proportion(), treatment.proportion(), alpha, Alternative::TwoSided)?;
            // The intervals' noise, which does not assume equal rates as the test does.
            let standard_error = welch_test(first, second, alpha, Alternative::TwoSided)?.standard_error;
            let raw = Effect {
                diff: test.diff,
                standard_error,
                statistic: test.statistic,
                degrees_of_freedom: None,
                low: test.low,
                high: test.high,
                lift: test.lift.lift,
                lift_low: test.lift.low,
                lift_high: test.lift.high,
                p_value: test.p_value,
            };
            (raw, test.note)
        }
        Kind::Mean | Kind::Ratio => {
            let test = welch_test(first, second, alpha, Alternative::TwoSided)?;
            (Effect::from(test), test.note)
        }
    };
    let cuped = adjust(control, treatment, theta, alpha)?;
    let adjusted = cuped.map_or_else(Effect::default, |cuped| Effect::from(cuped.test));
    let is_adjusted = settings.is_adjusted && adjusted.p_value.is_some();
    let (decisive, method) = if is_adjusted { (adjusted, "cuped") } else { (raw, kind.method()) };
    let mut row = Comparison {
        raw,
        adjusted,
        variance_reduction: cuped.and_then(|cuped| cuped.variance_reduction),
        covariate_balance_p_value: cuped.and_then(|cuped| cuped.covariate_balance_p_value),
        decisive_p_value: decisive.p_value,
        method: Some(method),
        note,
        ..Comparison::default()
    };
    if let Some(margin) = settings.margin {
        row.guardrail = match settings.mode {
            Mode::Fixed if settings.is_over => {
                let higher_is_better = !settings.lower_is_better;
                noninferiority_test(first, second, Margin::Relative(margin), alpha, higher_is_better)?.state
            }
            // Harm is watched for all the time, whenever it is that success is decided.
            _ => guardrail_at_any_time(first, second, margin, settings)?,
        };
    }
    let Some((diff, standard_error)) = decisive.diff.zip(decisive.standard_error) else { return Ok(row) };
    match settings.mode {
        Mode::Sequential => {
            let units = control.units.saturating_add(treatment.units);
            let test = sequential_test(
                diff,
                standard_error,
                units,
                alpha,
                settings.tuning_units,
                Alternative::TwoSided,
            )?;
            row.sequential_p_value = test.p_value;
            row.sequential_low = test.low;
            row.sequential_high = test.high;
            row.decisive_p_value = test.p_value;
            row.method = Some(if is_adjusted { "confidence_sequence_cuped" } else { "confidence_sequence" });
            let has_started = [control, treatment]
                .iter()
                .all(|arm| has_burned_in(arm.units, (kind == Kind::Conversion).then_some(arm.conversions)));
            row.note = row.note.or(test.note).or((!has_started).then_some(Note::BurnIn));
        }
        Mode::GroupSequential { z_bound: Some(z_bound), .. } if z_bound.is_finite() => {
            let (low, high) = repeated_interval(diff, standard_error, z_bound);
            row.sequential_low = Some(low);
            row.sequential_high = Some(high);
        }
        Mode::GroupSequential { .. } | Mode::Fixed | Mode::Bayesian => {}
    }
    if let Some(posterior) = posterior(diff, standard_error, first.mean, settings)? {
        row.chance_to_win = posterior.probability_better;
        row.expected_loss = posterior.treatment_loss;
    }
    Ok(row)
}

fn adjust(
    control: &Arm,
    treatment: &Arm,
    theta: Option<f64>,
    alpha: f64,
) -> Result<Option<CupedTest>, InvalidArgument> {
    match (control.covariate_sample(), treatment.covariate_sample()) {
        (Some(first), Some(second)) if theta.is_some() => {
            cuped_test(first, second, alpha, Alternative::TwoSided, theta).map(Some)
        }
        _ => Ok(None),
    }
}

/// What is believed of the difference afterwards; the prior on the lift is one on the difference by the control's mean. More
/// is better in it, whatever the metric's direction.
fn posterior(
    diff: f64,
    standard_error: f64,
    control_mean: f64,
    settings: &Settings,
) -> Result<Option<Posterior>, InvalidArgument> {
    let sign = if settings.lower_is_better { -1.0 } else { 1.0 };
    let scale = control_mean.abs();
    let prior =
        Prior { mean: settings.prior.mean * scale * sign, sd: settings.prior.sd.map(|sd| sd * scale) };
    // Of a control of 0 no lift can be believed, nor of one so great that the prior leaves the range.
    let is_in_range = prior.mean.is_finite() && prior.sd.is_none_or(|sd| sd > 0.0 && sd.is_finite());
    if !is_in_range {
        return Ok(None);
    }
    normal_posterior(sign * diff, standard_error, prior, settings.alpha).map(Some)
}

/// The states of [`noninferiority_test`] by confidence sequences, which hold however often they are looked at.
fn guardrail_at_any_time(
    control: Sample,
    treatment: Sample,
    margin: f64,
    settings: &Settings,
) -> Result<Option<Guardrail>, InvalidArgument> {
    let alpha = settings.alpha;
    let higher_is_better = !settings.lower_is_better;
    let fixed = noninferiority_test(control, treatment, Margin::Relative(margin), alpha, higher_is_better)?;
    let difference = welch_test(control, treatment, alpha, Alternative::TwoSided)?;
    let (Some((contrast, noise)), Some((diff, standard_error))) =
        (fixed.contrast.zip(fixed.standard_error), difference.diff.zip(difference.standard_error))
    else {
        return Ok(None);
    };
    let units = control.n.saturating_add(treatment.n);
    let test = |estimate, noise, alternative| {
        sequential_test(estimate, noise, units, alpha, settings.tuning_units, alternative)
    };
    let better = if higher_is_better { diff } else { -diff };
    // A one-sided sequence has no alpha of a half or more.
    let passes =
        alpha < 0.5 && test(contrast, noise, Alternative::Greater)?.p_value.is_some_and(|p| p < alpha);
    let is_below_zero = |estimate, noise| {
        test(estimate, noise, Alternative::TwoSided).map(|test| test.high.is_some_and(|high| high < 0.0))
    };
    Ok(Some(if passes {
        Guardrail::Pass
    } else if is_below_zero(contrast, noise)? {
        Guardrail::Breach
    } else if is_below_zero(better, standard_error)? {
        Guardrail::Fail
    } else {
        Guardrail::Inconclusive
    }))
}

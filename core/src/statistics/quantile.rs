//! Quantiles of one value per user, such as the median or the 99th percentile of a load time, with their intervals.
//!
//! Why this module exists: the noise of a quantile depends on how dense the values are about it, which no sum tells. Between
//! two order statistics, though, it lies with a probability that only depends on their ranks; their distance gives a
//! standard error too, with which quantiles of two arms compare like means (Deng, Knoblich & Lu, KDD 2018, the "outer"
//! interval). Events of one user are not independent: with users randomised, quantiles over events need the factor by which
//! that widens the noise of I = 1{value ≤ quantile}, Var by user/Var as if independent (Yao, Li & Lu 2024).

use super::contrast::{Contrast, Term};
use super::distribution::normal_critical;
use super::lift::{Estimate, Lift};
use super::mean::WelchTest;
use super::{Alternative, InvalidArgument, Note, check_alpha, check_count, check_probability};

/// A quantile with its two-sided interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileInterval {
    /// The quantile, interpolated between values as by `percentile_cont`.
    pub estimate: Option<f64>,
    /// The value at the lower rank.
    pub low: Option<f64>,
    /// The value at the upper rank.
    pub high: Option<f64>,
    /// Standard error, from the interval's width.
    pub standard_error: Option<f64>,
    /// Why a figure is missing or how to read it.
    pub note: Option<Note>,
}

/// The quantile `q` of values in ascending order, interpolated as by SQL's `percentile_cont`; `None` without values.
///
/// # Errors
/// [`InvalidArgument`] naming `q` outside (0, 1), or `values` for one that is not finite or out of order.
pub fn quantile(sorted: &[f64], q: f64) -> Result<Option<f64>, InvalidArgument> {
    check_probability("q", q)?;
    if let Some(value) = sorted.iter().find(|value| !value.is_finite()) {
        return Err(InvalidArgument::new("values", value, "finite numbers"));
    }
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] > pair[1]) {
        return Err(InvalidArgument::new("values", pair[1], "in ascending order"));
    }
    let Some(last) = sorted.len().checked_sub(1) else { return Ok(None) };
    let place = q * last as f64;
    // At most `last`, as q is below 1.
    let below = place.floor() as usize;
    let (value, next) = (sorted[below.min(last)], sorted[(below + 1).min(last)]);
    let share = place - place.floor();
    Ok(Some(value * (1.0 - share) + next * share))
}

/// The quantile `q` of values in ascending order, between the order statistics of ranks ⌊nq − z√(nq(1 − q))⌋ and
/// ⌈nq + z√(nq(1 − q))⌉ + 1.
///
/// Edges: no values give [`Note::TooFewUnits`]; so do fewer than 4q/(1 − q) or 4(1 − q)/q of them, with the estimate alone.
/// A rank beyond the first or last value is taken as that, with [`Note::RankAtEdge`]: the interval may then cover less than
/// it says. Bounds that are equal, as among many zeros, give no standard error and [`Note::ZeroVariance`].
///
/// # Errors
/// [`InvalidArgument`] as for [`quantile`] and for an `alpha` outside (0, 1).
pub fn quantile_interval(sorted: &[f64], q: f64, alpha: f64) -> Result<QuantileInterval, InvalidArgument> {
    check_alpha(alpha)?;
    let estimate = quantile(sorted, q)?;
    Ok(between_ranks(sorted.len() as f64, q, alpha, estimate, |lower, upper| {
        (sorted[lower as usize - 1], sorted[upper as usize - 1])
    }))
}

/// The interval whose bounds `at` gives for two ranks from 1 to `n`, as [`quantile_interval`] tells.
pub(super) fn between_ranks(
    n: f64,
    q: f64,
    alpha: f64,
    estimate: Option<f64>,
    at: impl Fn(f64, f64) -> (f64, f64),
) -> QuantileInterval {
    if n < (4.0 * q / (1.0 - q)).max(4.0 * (1.0 - q) / q) || estimate.is_none() {
        let note = Some(Note::TooFewUnits);
        return QuantileInterval { estimate, low: None, high: None, standard_error: None, note };
    }
    let z = normal_critical(alpha);
    let half = z * (n * q * (1.0 - q)).sqrt();
    let (lower, upper) = ((n * q - half).floor(), (n * q + half).ceil() + 1.0);
    let (low, high) = at(lower.clamp(1.0, n), upper.clamp(1.0, n));
    let standard_error = (high - low) / (2.0 * z);
    let note = if standard_error == 0.0 {
        Some(Note::ZeroVariance)
    } else if !standard_error.is_finite() {
        Some(Note::Overflow)
    } else {
        (lower < 1.0 || upper > n).then_some(Note::RankAtEdge)
    };
    let standard_error = Some(standard_error).filter(|error| *error > 0.0 && error.is_finite());
    QuantileInterval { estimate, low: Some(low), high: Some(high), standard_error, note }
}

/// Compares a quantile of two arms by the normal distribution, from the arms' estimates and standard errors.
///
/// `cluster_factors` widen the variances where the values are events and users were randomised; 1 for values per user. Edges:
/// those of [`welch_test`](super::mean::welch_test) for figures that are missing, with [`Note::TooFewUnits`].
///
/// # Errors
/// [`InvalidArgument`] naming `cluster_factor` for one that is not positive and finite, or `alpha`.
pub fn quantile_test(
    control: QuantileInterval,
    treatment: QuantileInterval,
    cluster_factors: [f64; 2],
    alpha: f64,
    alternative: Alternative,
) -> Result<WelchTest, InvalidArgument> {
    check_alpha(alpha)?;
    if let Some(factor) = cluster_factors.iter().find(|factor| !(**factor > 0.0 && factor.is_finite())) {
        return Err(InvalidArgument::new("cluster_factor", factor, "a finite number above 0"));
    }
    let (Some(first), Some(second)) = (control.estimate, treatment.estimate) else {
        return Ok(WelchTest::without_inference(None, Lift::MISSING, Note::TooFewUnits));
    };
    let (diff, note) = (second - first, control.note.or(treatment.note));
    let point = Lift::point(diff, first);
    let (Some(error1), Some(error2)) = (control.standard_error, treatment.standard_error) else {
        return Ok(WelchTest::without_inference(Some(diff), point, note.unwrap_or(Note::TooFewUnits)));
    };
    let errors = [error1 * cluster_factors[0].sqrt(), error2 * cluster_factors[1].sqrt()];
    let terms = errors.map(|standard_error| Term { standard_error, degrees_of_freedom: f64::INFINITY });
    let contrast = Contrast::infer(diff, &terms, alpha, alternative);
    let estimate = |mean, error: f64| Estimate { mean, variance: error * error };
    let lift = contrast.lift(point, |critical| {
        Lift::fieller(
            diff,
            estimate(first, errors[0]),
            estimate(second, errors[1]),
            alpha,
            alternative,
            critical,
        )
    });
    let test = WelchTest::new(contrast, lift);
    Ok(WelchTest { note: test.note.or(note), ..test })
}

/// The factor by which the variance of a share over events grows because users, not events, were randomised: that of the
/// ratio Σ I/Σ events over users, by the delta method, over p·(1 − p)/events.
///
/// `variance_of_ratio` is Var(I̅/events̅) over users (see [`ratio`](super::ratio)), `share` the share of events at or below
/// the quantile. `None` where the share is 0 or 1.
///
/// # Errors
/// [`InvalidArgument`] naming `variance`, `share` or `events`.
pub fn cluster_factor(
    variance_of_ratio: f64,
    share: f64,
    events: i64,
) -> Result<Option<f64>, InvalidArgument> {
    check_count("events", events)?;
    if !(variance_of_ratio.is_finite() && variance_of_ratio >= 0.0) {
        return Err(InvalidArgument::new("variance", variance_of_ratio, "a finite number, 0 or more"));
    }
    if !(0.0..=1.0).contains(&share) {
        return Err(InvalidArgument::new("share", share, "between 0 and 1"));
    }
    let factor = variance_of_ratio * events as f64 / (share * (1.0 - share));
    Ok((factor > 0.0 && factor.is_finite()).then_some(factor))
}

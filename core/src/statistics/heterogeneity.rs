//! Whether an effect differs between segments, and what remains of the differences once chance is taken out.
//!
//! Why this module exists: "significant here and not there" is no evidence of a difference. Cochran's Q (1954, Biometrics 10)
//! is the test of it; DerSimonian & Laird's variance between segments (1986, Controlled Clinical Trials 7) says how far each
//! segment's own estimate is to be believed. Segments must have been fixed before exposure.

use super::distribution::chi_square_survival;
use super::{InvalidArgument, Note};

/// Cochran's Q over segments.
#[derive(Debug, Clone, PartialEq)]
pub struct HeterogeneityTest {
    /// Q, the squared distances from the pooled effect in standard errors.
    pub q: Option<f64>,
    /// Segments less one.
    pub degrees_of_freedom: Option<i64>,
    /// P(effects this different | all are the same).
    pub p_value: Option<f64>,
    /// Variance of the effect between segments, at least 0.
    pub tau2: Option<f64>,
    /// The effect of all segments with inverse-variance weights.
    pub pooled: Option<f64>,
    /// Its standard error.
    pub pooled_standard_error: Option<f64>,
    /// Each segment's effect drawn to the pooled one by its noise against the variance between segments; empty without a
    /// test.
    pub shrunken: Vec<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// Tests whether segments with effects `diffs` and standard errors `standard_errors` differ in their effect.
///
/// Edges: fewer than two segments give [`Note::TooFewArms`], a standard error of 0 [`Note::ZeroVariance`].
///
/// # Errors
/// [`InvalidArgument`] naming `diff` or `se` for what is not finite, negative errors or arrays of unequal lengths.
pub fn heterogeneity_test(
    diffs: &[f64],
    standard_errors: &[f64],
) -> Result<HeterogeneityTest, InvalidArgument> {
    if diffs.len() != standard_errors.len() {
        return Err(InvalidArgument::length("se", standard_errors.len(), "diff", diffs.len()));
    }
    if let Some(diff) = diffs.iter().find(|diff| !diff.is_finite()) {
        return Err(InvalidArgument::new("diff", diff, "finite numbers"));
    }
    if let Some(error) = standard_errors.iter().find(|error| !(error.is_finite() && **error >= 0.0)) {
        return Err(InvalidArgument::new("se", error, "finite numbers, 0 or more"));
    }
    let missing = |note| HeterogeneityTest {
        q: None,
        degrees_of_freedom: None,
        p_value: None,
        tau2: None,
        pooled: None,
        pooled_standard_error: None,
        shrunken: Vec::new(),
        note: Some(note),
    };
    if diffs.len() < 2 {
        return Ok(missing(Note::TooFewArms));
    }
    // In units of the smallest error, which keeps every weight between 0 and 1.
    let unit = standard_errors.iter().copied().fold(f64::INFINITY, f64::min);
    if unit == 0.0 {
        return Ok(missing(Note::ZeroVariance));
    }
    let weights: Vec<f64> = standard_errors.iter().map(|error| (unit / error).powi(2)).collect();
    let total: f64 = weights.iter().sum();
    // Relative to the first effect: what they have in common must not cost the digits of their differences.
    let origin = diffs[0];
    let offset =
        diffs.iter().zip(&weights).map(|(diff, weight)| weight * (diff - origin)).sum::<f64>() / total;
    let pooled = origin + offset;
    let q: f64 = diffs
        .iter()
        .zip(standard_errors)
        .map(|(diff, error)| (((diff - origin) - offset) / error).powi(2))
        .sum();
    let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
    let degrees_of_freedom = diffs.len() as i64 - 1;
    let tau2 = ((q - degrees_of_freedom as f64) / (total - squares / total)).max(0.0) * unit * unit;
    if ![q, pooled, tau2].iter().all(|figure| figure.is_finite()) {
        return Ok(missing(Note::Overflow));
    }
    let shrink = |(diff, error): (&f64, &f64)| {
        let trust = tau2 / (tau2 + error * error);
        pooled + if trust > 0.0 { trust * (diff - pooled) } else { 0.0 }
    };
    Ok(HeterogeneityTest {
        q: Some(q),
        degrees_of_freedom: Some(degrees_of_freedom),
        p_value: Some(chi_square_survival(q, degrees_of_freedom as f64)),
        tau2: Some(tau2),
        pooled: Some(pooled),
        pooled_standard_error: Some(unit / total.sqrt()),
        shrunken: diffs.iter().zip(standard_errors).map(shrink).collect(),
        note: None,
    })
}

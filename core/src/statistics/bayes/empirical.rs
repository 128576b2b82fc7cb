//! The prior from past experiments, and what is left of an effect under it.
//!
//! Why this module exists: the effects that get shipped are those whose noise was in their favour, so that they add up to
//! more than a holdout shows (Lee & Shen 2018, KDD; Coey & Cunningham 2019, WWW). How much effects differ at all can be seen
//! in past experiments: σ₀² = mean(L²) − mean(se²), about a mean of 0, and each effect shrinks to L·σ₀²/(σ₀² + se²).

use super::super::{InvalidArgument, Note};
use super::{Prior, check_deviation};

/// Experiments from which on their spread is more than a rough guess.
pub const MANY_TESTS: usize = 20;

/// The prior of effects such as those of past experiments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmpiricalPrior {
    /// Always 0: on average a change does nothing.
    pub mean: Option<f64>,
    /// σ₀, 0 where the effects differ by no more than their noise.
    pub sd: Option<f64>,
    /// Past experiments.
    pub tests: usize,
    /// Why a figure is missing or how to read it.
    pub note: Option<Note>,
}

/// What is left of an estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shrunken {
    /// L·σ₀²/(σ₀² + se²).
    pub estimate: Option<f64>,
    /// Its standard deviation, σ₀·se/√(σ₀² + se²).
    pub standard_error: Option<f64>,
    /// How much of the estimate is left, σ₀²/(σ₀² + se²).
    pub factor: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// What shipped experiments should have come to together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ledger {
    /// The sum of the shrunken lifts, to hold against the lift of everybody else over the holdout.
    pub expected: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// The prior N(0, σ₀²) from the `lifts` of past experiments and their `standard_errors`, wins and losses alike.
///
/// Edges: fewer than two give [`Note::TooFewTests`] and no figures, fewer than [`MANY_TESTS`] [`Note::FewTests`] with them;
/// beyond the range of a double is [`Note::Overflow`].
///
/// # Errors
/// [`InvalidArgument`] naming `lift` or `se` for what is not finite, negative errors or arrays of unequal lengths.
pub fn empirical_prior(lifts: &[f64], standard_errors: &[f64]) -> Result<EmpiricalPrior, InvalidArgument> {
    check_past(lifts, standard_errors)?;
    let tests = lifts.len();
    let missing = |note| EmpiricalPrior { mean: None, sd: None, tests, note: Some(note) };
    if tests < 2 {
        return Ok(missing(Note::TooFewTests));
    }
    // (L − se)·(L + se) keeps the digits where effects are little more than noise.
    let unit = lifts.iter().chain(standard_errors).fold(0.0_f64, |unit, figure| unit.max(figure.abs()));
    let surplus: f64 = lifts
        .iter()
        .zip(standard_errors)
        .map(|(lift, error)| {
            let (lift, error) = (lift.abs() / unit, error / unit);
            (lift - error) * (lift + error)
        })
        .sum();
    let sd = if unit == 0.0 { 0.0 } else { unit * (surplus / tests as f64).max(0.0).sqrt() };
    if !sd.is_finite() {
        return Ok(missing(Note::Overflow));
    }
    let note = (tests < MANY_TESTS).then_some(Note::FewTests);
    Ok(EmpiricalPrior { mean: Some(0.0), sd: Some(sd), tests, note })
}

/// What is left of an estimate under the prior N(0, `prior_sd`²).
///
/// Edges: a prior without spread leaves nothing, also of an estimate of 0 without noise; an estimate without noise that is not
/// 0 is [`Note::ZeroVariance`].
///
/// # Errors
/// [`InvalidArgument`] for figures that are not finite and a negative `se` or `prior_sd`.
pub fn shrink(estimate: f64, standard_error: f64, prior_sd: f64) -> Result<Shrunken, InvalidArgument> {
    if !estimate.is_finite() {
        return Err(InvalidArgument::new("estimate", estimate, "a finite number"));
    }
    check_deviation("se", standard_error)?;
    check_deviation("prior_sd", prior_sd)?;
    if standard_error == 0.0 && estimate != 0.0 {
        return Ok(Shrunken {
            estimate: None,
            standard_error: None,
            factor: None,
            note: Some(Note::ZeroVariance),
        });
    }
    if standard_error == 0.0 || prior_sd == 0.0 {
        let factor = if prior_sd == 0.0 { 0.0 } else { 1.0 };
        return Ok(Shrunken {
            estimate: Some(factor * estimate),
            standard_error: Some(0.0),
            factor: Some(factor),
            note: None,
        });
    }
    let (mean, sd) = Prior { mean: 0.0, sd: Some(prior_sd) }.updated(estimate, standard_error);
    let factor = 1.0 / (1.0 + (standard_error / prior_sd).powi(2));
    Ok(Shrunken { estimate: Some(mean), standard_error: Some(sd), factor: Some(factor), note: None })
}

/// The sum of what is left of the `lifts` of shipped experiments under the prior N(0, `prior_sd`²). Lifts themselves must never
/// be added up: they were chosen for being great.
///
/// Edges: no experiments come to 0; one without noise is [`Note::ZeroVariance`] as for [`shrink`].
///
/// # Errors
/// [`InvalidArgument`] naming `lift`, `se` or `prior_sd`, as for [`empirical_prior`] and [`shrink`].
pub fn holdout_ledger(
    lifts: &[f64],
    standard_errors: &[f64],
    prior_sd: f64,
) -> Result<Ledger, InvalidArgument> {
    check_past(lifts, standard_errors)?;
    let (mut expected, mut standard_error) = (0.0, 0.0_f64);
    for (&lift, &error) in lifts.iter().zip(standard_errors) {
        let left = shrink(lift, error, prior_sd)?;
        let (Some(estimate), Some(error)) = (left.estimate, left.standard_error) else {
            return Ok(Ledger { expected: None, standard_error: None, note: left.note });
        };
        expected += estimate;
        standard_error = standard_error.hypot(error);
    }
    if !(expected.is_finite() && standard_error.is_finite()) {
        return Ok(Ledger { expected: None, standard_error: None, note: Some(Note::Overflow) });
    }
    Ok(Ledger { expected: Some(expected), standard_error: Some(standard_error), note: None })
}

fn check_past(lifts: &[f64], standard_errors: &[f64]) -> Result<(), InvalidArgument> {
    if lifts.len() != standard_errors.len() {
        return Err(InvalidArgument::length("se", standard_errors.len(), "lift", lifts.len()));
    }
    if let Some(lift) = lifts.iter().find(|lift| !lift.is_finite()) {
        return Err(InvalidArgument::new("lift", lift, "finite numbers"));
    }
    standard_errors.iter().try_for_each(|&error| check_deviation("se", error))
}

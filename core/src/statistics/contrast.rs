//! The t-test and interval of a weighted sum of independent means, which every comparison of means comes down to.
//!
//! Why this module exists: Welch's test, a post-stratified difference, an interaction and a factorial effect differ in
//! their weights only. Their edge cases (no noise at all, figures beyond the range of a double) are decided here, once. The
//! degrees of freedom are those of Welch (1947, Biometrika 34) and Satterthwaite (1946, Biometrics Bulletin 2):
//! (ΣV)² / Σ(V²/df), with V the variances of the weighted means.

use super::distribution::{student_critical, student_two_sided};
use super::lift::Lift;
use super::{Alternative, Note, columns};

/// An estimate of an effect with its t-test against 0 and its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contrast {
    /// The effect; `None` when the data does not determine it.
    pub estimate: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// t, the effect in standard errors; `None` where both are 0.
    pub statistic: Option<f64>,
    /// Welch–Satterthwaite degrees of freedom, infinite where the normal distribution applies.
    pub degrees_of_freedom: Option<f64>,
    /// The critical value of t that the interval is found with.
    pub critical: Option<f64>,
    /// P(an effect this extreme | no effect).
    pub p_value: Option<f64>,
    /// Lower bound of the effect.
    pub low: Option<f64>,
    /// Upper bound of the effect.
    pub high: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// What one of the means adds to the noise of the sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    /// Standard error of the mean times its weight, 0 or more.
    pub standard_error: f64,
    /// Degrees of freedom of that error's estimate, infinite for a known one.
    pub degrees_of_freedom: f64,
}

impl Contrast {
    /// An estimate without any inference.
    pub(super) fn of(estimate: Option<f64>) -> Contrast {
        Contrast {
            estimate,
            standard_error: None,
            statistic: None,
            degrees_of_freedom: None,
            critical: None,
            p_value: None,
            low: None,
            high: None,
            note: None,
        }
    }

    /// No figures, and why.
    pub(super) fn missing(note: Note) -> Contrast {
        Contrast { note: Some(note), ..Contrast::of(None) }
    }

    /// The test of `estimate` whose noise is the sum of the independent `terms`.
    ///
    /// Terms that are all 0 give p = 1 and the interval (0, 0) for an estimate of 0, else no p-value and
    /// [`Note::ZeroVariance`].
    pub(super) fn infer(estimate: f64, terms: &[Term], alpha: f64, alternative: Alternative) -> Contrast {
        if !estimate.is_finite() {
            return Contrast::missing(Note::Overflow);
        }
        let point = Contrast::of(Some(estimate));
        if terms.iter().all(|term| term.standard_error == 0.0) {
            let still = Contrast { standard_error: Some(0.0), ..point };
            return if estimate == 0.0 {
                Contrast { p_value: Some(1.0), low: Some(0.0), high: Some(0.0), ..still }
            } else {
                Contrast { note: Some(Note::ZeroVariance), ..still }
            };
        }
        let variance: f64 = terms.iter().map(|term| term.standard_error * term.standard_error).sum();
        let standard_error = variance.sqrt();
        let statistic = estimate / standard_error;
        // A subnormal variance has lost its digits: refused like one beyond the range.
        if !variance.is_finite() || variance < f64::MIN_POSITIVE || !statistic.is_finite() {
            return Contrast { note: Some(Note::Overflow), ..point };
        }
        // Shares instead of squared variances: no scale of the metric can overflow them.
        let degrees_of_freedom = 1.0
            / terms
                .iter()
                .map(|term| (term.standard_error / standard_error).powi(4) / term.degrees_of_freedom)
                .sum::<f64>();
        let critical = student_critical(alternative.area(alpha), degrees_of_freedom);
        let half = critical * standard_error;
        let (low, high, note) = columns(alternative.interval(alpha, (estimate - half, estimate + half)));
        Contrast {
            standard_error: Some(standard_error),
            statistic: Some(statistic),
            degrees_of_freedom: Some(degrees_of_freedom),
            critical: Some(critical),
            p_value: Some(alternative.p_value(statistic, |t| student_two_sided(t, degrees_of_freedom))),
            low,
            high,
            note,
            ..point
        }
    }

    /// The lift that belongs to this difference: with the bounds that `bounded` finds from the test's own critical value,
    /// or as sure or as unbounded as the difference itself.
    pub(super) fn lift(&self, point: Lift, bounded: impl FnOnce(f64) -> Lift) -> Lift {
        match self.critical {
            Some(critical) => bounded(critical),
            None if self.p_value.is_some() => {
                let sure = point.lift.map(|_| 0.0);
                Lift { low: sure, high: sure, ..point }
            }
            None => point,
        }
    }
}

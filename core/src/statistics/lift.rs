//! The relative lift of a treatment over its control, with Fieller's interval.
//!
//! Why this module exists: a lift is a ratio of two noisy means, and the popular delta method disagrees with the test of
//! the difference just when it matters. Fieller's set (Fieller 1954, "Some problems in interval estimation", JRSS B 16)
//! holds the ratios ρ for which m_T − ρ·m_C is not rejected: it contains "no lift" exactly when the test of the difference
//! with the same critical value does not reject. It has no upper end, or no end at all, when the control itself cannot be
//! told from zero; then there are no bounds to report and [`Note::ControlNearZero`] says so.
//!
//! A negative control (losses, say) is taken as its absolute value: the lift is (m_T − m_C) / |m_C|, so that it has the
//! sign of the difference.

use super::{Alternative, Note, columns};

/// A relative lift as fractions of the control's mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lift {
    /// (m_T − m_C) / |m_C|; `None` when the control's mean is 0.
    pub lift: Option<f64>,
    /// Lower bound.
    pub low: Option<f64>,
    /// Upper bound.
    pub high: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// The mean of an arm and the variance of that mean (s²/n), both finite.
#[derive(Clone, Copy)]
pub(super) struct Estimate {
    pub mean: f64,
    pub variance: f64,
}

impl Lift {
    pub(super) const MISSING: Lift = Lift { lift: None, low: None, high: None, note: None };

    /// The lift without bounds; `diff` is m_T − m_C, which the caller knows better than a subtraction here would.
    pub(super) fn point(diff: f64, control_mean: f64) -> Lift {
        if control_mean == 0.0 {
            return Lift { note: Some(Note::ControlNearZero), ..Lift::MISSING };
        }
        let lift = diff / control_mean.abs();
        if lift.is_finite() {
            Lift { lift: Some(lift), ..Lift::MISSING }
        } else {
            Lift { note: Some(Note::Overflow), ..Lift::MISSING }
        }
    }

    /// The lift with Fieller's bounds; `critical` gives the critical value for the area of both tails.
    pub(super) fn fieller(
        diff: f64,
        control: Estimate,
        treatment: Estimate,
        alpha: f64,
        alternative: Alternative,
        critical: impl Fn(f64) -> f64,
    ) -> Lift {
        let point = Lift::point(diff, control.mean);
        let Some(lift) = point.lift else { return point };
        let base = control.mean.abs();
        // Everything is scaled by |m_C| before it is squared, so that neither tiny nor huge metrics leave the range.
        let (control_error, treatment_error) =
            (control.variance.sqrt() / base, treatment.variance.sqrt() / base);
        // m_T/m_C − 1 is the lift itself for a positive control and its negative for a negative one.
        let excess = if control.mean > 0.0 { lift } else { -lift };
        let bounds = |critical: f64| {
            let g = (critical * control_error).powi(2);
            if g.is_nan() || g >= 1.0 {
                return Err(Note::ControlNearZero);
            }
            let half = critical
                * (treatment_error.powi(2) * (1.0 - g) + ((1.0 + excess) * control_error).powi(2)).sqrt();
            // (R ± half)/(1 − g) − 1, with the subtraction of 1 carried out beforehand.
            let (low, high) = ((excess + g - half) / (1.0 - g), (excess + g + half) / (1.0 - g));
            Ok(if control.mean > 0.0 { (low, high) } else { (-high, -low) })
        };
        let (low, high, note) = columns(alternative.interval(alpha, critical, bounds));
        Lift { lift: Some(lift), low, high, note }
    }
}

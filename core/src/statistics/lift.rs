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

use std::str::FromStr;

use super::distribution::normal_critical;
use super::mean::Sample;
use super::{Alternative, InvalidArgument, Note, check_alpha, columns};

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

impl Estimate {
    /// The variance in units of `scale`², also where neither it nor the square is in range.
    pub(super) fn scaled_variance(&self, scale: f64) -> f64 {
        (self.variance.sqrt() / scale).powi(2)
    }
}

/// The noise of d − l·m, the difference less its own share of the base, both scaled by m²: what bounds a ratio l = d/m.
#[derive(Clone, Copy)]
pub(super) struct Residual {
    /// Var(d − l·m) / m².
    pub variance: f64,
    /// Cov(d − l·m, m) / m².
    pub covariance: f64,
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

    /// The lift of independent arms with Fieller's bounds; `critical` is the critical value of the test of the difference.
    pub(super) fn fieller(
        diff: f64,
        control: Estimate,
        treatment: Estimate,
        alpha: f64,
        alternative: Alternative,
        critical: f64,
    ) -> Lift {
        let ratio = 1.0 + diff / control.mean;
        let residual = Residual {
            // Squared and scaled in this order, neither tiny nor huge metrics leave the range.
            variance: treatment.scaled_variance(control.mean)
                + ratio * ratio * control.scaled_variance(control.mean),
            covariance: -ratio * control.scaled_variance(control.mean),
        };
        Lift::of_base(diff, control, residual, alpha, alternative, critical)
    }

    /// The lift `diff` / |base| with Fieller's bounds, where the difference may depend on the base in any way.
    ///
    /// With l = d/m, g = c²·Var(m)/m² and the [`Residual`] scaled by c², the set of all λ with
    /// (d − λm)² ≤ c²·Var(d − λm) is l + (−cov ± √(var·(1 − g) + cov²)) / (1 − g), if g < 1.
    pub(super) fn of_base(
        diff: f64,
        base: Estimate,
        residual: Residual,
        alpha: f64,
        alternative: Alternative,
        critical: f64,
    ) -> Lift {
        let point = Lift::point(diff, base.mean);
        let Some(lift) = point.lift else { return point };
        // d/m is the lift itself for a positive base and its negative for a negative one.
        let ratio = if base.mean > 0.0 { lift } else { -lift };
        let square = critical * critical;
        let g = square * base.scaled_variance(base.mean);
        if g.is_nan() || g >= 1.0 {
            return Lift { note: Some(Note::ControlNearZero), ..point };
        }
        let (variance, covariance) = (square * residual.variance, square * residual.covariance);
        let root = (variance * (1.0 - g) + covariance * covariance).sqrt();
        let (low, high) = (ratio - (covariance + root) / (1.0 - g), ratio + (root - covariance) / (1.0 - g));
        let bounds = if base.mean > 0.0 { (low, high) } else { (-high, -low) };
        let (low, high, note) = columns(alternative.interval(alpha, bounds));
        Lift { lift: Some(lift), low, high, note }
    }
}

/// How a method finds the bounds of a lift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LiftMethod {
    /// The ratios that a z-test does not reject; agrees with the test of the difference.
    #[default]
    Fieller,
    /// The normal approximation of the ratio itself: m_T/m_C ± z·√((V_T + R²·V_C)/m_C²).
    Delta,
    /// The normal approximation of the ratio's logarithm, for two positive means.
    Log,
}

impl LiftMethod {
    /// `fieller`, `delta` or `log`.
    pub fn as_str(self) -> &'static str {
        match self {
            LiftMethod::Fieller => "fieller",
            LiftMethod::Delta => "delta",
            LiftMethod::Log => "log",
        }
    }
}

impl FromStr for LiftMethod {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<LiftMethod, InvalidArgument> {
        match text {
            "fieller" => Ok(LiftMethod::Fieller),
            "delta" => Ok(LiftMethod::Delta),
            "log" => Ok(LiftMethod::Log),
            _ => Err(InvalidArgument::option("method", text, "\"fieller\", \"delta\" or \"log\"")),
        }
    }
}

/// A lift with its two-sided interval at the normal critical value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LiftInterval {
    /// (m_T − m_C) / |m_C|.
    pub lift: Option<f64>,
    /// Lower bound.
    pub low: Option<f64>,
    /// Upper bound.
    pub high: Option<f64>,
    /// Fieller's g = z²·V_C/m_C²: from 1 on the control cannot be told from zero. Above 0.05 or so the other methods are
    /// no longer to be trusted.
    pub g: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// The interval of the relative lift by any of the methods.
///
/// Edges: an arm with fewer than two users gives [`Note::TooFewUnits`] and at most the lift itself, a control of 0
/// [`Note::ControlNearZero`], and so does Fieller's method for g ≥ 1; two variances of 0 give [`Note::ZeroVariance`], a mean
/// that is not positive [`Note::NonPositiveMean`] with the log method.
///
/// # Errors
/// [`InvalidArgument`] as for [`welch_test`](super::mean::welch_test).
pub fn lift_interval(
    control: Sample,
    treatment: Sample,
    alpha: f64,
    method: LiftMethod,
) -> Result<LiftInterval, InvalidArgument> {
    control.check(["n1", "mean1", "var1"])?;
    treatment.check(["n2", "mean2", "var2"])?;
    check_alpha(alpha)?;
    let without_bounds = |lift, g, note| LiftInterval { lift, low: None, high: None, g, note: Some(note) };
    if control.n == 0 || treatment.n == 0 {
        return Ok(without_bounds(None, None, Note::TooFewUnits));
    }
    let diff = treatment.mean - control.mean;
    let point = Lift::point(diff, control.mean);
    let Some(lift) = point.lift else {
        return Ok(without_bounds(None, None, point.note.unwrap_or(Note::Overflow)));
    };
    if control.n < 2 || treatment.n < 2 {
        return Ok(without_bounds(Some(lift), None, Note::TooFewUnits));
    }
    let z = normal_critical(alpha);
    let (base, other) = (control.estimate(), treatment.estimate());
    let control_variance = base.scaled_variance(base.mean);
    let g = z * z * control_variance;
    if !g.is_finite() {
        return Ok(without_bounds(Some(lift), None, Note::Overflow));
    }
    if base.variance == 0.0 && other.variance == 0.0 && diff != 0.0 {
        return Ok(without_bounds(Some(lift), Some(g), Note::ZeroVariance));
    }
    let bounds = match method {
        LiftMethod::Fieller => {
            let found = Lift::fieller(diff, base, other, alpha, Alternative::TwoSided, z);
            match (found.low, found.high) {
                (Some(low), Some(high)) => Ok((low, high)),
                _ => Err(found.note.unwrap_or(Note::Overflow)),
            }
        }
        LiftMethod::Delta => {
            let ratio = 1.0 + diff / base.mean;
            let half = z * (other.scaled_variance(base.mean) + ratio * ratio * control_variance).sqrt();
            Ok((lift - half, lift + half))
        }
        LiftMethod::Log if base.mean > 0.0 && other.mean > 0.0 => {
            let half = z * (other.scaled_variance(other.mean) + control_variance).sqrt();
            let logarithm = lift.ln_1p();
            Ok(((logarithm - half).exp_m1(), (logarithm + half).exp_m1()))
        }
        LiftMethod::Log => Err(Note::NonPositiveMean),
    };
    let bounds = bounds.and_then(|(low, high)| {
        if low.is_finite() && high.is_finite() { Ok((low, high)) } else { Err(Note::Overflow) }
    });
    let (low, high, note) = columns(bounds);
    Ok(LiftInterval { lift: Some(lift), low, high, g: Some(g), note })
}

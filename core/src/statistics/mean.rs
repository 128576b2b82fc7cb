//! Means of one value per user: Welch's test of two arms and the t interval of one.
//!
//! Why this module exists: revenue and counts per user have unequal variances and unequal arms as a rule, so the variances
//! are never pooled (Welch 1947, Biometrika 34; degrees of freedom by Satterthwaite 1946), and the t distribution is used
//! at every size, where others switch to the normal one.

use super::contrast::{Contrast, Term};
use super::distribution::student_critical;
use super::lift::{Estimate, Lift};
use super::{Alternative, Interval, InvalidArgument, Note, check_alpha, check_count};

/// What has to be known of an arm: one value per user, users without an event included as 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Users.
    pub n: i64,
    /// Mean over users; ignored without users, but never NaN.
    pub mean: f64,
    /// Sample variance (n − 1) over users; ignored with fewer than two, but never NaN.
    pub variance: f64,
}

impl Sample {
    pub(super) fn check(&self, names: [&'static str; 3]) -> Result<(), InvalidArgument> {
        check_count(names[0], self.n)?;
        if !self.mean.is_finite() {
            return Err(InvalidArgument::new(names[1], self.mean, "a finite number"));
        }
        if !(self.variance.is_finite() && self.variance >= 0.0) {
            return Err(InvalidArgument::new(names[2], self.variance, "a finite number, 0 or more"));
        }
        Ok(())
    }

    /// The mean and its variance; defined for n > 0 only.
    pub(super) fn estimate(&self) -> Estimate {
        Estimate { mean: self.mean, variance: self.variance / self.n as f64 }
    }

    /// Both samples as one (Chan, Golub & LeVeque 1983, The American Statistician 37).
    pub(super) fn merged(self, other: Sample) -> Sample {
        if self.n == 0 || other.n == 0 {
            return if self.n == 0 { other } else { self };
        }
        let squares =
            |sample: Sample| (sample.n - 1) as f64 * if sample.n > 1 { sample.variance } else { 0.0 };
        let (own, others) = (self.n as f64, other.n as f64);
        let delta = other.mean - self.mean;
        let between = delta * (delta * (own / (own + others)) * others);
        Sample {
            n: self.n.saturating_add(other.n),
            mean: self.mean + delta * (others / (own + others)),
            variance: (squares(self) + squares(other) + between) / (own + others - 1.0),
        }
    }

    /// What the mean times `coefficient` adds to the noise of a sum.
    pub(super) fn term(&self, coefficient: f64) -> Term {
        Term {
            standard_error: (coefficient * self.estimate().variance.sqrt()).abs(),
            degrees_of_freedom: (self.n - 1) as f64,
        }
    }
}

/// Var(Y − k·X), which is 0 and not the rounding of its terms where X determines Y.
pub(super) fn residual_variance(variance: f64, k: f64, covariance: f64, other: f64) -> f64 {
    let (crossed, squared) = (2.0 * k * covariance, k * k * other);
    let residual = variance - crossed + squared;
    let rounding = 4.0 * f64::EPSILON * (variance + crossed.abs() + squared);
    if residual > rounding || residual.is_nan() { residual } else { 0.0 }
}

/// Welch's test and its intervals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WelchTest {
    /// Treatment mean minus control mean; `None` when an arm has no users.
    pub diff: Option<f64>,
    /// Standard error of the difference.
    pub standard_error: Option<f64>,
    /// t, the difference in standard errors; `None` where both are 0.
    pub statistic: Option<f64>,
    /// Welch–Satterthwaite degrees of freedom.
    pub degrees_of_freedom: Option<f64>,
    /// P(a difference this extreme | no difference).
    pub p_value: Option<f64>,
    /// Lower bound of the difference.
    pub low: Option<f64>,
    /// Upper bound of the difference.
    pub high: Option<f64>,
    /// The lift relative to the control, with Fieller's bounds at the test's own t critical value.
    pub lift: Lift,
    /// Why a figure is missing; a lift's own reason is here only if nothing else is missing.
    pub note: Option<Note>,
}

impl WelchTest {
    /// The point estimates alone, for data that allows nothing more.
    pub(super) fn without_inference(diff: Option<f64>, lift: Lift, note: Note) -> WelchTest {
        WelchTest::new(Contrast { note: Some(note), ..Contrast::of(diff) }, lift)
    }

    /// A test of the difference together with its lift.
    pub(super) fn new(contrast: Contrast, lift: Lift) -> WelchTest {
        WelchTest {
            diff: contrast.estimate,
            standard_error: contrast.standard_error,
            statistic: contrast.statistic,
            degrees_of_freedom: contrast.degrees_of_freedom,
            p_value: contrast.p_value,
            low: contrast.low,
            high: contrast.high,
            lift,
            note: contrast.note.or(lift.note),
        }
    }
}

/// Welch's t test of the difference of two means, with its interval and the relative lift.
///
/// Edges: an arm with fewer than two users gives [`Note::TooFewUnits`] and point estimates only. Two variances of 0 give
/// p = 1 and the interval (0, 0) when the means are equal, otherwise no p-value and [`Note::ZeroVariance`]. One variance
/// of 0 is an ordinary case.
///
/// # Errors
/// [`InvalidArgument`] for a negative `n`, a mean or variance that is not finite, a negative variance, or an `alpha`
/// outside (0, 1).
pub fn welch_test(
    control: Sample,
    treatment: Sample,
    alpha: f64,
    alternative: Alternative,
) -> Result<WelchTest, InvalidArgument> {
    control.check(["n1", "mean1", "var1"])?;
    treatment.check(["n2", "mean2", "var2"])?;
    check_alpha(alpha)?;
    if control.n == 0 || treatment.n == 0 {
        return Ok(WelchTest::without_inference(None, Lift::MISSING, Note::TooFewUnits));
    }
    let diff = treatment.mean - control.mean;
    if !diff.is_finite() {
        return Ok(WelchTest::without_inference(None, Lift::MISSING, Note::Overflow));
    }
    let point = Lift::point(diff, control.mean);
    if control.n < 2 || treatment.n < 2 {
        return Ok(WelchTest::without_inference(Some(diff), point, Note::TooFewUnits));
    }
    let contrast = Contrast::infer(diff, &[control.term(-1.0), treatment.term(1.0)], alpha, alternative);
    let lift = contrast.lift(point, |critical| {
        Lift::fieller(diff, control.estimate(), treatment.estimate(), alpha, alternative, critical)
    });
    Ok(WelchTest::new(contrast, lift))
}

/// The two-sided t interval of one mean, with n − 1 degrees of freedom.
///
/// Edges: no users give no figures, one user the mean alone ([`Note::TooFewUnits`]); a variance of 0 gives an interval of
/// no width and [`Note::ZeroVariance`].
///
/// # Errors
/// [`InvalidArgument`] as for [`welch_test`], naming `n`, `mean`, `variance` or `alpha`.
pub fn mean_interval(sample: Sample, alpha: f64) -> Result<Interval, InvalidArgument> {
    sample.check(["n", "mean", "variance"])?;
    check_alpha(alpha)?;
    let estimate = (sample.n > 0).then_some(sample.mean);
    if sample.n < 2 {
        return Ok(Interval { estimate, low: None, high: None, note: Some(Note::TooFewUnits) });
    }
    let half = student_critical(alpha, (sample.n - 1) as f64) * sample.estimate().variance.sqrt();
    let (low, high) = (sample.mean - half, sample.mean + half);
    if !(low.is_finite() && high.is_finite()) {
        return Ok(Interval { estimate, low: None, high: None, note: Some(Note::Overflow) });
    }
    let note = (sample.variance == 0.0).then_some(Note::ZeroVariance);
    Ok(Interval { estimate, low: Some(low), high: Some(high), note })
}

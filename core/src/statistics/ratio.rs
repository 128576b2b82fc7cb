//! Ratios of two totals, such as revenue per order or clicks per view, compared by the delta method.
//!
//! Why this module exists: users are randomised, not orders, so that the orders of one user are not independent and a test
//! over orders finds far too much. The ratio r of the means of Y and Z is to first order a mean over users, that of
//! r + (Y − r·Z)/m_Z; its variance (s²_Y − 2r·s_YZ + r²·s²_Z)/m_Z² is all that Welch's test needs (Deng, Knoblich & Lu, KDD
//! 2018; Budylin et al., WSDM 2018). Users whose Z is 0 count like all others.

use super::distribution::normal_critical;
use super::lift::Lift;
use super::mean::{Sample, WelchTest, residual_variance, welch_test};
use super::{Alternative, InvalidArgument, Note, check_alpha, check_covariance};

/// An arm's two values per user, Y over Z.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioSample {
    /// Users.
    pub n: i64,
    /// Mean of Y over users.
    pub numerator_mean: f64,
    /// Sample variance (n − 1) of Y.
    pub numerator_variance: f64,
    /// Mean of Z over users.
    pub denominator_mean: f64,
    /// Sample variance (n − 1) of Z.
    pub denominator_variance: f64,
    /// Sample covariance (n − 1) of Y and Z.
    pub covariance: f64,
}

/// Welch's test on the linearised ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioTest {
    /// The comparison; its lift is that of the ratios.
    pub test: WelchTest,
    /// The control's ratio of means.
    pub control_ratio: Option<f64>,
    /// The treatment's ratio of means.
    pub treatment_ratio: Option<f64>,
}

impl RatioSample {
    fn check(&self, names: [&'static str; 6]) -> Result<(), InvalidArgument> {
        let [n, numerator_mean, numerator_variance, denominator_mean, denominator_variance, covariance] =
            names;
        let numerator = Sample { n: self.n, mean: self.numerator_mean, variance: self.numerator_variance };
        let denominator =
            Sample { n: self.n, mean: self.denominator_mean, variance: self.denominator_variance };
        numerator.check([n, numerator_mean, numerator_variance])?;
        denominator.check([n, denominator_mean, denominator_variance])?;
        check_covariance(covariance, self.covariance, self.numerator_variance, self.denominator_variance)
    }

    /// The ratio as a mean over users; `None` where it does not exist or leaves the range.
    pub(super) fn linearised(&self) -> Option<Sample> {
        if self.n == 0 || self.denominator_mean == 0.0 {
            return None;
        }
        let mean = self.numerator_mean / self.denominator_mean;
        let variance =
            residual_variance(self.numerator_variance, mean, self.covariance, self.denominator_variance);
        let variance = variance / self.denominator_mean / self.denominator_mean;
        (mean.is_finite() && variance.is_finite()).then_some(Sample { n: self.n, mean, variance })
    }

    /// Whether the denominator's mean is within ten standard errors or so of 0, where the linearisation is rough.
    fn is_rough(&self, z: f64) -> bool {
        let relative = (self.denominator_variance / self.n as f64).sqrt() / self.denominator_mean;
        (z * relative).powi(2) > 0.01
    }
}

/// Compares two ratio metrics.
///
/// Edges: those of [`welch_test`]; a mean of Z of 0 gives [`Note::DenominatorNearZero`] and no figures, one that is not well
/// away from 0 (z²·V_Z/m_Z² > 0.01) the same note beside them.
///
/// # Errors
/// [`InvalidArgument`] for what [`welch_test`] refuses in either value and for covariances greater than variances allow,
/// naming `my1`, `vy1`, `mz1`, `vz1`, `cyz1` and so on.
pub fn ratio_test(
    control: RatioSample,
    treatment: RatioSample,
    alpha: f64,
    alternative: Alternative,
) -> Result<RatioTest, InvalidArgument> {
    control.check(["n1", "my1", "vy1", "mz1", "vz1", "cyz1"])?;
    treatment.check(["n2", "my2", "vy2", "mz2", "vz2", "cyz2"])?;
    check_alpha(alpha)?;
    let (Some(first), Some(second)) = (control.linearised(), treatment.linearised()) else {
        let arms = [control, treatment];
        let note = if arms.iter().any(|arm| arm.n == 0) {
            Note::TooFewUnits
        } else if arms.iter().any(|arm| arm.denominator_mean == 0.0) {
            Note::DenominatorNearZero
        } else {
            Note::Overflow
        };
        return Ok(RatioTest {
            test: WelchTest::without_inference(None, Lift::MISSING, note),
            control_ratio: control.linearised().map(|sample| sample.mean),
            treatment_ratio: treatment.linearised().map(|sample| sample.mean),
        });
    };
    let test = welch_test(first, second, alpha, alternative)?;
    let z = normal_critical(alpha);
    let rough = (control.is_rough(z) || treatment.is_rough(z)).then_some(Note::DenominatorNearZero);
    Ok(RatioTest {
        test: WelchTest { note: test.note.or(rough), ..test },
        control_ratio: Some(first.mean),
        treatment_ratio: Some(second.mean),
    })
}

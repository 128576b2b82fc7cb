//! Whether an effect wears off (novelty) or grows (primacy) the longer users are exposed.
//!
//! Why this module exists: the same users make up every day, so that daily effects are correlated and a line through them
//! has no honest standard error. A per-user contrast has: the mean of a late window less that of an early one, both counted
//! from the user's first exposure and over users observed through both, compared between arms by Welch's test (Hohnhold,
//! O'Brien & Tang, KDD 2015; Sadeghi et al. 2022).

use super::mean::{Sample, WelchTest, residual_variance, welch_test};
use super::{Alternative, InvalidArgument, check_covariance};

/// An arm's users observed through both windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Windows {
    /// Users.
    pub n: i64,
    /// Mean of the early window.
    pub early_mean: f64,
    /// Sample variance (n − 1) of the early window.
    pub early_variance: f64,
    /// Mean of the late window.
    pub late_mean: f64,
    /// Sample variance (n − 1) of the late window.
    pub late_variance: f64,
    /// Sample covariance (n − 1) of both.
    pub covariance: f64,
}

/// Which way an effect moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trend {
    /// It shrinks, or turns round.
    Novelty,
    /// It grows.
    Primacy,
    /// Neither is shown.
    Stable,
}

impl Trend {
    /// `novelty`, `primacy` or `stable`.
    pub fn as_str(self) -> &'static str {
        match self {
            Trend::Novelty => "novelty",
            Trend::Primacy => "primacy",
            Trend::Stable => "stable",
        }
    }
}

/// The change of an effect between the windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoveltyTest {
    /// The effect in the early window.
    pub early_effect: Option<f64>,
    /// The effect in the late window.
    pub late_effect: Option<f64>,
    /// The difference between arms of late less early, with its test; there is no lift of it.
    pub change: WelchTest,
    /// The verdict at `alpha`; `None` without a test.
    pub trend: Option<Trend>,
}

impl Windows {
    fn change(&self, names: [&'static str; 6]) -> Result<Sample, InvalidArgument> {
        let [n, early_mean, early_variance, late_mean, late_variance, covariance] = names;
        let early = Sample { n: self.n, mean: self.early_mean, variance: self.early_variance };
        let late = Sample { n: self.n, mean: self.late_mean, variance: self.late_variance };
        early.check([n, early_mean, early_variance])?;
        late.check([n, late_mean, late_variance])?;
        check_covariance(covariance, self.covariance, self.early_variance, self.late_variance)?;
        let variance = residual_variance(self.late_variance, 1.0, self.covariance, self.early_variance);
        // Beyond the range only for figures that no metric has.
        let mean = (self.late_mean - self.early_mean).clamp(-f64::MAX, f64::MAX);
        Ok(Sample { n: self.n, mean, variance: variance.min(f64::MAX) })
    }
}

/// Tests whether the effect of the treatment changes from the early to the late window.
///
/// The verdict is primacy if a significant change has the sign of the early effect and novelty if it has the opposite one.
/// Edges: those of [`welch_test`].
///
/// # Errors
/// [`InvalidArgument`] naming `n1`, `early_mean1`, `early_var1`, `late_mean1`, `late_var1`, `cov1`, those of the second arm, or
/// `alpha`.
pub fn novelty_test(
    control: Windows,
    treatment: Windows,
    alpha: f64,
) -> Result<NoveltyTest, InvalidArgument> {
    let first = control.change(["n1", "early_mean1", "early_var1", "late_mean1", "late_var1", "cov1"])?;
    let second = treatment.change(["n2", "early_mean2", "early_var2", "late_mean2", "late_var2", "cov2"])?;
    let change = welch_test(first, second, alpha, Alternative::TwoSided)?;
    // The control's change is a base for nothing: it may well be 0.
    let change = WelchTest {
        lift: super::lift::Lift::MISSING,
        note: change.note.filter(|_| change.p_value.is_none()),
        ..change
    };
    let effect = |mean: fn(&Windows) -> f64| {
        let effect = mean(&treatment) - mean(&control);
        (control.n > 0 && treatment.n > 0 && effect.is_finite()).then_some(effect)
    };
    let (early_effect, late_effect) = (effect(|arm| arm.early_mean), effect(|arm| arm.late_mean));
    let trend = change.p_value.zip(change.diff).zip(early_effect).map(|((p, change), early)| {
        if p >= alpha {
            Trend::Stable
        } else if change * early.signum() < 0.0 {
            Trend::Novelty
        } else {
            Trend::Primacy
        }
    });
    Ok(NoveltyTest { early_effect, late_effect, change, trend })
}

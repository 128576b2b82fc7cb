//! CUPED: less noise by what was known of the users before the experiment.
//!
//! Why this module exists: most of the variance of a metric is that users differ, and they differed before. Subtracting
//! θ·(X − E X), with X measured before a user's first exposure, leaves the difference of the arms unbiased and its variance
//! at 1 − ρ² of what it was (Deng, Xu, Kohavi & Walker, WSDM 2013). θ is pooled within arms: the cross product about the
//! grand mean would hold a part of the effect wherever the arms' covariates differ.
//!
//! The lift is relative to the control's plain mean, whose covariance with the adjusted difference, −V_C + θ·s_XY,C/n_C,
//! belongs to its interval. A user without a history has no X; those users are a stratum of their own, see
//! [`stratified_cuped_test`].

use super::contrast::Contrast;
use super::lift::{Estimate, Lift, Residual};
use super::mean::{Sample, WelchTest, residual_variance, welch_test};
use super::{Alternative, InvalidArgument, Note, check_alpha, check_count, check_covariance};

/// An arm's values Y with their covariate X, per user.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CovariateSample {
    /// Users.
    pub n: i64,
    /// Mean of Y.
    pub mean: f64,
    /// Sample variance (n − 1) of Y.
    pub variance: f64,
    /// Mean of X.
    pub covariate_mean: f64,
    /// Sample variance (n − 1) of X.
    pub covariate_variance: f64,
    /// Sample covariance (n − 1) of X and Y.
    pub covariance: f64,
}

/// The comparison of adjusted means beside that of the raw ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CupedTest {
    /// The coefficient of the covariate.
    pub theta: Option<f64>,
    /// Correlation of X and Y within arms; `None` where either does not vary.
    pub rho: Option<f64>,
    /// 1 − Var(adjusted difference)/Var(raw difference).
    pub variance_reduction: Option<f64>,
    /// The control's mean less θ·(X̄ − X̄ of all).
    pub adjusted_control_mean: Option<f64>,
    /// The treatment's mean less θ·(X̄ − X̄ of all).
    pub adjusted_treatment_mean: Option<f64>,
    /// The comparison of the adjusted means, with the lift relative to the control's raw mean.
    pub test: WelchTest,
    /// Welch's test of the raw means.
    pub raw: WelchTest,
    /// p-value of a difference in X between the arms, which randomisation rules out: below 0.001 the data is broken.
    pub covariate_balance_p_value: Option<f64>,
    /// Why a figure is missing, or [`Note::NoCovariate`] where there is nothing to adjust by.
    pub note: Option<Note>,
}

const NAMES: [[&str; 6]; 2] =
    [["n1", "my1", "vy1", "mx1", "vx1", "cxy1"], ["n2", "my2", "vy2", "mx2", "vx2", "cxy2"]];

impl CovariateSample {
    fn check(&self, names: [&'static str; 6]) -> Result<(), InvalidArgument> {
        let [n, mean, variance, covariate_mean, covariate_variance, covariance] = names;
        self.outcome().check([n, mean, variance])?;
        self.covariate().check([n, covariate_mean, covariate_variance])?;
        check_covariance(covariance, self.covariance, self.variance, self.covariate_variance)
    }

    /// Y alone.
    pub fn outcome(&self) -> Sample {
        Sample { n: self.n, mean: self.mean, variance: self.variance }
    }

    fn covariate(&self) -> Sample {
        Sample { n: self.n, mean: self.covariate_mean, variance: self.covariate_variance }
    }

    /// Y − θ·(X − `centre`) as a sample of its own.
    fn adjusted(&self, theta: f64, centre: f64) -> Sample {
        let variance = residual_variance(self.variance, theta, self.covariance, self.covariate_variance);
        Sample { n: self.n, mean: self.mean - theta * (self.covariate_mean - centre), variance }
    }

    /// Cov(adjusted mean, raw mean).
    fn shared_variance(&self, theta: f64) -> f64 {
        (self.variance - theta * self.covariance) / self.n as f64
    }
}

/// θ pooled over any number of arms: ΣC_xy/ΣM2_x of the sums within arms; `None` where X does not vary in any.
///
/// `arms` gives users, variance of X and covariance of X and Y, the latter two with n − 1. Arms with fewer than two users
/// say nothing.
///
/// # Errors
/// [`InvalidArgument`] naming `n`, `vx` or `cxy` for negative counts or variances and for what is not finite.
pub fn pooled_theta(arms: &[(i64, f64, f64)]) -> Result<Option<f64>, InvalidArgument> {
    let (mut products, mut squares) = (0.0, 0.0);
    for &(n, variance, covariance) in arms {
        check_count("n", n)?;
        if !(variance.is_finite() && variance >= 0.0) {
            return Err(InvalidArgument::new("vx", variance, "a finite number, 0 or more"));
        }
        if !covariance.is_finite() {
            return Err(InvalidArgument::new("cxy", covariance, "a finite number"));
        }
        if n > 1 {
            let weight = (n - 1) as f64;
            products += weight * covariance;
            squares += weight * variance;
        }
    }
    let theta = products / squares;
    Ok((squares > 0.0 && theta.is_finite()).then_some(theta))
}

/// Compares two arms after adjusting for a covariate; `theta` is the pooled one of the two arms unless given, which it
/// should be with more arms (see [`pooled_theta`]).
///
/// Edges: those of [`welch_test`]; a covariate that does not vary leaves the means as they are, with [`Note::NoCovariate`].
///
/// # Errors
/// [`InvalidArgument`] for what [`welch_test`] refuses in Y or X, for covariances greater than the variances allow and for a
/// `theta` that is not finite, naming `my1`, `vy1`, `mx1`, `vx1`, `cxy1` and so on.
pub fn cuped_test(
    control: CovariateSample,
    treatment: CovariateSample,
    alpha: f64,
    alternative: Alternative,
    theta: Option<f64>,
) -> Result<CupedTest, InvalidArgument> {
    control.check(NAMES[0])?;
    treatment.check(NAMES[1])?;
    let pooled =
        pooled_theta(&[control, treatment].map(|arm| (arm.n, arm.covariate_variance, arm.covariance)))?;
    test_with(control, treatment, alpha, alternative, theta, pooled)
}

/// A ratio metric Y/Z with the ratio U/W of the same user before the experiment as its covariate.
///
/// Both ratios are linearised (see [`ratio`](super::ratio)), and θ is the one that minimises the variance of the difference,
/// with arms weighted by 1/n (Deng et al. 2013, appendix B; Jin & Ba 2023, Technometrics 65).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioCovariateSample {
    /// Users.
    pub n: i64,
    /// Means of Y, Z, U and W.
    pub means: [f64; 4],
    /// Sample covariance matrix (n − 1) of Y, Z, U and W; the lower triangle is not read.
    pub covariances: [[f64; 4]; 4],
}

impl RatioCovariateSample {
    fn check(&self, names: [&'static str; 3]) -> Result<(), InvalidArgument> {
        for (row, &mean) in self.means.iter().enumerate() {
            Sample { n: self.n, mean, variance: self.covariances[row][row] }.check(names)?;
            for column in row + 1..4 {
                let (variance, other) = (self.covariances[row][row], self.covariances[column][column]);
                check_covariance(names[2], self.covariances[row][column], variance, other)?;
            }
        }
        Ok(())
    }

    /// Cov of the linear forms with these coefficients of (Y, Z, U, W).
    fn covariance(&self, left: [f64; 4], right: [f64; 4]) -> f64 {
        let pairs = (0..4).flat_map(|row| (0..4).map(move |column| (row, column)));
        pairs
            .map(|(row, column)| {
                left[row] * right[column] * self.covariances[row.min(column)][row.max(column)]
            })
            .sum()
    }

    /// The linearised ratios as Y and X; `None` where one does not exist.
    fn linearised(&self) -> Option<CovariateSample> {
        let [y, z, u, w] = self.means;
        let (ratio, before) = (y / z, u / w);
        let (own, other) = ([1.0 / z, -ratio / z, 0.0, 0.0], [0.0, 0.0, 1.0 / w, -before / w]);
        let sample = CovariateSample {
            n: self.n,
            mean: ratio,
            variance: self.covariance(own, own).max(0.0),
            covariate_mean: before,
            covariate_variance: self.covariance(other, other).max(0.0),
            covariance: self.covariance(own, other),
        };
        let figures = [ratio, sample.variance, before, sample.covariate_variance, sample.covariance];
        figures.iter().all(|figure| figure.is_finite()).then_some(sample)
    }
}

/// Compares two ratio metrics after adjusting for the same ratio before the experiment.
///
/// Edges: those of [`cuped_test`]; a mean of Z or W of 0 gives [`Note::DenominatorNearZero`] and no figures.
///
/// # Errors
/// [`InvalidArgument`] naming `n1`, `means1`, `covariances1` or those of the second arm, `alpha` or `theta`.
pub fn cuped_ratio_test(
    control: RatioCovariateSample,
    treatment: RatioCovariateSample,
    alpha: f64,
    alternative: Alternative,
    theta: Option<f64>,
) -> Result<CupedTest, InvalidArgument> {
    control.check(["n1", "means1", "covariances1"])?;
    treatment.check(["n2", "means2", "covariances2"])?;
    check_alpha(alpha)?;
    let (Some(first), Some(second)) = (control.linearised(), treatment.linearised()) else {
        let empty = control.n == 0 || treatment.n == 0;
        return Ok(CupedTest::missing(if empty { Note::TooFewUnits } else { Note::DenominatorNearZero }));
    };
    let weighted = |figure: fn(&CovariateSample) -> f64| {
        figure(&first) / first.n as f64 + figure(&second) / second.n as f64
    };
    let best = weighted(|arm| arm.covariance) / weighted(|arm| arm.covariate_variance);
    test_with(first, second, alpha, alternative, theta, best.is_finite().then_some(best))
}

impl CupedTest {
    fn missing(note: Note) -> CupedTest {
        let nothing = WelchTest::without_inference(None, Lift::MISSING, note);
        CupedTest {
            theta: None,
            rho: None,
            variance_reduction: None,
            adjusted_control_mean: None,
            adjusted_treatment_mean: None,
            test: nothing,
            raw: nothing,
            covariate_balance_p_value: None,
            note: Some(note),
        }
    }
}

fn test_with(
    control: CovariateSample,
    treatment: CovariateSample,
    alpha: f64,
    alternative: Alternative,
    given: Option<f64>,
    best: Option<f64>,
) -> Result<CupedTest, InvalidArgument> {
    if let Some(theta) = given.filter(|theta| !theta.is_finite()) {
        return Err(InvalidArgument::new("theta", theta, "a finite number"));
    }
    let raw = welch_test(control.outcome(), treatment.outcome(), alpha, alternative)?;
    let balance = welch_test(control.covariate(), treatment.covariate(), alpha, Alternative::TwoSided)?;
    if raw.diff.is_none() {
        return Ok(CupedTest { raw, ..CupedTest::missing(raw.note.unwrap_or(Note::Overflow)) });
    }
    let theta = given.or(best).unwrap_or(0.0);
    let share = treatment.n as f64 / (control.n as f64 + treatment.n as f64);
    let centre = control.covariate_mean + share * (treatment.covariate_mean - control.covariate_mean);
    let adjusted = [control, treatment].map(|arm| arm.adjusted(theta, centre));
    if adjusted.iter().any(|arm| !(arm.mean.is_finite() && arm.variance.is_finite())) {
        return Ok(CupedTest { raw, ..CupedTest::missing(Note::Overflow) });
    }
    // Not the difference of the adjusted means, which the centre would cost digits.
    let diff = (treatment.mean - control.mean) - theta * (treatment.covariate_mean - control.covariate_mean);
    let test = if control.n < 2 || treatment.n < 2 {
        let point = Lift::point(diff, control.mean);
        WelchTest::without_inference(Some(diff), point, Note::TooFewUnits)
    } else {
        let cell = Cell { control, treatment, theta, weight: 1.0 };
        infer(diff, control.mean, &[cell], alpha, alternative)
    };
    let pooled = |figure: fn(&CovariateSample) -> f64| {
        [control, treatment].iter().map(|arm| (arm.n - 1).max(0) as f64 * figure(arm)).sum::<f64>()
    };
    let spread = (pooled(|arm| arm.variance) * pooled(|arm| arm.covariate_variance)).sqrt();
    let rho = pooled(|arm| arm.covariance) / spread;
    let reduction = test.standard_error.zip(raw.standard_error).map(|(own, raw)| 1.0 - (own / raw).powi(2));
    let no_covariate = (given.or(best).is_none()).then_some(Note::NoCovariate);
    Ok(CupedTest {
        theta: Some(theta),
        rho: rho.is_finite().then(|| rho.clamp(-1.0, 1.0)),
        variance_reduction: reduction.filter(|reduction| reduction.is_finite()),
        adjusted_control_mean: Some(adjusted[0].mean),
        adjusted_treatment_mean: Some(adjusted[1].mean),
        test,
        raw,
        covariate_balance_p_value: balance.p_value,
        note: test.note.or(no_covariate),
    })
}

/// The two arms of one stratum, its θ and its share of all users.
#[derive(Clone, Copy)]
struct Cell {
    control: CovariateSample,
    treatment: CovariateSample,
    theta: f64,
    weight: f64,
}

/// The test of a weighted sum of adjusted differences with its lift over `base`, the same sum of the control's raw means.
fn infer(diff: f64, base: f64, cells: &[Cell], alpha: f64, alternative: Alternative) -> WelchTest {
    let terms: Vec<_> = cells
        .iter()
        .flat_map(|cell| {
            [cell.control, cell.treatment].map(|arm| arm.adjusted(cell.theta, 0.0).term(cell.weight))
        })
        .collect();
    let contrast = Contrast::infer(diff, &terms, alpha, alternative);
    let point = Lift::point(diff, base);
    let lift = contrast.lift(point, |critical| {
        let sum = |figure: &dyn Fn(&Cell) -> f64| -> f64 {
            cells.iter().map(|cell| cell.weight * cell.weight * figure(cell)).sum()
        };
        let base_variance = sum(&|cell| cell.control.variance / cell.control.n as f64);
        let shared = -sum(&|cell| cell.control.shared_variance(cell.theta));
        let ratio = diff / base;
        let residual = Residual {
            variance: (contrast.standard_error.map_or(f64::NAN, |error| error * error)
                - 2.0 * ratio * shared
                + ratio * ratio * base_variance)
                .max(0.0)
                / base
                / base,
            covariance: (shared - ratio * base_variance) / base / base,
        };
        Lift::of_base(
            diff,
            Estimate { mean: base, variance: base_variance },
            residual,
            alpha,
            alternative,
            critical,
        )
    });
    WelchTest::new(contrast, lift)
}

/// Compares two arms over strata, each adjusted for its covariate by its own θ where that varies: post-stratification and
/// CUPED at once. Users without a history are a stratum whose X is 0 throughout, which keeps them in the comparison without
/// pretending to know anything of them.
///
/// d = Σ w_h·d_h with w_h the stratum's share of all users. A stratum that either arm has fewer than two users of is left to
/// the caller to merge; with one there is [`Note::TooFewUnits`]. Strata without any users are left out.
///
/// # Errors
/// [`InvalidArgument`] as for [`cuped_test`], and for arrays of unequal lengths.
pub fn stratified_cuped_test(
    control: &[CovariateSample],
    treatment: &[CovariateSample],
    alpha: f64,
    alternative: Alternative,
) -> Result<WelchTest, InvalidArgument> {
    if control.len() != treatment.len() {
        return Err(InvalidArgument::length("n2", treatment.len(), "n1", control.len()));
    }
    check_alpha(alpha)?;
    let mut cells = Vec::new();
    for (&control, &treatment) in control.iter().zip(treatment) {
        control.check(NAMES[0])?;
        treatment.check(NAMES[1])?;
        if control.n == 0 && treatment.n == 0 {
            continue;
        }
        let arms = [control, treatment].map(|arm| (arm.n, arm.covariate_variance, arm.covariance));
        let theta = pooled_theta(&arms)?.unwrap_or(0.0);
        cells.push(Cell { control, treatment, theta, weight: control.n as f64 + treatment.n as f64 });
    }
    if cells.is_empty() || cells.iter().any(|cell| cell.control.n < 2 || cell.treatment.n < 2) {
        return Ok(WelchTest::without_inference(None, Lift::MISSING, Note::TooFewUnits));
    }
    let users: f64 = cells.iter().map(|cell| cell.weight).sum();
    for cell in &mut cells {
        cell.weight /= users;
    }
    let diff = |cell: &Cell| {
        let covariates = cell.treatment.covariate_mean - cell.control.covariate_mean;
        (cell.treatment.mean - cell.control.mean) - cell.theta * covariates
    };
    let total: f64 = cells.iter().map(|cell| cell.weight * diff(cell)).sum();
    let base: f64 = cells.iter().map(|cell| cell.weight * cell.control.mean).sum();
    if !(total.is_finite() && base.is_finite()) {
        return Ok(WelchTest::without_inference(None, Lift::MISSING, Note::Overflow));
    }
    Ok(infer(total, base, &cells, alpha, alternative))
}

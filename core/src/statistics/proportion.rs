//! Conversion rates: the pooled two-proportion z-test with Newcombe's interval of the difference, and intervals of one rate.
//!
//! Why this module exists: the textbook interval of a proportion (Wald) has no width at 0 or n conversions and covers
//! badly near there, which is where experiments live. Wilson's (1927, JASA 22) and, built on it, Newcombe's hybrid (1998,
//! Statistics in Medicine 17, method 10) stay inside the possible range and always exist. The test pools the rates, as its
//! null hypothesis says; near `alpha` test and interval may therefore disagree on rare occasions.

use std::str::FromStr;

use super::distribution::{beta_quantile, beta_quantile_upper, normal_critical, normal_two_sided};
use super::lift::{Estimate, Lift};
use super::{Alternative, Interval, InvalidArgument, Note, check_alpha, check_count, columns};

/// Users and how many of them converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proportion {
    /// Users.
    pub n: i64,
    /// Users who converted, at most `n`.
    pub conversions: i64,
}

impl Proportion {
    pub(super) fn check(&self, names: [&'static str; 2]) -> Result<(), InvalidArgument> {
        check_count(names[0], self.n)?;
        check_count(names[1], self.conversions)?;
        if self.conversions > self.n {
            return Err(InvalidArgument {
                argument: names[1],
                message: format!(
                    "{} must be at most {}: {} of {} users cannot have converted",
                    names[1], names[0], self.conversions, self.n
                ),
            });
        }
        Ok(())
    }

    /// The rate; defined for n > 0 only, like the two below.
    fn rate(&self) -> f64 {
        self.conversions as f64 / self.n as f64
    }

    /// The share that did not convert, without a subtraction from 1.
    fn complement(&self) -> f64 {
        (self.n - self.conversions) as f64 / self.n as f64
    }

    fn estimate(&self) -> Estimate {
        Estimate { mean: self.rate(), variance: self.rate() * self.complement() / self.n as f64 }
    }

    /// Wilson's bounds: the roots of (1 + z²/n)·P² − (2p + z²/n)·P + p² = 0. The lower root follows from the upper one
    /// by their product, which loses no digits and is exactly 0 without conversions.
    fn wilson(&self, z: f64) -> (f64, f64) {
        let (p, share) = (self.rate(), z * z / self.n as f64);
        let root = z * ((share + 4.0 * p * self.complement()) / self.n as f64).sqrt();
        let high = if self.conversions == self.n {
            1.0
        } else {
            ((2.0 * p + share + root) / (2.0 * (1.0 + share))).min(1.0)
        };
        let low = if self.conversions == 0 { 0.0 } else { p * p / ((1.0 + share) * high) };
        (low, high)
    }

    /// Quantiles of Beta(x + s, n − x + 1 − s) with s = `below` for the lower bound and s = `above` for the upper one.
    fn beta_bounds(&self, alpha: f64, below: f64, above: f64) -> (f64, f64) {
        let (converted, others) = (self.conversions as f64, (self.n - self.conversions) as f64);
        let low = if self.conversions == 0 {
            0.0
        } else {
            beta_quantile(0.5 * alpha, converted + below, others + 1.0 - below)
        };
        let high = if self.conversions == self.n {
            1.0
        } else {
            beta_quantile_upper(0.5 * alpha, converted + above, others + 1.0 - above)
        };
        (low, high)
    }

    /// Wald's interval after adding z²/2 conversions and as many users without.
    fn agresti_coull(&self, z: f64) -> (f64, f64) {
        let (users, half) = (self.n as f64 + z * z, 0.5 * z * z);
        let rate = (self.conversions as f64 + half) / users;
        let complement = ((self.n - self.conversions) as f64 + half) / users;
        let width = z * (rate * complement / users).sqrt();
        ((rate - width).max(0.0), (rate + width).min(1.0))
    }
}

/// The pooled z-test of two proportions and the intervals that go with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProportionTest {
    /// The control's rate; `None` without users.
    pub control_rate: Option<f64>,
    /// The treatment's rate; `None` without users.
    pub treatment_rate: Option<f64>,
    /// Treatment rate minus control rate; `None` when an arm has no users.
    pub diff: Option<f64>,
    /// z; `None` where nobody or everybody converted (0/0).
    pub statistic: Option<f64>,
    /// P(a difference this extreme | no difference); 1 where nobody or everybody converted.
    pub p_value: Option<f64>,
    /// Lower bound of the difference.
    pub low: Option<f64>,
    /// Upper bound of the difference.
    pub high: Option<f64>,
    /// The lift relative to the control, with Fieller's bounds at the normal critical value and unpooled variances.
    pub lift: Lift,
    /// Why a figure is missing, or [`Note::SmallCounts`].
    pub note: Option<Note>,
}

/// How the interval of the difference of two proportions is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DifferenceMethod {
    /// Newcombe's hybrid of two Wilson intervals.
    #[default]
    Newcombe,
    /// The unpooled normal approximation, which has no width where nobody or everybody converted.
    Wald,
}

impl DifferenceMethod {
    /// `newcombe` or `wald`.
    pub fn as_str(self) -> &'static str {
        match self {
            DifferenceMethod::Newcombe => "newcombe",
            DifferenceMethod::Wald => "wald",
        }
    }
}

impl FromStr for DifferenceMethod {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<DifferenceMethod, InvalidArgument> {
        match text {
            "newcombe" => Ok(DifferenceMethod::Newcombe),
            "wald" => Ok(DifferenceMethod::Wald),
            _ => Err(InvalidArgument::option("ci_method", text, "\"newcombe\" or \"wald\"")),
        }
    }
}

/// The pooled two-proportion z-test, without continuity correction (its square is Pearson's χ²), with Newcombe's interval.
///
/// # Errors
/// [`InvalidArgument`] for a negative count, more conversions than users, or an `alpha` outside (0, 1).
pub fn proportion_test(
    control: Proportion,
    treatment: Proportion,
    alpha: f64,
    alternative: Alternative,
) -> Result<ProportionTest, InvalidArgument> {
    proportion_test_by(DifferenceMethod::Newcombe, control, treatment, alpha, alternative)
}

/// The pooled two-proportion z-test with the interval of the difference by either method.
///
/// # Errors
/// [`InvalidArgument`] as for [`proportion_test`].
pub fn proportion_test_by(
    method: DifferenceMethod,
    control: Proportion,
    treatment: Proportion,
    alpha: f64,
    alternative: Alternative,
) -> Result<ProportionTest, InvalidArgument> {
    control.check(["n1", "x1"])?;
    treatment.check(["n2", "x2"])?;
    check_alpha(alpha)?;
    let control_rate = (control.n > 0).then(|| control.rate());
    let treatment_rate = (treatment.n > 0).then(|| treatment.rate());
    if control.n == 0 || treatment.n == 0 {
        return Ok(ProportionTest {
            control_rate,
            treatment_rate,
            diff: None,
            statistic: None,
            p_value: None,
            low: None,
            high: None,
            lift: Lift::MISSING,
            note: Some(Note::TooFewUnits),
        });
    }
    // Integers as far as they go: equal rates give exactly 0, close ones lose nothing.
    let crossed = i128::from(treatment.conversions) * i128::from(control.n)
        - i128::from(control.conversions) * i128::from(treatment.n);
    let (n1, n2) = (control.n as f64, treatment.n as f64);
    let diff = crossed as f64 / (n1 * n2);
    let users = i128::from(control.n) + i128::from(treatment.n);
    let conversions = i128::from(control.conversions) + i128::from(treatment.conversions);
    let pooled = conversions as f64 / users as f64;
    let pooled_complement = (users - conversions) as f64 / users as f64;
    let standard_error = (pooled * pooled_complement * (1.0 / n1 + 1.0 / n2)).sqrt();
    let statistic = (standard_error > 0.0).then(|| diff / standard_error);
    let p_value = statistic.map_or(1.0, |z| alternative.p_value(z, normal_two_sided));
    let (p1, p2) = (control.rate(), treatment.rate());
    let z = normal_critical(alternative.area(alpha));
    let bounds = match method {
        DifferenceMethod::Newcombe => {
            let ((low1, high1), (low2, high2)) = (control.wilson(z), treatment.wilson(z));
            (diff - (p2 - low2).hypot(high1 - p1), diff + (high2 - p2).hypot(p1 - low1))
        }
        DifferenceMethod::Wald => {
            let half = z * (control.estimate().variance + treatment.estimate().variance).sqrt();
            (diff - half, diff + half)
        }
    };
    let (low, high, note) = columns(alternative.interval(alpha, bounds));
    let lift = Lift::fieller(diff, control.estimate(), treatment.estimate(), alpha, alternative, z);
    let least_expected = n1.min(n2) * pooled.min(pooled_complement);
    Ok(ProportionTest {
        control_rate,
        treatment_rate,
        diff: Some(diff),
        statistic,
        p_value: Some(p_value),
        low,
        high,
        lift,
        // What explains a missing figure comes before what qualifies one.
        note: note.or(lift.note).or((least_expected < 5.0).then_some(Note::SmallCounts)),
    })
}

/// How the interval of one proportion is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ProportionMethod {
    /// Wilson's score interval: on average covers what it says.
    #[default]
    Wilson,
    /// Clopper & Pearson (1934, Biometrika 26): never covers less than it says, mostly more.
    Exact,
    /// The equal-tailed Bayesian interval of Jeffreys's prior, with the ends of Brown, Cai & DasGupta (2001, Statistical
    /// Science 16): 0 without conversions and 1 with nothing else.
    Jeffreys,
    /// Agresti & Coull (1998, The American Statistician 52): Wilson's centre with Wald's width, cut off at 0 and 1.
    AgrestiCoull,
}

impl ProportionMethod {
    /// `wilson`, `exact`, `jeffreys` or `agresti_coull`.
    pub fn as_str(self) -> &'static str {
        match self {
            ProportionMethod::Wilson => "wilson",
            ProportionMethod::Exact => "exact",
            ProportionMethod::Jeffreys => "jeffreys",
            ProportionMethod::AgrestiCoull => "agresti_coull",
        }
    }
}

impl FromStr for ProportionMethod {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<ProportionMethod, InvalidArgument> {
        match text {
            "wilson" => Ok(ProportionMethod::Wilson),
            "exact" => Ok(ProportionMethod::Exact),
            "jeffreys" => Ok(ProportionMethod::Jeffreys),
            "agresti_coull" => Ok(ProportionMethod::AgrestiCoull),
            _ => Err(InvalidArgument::option(
                "method",
                text,
                "\"wilson\", \"exact\", \"jeffreys\" or \"agresti_coull\"",
            )),
        }
    }
}

/// Wilson's two-sided score interval of one proportion: within [0, 1], exactly 0 below no conversions and exactly 1 above
/// nothing but conversions. Without users there is no figure and [`Note::TooFewUnits`].
///
/// # Errors
/// [`InvalidArgument`] for a negative count, more conversions than users, or an `alpha` outside (0, 1).
pub fn proportion_interval(proportion: Proportion, alpha: f64) -> Result<Interval, InvalidArgument> {
    proportion_interval_by(ProportionMethod::Wilson, proportion, alpha)
}

/// The two-sided interval of one proportion by any of the methods; edges and errors are those of [`proportion_interval`].
///
/// # Errors
/// [`InvalidArgument`] for a negative count, more conversions than users, or an `alpha` outside (0, 1).
pub fn proportion_interval_by(
    method: ProportionMethod,
    proportion: Proportion,
    alpha: f64,
) -> Result<Interval, InvalidArgument> {
    proportion.check(["n", "x"])?;
    check_alpha(alpha)?;
    if proportion.n == 0 {
        return Ok(Interval { estimate: None, low: None, high: None, note: Some(Note::TooFewUnits) });
    }
    let (low, high) = match method {
        ProportionMethod::Wilson => proportion.wilson(normal_critical(alpha)),
        ProportionMethod::Exact => proportion.beta_bounds(alpha, 0.0, 1.0),
        ProportionMethod::Jeffreys => proportion.beta_bounds(alpha, 0.5, 0.5),
        ProportionMethod::AgrestiCoull => proportion.agresti_coull(normal_critical(alpha)),
    };
    Ok(Interval { estimate: Some(proportion.rate()), low: Some(low), high: Some(high), note: None })
}

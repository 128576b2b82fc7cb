//! Tests and intervals for experiment results, from sufficient statistics only.
//!
//! Why this module exists: every number that decides an experiment is computed here, once, so that SQL, HTTP and tests
//! show the same figures, and so that they can be proved against SciPy, statsmodels and mpmath without a database.
//!
//! Conventions, the same in every function:
//!
//! * The control is the first arm, the treatment the second; a difference is treatment minus control.
//! * Rates and lifts are fractions: 0.05 is 5 %. Variances are sample variances (n − 1). `alpha` is the error rate, 0.05
//!   for a 95 % interval.
//! * Impossible arguments (NaN, infinities, negative counts or variances, more conversions than users, `alpha` outside
//!   (0, 1)) are an [`InvalidArgument`]. Data that cannot answer the question is not an error: the figures that do not
//!   exist are `None` and [`Note`] says why. No number is made up.
//! * The open end of a one-sided interval is infinite.
//! * p-values come from survival functions and stay exact down to about 10⁻³⁰⁰; below that they are 0.

pub mod bandit;
pub mod bayes;
pub mod chi_square;
pub mod comparison;
pub mod contrast;
pub mod covariate;
pub mod distribution;
pub mod factorial;
pub mod fisher;
pub mod group_sequential;
pub mod heterogeneity;
pub mod interaction;
pub mod lift;
pub mod mean;
pub mod moments;
pub mod multiplicity;
pub mod noninferiority;
pub mod novelty;
pub mod power;
pub mod projection;
pub mod proportion;
mod quadrature;
pub mod quantile;
pub mod rank_sum;
pub mod ratio;
pub mod recommendation;
pub mod sample_ratio;
pub mod sequential;
pub mod simulation;
pub mod sketch;
pub mod stratification;
pub mod winsorisation;

use std::fmt;
use std::str::FromStr;

/// An argument that no data can have; SQLSTATE 22023 in SQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidArgument {
    /// The argument's name as in the SQL functions (`n1`, `mean2`, `alpha`, …).
    pub argument: &'static str,
    /// What is wrong with it and what to pass instead.
    pub message: String,
}

impl InvalidArgument {
    /// An argument that is not what `requirement` says it must be.
    pub fn new(argument: &'static str, value: impl fmt::Display, requirement: &str) -> InvalidArgument {
        InvalidArgument { argument, message: format!("{argument} must be {requirement}, not {value}") }
    }

    /// An array that is not as long as the one it goes with.
    pub fn length(argument: &'static str, length: usize, other: &str, expected: usize) -> InvalidArgument {
        let requirement = format!("of the length of {other}, {expected}");
        InvalidArgument::new(argument, length, &requirement)
    }

    /// A text that names none of the `options`.
    fn option(argument: &'static str, text: &str, options: &str) -> InvalidArgument {
        InvalidArgument::new(argument, format_args!("\"{}\"", text.escape_debug()), options)
    }
}

/// Why some figures of a result are missing, or what to keep in mind when reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Note {
    /// Too few users for this method: none for a proportion, fewer than two for a mean.
    TooFewUnits,
    /// More users than this method can take.
    TooManyUnits,
    /// Fewer than two variants that could be compared.
    TooFewArms,
    /// All users of every arm have the same value, so that the data says nothing about chance.
    ZeroVariance,
    /// The control's mean is not distinguishable from zero: a relative lift has no bounds (or does not exist).
    ControlNearZero,
    /// The mean of a ratio's denominator is 0, or so near to it that the figures are rough.
    DenominatorNearZero,
    /// The covariate does not vary: there was nothing to adjust by.
    NoCovariate,
    /// Strata or periods with too few users in an arm were put together.
    StrataMerged,
    /// A bound's rank is beyond the first or last value, which stands in for it.
    RankAtEdge,
    /// The users needed do not come in the time looked at.
    NotReached,
    /// A mean is not positive where its logarithm is needed.
    NonPositiveMean,
    /// A row or column of the table is empty: a variant without users, or nobody or everybody converted.
    ZeroMargin,
    /// A variant that nobody should have been assigned to has users.
    ZeroWeightArm,
    /// An expected count is below five: the normal approximation behind the p-value is rough.
    SmallCounts,
    /// Too few users, or too few conversions, for a first look or a first decision.
    BurnIn,
    /// A test made for one look was looked at several times: it finds more than it promises.
    Peeking,
    /// Fewer than two past experiments.
    TooFewTests,
    /// So few past experiments that what they say of effects is rough.
    FewTests,
    /// The figures leave the range of a double.
    Overflow,
}

impl Note {
    /// The stable name, as in the `note` column of SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Note::TooFewUnits => "too_few_units",
            Note::TooManyUnits => "too_many_units",
            Note::TooFewArms => "too_few_arms",
            Note::ZeroVariance => "zero_variance",
            Note::ControlNearZero => "control_near_zero",
            Note::DenominatorNearZero => "denominator_near_zero",
            Note::NoCovariate => "no_covariate",
            Note::StrataMerged => "strata_merged",
            Note::RankAtEdge => "rank_at_edge",
            Note::NotReached => "not_reached",
            Note::NonPositiveMean => "non_positive_mean",
            Note::ZeroMargin => "zero_margin",
            Note::ZeroWeightArm => "zero_weight_arm_has_users",
            Note::SmallCounts => "small_counts",
            Note::BurnIn => "burn_in",
            Note::Peeking => "peeking",
            Note::TooFewTests => "too_few_tests",
            Note::FewTests => "few_tests",
            Note::Overflow => "overflow",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The hypothesis a test looks for, and with it the shape of its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alternative {
    /// The treatment differs from the control in either direction.
    #[default]
    TwoSided,
    /// The treatment is greater than the control.
    Greater,
    /// The treatment is less than the control.
    Less,
}

impl Alternative {
    /// `two-sided`, `greater` or `less`.
    pub fn as_str(self) -> &'static str {
        match self {
            Alternative::TwoSided => "two-sided",
            Alternative::Greater => "greater",
            Alternative::Less => "less",
        }
    }

    /// The p-value of a statistic whose distribution under the null hypothesis is symmetric about 0.
    fn p_value(self, statistic: f64, two_sided: impl Fn(f64) -> f64) -> f64 {
        let both_tails = two_sided(statistic);
        let supports = match self {
            Alternative::TwoSided => return both_tails,
            Alternative::Greater => statistic > 0.0,
            Alternative::Less => statistic < 0.0,
        };
        if supports { 0.5 * both_tails } else { 1.0 - 0.5 * both_tails }
    }

    /// The area of both tails together beyond the critical value ≥ 0 of this alternative's interval.
    fn area(self, alpha: f64) -> f64 {
        match self {
            Alternative::TwoSided => alpha,
            _ => 2.0 * alpha.min(1.0 - alpha),
        }
    }

    /// The interval that inverts the test, of the two-sided one at the critical value of [`area`](Alternative::area).
    /// Bounds beyond the range of a double are [`Note::Overflow`].
    fn interval(self, alpha: f64, (low, high): (f64, f64)) -> Result<(f64, f64), Note> {
        if !(low.is_finite() && high.is_finite()) {
            return Err(Note::Overflow);
        }
        // A one-sided interval with alpha above one half has its bound on the far side of the estimate.
        let mirrored = alpha > 0.5;
        Ok(match self {
            Alternative::TwoSided => (low, high),
            Alternative::Greater => (if mirrored { high } else { low }, f64::INFINITY),
            Alternative::Less => (f64::NEG_INFINITY, if mirrored { low } else { high }),
        })
    }
}

impl FromStr for Alternative {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Alternative, InvalidArgument> {
        match text {
            "two-sided" => Ok(Alternative::TwoSided),
            "greater" => Ok(Alternative::Greater),
            "less" => Ok(Alternative::Less),
            _ => Err(InvalidArgument::option("alternative", text, "\"two-sided\", \"greater\" or \"less\"")),
        }
    }
}

/// An estimate of one arm and its two-sided interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The mean or proportion itself; `None` without users.
    pub estimate: Option<f64>,
    /// Lower bound at `1 − alpha`.
    pub low: Option<f64>,
    /// Upper bound at `1 − alpha`.
    pub high: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// Refuses an error rate that is none.
///
/// # Errors
/// [`InvalidArgument`] naming `alpha` unless it is strictly between 0 and 1.
pub fn check_alpha(alpha: f64) -> Result<(), InvalidArgument> {
    check_probability("alpha", alpha)
}

/// Refuses what is no probability, or one that is certain.
///
/// # Errors
/// [`InvalidArgument`] naming `argument` unless it is strictly between 0 and 1.
pub fn check_probability(argument: &'static str, probability: f64) -> Result<(), InvalidArgument> {
    if probability > 0.0 && probability < 1.0 {
        Ok(())
    } else {
        Err(InvalidArgument::new(argument, probability, "strictly between 0 and 1"))
    }
}

fn check_count(argument: &'static str, count: i64) -> Result<(), InvalidArgument> {
    if count >= 0 { Ok(()) } else { Err(InvalidArgument::new(argument, count, "0 or more")) }
}

/// Refuses a covariance beyond what the variances allow, by more than the rounding of whoever summed them.
fn check_covariance(
    argument: &'static str,
    covariance: f64,
    variance: f64,
    other: f64,
) -> Result<(), InvalidArgument> {
    let most = variance.sqrt() * other.sqrt();
    if covariance.is_finite() && covariance.abs() <= most * (1.0 + 1e-9) {
        Ok(())
    } else {
        let requirement = format!("at most the root of the product of the variances, {most}, in size");
        Err(InvalidArgument::new(argument, covariance, &requirement))
    }
}

/// Separates a pair of bounds into the columns of a result, and the reason where there are none.
fn columns(bounds: Result<(f64, f64), Note>) -> (Option<f64>, Option<f64>, Option<Note>) {
    match bounds {
        Ok((low, high)) => (Some(low), Some(high), None),
        Err(note) => (None, None, Some(note)),
    }
}

#[cfg(test)]
mod tests;

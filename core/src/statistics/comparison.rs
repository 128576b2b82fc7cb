//! One row of an experiment's results: a variant's own interval and its comparison with the control.
//!
//! Why this module exists: which method belongs to which kind of metric is decided in one place, here, and not in SQL.

use super::mean::{Sample, mean_interval, welch_test};
use super::proportion::{Proportion, proportion_interval, proportion_test};
use super::{Alternative, Interval, InvalidArgument, Note};

/// What a metric measures of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whether the user did it at all: pooled z-test, Newcombe, Wilson, Fieller with z.
    Conversion,
    /// A number per user (a count or a sum): Welch's test, t intervals, Fieller with t.
    Mean,
}

/// A variant's sufficient statistics for one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arm {
    /// Exposed users.
    pub units: i64,
    /// Users with at least one event; not read for [`Kind::Mean`].
    pub conversions: i64,
    /// Mean over all exposed users; not read for [`Kind::Conversion`] or without users.
    pub mean: f64,
    /// Sample variance (n − 1) over all exposed users; not read for [`Kind::Conversion`] or with fewer than two users.
    pub variance: f64,
}

impl Arm {
    /// Figures that do not exist yet (0/0 in SQL) must not fail the row.
    fn sample(&self) -> Sample {
        Sample {
            n: self.units,
            mean: if self.units < 1 { 0.0 } else { self.mean },
            variance: if self.units < 2 { 0.0 } else { self.variance },
        }
    }

    fn proportion(&self) -> Proportion {
        Proportion { n: self.units, conversions: self.conversions }
    }
}

/// A treatment against its control, two-sided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Treatment minus control.
    pub diff: Option<f64>,
    /// Lower bound of the difference.
    pub diff_low: Option<f64>,
    /// Upper bound of the difference.
    pub diff_high: Option<f64>,
    /// Difference relative to the control's absolute value, as a fraction.
    pub lift: Option<f64>,
    /// Lower bound of the lift.
    pub lift_low: Option<f64>,
    /// Upper bound of the lift.
    pub lift_high: Option<f64>,
    /// Two-sided p-value.
    pub p_value: Option<f64>,
    /// Whether the p-value is below `alpha`; `None` without a p-value.
    pub significant: Option<bool>,
    /// Why a figure is missing, or how to read it.
    pub note: Option<Note>,
}

/// Compares a treatment with its control by the methods of the metric's kind.
///
/// # Errors
/// [`InvalidArgument`] for impossible statistics or an `alpha` outside (0, 1); see the methods' own modules.
pub fn compare(
    kind: Kind,
    control: &Arm,
    treatment: &Arm,
    alpha: f64,
) -> Result<Comparison, InvalidArgument> {
    let (diff, diff_low, diff_high, lift, p_value, note) = match kind {
        Kind::Conversion => {
            let test =
                proportion_test(control.proportion(), treatment.proportion(), alpha, Alternative::TwoSided)?;
            (test.diff, test.low, test.high, test.lift, test.p_value, test.note)
        }
        Kind::Mean => {
            let test = welch_test(control.sample(), treatment.sample(), alpha, Alternative::TwoSided)?;
            (test.diff, test.low, test.high, test.lift, test.p_value, test.note)
        }
    };
    Ok(Comparison {
        diff,
        diff_low,
        diff_high,
        lift: lift.lift,
        lift_low: lift.low,
        lift_high: lift.high,
        p_value,
        significant: p_value.map(|p| p < alpha),
        note,
    })
}

/// The two-sided interval of a variant's own rate (Wilson) or mean (t).
///
/// # Errors
/// [`InvalidArgument`] for impossible statistics or an `alpha` outside (0, 1).
pub fn own_interval(kind: Kind, arm: &Arm, alpha: f64) -> Result<Interval, InvalidArgument> {
    match kind {
        Kind::Conversion => proportion_interval(arm.proportion(), alpha),
        Kind::Mean => mean_interval(arm.sample(), alpha),
    }
}

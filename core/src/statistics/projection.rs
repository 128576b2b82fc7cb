//! What an effect would be worth over a year.
//!
//! Why this module exists: a projection without its interval is a promise. Both bounds are carried by the same factor as
//! the estimate, units per day times days, so that an effect that may be nothing stays one. It knows nothing of seasons, of
//! novelty or of the winner's curse: shrink the effect before, and say so.

use super::{InvalidArgument, Note};

/// An effect carried over days.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Projection {
    /// Of the estimate.
    pub annual: Option<f64>,
    /// Of the lower bound, infinite for an open one.
    pub annual_low: Option<f64>,
    /// Of the upper bound, infinite for an open one.
    pub annual_high: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// Carries an effect per unit and its interval over `units_per_day`·`days` units: eligible users a day at full rollout for an
/// effect per user and day, new users a day for an effect per user.
///
/// Edges: figures beyond the range of a double give [`Note::Overflow`].
///
/// # Errors
/// [`InvalidArgument`] naming `diff`, `ci_low` or `ci_high` for NaN, an infinite effect or one outside its interval,
/// `units_per_day` or `days` for what is negative or not finite.
pub fn project(
    diff: f64,
    low: f64,
    high: f64,
    units_per_day: f64,
    days: f64,
) -> Result<Projection, InvalidArgument> {
    if !diff.is_finite() {
        return Err(InvalidArgument::new("diff", diff, "a finite number"));
    }
    if low.is_nan() || low > diff {
        return Err(InvalidArgument::new("ci_low", low, "at most diff"));
    }
    if high.is_nan() || high < diff {
        return Err(InvalidArgument::new("ci_high", high, "at least diff"));
    }
    for (name, value) in [("units_per_day", units_per_day), ("days", days)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(InvalidArgument::new(name, value, "a finite number, 0 or more"));
        }
    }
    let factor = units_per_day * days;
    let carried = |figure: f64| {
        // Nothing for no units, also of an open bound.
        let value = if factor == 0.0 { 0.0 } else { figure * factor };
        (value.is_finite() || figure.is_infinite()).then_some(value)
    };
    match (carried(diff), carried(low), carried(high)) {
        (annual @ Some(_), annual_low @ Some(_), annual_high @ Some(_)) if factor.is_finite() => {
            Ok(Projection { annual, annual_low, annual_high, note: None })
        }
        _ => Ok(Projection { annual: None, annual_low: None, annual_high: None, note: Some(Note::Overflow) }),
    }
}

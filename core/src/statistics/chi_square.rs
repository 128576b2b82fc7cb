//! Pearson's χ² test of conversions in two or more variants at once.
//!
//! Why this module exists: with several variants it answers whether any differs at all, before anybody picks the best
//! looking one. It does not say which. For two variants it is the square of the pooled z-test. Yates's correction (1934,
//! Supplement to JRSS 1) makes it conservative and is off unless asked for.

use super::distribution::chi_square_survival;
use super::proportion::Proportion;
use super::{InvalidArgument, Note};

/// The χ² test of a table of variants by converted and not converted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChiSquareTest {
    /// Pearson's χ².
    pub statistic: Option<f64>,
    /// Variants less one.
    pub degrees_of_freedom: Option<i64>,
    /// P(rates this different | no difference).
    pub p_value: Option<f64>,
    /// The least expected count of the table's cells.
    pub min_expected: Option<f64>,
    /// Why a figure is missing, or [`Note::SmallCounts`].
    pub note: Option<Note>,
}

/// Tests whether all variants convert alike; `counts` are users per variant, `conversions` how many of them converted.
///
/// Edges: fewer than two variants give [`Note::TooFewArms`]; a variant without users, nobody or everybody converted
/// [`Note::ZeroMargin`]; an expected count below five [`Note::SmallCounts`].
///
/// # Errors
/// [`InvalidArgument`] for a negative count, more conversions than users, arrays of unequal lengths, more users in all than
/// an `i64` holds, or `yates` with other than two variants.
pub fn chi_square_test(
    counts: &[i64],
    conversions: &[i64],
    yates: bool,
) -> Result<ChiSquareTest, InvalidArgument> {
    if counts.len() != conversions.len() {
        return Err(InvalidArgument::length("conversions", conversions.len(), "counts", counts.len()));
    }
    if yates && counts.len() > 2 {
        return Err(InvalidArgument::new("yates", true, "false for more than two arms"));
    }
    let arms: Vec<Proportion> =
        counts.iter().zip(conversions).map(|(&n, &conversions)| Proportion { n, conversions }).collect();
    for arm in &arms {
        arm.check(["counts", "conversions"])?;
    }
    let users: i128 = arms.iter().map(|arm| i128::from(arm.n)).sum();
    if users > i128::from(i64::MAX) {
        return Err(InvalidArgument::new("counts", users, "at most 9223372036854775807 in all"));
    }
    let missing = |note| ChiSquareTest {
        statistic: None,
        degrees_of_freedom: None,
        p_value: None,
        min_expected: None,
        note: Some(note),
    };
    if arms.len() < 2 {
        return Ok(missing(Note::TooFewArms));
    }
    let converted: i128 = arms.iter().map(|arm| i128::from(arm.conversions)).sum();
    if converted == 0 || converted == users || arms.iter().any(|arm| arm.n == 0) {
        return Ok(missing(Note::ZeroMargin));
    }
    let (total, rate) = (users as f64, converted as f64 / users as f64);
    let complement = (users - converted) as f64 / total;
    let statistic = arms
        .iter()
        .map(|arm| {
            // Integers as far as they go: nothing is lost where observed and expected are close.
            let crossed = i128::from(arm.conversions) * users - i128::from(arm.n) * converted;
            let excess = crossed as f64 / total;
            let excess = if yates { (excess.abs() - 0.5).max(0.0) } else { excess };
            // The two cells of a variant are off by the same: 1/E + 1/(n − E) in one.
            excess * (excess / (arm.n as f64 * rate * complement))
        })
        .sum();
    let degrees_of_freedom = arms.len() as i64 - 1;
    let least = arms.iter().map(|arm| arm.n).min().unwrap_or(0) as f64;
    let min_expected = least * rate.min(complement);
    Ok(ChiSquareTest {
        statistic: Some(statistic),
        degrees_of_freedom: Some(degrees_of_freedom),
        p_value: Some(chi_square_survival(statistic, degrees_of_freedom as f64)),
        min_expected: Some(min_expected),
        note: (min_expected < 5.0).then_some(Note::SmallCounts),
    })
}

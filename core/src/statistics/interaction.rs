//! Whether two experiments that share users change each other's effect.
//!
//! Why this module exists: experiments run on the same users, and their results add up unless they interact. The effect is
//! the difference of differences, (m11 − m10) − (m01 − m00), or the same of logarithms where effects multiply; each of the
//! four cells is an independent mean. It has about a quarter of the information of a main effect, so that many pairs are
//! scanned with [`multiplicity`](super::multiplicity), and assignments that are not independent of each other must be ruled
//! out first.

use std::str::FromStr;

use super::chi_square::{ChiSquareTest, chi_square_test};
use super::contrast::{Contrast, Term};
use super::mean::Sample;
use super::{Alternative, InvalidArgument, Note, check_alpha, check_count};

/// On what scale effects are expected to add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scale {
    /// In the metric's unit.
    #[default]
    Additive,
    /// As factors, which needs positive means: ln m11 − ln m10 − ln m01 + ln m00.
    Log,
}

impl Scale {
    /// `additive` or `log`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scale::Additive => "additive",
            Scale::Log => "log",
        }
    }
}

impl FromStr for Scale {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Scale, InvalidArgument> {
        match text {
            "additive" => Ok(Scale::Additive),
            "log" => Ok(Scale::Log),
            _ => Err(InvalidArgument::option("scale", text, "\"additive\" or \"log\"")),
        }
    }
}

/// The t-test of the interaction, from the cells 00, 01, 10 and 11: the first digit is the arm of the first experiment, the
/// second that of the second, 0 the control.
///
/// Edges: a cell with fewer than two users gives [`Note::TooFewUnits`], a mean that is not positive [`Note::NonPositiveMean`]
/// on the log scale; for the rest see [`Contrast`].
///
/// # Errors
/// [`InvalidArgument`] naming `n`, `mean` or `var` as for [`welch_test`](super::mean::welch_test), or `alpha`.
pub fn interaction_test(cells: [Sample; 4], scale: Scale, alpha: f64) -> Result<Contrast, InvalidArgument> {
    for cell in &cells {
        cell.check(["n", "mean", "var"])?;
    }
    check_alpha(alpha)?;
    if cells.iter().any(|cell| cell.n < 2) {
        return Ok(Contrast::missing(Note::TooFewUnits));
    }
    if scale == Scale::Log && cells.iter().any(|cell| cell.mean <= 0.0) {
        return Ok(Contrast::missing(Note::NonPositiveMean));
    }
    let [m00, m01, m10, m11] = cells.map(|cell| cell.mean);
    let (effect, terms): (f64, [Term; 4]) = match scale {
        Scale::Additive => ((m11 - m10) - (m01 - m00), cells.map(|cell| cell.term(1.0))),
        Scale::Log => (ln_ratio(m11, m10) - ln_ratio(m01, m00), cells.map(|cell| cell.term(1.0 / cell.mean))),
    };
    Ok(Contrast::infer(effect, &terms, alpha, Alternative::TwoSided))
}

/// ln(a/b), which for close means is as exact as their difference.
fn ln_ratio(a: f64, b: f64) -> f64 {
    if a > 0.5 * b && a < 2.0 * b { ((a - b) / b).ln_1p() } else { (a / b).ln() }
}

/// The χ² test that the two experiments assign independently of each other, from the users of the cells 00, 01, 10 and 11: a
/// p-value below 0.001 means that there is nothing to compare.
///
/// # Errors
/// [`InvalidArgument`] naming `n` for a negative count or more users in a row than an `i64` holds.
pub fn assignment_independence(users: [i64; 4]) -> Result<ChiSquareTest, InvalidArgument> {
    for users in users {
        check_count("n", users)?;
    }
    let row = |users: i64, others: i64| {
        users.checked_add(others).ok_or_else(|| InvalidArgument::new("n", users, "smaller in all"))
    };
    let counts = [row(users[0], users[1])?, row(users[2], users[3])?];
    chi_square_test(&counts, &[users[1], users[3]], false)
        .map_err(|error| InvalidArgument { argument: "n", message: error.message.replace("counts", "n") })
}

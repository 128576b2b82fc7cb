//! Fisher's exact test of two proportions.
//!
//! Why this module exists: with a handful of conversions the normal approximation of the z-test misleads, and this test
//! needs none: given how many users converted in all, the number in one arm is hypergeometric (Fisher 1935, JRSS 98). The
//! two-sided p-value is the sum over all tables no more likely than the observed one, as in R and SciPy, where masses that
//! agree to 10⁻⁷ count as equal because rounding must not decide about ties.
//!
//! Tables are summed from the observed one outwards until they no longer matter, which takes some ten standard deviations
//! of steps: microseconds for thousands of users, a millisecond for the most that is taken.

use super::distribution::ln_hypergeometric_mass;
use super::proportion::Proportion;
use super::{Alternative, InvalidArgument, Note};

/// More users in all than this are left to the z-test, which no longer differs: the sum would take too long.
const MOST_USERS: i64 = 10_000_000_000;

/// Relative difference up to which two masses count as equal.
const TIE: f64 = 1e-7;

/// Fisher's exact test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FisherTest {
    /// The sample odds ratio a·d/(b·c) of the table (converted, not converted) by (control, treatment), as SciPy gives it
    /// for that table: below 1 when the treatment has the greater odds. Infinite where only b·c is 0, `None` for 0/0.
    pub odds_ratio: Option<f64>,
    /// P(a table this extreme | no difference, the margins).
    pub p_value: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// Fisher's exact test; [`Alternative::Greater`] looks for a treatment that converts better than the control.
///
/// Edges: an arm without users gives [`Note::TooFewUnits`], more than 10¹⁰ users [`Note::TooManyUnits`] and no p-value.
///
/// # Errors
/// [`InvalidArgument`] for a negative count or more conversions than users.
pub fn fisher_test(
    control: Proportion,
    treatment: Proportion,
    alternative: Alternative,
) -> Result<FisherTest, InvalidArgument> {
    control.check(["n1", "x1"])?;
    treatment.check(["n2", "x2"])?;
    if control.n == 0 || treatment.n == 0 {
        return Ok(FisherTest { odds_ratio: None, p_value: None, note: Some(Note::TooFewUnits) });
    }
    let product = |converted: i64, others: i64| converted as f64 * others as f64;
    let odds_ratio = product(control.conversions, treatment.n - treatment.conversions)
        / product(treatment.conversions, control.n - control.conversions);
    let odds_ratio = (!odds_ratio.is_nan()).then_some(odds_ratio);
    if control.n > MOST_USERS - treatment.n.min(MOST_USERS) {
        return Ok(FisherTest { odds_ratio, p_value: None, note: Some(Note::TooManyUnits) });
    }
    let tables = Tables {
        users: control.n + treatment.n,
        converted: control.conversions + treatment.conversions,
        treated: treatment.n,
    };
    let observed = treatment.conversions;
    let p_value = match alternative {
        Alternative::Greater => tables.at_least(observed),
        Alternative::Less => tables.at_most(observed),
        Alternative::TwoSided => tables.no_likelier_than(observed),
    };
    Ok(FisherTest { odds_ratio, p_value: Some(p_value), note: None })
}

/// The tables with the observed margins, told apart by how many of the treated converted.
struct Tables {
    users: i64,
    converted: i64,
    treated: i64,
}

impl Tables {
    fn least(&self) -> i64 {
        (self.converted + self.treated - self.users).max(0)
    }

    fn most(&self) -> i64 {
        self.converted.min(self.treated)
    }

    /// A most likely table.
    fn mode(&self) -> i64 {
        let numerator = i128::from(self.converted + 1) * i128::from(self.treated + 1);
        // At most the number of treated, hence in range.
        (numerator / i128::from(self.users + 2)) as i64
    }

    fn ln_mass(&self, k: i64) -> f64 {
        ln_hypergeometric_mass(k, self.users, self.converted, self.treated)
    }

    /// P(X = k + 1) / P(X = k).
    fn step(&self, k: i64) -> f64 {
        let up = (self.converted - k) as f64 * (self.treated - k) as f64;
        let down = (k + 1) as f64 * (self.users - self.converted - self.treated + k + 1) as f64;
        up / down
    }

    /// P(X ≥ k) for k at or above the mode, P(X ≤ k) for k below it: the side on which the masses only fall.
    fn tail(&self, k: i64) -> f64 {
        if k < self.least() || k > self.most() {
            return 0.0;
        }
        let (mut term, mut sum) = (1.0, 1.0);
        let mut add = |ratio: f64| {
            term *= ratio;
            sum += term;
            term > sum * 1e-17
        };
        if k >= self.mode() {
            (k..self.most()).all(|k| add(self.step(k)));
        } else {
            (self.least()..k).rev().all(|k| add(1.0 / self.step(k)));
        }
        (self.ln_mass(k).exp() * sum).min(1.0)
    }

    fn at_least(&self, k: i64) -> f64 {
        if k >= self.mode() { self.tail(k) } else { 1.0 - self.tail(k - 1) }
    }

    fn at_most(&self, k: i64) -> f64 {
        if k < self.mode() { self.tail(k) } else { 1.0 - self.tail(k + 1) }
    }

    fn no_likelier_than(&self, observed: i64) -> f64 {
        let (mode, bound) = (self.mode(), self.ln_mass(observed) + TIE);
        if self.ln_mass(mode) <= bound {
            return 1.0;
        }
        // The last table on the other side that is no likelier; the masses are monotone there.
        let (mut unlikely, mut likely) =
            if observed > mode { (self.least() - 1, mode) } else { (self.most() + 1, mode) };
        while (unlikely - likely).abs() > 1 {
            let middle = unlikely + (likely - unlikely) / 2;
            if self.ln_mass(middle) <= bound { unlikely = middle } else { likely = middle }
        }
        (self.tail(observed) + self.tail(unlikely)).min(1.0)
    }
}

//! Tests that may be looked at after every user: always-valid p-values and confidence sequences.
//!
//! Why this module exists: a test for one planned end, looked at ten times on the way, finds an effect in 19 % of the
//! experiments without one. The mixture sequential probability ratio test pays for every look in advance. With
//! r = r*·n/N*, the information relative to the planned one, and z = d/se:
//!
//! * two-sided: the e-value e^(z²·r/(2(1+r)))/√(1+r), the multiplier B = √((1 + 1/r)·(ln(1+r) − 2·ln α)) in place of the
//!   critical value (Robbins 1970, Annals of Mathematical Statistics 41; Johari, Koomen, Pekelis & Walsh 2022, Operations
//!   Research 70; Howard, Ramdas, McAuliffe & Sekhon 2021, Annals of Statistics 49, eq. 14; Waudby-Smith et al. 2024, Annals of
//!   Statistics 52: they all are this one formula);
//! * one-sided: B = √((1 + 1/r)·2·ln(1 + √(1+r)/(2α))) (Waudby-Smith et al.), and as its inverse the e-value
//!   2·(e^(z²·r/(2(1+r))) − 1)/√(1+r) of effects in the direction looked for, 0 of others.
//!
//! The interval excludes 0 exactly when the p-value is below alpha. At n = N* the two-sided B is smallest where
//! r* − ln(1 + r*) = −2·ln α, and is √(1 + r*) there. N* must be fixed before there is data, else nothing here holds. The
//! guarantee stands on the central limit theorem: [`has_burned_in`] says when an arm can be looked at.

use super::distribution::{lambert_w_minus_1, normal_critical};
use super::{Alternative, InvalidArgument, Note, check_alpha, check_count};

/// Users of an arm from which on its mean may be taken as normal; heavy tails need more.
pub const BURN_IN_USERS: i64 = 100;

/// Conversions, and users who did not convert, from which on a rate may be taken as normal.
pub const BURN_IN_CONVERSIONS: i64 = 5;

/// The result of one look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequentialTest {
    /// Lower bound of the difference, for all looks together.
    pub low: Option<f64>,
    /// Upper bound of the difference.
    pub high: Option<f64>,
    /// min(1, 1/e) of this look; the least of all looks so far is valid as well.
    pub p_value: Option<f64>,
    /// ln of the e-value; −∞ for an effect in the other direction than a one-sided test looks for.
    pub log_e: Option<f64>,
    /// Half of the interval's width in standard errors.
    pub multiplier: Option<f64>,
    /// Why a figure is missing or how to read it.
    pub note: Option<Note>,
}

/// Whether an arm has the users, and for a rate the conversions and non-conversions, that its first look needs.
pub fn has_burned_in(n: i64, conversions: Option<i64>) -> bool {
    let enough = |conversions: i64| {
        conversions >= BURN_IN_CONVERSIONS && n.saturating_sub(conversions) >= BURN_IN_CONVERSIONS
    };
    n >= BURN_IN_USERS && conversions.is_none_or(enough)
}

/// Tests a difference of two arms of together `n` users, validly at any number of looks.
///
/// `diff` and `standard_error` may come from any of the tests (Welch, CUPED, a ratio, a relative lift). `tuning_n`, N*, is
/// the planned number of users of both arms; the interval is narrowest there.
///
/// Edges: fewer than two users give [`Note::TooFewUnits`]; fewer than two arms need for a first look [`Note::BurnIn`], with all
/// figures. Without noise a difference of 0 has p = 1 and the interval (0, 0), any other [`Note::ZeroVariance`]. Figures
/// beyond the range of a double are [`Note::Overflow`].
///
/// # Errors
/// [`InvalidArgument`] for figures that are not finite, a negative `se` or `n`, a `tuning_n` that is not positive, an
/// `alpha` outside (0, 1) or, one-sided, outside (0, 0.5).
pub fn sequential_test(
    diff: f64,
    standard_error: f64,
    n: i64,
    alpha: f64,
    tuning_n: f64,
    alternative: Alternative,
) -> Result<SequentialTest, InvalidArgument> {
    if !diff.is_finite() {
        return Err(InvalidArgument::new("diff", diff, "a finite number"));
    }
    if !(standard_error.is_finite() && standard_error >= 0.0) {
        return Err(InvalidArgument::new("se", standard_error, "a finite number, 0 or more"));
    }
    check_count("n", n)?;
    if !(tuning_n.is_finite() && tuning_n > 0.0) {
        return Err(InvalidArgument::new("tuning_n", tuning_n, "a finite number above 0"));
    }
    let tuning = tuning(alpha, alternative)?;
    if n < 2 {
        return Ok(SequentialTest::missing(Note::TooFewUnits));
    }
    let note = (n < 2 * BURN_IN_USERS).then_some(Note::BurnIn);
    let r = tuning * (n as f64 / tuning_n);
    let multiplier = multiplier(alpha, r, alternative);
    if !(r > 0.0 && multiplier.is_finite()) {
        return Ok(SequentialTest::missing(Note::Overflow));
    }
    if standard_error == 0.0 && diff != 0.0 {
        return Ok(SequentialTest {
            multiplier: Some(multiplier),
            ..SequentialTest::missing(Note::ZeroVariance)
        });
    }
    let half = multiplier * standard_error;
    let (low, high) = (diff - half, diff + half);
    if !(low.is_finite() && high.is_finite()) {
        return Ok(SequentialTest {
            multiplier: Some(multiplier),
            ..SequentialTest::missing(Note::Overflow)
        });
    }
    let (low, high) = match alternative {
        Alternative::TwoSided => (low, high),
        Alternative::Greater => (low, f64::INFINITY),
        Alternative::Less => (f64::NEG_INFINITY, high),
    };
    let log_e = (standard_error > 0.0).then(|| log_e(diff / standard_error, r, alternative));
    let p_value = log_e.map_or(1.0, |log_e| (-log_e).exp().min(1.0));
    Ok(SequentialTest {
        low: Some(low),
        high: Some(high),
        p_value: Some(p_value),
        log_e,
        multiplier: Some(multiplier),
        note,
    })
}

/// By how much a confidence sequence needs more users than a fixed interval of the same width, looked at when all planned
/// users are in: (B/z)², for [`Design::inflation`](super::power::Design::inflation).
///
/// # Errors
/// [`InvalidArgument`] for an `alpha` outside (0, 1) or, one-sided, outside (0, 0.5).
pub fn sequential_inflation(alpha: f64, alternative: Alternative) -> Result<f64, InvalidArgument> {
    let tuning = tuning(alpha, alternative)?;
    let area = if alternative == Alternative::TwoSided { alpha } else { 2.0 * alpha };
    Ok((multiplier(alpha, tuning, alternative) / normal_critical(area)).powi(2))
}

/// r*, for which the two-sided B at n = N* is smallest; one-sided that of twice the alpha.
fn tuning(alpha: f64, alternative: Alternative) -> Result<f64, InvalidArgument> {
    check_alpha(alpha)?;
    if alternative == Alternative::TwoSided {
        return Ok(best_ratio(alpha));
    }
    if alpha >= 0.5 {
        let requirement = "strictly between 0 and 0.5 for a one-sided confidence sequence";
        return Err(InvalidArgument::new("alpha", alpha, requirement));
    }
    Ok(best_ratio(2.0 * alpha))
}

/// The r > 0 with r − ln(1 + r) = −2·ln α: −W₋₁(−α²/e) − 1.
fn best_ratio(alpha: f64) -> f64 {
    let root = (-4.0 * alpha.ln()).sqrt();
    if root < 0.1 {
        // Next to W's branch point the argument no longer tells alphas apart, so the equation itself is inverted, by its
        // series in √(−4·ln α), which is that of Stirling's formula (Temme 1996, Special Functions, section 3.6.2, where
        // λ − 1 − ln λ = η²/2). The first term left out is less than 10⁻¹⁴ of the sum.
        const COEFFICIENTS: [f64; 8] = [
            1.0,
            1.0 / 3.0,
            1.0 / 36.0,
            -1.0 / 270.0,
            1.0 / 4320.0,
            1.0 / 17_010.0,
            -139.0 / 5_443_200.0,
            1.0 / 204_120.0,
        ];
        return root * COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| sum * root + coefficient);
    }
    // The square of a smaller alpha is out of range; the optimum is so flat that any r* near it does.
    let alpha = alpha.max(1e-150);
    -lambert_w_minus_1(-alpha * alpha * (-1.0_f64).exp()) - 1.0
}

fn multiplier(alpha: f64, r: f64, alternative: Alternative) -> f64 {
    let threshold = match alternative {
        Alternative::TwoSided => r.ln_1p() - 2.0 * alpha.ln(),
        _ => 2.0 * ((1.0 + r).sqrt() / (2.0 * alpha)).ln_1p(),
    };
    ((1.0 + r.recip()) * threshold).sqrt()
}

fn log_e(z: f64, r: f64, alternative: Alternative) -> f64 {
    // r/(1 + r), which stays exact and in range at either end.
    let exponent = 0.5 * z * z / (1.0 + r.recip());
    let supported = match alternative {
        Alternative::TwoSided => return exponent - 0.5 * r.ln_1p(),
        Alternative::Greater => z > 0.0,
        Alternative::Less => z < 0.0,
    };
    if supported {
        std::f64::consts::LN_2 + exponent + (-(-exponent).exp_m1()).ln() - 0.5 * r.ln_1p()
    } else {
        f64::NEG_INFINITY
    }
}

impl SequentialTest {
    fn missing(note: Note) -> SequentialTest {
        SequentialTest {
            low: None,
            high: None,
            p_value: None,
            log_e: None,
            multiplier: None,
            note: Some(note),
        }
    }
}

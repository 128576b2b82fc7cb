//! The parts of a density that keep their digits at any size of the parameters.
//!
//! Why this module exists: written with powers and gamma functions, the density of a beta, gamma or binomial distribution
//! is a difference of terms as large as its parameters, and at 10⁹ ten digits of it are gone. Written about its mode
//! (Loader, "Fast and accurate computation of binomial probabilities", 2000) it is e to the power of a few terms of one
//! sign, none greater than the logarithm of the result: deviances, and the errors of Stirling's formula.

use std::f64::consts::PI;

/// 1/3, 1/5, …: the coefficients of artanh after the first.
const ODD_RECIPROCALS: [f64; 17] = {
    let mut reciprocals = [0.0; 17];
    let mut k = 0;
    while k < reciprocals.len() {
        reciprocals[k] = 1.0 / (2 * k + 3) as f64;
        k += 1;
    }
    reciprocals
};

/// t − ln(1 + t) ≥ 0 for `t` > −1; `ratio` is 1 + t, which the caller may know better than the sum gives it.
///
/// Between −½ and 1 by ln(1 + t) = 2·artanh(s), s = t/(2 + t), whose first term cancels with t to t·s.
pub(super) fn deviance(t: f64, ratio: f64) -> f64 {
    if t < -0.9 {
        return t - ratio.ln();
    }
    if t == f64::INFINITY {
        return t;
    }
    if !(-0.5..=1.0).contains(&t) {
        return t - t.ln_1p();
    }
    let s = t / (2.0 + t);
    let square = s * s;
    let (mut power, mut sum) = (square, 0.0);
    for reciprocal in &ODD_RECIPROCALS {
        sum += power * reciprocal;
        if power < 1e-17 {
            break;
        }
        power *= square;
    }
    s * (t - 2.0 * sum)
}

/// ln Γ(z) − ((z − ½)·ln z − z + ½·ln 2π) for `z` > 0: what Stirling's formula leaves out (DLMF 5.11.1).
pub(super) fn stirling_error(z: f64) -> f64 {
    if z < 16.0 {
        return (libm::tgamma(z) / ((2.0 * PI).sqrt() * z.powf(z - 0.5))).ln() + z;
    }
    let inverse = 1.0 / z;
    let square = inverse * inverse;
    let series =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360360.0, 1.0 / 156.0];
    series.iter().rev().fold(0.0, |sum, coefficient| sum * square + coefficient) * inverse
}

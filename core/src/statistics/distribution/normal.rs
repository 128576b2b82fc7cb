//! The normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use statrs::distribution::{ContinuousCDF, Normal};

/// The density of the standard normal distribution.
pub fn normal_density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * PI).sqrt()
}

/// P(Z ≤ z) for the standard normal distribution.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// P(Z > z) for the standard normal distribution.
pub fn normal_survival(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// P(|Z| > |z|) for the standard normal distribution.
pub fn normal_two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() * FRAC_1_SQRT_2)
}

/// The z ≥ 0 with P(|Z| > z) = `area`, for 0 < `area` ≤ 1: the critical value of a two-sided test at that level.
pub fn normal_critical(area: f64) -> f64 {
    if !(area > 0.0 && area <= 1.0) {
        return f64::NAN;
    }
    // Half of the least double would be 0.
    normal_quantile((0.5 * area).max(f64::MIN_POSITIVE)).abs()
}

/// The z with P(Z ≤ z) = `p`, for 0 < `p` < 1.
pub fn normal_quantile(p: f64) -> f64 {
    // The argument is checked because statrs panics on what it does not like. Its inverse is good to the last digit; its
    // distribution function is not (10⁻¹⁰).
    if p > 0.0 && p < 1.0 { Normal::standard().inverse_cdf(p) } else { f64::NAN }
}

/// ln P(Z > z) for the standard normal distribution, also where the area itself is less than the range of f64.
pub fn ln_normal_survival(z: f64) -> f64 {
    if z < 0.0 {
        return (-normal_cdf(z)).ln_1p();
    }
    if z < 30.0 {
        return normal_survival(z).ln();
    }
    // Mills' ratio by its asymptotic series (DLMF 7.12.1); from 30 on eight terms leave nothing.
    let inverse = 1.0 / (z * z);
    let series = (0..8).rev().fold(1.0, |sum, k| 1.0 - f64::from(2 * k + 1) * inverse * sum);
    -0.5 * z * z - (z * (2.0 * PI).sqrt()).ln() + series.ln()
}

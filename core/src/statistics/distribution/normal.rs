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
    // The only thing asked of statrs: its inverse is good to the last digit, its distribution function (10⁻¹⁰) is not.
    // The argument is checked above because statrs panics on what it does not like.
    -Normal::standard().inverse_cdf((0.5 * area).max(f64::MIN_POSITIVE))
}

/// The z with P(Z ≤ z) = `p`, for 0 < `p` < 1.
pub fn normal_quantile(p: f64) -> f64 {
    if !(p > 0.0 && p < 1.0) {
        return f64::NAN;
    }
    Normal::standard().inverse_cdf(p)
}

/// ln P(Z > z) for the standard normal distribution.
pub fn ln_normal_survival(z: f64) -> f64 {
    if z < 0.0 {
        return (-normal_cdf(z)).ln_1p();
    }
    if z < 30.0 {
        return normal_survival(z).ln();
    }
    let inverse = 1.0 / (z * z);
    -0.5 * z * z - (z * (2.0 * PI).sqrt()).ln()
        + (-inverse * (1.0 - 3.0 * inverse * (1.0 - 5.0 * inverse))).ln_1p()
}

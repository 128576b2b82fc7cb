//! The chi-square distribution.

use statrs::function::gamma::{checked_gamma_lr, checked_gamma_ur};

/// P(X ≤ x) for the chi-square distribution with `df` > 0 degrees of freedom.
pub fn chi_square_cdf(x: f64, df: f64) -> f64 {
    if x <= 0.0 { 0.0 } else { checked_gamma_lr(0.5 * df, 0.5 * x).unwrap_or(f64::NAN) }
}

/// P(X > x) for the chi-square distribution with `df` > 0 degrees of freedom.
pub fn chi_square_survival(x: f64, df: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { checked_gamma_ur(0.5 * df, 0.5 * x).unwrap_or(f64::NAN) }
}

/// The x with P(X > x) = `area`, for 0 < `area` < 1.
pub fn chi_square_quantile_upper(area: f64, df: f64) -> f64 {
    let (mut low, mut high) = (-700.0_f64, 700.0_f64);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if chi_square_survival(middle.exp(), df) > area { low = middle } else { high = middle }
    }
    low.exp()
}

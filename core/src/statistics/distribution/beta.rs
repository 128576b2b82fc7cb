//! The beta distribution.

use statrs::function::beta::checked_beta_reg;

use super::gamma::ln_gamma;

/// P(X ≤ x) for the beta distribution with parameters `a` > 0 and `b` > 0: the regularised incomplete beta function.
pub fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    checked_beta_reg(a, b, x).unwrap_or(f64::NAN)
}

/// P(X > x) for the beta distribution with parameters `a` > 0 and `b` > 0.
pub fn beta_survival(x: f64, a: f64, b: f64) -> f64 {
    checked_beta_reg(b, a, 1.0 - x).unwrap_or(f64::NAN)
}

/// The x with P(X ≤ x) = `p`, for 0 ≤ `p` ≤ 1.
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if beta_cdf(middle, a, b) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// ln B(a, b) for `a` > 0 and `b` > 0.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The logarithm of the density of the beta distribution at `x`.
pub fn ln_beta_density(x: f64, a: f64, b: f64) -> f64 {
    (a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - ln_beta(a, b)
}

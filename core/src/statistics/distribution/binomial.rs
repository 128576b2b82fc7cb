//! The binomial and hypergeometric distributions.

use super::beta::{beta_cdf, beta_survival};
use super::gamma::ln_gamma;

/// P(X ≤ k) for `n` trials with probability `p` of success each.
pub fn binomial_cdf(k: i64, n: i64, p: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    if k < 0 { 0.0 } else { beta_survival(p, k as f64 + 1.0, (n - k) as f64) }
}

/// P(X > k) for `n` trials with probability `p` of success each.
pub fn binomial_survival(k: i64, n: i64, p: f64) -> f64 {
    if k >= n {
        return 0.0;
    }
    if k < 0 { 1.0 } else { beta_cdf(p, k as f64 + 1.0, (n - k) as f64) }
}

/// ln P(X = k) for `n` trials with probability `p` of success each.
pub fn ln_binomial_mass(k: i64, n: i64, p: f64) -> f64 {
    if k < 0 || k > n {
        return f64::NEG_INFINITY;
    }
    ln_choose(n, k) + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()
}

/// ln P(X = k) where X counts the successes among `draws` of a population of which `successes` are, without replacement.
pub fn ln_hypergeometric_mass(k: i64, population: i64, successes: i64, draws: i64) -> f64 {
    ln_choose(successes, k) + ln_choose(population - successes, draws - k) - ln_choose(population, draws)
}

fn ln_choose(n: i64, k: i64) -> f64 {
    if k < 0 || k > n {
        return f64::NEG_INFINITY;
    }
    ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0)
}

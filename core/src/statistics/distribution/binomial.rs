//! The binomial and hypergeometric distributions.
//!
//! Areas are those of the beta distribution of an order statistic; masses are written about the mean, see `saddle_point`.

use super::beta::{beta_cdf, beta_survival, ln_logit_density, surplus};

/// P(X ≤ k) for `n` ≥ 0 trials with probability `p` of success each.
pub fn binomial_cdf(k: i64, n: i64, p: f64) -> f64 {
    if n < 0 || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if k >= n {
        return 1.0;
    }
    // The probability of more than k successes is that of the (k + 1)th smallest of n uniform numbers being below p.
    if k < 0 { 0.0 } else { beta_survival(p, k as f64 + 1.0, (n - k) as f64) }
}

/// P(X > k) for `n` ≥ 0 trials with probability `p` of success each.
pub fn binomial_survival(k: i64, n: i64, p: f64) -> f64 {
    if n < 0 || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if k >= n {
        return 0.0;
    }
    if k < 0 { 1.0 } else { beta_cdf(p, k as f64 + 1.0, (n - k) as f64) }
}

/// ln P(X = k) for `n` ≥ 0 trials with probability `p` of success each.
pub fn ln_binomial_mass(k: i64, n: i64, p: f64) -> f64 {
    if n < 0 || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let other = n.saturating_sub(k);
    if k < 0 || other < 0 {
        return f64::NEG_INFINITY;
    }
    if k == 0 || other == 0 {
        return all_alike(k as f64, other as f64, p.ln(), (-p).ln_1p());
    }
    let (a, b) = (k as f64, other as f64);
    if p == 0.0 || p == 1.0 {
        return f64::NEG_INFINITY;
    }
    mass(a, b, p, 1.0 - p, surplus(p, a, b))
}

/// ln P(X = k) where X counts the successes among `draws` without replacement from a population of which `successes` are.
pub fn ln_hypergeometric_mass(k: i64, population: i64, successes: i64, draws: i64) -> f64 {
    if !(0..=population).contains(&successes) || !(0..=population).contains(&draws) {
        return f64::NAN;
    }
    let failures = population - successes;
    if k < 0 || k > successes || k > draws || draws - k > failures {
        return f64::NEG_INFINITY;
    }
    if draws == 0 || draws == population {
        return 0.0;
    }
    // With every unit drawn at the rate draws/population: the chance of k among the successes and the rest among the
    // failures, given as many draws in all (Loader 2000). None of the three masses is far from 1 unless the result is.
    let (left, size) = (population - draws, population as f64);
    let (p, q) = (draws as f64 / size, left as f64 / size);
    let ln_p = if draws < left { p.ln() } else { (-q).ln_1p() };
    let ln_q = if left < draws { q.ln() } else { (-p).ln_1p() };
    let part = |drawn: i64, of: i64| {
        let (a, b) = (drawn as f64, (of - drawn) as f64);
        if drawn == 0 || drawn == of {
            return all_alike(a, b, ln_p, ln_q);
        }
        let surplus =
            (i128::from(drawn) * i128::from(population) - i128::from(of) * i128::from(draws)) as f64 / size;
        mass(a, b, p, q, surplus)
    };
    part(k, successes) + part(draws - k, failures) - mass(draws as f64, left as f64, p, q, 0.0)
}

/// The logarithm of the probability of `a` successes and `b` failures of which one number is 0.
fn all_alike(a: f64, b: f64, ln_p: f64, ln_q: f64) -> f64 {
    match (a > 0.0, b > 0.0) {
        (false, false) => 0.0,
        (false, true) => b * ln_q,
        _ => a * ln_p,
    }
}

/// ln of the probability of `a` > 0 successes and `b` > 0 failures with probabilities `p` and `q`; `surplus` is
/// a − (a + b)·p.
fn mass(a: f64, b: f64, p: f64, q: f64, surplus: f64) -> f64 {
    ln_logit_density(p, q, a, b, surplus) - (a / (a + b) * b).ln()
}

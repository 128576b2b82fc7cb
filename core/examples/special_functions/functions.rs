//! The functions of `ab_core::statistics::distribution` by name, for the program beside this file and for the test of
//! the golden vectors.

use ab_core::statistics::distribution::*;

/// The function's value; `None` for a name or a number of arguments that does not exist.
pub fn evaluate(name: &str, arguments: &[f64]) -> Option<f64> {
    let count = |number: f64| number as i64;
    Some(match (name, arguments) {
        ("normal_cdf", &[z]) => normal_cdf(z),
        ("normal_density", &[z]) => normal_density(z),
        ("normal_survival", &[z]) => normal_survival(z),
        ("normal_two_sided", &[z]) => normal_two_sided(z),
        ("normal_quantile", &[p]) => normal_quantile(p),
        ("normal_critical", &[area]) => normal_critical(area),
        ("ln_normal_survival", &[z]) => ln_normal_survival(z),
        ("student_cdf", &[t, df]) => student_cdf(t, df),
        ("student_survival", &[t, df]) => student_survival(t, df),
        ("student_two_sided", &[t, df]) => student_two_sided(t, df),
        ("student_quantile", &[p, df]) => student_quantile(p, df),
        ("student_critical", &[area, df]) => student_critical(area, df),
        ("chi_square_cdf", &[x, df]) => chi_square_cdf(x, df),
        ("chi_square_survival", &[x, df]) => chi_square_survival(x, df),
        ("chi_square_quantile_upper", &[area, df]) => chi_square_quantile_upper(area, df),
        ("beta_cdf", &[x, a, b]) => beta_cdf(x, a, b),
        ("beta_survival", &[x, a, b]) => beta_survival(x, a, b),
        ("beta_quantile", &[p, a, b]) => beta_quantile(p, a, b),
        ("ln_beta", &[a, b]) => ln_beta(a, b),
        ("ln_beta_density", &[x, a, b]) => ln_beta_density(x, a, b),
        ("ln_gamma", &[x]) => ln_gamma(x),
        ("binomial_cdf", &[k, n, p]) => binomial_cdf(count(k), count(n), p),
        ("binomial_survival", &[k, n, p]) => binomial_survival(count(k), count(n), p),
        ("ln_binomial_mass", &[k, n, p]) => ln_binomial_mass(count(k), count(n), p),
        ("ln_hypergeometric_mass", &[k, population, successes, draws]) => {
            ln_hypergeometric_mass(count(k), count(population), count(successes), count(draws))
        }
        ("lambert_w_minus_1", &[x]) => lambert_w_minus_1(x),
        _ => return None,
    })
}

//! Probability distributions, exact enough to publish.
//!
//! Why this module exists: an experiment has anything from 2 to 10⁹ users and its p-values reach 10⁻³⁰⁰, and no crate
//! looked at holds over that range.

mod beta;
mod binomial;
mod chi_square;
mod gamma;
mod lambert_w;
mod normal;
mod quantile;
mod saddle_point;
mod student;
mod tail_integral;

pub use beta::{beta_cdf, beta_quantile, beta_survival, ln_beta, ln_beta_density};
pub use binomial::{binomial_cdf, binomial_survival, ln_binomial_mass, ln_hypergeometric_mass};
pub use chi_square::{chi_square_cdf, chi_square_quantile_upper, chi_square_survival};
pub use gamma::ln_gamma;
pub use lambert_w::lambert_w_minus_1;
pub use normal::{
    ln_normal_survival, normal_cdf, normal_critical, normal_density, normal_quantile, normal_survival,
    normal_two_sided,
};
pub use student::{student_cdf, student_critical, student_quantile, student_survival, student_two_sided};

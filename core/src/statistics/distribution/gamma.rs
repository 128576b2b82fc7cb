//! The gamma function, by libm: statrs' is good to fourteen digits, libm's to the last one.

/// ln Γ(x) for `x` > 0.
pub fn ln_gamma(x: f64) -> f64 {
    if x > 0.0 { libm::lgamma(x) } else { f64::NAN }
}

//! Lambert's W function.

/// The w ≤ −1 with w·eʷ = `x`, for −1/e ≤ `x` < 0.
pub fn lambert_w_minus_1(x: f64) -> f64 {
    lambert_w::lambert_wm1(x)
}

//! Lambert's W function.

/// The w ≤ −1 with w·eʷ = `x`, for −1/e ≤ `x` < 0, by the crate `lambert_w`, which holds to the last digits.
///
/// Next to −1/e w changes with the square root of the distance: half of the last digit of x is 10⁻⁸ of w there.
pub fn lambert_w_minus_1(x: f64) -> f64 {
    // The double nearest to −1/e is below it by less than its last digit, and stands for it.
    if x == -(-1.0_f64).exp() { -1.0 } else { lambert_w::lambert_wm1(x) }
}

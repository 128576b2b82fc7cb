//! The inverse of a distribution function.

/// Bound on the steps for a quantile. From the starting values in use it takes at most 9.
const STEPS: u32 = 100;

/// What the search for a quantile needs to know of an area at `s`.
pub(in crate::statistics) struct Point {
    /// The logarithm of the area below `s`.
    pub ln_area: f64,
    /// Its derivative: the density divided by the area.
    pub slope: f64,
    /// The derivative of the logarithm of the density.
    pub ln_density_slope: f64,
}

/// The s `within` a range where the logarithm of an area is `target`, for a density that is log-concave in s.
///
/// The area is then log-concave too, and Newton's method cannot pass the root from the left. Halley's term makes it
/// converge faster; where its step would leave the interval known to hold the root, the interval is halved.
pub(in crate::statistics) fn quantile(
    target: f64,
    start: f64,
    within: (f64, f64),
    point: impl Fn(f64) -> Point,
) -> f64 {
    let (mut low, mut high) = within;
    let mut s = start.clamp(low, high);
    for _ in 0..STEPS {
        let Point { ln_area, slope, ln_density_slope } = point(s);
        let newton = (target - ln_area) / slope;
        if newton > 0.0 {
            low = s
        } else {
            high = s
        }
        // The second derivative is slope·(ln_density_slope − slope), negative; a step is at most doubled by it.
        let step = newton / (1.0 + 0.5 * newton * (ln_density_slope - slope)).max(0.5);
        let next = s + step;
        s = if next > low && next < high {
            next
        } else if step.abs() <= 1e-9 {
            return next;
        } else {
            0.5 * (low + high)
        };
        // The error after a step is of the order of its third power, in units of the distribution's own scale.
        if step.abs() * slope.max(1.0) < 1e-5 {
            break;
        }
    }
    s
}

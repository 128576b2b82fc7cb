//! Integrals of positive functions with a single hump, however narrow, however far out and however small.
//!
//! Why this module exists: the chance that one posterior is above the others is the integral of a density times areas. Its
//! hump may be a millionth as wide as the distance to it, next to a step a thousandth as wide again, and e⁻⁷⁰⁰ high. Rules
//! for a given interval miss it; the crates looked at have no others. On a suitable scale (the value itself for normal
//! distributions, the logit for beta distributions) the logarithm of the integrand is concave, and that is enough to find
//! the hump first.
//!
//! Beyond where the integrand has fallen to e⁻⁴⁰ of its height nothing is left. What is between is cut into panels no wider
//! than nine of the scales of what changes in them, growing with the distance from it, each with a Gauss–Legendre rule of
//! order 32: a normal density is then integrated to its last digit, a beta density's tail of thousands of units in ten
//! panels. All terms are positive, so that nothing cancels and small integrals are as exact as large ones.

use std::ops::Add;

use super::distribution::LEGENDRE;

/// Where the integrand ends, as −ln of its share of the height; it ends no further out than at twice this.
const END: f64 = 40.0;

/// Half of the width of a normal hump down to [`END`], in standard deviations.
const REACH: f64 = 9.0;

/// A rise of at most this remains between the hump found and its top, in logarithms.
const TOP: f64 = 0.5;

/// Integrals are 0 below this height, in logarithms: no width brings them back into the range of a double.
const NOTHING: f64 = -2000.0;

/// Bound on the steps of each search; doubling and halving pass the range of a double in 2,100.
const STEPS: u32 = 2200;

/// Bound on the panels: some ten for each thing that changes.
const PANELS: u32 = 10_000;

/// The logarithm of a positive function at a point and its derivative there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Height {
    pub ln: f64,
    pub slope: f64,
}

/// The height of a product.
impl Add for Height {
    type Output = Height;

    fn add(self, other: Height) -> Height {
        Height { ln: self.ln + other.ln, slope: self.slope + other.slope }
    }
}

/// Where a function changes, and over what width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Feature {
    pub centre: f64,
    pub scale: f64,
}

/// The part of the line where an integrand is, and the panels to integrate it by.
#[derive(Debug)]
pub(super) struct Nodes {
    /// Points and their weights.
    pub points: Vec<(f64, f64)>,
    /// The logarithm of the integrand near its top.
    pub ln_top: f64,
}

impl Nodes {
    /// The nodes for the hump of `height`, looked for from `start` on; none where it is as good as nothing. The logarithm has to
    /// be concave, or at least rise and then fall.
    pub(super) fn of(start: f64, features: &[Feature], height: impl Fn(f64) -> Height) -> Nodes {
        let step = features.iter().map(|feature| feature.scale).fold(f64::INFINITY, f64::min);
        let (top, ln_top) = top(start, step, &height);
        let mut points = Vec::new();
        if !(ln_top > NOTHING && ln_top.is_finite()) {
            return Nodes { points, ln_top };
        }
        let fall = |distance: f64| ln_top - height(top + distance).ln;
        let (left, right) = (end(-REACH * step, fall), end(REACH * step, fall));
        let hump = Feature { centre: top, scale: right.min(-left) / REACH };
        let mut from = top + left;
        for _ in 0..PANELS {
            let width = features.iter().chain([&hump]).map(|feature| {
                // As wide as it may be without coming nearer than a quarter of itself to what it does not resolve.
                let ahead = feature.centre - from;
                (REACH * feature.scale).max(if ahead > 0.0 { 0.8 * ahead } else { -4.0 * ahead })
            });
            let to = (from + width.fold(f64::INFINITY, f64::min)).min(top + right);
            if to <= from {
                break;
            }
            let (centre, half) = (0.5 * (from + to), 0.5 * (to - from));
            for &(node, weight) in &LEGENDRE {
                points.extend([-node, node].map(|node| (centre + half * node, half * weight)));
            }
            from = to;
        }
        Nodes { points, ln_top }
    }

    /// The logarithm of the integral of a function that has its hump here, from its logarithm.
    pub(super) fn ln_integral(&self, ln: impl Fn(f64) -> f64) -> f64 {
        let sum: f64 =
            self.points.iter().map(|&(point, weight)| weight * (ln(point) - self.ln_top).exp()).sum();
        self.ln_top + sum.ln()
    }
}

/// A point near the top and the logarithm there.
fn top(start: f64, step: f64, height: &impl Fn(f64) -> Height) -> (f64, f64) {
    let first = height(start);
    let mut best = (start, first.ln);
    // From here uphill in steps that double, until it goes down again.
    let mut step = if first.slope > 0.0 { step } else { -step };
    let (mut near, mut near_slope) = (start, first.slope);
    let (mut far, mut far_slope) = (start, first.slope);
    for _ in 0..STEPS {
        if far_slope == 0.0 || far_slope * step < 0.0 || !far_slope.is_finite() {
            break;
        }
        (near, near_slope) = (far, far_slope);
        far += step;
        step *= 2.0;
        let reached = height(far);
        far_slope = reached.slope;
        if reached.ln > best.1 {
            best = (far, reached.ln);
        }
    }
    for round in 0..STEPS {
        // The logarithm lies below its tangents.
        let width = (far - near).abs();
        if near_slope.abs().min(far_slope.abs()) * width <= TOP || width <= 0.0 {
            break;
        }
        let share = near_slope / (near_slope - far_slope);
        // By the secant, and by halves every third time, because slopes may differ by any factor.
        let share = if round % 3 == 2 || !share.is_finite() { 0.5 } else { share.clamp(0.01, 0.99) };
        let middle = near + share * (far - near);
        let reached = height(middle);
        if reached.ln > best.1 {
            best = (middle, reached.ln);
        }
        if reached.slope * near_slope > 0.0 {
            (near, near_slope) = (middle, reached.slope);
        } else {
            (far, far_slope) = (middle, reached.slope);
        }
    }
    best
}

/// The distance at which a function has fallen by [`END`] to twice that, from a first guess that gives the direction.
fn end(guess: f64, fall: impl Fn(f64) -> f64) -> f64 {
    let (mut inside, mut distance) = (0.0, guess);
    let mut outside = None;
    for _ in 0..STEPS {
        let fallen = fall(distance);
        if fallen < END {
            inside = distance;
        } else if fallen <= 2.0 * END || distance == inside {
            break;
        } else {
            outside = Some(distance);
        }
        distance = outside.map_or(2.0 * distance, |outside| 0.5 * (inside + outside));
    }
    distance
}

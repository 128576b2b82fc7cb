//! The area of a tail in units of what the density has at its edge, by quadrature.
//!
//! Why this module exists: near the mean the series and continued fractions of the incomplete beta and gamma functions
//! take a number of terms that grows with the square root of the parameters, and the uniform expansions that replace them
//! (Temme; DiDonato & Morris) need tables of coefficients, one set for each function. With both parameters large the
//! density is nearly that of a normal distribution, and one Gauss–Legendre rule serves all of them at any size.

use super::saddle_point::deviance;

/// What the integrand has fallen to where the integration ends, as −ln: 10⁻¹⁷.
const END: f64 = 39.0;

/// Bound on Newton's steps for the end; it takes at most 4.
const STEPS: u32 = 20;

/// Nodes and weights of the Gauss–Legendre rule of order 32 on [−1, 1], one of each pair (Abramowitz & Stegun 25.4.30).
pub(in crate::statistics) const RULE: [(f64, f64); 16] = [
    (0.04830766568773832, 0.0965400885147278),
    (0.1444719615827965, 0.09563872007927486),
    (0.23928736225213706, 0.09384439908080457),
    (0.33186860228212767, 0.09117387869576389),
    (0.42135127613063533, 0.08765209300440381),
    (0.5068999089322294, 0.08331192422694675),
    (0.5877157572407623, 0.07819389578707031),
    (0.6630442669302152, 0.0723457941088485),
    (0.7321821187402897, 0.06582222277636185),
    (0.7944837959679424, 0.058684093478535544),
    (0.84936761373257, 0.050998059262376175),
    (0.8963211557660521, 0.04283589802222668),
    (0.9349060759377397, 0.03427386291302143),
    (0.9647622555875064, 0.02539206530926206),
    (0.9856115115452684, 0.01627439473090567),
    (0.9972638618494816, 0.007018610009470096),
];

/// One factor (1 + scale·w)^weight of a density, its linear part taken out.
#[derive(Clone, Copy)]
pub(super) struct Factor {
    /// The exponent, at least 0.
    pub weight: f64,
    /// Where it is negative the factor ends at w = −1/scale.
    pub scale: f64,
}

/// ∫ exp(−slope·w) · Π exp(−weightᵢ·deviance(scaleᵢ·w)) / (1 + scaleᵢ·w) dw from 0 to the end of the range, for
/// `slope` ≥ 0.
///
/// The exponent is convex, so that Newton's method finds where the integrand has vanished, and every part of it has the
/// same sign, so that nothing cancels.
pub(super) fn tail_integral(slope: f64, factors: [Factor; 2]) -> f64 {
    let exponent = |w: f64| {
        factors.iter().fold(slope * w, |sum, factor| {
            let t = factor.scale * w;
            sum + factor.weight * deviance(t, 1.0 + t)
        })
    };
    let derivative = |w: f64| {
        factors.iter().fold(slope, |sum, factor| {
            let t = factor.scale * w;
            sum + factor.weight * factor.scale * (t / (1.0 + t))
        })
    };
    let curvature: f64 = factors.iter().map(|factor| factor.weight * factor.scale * factor.scale).sum();
    let limit = factors
        .iter()
        .filter(|factor| factor.scale < 0.0)
        .fold(f64::INFINITY, |limit, factor| limit.min(-1.0 / factor.scale));
    let mut end = (2.0 * END / (slope + (slope * slope + 2.0 * END * curvature).sqrt())).min(0.9 * limit);
    for _ in 0..STEPS {
        let excess = exponent(end) - END;
        if excess.abs() < 1.5 {
            break;
        }
        let next = end - excess / derivative(end);
        end = if next < limit { next } else { 0.5 * (end + limit) };
    }
    let half = 0.5 * end;
    let integrand = |w: f64| {
        let product = factors.iter().fold(1.0, |product, factor| product * (1.0 + factor.scale * w));
        (-exponent(w)).exp() / product
    };
    RULE.iter()
        .map(|(node, weight)| weight * (integrand(half - half * node) + integrand(half + half * node)))
        .sum::<f64>()
        * half
}

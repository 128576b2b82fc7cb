//! The beta distribution and the incomplete beta function.
//!
//! Every area is the density times a ratio, in the logit of x, where the density x^a·(1−x)^b / B(a, b) is log-concave with
//! its mode at the mean a/(a + b). The ratio is computed for the area on the far side of x from the mean, which is the
//! smaller one but for very skewed distributions; the other is its complement. By parameters it comes from
//!
//! * quadrature, where both are large;
//! * the power series with positive terms (DLMF 8.17.8), where `a` is small and x is not near 1;
//! * the continued fraction of DiDonato & Morris, "Significant digit computation of the incomplete beta function ratios",
//!   ACM TOMS 18 (1992), equation 9, otherwise.
//!
//! With a parameter next to 0 nearly all of the distribution is at one end, and an area is 1 to the last digits of the
//! density. There it is computed by its logarithm, which is as small as the parameter (see [`ln_area_by_power`]).

use std::f64::consts::PI;
use std::ops::RangeInclusive;

use super::gamma::ln_gamma;
use super::normal::normal_critical;
use super::quantile::{Point, quantile};
use super::saddle_point::{deviance, stirling_error};
use super::tail_integral::{Factor, tail_integral};

/// The parameters of a beta distribution; beyond them powers leave the range of f64.
const PARAMETERS: RangeInclusive<f64> = 1e-6..=1e19;

/// The parameter from which on tails are integrated: there the fraction, whose steps grow with its root, takes as long.
const INTEGRATED_FROM: f64 = 3000.0;

/// The parameter `a` up to which the power series, whose terms grow with it, takes no longer than the fraction.
const SUMMED_TO: f64 = 20.0;

/// The parameter below which an area is computed by its logarithm near the end that nearly all of the distribution is at.
const NEARLY_NONE: f64 = 0.1;

/// The logarithm of an x so small that the first term of the power series is all of it.
const NEGLIGIBLE: f64 = -700.0;

/// Bound on the terms of the series and on the steps of the continued fraction. Neither needs more than 200;
/// a loop that reached the bound would still end.
const STEPS: u32 = 1000;

/// P(X ≤ x) for the beta distribution with parameters `a` and `b` from 10⁻⁶ to 10¹⁹: the regularised incomplete beta
/// function.
pub fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    match Argument::of(x, a, b) {
        Ok(argument) => argument.areas().below,
        Err(below) => below,
    }
}

/// P(X > x) for the beta distribution with parameters `a` and `b` from 10⁻⁶ to 10¹⁹.
pub fn beta_survival(x: f64, a: f64, b: f64) -> f64 {
    match Argument::of(x, a, b) {
        Ok(argument) => argument.areas().above,
        Err(below) => 1.0 - below,
    }
}

/// The x with P(X ≤ x) = `p` for the beta distribution with parameters `a` and `b` from 10⁻⁶ to 10¹⁹, for 0 ≤ `p` ≤ 1.
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    logistic(logit_quantile(p, a, b))
}

/// The x with P(X > x) = `area` for the beta distribution with parameters `a` and `b` from 10⁻⁶ to 10¹⁹, for
/// 0 ≤ `area` ≤ 1.
pub fn beta_quantile_upper(area: f64, a: f64, b: f64) -> f64 {
    logistic(-logit_quantile(area, b, a))
}

/// ln B(a, b) for `a` and `b` from 10⁻⁶ to 10¹⁹.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    if !valid(a, b) {
        return f64::NAN;
    }
    let (small, large) = (a.min(b), a.max(b));
    let sum = small + large;
    // Stirling's formula for each of the three, with the powers of the parameters joined.
    let errors = stirling_error(small) + stirling_error(large) - stirling_error(sum);
    errors + 0.5 * (2.0 * PI / small).ln()
        - small * (sum / small).ln()
        - (large - 0.5) * (small / large).ln_1p()
}

/// The logarithm of the density at `x` of the beta distribution with parameters `a` and `b` from 10⁻⁶ to 10¹⁹.
pub fn ln_beta_density(x: f64, a: f64, b: f64) -> f64 {
    if !(valid(a, b) && (0.0..=1.0).contains(&x)) {
        return f64::NAN;
    }
    if x == 0.0 || x == 1.0 {
        let (own, other) = if x == 0.0 { (a, b) } else { (b, a) };
        return match own.total_cmp(&1.0) {
            std::cmp::Ordering::Less => f64::INFINITY,
            std::cmp::Ordering::Equal => other.ln(),
            std::cmp::Ordering::Greater => f64::NEG_INFINITY,
        };
    }
    let argument = Argument { x, y: 1.0 - x, a, b, surplus: surplus(x, a, b) };
    argument.ln_density() - x.ln() - (-x).ln_1p()
}

fn valid(a: f64, b: f64) -> bool {
    PARAMETERS.contains(&a) && PARAMETERS.contains(&b)
}

/// a − (a + b)·x to the last digit, however much cancels: what rounding takes from the sum and the product is put back.
pub(super) fn surplus(x: f64, a: f64, b: f64) -> f64 {
    let n = a + b;
    let (small, large) = (a.min(b), a.max(b));
    let rest = small - (n - large);
    let product = n * x;
    let error = n.mul_add(x, -product);
    ((a - product) - error) - rest * x
}

fn logistic(s: f64) -> f64 {
    if s < 0.0 { s.exp() / (1.0 + s.exp()) } else { 1.0 / (1.0 + (-s).exp()) }
}

/// A proportion x and what is left of 1, both to the last digit and also where they are less than the range of f64.
#[derive(Debug, Clone, Copy)]
pub(in crate::statistics) struct Share {
    pub x: f64,
    pub y: f64,
    pub ln_x: f64,
    pub ln_y: f64,
}

impl Share {
    pub fn at_logit(s: f64) -> Share {
        let ln_logistic = |s: f64| if s < 0.0 { s - s.exp().ln_1p() } else { -(-s).exp().ln_1p() };
        Share { x: logistic(s), y: logistic(-s), ln_x: ln_logistic(s), ln_y: ln_logistic(-s) }
    }
}

/// Logarithms of what a beta distribution has at a share and beside it.
#[derive(Debug, Clone, Copy)]
pub(in crate::statistics) struct LogAreas {
    /// Of the density of the logit.
    pub density: f64,
    pub below: f64,
    pub above: f64,
    /// The derivative of `below`.
    pub below_slope: f64,
    /// Of `above`, without its sign.
    pub above_slope: f64,
}

/// The density of the logit at a share and its derivative, both of logarithms.
pub(in crate::statistics) fn ln_beta_logit_density(share: Share, a: f64, b: f64) -> (f64, f64) {
    let argument = Argument::at_share(share, a, b);
    let density = match negligible(share, a, b) {
        Some(ln_density) => ln_density,
        None => argument.ln_density(),
    };
    (density, argument.surplus)
}

/// The areas of a beta distribution beside a share, and the density of its logit there.
pub(in crate::statistics) fn ln_beta_areas(share: Share, a: f64, b: f64) -> LogAreas {
    if let Some(density) = negligible(share, a, b) {
        let complement = |ln_area: f64| (-ln_area.exp()).ln_1p();
        return if share.ln_x < share.ln_y {
            let below = density - a.ln();
            let above = complement(below);
            LogAreas { density, below, above, below_slope: a, above_slope: (density - above).exp() }
        } else {
            let above = density - b.ln();
            let below = complement(above);
            LogAreas { density, below, above, below_slope: (density - below).exp(), above_slope: b }
        };
    }
    let areas = Argument::at_share(share, a, b).areas();
    LogAreas {
        density: areas.ln_density,
        below: areas.ln_below,
        above: areas.ln_above,
        below_slope: areas.below_slope,
        above_slope: areas.above_slope,
    }
}

/// The logarithm of the logit's density where a share is so near to 0 or 1 that the first term is all of it.
fn negligible(share: Share, a: f64, b: f64) -> Option<f64> {
    let (power, ln_share) = if share.ln_x < share.ln_y { (a, share.ln_x) } else { (b, share.ln_y) };
    (ln_share < NEGLIGIBLE).then(|| power * ln_share - ln_beta(a, b))
}

/// Where a beta distribution is looked at.
struct Argument {
    x: f64,
    /// 1 − x.
    y: f64,
    a: f64,
    b: f64,
    /// a − (a + b)·x.
    surplus: f64,
}

/// What a beta distribution has on either side of an argument.
struct Areas {
    below: f64,
    above: f64,
    /// The logarithm of the density of the logit.
    ln_density: f64,
    /// ln `below`, also where that is less than the range of f64.
    ln_below: f64,
    /// ln `above`, likewise.
    ln_above: f64,
    /// The density of the logit divided by `below`, which the difference of their logarithms has no digits of far out.
    below_slope: f64,
    /// Divided by `above`.
    above_slope: f64,
}

impl Argument {
    /// Or the area below x where that takes no computation, NaN included.
    fn of(x: f64, a: f64, b: f64) -> Result<Argument, f64> {
        if x.is_nan() || !valid(a, b) {
            return Err(f64::NAN);
        }
        if x <= 0.0 {
            return Err(0.0);
        }
        if x >= 1.0 {
            return Err(1.0);
        }
        Ok(Argument { x, y: 1.0 - x, a, b, surplus: surplus(x, a, b) })
    }

    /// At the logit `s` of x.
    fn at_logit(s: f64, a: f64, b: f64) -> Argument {
        Argument::between(logistic(s), logistic(-s), a, b)
    }

    fn at_share(share: Share, a: f64, b: f64) -> Argument {
        Argument::between(share.x, share.y, a, b)
    }

    /// At x with y = 1 − x, the smaller of which is the exact one.
    fn between(x: f64, y: f64, a: f64, b: f64) -> Argument {
        let surplus = if x <= y { surplus(x, a, b) } else { -surplus(y, b, a) };
        Argument { x, y, a, b, surplus }
    }

    fn ln_density(&self) -> f64 {
        ln_logit_density(self.x, self.y, self.a, self.b, self.surplus)
    }

    fn areas(&self) -> Areas {
        let ln_density = self.ln_density();
        let density = ln_density.exp();
        if self.a < NEARLY_NONE && self.x * (self.b + 1.0) < 0.5 {
            let ln_below = ln_area_by_power(self.a, self.b, self.x);
            let (below, above) = (ln_below.exp(), -ln_below.exp_m1());
            let (below_slope, above_slope) = (density / below, density / above);
            Areas { below, above, ln_density, ln_below, ln_above: above.ln(), below_slope, above_slope }
        } else if self.b < NEARLY_NONE && self.y * (self.a + 1.0) < 0.5 {
            let ln_above = ln_area_by_power(self.b, self.a, self.y);
            let (above, below) = (ln_above.exp(), -ln_above.exp_m1());
            let (below_slope, above_slope) = (density / below, density / above);
            Areas { below, above, ln_density, ln_below: below.ln(), ln_above, below_slope, above_slope }
        } else if self.surplus >= 0.0 {
            let ratio = lower_ratio(self.x, self.y, self.a, self.b, self.surplus, density);
            let below = (density * ratio).min(1.0);
            let (ln_below, ln_above) = (ln_density + ratio.ln(), (-below).ln_1p());
            let (below_slope, above_slope) = (ratio.recip(), density / (1.0 - below));
            Areas { below, above: 1.0 - below, ln_density, ln_below, ln_above, below_slope, above_slope }
        } else {
            let ratio = lower_ratio(self.y, self.x, self.b, self.a, -self.surplus, density);
            let above = (density * ratio).min(1.0);
            let (ln_below, ln_above) = ((-above).ln_1p(), ln_density + ratio.ln());
            let (below_slope, above_slope) = (density / (1.0 - above), ratio.recip());
            Areas { below: 1.0 - above, above, ln_density, ln_below, ln_above, below_slope, above_slope }
        }
    }
}

/// ln x^a·y^b / B(a, b), y = 1 − x: the density of the logit of X; `surplus` is a − (a + b)·x.
pub(super) fn ln_logit_density(x: f64, y: f64, a: f64, b: f64, surplus: f64) -> f64 {
    let n = a + b;
    // Each power is about its own at the mean, where the linear parts of both cancel.
    let exponent = a * deviance(-surplus / a, x / a * n) + b * deviance(surplus / b, y / b * n);
    0.5 * (a / n * b / (2.0 * PI)).ln()
        + (stirling_error(n) - stirling_error(a) - stirling_error(b) - exponent)
}

/// The area below x divided by `density`, for x not above the mean.
fn lower_ratio(x: f64, y: f64, a: f64, b: f64, surplus: f64, density: f64) -> f64 {
    if a.min(b) >= INTEGRATED_FROM {
        let factors = [Factor { weight: a, scale: -1.0 }, Factor { weight: b, scale: x / y }];
        return tail_integral(surplus / y, factors) / y;
    }
    if x <= 0.5 && a < SUMMED_TO {
        return power_series(a, b, x) / a;
    }
    // Next to 1 the fraction is slow and the area above is small.
    if y * (a + 1.0) < 0.5 {
        return (1.0 - density * power_series(b, a, y) / b) / density;
    }
    1.0 / fraction(a, b, x, y, surplus)
}

/// The logarithm of the area below x for `a` < 1 and x·(b + 1) < ½, to the last digit also where it is next to 0:
/// x^a / (a·B(a, b)) · (1 + a·Σ (1 − b)ₙ / (n!·(a + n)) · xⁿ) (DLMF 8.17.7).
fn ln_area_by_power(a: f64, b: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 0.0);
    for n in 1..=STEPS {
        let n = f64::from(n);
        term *= x * ((n - b) / n);
        let part = term / (a + n);
        sum += part;
        if part.abs() < 1e-17 {
            break;
        }
    }
    a * x.ln() - ln_a_beta(a, b) + (a * sum).ln_1p()
}

/// ln(a·B(a, b)) for `a` < 1, to the last digit also where it is next to 0: ln Γ(1 + a) − ln(Γ(b + a)/Γ(b)).
fn ln_a_beta(a: f64, b: f64) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    let (one_more, mut b) = (1.0 + a, b);
    // What rounding takes from 1 + a is put back, times the derivative at 1.
    let own = ln_gamma(one_more) - EULER * (a - (one_more - 1.0));
    // By Stirling's formula, for which b is made large enough: Γ(b + a)/Γ(b) = Γ(b + 1 + a)/Γ(b + 1) / (1 + a/b).
    let mut shifted = 0.0;
    while b < 16.0 {
        shifted += (a / b).ln_1p();
        b += 1.0;
    }
    let sum = a + b;
    let errors = stirling_error(sum) - stirling_error(b);
    own + shifted - ((b - 0.5) * (a / b).ln_1p() + a * (sum.ln() - 1.0) + errors)
}

/// Σ (a + b)ₙ / (a + 1)ₙ · xⁿ.
pub(super) fn power_series(a: f64, b: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 0..STEPS {
        let n = f64::from(n);
        // Dividing before multiplying keeps a huge `b` with a tiny `x` in range.
        term *= x * ((a + b + n) / (a + 1.0 + n));
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

/// The continued fraction of the area below x, by the modified Lentz method; `surplus` is a − (a + b)·x.
pub(super) fn fraction(a: f64, b: f64, x: f64, y: f64, surplus: f64) -> f64 {
    let mut value = a / (a + 1.0) * (surplus + 1.0);
    let (mut c, mut d) = (value, 0.0);
    for m in 1..=STEPS {
        let m = f64::from(m);
        let middle = a + 2.0 * m - 1.0;
        let numerator = (a + m - 1.0) / middle * ((a + b + m - 1.0) / middle) * m * (b - m) * x * x;
        let step = m + m * (b - m) * x / middle + (a + m) / (middle + 2.0) * (surplus + 1.0 + m * (1.0 + y));
        d = 1.0 / (step + numerator * d);
        c = step + numerator / c;
        let change = c * d;
        value *= change;
        if (change - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    value
}

/// The logit of the x with P(X ≤ x) = `p`.
fn logit_quantile(p: f64, a: f64, b: f64) -> f64 {
    if !((0.0..=1.0).contains(&p) && valid(a, b)) {
        return f64::NAN;
    }
    // The smaller tail determines the quantile well.
    if p > 0.5 {
        return -logit_quantile(1.0 - p, b, a);
    }
    let leading = leading_logit(p.ln(), a, b);
    if leading < NEGLIGIBLE {
        return leading;
    }
    // Only a small `b` takes half of the distribution that near to 1.
    if b < 1.0 {
        let mirrored = leading_logit((-p).ln_1p(), b, a);
        if mirrored < NEGLIGIBLE {
            return -mirrored;
        }
    }
    let start = if a <= 1.0 {
        leading
    } else if b <= 1.0 || (a > b && p.ln() < -20.0 * b) {
        gamma_logit(p, a, b)
    } else {
        leading.max(normal_logit(p, a, b))
    };
    quantile(p.ln(), start.min((a / b).ln()), (NEGLIGIBLE - 1.0, 1.0 - NEGLIGIBLE), |s| {
        let argument = Argument::at_logit(s, a, b);
        let Areas { ln_below, below_slope, .. } = argument.areas();
        Point { ln_area: ln_below, slope: below_slope, ln_density_slope: argument.surplus }
    })
}

/// The inverse of the first term of the power series, for the logarithm of an area.
fn leading_logit(ln_p: f64, a: f64, b: f64) -> f64 {
    let ln_constant = if a < NEARLY_NONE { ln_a_beta(a, b) } else { a.ln() + ln_beta(a, b) };
    (ln_p + ln_constant) / a
}

/// The logit of the quantile as a function of the normal one, after Fisher and Cornish (Abramowitz & Stegun 26.5.22).
fn normal_logit(p: f64, a: f64, b: f64) -> f64 {
    let z = normal_critical(2.0 * p);
    let (u, v) = (1.0 / (2.0 * a - 1.0), 1.0 / (2.0 * b - 1.0));
    let h = 2.0 / (u + v);
    let l = (z * z - 3.0) / 6.0;
    let w = z * (h + l).max(0.0).sqrt() / h - (v - u) * (l + 5.0 / 6.0 - 2.0 / (3.0 * h));
    (a / b).ln() - 2.0 * w
}

/// The logit of the quantile from that of −ln x, which for small `b` has nearly a gamma distribution with that parameter.
fn gamma_logit(p: f64, a: f64, b: f64) -> f64 {
    let ln_gamma_b = ln_gamma(b);
    let tail = -p.ln() - ln_gamma_b;
    // The first terms of the expansions of its upper and its lower tail.
    let quantile = if tail > 1.0 {
        tail + (b - 1.0) * tail.ln()
    } else {
        (((-p).ln_1p() + ln_gamma_b + b.ln()) / b).exp()
    };
    let minus_ln_x = quantile / (a + 0.5 * (b - 1.0));
    -minus_ln_x - (-(-minus_ln_x).exp_m1()).ln()
}

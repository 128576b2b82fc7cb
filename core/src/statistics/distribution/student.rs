//! Student's t distribution.
//!
//! Computed from two expansions of the incomplete beta function I_x(df/2, ½) that stay free of cancellation as the
//! degrees of freedom grow:
//!
//! * the power series of the centre, all of whose terms are positive (DLMF 8.17.8);
//! * for the tails the continued fraction of DiDonato & Morris, "Significant digit computation of the incomplete beta
//!   function ratios", ACM TOMS 18 (1992), equation 9 (DLMF 8.17.22 with its steps joined in pairs), which turns into the
//!   normal distribution's own fraction as the degrees of freedom grow.

use std::f64::consts::PI;

use super::normal::{normal_critical, normal_two_sided};

/// Bound on the terms of the series and on the steps of the continued fraction. Over df 1…10¹⁸ neither needs more than
/// 120; a loop that reached the bound would still end.
const STEPS: u32 = 500;

/// Bound on Newton's steps for a quantile; it takes at most 5 over the same range.
const NEWTON_STEPS: u32 = 50;

/// Degrees of freedom above which the t distribution is the normal one to the last digit: down to p = 10⁻³⁰⁰ they differ
/// by less than z⁴/df relative (Abramowitz & Stegun 26.7.5). More than any number of users gives.
const NORMAL_FROM: f64 = 1e22;

/// P(T ≤ t) for Student's t distribution with `df` > 0 degrees of freedom, which may be infinite.
pub fn student_cdf(t: f64, df: f64) -> f64 {
    student_survival(-t, df)
}

/// P(T > t) for Student's t distribution with `df` > 0 degrees of freedom, which may be infinite.
pub fn student_survival(t: f64, df: f64) -> f64 {
    let tail = 0.5 * student_two_sided(t, df);
    if t < 0.0 { 1.0 - tail } else { tail }
}

/// P(|T| > |t|) for Student's t distribution with `df` > 0 degrees of freedom.
pub fn student_two_sided(t: f64, df: f64) -> f64 {
    if df > NORMAL_FROM {
        return normal_two_sided(t);
    }
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    Areas::of(t.abs(), df).outside
}

/// The t ≥ 0 with P(|T| > t) = `area`, for 0 < `area` ≤ 1: the critical value of a two-sided test at that level.
///
/// Newton's method on the logarithm of the area as a function of ln t. Both the outside and the inside area are
/// log-concave in ln t, so that from the second iterate on the method approaches the root from one side and cannot
/// overshoot; it starts at the normal quantile, which is never above the t quantile.
pub fn student_critical(area: f64, df: f64) -> f64 {
    let mut t = normal_critical(area);
    if df > NORMAL_FROM || t == 0.0 || t.is_nan() {
        return t;
    }
    if df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    for _ in 0..NEWTON_STEPS {
        let areas = Areas::of(t, df);
        // The smaller of the two areas is the one that determines t well.
        let step = if area <= 0.5 {
            (areas.ln_outside - area.ln()) * areas.outside_share
        } else {
            ((1.0 - area) / areas.inside).ln() * areas.inside_share
        };
        let next = t * step.exp();
        if !next.is_finite() || next <= 0.0 {
            // Beyond the range of a double: fewer than one degree of freedom, or an area below 1e-307.
            return next;
        }
        t = next;
        // The error after a step is of the order of the step squared.
        if step.abs() < 1e-9 {
            break;
        }
    }
    t
}

/// The t with P(T ≤ t) = `p`, for 0 < `p` < 1.
pub fn student_quantile(p: f64, df: f64) -> f64 {
    // Either branch doubles without rounding.
    if p < 0.5 { -student_critical(2.0 * p, df) } else { student_critical(2.0 * (1.0 - p), df) }
}

/// What Student's t distribution has on either side of ±t.
struct Areas {
    /// P(|T| < t).
    inside: f64,
    /// P(|T| > t).
    outside: f64,
    /// ln P(|T| > t), also where the area itself is below the range of f64.
    ln_outside: f64,
    /// −d ln t / d ln P(|T| > t).
    outside_share: f64,
    /// d ln t / d ln P(|T| < t).
    inside_share: f64,
}

impl Areas {
    /// For finite `df` > 0 and `t` ≥ 0. With a = df/2 and x = df/(df + t²), the outside area is the regularised
    /// incomplete beta function I_x(a, ½). Its prefactor x^a·(1−x)^½ / B(a, ½) is t·f(t) with f the density, which is
    /// half the change of either area with ln t.
    fn of(t: f64, df: f64) -> Areas {
        let a = 0.5 * df;
        let ratio = t * t / df;
        // x and 1 − x, each without cancellation, and ln x also where t² overflows.
        let x = 1.0 / (1.0 + ratio);
        let y = 1.0 / (1.0 + 1.0 / ratio);
        let ln_x = if ratio < 1e17 { -ratio.ln_1p() } else { df.ln() - 2.0 * t.ln() };
        let constant = (y / PI).sqrt() * half_step_gamma_ratio(a);
        let power = (a * ln_x).exp();
        if t * t < 3.0 {
            let series = 2.0 * centre_series(a, y);
            let inside = (power * constant * series).min(1.0);
            let outside = 1.0 - inside;
            Areas {
                inside,
                outside,
                ln_outside: outside.ln(),
                outside_share: outside / (2.0 * power * constant),
                inside_share: 0.5 * series,
            }
        } else {
            let fraction = tail_fraction(a, x, t * t);
            let outside = (power * (constant / fraction)).min(1.0);
            Areas {
                inside: 1.0 - outside,
                outside,
                ln_outside: a * ln_x + (constant / fraction).ln(),
                outside_share: 0.5 / fraction,
                inside_share: (1.0 - outside) / (2.0 * power * constant),
            }
        }
    }
}

/// Γ(a + ½) / Γ(a) for a > 0: Stirling's series of the difference of logarithms (DLMF 5.11.8 at h = ½ and 0), after
/// moving `a` up to 16 with Γ(a + 1) = a·Γ(a). Unlike a difference of two ln Γ it loses nothing at large `a`.
fn half_step_gamma_ratio(a: f64) -> f64 {
    let (mut shifted, mut factor) = (a, 1.0);
    for _ in 0..16 {
        if shifted >= 16.0 {
            break;
        }
        factor *= shifted / (shifted + 0.5);
        shifted += 1.0;
    }
    let inverse = 1.0 / shifted;
    let square = inverse * inverse;
    let series = [-1.0 / 8.0, 1.0 / 192.0, -1.0 / 640.0, 17.0 / 14336.0, -31.0 / 18432.0, 691.0 / 180224.0];
    let correction = series.iter().rev().fold(0.0, |sum, coefficient| sum * square + coefficient) * inverse;
    factor * shifted.sqrt() * correction.exp()
}

/// Σ (a + ½)ₙ / (3/2)ₙ · yⁿ, the series of I_y(½, a) without its prefactor.
fn centre_series(a: f64, y: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 0..STEPS {
        let n = f64::from(n);
        // Dividing before multiplying keeps a huge `a` with a tiny `y` in range.
        term *= y * ((a + 0.5 + n) / (1.5 + n));
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

/// The continued fraction of I_x(a, ½) without its prefactor, by the modified Lentz method; `t2` is t².
fn tail_fraction(a: f64, x: f64, t2: f64) -> f64 {
    // a·y − x/2 + 1, whose two first terms cancel to the last digit when written so.
    let base = if t2.is_finite() { 0.5 * x * (t2 - 1.0) + 1.0 } else { a + 1.0 };
    let mut value = a / (a + 1.0) * base;
    let (mut c, mut d) = (value, 0.0);
    for m in 1..=STEPS {
        let m = f64::from(m);
        let middle = a + 2.0 * m - 1.0;
        let numerator = (a + m - 1.0) / middle * ((a + m - 0.5) / middle) * m * (0.5 - m) * x * x;
        let b = m + m * (0.5 - m) * x / middle + (a + m) / (middle + 2.0) * (base + m * (2.0 - x));
        d = 1.0 / (b + numerator * d);
        c = b + numerator / c;
        let change = c * d;
        value *= change;
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

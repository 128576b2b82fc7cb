//! Student's t distribution.
//!
//! Computed from two expansions of the incomplete beta function I_x(df/2, ½) that stay free of cancellation as the
//! degrees of freedom grow:
//!
//! * the power series of the centre, all of whose terms are positive (DLMF 8.17.8);
//! * for the tails the continued fraction of DiDonato & Morris (see `beta`), which turns into the normal distribution's
//!   own fraction as the degrees of freedom grow.

use super::beta::{fraction, ln_beta, power_series};
use super::normal::{normal_critical, normal_two_sided};

/// Bound on the steps for a quantile; see [`student_critical`] for how few it takes.
const STEPS: u32 = 50;

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
/// Halley's method on the logarithm of the area as a function of ln t, in which both the outside and the inside area are
/// log-concave: a step of Newton's, which cannot pass the root twice, and no more than twice it. It starts where Wallace's
/// transformation (1959, Annals of Mathematical Statistics 30) takes the normal quantile, so that from a thousand degrees of
/// freedom on one step is enough.
pub fn student_critical(area: f64, df: f64) -> f64 {
    let z = normal_critical(area);
    if df > NORMAL_FROM || z == 0.0 || z.is_nan() {
        return z;
    }
    if df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    // z = (8·df + 1)/(8·df + 3)·√(df·ln(1 + t²/df)), solved for t. Beyond the range of a double it is far above the root, and
    // the normal quantile is below it.
    let wallace = (df * (((z * (8.0 * df + 3.0) / (8.0 * df + 1.0)).powi(2)) / df).exp_m1()).sqrt();
    let mut t = if wallace.is_finite() { wallace } else { z };
    for _ in 0..STEPS {
        let areas = Areas::of(t, df);
        // The smaller of the two areas is the one that determines t well.
        let (newton, slope) = if area <= 0.5 {
            ((areas.ln_outside - area.ln()) * areas.outside_share, -1.0 / areas.outside_share)
        } else {
            (((1.0 - area) / areas.inside).ln() * areas.inside_share, 1.0 / areas.inside_share)
        };
        // The derivative of ln(t·f(t)) with ln t.
        let ln_density_slope = 1.0 - (df + 1.0) / (1.0 + df / (t * t));
        let step = newton / (1.0 + 0.5 * newton * (ln_density_slope - slope)).max(0.5);
        let next = t * step.exp();
        if !next.is_finite() || next <= 0.0 {
            // Beyond the range of a double: fewer than one degree of freedom, or an area below 1e-307.
            return next;
        }
        t = next;
        // The error after a step is of the order of its third power, in units of the area's own scale.
        if step.abs() * slope.abs().max(1.0) < 1e-5 {
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
        let constant = y.sqrt() * (-ln_beta(a, 0.5)).exp();
        let power = (a * ln_x).exp();
        if t * t < 3.0 {
            let series = 2.0 * power_series(0.5, a, y);
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
            // a − (a + ½)·x, whose terms cancel to the last digit when written so.
            let surplus = if (t * t).is_finite() { 0.5 * x * (t * t - 1.0) } else { a };
            let fraction = fraction(a, 0.5, x, y, surplus);
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

//! The chi-square distribution and the incomplete gamma function.
//!
//! As for the beta distribution every area is the density of ln x, whose mode is at the mean, times a ratio for the side
//! away from the mean: by quadrature for many degrees of freedom, else by the power series below (DLMF 8.7.1) and
//! Legendre's continued fraction above the mean (DLMF 8.9.2).

use std::f64::consts::{LN_2, PI};
use std::ops::RangeInclusive;

use super::gamma::ln_gamma;
use super::normal::normal_critical;
use super::quantile::{Point, quantile};
use super::saddle_point::{deviance, stirling_error};
use super::tail_integral::{Factor, tail_integral};

/// The degrees of freedom; beyond them powers leave the range of f64.
const DEGREES: RangeInclusive<f64> = 1e-6..=1e19;

/// The logarithm of an x so small that the first term of the power series is all of it.
const NEGLIGIBLE: f64 = -700.0;

/// The logarithm of an x above every quantile.
const LARGEST: f64 = 50.0;

/// Half the degrees of freedom from which on tails are integrated.
const INTEGRATED_FROM: f64 = 20.0;

/// Bound on the terms of the series and on the steps of the continued fraction. Neither needs more than 200;
/// a loop that reached the bound would still end.
const STEPS: u32 = 1000;

/// P(X ≤ x) for the chi-square distribution with `df` degrees of freedom, from 10⁻⁶ to 10¹⁹.
pub fn chi_square_cdf(x: f64, df: f64) -> f64 {
    match Argument::of(x, df) {
        Ok(argument) => argument.areas().below,
        Err(below) => below,
    }
}

/// P(X > x) for the chi-square distribution with `df` degrees of freedom, from 10⁻⁶ to 10¹⁹.
pub fn chi_square_survival(x: f64, df: f64) -> f64 {
    match Argument::of(x, df) {
        Ok(argument) => argument.areas().above,
        Err(below) => 1.0 - below,
    }
}

/// The x with P(X > x) = `area`, for 0 < `area` ≤ 1: the critical value of a test at that level. `df` is from 10⁻⁶ to
/// 10¹⁹.
pub fn chi_square_quantile_upper(area: f64, df: f64) -> f64 {
    if !(area > 0.0 && area <= 1.0 && DEGREES.contains(&df)) {
        return f64::NAN;
    }
    if area == 1.0 {
        return 0.0;
    }
    let a = 0.5 * df;
    // The inverse of the first term of the power series.
    let leading = ((-area).ln_1p() + a.ln() + ln_gamma(a)) / a + LN_2;
    if leading < NEGLIGIBLE {
        return leading.exp();
    }
    // The cube root of a chi-square variable is nearly normal (Wilson & Hilferty 1931).
    let variance = 2.0 / (9.0 * df);
    let cube = |z: f64| df.ln() + 3.0 * (1.0 - variance + z * variance.sqrt()).max(1e-9).ln();
    // The smaller tail determines the quantile well.
    if area <= 0.5 {
        // The upper tail of ln x is the lower one of −ln x.
        let start = cube(normal_critical(2.0 * area)).max(df.ln());
        let s = quantile(area.ln(), -start, (-LARGEST, 1.0 - NEGLIGIBLE), |s| {
            let argument = Argument::at((-s).exp(), df);
            let Areas { ln_density, ln_above, .. } = argument.areas();
            Point {
                ln_area: ln_above,
                slope: (ln_density - ln_above).exp(),
                ln_density_slope: -argument.surplus,
            }
        });
        (-s).exp()
    } else {
        let p = 1.0 - area;
        let start = leading.max(cube(-normal_critical(2.0 * p))).min(df.ln());
        let s = quantile(p.ln(), start, (NEGLIGIBLE - 1.0, LARGEST), |s| {
            let argument = Argument::at(s.exp(), df);
            let Areas { ln_density, ln_below, .. } = argument.areas();
            Point {
                ln_area: ln_below,
                slope: (ln_density - ln_below).exp(),
                ln_density_slope: argument.surplus,
            }
        });
        s.exp()
    }
}

/// Where a chi-square distribution is looked at, as a gamma distribution.
struct Argument {
    /// Half of x.
    x: f64,
    /// Half the degrees of freedom.
    a: f64,
    /// a − x.
    surplus: f64,
}

/// What a chi-square distribution has on either side of an argument.
struct Areas {
    below: f64,
    above: f64,
    /// The logarithm of the density of ln x.
    ln_density: f64,
    /// The logarithms, also where an area itself is less than the range of f64.
    ln_below: f64,
    ln_above: f64,
}

impl Argument {
    /// Or the area below x where that takes no computation, NaN included.
    fn of(x: f64, df: f64) -> Result<Argument, f64> {
        if x.is_nan() || !DEGREES.contains(&df) {
            return Err(f64::NAN);
        }
        if x <= 0.0 {
            return Err(0.0);
        }
        if x == f64::INFINITY {
            return Err(1.0);
        }
        Ok(Argument::at(x, df))
    }

    fn at(x: f64, df: f64) -> Argument {
        Argument { x: 0.5 * x, a: 0.5 * df, surplus: 0.5 * (df - x) }
    }

    /// ln x^a·e^(−x) / Γ(a): the density of ln X.
    fn ln_density(&self) -> f64 {
        let Argument { x, a, surplus } = *self;
        0.5 * (a / (2.0 * PI)).ln() - stirling_error(a) - a * deviance(-surplus / a, x / a)
    }

    fn areas(&self) -> Areas {
        let Argument { x, a, surplus } = *self;
        let ln_density = self.ln_density();
        let density = ln_density.exp();
        if surplus >= 0.0 {
            let ratio = lower_ratio(a, x, surplus);
            let below = (density * ratio).min(1.0);
            Areas {
                below,
                above: 1.0 - below,
                ln_density,
                ln_below: ln_density + ratio.ln(),
                ln_above: (-below).ln_1p(),
            }
        } else {
            let ratio = upper_ratio(a, x, -surplus, density);
            let above = (density * ratio).min(1.0);
            Areas {
                below: 1.0 - above,
                above,
                ln_density,
                ln_below: (-above).ln_1p(),
                ln_above: ln_density + ratio.ln(),
            }
        }
    }
}

/// The area below x divided by the density, for x not above a.
fn lower_ratio(a: f64, x: f64, surplus: f64) -> f64 {
    if a >= INTEGRATED_FROM {
        return tail_integral(
            surplus,
            [Factor { weight: a, scale: -1.0 }, Factor { weight: 0.0, scale: 0.0 }],
        );
    }
    power_series(a, x) / a
}

/// The area above x divided by `density`, for x above a.
fn upper_ratio(a: f64, x: f64, excess: f64, density: f64) -> f64 {
    if a >= INTEGRATED_FROM {
        return tail_integral(excess, [Factor { weight: a, scale: 1.0 }, Factor { weight: 0.0, scale: 0.0 }]);
    }
    // Next to 0 the fraction is slow and the area below is small.
    if x < 0.5 {
        return (1.0 - density * power_series(a, x) / a) / density;
    }
    fraction(a, x)
}

/// Σ xⁿ / (a + 1)ₙ.
fn power_series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 0..STEPS {
        term *= x / (a + 1.0 + f64::from(n));
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

/// The continued fraction of the area above x, by the modified Lentz method.
fn fraction(a: f64, x: f64) -> f64 {
    let mut value = x + 1.0 - a;
    let (mut c, mut d) = (value, 0.0);
    for m in 1..=STEPS {
        let m = f64::from(m);
        let numerator = m * (a - m);
        let step = x + 1.0 - a + 2.0 * m;
        d = 1.0 / (step + numerator * d);
        c = step + numerator / c;
        let change = c * d;
        value *= change;
        if (change - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    1.0 / value
}

//! Group sequential designs: a few planned looks, each with its own critical value, by spending alpha over the information.
//!
//! Why this module exists: with a known end and up to some ten looks no method has more power. The spending function
//! (Lan & DeMets 1983, Biometrika 70) says how much of alpha may be used up at a share t of the planned information
//! I = 1/Var(d); looks need not be equally far apart, nor known in advance, as long as their times do not depend on the
//! results. Bounds of past looks stay as they were: only what is left to spend moves.
//!
//! Under no effect the score S = Z·√t has independent normal increments of variance Δt. Its density on the region in
//! which the experiment goes on is carried from look to look by f_k(s) = ∫ f_{k−1}(u)·φ((s − u)/√Δt)/√Δt du (Armitage,
//! McPherson & Rowe 1969, JRSS A 132), and the bound solves tail = Δα. An effect δ multiplies the density by
//! e^(δs − δ²t/2), which gives the power without another integration.
//!
//! Error: Gauss–Legendre panels of order 32, no wider than six standard deviations of the narrower increment beside
//! them, over ±12·√t, leave an error far below that of any use; bounds agree with an independent integration to 10⁻⁷ (its own
//! error). Increments of alpha below 10⁻¹³ are exact at the first look only. Cost: about 1 ms for five looks, growing with
//! the looks' number and the smallness of their steps, both of which are limited.

use super::distribution::{LEGENDRE, normal_critical, normal_density, normal_quantile, normal_survival};
use super::{InvalidArgument, check_alpha, check_probability};

/// The most looks of one design; more are better served by a confidence sequence.
pub const MAX_LOOKS: usize = 50;

/// The least new information at a look, as a share of all information so far.
const LEAST_STEP: f64 = 1e-3;

/// Where a region without a bound is cut off, in standard deviations.
const REACH: f64 = 12.0;

/// The widest panel in standard deviations of an increment.
const PANEL: f64 = 6.0;

/// Beyond this many standard deviations an increment's density is nothing.
const KERNEL: f64 = 9.0;

/// Steps of bisection: more than the digits of a double.
const STEPS: u32 = 100;

/// How alpha is spent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spending {
    /// 2 − 2Φ(z_{α/2}/√t): next to nothing early, like O'Brien & Fleming.
    ObrienFleming,
    /// α·ln(1 + (e − 1)·t): nearly equal bounds, like Pocock.
    Pocock,
    /// α·t^φ (Kim & DeMets 1987, Biometrika 74), φ > 0.
    Power(f64),
}

/// Which effects end the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sides {
    /// Those of one direction; the region goes on without end on the other side.
    One,
    /// Those of both directions, each with half of alpha.
    #[default]
    Two,
}

/// One look of a design.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Share of the planned information.
    pub information: f64,
    /// P(stopped here or before | no effect), over all sides.
    pub alpha_spent: f64,
    /// P(stopped here | no effect).
    pub alpha_increment: f64,
    /// The critical value of Z; infinite where there is nothing to spend.
    pub z_bound: f64,
    /// The p-value, one- or two-sided as the design, below which to stop here.
    pub p_bound: f64,
}

/// The critical values of the looks at the given shares of the planned `information`.
///
/// `past_bounds` are the critical values that were used at the first looks, fewer than all or none; they are kept, and what
/// they spent counts as spent. From a look with all of the information (1 or more) on, all of alpha is spent.
///
/// # Errors
/// [`InvalidArgument`] for an `info` that is empty, longer than [`MAX_LOOKS`], not positive and strictly increasing by at
/// least a thousandth, for more past bounds than looks or ones that are not positive, a power that is not positive, and an
/// `alpha` outside (0, 1) or, one-sided, outside (0, 0.5).
pub fn group_bounds(
    information: &[f64],
    alpha: f64,
    spending: Spending,
    sides: Sides,
    past_bounds: &[f64],
) -> Result<Vec<Look>, InvalidArgument> {
    Ok(design(information, alpha, spending, sides, past_bounds)?.0)
}

/// By how much the design's maximum information exceeds that of a fixed one with the same power, for
/// [`Design::inflation`](super::power::Design::inflation). The last look is at the maximum.
///
/// # Errors
/// [`InvalidArgument`] as for [`group_bounds`], for a `power` outside (0, 1), and for one that is not above alpha.
pub fn group_inflation(
    information: &[f64],
    alpha: f64,
    power: f64,
    spending: Spending,
    sides: Sides,
) -> Result<f64, InvalidArgument> {
    check_probability("power", power)?;
    if power <= alpha {
        return Err(InvalidArgument::new("power", power, "greater than alpha"));
    }
    let (_, last) = design(information, alpha, spending, sides, &[])?;
    let end = last.information;
    let going_on = |drift: f64| -> f64 {
        last.points.iter().map(|&(s, mass)| mass * (drift * s - 0.5 * drift * drift * end).exp()).sum()
    };
    let fixed = normal_critical(sides.area(alpha)) + normal_quantile(power);
    let (mut low, mut high) = (0.0, 4.0 * (fixed + 1.0) / end.sqrt());
    for _ in 0..STEPS {
        let middle = 0.5 * (low + high);
        if going_on(middle) > 1.0 - power { low = middle } else { high = middle }
    }
    let found = 0.5 * (low + high);
    Ok(end * (found / fixed).powi(2))
}

/// The interval that goes with a look's critical value: d ± c·se holds at all looks together (Jennison & Turnbull 1989, JRSS
/// B 51). One-sided, only the bound of the direction looked for means anything.
pub fn repeated_interval(diff: f64, standard_error: f64, z_bound: f64) -> (f64, f64) {
    (diff - z_bound * standard_error, diff + z_bound * standard_error)
}

impl Spending {
    /// `obf`, `pocock` or `power`, the last with the exponent `phi`.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `spending` for any other.
    pub fn named(name: &str, phi: f64) -> Result<Spending, InvalidArgument> {
        match name {
            "obf" => Ok(Spending::ObrienFleming),
            "pocock" => Ok(Spending::Pocock),
            "power" => Ok(Spending::Power(phi)),
            _ => Err(InvalidArgument::option("spending", name, "\"obf\", \"pocock\" or \"power\"")),
        }
    }

    /// The name that [`Spending::named`] knows.
    pub fn as_str(self) -> &'static str {
        match self {
            Spending::ObrienFleming => "obf",
            Spending::Pocock => "pocock",
            Spending::Power(_) => "power",
        }
    }

    /// What is spent of one side's `alpha` at a share of the information.
    fn spent(self, alpha: f64, share: f64) -> f64 {
        if share >= 1.0 {
            return alpha;
        }
        match self {
            Spending::ObrienFleming => 2.0 * normal_survival(normal_critical(alpha) / share.sqrt()),
            Spending::Pocock => alpha * ((std::f64::consts::E - 1.0) * share).ln_1p(),
            Spending::Power(exponent) => alpha * share.powf(exponent),
        }
    }
}

impl Sides {
    /// One or two.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `sides` for any other number.
    pub fn counted(sides: i32) -> Result<Sides, InvalidArgument> {
        match sides {
            1 => Ok(Sides::One),
            2 => Ok(Sides::Two),
            _ => Err(InvalidArgument::new("sides", sides, "1 or 2")),
        }
    }

    fn count(self) -> f64 {
        match self {
            Sides::One => 1.0,
            Sides::Two => 2.0,
        }
    }

    /// Both tails together beyond the fixed design's critical value.
    fn area(self, alpha: f64) -> f64 {
        2.0 * alpha / self.count()
    }
}

/// The score's distribution over those experiments that go on after a look.
struct GoingOn {
    information: f64,
    /// Scores and the probability that each stands for.
    points: Vec<(f64, f64)>,
}

fn check_design(
    information: &[f64],
    alpha: f64,
    spending: Spending,
    sides: Sides,
    past_bounds: &[f64],
) -> Result<(), InvalidArgument> {
    check_alpha(alpha)?;
    if sides == Sides::One && alpha >= 0.5 {
        return Err(InvalidArgument::new(
            "alpha",
            alpha,
            "strictly between 0 and 0.5 for a one-sided design",
        ));
    }
    if let Spending::Power(exponent) = spending
        && !(exponent > 0.0 && exponent.is_finite())
    {
        return Err(InvalidArgument::new("phi", exponent, "a finite number above 0"));
    }
    if information.is_empty() || information.len() > MAX_LOOKS {
        let requirement = format!("1 to {MAX_LOOKS} numbers long");
        return Err(InvalidArgument::new("info", information.len(), &requirement));
    }
    let mut before = 0.0;
    for &share in information {
        if !(share.is_finite() && share > 1e-6 && share < 1e6 && share - before >= LEAST_STEP * share) {
            let requirement = "shares of the planned information, each greater than the one before by at least a \
                               thousandth of itself";
            return Err(InvalidArgument::new("info", share, requirement));
        }
        before = share;
    }
    if past_bounds.len() > information.len() {
        return Err(InvalidArgument::new("past_bounds", past_bounds.len(), "no longer than info"));
    }
    match past_bounds.iter().find(|bound| bound.is_nan() || **bound <= 0.0) {
        Some(bound) => Err(InvalidArgument::new("past_bounds", bound, "greater than 0")),
        None => Ok(()),
    }
}

/// The looks and the distribution after the last one.
fn design(
    information: &[f64],
    alpha: f64,
    spending: Spending,
    sides: Sides,
    past_bounds: &[f64],
) -> Result<(Vec<Look>, GoingOn), InvalidArgument> {
    check_design(information, alpha, spending, sides, past_bounds)?;
    let one_side = alpha / sides.count();
    let mut state = GoingOn { information: 0.0, points: vec![(0.0, 1.0)] };
    let mut spent = 0.0;
    let mut looks = Vec::with_capacity(information.len());
    for (index, &share) in information.iter().enumerate() {
        let step = (share - state.information).sqrt();
        let tail = |bound: f64| state.tail(bound * share.sqrt(), step);
        let (bound, increment) = match past_bounds.get(index) {
            Some(&bound) => (bound, tail(bound)),
            None => {
                let target = (spending.spent(one_side, share) - spent).max(0.0);
                (state.solve(target, share, step), target)
            }
        };
        spent += increment;
        let survival = normal_survival(bound);
        looks.push(Look {
            information: share,
            alpha_spent: spent * sides.count(),
            alpha_increment: increment * sides.count(),
            z_bound: bound,
            p_bound: survival * sides.count(),
        });
        let next = information.get(index + 1).map_or(step, |next| (next - share).sqrt());
        state = state.after(bound, share, step, next.min(step), sides);
    }
    Ok((looks, state))
}

impl GoingOn {
    /// P(going on so far, then a score above `score`).
    fn tail(&self, score: f64, step: f64) -> f64 {
        self.points.iter().map(|&(from, mass)| mass * normal_survival((score - from) / step)).sum()
    }

    /// The critical value whose tail is `target`, by Newton's method kept inside a bracket.
    fn solve(&self, target: f64, share: f64, step: f64) -> f64 {
        if target <= 0.0 {
            return f64::INFINITY;
        }
        let root = share.sqrt();
        // The tail is at most that of one look alone, and the first look has nothing else.
        let high = normal_quantile(target).abs();
        if self.information == 0.0 {
            return high;
        }
        let (mut low, mut high) = (-REACH, high);
        let mut bound = high;
        for _ in 0..STEPS {
            let tail = self.tail(bound * root, step);
            if tail > target {
                low = bound
            } else {
                high = bound
            }
            let slope: f64 = self
                .points
                .iter()
                .map(|&(from, mass)| mass * normal_density((bound * root - from) / step) * root / step)
                .sum();
            // On the scale of logarithms a tail is nearly a parabola.
            let newton = bound + tail / slope * (tail / target).ln();
            let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
            if (next - bound).abs() <= 1e-15 * bound.abs() || high - low <= 1e-15 {
                return next;
            }
            bound = next;
        }
        bound
    }

    /// The distribution after a look at which the experiment goes on inside its bound, fit for increments of `finest`.
    fn after(&self, bound: f64, share: f64, step: f64, finest: f64, sides: Sides) -> GoingOn {
        let root = share.sqrt();
        let high = bound.min(REACH) * root;
        let low = match sides {
            Sides::One => -REACH * root,
            Sides::Two => -high,
        };
        // At most 24/(6·√0.001) panels, as steps are no less than a thousandth of the information.
        let panels = ((high - low) / (PANEL * finest)).ceil().max(1.0);
        let half = 0.5 * (high - low) / panels;
        let mut points = Vec::with_capacity(panels as usize * 2 * LEGENDRE.len());
        for panel in 0..panels as u32 {
            let centre = low + half * f64::from(2 * panel + 1);
            for &(node, weight) in &LEGENDRE {
                for score in [centre - half * node, centre + half * node] {
                    points.push((score, half * weight * self.density(score, step)));
                }
            }
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        GoingOn { information: share, points }
    }

    fn density(&self, score: f64, step: f64) -> f64 {
        let first = self.points.partition_point(|point| point.0 < score - KERNEL * step);
        self.points[first..]
            .iter()
            .take_while(|point| point.0 <= score + KERNEL * step)
            .map(|&(from, mass)| mass * normal_density((score - from) / step) / step)
            .sum()
    }
}

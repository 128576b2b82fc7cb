//! Two conversion rates with beta posteriors: the chance to be better, losses, and intervals of difference and lift.
//!
//! Why this module exists: with few conversions, or none, a rate's posterior is nowhere near normal, and finite sums (Miller
//! 2015, "Formulas for Bayesian A/B testing") take as many terms as there are conversions. The quadrature of
//! [`ranking`](super::ranking) takes the same hundred at any size.
//!
//! Intervals are equal-tailed, of the exact posterior of the difference p_T − p_C and of the lift p_T/p_C − 1. The lift itself
//! is the posterior's **median**: the mean is infinite under a uniform prior while the control has no conversions. Their
//! distribution functions are integrals along the curve p_T − p_C = d or p_T/p_C = r through the unit square, of the density
//! of the arm that starts at 0 and the area of the other, over the logit of the curve's own parameter: at both ends of the
//! curve the integrand is a power, which the logit makes an exponential.
//!
//! Error: probabilities and losses 10⁻¹² relative, intervals and lift 10⁻⁹ of their standard deviation; what is said of
//! great numbers of users in [`ranking`](super::ranking) holds. Cost: 2 to 6 ms, nearly all of it for the intervals.

use super::super::distribution::{
    LogAreas, Point, Share, ln_beta_areas, ln_beta_logit_density, normal_critical, quantile,
};
use super::super::proportion::Proportion;
use super::super::quadrature::{Feature, Height, Nodes};
use super::super::{InvalidArgument, Note, check_alpha};
use super::Posterior;
use super::ranking::{Belief, ranking};

/// The least and the greatest parameter of a prior.
const PARAMETERS: std::ops::RangeInclusive<f64> = 1e-6..=1e12;

/// The least error rate of an interval: further out the search for its bounds is not to be trusted.
const LEAST_ALPHA: f64 = 1e-12;

/// What is believed of two rates: of their difference, and of the lift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProportionPosterior {
    /// Of the difference of the rates.
    pub difference: Posterior,
    /// Median of the relative lift.
    pub lift: Option<f64>,
    /// Lower bound of its equal-tailed credible interval.
    pub lift_low: Option<f64>,
    /// Upper bound.
    pub lift_high: Option<f64>,
}

/// The posterior of two rates under the prior Beta(`a`, `b`) of each, with credible intervals of 1 − `alpha`.
///
/// Uniform is a = b = 1; what is known of rates about p₀ is a = κ·p₀, b = κ·(1 − p₀), as if κ users had been seen before. Edges:
/// an arm without users stays at the prior ([`Note::TooFewUnits`], with all figures); a lift beyond the range of a double,
/// from a prior that has the control next to 0, is left out with [`Note::ControlNearZero`].
///
/// # Errors
/// [`InvalidArgument`] for negative counts, more conversions than users, an `a` or `b` outside 10⁻⁶ to 10¹² and an `alpha`
/// outside 10⁻¹² to 1.
pub fn proportion_posterior(
    control: Proportion,
    treatment: Proportion,
    a: f64,
    b: f64,
    alpha: f64,
) -> Result<ProportionPosterior, InvalidArgument> {
    control.check(["n1", "x1"])?;
    treatment.check(["n2", "x2"])?;
    for (name, parameter) in [("a", a), ("b", b)] {
        if !PARAMETERS.contains(&parameter) {
            return Err(InvalidArgument::new(name, parameter, "from 1e-6 to 1e12"));
        }
    }
    check_alpha(alpha)?;
    if alpha < LEAST_ALPHA {
        return Err(InvalidArgument::new("alpha", alpha, "at least 1e-12 for an interval by quadrature"));
    }
    let (control, treatment, note) = {
        let empty = control.n == 0 || treatment.n == 0;
        (Beta::of(control, a, b), Beta::of(treatment, a, b), empty.then_some(Note::TooFewUnits))
    };
    let Some([of_control, of_treatment]) =
        ranking(&[control.belief(), treatment.belief()], true).and_then(|both| <[_; 2]>::try_from(both).ok())
    else {
        let difference = Posterior::missing(Note::Overflow);
        return Ok(ProportionPosterior { difference, lift: None, lift_low: None, lift_high: None });
    };
    let tail = 0.5 * alpha;
    let pair = Pair { first: control, second: treatment };
    let (lift, lift_low, lift_high) = (pair.lift(0.5), pair.lift(tail), pair.mirrored().highest_lift(tail));
    let unbounded = [lift, lift_low, lift_high].iter().any(Option::is_none);
    let (mean, sd) = (treatment.mean() - control.mean(), control.sd().hypot(treatment.sd()));
    // No distribution has its quantiles further out, nor on the other side, than Cantelli's inequality allows: with rates so
    // near to 0 or 1 that the search lost its way there is no interval rather than a wrong one.
    let (inward, outward) = ((tail / (1.0 - tail)).sqrt() * sd, ((1.0 - tail) / tail).sqrt() * sd);
    let slack = 1e-9 * sd + 4.0 * f64::EPSILON;
    let within = |distance: &f64| (-outward - slack..=inward + slack).contains(distance);
    let low = Some(pair.difference(tail)).filter(|low| within(&(low - mean)));
    let high = Some(-pair.mirrored().difference(tail)).filter(|high| within(&(mean - high)));
    let lost = (low.is_none() || high.is_none()).then_some(Note::Overflow);
    let difference = Posterior {
        mean: Some(mean),
        sd: Some(sd),
        low: low.filter(|_| lost.is_none()),
        high: high.filter(|_| lost.is_none()),
        probability_better: Some(of_treatment.probability_best),
        probability_worse: Some(of_control.probability_best),
        treatment_loss: Some(of_treatment.expected_loss),
        control_loss: Some(of_control.expected_loss),
        note: lost.or(note).or(unbounded.then_some(Note::ControlNearZero)),
    };
    Ok(ProportionPosterior { difference, lift, lift_low, lift_high })
}

/// The posterior of a rate.
#[derive(Debug, Clone, Copy)]
struct Beta {
    a: f64,
    b: f64,
}

impl Beta {
    fn of(arm: Proportion, a: f64, b: f64) -> Beta {
        Beta { a: a + arm.conversions as f64, b: b + (arm.n - arm.conversions) as f64 }
    }

    fn belief(self) -> Belief {
        Belief::Beta { a: self.a, b: self.b }
    }

    fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }

    fn sd(self) -> f64 {
        let sum = self.a + self.b;
        ((self.a / sum) * (self.b / sum) / (sum + 1.0)).sqrt()
    }

    fn areas(self, share: Share) -> LogAreas {
        ln_beta_areas(share, self.a, self.b)
    }
}

/// Two rates, of which the second is compared with the first.
#[derive(Debug, Clone, Copy)]
struct Pair {
    first: Beta,
    second: Beta,
}

/// A set of pairs of rates that are equally far apart.
#[derive(Debug, Clone, Copy)]
enum Curve {
    /// second − first.
    Difference(f64),
    /// ln(second/first).
    Ratio(f64),
}

/// Where a rate is at a point of a curve.
#[derive(Debug, Clone, Copy)]
struct Leg {
    share: Share,
    /// Steps of the rate's own logit for one of the curve's parameter.
    pace: f64,
}

impl Curve {
    /// The legs of the rate that starts at 0 with the curve and of the other, at the logit `u` of the curve's parameter.
    fn legs(self, u: f64) -> [Leg; 2] {
        let parameter = Share::at_logit(u);
        match self {
            Curve::Difference(0.0) | Curve::Ratio(0.0) => [Leg { share: parameter, pace: 1.0 }; 2],
            Curve::Difference(d) => {
                let (offset, length) = (d.abs(), 1.0 - d.abs());
                let (near, far) = (length * parameter.x, length * parameter.y);
                let (ln_near, ln_far) = (length.ln() + parameter.ln_x, length.ln() + parameter.ln_y);
                let (x, y) = (offset + near, offset + far);
                let lower = Share { x: near, y, ln_x: ln_near, ln_y: y.ln() };
                let upper = Share { x, y: far, ln_x: x.ln(), ln_y: ln_far };
                [Leg { share: lower, pace: parameter.y / y }, Leg { share: upper, pace: parameter.x / x }]
            }
            Curve::Ratio(ln_ratio) => {
                let ln_x = parameter.ln_x - ln_ratio.abs();
                let y = -ln_x.exp_m1();
                let scaled = Share { x: ln_x.exp(), y, ln_x, ln_y: y.ln() };
                [Leg { share: parameter, pace: 1.0 }, Leg { share: scaled, pace: parameter.y / y }]
            }
        }
    }

    /// What changes along the curve: the features of the rates where it passes them.
    fn features(self, rates: [Beta; 2]) -> Vec<Feature> {
        let mut features = Vec::with_capacity(3);
        for (leg, rate) in rates.into_iter().enumerate() {
            let Feature { centre, scale } = rate.belief().feature();
            let x = Share::at_logit(centre).x;
            let parameter = match (self, leg) {
                (Curve::Difference(d), 0) => x / (1.0 - d.abs()),
                (Curve::Difference(d), _) => (x - d.abs()) / (1.0 - d.abs()),
                (Curve::Ratio(_), 0) => x,
                (Curve::Ratio(ln_ratio), _) => x * ln_ratio.abs().exp(),
            };
            if parameter > 0.0 && parameter < 1.0 {
                let centre = (parameter / (1.0 - parameter)).ln();
                features.push(Feature { centre, scale: scale / self.legs(centre)[leg].pace });
            }
        }
        if features.is_empty() {
            features.push(Feature { centre: 0.0, scale: 1.0 });
        }
        features
    }

    /// ln of the density that a rate with this density of its logit has on the curve's own scale.
    fn ln_measure(self, share: Share) -> f64 {
        match self {
            Curve::Difference(_) => -share.ln_x - share.ln_y,
            Curve::Ratio(_) => -share.ln_y,
        }
    }
}

impl Pair {
    /// The first compared with the second.
    fn mirrored(self) -> Pair {
        Pair { first: self.second, second: self.first }
    }

    /// The d with P(second − first ≤ d) = `area` ≤ ½.
    fn difference(self, area: f64) -> f64 {
        let mean = self.second.mean() - self.first.mean();
        let sd = self.first.sd().hypot(self.second.sd());
        let (low, high) = ((-1.0 - mean) / sd, (1.0 - mean) / sd);
        let guess = -normal_critical(2.0 * area);
        let start = if guess > low { guess } else { 0.5 * low };
        let deviate = quantile(area.ln(), start, (low, high), |deviate| {
            self.below(Curve::Difference(mean + deviate * sd), deviate, sd)
        });
        mean + deviate * sd
    }

    /// The r − 1 with P(second/first ≤ r) = `area` ≤ ½; `None` beyond the range of a double.
    fn lift(self, area: f64) -> Option<f64> {
        Some(self.ln_ratio(area).exp_m1()).filter(|lift| lift.is_finite())
    }

    /// The r − 1 with P(first/second ≥ r) = `area` ≤ ½.
    fn highest_lift(self, area: f64) -> Option<f64> {
        Some((-self.ln_ratio(area)).exp_m1()).filter(|lift| lift.is_finite())
    }

    fn ln_ratio(self, area: f64) -> f64 {
        let ln_mean = (self.second.mean() / self.first.mean()).ln();
        let sd = (self.first.sd() / self.first.mean()).hypot(self.second.sd() / self.second.mean());
        let deviate = quantile(area.ln(), -normal_critical(2.0 * area), (-1e12, 1e12), |deviate| {
            self.below(Curve::Ratio(ln_mean + deviate * sd), deviate, sd)
        });
        ln_mean + deviate * sd
    }

    /// The chance that the pair is below a curve that is `deviate` times about `sd` from the middle, by deviates.
    fn below(self, curve: Curve, deviate: f64, sd: f64) -> Point {
        let Pair { first, second } = self;
        // The rate that starts at 0 with the curve, the other, and whether that is to be below the curve or above it.
        let (starting, other, is_below) = match curve {
            Curve::Difference(d) if d < 0.0 => (second, first, false),
            Curve::Ratio(ln_ratio) if ln_ratio > 0.0 => (second, first, false),
            _ => (first, second, true),
        };
        let features = curve.features([starting, other]);
        let height = |u: f64| {
            let [Leg { share, pace }, leg] = curve.legs(u);
            let (ln, slope) = ln_beta_logit_density(share, starting.a, starting.b);
            let parameter = Share::at_logit(u);
            let own = Height {
                ln: ln + pace.ln(),
                slope: slope * pace + parameter.y - parameter.x - pace * (share.y - share.x),
            };
            let areas = other.areas(leg.share);
            let (ln, slope) = if is_below {
                (areas.below, areas.below_slope * leg.pace)
            } else {
                (areas.above, -areas.above_slope * leg.pace)
            };
            own + Height { ln, slope }
        };
        let nodes = Nodes::of(features[0].centre, &features, height);
        let (mut area, mut density) = (0.0, 0.0);
        for &(u, weight) in &nodes.points {
            let [Leg { share, pace }, leg] = curve.legs(u);
            let (ln, _) = ln_beta_logit_density(share, starting.a, starting.b);
            let areas = other.areas(leg.share);
            // The parts may be beyond the range of a double where their product is not.
            let own = ln + pace.ln() - nodes.ln_top;
            area += weight * (own + if is_below { areas.below } else { areas.above }).exp();
            density += weight * (own + areas.density + curve.ln_measure(leg.share)).exp();
        }
        let mut ln_area = nodes.ln_top + f64::ln(area);
        if let Curve::Difference(d) = curve
            && d > 0.0
        {
            // The starting rate is beyond the curve's end, where the other cannot be above.
            let beyond = starting.areas(Share { x: 1.0 - d, y: d, ln_x: (-d).ln_1p(), ln_y: d.ln() }).above;
            let (less, more) = (ln_area.min(beyond), ln_area.max(beyond));
            ln_area = more + (less - more).exp().ln_1p();
        }
        // Where there is nothing yet, the search goes on by halves.
        let slope = if area > 0.0 { sd * (nodes.ln_top + f64::ln(density) - ln_area).exp() } else { 1.0 };
        // Near its middle the density is nearly normal; elsewhere the logarithm of the area is taken as straight.
        let ln_density_slope = if deviate.abs() < 10.0 { -deviate } else { slope };
        Point { ln_area, slope, ln_density_slope }
    }
}

//! What is believed comes true as often as is said, and traffic that follows it loses less and still compares fairly.

use ab_core::statistics::bandit::{Algorithm, PeriodArm, bandit, period_estimates};
use ab_core::statistics::bayes::proportions::proportion_posterior;
use ab_core::statistics::bayes::ranking::{Belief, probabilities_best};
use ab_core::statistics::bayes::{Prior, normal_posterior};
use ab_core::statistics::mean::Sample;
use ab_core::statistics::proportion::Proportion;
use ab_core::statistics::simulation::{Random, conversions};
use rand_distr::{Beta, ChiSquared, Distribution};

use super::population::standard_normal;
use super::{ALPHA, one_if};
use crate::check::{Measure, Simulation};

/// What "decided" means here.
const SURE: f64 = 0.95;

pub fn simulations() -> Vec<Simulation> {
    vec![
        effects(),
        rates(),
        draws(),
        adaptive("no drift", [0.0, 0.3, 0.6], 0.0),
        adaptive("drift", [0.0, 0.3, 0.6], 3.0),
        adaptive("no drift, no effect", [0.0; 3], 0.0),
    ]
}

/// Whether it was better, and lost, as much as was expected: of all, and of those that were decided.
fn realised(effect: f64, probability: f64, loss: f64) -> Vec<f64> {
    let is_decided = one_if(probability > SURE);
    vec![
        one_if(effect > 0.0) - probability,
        is_decided * (one_if(effect > 0.0) - probability),
        (-effect).max(0.0) - loss,
        is_decided * ((-effect).max(0.0) - loss),
    ]
}

fn judged(simulation: Simulation) -> Simulation {
    simulation
        .unbiased("better as often as said, in standard errors", 0)
        .unbiased("better as often as said where P > 0.95", 1)
        .unbiased("lost as much as said", 2)
        .unbiased("lost as much as said where P > 0.95", 3)
}

fn effects() -> Simulation {
    judged(Simulation::new("normal posterior, effects from the prior", 20_000, |_, random| {
        let effect = 0.05 * standard_normal(random);
        let estimate = effect + 0.03 * standard_normal(random);
        let prior = Prior { mean: 0.0, sd: Some(0.05) };
        let found = normal_posterior(estimate, 0.03, prior, ALPHA).expect("valid");
        realised(
            effect,
            found.probability_better.expect("a probability"),
            found.treatment_loss.expect("a loss"),
        )
    }))
}

fn rates() -> Simulation {
    judged(Simulation::new("beta posteriors, rates from the prior", 4_000, |_, random| {
        let prior = Beta::new(20.0, 180.0).expect("positive parameters");
        let (control, treatment) = (prior.sample(random), prior.sample(random));
        let arm =
            |rate, random: &mut Random| Proportion { n: 500, conversions: conversions(500, rate, random) };
        let arms = [arm(control, random), arm(treatment, random)];
        let found = proportion_posterior(arms[0], arms[1], 20.0, 180.0, ALPHA).expect("valid").difference;
        realised(
            treatment - control,
            found.probability_better.expect("a probability"),
            found.treatment_loss.expect("a loss"),
        )
    }))
}

/// The chances to be best against a million draws.
fn draws() -> Simulation {
    Simulation::new("P(best) of 3 arms by quadrature less that of 1,000,000 draws", 20, |_, random| {
        let arms: [(f64, f64); 3] =
            std::array::from_fn(|_| (standard_normal(random), 0.5 + standard_normal(random).abs()));
        let beliefs = arms.map(|(mean, sd)| Belief::Normal { mean, sd });
        let chances = probabilities_best(&beliefs, true).expect("in range");
        let mut wins = [0_u32; 3];
        for _ in 0..1_000_000 {
            let drawn = arms.map(|(mean, sd)| mean + sd * standard_normal(random));
            let best = (0..3).fold(0, |best, arm| if drawn[arm] > drawn[best] { arm } else { best });
            wins[best] += 1;
        }
        let off = |(chance, won): (&f64, &u32)| (chance - f64::from(*won) / 1e6).abs();
        vec![chances.iter().zip(&wins).map(off).fold(0.0, f64::max)]
    })
    .check("the most", Measure::Most(0), 0.0, 0.0, 0.002)
}

const PERIODS: i32 = 20;

const USERS: f64 = 1_000.0;

/// A bandit of three arms over twenty days of a thousand users, standard deviation 5, all days' means on a slope of `drift`
/// standard deviations of the arms' effects from the first to the last.
fn adaptive(name: &str, means: [f64; 3], drift: f64) -> Simulation {
    let simulation =
        Simulation::new(format!("bandit of 3 arms, 20 days, {name}"), 1_000, move |_, random| {
            let nothing = Sample { n: 0, mean: 0.0, variance: 0.0 };
            let (mut totals, mut cells) = ([nothing; 3], Vec::new());
            let (mut weights, mut regret) = (vec![1.0 / 3.0; 3], 0.0);
            for period in 0..PERIODS {
                let shift = drift * f64::from(period) / f64::from(PERIODS);
                for arm in 0..3 {
                    let n = (USERS * weights[arm]).round();
                    regret += n * (means[2] - means[arm]);
                    let sample = day(n, means[arm] + shift, random);
                    totals[arm] = joined(totals[arm], sample);
                    cells.push(PeriodArm { period, arm: arm as i32, sample });
                }
                let shares = bandit(&totals, Algorithm::Thompson, 0.05, true, Prior::FLAT).expect("valid");
                weights = shares.arms.iter().map(|arm| arm.weight.expect("a weight")).collect();
            }
            let (found, ..) = period_estimates(&cells).expect("valid");
            let figure = |arm: usize| {
                (found[arm].estimate.expect("a mean"), found[arm].standard_error.expect("an error"))
            };
            let ((first, first_error), (last, last_error)) = (figure(0), figure(2));
            let (difference, truth) = (last - first, means[2] - means[0]);
            let equal: f64 =
                means.iter().map(|mean| USERS / 3.0 * f64::from(PERIODS) * (means[2] - mean)).sum();
            vec![
                one_if((difference - truth).abs() <= 1.959_963_984_540_054 * first_error.hypot(last_error)),
                difference - truth,
                regret - equal,
                weights[2],
                totals[2].mean - totals[0].mean - truth,
                totals[0].mean - means[0],
            ]
        });
    let simulation = simulation
        .share("interval of the difference by period covers", 0, 1.0 - ALPHA)
        .unbiased("bias of the difference by period, in standard errors", 1)
        .shown("bias of the difference of totals, in standard errors", Measure::Bias(4), 0.0);
    if means[2] > means[0] {
        simulation
            .check("users lost beyond equal shares, in effects", Measure::Mean(2), 0.0, -12_000.0, 0.0)
            .shown("share of the best arm at the end", Measure::Mean(3), 0.9)
    } else {
        simulation.shown("bias of an arm's total mean, in standard errors", Measure::Bias(5), 0.0)
    }
}

/// What a day's users come to: exactly distributed mean and variance.
fn day(n: f64, mean: f64, random: &mut Random) -> Sample {
    let spread = ChiSquared::new(n - 1.0).expect("two users or more").sample(random) / (n - 1.0);
    Sample { n: n as i64, mean: mean + 5.0 / n.sqrt() * standard_normal(random), variance: 25.0 * spread }
}

fn joined(one: Sample, other: Sample) -> Sample {
    if one.n == 0 {
        return other;
    }
    let (a, b) = (one.n as f64, other.n as f64);
    let distance = other.mean - one.mean;
    let squares =
        (a - 1.0) * one.variance + (b - 1.0) * other.variance + distance * distance * a * b / (a + b);
    Sample { n: one.n + other.n, mean: one.mean + distance * b / (a + b), variance: squares / (a + b - 1.0) }
}

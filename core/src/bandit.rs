//! Thompson sampling: how much each variant of a bandit deserves, by how likely it is the best.
//!
//! Chapelle and Li (2011), "An Empirical Evaluation of Thompson Sampling". The share of a variant is the share of draws from
//! the posteriors in which it is greatest. The draws come from a seed, so that anyone can make the same ones again.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution, Normal};

use crate::error::{Code, Error};

/// The standard error of a share is at most half a percent.
const DRAWS: u32 = 10_000;

/// What is known of one variant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arm {
    /// How many units.
    pub units: u64,
    /// The sum of their values; conversions where a unit converts or not.
    pub total: f64,
    /// The sum of the squares of their values.
    pub total_of_squares: f64,
}

/// How a metric is believed to be distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posterior {
    /// Beta(1 + conversions, 1 + others): a uniform prior on the rate.
    Beta,
    /// Normal(mean, variance of the mean), as the central limit gives it.
    Normal,
}

/// The share of each arm, adding up to one, none below `minimum_share`.
///
/// # Errors
/// [`Code::InvalidArgument`] when the minimum cannot be given to all arms.
pub fn shares(posterior: Posterior, arms: &[Arm], minimum_share: f64, seed: u64) -> Result<Vec<f64>, Error> {
    let spare = 1.0 - minimum_share * arms.len() as f64;
    if !(0.0..=1.0).contains(&minimum_share) || spare < 0.0 {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("{} variants cannot each have at least {} percent", arms.len(), minimum_share * 100.0),
            "lower the experiment's minimum_share",
        ));
    }
    let samplers: Vec<Sampler> = arms.iter().map(|arm| Sampler::new(posterior, arm)).collect();
    // With fewer than two units nothing is known of an arm, and anything could be drawn for it: all stay equal.
    if samplers.iter().any(|sampler| matches!(sampler, Sampler::Unknown)) {
        return Ok(vec![1.0 / arms.len() as f64; arms.len()]);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut wins = vec![0_u32; arms.len()];
    for _ in 0..DRAWS {
        let mut best = (0, f64::NEG_INFINITY);
        for (index, sampler) in samplers.iter().enumerate() {
            let drawn = sampler.draw(&mut random);
            if drawn > best.1 {
                best = (index, drawn);
            }
        }
        wins[best.0] += 1;
    }
    Ok(wins.iter().map(|&won| minimum_share + spare * f64::from(won) / f64::from(DRAWS)).collect())
}

enum Sampler {
    Beta(Beta<f64>),
    Normal(Normal<f64>),
    Constant(f64),
    Unknown,
}

impl Sampler {
    fn new(posterior: Posterior, arm: &Arm) -> Sampler {
        let units = arm.units as f64;
        match posterior {
            Posterior::Beta => {
                let conversions = arm.total.clamp(0.0, units);
                Beta::new(1.0 + conversions, 1.0 + units - conversions)
                    .map_or(Sampler::Unknown, Sampler::Beta)
            }
            Posterior::Normal if arm.units < 2 => Sampler::Unknown,
            Posterior::Normal => {
                let mean = arm.total / units;
                let variance = ((arm.total_of_squares - arm.total * mean) / (units - 1.0)).max(0.0);
                let error = (variance / units).sqrt();
                if error == 0.0 {
                    return Sampler::Constant(mean);
                }
                Normal::new(mean, error).map_or(Sampler::Unknown, Sampler::Normal)
            }
        }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> f64 {
        match self {
            Sampler::Beta(beta) => beta.sample(random),
            Sampler::Normal(normal) => normal.sample(random),
            Sampler::Constant(value) => *value,
            Sampler::Unknown => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converting(units: u64, total: f64) -> Arm {
        Arm { units, total, total_of_squares: total }
    }

    /// For two Beta posteriors the probability that the second is greater has a closed form (Evan Miller, "Formulas for
    /// Bayesian A/B testing", 2015), worked out here with factorials alone.
    fn second_wins(first: (u64, u64), second: (u64, u64)) -> f64 {
        let ln_factorial = |n: u64| (1..=n).map(|k| (k as f64).ln()).sum::<f64>();
        let ln_beta = |a: u64, b: u64| ln_factorial(a - 1) + ln_factorial(b - 1) - ln_factorial(a + b - 1);
        let ((a1, b1), (a2, b2)) = (first, second);
        (0..a2)
            .map(|i| {
                (ln_beta(a1 + i, b1 + b2) - ((b2 + i) as f64).ln() - ln_beta(1 + i, b2) - ln_beta(a1, b1))
                    .exp()
            })
            .sum()
    }

    #[test]
    fn shares_are_the_probabilities_of_being_best() {
        let shares =
            shares(Posterior::Beta, &[converting(200, 20.0), converting(210, 29.0)], 0.0, 1).unwrap();
        let expected = second_wins((21, 181), (30, 182));
        assert!((shares[1] - expected).abs() < 0.02, "{} against {expected}", shares[1]);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn normal_posteriors_agree_with_the_difference_of_two_normals() {
        let arms = [
            Arm { units: 400, total: 4_000.0, total_of_squares: 40_000.0 + 399.0 * 25.0 },
            Arm { units: 100, total: 1_050.0, total_of_squares: 11_025.0 + 99.0 * 16.0 },
        ];
        let shares = shares(Posterior::Normal, &arms, 0.0, 7).unwrap();
        // The means differ by 0.5, with a standard error of sqrt(25/400 + 16/100): z = 1.0599979…, Φ(z) = 0.85543.
        assert!((shares[1] - 0.85543).abs() < 0.015, "{}", shares[1]);
    }

    #[test]
    fn everyone_keeps_the_minimum_and_the_same_seed_draws_the_same() {
        let arms = [converting(10_000, 100.0), converting(10_000, 900.0), converting(10_000, 100.0)];
        let once = shares(Posterior::Beta, &arms, 0.05, 3).unwrap();
        assert_eq!(once, shares(Posterior::Beta, &arms, 0.05, 3).unwrap());
        assert!((once[0] - 0.05).abs() < 1e-12 && (once[1] - 0.9).abs() < 1e-12);
        assert!(shares(Posterior::Beta, &arms, 0.34, 3).is_err());
    }

    #[test]
    fn arms_nothing_is_known_of_stay_equal() {
        let arms = [
            Arm { units: 1, total: 5.0, total_of_squares: 25.0 },
            Arm { units: 900, total: 0.0, total_of_squares: 0.0 },
        ];
        assert_eq!(shares(Posterior::Normal, &arms, 0.05, 3).unwrap(), [0.5, 0.5]);
    }
}

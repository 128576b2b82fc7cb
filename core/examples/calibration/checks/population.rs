//! The users that are made up, and what is summed over them.

use ab_core::statistics::covariate::CovariateSample;
use ab_core::statistics::mean::Sample;
use ab_core::statistics::ratio::RatioSample;
use ab_core::statistics::simulation::Random;
use rand::Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// How a value is distributed over users.
#[derive(Debug, Clone, Copy)]
pub enum Population {
    /// N(10, 3²).
    Normal,
    /// 1 with this probability, else 0.
    Bernoulli(f64),
    /// exp N(0, 1).
    LogNormal,
    /// 0 with probability 0.95, else exp N(0, 1).
    MostlyZero,
}

pub fn standard_normal(random: &mut Random) -> f64 {
    StandardNormal.sample(random)
}

impl Population {
    pub fn draw(self, random: &mut Random) -> f64 {
        match self {
            Population::Normal => 10.0 + 3.0 * standard_normal(random),
            Population::Bernoulli(rate) => f64::from(u8::from(random.random::<f64>() < rate)),
            Population::LogNormal => standard_normal(random).exp(),
            Population::MostlyZero if random.random::<f64>() < 0.95 => 0.0,
            Population::MostlyZero => Population::LogNormal.draw(random),
        }
    }

    pub fn mean(self) -> f64 {
        match self {
            Population::Normal => 10.0,
            Population::Bernoulli(rate) => rate,
            Population::LogNormal => 0.5_f64.exp(),
            Population::MostlyZero => 0.05 * 0.5_f64.exp(),
        }
    }

    /// `n` users whose values are `scale` times the population's.
    pub fn sample(self, n: i64, scale: f64, random: &mut Random) -> Sample {
        let mut sums = Sums::<1>::about([self.mean() * scale]);
        (0..n).for_each(|_| sums.add([self.draw(random) * scale]));
        sums.sample()
    }
}

/// Sums of values and their products about given centres, which costs no division per user.
pub struct Sums<const K: usize> {
    n: i64,
    centres: [f64; K],
    sums: [f64; K],
    products: [[f64; K]; K],
}

impl<const K: usize> Sums<K> {
    pub fn about(centres: [f64; K]) -> Sums<K> {
        Sums { n: 0, centres, sums: [0.0; K], products: [[0.0; K]; K] }
    }

    pub fn add(&mut self, values: [f64; K]) {
        self.n += 1;
        let distances: [f64; K] = std::array::from_fn(|i| values[i] - self.centres[i]);
        for (i, own) in distances.iter().enumerate() {
            self.sums[i] += own;
            for (product, other) in self.products[i].iter_mut().zip(&distances[..=i]) {
                *product += own * other;
            }
        }
    }

    pub fn n(&self) -> i64 {
        self.n
    }

    pub fn mean(&self, i: usize) -> f64 {
        self.centres[i] + self.sums[i] / self.n as f64
    }

    pub fn covariance(&self, i: usize, j: usize) -> f64 {
        let products = self.products[i.max(j)][i.min(j)];
        (products - self.sums[i] * self.sums[j] / self.n as f64) / (self.n - 1) as f64
    }

    pub fn sample(&self) -> Sample {
        Sample { n: self.n, mean: self.mean(0), variance: self.covariance(0, 0) }
    }
}

impl Sums<2> {
    /// Of a value and its covariate.
    pub fn covariate_sample(&self) -> CovariateSample {
        CovariateSample {
            n: self.n,
            mean: self.mean(0),
            variance: self.covariance(0, 0),
            covariate_mean: self.mean(1),
            covariate_variance: self.covariance(1, 1),
            covariance: self.covariance(0, 1),
        }
    }

    /// Of a numerator and its denominator.
    pub fn ratio_sample(&self) -> RatioSample {
        RatioSample {
            n: self.n,
            numerator_mean: self.mean(0),
            numerator_variance: self.covariance(0, 0),
            denominator_mean: self.mean(1),
            denominator_variance: self.covariance(1, 1),
            covariance: self.covariance(0, 1),
        }
    }
}

/// `n` users with a value of mean 10 and variance 9·scale² and a covariate that correlates with it by `rho`; the value is
/// `scale` times that of the control.
pub fn with_covariate(n: i64, rho: f64, scale: f64, random: &mut Random) -> CovariateSample {
    let mut sums = Sums::about([10.0 * scale, 5.0]);
    for _ in 0..n {
        let (x, own) = (standard_normal(random), standard_normal(random));
        let y = 10.0 + 3.0 * (rho * x + (1.0 - rho * rho).sqrt() * own);
        sums.add([y * scale, 5.0 + 2.0 * x]);
    }
    sums.covariate_sample()
}

/// The value per session of [`sessions`].
pub const PER_SESSION: f64 = 2.0;

/// `n` users with Poisson(3) sessions, none of them too, each worth N(2, 1) by the user and N(0, 1) by the session, times
/// `scale`.
pub fn sessions(n: i64, scale: f64, random: &mut Random) -> RatioSample {
    let count = Poisson::new(3.0).expect("a positive rate");
    let mut sums = Sums::about([6.0 * scale, 3.0]);
    for _ in 0..n {
        let z: f64 = count.sample(random);
        let worth = PER_SESSION + standard_normal(random);
        sums.add([(z * worth + z.sqrt() * standard_normal(random)) * scale, z]);
    }
    sums.ratio_sample()
}

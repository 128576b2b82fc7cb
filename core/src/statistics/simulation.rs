//! Experiments without an effect, made up or split anew from real users: how often does a test find one all the same?
//!
//! Why this module exists: whoever doubts a platform's p-values runs an A/A test, and one A/A test shows nothing. A thousand
//! of them do. The same replications, bands and judgement serve `ab_simulate_aa` and the calibration of every method in
//! `docs/statistics.md` (core/examples/calibration).
//!
//! Made-up users need not be drawn one by one: a rate's conversions are binomial, and of normal users the mean and the
//! variance are independent, N(μ, σ²/n) and σ²·χ²/(n − 1) (Fisher 1925, Metron 5). Both are exact, so that a replication costs
//! the number of looks and not that of users. Real users are split by the hash that assigns them, under a salt of each
//! replication's own.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, ChiSquared, Distribution, StandardNormal};

use super::mean::{Sample, welch_test};
use super::proportion::{Proportion, proportion_test};
use super::ratio::{RatioSample, ratio_test};
use super::sequential::sequential_test;
use super::{Alternative, InvalidArgument, Note, check_alpha, check_probability};
use crate::bucket::{BUCKETS, Salt};

/// The random numbers of one replication.
pub type Random = ChaCha8Rng;

/// Standard errors on either side of a rate that it may be off by chance: one in a thousand is further.
pub const BAND: f64 = 3.3;

/// Fewer simulations than this show nothing: the band of a rate of 0.05 would begin below 0.
pub const LEAST_SIMULATIONS: i32 = 100;

/// The most steps that one call may cost, some ten seconds; a step is a hashed user.
pub const MOST_STEPS: i64 = 100_000_000;

/// What looks cost more than hashed users: each draws both arms' new users and tests.
const LOOK_STEPS: i64 = 100;

/// What a simulation costs besides: its test, and the room for what it came to.
const SIMULATION_STEPS: i64 = 100;

/// The random numbers of a replication: a stream of its own, so that it draws the same in whatever order and on whatever
/// thread replications are made.
pub fn random(seed: u64, replication: u64) -> Random {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(replication);
    random
}

/// Where the share of replications that do something of probability `rate` lies by chance.
pub fn band(rate: f64, replications: usize) -> (f64, f64) {
    let half = BAND * (rate * (1.0 - rate) / replications as f64).sqrt();
    ((rate - half).max(0.0), (rate + half).min(1.0))
}

/// The p-value of Kolmogorov & Smirnov's test that the numbers are uniform on (0, 1), as p-values are without an effect;
/// `None` without numbers or with NaN among them.
///
/// Kolmogorov's series at D·(√n + 0.12 + 0.11/√n) (Stephens 1970, JRSS B 32), within 0.01 from a hundred numbers on. No
/// crate in use has it without a linear algebra library.
pub fn uniformity(numbers: &[f64]) -> Option<f64> {
    if numbers.is_empty() || numbers.iter().any(|number| number.is_nan()) {
        return None;
    }
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let distance = sorted
        .iter()
        .enumerate()
        .map(|(below, number)| (number - below as f64 / n).max((below + 1) as f64 / n - number))
        .fold(0.0, f64::max);
    let scaled = distance * (n.sqrt() + 0.12 + 0.11 / n.sqrt());
    // Below that the p-value is 1 to twelve digits, and the terms do not shrink.
    if scaled < 0.2 {
        return Some(1.0);
    }
    let term = |k: i32| (-2.0 * (f64::from(k) * scaled).powi(2)).exp() * if k % 2 == 1 { 2.0 } else { -2.0 };
    Some((1..=20).map(term).sum::<f64>().clamp(0.0, 1.0))
}

/// The mean and variance of `n` normal users.
pub fn normal_sample(n: i64, mean: f64, sd: f64, random: &mut Random) -> Sample {
    let z: f64 = StandardNormal.sample(random);
    let spread = ChiSquared::new((n - 1) as f64).map_or(0.0, |spread| spread.sample(random));
    let variance = if n > 1 { sd * sd * spread / (n - 1) as f64 } else { 0.0 };
    Sample { n, mean: mean + z * sd / (n as f64).sqrt(), variance }
}

/// The conversions among `n` users; nobody's where `rate` is no probability.
pub fn conversions(n: i64, rate: f64, random: &mut Random) -> i64 {
    Binomial::new(n.unsigned_abs(), rate).map_or(0, |count| count.sample(random).cast_signed())
}

/// What is measured of made-up users.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// Whether a user converts, with this probability; tested by [`proportion_test`].
    Conversion(f64),
    /// A normal value; tested by [`welch_test`].
    Mean {
        /// Of both arms.
        mean: f64,
        /// Standard deviation, of both arms.
        sd: f64,
    },
}

/// How an experiment that is looked at several times is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// At each look as if it were the only one: sound for one look.
    #[default]
    Fixed,
    /// By the confidence sequence, planned for all users.
    Sequential,
}

impl std::str::FromStr for Mode {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Mode, InvalidArgument> {
        match text {
            "fixed" => Ok(Mode::Fixed),
            "sequential" => Ok(Mode::Sequential),
            _ => Err(InvalidArgument::option("mode", text, "\"fixed\" or \"sequential\"")),
        }
    }
}

impl AaTest {
    /// How the experiments are tested, as in the `method` column of SQL.
    pub fn method(&self) -> &'static str {
        match (self.mode, self.metric) {
            (Mode::Sequential, _) => "sequential",
            (Mode::Fixed, Metric::Conversion(_)) => "pooled_z",
            (Mode::Fixed, Metric::Mean { .. }) => "welch_t",
        }
    }

    /// What to keep in mind when reading how often it finds an effect.
    pub fn note(&self) -> Option<Note> {
        (self.mode == Mode::Fixed && self.looks > 1).then_some(Note::Peeking)
    }
}

/// What one simulated experiment came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replication {
    /// The p-value of the last look; `None` where the users did not allow one.
    pub p_value: Option<f64>,
    /// Whether the test found an effect at any look.
    pub rejected: bool,
}

/// An A/A test of made-up users, to be replicated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AaTest {
    n_per_arm: i64,
    metric: Metric,
    alpha: f64,
    looks: i64,
    mode: Mode,
}

impl AaTest {
    /// Two arms of `n_per_arm` users of the same kind, looked at `looks` times equally far apart.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `n_per_arm` below 2, `baseline` for a rate outside (0, 1) or a mean that is not finite, `sd`
    /// that is not above 0, `looks` below 1 or above half of `n_per_arm`, or `alpha`.
    pub fn new(
        n_per_arm: i64,
        metric: Metric,
        alpha: f64,
        looks: i64,
        mode: Mode,
    ) -> Result<AaTest, InvalidArgument> {
        if n_per_arm < 2 {
            return Err(InvalidArgument::new("n_per_arm", n_per_arm, "2 or more"));
        }
        match metric {
            Metric::Conversion(rate) => check_probability("baseline", rate)?,
            Metric::Mean { mean, .. } if !mean.is_finite() => {
                return Err(InvalidArgument::new("baseline", mean, "a finite number"));
            }
            Metric::Mean { sd, .. } if !(sd > 0.0 && sd.is_finite()) => {
                return Err(InvalidArgument::new("sd", sd, "a finite number above 0"));
            }
            Metric::Mean { .. } => {}
        }
        check_alpha(alpha)?;
        if !(1..=n_per_arm / 2).contains(&looks) {
            let requirement = "between 1 and half of n_per_arm, two new users of an arm for each";
            return Err(InvalidArgument::new("looks", looks, requirement));
        }
        Ok(AaTest { n_per_arm, metric, alpha, looks, mode })
    }

    /// What replicating it this often costs, in the unit of [`MOST_STEPS`].
    pub fn steps(&self, simulations: i32) -> i64 {
        (self.looks.saturating_mul(LOOK_STEPS))
            .saturating_add(SIMULATION_STEPS)
            .saturating_mul(simulations.into())
    }

    /// Makes one experiment.
    ///
    /// # Errors
    /// [`InvalidArgument`] where a `baseline` or `sd` near the end of the range of a double gives users beyond it.
    pub fn replicate(&self, random: &mut Random) -> Result<Replication, InvalidArgument> {
        let (mut p_value, mut rejected) = (None, false);
        let mut counts = [Proportion { n: 0, conversions: 0 }; 2];
        let mut samples = [Sample { n: 0, mean: 0.0, variance: 0.0 }; 2];
        for look in 1..=self.looks {
            // Exact, whatever the number of users: the looks are at most half as many.
            let until = (i128::from(self.n_per_arm) * i128::from(look) / i128::from(self.looks)) as i64;
            let (diff, standard_error) = match self.metric {
                Metric::Conversion(rate) => {
                    for arm in &mut counts {
                        arm.conversions += conversions(until - arm.n, rate, random);
                        arm.n = until;
                    }
                    let test = proportion_test(counts[0], counts[1], self.alpha, Alternative::TwoSided)?;
                    p_value = test.p_value;
                    let noise = |arm: Proportion| {
                        let rate = arm.conversions as f64 / arm.n as f64;
                        rate * (1.0 - rate) / arm.n as f64
                    };
                    (test.diff, Some((noise(counts[0]) + noise(counts[1])).sqrt()))
                }
                Metric::Mean { mean, sd } => {
                    for arm in &mut samples {
                        *arm = arm.merged(normal_sample(until - arm.n, mean, sd, random));
                    }
                    let test = welch_test(samples[0], samples[1], self.alpha, Alternative::TwoSided)?;
                    p_value = test.p_value;
                    (test.diff, test.standard_error)
                }
            };
            if self.mode == Mode::Sequential {
                p_value = self.sequential_p_value(diff, standard_error, until, &counts)?;
            }
            rejected |= p_value.is_some_and(|p| p < self.alpha);
        }
        Ok(Replication { p_value, rejected })
    }

    /// The always-valid p-value of a look, once the arms have the users that a first look needs.
    fn sequential_p_value(
        &self,
        diff: Option<f64>,
        standard_error: Option<f64>,
        n: i64,
        counts: &[Proportion; 2],
    ) -> Result<Option<f64>, InvalidArgument> {
        let ready = |arm: &Proportion| {
            let conversions = matches!(self.metric, Metric::Conversion(_)).then_some(arm.conversions);
            super::sequential::has_burned_in(n, conversions)
        };
        let (true, Some(diff), Some(standard_error)) = (counts.iter().all(ready), diff, standard_error)
        else {
            return Ok(None);
        };
        let planned = 2.0 * self.n_per_arm as f64;
        let test = sequential_test(
            diff,
            standard_error,
            n.saturating_mul(2),
            self.alpha,
            planned,
            Alternative::TwoSided,
        )?;
        Ok(test.p_value)
    }
}

/// What an experiment's metric says of one real user.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// By which the user is assigned.
    pub id: String,
    /// The user's value, or numerator of a ratio; 0 without events.
    pub value: f64,
    /// Denominator of a ratio; else not read.
    pub denominator: f64,
    /// Whether there was an event.
    pub converted: bool,
}

/// How a metric of real users is tested, as results are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RealMetric {
    /// The share of users who converted.
    Conversion,
    /// The mean of their values.
    Mean,
    /// The ratio of their sums.
    Ratio,
}

impl RealMetric {
    /// How it is tested, as in the `method` column of SQL.
    pub fn method(self) -> &'static str {
        match self {
            RealMetric::Conversion => "pooled_z",
            RealMetric::Mean => "welch_t",
            RealMetric::Ratio => "ratio_welch_t",
        }
    }
}

/// A real experiment's users, to be split anew.
#[derive(Debug)]
pub struct RealAaTest {
    users: Vec<User>,
    metric: RealMetric,
    /// Buckets below the first are the control's, from there to the second the treatment's, the others nobody's.
    ends: [u32; 2],
    alpha: f64,
}

/// What is summed over the users of one arm.
#[derive(Default, Clone, Copy)]
struct Sums {
    n: i64,
    conversions: i64,
    y: f64,
    z: f64,
    yy: f64,
    zz: f64,
    yz: f64,
}

impl RealAaTest {
    /// The users of an experiment of which `shares`, control and treatment, are compared; they add up to at most 1.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `weights`, `alpha`, or `values` that are not finite.
    pub fn new(
        mut users: Vec<User>,
        metric: RealMetric,
        shares: [f64; 2],
        alpha: f64,
    ) -> Result<RealAaTest, InvalidArgument> {
        check_alpha(alpha)?;
        let both = shares[0] + shares[1];
        if !(shares.iter().all(|share| *share > 0.0) && both <= 1.0 + 1e-9) {
            return Err(InvalidArgument::new("weights", both, "positive shares of at most 1 together"));
        }
        if let Some(user) =
            users.iter().find(|user| !(user.value.is_finite() && user.denominator.is_finite()))
        {
            let value = if user.value.is_finite() { user.denominator } else { user.value };
            return Err(InvalidArgument::new("values", value, "finite numbers"));
        }
        // Sums of squares keep their digits where the values lie about 0; no variance or difference changes by that. Of a
        // ratio both means are needed as they are.
        if metric == RealMetric::Mean && !users.is_empty() {
            let mean = users.iter().map(|user| user.value / users.len() as f64).sum::<f64>();
            users.iter_mut().for_each(|user| user.value -= mean);
        }
        let end = |share: f64| (share.min(1.0) * f64::from(BUCKETS)).round() as u32;
        Ok(RealAaTest { users, metric, ends: [end(shares[0]), end(both)], alpha })
    }

    /// What replicating it this often costs, in the unit of [`MOST_STEPS`].
    pub fn steps(&self, simulations: i32) -> i64 {
        (self.users.len() as i64).saturating_add(SIMULATION_STEPS).saturating_mul(simulations.into())
    }

    /// Splits the users by `bucket('aa:' || number, user)` and tests.
    ///
    /// # Errors
    /// [`InvalidArgument`] where values near the end of the range of a double have no sums.
    pub fn replicate(&self, number: i64) -> Result<Replication, InvalidArgument> {
        let salt = Salt::new(&format!("aa:{number}"));
        let mut arms = [Sums::default(); 2];
        for user in &self.users {
            let bucket = salt.bucket(&user.id);
            let sums = match self.ends {
                [end, _] if bucket < end => &mut arms[0],
                [_, end] if bucket < end => &mut arms[1],
                _ => continue,
            };
            let User { value, denominator, .. } = *user;
            sums.n += 1;
            sums.conversions += i64::from(user.converted);
            sums.y += value;
            sums.yy += value * value;
            if self.metric == RealMetric::Ratio {
                sums.z += denominator;
                sums.zz += denominator * denominator;
                sums.yz += value * denominator;
            }
        }
        let p_value = match self.metric {
            RealMetric::Conversion => {
                let [control, treatment] =
                    arms.map(|sums| Proportion { n: sums.n, conversions: sums.conversions });
                proportion_test(control, treatment, self.alpha, Alternative::TwoSided)?.p_value
            }
            RealMetric::Mean => {
                let [control, treatment] = arms.map(|sums| sums.sample());
                welch_test(control, treatment, self.alpha, Alternative::TwoSided)?.p_value
            }
            RealMetric::Ratio => {
                let [control, treatment] = arms.map(|sums| sums.ratio());
                ratio_test(control, treatment, self.alpha, Alternative::TwoSided)?.test.p_value
            }
        };
        Ok(Replication { p_value, rejected: p_value.is_some_and(|p| p < self.alpha) })
    }
}

impl Sums {
    fn mean(&self, sum: f64) -> f64 {
        if self.n > 0 { sum / self.n as f64 } else { 0.0 }
    }

    /// The sample covariance of what sums up to `a` and `b`, and whose products to `products`.
    fn covariance(&self, products: f64, a: f64, b: f64) -> f64 {
        if self.n > 1 { (products - a / self.n as f64 * b) / (self.n - 1) as f64 } else { 0.0 }
    }

    fn sample(&self) -> Sample {
        let variance = self.covariance(self.yy, self.y, self.y).max(0.0);
        Sample { n: self.n, mean: self.mean(self.y), variance }
    }

    fn ratio(&self) -> RatioSample {
        RatioSample {
            n: self.n,
            numerator_mean: self.mean(self.y),
            numerator_variance: self.covariance(self.yy, self.y, self.y).max(0.0),
            denominator_mean: self.mean(self.z),
            denominator_variance: self.covariance(self.zz, self.z, self.z).max(0.0),
            covariance: self.covariance(self.yz, self.y, self.z),
        }
    }
}

/// What many replications say of a test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Replications.
    pub simulations: i32,
    /// Of which the test found an effect.
    pub false_positives: i32,
    /// Their share.
    pub rate: f64,
    /// The share the test promises: alpha, for a sequential one at most that.
    pub expected: f64,
    /// The least share that chance explains.
    pub low: f64,
    /// The greatest share that chance explains.
    pub high: f64,
    /// The p-value of the p-values being uniform; `None` where they need not be, or where some are missing.
    pub p_uniform: Option<f64>,
}

/// Judges replications of a test at `alpha`; `None` where not one of them had users enough for a p-value.
pub fn judge(replications: &[Replication], alpha: f64, mode: Mode) -> Option<Verdict> {
    if replications.iter().all(|replication| replication.p_value.is_none()) {
        return None;
    }
    let simulations = i32::try_from(replications.len()).ok()?;
    let false_positives = replications.iter().map(|replication| i32::from(replication.rejected)).sum();
    let (low, high) = band(alpha, replications.len());
    let p_values: Option<Vec<f64>> = replications.iter().map(|replication| replication.p_value).collect();
    Some(Verdict {
        simulations,
        false_positives,
        rate: f64::from(false_positives) / f64::from(simulations),
        expected: alpha,
        low: if mode == Mode::Fixed { low } else { 0.0 },
        high,
        p_uniform: p_values.filter(|_| mode == Mode::Fixed).and_then(|p_values| uniformity(&p_values)),
    })
}

/// Refuses so few simulations that they show nothing, and so many `steps` that they take minutes.
///
/// # Errors
/// [`InvalidArgument`] naming `simulations`.
pub fn check_simulations(simulations: i32, steps: i64) -> Result<(), InvalidArgument> {
    if simulations < LEAST_SIMULATIONS {
        let requirement = format!("{LEAST_SIMULATIONS} or more");
        return Err(InvalidArgument::new("simulations", simulations, &requirement));
    }
    if steps > MOST_STEPS {
        let most = (MOST_STEPS as f64 / (steps as f64 / f64::from(simulations))).floor();
        let requirement = format!("at most {most} for that many users or looks, or it would take minutes");
        return Err(InvalidArgument::new("simulations", simulations, &requirement));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: Metric = Metric::Mean { mean: 20.0, sd: 10.0 };

    fn rate(test: &AaTest, simulations: u64) -> f64 {
        let found = |number| test.replicate(&mut random(1, number)).unwrap().rejected;
        (0..simulations).filter(|number| found(*number)).count() as f64 / simulations as f64
    }

    /// `scipy.stats.kstwo.sf(D, n)`, and where nothing is uniform.
    #[test]
    fn uniformity_is_that_of_scipy() {
        let shifted = |by: f64, n: i32| -> Vec<f64> {
            (0..n).map(|i| ((f64::from(i) + 0.5) / f64::from(n) - by).clamp(0.0, 1.0)).collect()
        };
        // D is the shift and half a step.
        for (by, n, expected) in [(0.095, 100, 0.25269), (0.0495, 1_000, 0.01301), (0.0195, 1_000, 0.81090)] {
            let found = uniformity(&shifted(by, n)).unwrap();
            assert!((found - expected).abs() < 0.01, "{found} is not {expected}");
        }
        assert_eq!(uniformity(&shifted(0.0, 1_000)), Some(1.0));
        assert!(uniformity(&[0.01; 1_000]).unwrap() < 1e-300);
        assert_eq!((uniformity(&[]), uniformity(&[0.5, f64::NAN])), (None, None));
    }

    #[test]
    fn a_replication_is_the_same_whenever_it_is_made() {
        let test = AaTest::new(1_000, Metric::Conversion(0.1), 0.05, 3, Mode::Fixed).unwrap();
        let twice = [9, 9].map(|number| test.replicate(&mut random(7, number)).unwrap());
        assert_eq!(twice[0], twice[1]);
        assert_ne!(twice[0], test.replicate(&mut random(7, 10)).unwrap());
        assert_ne!(twice[0], test.replicate(&mut random(8, 9)).unwrap());
    }

    #[test]
    fn looking_often_finds_what_is_not_there_unless_the_test_allows_for_it() {
        let test = |looks, mode| AaTest::new(1_000, MEAN, 0.05, looks, mode).unwrap();
        assert!((rate(&test(1, Mode::Fixed), 4_000) - 0.05).abs() < 0.012);
        assert!((rate(&test(10, Mode::Fixed), 4_000) - 0.193).abs() < 0.021);
        assert!(rate(&test(10, Mode::Sequential), 4_000) < 0.03);
    }

    #[test]
    fn arguments_that_no_experiment_has_are_named() {
        let refused =
            |n, metric, alpha, looks| AaTest::new(n, metric, alpha, looks, Mode::Fixed).unwrap_err().argument;
        assert_eq!(refused(1, MEAN, 0.05, 1), "n_per_arm");
        for rate in [0.0, 1.0, f64::NAN] {
            assert_eq!(refused(100, Metric::Conversion(rate), 0.05, 1), "baseline");
        }
        assert_eq!(refused(100, Metric::Mean { mean: f64::NAN, sd: 1.0 }, 0.05, 1), "baseline");
        for sd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(100, Metric::Mean { mean: 0.0, sd }, 0.05, 1), "sd");
        }
        assert_eq!(refused(100, MEAN, 1.0, 1), "alpha");
        assert_eq!((refused(100, MEAN, 0.05, 0), refused(100, MEAN, 0.05, 51)), ("looks", "looks"));
        assert_eq!("peek".parse::<Mode>().unwrap_err().argument, "mode");
        assert_eq!(check_simulations(99, 99).unwrap_err().argument, "simulations");
        let too_many = check_simulations(1_000, 2 * MOST_STEPS).unwrap_err();
        assert!(too_many.message.starts_with("simulations must be at most 500 "), "{too_many}");
        assert!(check_simulations(1_000, MOST_STEPS).is_ok());
    }

    #[test]
    fn nothing_is_so_cheap_that_it_may_go_on_for_ever() {
        let nobody = RealAaTest::new(Vec::new(), RealMetric::Mean, [0.5, 0.5], 0.05).unwrap();
        let one_look = AaTest::new(100, MEAN, 0.05, 1, Mode::Fixed).unwrap();
        for steps in [nobody.steps(i32::MAX), one_look.steps(i32::MAX)] {
            assert_eq!(check_simulations(i32::MAX, steps).unwrap_err().argument, "simulations");
        }
        let longest = AaTest::new(i64::MAX, MEAN, 0.05, i64::MAX / 2, Mode::Fixed).unwrap();
        assert!(check_simulations(100, longest.steps(100)).is_err());
    }

    #[test]
    fn extreme_arguments_are_answered_or_refused() {
        for metric in [
            Metric::Conversion(1e-300),
            Metric::Conversion(1.0 - 1e-16),
            Metric::Mean { mean: 1e300, sd: 1e-300 },
            Metric::Mean { mean: 0.0, sd: 1e300 },
            Metric::Mean { mean: f64::MAX, sd: f64::MAX },
        ] {
            for (n, looks) in [(2, 1), (5, 2), (i64::MAX / 4, 3)] {
                for mode in [Mode::Fixed, Mode::Sequential] {
                    let test = AaTest::new(n, metric, 0.05, looks, mode).unwrap();
                    let _ = test.replicate(&mut random(1, 1));
                }
            }
        }
    }

    fn users(count: i32) -> Vec<User> {
        let mut random = random(3, 0);
        let user = |number| {
            let sessions = conversions(5, 0.5, &mut random) as f64;
            let z: f64 = StandardNormal.sample(&mut random);
            User {
                id: format!("u{number}"),
                value: sessions * (1e6 + z),
                denominator: sessions,
                converted: sessions > 0.0,
            }
        };
        (0..count).map(user).collect()
    }

    #[test]
    fn real_users_are_split_by_the_hash_and_tested_as_results_are() {
        let users = users(3_000);
        for metric in [RealMetric::Conversion, RealMetric::Mean, RealMetric::Ratio] {
            let test = RealAaTest::new(users.clone(), metric, [0.5, 0.3], 0.05).unwrap();
            let made: Vec<Replication> = (0..500).map(|number| test.replicate(number).unwrap()).collect();
            let verdict = judge(&made, 0.05, Mode::Fixed).unwrap();
            assert!((verdict.low..=verdict.high).contains(&verdict.rate), "{metric:?} {verdict:?}");
            assert!(verdict.p_uniform.unwrap() > 0.001, "{metric:?} {verdict:?}");
        }
        // One split by hand.
        let mut arms = [Vec::new(), Vec::new()];
        for user in &users {
            match crate::bucket::bucket("aa:4", &user.id) {
                0..500_000 => arms[0].push(user.value),
                500_000..800_000 => arms[1].push(user.value),
                _ => {}
            }
        }
        let sample = |values: &Vec<f64>| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            Sample { n: values.len() as i64, mean, variance: squares / (values.len() - 1) as f64 }
        };
        let expected = welch_test(sample(&arms[0]), sample(&arms[1]), 0.05, Alternative::TwoSided).unwrap();
        let test = RealAaTest::new(users, RealMetric::Mean, [0.5, 0.3], 0.05).unwrap();
        let found = test.replicate(4).unwrap().p_value.unwrap();
        assert!((found / expected.p_value.unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_real_users_have_no_p_value() {
        for users in [users(0), users(1), users(2)] {
            for metric in [RealMetric::Conversion, RealMetric::Mean, RealMetric::Ratio] {
                let test = RealAaTest::new(users.clone(), metric, [0.5, 0.5], 0.05).unwrap();
                assert!((0..50).all(|number| !test.replicate(number).unwrap().rejected));
            }
        }
        let refused =
            |shares| RealAaTest::new(users(9), RealMetric::Mean, shares, 0.05).unwrap_err().argument;
        assert_eq!((refused([0.5, 0.6]), refused([0.0, 1.0])), ("weights", "weights"));
    }
}

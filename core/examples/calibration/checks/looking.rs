//! Experiments without an effect that are looked at while they run: how often any look finds one.

use ab_core::statistics::Alternative::{self, Greater, TwoSided};
use ab_core::statistics::group_sequential::{Sides, Spending, group_bounds};
use ab_core::statistics::mean::{Sample, welch_test};
use ab_core::statistics::sequential::{has_burned_in, sequential_test};
use ab_core::statistics::simulation::{AaTest, Metric, Mode, Random};

use super::population::{Population, Sums, standard_normal};
use super::{ALPHA, covers, one_if};
use crate::check::{Measure, Simulation};

pub fn simulations() -> Vec<Simulation> {
    let mut simulations = vec![
        every_user("normal", Population::Normal, TwoSided),
        every_user("normal, one-sided", Population::Normal, Greater),
        every_user("lognormal", Population::LogNormal, TwoSided),
        every_user("0.1 convert", Population::Bernoulli(0.1), TwoSided),
        every_percent("normal", Population::Normal),
        every_percent("0.05 convert", Population::Bernoulli(0.05)),
        peeking("a fixed test, 10 looks", AaTest::new(1_000, MEAN, ALPHA, 10, Mode::Fixed).expect("valid"))
            .share("finds peeking", 0, 0.193),
    ];
    for (name, spending) in [
        ("O'Brien-Fleming", Spending::ObrienFleming),
        ("Pocock", Spending::Pocock),
        ("t³", Spending::Power(3.0)),
    ] {
        for (looks, irregular) in [
            (3, [0.2, 0.9, 1.0].as_slice()),
            (5, &[0.1, 0.15, 0.5, 0.95, 1.0]),
            (10, &[0.05, 0.1, 0.12, 0.3, 0.31, 0.5, 0.7, 0.9, 0.99, 1.0]),
        ] {
            let equal: Vec<f64> = (1..=looks).map(|look| f64::from(look) / f64::from(looks)).collect();
            simulations.push(group_sequential(name, "equal", spending, &equal));
            simulations.push(group_sequential(name, "irregular", spending, irregular));
        }
    }
    simulations
}

const MEAN: Metric = Metric::Mean { mean: 10.0, sd: 3.0 };

/// An experiment found significant at any look.
pub fn peeking(name: &str, test: AaTest) -> Simulation {
    Simulation::new(name, 20_000, move |_, random| {
        vec![one_if(test.replicate(random).expect("valid").rejected)]
    })
}

/// Two arms that fill up in turn, tested by the confidence sequence.
struct Experiment {
    population: Population,
    arms: [Sums<1>; 2],
    planned: f64,
    alternative: Alternative,
}

impl Experiment {
    fn new(population: Population, planned: f64, alternative: Alternative) -> Experiment {
        let arms = [0; 2].map(|_| Sums::about([population.mean()]));
        Experiment { population, arms, planned, alternative }
    }

    fn join(&mut self, arm: usize, random: &mut Random) {
        self.arms[arm].add([self.population.draw(random)]);
    }

    /// Whether the arms have the users, and conversions, that a first look needs.
    fn has_burned_in(&self) -> bool {
        let ready = |arm: &Sums<1>| {
            let conversions = match self.population {
                Population::Bernoulli(_) => Some((arm.mean(0) * arm.n() as f64).round() as i64),
                _ => None,
            };
            has_burned_in(arm.n(), conversions)
        };
        self.arms.iter().all(ready)
    }

    /// Whether a look finds a difference.
    fn finds(&self) -> bool {
        let [control, treatment] = self.arms.each_ref().map(Sums::sample);
        let variance = |arm: Sample| arm.variance / arm.n as f64;
        let test = sequential_test(
            treatment.mean - control.mean,
            (variance(control) + variance(treatment)).sqrt(),
            control.n + treatment.n,
            ALPHA,
            self.planned,
            self.alternative,
        )
        .expect("valid");
        test.p_value.is_some_and(|p| p < ALPHA)
    }
}

/// Planned for 1,000 users, looked at after each of 10,000.
fn every_user(name: &str, population: Population, alternative: Alternative) -> Simulation {
    const PLANNED: usize = 1_000;
    let name = format!("confidence sequence at every user, {name}");
    Simulation::new(name, 5_000, move |_, random| {
        let mut experiment = Experiment::new(population, PLANNED as f64, alternative);
        let mut found = 0.0;
        for user in 0..10 * PLANNED {
            experiment.join(user % 2, random);
            if experiment.has_burned_in() && experiment.finds() {
                found = one_if(user < PLANNED);
                return vec![1.0, found];
            }
        }
        vec![0.0, found]
    })
    .check("up to 10·N*", Measure::Share(0), ALPHA, 0.0, 0.06)
    .shown("up to N*", Measure::Share(1), ALPHA)
}

/// Planned for 10,000 users, looked at after every hundredth part of ten times as many. The difference is that of Welch's
/// test, and its interval is wrong at no look with the same probability.
fn every_percent(name: &str, population: Population) -> Simulation {
    const PLANNED: usize = 10_000;
    let name = format!("confidence sequence at every percent, {name}");
    Simulation::new(name, 5_000, move |_, random| {
        let mut experiment = Experiment::new(population, PLANNED as f64, TwoSided);
        let mut found = 0.0;
        for user in 0..10 * PLANNED {
            experiment.join(user % 2, random);
            if (user + 1) % (PLANNED / 100) != 0 || !experiment.has_burned_in() {
                continue;
            }
            let [control, treatment] = experiment.arms.each_ref().map(Sums::sample);
            let test = welch_test(control, treatment, ALPHA, TwoSided).expect("valid");
            let (Some(diff), Some(error)) = (test.diff, test.standard_error) else { continue };
            let n = control.n + treatment.n;
            let sequence = sequential_test(diff, error, n, ALPHA, PLANNED as f64, TwoSided).expect("valid");
            if covers(sequence.low, sequence.high, 0.0) == 0.0 {
                found = one_if(user < PLANNED);
                return vec![1.0, found];
            }
        }
        vec![0.0, found]
    })
    .check("up to 10·N*", Measure::Share(0), ALPHA, 0.0, 0.06)
    .shown("up to N*", Measure::Share(1), ALPHA)
}

/// Brownian paths against the critical values of each look.
fn group_sequential(name: &str, spaced: &str, spending: Spending, information: &[f64]) -> Simulation {
    let looks = group_bounds(information, ALPHA, spending, Sides::Two, &[]).expect("valid");
    let name = format!("group sequential, {name}, {} looks, {spaced}", looks.len());
    Simulation::new(name, 100_000, move |_, random| {
        let (mut score, mut before) = (0.0, 0.0);
        for look in &looks {
            score += (look.information - before).sqrt() * standard_normal(random);
            before = look.information;
            if (score / before.sqrt()).abs() >= look.z_bound {
                return vec![1.0];
            }
        }
        vec![0.0]
    })
    .share("", 0, ALPHA)
}

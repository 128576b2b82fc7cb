//! Two arms of the same users: how often a test finds a difference, and whether its p-values are uniform.

use ab_core::statistics::Alternative::TwoSided;
use ab_core::statistics::chi_square::chi_square_test;
use ab_core::statistics::covariate::cuped_test;
use ab_core::statistics::heterogeneity::heterogeneity_test;
use ab_core::statistics::interaction::{Scale, interaction_test};
use ab_core::statistics::lift::{LiftMethod, lift_interval};
use ab_core::statistics::mean::{Sample, welch_test};
use ab_core::statistics::noninferiority::{Margin, noninferiority_test};
use ab_core::statistics::novelty::{Windows, novelty_test};
use ab_core::statistics::proportion::{Proportion, proportion_test};
use ab_core::statistics::rank_sum::rank_sum_test;
use ab_core::statistics::ratio::ratio_test;
use ab_core::statistics::simulation::{
    AaTest, Metric, Mode, RealAaTest, RealMetric, Replication, User, conversions, normal_sample,
};
use ab_core::statistics::stratification::post_stratified_test;

use super::population::{Population, Sums, sessions, standard_normal, with_covariate};
use super::{ALPHA, covers, one_if};
use crate::check::{Measure, Simulation};

const REPLICATIONS: u64 = 20_000;

/// Of an arm.
const USERS: i64 = 1_000;

pub fn simulations() -> Vec<Simulation> {
    let mut simulations: Vec<Simulation> = [
        ("normal", Population::Normal),
        ("0.05 convert", Population::Bernoulli(0.05)),
        ("0.3 convert", Population::Bernoulli(0.3)),
        ("lognormal", Population::LogNormal),
        ("0.95 are zero", Population::MostlyZero),
    ]
    .into_iter()
    .map(|(name, population)| welch(name, population))
    .collect();
    simulations.extend([small_arms(false), small_arms(true)]);
    simulations.extend([0.05, 0.3].map(proportions));
    simulations.extend([
        alarms("A/A ratio, sessions", |random| {
            let (control, treatment) = (sessions(USERS, 1.0, random), sessions(USERS, 1.0, random));
            ratio_test(control, treatment, ALPHA, TwoSided).expect("valid").test.p_value
        })
        .uniform(1),
        alarms("A/A CUPED, ρ = 0.7", |random| {
            let arm = |random: &mut _| with_covariate(USERS, 0.7, 1.0, random);
            let (control, treatment) = (arm(random), arm(random));
            cuped_test(control, treatment, ALPHA, TwoSided, None).expect("valid").test.p_value
        })
        .uniform(1),
        alarms("A/A post-stratification, 3 strata", |random| {
            let arm = |random: &mut _| {
                [(0.0, 300), (5.0, 500), (20.0, 200)].map(|(mean, n)| {
                    let sample = Population::Normal.sample(n, 1.0, random);
                    Sample { mean: sample.mean + mean, ..sample }
                })
            };
            let (control, treatment) = (arm(random), arm(random));
            post_stratified_test(&control, &treatment, ALPHA, TwoSided).expect("valid").p_value
        })
        .uniform(1),
        alarms("A/A Mann-Whitney, lognormal, 200 users", |random| {
            let arm = |random: &mut _| -> Vec<f64> {
                (0..200).map(|_| Population::LogNormal.draw(random)).collect()
            };
            let (control, treatment) = (arm(random), arm(random));
            rank_sum_test(&control, &treatment).expect("valid").p_value
        }),
        alarms("A/A chi-square, 4 variants, 0.1 convert", |random| {
            let arms = [0; 4].map(|_: i64| conversions(USERS, 0.1, random));
            chi_square_test(&[USERS; 4], &arms, false).expect("valid").p_value
        }),
        alarms("interaction, none, additive", |random| {
            let cells = [0; 4].map(|_| normal_sample(500, 10.0, 3.0, random));
            interaction_test(cells, Scale::Additive, ALPHA).expect("valid").p_value
        })
        .uniform(1),
        alarms("interaction, none, logarithms", |random| {
            // Effects that multiply: 1, 1.2, 1.1 and their product.
            let cells = [1.0, 1.2, 1.1, 1.32].map(|scale| normal_sample(500, 10.0 * scale, 3.0, random));
            interaction_test(cells, Scale::Log, ALPHA).expect("valid").p_value
        })
        .uniform(1),
        alarms("heterogeneity, none, 8 segments", |random| {
            let (mut diffs, mut errors) = (Vec::new(), Vec::new());
            for n in [200, 300, 400, 500, 700, 1_000, 1_500, 2_000] {
                let control = normal_sample(n, 10.0, 3.0, random);
                let treatment = normal_sample(n, 10.5, 3.0, random);
                let test = welch_test(control, treatment, ALPHA, TwoSided).expect("valid");
                diffs.extend(test.diff);
                errors.extend(test.standard_error);
            }
            heterogeneity_test(&diffs, &errors).expect("valid").p_value
        }),
        alarms("novelty, none", |random| {
            let (control, treatment) = (windows(random), windows(random));
            novelty_test(control, treatment, ALPHA).expect("valid").change.p_value
        })
        .uniform(1),
        noninferior("non-inferiority at the margin, more is better", 0.95, true),
        noninferior("non-inferiority at the margin, less is better", 1.05, false),
    ]);
    simulations.extend(made_up());
    simulations.push(split_anew());
    simulations
}

/// A simulation of one p-value, in column 1; whether it is below alpha is in column 0.
fn alarms(
    name: &str,
    p_value: impl Fn(&mut ab_core::statistics::simulation::Random) -> Option<f64> + Sync + 'static,
) -> Simulation {
    Simulation::new(name, REPLICATIONS, move |_, random| {
        let p = p_value(random).unwrap_or(f64::NAN);
        vec![one_if(p < ALPHA), p]
    })
    .share("", 0, ALPHA)
}

fn welch(name: &str, population: Population) -> Simulation {
    let simulation = Simulation::new(format!("A/A Welch, {name}"), REPLICATIONS, move |_, random| {
        let (control, treatment) =
            (population.sample(USERS, 1.0, random), population.sample(USERS, 1.0, random));
        let test = welch_test(control, treatment, ALPHA, TwoSided).expect("valid");
        let fieller = lift_interval(control, treatment, ALPHA, LiftMethod::Fieller).expect("valid");
        let rejected = one_if(test.p_value.is_some_and(|p| p < ALPHA));
        // Unbounded lifts exclude nothing, and say nothing about agreement.
        let lift_excludes = 1.0 - covers(test.lift.low, test.lift.high, 0.0);
        vec![
            rejected,
            test.p_value.unwrap_or(f64::NAN),
            1.0 - covers(fieller.low, fieller.high, 0.0),
            one_if(test.lift.low.is_none() || lift_excludes == rejected),
        ]
    });
    let simulation = match population {
        // The normal approximation of 50 users with a value is rough, and that is all there is to it.
        Population::MostlyZero => simulation.check("", Measure::Share(0), ALPHA, 0.03, 0.06).check(
            "Fieller",
            Measure::Share(2),
            ALPHA,
            0.03,
            0.06,
        ),
        _ => simulation.share("", 0, ALPHA).share("Fieller", 2, ALPHA),
    };
    let simulation =
        simulation.check("p < alpha where the lift excludes 0", Measure::Share(3), 1.0, 1.0, 1.0);
    if matches!(population, Population::Normal | Population::LogNormal) {
        simulation.uniform(1)
    } else {
        simulation
    }
}

/// Arms of 5 and 20 users, of which one has nine times the other's variance.
fn small_arms(greater_in_small: bool) -> Simulation {
    let (sd_small, sd_large, which) = if greater_in_small { (3.0, 1.0, 5) } else { (1.0, 3.0, 20) };
    let name = format!("A/A Welch, 5 and 20 users, variance 9 in that of {which}");
    Simulation::new(name, 50_000, move |_, random| {
        let control = normal_sample(5, 0.0, sd_small, random);
        let treatment = normal_sample(20, 0.0, sd_large, random);
        let test = welch_test(control, treatment, ALPHA, TwoSided).expect("valid");
        vec![one_if(test.p_value.is_some_and(|p| p < ALPHA))]
    })
    .check("", Measure::Share(0), ALPHA, 0.044, 0.056)
}

fn proportions(rate: f64) -> Simulation {
    Simulation::new(format!("A/A pooled z, {rate} convert"), REPLICATIONS, move |_, random| {
        let arm = |random: &mut _| Proportion { n: USERS, conversions: conversions(USERS, rate, random) };
        let (control, treatment) = (arm(random), arm(random));
        let test = proportion_test(control, treatment, ALPHA, TwoSided).expect("valid");
        vec![
            one_if(test.p_value.is_some_and(|p| p < ALPHA)),
            1.0 - covers(test.lift.low, test.lift.high, 0.0),
        ]
    })
    .share("", 0, ALPHA)
    .share("Fieller", 1, ALPHA)
}

/// Users with the same effect early and late, and days of one user that are alike.
fn windows(random: &mut ab_core::statistics::simulation::Random) -> Windows {
    let mut sums = Sums::about([0.0, 0.0]);
    for _ in 0..USERS {
        let user = standard_normal(random);
        sums.add([user + standard_normal(random), user + standard_normal(random)]);
    }
    Windows {
        n: sums.n(),
        early_mean: sums.mean(0),
        early_variance: sums.covariance(0, 0),
        late_mean: sums.mean(1),
        late_variance: sums.covariance(1, 1),
        covariance: sums.covariance(0, 1),
    }
}

/// A treatment that is worse by exactly the margin of 0.05 passes with probability alpha.
fn noninferior(name: &str, scale: f64, higher_is_better: bool) -> Simulation {
    Simulation::new(name, 10_000, move |_, random| {
        let control = normal_sample(USERS, 10.0, 3.0, random);
        let treatment = normal_sample(USERS, 10.0 * scale, 3.0, random);
        let test = noninferiority_test(control, treatment, Margin::Relative(0.05), ALPHA, higher_is_better)
            .expect("valid");
        let p = test.p_value.unwrap_or(f64::NAN);
        vec![one_if(p < ALPHA), p]
    })
    .share("", 0, ALPHA)
    .uniform(1)
}

fn row(replication: Replication) -> Vec<f64> {
    vec![one_if(replication.rejected), replication.p_value.unwrap_or(f64::NAN)]
}

/// What `ab_simulate_aa` makes of numbers.
fn made_up() -> [Simulation; 3] {
    let aa = |name: &str, metric, looks, mode| {
        let test = AaTest::new(USERS * 5, metric, ALPHA, looks, mode).expect("valid");
        Simulation::new(name, REPLICATIONS, move |_, random| row(test.replicate(random).expect("valid")))
    };
    let mean = Metric::Mean { mean: 10.0, sd: 3.0 };
    [
        aa("ab_simulate_aa, mean", mean, 1, Mode::Fixed).share("", 0, ALPHA).uniform(1),
        aa("ab_simulate_aa, conversion", Metric::Conversion(0.05), 1, Mode::Fixed).share("", 0, ALPHA),
        aa("ab_simulate_aa, sequential, 20 looks", mean, 20, Mode::Sequential).check(
            "",
            Measure::Share(0),
            ALPHA,
            0.0,
            0.06,
        ),
    ]
}

/// What `ab_simulate_aa` makes of an experiment: the same users, split again and again by the hash.
fn split_anew() -> Simulation {
    let mut random = ab_core::statistics::simulation::random(crate::check::SEED, 0);
    let user = |number: i32| User {
        id: format!("user_{number}"),
        value: Population::LogNormal.draw(&mut random),
        denominator: 0.0,
        converted: true,
    };
    let users = (0..2_000).map(user).collect();
    let test = RealAaTest::new(users, RealMetric::Mean, [0.5, 0.5], ALPHA).expect("valid");
    Simulation::new("ab_simulate_aa, real users split anew by the hash", 10_000, move |index, _| {
        row(test.replicate(index.cast_signed()).expect("valid"))
    })
    .share("", 0, ALPHA)
    .uniform(1)
}

//! Experiments of the size that the planning functions name: how often they find the effect they were planned for.

use ab_core::statistics::Alternative::TwoSided;
use ab_core::statistics::covariate::cuped_test;
use ab_core::statistics::group_sequential::{Sides, Spending, group_bounds, group_inflation};
use ab_core::statistics::mean::welch_test;
use ab_core::statistics::noninferiority::{Margin, noninferiority_test};
use ab_core::statistics::power::{
    Design, SampleSize, detectable_effect, power, sample_size_mean, sample_size_noninferiority,
    sample_size_proportion,
};
use ab_core::statistics::proportion::{Proportion, proportion_test};
use ab_core::statistics::simulation::{Random, conversions, normal_sample};

use super::population::with_covariate;
use super::{ALPHA, one_if};
use crate::check::{Measure, Simulation};

const REPLICATIONS: u64 = 10_000;

const BASELINE: f64 = 10.0;

const SD: f64 = 3.0;

const EFFECT: f64 = 0.05;

pub fn simulations() -> Vec<Simulation> {
    let plain = Design::default();
    vec![
        means("1:1", plain),
        means("1:4", Design { ratio: 4.0, ..plain }),
        means("3 arms", Design { treatments: 2, ..plain }),
        few_users(),
        proportions("0.1 to 0.11, 1:1", 0.1, 0.1, plain, 0.013),
        proportions("0.1 to 0.11, 1:4", 0.1, 0.1, Design { ratio: 4.0, ..plain }, 0.013),
        proportions("0.1 to 0.11, 3 arms", 0.1, 0.1, Design { treatments: 2, ..plain }, 0.013),
        proportions("0.01 to 0.0125, 1:1", 0.01, 0.25, plain, 0.02),
        covariate(),
        group_sequential("O'Brien-Fleming", Spending::ObrienFleming),
        group_sequential("Pocock", Spending::Pocock),
        noninferiority(),
        unequal_variances(),
    ]
}

fn sizes(size: SampleSize) -> (i64, i64) {
    (size.n_control.expect("a size"), size.n_treatment.expect("a size"))
}

/// A share that is 0.8 within what the reference allows for 10,000 replications.
fn planned(simulation: Simulation, within: f64) -> Simulation {
    simulation.check("", Measure::Share(0), 0.8, 0.8 - within, 0.8 + within)
}

fn finds(n1: i64, n2: i64, alpha: f64, random: &mut Random) -> f64 {
    let control = normal_sample(n1, BASELINE, SD, random);
    let treatment = normal_sample(n2, BASELINE * (1.0 + EFFECT), SD, random);
    let test = welch_test(control, treatment, alpha, TwoSided).expect("valid");
    one_if(test.p_value.is_some_and(|p| p < alpha))
}

fn means(name: &str, design: Design) -> Simulation {
    let size = sample_size_mean(BASELINE, SD, EFFECT, design).expect("valid");
    let ((n1, n2), alpha) = (sizes(size), size.alpha_used.expect("alpha"));
    let name = format!("power, means, {name}, {n1} and {n2} users");
    planned(Simulation::new(name, REPLICATIONS, move |_, random| vec![finds(n1, n2, alpha, random)]), 0.013)
}

/// An effect so great that the normal approximation would plan too few.
fn few_users() -> Simulation {
    let size = sample_size_mean(1.0, 1.0, 1.5, Design::default()).expect("valid");
    let (n1, n2) = sizes(size);
    let exact = power((n1, 1.0), (n2, 1.0), 1.5, ALPHA, TwoSided).expect("valid").power.expect("a power");
    let name = format!("power, means, {n1} and {n2} users, as ab_power says");
    // Whole users: the power is that of ab_power and not quite 0.8.
    Simulation::new(name, REPLICATIONS, move |_, random| {
        let control = normal_sample(n1, 0.0, 1.0, random);
        let treatment = normal_sample(n2, 1.5, 1.0, random);
        let test = welch_test(control, treatment, ALPHA, TwoSided).expect("valid");
        vec![one_if(test.p_value.is_some_and(|p| p < ALPHA))]
    })
    .check("", Measure::Share(0), exact, exact - 0.013, exact + 0.013)
}

fn proportions(name: &str, rate: f64, lift: f64, design: Design, within: f64) -> Simulation {
    let size = sample_size_proportion(rate, lift, design).expect("valid");
    let ((n1, n2), alpha) = (sizes(size), size.alpha_used.expect("alpha"));
    let name = format!("power, rates, {name}, {n1} and {n2} users");
    let simulation = Simulation::new(name, REPLICATIONS, move |_, random| {
        let control = Proportion { n: n1, conversions: conversions(n1, rate, random) };
        let treatment = Proportion { n: n2, conversions: conversions(n2, rate * (1.0 + lift), random) };
        let test = proportion_test(control, treatment, alpha, TwoSided).expect("valid");
        vec![one_if(test.p_value.is_some_and(|p| p < alpha))]
    });
    planned(simulation, within)
}

fn covariate() -> Simulation {
    let design = Design { rho: 0.7, ..Design::default() };
    let (n1, n2) = sizes(sample_size_mean(BASELINE, SD, EFFECT, design).expect("valid"));
    let name = format!("power, CUPED, ρ = 0.7, {n1} and {n2} users");
    let simulation = Simulation::new(name, REPLICATIONS, move |_, random| {
        let control = with_covariate(n1, 0.7, 1.0, random);
        let mut treatment = with_covariate(n2, 0.7, 1.0, random);
        treatment.mean += BASELINE * EFFECT;
        let test = cuped_test(control, treatment, ALPHA, TwoSided, None).expect("valid").test;
        vec![one_if(test.p_value.is_some_and(|p| p < ALPHA))]
    });
    planned(simulation, 0.013)
}

fn group_sequential(name: &str, spending: Spending) -> Simulation {
    let information: Vec<f64> = (1..=5).map(|look| f64::from(look) / 5.0).collect();
    let inflation = group_inflation(&information, ALPHA, 0.8, spending, Sides::Two).expect("valid");
    let design = Design { inflation, ..Design::default() };
    let (n, _) = sizes(sample_size_mean(BASELINE, SD, EFFECT, design).expect("valid"));
    let looks = group_bounds(&information, ALPHA, spending, Sides::Two, &[]).expect("valid");
    let name = format!("power, group sequential, {name}, 5 looks, {n} users of an arm");
    let simulation = Simulation::new(name, REPLICATIONS, move |_, random| {
        // Sums over users, from the means of those who are new at each look.
        let (mut joined, mut sum) = (0, 0.0);
        for look in &looks {
            let until = (look.information * n as f64).round() as i64;
            let new = until - joined;
            let mean = |mean, random: &mut Random| normal_sample(new, mean, SD, random).mean;
            let control = mean(BASELINE, random);
            sum += new as f64 * (mean(BASELINE * (1.0 + EFFECT), random) - control);
            joined = until;
            let error = SD * (2.0 / joined as f64).sqrt();
            if (sum / joined as f64 / error).abs() >= look.z_bound {
                return vec![1.0];
            }
        }
        vec![0.0]
    });
    planned(simulation, 0.013)
}

fn noninferiority() -> Simulation {
    let size = sample_size_noninferiority(SD, BASELINE * EFFECT, 0.0, Design::default()).expect("valid");
    let (n1, n2) = sizes(size);
    let name = format!("power, non-inferiority, {n1} and {n2} users");
    let simulation = Simulation::new(name, REPLICATIONS, move |_, random| {
        let control = normal_sample(n1, BASELINE, SD, random);
        let treatment = normal_sample(n2, BASELINE, SD, random);
        let margin = Margin::Absolute(BASELINE * EFFECT);
        let test = noninferiority_test(control, treatment, margin, ALPHA, true).expect("valid");
        vec![one_if(test.p_value.is_some_and(|p| p < ALPHA))]
    });
    planned(simulation, 0.013)
}

/// The effect that ab_mde names for arms with unlike standard deviations.
fn unequal_variances() -> Simulation {
    let (control, treatment) = ((800, 2.0), (300, 5.0));
    let found = detectable_effect(control, treatment, BASELINE, ALPHA, 0.8).expect("valid");
    let effect = found.mde_abs.expect("an effect");
    let simulation =
        Simulation::new("power, the effect of ab_mde, unequal arms", REPLICATIONS, move |_, random| {
            let first = normal_sample(control.0, BASELINE, control.1, random);
            let second = normal_sample(treatment.0, BASELINE + effect, treatment.1, random);
            let test = welch_test(first, second, ALPHA, TwoSided).expect("valid");
            vec![one_if(test.p_value.is_some_and(|p| p < ALPHA))]
        });
    planned(simulation, 0.013)
}

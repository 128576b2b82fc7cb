//! How often intervals hold what they are for, at true lifts of 0, ±5 % and ±50 %.

use ab_core::statistics::Alternative::TwoSided;
use ab_core::statistics::covariate::cuped_test;
use ab_core::statistics::lift::{LiftMethod, lift_interval};
use ab_core::statistics::mean::welch_test;
use ab_core::statistics::proportion::{DifferenceMethod, Proportion, proportion_test_by};
use ab_core::statistics::quantile::{quantile_interval, quantile_test};
use ab_core::statistics::ratio::ratio_test;
use ab_core::statistics::simulation::{Random, conversions, normal_sample};
use statrs::distribution::{ContinuousCDF, Normal};

use super::population::{PER_SESSION, Population, sessions, with_covariate};
use super::{ALPHA, covers, one_if};
use crate::check::{Measure, Simulation};

const REPLICATIONS: u64 = 10_000;

/// Of an arm.
const USERS: i64 = 1_000;

const LIFTS: [f64; 5] = [-0.5, -0.05, 0.0, 0.05, 0.5];

pub fn simulations() -> Vec<Simulation> {
    let mut simulations = Vec::new();
    for lift in LIFTS {
        simulations.extend([means(lift), proportions(lift), ratios(lift), cuped(lift)]);
    }
    for users in [1_000, 5_000] {
        simulations.extend([0.5, 0.9, 0.99].map(|q| quantiles(q, users)));
    }
    simulations.extend([0.05, 0.2, 0.4].map(noisy_control));
    simulations
}

fn means(lift: f64) -> Simulation {
    Simulation::new(format!("coverage, Welch, lift {lift}"), REPLICATIONS, move |_, random| {
        let control = Population::Normal.sample(USERS, 1.0, random);
        let treatment = Population::Normal.sample(USERS, 1.0 + lift, random);
        let test = welch_test(control, treatment, ALPHA, TwoSided).expect("valid");
        vec![covers(test.low, test.high, 10.0 * lift), covers(test.lift.low, test.lift.high, lift)]
    })
    .share("difference", 0, 0.95)
    .share("lift by Fieller", 1, 0.95)
}

fn proportions(lift: f64) -> Simulation {
    const RATE: f64 = 0.2;
    Simulation::new(format!("coverage, 0.2 convert, lift {lift}"), REPLICATIONS, move |_, random| {
        let arm = |rate, random: &mut Random| Proportion {
            n: USERS,
            conversions: conversions(USERS, rate, random),
        };
        let (control, treatment) = (arm(RATE, random), arm(RATE * (1.0 + lift), random));
        let test = proportion_test_by(DifferenceMethod::Newcombe, control, treatment, ALPHA, TwoSided)
            .expect("valid");
        vec![covers(test.low, test.high, RATE * lift), covers(test.lift.low, test.lift.high, lift)]
    })
    .share("difference by Newcombe", 0, 0.95)
    .share("lift by Fieller", 1, 0.95)
}

fn ratios(lift: f64) -> Simulation {
    Simulation::new(format!("coverage, ratio, lift {lift}"), REPLICATIONS, move |_, random| {
        let (control, treatment) = (sessions(USERS, 1.0, random), sessions(USERS, 1.0 + lift, random));
        let test = ratio_test(control, treatment, ALPHA, TwoSided).expect("valid").test;
        vec![covers(test.low, test.high, PER_SESSION * lift), covers(test.lift.low, test.lift.high, lift)]
    })
    .share("difference", 0, 0.95)
    .share("lift by Fieller", 1, 0.95)
}

fn cuped(lift: f64) -> Simulation {
    Simulation::new(format!("coverage, CUPED, ρ = 0.7, lift {lift}"), REPLICATIONS, move |_, random| {
        let control = with_covariate(USERS, 0.7, 1.0, random);
        let treatment = with_covariate(USERS, 0.7, 1.0 + lift, random);
        let test = cuped_test(control, treatment, ALPHA, TwoSided, None).expect("valid").test;
        vec![covers(test.low, test.high, 10.0 * lift), covers(test.lift.low, test.lift.high, lift)]
    })
    .share("difference", 0, 0.95)
    .share("lift", 1, 0.95)
}

fn quantiles(q: f64, users: usize) -> Simulation {
    let truth = Normal::standard().inverse_cdf(q).exp();
    let name = format!("coverage, quantile {q}, {users} users");
    let simulation = Simulation::new(name, REPLICATIONS, move |_, random| {
        let arm = |random: &mut Random| {
            let mut values: Vec<f64> = (0..users).map(|_| Population::LogNormal.draw(random)).collect();
            values.sort_by(f64::total_cmp);
            quantile_interval(&values, q, ALPHA).expect("valid")
        };
        let (control, treatment) = (arm(random), arm(random));
        let test = quantile_test(control, treatment, [1.0; 2], ALPHA, TwoSided).expect("valid");
        vec![covers(control.low, control.high, truth), covers(test.low, test.high, 0.0)]
    });
    // With ten users beyond the quantile whole ranks hold it with 0.983 (by the binomial distribution), and the longer gaps
    // between the last of them make the standard error too great.
    let beyond = users as f64 * (1.0 - q);
    let high = if beyond < 20.0 { 1.0 } else { 0.975 };
    simulation.check("", Measure::Share(0), 0.95, 0.94, high).check(
        "difference of two",
        Measure::Share(1),
        0.95,
        0.94,
        high,
    )
}

/// A control whose mean is known only within `variation` of itself.
fn noisy_control(variation: f64) -> Simulation {
    let lift = 0.5;
    let simulation = Simulation::new(
        format!("coverage, lift 0.5, control's mean ± {variation} of itself"),
        REPLICATIONS,
        move |_, random| {
            let sd = variation * (USERS as f64).sqrt();
            let control = normal_sample(USERS, 1.0, sd, random);
            let treatment = normal_sample(USERS, 1.0 + lift, sd, random);
            let by = |method| lift_interval(control, treatment, ALPHA, method).expect("valid");
            let (fieller, delta) = (by(LiftMethod::Fieller), by(LiftMethod::Delta));
            vec![
                covers(fieller.low, fieller.high, lift),
                covers(delta.low, delta.high, lift),
                one_if(fieller.low.is_none()),
                one_if(delta.low.is_some_and(|low| low > lift)),
                one_if(delta.high.is_some_and(|high| high < lift)),
            ]
        },
    );
    // An interval without bounds holds everything, and there are many where the control is that noisy.
    let simulation = if variation <= 0.2 {
        simulation.share("Fieller", 0, 0.95)
    } else {
        simulation.check("Fieller", Measure::Share(0), 0.95, 0.9428, 1.0)
    };
    simulation
        .shown("Fieller, without bounds", Measure::Share(2), 0.0)
        .shown("delta", Measure::Share(1), 0.95)
        .shown("delta, all of it above the true lift", Measure::Share(3), 0.025)
        .shown("delta, all of it below the true lift", Measure::Share(4), 0.025)
}

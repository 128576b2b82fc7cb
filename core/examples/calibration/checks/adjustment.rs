//! What adjusting by a covariate gains: 1 − ρ² of the variance, without bias.

use ab_core::statistics::Alternative::TwoSided;
use ab_core::statistics::covariate::{cuped_test, stratified_cuped_test};
use ab_core::statistics::simulation::Random;
use rand::Rng;

use super::population::{Sums, standard_normal, with_covariate};
use super::{ALPHA, one_if};
use crate::check::{Measure, Simulation};

/// Of the treatment.
const LIFT: f64 = 0.02;

pub fn simulations() -> Vec<Simulation> {
    let mut simulations: Vec<Simulation> = [0.0, 0.3, 0.5, 0.7, 0.9].map(reduction).into();
    simulations.extend([unequal_arms(0.0), unequal_arms(0.3)]);
    simulations
}

fn reduction(rho: f64) -> Simulation {
    let left = 1.0 - rho * rho;
    Simulation::new(format!("CUPED, ρ = {rho}, 2,000 users"), 10_000, move |_, random| {
        let control = with_covariate(2_000, rho, 1.0, random);
        let mut treatment = with_covariate(2_000, rho, 1.0, random);
        treatment.mean += 10.0 * LIFT;
        let test = cuped_test(control, treatment, ALPHA, TwoSided, None).expect("valid");
        let diff = test.test.diff.expect("users");
        vec![
            diff,
            test.raw.diff.expect("users"),
            1.0 - test.variance_reduction.expect("a variance"),
            diff - 10.0 * LIFT,
        ]
    })
    .check("variance left", Measure::VarianceRatio(0, 1), left, 0.9 * left, 1.1 * left)
    .check("variance left by its own account", Measure::Mean(2), left, left - 0.02, left + 0.02)
    .unbiased("bias in standard errors", 3)
}

/// 400 users against 1,600, of which a share have no past; those are worth less on average. They are a stratum of their own,
/// or have a covariate of 0.
fn unequal_arms(missing: f64) -> Simulation {
    let name = format!("CUPED, ρ = 0.7, 400 against 1,600 users, {missing} without a past");
    Simulation::new(name, 20_000, move |_, random| {
        let arm = |n: i64, random: &mut Random| {
            let mut old = Sums::about([10.0, 5.0]);
            let mut new = Sums::about([7.0, 0.0]);
            let mut all = Sums::about([10.0, 5.0]);
            for _ in 0..n {
                let user = standard_normal(random);
                let noise = 3.0 * (0.7 * user + 0.51_f64.sqrt() * standard_normal(random));
                let (stratum, values) = if random.random::<f64>() < missing {
                    (&mut new, [7.0 + noise, 0.0])
                } else {
                    (&mut old, [10.0 + noise, 5.0 + 2.0 * user])
                };
                stratum.add(values);
                all.add(values);
            }
            let strata = if new.n() > 0 {
                vec![old.covariate_sample(), new.covariate_sample()]
            } else {
                vec![old.covariate_sample()]
            };
            (strata, all.covariate_sample())
        };
        let ((control, control_all), (treatment, treatment_all)) = (arm(400, random), arm(1_600, random));
        let strata = stratified_cuped_test(&control, &treatment, ALPHA, TwoSided).expect("valid");
        let zeros = cuped_test(control_all, treatment_all, ALPHA, TwoSided, None).expect("valid").test;
        vec![
            one_if(strata.p_value.is_some_and(|p| p < ALPHA)),
            strata.diff.expect("users"),
            one_if(zeros.p_value.is_some_and(|p| p < ALPHA)),
            zeros.diff.expect("users"),
        ]
    })
    .share("A/A, in strata", 0, ALPHA)
    .unbiased("bias in strata, in standard errors", 1)
    .share("A/A, 0 for none", 2, ALPHA)
    .unbiased("bias with 0 for none, in standard errors", 3)
}

//! Assignment that works: how often the sample ratio test says it does not.

use ab_core::statistics::sample_ratio::{
    PhaseArm, sample_ratio_phases, sample_ratio_test, sequential_sample_ratio,
};
use ab_core::statistics::simulation::{Random, conversions};

use super::one_if;
use crate::check::{Measure, Simulation};

const THRESHOLD: f64 = 0.001;

/// The reference's for the sequential test.
const CONCENTRATION: f64 = 100.0;

pub fn simulations() -> Vec<Simulation> {
    vec![
        fixed("1:1, 10,000 users", 10_000, &[1.0, 1.0]),
        fixed("2:1:1, 10,000 users", 10_000, &[2.0, 1.0, 1.0]),
        fixed("95:5, 20,000 users", 20_000, &[95.0, 5.0]),
        phases(),
        sequential("1:1", &[1.0, 1.0]),
        sequential("8:1:1", &[8.0, 1.0, 1.0]),
    ]
}

/// `users` by their variant.
fn assign(users: i64, weights: &[f64], random: &mut Random) -> Vec<i64> {
    let (mut users, mut weight) = (users, weights.iter().sum::<f64>());
    weights
        .iter()
        .map(|own| {
            // The last takes all that are left; rounding must not make it more than certain.
            let taken = conversions(users, (own / weight).min(1.0), random);
            users -= taken;
            weight -= own;
            taken
        })
        .collect()
}

fn fixed(name: &str, users: i64, weights: &'static [f64]) -> Simulation {
    Simulation::new(format!("sample ratio, {name}"), 100_000, move |_, random| {
        let observed = assign(users, weights, random);
        let test = sample_ratio_test(&observed, weights, THRESHOLD).expect("valid");
        vec![one_if(test.mismatch == Some(true))]
    })
    .share("", 0, THRESHOLD)
}

/// Weights that change twice, which a test of the totals would take for a mismatch.
fn phases() -> Simulation {
    const PHASES: [(i64, [f64; 3]); 3] =
        [(5_000, [1.0, 1.0, 1.0]), (8_000, [8.0, 1.0, 1.0]), (3_000, [1.0, 2.0, 2.0])];
    Simulation::new("sample ratio, 3 phases of 3 variants", 100_000, |_, random| {
        let mut cells = Vec::new();
        for (phase, (users, weights)) in (0..).zip(PHASES) {
            let observed = assign(users, &weights, random);
            let arms = (0..).zip(observed.into_iter().zip(weights));
            cells.extend(arms.map(|(arm, (observed, weight))| PhaseArm { phase, arm, observed, weight }));
        }
        let test = sample_ratio_phases(&cells, THRESHOLD).expect("valid");
        vec![one_if(test.mismatch == Some(true))]
    })
    .share("", 0, THRESHOLD)
}

fn sequential(name: &str, weights: &'static [f64]) -> Simulation {
    let name = format!("sequential sample ratio, {name}, 1,000 looks at 100 new users");
    Simulation::new(name, 5_000, move |_, random| {
        let mut observed = vec![0; weights.len()];
        for _ in 0..1_000 {
            observed.iter_mut().zip(assign(100, weights, random)).for_each(|(all, new)| *all += new);
            let test = sequential_sample_ratio(&observed, weights, CONCENTRATION, THRESHOLD).expect("valid");
            if test.mismatch == Some(true) {
                return vec![1.0];
            }
        }
        vec![0.0]
    })
    .check("", Measure::Share(0), THRESHOLD, 0.0, 0.003)
}

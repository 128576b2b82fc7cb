//! Methods for counts, over every outcome there is: nothing is left to chance.

use ab_core::statistics::Alternative::TwoSided;
use ab_core::statistics::distribution::ln_binomial_mass;
use ab_core::statistics::fisher::fisher_test;
use ab_core::statistics::proportion::{Proportion, ProportionMethod, proportion_interval_by};

use super::{ALPHA, one_if};
use crate::check::{Measure, Simulation};

/// The most users of an arm whose tables are all made.
const USERS: i64 = 30;

/// Rates that are tried, between 0 and 1.
const GRID: i32 = 1_000;

pub fn simulations() -> Vec<Simulation> {
    vec![
        fisher(),
        exact_at_every_rate(),
        on_a_grid(ProportionMethod::Wilson).check("mean", Measure::Mean(0), 0.95, 0.945, 0.96).check(
            "least",
            Measure::Least(1),
            0.83,
            0.83,
            1.0,
        ),
        on_a_grid(ProportionMethod::Jeffreys).check("mean", Measure::Mean(0), 0.95, 0.945, 0.96).shown(
            "least",
            Measure::Least(1),
            0.95,
        ),
        on_a_grid(ProportionMethod::AgrestiCoull).check("mean", Measure::Mean(0), 0.95, 0.95, 0.975).shown(
            "least",
            Measure::Least(1),
            0.95,
        ),
    ]
}

fn masses(n: i64, rate: f64) -> Vec<f64> {
    (0..=n).map(|conversions| ln_binomial_mass(conversions, n, rate).exp()).collect()
}

/// Arms of every pair of sizes; the chance to reject at the rate where it is greatest.
fn fisher() -> Simulation {
    Simulation::exhaustive(
        "Fisher, arms of 1 to 30 users, every table and rate",
        (USERS * USERS).cast_unsigned(),
        |index| {
            let index = index.cast_signed();
            let (n1, n2) = (1 + index / USERS, 1 + index % USERS);
            let rejected: Vec<f64> = (0..=n1)
                .flat_map(|x1| (0..=n2).map(move |x2| (x1, x2)))
                .map(|(x1, x2)| {
                    let arm = |n, conversions| Proportion { n, conversions };
                    let test = fisher_test(arm(n1, x1), arm(n2, x2), TwoSided).expect("valid");
                    one_if(test.p_value.is_some_and(|p| p <= ALPHA))
                })
                .collect();
            let size = |rate: f64| -> f64 {
                let (first, second) = (masses(n1, rate), masses(n2, rate));
                let tables = first.iter().flat_map(|one| second.iter().map(move |other| one * other));
                tables.zip(&rejected).map(|(mass, rejected)| mass * rejected).sum()
            };
            vec![(1..100).map(|percent| size(f64::from(percent) / 100.0)).fold(0.0, f64::max)]
        },
    )
    .check("greatest size", Measure::Most(0), ALPHA, 0.0, ALPHA)
}

/// P(the interval holds the rate | the rate).
fn coverage(intervals: &[(f64, f64)], rate: f64) -> f64 {
    let n = intervals.len() as i64 - 1;
    let covered =
        intervals.iter().zip(masses(n, rate)).filter(|((low, high), _)| *low <= rate && rate <= *high);
    covered.map(|(_, mass)| mass).sum()
}

fn intervals(method: ProportionMethod, n: i64) -> Vec<(f64, f64)> {
    (0..=n)
        .map(|conversions| {
            let interval =
                proportion_interval_by(method, Proportion { n, conversions }, ALPHA).expect("valid");
            (interval.low.expect("users"), interval.high.expect("users"))
        })
        .collect()
}

/// The coverage is least next to a bound, on the side where the interval ends.
fn exact_at_every_rate() -> Simulation {
    Simulation::exhaustive("Clopper-Pearson, 1 to 30 users, every rate", USERS.cast_unsigned(), |index| {
        let intervals = intervals(ProportionMethod::Exact, 1 + index.cast_signed());
        let ends = intervals.iter().flat_map(|(low, high)| [low * (1.0 - 1e-12), high * (1.0 + 1e-12)]);
        let inside = ends.filter(|rate| *rate > 0.0 && *rate < 1.0);
        vec![inside.map(|rate| coverage(&intervals, rate)).fold(1.0, f64::min)]
    })
    .check("least coverage", Measure::Least(0), 0.95, 0.95, 1.0)
}

fn on_a_grid(method: ProportionMethod) -> Simulation {
    const SIZES: [i64; 9] = [20, 25, 30, 40, 50, 75, 100, 200, 500];
    let name = format!("{}, 20 to 500 users, {} rates", method.as_str(), GRID - 1);
    Simulation::exhaustive(name, SIZES.len() as u64, move |index| {
        let intervals = intervals(method, SIZES[index as usize]);
        let coverages: Vec<f64> =
            (1..GRID).map(|step| coverage(&intervals, f64::from(step) / f64::from(GRID))).collect();
        let mean = coverages.iter().sum::<f64>() / coverages.len() as f64;
        vec![mean, coverages.into_iter().fold(1.0, f64::min)]
    })
}

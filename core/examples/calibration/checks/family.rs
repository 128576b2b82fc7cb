//! Many tests at once: how often a correction lets a false finding through, and what share of findings is false.

use ab_core::statistics::distribution::normal_two_sided;
use ab_core::statistics::multiplicity::{Correction, adjust};

use super::population::standard_normal;
use super::{ALPHA, one_if};
use crate::check::{Measure, Simulation};

const REPLICATIONS: u64 = 10_000;

const TESTS: usize = 20;

/// The effects there are, in standard errors.
const EFFECT: f64 = 3.0;

pub fn simulations() -> Vec<Simulation> {
    vec![
        family("20 nulls", 0, 0.0),
        family("20 nulls, correlated by 0.5", 0, 0.5),
        family("15 nulls and 5 effects", 5, 0.0),
        family("15 nulls and 5 effects, correlated by 0.5", 5, 0.5),
    ]
}

fn family(name: &str, effects: usize, correlation: f64) -> Simulation {
    let nulls = (TESTS - effects) as f64 / TESTS as f64;
    Simulation::new(format!("20 tests, {name}"), REPLICATIONS, move |_, random| {
        let shared = standard_normal(random);
        let p_values: Vec<Option<f64>> = (0..TESTS)
            .map(|test| {
                let own = standard_normal(random);
                let z = correlation.sqrt() * shared + (1.0 - correlation).sqrt() * own;
                Some(normal_two_sided(z + if test < effects { EFFECT } else { 0.0 }))
            })
            .collect();
        let found = |correction| {
            let adjusted = adjust(&p_values, correction).expect("valid");
            let found: Vec<bool> = adjusted.iter().map(|p| p.is_some_and(|p| p < ALPHA)).collect();
            let wrong = found[effects..].iter().filter(|found| **found).count();
            let all = found.iter().filter(|found| **found).count();
            (one_if(wrong > 0), wrong as f64 / all.max(1) as f64)
        };
        vec![
            found(Correction::Bonferroni).0,
            found(Correction::Holm).0,
            found(Correction::Hochberg).0,
            found(Correction::BenjaminiHochberg).1,
            found(Correction::BenjaminiYekutieli).1,
        ]
    })
    .check("Bonferroni, any false", Measure::Share(0), ALPHA, 0.0, 0.055)
    .check("Holm, any false", Measure::Share(1), ALPHA, 0.0, 0.055)
    .check("Hochberg, any false", Measure::Share(2), ALPHA, 0.0, 0.055)
    .check("Benjamini-Hochberg, false share", Measure::Mean(3), ALPHA * nulls, 0.0, ALPHA * nulls + 0.007)
    .check(
        "Benjamini-Yekutieli, false share",
        Measure::Mean(4),
        ALPHA * nulls,
        0.0,
        ALPHA * nulls + 0.007,
    )
}

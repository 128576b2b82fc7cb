//! What needs the users' own values: ranks and quantiles have no sufficient statistics.

use ab_core::statistics::quantile::quantile_interval;
use ab_core::statistics::rank_sum::rank_sum_test;
use ab_core::statistics::sketch::QuantileSketch;

use super::{Found, statistic};

type Four = (Option<f64>, Option<f64>, Option<f64>, Option<f64>);

pub(super) fn mann_whitney(control: &[f64], treatment: &[f64]) -> Found<Four> {
    let test = rank_sum_test(control, treatment)?;
    Ok(("mann_whitney", test.note, (test.u, test.z, test.p_value, test.prob_superiority)))
}

pub(super) fn order_statistics(sorted: &[f64], q: f64, alpha: f64) -> Found<Four> {
    let found = quantile_interval(sorted, q, alpha)?;
    Ok(("order_statistics", found.note, (found.estimate, found.low, found.high, found.standard_error)))
}

statistic! {
    /// The Mann–Whitney test.
    ab_mannwhitney(
        x: Vec<f64>, y: Vec<f64>,
    ) -> (u: f64, z: f64, p_value: f64, prob_superiority: f64) {
        mann_whitney(&x, &y)
    }
}

statistic! {
    /// A quantile with its interval between order statistics.
    ab_quantile_ci(
        values: Vec<f64>, q: f64, alpha: f64,
    ) -> (estimate: f64, ci_low: f64, ci_high: f64, se: f64) {
        order_statistics(&values, q, alpha)
    }
}

statistic! {
    /// A quantile from a sketch.
    ab_quantile(
        sketch: &[u8], q: f64, alpha: f64,
    ) -> (estimate: f64, ci_low: f64, ci_high: f64, se: f64) {
        let found = QuantileSketch::from_bytes(sketch)?.interval(q, alpha)?;
        Ok(("ddsketch", found.note, (found.estimate, found.low, found.high, found.standard_error)))
    }
}

//! What needs the users' own values: ranks and quantiles have no sufficient statistics.

use ab_core::statistics::quantile::quantile_interval;
use ab_core::statistics::rank_sum::rank_sum_test;

use super::statistic;

statistic! {
    /// The Mann–Whitney test.
    ab_mannwhitney(
        x: Vec<f64>, y: Vec<f64>,
    ) -> (u: f64, z: f64, p_value: f64, prob_superiority: f64) {
        let test = rank_sum_test(&x, &y)?;
        Ok(("mann_whitney", test.note, (test.u, test.z, test.p_value, test.prob_superiority)))
    }
}

statistic! {
    /// A quantile with its interval between order statistics.
    ab_quantile_ci(
        values: Vec<f64>, q: f64, alpha: f64,
    ) -> (estimate: f64, ci_low: f64, ci_high: f64, se: f64) {
        let found = quantile_interval(&values, q, alpha)?;
        Ok(("order_statistics", found.note, (found.estimate, found.low, found.high, found.standard_error)))
    }
}

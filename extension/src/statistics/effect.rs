//! What else is asked of an effect: whether it is harmless, the same everywhere, and what it is worth.

use ab_core::statistics::InvalidArgument;
use ab_core::statistics::heterogeneity::heterogeneity_test;
use ab_core::statistics::interaction::{Scale, interaction_test};
use ab_core::statistics::mean::Sample;
use ab_core::statistics::noninferiority::{Margin, noninferiority_test};
use ab_core::statistics::projection::project;

use super::{integer, samples, statistic};

statistic! {
    /// Whether the treatment is not worse than the control by more than a margin.
    ab_noninferiority(
        n1: i64, mean1: f64, var1: f64, n2: i64, mean2: f64, var2: f64, margin_rel: f64, alpha: f64,
        higher_is_better: bool,
    ) -> (contrast: f64, se: f64, statistic: f64, p_value: f64, bound: f64, state: &'static str) {
        let control = Sample { n: n1, mean: mean1, variance: var1 };
        let treatment = Sample { n: n2, mean: mean2, variance: var2 };
        let margin = Margin::Relative(margin_rel);
        let test = noninferiority_test(control, treatment, margin, alpha, higher_is_better)?;
        let state = test.state.map(|state| state.as_str());
        Ok(("welch_t", test.note, (
            test.contrast, test.standard_error, test.statistic, test.p_value, test.bound, state,
        )))
    }
}

statistic! {
    /// Whether two experiments change each other's effect.
    ab_interaction(
        n: Vec<i64>, mean: Vec<f64>, var: Vec<f64>, scale: &str, alpha: f64,
    ) -> (effect: f64, se: f64, statistic: f64, df: f64, p_value: f64, ci_low: f64, ci_high: f64) {
        let scale: Scale = scale.parse()?;
        let cells = samples(["n", "mean", "var"], &n, &mean, &var)?;
        let cells = <[Sample; 4]>::try_from(cells).map_err(|cells| InvalidArgument {
            argument: "n",
            message: format!("n must be of the four cells 00, 01, 10 and 11, not of {}", cells.len()),
        })?;
        let test = interaction_test(cells, scale, alpha)?;
        Ok((scale.as_str(), test.note, (
            test.estimate, test.standard_error, test.statistic, test.degrees_of_freedom,
            test.p_value, test.low, test.high,
        )))
    }
}

statistic! {
    /// Whether segments differ in their effect.
    ab_heterogeneity(
        diff: Vec<f64>, se: Vec<f64>,
    ) -> (q: f64, df: i32, p_value: f64, tau2: f64, pooled: f64, pooled_se: f64) {
        let test = heterogeneity_test(&diff, &se)?;
        let df = integer(test.degrees_of_freedom);
        Ok(("cochran_q", test.note, (
            test.q, df, test.p_value, test.tau2, test.pooled, test.pooled_standard_error,
        )))
    }
}

statistic! {
    /// An effect carried over a year or any number of days.
    ab_project(
        diff: f64, ci_low: f64, ci_high: f64, units_per_day: f64, days: f64,
    ) -> (annual: f64, annual_low: f64, annual_high: f64) {
        let found = project(diff, ci_low, ci_high, units_per_day, days)?;
        Ok(("linear", found.note, (found.annual, found.annual_low, found.annual_high)))
    }
}

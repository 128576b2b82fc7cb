//! Users and how many of them converted.

use ab_core::statistics::chi_square::chi_square_test;
use ab_core::statistics::fisher::fisher_test;
use ab_core::statistics::proportion::{
    DifferenceMethod, Proportion, ProportionMethod, proportion_interval_by, proportion_test_by,
};

use super::{integer, statistic};

statistic! {
    /// The pooled two-proportion z-test.
    ab_ztest as pooled_z(
        n1: i64, x1: i64, n2: i64, x2: i64, alpha: f64, alternative: &str, ci_method: &str,
    ) -> (
        p1: f64, p2: f64, diff: f64, statistic: f64, p_value: f64, ci_low: f64, ci_high: f64,
        lift: f64, lift_low: f64, lift_high: f64,
    ) {
        let ci_method: DifferenceMethod = ci_method.parse()?;
        let control = Proportion { n: n1, conversions: x1 };
        let treatment = Proportion { n: n2, conversions: x2 };
        let test = proportion_test_by(ci_method, control, treatment, alpha, alternative.parse()?)?;
        Ok(("pooled_z", test.note, (
            test.control_rate, test.treatment_rate, test.diff, test.statistic, test.p_value, test.low, test.high,
            test.lift.lift, test.lift.low, test.lift.high,
        )))
    }
}

statistic! {
    /// The share x of n with its interval.
    ab_proportion_ci(x: i64, n: i64, alpha: f64, method: &str) -> (estimate: f64, ci_low: f64, ci_high: f64) {
        let method: ProportionMethod = method.parse()?;
        let found = proportion_interval_by(method, Proportion { n, conversions: x }, alpha)?;
        Ok((method.as_str(), found.note, (found.estimate, found.low, found.high)))
    }
}

statistic! {
    /// The χ² test of several arms.
    ab_chi2(
        counts: Vec<i64>, conversions: Vec<i64>, yates: bool,
    ) -> (statistic: f64, df: i32, p_value: f64, min_expected: f64) {
        let test = chi_square_test(&counts, &conversions, yates)?;
        let df = integer(test.degrees_of_freedom);
        let method = if yates { "yates" } else { "pearson" };
        Ok((method, test.note, (test.statistic, df, test.p_value, test.min_expected)))
    }
}

statistic! {
    /// Fisher's exact test.
    ab_fisher(n1: i64, x1: i64, n2: i64, x2: i64, alternative: &str) -> (odds_ratio: f64, p_value: f64) {
        let control = Proportion { n: n1, conversions: x1 };
        let treatment = Proportion { n: n2, conversions: x2 };
        let test = fisher_test(control, treatment, alternative.parse()?)?;
        Ok(("fisher_exact", test.note, (test.odds_ratio, test.p_value)))
    }
}

//! Means per user: Welch's test and what is built on it.

use ab_core::statistics::Alternative;
use ab_core::statistics::lift::{LiftMethod, lift_interval};
use ab_core::statistics::mean::{Sample, mean_interval, welch_test};
use ab_core::statistics::ratio::{RatioSample, ratio_test};
use ab_core::statistics::stratification::post_stratified_test;

use super::{samples, statistic};

statistic! {
    /// Welch's t test.
    ab_ttest as welch(
        n1: i64, mean1: f64, var1: f64, n2: i64, mean2: f64, var2: f64, alpha: f64, alternative: &str,
    ) -> (
        diff: f64, se: f64, statistic: f64, df: f64, p_value: f64, ci_low: f64, ci_high: f64,
        lift: f64, lift_low: f64, lift_high: f64,
    ) {
        let control = Sample { n: n1, mean: mean1, variance: var1 };
        let treatment = Sample { n: n2, mean: mean2, variance: var2 };
        let test = welch_test(control, treatment, alpha, alternative.parse()?)?;
        Ok(("welch_t", test.note, (
            test.diff, test.standard_error, test.statistic, test.degrees_of_freedom, test.p_value, test.low, test.high,
            test.lift.lift, test.lift.low, test.lift.high,
        )))
    }
}

statistic! {
    /// A mean with its t interval.
    ab_mean_ci(n: i64, mean: f64, var: f64, alpha: f64) -> (estimate: f64, ci_low: f64, ci_high: f64) {
        let found = mean_interval(Sample { n, mean, variance: var }, alpha)?;
        Ok(("t", found.note, (found.estimate, found.low, found.high)))
    }
}

statistic! {
    /// The relative lift with its interval.
    ab_lift_ci(
        n1: i64, mean1: f64, var1: f64, n2: i64, mean2: f64, var2: f64, alpha: f64, method: &str,
    ) -> (lift: f64, lift_low: f64, lift_high: f64, g: f64) {
        let method: LiftMethod = method.parse()?;
        let control = Sample { n: n1, mean: mean1, variance: var1 };
        let treatment = Sample { n: n2, mean: mean2, variance: var2 };
        let found = lift_interval(control, treatment, alpha, method)?;
        Ok((method.as_str(), found.note, (found.lift, found.low, found.high, found.g)))
    }
}

statistic! {
    /// Welch's test on linearised ratios.
    ab_ratio_test(
        n1: i64, my1: f64, vy1: f64, mz1: f64, vz1: f64, cyz1: f64,
        n2: i64, my2: f64, vy2: f64, mz2: f64, vz2: f64, cyz2: f64, alpha: f64,
    ) -> (
        diff: f64, se: f64, statistic: f64, df: f64, p_value: f64, ci_low: f64, ci_high: f64,
        lift: f64, lift_low: f64, lift_high: f64, ratio1: f64, ratio2: f64,
    ) {
        let sample = |n, my, vy, mz, vz, cyz| RatioSample {
            n,
            numerator_mean: my,
            numerator_variance: vy,
            denominator_mean: mz,
            denominator_variance: vz,
            covariance: cyz,
        };
        let control = sample(n1, my1, vy1, mz1, vz1, cyz1);
        let treatment = sample(n2, my2, vy2, mz2, vz2, cyz2);
        let found = ratio_test(control, treatment, alpha, Alternative::TwoSided)?;
        let test = found.test;
        Ok(("ratio_welch_t", test.note, (
            test.diff, test.standard_error, test.statistic, test.degrees_of_freedom, test.p_value, test.low, test.high,
            test.lift.lift, test.lift.low, test.lift.high, found.control_ratio, found.treatment_ratio,
        )))
    }
}

statistic! {
    /// Welch's test over strata.
    ab_poststratify(
        n1: Vec<i64>, mean1: Vec<f64>, var1: Vec<f64>, n2: Vec<i64>, mean2: Vec<f64>, var2: Vec<f64>, alpha: f64,
    ) -> (
        diff: f64, se: f64, statistic: f64, df: f64, p_value: f64, ci_low: f64, ci_high: f64,
        lift: f64, lift_low: f64, lift_high: f64,
    ) {
        let control = samples(["n1", "mean1", "var1"], &n1, &mean1, &var1)?;
        let treatment = samples(["n2", "mean2", "var2"], &n2, &mean2, &var2)?;
        let test = post_stratified_test(&control, &treatment, alpha, Alternative::TwoSided)?;
        Ok(("post_stratified", test.note, (
            test.diff, test.standard_error, test.statistic, test.degrees_of_freedom, test.p_value, test.low, test.high,
            test.lift.lift, test.lift.low, test.lift.high,
        )))
    }
}

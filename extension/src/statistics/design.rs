//! How many users an experiment needs, what it can find with those it has, and how long it takes.

use ab_core::statistics::InvalidArgument;
use ab_core::statistics::power::{
    Design, detectable_effect, power as power_of, run_time, sample_size_mean, sample_size_proportion,
};

use super::{integer, statistic};

statistic! {
    /// Users needed to find a relative change of a mean.
    ab_sample_size(
        baseline_mean: f64, sd: f64, mde_rel: f64, alpha: f64, power: f64, ratio: f64, treatments: i32, rho: f64,
    ) -> (n_control: i64, n_treatment: i64, n_total: i64, mde_abs: f64, alpha_used: f64) {
        let design = Design { alpha, power, ratio, treatments, rho, ..Design::default() };
        let size = sample_size_mean(baseline_mean, sd, mde_rel, design)?;
        Ok(("welch_t", size.note, (
            size.n_control, size.n_treatment, size.n_total, size.mde_abs, size.alpha_used,
        )))
    }
}

statistic! {
    /// Users needed to find a relative change of a conversion rate.
    ab_sample_size_prop(
        p1: f64, mde_rel: f64, alpha: f64, power: f64, ratio: f64, treatments: i32, rho: f64,
    ) -> (n_control: i64, n_treatment: i64, n_total: i64, mde_abs: f64, alpha_used: f64) {
        let design = Design { alpha, power, ratio, treatments, rho, ..Design::default() };
        let size = sample_size_proportion(p1, mde_rel, design)?;
        Ok(("pooled_z", size.note, (
            size.n_control, size.n_treatment, size.n_total, size.mde_abs, size.alpha_used,
        )))
    }
}

statistic! {
    /// The chance to find an effect, which does not depend on the control's mean.
    ab_power(
        n1: i64, mean1: f64, sd1: f64, n2: i64, sd2: f64, mde_abs: f64, alpha: f64, alternative: &str,
    ) -> (power: f64, se: f64) {
        if !mean1.is_finite() {
            let message = format!("mean1 must be a finite number, not {mean1}");
            return Err(InvalidArgument { argument: "mean1", message });
        }
        let found = power_of((n1, sd1), (n2, sd2), mde_abs, alpha, alternative.parse()?)?;
        Ok(("welch_t", found.note, (found.power, found.standard_error)))
    }
}

statistic! {
    /// The smallest effect that can be found.
    ab_mde(
        n1: i64, sd1: f64, n2: i64, sd2: f64, baseline: f64, alpha: f64, power: f64,
    ) -> (mde_abs: f64, mde_rel: f64) {
        let found = detectable_effect((n1, sd1), (n2, sd2), baseline, alpha, power)?;
        Ok(("welch_t", found.note, (found.mde_abs, found.mde_rel)))
    }
}

statistic! {
    /// The days until enough users have come.
    ab_runtime(
        n_total: i64, cumulative_users: Vec<i64>, traffic: f64, minimum_days: i32,
    ) -> (days: i32, weeks: i32) {
        let found = run_time(n_total, &cumulative_users, traffic, i64::from(minimum_days))?;
        Ok(("cumulative_users", found.note, (integer(found.days), integer(found.weeks))))
    }
}

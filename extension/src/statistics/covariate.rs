//! CUPED: what a user did before the experiment taken out of what the user did in it.

use ab_core::statistics::covariate::{CovariateSample, cuped_test, pooled_theta};
use ab_core::statistics::{Alternative, InvalidArgument};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::{Argument, check_length, refuse, statistic};

statistic! {
    /// Welch's test of means adjusted for a covariate.
    ab_cuped as cuped(
        n1: i64, my1: f64, vy1: f64, mx1: f64, vx1: f64, cxy1: f64,
        n2: i64, my2: f64, vy2: f64, mx2: f64, vx2: f64, cxy2: f64, alpha: f64, theta: Option<f64>,
    ) -> (
        theta: f64, rho: f64, variance_reduction: f64, adj_mean1: f64, adj_mean2: f64,
        diff: f64, se: f64, statistic: f64, df: f64, p_value: f64, ci_low: f64, ci_high: f64,
        lift: f64, lift_low: f64, lift_high: f64,
        raw_diff: f64, raw_se: f64, raw_p_value: f64, cov_balance_p: f64,
    ) {
        let sample = |n, my, vy, mx, vx, cxy| CovariateSample {
            n,
            mean: my,
            variance: vy,
            covariate_mean: mx,
            covariate_variance: vx,
            covariance: cxy,
        };
        let control = sample(n1, my1, vy1, mx1, vx1, cxy1);
        let treatment = sample(n2, my2, vy2, mx2, vx2, cxy2);
        let found = cuped_test(control, treatment, alpha, Alternative::TwoSided, theta)?;
        let (test, raw) = (found.test, found.raw);
        Ok(("cuped", found.note, (
            found.theta, found.rho, found.variance_reduction,
            found.adjusted_control_mean, found.adjusted_treatment_mean,
            test.diff, test.standard_error, test.statistic, test.degrees_of_freedom, test.p_value, test.low, test.high,
            test.lift.lift, test.lift.low, test.lift.high,
            raw.diff, raw.standard_error, raw.p_value, found.covariate_balance_p_value,
        )))
    }
}

/// θ of any number of arms.
#[pg_extern]
fn ab_cuped_theta(
    n: Option<Vec<Option<i64>>>,
    vx: Option<Vec<Option<f64>>>,
    cxy: Option<Vec<Option<f64>>>,
) -> Result<Option<f64>, ErrorReport> {
    let (Some(n), Some(vx), Some(cxy)) =
        (Vec::<i64>::complete(n), Vec::<f64>::complete(vx), Vec::<f64>::complete(cxy))
    else {
        return Ok(None);
    };
    let find = || -> Result<Option<f64>, InvalidArgument> {
        check_length("vx", vx.len(), "n", n.len())?;
        check_length("cxy", cxy.len(), "n", n.len())?;
        let arms: Vec<(i64, f64, f64)> =
            n.iter().zip(&vx).zip(&cxy).map(|((&n, &vx), &cxy)| (n, vx, cxy)).collect();
        pooled_theta(&arms)
    };
    find().map_err(refuse)
}

//! Looking before the end: at any time, or at planned ones.

use ab_core::statistics::InvalidArgument;
use ab_core::statistics::group_sequential::{Look, Sides, Spending, group_bounds};
use ab_core::statistics::sequential::sequential_test;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::{Argument, NULL_INPUT, refuse, statistic};

statistic! {
    /// The test that may be looked at all the time.
    ab_sequential(
        diff: f64, se: f64, n: i64, alpha: f64, tuning_n: f64, alternative: &str,
    ) -> (ci_low: f64, ci_high: f64, p_value: f64, log_e: f64, multiplier: f64) {
        let test = sequential_test(diff, se, n, alpha, tuning_n, alternative.parse()?)?;
        Ok(("normal_mixture", test.note, (test.low, test.high, test.p_value, test.log_e, test.multiplier)))
    }
}

type LookRows = TableIterator<
    'static,
    (
        Option<i32>,
        Option<f64>,
        Option<f64>,
        Option<f64>,
        Option<f64>,
        Option<f64>,
        Option<&'static str>,
        Option<&'static str>,
    ),
>;

/// The critical values of planned looks.
#[pg_extern]
fn ab_group_bounds(
    info: Option<Vec<Option<f64>>>,
    alpha: Option<f64>,
    spending: Option<&str>,
    phi: Option<f64>,
    sides: Option<i32>,
    past_bounds: Option<Vec<Option<f64>>>,
) -> Result<LookRows, ErrorReport> {
    let (Some(info), Some(alpha), Some(spending), Some(phi), Some(sides), Some(past_bounds)) =
        (Vec::complete(info), alpha, spending, phi, sides, Vec::complete(past_bounds))
    else {
        return Ok(TableIterator::once((None, None, None, None, None, None, None, Some(NULL_INPUT))));
    };
    let find = || -> Result<(Vec<Look>, &'static str), InvalidArgument> {
        let spending = Spending::named(spending, phi)?;
        let looks = group_bounds(&info, alpha, spending, Sides::counted(sides)?, &past_bounds)?;
        Ok((looks, spending.as_str()))
    };
    let (looks, method) = find().map_err(refuse)?;
    let rows = (1..).zip(looks).map(move |(number, look)| {
        let Look { information, alpha_spent, alpha_increment, z_bound, p_bound } = look;
        let figures = [information, alpha_spent, alpha_increment, z_bound, p_bound].map(Some);
        let [information, alpha_spent, alpha_increment, z_bound, p_bound] = figures;
        (Some(number), information, alpha_spent, alpha_increment, z_bound, p_bound, Some(method), None)
    });
    Ok(TableIterator::new(rows))
}

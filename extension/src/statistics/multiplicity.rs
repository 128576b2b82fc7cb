//! p-values of several tests: the only statistics whose answer has a row for each of them.

use ab_core::statistics::InvalidArgument;
use ab_core::statistics::multiplicity::{Correction, adjust, simultaneous_alpha};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::{NULL_INPUT, refuse};

/// The adjusted p-values in the same order.
#[pg_extern]
fn ab_adjust_pvalues(
    p: Option<Vec<Option<f64>>>,
    method: Option<&str>,
) -> Result<Option<Vec<Option<f64>>>, ErrorReport> {
    let (Some(p), Some(method)) = (p, method) else { return Ok(None) };
    method.parse().and_then(|correction| adjust(&p, correction)).map(Some).map_err(refuse)
}

type AdjustedRows = TableIterator<
    'static,
    (Option<i32>, Option<f64>, Option<f64>, Option<bool>, Option<&'static str>, Option<&'static str>),
>;

/// The adjusted p-values as a table, with the decision at alpha.
#[pg_extern]
fn ab_adjust_pvalues_table(
    p: Option<Vec<Option<f64>>>,
    method: Option<&str>,
    alpha: Option<f64>,
) -> Result<AdjustedRows, ErrorReport> {
    let (Some(p), Some(method), Some(alpha)) = (p, method, alpha) else {
        return Ok(TableIterator::once((None, None, None, None, None, Some(NULL_INPUT))));
    };
    let find = || -> Result<(Correction, Vec<Option<f64>>), InvalidArgument> {
        let correction = method.parse()?;
        simultaneous_alpha(alpha, 1)?;
        Ok((correction, adjust(&p, correction)?))
    };
    let (correction, adjusted) = find().map_err(refuse)?;
    let rows = (1..).zip(p.into_iter().zip(adjusted)).map(move |(ord, (p, adjusted))| {
        let rejected = adjusted.map(|adjusted| adjusted <= alpha);
        let note = p.is_none().then_some(NULL_INPUT);
        (Some(ord), p, adjusted, rejected, Some(correction.as_str()), note)
    });
    Ok(TableIterator::new(rows))
}

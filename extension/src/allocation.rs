//! Bucket ranges for SQL: the engine lays them out, `ab_internal.open_phase` stores them.

use ab_core::allocation::{Range, layout as lay_out, parts_per_million};
use ab_core::{Code, Error};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::error::report;

/// The ranges for these weights that move fewest buckets out of the ranges given.
#[pg_extern]
fn layout(
    from_buckets: Vec<i32>,
    to_buckets: Vec<i32>,
    variants: Vec<i32>,
    weights: Vec<i64>,
) -> Result<
    TableIterator<'static, (name!(from_bucket, i32), name!(to_bucket, i32), name!(variant, i32))>,
    ErrorReport,
> {
    let previous: Vec<Range> = from_buckets
        .into_iter()
        .zip(to_buckets)
        .zip(variants)
        .map(|((from, to), variant)| Range { from: from as u32, to: to as u32, variant: variant as usize })
        .collect();
    let weights: Vec<u64> =
        weights.into_iter().map(u64::try_from).collect::<Result<_, _>>().map_err(|_| {
            report(Error::new(Code::InvalidVariants, "a weight is negative", "use weights above zero"))
        })?;
    let parts = parts_per_million(&weights).map_err(report)?;
    let ranges = lay_out(&previous, &parts);
    Ok(TableIterator::new(
        ranges.into_iter().map(|range| (range.from as i32, range.to as i32, range.variant as i32)),
    ))
}

//! The aggregates over raw rows, against PostgreSQL's own that calculate as much of what is needed.

use std::time::Instant;

use postgres::Client;

use crate::Ratio;

const ROWS: u32 = 10_000_000;
const REPETITIONS: usize = 5;

const MEAN: (&str, &str) = ("avg + var_samp", "avg(y), var_samp(y)");
/// One transition for all of them, as with `avg` and `var_samp`.
const REGRESSION: (&str, &str) = (
    "regr_avgx, _avgy, _sxx, _syy, _sxy",
    "regr_avgx(y, x), regr_avgy(y, x), regr_sxx(y, x), regr_syy(y, x), regr_sxy(y, x)",
);

/// What is measured, its expression, and what with.
type Pair = (&'static str, &'static str, (&'static str, &'static str));

const ALONE: &[Pair] = &[
    ("ab_moments(y)", "ab_moments(y)", MEAN),
    ("ab_ttest_agg", "(ab_ttest_agg(y, treated)).*", MEAN),
    ("ab_ztest_agg", "(ab_ztest_agg(converted, treated)).*", MEAN),
    ("ab_moments(y, x)", "ab_moments(y, x)", REGRESSION),
    ("ab_cuped_agg", "(ab_cuped_agg(y, x, treated)).*", REGRESSION),
    ("ab_quantile_sketch", "length(ab_quantile_sketch(y))", MEAN),
];
const IN_PARALLEL: &[Pair] = &[
    ("ab_moments(y), two workers", "ab_moments(y)", MEAN),
    ("ab_ttest_agg, two workers", "(ab_ttest_agg(y, treated)).*", MEAN),
    ("ab_ztest_agg, two workers", "(ab_ztest_agg(converted, treated)).*", MEAN),
    ("ab_cuped_agg, two workers", "(ab_cuped_agg(y, x, treated)).*", REGRESSION),
];

/// Measures over ten million rows, without other processes and with them.
pub fn run(client: &mut Client) -> anyhow::Result<Vec<Ratio>> {
    println!("aggregating {ROWS} rows");
    client.batch_execute(&format!(
        "create unlogged table purchase as
            select 100 * random() as y, 100 * random() as x, random() < 0.5 as treated, random() < 0.1 as converted from generate_series(1, {ROWS});
         set jit = off"
    ))?;
    client.batch_execute("vacuum analyze purchase")?;
    let mut ratios = Vec::new();
    for (workers, pairs) in [(0, ALONE), (2, IN_PARALLEL)] {
        client.batch_execute(&format!("set max_parallel_workers_per_gather = {workers}"))?;
        for &(what, aggregate, (baseline, reference)) in pairs {
            let [mut best, mut best_reference] = [f64::INFINITY; 2];
            // By turns, so that both meet the same machine.
            for _ in 0..REPETITIONS {
                best = best.min(time(client, aggregate)?);
                best_reference = best_reference.min(time(client, reference)?);
            }
            ratios.push(Ratio { what, unit: "ms", measured: best, baseline, reference: best_reference });
        }
    }
    client.batch_execute("drop table purchase; reset max_parallel_workers_per_gather; reset jit")?;
    Ok(ratios)
}

fn time(client: &mut Client, expression: &str) -> anyhow::Result<f64> {
    let begin = Instant::now();
    client.query_one(&format!("select {expression} from purchase"), &[])?;
    Ok(begin.elapsed().as_secs_f64() * 1000.0)
}

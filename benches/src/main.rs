//! The benchmarks behind every figure in the README, as ratios to a named baseline measured in the same run.
//!
//! Machines differ and drift; a ratio of two things measured minutes apart on one machine holds. What can be repeated is
//! measured several times and the best of each side is taken, because noise only ever adds; events are stored once.

mod aggregates;
mod assignment_http;
mod assignment_sql;
mod backend;
mod events;
mod freshness;
mod workspace;

use ab_embedded::Cluster;

/// One line of the table that `make bench` prints.
pub struct Ratio {
    /// What was measured.
    pub what: &'static str,
    /// In what it is told.
    pub unit: &'static str,
    /// How it did.
    pub measured: f64,
    /// What it is compared with.
    pub baseline: &'static str,
    /// How that did.
    pub reference: f64,
}

fn main() -> anyhow::Result<()> {
    let cluster = Cluster::throwaway()?;
    cluster.create_database("bench", None)?;
    let mut client = cluster.connect("bench")?;
    client.batch_execute("create extension pg_ab")?;
    for setting in ["fsync", "synchronous_commit"] {
        let value: String = client.query_one(&format!("show {setting}"), &[])?.get(0);
        println!("{setting} = {value}");
    }
    workspace::prepare(&mut client)?;
    let mut ratios = assignment_sql::run(&mut client)?;
    ratios.extend(aggregates::run(&mut client)?);
    ratios.extend(backend::run(&cluster)?);
    ratios.extend(events::run(&cluster, &mut client)?);
    ratios.extend(assignment_http::run(&cluster)?);
    ratios.extend(freshness::run(&cluster)?);

    println!("\n{:<48} {:>14}   {:<40} {:>14} {:>8}", "measured", "", "baseline", "", "ratio");
    for ratio in ratios {
        println!(
            "{:<48} {:>14}   {:<40} {:>14} {:>7.2}x",
            ratio.what,
            format!("{:.0} {}", ratio.measured, ratio.unit),
            ratio.baseline,
            format!("{:.0} {}", ratio.reference, ratio.unit),
            ratio.measured / ratio.reference,
        );
    }
    println!("\nms: lower is better; /s: higher is better");
    Ok(())
}

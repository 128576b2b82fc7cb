//! What a database session pays for its first assignment, in time and in memory.

use std::time::Instant;

use ab_embedded::Cluster;
use anyhow::Context;
use postgres::Client;

use crate::Ratio;

const SESSIONS: usize = 50;

/// Fresh sessions, each with one statement; then one that uses three experiments and idles.
pub fn run(cluster: &Cluster) -> anyhow::Result<Vec<Ratio>> {
    println!("first statements of {SESSIONS} fresh sessions");
    let first = median(cluster, "select ab_assign('user_1'::text, 'exp_4711')")?;
    let plain = median(cluster, "select experiment from ab.experiment where experiment_id = 4711")?;
    let mut client = cluster.connect("bench")?;
    let process: i32 = client.query_one("select pg_backend_pid()", &[])?.get(0);
    // The library itself and the first query of any sort are there before.
    client.query_one("select ab_bucket('a', 'b'), count(*) from ab.workspace", &[])?;
    let before = anonymous_memory(process)?;
    for experiment in ["exp_1", "exp_2", "exp_3"] {
        client.query_one(
            "select ab_assign('user_1'::text, $1, '{\"country\": \"DE\", \"plan\": \"pro\", \"age\": 70}')",
            &[&experiment],
        )?;
    }
    let after = anonymous_memory(process)?;
    Ok(vec![
        Ratio {
            what: "first ab_assign of a session, median",
            unit: "us",
            measured: first,
            baseline: "a first look-up by primary key",
            reference: plain,
        },
        Ratio {
            what: "memory of a session that used three experiments",
            unit: "kB",
            measured: after,
            baseline: "the same session before",
            reference: before,
        },
    ])
}

/// The middle time, in microseconds, of the first statement of a session.
fn median(cluster: &Cluster, query: &str) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        let mut client: Client = cluster.connect("bench")?;
        let begin = Instant::now();
        client.simple_query(query)?;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[SESSIONS / 2])
}

/// What a process holds for itself alone, in kilobytes.
pub fn anonymous_memory(process: i32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .context("the kernel says no RssAnon")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

//! How soon a gateway is ready, how much it holds, and how soon it answers by a change.

use std::time::{Duration, Instant};

use ab_embedded::{Cluster, Gateway};
use anyhow::Context;
use serde_json::{Value, json};

use crate::Ratio;
use crate::backend::anonymous_memory;

const CHANGES: usize = 1_000;

/// Starts a gateway on the full workspace and one on an empty one, then changes one experiment again and again.
pub fn run(cluster: &Cluster) -> anyhow::Result<Vec<Ratio>> {
    println!(
        "a gateway's start, memory and {CHANGES} changes, with the full workspace and with an empty one"
    );
    cluster.create_database("empty", None)?;
    let mut client = cluster.connect("empty")?;
    client.batch_execute(
        "create extension pg_ab; select ab_create_experiment('exp_5000'); select ab_start('exp_5000')",
    )?;
    let empty = measure(cluster, "empty")?;
    let full = measure(cluster, "bench")?;
    let notified = notifications(cluster)?;
    let ratio = |what, unit, of: fn(&Measured) -> f64| Ratio {
        what,
        unit,
        measured: of(&full),
        baseline: "a workspace with one experiment",
        reference: of(&empty),
    };
    Ok(vec![
        ratio("gateway, start to ready", "ms", |measured| measured.ready),
        ratio("gateway, RssAnon when ready", "kB", |measured| measured.memory),
        ratio("gateway, processor time of 1,000 changes", "ms", |measured| measured.processor),
        ratio("a change live over HTTP after its commit, median", "us", |measured| measured.median),
        ratio("a change live over HTTP after its commit, p99", "us", |measured| measured.p99),
        Ratio {
            what: "a change live over HTTP after its commit, p99",
            unit: "us",
            measured: full.p99,
            baseline: "a bare NOTIFY heard, p99",
            reference: notified,
        },
    ])
}

struct Measured {
    ready: f64,
    memory: f64,
    processor: f64,
    median: f64,
    p99: f64,
}

fn measure(cluster: &Cluster, database: &str) -> anyhow::Result<Measured> {
    let begin = Instant::now();
    let gateway = Gateway::start(&cluster.url(database))?;
    let ready = begin.elapsed().as_secs_f64() * 1e3;
    let process = i32::try_from(gateway.id().context("the gateway has a process")?)?;
    let memory = anonymous_memory(process)?;
    let mut client = cluster.connect(database)?;
    let http = reqwest::blocking::Client::new();
    let url = format!("{}/api/v1/assign", gateway.url());
    let request = json!({"user_id": "user_1", "experiments": ["exp_5000"]}).to_string();
    let before = processor_time(process)?;
    let mut lags = Vec::with_capacity(CHANGES);
    for change in 0..CHANGES {
        // Nobody and everybody take part by turns: no answer of before can pass for one of after.
        let everybody = change % 2 == 1;
        client.execute(
            "update ab.experiment set traffic = case when $1 then 100 else 0 end where experiment = 'exp_5000'",
            &[&everybody],
        )?;
        let committed = Instant::now();
        loop {
            let answer: Value = http
                .post(&url)
                .header("content-type", "application/json")
                .body(request.clone())
                .send()?
                .json()?;
            if (answer["assignments"][0]["reason"] == "split") == everybody {
                break;
            }
            anyhow::ensure!(committed.elapsed() < Duration::from_secs(5), "a change never arrived");
        }
        lags.push(committed.elapsed().as_secs_f64() * 1e6);
    }
    let processor = (processor_time(process)? - before) * 1e3;
    lags.sort_by(f64::total_cmp);
    Ok(Measured { ready, memory, processor, median: lags[CHANGES / 2], p99: lags[CHANGES * 99 / 100] })
}

/// How long after a commit another session hears its NOTIFY, at the 99th of a hundred, in microseconds.
fn notifications(cluster: &Cluster) -> anyhow::Result<f64> {
    use postgres::fallible_iterator::FallibleIterator;
    let mut listener = cluster.connect("empty")?;
    listener.batch_execute("listen bare")?;
    let mut client = cluster.connect("empty")?;
    let mut lags = Vec::with_capacity(CHANGES);
    for _ in 0..CHANGES {
        client.batch_execute("notify bare")?;
        let committed = Instant::now();
        listener
            .notifications()
            .timeout_iter(Duration::from_secs(5))
            .next()?
            .context("a notification never arrived")?;
        lags.push(committed.elapsed().as_secs_f64() * 1e6);
    }
    lags.sort_by(f64::total_cmp);
    Ok(lags[CHANGES * 99 / 100])
}

/// The processor time that a process has had, in seconds.
fn processor_time(process: i32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before may hold anything, but ends with the last parenthesis.
    let fields: Vec<&str> =
        stat.rsplit(')').next().context("the kernel says nothing")?.split_whitespace().collect();
    let ticks: f64 = fields.get(11).context("no user time")?.parse::<f64>()?
        + fields.get(12).context("no system time")?.parse::<f64>()?;
    // The unit of these fields is a hundredth of a second on Linux.
    Ok(ticks / 100.0)
}

//! Does a roll-up cost more, the more events there are? The same batches for the same users and experiments, with a million
//! events stored and with fifty million, with and without a transaction that has been open all the while.
//!
//! `make bench-growth`; `AB_GROWTH_EVENTS` is the larger number, in millions.

#[path = "../population.rs"]
mod population;

use std::time::Instant;

use ab_embedded::Cluster;
use population::{EXPERIMENTS, SETTINGS, USERS};
use postgres::Client;

/// A second of a busy day.
const BATCH: u32 = 35_000;
const BATCHES: usize = 15;
/// Five minutes of a gateway.
const OPEN_FOR: u32 = 300;

fn main() -> anyhow::Result<()> {
    let millions: u32 =
        std::env::var("AB_GROWTH_EVENTS").ok().and_then(|value| value.parse().ok()).unwrap_or(50);
    let cluster = Cluster::throwaway_with(SETTINGS)?;
    cluster.create_database("bench", None)?;
    let mut client = cluster.connect("bench")?;
    prepare(&mut client)?;
    fill(&mut client, 1)?;
    let small = measure(&mut client, "1 M events stored")?;
    for million in 1..millions {
        fill(&mut client, 1)?;
        if million % 10 == 0 {
            println!("{million} M events stored");
        }
    }
    let large = measure(&mut client, &format!("{millions} M events stored"))?;
    let mut open = cluster.connect("bench")?;
    open.batch_execute("begin; select ab_track('somebody', 'viewed')")?;
    fill(&mut client, 1)?;
    // What it does to those after it grows with how often rows are written meanwhile: no version of them can go.
    for _ in 0..OPEN_FOR {
        store(&mut client, BATCH / 10)?;
        client.batch_execute("select ab_rollup()")?;
    }
    let held = measure(&mut client, &format!("a transaction open for {OPEN_FOR} roll-ups"))?;
    open.batch_execute("rollback")?;
    println!(
        "\nroll-up of {BATCH} events: {:.2} x, with the open transaction {:.2} x; ab_results: {:.2} x",
        large.rollup / small.rollup,
        held.rollup / small.rollup,
        large.results / small.results
    );
    Ok(())
}

/// Milliseconds, the median of several.
struct Cost {
    rollup: f64,
    results: f64,
}

fn prepare(client: &mut Client) -> anyhow::Result<()> {
    population::make(client)?;
    // Every user has every metric beforehand, so that what grows is the events and nothing else.
    client.batch_execute(&format!(
        "insert into ab.event_other (workspace_id, user_id, event_id, event_time, event_type, event_name, value)
         select x.workspace_id, format('user_%s', n), gen_random_uuid(), now() - interval '5 minutes', 'custom', e.name, 1
         from generate_series(0, {USERS} - 1) n cross join unnest('{{purchase,payment,search}}'::text[]) e (name)
         cross join (select workspace_id from ab.workspace) x"
    ))?;
    client.batch_execute("select ab_rollup()")?;
    client.batch_execute("vacuum analyze")?;
    Ok(())
}

/// A million events more, counted.
fn fill(client: &mut Client, millions: u32) -> anyhow::Result<()> {
    client.batch_execute(&format!(
        "insert into ab.event_other (workspace_id, user_id, event_id, event_time, event_type, event_name, properties)
         select x.workspace_id, format('user_%s', (random() * ({USERS} - 1))::integer), gen_random_uuid(), now(), 'custom', 'viewed', '{{\"page\": \"/products/1\"}}'
         from generate_series(1, {millions} * 1000000) n cross join (select workspace_id from ab.workspace) x"
    ))?;
    client.batch_execute("select ab_rollup()")?;
    Ok(())
}

/// What a batch costs, and results after it.
fn measure(client: &mut Client, what: &str) -> anyhow::Result<Cost> {
    client.batch_execute("checkpoint")?;
    let (mut rollup, mut results) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        store(client, BATCH)?;
        let begin = Instant::now();
        client.batch_execute("select ab_rollup()")?;
        rollup.push(begin.elapsed().as_secs_f64() * 1e3);
        let begin = Instant::now();
        client.query("select * from ab_results('exp_1')", &[])?;
        results.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let cost = Cost { rollup: median(rollup), results: median(results) };
    println!("{what:<42} roll-up {:>8.0} ms   ab_results {:>6.1} ms", cost.rollup, cost.results);
    Ok(cost)
}

/// Two in ten are exposures seen before; of the rest, two in ten are of a metric.
fn store(client: &mut Client, events: u32) -> anyhow::Result<()> {
    client.batch_execute(&format!(
        "insert into ab.event_other (workspace_id, user_id, event_id, event_time, event_type, event_name, value)
         select x.workspace_id, format('user_%s', (random() * ({USERS} - 1))::integer), gen_random_uuid(), now(), 'custom',
            case n % 10 when 0 then 'search' when 1 then 'payment' else 'viewed' end, n % 90
         from generate_series(1, {events} * 8 / 10) n cross join (select workspace_id from ab.workspace) x;
         insert into ab.event_exposure (workspace_id, user_id, event_id, event_time, event_type, event_name, experiment_id, variant)
         select x.workspace_id, u.id, gen_random_uuid(), now(), 'exposure', 'exposure', x.experiment_id, ab_assign(u.id, x.experiment)
         from (select n, format('user_%s', n) as id from (select (random() * ({USERS} - 1))::integer as n from generate_series(1, {events} * 2 / 10)) r) u
         join ab.experiment x on x.experiment = format('exp_%s', 1 + (u.n * 7) % {EXPERIMENTS})"
    ))?;
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

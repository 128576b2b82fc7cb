//! Events over HTTP at a steady rate, with the roll-up and assignment beside them, on one machine: does all of it keep up?
//!
//! `make bench-pipeline`, for `AB_PIPELINE_SECONDS` at `AB_PIPELINE_RATE` events a second. A hundred experiments run, a million
//! users are exposed in three of them each, each experiment has three metrics; a fifth of the events are exposures and
//! a fifth match a metric, which counts in three experiments.

#[path = "../population.rs"]
mod population;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ab_core::bucket::bucket;
use ab_embedded::{Cluster, Gateway};
use anyhow::{Context, ensure};
use population::{EXPERIMENTS, SETTINGS, USERS};
use postgres::Client;
use tokio::time::sleep_until;

const BATCH: u64 = 100;
const SENDERS: u64 = 24;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() -> anyhow::Result<()> {
    let seconds = setting("AB_PIPELINE_SECONDS", 60);
    let rate = setting("AB_PIPELINE_RATE", 36_000);
    let cluster = Cluster::throwaway_with(SETTINGS)?;
    cluster.create_database("bench", None)?;
    let mut client = cluster.connect("bench")?;
    for setting in ["fsync", "synchronous_commit"] {
        let value: String = client.query_one(&format!("show {setting}"), &[])?.get(0);
        println!("{setting} = {value}");
    }
    prepare(&mut client)?;
    let before: i64 = client.query_one("select count(*) from ab.event", &[])?.get(0);
    let bytes_before = stored_bytes(&mut client)?;

    let gateway = Gateway::start(&cluster.url("bench"))?;
    println!("sending {rate} events a second for {seconds} s, and asking for assignments meanwhile");
    let load = send(&gateway.url(), rate, Duration::from_secs(seconds))?;
    // Everything that was acknowledged by now is in the results as soon as the cursor is beyond this very transaction.
    let end = Instant::now();
    let reached: i64 = client.query_one("select ab_internal.event_transaction()", &[])?.get(0);
    loop {
        let horizon: i64 = client.query_one("select horizon from ab_internal.rollup_cursor", &[])?.get(0);
        if horizon > reached {
            break;
        }
        ensure!(end.elapsed() < Duration::from_secs(600), "the roll-up does not catch up");
        thread::sleep(Duration::from_millis(20));
    }
    let lag = end.elapsed();
    gateway.terminate()?;

    let stored: i64 = client.query_one("select count(*) from ab.event", &[])?.get::<_, i64>(0) - before;
    ensure!(stored as u64 == load.accepted, "{stored} events are stored of {} acknowledged", load.accepted);
    let bytes = (stored_bytes(&mut client)? - bytes_before) as f64 / stored as f64;
    let begin = Instant::now();
    client.query("select * from ab_results('exp_1')", &[])?;
    let results = begin.elapsed();
    let copied = copy(&mut client)?;
    let accepted = load.accepted as f64 / load.time.as_secs_f64();
    println!(
        "\naccepted and committed       {accepted:>10.0} events/s over {:.0} s, {} answers of 429",
        load.time.as_secs_f64(),
        load.refused
    );
    println!("binary COPY, the same table  {copied:>10.0} events/s: {:.2} of it", accepted / copied);
    println!("accept, p50 and p99          {:>10.1?} {:.1?}", load.accept[0], load.accept[1]);
    println!("assign meanwhile, p50, p99   {:>10.1?} {:.1?}", load.assign[0], load.assign[1]);
    println!("roll-up behind at the end    {lag:>10.1?}");
    println!("stored for each event        {bytes:>10.0} bytes with indexes");
    println!("ab_results, first            {results:>10.1?}");
    Ok(())
}

/// Everybody and everything, as it is some hours after a start.
fn prepare(client: &mut Client) -> anyhow::Result<()> {
    population::make(client)?;
    client.batch_execute("vacuum analyze")?;
    // Due each hour, and not in these minutes; said here, because a run does not show it.
    let began = Instant::now();
    client.batch_execute("select ab_refresh_results()")?;
    println!("refresh of the views for BI   {:>8.1?}, each hour", began.elapsed());
    Ok(())
}

fn stored_bytes(client: &mut Client) -> anyhow::Result<i64> {
    Ok(client
        .query_one(
            "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c
             where c.relnamespace = 'ab'::regnamespace and c.relkind = 'r' and c.relname like 'event\\_%'",
            &[],
        )?
        .get(0))
}

struct Load {
    time: Duration,
    accepted: u64,
    refused: u64,
    /// Half, and 99 of 100, took no longer.
    accept: [Duration; 2],
    assign: [Duration; 2],
}

fn send(url: &str, rate: u64, time: Duration) -> anyhow::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let http = reqwest::Client::new();
        let begin = tokio::time::Instant::now();
        let (next, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let is_over = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let (http, next, refused) = (http.clone(), Arc::clone(&next), Arc::clone(&refused));
                let url = format!("{url}/api/v1/track/batch");
                tokio::spawn(async move {
                    let mut accept = Vec::new();
                    loop {
                        let batch = next.fetch_add(1, Ordering::Relaxed);
                        let due = begin + Duration::from_secs_f64((batch * BATCH) as f64 / rate as f64);
                        if due >= begin + time {
                            return anyhow::Ok(accept);
                        }
                        sleep_until(due).await;
                        let body = body(batch);
                        let sent = Instant::now();
                        loop {
                            let request =
                                http.post(&url).header("content-type", "application/json").body(body.clone());
                            let response = request.send().await?;
                            // Told to wait: that is part of what is measured.
                            if response.status() == 429 {
                                refused.fetch_add(1, Ordering::Relaxed);
                                tokio::time::sleep(Duration::from_millis(100)).await;
                                continue;
                            }
                            let answer = response.error_for_status()?.text().await?;
                            ensure!(answer.contains("\"count\":100"), "{answer}");
                            break;
                        }
                        accept.push(sent.elapsed());
                    }
                })
            })
            .collect();
        let assigning = {
            let (http, is_over) = (http.clone(), Arc::clone(&is_over));
            let url = format!("{url}/api/v1/assign");
            tokio::spawn(async move {
                let mut assign = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let user = assign.len() % USERS as usize;
                    let body = format!(r#"{{"user_id":"user_{user}","experiments":["exp_1","exp_34"]}}"#);
                    let sent = Instant::now();
                    let request = http.post(&url).header("content-type", "application/json").body(body);
                    request.send().await?.error_for_status()?.bytes().await?;
                    assign.push(sent.elapsed());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                anyhow::Ok(assign)
            })
        };
        let mut accept = Vec::new();
        for sender in senders {
            accept.extend(sender.await??);
        }
        let time = begin.elapsed();
        is_over.store(true, Ordering::Relaxed);
        let assign = assigning.await??;
        Ok(Load {
            time,
            accepted: accept.len() as u64 * BATCH,
            refused: refused.load(Ordering::Relaxed),
            accept: percentiles(accept)?,
            assign: percentiles(assign)?,
        })
    })
}

fn percentiles(mut times: Vec<Duration>) -> anyhow::Result<[Duration; 2]> {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().context("nothing was measured");
    Ok([at(50)?, at(99)?])
}

/// A hundred events of about 200 bytes, by users who differ from batch to batch.
fn body(batch: u64) -> String {
    let mut body = String::from(r#"{"events":["#);
    for index in 0..BATCH {
        let event = batch * BATCH + index;
        let user = event.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let user = user % u64::from(USERS);
        if index > 0 {
            body.push(',');
        }
        let properties = format!(
            r#""properties":{{"page":"/products/{}","country":"NZ","platform":"web","referrer":"https://example.com/","position":{}}}"#,
            event % 1000,
            event % 17
        );
        let written = match index % 10 {
            0 | 5 => {
                let experiment = format!("exp_{}", 1 + (user * 7 + event % 3 * 33) % u64::from(EXPERIMENTS));
                let variant = match bucket(&format!("{experiment}:variant"), &format!("user_{user}")) {
                    0..500_000 => "control",
                    _ => "treatment",
                };
                write!(
                    body,
                    r#"{{"user_id":"user_{user}","event_type":"exposure","event_name":"exposure","experiment_id":"{experiment}","variant_id":"{variant}",{properties}}}"#,
                )
            }
            1 | 6 => match (batch + index) % 3 {
                0 => write!(
                    body,
                    r#"{{"user_id":"user_{user}","event_name":"purchase","event_type":"purchase",{properties}}}"#
                ),
                1 => write!(body, r#"{{"user_id":"user_{user}","event_name":"search",{properties}}}"#),
                _ => write!(
                    body,
                    r#"{{"user_id":"user_{user}","event_name":"payment","value":{}.{:02},{properties}}}"#,
                    event % 90,
                    event % 100
                ),
            },
            _ => write!(body, r#"{{"user_id":"user_{user}","event_name":"viewed",{properties}}}"#),
        };
        written.expect("a text takes all");
    }
    body.push_str("]}");
    body
}

/// The same sort of rows by `COPY` into the same table, in events a second.
fn copy(client: &mut Client) -> anyhow::Result<f64> {
    const ROWS: u32 = 500_000;
    client.batch_execute(&format!(
        "create table sent as select workspace_id, 'copy_' || user_id as user_id, gen_random_uuid() as event_id, event_time, event_type,
            event_name, value, properties from ab.event_other limit {ROWS}"
    ))?;
    let rows: i64 = client.query_one("select count(*) from sent", &[])?.get(0);
    let mut content = Vec::new();
    client.copy_out("copy sent to stdout (format binary)")?.read_to_end(&mut content)?;
    let begin = Instant::now();
    let mut copy = client.copy_in(
        "copy ab.event_other (workspace_id, user_id, event_id, event_time, event_type, event_name, value, properties) from stdin (format binary)",
    )?;
    copy.write_all(&content)?;
    copy.finish()?;
    Ok(rows as f64 / begin.elapsed().as_secs_f64())
}

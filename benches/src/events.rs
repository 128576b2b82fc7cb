//! Events accepted over HTTP and committed, against a raw `COPY` of the same events into the same table.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::{Cluster, Gateway};
use postgres::Client;
use serde_json::{Value, json};

use crate::Ratio;

const EVENTS: u32 = 200_000;
const BATCH: u32 = 100;
const SENDERS: usize = 16;

/// Accepts `EVENTS` events in batches of 100 over keep-alive connections; each answer comes after its commit.
pub fn run(cluster: &Cluster, client: &mut Client) -> anyhow::Result<Vec<Ratio>> {
    println!("accepting {EVENTS} events over HTTP, then the same by COPY");
    let gateway = Gateway::start(&cluster.url("bench"))?;
    let url = format!("{}/api/v1/track/batch", gateway.url());
    let bodies: Vec<String> = (0..EVENTS / BATCH).map(|batch| body(batch).to_string()).collect();
    let next = AtomicU32::new(0);
    let begin = Instant::now();
    thread::scope(|scope| -> anyhow::Result<()> {
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    let http = reqwest::blocking::Client::new();
                    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        loop {
                            let response = http
                                .post(&url)
                                .header("content-type", "application/json")
                                .body(body.clone())
                                .send()?;
                            // Told to wait: that is part of what is measured.
                            if response.status() == 429 {
                                thread::sleep(Duration::from_millis(100));
                                continue;
                            }
                            let accepted: Value = response.error_for_status()?.json()?;
                            anyhow::ensure!(accepted["count"] == BATCH, "{accepted}");
                            break;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("a sender does not panic"))
    })?;
    let over_http = begin.elapsed();
    gateway.terminate()?;

    let stored: i64 =
        client.query_one("select count(*) from ab.event where event_name = 'viewed'", &[])?.get(0);
    anyhow::ensure!(stored == i64::from(EVENTS), "{stored} events are stored");
    // The same rows under other ids, so that the unique index has as much to do.
    client.batch_execute(
        "create table sent as select workspace_id, 'copy_' || user_id as user_id, gen_random_uuid() as event_id, event_time,
            event_type, event_name, value, properties from ab.event where event_name = 'viewed'",
    )?;
    let mut rows = Vec::new();
    std::io::Read::read_to_end(&mut client.copy_out("copy sent to stdout (format binary)")?, &mut rows)?;
    let begin = Instant::now();
    let mut copy = client.copy_in(
        "copy ab.event_other (workspace_id, user_id, event_id, event_time, event_type, event_name, value, properties)
            from stdin (format binary)",
    )?;
    copy.write_all(&rows)?;
    copy.finish()?;
    let by_copy = begin.elapsed();
    let rate = |time: Duration| f64::from(EVENTS) / time.as_secs_f64();
    Ok(vec![Ratio {
        what: "POST /api/v1/track/batch of 100, committed",
        unit: "/s",
        measured: rate(over_http),
        baseline: "binary COPY into the same table",
        reference: rate(by_copy),
    }])
}

fn body(batch: u32) -> Value {
    let events: Vec<Value> = (0..BATCH)
        .map(|index| {
            let event = batch * BATCH + index;
            json!({
                "user_id": format!("user_{}", event % 50_000),
                "event_type": "custom",
                "event_name": "viewed",
                "value": f64::from(event % 1000) / 10.0,
                "properties": {"page": "/products/42", "country": "NZ", "platform": "web", "position": event % 17},
            })
        })
        .collect();
    json!({"events": events})
}

//! What the gateway acknowledged over HTTP is in PostgreSQL, once: whichever of the two is killed, and when both are.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::{Cluster, Gateway};
use ab_tests::one;
use postgres::Client;
use reqwest::blocking::Client as Http;
use serde_json::{Value, json};

const BATCH: usize = 20;

/// What senders know.
#[derive(Default)]
struct Known {
    acknowledged: Mutex<BTreeSet<String>>,
    unanswered: Mutex<Vec<Value>>,
}

impl Known {
    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().expect("the ids").len()
    }
}

fn id_of(event: &Value) -> String {
    event["event_id"].as_str().expect("an id").to_owned()
}

/// Sends a batch once and notes what the answer says about each of its events.
fn send(http: &Http, url: &str, events: &[Value], known: &Known) -> bool {
    let answer = http.post(format!("{url}/api/v1/track/batch")).json(&json!({ "events": events })).send();
    let body = match answer {
        Ok(answer) if answer.status().as_u16() == 202 => answer.json::<Value>().ok(),
        Ok(answer) => {
            let status = answer.status().as_u16();
            assert!(
                matches!(status, 429 | 503),
                "a good batch was answered with {status}: {:?}",
                answer.text()
            );
            None
        }
        Err(_) => None,
    };
    let Some(body) = body else {
        known.unanswered.lock().expect("the events").extend_from_slice(events);
        return false;
    };
    let failed: BTreeSet<u64> = body["errors"]
        .as_array()
        .map(|errors| errors.iter().filter_map(|error| error["index"].as_u64()).collect())
        .unwrap_or_default();
    assert_eq!(body["count"].as_u64(), Some((events.len() - failed.len()) as u64), "{body}");
    for (index, event) in events.iter().enumerate() {
        if failed.contains(&(index as u64)) {
            known.unanswered.lock().expect("the events").push(event.clone());
        } else {
            known.acknowledged.lock().expect("the ids").insert(id_of(event));
        }
    }
    failed.is_empty()
}

fn wait_for(known: &Known, count: usize) {
    let end = Instant::now() + Duration::from_secs(90);
    while known.acknowledged() < count {
        assert!(Instant::now() < end, "only {} of {count} events were acknowledged", known.acknowledged());
        thread::sleep(Duration::from_millis(5));
    }
}

fn stored(client: &mut Client) -> Vec<String> {
    let rows = client.query("select event_id::text from ab.event where event_name = 'buy' order by 1", &[]);
    rows.expect("the ids").iter().map(|row| row.get(0)).collect()
}

#[test]
fn what_a_killed_gateway_or_server_acknowledged_is_stored_once() {
    let cluster = Cluster::throwaway().expect("a throwaway cluster");
    cluster.create_database("shop", None).expect("a database");
    let mut client = cluster.connect("shop").expect("a connection");
    client
        .batch_execute(
            "create extension pg_ab;
             select ab_create_experiment('e'); select ab_start('e');
             select ab_create_metric('purchases', 'buy', 'count'); select ab_add_metric('e', 'purchases');
             select ab_track('u' || n, 'exposure', event_type => 'exposure', experiment => 'e', variant => 'control',
                 event_time => '2025-01-01Z', event_id => gen_random_uuid()) from generate_series(0, 8) n",
        )
        .expect("an experiment");
    assert_eq!(one(&mut client, "show fsync").as_deref(), Some("on"));
    assert_eq!(one(&mut client, "show synchronous_commit").as_deref(), Some("on"));
    let time = one(&mut client, "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:00:00\"Z\"')")
        .expect("a time");
    drop(client);

    let gateway = Mutex::new(Gateway::start(&cluster.url("shop")).expect("a gateway"));
    let url = || gateway.lock().expect("the gateway").url();
    let (known, number, is_over) = (Known::default(), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for sender in 0..3 {
            let (known, number, is_over, time, url) = (&known, &number, &is_over, &time, &url);
            scope.spawn(move || {
                let http = Http::builder().timeout(Duration::from_secs(20)).build().expect("an HTTP client");
                while !is_over.load(Ordering::Relaxed) {
                    let events: Vec<Value> = (0..BATCH)
                        .map(|place| {
                            let number = number.fetch_add(1, Ordering::Relaxed);
                            json!({
                                "user_id": format!("u{}", (sender + place) % 9),
                                "event_type": if place % 2 == 0 { "custom" } else { "purchase" },
                                "event_name": "buy",
                                "timestamp": time,
                                "event_id": format!("0190163d-8694-439b-aea5-{number:012x}"),
                            })
                        })
                        .collect();
                    if !send(&http, &url(), &events, known) {
                        // Only so that the log of a dead server does not fill with attempts.
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            });
        }
        let replace = || {
            let fresh = Gateway::start(&cluster.url("shop")).expect("another gateway");
            *gateway.lock().expect("the gateway") = fresh;
        };
        for round in 0..2 {
            wait_for(&known, known.acknowledged() + 300);
            gateway.lock().expect("the gateway").kill().expect("the gateway is killed");
            replace();
            wait_for(&known, known.acknowledged() + 300);
            // The gateway lives on, and connects again by itself.
            cluster.kill().expect("the server is killed");
            thread::sleep(Duration::from_millis(100 * round));
            cluster.start().expect("the server starts again");
            wait_for(&known, known.acknowledged() + 300);
            // Both.
            gateway.lock().expect("the gateway").kill().expect("the gateway is killed");
            cluster.kill().expect("the server is killed");
            cluster.start().expect("the server starts again");
            replace();
        }
        wait_for(&known, known.acknowledged() + 300);
        is_over.store(true, Ordering::Relaxed);
    });

    let mut client = cluster.connect("shop").expect("a connection");
    let ids = stored(&mut client);
    let distinct: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), distinct.len(), "no event is stored twice");
    let acknowledged = known.acknowledged.lock().expect("the ids").clone();
    let lost: Vec<&String> = acknowledged.difference(&distinct).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let unanswered = std::mem::take(&mut *known.unanswered.lock().expect("the events"));
    let unknown: BTreeSet<String> = unanswered.iter().map(id_of).collect();
    assert!(distinct.iter().all(|id| acknowledged.contains(id) || unknown.contains(id)));
    // Who was not answered sends again, more than once.
    let http = Http::builder().timeout(Duration::from_secs(20)).build().expect("an HTTP client");
    for events in unanswered.chunks(100).chain(unanswered.chunks(7)) {
        assert!(send(&http, &url(), events, &known), "a retry is acknowledged");
    }
    let all: BTreeSet<String> = acknowledged.union(&unknown).cloned().collect();
    assert_eq!(stored(&mut client), all.iter().cloned().collect::<Vec<_>>());
    client.batch_execute("select ab_rollup()").expect("a roll-up");
    assert_eq!(
        one(&mut client, "select total from ab_results('e') where variant = 'control'"),
        Some(all.len().to_string())
    );
}

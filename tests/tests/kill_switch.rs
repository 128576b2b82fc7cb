//! The kill switch of a flag, thrown while many ask for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::Gateway;
use ab_tests::{Database, one};
use reqwest::blocking::{Client as Http, Response};
use serde_json::{Value, json};

const CLIENTS: usize = 50;
const ROUNDS: u64 = 10;
/// The product promises 100 ms; a test must also pass on a machine that does something else. The worst lag is printed.
const TOLERANCE: Duration = Duration::from_secs(1);

/// One answer over HTTP, and when it was asked for.
struct Seen {
    begun: Duration,
    ended: Duration,
    is_on: bool,
}

/// One change of the switch: when its commit was asked for, and when that returned.
struct Switched {
    asked: Duration,
    returned: Duration,
    is_on: bool,
}

fn hammer(url: &str, client: usize, clock: Instant, is_over: &AtomicBool) -> Vec<Seen> {
    let http = Http::new();
    let body = json!({"user_id": format!("user_{client}")});
    let mut seen = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let request = http.post(format!("{url}/api/v1/flags/checkout")).json(&body);
        let begun = clock.elapsed();
        let answer: Value =
            request.send().and_then(Response::error_for_status).and_then(Response::json).expect("an answer");
        let ended = clock.elapsed();
        let is_on = match (answer["value"].as_bool(), answer["reason"].as_str()) {
            (Some(true), Some("rule")) => true,
            (Some(false), Some("killed")) => false,
            _ => panic!("never so answered: {answer}"),
        };
        seen.push(Seen { begun, ended, is_on });
    }
    seen
}

/// For how long this answer had been wrong when it was asked for; `None` where it was right.
fn lag(switched: &[Switched], seen: &Seen) -> Option<Duration> {
    let in_force = switched.partition_point(|switch| switch.returned <= seen.begun) - 1;
    let asked_for = switched.partition_point(|switch| switch.asked <= seen.ended);
    let is_right = switched[in_force..asked_for].iter().any(|switch| switch.is_on == seen.is_on);
    (!is_right).then(|| seen.begun - switched[in_force].returned)
}

#[test]
fn nobody_is_answered_by_a_flag_that_is_killed() {
    let database = Database::new();
    database.psql("select ab_create_flag('checkout', rules => '[{\"value\": true}]')");
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let (url, is_over, clock) = (gateway.url(), AtomicBool::new(false), Instant::now());
    let mut switched = vec![Switched { asked: Duration::ZERO, returned: Duration::ZERO, is_on: true }];
    let mut seen = Vec::new();
    thread::scope(|scope| {
        let (url, is_over) = (url.as_str(), &is_over);
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || hammer(url, client, clock, is_over))).collect();
        let (mut owner, mut reader) = (database.connect(), database.connect());
        let mut enabled = || one(&mut reader, "select ab_flag_enabled('user_1', 'checkout')");
        assert_eq!(enabled().as_deref(), Some("t"));
        thread::sleep(Duration::from_millis(300));
        for round in 0..2 * ROUNDS {
            let is_on = round % 2 == 1;
            let statement = if is_on { "select ab_revive('checkout')" } else { "select ab_kill('checkout')" };
            let asked = clock.elapsed();
            owner.batch_execute(statement).expect("the switch");
            let returned = clock.elapsed();
            assert_eq!(enabled().as_deref(), Some(if is_on { "t" } else { "f" }), "at the next statement");
            switched.push(Switched { asked, returned, is_on });
            thread::sleep(Duration::from_millis(250));
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| seen.extend(client.join().expect("a client")));
    });
    let lags: Vec<Duration> = seen.iter().filter_map(|seen| lag(&switched, seen)).collect();
    let worst = lags.iter().max().copied().unwrap_or_default();
    println!(
        "{} answers to {CLIENTS} clients, {} of them late, the worst by {worst:?}",
        seen.len(),
        lags.len()
    );
    assert!(worst <= TOLERANCE, "killed, and still answered {worst:?} after the commit");
    for is_on in [true, false] {
        assert!(seen.iter().filter(|seen| seen.is_on == is_on).count() > 100, "hardly anybody asked");
    }
}

#[test]
fn an_old_value_after_the_commit_would_be_noticed() {
    let at = Duration::from_millis;
    let switched = [
        Switched { asked: at(0), returned: at(0), is_on: true },
        Switched { asked: at(1_000), returned: at(1_010), is_on: false },
    ];
    let lag = |begun, ended, is_on| lag(&switched, &Seen { begun: at(begun), ended: at(ended), is_on });
    assert_eq!(lag(1_110, 1_111, true), Some(at(100)));
    assert_eq!(lag(1_110, 1_111, false), None);
    assert_eq!(lag(1_005, 1_200, true), None);
    assert_eq!(lag(990, 1_001, false), None);
    assert_eq!(lag(990, 999, false), Some(at(990)));
}

//! Counting is exact: whatever happens in whatever order, the state that `ab_rollup()` keeps is the one that the raw
//! events define. First by random histories, then by the cases that have to be built by hand.

#[path = "rollup/history.rs"]
mod history;

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ab_tests::{Database, one, sql_error};
use history::{History, Stage};
use postgres::Client;

/// Twice the machine we measure on has cores.
const STAGES: u64 = 3;

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// `AB_HISTORIES` says how many histories to run; `AB_HISTORY_SEED` the seed of the first, as a failure prints it.
#[test]
fn any_history_counts_as_its_events_define() {
    let count = setting("AB_HISTORIES").unwrap_or(200);
    let first = setting("AB_HISTORY_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        now.as_micros() as u64 % 1_000_000_000
    });
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..STAGES.min(count) {
            scope.spawn(|| {
                let stage = Stage::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || !failures.lock().expect("the failures").is_empty() {
                        return;
                    }
                    if let Err(failure) = History::run(&stage, first + number) {
                        failures.lock().expect("the failures").push((first + number, failure));
                        return;
                    }
                }
            });
        }
    });
    if let Some((seed, failure)) = failures.lock().expect("the failures").first() {
        panic!(
            "{}\n\n{}\nseed {seed}: run it alone with AB_HISTORIES=1 AB_HISTORY_SEED={seed}",
            failure.script, failure.what
        );
    }
}

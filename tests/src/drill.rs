//! A shop whose database, gateway or network fails while customers go on buying.
//!
//! Senders repeat each batch until it is acknowledged. So in the end everything that was sent has been acknowledged, and must be
//! stored once; the results must be those that the stored events make.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::{Cluster, Gateway};
use postgres::Client;
use reqwest::blocking::Client as Http;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::one;

const DATABASE: &str = "shop";
const BATCH: u64 = 20;
const SENDERS: u64 = 3;
const USERS: u64 = 40;
/// Longer than anything that is waited for takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A database with a running experiment.
pub fn open_shop(cluster: &Cluster) {
    cluster.create_database(DATABASE, None).expect("a database");
    cluster
        .psql(
            DATABASE,
            "create extension pg_ab;
             select ab_create_experiment('e'); select ab_start('e');
             select ab_create_metric('purchases', 'buy', 'count'), ab_create_metric('revenue', 'buy', 'sum');
             select ab_add_metric('e', 'purchases'), ab_add_metric('e', 'revenue');",
        )
        .expect("an experiment");
    let mut client = cluster.connect(DATABASE).expect("a connection");
    for setting in ["fsync", "synchronous_commit"] {
        assert_eq!(one(&mut client, &format!("show {setting}")).as_deref(), Some("on"));
    }
}

/// The URL of the shop's database.
pub fn shop_url(cluster: &Cluster) -> String {
    cluster.url(DATABASE)
}

/// The gateway of the shop, and the next one when that has died; all with the same spool.
pub struct Front {
    url: String,
    way: Vec<String>,
    settings: Vec<(String, String)>,
    gateway: Mutex<Gateway>,
    logs: Mutex<Vec<PathBuf>>,
    spool: TempDir,
}

impl Front {
    /// A gateway with a spool that serves the database at `url`, whether that is there or not.
    pub fn open(url: &str, settings: &[(&str, &str)]) -> Front {
        Front::open_through(|_| Vec::new(), url, settings)
    }

    /// The same by way of a program and its arguments, made from the spool's directory, which become the gateway.
    pub fn open_through(way: impl Fn(&str) -> Vec<String>, url: &str, settings: &[(&str, &str)]) -> Front {
        let spool = TempDir::new().expect("a directory for the spool");
        let directory = spool.path().display().to_string();
        let way = way(&directory);
        let mut settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings.push(("AB_SPOOL_DIR".to_owned(), directory));
        let gateway = launch(&way, url, &settings);
        let logs = Mutex::new(vec![gateway.log_path().to_owned()]);
        Front { url: url.to_owned(), way, settings, gateway: Mutex::new(gateway), logs, spool }
    }

    /// Ends the gateway by `kill -9`.
    pub fn kill(&self) {
        self.gateway.lock().expect("the gateway").kill().expect("the gateway is killed");
    }

    /// Starts another one.
    pub fn reopen(&self) {
        let gateway = launch(&self.way, &self.url, &self.settings);
        self.logs.lock().expect("the logs").push(gateway.log_path().to_owned());
        *self.gateway.lock().expect("the gateway") = gateway;
    }

    /// Where it is now.
    pub fn http(&self) -> String {
        self.gateway.lock().expect("the gateway").url()
    }

    /// Whether the gateway runs.
    pub fn is_running(&self) -> bool {
        self.gateway.lock().expect("the gateway").is_running()
    }

    /// Where the spool is.
    pub fn spool(&self) -> &std::path::Path {
        self.spool.path()
    }

    /// Waits until the gateway has found its database again, and all that is spooled is there.
    pub fn wait_until_drained(&self) {
        eventually("the spool is emptied", || {
            let answer = reqwest::blocking::get(format!("{}/health/ready", self.http()));
            let body = answer.ok().and_then(|answer| answer.json::<Value>().ok()).unwrap_or_default();
            body["spooling"] == json!(false) && body["database"] == json!("up")
        });
    }

    /// What the gateways have logged.
    pub fn log(&self) -> String {
        let logs = self.logs.lock().expect("the logs");
        logs.iter().map(|log| std::fs::read_to_string(log).expect("a log")).collect()
    }
}

/// A gateway that answers, though it may not be ready without its database.
fn launch(way: &[String], url: &str, settings: &[(String, String)]) -> Gateway {
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let gateway = Gateway::launch(&way, url, &settings).expect("a gateway");
    eventually("the gateway answers", || {
        assert!(gateway.is_running(), "{:?}", std::fs::read_to_string(gateway.log_path()));
        reqwest::blocking::get(format!("{}/health/live", gateway.url())).is_ok()
    });
    gateway
}

/// Waits until something holds.
///
/// # Panics
/// When it does not within a time that nothing should take.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What senders know.
#[derive(Default)]
pub struct Traffic {
    number: AtomicU64,
    acknowledged: Mutex<BTreeSet<String>>,
    refused: AtomicU64,
    is_over: AtomicBool,
}

impl Traffic {
    /// Sends batches to `front` while `drill` does its worst, and ends when all that was sent is acknowledged.
    pub fn during(front: &Front, drill: impl FnOnce(&Traffic)) -> Traffic {
        let traffic = Traffic::default();
        thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| traffic.send(front));
            }
            // Also where it fails: the senders must not go on for ever.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drill(&traffic)));
            traffic.is_over.store(true, Ordering::Relaxed);
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
        traffic
    }

    fn send(&self, front: &Front) {
        let http = Http::builder().timeout(Duration::from_secs(20)).build().expect("an HTTP client");
        while !self.is_over.load(Ordering::Relaxed) {
            let first = self.number.fetch_add(BATCH, Ordering::Relaxed);
            let events: Vec<Value> = (first..first + BATCH).map(event).collect();
            let batch = json!({ "events": events });
            let begin = Instant::now();
            while !self.is_acknowledged(&http, front, &batch) {
                assert!(begin.elapsed() < PATIENCE, "a batch is never acknowledged");
                thread::sleep(Duration::from_millis(20));
            }
            let ids = events.iter().filter_map(|event| event["event_id"].as_str().map(str::to_owned));
            self.acknowledged.lock().expect("the ids").extend(ids);
            // A steady stream and not a flood: more would only be more to compare.
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_acknowledged(&self, http: &Http, front: &Front, batch: &Value) -> bool {
        let answer = http.post(format!("{}/api/v1/track/batch", front.http())).json(batch).send();
        let Ok(answer) = answer else { return false };
        let status = answer.status().as_u16();
        let retry_after = answer.headers().contains_key("retry-after");
        let Ok(body) = answer.json::<Value>() else { return false };
        match status {
            202 => body["success"] == json!(true),
            429 | 503 => {
                assert!(retry_after, "{status} without Retry-After: {body}");
                self.refused.fetch_add(u64::from(status == 429), Ordering::Relaxed);
                false
            }
            _ => panic!("a good batch was answered with {status}: {body}"),
        }
    }

    /// How many requests were answered with 429.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until so many more events are acknowledged.
    pub fn wait_for(&self, more: usize) {
        let count = || self.acknowledged.lock().expect("the ids").len();
        let wanted = count() + more;
        eventually("events are acknowledged", || count() >= wanted);
    }
}

/// One that is always the same for its number.
fn event(number: u64) -> Value {
    let user = number % USERS;
    let mut event = json!({
        "user_id": format!("u{user}"),
        "timestamp": now(),
        "event_id": format!("0190163d-8694-439b-aea5-{number:012x}"),
    });
    let more = match number % 5 {
        0 => json!({"event_type": "exposure", "event_name": "exposure", "experiment_id": "e",
                    "variant_id": if user.is_multiple_of(2) { "control" } else { "treatment" }}),
        1 => json!({"event_type": "purchase", "event_name": "buy", "value": number as f64 / 100.0}),
        2 => json!({"event_name": "buy", "value": 0.1, "properties": {"note": "line\nend"}}),
        _ => json!({"event_name": "look"}),
    };
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    event
}

/// The time at which all events of this process happened: part of what makes them the same when they are sent again.
fn now() -> &'static str {
    static NOW: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NOW.get_or_init(|| jiff::Timestamp::now().to_string())
}

/// All that was acknowledged is stored, once, and nothing else; results are what the events make; nobody panicked.
pub fn assert_nothing_lost(cluster: &Cluster, front: &Front, traffic: &Traffic) {
    front.wait_until_drained();
    let mut client = cluster.connect(DATABASE).expect("a connection");
    let stored = client.query("select event_id::text from ab.event", &[]).expect("the ids");
    let stored: Vec<String> = stored.iter().map(|row| row.get(0)).collect();
    let distinct: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(stored.len(), distinct.len(), "no event is stored twice");
    let acknowledged = traffic.acknowledged.lock().expect("the ids");
    let lost: Vec<&String> = acknowledged.difference(&distinct).collect();
    assert!(lost.is_empty(), "{} acknowledged and lost: {lost:?}", lost.len());
    assert_eq!(distinct.len(), acknowledged.len(), "nothing is stored that was not sent");

    client.batch_execute("select ab_rollup()").expect("a roll-up");
    let rolled_up = results(&mut client);
    assert!(rolled_up.iter().any(|row| row.contains("treatment")), "{rolled_up:?}");
    client.batch_execute("select ab_rebuild('e')").expect("a rebuild");
    assert_eq!(rolled_up, results(&mut client));

    let log = front.log();
    assert!(!log.contains("panicked"), "{log}");
    let log = std::fs::read_to_string(cluster.log_path()).expect("the server's log");
    let alarming =
        log.lines().find(|line| ["PANIC", "panicked", "XX000"].iter().any(|alarm| line.contains(alarm)));
    assert_eq!(alarming, None);
}

fn results(client: &mut Client) -> Vec<String> {
    let rows = client.query(
        "select 'exposure ' || t::text from ab.exposure t
         union all select 'unit_metric ' || t::text from ab.unit_metric t
         union all select 'variant_statistic ' || t::text from ab.variant_statistic t
         union all select 'phase_statistic ' || t::text from ab.phase_statistic t
         union all select 'metric_statistic ' || t::text from ab.metric_statistic t
         order by 1",
        &[],
    );
    rows.expect("the state").iter().map(|row| row.get(0)).collect()
}

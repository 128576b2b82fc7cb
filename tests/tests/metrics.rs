//! What a gateway tells Prometheus of itself.

use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::Gateway;
use ab_tests::Database;
use reqwest::blocking::Client;
use serde_json::{Value, json};

fn metrics(gateway: &Gateway) -> String {
    let response = Client::new().get(format!("{}/metrics", gateway.url())).send().expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
    let content_type = response.headers()["content-type"].to_str().expect("a content type");
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    response.text().expect("metrics")
}

fn series(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn post(gateway: &Gateway, path: &str, body: &Value) -> u16 {
    let answer = Client::new().post(format!("{}{path}", gateway.url())).json(body).send();
    answer.expect("an answer").status().as_u16()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn all_that_is_done_is_counted() {
    let database = Database::new();
    database.psql(
        "select ab_create_metric('clicked', 'x'), ab_create_experiment('here', primary_metric => 'clicked'), ab_create_experiment('there'); select ab_start('here'), ab_start('there');
        select ab_create_flag('f')",
    );
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let exposed = json!({"user_id": "u", "experiments": ["here", "there", "nowhere"], "expose": true});
    assert_eq!(post(&gateway, "/api/v1/assign", &exposed), 200);
    assert_eq!(post(&gateway, "/api/v1/flags", &json!({"user_id": "u", "flags": ["f"]})), 200);
    assert_eq!(post(&gateway, "/api/v1/flags/no", &json!({"user_id": "u"})), 404);
    assert_eq!(post(&gateway, "/api/v1/track", &json!({"user_id": "u", "event_name": "x"})), 202);
    assert_eq!(post(&gateway, "/api/v1/track", &json!({"user_id": "", "event_name": "x"})), 400);
    let batch = json!({"events": [
        {"user_id": "u", "event_name": "x"},
        {"user_id": "u", "event_name": ""},
        {"user_id": "u", "event_name": "x", "experiment_id": "nowhere"},
    ]});
    assert_eq!(post(&gateway, "/api/v1/track/batch", &batch), 202);
    assert_eq!(post(&gateway, "/nothing/at/all", &json!({})), 404);

    let text = metrics(&gateway);
    let expected = [
        (r#"ab_assignments_total{endpoint="assign"}"#, 3.0),
        (r#"ab_assignments_total{endpoint="flags"}"#, 1.0),
        // Two exposures, an event of its own, and three of a batch, with one that is bad.
        ("ab_events_received_total", 7.0),
        ("ab_events_accepted_total", 4.0),
        ("ab_events_duplicate_total", 0.0),
        (r#"ab_events_rejected_total{code="invalid_user_id"}"#, 1.0),
        (r#"ab_events_rejected_total{code="invalid_event"}"#, 1.0),
        (r#"ab_events_rejected_total{code="experiment_not_found"}"#, 1.0),
        ("ab_queue_events", 0.0),
        ("ab_queue_used_kib", 0.0),
        ("ab_queue_capacity_kib", 65536.0),
        ("ab_batch_events_count", 3.0),
        ("ab_batch_events_sum", 5.0),
        ("ab_commit_seconds_count", 3.0),
        ("ab_database_connected", 1.0),
        (r#"ab_http_requests_total{route="/api/v1/assign",status="200"}"#, 1.0),
        (r#"ab_http_requests_total{route="/api/v1/flags/{key}",status="404"}"#, 1.0),
        (r#"ab_http_requests_total{route="/api/v1/track",status="202"}"#, 1.0),
        (r#"ab_http_requests_total{route="/api/v1/track",status="400"}"#, 1.0),
        (r#"ab_http_requests_total{route="none",status="404"}"#, 1.0),
        (r#"ab_http_request_seconds_count{route="/api/v1/track"}"#, 2.0),
    ];
    for (name, value) in expected {
        assert_eq!(series(&text, name), Some(value), "{name} in\n{text}");
    }
    let version = ab_tests::one(&mut database.connect(), "select ab_config_version()").expect("a version");
    assert_eq!(series(&text, "ab_config_version"), version.parse().ok());
    // Users and keys are nobody's label.
    assert!(!text.contains("nowhere") && !text.contains("/nothing"), "{text}");

    eventually("the roll-up is counted", || {
        let text = metrics(&gateway);
        let series = |name| series(&text, name).unwrap_or_default();
        series("ab_rollup_events_total") == 4.0 && series("ab_rollup_seconds_count") >= 1.0
    });
    assert!(metrics(&gateway).contains("\nab_rollup_lag_seconds "));
}

#[test]
fn a_failing_rollup_shows() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    database.psql("alter function ab_rollup(boolean) rename to ab_rollup_away");
    eventually("failures are counted", || {
        series(&metrics(&gateway), "ab_rollup_failures_total").unwrap_or_default() >= 1.0
    });
    let done = series(&metrics(&gateway), "ab_rollup_seconds_count");
    eventually("and the lag grows", || {
        series(&metrics(&gateway), "ab_rollup_lag_seconds").unwrap_or_default() > 2.0
    });
    assert_eq!(series(&metrics(&gateway), "ab_rollup_seconds_count"), done);
    let quiet = Gateway::start_with(&database.url(), &[("AB_ROLLUP_SECONDS", "0")]).expect("a gateway");
    assert!(!metrics(&quiet).contains("ab_rollup_lag_seconds"));
}

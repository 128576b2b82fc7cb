//! The gateway over real HTTP: its shapes, its refusals, and what it does when the database goes and comes back.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::{Cluster, Gateway};
use ab_tests::Database;
use reqwest::Method;
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

fn post(gateway: &Gateway, path: &str, body: &Value) -> Response {
    Client::new().post(format!("{}{path}", gateway.url())).json(body).send().expect("an answer")
}

/// The reason for which `user` is answered as they are.
fn reason(gateway: &Gateway, experiment: &str) -> String {
    let answer: Value =
        post(gateway, "/api/v1/assign", &json!({"user_id": "user_1", "experiments": [experiment]}))
            .error_for_status()
            .and_then(Response::json)
            .expect("assignments");
    answer["assignments"][0]["reason"].as_str().expect("a reason").to_owned()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_refusal_has_its_status_and_code() {
    let database = Database::new();
    database.psql("select ab_create_experiment('here'); select ab_start('here')");
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let http = Client::new();
    let event = |change: &[(&str, Value)]| {
        let mut event = json!({"user_id": "u", "event_type": "custom", "event_name": "x"});
        for (name, value) in change {
            event[*name] = value.clone();
        }
        event.to_string()
    };
    let batch = |events: usize| {
        json!({"events": vec![json!({"user_id": "u", "event_name": "x"}); events]}).to_string()
    };
    let (assign, track, many) = ("/api/v1/assign", "/api/v1/track", "/api/v1/track/batch");
    let unknown = json!("nowhere");
    let cases: Vec<(Method, &str, String, u16, &str)> = vec![
        (Method::POST, assign, r#"{"user_id": "u""#.into(), 400, "malformed_json"),
        (Method::POST, assign, "".into(), 400, "malformed_json"),
        (Method::POST, assign, r#"{"experiments": ["here"]}"#.into(), 400, "invalid_request"),
        (Method::POST, assign, r#"{"user_id": 7}"#.into(), 400, "invalid_request"),
        (Method::POST, assign, r#"{"user_id": "u", "experiments": "here"}"#.into(), 400, "invalid_request"),
        (Method::POST, assign, r#"{"user_id": "u", "context": []}"#.into(), 400, "invalid_request"),
        (Method::POST, assign, r#"{"user_id": "u", "expose": "yes"}"#.into(), 400, "invalid_request"),
        (Method::POST, track, event(&[("user_id", json!(""))]), 400, "invalid_user_id"),
        (Method::POST, track, event(&[("user_id", json!("x".repeat(513)))]), 400, "invalid_user_id"),
        (Method::POST, track, event(&[("user_id", json!("a\0b"))]), 400, "invalid_user_id"),
        (Method::POST, track, event(&[("event_name", json!(""))]), 400, "invalid_event"),
        (Method::POST, track, event(&[("event_type", json!("No"))]), 400, "invalid_event"),
        (Method::POST, track, event(&[("properties", json!([1]))]), 400, "invalid_event"),
        (Method::POST, track, event(&[("properties", json!({"a": "\0"}))]), 400, "invalid_event"),
        (
            Method::POST,
            track,
            event(&[("timestamp", json!("9999-01-01T00:00:00Z"))]),
            400,
            "invalid_event_time",
        ),
        (Method::POST, track, event(&[("timestamp", json!("yesterday"))]), 400, "invalid_event_time"),
        (Method::POST, track, event(&[("event_id", json!("order-17"))]), 400, "event_time_required"),
        (Method::POST, track, event(&[("event_type", json!("exposure"))]), 400, "variant_required"),
        (Method::POST, track, event(&[("experiment_id", unknown.clone())]), 404, "experiment_not_found"),
        (
            Method::POST,
            track,
            event(&[("experiment_id", json!("here")), ("variant_id", unknown)]),
            404,
            "variant_not_found",
        ),
        (Method::POST, many, batch(101), 400, "batch_too_large"),
        (Method::POST, many, batch(0), 400, "invalid_request"),
        (Method::POST, many, r#"{"events": {}}"#.into(), 400, "invalid_request"),
        (Method::GET, "/api/v1/experiments/nowhere/results", String::new(), 404, "experiment_not_found"),
        (Method::GET, "/api/v1/nothing", String::new(), 404, "route_not_found"),
        (Method::DELETE, track, String::new(), 405, "method_not_allowed"),
        (
            Method::POST,
            track,
            event(&[("properties", json!({"a": "x".repeat(200_000)}))]),
            413,
            "body_too_large",
        ),
    ];
    for (method, path, body, status, code) in cases {
        let shown: String = body.chars().take(120).collect();
        let response = http
            .request(method, format!("{}{path}", gateway.url()))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{path} {shown}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path} {shown}");
        let problem: Value = response.json().expect("a problem");
        assert_eq!(problem["code"], code, "{path} {shown}: {problem}");
        assert_eq!(problem["status"], status, "{path} {shown}");
        for member in ["type", "title", "detail", "instance"] {
            assert!(problem[member].is_string(), "{member} of {problem}");
        }
    }
    let response = http
        .post(format!("{}{track}", gateway.url()))
        .header("content-type", "text/plain")
        .body(event(&[]))
        .send()
        .expect("an answer");
    assert_eq!(response.status().as_u16(), 415);
    // Nothing of all that was stored.
    assert_eq!(ab_tests::one(&mut database.connect(), "select count(*) from ab.event").as_deref(), Some("0"));
}

#[test]
fn assignment_never_refuses_a_user_id() {
    let database = Database::new();
    database.psql("select ab_create_experiment('here'); select ab_start('here')");
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    for user_id in [json!(""), json!("x".repeat(513)), json!("a\0b"), Value::Null] {
        let answer: Value =
            post(&gateway, "/api/v1/assign", &json!({"user_id": user_id, "experiments": ["here"]}))
                .error_for_status()
                .and_then(Response::json)
                .expect("assignments");
        let expected = json!({"experiment_id": "here", "variant_id": null, "variant_name": null, "config": null, "reason": "no_unit"});
        assert_eq!(answer, json!({"assignments": [expected]}));
    }
}

#[test]
fn good_items_of_a_batch_are_stored_and_bad_ones_named() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let events = json!({"events": [
        {"user_id": "u", "event_name": "x"},
        {"user_id": "", "event_name": "x"},
        {"user_id": "u", "event_name": "x", "experiment_id": "nowhere"},
        {"user_id": "u", "event_name": "x", "value": 2.5},
    ]});
    let response = post(&gateway, "/api/v1/track/batch", &events);
    assert_eq!(response.status().as_u16(), 202);
    let answer: Value = response.json().expect("an answer");
    assert_eq!((&answer["success"], &answer["count"]), (&json!(false), &json!(2)));
    let refused: Vec<(u64, &str)> = answer["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| (error["index"].as_u64().expect("an index"), error["code"].as_str().expect("a code")))
        .collect();
    assert_eq!(refused, [(1, "invalid_user_id"), (2, "experiment_not_found")]);
    assert_eq!(ab_tests::one(&mut database.connect(), "select count(*) from ab.event").as_deref(), Some("2"));
}

#[test]
fn an_exposure_and_a_conversion_over_http_become_a_result() {
    let database = Database::new();
    database.psql(
        "select ab_create_metric('bought', 'purchase'), ab_create_experiment('here', primary_metric => 'bought');
        select ab_start('here');",
    );
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    for user in 0..20 {
        let user_id = format!("user_{user}");
        let response = post(
            &gateway,
            "/api/v1/assign",
            &json!({"user_id": user_id, "experiments": ["here"], "expose": true}),
        );
        assert_eq!(response.headers()["ab-exposure"], "recorded");
        let event =
            json!({"user_id": user_id, "event_type": "purchase", "event_name": "purchase", "value": 1});
        let answer: Value = post(&gateway, "/api/v1/track", &event)
            .error_for_status()
            .and_then(Response::json)
            .expect("an id");
        // Sending it again by the id that was answered is the same event.
        let again = json!({"user_id": user_id, "event_type": "purchase", "event_name": "purchase",
            "event_id": answer["event_id"]});
        assert_eq!(post(&gateway, "/api/v1/track", &again).status().as_u16(), 202);
    }
    let results = || -> Value {
        Client::new()
            .get(format!("{}/api/v1/experiments/here/results", gateway.url()))
            .send()
            .and_then(Response::json)
            .expect("results")
    };
    // The gateway rolls up each second.
    eventually("all users are counted", || {
        let rows = results();
        let sum = |column: &str| -> i64 {
            rows["results"]
                .as_array()
                .expect("rows")
                .iter()
                .map(|row| row[column].as_i64().unwrap_or(0))
                .sum()
        };
        (sum("units"), sum("conversions")) == (20, 20)
    });
    let in_sql: Value = database
        .connect()
        .query_one("select jsonb_agg(to_jsonb(r)) from ab_results('here') r", &[])
        .expect("results")
        .get(0);
    let over_http = results();
    for (in_sql, over_http) in
        in_sql.as_array().expect("rows").iter().zip(over_http["results"].as_array().expect("rows"))
    {
        for column in
            ["metric", "variant", "units", "conversions", "mean", "ci_low", "p_value", "significant"]
        {
            // 1 and 1.0 are one number, and two JSON values.
            match (in_sql[column].as_f64(), over_http[column].as_f64()) {
                (Some(in_sql), Some(over_http)) => {
                    assert_eq!(in_sql.to_bits(), over_http.to_bits(), "{column}")
                }
                _ => assert_eq!(in_sql[column], over_http[column], "{column}"),
            }
        }
    }
}

#[test]
fn the_snapshot_follows_commits_and_outlives_the_database() {
    let cluster = Cluster::throwaway().expect("a cluster");
    cluster.create_database("shop", None).expect("a database");
    cluster
        .psql("shop", "create extension pg_ab; select ab_create_experiment('here');")
        .expect("an experiment");
    let gateway = Gateway::start_with(&cluster.url("shop"), &[("AB_WRITE_SECONDS", "1")]).expect("a gateway");
    assert_eq!(reason(&gateway, "here"), "not_running");
    cluster.psql("shop", "begin; select ab_start('here'); rollback;").expect("nothing");
    cluster.psql("shop", "select ab_start('here')").expect("a start");
    eventually("the start arrives", || reason(&gateway, "here") == "split");

    cluster.kill().expect("the server is gone");
    assert_eq!(reason(&gateway, "here"), "split");
    let event = json!({"user_id": "u", "event_name": "x"});
    let response = post(&gateway, "/api/v1/track", &event);
    assert_eq!(response.status().as_u16(), 503);
    assert!(response.headers()["retry-after"].to_str().is_ok_and(|seconds| seconds.parse::<u32>().is_ok()));
    let ready: Value = Client::new()
        .get(format!("{}/health/ready", gateway.url()))
        .send()
        .and_then(Response::error_for_status)
        .and_then(Response::json)
        .expect("ready all the same");
    assert_eq!((&ready["database"], &ready["stale"]), (&json!("down"), &json!(true)));

    cluster.start().expect("the server is back");
    // Possibly before the gateway listens again: the reconnect must reload.
    cluster.psql("shop", "select ab_pause('here')").expect("a pause");
    eventually("the pause arrives", || reason(&gateway, "here") == "not_running");
    eventually("events are taken again", || post(&gateway, "/api/v1/track", &event).status().as_u16() == 202);
}

#[test]
fn a_shutdown_drains_what_it_has_taken() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let acknowledged = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for sender in 0..8 {
            let (gateway, acknowledged) = (&gateway, &acknowledged);
            scope.spawn(move || {
                let http = Client::new();
                for number in 0.. {
                    let body =
                        json!({"user_id": format!("user_{sender}"), "event_name": format!("e{number}")});
                    let sent = http.post(format!("{}/api/v1/track", gateway.url())).json(&body).send();
                    let Ok(response) = sent.and_then(Response::error_for_status) else { break };
                    // An answer cut off is no acknowledgement.
                    let Ok(answer) = response.json::<Value>() else { break };
                    let id = answer["event_id"].as_str().expect("an id").to_owned();
                    acknowledged.lock().expect("the list").push(id);
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        gateway.terminate().expect("a clean end");
    });
    let acknowledged = acknowledged.into_inner().expect("the list");
    assert!(acknowledged.len() > 20, "{} events were acknowledged", acknowledged.len());
    let stored: i64 = database
        .connect()
        .query_one("select count(*) from ab.event where event_id::text = any ($1)", &[&acknowledged])
        .expect("a count")
        .get(0);
    assert_eq!(stored, i64::try_from(acknowledged.len()).expect("a count"));
}

//! SQL and HTTP and the engine answer alike, and as an independent implementation says they must.

use std::collections::HashMap;

use ab_core::document::ExperimentDocument;
use ab_core::experiment::Experiment;
use ab_embedded::Gateway;
use ab_tests::Database;
use serde_json::{Value, json};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/assignment/decisions.json")).expect("valid JSON")
}

/// Creates the experiments of the vectors through the public functions, as a user would.
fn create(client: &mut postgres::Client, experiments: &[Value]) {
    for experiment in experiments {
        let text = |name: &str| experiment[name].as_str();
        let key = text("experiment").expect("a key");
        client
            .execute(
                "select ab_create_experiment($1, $2::text::json, traffic => $3::text::numeric, salt => $4,
                    starts_at => $5::text::timestamptz, ends_at => $6::text::timestamptz)",
                &[
                    &key,
                    &text("variants"),
                    &experiment["traffic"].to_string(),
                    &text("salt"),
                    &text("starts_at"),
                    &text("ends_at"),
                ],
            )
            .expect("the experiment");
        let status = text("status").expect("a status");
        if status != "draft" {
            client.execute("select ab_start($1)", &[&key]).expect("its start");
        }
        for weights in experiment["later_weights"].as_array().expect("a list") {
            client
                .execute(
                    "update ab.variant v set weight = w.weight::numeric
                    from (select row_number() over (order by variant_id) as n, variant_id
                        from ab.variant join ab.experiment using (experiment_id) where experiment = $1) k
                    join jsonb_array_elements_text($2) with ordinality w (weight, n) using (n)
                    where v.variant_id = k.variant_id",
                    &[&key, &weights],
                )
                .expect("new weights");
        }
        match status {
            "paused" => client.execute("select ab_pause($1)", &[&key]),
            "stopped" => client.execute("select ab_stop($1)", &[&key]),
            _ => Ok(0),
        }
        .expect("its status");
    }
}

#[test]
fn engine_sql_and_http_agree_with_the_vectors() {
    let vectors = vectors();
    let users: Vec<String> = serde_json::from_value(vectors["users"].clone()).expect("users");
    let experiments = vectors["experiments"].as_array().expect("experiments");
    let database = Database::new();
    let mut client = database.connect();
    create(&mut client, experiments);

    let documents: Value = client
        .query_one("select jsonb_agg(document) from ab_config_changes(workspace => 'default') where kind = 'experiment'", &[])
        .expect("documents")
        .get(0);
    let engine: HashMap<String, Experiment> = documents
        .as_array()
        .expect("a list")
        .iter()
        .map(|document| {
            // Through text, as extension and gateway read it.
            let document: ExperimentDocument =
                serde_json::from_str(&document.to_string()).expect("a document");
            (document.key.clone(), Experiment::compile(document).expect("a sound experiment"))
        })
        .collect();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let http = reqwest::blocking::Client::new();
    let now = now_in_microseconds();
    let keys: Vec<&str> = experiments.iter().map(|e| e["experiment"].as_str().expect("a key")).collect();

    let mut compared = 0;
    for (index, user) in users.iter().enumerate() {
        let response: Value = http
            .post(format!("{}/api/v1/assign", gateway.url()))
            .json(&json!({"user_id": user, "experiments": keys}))
            .send()
            .and_then(reqwest::blocking::Response::error_for_status)
            .and_then(reqwest::blocking::Response::json)
            .expect("an answer");
        let assignments = response["assignments"].as_array().expect("assignments");
        assert_eq!(assignments.len(), keys.len());
        for ((key, experiment), over_http) in keys.iter().zip(experiments).zip(assignments) {
            let expected: (Option<String>, String) =
                serde_json::from_value(experiment["answers"][index].clone()).expect("an answer");
            let row = client
                .query_one("select ab_assign($1::text, $2), ab_assign_reason($1, $2)", &[user, key])
                .expect("an answer");
            let in_sql: (Option<String>, String) = (row.get(0), row.get(1));
            let decision = engine[*key].decide(user, now);
            let in_engine =
                (decision.variant.map(|variant| variant.key.clone()), decision.reason.as_str().to_owned());
            assert_eq!(over_http["experiment_id"], **key);
            let over_http = (
                over_http["variant_id"].as_str().map(str::to_owned),
                over_http["reason"].as_str().expect("a reason").to_owned(),
            );
            assert_eq!(in_engine, expected, "engine: user {user:?}, experiment {key}");
            assert_eq!(in_sql, expected, "SQL: user {user:?}, experiment {key}");
            assert_eq!(over_http, expected, "HTTP: user {user:?}, experiment {key}");
            compared += 1;
        }
    }
    assert_eq!(compared, users.len() * keys.len());
}

#[test]
fn unknown_experiments_are_answered_alike() {
    let database = Database::new();
    let mut client = database.connect();
    let row = client
        .query_one("select ab_assign('u'::text, 'nowhere'), ab_assign_reason('u', 'nowhere')", &[])
        .expect("an answer");
    assert_eq!((row.get::<_, Option<String>>(0), row.get::<_, String>(1)), (None, "not_found".to_owned()));
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let answer: Value = reqwest::blocking::Client::new()
        .post(format!("{}/api/v1/assign", gateway.url()))
        .json(&json!({"user_id": "u", "experiments": ["nowhere"]}))
        .send()
        .and_then(reqwest::blocking::Response::json)
        .expect("an answer");
    assert_eq!(answer["assignments"][0]["reason"], "not_found");
    assert_eq!(answer["assignments"][0]["variant_id"], Value::Null);
}

#[test]
fn every_bucket_vector_holds_in_sql() {
    let database = Database::new();
    let mut client = database.connect();
    let vectors: Value =
        serde_json::from_str(include_str!("../vectors/assignment/bucket.json")).expect("valid JSON");
    let row = client
        .query_one(
            "select count(*), count(*) filter (where ab_bucket(v ->> 0, v ->> 1) = (v ->> 2)::integer)
            from jsonb_array_elements($1::jsonb) v",
            &[&vectors],
        )
        .expect("the counts");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (10_000, 10_000));
}

fn now_in_microseconds() -> i64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_micros()).expect("a clock before 290000")
}

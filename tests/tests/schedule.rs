//! What is planned takes effect at its time, in SQL and over HTTP, without anything that would have to run then.

use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::Gateway;
use ab_tests::Database;
use postgres::Client;
use reqwest::blocking::{Client as Http, Response};
use serde_json::{Value, json};

const EVERY: Duration = Duration::from_millis(20);

/// One answer, and the times of the database's clock between which it was made.
struct Seen {
    earliest: i64,
    latest: i64,
    answer: String,
}

/// Something whose answer changes at a moment.
struct Edge {
    what: &'static str,
    /// In microseconds since 1970.
    at: i64,
    before: &'static str,
    after: &'static str,
}

/// The answers to these things in one statement, which all know the same time.
fn in_sql(client: &mut Client, experiments: &[&str], flags: &[&str]) -> (i64, Vec<String>) {
    let row = client
        .query_one(
            "select (extract(epoch from statement_timestamp()) * 1000000)::bigint,
                (select array_agg(ab_assign_reason('u', x) order by n) from unnest($1::text[]) with ordinality k (x, n))
                || (select array_agg(ab_flag('u', f) #>> '{}' order by n) from unnest($2::text[]) with ordinality k (f, n))",
            &[&experiments, &flags],
        )
        .expect("answers");
    (row.get(0), row.get(1))
}

fn over_http(http: &Http, url: &str, experiments: &[&str], flags: &[&str]) -> Vec<String> {
    let ask = |path: &str, body: Value| -> Value {
        let answer = http.post(format!("{url}/api/v1/{path}")).json(&body).send();
        answer.and_then(Response::error_for_status).and_then(Response::json).expect("an answer")
    };
    let assigned = ask("assign", json!({"user_id": "u", "experiments": experiments}));
    let evaluated = ask("flags", json!({"user_id": "u", "flags": flags}));
    let texts = |answer: &Value, list: &str, field: &str| -> Vec<String> {
        let items = answer[list].as_array().expect("a list").iter();
        items.map(|item| item[field].as_str().expect("a text").to_owned()).collect()
    };
    [texts(&assigned, "assignments", "reason"), texts(&evaluated, "flags", "value")].concat()
}

/// Each answer must be that of its side of the edge; one that may have been made on either is good anyhow. Returns how
/// many were on either side.
fn check(surface: &str, edge: &Edge, seen: &[Seen]) -> (usize, usize) {
    let (mut before, mut after) = (0, 0);
    for seen in seen {
        let expected = if seen.latest < edge.at {
            before += 1;
            edge.before
        } else if seen.earliest >= edge.at {
            after += 1;
            edge.after
        } else {
            assert!([edge.before, edge.after].contains(&&*seen.answer), "{}: {}", edge.what, seen.answer);
            continue;
        };
        assert_eq!(
            seen.answer,
            expected,
            "{} {surface}, between {} µs and {} µs of its time",
            edge.what,
            seen.earliest - edge.at,
            seen.latest - edge.at
        );
    }
    (before, after)
}

#[test]
fn what_is_planned_flips_at_its_second_everywhere() {
    let database = Database::new();
    let mut client = database.connect();
    // On a whole second, and one step a fraction later.
    let row = client
        .query_one(
            "select to_char(at, 'YYYY-MM-DD\"T\"HH24:MI:SS.USOF'), to_char(at + interval '250 milliseconds', 'YYYY-MM-DD\"T\"HH24:MI:SS.USOF'), (extract(epoch from at) * 1000000)::bigint
             from date_trunc('second', clock_timestamp() + interval '4 seconds') at",
            &[],
        )
        .expect("times");
    let (at, later, second): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
    client
        .batch_execute(&format!(
            r#"select ab_create_experiment('ramp', traffic => 0); select ab_schedule('ramp', '[{{"at": "{at}", "percent": 100}}]');
               select ab_create_experiment('fall', traffic => 100); select ab_schedule('fall', '[{{"at": "{later}", "percent": 0}}]');
               select ab_create_experiment('begins', starts_at => '{at}'); select ab_create_experiment('ends', ends_at => '{at}');
               select ab_start(x) from unnest('{{ramp,fall,begins,ends}}'::text[]) x;
               select ab_create_flag('rule_begins', 'string', '"off"', '[{{"starts_at": "{at}", "value": "on"}}]');
               select ab_create_flag('rule_ends', 'string', '"off"', '[{{"ends_at": "{later}", "value": "on"}}]');
               select ab_create_flag('rollout', 'string', '"off"', '[{{"percent": 0, "schedule": [{{"at": "{at}", "percent": 100}}], "value": "on"}}]');
               select ab_create_flag('follows', 'string', '"off"', '[{{"experiment": "begins", "values": {{"control": "on", "treatment": "on"}}}}]')"#
        ))
        .expect("plans");
    let experiments = ["ramp", "fall", "begins", "ends"];
    let flags = ["rule_begins", "rule_ends", "rollout", "follows"];
    let edge = |what, at, before, after| Edge { what, at, before, after };
    let edges = [
        edge("a step of traffic", second, "traffic", "split"),
        edge("a step down", second + 250_000, "split", "traffic"),
        edge("the start of an experiment", second, "not_running", "split"),
        edge("the end of an experiment", second, "split", "not_running"),
        edge("the start of a rule", second, "off", "on"),
        edge("the end of a rule", second + 250_000, "on", "off"),
        edge("a step of a rule", second, "off", "on"),
        edge("a flag of an experiment", second, "off", "on"),
    ];
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let url = gateway.url();
    let version = ab_tests::one(&mut client, "select ab_config_version()");

    let clock = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
    let is_past = |time: i64| time > second + 1_500_000;
    let (sql, http) = thread::scope(|scope| {
        let from_sql = scope.spawn(|| {
            let mut client = database.connect();
            let mut seen: [Vec<Seen>; 8] = Default::default();
            // Half of them in one transaction: the statement's time counts and not the transaction's.
            for turn in 0.. {
                if turn % 100 == 20 {
                    client.batch_execute("begin").expect("a transaction");
                } else if turn % 100 == 70 {
                    client.batch_execute("commit").expect("its end");
                }
                let begun = Instant::now();
                let (time, answers) = in_sql(&mut client, &experiments, &flags);
                for (seen, answer) in seen.iter_mut().zip(answers) {
                    seen.push(Seen { earliest: time, latest: time, answer });
                }
                if is_past(time) {
                    break;
                }
                thread::sleep(EVERY.saturating_sub(begun.elapsed()));
            }
            seen
        });
        let from_http = scope.spawn(|| {
            let (mut client, http) = (database.connect(), Http::new());
            let mut now = || -> i64 { client.query_one(clock, &[]).expect("the time").get(0) };
            let mut seen: [Vec<Seen>; 8] = Default::default();
            loop {
                let begun = Instant::now();
                let earliest = now();
                let answers = over_http(&http, &url, &experiments, &flags);
                let latest = now();
                // The gateway's clock is the database's to within half of the round trip by which it was measured.
                let error = 5_000;
                for (seen, answer) in seen.iter_mut().zip(answers) {
                    seen.push(Seen { earliest: earliest - error, latest: latest + error, answer });
                }
                if is_past(latest) {
                    break;
                }
                thread::sleep(EVERY.saturating_sub(begun.elapsed()));
            }
            seen
        });
        (from_sql.join().expect("SQL"), from_http.join().expect("HTTP"))
    });
    assert_eq!(
        ab_tests::one(&mut client, "select ab_config_version()"),
        version,
        "nothing was changed meanwhile"
    );
    for (index, edge) in edges.iter().enumerate() {
        for (surface, seen) in [("in SQL", &sql[index]), ("over HTTP", &http[index])] {
            let (before, after) = check(surface, edge, seen);
            assert!(before > 0 && after > 5, "{} {surface}: {before} before and {after} after", edge.what);
        }
    }
    println!("{} answers of each in SQL, {} over HTTP", sql[0].len(), http[0].len());
}

//! A real experiment, run by another system and imported: 90,189 players of a mobile game.
//!
//! The data is not part of the project. Where it lies beside the checkout, it is imported event by event, and results must
//! be those of SciPy and statsmodels (`tests/vectors/statistics/generate.py`); the tests over its rows must be those of
//! tea-tasting and gbstats (`generate_comparisons.py`).

use std::io::{Read, Write};
use std::path::Path;

use ab_embedded::Gateway;
use ab_tests::Database;
use postgres::Client;
use serde_json::{Value, json};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/cookie_cats.csv");

/// The players, in a table of a database with the experiment; nothing where the data is not there.
fn players() -> Option<(Database, Client)> {
    let Ok(mut file) = std::fs::File::open(Path::new(DATA)) else {
        // Not println!, which the test runner keeps to itself when a test passes.
        writeln!(std::io::stderr(), "skipped: no cookie_cats.csv beside the checkout")
            .expect("standard error");
        return None;
    };
    let mut csv = Vec::new();
    file.read_to_end(&mut csv).expect("the data");
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "create table player (userid text, version text, sum_gamerounds integer, retention_1 boolean, retention_7 boolean);
            select ab_create_metric('retention_1', 'back_on_day_1'), ab_create_metric('retention_7', 'back_on_day_7'),
                ab_create_metric('sum_gamerounds', 'game_rounds', 'sum');
            select ab_create_experiment('gate', '{\"gate_30\": 1, \"gate_40\": 1}', control => 'gate_30', primary_metric => 'retention_1');
            select ab_add_metric('gate', 'retention_7'), ab_add_metric('gate', 'sum_gamerounds');",
        )
        .expect("the experiment");
    let mut copy = client.copy_in("copy player from stdin (format csv, header)").expect("copy");
    copy.write_all(&csv).expect("the rows");
    assert_eq!(copy.finish().expect("the end of the rows"), 90_189);
    Some((database, client))
}

#[test]
fn cookie_cats_gives_the_figures_of_scipy_and_statsmodels() {
    let Some((_database, mut client)) = players() else { return };
    client
        .batch_execute(
            "select count(ab_track(userid, 'exposure', event_type => 'exposure', experiment => 'gate', variant => version)) from player;
            select count(ab_track(userid, 'back_on_day_1', experiment => 'gate')) from player where retention_1;
            select count(ab_track(userid, 'back_on_day_7', experiment => 'gate')) from player where retention_7;
            select count(ab_track(userid, 'game_rounds', sum_gamerounds, experiment => 'gate')) from player where sum_gamerounds > 0;",
        )
        .expect("the import");
    assert_figures(&mut client);
}

/// The same events as lines of JSON over HTTP, and in the order that is worst: each player's deeds before the exposure.
#[test]
fn cookie_cats_over_http_gives_the_same_figures() {
    let Some((database, mut client)) = players() else { return };
    let mut lines = String::new();
    client
        .copy_out(
            "copy (
                select line from player cross join lateral (
                    values (1, json_build_object('event_name', 'back_on_day_1'), retention_1),
                        (2, json_build_object('event_name', 'back_on_day_7'), retention_7),
                        (3, json_build_object('event_name', 'game_rounds', 'value', sum_gamerounds), sum_gamerounds > 0),
                        (4, json_build_object('event_name', 'exposure', 'event_type', 'exposure', 'variant_id', version), true)
                ) e (position, event, is_there)
                cross join lateral (
                    select e.event::jsonb || jsonb_build_object('user_id', userid, 'experiment_id', 'gate', 'event_id', 'e' || e.position,
                        'timestamp', to_char(now() at time zone 'UTC' - (e.position <> 4)::integer * interval '-1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) as line
                ) l
                where e.is_there order by e.position, userid
            ) to stdout",
        )
        .expect("the events")
        .read_to_string(&mut lines)
        .expect("text");
    let sent = lines.lines().count();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let answer = reqwest::blocking::Client::builder()
        .timeout(None)
        .build()
        .expect("a client")
        .post(format!("{}/api/v1/track/stream", gateway.url()))
        .header("content-type", "application/x-ndjson")
        .body(lines)
        .send()
        .and_then(reqwest::blocking::Response::error_for_status)
        .and_then(reqwest::blocking::Response::text)
        .expect("an answer");
    let summary: Value = serde_json::from_str(answer.lines().last().expect("a summary")).expect("JSON");
    assert_eq!(
        [&summary["done"], &summary["accepted"], &summary["rejected"]],
        [&json!(true), &json!(sent), &json!(0)],
        "{summary}"
    );
    gateway.terminate().expect("the gateway stops");
    assert_figures(&mut client);
}

/// Every method that applies to the rows: there is no covariate and no ratio among them.
#[test]
fn cookie_cats_gives_the_figures_of_tea_tasting_and_gbstats() {
    let Some((_database, mut client)) = players() else { return };
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/statistics/comparisons_cookie_cats.json"))
            .expect("valid JSON");
    let mut compared = Vec::new();
    for case in &cases {
        let (method, given) = (case["method"].as_str().expect("a method"), &case["given"]);
        let metric = given["metric"].as_str().unwrap_or_default();
        let column = metric.split(' ').next().expect("a column");
        let value = match given["cap"].as_f64() {
            Some(cap) => format!("least({column}, {cap})::float8"),
            None => format!("{column}::float8"),
        };
        let is_treatment = "version = 'gate_40'";
        let query = match method {
            "proportion" => {
                format!("select (r).*, (r).p1 control_rate, (r).p2 treatment_rate from (select ab_ztest_agg({column}, {is_treatment}) r from player) a")
            }
            "welch" => format!(
                "select (r).*, (r).ci_low low, (r).ci_high high, (r).se standard_error, (r).df degrees_of_freedom
                    from (select ab_ttest_agg({value}, {is_treatment}) r from player) a"
            ),
            "sample_ratio" => "select (r).* from (select ab_srm_agg(version, 1) r from player) a".to_owned(),
            "rank_sum_of_rows" => {
                format!("select (r).* from (select ab_mannwhitney_agg({value}, 1 + ({is_treatment})::integer) r from player) a")
            }
            "quantile_of_rows" => format!(
                "select (ab_quantile({value}, {q}) filter (where not {is_treatment})).estimate control, (ab_quantile({value}, {q}) filter (where {is_treatment})).estimate treatment from player",
                q = given["q"]
            ),
            // Of counts and sums, which core/src/statistics/tests/comparisons.rs compares.
            _ => continue,
        };
        let found: Value = client
            .query_one(&format!("select to_jsonb(f) from ({query}) f"), &[])
            .unwrap_or_else(|error| panic!("{query}: {error:?}"))
            .get(0);
        for (name, expected) in case["agrees"].as_object().expect("columns") {
            let (own, expected) = (found[name].as_f64(), expected.as_f64().expect("a number"));
            let own = own.unwrap_or_else(|| panic!("{name} of {metric} by {method} is missing in {found}"));
            // Theirs come from sums of squares, which cost a difference digits.
            assert!(
                (own - expected).abs() <= 1e-9 * expected.abs(),
                "{name} of {metric}: {own} is not {expected}"
            );
        }
        compared.push(method);
    }
    for (method, cases) in [
        ("proportion", 4),
        ("welch", 4),
        ("sample_ratio", 2),
        ("rank_sum_of_rows", 1),
        ("quantile_of_rows", 3),
    ] {
        assert_eq!(compared.iter().filter(|compared| **compared == method).count(), cases, "{method}");
    }
}

fn assert_figures(client: &mut Client) {
    // A statement of its own: a roll-up leaves the events of its own transaction.
    client.execute("select ab_rollup()", &[]).expect("the roll-up");
    let expected: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/statistics/cookie_cats.json")).expect("valid JSON");
    let rows = client
        .query("select to_jsonb(r) || jsonb_build_object('total', r.total) from ab_results('gate') r", &[])
        .expect("results");
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        let found: Value = row.get(0);
        let whose = format!("{} of {}", expected["metric"], expected["variant"]);
        for (column, value) in expected.as_object().expect("an object") {
            match column.as_str() {
                "kind" => {}
                "units" | "conversions" | "total" => {
                    assert_eq!(found[column].as_f64(), value.as_f64(), "{column} of {whose}");
                }
                _ => match value.as_f64() {
                    None => assert_eq!(&found[column], value, "{column} of {whose}"),
                    Some(value) => {
                        let found = found[column]
                            .as_f64()
                            .unwrap_or_else(|| panic!("{column} of {whose} is missing"));
                        assert!(
                            (found - value).abs() <= 1e-9 * value.abs(),
                            "{column} of {whose}: {found} is not {value}"
                        );
                    }
                },
            }
        }
    }
    // The closed-form answers, in so many digits, so that nobody has to trust the generator.
    let totals: Vec<(String, String, i64, String)> = client
        .query("select metric, variant, units, trim_scale(total)::text from ab_results('gate')", &[])
        .expect("results")
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect();
    let row = |metric: &str, variant: &str, units, total: &str| {
        (metric.to_owned(), variant.to_owned(), units, total.to_owned())
    };
    assert_eq!(
        totals,
        [
            row("retention_1", "gate_30", 44_700, "20034"),
            row("retention_1", "gate_40", 45_489, "20119"),
            row("retention_7", "gate_30", 44_700, "8502"),
            row("retention_7", "gate_40", 45_489, "8279"),
            row("sum_gamerounds", "gate_30", 44_700, "2344795"),
            row("sum_gamerounds", "gate_40", 45_489, "2333530"),
        ]
    );
}

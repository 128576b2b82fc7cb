//! The statistics as SQL answers them, against the vectors of SciPy, statsmodels and mpmath.

use ab_tests::{Database, sql_error};
use postgres::Client;
use serde_json::Value;

/// Calls a function by name with the arguments of each case and compares the columns that both know.
fn compare(client: &mut Client, function: &str, vectors: &str, columns: &[(&str, &str)]) {
    let cases: Vec<Value> = serde_json::from_str(vectors).expect("valid JSON");
    assert!(cases.len() >= 20, "{function} has {} cases", cases.len());
    for case in cases {
        let arguments: Vec<String> = case["given"]
            .as_object()
            .expect("arguments")
            .iter()
            .map(|(name, value)| {
                let name = if name == "variance" { "var" } else { name };
                match value.as_str() {
                    Some(text) => format!("{name} => '{text}'"),
                    None => format!("{name} => {value}"),
                }
            })
            .collect();
        let query = format!("select to_jsonb(r) from {function}({}) r", arguments.join(", "));
        let found: Value =
            client.query_one(&query, &[]).unwrap_or_else(|error| panic!("{query}: {error}")).get(0);
        for (column, expected) in columns {
            let Some(expected) = case["expected"].get(expected) else { continue };
            let found = &found[column];
            // JSON has no infinity: the vectors write it as "inf" and "-inf", to_jsonb as PostgreSQL does.
            let expected = match expected.as_str() {
                Some("inf") => &Value::from("Infinity"),
                Some("-inf") => &Value::from("-Infinity"),
                _ => expected,
            };
            match (expected.as_f64(), found.as_f64()) {
                (Some(expected), Some(found)) => assert!(
                    (found - expected).abs() <= 1e-9 * expected.abs(),
                    "{column} of {query}: {found} is not {expected}"
                ),
                _ => assert_eq!(found, expected, "{column} of {query}"),
            }
        }
    }
}

#[test]
fn sql_gives_the_figures_of_the_vectors() {
    let database = Database::new();
    let mut client = database.connect();
    compare(
        &mut client,
        "ab_ttest",
        include_str!("../vectors/statistics/welch.json"),
        &[
            ("diff", "diff"),
            ("se", "standard_error"),
            ("statistic", "statistic"),
            ("df", "degrees_of_freedom"),
            ("p_value", "p_value"),
            ("ci_low", "low"),
            ("ci_high", "high"),
            ("lift", "lift"),
            ("lift_low", "lift_low"),
            ("lift_high", "lift_high"),
            ("note", "note"),
        ],
    );
    compare(
        &mut client,
        "ab_ztest",
        include_str!("../vectors/statistics/proportion_test.json"),
        &[
            ("p1", "control_rate"),
            ("p2", "treatment_rate"),
            ("diff", "diff"),
            ("statistic", "statistic"),
            ("p_value", "p_value"),
            ("ci_low", "low"),
            ("ci_high", "high"),
            ("lift", "lift"),
            ("lift_low", "lift_low"),
            ("lift_high", "lift_high"),
            ("note", "note"),
        ],
    );
    let interval = [("ci_low", "low"), ("ci_high", "high")];
    compare(&mut client, "ab_mean_ci", include_str!("../vectors/statistics/mean_interval.json"), &interval);
    compare(
        &mut client,
        "ab_proportion_ci",
        include_str!("../vectors/statistics/proportion_interval.json"),
        &interval,
    );
}

#[test]
fn a_null_gives_a_row_that_says_so() {
    let database = Database::new();
    let mut client = database.connect();
    for call in [
        "ab_ttest(null, 1, 1, 2, 1, 1)",
        "ab_ztest(1, null, 1, 1)",
        "ab_mean_ci(2, null, 1)",
        "ab_proportion_ci(1, 2, null)",
    ] {
        let row: Value =
            client.query_one(&format!("select to_jsonb(r) from {call} r"), &[]).expect("one row").get(0);
        assert_eq!(row["note"], "null_input", "{call}");
        assert_eq!(row["ci_low"], Value::Null, "{call}");
    }
}

#[test]
fn numbers_that_no_data_can_have_are_refused_by_name() {
    let database = Database::new();
    let mut client = database.connect();
    for (call, argument) in [
        ("ab_ttest(-1, 1, 1, 2, 1, 1)", "n1"),
        ("ab_ttest(2, 'NaN', 1, 2, 1, 1)", "mean1"),
        ("ab_ttest(2, 1, -1, 2, 1, 1)", "var1"),
        ("ab_ttest(2, 1, 1, 2, 1, 'Infinity')", "var2"),
        ("ab_ttest(2, 1, 1, 2, 1, 1, 1)", "alpha"),
        ("ab_ttest(2, 1, 1, 2, 1, 1, 0.05, 'both')", "alternative"),
        ("ab_ztest(10, 11, 10, 1)", "x1"),
        ("ab_ztest(10, 1, 10, -1)", "x2"),
        ("ab_ztest(10, 1, 10, 1, 'NaN')", "alpha"),
        ("ab_proportion_ci(3, 2)", "x"),
        ("ab_mean_ci(2, 1, 'NaN')", "variance"),
    ] {
        let error = sql_error(client.query(&format!("select * from {call}"), &[]));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_argument"), "{call}");
        assert!(error.message.starts_with(argument), "{call}: {}", error.message);
    }
}

//! What the README and the documents tell people to paste does what they say.

use std::process::Command;

use ab_embedded::Gateway;
use ab_tests::{Database, cluster};

const README: &str = include_str!("../../README.md");

const ASSIGNMENT: &str = include_str!("../../docs/assignment.md");

const EVENTS: &str = include_str!("../../docs/events.md");

const METRICS: &str = include_str!("../../docs/metrics.md");

const STATISTICS: &str = include_str!("../../docs/statistics.md");

/// The fenced blocks of one language in the README, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    blocks_of(README, language)
}

fn blocks_of(document: &'static str, language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    document.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().expect("an end")).collect()
}

#[test]
fn five_statements_lead_to_a_result() {
    let database = bare_database("readme_first_steps");
    let script = blocks("sql")[0];
    let statements = script.lines().filter(|line| line.trim_end().ends_with(';')).count();
    assert_eq!(statements, 1 + 5, "CREATE EXTENSION and five statements: {script}");
    let printed = cluster().psql(&database, script).expect("the script");
    let rows: Vec<Vec<&str>> = printed.lines().rev().take(2).map(|line| line.split('|').collect()).collect();
    assert_eq!(rows[0][0], "green", "{printed}");
    assert_eq!(rows[1][0], "control", "{printed}");
    let units: i64 = rows.iter().map(|row| row[1].parse::<i64>().expect("a count")).sum();
    assert_eq!(units, 2000);
    let p_value: f64 = rows[0][5].parse().expect("a p-value");
    assert!(p_value < 0.001, "{printed}");
}

#[test]
fn every_other_sql_block_runs() {
    let database = bare_database("readme_other_blocks");
    for (index, script) in blocks("sql").into_iter().enumerate() {
        cluster().psql(&database, script).unwrap_or_else(|error| panic!("block {index}: {error}"));
    }
    cluster().psql(&database, "drop owned by shop; drop role shop").expect("the role can go");
}

#[test]
fn the_sql_of_the_document_on_assignment_runs() {
    let database = bare_database("document_on_assignment");
    let scripts = blocks_of(ASSIGNMENT, "sql");
    assert!(scripts.len() > 10);
    for (index, script) in scripts.into_iter().enumerate() {
        cluster().psql(&database, script).unwrap_or_else(|error| panic!("block {index}: {error}"));
    }
}

#[test]
fn the_sql_of_the_document_on_events_runs() {
    let database = bare_database("document_on_events");
    let scripts = blocks_of(EVENTS, "sql");
    assert!(scripts.len() > 5);
    for (index, script) in scripts.into_iter().enumerate() {
        let printed =
            cluster().psql(&database, script).unwrap_or_else(|error| panic!("block {index}: {error}"));
        // The comments say what is printed.
        if script.contains("-- accepted 1, duplicate 1, rejected 1") {
            assert_eq!(printed.trim(), "1|1|1");
        } else if script.contains("-- accepted 1") {
            assert!(printed.trim().ends_with("1|0|0"), "{printed}");
        }
    }
    let stored = cluster().psql(&database, "select count(*) from ab.event where event_name = 'purchase'");
    assert_eq!(stored.expect("a count").trim(), "1003");
}

#[test]
fn the_sql_of_the_document_on_metrics_runs() {
    let database = bare_database("document_on_metrics");
    cluster().psql(&database, "create extension pg_ab").expect("the extension");
    let scripts = blocks_of(METRICS, "sql");
    assert!(scripts.len() > 7);
    for (index, script) in scripts.into_iter().enumerate() {
        let printed =
            cluster().psql(&database, script).unwrap_or_else(|error| panic!("block {index}: {error}"));
        if script.contains("ab_results_by") {
            assert!(printed.contains("\nNZ|") || printed.starts_with("NZ|"), "{printed}");
        } else if script.contains("FROM ab.daily_result") {
            assert!(printed.contains("|1|1") && printed.contains("|NZ|1"), "{printed}");
        }
    }
}

#[test]
fn the_sql_of_the_document_on_statistics_prints_what_it_shows() {
    let database = bare_database("document_on_statistics");
    let mut shown = 0;
    // A block of text shows what the SQL before it prints.
    for (index, rest) in STATISTICS.split("```sql\n").skip(1).enumerate() {
        let (script, rest) = rest.split_once("```").expect("an end");
        let printed =
            cluster().psql(&database, script).unwrap_or_else(|error| panic!("block {index}: {error}"));
        let Some(text) = rest.trim_start().strip_prefix("```text\n") else { continue };
        shown += 1;
        // psql prints rows without the names of their columns, which the document has in front of each statement's.
        let mut found = printed.lines().peekable();
        for line in text.split("```").next().expect("an end").lines() {
            if found.peek().is_some_and(|found| is_shown_as(found, line)) {
                found.next();
            } else {
                assert!(is_heading(line), "block {index} prints {:?} and not {line}", found.peek());
            }
        }
        assert_eq!(found.next(), None, "block {index} prints more");
    }
    assert!(shown > 20);
}

/// Whether a row that psql prints is that of the document, where `…` stands for digits and cells are padded.
fn is_shown_as(row: &str, line: &str) -> bool {
    let (found, shown): (Vec<&str>, Vec<&str>) = (row.split('|').collect(), line.split('|').collect());
    found.len() == shown.len()
        && found.iter().zip(shown).all(|(found, shown)| match shown.trim().split_once('…') {
            Some((start, end)) => found.starts_with(start) && found.ends_with(end),
            None => *found == shown.trim(),
        })
}

/// Names of columns are no figures.
fn is_heading(line: &str) -> bool {
    line.split('|').all(|cell| cell.trim().starts_with(|letter: char| letter.is_ascii_lowercase()))
}

#[test]
fn the_curl_lines_answer() {
    let database = Database::new();
    let script = blocks("sql")[0];
    database.psql(script);
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let block = blocks("sh").into_iter().find(|block| block.contains("curl")).expect("a block with curl");
    let lines = block.replace(r#"eval "$(make env)""#, &format!("AB_URL={}", gateway.url()));
    assert_ne!(lines, block, "the block must take its URL from make env");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &lines.replace("curl -s", "curl -sS --fail")])
        .output()
        .expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for expected in ["\"variant_id\":\"", "\"success\":true", "\"results\":["] {
        assert!(printed.contains(expected), "{expected} is missing in {printed}");
    }
}

#[test]
fn every_make_target_it_names_exists() {
    let makefile = include_str!("../../Makefile");
    let mut named = 0;
    for word in README.split("make ").skip(1) {
        let target: String = word.chars().take_while(char::is_ascii_lowercase).collect();
        if target.is_empty() || !makefile.contains(&format!("\n{target}:")) {
            assert!(["it", "a", "the"].contains(&target.as_str()), "make {target} is not in the Makefile");
            continue;
        }
        named += 1;
    }
    assert!(named >= 6);
}

/// A database without the extension, because the README creates it.
fn bare_database(name: &str) -> String {
    cluster().create_database(name, None).expect("a database");
    name.to_owned()
}

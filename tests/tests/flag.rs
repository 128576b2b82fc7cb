//! Feature flags as their owners make and change them, and what waits for what.

use ab_tests::{Database, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

fn code(client: &mut Client, statement: &str) -> String {
    sql_error(client.batch_execute(statement)).code
}

fn document(client: &mut Client, flag: &str) -> String {
    let query = format!("select document from ab_config_changes() where kind = 'flag' and key = '{flag}'");
    one(client, &query).unwrap_or_default()
}

#[test]
fn a_flag_has_the_values_its_kind_suggests() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_flag(k, k) from unnest('{boolean,string,number,json}'::text[]) k;
           select ab_create_flag('given', 'string', '"on"', off_value => '"off"')"#,
    );
    let values = one(
        &mut client,
        "select string_agg(concat_ws(' ', flag, default_value, off_value, ab_flag('u', flag)), ', ' order by flag_id) from ab.flag",
    );
    assert_eq!(
        values.as_deref(),
        Some(
            r#"boolean false false false, string "" "" "", number 0 0 0, json null null null, given "on" "off" "on""#
        )
    );
    assert_eq!(one(&mut client, "select ab_flag('u', 'nowhere')"), None);
}

#[test]
fn killing_a_flag_is_one_statement_and_so_is_reviving_it() {
    let mut client = Database::new().connect();
    run(&mut client, "select ab_create_flag('f', rules => '[{\"value\": true}]')");
    let answer = |client: &mut Client| one(client, "select ab_flag_enabled('u', 'f')").unwrap();
    assert_eq!(answer(&mut client), "t");
    run(&mut client, "select ab_kill('f'), ab_kill('f')");
    assert_eq!(answer(&mut client), "f");
    assert!(document(&mut client, "f").contains(r#""killed": true"#));
    run(&mut client, "select ab_revive('f')");
    assert_eq!(answer(&mut client), "t");
    run(&mut client, "update ab.flag set is_killed = true");
    assert_eq!(one(&mut client, "select killed_at is not null from ab.flag").as_deref(), Some("t"));
    assert_eq!(answer(&mut client), "f");
    run(&mut client, "select ab_delete_flag('f')");
    assert_eq!(document(&mut client, "f"), "");
    let gone = "select count(*) from ab_config_changes(0) where kind = 'flag' and document is null";
    assert_eq!(one(&mut client, gone).as_deref(), Some("1"));
    assert_eq!(answer(&mut client), "f");
}

#[test]
fn a_split_moves_as_few_users_as_it_must() {
    let mut client = Database::new().connect();
    let rules = |red: u32| {
        format!(r#"[{{"split": [{{"value": "red", "weight": {red}}}, {{"value": "blue", "weight": 50}}]}}]"#)
    };
    run(
        &mut client,
        &format!(
            "select ab_create_flag('f', 'string', rules => '{}'); create table kept as select n, ab_flag(n::text, 'f') as value from generate_series(1, 2000) n;
             select ab_set_flag('f', '{}')",
            rules(50),
            rules(150)
        ),
    );
    let moved = one(
        &mut client,
        "select string_agg(distinct format('%s %s', value, ab_flag(n::text, 'f')), ', ') from kept where value <> ab_flag(n::text, 'f')",
    );
    assert_eq!(moved.as_deref(), Some(r#""blue" "red""#), "nobody leaves what has grown");
    for immutable in ["flag = 'g'", "kind = 'json'", "salt = 's'", "unit = 'account'"] {
        assert_eq!(code(&mut client, &format!("update ab.flag set {immutable}")), "immutable", "{immutable}");
    }
}

#[test]
fn nothing_waits_for_itself() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_experiment('a'), ab_create_experiment('b');
           select ab_create_flag('f', rules => '[{"experiment": "a", "values": {"control": false, "treatment": true}}]');
           select ab_set_prerequisites('b', '[{"flag": "f", "values": [true]}]')"#,
    );
    for circle in [
        r#"select ab_set_prerequisites('a', '[{"experiment": "b", "assigned": true}]')"#,
        r#"update ab.experiment set prerequisites = '[{"flag": "f", "values": [true]}]' where experiment = 'a'"#,
        r#"select ab_set_flag('f', prerequisites => '[{"experiment": "b", "variants": ["control"]}]')"#,
        r#"select ab_set_flag('f', prerequisites => '[{"flag": "f", "values": [true]}]')"#,
        r#"insert into ab.experiment (experiment, prerequisites) values ('c', '[{"experiment": "c", "assigned": false}]')"#,
    ] {
        let error = sql_error(client.batch_execute(circle));
        assert_eq!(
            (error.sqlstate.as_str(), error.code.as_str()),
            ("22023", "prerequisite_cycle"),
            "{circle}"
        );
    }
    for (unknown, expected) in [
        (
            r#"update ab.experiment set prerequisites = '[{"experiment": "nowhere", "assigned": true}]'"#,
            "experiment_not_found",
        ),
        (
            r#"update ab.experiment set prerequisites = '[{"flag": "nowhere", "values": [true]}]'"#,
            "flag_not_found",
        ),
        (
            r#"update ab.flag set rules = '[{"when": {"operator": "in_segment", "values": ["nowhere"]}, "value": true}]'"#,
            "segment_not_found",
        ),
        (r#"update ab.flag set rules = '[{"value": 1}]'"#, "invalid_flag"),
        (
            r#"insert into ab.flag (flag, default_value, off_value) values ('g', '1', 'false')"#,
            "invalid_flag",
        ),
    ] {
        assert_eq!(code(&mut client, unknown), expected, "{unknown}");
    }
}

#[test]
fn numbers_that_are_waited_for_are_exact() {
    let mut client = Database::new().connect();
    for (number, (value, wanted, expected)) in [
        ("9007199254740993.0", "9007199254740992.0", "prerequisite"),
        ("9007199254740993.0", "9007199254740993", "split"),
        ("123456789012345678901", "123456789012345678902", "prerequisite"),
        ("0.1", "0.10000000000000000001", "prerequisite"),
        (r#"{"a": [0.10]}"#, r#"{"a": [0.1]}"#, "split"),
        (r#"{"a": [9007199254740993]}"#, r#"{"a": [9007199254740992]}"#, "prerequisite"),
        ("1e400", "1", "prerequisite"),
    ]
    .into_iter()
    .enumerate()
    {
        run(
            &mut client,
            &format!(
                r#"select ab_create_flag('f{number}', 'json', '{value}');
                   select ab_create_experiment('x{number}', prerequisites => '[{{"flag": "f{number}", "values": [{wanted}]}}]'); select ab_start('x{number}')"#
            ),
        );
        let reason = one(&mut client, &format!("select ab_assign_reason('u', 'x{number}')"));
        assert_eq!(reason.as_deref(), Some(expected), "{value} {wanted}");
    }
    let beyond = r#"select ab_set_prerequisites('x0', '[{"flag": "f0", "values": [1e400]}]')"#;
    let error = sql_error(client.batch_execute(beyond));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_prerequisite"));
    assert!(error.message.contains("has more than the 28 digits that are compared"), "{}", error.message);
}

#[test]
fn only_a_restore_brings_layouts() {
    let mut client = Database::new().connect();
    let rules = r#"[{"value": "x", "percent": 1}, {"split": [{"value": "a", "weight": 1}, {"value": "b", "weight": 3}]}]"#;
    run(&mut client, &format!("select ab_create_flag('plain', 'string', rules => '{rules}')"));
    let layout = |client: &mut Client, flag: &str| {
        one(client, &format!("select layouts from ab.flag where flag = '{flag}'")).expect("a layout")
    };
    let computed = layout(&mut client, "plain");
    for (number, wrong) in [
        "{}",
        "null",
        "1",
        "[]",
        "[null, null]",
        r#"[null, [{"from": 0, "to": 250000, "variant": 0}]]"#,
        r#"[null, [{"from": 0, "to": 250000, "variant": 0}, {"from": 250000, "to": 1000000, "variant": 2}]]"#,
        r#"[null, [{"from": 0, "to": 500000, "variant": 0}, {"from": 500000, "to": 1000000, "variant": 1}]]"#,
        r#"[[{"from": 0, "to": 1000000, "variant": 0}], [{"from": 0, "to": 250000, "variant": 0}, {"from": 250000, "to": 1000000, "variant": 1}]]"#,
    ]
    .into_iter()
    .enumerate()
    {
        run(
            &mut client,
            &format!(
                "insert into ab.flag (flag, kind, default_value, off_value, rules, layouts) values ('f{number}', 'string', '\"\"', '\"\"', '{rules}', '{wrong}')"
            ),
        );
        assert_eq!(layout(&mut client, &format!("f{number}")), computed, "{wrong}");
    }
    run(&mut client, "update ab.flag set layouts = '[]' where flag = 'plain'");
    assert_eq!(layout(&mut client, "plain"), computed);
    // As it comes about when the weights were others before.
    let moved =
        r#"[null, [{"to": 750000, "from": 0, "variant": 1}, {"to": 1000000, "from": 750000, "variant": 0}]]"#;
    run(
        &mut client,
        &format!(
            "insert into ab.flag (flag, kind, default_value, off_value, rules, layouts) values ('restored', 'string', '\"\"', '\"\"', '{rules}', '{moved}')"
        ),
    );
    assert_eq!(layout(&mut client, "restored"), moved);
    let unanswered = one(&mut client, "select count(*) from ab.flag where ab_flag('u', flag) is null");
    assert_eq!(unanswered.as_deref(), Some("0"));
}

#[test]
fn whatever_is_true_is_enabled() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_flag('plain', default_value => 'true'), ab_create_flag('json', 'json', 'true'), ab_create_flag('text', 'string', '"true"')"#,
    );
    let enabled = one(
        &mut client,
        "select concat_ws(' ', ab_flag_enabled('u', 'plain'), ab_flag_enabled('u', 'json'), ab_flag_enabled('u', 'text'), ab_flag_enabled('u', 'none'))",
    );
    assert_eq!(enabled.as_deref(), Some("t t f f"));
}

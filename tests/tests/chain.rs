//! How far decisions follow what depends on each other, and that what is longer is refused when it is written.

use ab_tests::{Database, SqlError, assert_calm_log, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

fn refused(client: &mut Client, statement: &str) -> SqlError {
    let error = sql_error(client.batch_execute(statement));
    assert_eq!(error.sqlstate, "22023", "{statement}: {}", error.message);
    error
}

/// Puts members 2 to `last` in front of each other; each is made from the one before it.
fn lengthen(client: &mut Client, last: usize, member: impl Fn(usize, usize) -> String) {
    for number in 2..=last {
        run(client, &member(number, number - 1));
    }
}

#[test]
fn segments_contain_each_other_32_in_a_row() {
    let mut client = Database::new().connect();
    let rule = |key: &str| format!(r#"{{"not": {{"operator": "in_segment", "values": ["{key}"]}}}}"#);
    run(&mut client, r#"select ab_create_segment('s1', '{"any": []}')"#);
    lengthen(&mut client, 32, |number, before| {
        format!("select ab_create_segment('s{number}', '{}')", rule(&format!("s{before}")))
    });
    // Each turns the one before it round: the one at the end is empty, so those with an even number are everybody's.
    run(
        &mut client,
        r#"select ab_create_experiment('in', '{"a": 1, "b": 0.001}', targeting => '{"operator": "in_segment", "values": ["s32"]}');
           select ab_create_experiment('out', targeting => '{"operator": "in_segment", "values": ["s31"]}'); select ab_start('in'), ab_start('out')"#,
    );
    let reasons =
        one(&mut client, "select concat_ws(' ', ab_assign_reason('u', 'in'), ab_assign_reason('u', 'out'))");
    assert_eq!(reasons.as_deref(), Some("split not_targeted"));
    let insert = format!(
        "insert into ab.segment (workspace_id, segment, kind, rule) select workspace_id, 's33', 'rule', '{}' from ab.workspace",
        rule("s32")
    );
    for longer in [
        format!("select ab_create_segment('s33', '{}')", rule("s32")),
        insert.clone(),
        // At the other end it is what leads there that gets too long.
        "select ab_create_segment('s0'); update ab.segment set rule = '{\"operator\": \"in_segment\", \"values\": [\"s0\"]}' where segment = 's1'".to_owned(),
    ] {
        let error = refused(&mut client, &longer);
        assert_eq!(error.code, "invalid_rule", "{longer}");
        assert!(error.message.contains("33 segments") && error.message.contains("at most 32"), "{}", error.message);
    }
    // What got in all the same, as by a half-failed restore, lets nobody in, also where "not" turns it round.
    run(
        &mut client,
        &format!("set session_replication_role = replica; {insert}; reset session_replication_role"),
    );
    run(&mut client, &format!("select ab_set_targeting('in', '{}')", rule("s33")));
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'in')").as_deref(), Some("not_targeted"));
    let told = one(&mut client, "select detail from ab_explain('u', 'in') where step = 'cut_off'");
    assert_eq!(
        told.as_deref(),
        Some("a chain of what depends on each other is longer than 32: from here on nothing matches")
    );
    assert_calm_log();
}

#[test]
fn experiments_and_flags_wait_for_each_other_32_in_a_row() {
    let mut client = Database::new().connect();
    let prerequisites = |number: usize| {
        if number.is_multiple_of(2) {
            format!(r#"[{{"flag": "k{number}", "values": [true]}}]"#)
        } else {
            format!(r#"[{{"experiment": "k{number}", "assigned": true}}]"#)
        }
    };
    run(&mut client, "select ab_create_experiment('k1'); select ab_start('k1')");
    let member = |number: usize, before: usize| {
        let prerequisites = prerequisites(before);
        if number.is_multiple_of(2) {
            format!(
                "select ab_create_flag('k{number}', default_value => 'true', prerequisites => '{prerequisites}')"
            )
        } else {
            format!(
                "select ab_create_experiment('k{number}', prerequisites => '{prerequisites}'); select ab_start('k{number}')"
            )
        }
    };
    lengthen(&mut client, 32, member);
    assert_eq!(one(&mut client, "select ab_flag('u', 'k32')").as_deref(), Some("true"));
    run(
        &mut client,
        "select ab_create_experiment('free'); select ab_create_flag('first', default_value => 'true')",
    );
    // A rule and a prerequisite on the same experiment are one link, and another branch may be as long as this one.
    run(
        &mut client,
        r#"select ab_set_flag('k2', '[{"experiment": "k1"}]', prerequisites => '[{"experiment": "k1", "assigned": true}, {"flag": "first", "values": [true]}]')"#,
    );
    for longer in [
        member(33, 32),
        format!("select ab_set_prerequisites('free', '{}')", prerequisites(32)),
        format!("insert into ab.experiment (experiment, prerequisites) values ('k33', '{}')", prerequisites(32)),
        r#"select ab_set_prerequisites('k1', '[{"flag": "first", "values": [true]}]')"#.to_owned(),
        r#"update ab.flag set prerequisites = '[{"experiment": "free", "assigned": false}]' where flag = 'first'"#.to_owned(),
    ] {
        let error = refused(&mut client, &longer);
        assert_eq!(error.code, "invalid_prerequisite", "{longer}");
        assert!(
            error.message.contains("33 experiments and flags") && error.message.contains("at most 32"),
            "{}",
            error.message
        );
    }
    assert_calm_log();
}

#[test]
fn ten_thousand_segments_in_one_list_are_all_looked_at() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select count(ab_create_segment('l' || n)) from generate_series(1, 10000) n; select ab_create_segment('adults', '{"all": []}');
           select ab_add_members('l9999', '{u}'); select ab_add_members('l1', '{v}'); select ab_create_flag('first', default_value => 'true');
           select ab_create_experiment('x', prerequisites => '[{"flag": "first", "values": [true]}]');
           select ab_set_targeting('x', jsonb_build_object('operator', 'in_segment', 'values', (select jsonb_agg('l' || n) from generate_series(1, 10000) n)));
           select ab_start('x')"#,
    );
    let reasons = one(
        &mut client,
        "select concat_ws(' ', ab_assign_reason('u', 'x'), ab_assign_reason('v', 'x'), ab_assign_reason('w', 'x'))",
    );
    assert_eq!(reasons.as_deref(), Some("split split not_targeted"));
    assert_calm_log();
}

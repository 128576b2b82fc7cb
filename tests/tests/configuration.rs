//! Experiments and metrics as their owners make and change them: by function and by plain DML, held to the same rules.

use std::thread;
use std::time::Duration;

use ab_tests::{Database, SqlError, one, sql_error};
use postgres::Client;

fn refused(client: &mut Client, statement: &str) -> SqlError {
    sql_error(client.batch_execute(statement))
}

fn code(client: &mut Client, statement: &str) -> String {
    refused(client, statement).code
}

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

/// The variants of an experiment as `key:weight`, the control marked, in written order.
fn variants(client: &mut Client, experiment: &str) -> String {
    one(
        client,
        &format!(
            "select string_agg(v.variant || ':' || trim_scale(v.weight) || case when v.is_control then '*' else '' end, ' ' order by v.variant_id)
             from ab.variant v join ab.experiment x using (experiment_id) where x.experiment = '{experiment}'"
        ),
    )
    .unwrap_or_default()
}

/// The ranges of a phase as `variant from-to`.
fn ranges(client: &mut Client, experiment: &str, phase: i32) -> String {
    one(
        client,
        &format!(
            "select string_agg(format('%s %s-%s', r.variant, r.from_bucket, r.to_bucket), ', ' order by r.from_bucket)
             from ab.variant_range r join ab.experiment x using (experiment_id)
             where x.experiment = '{experiment}' and r.phase = {phase}"
        ),
    )
    .unwrap_or_default()
}

fn phases(client: &mut Client, experiment: &str) -> String {
    one(
        client,
        &format!(
            "select string_agg(format('%s:%s', p.phase, trim_scale(p.traffic)), ' ' order by p.phase)
             from ab.phase p join ab.experiment x using (experiment_id) where x.experiment = '{experiment}'"
        ),
    )
    .unwrap_or_default()
}

fn status(client: &mut Client, experiment: &str) -> String {
    one(client, &format!("select status from ab.experiment where experiment = '{experiment}'"))
        .unwrap_or_default()
}

#[test]
fn variants_keep_their_written_order_in_both_forms() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_experiment('plain');
           select ab_create_experiment('object', '{"zebra": 1, "apple": 2.5, "control": 0.000000001}');
           select ab_create_experiment('list', '[{"key": "z", "weight": 3, "name": "Zed", "config": {"b": 1, "a": [2]}},
                                                {"weight": 1, "key": "y", "name": null, "config": null}]');
           select ab_create_experiment('named', '{"a": 1, "control": 1}', control => 'a');"#,
    );
    assert_eq!(variants(&mut client, "plain"), "control:50* treatment:50");
    assert_eq!(variants(&mut client, "object"), "zebra:1 apple:2.5 control:0.000000001*");
    assert_eq!(variants(&mut client, "list"), "z:3* y:1");
    assert_eq!(variants(&mut client, "named"), "a:1* control:1");
    let described = one(
        &mut client,
        "select string_agg(format('%s|%s|%s', variant, name, config), ' ' order by variant_id) from ab.variant where name is not null or config is not null",
    );
    assert_eq!(described.as_deref(), Some(r#"z|Zed|{"a": [2], "b": 1}"#));
    run(&mut client, "select ab_start('object')");
    assert_eq!(
        ranges(&mut client, "object", 1),
        "zebra 0-285714, apple 285714-1000000",
        "a share below one in a million gets no bucket"
    );
}

#[test]
fn every_field_given_is_kept() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_metric('orders', 'purchase', 'count', 'how many orders');
         select ab_create_experiment('full', control => 'treatment', description => 'd', hypothesis => 'h', primary_metric => 'orders',
             owner => 'growth', starts_at => '2030-01-01 00:00Z', ends_at => '2030-02-01 00:00Z', traffic => 12.5, salt => 's.1', name => 'Full')",
    );
    let row = client
        .query_one(
            "select concat_ws('|', x.name, x.description, x.hypothesis, x.owner, x.salt, x.status, x.traffic, x.starts_at, x.ends_at, x.created_by,
                    x.started_at is null, m.role, d.metric, d.kind, d.description)
             from ab.experiment x join ab.experiment_metric m using (experiment_id) join ab.metric d using (metric_id)",
            &[],
        )
        .unwrap();
    assert_eq!(
        row.get::<_, String>(0),
        "Full|d|h|growth|s.1|draft|12.5000|2030-01-01 00:00:00+00|2030-02-01 00:00:00+00|postgres|t|primary|orders|count|how many orders"
    );
}

#[test]
fn definitions_that_make_no_experiment_are_refused_whole() {
    let mut client = Database::new().connect();
    for (variants, message) in [
        ("{}", "an experiment needs two variants and was given 0"),
        (r#"{"only": 1}"#, "an experiment needs two variants and was given 1"),
        ("[]", "an experiment needs two variants and was given 0"),
        (r#"{"a": 1, "b": 1, "a": 2}"#, "variant \"a\" is written twice"),
        (r#"[{"key": "a", "weight": 1}, {"key": "a", "weight": 1}]"#, "variant \"a\" is written twice"),
        (
            r#"[{"key": "a", "weight": 1, "weight": 2}, {"key": "b", "weight": 1}]"#,
            "variant \"a\" has the field \"weight\" twice",
        ),
        (r#"{"a": 0, "b": 1}"#, "weight of variant \"a\" is 0"),
        (r#"{"a": -0.0, "b": 1}"#, "weight of variant \"a\" is -0.0"),
        (r#"{"a": -1, "b": 1}"#, "weight of variant \"a\" is -1"),
        (r#"{"a": 1e-10, "b": 1}"#, "weight of variant \"a\" is 1e-10"),
        (r#"{"a": 1e400, "b": 1}"#, "weight of variant \"a\" is 1e400"),
        (r#"{"a": 1000000000, "b": 1}"#, "weight of variant \"a\" is 1000000000"),
        (r#"{"a": "NaN", "b": 1}"#, "weight of variant \"a\" is \"NaN\""),
        (r#"{"a": "1", "b": 1}"#, "weight of variant \"a\" is \"1\""),
        (r#"{"a": null, "b": 1}"#, "weight of variant \"a\" is null"),
        (r#"{"a": {"weight": 1}, "b": 1}"#, "weight of variant \"a\" is {\"weight\": 1}"),
        (r#"[{"key": "a"}, {"key": "b", "weight": 1}]"#, "weight of variant \"a\" is missing"),
        (r#"[{"weight": 1}, {"key": "b", "weight": 1}]"#, "a variant has no key"),
        (r#"[{"key": null, "weight": 1}, {"key": "b", "weight": 1}]"#, "a variant has no key"),
        (r#"[{"key": 5, "weight": 1}, {"key": "b", "weight": 1}]"#, "a variant's key is a JSON number"),
        (
            r#"[{"key": "a", "weight": 1, "name": {}}, {"key": "b", "weight": 1}]"#,
            "name of variant \"a\" is a JSON object",
        ),
        (
            r#"[{"key": "a", "weight": 1, "color": 1}, {"key": "b", "weight": 1}]"#,
            "variant \"a\" has the unknown field \"color\"",
        ),
        (r#"["a", "b"]"#, "a variant is a JSON string"),
        ("[null, 1]", "a variant is a JSON null"),
        ("[[1], [2]]", "a variant is a JSON array"),
        ("7", "variants are a JSON number"),
        ("null", "variants are a JSON null"),
    ] {
        let error = refused(&mut client, &format!("select ab_create_experiment('bad', '{variants}')"));
        assert_eq!(
            (error.sqlstate.as_str(), error.code.as_str(), error.message.as_str()),
            ("22023", "invalid_variants", message),
            "{variants}"
        );
        assert!(!error.hint.is_empty(), "{variants}");
    }
    let error = refused(&mut client, "select ab_create_experiment('bad', null)");
    assert_eq!((error.code.as_str(), error.message.as_str()), ("invalid_variants", "variants are NULL"));
    let error = refused(&mut client, r#"select ab_create_experiment('bad', '{"a:b": 1, "b": 1}')"#);
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_key"));
    for malformed in ["", "{", r#"{"a": 50, }"#, r#"{"a": NaN}"#, "{'a': 1}"] {
        let statement = format!("select ab_create_experiment('bad', '{}')", malformed.replace('\'', "''"));
        assert_eq!(refused(&mut client, &statement).sqlstate, "22P02", "{malformed}");
    }
    assert_eq!(one(&mut client, "select count(*) from ab.experiment").as_deref(), Some("0"));
}

#[test]
fn an_experiment_lives_one_life() {
    let mut client = Database::new().connect();
    run(&mut client, "select ab_create_experiment('life')");
    for step in ["ab_pause", "ab_resume", "ab_stop"] {
        let error = refused(&mut client, &format!("select {step}('life')"));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("55000", "wrong_status"), "{step}");
        assert!(error.message.contains("\"life\" is draft"), "{error:?}");
    }
    run(&mut client, "select ab_start('life')");
    assert_eq!(code(&mut client, "select ab_start('life')"), "wrong_status");
    assert_eq!(code(&mut client, "select ab_resume('life')"), "wrong_status");
    run(&mut client, "select ab_pause('life')");
    assert_eq!(status(&mut client, "life"), "paused");
    assert_eq!(code(&mut client, "select ab_pause('life')"), "wrong_status");
    assert_eq!(code(&mut client, "select ab_start('life')"), "wrong_status");
    run(&mut client, "select ab_resume('life'); select ab_pause('life'); select ab_stop('life')");
    for step in ["ab_start", "ab_pause", "ab_resume", "ab_stop"] {
        assert_eq!(code(&mut client, &format!("select {step}('life')")), "wrong_status", "{step}");
    }
    assert_eq!(phases(&mut client, "life"), "1:100", "a pause is no change of allocation");
    let dated = one(
        &mut client,
        "select started_at >= created_at and stopped_at > started_at from ab.experiment where experiment = 'life'",
    );
    assert_eq!(dated.as_deref(), Some("t"));
}

#[test]
fn plain_dml_is_held_to_the_same_rules() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "insert into ab.experiment (experiment) values ('dml');
         insert into ab.variant (experiment_id, variant)
         select experiment_id, 'only' from ab.experiment where experiment = 'dml'",
    );
    let defaults = one(
        &mut client,
        "select concat_ws('|', w.workspace, x.salt, x.status, x.traffic) from ab.experiment x join ab.workspace w using (workspace_id)",
    );
    assert_eq!(defaults.as_deref(), Some("default|dml|draft|100.0000"));
    let to = |state: &str| format!("update ab.experiment set status = '{state}' where experiment = 'dml'");
    assert_eq!(code(&mut client, &to("running")), "invalid_variants");
    run(
        &mut client,
        "insert into ab.variant (experiment_id, variant, weight)
         select experiment_id, 'other', 3 from ab.experiment where experiment = 'dml'",
    );
    for wrong in ["paused", "stopped", "over"] {
        assert_eq!(code(&mut client, &to(wrong)), "wrong_status", "draft to {wrong}");
    }
    run(&mut client, &to("running"));
    assert_eq!(ranges(&mut client, "dml", 1), "only 0-250000, other 250000-1000000");
    assert_eq!(code(&mut client, &to("draft")), "wrong_status");

    for immutable in [
        "update ab.experiment set experiment = 'renamed' where experiment = 'dml'",
        "update ab.experiment set salt = 'another' where experiment = 'dml'",
        "update ab.experiment set started_at = now() - interval '1 day' where experiment = 'dml'",
        "update ab.experiment set started_at = null where experiment = 'dml'",
        "update ab.experiment set experiment_id = 77 where experiment = 'dml'",
        "update ab.variant set variant = 'renamed' where variant = 'only'",
        "update ab.variant set variant_id = 1000 where variant = 'only'",
        "delete from ab.variant where variant = 'only'",
    ] {
        let error = refused(&mut client, immutable);
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("55000", "immutable"), "{immutable}");
    }
    for invalid in [
        "update ab.variant set weight = 0 where variant = 'only'",
        "update ab.variant set weight = -1 where variant = 'only'",
        "update ab.variant set weight = 'NaN' where variant = 'only'",
        "update ab.experiment set traffic = 101 where experiment = 'dml'",
        "update ab.experiment set traffic = -0.001 where experiment = 'dml'",
        "update ab.experiment set traffic = 'NaN' where experiment = 'dml'",
        "update ab.experiment set starts_at = 'infinity' where experiment = 'dml'",
        "update ab.experiment set ends_at = '-infinity' where experiment = 'dml'",
        "update ab.experiment set starts_at = '2030-01-02', ends_at = '2030-01-01' where experiment = 'dml'",
        "update ab.experiment set stopped_at = now() where experiment = 'dml'",
        "insert into ab.experiment (experiment) values ('a b')",
        "insert into ab.experiment (experiment) values (E'dml\\n')",
        "insert into ab.experiment (experiment, salt) values ('salty', 'a:b')",
        "insert into ab.metric (metric, event_name, kind) values ('m', 'e', 'ratio')",
        "insert into ab.metric (metric, event_name) values ('m', '')",
        "insert into ab.workspace (workspace) values ('a/b')",
    ] {
        assert_eq!(refused(&mut client, invalid).sqlstate, "23514", "{invalid}");
    }
    assert_eq!(
        refused(&mut client, "update ab.variant set weight = 'Infinity' where variant = 'only'").sqlstate,
        "22003"
    );
    for twice in [
        "insert into ab.experiment (experiment) values ('dml')",
        "insert into ab.variant (experiment_id, variant) select experiment_id, 'only' from ab.experiment",
        "update ab.variant set is_control = true",
    ] {
        assert_eq!(refused(&mut client, twice).sqlstate, "23505", "{twice}");
    }
    assert_eq!(status(&mut client, "dml"), "running");
    assert_eq!(phases(&mut client, "dml"), "1:100");
}

#[test]
fn metrics_are_attached_once_and_counted_anew_when_they_change() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_metric('orders', 'purchase'); select ab_create_metric('free', 'click');
         select ab_create_experiment('first'); select ab_create_experiment('second');
         select ab_add_metric('first', 'orders')",
    );
    assert_eq!(code(&mut client, "select ab_add_metric('first', 'orders')"), "metric_attached");
    assert_eq!(code(&mut client, "select ab_add_metric('first', 'orders', 'primary')"), "metric_attached");
    let is_counted = "select m.is_counted::text from ab.experiment_metric m";
    for (change, expected) in [
        ("set description = 'of anything'", "true"),
        ("set kind = 'sum'", "false"),
        ("set event_name = 'order'", "false"),
        ("set cap = 3", "false"),
    ] {
        run(&mut client, "select ab_rollup()");
        run(&mut client, &format!("update ab.metric {change} where metric = 'orders'"));
        assert_eq!(one(&mut client, is_counted).as_deref(), Some(expected), "{change}");
    }
    run(&mut client, "insert into ab.workspace (workspace) values ('other')");
    let moved = "update ab.metric set workspace_id = (select workspace_id from ab.workspace where workspace = 'other') where metric = 'orders'";
    assert_eq!(code(&mut client, moved), "immutable");
    run(
        &mut client,
        "update ab.metric set kind = 'sum' where metric = 'free';
         update ab.metric set metric = 'purchases', description = 'd' where metric = 'orders';
         select ab_add_metric('first', 'free', 'primary');
         select ab_add_metric('second', 'purchases', null)",
    );
    let primary = |client: &mut Client| {
        one(
            client,
            "select string_agg(x.experiment || ':' || d.metric, ' ' order by 1) from ab.experiment_metric m
             join ab.metric d using (metric_id) join ab.experiment x on x.experiment_id = m.experiment_id where m.role = 'primary'",
        )
    };
    assert_eq!(primary(&mut client).as_deref(), Some("first:free"));
    run(
        &mut client,
        "select ab_create_metric('third', 'signup'); select ab_add_metric('first', 'third', 'primary')",
    );
    assert_eq!(primary(&mut client).as_deref(), Some("first:third"), "there is one primary metric");
    assert_eq!(
        refused(&mut client, "update ab.experiment_metric set role = 'primary' where role <> 'primary'")
            .sqlstate,
        "23505"
    );
    assert_eq!(
        refused(&mut client, "delete from ab.metric where metric = 'free'").sqlstate,
        "23503",
        "a metric in use stays"
    );
}

#[test]
fn metrics_of_another_workspace_cannot_be_attached() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "insert into ab.workspace (workspace) values ('other');
         select ab_create_experiment('here');
         set ab.workspace = 'other';
         select ab_create_metric('theirs', 'purchase');
         select ab_create_experiment('there');
         reset ab.workspace",
    );
    assert_eq!(code(&mut client, "select ab_add_metric('here', 'theirs')"), "metric_not_found");
    assert_eq!(code(&mut client, "select ab_add_metric('there', 'theirs')"), "experiment_not_found");
    let error = refused(
        &mut client,
        "insert into ab.experiment_metric (experiment_id, metric_id)
         select x.experiment_id, d.metric_id from ab.experiment x, ab.metric d where x.experiment = 'here'",
    );
    assert_eq!(error.sqlstate, "23503");
}

#[test]
fn changing_weights_moves_only_whom_it_must() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_experiment('split', '{"a": 50, "b": 50}');
           select ab_start('split');
           create table before as select u, ab_assign(u, 'split') as variant from generate_series(1, 20000) n, lateral (select 'user_' || n as u) t;
           update ab.variant set weight = case variant when 'a' then 80 else 20 end"#,
    );
    assert_eq!(phases(&mut client, "split"), "1:100 2:100", "one statement is one phase");
    assert_eq!(ranges(&mut client, "split", 1), "a 0-500000, b 500000-1000000");
    assert_eq!(ranges(&mut client, "split", 2), "a 0-500000, b 500000-700000, a 700000-1000000");
    let moved = client
        .query_one(
            "select count(*) filter (where old = 'b' and new = 'a'), count(*) filter (where old = 'a' and new = 'b'),
                    count(*) filter (where old <> new and ab_bucket('split:variant', u) not between 700000 and 999999)
             from (select u, variant as old, ab_assign(u, 'split') as new from before) t",
            &[],
        )
        .unwrap();
    assert!((5600..6400).contains(&moved.get::<_, i64>(0)), "{moved:?}");
    assert_eq!((moved.get::<_, i64>(1), moved.get::<_, i64>(2)), (0, 0));
    run(&mut client, "update ab.variant set weight = weight * 3");
    assert_eq!(ranges(&mut client, "split", 3), ranges(&mut client, "split", 2), "only proportions matter");
    run(&mut client, "update ab.variant set name = 'n', config = '{}'");
    assert_eq!(phases(&mut client, "split"), "1:100 2:100 3:100", "a name is no change of allocation");
    run(
        &mut client,
        "insert into ab.variant (experiment_id, variant, weight) select experiment_id, 'c', 60 from ab.experiment;
         update ab.variant set weight = 240 where variant = 'a'",
    );
    assert_eq!(phases(&mut client, "split"), "1:100 2:100 3:100", "a new variant waits for weights");
    run(&mut client, "update ab.variant set weight = 180 where variant = 'a'");
    let shares = one(
        &mut client,
        "select string_agg(variant || ' ' || share, ', ' order by variant) from (
             select variant, sum(to_bucket - from_bucket) as share from ab.variant_range where phase = 4 group by variant) t",
    );
    assert_eq!(shares.as_deref(), Some("a 600000, b 200000, c 200000"));
    run(&mut client, "select ab_pause('split'); update ab.variant set weight = 1");
    assert_eq!(
        phases(&mut client, "split"),
        "1:100 2:100 3:100 4:100 5:100",
        "a pause does not hide a change"
    );
    run(&mut client, "select ab_stop('split'); update ab.variant set weight = variant_id");
    assert_eq!(phases(&mut client, "split"), "1:100 2:100 3:100 4:100 5:100", "nothing follows a stop");
}

#[test]
fn more_traffic_only_adds_users() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_experiment('ramp', traffic => 10); update ab.experiment set traffic = 20; select ab_start('ramp');
         create table t20 as select n::text as u, ab_assign(n, 'ramp') as variant from generate_series(1, 20000) n;
         update ab.experiment set traffic = 60.5",
    );
    assert_eq!(phases(&mut client, "ramp"), "1:20 2:60.5", "a draft has no history");
    let row = client
        .query_one(
            "select count(variant), count(now), count(*) filter (where variant is not null and now is distinct from variant),
                    count(*) filter (where now is null and reason <> 'traffic')
             from (select variant, ab_assign(u, 'ramp') as now, ab_assign_reason(u, 'ramp') as reason from t20) t",
            &[],
        )
        .unwrap();
    assert!((3700..4300).contains(&row.get::<_, i64>(0)), "{row:?}");
    assert!((11700..12500).contains(&row.get::<_, i64>(1)), "{row:?}");
    assert_eq!((row.get::<_, i64>(2), row.get::<_, i64>(3)), (0, 0));
    run(&mut client, "update ab.experiment set traffic = 0");
    assert_eq!(one(&mut client, "select count(ab_assign(u, 'ramp')) from t20").as_deref(), Some("0"));
    run(&mut client, "update ab.experiment set traffic = 100");
    assert_eq!(one(&mut client, "select count(ab_assign(u, 'ramp')) from t20").as_deref(), Some("20000"));
}

#[test]
fn dates_bound_assignment_whatever_the_status() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_experiment('later', starts_at => now() + interval '1 hour');
         select ab_create_experiment('over', ends_at => now() - interval '1 hour');
         select ab_create_experiment('now', starts_at => now() - interval '1 hour', ends_at => now() + interval '1 hour');
         select ab_create_experiment('far', starts_at => '4713-01-01 BC', ends_at => '294276-12-31');
         select ab_create_experiment('never', starts_at => '294276-12-31');
         select ab_start(experiment) from ab.experiment",
    );
    for (experiment, reason) in [
        ("later", "not_running"),
        ("over", "not_running"),
        ("now", "split"),
        ("far", "split"),
        ("never", "not_running"),
    ] {
        let query = format!("select ab_assign_reason('u', '{experiment}')");
        assert_eq!(one(&mut client, &query).as_deref(), Some(reason), "{experiment}");
        assert!(
            one(&mut client, "select count(*) from ab_config_changes() where kind = 'experiment'").is_some(),
            "gateways can read every date"
        );
    }
    // An end that comes while a session has the experiment in its cache.
    run(
        &mut client,
        "update ab.experiment set ends_at = clock_timestamp() + interval '300 milliseconds' where experiment = 'now'",
    );
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'now')").as_deref(), Some("split"));
    run(&mut client, "select pg_sleep(0.35)");
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'now')").as_deref(), Some("not_running"));
    for (arguments, sqlstate, expected) in [
        ("starts_at => '2030-01-02', ends_at => '2030-01-01'", "22023", "invalid_argument"),
        ("starts_at => '2030-01-01', ends_at => '2030-01-01'", "22023", "invalid_argument"),
        ("starts_at => '-infinity'", "22023", "invalid_argument"),
        ("ends_at => 'infinity'", "22023", "invalid_argument"),
    ] {
        let error = refused(&mut client, &format!("select ab_create_experiment('bad', {arguments})"));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), (sqlstate, expected), "{arguments}");
    }
}

#[test]
fn deleting_an_experiment_removes_what_was_counted_for_it() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_metric('orders', 'purchase');
         select ab_create_experiment('gone', primary_metric => 'orders'); select ab_start('gone');
         select ab_create_experiment('stays', primary_metric => 'orders'); select ab_start('stays');
         select ab_expose(n, x), ab_track(n::text, 'purchase') from generate_series(1, 50) n, unnest('{gone,stays}'::text[]) x",
    );
    run(&mut client, "select ab_rollup()");
    assert_eq!(code(&mut client, "delete from ab.experiment where experiment = 'gone'"), "wrong_status");
    run(&mut client, "select ab_pause('gone')");
    assert_eq!(code(&mut client, "delete from ab.experiment where experiment = 'gone'"), "wrong_status");
    run(&mut client, "select ab_stop('gone'); delete from ab.experiment where experiment = 'gone'");
    let left = one(
        &mut client,
        "select concat_ws(' ',
            (select count(distinct experiment_id) from ab.exposure), (select count(distinct experiment_id) from ab.unit_metric),
            (select count(distinct experiment_id) from ab.variant_statistic), (select count(distinct experiment_id) from ab.metric_statistic),
            (select count(*) from ab_internal.rollup_progress), (select count(*) from ab.experiment), (select count(distinct experiment_id) from ab.phase),
            (select count(distinct experiment_id) from ab.variant_range), (select count(distinct experiment_id) from ab.variant))",
    );
    assert_eq!(left.as_deref(), Some("1 1 1 1 1 1 1 1 1"));
    run(&mut client, "select ab_stop('stays'); delete from ab.experiment_metric; select ab_rollup();");
    let left = one(
        &mut client,
        "select (select count(*) from ab.unit_metric) + (select count(*) from ab.metric_statistic)",
    );
    assert_eq!(left.as_deref(), Some("0"), "a metric taken away leaves nothing");
    // The name is free again, and nothing of the former life is counted in the new one.
    run(
        &mut client,
        "select ab_create_experiment('gone', primary_metric => 'orders'); select ab_start('gone'); select ab_rollup()",
    );
    assert_eq!(one(&mut client, "select sum(units) from ab_results('gone')").as_deref(), Some("0"));
}

#[test]
fn a_draft_can_be_thrown_away_and_a_workspace_that_is_used_cannot() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_experiment('draft');
         update ab.experiment set salt = 'other' where experiment = 'draft';
         update ab.variant set variant = 'b' where variant = 'treatment';
         delete from ab.variant where variant = 'b'",
    );
    assert_eq!(code(&mut client, "select ab_start('draft')"), "invalid_variants");
    assert_eq!(refused(&mut client, "delete from ab.workspace").sqlstate, "23503");
    run(&mut client, "delete from ab.experiment; delete from ab.workspace");
    run(&mut client, "select ab_create_experiment('again')");
    assert_eq!(one(&mut client, "select workspace from ab.workspace").as_deref(), Some("default"));
}

#[test]
fn the_version_rises_once_in_each_transaction_that_changes_something() {
    let mut client = Database::new().connect();
    let version = |client: &mut Client| -> i64 {
        one(client, "select ab_config_version()").expect("a version").parse().unwrap()
    };
    assert_eq!(one(&mut client, "select ab_config_version()"), None);
    run(&mut client, "select ab_create_experiment('a')");
    let first = version(&mut client);
    run(
        &mut client,
        "begin; select ab_create_experiment('b'); select ab_start('a'); select ab_pause('a'); commit",
    );
    assert_eq!(version(&mut client), first + 1);
    run(&mut client, "begin; select ab_resume('a'); rollback");
    assert_eq!(version(&mut client), first + 1);
    run(&mut client, "select ab_create_metric('m', 'e'); select ab_track('u', 'e'); select ab_rollup()");
    assert_eq!(version(&mut client), first + 1, "metrics and events change no assignment");
    run(&mut client, "insert into ab.workspace (workspace) values ('other')");
    assert_eq!(version(&mut client), first + 1, "workspaces have versions of their own");
    assert!(one(&mut client, "select ab_config_version('other')").is_some());
    run(&mut client, "update ab.variant set config = '{\"x\": 1}'");
    assert_eq!(version(&mut client), first + 2);
    let listed = one(
        &mut client,
        "select string_agg(format('%s %s %s', kind, key, ab_config_version() - version), ', ' order by kind, key) from ab_config_changes()",
    );
    assert_eq!(listed.as_deref(), Some("experiment a 0, experiment b 0, workspace default 2"));
    let changed = one(
        &mut client,
        "select string_agg(format('%s %s', key, version - ab_config_version()), ', ') from ab_config_changes(ab_config_version() - 1)",
    );
    assert_eq!(changed.as_deref(), Some("a 0, b 0"), "only what changed since");
    let other = one(
        &mut client,
        "select string_agg(kind || ' ' || document::text, ', ') from ab_config_changes(workspace => 'other')",
    );
    assert_eq!(other.as_deref(), Some(r#"workspace {"workspace": "other"}"#));
}

#[test]
fn two_owners_who_change_weights_at_once_both_count() {
    let database = Database::new();
    let (mut first, mut second) = (database.connect(), database.connect());
    run(
        &mut first,
        r#"select ab_create_experiment('busy', '{"a": 1, "b": 1, "c": 2}'); select ab_start('busy')"#,
    );
    run(&mut first, "begin; update ab.variant set weight = 4 where variant = 'a'");
    let waiting =
        thread::spawn(move || run(&mut second, "update ab.variant set weight = 4 where variant = 'b'"));
    let mut observer = database.connect();
    let query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while one(&mut observer, query).as_deref() == Some("0") {
        thread::sleep(Duration::from_millis(5));
    }
    run(&mut first, "commit");
    waiting.join().expect("the second owner waits and succeeds");
    assert_eq!(phases(&mut first, "busy"), "1:100 2:100 3:100");
    let shares = one(
        &mut first,
        "select string_agg(variant || ' ' || share, ', ' order by variant) from (
             select variant, sum(to_bucket - from_bucket) as share from ab.variant_range where phase = 3 group by variant) t",
    );
    assert_eq!(shares.as_deref(), Some("a 400000, b 400000, c 200000"));
}

#[test]
fn a_start_and_the_deletion_of_a_variant_exclude_each_other() {
    let database = Database::new();
    for starts_first in [true, false] {
        let (mut first, mut second) = (database.connect(), database.connect());
        let experiment = format!("race_{starts_first}");
        run(&mut first, &format!("select ab_create_experiment('{experiment}')"));
        let start = format!("select ab_start('{experiment}')");
        let delete = format!(
            "delete from ab.variant v using ab.experiment x where x.experiment = '{experiment}' and v.experiment_id = x.experiment_id and v.variant = 'treatment'"
        );
        let (now, then) = if starts_first { (start, delete) } else { (delete, start) };
        run(&mut first, &format!("begin; {now}"));
        let waiting = thread::spawn(move || second.batch_execute(&then).is_err());
        let mut observer = database.connect();
        let query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while one(&mut observer, query).as_deref() == Some("0") {
            thread::sleep(Duration::from_millis(5));
        }
        run(&mut first, "commit");
        assert!(waiting.join().expect("the other"), "the later one is refused");
        let reason = one(&mut first, &format!("select ab_assign_reason('u', '{experiment}')"));
        assert_eq!(reason.as_deref(), Some(if starts_first { "split" } else { "not_running" }));
    }
}

#[test]
fn settings_of_a_session_change_nothing_that_is_stored() {
    let mut client = Database::new().connect();
    for (number, settings) in [
        "set datestyle = 'SQL, DMY'; set timezone = 'Asia/Kolkata'",
        "set datestyle = 'German'; set timezone = 'America/St_Johns'",
        "set datestyle = 'Postgres, MDY'; set timezone = 'Australia/Sydney'; set intervalstyle = 'iso_8601'",
        "set quote_all_identifiers = on; set transform_null_equals = on; set array_nulls = off; set extra_float_digits = -15",
        "set plpgsql.extra_errors = 'all'; set default_transaction_isolation = serializable; set row_security = off",
        "set search_path = ''; set default_transaction_deferrable = on; set enable_nestloop = off; set enable_hashjoin = off",
    ]
    .iter()
    .enumerate()
    {
        run(&mut client, &format!("reset all; {settings}"));
        run(
            &mut client,
            &format!(
                "select public.ab_create_metric('m{number}', 'e{number}', 'sum'); select public.ab_create_experiment('x{number}', '{{\"a\": 0.1, \"b\": 1e-1}}', primary_metric => 'm{number}');
                 select public.ab_start('x{number}'); select public.ab_expose('u', 'x{number}'), public.ab_track('u', 'e{number}', 0.1)"
            ),
        );
        run(&mut client, &format!("select public.ab_rollup(); select public.ab_rebuild('x{number}')"));
        run(&mut client, &format!("select ab_internal.make_partitions('2031-01-01'::date + {number}, '2031-01-01'::date + {number})"));
        run(&mut client, "reset all");
        let total = one(&mut client, &format!("select sum(total) || ' ' || sum(units) from ab_results('x{number}')"));
        assert_eq!(total.as_deref(), Some("0.1 1"), "{settings}");
    }
    let wrong = one(
        &mut client,
        "select string_agg(c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid), ', ') from pg_class c
         where c.relispartition and c.relnamespace = 'ab'::regnamespace and c.relkind = 'r'
             and pg_get_expr(c.relpartbound, c.oid) not like format('FOR VALUES FROM (''%s 00:00:00+00'') TO (''%% 00:00:00+00'')', to_date(right(c.relname, 8), 'YYYYMMDD'))",
    );
    assert_eq!(wrong, None, "every partition holds a day of UTC");
}

#[test]
fn what_others_know_by_name_keeps_it() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "select ab_create_metric('m', 'x'), ab_create_metric('n', 'y'), ab_create_experiment('e', primary_metric => 'm')",
        )
        .expect("an experiment");
    for change in [
        "update ab.workspace set workspace = 'other'",
        "update ab.experiment_metric set metric_id = (select metric_id from ab.metric where metric = 'n')",
    ] {
        let error = sql_error(client.batch_execute(change));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("55000", "immutable"), "{change}");
    }
    client.batch_execute("update ab.workspace set description = 'ours'").expect("its description may change");
}

/// A pooled session: the setting was made, and its transaction ended, before the library was loaded.
#[test]
fn a_workspace_set_for_one_transaction_leaves_the_default_behind() {
    let database = Database::new();
    database.psql("select ab_create_experiment('e'); select ab_start('e')");
    for call in [
        "ab_track('u', 'x', experiment => 'e')::text",
        "(select count(*) from ab_results('e'))::text",
        "ab_assign('u'::text, 'e')",
    ] {
        let mut client = database.connect();
        client.batch_execute("begin; set local ab.workspace = 'elsewhere'; commit").expect("a setting");
        let answer: Option<String> =
            client.query_one(&format!("select {call}"), &[]).expect("an answer").get(0);
        assert!(answer.is_some(), "{call}");
    }
}

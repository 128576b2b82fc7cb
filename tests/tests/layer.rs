//! Layers and holdouts: whose buckets are whose, and who is kept out of what.

use std::thread;
use std::time::Duration;

use ab_tests::{Database, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

fn code(client: &mut Client, statement: &str) -> String {
    sql_error(client.batch_execute(statement)).code
}

/// The slices of a layer as `experiment from-to`.
fn slices(client: &mut Client, layer: &str) -> String {
    one(
        client,
        &format!(
            "select string_agg(format('%s %s-%s', x.experiment, s.from_bucket, s.to_bucket), ', ' order by s.from_bucket)
             from ab.layer_slice s join ab.layer l using (layer_id) join ab.experiment x using (experiment_id) where l.layer = '{layer}'"
        ),
    )
    .unwrap_or_default()
}

#[test]
fn a_layer_gives_each_bucket_to_one_experiment() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_layer('pricing');
         select ab_create_experiment(k) from unnest('{a,b,c}'::text[]) k;
         select ab_join_layer('a', 'pricing', 20); select ab_join_layer('b', 'pricing', from_bucket => 500000, to_bucket => 700000);
         select ab_join_layer('c', 'pricing', 40)",
    );
    assert_eq!(
        slices(&mut client, "pricing"),
        "a 0-200000, c 200000-500000, b 500000-700000, c 700000-800000"
    );
    let error =
        sql_error(client.batch_execute(
            "select ab_join_layer('b', 'pricing', from_bucket => 199999, to_bucket => 200001)",
        ));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("55000", "slice_taken"));
    assert!(error.message.contains("experiment \"a\""), "{error:?}");
    let plain = "insert into ab.layer_slice select layer_id, (select experiment_id from ab.experiment where experiment = 'b'), 799999, 900000 from ab.layer";
    assert_eq!(code(&mut client, plain), "slice_taken", "plain DML is held to it too");
    let document = one(&mut client, "select document -> 'layer' from ab_config_changes() where key = 'c'");
    assert_eq!(
        document.as_deref(),
        Some(r#"{"key": "pricing", "salt": "pricing", "slices": [[200000, 500000], [700000, 800000]]}"#)
    );
    run(&mut client, "select ab_start(k) from unnest('{a,b,c}'::text[]) k");
    let several = one(
        &mut client,
        "select count(*) from generate_series(1, 3000) n where num_nonnulls(ab_assign(n, 'a'), ab_assign(n, 'b'), ab_assign(n, 'c')) > 1",
    );
    assert_eq!(several.as_deref(), Some("0"));
    let some = one(
        &mut client,
        "select string_agg(distinct ab_assign_reason(n::text, 'a'), ' ' order by ab_assign_reason(n::text, 'a')) from generate_series(1, 3000) n",
    );
    assert_eq!(some.as_deref(), Some("layer split"));
}

#[test]
fn a_running_slice_only_grows_and_a_stopped_one_is_free() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_layer('l'), ab_create_layer('other');
         select ab_create_experiment('a', layer => 'l', layer_percent => 50), ab_create_experiment('b'), ab_create_experiment('late');
         select ab_start('a'), ab_start('late');
         create table kept as select n, ab_assign(n, 'a') as variant from generate_series(1, 2000) n",
    );
    for shrinking in [
        "select ab_join_layer('a', 'l', 49)",
        "update ab.layer_slice set to_bucket = to_bucket - 1",
        "update ab.layer_slice set from_bucket = 1",
        "update ab.layer_slice set layer_id = (select layer_id from ab.layer where layer = 'other')",
        "delete from ab.layer_slice",
    ] {
        assert_eq!(code(&mut client, shrinking), "immutable", "{shrinking}");
    }
    assert_eq!(
        code(&mut client, "select ab_join_layer('a', 'other', 1)"),
        "wrong_status",
        "in one layer at most"
    );
    assert_eq!(code(&mut client, "select ab_join_layer('late', 'l', 1)"), "wrong_status");
    run(&mut client, "select ab_join_layer('a', 'l', 75)");
    assert_eq!(slices(&mut client, "l"), "a 0-750000");
    let lost = one(
        &mut client,
        "select count(*) from kept where variant is distinct from ab_assign(n, 'a') and variant is not null",
    );
    assert_eq!(lost.as_deref(), Some("0"), "growing takes nobody out");
    assert_eq!(code(&mut client, "select ab_join_layer('b', 'l', 30)"), "slice_taken");
    run(
        &mut client,
        "select ab_stop('a'); select ab_join_layer('b', 'l', 30); delete from ab.experiment where experiment = 'b'",
    );
    assert_eq!(slices(&mut client, "l"), "");
}

#[test]
fn all_experiments_of_a_layer_share_its_unit() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_layer('accounts', unit => 'account.id'); select ab_create_experiment('users'), ab_create_experiment('a', unit => 'account.id');
         select ab_join_layer('a', 'accounts', 10)",
    );
    assert_eq!(code(&mut client, "select ab_join_layer('users', 'accounts', 10)"), "unit_mismatch");
    assert_eq!(
        code(&mut client, "update ab.experiment set unit = null where experiment = 'a'"),
        "unit_mismatch"
    );
    assert_eq!(code(&mut client, "update ab.layer set unit = null"), "immutable");
    assert_eq!(code(&mut client, "select ab_create_holdout('h', 5, layer => 'accounts')"), "unit_mismatch");
    run(&mut client, "select ab_start('users')");
    assert_eq!(
        code(&mut client, "update ab.experiment set unit = 'x' where experiment = 'users'"),
        "immutable"
    );
    assert_eq!(
        code(
            &mut client,
            "update ab.experiment set kind = 'bandit', is_sticky = true where experiment = 'users'"
        ),
        "immutable"
    );
}

#[test]
fn two_who_claim_the_same_buckets_at_once_do_not_both_get_them() {
    let database = Database::new();
    let (mut first, mut second) = (database.connect(), database.connect());
    run(
        &mut first,
        "select ab_create_layer('l'); select ab_create_experiment('a'), ab_create_experiment('b')",
    );
    run(&mut first, "begin; select ab_join_layer('a', 'l', 60)");
    let other = thread::spawn(move || {
        sql_error(second.batch_execute("select ab_join_layer('b', 'l', from_bucket => 0, to_bucket => 1000)"))
    });
    thread::sleep(Duration::from_millis(300));
    assert!(!other.is_finished(), "the second waits for the first");
    run(&mut first, "commit");
    let error = other.join().expect("the other session");
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("55000", "slice_taken"));
    assert_eq!(slices(&mut first, "l"), "a 0-600000");
}

#[test]
fn a_holdout_binds_what_starts_while_it_is_in_force() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_experiment(k) from unnest('{before,during,after,draft}'::text[]) k;
         select ab_create_experiment('other_unit', unit => 'account');
         select ab_create_layer('l'); select ab_create_experiment('layered', layer => 'l', layer_percent => 100);
         select ab_start('before');
         select ab_create_holdout('h', 20); select ab_create_holdout('later', 20, starts_at => now() + interval '1 day');
         select ab_create_holdout('of_layer', 10, layer => 'l');
         select ab_start(k) from unnest('{during,other_unit,layered}'::text[]) k;
         select ab_stop('h'); select ab_start('after')",
    );
    let bound = one(
        &mut client,
        "select string_agg(concat_ws(' ', x.experiment, document ->> 'holdouts'), ', ' order by x.experiment_id)
         from ab.experiment x join ab_config_changes() c on c.key = x.experiment and c.kind = 'experiment' where x.kind = 'experiment'",
    );
    assert_eq!(
        bound.as_deref(),
        Some(r#"before, during ["h"], after, draft, other_unit, layered ["h", "of_layer"]"#)
    );
    for (statement, expected) in [
        ("select ab_set_traffic('of_layer', 5)", "invalid_argument"),
        ("select ab_set_targeting('of_layer', null)", "invalid_argument"),
        ("select ab_set_prerequisites('of_layer', '[]')", "invalid_argument"),
        ("select ab_join_layer('of_layer', 'l', from_bucket => 0, to_bucket => 1)", "wrong_status"),
    ] {
        assert_eq!(code(&mut client, statement), expected, "{statement}");
    }
    let refused = "update ab.experiment set targeting = '{\"attribute\": \"a\", \"operator\": \"exists\"}' where experiment = 'of_layer'";
    assert_eq!(sql_error(client.batch_execute(refused)).sqlstate, "23514");
}

#[test]
fn who_is_held_out_is_exposed_to_the_holdout_alone() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_holdout('h', 50); select ab_create_experiment('x'); select ab_start('x');
         select ab_expose(n, 'x') from generate_series(1, 200) n; select ab_expose(n, 'x') from generate_series(1, 200) n",
    );
    let wrong = one(
        &mut client,
        "select count(*) from generate_series(1, 200) n
         where (select count(*) from ab.event_exposure e where e.user_id = n::text) <> case when ab_assign(n, 'x') is null then 1 else 2 end",
    );
    assert_eq!(wrong.as_deref(), Some("0"));
    let arms = one(
        &mut client,
        "select string_agg(distinct x.experiment || ' ' || coalesce(case when x.kind = 'holdout' then e.variant end, 'any') || ' ' || ab_assign_reason(e.user_id, 'x'), ', '
             order by x.experiment || ' ' || coalesce(case when x.kind = 'holdout' then e.variant end, 'any') || ' ' || ab_assign_reason(e.user_id, 'x'))
         from ab.event_exposure e join ab.experiment x using (experiment_id)",
    );
    assert_eq!(arms.as_deref(), Some("h holdout holdout, h programme split, x any split"));
}

#[test]
fn what_would_come_to_nothing_is_refused() {
    let mut client = Database::new().connect();
    client
        .batch_execute(
            "select ab_create_layer('l'); select ab_create_experiment('x', layer => 'l', layer_percent => 20);
             select ab_create_holdout('h', 10)",
        )
        .expect("a layer and a holdout");
    for (statement, code) in [
        ("select ab_join_layer('x', 'l', 0.00001)", "invalid_argument"),
        ("select ab_create_experiment('y', layer => 'l', layer_percent => 0.00001)", "invalid_argument"),
        ("select ab_create_experiment('y', traffic => 0.00001)", "invalid_argument"),
        ("select ab_set_traffic('x', 0.00001)", "invalid_argument"),
        ("select ab_override('h', 'holdout', 'u')", "invalid_argument"),
        ("select ab_stop('h', ship => 'holdout')", "invalid_argument"),
        ("select ab_create_experiment('y', unit => 'account..id')", "invalid_argument"),
        ("select ab_create_experiment('y', unit => 'user_id')", "invalid_argument"),
        ("select ab_create_experiment('y', unit => '')", "invalid_argument"),
        ("select ab_create_layer('y', '.')", "invalid_argument"),
        ("select ab_create_flag('y', unit => 'a..b')", "invalid_argument"),
    ] {
        assert_eq!(sql_error(client.batch_execute(statement)).code, code, "{statement}");
    }
    for statement in [
        "insert into ab.experiment (experiment, unit) values ('y', 'a..b')",
        "insert into ab.layer (layer, unit) values ('y', 'user_id')",
        "insert into ab.flag (flag, kind, default_value, off_value, unit) values ('y', 'boolean', 'true', 'false', '.')",
    ] {
        assert_eq!(sql_error(client.batch_execute(statement)).sqlstate, "23514", "{statement}");
    }
    // A draft's share can also become smaller.
    client
        .batch_execute("select ab_join_layer('x', 'l', 5.5); select ab_start('x')")
        .expect("a smaller share");
    assert_eq!(
        one(&mut client, "select sum(to_bucket - from_bucket) from ab.layer_slice").as_deref(),
        Some("55000")
    );
    assert_eq!(sql_error(client.batch_execute("select ab_join_layer('x', 'l', 5)")).code, "immutable");
}

//! Old days go, results stay: whatever `ab_maintain()` drops has been counted, and nothing that comes later can make a
//! number differ from what all events together define. Random histories with maintenance are in `rollup.rs`; here is
//! each case by hand.

use std::thread;
use std::time::Duration;

use ab_tests::{Database, one, sql_error};
use postgres::Client;

const RESULTS: &str = "select string_agg(format('%s %s %s %s %s %s', metric, variant, units, conversions, trim_scale(total), note), ', ' order by metric, variant) from ab_results('e')";

/// An experiment with a metric of each kind over `buy`, and partitions for the last forty days.
fn prepare(client: &mut Client) {
    client
        .batch_execute(
            "select ab_create_experiment('e'); select ab_start('e');
             select ab_create_metric('bought', 'buy'), ab_create_metric('purchases', 'buy', 'count'), ab_create_metric('spent', 'buy', 'sum');
             select ab_add_metric('e', 'bought'), ab_add_metric('e', 'purchases'), ab_add_metric('e', 'spent');
             select ab_internal.make_partitions((now() at time zone 'UTC')::date - 40, (now() at time zone 'UTC')::date);
             select ab_rollup()",
        )
        .expect("an experiment");
}

fn expose(client: &mut Client, user: &str, variant: &str, ago: &str) {
    run(
        client,
        &format!(
            "select ab_track('{user}', 'exposure', event_type => 'exposure', experiment => 'e', variant => '{variant}', \
             event_time => now() - interval '{ago}', event_id => gen_random_uuid())"
        ),
    );
}

fn buy(client: &mut Client, user: &str, event_type: &str, ago: &str) -> String {
    let statement = format!(
        "select ab_track('{user}', 'buy', 2.5, event_type => '{event_type}', event_time => now() - interval '{ago}', event_id => gen_random_uuid())"
    );
    one(client, &statement).expect("an id")
}

fn run(client: &mut Client, statement: &str) {
    client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}\n{error:?}"));
}

/// What maintenance did to events, without the partitions it made.
fn maintain(client: &mut Client) -> Vec<String> {
    let rows = client
        .query("select action || ' ' || object || coalesce(': ' || reason, '') from ab_maintain(refresh => false) where action <> 'made'", &[])
        .expect("maintenance");
    rows.iter().map(|row| row.get(0)).collect()
}

fn partitions(client: &mut Client, table: &str) -> i64 {
    let query = format!("select count(*) from pg_inherits where inhparent = 'ab.{table}'::regclass");
    one(client, &query).expect("a count").parse().expect("a number")
}

fn results(client: &mut Client) -> String {
    one(client, RESULTS).expect("results")
}

#[test]
fn days_past_retention_go_and_results_stay() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    expose(&mut client, "ann", "control", "39 days");
    expose(&mut client, "bob", "treatment", "20 days");
    for ago in ["38 days", "31 days", "29 days", "1 day"] {
        buy(&mut client, "ann", "purchase", ago);
        buy(&mut client, "bob", "custom", ago);
    }
    run(&mut client, "select ab_rollup()");
    let before = results(&mut client);
    let done = maintain(&mut client);
    assert!(done.iter().all(|line| line.starts_with("dropped ab.event_")), "{done:?}");
    // The day that is partly past counts as kept; days ahead are not of interest.
    for (table, kept) in [("event_exposure", 7), ("event_conversion", 30), ("event_other", 14)] {
        let ahead = one(
            &mut client,
            &format!(
                "select count(*) from ab_internal.partition_bound where event_table = '{table}' and upper_bound > date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' + interval '1 day'"
            ),
        )
        .expect("a count");
        assert_eq!(
            partitions(&mut client, table) - ahead.parse::<i64>().expect("a number"),
            kept + 1,
            "{table}"
        );
    }
    assert_eq!(one(&mut client, "select count(*) from ab.event").as_deref(), Some("3"));
    run(&mut client, "select ab_rollup()");
    assert_eq!(results(&mut client), before);
    assert_eq!(maintain(&mut client), Vec::<String>::new(), "nothing is left to do");
    // Another retention, another day.
    run(&mut client, "update ab.event_retention set keep = '1 day'");
    assert!(!maintain(&mut client).is_empty());
    run(&mut client, "select ab_rollup()");
    assert_eq!(results(&mut client), before);
}

#[test]
fn nothing_goes_before_it_is_counted() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    prepare(&mut client);
    expose(&mut client, "ann", "control", "39 days");
    buy(&mut client, "ann", "purchase", "38 days");
    let kept = maintain(&mut client);
    assert!(kept.iter().any(|line| line.contains("ab_rollup() has not counted exposures")), "{kept:?}");
    run(&mut client, "select ab_rollup()");
    buy(&mut client, "ann", "purchase", "35 days");
    let day = one(&mut client, "select to_char(now() at time zone 'UTC' - interval '35 days', 'YYYYMMDD')")
        .expect("a day");
    let kept = maintain(&mut client);
    assert!(
        kept.contains(&format!(
            "kept ab.event_conversion_{day}: ab_rollup() has not counted all its events yet"
        )),
        "{kept:?}"
    );
    // Not committed yet: only its locks say that it is there.
    other.batch_execute("begin").expect("begin");
    buy(&mut other, "ann", "purchase", "34 days");
    run(&mut client, "select ab_rollup()");
    let kept = maintain(&mut client);
    assert!(kept.contains(&"kept ab.event_conversion: somebody is using it".to_owned()), "{kept:?}");
    other.batch_execute("commit").expect("commit");
    run(&mut client, "select ab_rollup()");
    let before = results(&mut client);
    assert!(before.contains("purchases control 1 1 3"), "{before}");
    // A metric that is still to be counted needs them, too.
    run(&mut client, "select ab_create_metric('late', 'buy', 'count'); select ab_add_metric('e', 'late')");
    assert!(maintain(&mut client).iter().all(|line| line.starts_with("kept")));
    run(&mut client, "select ab_rollup()");
    assert!(results(&mut client).contains("late control 1 1 2 incomplete"));
    maintain(&mut client);
    assert_eq!(
        one(&mut client, "select count(*) || ' ' || (select count(*) from ab.event_overflow) from ab.event")
            .as_deref(),
        Some("1 1"),
        "what came when its day had gone stays as if it had just happened"
    );
    assert!(results(&mut client).contains("late control 1 1 2 incomplete"));
}

#[test]
fn a_partition_in_use_does_not_keep_the_others() {
    let database = Database::new();
    let (mut client, mut reader) = (database.connect(), database.connect());
    prepare(&mut client);
    run(&mut client, "select ab_rollup()");
    let oldest = one(
        &mut client,
        "select partition from ab_internal.partition_bound where event_table = 'event_other' order by upper_bound limit 1",
    )
    .expect("a partition");
    reader.batch_execute(&format!("begin; select from ab.{oldest}")).expect("a reader");
    let done = maintain(&mut client);
    assert!(done.contains(&format!("kept ab.{oldest}: somebody is using it")), "{done:?}");
    assert_eq!(done.iter().filter(|line| line.starts_with("kept")).count(), 1, "{done:?}");
    reader.batch_execute("commit").expect("commit");
    run(&mut client, &format!("create view public.mine as select * from ab.{oldest}"));
    let done = maintain(&mut client);
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(done[0].contains("because other objects depend on it"), "{done:?}");
    run(&mut client, "drop view public.mine");
    assert_eq!(maintain(&mut client), [format!("dropped ab.{oldest}")]);
}

#[test]
fn maintenance_and_roll_ups_do_not_stand_in_each_others_way() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    thread::scope(|scope| {
        let rolling: Vec<_> = ["true", "false"]
            .into_iter()
            .map(|wait| {
                let mut session = database.connect();
                scope.spawn(move || {
                    for number in 0..12 {
                        buy(&mut session, &format!("u{number}"), "custom", "1 hour");
                        run(&mut session, &format!("select ab_rollup({wait})"));
                    }
                })
            })
            .collect();
        for days in (4..40).rev().step_by(9) {
            run(&mut client, &format!("update ab.event_retention set keep = '{days} days'"));
            maintain(&mut client);
        }
        for session in rolling {
            session.join().expect("a roll-up");
        }
    });
    run(&mut client, "select ab_rollup()");
    maintain(&mut client);
    assert_eq!(partitions(&mut client, "event_exposure"), partitions(&mut client, "event_other"));
    assert_eq!(one(&mut client, "select count(*) from ab.event").as_deref(), Some("24"));
}

#[test]
fn an_event_that_may_have_been_counted_is_not_taken_again() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    expose(&mut client, "ann", "control", "39 days");
    let id = buy(&mut client, "ann", "purchase", "38 days");
    let time = one(&mut client, "select event_time from ab.event_conversion").expect("a time");
    run(&mut client, "select ab_rollup()");
    maintain(&mut client);
    let before = results(&mut client);
    let again = format!(
        "select ab_track('ann', 'buy', 2.5, event_type => 'purchase', event_time => '{time}', event_id => '{id}')"
    );
    for isolation in ["read committed", "repeatable read"] {
        let error = sql_error(client.batch_execute(&format!("begin isolation level {isolation}; {again}")));
        client.batch_execute("rollback").expect("rollback");
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22008", "event_expired"), "{error:?}");
        assert!(error.message.contains("have expired"), "{error:?}");
    }
    let refused = one(
        &mut client,
        &format!(
            "select string_agg(item || ' ' || code, ',') from ab_track_batch('{{ann,ann}}', array['{id}', gen_random_uuid()]::uuid[], array['{time}', now()]::timestamptz[], \
             '{{purchase,custom}}', '{{buy,buy}}', '{{2.5,1}}', '{{\"{{}}\",\"{{}}\"}}', '{{null,null}}', '{{null,null}}', '{{null,null}}')"
        ),
    );
    assert_eq!(refused.as_deref(), Some("1 event_expired"));
    // An exposure of before would need events that are gone; one that needs only what is there is taken.
    let early = "select ab_track('bob', 'exposure', event_type => 'exposure', experiment => 'e', variant => 'control', event_time => now() - interval '20 days', event_id => gen_random_uuid())";
    assert!(
        client.simple_query(early).is_ok(),
        "no event of the last 30 days has been dropped, because there was none"
    );
    buy(&mut client, "bob", "custom", "20 days");
    run(
        &mut client,
        "select ab_rollup(); update ab.event_overflow set received_at = received_at - interval '20 days'",
    );
    maintain(&mut client);
    assert_eq!(sql_error(client.simple_query(early)).code, "event_expired");
    expose(&mut client, "cy", "treatment", "10 days");
    buy(&mut client, "cy", "custom", "9 days");
    run(&mut client, "select ab_rollup()");
    assert!(results(&mut client).contains("purchases treatment 1 1 1"), "{before} {}", results(&mut client));
    // Another workspace has lost nothing.
    run(&mut client, "insert into ab.workspace (workspace) values ('other'); set ab.workspace = 'other'");
    buy(&mut client, "ann", "purchase", "38 days");
}

#[test]
fn a_snapshot_from_before_the_drop_is_refused() {
    let database = Database::new();
    let (mut client, mut old) = (database.connect(), database.connect());
    prepare(&mut client);
    expose(&mut client, "ann", "control", "39 days");
    buy(&mut client, "ann", "purchase", "38 days");
    run(&mut client, "select ab_rollup()");
    old.batch_execute("begin isolation level repeatable read; select 1").expect("begin");
    assert!(maintain(&mut client).iter().any(|line| line.starts_with("dropped")));
    let statement = "select ab_track('ann', 'buy', event_type => 'purchase', event_time => now() - interval '38 days', event_id => gen_random_uuid())";
    assert_eq!(sql_error(old.simple_query(statement)).sqlstate, "40001");
    old.batch_execute("rollback").expect("rollback");
}

#[test]
fn an_exposure_that_moves_counts_what_comes_with_it() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    expose(&mut client, "ann", "treatment", "5 days");
    buy(&mut client, "ann", "custom", "12 days");
    buy(&mut client, "ann", "purchase", "11 days");
    buy(&mut client, "ann", "custom", "4 days");
    buy(&mut client, "old", "custom", "39 days");
    run(&mut client, "select ab_rollup()");
    maintain(&mut client);
    assert!(results(&mut client).contains("purchases treatment 1 1 1"));
    // Raw exposures are kept for 7 days: this one moves the user all the same, to where events are still complete.
    expose(&mut client, "ann", "control", "13 days");
    run(&mut client, "select ab_rollup()");
    let moved = results(&mut client);
    assert!(
        moved.contains("purchases control 1 1 3") && moved.contains("purchases treatment 0 0 0"),
        "{moved}"
    );
    maintain(&mut client);
    assert_eq!(results(&mut client), moved);
    run(&mut client, "select ab_rebuild('e')");
    assert_eq!(results(&mut client), moved, "nothing that it needs is gone");
}

#[test]
fn a_rebuild_that_would_lose_events_is_refused() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    expose(&mut client, "ann", "control", "39 days");
    buy(&mut client, "ann", "custom", "38 days");
    run(&mut client, "select ab_rollup()");
    maintain(&mut client);
    let before = results(&mut client);
    let error = sql_error(client.simple_query("select ab_rebuild('e')"));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("55000", "events_incomplete"));
    let day = one(&mut client, "select ((now() at time zone 'UTC')::date - 37)::text").expect("a day");
    assert!(error.message.contains(&day), "{error:?}");
    assert_eq!(results(&mut client), before);
}

#[test]
fn a_metric_added_late_says_from_when_it_is_complete() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    expose(&mut client, "ann", "control", "39 days");
    expose(&mut client, "bob", "treatment", "2 days");
    for ago in ["38 days", "13 days", "1 day"] {
        buy(&mut client, "ann", "custom", ago);
    }
    buy(&mut client, "bob", "custom", "1 day");
    run(&mut client, "select ab_rollup()");
    maintain(&mut client);
    let before = results(&mut client);
    assert!(!before.contains("incomplete"), "{before}");
    run(
        &mut client,
        "select ab_create_metric('late', 'buy', 'count'); select ab_add_metric('e', 'late'); select ab_rollup()",
    );
    let after = results(&mut client);
    assert!(
        after.contains("late control 1 1 2 incomplete") && after.contains("purchases control 1 1 3"),
        "{after}"
    );
    let marked = one(
        &mut client,
        "select string_agg(metric || ' ' || (complete_from = (date_trunc('day', now() at time zone 'UTC') - interval '37 days') at time zone 'UTC'), ',') \
         from ab.experiment_metric join ab.metric using (metric_id) where complete_from is not null",
    );
    assert_eq!(marked.as_deref(), Some("late true"));
    // In an experiment that began since, it is complete.
    run(
        &mut client,
        "select ab_create_experiment('new'); select ab_start('new'); select ab_add_metric('new', 'late'); select ab_expose('ann', 'new'); select ab_rollup()",
    );
    assert_eq!(
        one(&mut client, "select count(*) from ab.experiment_metric where complete_from is not null")
            .as_deref(),
        Some("1")
    );
}

#[test]
fn a_stop_takes_back_without_events_that_are_gone() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    prepare(&mut client);
    expose(&mut client, "ann", "control", "39 days");
    buy(&mut client, "ann", "custom", "38 days");
    run(&mut client, "select ab_rollup()");
    maintain(&mut client);
    let before = results(&mut client);
    // The stop commits after events of later have been counted: an earlier user's, and a new user.
    other.batch_execute("begin; select ab_stop('e')").expect("a stop");
    thread::sleep(Duration::from_millis(10));
    buy(&mut client, "ann", "custom", "0 days");
    expose(&mut client, "ann", "treatment", "0 days");
    expose(&mut client, "bob", "treatment", "0 days");
    buy(&mut client, "bob", "custom", "0 days");
    run(&mut client, "select ab_rollup()");
    assert!(results(&mut client).contains("purchases control 1 1 2"));
    other.batch_execute("commit").expect("commit");
    buy(&mut client, "ann", "custom", "0 days");
    run(&mut client, "select ab_rollup()");
    assert_eq!(results(&mut client), before);
    assert_eq!(one(&mut client, "select count(*) from ab.exposure where is_multiple").as_deref(), Some("0"));
    run(&mut client, "select ab_rollup()");
    assert_eq!(results(&mut client), before);
}

#[test]
fn late_events_in_the_overflow_stay_as_long_as_others() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    // Older than any partition, and filled in just now.
    expose(&mut client, "ann", "control", "100 days");
    buy(&mut client, "ann", "custom", "99 days");
    run(&mut client, "select ab_rollup()");
    let before = results(&mut client);
    maintain(&mut client);
    assert_eq!(one(&mut client, "select count(*) from ab.event_overflow").as_deref(), Some("2"));
    run(
        &mut client,
        "select ab_rebuild('e'); update ab.event_overflow set received_at = received_at - interval '20 days'",
    );
    let done = maintain(&mut client);
    assert_eq!(
        done,
        [
            "deleted ab.event_overflow: 1 events of ab.event_exposure",
            "deleted ab.event_overflow: 1 events of ab.event_other"
        ]
    );
    assert_eq!(results(&mut client), before);
    let error = sql_error(client.simple_query(
        "select ab_track('ann', 'buy', event_time => now() - interval '99 days', event_id => gen_random_uuid())",
    ));
    assert_eq!(error.code, "event_expired");
}

#[test]
fn retention_is_configured_by_rows_that_check_themselves() {
    let database = Database::new();
    let mut client = database.connect();
    // Also before anything has made the rows.
    run(
        &mut client,
        "insert into ab.event_retention (event_table, keep) values ('event_exposure', '1 year')",
    );
    run(&mut client, "select ab_maintain()");
    assert_eq!(
        one(
            &mut client,
            "select string_agg(event_table || ' ' || keep, ', ' order by event_table) from ab.event_retention"
        )
        .as_deref(),
        Some("event_conversion 30 days, event_exposure 1 year, event_other 14 days, unit_metric 90 days")
    );
    for bad in [
        "update ab.event_retention set keep = '23 hours'",
        "insert into ab.event_retention values ('event', '2 days')",
    ] {
        assert_eq!(sql_error(client.simple_query(bad)).sqlstate, "23514", "{bad}");
    }
    client.batch_execute("begin isolation level repeatable read").expect("begin");
    assert_eq!(maintain(&mut client), ["kept everything: the transaction is not READ COMMITTED"]);
    client.batch_execute("commit").expect("commit");
}

#[test]
fn the_status_says_how_far_results_are() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    let status = "select concat_ws(' ', ran_at is not null, lag between '0' and '1 hour', in_progress, events, duration between '0' and '1 hour', failed_at is not null, error) from ab_rollup_status()";
    assert_eq!(one(&mut client, status).as_deref(), Some("f f"), "nothing has run");
    prepare(&mut client);
    expose(&mut client, "ann", "control", "1 hour");
    buy(&mut client, "ann", "custom", "1 minute");
    other.batch_execute("begin").expect("begin");
    buy(&mut other, "ann", "custom", "1 minute");
    // Only what began before the last transaction that has ended is told from what is still to come.
    buy(&mut client, "ann", "custom", "1 minute");
    run(&mut client, "select ab_rollup()");
    let counted = one(&mut client, "select events || ' ' || (in_progress >= 1) from ab_rollup_status()");
    assert_eq!(counted.as_deref(), Some("3 true"));
    other.batch_execute("commit").expect("commit");
    run(&mut client, "select ab_rollup_failed('first'), ab_rollup_failed(null), ab_rollup_failed('why')");
    run(&mut client, "select ab_rollup()");
    let now = one(
        &mut client,
        "select events || ' ' || error || ' ' || (failed_at < ran_at) from ab_rollup_status()",
    );
    assert_eq!(now.as_deref(), Some("1 why true"));
}

/// What is still known of single users, in rows.
fn users_rows(client: &mut Client) -> String {
    one(
        client,
        "select concat_ws(' ', (select count(*) from ab.exposure), (select count(*) from ab.unit_metric))",
    )
    .expect("counts")
}

/// What maintenance did to them.
fn about_users(client: &mut Client) -> Vec<String> {
    maintain(client).into_iter().filter(|line| line.contains("users of")).collect()
}

fn all_results(client: &mut Client) -> String {
    let query = "select (select string_agg(r::text, ' ' order by r.metric, r.variant) from ab.experiment_results r) || (select string_agg(d::text, ' ' order by d) from ab.daily_result d)";
    one(client, query).expect("results")
}

#[test]
fn users_go_some_time_after_the_stop_and_results_stay() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    run(
        &mut client,
        "select ab_create_metric('slow', 'buy', 'sum', \"window\" => '10 days'); select ab_add_metric('e', 'slow');
         select ab_create_experiment('other'); select ab_start('other'); select ab_add_metric('other', 'bought'); select ab_expose('ann', 'other')",
    );
    expose(&mut client, "ann", "control", "39 days");
    expose(&mut client, "bob", "treatment", "38 days");
    for ago in ["38 days", "31 days", "1 day"] {
        buy(&mut client, "ann", "purchase", ago);
    }
    run(&mut client, "select ab_rollup()");
    run(&mut client, "select ab_stop('e')");
    run(&mut client, "select ab_rollup()");
    // It stopped that long ago, less or more an hour.
    let stopped = |client: &mut Client, ago: &str| {
        run(
            client,
            &format!(
                "update ab_internal.rollup_progress set stopped_at = now() - interval '{ago}' where stopped_at is not null"
            ),
        );
    };
    run(&mut client, "select ab_maintain()");
    let (before, rows) = (all_results(&mut client), users_rows(&mut client));
    // He had bought something before he met the other one.
    assert_eq!(rows, "3 5");
    let gone = "expired users of experiment \"e\": it stopped long enough ago; its results stay, and the rows go with the next calls";
    for (ago, goes) in [("95 days", false), ("99 days 23 hours", false), ("100 days 1 hour", true)] {
        stopped(&mut client, ago);
        // Nobody is changing it meanwhile, which would keep it.
        let done = maintain(&mut client);
        assert_eq!(done.contains(&gone.to_owned()), goes, "{ago}: {done:?}");
    }
    run(&mut client, "select ab_maintain()");
    assert_eq!(users_rows(&mut client), "1 1", "those of the other experiment stay");
    assert_eq!(
        all_results(&mut client),
        before,
        "the history is that of before, although its users are gone"
    );
    // What comes from now on is not counted, neither for who was there nor for somebody new.
    buy(&mut client, "ann", "purchase", "20 days");
    expose(&mut client, "ann", "treatment", "5 days");
    expose(&mut client, "cy", "control", "5 days");
    buy(&mut client, "cy", "purchase", "4 days");
    run(&mut client, "select ab_rollup()");
    assert_eq!(users_rows(&mut client), "1 1");
    run(&mut client, "select ab_maintain()");
    assert_eq!(all_results(&mut client), before);
    for statement in [
        "select ab_rebuild('e')",
        "select * from ab_results_by('e', 'country')",
        "select * from ab_simulate_aa('e')",
        "select ab_add_metric('e', ab_create_metric('new', 'buy'))",
        "update ab.metric set cap = 1 where metric = 'spent'",
    ] {
        let error = sql_error(client.simple_query(statement));
        assert_eq!(
            (error.sqlstate.as_str(), error.code.as_str()),
            ("55000", "units_expired"),
            "{statement}: {error:?}"
        );
        assert!(error.message.contains("experiment \"e\""), "{error:?}");
    }
    run(
        &mut client,
        "update ab.metric set description = 'what they paid' where metric = 'spent'; select ab_rebuild('other'); select ab_rollup()",
    );
    assert_eq!(all_results(&mut client), before);
    // A metric that goes takes its history with it, and so does the experiment.
    run(
        &mut client,
        "delete from ab.experiment_metric m using ab.metric d where d.metric_id = m.metric_id and d.metric = 'slow'; select ab_maintain()",
    );
    assert_eq!(one(&mut client, "select string_agg(distinct metric, ' ' order by metric) from ab.daily_result where experiment = 'e'").as_deref(), Some("bought purchases spent"));
    run(&mut client, "delete from ab.experiment where experiment = 'e'");
    assert_eq!(
        one(&mut client, "select count(*) from ab_internal.expired_daily_result").as_deref(),
        Some("0")
    );
}

#[test]
fn users_stay_while_their_experiment_is_changing() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    prepare(&mut client);
    run(&mut client, "select ab_create_metric('late', 'buy', 'count')");
    expose(&mut client, "ann", "control", "3 days");
    buy(&mut client, "ann", "purchase", "2 days");
    run(&mut client, "select ab_rollup()");
    run(&mut client, "select ab_stop('e')");
    run(
        &mut client,
        "select ab_rollup(); update ab_internal.rollup_progress set stopped_at = now() - interval '91 days'",
    );
    for change in ["select ab_add_metric('e', 'late')", "update ab.metric set cap = 1 where metric = 'spent'"]
    {
        run(&mut other, &format!("begin; {change}"));
        assert_eq!(
            about_users(&mut client),
            ["kept users of experiment \"e\": somebody is changing the experiment or its metrics"],
            "{change}"
        );
        run(&mut other, "rollback");
    }
    run(&mut client, "select ab_add_metric('e', 'late')");
    assert_eq!(
        about_users(&mut client),
        ["kept users of experiment \"e\": ab_rollup() has not counted all its metrics yet"]
    );
    run(&mut client, "select ab_rollup()");
    // Events of that time that came but are not counted yet.
    run(
        &mut client,
        "update ab.event_retention set keep = '1 day 12 hours' where event_table = 'unit_metric';
         update ab_internal.rollup_progress set stopped_at = now() - interval '38 hours'",
    );
    let before = one(&mut client, "select sum(total) from ab.metric_statistic").expect("a sum");
    buy(&mut client, "ann", "purchase", "47 hours");
    assert_eq!(
        about_users(&mut client),
        ["kept users of experiment \"e\": ab_rollup() has not counted all events of that time yet"]
    );
    // Nor while one of its metrics is locked, which holds up no roll-up.
    run(&mut client, "update ab.metric set cap = 1000 where metric = 'late'");
    run(&mut other, "begin; select from ab.experiment_metric for update");
    run(&mut client, "set lock_timeout = '5s'; select ab_rollup(); reset lock_timeout");
    assert_eq!(
        one(&mut client, "select count(*) from ab.experiment_metric where not is_counted").as_deref(),
        Some("1")
    );
    run(&mut other, "rollback");
    assert_eq!(
        about_users(&mut client),
        ["kept users of experiment \"e\": ab_rollup() has not counted all its metrics yet"]
    );
    run(&mut client, "select ab_rollup()");
    assert_ne!(one(&mut client, "select sum(total) from ab.metric_statistic"), Some(before));
    let counted = one(&mut client, "select string_agg(s::text, ' ' order by s) from ab.metric_statistic s");
    assert_eq!(
        about_users(&mut client),
        [
            "expired users of experiment \"e\": it stopped long enough ago; its results stay, and the rows go with the next calls"
        ]
    );
    assert_ne!(users_rows(&mut client), "0 0");
    assert_eq!(
        about_users(&mut client),
        [
            "deleted users of experiment \"e\": 1 of them, because it stopped long enough ago; its results stay"
        ]
    );
    assert_eq!(users_rows(&mut client), "0 0");
    assert_eq!(about_users(&mut client), [""; 0]);
    assert_eq!(
        one(&mut client, "select string_agg(s::text, ' ' order by s) from ab.metric_statistic s"),
        counted
    );
}

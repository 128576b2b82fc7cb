//! What BI tools read: live counts per minute, hour and day, and results by the day and hour of first exposure.

use std::thread;
use std::time::Duration;

use ab_tests::{Database, assert_calm_log, one};
use postgres::Client;

fn run(client: &mut Client, statement: &str) {
    client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}\n{error:?}"));
}

/// What maintenance did to the two views.
fn maintain(client: &mut Client) -> Vec<String> {
    let query = "select action || ' ' || object || coalesce(': ' || reason, '') from ab_maintain() where object like '%\\_result'";
    client.query(query, &[]).expect("maintenance").iter().map(|row| row.get(0)).collect()
}

const REFRESHED: [&str; 2] = ["refreshed ab.daily_result", "refreshed ab.hourly_result"];

fn prepare(client: &mut Client) {
    run(
        client,
        "select ab_create_experiment('e', '{\"control\": 1, \"green\": 1}', dimensions => '{plan}'); select ab_start('e');
         select ab_create_metric('spent', 'buy', 'sum', cap => 40), ab_create_metric('per_view', 'buy', 'ratio', denominator => '{\"event_name\": \"view\"}');
         select ab_add_metric('e', 'spent'), ab_add_metric('e', 'per_view')",
    );
    // Live counts begin when a metric does.
    run(client, "select ab_rollup()");
}

#[test]
fn live_counts_are_by_the_minute_hour_and_day() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    run(
        &mut client,
        "select ab_track('ann', 'exposure', event_type => 'exposure', experiment => 'e', variant => 'green', event_time => now() - interval '100 days', event_id => gen_random_uuid());
         select ab_track('ann', 'buy', 5, event_time => now() - interval '1 hour' * n, event_id => gen_random_uuid()) from unnest('{0, 1, 72, 2388}'::integer[]) n;
         select ab_track('ann', 'buy', 7, event_time => now() - interval '1 hour', event_id => gen_random_uuid());
         select ab_track('ann', 'other')",
    );
    run(&mut client, "select ab_rollup()");
    let counted = |client: &mut Client, resolution: &str| {
        one(
            client,
            &format!(
                "select string_agg(concat_ws(' ', workspace, experiment, variant, coalesce(metric, '-'), rows, events, trim_scale(total)), ', ' order by metric) from (
                     select workspace, experiment, variant, metric, count(*) as rows, sum(events) as events, sum(total) as total from ab.{resolution}_activity group by 1, 2, 3, 4
                 ) a where metric is distinct from 'per_view'"
            ),
        )
    };
    let minutes = "default e green spent 2 3 17";
    let days = "default e green spent";
    assert_eq!(counted(&mut client, "minute").as_deref(), Some(minutes));
    let hours = counted(&mut client, "hour").expect("hours");
    assert_eq!(hours, "default e green spent 3 4 22");
    let whole = counted(&mut client, "day").expect("days");
    assert!(whole.starts_with(days) && whole.ends_with("5 27, default e green - 1 1 1"), "{whole}");
    // What is too old to be shown is what maintenance deletes.
    run(
        &mut client,
        "update ab.activity set began_at = began_at - interval '3 days' where resolution = 'minute' and metric_id <> 0 and began_at < now() - interval '10 minutes'",
    );
    assert_eq!(counted(&mut client, "minute").as_deref(), Some("default e green spent 1 1 5"));
    let deleted = one(&mut client, "select reason from ab_maintain() where object = 'ab.activity'");
    assert_eq!(deleted.as_deref(), Some("2 rows of earlier minutes and hours"));
    assert_eq!(counted(&mut client, "minute").as_deref(), Some("default e green spent 1 1 5"));
    assert_eq!(counted(&mut client, "day").as_deref(), Some(whole.as_str()));
}

#[test]
fn results_by_day_and_hour_are_refreshed_by_maintenance() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    let dated = |user: &str, event: &str, rest: &str, day: i64, hour: i64| {
        format!(
            "select ab_track('{user}', '{event}', {rest}, event_time => (date_trunc('day', now() at time zone 'UTC') - interval '{day} days' + interval '{hour} hours') at time zone 'UTC', event_id => gen_random_uuid());"
        )
    };
    for (user, variant, day, hour, properties) in [
        ("ann", "control", 3, 1, r#"{"country": "US", "plan": "free"}"#),
        ("bob", "control", 3, 22, r#"{"country": "US"}"#),
        ("cy", "green", 3, 2, "{}"),
        ("dee", "green", 20, 2, r#"{"country": "NZ"}"#),
    ] {
        let rest = format!(
            "null, '{properties}', event_type => 'exposure', experiment => 'e', variant => '{variant}'"
        );
        run(&mut client, &dated(user, "exposure", &rest, day, hour));
    }
    run(
        &mut client,
        &[
            dated("ann", "buy", "60", 2, 0),
            dated("ann", "view", "null", 2, 0),
            dated("ann", "view", "null", 1, 0),
            dated("dee", "buy", "8", 1, 0),
        ]
        .concat(),
    );
    run(&mut client, "select ab_rollup()");
    assert_eq!(one(&mut client, "select count(*) from ab.daily_result").as_deref(), Some("0"));
    assert_eq!(maintain(&mut client), REFRESHED);
    let lines = |client: &mut Client, view: &str, moment: &str| {
        one(
            client,
            &format!(
                "select string_agg(concat_ws(' ', dimension, value, variant, {moment}, units, conversions, trim_scale(total), coalesce(mean::text, '-')), E'\\n' order by dimension, value, variant, {moment}) from ab.{view} where workspace = 'default' and experiment = 'e' and metric = 'spent'"
            ),
        )
        .expect("lines")
    };
    let days = "  control 3 2 1 40 20\n  green 3 1 0 0 0\n  green 20 1 1 8 8\ncountry NZ green 20 1 1 8 8\ncountry US control 3 2 1 40 20\nplan free control 3 1 1 40 40";
    let day = "(now() at time zone 'UTC')::date - day";
    assert_eq!(lines(&mut client, "daily_result", day), days);
    let hour = "extract(hour from hour at time zone 'UTC')";
    assert_eq!(
        lines(&mut client, "hourly_result", hour),
        "  control 1 1 1 40 40\n  control 22 1 0 0 0\n  green 2 1 0 0 0\ncountry US control 1 1 1 40 40\ncountry US control 22 1 0 0 0\nplan free control 1 1 1 40 40"
    );
    let ratio = one(
        &mut client,
        "select concat_ws(' ', units, conversions, trim_scale(total), mean) from ab.daily_result where metric = 'per_view' and dimension = '' and variant = 'control'",
    );
    assert_eq!(ratio.as_deref(), Some("2 1 60 30"));
    let unequal = one(
        &mut client,
        "select count(*) from ab_results('e') r full join (
             select metric, variant, sum(units) as units, sum(conversions) as conversions, sum(total) as total from ab.daily_result where dimension = '' group by 1, 2
         ) d using (metric, variant) where (r.units, r.conversions, r.total) is distinct from (d.units, d.conversions, d.total)",
    );
    assert_eq!(unequal.as_deref(), Some("0"));
    // Only where it is asked for; and not while somebody else is at it.
    run(&mut client, "select ab_track('cy', 'buy', 1)");
    run(&mut client, "select ab_rollup()");
    let quiet =
        one(&mut client, "select count(*) from ab_maintain(refresh => false) where object like '%result'");
    assert_eq!(quiet.as_deref(), Some("0"));
    let mut other = database.connect();
    run(&mut other, "begin; refresh materialized view concurrently ab.daily_result");
    assert_eq!(
        maintain(&mut client),
        ["kept ab.daily_result: somebody is refreshing or changing it", "refreshed ab.hourly_result"]
    );
    assert_eq!(lines(&mut client, "daily_result", day), days);
    run(&mut other, "rollback");
    assert_eq!(maintain(&mut client), REFRESHED);
    assert!(lines(&mut client, "daily_result", day).contains("green 3 1 1 1 1"));
    // Somebody emptied it, after which it cannot be refreshed beside its readers.
    run(&mut client, "refresh materialized view ab.daily_result with no data");
    assert_eq!(maintain(&mut client), REFRESHED);
    assert!(lines(&mut client, "daily_result", day).contains("green 3 1 1 1 1"));
    assert_calm_log();
}

#[test]
fn a_refresh_holds_up_neither_senders_nor_roll_ups() {
    let database = Database::new();
    let (mut client, mut reader) = (database.connect(), database.connect());
    prepare(&mut client);
    // As long as this reader is there, a refresh that would lock it out could not end.
    run(&mut reader, "begin; select from ab.daily_result");
    // And this one keeps the refresh from beginning for half a second.
    let mut other = database.connect();
    run(&mut other, "begin; refresh materialized view concurrently ab.daily_result");
    let maintenance = {
        let mut maintainer = database.connect();
        thread::spawn(move || maintain(&mut maintainer))
    };
    while one(
        &mut client,
        "select count(*) from pg_locks where not granted and relation = 'ab.daily_result'::regclass",
    )
    .as_deref()
        != Some("1")
    {
        assert!(!maintenance.is_finished(), "it must wait for the lock");
        thread::sleep(Duration::from_millis(5));
    }
    run(
        &mut client,
        "set statement_timeout = '300ms'; select ab_expose('ann', 'e'), ab_track('ann', 'buy', 1); reset statement_timeout",
    );
    assert_ne!(one(&mut client, "select ab_rollup(false)"), None, "the roll-up's lock is free");
    run(&mut other, "rollback");
    assert_eq!(maintenance.join().expect("maintenance").len(), 2);
    run(&mut reader, "commit");
}

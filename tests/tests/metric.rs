//! Each kind of metric counts what docs/metrics.md says, in cases small enough to be worked out by hand; a ratio has the
//! mean, variance and p-value that NumPy and SciPy find (`tests/vectors/metric`); and neither a change of the metric nor the
//! order in which events come makes a difference. All of it in random combinations is in `rollup.rs`.

use std::collections::BTreeMap;

use ab_tests::{Database, assert_calm_log, one, sql_error};
use postgres::Client;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// When users are first exposed: noon, five days ago.
const EXPOSED: &str =
    "(date_trunc('day', now() at time zone 'UTC') - interval '108 hours') at time zone 'UTC'";

/// A database with a running experiment `e` and these metrics in it, each as the arguments of `ab_create_metric()`.
fn experiment_with(metrics: &[&str]) -> (Database, Client) {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        "select ab_create_experiment('e', '{\"control\": 1, \"green\": 1}'); select ab_start('e')",
    );
    for metric in metrics {
        run(&mut client, &format!("select ab_add_metric('e', ab_create_metric({metric}))"));
    }
    (database, client)
}

fn run(client: &mut Client, statement: &str) {
    client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}\n{error:?}"));
}

fn expose(client: &mut Client, user: &str, variant: &str) {
    run(
        client,
        &format!(
            "select ab_track('{user}', 'exposure', event_type => 'exposure', experiment => 'e', variant => '{variant}', \
             event_time => {EXPOSED}, event_id => gen_random_uuid())"
        ),
    );
}

/// An event so long after first exposure, or before it.
fn track(client: &mut Client, user: &str, event: &str, after: &str, value: &str, properties: &str) {
    run(
        client,
        &format!(
            "select ab_track('{user}', '{event}', {value}, '{properties}', event_time => {EXPOSED} + interval '{after}', event_id => gen_random_uuid())"
        ),
    );
}

/// What is kept of that user by that metric: number of events, value, denominator, and the same values of before.
fn unit(client: &mut Client, metric: &str, user: &str) -> String {
    let query = format!(
        "select concat_ws(' ', u.event_count, trim_scale(u.total), coalesce(trim_scale(u.denominator)::text, '-'), '|', \
             coalesce(trim_scale(u.covariate)::text, '-'), coalesce(trim_scale(u.covariate_denominator)::text, '-')) \
         from ab.unit_metric u join ab.metric m using (metric_id) where m.metric = '{metric}' and u.user_id = '{user}'"
    );
    one(client, &query).unwrap_or_else(|| "none".to_owned())
}

fn assert_units(client: &mut Client, user: &str, expected: &[(&str, &str)]) {
    run(client, "select ab_rollup()");
    for (metric, expected) in expected {
        assert_eq!(&unit(client, metric, user), expected, "{metric} of {user}");
    }
    run(client, "select ab_rebuild('e')");
    for (metric, expected) in expected {
        assert_eq!(&unit(client, metric, user), expected, "{metric} of {user}, rebuilt");
    }
}

#[test]
fn each_kind_counts_what_its_name_says() {
    let (_database, mut client) = experiment_with(&[
        "'conversion', 'buy'",
        "'count', 'buy', 'count'",
        "'sum', 'buy', 'sum'",
        "'ratio', 'buy', 'ratio', denominator => '{\"event_name\": \"view\"}'",
        "'counts', 'buy', 'ratio', numerator => 'count', denominator => '{\"event_name\": \"view\", \"kind\": \"sum\"}'",
        "'retention', 'buy', 'retention', day => 1",
        "'unique_days', 'buy', 'unique_days'",
        "'first', 'buy', 'first'",
        "'last', 'buy', 'last'",
    ]);
    for user in ["ann", "bob", "cy"] {
        expose(&mut client, user, "control");
    }
    for (after, value) in [
        ("-30 hours", "4"),
        ("-2 hours", "1"),
        ("0", "10"),
        ("5 hours", "20"),
        ("25 hours", "30"),
        ("49 hours", "null"),
    ] {
        track(&mut client, "ann", "buy", after, value, "{}");
    }
    for after in ["-1 hour", "1 hour", "2 hours"] {
        track(&mut client, "ann", "view", after, "0.5", "{}");
    }
    track(&mut client, "cy", "view", "1 hour", "null", "{}");
    assert_units(
        &mut client,
        "ann",
        &[
            ("conversion", "4 1 - | 1 -"),
            ("count", "4 4 - | 2 -"),
            ("sum", "4 60 - | 5 -"),
            ("ratio", "4 60 2 | 5 1"),
            ("counts", "4 4 1 | 2 0.5"),
            ("retention", "1 1 - | 1 -"),
            ("unique_days", "4 3 - | 2 -"),
            // An event without a value is neither.
            ("first", "3 10 - | 4 -"),
            ("last", "3 30 - | 1 -"),
        ],
    );
    for metric in ["conversion", "ratio", "last"] {
        assert_eq!(unit(&mut client, metric, "bob"), "none", "who did nothing needs no row");
    }
    // The denominator alone is something too, but no conversion.
    assert_units(&mut client, "cy", &[("ratio", "0 0 1 | - -"), ("conversion", "none")]);
    let results = one(
        &mut client,
        "select string_agg(format('%s %s %s %s', metric, units, conversions, trim_scale(total)), ', ' order by metric) from ab_results('e') where is_control",
    );
    assert_eq!(
        results.as_deref(),
        Some(
            "conversion 3 1 1, count 3 1 4, counts 3 1 4, first 3 1 10, last 3 1 30, ratio 3 1 60, retention 3 1 1, sum 3 1 60, unique_days 3 1 3"
        )
    );
    let means = one(
        &mut client,
        "select string_agg(format('%s %s', metric, round(mean::numeric, 6)), ', ' order by metric) from ab_results('e') \
         where is_control and metric in ('ratio', 'sum', 'retention')",
    );
    assert_eq!(means.as_deref(), Some("ratio 20.000000, retention 0.333333, sum 20.000000"));
}

#[test]
fn the_earlier_of_two_at_once_is_that_of_the_smaller_id() {
    let (_database, mut client) = experiment_with(&["'first', 'buy', 'first'", "'last', 'buy', 'last'"]);
    expose(&mut client, "ann", "control");
    for (id, value) in [(2, 20), (1, 10), (3, 30)] {
        run(
            &mut client,
            &format!(
                "select ab_track('ann', 'buy', {value}, event_time => {EXPOSED}, event_id => '00000000-0000-4000-8000-00000000000{id}'); select ab_rollup()"
            ),
        );
    }
    assert_units(&mut client, "ann", &[("first", "3 10 - | - -"), ("last", "3 30 - | - -")]);
}

#[test]
fn windows_begin_with_their_first_moment_and_end_before_their_last() {
    let (_database, mut client) = experiment_with(&[
        "'all', 'buy', 'count'",
        "'delayed', 'buy', 'count', delay => '2 hours'",
        "'window', 'buy', 'count', \"window\" => '3 hours', covariate_window => '1 day'",
        "'both', 'buy', 'count', delay => '2 hours', \"window\" => '3 hours', covariate_window => '0'",
        "'day_0', 'buy', 'retention', day => 0",
        "'days_1_to_2', 'buy', 'retention', day => 1, \"window\" => '2 days'",
    ]);
    expose(&mut client, "ann", "control");
    for after in [
        "-14 days -1 microsecond",
        "-14 days",
        "-1 day -1 microsecond",
        "-1 day",
        "-1 microsecond",
        "0",
        "2 hours -1 microsecond",
        "2 hours",
        "3 hours -1 microsecond",
        "3 hours",
        "5 hours -1 microsecond",
        "5 hours",
        "24 hours -1 microsecond",
        "24 hours",
        "72 hours -1 microsecond",
        "72 hours",
    ] {
        track(&mut client, "ann", "buy", after, "null", "{}");
    }
    assert_units(
        &mut client,
        "ann",
        &[
            ("all", "11 11 - | 4 -"),
            ("delayed", "9 9 - | 4 -"),
            ("window", "4 4 - | 2 -"),
            ("both", "4 4 - | - -"),
            ("day_0", "8 1 - | 1 -"),
            ("days_1_to_2", "2 1 - | 1 -"),
        ],
    );
}

#[test]
fn a_window_goes_on_after_a_stop_and_nothing_else_does() {
    let (_database, mut client) = experiment_with(&[
        "'all', 'buy', 'count'",
        "'window', 'buy', 'count', \"window\" => '100 days'",
        "'ratio', 'buy', 'ratio', denominator => '{\"event_name\": \"view\"}'",
    ]);
    expose(&mut client, "ann", "control");
    track(&mut client, "ann", "buy", "1 hour", "1", "{}");
    track(&mut client, "ann", "view", "1 hour", "1", "{}");
    run(&mut client, "select ab_stop('e')");
    run(&mut client, "select ab_track('ann', 'buy', 1), ab_track('ann', 'view')");
    assert_units(
        &mut client,
        "ann",
        &[("all", "1 1 - | - -"), ("window", "2 2 - | - -"), ("ratio", "1 1 1 | - -")],
    );
}

#[test]
fn filters_and_properties_choose_what_counts() {
    let us = "{\"attribute\": \"country\", \"operator\": \"equals\", \"values\": [\"US\"]}";
    let (_database, mut client) = experiment_with(&[
        &format!("'us', 'buy', 'count', filter => '{us}'"),
        "'cheap', 'buy', 'count', filter => '{\"attribute\": \"price\", \"operator\": \"less\", \"values\": [10]}'",
        "'price', 'buy', 'sum', value_property => 'price'",
        "'first_price', 'buy', 'first', value_property => 'price'",
        "'price_per_item', 'buy', 'ratio', value_property => 'price', denominator => '{\"event_name\": \"buy\", \"kind\": \"sum\", \"value_property\": \"items\"}'",
        &format!(
            "'per_us_view', 'buy', 'ratio', denominator => '{{\"event_name\": \"view\", \"filter\": {us}}}'"
        ),
    ]);
    expose(&mut client, "ann", "control");
    for (after, properties) in [
        ("1 hour", r#"{"country": "US", "price": "many", "items": 2}"#),
        ("2 hours", r#"{"country": "NZ", "price": 7.25, "items": 1}"#),
        ("3 hours", r#"{"price": 12, "items": null}"#),
        ("4 hours", r#"{"country": ["US"], "price": 1e999}"#),
        ("5 hours", "{}"),
    ] {
        track(&mut client, "ann", "buy", after, "100", properties);
    }
    track(&mut client, "ann", "view", "1 hour", "null", r#"{"country": "US"}"#);
    track(&mut client, "ann", "view", "1 hour", "null", r#"{"country": "NZ"}"#);
    assert_units(
        &mut client,
        "ann",
        &[
            ("us", "1 1 - | - -"),
            ("cheap", "1 1 - | - -"),
            // What is no number a double can hold is none: an event of a sum nevertheless, but none to take a value from.
            ("price", "5 19.25 - | - -"),
            ("first_price", "2 7.25 - | - -"),
            ("price_per_item", "5 19.25 3 | - -"),
            ("per_us_view", "5 500 1 | - -"),
        ],
    );
}

#[test]
fn a_cap_bounds_each_user_and_tells_how_many() {
    let (_database, mut client) = experiment_with(&[
        "'sum', 'buy', 'sum', cap => 40",
        "'count', 'buy', 'count', cap => 1",
        "'last', 'buy', 'last', cap => 25",
        "'days', 'buy', 'unique_days', cap => 1",
    ]);
    for (user, buys) in [
        ("ann", &[("-1 hour", "50"), ("1 hour", "30")][..]),
        ("bob", &[("1 hour", "30"), ("25 hours", "30")]),
        ("cy", &[("1 hour", "-100")]),
        ("dee", &[]),
    ] {
        expose(&mut client, user, "control");
        for (after, value) in buys {
            track(&mut client, user, "buy", after, value, "{}");
        }
    }
    // Kept is what the user did; what it counts for is in the sums.
    assert_units(&mut client, "bob", &[("sum", "2 60 - | - -"), ("days", "2 2 - | - -")]);
    let statistics = |client: &mut Client| {
        one(
            client,
            "select string_agg(concat_ws(' ', m.metric, s.conversions, s.capped_units, trim_scale(s.uncapped_total), trim_scale(s.total), trim_scale(s.total_of_squares), \
                 trim_scale(s.covariate), trim_scale(s.total_covariate)), ', ' order by m.metric) \
             from ab.metric_statistic s join ab.metric m using (metric_id)",
        )
    };
    let expected = "count 3 1 4 3 3 1 1, days 3 1 4 3 3 1 1, last 3 2 -40 -50 11250 25 625, sum 3 1 -10 -30 12500 40 1200";
    assert_eq!(statistics(&mut client).as_deref(), Some(expected));
    // A cap may be anything, also below what users have without it.
    run(&mut client, "update ab.metric set cap = -150 where metric = 'sum'; select ab_rollup()");
    let capped = one(
        &mut client,
        "select concat_ws(' ', s.capped_units, trim_scale(s.total), trim_scale(s.uncapped_total)) from ab.metric_statistic s join ab.metric m using (metric_id) where m.metric = 'sum'",
    );
    assert_eq!(capped.as_deref(), Some("3 -450 -10"));
}

/// The events of one user of the vector: purchases with their values, and visits.
fn events_of(user: &Value, number: usize) -> Vec<String> {
    let mut events = Vec::new();
    let mut add = |name: &str, value: &str, hours: i64| {
        events.push(format!(
            "select ab_track('user_{number}', '{name}', {value}, event_time => {EXPOSED} + interval '{hours} hours', event_id => gen_random_uuid())"
        ));
    };
    for (purchases, visits, sign) in [("purchases", "visits", 1), ("past_purchases", "past_visits", -1)] {
        for (value, hours) in user[purchases].as_array().expect("purchases").iter().zip(1..) {
            add("buy", &value.to_string(), sign * hours);
        }
        for hours in 1..=user[visits].as_i64().expect("visits") {
            add("visit", "null", sign * hours);
        }
    }
    events
}

#[test]
fn a_ratio_has_the_figures_of_numpy_and_scipy() {
    let vector: Value =
        serde_json::from_str(include_str!("../vectors/metric/ratio.json")).expect("valid JSON");
    let (_database, mut client) =
        experiment_with(&["'spent_per_visit', 'buy', 'ratio', denominator => '{\"event_name\": \"visit\"}'"]);
    for (number, user) in vector["users"].as_array().expect("users").iter().enumerate() {
        expose(&mut client, &format!("user_{number}"), user["variant"].as_str().expect("a variant"));
        let events = events_of(user, number);
        if !events.is_empty() {
            run(&mut client, &events.join(";"));
        }
    }
    run(&mut client, "select ab_rollup()");
    let columns = [
        ("total", "y"),
        ("denominator", "z"),
        ("covariate", "u"),
        ("covariate_denominator", "w"),
        ("total_of_squares", "yy"),
        ("denominator_of_squares", "zz"),
        ("covariate_of_squares", "uu"),
        ("covariate_denominator_of_squares", "ww"),
        ("total_denominator", "yz"),
        ("total_covariate", "yu"),
        ("total_covariate_denominator", "yw"),
        ("denominator_covariate", "zu"),
        ("denominator_covariate_denominator", "zw"),
        ("covariate_covariate_denominator", "uw"),
    ];
    for variant in ["control", "green"] {
        let sums = client
            .query_one("select to_jsonb(s) from ab.metric_statistic s where s.variant = $1", &[&variant])
            .expect("statistics")
            .get::<_, Value>(0);
        let results = client
            .query_one("select to_jsonb(r) from ab_results('e') r where r.variant = $1", &[&variant])
            .expect("results")
            .get::<_, Value>(0);
        let expected = &vector["expected"][variant];
        for (column, name) in columns {
            // Quarters and whole numbers: nothing is rounded, neither here nor there.
            assert_eq!(sums[column].as_f64(), expected["sums"][name].as_f64(), "{column} of {variant}");
        }
        for column in ["mean", "variance", "p_value", "diff_low", "diff_high"] {
            let Some(expected) = expected[column].as_f64() else { continue };
            let found = results[column].as_f64().expect("a number");
            assert!(
                (found - expected).abs() <= 1e-11 * expected.abs(),
                "{column} of {variant}: {found} instead of {expected}"
            );
        }
    }
}

#[test]
fn a_ratio_to_nothing_says_so() {
    let (_database, mut client) =
        experiment_with(&["'ratio', 'buy', 'ratio', denominator => '{\"event_name\": \"view\"}'"]);
    for (user, variant) in [("ann", "control"), ("bob", "green"), ("cy", "green")] {
        expose(&mut client, user, variant);
    }
    track(&mut client, "bob", "buy", "1 hour", "5", "{}");
    run(&mut client, "select ab_rollup()");
    let found = one(
        &mut client,
        "select string_agg(concat_ws(' ', variant, units, conversions, coalesce(mean::text, '-'), coalesce(p_value::text, '-'), note), ', ' order by variant) from ab_results('e')",
    );
    assert_eq!(found.as_deref(), Some("control 1 0 - - no_denominator, green 2 1 - - no_denominator"));
}

/// Everything that is kept of two metrics of one experiment but which of them it is; the number of differing rows.
fn differences(client: &mut Client, one_metric: &str, other_metric: &str) -> String {
    let kept = |table: &str, metric: &str| {
        format!(
            "select to_jsonb(s) - 'metric_id' as kept from ab.{table} s join ab.metric m using (metric_id) where m.metric = '{metric}'"
        )
    };
    let counts: Vec<String> = ["unit_metric", "metric_statistic"]
        .iter()
        .flat_map(|table| [(table, one_metric, other_metric), (table, other_metric, one_metric)])
        .map(|(table, these, those)| {
            format!("(select count(*) from ({} except all {}) d)", kept(table, these), kept(table, those))
        })
        .collect();
    one(client, &format!("select concat_ws(' ', {})", counts.join(", "))).expect("counts")
}

#[test]
fn a_metric_that_changes_counts_as_if_it_had_always_been_so() {
    let changes = [
        ("'buy', 'sum'", "cap = 30", "'buy', 'sum', cap => 30"),
        ("'buy', 'sum', cap => 30", "cap = null", "'buy', 'sum'"),
        ("'buy', 'count'", "window_end = '3 hours'", "'buy', 'count', \"window\" => '3 hours'"),
        ("'buy', 'count', \"window\" => '3 hours'", "window_end = null", "'buy', 'count'"),
        ("'buy', 'sum'", "window_start = '2 hours'", "'buy', 'sum', delay => '2 hours'"),
        ("'buy', 'sum'", "covariate_window = '0'", "'buy', 'sum', covariate_window => '0'"),
        ("'buy', 'sum'", "event_name = 'view'", "'view', 'sum'"),
        ("'buy', 'sum'", "value_property = 'price'", "'buy', 'sum', value_property => 'price'"),
        (
            "'buy'",
            "filter = '{\"attribute\": \"country\", \"operator\": \"equals\", \"values\": [\"US\"]}'",
            "'buy', filter => '{\"attribute\": \"country\", \"operator\": \"equals\", \"values\": [\"US\"]}'",
        ),
        ("'buy', 'sum', cap => 30", "kind = 'last'", "'buy', 'last', cap => 30"),
        ("'buy', 'last'", "kind = 'unique_days'", "'buy', 'unique_days'"),
        ("'buy', 'unique_days'", "kind = 'conversion'", "'buy'"),
        (
            "'buy'",
            "kind = 'ratio', numerator = 'sum', denominator = 'count', denominator_event_name = 'view'",
            "'buy', 'ratio', denominator => '{\"event_name\": \"view\"}'",
        ),
        (
            "'buy', 'ratio', denominator => '{\"event_name\": \"view\"}'",
            "kind = 'first', numerator = null, denominator = null, denominator_event_name = null",
            "'buy', 'first'",
        ),
    ];
    let (_database, mut client) = experiment_with(&[]);
    for (number, (before, _, after)) in changes.iter().enumerate() {
        run(
            &mut client,
            &format!(
                "select ab_add_metric('e', ab_create_metric('changed_{number}', {before})), ab_add_metric('e', ab_create_metric('always_{number}', {after}))"
            ),
        );
    }
    for (user, variant) in [("ann", "control"), ("bob", "green"), ("cy", "green")] {
        expose(&mut client, user, variant);
    }
    let mut random = StdRng::seed_from_u64(7);
    let mut some_events = |client: &mut Client| {
        for _ in 0..60 {
            track(
                client,
                ["ann", "bob", "cy"].choose(&mut random).expect("a user"),
                ["buy", "view"].choose(&mut random).expect("a name"),
                &format!("{} minutes", random.random_range(-3000..3000)),
                &random.random_range(-10..20).to_string(),
                ["{}", r#"{"country": "US", "price": 3}"#, r#"{"price": "x"}"#]
                    .choose(&mut random)
                    .expect("properties"),
            );
        }
    };
    some_events(&mut client);
    run(&mut client, "select ab_rollup()");
    for (number, (_, change, _)) in changes.iter().enumerate() {
        run(&mut client, &format!("update ab.metric set {change} where metric = 'changed_{number}'"));
    }
    // Some come between the change and the roll-up, some after it, and one user is exposed once more, and earlier.
    some_events(&mut client);
    run(
        &mut client,
        &format!(
            "select ab_track('ann', 'exposure', event_type => 'exposure', experiment => 'e', variant => 'green', \
             event_time => {EXPOSED} - interval '3 hours', event_id => gen_random_uuid()); select ab_rollup()"
        ),
    );
    some_events(&mut client);
    run(&mut client, "select ab_rollup()");
    for (number, change) in changes.iter().enumerate() {
        let (changed, always) = (format!("changed_{number}"), format!("always_{number}"));
        assert_eq!(differences(&mut client, &changed, &always), "0 0 0 0", "{change:?}");
        assert_ne!(unit(&mut client, &always, "bob"), "none", "{change:?} must have something to count");
    }
    assert_calm_log();
}

#[test]
fn a_metric_that_changes_too_late_says_from_when_it_is_complete() {
    let (_database, mut client) = experiment_with(&["'spent', 'buy', 'sum'", "'other', 'buy', 'sum'"]);
    run(
        &mut client,
        "select ab_internal.make_partitions((now() at time zone 'UTC')::date - 40, (now() at time zone 'UTC')::date);
         select ab_track('ann', 'exposure', event_type => 'exposure', experiment => 'e', variant => 'control', event_time => now() - interval '39 days', event_id => gen_random_uuid());
         select ab_track('ann', 'buy', 10, event_time => now() - interval '38 days', event_id => gen_random_uuid());
         select ab_track('ann', 'buy', 20, event_time => now() - interval '1 day', event_id => gen_random_uuid())",
    );
    run(&mut client, "select ab_rollup()");
    run(&mut client, "select ab_maintain()");
    run(&mut client, "update ab.metric set description = 'what they paid' where metric = 'spent'");
    let found = |client: &mut Client| {
        one(
            client,
            "select string_agg(concat_ws(' ', r.metric, trim_scale(r.total), m.complete_from is not null, r.note), ', ' order by r.metric) \
             from ab.experiment_results r join ab.experiment_metric m using (experiment_id, metric_id) where r.is_control",
        )
    };
    run(&mut client, "select ab_rollup()");
    assert_eq!(found(&mut client).as_deref(), Some("other 30 f, spent 30 f"), "its words may change");
    run(&mut client, "update ab.metric set cap = 100 where metric = 'spent'; select ab_rollup()");
    assert_eq!(found(&mut client).as_deref(), Some("other 30 f, spent 20 t incomplete"));
}

#[test]
fn what_is_no_metric_is_refused() {
    let (_database, mut client) = experiment_with(&["'taken', 'buy'"]);
    for (arguments, sqlstate, code, says) in [
        ("'a b', 'buy'", "22023", "invalid_key", "a b"),
        ("null, 'buy'", "22023", "invalid_key", "metric"),
        ("'taken', 'buy'", "23505", "metric_exists", "\"taken\""),
        ("'m', ''", "22023", "invalid_argument", "event name of metric \"m\""),
        ("'m', null", "22023", "invalid_argument", "event name"),
        ("'m', 'buy', 'mode'", "22023", "invalid_argument", "metric kind \"mode\""),
        ("'m', 'buy', null", "22023", "invalid_argument", "NULL"),
        ("'m', 'buy', 'retention'", "22023", "invalid_argument", "day is missing"),
        ("'m', 'buy', 'retention', day => -1", "22023", "invalid_argument", "-1"),
        ("'m', 'buy', 'count', day => 1", "22023", "invalid_argument", "day is 1"),
        ("'m', 'buy', delay => '-1 hour'", "22023", "invalid_argument", "delay"),
        ("'m', 'buy', delay => '1 month'", "22023", "invalid_argument", "1 mon"),
        ("'m', 'buy', \"window\" => '1 year'", "22023", "invalid_argument", "window"),
        ("'m', 'buy', \"window\" => '0'", "22023", "invalid_argument", "is empty"),
        ("'m', 'buy', \"window\" => '-1 day'", "22023", "invalid_argument", "window"),
        ("'m', 'buy', covariate_window => '91 days'", "22023", "invalid_argument", "91 days"),
        ("'m', 'buy', covariate_window => '-1 day'", "22023", "invalid_argument", "covariate window"),
        ("'m', 'buy', cap => 1", "22023", "invalid_argument", "cannot be capped"),
        ("'m', 'buy', 'sum', cap => 'NaN'", "22023", "invalid_argument", "NaN"),
        ("'m', 'buy', 'sum', cap => 'Infinity'", "22023", "invalid_argument", "Infinity"),
        ("'m', 'buy', 'count', value_property => 'price'", "22023", "invalid_argument", "value"),
        ("'m', 'buy', 'sum', value_property => ''", "22023", "invalid_argument", "value"),
        ("'m', 'buy', 'ratio'", "22023", "invalid_argument", "denominator"),
        ("'m', 'buy', 'sum', numerator => 'sum'", "22023", "invalid_argument", "numerator"),
        (
            "'m', 'buy', 'ratio', numerator => 'last', denominator => '{\"event_name\": \"v\"}'",
            "22023",
            "invalid_argument",
            "numerator",
        ),
        ("'m', 'buy', 'ratio', denominator => '[]'", "22023", "invalid_argument", "denominator"),
        (
            "'m', 'buy', 'ratio', denominator => '{\"event_name\": 1}'",
            "22023",
            "invalid_argument",
            "denominator",
        ),
        (
            "'m', 'buy', 'ratio', denominator => '{\"event_name\": \"v\", \"cap\": 1}'",
            "22023",
            "invalid_argument",
            "\"cap\"",
        ),
        (
            "'m', 'buy', 'ratio', denominator => '{\"event_name\": \"v\", \"kind\": \"last\"}'",
            "22023",
            "invalid_argument",
            "denominator",
        ),
        ("'m', 'buy', filter => '{\"attribute\": \"a\"}'", "22023", "invalid_rule", "filter of metric \"m\""),
        (
            "'m', 'buy', 'ratio', denominator => '{\"event_name\": \"v\", \"filter\": 1}'",
            "22023",
            "invalid_rule",
            "filter in the denominator of metric \"m\"",
        ),
    ] {
        let error = sql_error(client.simple_query(&format!("select ab_create_metric({arguments})")));
        assert_eq!(
            (error.sqlstate.as_str(), error.code.as_str()),
            (sqlstate, code),
            "{arguments}: {error:?}"
        );
        assert!(error.message.contains(says) && !error.hint.is_empty(), "{arguments}: {error:?}");
    }
    assert_eq!(one(&mut client, "select count(*) from ab.metric").as_deref(), Some("1"));
}

#[test]
fn plain_statements_are_held_to_the_same() {
    let (_database, mut client) = experiment_with(&["'taken', 'buy'"]);
    for (statement, sqlstate, says) in [
        (
            "insert into ab.metric (metric, event_name) values ('taken', 'buy')",
            "23505",
            "metric_workspace_id_metric_key",
        ),
        ("insert into ab.metric (metric, event_name) values ('a b', 'buy')", "23514", "key"),
        ("update ab.metric set event_name = ''", "23514", "metric_event_name_check"),
        ("update ab.metric set kind = 'mode'", "23514", "metric_kind_check"),
        ("update ab.metric set kind = 'retention'", "23514", "metric_retention_check"),
        ("update ab.metric set kind = 'ratio'", "23514", "metric_ratio_check"),
        ("update ab.metric set numerator = 'sum'", "23514", "metric_ratio_check"),
        ("update ab.metric set cap = 1", "23514", "metric_cap_check"),
        ("update ab.metric set kind = 'sum', cap = 'NaN'", "23514", "metric_cap_check"),
        (
            "update ab.metric set window_start = '2 days', window_end = '1 day'",
            "23514",
            "metric_window_check",
        ),
        ("update ab.metric set window_end = '1 month'", "23514", "metric_window_check"),
        ("update ab.metric set covariate_window = '91 days'", "23514", "metric_window_check"),
        ("update ab.metric set covariate_window = '1 month'", "23514", "metric_window_check"),
        ("update ab.metric set kind = 'sum', value_property = ''", "23514", "metric_value_property_check"),
        ("update ab.metric set filter = '{\"attribute\": \"a\"}'", "22023", "filter of metric \"taken\""),
        ("update ab.metric set metric_id = 4711", "55000", "\"taken\""),
        ("delete from ab.metric", "23503", "experiment_metric"),
    ] {
        let error = sql_error(client.simple_query(statement));
        assert_eq!(error.sqlstate, sqlstate, "{statement}: {error:?}");
        assert!(error.message.contains(says), "{statement}: {error:?}");
    }
    // Before, and not after, it has been given to an experiment.
    let error = sql_error(client.simple_query("select ab_add_metric('e', 'taken')"));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("23505", "metric_attached"));
    let error = sql_error(client.simple_query("select ab_add_metric('e', 'none')"));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("42704", "metric_not_found"));
}

/// An event as `ab_track_batch()` takes it; its time in microseconds from now.
#[derive(Clone)]
struct Event {
    user: String,
    id: String,
    offset: i64,
    is_exposure: bool,
    name: &'static str,
    value: Option<f64>,
    properties: String,
    experiment: Option<String>,
    variant: Option<&'static str>,
}

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

fn some_event(random: &mut StdRng) -> Event {
    let is_exposure = random.random_bool(0.25);
    // Up to a week late, and by clocks that are up to an hour ahead; often at the very same moment as another.
    let offset = random.random_range(-7 * 24 * 12..12) * (HOUR / 12);
    let country = ["US", "NZ", "DE"].choose(random).expect("a country");
    Event {
        user: format!("user_{}", random.random_range(0..150)),
        id: format!("{:08x}-0000-4000-8000-{:012x}", random.random::<u32>(), random.random::<u32>()),
        offset,
        is_exposure,
        name: if is_exposure { "exposure" } else { ["buy", "view", "other"].choose(random).expect("a name") },
        value: random.random_bool(0.8).then(|| f64::from(random.random_range(-500..5000)) / 100.0),
        properties: format!("{{\"country\": \"{country}\", \"items\": {}}}", random.random_range(0..5)),
        experiment: (is_exposure || random.random_bool(0.2))
            .then(|| format!("e{}", random.random_range(0..3))),
        variant: is_exposure.then(|| *["control", "green"].choose(random).expect("a variant")),
    }
}

/// Sends the events to a workspace in batches of this size, and rolls up after some of them.
fn send(client: &mut Client, workspace: &str, events: &[Event], size: usize, random: &mut StdRng) {
    for batch in events.chunks(size) {
        let texts =
            |of: &dyn Fn(&Event) -> Option<String>| -> Vec<Option<String>> { batch.iter().map(of).collect() };
        let refused = client
            .query_one(
                "select count(*) filter (where b.code <> 'duplicate') from ab_track_batch($1::text[], $2::text[]::uuid[], \
                 (select array_agg(s.now + o.microseconds * interval '1 microsecond' order by o.place) \
                     from unnest($3::bigint[]) with ordinality o (microseconds, place), public.sent_at s), \
                 $4, $5, $6, $7, $8, $9, array_fill(null::text, array[cardinality($1::text[])]), $10) b",
                &[
                    &texts(&|event| Some(event.user.clone())),
                    &texts(&|event| Some(event.id.clone())),
                    &batch.iter().map(|event| event.offset).collect::<Vec<_>>(),
                    &texts(&|event| Some(if event.is_exposure { "exposure" } else { "custom" }.to_owned())),
                    &texts(&|event| Some(event.name.to_owned())),
                    &batch.iter().map(|event| event.value).collect::<Vec<_>>(),
                    &texts(&|event| Some(event.properties.clone())),
                    &texts(&|event| event.experiment.clone()),
                    &texts(&|event| event.variant.map(str::to_owned)),
                    &workspace,
                ],
            )
            .expect("a batch")
            .get::<_, i64>(0);
        assert_eq!(refused, 0);
        if random.random_bool(0.5) {
            run(client, "select ab_rollup()");
        }
    }
    run(client, "select ab_rollup()");
}

#[test]
fn a_stream_in_any_order_gives_what_the_sorted_one_gives() {
    let database = Database::new();
    let mut client = database.connect();
    let metrics = [
        "'conversion', 'buy', \"window\" => '2 days'",
        "'count', 'buy', 'count', filter => '{\"attribute\": \"country\", \"operator\": \"equals\", \"values\": [\"US\"]}'",
        "'sum', 'buy', 'sum', cap => 60",
        "'items', 'buy', 'sum', value_property => 'items', delay => '1 hour'",
        "'ratio', 'buy', 'ratio', denominator => '{\"event_name\": \"view\"}'",
        "'retention', 'view', 'retention', day => 1, covariate_window => '1 day'",
        "'unique_days', 'view', 'unique_days'",
        "'first', 'buy', 'first'",
        "'last', 'buy', 'last', covariate_window => '3 days'",
    ];
    for workspace in ["shuffled", "sorted"] {
        run(
            &mut client,
            &format!(
                "insert into ab.workspace (workspace) values ('{workspace}'); set ab.workspace = '{workspace}'"
            ),
        );
        for metric in metrics {
            run(&mut client, &format!("select ab_create_metric({metric})"));
        }
        for number in 0..3 {
            run(
                &mut client,
                &format!(
                    "select ab_create_experiment('e{number}', '{{\"control\": 1, \"green\": 1}}'); select ab_start('e{number}')"
                ),
            );
            run(
                &mut client,
                &format!(
                    "select ab_add_metric('e{number}', m.metric) from ab.metric m join ab.workspace w using (workspace_id) where w.workspace = '{workspace}'"
                ),
            );
        }
    }
    // Some of the days have a partition, the others are in the overflow.
    run(
        &mut client,
        "create table public.sent_at as select now() as now; select ab_internal.make_partitions((now() at time zone 'UTC')::date - 4, (now() at time zone 'UTC')::date + 1)",
    );
    let mut random = StdRng::seed_from_u64(42);
    let mut events: Vec<Event> = (0..6000).map(|_| some_event(&mut random)).collect();
    assert!(
        events.iter().any(|event| event.offset > 0) && events.iter().any(|event| event.offset < -6 * DAY)
    );
    // No two with one identity: of those the first to come would be kept.
    let mut ids = BTreeMap::new();
    events.retain(|event| ids.insert(event.id.clone(), ()).is_none());
    events.sort_by(|one, other| (one.offset, &one.id).cmp(&(other.offset, &other.id)));
    send(&mut client, "sorted", &events, 1000, &mut random);
    // Some are sent again, as senders do who got no answer.
    let again: Vec<Event> = events.choose_multiple(&mut random, 600).cloned().collect();
    events.extend(again);
    events.shuffle(&mut random);
    send(&mut client, "shuffled", &events, 170, &mut random);
    let rows = |workspace: &str, columns: &str, table: &str, metric: &str| {
        format!(
            "select x.experiment{}, to_jsonb(s) - 'experiment_id' - 'metric_id' from ab.{table} s join ab.experiment x using (experiment_id) \
             join ab.workspace w on w.workspace_id = x.workspace_id {metric} where w.workspace = '{workspace}'",
            columns
        )
    };
    let with_metric = (", m.metric", "join ab.metric m on m.metric_id = s.metric_id");
    for (table, (columns, metric)) in [
        ("exposure", ("", "")),
        ("variant_statistic", ("", "")),
        ("phase_statistic", ("", "")),
        ("unit_metric", with_metric),
        ("metric_statistic", with_metric),
    ] {
        for (these, those) in [("shuffled", "sorted"), ("sorted", "shuffled")] {
            let found = one(
                &mut client,
                &format!(
                    "with these as ({}), those as ({}) select (select count(*) > 0 from these) || ' ' || coalesce((select string_agg(d::text, '; ') from (select * from these except all select * from those limit 3) d), '')",
                    rows(these, columns, table, metric),
                    rows(those, columns, table, metric)
                ),
            );
            assert_eq!(found.as_deref(), Some("true "), "{table}: {these} without {those}");
        }
    }
    let results = |client: &mut Client, workspace: &str| {
        one(
            client,
            &format!(
                "select string_agg((to_jsonb(r) - 'workspace' - 'experiment_id' - 'metric_id' - 'variant_id' || jsonb_build_object('total', trim_scale(r.total)))::text, e'\\n' order by r.experiment, r.metric, r.variant) \
                 from ab.experiment_results r where r.workspace = '{workspace}'"
            ),
        )
    };
    let (shuffled, sorted) = (results(&mut client, "shuffled"), results(&mut client, "sorted"));
    assert_eq!(shuffled, sorted);
    assert_eq!(sorted.expect("results").lines().count(), 3 * metrics.len() * 2);
    assert_calm_log();
}

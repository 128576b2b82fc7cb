//! A/A tests by the thousand: made up they keep the test's promise, and of real users they are those that SQL finds.

use std::time::{Duration, Instant};

use ab_tests::{Database, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statement: &str) {
    client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}\n{error:?}"));
}

/// Four hundred users by weights of 3, 2 and 1, with a metric of each sort.
fn prepare(client: &mut Client) {
    run(
        client,
        "select ab_create_experiment('e', '{\"control\": 3, \"green\": 2, \"blue\": 1}');
         select ab_create_metric('bought', 'buy'), ab_create_metric('spent', 'buy', 'sum', cap => 40),
             ab_create_metric('per_view', 'buy', 'ratio', denominator => '{\"event_name\": \"view\"}');
         select ab_add_metric('e', 'bought', 'primary'), ab_add_metric('e', 'spent'), ab_add_metric('e', 'per_view');
         select ab_start('e');
         select ab_track('user_' || n, 'exposure', event_type => 'exposure', experiment => 'e', variant => (array['control', 'green', 'blue'])[1 + n % 3],
                 event_time => now() - interval '3 days', event_id => gen_random_uuid())
         from generate_series(1, 400) n;
         select ab_track('user_' || n, 'buy', n * 7 % 50, event_time => now() - interval '2 days', event_id => gen_random_uuid()) from generate_series(1, 400) n where n % 5 < 2;
         select ab_track('user_' || n, 'view', event_time => now() - interval '1 day', event_id => gen_random_uuid()) from generate_series(1, 400) n, generate_series(0, n % 4)",
    );
    run(client, "select ab_rollup()");
}

#[test]
fn a_test_that_keeps_its_promise_is_within_its_band() {
    let mut client = Database::new().connect();
    for (arguments, method) in [
        ("10000, 0.1", "pooled_z"),
        ("10000, 20, 10", "welch_t"),
        ("1000000000, 20, 10, seed => 4", "welch_t"),
        ("10000, 0.1, alpha => 0.2, simulations => 5000", "pooled_z"),
    ] {
        let row = client
            .query_one(
                &format!(
                    "select rate between band_low and band_high and rate = false_positives / simulations::float8 and p_uniform > 0.001 and note is null, method
                     from ab_simulate_aa({arguments})"
                ),
                &[],
            )
            .unwrap_or_else(|error| panic!("{arguments}: {error:?}"));
        assert_eq!((row.get(0), row.get(1)), (Some(true), Some(method)), "{arguments}");
    }
}

#[test]
fn peeking_is_shown_and_a_sequential_test_allows_for_it() {
    let mut client = Database::new().connect();
    for condition in [
        "(select rate between 0.15 and 0.24 and rate > band_high and expected = 0.05 and note = 'peeking' and p_uniform > 0.001
          from ab_simulate_aa(10000, 20, 10, 2000, looks => 10))",
        "(select rate < 0.05 and band_low = 0 and note is null and p_uniform is null and method = 'sequential'
          from ab_simulate_aa(10000, 20, 10, 2000, looks => 50, mode => 'sequential'))",
        "(select rate < 0.05 from ab_simulate_aa(10000, 0.1, simulations => 2000, looks => 50, mode => 'sequential'))",
        // Arms that never have the users for a first look.
        "(select rate is null and note = 'too_few_units' from ab_simulate_aa(60, 20, 10, 200, mode => 'sequential'))",
        "(select rate is null and note = 'null_input' from ab_simulate_aa(60, null))",
        "(select a = b and a <> c from ab_simulate_aa(100, 0.3, seed => 5) a, ab_simulate_aa(100, 0.3, seed => 5) b, ab_simulate_aa(100, 0.3, seed => -6) c)",
    ] {
        assert_eq!(one(&mut client, &format!("select ({condition})::text")).as_deref(), Some("true"), "{condition}");
    }
}

#[test]
fn what_would_take_minutes_is_refused_and_the_rest_can_be_cancelled() {
    let mut client = Database::new().connect();
    prepare(&mut client);
    for (call, said) in [
        ("ab_simulate_aa(1, 0.1)", "n_per_arm"),
        ("ab_simulate_aa(100, 1.1)", "baseline"),
        ("ab_simulate_aa(100, 1, 0)", "sd"),
        ("ab_simulate_aa(100, 0.1, alpha => 0)", "alpha"),
        ("ab_simulate_aa(100, 0.1, looks => 51)", "looks"),
        ("ab_simulate_aa(100, 0.1, mode => 'peek')", "mode"),
        ("ab_simulate_aa(100, 0.1, simulations => 99)", "simulations"),
        ("ab_simulate_aa(100, 0.1, simulations => -1)", "simulations"),
        ("ab_simulate_aa(1000000, 0.1, looks => 100000)", "simulations must be at most 9 "),
        ("ab_simulate_aa('e', 99)", "simulations"),
        ("ab_simulate_aa('e', 2147483647)", "simulations must be at most 200000 for 400 users"),
    ] {
        let error = sql_error(client.simple_query(&format!("select * from {call}")));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_argument"), "{call}");
        assert!(error.message.contains(said), "{call}: {error:?}");
    }
    run(&mut client, "set statement_timeout = '100ms'");
    for call in ["ab_simulate_aa(1000000, 20, 10, 10000, looks => 90)", "ab_simulate_aa('e', 200000)"] {
        let started = Instant::now();
        let error = sql_error(client.simple_query(&format!("select * from {call}")));
        assert_eq!(error.sqlstate, "57014", "{call}: {error:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{call}");
    }
}

#[test]
fn an_experiments_users_are_split_as_sql_splits_them() {
    let mut client = Database::new().connect();
    prepare(&mut client);
    for metric in ["bought", "spent", "per_view"] {
        run(
            &mut client,
            &format!(
                "set session_replication_role = replica;
                 update ab.experiment_metric set role = 'secondary';
                 update ab.experiment_metric m set role = 'primary' from ab.metric d where d.metric_id = m.metric_id and d.metric = '{metric}';
                 reset session_replication_role"
            ),
        );
        // Every split by the public functions alone: half of the users against a third.
        let agrees = one(
            &mut client,
            &format!(
                "with split as (
                     select s.number, b.bucket >= 500000 as treated, count(*) as units,
                         count(*) filter (where u.event_count > 0) as conversions,
                         avg(coalesce(least(u.total, d.cap), 0))::float8 as y, var_samp(coalesce(least(u.total, d.cap), 0))::float8 as yy,
                         avg(coalesce(u.denominator, 0))::float8 as z, var_samp(coalesce(u.denominator, 0))::float8 as zz,
                         (covar_samp(coalesce(u.total, 0)::float8, coalesce(u.denominator, 0)::float8)) as yz
                     from generate_series(0, 199) s (number)
                     cross join ab.exposure x
                     cross join lateral (select ab_bucket('aa:' || s.number, x.user_id)) b (bucket)
                     cross join ab.metric d
                     left join ab.unit_metric u on u.user_id = x.user_id and u.experiment_id = x.experiment_id and u.metric_id = d.metric_id
                     where d.metric = '{metric}' and b.bucket < 833333
                     group by 1, 2
                 ),
                 test as (
                     select case '{metric}'
                             when 'bought' then (select p_value from ab_ztest(c.units, c.conversions, t.units, t.conversions))
                             when 'spent' then (select p_value from ab_ttest(c.units, c.y, c.yy, t.units, t.y, t.yy))
                             else (select p_value from ab_ratio_test(c.units, c.y, c.yy, c.z, c.zz, c.yz, t.units, t.y, t.yy, t.z, t.zz, t.yz))
                         end as p
                     from split c join split t using (number) where t.treated and not c.treated
                 )
                 select (r.simulations = 200 and r.false_positives = (select count(*) from test where p < 0.05)
                     and (select count(*) from test) = 200 and r.rate = r.false_positives / 200.0 and r.p_uniform > 0.001
                     and r.rate between r.band_low and r.band_high)::text || ' ' || r.method || ' ' || r.false_positives::text
                 from ab_simulate_aa('e', 200) r"
            ),
        );
        let agrees = agrees.unwrap_or_default();
        assert!(agrees.starts_with("true "), "{metric}: {agrees}");
    }
}

#[test]
fn an_experiment_without_users_or_primary_metric_says_so() {
    let mut client = Database::new().connect();
    run(&mut client, "select ab_create_experiment('e'), ab_create_metric('bought', 'buy')");
    let note = "select note from ab_simulate_aa('e') where rate is null";
    assert_eq!(one(&mut client, note).as_deref(), Some("no_primary_metric"));
    let error = sql_error(client.simple_query("select * from ab_simulate_aa('nowhere')"));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("42704", "experiment_not_found"));
    run(&mut client, "select ab_add_metric('e', 'bought', 'primary')");
    assert_eq!(one(&mut client, note).as_deref(), Some("too_few_units"));
    // Nobody to split costs nothing, however often.
    let error = sql_error(client.simple_query("select * from ab_simulate_aa('e', 2147483647)"));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_argument"));
}

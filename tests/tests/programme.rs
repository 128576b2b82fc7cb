//! What many experiments say together.

use ab_tests::{Database, assert_calm_log, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statement: &str) {
    client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}\n{error:?}"));
}

fn text(client: &mut Client, query: &str) -> String {
    one(client, query).unwrap_or_else(|| panic!("NULL: {query}"))
}

/// `users` of an experiment, of whom `converted` percent of the treatment and 20 percent of the control bought, split by the
/// `divisor` of their number so that several experiments are independent.
fn expose(client: &mut Client, experiment: &str, users: u32, divisor: u32, converted: u32) {
    run(
        client,
        &format!(
            "select ab_track('user_' || n, 'exposure', event_type => 'exposure', experiment => '{experiment}', variant => (array['control', 'treatment'])[1 + n / {divisor} % 2],
                 event_time => now() - interval '2 days', event_id => gen_random_uuid(), properties => jsonb_build_object('country', (array['US', 'DE'])[1 + n / 50 % 2])) from generate_series(0, {users} - 1) n;
             select ab_track('user_' || n, 'buy_{experiment}', event_time => now() - interval '1 day', event_id => gen_random_uuid())
             from generate_series(0, {users} - 1) n where n * 37 % 100 < case when n / {divisor} % 2 = 0 then 20 else {converted} end"
        ),
    );
}

#[test]
fn past_lifts_shrink_towards_none_and_add_up_against_the_holdout() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        "select ab_create_metric('bought', 'buy');
         select ab_create_holdout('year', 10, primary_metric => 'bought')",
    );
    assert_eq!(text(&mut client, "select count(*) from ab_lift_history('bought')"), "0");
    for (key, converted) in [("first", 24), ("second", 20), ("third", 17), ("fourth", 30)] {
        run(
            &mut client,
            &format!(
                "select ab_create_experiment('{key}', primary_metric => 'bought', analysis => '{{\"planned_units\": 800}}'); select ab_start('{key}')"
            ),
        );
        run(
            &mut client,
            &format!(
                "select ab_track('{key}_' || n, 'exposure', event_type => 'exposure', experiment => '{key}', variant => (array['control', 'treatment'])[1 + n % 2], event_time => now(), event_id => gen_random_uuid()) from generate_series(0, 799) n;
                 select ab_track('{key}_' || n, 'buy', event_time => now(), event_id => gen_random_uuid()) from generate_series(0, 799) n where n / 2 * 37 % 100 < case n % 2 when 0 then 20 else {converted} end"
            ),
        );
        run(&mut client, "select ab_rollup()");
        run(
            &mut client,
            &format!("select ab_stop('{key}', ship => case when {converted} > 22 then 'treatment' end)"),
        );
    }
    let history = "select string_agg(format('%s %s %s', experiment, round(lift::numeric, 4), shipped), ', ' order by experiment) from ab_lift_history('bought')";
    assert_eq!(
        text(&mut client, history),
        "first 0.2000 t, fourth 0.5000 t, second 0.0000 f, third -0.1500 f"
    );
    // The method of moments, from the lifts and their errors.
    let reckoned = "select count(*) from (
            select *, sqrt(greatest(avg(lift * lift) over () - avg(lift_se * lift_se) over (), 0)) as sd from ab_lift_history('bought')
        ) h where abs(prior_sd - sd) > 1e-12 or abs(shrunken_lift - lift * sd * sd / (sd * sd + lift_se * lift_se)) > 1e-12 or not abs(shrunken_lift) <= abs(lift) or note is distinct from 'few_tests'";
    assert_eq!(text(&mut client, reckoned), "0");
    run(
        &mut client,
        "select ab_track('h_' || n, 'exposure', event_type => 'exposure', experiment => 'year', variant => case when n % 10 = 0 then 'holdout' else 'programme' end, event_time => now(), event_id => gen_random_uuid()) from generate_series(0, 1999) n;
         select ab_track('h_' || n, 'buy', event_time => now(), event_id => gen_random_uuid()) from generate_series(0, 1999) n where n / 10 * 37 % 100 < case when n % 10 = 0 then 20 else 26 end",
    );
    run(&mut client, "select ab_rollup()");
    let impact = "select concat_ws(' ', metric, units, holdout_units, round(lift::numeric, 3), shipped, round(summed_lift::numeric, 3), shrunken_lift between 0.01 and summed_lift, shrunken_low < shrunken_lift, detectable_lift > 0)
        from ab_holdout_impact('year')";
    assert_eq!(text(&mut client, impact), "bought 1800 200 0.300 2 0.700 t t t");
    assert_calm_log();
}

#[test]
fn experiments_that_disturb_each_other_are_found() {
    let database = Database::new();
    let mut client = database.connect();
    for key in ["ours", "quiet", "loud"] {
        run(
            &mut client,
            &format!(
                "select ab_create_metric('bought_{key}', 'buy_{key}'); select ab_create_experiment('{key}', primary_metric => 'bought_{key}'); select ab_start('{key}')"
            ),
        );
    }
    expose(&mut client, "ours", 2000, 1, 30);
    expose(&mut client, "quiet", 2000, 2, 30);
    expose(&mut client, "loud", 2000, 4, 30);
    // Users who are in both treatments buy always.
    run(
        &mut client,
        "select ab_track('user_' || n, 'buy_ours', event_time => now() - interval '1 day', event_id => gen_random_uuid()) from generate_series(0, 1999) n where n % 2 = 1 and n / 4 % 2 = 1",
    );
    run(&mut client, "select ab_rollup()");
    let found = "select string_agg(format('%s %s %s %s', other_experiment, users, round(effect::numeric, 1), p_adjusted < 0.001), ', ' order by p_value) from ab_interactions('ours')";
    assert_eq!(text(&mut client, found), "loud 2000 0.7 t, quiet 2000 0.0 f");
    let same = "select count(*) from ab_interactions('ours') s
        cross join lateral (
            select array_agg(c.n order by c.place) as n, array_agg(c.mean order by c.place) as mean, array_agg(c.variance order by c.place) as variance
            from (
                select (a.variant = 'treatment')::integer * 2 + (b.variant = 'treatment')::integer as place, count(*) as n, avg(coalesce(u.total, 0))::float8 as mean, var_samp(coalesce(u.total, 0))::float8 as variance
                from ab.exposure a join ab.exposure b using (user_id) left join ab.unit_metric u on u.user_id = a.user_id and u.experiment_id = a.experiment_id
                where a.experiment_id = (select experiment_id from ab.experiment where experiment = 'ours') and b.experiment_id = (select experiment_id from ab.experiment where experiment = s.other_experiment)
                group by 1
            ) c
        ) c
        cross join lateral ab_interaction(c.n, c.mean, c.variance) i
        where abs(i.p_value - s.p_value) > 1e-9 * i.p_value or abs(i.effect - s.effect) > 1e-12 or s.independence_p_value < 0.5";
    assert_eq!(text(&mut client, same), "0");
    run(
        &mut client,
        "select ab_create_metric('ratio', 'buy', 'ratio', denominator => '{\"event_name\": \"view\"}'); select ab_add_metric('ours', 'ratio')",
    );
    let refused = sql_error(client.simple_query("select * from ab_interactions('ours', 'ratio')"));
    assert_eq!(refused.code, "invalid_argument");
    assert_calm_log();
}

#[test]
fn suggestions_come_with_their_reasons() {
    let database = Database::new();
    let mut client = database.connect();
    assert_eq!(text(&mut client, "select count(*) from ab_suggest_next()"), "0");
    run(&mut client, "select ab_create_metric('bought', 'buy')");
    for (key, converted, divisor) in [("small", 24, 1), ("great", 40, 1), ("worse", 8, 1)] {
        run(
            &mut client,
            &format!(
                "select ab_create_metric('bought_{key}', 'buy_{key}'); select ab_create_experiment('{key}', primary_metric => 'bought_{key}'); select ab_add_metric('{key}', 'bought'); select ab_start('{key}')"
            ),
        );
        expose(&mut client, key, 600, divisor, converted);
        run(
            &mut client,
            &format!(
                "select ab_track('user_' || n, 'buy', event_time => now() - interval '1 day', experiment => '{key}', event_id => gen_random_uuid()) from generate_series(0, 599) n where n * 37 % 100 < case when n % 2 = 0 then 20 else {converted} end"
            ),
        );
    }
    // In one country the effect is the other way round.
    run(
        &mut client,
        "select ab_track('user_' || n, 'buy_great', event_time => now() - interval '1 day', event_id => gen_random_uuid()) from generate_series(0, 599) n where n % 2 = 0 and n / 50 % 2 = 0",
    );
    run(&mut client, "select ab_rollup()");
    run(&mut client, "select ab_stop('small'), ab_stop('great', ship => 'treatment'), ab_stop('worse')");
    let kinds = "select string_agg(format('%s: %s', kind, subject), ', ' order by kind, subject) from ab_suggest_next()";
    let found = text(&mut client, kinds);
    for expected in ["metric: bought", "rerun: small treatment", "segment: great by country"] {
        assert!(found.contains(expected), "{expected} is not in {found}");
    }
    assert!(!found.contains("great treatment") && !found.contains("worse treatment"), "{found}");
    let reasons = text(&mut client, "select string_agg(reason, E'\\n') from ab_suggest_next()");
    for part in [
        "effects on bought have varied by ",
        "would tell an effect of that size from none",
        "differs by country",
    ] {
        assert!(reasons.contains(part), "{part} is not in\n{reasons}");
    }
    assert_eq!(text(&mut client, "select count(*) from ab_suggest_next(0) where kind = 'segment'"), "0");
    assert_calm_log();
}

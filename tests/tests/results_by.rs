//! Results by dimension are the results of those users, and together those of everybody.

use ab_tests::{Database, assert_calm_log, one, sql_error};
use postgres::Client;
use serde_json::Value;

const PASSWORD: &str = "analyst";

/// What is said of an experiment as a whole, or corrected for what else is tested beside it.
const ONLY_ALL: &str = "- '{p_adjusted,significant,sequential_p_value,sequential_low,sequential_high,sample_ratio_p_value,note}'::text[]";

/// What is said of parts of an experiment.
const ONLY_PARTS: &str =
    "- '{value,value2,p_adjusted,significant,shrunken_diff,heterogeneity_p_value,note}'::text[]";

fn run(client: &mut Client, statement: &str) {
    client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}\n{error:?}"));
}

/// Sixty users from three countries and from nowhere, in an experiment with a metric of each sort of mean.
fn prepare(client: &mut Client) {
    run(
        client,
        "select ab_create_experiment('e', '{\"control\": 1, \"green\": 1}', dimensions => '{plan}');
         select ab_create_metric('bought', 'buy'), ab_create_metric('spent', 'buy', 'sum', cap => 40), ab_create_metric('back', 'view', 'retention', day => 1),
             ab_create_metric('per_view', 'buy', 'ratio', denominator => '{\"event_name\": \"view\"}');
         select ab_add_metric('e', 'bought', 'primary'), ab_add_metric('e', 'spent'), ab_add_metric('e', 'back'), ab_add_metric('e', 'per_view');
         select ab_start('e');
         select ab_track('user_' || n, 'exposure', event_type => 'exposure', experiment => 'e', variant => (array['control', 'green'])[1 + n % 2],
                 properties => (array['{\"country\": \"US\", \"plan\": \"free\"}', '{\"country\": \"NZ\"}', '{\"country\": \"DE\", \"plan\": 7}', '{\"country\": null}'])[1 + n / 2 % 4]::jsonb,
                 event_time => now() - interval '3 days', event_id => gen_random_uuid())
         from generate_series(1, 60) n;
         select ab_track('user_' || n, 'buy', n * 7 % 50, event_time => now() - interval '2 days', event_id => gen_random_uuid()) from generate_series(1, 60) n where n % 5 < 3;
         select ab_track('user_' || n, 'view', event_time => now() - interval '1 hour' * (n % 60), event_id => gen_random_uuid()) from generate_series(1, 120) k, lateral (select k % 60 + 1) u (n)",
    );
    run(client, "select ab_rollup()");
}

fn rows(client: &mut Client, query: &str) -> Vec<Value> {
    client.query(query, &[]).expect("rows").iter().map(|row| row.get(0)).collect()
}

#[test]
fn each_value_has_the_results_of_an_experiment_of_its_users() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    // The same events in a workspace where nobody else was.
    for (value, condition) in [
        (Some("US"), "properties ->> 'country' = 'US'"),
        (Some("NZ"), "properties ->> 'country' = 'NZ'"),
        (Some("DE"), "properties ->> 'country' = 'DE'"),
        (None, "properties ->> 'country' is null"),
    ] {
        let alone = Database::new();
        let mut other = alone.connect();
        prepare(&mut other);
        run(
            &mut other,
            &format!(
                "delete from ab.exposure where user_id not in (select user_id from ab.event where event_type = 'exposure' and {condition});
                 delete from ab.unit_metric where user_id not in (select user_id from ab.exposure)"
            ),
        );
        // Their statistics come from users' rows, as a stop makes them anew.
        run(
            &mut other,
            "do $$ begin perform ab_internal.prepare_work_tables(); perform ab_internal.sum_units(experiment_id) from ab.experiment; end $$",
        );
        let expected = rows(&mut other, &format!("select to_jsonb(r) {ONLY_ALL} from ab_results('e') r"));
        let found = client
            .query(
                &format!("select to_jsonb(b) {ONLY_PARTS} from ab_results_by('e', 'country') b where b.value is not distinct from $1"),
                &[&value],
            )
            .expect("a breakdown");
        let found: Vec<Value> = found.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, expected, "{value:?}");
        assert!(found.iter().any(|row| row["units"] != 0 && row["conversions"] != 0), "{found:?}");
    }
    let order = one(
        &mut client,
        "select string_agg(coalesce(value, '-'), ' ') from ab_results_by('e', 'country') where metric = 'bought' and is_control",
    );
    assert_eq!(order.as_deref(), Some("DE NZ US -"), "in order, and who is not known last");
    assert_calm_log();
}

#[test]
fn all_values_together_are_the_whole() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    for dimension in ["country", "platform", "device", "plan"] {
        let unequal = one(
            &mut client,
            &format!(
                "select count(*) from ab_results('e') r full join (
                     select metric, variant, bool_or(is_control) as is_control, sum(units) as units, sum(conversions) as conversions, sum(total) as total
                     from ab_results_by('e', '{dimension}') group by metric, variant
                 ) b using (metric, variant)
                 where (r.is_control, r.units, r.conversions, r.total) is distinct from (b.is_control, b.units, b.conversions, b.total)"
            ),
        );
        assert_eq!(unequal.as_deref(), Some("0"), "{dimension}");
    }
    // What nobody said anything of has one value, which is none.
    let whole = rows(&mut client, &format!("select to_jsonb(r) {ONLY_ALL} from ab_results('e') r"));
    let parts =
        format!("select to_jsonb(b) {ONLY_PARTS} from ab_results_by('e', 'device') b where b.value is null");
    assert_eq!(rows(&mut client, &parts), whole);
    let plans = one(
        &mut client,
        "select string_agg(distinct coalesce(value, '-'), ' ') from ab_results_by('e', 'plan')",
    );
    assert_eq!(plans.as_deref(), Some("- 7 free"));
}

#[test]
fn nobody_exposed_is_no_rows() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        "select ab_create_experiment('e'); select ab_create_metric('bought', 'buy'); select ab_add_metric('e', 'bought')",
    );
    assert_eq!(
        rows(&mut client, "select to_jsonb(b) from ab_results_by('e', 'country') b"),
        Vec::<Value>::new()
    );
}

#[test]
fn a_dimension_that_is_none_is_named_beside_those_there_are() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    for (arguments, code, says) in [
        ("'e', 'browser'", "dimension_not_found", "experiment \"e\" has no dimension \"browser\""),
        ("'e', null", "dimension_not_found", "NULL"),
        ("'none', 'country'", "experiment_not_found", "\"none\""),
    ] {
        let error = sql_error(client.simple_query(&format!("select * from ab_results_by({arguments})")));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("42704", code), "{error:?}");
        assert!(error.message.contains(says), "{error:?}");
        assert!(
            code != "dimension_not_found" || error.hint.contains("country, platform, device, plan"),
            "{error:?}"
        );
    }
}

#[test]
fn an_analyst_may_and_others_may_not() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    run(
        &mut client,
        &format!(
            "create role breakdown_analyst login password '{PASSWORD}'; create role breakdown_client login password '{PASSWORD}';
             select ab_grant('breakdown_analyst', 'analyst'), ab_grant('breakdown_client', 'client')"
        ),
    );
    let mut analyst = database.connect_as("breakdown_analyst", PASSWORD);
    for query in
        ["select count(*) from ab_results_by('e', 'country')", "select count(*) from ab.experiment_results"]
    {
        assert_ne!(one(&mut analyst, query).as_deref(), Some("0"), "{query}");
    }
    let mut other = database.connect_as("breakdown_client", PASSWORD);
    assert_eq!(
        sql_error(other.simple_query("select * from ab_results_by('e', 'country')")).sqlstate,
        "42501"
    );
}

//! The results of an experiment: by its settings, reproducible in SQL, and what they say to do.

use ab_tests::{Database, assert_calm_log, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statement: &str) {
    client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}\n{error:?}"));
}

fn text(client: &mut Client, query: &str) -> String {
    one(client, query).unwrap_or_else(|| panic!("NULL: {query}"))
}

fn code(client: &mut Client, statement: &str) -> String {
    sql_error(client.batch_execute(statement)).code
}

/// Users in three variants, with values before and after they were exposed, and an effect of the variant.
fn prepare(client: &mut Client, users: u32, analysis: &str) {
    run(
        client,
        &format!(
            "select ab_create_metric('spent', 'buy', 'sum', cap => 60), ab_create_metric('bought', 'buy'),
                 ab_create_metric('per_view', 'buy', 'ratio', denominator => '{{\"event_name\": \"view\", \"kind\": \"count\"}}'),
                 ab_create_metric('latency', 'timing', 'sum', lower_is_better => true), ab_create_metric('views', 'view', 'count');
             select ab_create_experiment('e', '{{\"control\": 1, \"green\": 1, \"blue\": 1}}', primary_metric => 'spent', dimensions => '{{plan}}', analysis => '{analysis}');
             select ab_add_metric('e', 'bought'), ab_add_metric('e', 'per_view'), ab_add_metric('e', 'latency', 'guardrail', 0.1);
             select ab_start('e');
             select ab_add_metric('e', 'views');
             select ab_track('user_' || n, 'exposure', event_type => 'exposure', experiment => 'e', variant => (array['control', 'green', 'blue'])[1 + n % 3],
                     properties => jsonb_build_object('country', (array['US', 'DE', 'NZ'])[1 + n / 3 % 3], 'plan', n / 9 % 2),
                     event_time => now() - interval '1 day' * (2 + n / 9 % 3), event_id => gen_random_uuid())
             from generate_series(1, {users}) n;
             select ab_track('user_' || n, 'buy', 20 + n * 7919 % 50, event_time => now() - interval '6 days', event_id => gen_random_uuid()) from generate_series(1, {users}) n where n % 5 < 3;
             select ab_track('user_' || n, 'buy', 20 + n * 7919 % 50 + n * 104729 % 13 + 3 * (n % 3), event_time => now() - interval '1 day', event_id => gen_random_uuid())
             from generate_series(1, {users}) n where n % 5 < 3 or n % 17 = 0;
             select ab_track('user_' || n, 'view', event_time => now() - interval '5 days', event_id => gen_random_uuid()) from generate_series(1, {users}) n where n % 3 <> n % 7;
             select ab_track('user_' || n, 'view', event_time => now() - interval '1 day', event_id => gen_random_uuid()) from generate_series(1, {users}) n, generate_series(0, n % 4);
             select ab_track('user_' || n, 'timing', 100 + n * 31 % 97, event_time => now() - interval '1 day', event_id => gen_random_uuid()) from generate_series(1, {users}) n"
        ),
    );
    run(client, "select ab_rollup()");
}

/// Fails with the rows in which two figures differ by more than a relative 10⁻⁹.
fn assert_same(client: &mut Client, what: &str, query: &str) {
    let rows = format!("select count(*) from ({query}) q");
    assert_ne!(text(client, &rows), "0", "{what} has nothing to compare");
    let unequal = format!(
        "select coalesce(string_agg(q::text, '; '), '') from ({query}) q (name, found, expected)
         where (found is null) <> (expected is null) or abs(found - expected) > 1e-9 * greatest(abs(found), abs(expected))"
    );
    assert_eq!(text(client, &unequal), "", "{what}");
}

#[test]
fn settings_are_fixed_with_their_version_once_the_experiment_starts() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        "select ab_create_metric('bought', 'buy'), ab_create_metric('other', 'o'), ab_create_metric('third', 't');
         select ab_create_experiment('e', primary_metric => 'bought')",
    );
    let complete =
        text(&mut client, "select ab_set_analysis('e', '{\"alpha\": 0.01, \"mode\": \"sequential\"}')");
    assert!(complete.contains("\"alpha\": 0.01") && complete.contains("\"power\": 0.8"), "{complete}");
    run(&mut client, "select ab_set_analysis('e', '{\"planned_units\": 5000, \"mode\": null}')");
    let stored = "select analysis::text || ' ' || analysis_version from ab.experiment";
    assert_eq!(text(&mut client, stored), "{\"alpha\": 0.01, \"planned_units\": 5000} 3");
    assert_eq!(code(&mut client, "update ab.experiment set analysis = '{\"alpha\": 2}'"), "invalid_analysis");
    run(&mut client, "update ab.experiment set analysis_version = 77");
    assert!(text(&mut client, stored).ends_with(" 3"), "nobody numbers versions");
    run(&mut client, "select ab_add_metric('e', 'other', 'guardrail', 0.05); select ab_start('e')");
    for refused in [
        "select ab_set_analysis('e', '{\"alpha\": 0.1}')",
        "update ab.experiment set analysis = '{}'",
        "select ab_add_metric('e', 'third', 'primary')",
        "insert into ab.experiment_metric (experiment_id, metric_id) select experiment_id, metric_id from ab.experiment, ab.metric where metric = 'third'",
        "update ab.experiment_metric set role = 'secondary' where role = 'primary'",
        "update ab.experiment_metric set margin = 0.5 where role = 'guardrail'",
        "delete from ab.experiment_metric where role = 'primary'",
        "update ab.metric set lower_is_better = true where metric = 'other'",
        "update ab.metric set covariate_window = '1 day' where metric = 'bought'",
    ] {
        assert_eq!(code(&mut client, refused), "wrong_status", "{refused}");
    }
    run(&mut client, "select ab_add_metric('e', 'third')");
    let roles = "select string_agg(format('%s %s', metric, role), ', ' order by metric) from ab_results('e') where is_control";
    assert_eq!(text(&mut client, roles), "bought primary, other guardrail, third exploratory");
    assert_eq!(text(&mut client, "select distinct analysis_version from ab_results('e')"), "3");
    // What decides nothing may be taken off, and once it is over, all may.
    run(&mut client, "update ab.metric set lower_is_better = true where metric = 'third'");
    run(&mut client, "delete from ab.experiment_metric where role = 'exploratory'");
    run(&mut client, "select ab_stop('e'); delete from ab.experiment_metric where role = 'guardrail'");
    assert_calm_log();
}

#[test]
fn every_number_can_be_reproduced_in_sql() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client, 3000, "{\"mode\": \"sequential\", \"planned_units\": 4000, \"prior_sd\": 0.1}");
    let arms = "(select r.*, c.units n1, c.mean m1, c.variance v1, c.conversions x1 from ab_results('e') r
        join ab_results('e') c on c.metric = r.metric and c.is_control where not r.is_control) r";
    for (columns, call, kinds) in [
        (
            "diff se statistic df diff_low:ci_low diff_high:ci_high lift lift_low lift_high p_value",
            "ab_ttest(r.n1, r.m1, r.v1, r.units, r.mean, r.variance)",
            "'spent', 'latency', 'views', 'per_view'",
        ),
        (
            "diff statistic diff_low:ci_low diff_high:ci_high lift lift_low lift_high p_value",
            "ab_ztest(r.n1, r.x1, r.units, r.conversions)",
            "'bought'",
        ),
        (
            "sequential_low:ci_low sequential_high:ci_high sequential_p_value:p_value",
            "ab_sequential(r.diff, r.se, r.n1 + r.units, 0.05, 4000)",
            "'spent', 'latency', 'views', 'per_view', 'bought'",
        ),
        (
            "chance_to_win:prob_better expected_loss:loss_treatment",
            "ab_bayes(r.diff, r.se, 0, 0.1 * abs(r.m1))",
            "'spent', 'views', 'per_view', 'bought'",
        ),
        (
            "chance_to_win:prob_better expected_loss:loss_treatment",
            "ab_bayes(-r.diff, r.se, 0, 0.1 * abs(r.m1))",
            "'latency'",
        ),
    ] {
        for column in columns.split(' ') {
            let (ours, theirs) = column.split_once(':').unwrap_or((column, column));
            let query = format!(
                "select r.metric || ' ' || r.variant || ' {ours}', r.{ours}, f.{theirs} from {arms} cross join lateral {call} f where r.metric in ({kinds})"
            );
            assert_same(&mut client, ours, &query);
        }
    }
    // Means, and the adjustment for the time before, from users' rows.
    let units = "(select x.variant, least(coalesce(u.total, 0), 60)::float8 y, least(coalesce(u.covariate, 0), 60)::float8 x
        from ab.exposure x left join ab.unit_metric u on u.user_id = x.user_id and u.experiment_id = x.experiment_id
            and u.metric_id = (select metric_id from ab.metric where metric = 'spent')) u";
    for (ours, theirs) in [("mean", "avg(y)"), ("variance", "var_samp(y)")] {
        let query = format!(
            "select r.variant, r.{ours}, u.value from ab_results('e') r join (select variant, {theirs} as value from {units} group by variant) u using (variant) where r.metric = 'spent'"
        );
        assert_same(&mut client, ours, &query);
    }
    for (ours, theirs) in [
        ("cuped_diff", "diff"),
        ("cuped_low", "ci_low"),
        ("cuped_high", "ci_high"),
        ("cuped_lift", "lift"),
        ("cuped_lift_low", "lift_low"),
        ("cuped_p_value", "p_value"),
        ("variance_reduction", "variance_reduction"),
        ("covariate_balance_p_value", "cov_balance_p"),
    ] {
        let query = format!(
            "with arm as (select variant, count(*) n, avg(y) my, var_samp(y) vy, avg(x) mx, var_samp(x) vx, covar_samp(x, y) cxy from {units} group by variant),
                 theta as (select ab_cuped_theta(array_agg(n), array_agg(vx), array_agg(cxy)) as theta from arm)
             select r.variant, r.{ours}, f.{theirs} from ab_results('e') r
             join arm t on t.variant = r.variant join arm c on c.variant = 'control' cross join theta
             cross join lateral ab_cuped(c.n, c.my, c.vy, c.mx, c.vx, c.cxy, t.n, t.my, t.vy, t.mx, t.vx, t.cxy, 0.05, theta.theta) f
             where r.metric = 'spent' and not r.is_control"
        );
        assert_same(&mut client, ours, &query);
    }
    // A ratio is linearised: each user's numerator less the ratio times the denominator, over the mean denominator.
    let ratio = "with unit as (
            select x.variant, coalesce(u.total, 0)::float8 y, coalesce(u.denominator, 0)::float8 z, coalesce(u.covariate, 0)::float8 u, coalesce(u.covariate_denominator, 0)::float8 w
            from ab.exposure x left join ab.unit_metric u on u.user_id = x.user_id and u.experiment_id = x.experiment_id
                and u.metric_id = (select metric_id from ab.metric where metric = 'per_view')),
        mean as (select variant, avg(y) / avg(z) r, avg(z) mz, avg(u) / avg(w) q, avg(w) mw, count(*) n from unit group by variant),
        arm as (select variant, min(n) n, min(r) my, min(q) mx, var_samp((y - r * z) / mz) vy, var_samp((u - q * w) / mw) vx, covar_samp((y - r * z) / mz, (u - q * w) / mw) cxy
            from unit join mean using (variant) group by variant),
        theta as (select ab_cuped_theta(array_agg(n), array_agg(vx), array_agg(cxy)) as theta from arm)";
    for (ours, theirs) in [("mean", "t.my"), ("variance", "t.vy")] {
        let query = format!(
            "{ratio} select r.variant, r.{ours}, {theirs} from ab_results('e') r join arm t using (variant) where r.metric = 'per_view'"
        );
        assert_same(&mut client, ours, &query);
    }
    let query = format!(
        "{ratio} select r.variant, r.cuped_diff, f.diff from ab_results('e') r
         join arm t on t.variant = r.variant join arm c on c.variant = 'control' cross join theta
         cross join lateral ab_cuped(c.n, c.my, c.vy, c.mx, c.vx, c.cxy, t.n, t.my, t.vy, t.mx, t.vx, t.cxy, 0.05, theta.theta) f
         where r.metric = 'per_view' and not r.is_control"
    );
    assert_same(&mut client, "cuped of a ratio", &query);
    // Corrections: the treatments of the primary metric, all of the secondary ones, none of guardrails.
    for (role, method) in [("primary", "holm"), ("secondary", "holm"), ("exploratory", "bh")] {
        let query = format!(
            "with p as (select row_number() over (order by metric, variant) as place, metric || variant as name, sequential_p_value as p, p_adjusted from ab_results('e') where role = '{role}' and not is_control)
             select p.name, p.p_adjusted, (select (ab_adjust_pvalues(array_agg(q.p order by q.place), '{method}'))[p.place] from p q) from p"
        );
        assert_same(&mut client, role, &query);
    }
    let guardrails = "select variant, p_adjusted, sequential_p_value from ab_results('e') where role = 'guardrail' and not is_control";
    assert_same(&mut client, "guardrail", guardrails);
    let capped = "select r.variant, r.uncapped_mean, (select sum(total)::float8 / 1000 from ab.unit_metric u join ab.exposure x using (user_id, experiment_id) join ab.metric using (metric_id) where metric = 'spent' and x.variant = r.variant)
        from ab_results('e') r where r.metric = 'spent' and r.capped_units > 0";
    assert_same(&mut client, "uncapped", capped);
    let ratio = "select 'p', min(sample_ratio_p_value), min(f.p_value) from ab_results('e')
        cross join (select array_agg(share order by variant) as shares from (select variant::text, sum(to_bucket - from_bucket)::float8 as share from ab.variant_range group by variant) v) w
        cross join lateral ab_srm(array[1000, 1000, 1000], w.shares) f";
    assert_same(&mut client, "sample ratio", ratio);
    let states = "select string_agg(distinct guardrail, ' ') from ab_results('e') where role = 'guardrail'";
    assert_eq!(text(&mut client, states), "pass");
    let others = "select count(*) from ab_results('e') where role <> 'guardrail' and guardrail is not null";
    assert_eq!(text(&mut client, others), "0");
    assert_calm_log();
}

#[test]
fn the_mode_says_what_decides() {
    for (analysis, method, note, sequential) in [
        ("{}", "welch_t", "not_final", false),
        ("{\"planned_units\": 600}", "welch_t", "", false),
        ("{\"planned_units\": 601}", "welch_t", "not_final", false),
        ("{\"cuped\": true, \"planned_units\": 600}", "cuped", "", false),
        ("{\"mode\": \"sequential\"}", "confidence_sequence", "", true),
        ("{\"mode\": \"sequential\", \"cuped\": true}", "confidence_sequence_cuped", "", true),
        ("{\"mode\": \"bayesian\"}", "welch_t", "", false),
        ("{\"mode\": \"group_sequential\", \"planned_units\": 9000}", "welch_t", "not_final", false),
    ] {
        let database = Database::new();
        let mut client = database.connect();
        prepare(&mut client, 600, analysis);
        let found = text(
            &mut client,
            "select concat_ws('|', method, coalesce(note, ''), sequential_low is not null, significant is not null) from ab_results('e') where metric = 'spent' and variant = 'blue'",
        );
        assert_eq!(found, format!("{method}|{note}|{}|t", if sequential { "t" } else { "f" }), "{analysis}");
    }
}

#[test]
fn nothing_is_final_between_looks() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client, 600, "{\"mode\": \"group_sequential\", \"planned_units\": 9000}");
    let notes = "select string_agg(distinct concat_ws(' ', role, note), ', ' order by concat_ws(' ', role, note)) from ab_results('e') where not is_control";
    assert_eq!(
        text(&mut client, notes),
        "exploratory not_final, guardrail not_final, primary not_final, secondary not_final"
    );
    run(&mut client, "select ab_stop('e')");
    assert_eq!(text(&mut client, notes), "exploratory, guardrail, primary, secondary");
}

#[test]
fn a_planned_end_is_the_last_look_and_a_stop_is_none() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client, 600, "{\"mode\": \"group_sequential\", \"planned_units\": 9000}");
    let refused = "update ab.experiment set ends_at = now() + interval '1 hour'";
    assert_eq!(code(&mut client, refused), "wrong_status");
    run(&mut client, "select ab_rollup()");
    assert_eq!(text(&mut client, "select count(*) from ab.look"), "0");
    // As if it had been created with an end that has passed since.
    run(
        &mut client,
        "alter table ab.experiment disable trigger experiment_before;
         update ab.experiment set ends_at = now() - interval '1 minute';
         alter table ab.experiment enable trigger experiment_before",
    );
    run(&mut client, "update ab.experiment_metric set is_counted = false where role = 'primary'");
    run(&mut client, "select ab_internal.take_looks()");
    assert_eq!(text(&mut client, "select count(*) from ab.look"), "0", "not before all is counted");
    run(&mut client, "select ab_rollup()");
    let looks = "select string_agg(distinct concat_ws(' ', look, units, information, round(alpha_spent::numeric, 9)), ', ') from ab.look";
    assert_eq!(text(&mut client, looks), "1 600 1 0.025000000", "two treatments share alpha");
    assert_same(
        &mut client,
        "what was seen",
        "select l.variant, l.diff, r.diff from ab.look l join ab_results('e') r using (variant) where r.role = 'primary'
         union all select l.variant, l.p_value, r.p_value from ab.look l join ab_results('e') r using (variant) where r.role = 'primary'",
    );
    run(&mut client, "select ab_rollup()");
    assert_eq!(text(&mut client, looks), "1 600 1 0.025000000", "it is the last");
    // A look that was crossed the other way decides nothing, nor one at another metric.
    let significant = "select bool_or(significant)::text from ab_results('e') where role = 'primary'";
    run(&mut client, "update ab.look l set is_crossed = true, diff = -l.diff");
    assert_eq!(text(&mut client, significant), "false");
    run(&mut client, "update ab.look l set diff = -l.diff");
    assert_eq!(text(&mut client, significant), "true");
    run(
        &mut client,
        "update ab.metric set filter = '{\"attribute\": \"country\", \"operator\": \"equals\", \"values\": [\"US\"]}' where metric = 'spent'",
    );
    assert_eq!(text(&mut client, significant), "false");

    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client, 600, "{\"mode\": \"group_sequential\", \"planned_units\": 9000}");
    run(&mut client, "select ab_stop('e'); select ab_rollup()");
    assert_eq!(text(&mut client, "select count(*) from ab.look"), "0", "who stops has seen the results");
    assert_eq!(text(&mut client, significant), "false");
    assert_calm_log();
}

#[test]
fn looks_are_taken_when_they_are_due_and_kept() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        "select ab_create_metric('bought', 'buy');
         select ab_create_experiment('e', primary_metric => 'bought', analysis => '{\"mode\": \"group_sequential\", \"planned_units\": 1000, \"looks\": [0.5, 1]}');
         select ab_start('e')",
    );
    let mut grow = |from: i32, to: i32| {
        run(
            &mut client,
            &format!(
                "select ab_track('user_' || n, 'exposure', event_type => 'exposure', experiment => 'e', variant => (array['control', 'treatment'])[1 + n % 2], event_id => gen_random_uuid(), event_time => now())
                 from generate_series({from}, {to}) n;
                 select ab_track('user_' || n, 'buy', event_id => gen_random_uuid(), event_time => now()) from generate_series({from}, {to}) n where n % 10 < 2 or n % 20 = 5"
            ),
        );
        run(&mut client, "select ab_rollup(); select ab_rollup()");
        text(
            &mut client,
            "select concat_ws('|', (select significant from ab_results('e') where not is_control), string_agg(format('%s %s %s', l.look, l.units, l.is_crossed), ', ' order by l.look)) from ab.look l",
        )
    };
    assert_eq!(grow(1, 499), "f");
    assert_eq!(grow(500, 520), "f|1 520 f");
    assert_eq!(grow(521, 990), "f|1 520 f");
    let last = grow(991, 1200);
    assert!(last.ends_with("1 520 f, 2 1200 t") && last.starts_with('t'), "{last}");
    assert_same(
        &mut client,
        "bounds",
        "select l.look::text, l.z_bound, b.z_bound from ab.look l join ab_group_bounds(array[0.52, 1.0]::float8[], 0.05) b on b.look = l.look",
    );
    assert_eq!(text(&mut client, "select decision from ab_decide('e')"), "keep_running");
    run(&mut client, "select ab_stop('e')");
    assert_eq!(
        text(&mut client, "select concat_ws(' ', decision, variant) from ab_decide('e')"),
        "ship treatment"
    );
    assert_calm_log();
}

#[test]
fn sample_ratios_are_judged_by_the_weights_of_their_time() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        "select ab_create_metric('bought', 'buy');
         select ab_create_experiment('e', '{\"control\": 90, \"treatment\": 10}', primary_metric => 'bought'); select ab_start('e');
         select ab_expose(n::text, 'e') from generate_series(1, 1000) n",
    );
    run(&mut client, "select ab_set_weights('e', '{\"control\": 50, \"treatment\": 50}')");
    run(&mut client, "select ab_set_traffic('e', 99); select ab_set_traffic('e', 100)");
    run(&mut client, "select ab_expose(n::text, 'e') from generate_series(1001, 3000) n");
    run(&mut client, "select ab_rollup()");
    let phases = "select string_agg(distinct phase::text, ' ' order by phase::text) from ab.exposure";
    assert_eq!(text(&mut client, phases), "1 4");
    // Two weightings are two tests of one degree each; by the weights of today it would be a mismatch.
    let found =
        "select concat_ws(' ', df, p_value > 0.001, mismatch) from ab_internal.sample_ratio(1, 0.001)";
    assert_eq!(text(&mut client, found), "2 t f");
    let naive = "select f.mismatch from (select array_agg(units order by variant) as units from ab.variant_statistic) u, ab_srm(u.units, array[1, 1]) f";
    assert_eq!(text(&mut client, naive), "t");
    assert_eq!(text(&mut client, "select decision from ab_decide('e')"), "keep_running");
    run(
        &mut client,
        "select ab_track('user_' || n, 'exposure', event_type => 'exposure', experiment => 'e', variant => 'treatment', event_id => gen_random_uuid(), event_time => now()) from generate_series(1, 400) n;",
    );
    run(&mut client, "select ab_rollup()");
    let decided = text(&mut client, "select decision || ' ' || reasons::text from ab_decide('e')");
    assert!(decided.starts_with("broken") && decided.contains("sample ratio mismatch"), "{decided}");
    assert_eq!(text(&mut client, "select distinct sample_ratio_p_value < 0.001 from ab_results('e')"), "t");
    assert!(text(&mut client, "select ab_report('e')").contains("MISMATCH"));
}

#[test]
fn what_to_do_follows_from_the_results() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client, 3000, "{\"planned_units\": 3000, \"cuped\": true}");
    let decided = "select concat_ws(' ', decision, variant) from ab_decide('e')";
    assert_eq!(text(&mut client, decided), "keep_running blue", "it ran for no week");
    let summary = "select concat_ws(' ', status, mode, units, planned_units, round(sample_ratio_p_value::numeric, 3), multiple_share, decision, variant) from ab_summary('e')";
    assert_eq!(text(&mut client, summary), "running fixed 3000 3000 1.000 0 keep_running blue");
    run(&mut client, "select ab_stop('e')");
    assert_eq!(text(&mut client, decided), "ship blue");
    let report = text(&mut client, "select ab_report('e')");
    for part in [
        "e: stopped",
        "3000 users of 3000",
        "spent (primary)",
        "guardrail: pass",
        "adjusted for the time before",
        "Decision: ship blue",
    ] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
    // A guardrail that is harmed comes before everything but broken data.
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client, 3000, "{\"planned_units\": 3000}");
    run(
        &mut client,
        "select ab_track('user_' || n, 'timing', 40, event_time => now(), event_id => gen_random_uuid()) from generate_series(1, 3000) n where n % 3 = 1; select ab_rollup()",
    );
    run(&mut client, "select ab_rollup()");
    assert_eq!(text(&mut client, decided), "stop_harm green");
    run(&mut client, "select ab_create_experiment('empty')");
    assert_eq!(
        text(&mut client, "select decision || ' ' || reasons[1] from ab_decide('empty')"),
        "collecting there is no primary metric: name one with ab_add_metric(…, role => 'primary')"
    );
    assert_calm_log();
}

#[test]
fn days_add_up_to_the_results() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client, 3000, "{\"mode\": \"sequential\", \"cuped\": true}");
    let days = "select count(distinct day)::text from ab_results_daily('e')";
    assert_eq!(text(&mut client, days), "1", "nothing was refreshed yet: today's state alone");
    run(&mut client, "select ab_refresh_results()");
    assert_eq!(text(&mut client, days), "4");
    assert_eq!(
        text(
            &mut client,
            "select string_agg(units::text, ' ' order by day) from ab_results_daily('e') where metric = 'spent' and is_control"
        ),
        "333 666 1000 1000"
    );
    for column in [
        "mean",
        "ci_low",
        "diff",
        "diff_low",
        "diff_high",
        "lift",
        "lift_low",
        "p_value",
        "sequential_p_value",
        "sequential_high",
    ] {
        let query = format!(
            "select r.metric || r.variant, r.{column}, d.{column} from ab_results('e') r join ab_results_daily('e') d using (metric, variant) where d.day = (now() at time zone 'UTC')::date"
        );
        assert_same(&mut client, column, &query);
    }
    // The first day is the results of those users alone.
    let first = "with unit as (select x.variant, least(coalesce(u.total, 0), 60)::float8 y from ab.exposure x left join ab.unit_metric u on u.user_id = x.user_id and u.metric_id = (select metric_id from ab.metric where metric = 'spent')
            where (x.first_exposed_at at time zone 'UTC')::date = (select min(day) from ab_results_daily('e'))),
        arm as (select variant, count(*) n, avg(y) m, var_samp(y) v from unit group by variant)
        select d.variant, d.p_value, f.p_value from ab_results_daily('e') d join arm t using (variant) join arm c on c.variant = 'control'
        cross join lateral ab_ttest(c.n, c.m, c.v, t.n, t.m, t.v) f where d.metric = 'spent' and not d.is_control and d.day = (select min(day) from ab_results_daily('e'))";
    assert_same(&mut client, "first day", first);
    assert_calm_log();
}

#[test]
fn segments_are_corrected_shrunken_and_bounded() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client, 3000, "{}");
    let pairs = "select string_agg(distinct format('%s/%s', value, value2), ' ') from ab_results_by('e', 'country', 'plan')";
    assert_eq!(text(&mut client, pairs), "DE/0 DE/1 NZ/0 NZ/1 US/0 US/1");
    let pooled = "select string_agg(distinct value, ' ') || ' ' || sum(units) from ab_results_by('e', 'country', top => 1) where metric = 'spent'";
    assert_eq!(text(&mut client, pooled), "(other) US 3000");
    let corrected = "with p as (select row_number() over (order by value, metric_id, v.variant_id) as place, r.value || r.metric || r.variant as name, r.p_value, r.p_adjusted
            from ab_results_by('e', 'country') r join ab.metric using (metric) join ab.variant v using (variant) where not r.is_control)
        select p.name, p.p_adjusted, (select (ab_adjust_pvalues(array_agg(q.p_value order by q.place), 'bh'))[p.place] from p q) from p";
    assert_same(&mut client, "corrected", corrected);
    let heterogeneity = "select r.variant, min(r.heterogeneity_p_value), min(h.p_value)
        from ab_results_by('e', 'country') r
        join (select variant, (select f.p_value from ab_heterogeneity(array_agg(diff), array_agg(se)) f) as p_value from ab_results_by('e', 'country') where metric = 'spent' and not is_control group by variant) h using (variant)
        where r.metric = 'spent' group by r.variant";
    assert_same(&mut client, "heterogeneity", heterogeneity);
    let between = "select bool_and(shrunken_diff between least(diff, low) - 1e-9 and greatest(diff, high) + 1e-9) from (select *, min(diff) over w as low, max(diff) over w as high from ab_results_by('e', 'country') where not is_control window w as (partition by metric, variant)) r";
    assert_eq!(text(&mut client, between), "t");
}

//! The aggregates over raw rows, against the functions of sufficient statistics and PostgreSQL's own aggregates.

use ab_tests::{Database, assert_calm_log, one, sql_error};
use postgres::Client;
use serde_json::Value;

/// Values about 10⁹ that vary by a few units, with NULLs in every column that may have them.
const VISITS: &str = "
    create table visit as
    select
        n,
        case when n % 11 <> 0 then 1e9 + (n * 7919 % 1009) / 128.0 + (n % 2) / 16.0 end::float8 as revenue,
        case when n % 17 <> 0 then (n * 7919 % 1009) / 64.0 + (n * 104729 % 977) end::float8 as before,
        case when n % 13 <> 0 then n % 2 = 0 end as treated,
        case when n % 7 <> 0 then n * 31 % 10 = 0 or n % 20 = 2 end as converted,
        (array['a', 'b', 'c'])[1 + n % 3] as country
    from generate_series(1, 20000) n;
    alter table visit set (parallel_workers = 2);
    analyze visit";

fn prepared() -> (Database, Client) {
    let database = Database::new();
    let mut client = database.connect();
    client.batch_execute(VISITS).expect("the rows");
    (database, client)
}

#[track_caller]
fn holds(client: &mut Client, condition: &str) {
    let found: Option<bool> = client
        .query_one(&format!("select {condition}"), &[])
        .unwrap_or_else(|error| panic!("{condition}: {error:?}"))
        .get(0);
    assert_eq!(found, Some(true), "{condition}");
}

fn json(client: &mut Client, query: &str) -> Value {
    client
        .query_one(&format!("select to_jsonb(r) from ({query}) r"), &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"))
        .get(0)
}

/// Numbers within 10⁻¹² of each other, everything else equal.
#[track_caller]
fn assert_same(found: &Value, expected: &Value, what: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}: {found:?} {expected:?}");
            found.iter().for_each(|(name, value)| assert_same(value, &expected[name], what));
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}");
            found.iter().zip(expected).for_each(|(found, expected)| assert_same(found, expected, what));
        }
        (Value::Number(first), Value::Number(second)) => {
            let [found, expected] = [first, second].map(|number| number.as_f64().expect("a double"));
            assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{what}: {found} is not {expected}");
        }
        _ => assert_eq!(found, expected, "{what}"),
    }
}

/// An aggregate, what it must be equal to but for `n_null`, and how many rows it must have left out for want of a value.
const EQUALS: &[(&str, &str, &str)] = &[
    (
        "ab_ttest_agg(revenue, treated)",
        "select t.* from ab_stats_by_arm s, ab_ttest((s.c).n, (s.c).mean, (s.c).variance, (s.t).n, (s.t).mean, (s.t).variance) t",
        "select count(*) from visit where revenue is null and treated is not null",
    ),
    (
        "ab_ttest_agg(revenue, treated, 0.1)",
        "select t.* from ab_stats_by_arm s, ab_ttest((s.c).n, (s.c).mean, (s.c).variance, (s.t).n, (s.t).mean, (s.t).variance, 0.1) t",
        "select count(*) from visit where revenue is null and treated is not null",
    ),
    (
        "ab_ztest_agg(converted, treated)",
        "select t.* from (select count(*) filter (where not treated) n1, count(*) filter (where converted and not treated) x1,
            count(*) filter (where treated) n2, count(*) filter (where converted and treated) x2 from visit where converted is not null) s,
            ab_ztest(n1, x1, n2, x2) t",
        "select count(*) from visit where converted is null and treated is not null",
    ),
    (
        "ab_ztest_agg(converted, treated, 0.2)",
        "select t.* from (select count(*) filter (where not treated) n1, count(*) filter (where converted and not treated) x1,
            count(*) filter (where treated) n2, count(*) filter (where converted and treated) x2 from visit where converted is not null) s,
            ab_ztest(n1, x1, n2, x2, 0.2) t",
        "select count(*) from visit where converted is null and treated is not null",
    ),
    (
        "ab_cuped_agg(revenue, before, treated)",
        "select t.* from ab_pairs_by_arm s, ab_cuped((s.c).n, (s.c).mean, (s.c).variance, (s.c).mean_x, (s.c).variance_x, (s.c).covariance,
            (s.t).n, (s.t).mean, (s.t).variance, (s.t).mean_x, (s.t).variance_x, (s.t).covariance) t",
        "select count(*) from visit where (revenue is null or before is null) and treated is not null",
    ),
    (
        "ab_cuped_agg(revenue, before, treated, 0.01)",
        "select t.* from ab_pairs_by_arm s, ab_cuped((s.c).n, (s.c).mean, (s.c).variance, (s.c).mean_x, (s.c).variance_x, (s.c).covariance,
            (s.t).n, (s.t).mean, (s.t).variance, (s.t).mean_x, (s.t).variance_x, (s.t).covariance, 0.01) t",
        "select count(*) from visit where (revenue is null or before is null) and treated is not null",
    ),
    (
        "ab_srm_agg(country, case country when 'a' then 2 when 'b' then 1 when 'c' then 1.5 end)",
        "select t.* from (select array_agg(count(*)) over (order by country rows between unbounded preceding and unbounded following) o
            from visit group by country limit 1) s, ab_srm(o, '{2, 1, 1.5}') t",
        "select 0",
    ),
    (
        "ab_srm_agg(case when n % 19 <> 0 then n % 2 - 1 end, case when n % 7 <> 0 then 0.5 end)",
        "select t.* from (select count(*) filter (where n % 2 = 0) a, count(*) filter (where n % 2 = 1) b from visit
            where n % 7 <> 0 and n % 19 <> 0) s, ab_srm(array[a, b], '{1, 1}') t",
        "select count(*) from visit where n % 7 = 0 and n % 19 <> 0",
    ),
    (
        "ab_mannwhitney_agg(revenue, 1 + treated::integer)",
        "select t.* from (select array_agg(revenue) filter (where not treated) x, array_agg(revenue) filter (where treated) y
            from visit where revenue is not null) s, ab_mannwhitney(x, y) t",
        "select count(*) from visit where revenue is null and treated is not null",
    ),
    (
        "ab_quantile(revenue, 0.9)",
        "select t.* from (select array_agg(revenue order by revenue) x from visit where revenue is not null) s, ab_quantile_ci(x, 0.9) t",
        "select count(*) from visit where revenue is null",
    ),
    (
        "ab_quantile(before, 0.25, 0.01)",
        "select t.* from (select array_agg(before order by before) x from visit where before is not null) s, ab_quantile_ci(x, 0.25, 0.01) t",
        "select count(*) from visit where before is null",
    ),
];

#[test]
fn tests_over_rows_answer_what_the_functions_of_numbers_answer() {
    let (_database, mut client) = prepared();
    client
        .batch_execute(
            "create view ab_stats_by_arm as select ab_stats(revenue) filter (where not treated) c, ab_stats(revenue) filter (where treated) t from visit;
             create view ab_pairs_by_arm as select ab_stats2(revenue, before) filter (where not treated) c, ab_stats2(revenue, before) filter (where treated) t from visit",
        )
        .expect("the views");
    for (aggregate, scalar, n_null) in EQUALS {
        let mut found = json(&mut client, &format!("select ({aggregate}).* from visit"));
        let expected = json(&mut client, scalar);
        let counted = found.as_object_mut().expect("a row").remove("n_null").map(|count| count.to_string());
        assert_same(&found, &expected, aggregate);
        assert!(
            !found["method"].is_null() && !found.to_string().contains("null_input"),
            "{aggregate}: {found}"
        );
        assert_eq!(counted, one(&mut client, n_null), "{aggregate}");
    }
}

#[test]
fn moments_are_what_postgresql_calculates() {
    let (_database, mut client) = prepared();
    for condition in [
        "(select (s).n = count(revenue) and (s).n_null = count(*) - count(revenue)
            and abs((s).mean - 1e9 - avg(revenue - 1e9)) < 1e-6 and abs((s).variance / var_samp(revenue - 1e9) - 1) < 1e-12
            and (s).mean_x is null and (s).variance_x is null and (s).covariance is null
          from (select ab_stats(revenue) s from visit) a, visit group by s)",
        "(select (s).n = regr_count(revenue, before) and (s).n_null = count(*) - regr_count(revenue, before)
            and abs((s).mean_x / regr_avgx(revenue, before) - 1) < 1e-12
            and abs((s).variance_x / (regr_sxx(revenue - 1e9, before) / ((s).n - 1)) - 1) < 1e-12
            and abs((s).variance / (regr_syy(revenue - 1e9, before) / ((s).n - 1)) - 1) < 1e-12
            and abs((s).covariance / covar_samp(revenue - 1e9, before) - 1) < 1e-12
          from (select ab_stats2(revenue, before) s from visit) a, visit group by s)",
        "(select ab_moments_row(ab_moments(revenue)) = ab_stats(revenue) and ab_moments_row(ab_moments(revenue, before)) = ab_stats2(revenue, before) from visit)",
        "(select (m[1], m[2], m[3], m[5]) = (4, 2.5, 5, 1) from (select ab_moments(y) m from unnest('{1,2,null,3,4}'::float8[]) y) s)",
        // By country and all together, as a condition of each group.
        "(select bool_and(abs((s).variance / v - 1) < 1e-12) and count(*) = 3
          from (select ab_stats(revenue) s, var_samp(revenue - 1e9) v from visit group by country) g)",
        "(select count(*) = 4 and sum((s).n) = 2 * max((s).n) from (select ab_stats(n) s from visit group by rollup (country)) g)",
        "(select (ab_stats(distinct n % 3)).n = 3 from visit)",
    ] {
        holds(&mut client, condition);
    }
}

#[test]
fn what_is_stored_by_parts_merges_to_the_whole() {
    let (_database, mut client) = prepared();
    client
        .batch_execute(
            "create table part as select n / 100 as day, country, ab_moments(revenue) one, ab_moments(revenue, before) two, ab_quantile_sketch(before) sketch
             from visit group by 1, 2;
             insert into part select null, null, ab_moments(revenue), ab_moments(revenue, before), ab_quantile_sketch(before) from visit where false;
             insert into part values (null, null, null, null, null)",
        )
        .expect("the parts");
    for (merged, whole) in [
        ("ab_moments_row(ab_moments_merge(one))", "ab_stats(revenue)"),
        ("ab_moments_row(ab_moments_merge(two))", "ab_stats2(revenue, before)"),
    ] {
        let found = json(&mut client, &format!("select ({merged}).* from part"));
        let expected = json(&mut client, &format!("select ({whole}).* from visit"));
        assert_same(&found, &expected, merged);
        // In two steps and in another order.
        let nested = format!(
            "select (ab_moments_row(ab_moments_merge(s))).* from (select ab_moments_merge({} order by day desc) s from part group by country) p",
            if merged.contains("one") { "one" } else { "two" }
        );
        assert_same(&json(&mut client, &nested), &expected, &nested);
    }
    for q in [0.001, 0.1, 0.5, 0.99] {
        let merged = json(
            &mut client,
            &format!(
                "select q.* from (select ab_quantile_sketch_merge(sketch) s from part) p, ab_quantile(s, {q}) q"
            ),
        );
        let whole = json(
            &mut client,
            &format!(
                "select q.* from (select ab_quantile_sketch(before) s from visit) p, ab_quantile(s, {q}) q"
            ),
        );
        assert_eq!(merged, whole, "no last digit depends on the parts");
        holds(
            &mut client,
            &format!(
                "(select abs(s.estimate / percentile_disc({q}) within group (order by before) - 1) <= 0.0101 and s.ci_low <= (e).ci_low and s.ci_high >= (e).ci_high and method = 'ddsketch'
                  from (select (ab_quantile(ab_quantile_sketch(before), {q})).*, ab_quantile(before, {q}) e from visit) s, visit group by s.estimate, s.ci_low, s.ci_high, s.e, s.method)"
            ),
        );
    }
    holds(
        &mut client,
        "ab_moments_merge(m) is null from unnest('{null,null}'::float8[]) n, lateral (select null::float8[] m) l",
    );
}

#[test]
fn quantiles_are_those_of_percentile_cont() {
    let (_database, mut client) = prepared();
    for q in ["0.01", "0.5", "0.975"] {
        holds(
            &mut client,
            &format!(
                "(select abs((ab_quantile(before, {q})).estimate / percentile_cont({q}) within group (order by before) - 1) < 1e-12 from visit)"
            ),
        );
    }
}

/// The aggregates and what parallel workers must not change.
const PARALLEL: &[&str] = &[
    "ab_moments_row(ab_moments(revenue))",
    "ab_moments_row(ab_moments(revenue, before))",
    "ab_stats(revenue)",
    "ab_stats2(revenue, before)",
    "ab_moments_row(ab_moments_merge(case when revenue is not null then array[1, revenue, 0, 0, 0] end))",
    "ab_ttest_agg(revenue, treated)",
    "ab_ttest_agg(revenue, treated, 0.1)",
    "ab_ztest_agg(converted, treated)",
    "ab_ztest_agg(converted, treated, 0.1)",
    "ab_cuped_agg(revenue, before, treated)",
    "ab_cuped_agg(revenue, before, treated, 0.1)",
    "ab_srm_agg(country, 1)",
    "ab_srm_agg(n % 4, 1)",
    "ab_mannwhitney_agg(revenue, 1 + treated::integer)",
    "ab_quantile(revenue, 0.9)",
    "ab_quantile(revenue, 0.9, 0.1)",
    "ab_quantile(ab_quantile_sketch(before), 0.9)",
    "ab_quantile(ab_quantile_sketch_merge(case when before is not null then sketch end), 0.9)",
];

#[test]
fn parallel_workers_find_the_same() {
    let (_database, mut client) = prepared();
    for statement in [
        "alter table visit add sketch bytea",
        "update visit set sketch = (select ab_quantile_sketch(g) from generate_series(1, 5) g) where n % 2 = 0",
        "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0",
    ] {
        client.batch_execute(statement).expect(statement);
    }
    for aggregate in PARALLEL {
        // The row of a composite is taken apart above the aggregate, as `(…).*` does.
        let query = format!("select (v).* from (select {aggregate} v, max(n) from visit offset 0) s");
        let mut found = Vec::new();
        for workers in [0, 2] {
            client
                .batch_execute(&format!("set max_parallel_workers_per_gather = {workers}"))
                .expect("a setting");
            let plan: Vec<String> = client
                .query(&format!("explain {query}"), &[])
                .expect("a plan")
                .iter()
                .map(|row| row.get(0))
                .collect();
            let is_parallel = plan.iter().any(|line| line.contains("Partial Aggregate"));
            assert_eq!(is_parallel, workers > 0, "{aggregate}: {plan:?}");
            found.push(json(&mut client, &query));
        }
        assert_same(&found[1], &found[0], aggregate);
    }
    // By group, where workers hand over many states.
    let by_group = "select jsonb_agg(to_jsonb(g) order by day) a from (select n / 500 as day, ab_ztest_agg(converted, treated) c, ab_stats(before) s, ab_quantile(before, 0.5) q from visit group by 1) g";
    let parallel = json(&mut client, by_group);
    client.batch_execute("set max_parallel_workers_per_gather = 0").expect("a setting");
    assert_same(&parallel, &json(&mut client, by_group), by_group);
    assert_calm_log();
}

#[test]
fn windows_see_each_row_with_its_own_frame() {
    let (_database, mut client) = prepared();
    for condition in [
        "(select bool_and((s).n = c and ((s).variance is not distinct from v or abs((s).variance / v - 1) < 1e-9))
          from (select ab_stats(before) over w s, count(before) over w c, var_samp(before) over w v from visit where n < 500
                window w as (order by n rows between 20 preceding and 3 following)) x)",
        // The state is the answer, and it is changed in place: what was answered before must stay.
        "(select count(distinct m[1]) = count(*) and bool_and(m[1] = k) from (select ab_moments(n) over (order by n) m, row_number() over (order by n) k from visit where n < 500) x)",
        "(select bool_and(m[1] = k) from (select lag(m) over (order by n) m, k - 1 k from
            (select n, ab_moments(n) over (order by n) m, row_number() over (order by n) k from visit where n < 500) x) y where m is not null)",
        // Counts leave a window again.
        "(select bool_and((z).n_null = nulls and ((z).p1 is not distinct from p1 or abs((z).p1 - p1) < 1e-15) and (z).p2 is not distinct from p2)
          from (select ab_ztest_agg(converted, treated) over w z, count(*) filter (where converted is null and treated is not null) over w nulls,
                avg(converted::int) filter (where not treated) over w::float8 p1, avg(converted::int) filter (where treated) over w::float8 p2 from visit where n < 2000
                window w as (order by n rows between 50 preceding and 10 preceding)) x)",
        "(select bool_and((q).estimate is not distinct from (select percentile_cont(0.5) within group (order by b.before) from visit b where b.n between x.n - 10 and x.n))
          from (select n, ab_quantile(before, 0.5) over (order by n rows between 10 preceding and current row) q from visit where n < 300) x)",
    ] {
        holds(&mut client, condition);
    }
}

#[test]
fn too_few_rows_give_no_figures() {
    let (_database, mut client) = prepared();
    for (call, note) in [
        ("ab_ttest_agg(revenue, treated)", "too_few_units"),
        ("ab_ttest_agg(revenue, treated, 0.1)", "too_few_units"),
        ("ab_ztest_agg(converted, treated)", "too_few_units"),
        ("ab_cuped_agg(revenue, before, treated)", "too_few_units"),
        ("ab_mannwhitney_agg(revenue, 1)", "too_few_units"),
        ("ab_quantile(revenue, 0.5)", "too_few_units"),
        ("ab_quantile(revenue, 0.5, 0.1)", "too_few_units"),
        ("ab_quantile(ab_quantile_sketch(revenue), 0.5)", "too_few_units"),
    ] {
        for rows in ["false", "n = 1"] {
            let row = json(&mut client, &format!("select ({call}).* from visit where {rows}"));
            assert_eq!(row["note"], note, "{call} where {rows}: {row}");
            assert!(row.get("p_value").is_none_or(Value::is_null), "{call}: {row}");
            assert!(row.get("ci_low").is_none_or(Value::is_null), "{call}: {row}");
        }
    }
    for condition in [
        "ab_moments(revenue) = '{0,0,0,0,0}' from visit where false",
        "ab_moments(revenue, before) = '{0,0,0,0,0,0,0,0,0}' from visit where false",
        "((ab_stats(revenue)).n, (ab_stats(revenue)).mean is null, (ab_stats(revenue)).variance is null) = (0, true, true) from visit where false",
        "((ab_stats(n)).n, (ab_stats(n)).mean, (ab_stats(n)).variance is null) = (1, 7, true) from visit where n = 7",
        "((ab_stats2(n, 2 * n)).mean_x, (ab_stats2(n, n)).variance_x is null, (ab_stats2(n, n)).covariance is null) = (14, true, true) from visit where n = 7",
        "((ab_stats(null)).n, (ab_stats(null)).n_null) = (0, 20000) from visit",
        "(ab_srm_agg(country, 1)).note in ('too_few_arms', 'too_few_units') from visit where false",
        "(ab_srm_agg(country, 1)).note = 'too_few_arms' from visit where n = 1",
        "ab_moments_row(null) is null",
        // A user without an arm is none of the test.
        "((ab_ttest_agg(n, null)).n_null, (ab_ttest_agg(n, null)).note) = (0, 'too_few_units') from visit",
    ] {
        holds(&mut client, condition);
    }
    for call in [
        "ab_ttest_agg(revenue, treated, null)",
        "ab_ztest_agg(converted, treated, null)",
        "ab_cuped_agg(revenue, before, treated, null)",
        "ab_quantile(revenue, null)",
        "ab_quantile(revenue, 0.5, null)",
        "ab_quantile(ab_quantile_sketch(revenue), null)",
    ] {
        let row = json(&mut client, &format!("select ({call}).* from visit"));
        assert_eq!(row["note"], "null_input", "{call}");
        let figures = row
            .as_object()
            .expect("a row")
            .iter()
            .filter(|(name, _)| !["note", "n_null"].contains(&name.as_str()));
        assert!(figures.into_iter().all(|(_, value)| value.is_null()), "{call}: {row}");
    }
}

#[test]
fn rows_that_no_data_can_have_are_refused_by_name() {
    let (_database, mut client) = prepared();
    for (call, message) in [
        ("ab_moments('NaN'::float8)", "y must be a finite number, not NaN"),
        (
            "ab_moments(case n when 700 then 'Infinity' else n::float8 end)",
            "y must be a finite number, not inf",
        ),
        (
            "ab_moments(case n when 700 then '-Infinity' else n::float8 end, n)",
            "y must be a finite number, not -inf",
        ),
        (
            "ab_moments(n, case n when 700 then 'NaN' else n::float8 end)",
            "x must be a finite number, not NaN",
        ),
        (
            "ab_moments(case n when 700 then 1e200 else -1e200 end)",
            "y must be near enough to the other values",
        ),
        ("ab_stats('NaN'::float8)", "y must be"),
        ("ab_stats2(1, 'NaN')", "x must be"),
        ("ab_ttest_agg('NaN', true)", "value must be a finite number, not NaN"),
        ("ab_ttest_agg(n, treated, 0)", "alpha must be strictly between 0 and 1, not 0"),
        ("ab_ttest_agg(n, treated, 'NaN')", "alpha must be"),
        (
            "ab_ttest_agg(n, treated, case when n < 700 then 0.05 else 0.1 end)",
            "alpha must be the same in every row, 0.05 as before, not 0.1",
        ),
        (
            "ab_ttest_agg(n, treated, case when n < 700 then 0.05 end)",
            "alpha must be the same in every row, 0.05 as before, not NULL",
        ),
        ("ab_ztest_agg(converted, treated, 1)", "alpha must be strictly between 0 and 1, not 1"),
        (
            "ab_ztest_agg(converted, treated, case when n < 700 then 0.05 else 0.1 end)",
            "alpha must be the same",
        ),
        ("ab_cuped_agg(n, 'Infinity', true)", "x must be a finite number, not inf"),
        ("ab_cuped_agg('NaN', n, true)", "y must be"),
        ("ab_cuped_agg(n, n, true, -1)", "alpha must be"),
        ("ab_srm_agg(country, 'NaN')", "weight must be a finite number, not NaN"),
        ("ab_srm_agg(country, n)", "weight must be the same in every row of an arm"),
        ("ab_srm_agg(country, -1)", "weights must be"),
        ("ab_srm_agg(n, 1)", "arm must be one of at most 1000 arms"),
        ("ab_mannwhitney_agg(n, n % 2)", "arm must be 1 (control) or 2 (treatment), not 0"),
        ("ab_mannwhitney_agg('NaN', 1)", "value must be"),
        ("ab_quantile(n, 1)", "q must be strictly between 0 and 1, not 1"),
        ("ab_quantile(n, case when n < 700 then 0.1 else 0.2 end)", "q must be the same in every row"),
        ("ab_quantile(n, 0.5, 2)", "alpha must be"),
        ("ab_quantile('Infinity', 0.5)", "value must be"),
        ("ab_quantile_sketch('NaN')", "value must be a finite number, not NaN"),
        ("ab_quantile_sketch_merge('\\x00')", "sketch must be what ab_quantile_sketch answered"),
        ("ab_quantile_sketch_merge('')", "sketch must be"),
        ("ab_quantile('\\x0011223344556677889900'::bytea, 0.5)", "sketch must be"),
        ("ab_quantile(ab_quantile_sketch(n), 0)", "q must be"),
        ("ab_quantile(ab_quantile_sketch(n), 0.5, 1)", "alpha must be"),
        ("ab_moments_row('{1,2}')", "state must be what ab_moments answered"),
        ("ab_moments_row('{}')", "state must be"),
        ("ab_moments_row('{{1,2,3,4,5}}')", "state must be"),
        ("ab_moments_row('{1,2,3,4,null}')", "state must be"),
        ("ab_moments_row('{-1,2,3,4,0}')", "state must be"),
        ("ab_moments_row('{2,2,-3,4,0}')", "state must be"),
        ("ab_moments_row('{2,NaN,3,4,0}')", "state must be"),
        ("ab_moments_row('{2,1,1,0,1,1,0,5,0}')", "state must be"),
        ("ab_moments_merge('{1,2}')", "state must be what ab_moments answered"),
        ("ab_moments_merge('{1.5,2,0,0,0}')", "state must be"),
        (
            "ab_moments_merge(case when n < 700 then '{1,2,0,0,0}' else '{1,2,0,0,1,0,0,0,0}' end::float8[])",
            "state must be of one value in every row",
        ),
    ] {
        let outcome = client.batch_execute(&format!("select {call} from visit"));
        assert!(outcome.is_err(), "{call}");
        let error = sql_error(outcome);
        assert_eq!(
            (error.sqlstate.as_str(), error.code.as_str()),
            ("22023", "invalid_argument"),
            "{call}: {error:?}"
        );
        assert!(error.message.starts_with(message), "{call}: {}", error.message);
    }
    // Nor does a stranger to the states, called by hand.
    for call in [
        "moments_add('{1}', 1)",
        "moments_add(null, 1)",
        "ttest_row('{0,0,1}')",
        "ttest_row(null)",
        "ttest_merge('{0,0,0,0,0,0,0,0,0,0}', '{1}')",
        "ttest_merge('{0,0,-1,0,0,0,0,0,0,0}', '{0,0,0,0,0,0,0,0,0,0}')",
        "cuped_row('{{1,2},{3,4}}')",
        "ztest_add('{}', true, true)",
    ] {
        let error = sql_error(client.batch_execute(&format!("select ab_internal.{call}")));
        assert_eq!(error.sqlstate, "22023", "{call}: {error:?}");
    }
    holds(
        &mut client,
        "(select s = '{0,0,0,0,0}' and ab_internal.moments_add(s, 4) = '{1,4,0,0,0}' from (values ('{0,0,0,0,0}'::float8[])) v (s))",
    );
    assert_calm_log();
}

/// `(aggregate).*` names the aggregate once for each column; PostgreSQL finds that they are one.
#[test]
fn taking_a_row_apart_aggregates_once() {
    let (_database, mut client) = prepared();
    client
        .batch_execute(
            "create sequence calls;
             create function counted(v float8) returns float8 language plpgsql stable as $$ begin perform nextval('calls'); return v; end $$;
             select (ab_ttest_agg(counted(revenue), treated)).* from visit where n <= 1000",
        )
        .expect("an aggregate");
    assert_eq!(one(&mut client, "select last_value from calls").as_deref(), Some("1000"));
}

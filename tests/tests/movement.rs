//! Changes of allocation in SQL move whom they must, and nobody else.

use std::collections::BTreeMap;

use ab_tests::{Database, one};
use postgres::Client;

/// What everybody is given now, by user.
fn answers(client: &mut Client, experiment: &str, users: i32) -> BTreeMap<String, Option<String>> {
    client
        .query(
            "select u.id, ab_assign(u.id, $1) from (select format('user_%s', n) as id from generate_series(1, $2) n) u",
            &[&experiment, &users],
        )
        .expect("answers")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

#[test]
fn answers_are_the_same_in_every_session_and_plan() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "select ab_create_experiment('e', '{\"a\": 1, \"b\": 2, \"c\": 4}', traffic => 37.5); select ab_start('e')",
        )
        .expect("an experiment");
    let first = answers(&mut client, "e", 20_000);
    assert!(answers(&mut client, "e", 20_000) == first, "another statement");
    let mut other = database.connect();
    other
        .batch_execute(
            "set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
            set min_parallel_table_scan_size = 0; create table u as select format('user_%s', n) as id from generate_series(1, 20000) n",
        )
        .expect("users");
    let parallel: BTreeMap<String, Option<String>> = other
        .query("select id, ab_assign(id, 'e') from u", &[])
        .expect("answers")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert!(parallel == first, "a parallel plan");
}

#[test]
fn new_weights_move_exactly_those_whose_buckets_they_say_have_moved() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "select ab_create_experiment('e', '{\"a\": 1, \"b\": 1, \"c\": 1}'); select ab_start('e')",
        )
        .expect("an experiment");
    let mut before = answers(&mut client, "e", 20_000);
    let mut phases = 1_i64;
    for weights in [[40, 30, 30], [30, 40, 30], [1, 1, 98], [98, 1, 1], [33, 33, 33], [33, 33, 33], [5, 3, 2]]
    {
        let [a, b, c] = weights;
        client
            .execute(
                "select ab_set_weights('e', jsonb_build_object('a', $1::int, 'b', $2::int, 'c', $3::int))",
                &[&a, &b, &c],
            )
            .expect("new weights");
        let after = answers(&mut client, "e", 20_000);
        let phases_before = phases;
        phases = client.query_one("select count(*) from ab.phase", &[]).expect("a count").get(0);
        if phases == phases_before {
            assert!(after == before, "the weights were those it had, and yet users moved");
            continue;
        }
        assert_eq!(phases, phases_before + 1);
        let moved: Vec<&String> =
            after.iter().filter(|&(user, variant)| before[user] != *variant).map(|(user, _)| user).collect();
        // The same users, by the buckets that the newest phase says have changed hands, which are as few as can be: what
        // the growing variants gained.
        let row = client
            .query_one(
                "with last as (select * from ab.phase order by phase desc limit 1),
                width as (
                    select r.phase, r.variant, sum(r.to_bucket - r.from_bucket) as buckets from ab.variant_range r group by 1, 2
                )
                select
                    array(
                        select u.id
                        from (select format('user_%s', n) as id from generate_series(1, 20000) n) u
                        where ab_bucket('e:variant', u.id) <@ last.moved
                    ),
                    (select sum(upper(m.range) - lower(m.range))::bigint from unnest(last.moved) m (range)),
                    (
                        select sum(greatest(later.buckets - earlier.buckets, 0))::bigint
                        from width later join width earlier using (variant)
                        where later.phase = last.phase and earlier.phase = last.phase - 1
                    )
                from last",
                &[],
            )
            .expect("the phase");
        let mut said: Vec<String> = row.get(0);
        said.sort();
        assert!(moved.into_iter().eq(&said), "{weights:?}: others moved than those who had to");
        let [width, required]: [i64; 2] = [row.get(1), row.get(2)];
        assert!(width > 0 && width == required, "{weights:?}: {width} buckets moved, {required} had to");
        // Four standard errors around the share of users.
        let share = width as f64 / 1e6;
        let expected = 20_000.0 * share;
        assert!((said.len() as f64 - expected).abs() <= 4.0 * (expected * (1.0 - share)).sqrt() + 1.0);
        before = after;
    }
}

#[test]
fn more_traffic_neither_takes_anybody_out_nor_moves_them() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute("select ab_create_experiment('e', '{\"a\": 1, \"b\": 1, \"c\": 1}', traffic => 0); select ab_start('e')")
        .expect("an experiment");
    let mut before = answers(&mut client, "e", 20_000);
    assert!(before.values().all(Option::is_none));
    for change in [
        "ab_set_traffic('e', 0.5)",
        "ab_set_traffic('e', 5)",
        r#"ab_schedule('e', '[{"at": "2001-01-01", "percent": 10}, {"at": "2999-01-01", "percent": 11}]')"#,
        r#"ab_schedule('e', '[{"at": "2001-01-01", "percent": 10}, {"at": "2002-01-01", "percent": 25}]')"#,
        r#"ab_schedule('e', '[{"at": "2001-01-01", "percent": 10}, {"at": "2002-01-01", "percent": 25}, {"at": "2003-01-01", "percent": 50}]')"#,
        r#"ab_schedule('e', '[{"at": "2001-01-01", "percent": 99.9999}]')"#,
        "ab_set_traffic('e', 100), ab_schedule('e', '[]')",
    ] {
        client.batch_execute(&format!("select {change}")).expect("the change");
        let after = answers(&mut client, "e", 20_000);
        for (user, variant) in &before {
            assert!(variant.is_none() || after[user] == *variant, "{change}: {user}");
        }
        let taking_part = |answers: &BTreeMap<String, Option<String>>| {
            answers.values().filter(|variant| variant.is_some()).count()
        };
        assert!(taking_part(&after) >= taking_part(&before), "{change}");
        before = after;
    }
    assert!(before.values().all(Option::is_some));
}

#[test]
fn nobody_is_in_two_experiments_of_a_layer() {
    let database = Database::new();
    let mut client = database.connect();
    client.batch_execute("select ab_create_layer('l')").expect("a layer");
    for number in 1..=12 {
        let traffic = if number % 3 == 0 { 50 } else { 100 };
        client
            .batch_execute(&format!(
                "select ab_create_experiment('e{number}', layer => 'l', layer_percent => {}, traffic => {traffic}); select ab_start('e{number}')",
                f64::from(number) / 2.0
            ))
            .expect("an experiment");
    }
    let check = |client: &mut Client, share: f64| {
        let row = client
            .query_one(
                "select count(*) filter (where taking_part > 1), count(*) filter (where taking_part = 1)
                from (
                    select count(ab_assign(format('user_%s', n), format('e%s', e))) as taking_part
                    from generate_series(1, 50000) n cross join generate_series(1, 12) e
                    group by n
                ) c",
                &[],
            )
            .expect("the counts");
        let [twice, once]: [i64; 2] = [row.get(0), row.get(1)];
        assert_eq!(twice, 0);
        let expected = 50_000.0 * share;
        assert!((once as f64 - expected).abs() <= 4.0 * (expected * (1.0 - share)).sqrt(), "{once}");
    };
    // 39 % in all, of which the 15 % of every third take part by half.
    check(&mut client, 0.39 - 0.075);
    // Some stop, and others grow into what that frees.
    client
        .batch_execute(
            "select ab_stop('e11'); select ab_stop('e4'); select ab_join_layer('e1', 'l', 20); select ab_join_layer('e2', 'l', 30.5);
            select ab_join_layer('e7', 'l', from_bucket => 900000, to_bucket => 1000000)",
        )
        .expect("changes");
    check(&mut client, 0.39 - 0.075 - 0.055 - 0.02 + 0.195 + 0.295 + 0.1);
    assert_eq!(
        one(
            &mut client,
            "select count(*) from ab.layer_slice a join ab.layer_slice b on a.layer_id = b.layer_id and a.ctid <> b.ctid and a.from_bucket < b.to_bucket and b.from_bucket < a.to_bucket"
        ),
        Some("0".to_owned())
    );
}

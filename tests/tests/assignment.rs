//! `ab_assign` and its kin: what they answer, that anyone can check it, and that they never raise.

use ab_tests::{Database, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

fn count(client: &mut Client, query: &str) -> i64 {
    one(client, query).expect(query).parse().expect(query)
}

fn started(experiment: &str, variants: &str) -> (Database, Client) {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        &format!(
            "select ab_create_experiment('{experiment}', '{variants}'); select ab_start('{experiment}')"
        ),
    );
    (database, client)
}

#[test]
fn numbers_and_uuids_are_answered_as_their_text() {
    let (_database, mut client) = started("types", r#"{"a": 1, "b": 1, "c": 1}"#);
    let differing = count(
        &mut client,
        "select count(*) from (
             select n from generate_series(-500, 500) n union all values (9223372036854775807), (-9223372036854775808)) t (n)
         where ab_assign(n::bigint, 'types') is distinct from ab_assign(n::text, 'types') or ab_assign(n::bigint, 'types') is null",
    );
    assert_eq!(differing, 0);
    let differing = count(
        &mut client,
        "select count(*) from (
             select md5(n::text)::uuid as id from generate_series(1, 1000) n
             union all values ('00000000-0000-0000-0000-000000000000'::uuid), ('FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF')) t
         where ab_assign(id, 'types') is distinct from ab_assign(id::text, 'types') or ab_assign(id, 'types') is null",
    );
    assert_eq!(differing, 0);
    // A literal is text; smaller integers are widened.
    run(
        &mut client,
        "select ab_assign('1', 'types'), ab_assign(1::smallint, 'types'), ab_assign(1, 'types')",
    );
    let exposed = one(
        &mut client,
        "select ab_expose(7, 'types') = ab_assign('7', 'types')
            and ab_expose('0190163D-8694-739B-AEA5-966C26F8AD91'::uuid, 'types') = ab_assign('0190163d-8694-739b-aea5-966c26f8ad91', 'types')",
    );
    assert_eq!(exposed.as_deref(), Some("t"));
    assert_eq!(
        one(&mut client, "select string_agg(user_id, ' ' order by user_id) from ab.event").as_deref(),
        Some("0190163d-8694-739b-aea5-966c26f8ad91 7")
    );
}

#[test]
fn every_answer_has_its_reason() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_experiment(e, traffic => 50) from unnest('{draft,running,paused,stopped}'::text[]) e;
         select ab_start(e) from unnest('{running,paused,stopped}'::text[]) e; select ab_pause('paused'); select ab_stop('stopped')",
    );
    for (experiment, reason) in [
        ("'nowhere'", "not_found"),
        ("''", "not_found"),
        ("null", "not_found"),
        ("repeat('x', 100000)", "not_found"),
        ("'draft'", "not_running"),
        ("'paused'", "not_running"),
        ("'stopped'", "not_running"),
    ] {
        for user in ["'u'", "null", "''", "repeat('x', 513)"] {
            let query = format!(
                "select ab_assign_reason({user}, {experiment}), ab_assign({user}::text, {experiment})"
            );
            let row = client.query_one(&query, &[]).unwrap();
            assert_eq!(
                (row.get::<_, String>(0), row.get::<_, Option<String>>(1)),
                (reason.to_owned(), None),
                "{query}"
            );
        }
    }
    for user in ["null", "''", "repeat('x', 513)", "repeat('é', 257)"] {
        let query = format!(
            "select ab_assign_reason({user}, 'running'), ab_assign({user}::text, 'running'), ab_expose({user}::text, 'running')"
        );
        let row = client.query_one(&query, &[]).unwrap();
        assert_eq!(row.get::<_, String>(0), "no_unit", "{query}");
        assert_eq!(
            (row.get::<_, Option<String>>(1), row.get::<_, Option<String>>(2)),
            (None, None),
            "{query}"
        );
    }
    assert_eq!(count(&mut client, "select count(*) from ab.event"), 0, "nobody was exposed");
    let disagreeing = count(
        &mut client,
        "select count(*) from (
             select ab_assign(u, 'running') as variant, ab_assign_reason(u, 'running') as reason, ab_bucket('running:traffic', u) as traffic
             from (select repeat('ü', n % 250) || n as u from generate_series(1, 2000) n) t) t
         where (variant is not null) <> (reason = 'split') or (reason = 'traffic') <> (traffic >= 500000) or reason not in ('split', 'traffic')",
    );
    assert_eq!(disagreeing, 0);
    assert_eq!(
        one(&mut client, "select ab_assign_reason(repeat('x', 512), 'running') in ('split', 'traffic')")
            .as_deref(),
        Some("t"),
        "512 bytes are allowed"
    );
    for nulls in ["null, 'running'", "null, null", "'u', null"] {
        assert_eq!(one(&mut client, &format!("select ab_assign({nulls})")), None);
    }
}

#[test]
fn a_million_users_split_as_the_weights_say() {
    let (_database, mut client) = started("million", r#"{"a": 50, "b": 30, "c": 15, "d": 5}"#);
    let rows = client
        .query(
            "select ab_assign(n, 'million'), count(*) from generate_series(1, 1000000) n group by 1 order by 1",
            &[],
        )
        .unwrap();
    assert_eq!(rows.len(), 4);
    for (row, share) in rows.iter().zip([0.5_f64, 0.3, 0.15, 0.05]) {
        let (variant, users): (&str, i64) = (row.get(0), row.get(1));
        let standard_error = (share * (1.0 - share) * 1e6).sqrt();
        assert!((users as f64 - share * 1e6).abs() < 4.0 * standard_error, "{variant}: {users}");
    }
}

#[test]
fn anyone_can_check_an_answer_by_bucket_and_range() {
    let (_database, mut client) = started("check", r#"{"a": 1, "b": 2, "c": 3}"#);
    run(
        &mut client,
        "select ab_create_experiment('salted', salt => 'pepper'); select ab_start('salted');
         update ab.variant set weight = 5 where variant = 'a'; update ab.variant set weight = 7 where variant = 'treatment'",
    );
    for (experiment, salt) in [("check", "check"), ("salted", "pepper")] {
        let wrong = count(
            &mut client,
            &format!(
                "select count(*) from generate_series(1, 5000) n
                 left join ab.variant_range r on r.phase = 2 and ab_bucket('{salt}:variant', 'user-' || n) >= r.from_bucket and ab_bucket('{salt}:variant', 'user-' || n) < r.to_bucket
                     and r.experiment_id = (select experiment_id from ab.experiment where experiment = '{experiment}')
                 where ab_assign('user-' || n, '{experiment}') is distinct from r.variant"
            ),
        );
        assert_eq!(wrong, 0, "{experiment}");
    }
    let row = client
        .query_one(
            "select ab_bucket('checkout_test:variant', 'user_123'), ab_bucket('', ''), ab_bucket('ü', '𝄞'),
                    ab_bucket(null, 'u') is null and ab_bucket('s', null) is null,
                    (select bool_and(ab_bucket('s', n::text) between 0 and 999999) from generate_series(1, 10000) n)",
            &[],
        )
        .unwrap();
    for (column, (salt, user)) in
        [("checkout_test:variant", "user_123"), ("", ""), ("ü", "𝄞")].into_iter().enumerate()
    {
        assert_eq!(row.get::<_, i32>(column), ab_core::bucket::bucket(salt, user) as i32, "{salt} {user}");
    }
    assert!(row.get::<_, bool>(3) && row.get::<_, bool>(4));
}

#[test]
fn a_scan_dies_of_no_user_and_no_experiment() {
    let (_database, mut client) = started("scan", r#"{"a": 1, "b": 1}"#);
    run(
        &mut client,
        r#"create table visit (user_id text, experiment text);
           insert into visit select case n % 7 when 0 then null when 1 then '' when 2 then repeat('x', 100000) when 3 then E'\t\n' || n when 4 then '💥' || n else n::text end,
               case n % 5 when 0 then null when 1 then '' when 2 then 'a:b' || n when 3 then 'scan' else 'unknown_' || n end
           from generate_series(1, 3500) n"#,
    );
    let row = client
        .query_one("select count(ab_assign(user_id, experiment)), count(*) filter (where ab_assign_reason(user_id, experiment) = 'not_found') from visit", &[])
        .unwrap();
    // Of seven kinds of user four are usable, of five kinds of experiment one exists.
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (400, 2800));
    // Names that do not exist are looked up once each and forgotten with the next change.
    assert_eq!(
        count(&mut client, "select count(ab_assign('u', 'made_up_' || n)) from generate_series(1, 2000) n"),
        0
    );
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'scan')").as_deref(), Some("split"));
}

#[test]
fn half_a_configuration_assigns_nobody_and_raises_nothing() {
    let mut client = Database::new().connect();
    // As a restore leaves it between two tables.
    run(
        &mut client,
        "insert into ab.experiment (experiment, status, started_at) values ('bare', 'running', now());
         insert into ab.experiment (experiment, status, started_at) values ('armed', 'running', now());
         insert into ab.variant (experiment_id, variant) select experiment_id, unnest('{a,b}'::text[]) from ab.experiment where experiment = 'armed'",
    );
    for experiment in ["bare", "armed"] {
        let query = format!("select ab_assign_reason('u', '{experiment}')");
        assert_eq!(one(&mut client, &query).as_deref(), Some("not_running"), "{experiment}");
    }
    // Rows that only a superuser could write and that contradict themselves.
    run(
        &mut client,
        "insert into ab.phase (experiment_id, phase, traffic) select experiment_id, 1, 100 from ab.experiment where experiment = 'armed';
         insert into ab.variant_range (experiment_id, phase, from_bucket, to_bucket, variant)
         select experiment_id, 1, 0, 10, 'a' from ab.experiment where experiment = 'armed'",
    );
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'armed')").as_deref(), Some("not_found"));
    let overlapping = client.batch_execute(
        "insert into ab.variant_range (experiment_id, phase, from_bucket, to_bucket, variant)
         select experiment_id, 1, 5, 15, 'b' from ab.experiment where experiment = 'armed'",
    );
    assert_eq!(sql_error(overlapping).sqlstate, "23P01");
}

#[test]
fn workspaces_are_told_apart() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        r#"insert into ab.workspace (workspace) values ('north'), ('south');
           set ab.workspace = 'north'; select ab_create_experiment('same', '{"n1": 1, "n2": 1}'); select ab_start('same');
           set ab.workspace = 'south'; select ab_create_experiment('same', '{"s1": 1, "s2": 1}', salt => 'southern'); select ab_start('same');
           reset ab.workspace"#,
    );
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'same')").as_deref(), Some("not_found"));
    for (workspace, initial) in [("north", "n"), ("south", "s")] {
        run(&mut client, &format!("set ab.workspace = '{workspace}'"));
        let query =
            "select string_agg(distinct left(ab_assign(n, 'same'), 1), '') from generate_series(1, 100) n";
        assert_eq!(one(&mut client, query).as_deref(), Some(initial));
    }
    for unknown in ["'nowhere'", "''", "'a:b'", "'ünicode'", "repeat('x', 1000)"] {
        run(&mut client, &format!("select set_config('ab.workspace', {unknown}, false)"));
        assert_eq!(
            one(&mut client, "select ab_assign_reason('u', 'same')").as_deref(),
            Some("not_found"),
            "{unknown}"
        );
    }
    run(&mut client, "reset ab.workspace; begin; set local ab.workspace = 'south'");
    assert_eq!(one(&mut client, "select left(ab_assign('u', 'same'), 1)").as_deref(), Some("s"));
    run(&mut client, "rollback");
    assert_eq!(one(&mut client, "select ab_assign('u', 'same')"), None);

    // The setting changes within one statement, from row to row.
    run(
        &mut client,
        "create function north(u text) returns text language sql stable set ab.workspace = 'north' as $$ select ab_assign(u, 'same') $$;
         create function south(u text) returns text language sql stable set ab.workspace = 'south' as $$ select ab_assign(u, 'same') $$",
    );
    let mixed = count(
        &mut client,
        "select count(*) from (select north(n::text) as n, ab_assign(n, 'same') as d, south(n::text) as s from generate_series(1, 200) n) t
         where left(n, 1) = 'n' and d is null and left(s, 1) = 's'",
    );
    assert_eq!(mixed, 200);

    // A session that chose its workspace before it first used the library, and one whose choice has ended.
    let mut client = database.connect();
    run(&mut client, "set ab.workspace = 'north'");
    assert_eq!(one(&mut client, "select left(ab_assign('u', 'same'), 1)").as_deref(), Some("n"));
    let mut client = database.connect();
    run(&mut client, "begin; set local ab.workspace = 'north'; commit; select ab_create_experiment('mine')");
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'mine')").as_deref(), Some("not_running"));
}

#[test]
fn assigning_writes_nothing() {
    let database = Database::new();
    let mut owner = database.connect();
    run(&mut owner, "select ab_create_experiment('read'); select ab_start('read')");
    let mut client = database.connect();
    run(&mut client, "begin read only");
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'read')").as_deref(), Some("split"));
    assert_eq!(count(&mut client, "select count(ab_assign(n, 'read')) from generate_series(1, 100) n"), 100);
    assert_eq!(
        one(&mut client, "select pg_current_xact_id_if_assigned()"),
        None,
        "as on a standby, where no transaction can have an id"
    );
    run(&mut client, "commit");
    assert_eq!(count(&mut client, "select count(*) from ab.event"), 0);
}

#[test]
fn answers_are_the_same_wherever_the_call_stands() {
    let (_database, mut client) = started("place", r#"{"a": 1, "b": 1}"#);
    run(
        &mut client,
        "create table person (id bigint primary key, arm text generated always as (null) stored);
         insert into person select generate_series(1, 1000);
         create view arm as select id, ab_assign(id, 'place') as arm from person;
         create materialized view frozen as select * from arm;
         create function in_plpgsql(id bigint) returns text language plpgsql as $$ begin return ab_assign(id, 'place'); end $$;
         create function in_sql(id bigint) returns text language sql as $$ select ab_assign(id, 'place') $$;
         prepare p as select ab_assign($1::bigint, 'place')",
    );
    let row = client
        .query_one(
            "select count(*) from person p join arm a using (id) join frozen f using (id)
             cross join lateral (select ab_assign(p.id, 'place') as expected offset 0) e
             where a.arm = e.expected and f.arm = e.expected and in_plpgsql(p.id) = e.expected and in_sql(p.id) = e.expected
                 and p.id in (select x.id from person x where ab_assign(x.id, 'place') = e.expected)",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 1000);
    assert_eq!(one(&mut client, "execute p(5)"), one(&mut client, "select arm from frozen where id = 5"));
}

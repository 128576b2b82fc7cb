//! How a change of configuration reaches sessions that have it in their cache: two sessions, every way of holding a
//! transaction open, and nobody answered by what was never committed.

use std::thread;
use std::time::Duration;

use ab_tests::{Database, assert_calm_log, one};
use postgres::{Client, SimpleQueryMessage};

const REASON: &str = "select ab_assign_reason('u', 'x')";

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

fn reason(client: &mut Client) -> String {
    one(client, REASON).expect("a reason")
}

/// The first column of each row of all results of a script.
fn column(client: &mut Client, script: &str) -> Vec<String> {
    client
        .simple_query(script)
        .expect(script)
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        })
        .collect()
}

/// A running experiment `x`, a session that changes it and one that has it warm in its cache.
fn two_sessions() -> (Database, Client, Client) {
    let database = Database::new();
    let mut writer = database.connect();
    run(&mut writer, r#"select ab_create_experiment('x', '{"a": 1, "b": 1}'); select ab_start('x')"#);
    let mut reader = database.connect();
    assert_eq!(reason(&mut reader), "split");
    (database, writer, reader)
}

#[test]
fn the_next_statement_of_another_session_sees_a_commit() {
    let (_database, mut writer, mut reader) = two_sessions();
    for _ in 0..20 {
        run(&mut writer, "select ab_pause('x')");
        assert_eq!(reason(&mut reader), "not_running");
        run(&mut writer, "select ab_resume('x')");
        assert_eq!(reason(&mut reader), "split");
    }
    run(&mut writer, "begin; select ab_pause('x')");
    assert_eq!(reason(&mut reader), "split", "nothing is committed yet");
    run(&mut writer, "commit");
    assert_eq!(reason(&mut reader), "not_running");
}

#[test]
fn an_open_transaction_sees_a_commit_too() {
    let (_database, mut writer, mut reader) = two_sessions();
    run(&mut reader, "begin");
    assert_eq!(reason(&mut reader), "split");
    run(&mut writer, "select ab_pause('x')");
    assert_eq!(reason(&mut reader), "not_running");
    run(&mut writer, "select ab_resume('x')");
    assert_eq!(reason(&mut reader), "split");
    run(&mut reader, "savepoint s");
    run(&mut writer, "select ab_pause('x')");
    assert_eq!(reason(&mut reader), "not_running");
    run(&mut reader, "rollback to savepoint s");
    assert_eq!(reason(&mut reader), "not_running");
    run(&mut reader, "rollback");
    assert_eq!(reason(&mut reader), "not_running");
}

#[test]
fn what_did_not_exist_is_found_once_it_does() {
    let (_database, mut writer, mut reader) = two_sessions();
    let query = "select ab_assign_reason('u', 'new')";
    run(&mut reader, "begin");
    assert_eq!(one(&mut reader, query).as_deref(), Some("not_found"));
    run(&mut writer, "select ab_create_experiment('new')");
    assert_eq!(one(&mut reader, query).as_deref(), Some("not_running"));
    run(&mut writer, "delete from ab.experiment where experiment = 'new'");
    assert_eq!(one(&mut reader, query).as_deref(), Some("not_found"));
    run(&mut reader, "commit");
}

#[test]
fn what_a_statement_loads_late_is_of_the_same_state() {
    let (_database, mut writer, mut reader) = two_sessions();
    run(
        &mut writer,
        "select ab_create_experiment('y'); select ab_start('y'); select ab_create_flag('f', rules => '[{\"value\": true}]')",
    );
    let statement = "select concat_ws(' ', ab_assign_reason('u', 'x'), pg_sleep(1), ab_assign_reason('u', 'y'), ab_flag_enabled('u', 'f'), (select count(*) from ab_assign_all('u')))";
    let asking = thread::spawn(move || (one(&mut reader, statement), reader));
    thread::sleep(Duration::from_millis(300));
    run(&mut writer, "begin; select ab_pause('x'), ab_pause('y'), ab_kill('f'); commit");
    let (answer, mut reader) = asking.join().expect("the reader");
    assert_eq!(answer.as_deref(), Some("split  split t 2"), "what was loaded after the commit is of before");
    let answer = one(&mut reader, &statement.replace("pg_sleep(1)", "''"));
    assert_eq!(answer.as_deref(), Some("not_running  not_running f 0"));
}

#[test]
fn lists_are_looked_at_as_of_the_configuration() {
    let (database, mut writer, mut reader) = two_sessions();
    run(
        &mut writer,
        r#"select ab_create_segment('staff');
        select ab_create_experiment('y', targeting => '{"operator": "in_segment", "values": ["staff"]}'); select ab_start('y')"#,
    );
    let statement = "select concat_ws(' ', ab_assign_reason('u', 'x'), ab_assign_reason('u', 'y'), pg_sleep(1), ab_assign_reason('u', 'y'), ab_assign_reason('w', 'y'))";
    // By a session that never looked at a list, by one that did, and in a transaction.
    for (begin, end) in
        [("", ""), ("", ""), ("begin", "commit"), ("begin isolation level repeatable read", "rollback")]
    {
        let asking = thread::spawn(move || {
            run(&mut reader, begin);
            let answer = one(&mut reader, statement);
            run(&mut reader, end);
            (answer, reader)
        });
        thread::sleep(Duration::from_millis(300));
        run(&mut writer, "begin; select ab_add_members('staff', '{u,w}'), ab_pause('x'); commit");
        let (answer, again) = asking.join().expect("the reader");
        reader = again;
        assert_eq!(answer.as_deref(), Some("split not_targeted  not_targeted not_targeted"));
        let answer = one(&mut reader, &statement.replace("pg_sleep(1)", "''"));
        assert_eq!(answer.as_deref(), Some("not_running split  split split"));
        run(&mut writer, "select ab_remove_members('staff', '{u,w}'), ab_resume('x')");
    }
    // A parallel plan looks at what its workers share, and nothing that was looked at is left behind.
    run(
        &mut reader,
        "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0; set max_parallel_workers_per_gather = 2;
        create table u as select 'u' as id from generate_series(1, 10000)",
    );
    assert_eq!(one(&mut reader, "select count(ab_assign(id, 'y')) from u").as_deref(), Some("0"));
    run(&mut writer, "select ab_add_members('staff', '{u}')");
    assert_eq!(one(&mut reader, "select count(ab_assign(id, 'y')) from u").as_deref(), Some("10000"));
    run(
        &mut reader,
        "begin; select ab_assign('u', 'y'); savepoint s; select ab_assign('u', 'y'); rollback to s; select ab_assign('u', 'y'); commit",
    );
    run(
        &mut reader,
        "do $$ begin perform ab_assign('u', 'y'); commit; perform ab_assign('u', 'y'); rollback; perform ab_assign('u', 'y'); end $$",
    );
    drop(database);
    assert_calm_log();
}

#[test]
fn an_aborted_change_is_seen_by_none() {
    let (_database, mut writer, mut reader) = two_sessions();
    run(&mut writer, "begin; select ab_pause('x')");
    assert_eq!(reason(&mut writer), "not_running", "one's own change counts at once");
    assert_eq!(reason(&mut reader), "split");
    run(&mut writer, "rollback");
    assert_eq!(reason(&mut reader), "split");
    assert_eq!(reason(&mut writer), "split");

    // By an error, by the end of a subtransaction in PL/pgSQL, and by the end of the session.
    assert!(
        writer
            .batch_execute("begin; select ab_pause('x'); select ab_assign('u', 'x'); select 1 / 0")
            .is_err()
    );
    run(&mut writer, "rollback");
    assert_eq!(reason(&mut writer), "split");
    run(
        &mut writer,
        "create function attempt() returns text language plpgsql as $$
         declare during text; begin
             begin
                 perform ab_pause('x'); during := ab_assign_reason('u', 'x'); raise exception 'no';
             exception when raise_exception then null; end;
             return during || ' ' || ab_assign_reason('u', 'x');
         end $$",
    );
    assert_eq!(one(&mut writer, "select attempt()").as_deref(), Some("not_running split"));
    run(&mut writer, "begin; select ab_pause('x')");
    assert_eq!(reason(&mut writer), "not_running");
    drop(writer);
    assert_eq!(reason(&mut reader), "split");
}

#[test]
fn savepoints_take_back_exactly_what_they_cover() {
    let (_database, mut writer, mut reader) = two_sessions();
    run(&mut writer, "begin; select ab_pause('x'); savepoint one; select ab_resume('x')");
    assert_eq!(reason(&mut writer), "split");
    run(&mut writer, "savepoint two; select ab_stop('x'); release savepoint two");
    assert_eq!(reason(&mut writer), "not_running");
    run(&mut writer, "rollback to savepoint one");
    assert_eq!(reason(&mut writer), "not_running", "paused, as before the savepoint");
    assert_eq!(one(&mut writer, "select status from ab.experiment").as_deref(), Some("paused"));
    run(&mut writer, "savepoint three; select ab_resume('x')");
    assert_eq!(reason(&mut writer), "split");
    run(&mut writer, "rollback to savepoint three");
    assert_eq!(reason(&mut writer), "not_running");
    assert_eq!(reason(&mut reader), "split");
    run(&mut writer, "commit");
    assert_eq!(reason(&mut reader), "not_running");
    assert_eq!(reason(&mut writer), "not_running");
}

#[test]
fn repeatable_read_answers_by_the_newest_commit_and_leaves_nothing_old_behind() {
    for level in ["repeatable read", "serializable"] {
        let (database, mut writer, mut warm) = two_sessions();
        let mut cold = database.connect();
        for reader in [&mut warm, &mut cold] {
            run(reader, &format!("begin isolation level {level}"));
            // The snapshot of the transaction is taken here, before the change.
            assert_eq!(one(reader, "select status from ab.experiment").as_deref(), Some("running"));
        }
        run(&mut writer, "select ab_pause('x')");
        for reader in [&mut warm, &mut cold] {
            assert_eq!(one(reader, "select status from ab.experiment").as_deref(), Some("running"));
            assert_eq!(reason(reader), "not_running");
        }
        run(&mut writer, "select ab_resume('x')");
        for reader in [&mut warm, &mut cold] {
            assert_eq!(reason(reader), "split");
            run(reader, "commit");
            assert_eq!(reason(reader), "split");
        }
        run(&mut writer, "select ab_stop('x')");
        for reader in [&mut warm, &mut cold] {
            assert_eq!(reason(reader), "not_running");
        }
    }
}

#[test]
fn a_prepared_statement_is_no_older_than_any_other() {
    let (_database, mut writer, mut reader) = two_sessions();
    let statement = reader.prepare("select ab_assign_reason($1, 'x')").unwrap();
    let ask = |reader: &mut Client| reader.query_one(&statement, &[&"u"]).unwrap().get::<_, String>(0);
    // More than five times, after which the server keeps a generic plan.
    for _ in 0..8 {
        assert_eq!(ask(&mut reader), "split");
    }
    run(&mut writer, "select ab_pause('x')");
    assert_eq!(ask(&mut reader), "not_running");
    run(
        &mut reader,
        "prepare constant as select ab_assign_reason('u', 'x'); set plan_cache_mode = force_generic_plan",
    );
    assert_eq!(one(&mut reader, "execute constant").as_deref(), Some("not_running"));
    run(&mut reader, "begin");
    assert_eq!(one(&mut reader, "execute constant").as_deref(), Some("not_running"));
    run(&mut writer, "select ab_resume('x')");
    assert_eq!(
        one(&mut reader, "execute constant").as_deref(),
        Some("split"),
        "a constant call is not folded"
    );
    assert_eq!(ask(&mut reader), "split");
    run(&mut reader, "commit");
}

/// Waits until a session of this database holds the advisory lock.
fn await_lock(database: &Database, key: i32) {
    let mut observer = database.connect();
    let query = format!(
        "select count(*) from pg_locks where locktype = 'advisory' and objid = {key} and granted
         and database = (select oid from pg_database where datname = current_database())"
    );
    while one(&mut observer, &query).as_deref() == Some("0") {
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a PL/pgSQL loop sees before and after another session commits in the middle of it.
fn loop_sees(declaration: &str) -> (String, String) {
    let (database, mut writer, mut reader) = two_sessions();
    run(
        &mut reader,
        &format!(
            "create table seen (n integer, reason text);
             create function watch() returns void {declaration}"
        ),
    );
    let watching = thread::spawn(move || {
        column(&mut reader, "select watch()");
        reader
    });
    await_lock(&database, 1);
    run(&mut writer, "select ab_pause('x')");
    run(&mut writer, "select pg_advisory_lock(2)");
    let mut reader = watching.join().expect("the loop");
    let first = one(&mut reader, "select reason from seen order by n limit 1").expect("a row");
    let last = one(&mut reader, "select reason from seen order by n desc limit 1").expect("a row");
    (first, last)
}

/// Waits inside the loop until the other session has committed and taken its lock.
const WAIT: &str = "
    perform pg_advisory_lock(1);
    while pg_try_advisory_lock(2) loop
        perform pg_advisory_unlock(2);
        perform pg_sleep(0.005);
    end loop;";

#[test]
fn a_loop_in_plpgsql_follows_commits_by_query_and_by_expression() {
    let bodies = [
        "insert into seen select 1, ab_assign_reason('u', 'x'); {wait} insert into seen select 2, ab_assign_reason('u', 'x');",
        "select ab_assign_reason('u', 'x') into r; insert into seen values (1, r); {wait} select ab_assign_reason('u', 'x') into r; insert into seen values (2, r);",
        "for i in 1..2 loop r := ab_assign_reason('u', 'x'); if i = 1 then insert into seen values (1, r); {wait} else insert into seen values (2, r); end if; end loop;",
        "for i in 1..2 loop if ab_assign('u', 'x') is null then r := 'not_running'; else r := 'split'; end if; insert into seen values (i, r); if i = 1 then {wait} end if; end loop;",
    ];
    for body in bodies {
        let body = body.replace("{wait}", WAIT);
        let declaration = format!("language plpgsql as $$ declare r text; begin {body} end $$");
        assert_eq!(loop_sees(&declaration), ("split".into(), "not_running".into()), "{declaration}");
    }
}

#[test]
fn one_statement_is_answered_by_one_configuration() {
    let (database, mut writer, mut reader) = two_sessions();
    run(
        &mut writer,
        "select ab_create_experiment('y'); select ab_start('y');
         create function wait_for_the_other(n integer) returns boolean language plpgsql volatile as $$
         begin
             if n = 2 then
                 perform pg_advisory_lock(1);
                 while pg_try_advisory_lock(2) loop perform pg_advisory_unlock(2); perform pg_sleep(0.005); end loop;
             elsif n = 5 then
                 perform pg_advisory_lock(3);
                 while pg_try_advisory_lock(4) loop perform pg_advisory_unlock(4); perform pg_sleep(0.005); end loop;
             end if;
             return true;
         end $$",
    );
    // x is in the cache, y is met only after the first change: both must keep to one answer.
    let scanning = thread::spawn(move || {
        column(
            &mut reader,
            "select ab_assign_reason('u', 'x') || ' ' || case when n > 2 then ab_assign_reason('u', 'y') else '-' end
             from generate_series(1, 8) n where wait_for_the_other(n)",
        )
    });
    await_lock(&database, 1);
    run(&mut writer, "select ab_pause('x')");
    run(&mut writer, "select pg_advisory_lock(2)");
    await_lock(&database, 3);
    run(&mut writer, "select ab_pause('y')");
    run(&mut writer, "select pg_advisory_lock(4)");
    let answers = scanning.join().expect("the scan");
    assert_eq!(
        answers,
        [
            "split -",
            "split -",
            "split split",
            "split split",
            "split split",
            "split split",
            "split split",
            "split split"
        ]
    );
}

#[test]
fn each_fetch_from_a_cursor_keeps_to_one_configuration() {
    let (_database, mut writer, mut reader) = two_sessions();
    run(
        &mut reader,
        "begin; declare c cursor for select ab_assign_reason(n::text, 'x') from generate_series(1, 100) n",
    );
    let fetch = |reader: &mut Client| {
        let mut seen = column(reader, "fetch 20 from c");
        assert_eq!(seen.len(), 20);
        seen.dedup();
        seen
    };
    assert_eq!(fetch(&mut reader), ["split"]);
    run(&mut writer, "select ab_pause('x')");
    assert_eq!(fetch(&mut reader).len(), 1);
    assert_eq!(reason(&mut reader), "not_running");
    assert_eq!(fetch(&mut reader).len(), 1);
    run(&mut reader, "commit");
    assert_eq!(reason(&mut reader), "not_running");
}

const FORCE_PARALLEL: &str =
    "set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
     set max_parallel_workers_per_gather = 2; set parallel_leader_participation = on;";

#[test]
fn a_parallel_plan_answers_as_a_serial_one() {
    let (database, mut writer, _) = two_sessions();
    run(
        &mut writer,
        "create table person as select n as id from generate_series(1, 50000) n; alter table person set (parallel_workers = 2); analyze person",
    );
    let query = "select string_agg(format('%s %s', variant, users), ', ' order by variant)
                 from (select ab_assign(id, 'x') as variant, count(*) as users from person group by 1) t";
    let serial = one(&mut writer, query);
    for leader in ["on", "off"] {
        // A session whose first use of the library is in a parallel plan.
        let mut cold = database.connect();
        run(&mut cold, FORCE_PARALLEL);
        run(&mut cold, &format!("set parallel_leader_participation = {leader}"));
        let plan = column(&mut cold, &format!("explain (analyze, costs off) {query}")).join("\n");
        assert!(plan.contains("Workers Launched: 2") || plan.contains("Workers Launched: 1"), "{plan}");
        assert_eq!(one(&mut cold, query), serial, "leader participation {leader}");
        run(&mut cold, "begin");
        assert_eq!(one(&mut cold, query), serial);
        run(&mut writer, "select ab_pause('x')");
        assert_eq!(reason(&mut cold), "not_running");
        assert_eq!(one(&mut cold, "select count(ab_assign(id, 'x')) from person").as_deref(), Some("0"));
        run(&mut writer, "select ab_resume('x')");
        assert_eq!(one(&mut cold, query), serial);
        assert_eq!(reason(&mut cold), "split");
        run(&mut cold, "commit");
        run(&mut cold, "set ab.workspace = 'elsewhere'");
        assert_eq!(one(&mut cold, "select count(ab_assign(id, 'x')) from person").as_deref(), Some("0"));
    }
    // One's own uncommitted change, which workers can see and others cannot.
    run(&mut writer, FORCE_PARALLEL);
    run(&mut writer, "begin; update ab.variant set weight = 3 where variant = 'a'");
    let shares = |client: &mut Client| {
        one(client, "select round(100 * avg((ab_assign(id, 'x') = 'a')::int)) from person").unwrap()
    };
    assert_eq!(shares(&mut writer), "75");
    run(&mut writer, "rollback");
    assert_eq!(shares(&mut writer), "50");
}

#[test]
fn a_parallel_plan_in_repeatable_read_does_not_mix() {
    let (_database, mut writer, mut reader) = two_sessions();
    run(
        &mut writer,
        "create table person as select n as id from generate_series(1, 50000) n; alter table person set (parallel_workers = 2); analyze person",
    );
    run(&mut reader, FORCE_PARALLEL);
    run(&mut reader, "begin isolation level repeatable read; select count(*) from ab.experiment");
    run(&mut writer, "select ab_pause('x')");
    assert_eq!(reason(&mut reader), "not_running");
    let users = one(&mut reader, "select count(ab_assign(id, 'x')) from person").unwrap();
    assert!(users == "0" || users == "50000", "leader and workers disagree: {users}");
    run(&mut reader, "commit");
    assert_eq!(one(&mut reader, "select count(ab_assign(id, 'x')) from person").as_deref(), Some("0"));
    assert_eq!(reason(&mut reader), "not_running");
}

#[test]
fn a_change_of_configuration_cannot_be_prepared_and_leaves_nothing_behind() {
    let (_database, mut writer, mut reader) = two_sessions();
    run(&mut writer, "begin; update ab.experiment set traffic = 0");
    assert_eq!(reason(&mut writer), "traffic");
    // The signal to gateways is a NOTIFY, which PostgreSQL does not carry over two phases.
    let error = ab_tests::sql_error(writer.batch_execute("prepare transaction 'change'"));
    assert_eq!(error.sqlstate, "0A000", "{}", error.message);
    run(&mut writer, "rollback");
    assert_eq!(reason(&mut writer), "split");
    assert_eq!(reason(&mut reader), "split");
}

#[test]
fn events_of_two_phase_transactions_do_not_hinder() {
    let (_database, mut writer, mut reader) = two_sessions();
    run(&mut writer, "begin; select ab_expose('u', 'x'); prepare transaction 'exposure'");
    assert_eq!(reason(&mut reader), "split");
    run(&mut reader, "commit prepared 'exposure'");
    assert_eq!(one(&mut reader, "select count(*) from ab.event").as_deref(), Some("1"));
}

#[test]
fn a_new_extension_is_found_by_sessions_that_knew_the_old_one() {
    let (_database, mut owner, mut other) = two_sessions();
    run(&mut other, "begin");
    assert_eq!(reason(&mut other), "split");
    run(&mut other, "commit");
    run(&mut owner, "drop extension pg_ab cascade");
    for session in [&mut owner, &mut other] {
        let error = ab_tests::sql_error(session.batch_execute(REASON));
        assert_eq!(error.sqlstate, "42883");
    }
    run(&mut owner, "create extension pg_ab");
    for session in [&mut owner, &mut other] {
        assert_eq!(reason(session), "not_found");
    }
    run(&mut owner, "select ab_create_experiment('x'); select ab_start('x')");
    for session in [&mut owner, &mut other] {
        assert_eq!(reason(session), "split");
        assert_eq!(one(session, "select ab_expose('u', 'x') is not null").as_deref(), Some("t"));
    }
    run(&mut owner, "select ab_pause('x')");
    for session in [&mut owner, &mut other] {
        assert_eq!(reason(session), "not_running");
    }
    // Dropped and made again in a transaction that comes to nothing.
    run(&mut owner, "begin; drop extension pg_ab cascade; create extension pg_ab");
    assert_eq!(reason(&mut owner), "not_found");
    run(&mut owner, "rollback");
    run(&mut owner, "select ab_resume('x')");
    for session in [&mut owner, &mut other] {
        assert_eq!(reason(session), "split");
    }
}

#[test]
fn an_extension_in_another_schema_works_as_well() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        r#"drop extension pg_ab cascade; create schema "Odd Name"; create extension pg_ab schema "Odd Name""#,
    );
    run(
        &mut client,
        r#"set search_path = "Odd Name"; select ab_create_metric('m', 'e'); select ab_create_experiment('x', primary_metric => 'm');
           select ab_start('x'); select ab_expose(1, 'x'), ab_track('1', 'e');
           create role odd_client; select ab_grant('odd_client', 'admin')"#,
    );
    run(&mut client, "select ab_rollup(); select ab_rebuild('x')");
    assert_eq!(one(&mut client, "select sum(units) from ab_results('x')").as_deref(), Some("1"));
    run(&mut client, "set role odd_client");
    assert_eq!(reason(&mut client), "split");
    run(&mut client, "reset role; drop owned by odd_client; drop role odd_client");
}

#[test]
fn changes_that_replication_applies_are_signalled_too() {
    let (_database, mut writer, mut reader) = two_sessions();
    run(&mut writer, "set session_replication_role = replica; update ab.experiment set status = 'paused'");
    assert_eq!(reason(&mut reader), "not_running");
    run(&mut writer, "update ab.experiment set status = 'running'; update ab.experiment set traffic = 0");
    assert_eq!(reason(&mut reader), "traffic");
    run(&mut writer, "update ab.experiment set traffic = 100");
    assert_eq!(reason(&mut reader), "split");
    run(&mut writer, "delete from ab.variant_range");
    assert_eq!(reason(&mut reader), "not_running");
    run(&mut writer, "set session_replication_role = origin; truncate ab.experiment cascade");
    assert_eq!(reason(&mut reader), "not_found");
}

#[test]
fn every_table_of_the_configuration_signals() {
    let (_database, mut writer, mut reader) = two_sessions();
    let weights = "select round(100 * avg((ab_assign(n, 'x') = 'a')::int)) from generate_series(1, 5000) n";
    let before: i32 = one(&mut reader, weights).unwrap().parse().unwrap();
    assert!((46..55).contains(&before));
    run(&mut writer, "update ab.variant set weight = 9 where variant = 'a'");
    let after: i32 = one(&mut reader, weights).unwrap().parse().unwrap();
    assert!((87..94).contains(&after), "{after}");
    run(&mut writer, "update ab.experiment set ends_at = now()");
    assert_eq!(reason(&mut reader), "not_running");
}

#[test]
fn a_role_without_rights_is_answered_as_its_owner_is() {
    let database = Database::new();
    let mut owner = database.connect();
    run(
        &mut owner,
        "select ab_create_experiment('x'); select ab_start('x');
         create role powerless_caller; grant execute on function ab_assign(text, text), ab_assign_reason(text, text, jsonb) to powerless_caller",
    );
    let expected = one(&mut owner, "select ab_assign('u', 'x')");
    let mut session = database.connect();
    run(&mut session, "set role powerless_caller");
    assert!(session.batch_execute("select from ab.experiment").is_err());
    assert_eq!(one(&mut session, "select ab_assign('u', 'x')"), expected, "loaded by the powerless");
    run(&mut session, "reset role");
    assert_eq!(one(&mut session, "select ab_assign('u', 'x')"), expected);
    run(&mut owner, "select ab_pause('x')");
    run(&mut session, "set role powerless_caller");
    assert_eq!(reason(&mut session), "not_running");
    assert_eq!(one(&mut session, "select current_user").as_deref(), Some("powerless_caller"));
    // Row security and a read-only, hostile environment change nothing either.
    run(
        &mut session,
        "set row_security = off; set default_transaction_read_only = on; set statement_timeout = '10s'",
    );
    run(&mut owner, "select ab_resume('x')");
    assert_eq!(reason(&mut session), "split");
    run(&mut owner, "drop owned by powerless_caller; drop role powerless_caller");
}

#[test]
fn a_hostile_search_path_does_not_reach_the_load() {
    let database = Database::new();
    let mut owner = database.connect();
    run(
        &mut owner,
        r#"create role hijacker; grant create on database current_db to hijacker"#
            .replace("current_db", database.name())
            .as_str(),
    );
    run(
        &mut owner,
        "select ab_create_metric('m', 'e'); select ab_create_experiment('x', primary_metric => 'm'); select ab_start('x');
         select ab_grant('hijacker', 'client'), ab_grant('hijacker', 'analyst'), ab_grant('hijacker', 'admin')",
    );
    let mut hijacker = database.connect();
    run(
        &mut hijacker,
        "set role hijacker; create schema trap; grant usage on schema trap to public;
         create table trap.loot (who text);
         create function trap.note() returns void language plpgsql as $$
             begin insert into trap.loot values (current_user || ' ' || session_user); exception when others then null; end $$;
         create function trap.equal(text, text) returns boolean language plpgsql as $$ begin perform trap.note(); return true; end $$;
         create function trap.equal(integer, integer) returns boolean language plpgsql as $$ begin perform trap.note(); return true; end $$;
         create function trap.equal(bigint, bigint) returns boolean language plpgsql as $$ begin perform trap.note(); return true; end $$;
         create operator trap.= (leftarg = text, rightarg = text, function = trap.equal);
         create operator trap.= (leftarg = integer, rightarg = integer, function = trap.equal);
         create operator trap.= (leftarg = bigint, rightarg = bigint, function = trap.equal);
         create function trap.coalesce(text, text) returns text language plpgsql as $$ begin perform trap.note(); return 'trap'; end $$;
         create function trap.format(text, variadic text[]) returns text language plpgsql as $$ begin perform trap.note(); return 'trap'; end $$;
         create function trap.now() returns timestamptz language plpgsql as $$ begin perform trap.note(); return 'epoch'; end $$;
         create function trap.jsonb_agg(anyelement) returns jsonb language plpgsql as $$ begin perform trap.note(); return '[]'; end $$;
         create function trap.current_setting(text, boolean) returns text language plpgsql as $$ begin perform trap.note(); return 'trap'; end $$;
         create function trap.to_regclass(text) returns regclass language plpgsql as $$ begin perform trap.note(); return null; end $$;
         create function trap.ab_assign(text, text) returns text language plpgsql as $$ begin perform trap.note(); return 'trap'; end $$;
         create type trap.text as (x integer); create type trap.int8 as (x integer);
         create table trap.experiment (workspace_id integer); create table trap.workspace (workspace_id integer);
         create temporary table experiment (x integer); create temporary table variant (x integer); create temporary table pg_class (x integer);
         create temporary table ab_batch (workspace_id integer, user_id text); create temporary table ab_exposed (x integer);
         create function pg_temp.note() returns trigger language plpgsql as $$ begin perform trap.note(); return new; end $$;
         create trigger note before insert on ab_batch for each row execute function pg_temp.note();
         set search_path = trap, pg_temp, pg_catalog, public",
    );
    let expected = one(&mut owner, "select ab_assign('u', 'x')");
    let script = "select public.ab_assign('u'::pg_catalog.text, 'x'::pg_catalog.text)";
    assert_eq!(one(&mut hijacker, script), expected);
    run(
        &mut hijacker,
        "select public.ab_expose('u'::pg_catalog.text, 'x'::pg_catalog.text);
         select public.ab_expose(7::pg_catalog.int8, 'x'::pg_catalog.text);
         select public.ab_track('u'::pg_catalog.text, 'e'::pg_catalog.text);
         select public.ab_rollup();
         select public.ab_rebuild('x'::pg_catalog.text);
         select * from public.ab_results('x'::pg_catalog.text);
         select public.ab_create_experiment('mine'::pg_catalog.text); select public.ab_start('mine'::pg_catalog.text); select public.ab_stop('mine'::pg_catalog.text);
         delete from ab.experiment where experiment operator(pg_catalog.=) 'mine'::pg_catalog.text;
         update ab.variant set weight = 2;
         select public.ab_config_version(); select * from public.ab_config_changes();
         select * from public.ab_assign_all('u'::pg_catalog.text); select public.ab_flag('u'::pg_catalog.text, 'f'::pg_catalog.text);
         select public.ab_create_segment('mine'::pg_catalog.text, query => 'select ''u''::pg_catalog.text'); select public.ab_opt_out('o'::pg_catalog.text)",
    );
    // In SQL that the role itself wrote its own operators are its own business; nothing may have run as somebody else.
    let loot = one(
        &mut owner,
        "select string_agg(distinct who, ', ') from trap.loot where who not like 'hijacker %'",
    );
    assert_eq!(loot, None);
    run(&mut owner, "select ab_rollup()");
    assert_eq!(one(&mut owner, "select sum(units) from ab_results('x')").as_deref(), Some("2"));
    drop(hijacker);
    run(&mut owner, "drop owned by hijacker cascade; drop role hijacker");
}

#[test]
fn many_sessions_agree_while_the_configuration_keeps_changing() {
    let (database, mut writer, _) = two_sessions();
    run(&mut writer, "create table truth (n serial, status text)");
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let mut reader = database.connect();
            thread::spawn(move || {
                let mut wrong = 0;
                for turn in 0..150 {
                    if turn % 10 == 0 {
                        run(&mut reader, "begin");
                    }
                    // The lock keeps the writer from committing between the look at the table and the assignment.
                    let row = reader
                        .query_one(
                            "with held as materialized (select pg_advisory_lock_shared(9)) select 1 from held",
                            &[],
                        )
                        .and_then(|_| reader.query_one("select status, ab_assign_reason('u', 'x') from ab.experiment", &[]))
                        .expect("both at once");
                    run(&mut reader, "select pg_advisory_unlock_shared(9)");
                    let (status, reason): (&str, &str) = (row.get(0), row.get(1));
                    wrong += i32::from((status == "running") != (reason == "split"));
                    if turn % 10 == 9 {
                        run(&mut reader, if turn % 20 == 9 { "commit" } else { "rollback" });
                    }
                }
                wrong
            })
        })
        .collect();
    while readers.iter().any(|reader| !reader.is_finished()) {
        for step in ["ab_pause", "ab_resume"] {
            // One by one: statements sent together would commit together, after the lock is released.
            run(&mut writer, "select pg_advisory_lock(9)");
            run(&mut writer, &format!("select {step}('x')"));
            run(&mut writer, "select pg_advisory_unlock(9)");
            thread::sleep(Duration::from_millis(1));
        }
    }
    let wrong: i32 = readers.into_iter().map(|reader| reader.join().expect("a reader")).sum();
    assert_eq!(wrong, 0);
}

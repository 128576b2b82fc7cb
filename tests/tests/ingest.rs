//! Who sends many events at once is told what became of each: stored, stored before, or refused and why.

use ab_tests::{Database, assert_calm_log, one, sql_error};
use postgres::Client;

/// A batch of purchases, exposures and clicks, some of days without a partition; the answer as `item code`, in order.
fn send(client: &mut Client, numbers: &[i32]) -> Vec<String> {
    let rows = client
        .query(
            "select r.item || ' ' || r.code || coalesce(' ' || r.message, '')
             from (
                 select
                     array_agg('u' || n % 3 order by i) as users,
                     array_agg(('0190163d-8694-439b-aea5-' || lpad(to_hex(n), 12, '0'))::uuid order by i) as ids,
                     array_agg(date_trunc('day', now()) - n % 4 * interval '15 days' order by i) as times,
                     array_agg((array['custom', 'purchase', 'exposure'])[1 + n % 3] order by i) as types,
                     array_agg('buy'::text order by i) as names,
                     array_agg(n::float8 order by i) as amounts,
                     array_agg('{}'::text order by i) as properties,
                     array_agg(case when n < 0 then 'missing' when n % 3 = 2 then 'e' end order by i) as experiments,
                     array_agg(case when n % 3 = 2 then 'control' end order by i) as variants,
                     array_agg(null::text order by i) as sessions
                 from unnest($1::int[]) with ordinality t (n, i)
             ) b
             cross join lateral ab_track_batch(b.users, b.ids, b.times, b.types, b.names, b.amounts, b.properties, b.experiments, b.variants, b.sessions) r
             order by r.item",
            &[&numbers],
        )
        .expect("a batch");
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn events_stored_before_are_named_as_duplicates() {
    let database = Database::new();
    let mut client = database.connect();
    client.batch_execute("select ab_create_experiment('e'); select ab_start('e')").expect("an experiment");
    let first: Vec<i32> = (0..12).collect();
    assert_eq!(send(&mut client, &first), Vec::<String>::new());
    assert_eq!(
        one(&mut client, "select count(*) > 0 from ab.event_overflow").as_deref(),
        Some("t"),
        "some days have no partition"
    );
    let all_again: Vec<String> = (1..=12).map(|item| format!("{item} duplicate")).collect();
    assert_eq!(send(&mut client, &first), all_again);
    // New ones, the same ones, one twice in the batch, and one that cannot be stored.
    assert_eq!(
        send(&mut client, &[20, 3, 21, 20, -3, 5]),
        [
            "2 duplicate",
            "4 duplicate",
            "5 experiment_not_found experiment \"missing\" does not exist",
            "6 duplicate"
        ]
    );
    assert_eq!(one(&mut client, "select count(*) from ab.event").as_deref(), Some("14"));
    // What was rolled back was never there.
    client.batch_execute("begin").expect("begin");
    assert_eq!(send(&mut client, &[30]), Vec::<String>::new());
    assert_eq!(send(&mut client, &[30]), ["1 duplicate"]);
    client.batch_execute("rollback").expect("rollback");
    assert_eq!(send(&mut client, &[30]), Vec::<String>::new());
    // One at a time it is the same as ever: nothing is raised, and the id comes back.
    let id = one(&mut client, "select ab_track('ann', 'buy')").expect("an id");
    assert_eq!(one(&mut client, &format!("select ab_track('ann', 'buy', event_id => '{id}')")), Some(id));
}

/// What a function that stores many events says: accepted, duplicate, rejected.
fn counts(client: &mut Client, call: &str) -> (i64, i64, i64) {
    let row = client
        .query_one(&format!("select * from {call}"), &[])
        .unwrap_or_else(|error| panic!("{call}: {error:?}"));
    (row.get(0), row.get(1), row.get(2))
}

fn rejected(client: &mut Client) -> Vec<(String, String, String)> {
    client
        .query("select event, code, message from ab.event_rejected order by rejected_id", &[])
        .expect("rejected events")
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

const MANY: &str = r#"[
    {"user_id": "ann", "event_name": "buy", "event_type": "purchase", "value": 0.1, "properties": {"country": "NZ"},
        "timestamp": "2026-01-31T12:00:00.250+01:00", "event_id": "order-1", "session_id": "s"},
    {"user_id": "ann", "event_name": "seen", "event_type": "exposure", "experiment_id": "e", "variant_id": "control"},
    {"user_id": "ann", "event_name": "buy", "event_type": "purchase", "timestamp": "2026-01-31T11:00:00.25Z", "event_id": "order-1"},
    {"user_id": 5, "event_name": "buy"},
    {"user_id": "bob", "event_name": "seen", "experiment_id": "later"},
    "no event", 7, null, {},
    {"user_id": "bob", "event_name": "buy", "properties": {"value": 2.5, "note": "\ud83d\ude00"}, "event_type": null},
    {"user_id": "bob", "event_name": "buy", "properties": {"deep": [[[[]]]]}, "timestamp": "2026-01-31"},
    {"user_id": "bob", "event_name": "buy", "value": 1e400},
    {"user_id": "bob", "event_name": "buy", "timestamp": "1999-12-31T23:59:59Z"},
    {"user_id": "bob", "event_name": "seen", "event_type": "exposure", "experiment_id": "e", "variant_id": "none"}
]"#;

#[test]
fn an_array_of_events_is_stored_but_for_the_bad_ones() {
    let database = Database::new();
    let mut client = database.connect();
    client.batch_execute("select ab_create_experiment('e'); select ab_start('e')").expect("an experiment");
    let call = format!("ab_ingest('{MANY}')");
    assert_eq!(counts(&mut client, &call), (3, 1, 10));
    let stored = client
        .query_one(
            "select string_agg(concat_ws(' ', e.user_id, e.event_name, e.event_type, e.value, e.properties, e.variant, e.session_id), ', ' order by e.user_id, e.event_name)
             from ab.event e",
            &[],
        )
        .expect("events")
        .get::<_, String>(0);
    assert_eq!(
        stored,
        r#"ann buy purchase 0.1 {"country": "NZ"} s, ann seen exposure {} control, bob buy custom 2.5 {"note": "😀", "value": 2.5}"#
    );
    let found = rejected(&mut client);
    let codes: Vec<&str> = found.iter().map(|(_, code, _)| code.as_str()).collect();
    assert_eq!(
        codes,
        [
            "invalid_event",
            "experiment_not_found",
            "invalid_event",
            "invalid_event",
            "invalid_event",
            "invalid_event",
            "invalid_event_time",
            "invalid_event",
            "invalid_event_time",
            "variant_not_found"
        ]
    );
    assert_eq!(found[0].0, r#"{"user_id": 5, "event_name": "buy"}"#);
    assert!(found[0].2.starts_with("the event cannot be read: invalid type: integer `5`"), "{}", found[0].2);
    assert_eq!(found[2].0, r#""no event""#);
    assert_eq!(found[9].2, r#"experiment "e" has no variant "none""#);
    // Sent again: what has an id is known again.
    assert_eq!(counts(&mut client, &call), (2, 2, 10));
    assert_eq!(counts(&mut client, "ab_ingest('[]')"), (0, 0, 0));
    for wrong in ["'{}'", "null", "'7'"] {
        let error = sql_error(client.query(&format!("select * from ab_ingest({wrong})"), &[]));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_argument"), "{wrong}");
    }
    let error = sql_error(client.query("select * from ab_ingest('[]', 'nowhere')", &[]));
    assert_eq!(error.code, "workspace_not_found");
    assert_calm_log();
}

#[test]
fn rejected_events_are_tried_again() {
    let database = Database::new();
    let mut client = database.connect();
    client.batch_execute("insert into ab.workspace (workspace) values ('other')").expect("a workspace");
    // As a gateway would: what no database takes, what this one does not take yet, and what was stored meanwhile.
    let given = client
        .query_one(
            "select ab_reject_events(array[$1, $2, $3, $4, $5], array['a', 'b', 'c', 'd', 'e'], array['1', '2', '3', '4', '5'])",
            &[
                &r#"{"user_id": "ann", "event_name": "buy", "properties": {"a": "\ud800"}}"#,
                &r#"{"user_id": "ann", "event_name": "buy", "experiment_id": "later"}"#,
                &"no JSON",
                &r#"{"user_id":"ann","event_name":"buy","event_id":"0190163d-8694-739b-aea5-966c26f8ad91"}"#,
                &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            ],
        )
        .expect("five rejected events")
        .get::<_, i64>(0);
    assert_eq!(given, 5);
    client
        .batch_execute(
            r#"select ab_track('ann', 'buy', event_id => '0190163d-8694-739b-aea5-966c26f8ad91');
               select ab_reject_events('{"{\"user_id\": \"cid\", \"event_name\": \"buy\"}"}', '{f}', '{6}', 'other')"#,
        )
        .expect("more");
    assert_eq!(counts(&mut client, "ab_replay_rejected()"), (0, 1, 4));
    let codes =
        |client: &mut Client| rejected(client).into_iter().map(|(_, code, _)| code).collect::<Vec<_>>();
    assert_eq!(
        codes(&mut client),
        ["invalid_event", "experiment_not_found", "invalid_event", "invalid_event", "f"],
        "the reason of this time"
    );
    assert_eq!(rejected(&mut client)[0].2, "invalid input syntax for type json");
    client.batch_execute("select ab_create_experiment('later')").expect("the experiment");
    assert_eq!(counts(&mut client, "ab_replay_rejected(now() + interval '1 hour')"), (0, 0, 0));
    assert_eq!(counts(&mut client, "ab_replay_rejected(now() - interval '1 hour')"), (1, 0, 3));
    assert_eq!(codes(&mut client), ["invalid_event", "invalid_event", "invalid_event", "f"]);
    assert_eq!(counts(&mut client, "ab_replay_rejected(workspace => 'other')"), (1, 0, 0));
    assert_eq!(
        one(&mut client, "select string_agg(w.workspace, ' ' order by e.user_id) from ab.event e join ab.workspace w using (workspace_id)").as_deref(),
        Some("default default other")
    );
    // An event that does not say when it happened did so when it came, also when it is stored much later.
    client
        .batch_execute(
            r#"select ab_reject_events('{"{\"user_id\": \"old\", \"event_name\": \"buy\"}"}', '{g}', '{7}');
               update ab.event_rejected set received_at = '2026-01-02 03:04:05+00' where code = 'g'"#,
        )
        .expect("an event from before");
    assert_eq!(counts(&mut client, "ab_replay_rejected()"), (1, 0, 3));
    assert_eq!(
        one(&mut client, "select event_time = '2026-01-02 03:04:05+00' from ab.event where user_id = 'old'")
            .as_deref(),
        Some("t")
    );
    // Corrected by hand.
    client
        .batch_execute(r#"update ab.event_rejected set event = '{"user_id": "dan", "event_name": "buy"}' where event = 'no JSON'"#)
        .expect("a correction");
    assert_eq!(counts(&mut client, "ab_replay_rejected()"), (1, 0, 2));
    client
        .batch_execute(
            "update ab.event_rejected set received_at = now() - interval '31 days' where event like '%ud800%'",
        )
        .expect("an old one");
    assert_eq!(
        one(
            &mut client,
            "select action || ' ' || object || ': ' || reason from ab_maintain() where action = 'deleted'"
        )
        .as_deref(),
        Some("deleted ab.event_rejected: 1 events rejected more than 30 days ago")
    );
    assert_eq!(codes(&mut client), ["invalid_event"]);
    for wrong in ["'{a}', '{b}', null", "'{a}', '{b}', '{}'", "'{null}', '{b}', '{c}'"] {
        let error = sql_error(client.query(&format!("select ab_reject_events({wrong})"), &[]));
        assert_eq!(error.code, "invalid_argument", "{wrong}");
    }
    assert_calm_log();
}

#[test]
fn a_table_of_events_is_taken_in_by_parts() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "insert into ab.workspace (workspace) values ('other');
             insert into ab.event_staging (workspace, user_id, event_name, value, properties, timestamp, event_id)
             select case when i % 10 = 0 then 'other' end, 'u' || i % 7, 'buy', i / 4.0, '{\"a\": null}', now() - i * interval '1 minute', 'order-' || i % 20000
             from generate_series(1, 25000) i;
             insert into ab.event_staging (user_id, event_name, value) values (null, 'buy', 1), ('u', 'buy', 'NaN')",
        )
        .expect("staged events");
    assert_eq!(counts(&mut client, "ab_ingest_staged(15000)"), (15_000, 0, 0));
    assert_eq!(one(&mut client, "select count(*) from ab.event_staging").as_deref(), Some("10002"));
    // Rolled back, nothing has happened.
    client.batch_execute("begin").expect("begin");
    assert_eq!(counts(&mut client, "ab_ingest_staged()"), (10_000, 0, 2));
    client.batch_execute("rollback").expect("rollback");
    let printed = database.psql("call ab_ingest_all_staged(4000)");
    assert_eq!(printed, "");
    assert_eq!(counts(&mut client, "ab_ingest_staged()"), (0, 0, 0));
    assert_eq!(
        one(&mut client, "select count(*) || ' ' || count(*) filter (where w.workspace = 'other') || ' ' || sum(value) from ab.event e join ab.workspace w using (workspace_id) where properties = '{\"a\": null}'").as_deref(),
        Some("25000 2500 78128125")
    );
    let found = rejected(&mut client);
    assert!(found[0].2.contains("invalid type: null, expected a string"), "{found:?}");
    assert_eq!(found[1].2, "field \"value\" must be a number");
    // The same rows again are the same events.
    client
        .batch_execute(
            "insert into ab.event_staging (user_id, event_name, value, timestamp, event_id)
             select e.user_id, e.event_name, e.value, e.event_time, e.event_id from ab.event e join ab.workspace w using (workspace_id) where w.workspace = 'default'",
        )
        .expect("the same");
    assert_eq!(counts(&mut client, "ab_ingest_staged()"), (0, 22_500, 0));
    client
        .batch_execute(
            "insert into ab.event_staging (workspace, user_id, event_name) values ('nowhere', 'u', 'buy'), (null, 'u', 'buy'), ('nowhere', 'u', 'buy'), ('other', 'u', 'buy')",
        )
        .expect("rows");
    // Rows of a workspace that does not exist hold nobody up, and wait until it does.
    assert_eq!(counts(&mut client, "ab_ingest_staged(1)"), (1, 0, 0));
    let printed = database.psql("call ab_ingest_all_staged(1)");
    assert_eq!(printed, "");
    assert_eq!(
        one(&mut client, "select string_agg(workspace, ' ') from ab.event_staging").as_deref(),
        Some("nowhere nowhere")
    );
    client.batch_execute("insert into ab.workspace (workspace) values ('nowhere')").expect("the workspace");
    assert_eq!(counts(&mut client, "ab_ingest_staged()"), (2, 0, 0));
    client
        .batch_execute("insert into ab.event_staging (user_id) values ('u'); set ab.workspace = 'none'")
        .expect("a row");
    assert_eq!(sql_error(client.query("select * from ab_ingest_staged()", &[])).code, "workspace_not_found");
    assert_calm_log();
}

#[test]
fn what_only_the_database_finds_wrong_fails_alone() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "alter table ab.event_other add constraint ours check (user_id <> 'poison');
             alter table ab.event_overflow add constraint ours check (user_id <> 'poison');
             create table nested (n integer, properties jsonb);
             -- As deep as PostgreSQL just reads at once, but not any more within other calls.
             do $$ begin for n in reverse 20000..1 by 20 loop
                 begin insert into nested values (n, ('{\"a\":' || repeat('[', n) || repeat(']', n) || '}')::jsonb); exit; exception when statement_too_complex then null; end; end loop; end $$;
             insert into ab.event_staging (user_id, event_name) select case when i in (1, 700, 701, 3000) then 'poison' else 'u' || i end, 'buy' from generate_series(1, 3000) i;
             insert into ab.event_staging (user_id, event_name, properties) select 'deep', 'buy', properties from nested",
        )
        .expect("staged events");
    assert_eq!(counts(&mut client, "ab_ingest_staged()"), (2_996, 0, 5));
    assert_eq!(one(&mut client, "select count(*) from ab.event").as_deref(), Some("2996"));
    let found = rejected(&mut client);
    assert!(found.iter().all(|(_, code, _)| code == "invalid_event"), "{found:?}");
    assert!(
        found[3].0.contains("poison") && found[3].2.contains("violates check constraint \"ours\""),
        "{:?}",
        found[3]
    );
    assert_eq!(found[4].2, "stack depth limit exceeded");
    // What is nobody's fault is raised.
    client.batch_execute("insert into ab.event_staging (user_id, event_name) values ('u', 'buy'); set statement_timeout = '200ms'").expect("a row");
    let mut other = database.connect();
    other.batch_execute("begin; lock table ab.event_other, ab.event_overflow").expect("a lock");
    assert_eq!(sql_error(client.query("select * from ab_ingest_staged()", &[])).sqlstate, "57014");
    other.batch_execute("rollback").expect("rollback");
    client.batch_execute("set statement_timeout = 0").expect("a setting");
    assert_eq!(counts(&mut client, "ab_ingest_staged()"), (1, 0, 0));
    assert_calm_log();
}

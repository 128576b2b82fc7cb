//! An event is stored once, whoever sends it how often, and lies where its type and day say; what it counts for
//! depends on what it names and when it happened, never on when it came.

use std::sync::Barrier;
use std::thread;

use ab_tests::{Database, one, sql_error};
use postgres::Client;

fn start(client: &mut Client) {
    client
        .batch_execute(
            "select ab_create_experiment('e'), ab_create_experiment('f');
             select ab_start('e'), ab_start('f');
             select ab_create_metric('purchases', 'buy', 'count');
             select ab_add_metric('e', 'purchases'), ab_add_metric('f', 'purchases')",
        )
        .expect("two experiments");
}

fn count(client: &mut Client, what: &str) -> i64 {
    one(client, &format!("select count(*) from {what}")).expect("a count").parse().expect("a number")
}

/// Purchases counted in an experiment.
fn purchases(client: &mut Client, experiment: &str) -> String {
    let query = format!(
        "select coalesce(sum(u.event_count), 0) from ab.unit_metric u join ab.experiment x using (experiment_id) where x.experiment = '{experiment}'"
    );
    one(client, &query).expect("a count")
}

fn exposure(user: &str, experiment: &str, variant: &str, time: &str) -> String {
    format!(
        "select ab_track('{user}', 'exposure', event_type => 'exposure', experiment => '{experiment}', variant => '{variant}', \
         event_time => {time}, event_id => gen_random_uuid())"
    )
}

fn buy_at(user: &str, time: &str) -> String {
    format!("select ab_track('{user}', 'buy', event_time => {time}, event_id => gen_random_uuid())")
}

#[test]
fn the_same_event_is_stored_once() {
    let database = Database::new();
    let mut client = database.connect();
    // Minted by the first acceptance, and enough for a retry.
    let id = one(&mut client, "select ab_track('ann', 'buy', 5)").expect("an id");
    for _ in 0..3 {
        let again = one(&mut client, &format!("select ab_track('ann', 'buy', 5, event_id => '{id}')"));
        assert_eq!(again.as_deref(), Some(id.as_str()));
    }
    assert_eq!(count(&mut client, "ab.event"), 1);
    assert_eq!(
        one(
            &mut client,
            "select event_time = to_timestamp(('x' || translate(left(event_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0) \
             and abs(extract(epoch from event_time - received_at)) < 60 from ab.event"
        )
        .as_deref(),
        Some("t"),
        "a version 7 id carries the time of its event"
    );
    // The time written out is the same time.
    one(
        &mut client,
        "select ab_track('ann', 'buy', 5, event_id => e.event_id, event_time => e.event_time) from ab.event e",
    );
    assert_eq!(count(&mut client, "ab.event"), 1);
    // Another user, another time or another id is another event.
    one(&mut client, &format!("select ab_track('bob', 'buy', event_id => '{id}')"));
    one(
        &mut client,
        &format!(
            "select ab_track('ann', 'buy', event_id => '{id}', event_time => now() - interval '2 hours')"
        ),
    );
    one(&mut client, "select ab_track('ann', 'buy')");
    assert_eq!(count(&mut client, "ab.event"), 4);
    // The first acceptance stays as it was.
    one(&mut client, &format!("select ab_track('ann', 'buy', 99, event_id => '{id}')"));
    assert_eq!(
        one(
            &mut client,
            &format!(
                "select value from ab.event where event_id = '{id}' and user_id = 'ann' and value is not null"
            )
        )
        .as_deref(),
        Some("5")
    );
}

#[test]
fn an_id_without_a_time_must_carry_one() {
    let database = Database::new();
    let mut client = database.connect();
    for version in ["4", "5", "1", "6", "8"] {
        let id = format!("0190163d-8694-{version}39b-aea5-966c26f8ad91");
        let error =
            sql_error(client.simple_query(&format!("select ab_track('ann', 'buy', event_id => '{id}')")));
        assert_eq!(
            (error.sqlstate.as_str(), error.code.as_str()),
            ("22023", "event_time_required"),
            "{error:?}"
        );
        one(&mut client, &format!("select ab_track('ann', 'buy', event_id => '{id}', event_time => now())"));
    }
    // A version 7 of the year 10889 or of 1970 has a time, and no event happened then.
    for id in ["ffffffff-ffff-7fff-bfff-ffffffffffff", "00000000-0000-7000-8000-000000000000"] {
        let error =
            sql_error(client.simple_query(&format!("select ab_track('ann', 'buy', event_id => '{id}')")));
        assert_eq!(
            (error.sqlstate.as_str(), error.code.as_str()),
            ("22008", "invalid_event_time"),
            "{error:?}"
        );
    }
    assert_eq!(count(&mut client, "ab.event"), 5);
}

#[test]
fn senders_of_the_same_events_at_the_same_moment_store_them_once() {
    let database = Database::new();
    let mut client = database.connect();
    start(&mut client);
    // Both sides of midnight, a day without a partition, and ids that carry their time.
    let mut statements = Vec::new();
    for number in 0..40 {
        let time = match number % 4 {
            0 => "date_trunc('day', now()) - interval '1 microsecond'",
            1 => "date_trunc('day', now())",
            2 => "date_trunc('day', now()) - interval '50 days'",
            _ => "null",
        };
        let id = match number % 4 {
            3 => one(&mut client, "select ab_internal.new_event_id()").expect("an id"),
            _ => format!("0190163d-8694-439b-aea5-{number:012x}"),
        };
        statements
            .push(format!("select ab_track('ann', 'buy', 1, event_time => {time}, event_id => '{id}')"));
    }
    let barrier = Barrier::new(6);
    thread::scope(|scope| {
        for sender in 0..6 {
            let mut session = database.connect();
            let (statements, barrier) = (&statements, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for (number, statement) in statements.iter().enumerate() {
                    // Some take one transaction for each, some roll back and try again.
                    if (number + sender) % 5 == 0 {
                        session.batch_execute(&format!("begin; {statement}; rollback")).expect("a try");
                    }
                    session.batch_execute(statement).expect("an event");
                }
            });
        }
    });
    assert_eq!(count(&mut client, "ab.event"), 40);
    assert_eq!(count(&mut client, "ab.event_overflow"), 10);
}

#[test]
fn batches_of_the_same_events_in_any_order_neither_double_nor_deadlock() {
    let database = Database::new();
    let mut client = database.connect();
    start(&mut client);
    let batch = |order: &str| {
        format!(
            "select count(*) from (select array_agg(u order by {order}) u, array_agg(i order by {order}) i, array_agg(t order by {order}) t, array_agg(k order by {order}) k
             from (select 'u' || n % 13 as u, ('0190163d-8694-439b-aea5-' || lpad(to_hex(n), 12, '0'))::uuid as i, now()::date - n % 4 * interval '15 days' as t,
                 (array['custom', 'purchase', 'conversion'])[1 + n % 3] as k, n from generate_series(1, 90) n) s) a,
             ab_track_batch(a.u, a.i, a.t, a.k, array_fill('buy'::text, array[90]), array_fill(1::float8, array[90]), array_fill('{{}}'::text, array[90]),
                 array_fill(null::text, array[90]), array_fill(null::text, array[90]), array_fill(null::text, array[90]))"
        )
    };
    let orders = ["n", "n desc", "md5(n::text)", "u, n desc"];
    let barrier = Barrier::new(orders.len());
    thread::scope(|scope| {
        for order in orders {
            let (mut session, statement, barrier) = (database.connect(), batch(order), &barrier);
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..15 {
                    session.batch_execute(&statement).expect("a batch");
                }
            });
        }
        let mut session = database.connect();
        for days in 10..50 {
            one(
                &mut session,
                &format!("select ab_internal.make_partitions(now()::date - {days}, now()::date - {days})"),
            );
        }
    });
    assert_eq!(count(&mut client, "ab.event"), 90);
    assert_eq!(count(&mut client, "(select distinct user_id, event_id, event_time from ab.event) e"), 90);
}

#[test]
fn types_and_days_decide_where_an_event_lies() {
    let database = Database::new();
    let mut client = database.connect();
    start(&mut client);
    client
        .batch_execute(
            "select ab_track('ann', 'a', event_type => t, experiment => 'e', variant => 'control')
             from unnest(array['exposure', 'conversion', 'purchase', 'custom', 'page_view']) t",
        )
        .expect("events");
    assert_eq!(count(&mut client, "ab.event_exposure"), 1);
    assert_eq!(count(&mut client, "ab.event_conversion"), 2);
    assert_eq!(count(&mut client, "ab.event_other"), 2);
    assert_eq!(count(&mut client, "ab.event_overflow"), 0);
    let partitions = "pg_inherits i where i.inhparent in ('ab.event_exposure'::regclass, 'ab.event_conversion'::regclass, 'ab.event_other'::regclass)";
    assert_eq!(count(&mut client, partitions), 3 * 9, "yesterday, today and seven days ahead");
    // Days are days of UTC, whatever the session's time zone.
    client
        .batch_execute(
            "set timezone = 'Pacific/Kiritimati';
             select ab_track('bob', 'a', event_id => gen_random_uuid(), event_time => (date_trunc('day', now() at time zone 'UTC') at time zone 'UTC') - interval '1 microsecond')",
        )
        .expect("an event");
    assert_eq!(
        one(&mut client, "select tableoid::regclass::text from ab.event_other where user_id = 'bob'"),
        one(
            &mut client,
            "select 'ab.event_other_' || to_char((now() at time zone 'UTC')::date - 1, 'YYYYMMDD')"
        )
    );
    // Each partition has its key.
    let keys = "pg_inherits i join pg_index x on x.indrelid = i.inhrelid and x.indisunique where i.inhparent::regclass::text like 'ab.event%' and x.indnkeyatts = 4";
    assert_eq!(count(&mut client, keys), 27);
}

#[test]
fn tracking_needs_no_partition() {
    let database = Database::new();
    let mut client = database.connect();
    let id = one(&mut client, "select ab_track('ann', 'buy')").expect("an id");
    one(&mut client, &format!("select ab_track('ann', 'buy', event_id => '{id}')"));
    one(&mut client, &buy_at("ann", "now() - interval '1000 days'"));
    assert_eq!(count(&mut client, "ab.event_overflow"), 2);
    let written = one(&mut client, &format!("select transaction_id from ab.event where event_id = '{id}'"));
    start(&mut client);
    assert_eq!(count(&mut client, "ab.event_overflow"), 1, "only the day without a partition is left");
    assert_eq!(
        one(&mut client, &format!("select transaction_id from ab.event_other where event_id = '{id}'")),
        written,
        "a moved event keeps its transaction"
    );
    one(&mut client, &format!("select ab_track('ann', 'buy', event_id => '{id}')"));
    assert_eq!(count(&mut client, "ab.event"), 2);
}

#[test]
fn partitions_made_under_a_sender_take_its_events_along() {
    let database = Database::new();
    let (mut maker, mut sender) = (database.connect(), database.connect());
    start(&mut maker);
    let day = "now()::date - 100";
    let make = format!("select ab_internal.make_partitions({day}, {day})");
    let event = format!(
        "select ab_track('ann', 'buy', event_time => ({day})::timestamp at time zone 'UTC', event_id => '0190163d-8694-439b-aea5-966c26f8ad91')"
    );
    sender.batch_execute(&format!("begin; {event}")).expect("an event");
    assert_eq!(one(&mut maker, &make).as_deref(), Some("0"), "an open sender is not waited for long");
    sender.batch_execute("commit").expect("commit");
    // The other way round: the sender waits, and finds the partition.
    maker.batch_execute(&format!("begin; {make}")).expect("partitions");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| sender.batch_execute(&event));
        thread::sleep(std::time::Duration::from_millis(200));
        maker.batch_execute("commit").expect("commit");
        waiting.join().expect("the sender").expect("the event");
    });
    assert_eq!(count(&mut maker, "ab.event_overflow"), 0);
    assert_eq!(count(&mut maker, "ab.event_other"), 1);
}

#[test]
fn partitions_made_under_an_old_snapshot_leave_no_event_behind() {
    let database = Database::new();
    let (mut maker, mut sender) = (database.connect(), database.connect());
    one(&mut sender, "select ab_track('zoe', 'view')");
    maker.batch_execute("begin isolation level repeatable read; select 1").expect("begin");
    let id = one(&mut sender, "select ab_track('ann', 'buy')").expect("an id");
    maker.batch_execute("select ab_create_experiment('e'); commit").expect("an experiment");
    one(&mut sender, &format!("select ab_track('ann', 'buy', event_id => '{id}')"));
    assert_eq!(count(&mut sender, &format!("ab.event where event_id = '{id}'")), 1);
    one(&mut sender, "select ab_rollup()");
    assert_eq!(
        count(&mut sender, "ab.event_overflow"),
        0,
        "the next one that looks with fresh eyes makes them"
    );
}

#[test]
fn events_go_with_the_transaction_that_sent_them() {
    let database = Database::new();
    let mut client = database.connect();
    start(&mut client);
    client
        .batch_execute(
            "begin;
             select ab_track('ann', 'kept');
             savepoint s;
             select ab_track('ann', 'lost'), ab_expose('ann', 'e');
             rollback to s;
             select ab_track('bob', 'kept');
             commit;
             begin;
             select ab_track('ann', 'lost'), ab_expose('ann', 'e');
             rollback",
        )
        .expect("transactions");
    assert_eq!(
        one(
            &mut client,
            "select string_agg(user_id || ' ' || event_name, ', ' order by user_id) from ab.event"
        )
        .as_deref(),
        Some("ann kept, bob kept")
    );
    one(&mut client, "select ab_rollup()");
    assert_eq!(count(&mut client, "ab.exposure"), 0);
}

#[test]
fn exposing_again_writes_nothing() {
    let database = Database::new();
    let mut client = database.connect();
    start(&mut client);
    let expose = "select ab_expose('ann', 'e')";
    client.batch_execute("begin").expect("begin");
    let variant = one(&mut client, expose);
    assert!(variant.is_some());
    assert_eq!(one(&mut client, expose), variant, "in the same transaction");
    client.batch_execute("commit").expect("commit");
    assert_eq!(one(&mut client, expose), variant, "before any roll-up");
    assert_eq!(count(&mut client, "ab.event"), 1);
    one(&mut client, "select ab_rollup()");
    let first = one(&mut client, "select first_exposed_at || variant from ab.exposure");
    assert_eq!(one(&mut client, expose), variant, "after the roll-up");
    // Even where the raw exposure has gone with its retention.
    client.batch_execute("delete from ab.event_exposure").expect("a deletion");
    assert_eq!(one(&mut client, expose), variant);
    assert_eq!(count(&mut client, "ab.event"), 0);
    one(&mut client, "select ab_rollup()");
    assert_eq!(one(&mut client, "select first_exposed_at || variant from ab.exposure"), first);
    // The three kinds of id are one user.
    assert!(one(&mut client, "select ab_expose(42, 'e')").is_some());
    assert_eq!(
        one(&mut client, "select ab_expose(42, 'e')"),
        one(&mut client, "select ab_expose('42', 'e')")
    );
    assert_eq!(count(&mut client, "ab.event"), 1);
}

#[test]
fn nobody_is_exposed_to_what_does_not_run() {
    let database = Database::new();
    let mut client = database.connect();
    start(&mut client);
    client
        .batch_execute("select ab_create_experiment('draft'); select ab_pause('e'); select ab_stop('f')")
        .expect("changes");
    for call in
        ["'ann', 'draft'", "'ann', 'e'", "'ann', 'f'", "'ann', 'unknown'", "'', 'e'", "null::text, 'e'"]
    {
        assert_eq!(one(&mut client, &format!("select ab_expose({call})")), None, "{call}");
    }
    assert_eq!(count(&mut client, "ab.event"), 0);
    client.batch_execute("select ab_resume('e')").expect("a change");
    assert!(one(&mut client, "select ab_expose('ann', 'e')").is_some());
    assert_eq!(count(&mut client, "ab.event"), 1);
}

#[test]
fn a_batch_refuses_items_and_stores_the_rest() {
    let database = Database::new();
    let mut client = database.connect();
    start(&mut client);
    let batch = "from ab_track_batch('{a,b,c,d}', array[gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid()], array[now(), now(), now(), now()],
        '{custom,custom,exposure,custom}', '{buy,buy,exposure,buy}', '{1,null,null,2}', '{\"{}\",\"{}\",\"{}\",\"{}\"}',
        '{null,unknown,e,e}', '{null,null,purple,control}', '{null,null,null,s1}')";
    assert_eq!(
        one(&mut client, &format!("select string_agg(item || ' ' || code, ', ' order by item) {batch}"))
            .as_deref(),
        Some("2 experiment_not_found, 3 variant_not_found")
    );
    assert_eq!(
        one(&mut client, "select string_agg(user_id, ' ' order by user_id) from ab.event").as_deref(),
        Some("a d")
    );
    for call in ["event_type => 'custom', experiment => 'unknown'", "experiment => 'e', variant => 'purple'"]
    {
        let error = sql_error(client.simple_query(&format!("select ab_track('a', 'buy', {call})")));
        assert_eq!(error.sqlstate, "42704", "{error:?}");
    }
    assert_eq!(count(&mut client, "ab.event"), 2);
}

#[test]
fn what_an_event_counts_for() {
    let database = Database::new();
    let mut client = database.connect();
    start(&mut client);
    // Assigned elsewhere, in an experiment that was never started here: it counts all the same.
    client
        .batch_execute("select ab_create_experiment('draft'); select ab_add_metric('draft', 'purchases')")
        .expect("a draft");
    for (experiment, hours) in [("e", 3), ("f", 1), ("draft", 2)] {
        one(
            &mut client,
            &exposure("ann", experiment, "control", &format!("now() - interval '{hours} hours'")),
        );
    }
    one(&mut client, &buy_at("ann", "now() - interval '150 minutes'"));
    one(&mut client, &buy_at("ann", "now() - interval '90 minutes'"));
    one(&mut client, &buy_at("ann", "now()"));
    one(&mut client, &buy_at("nobody", "now()"));
    one(&mut client, "select ab_track('ann', 'buy', experiment => 'f')");
    // An exposure is never a conversion, whatever it is called.
    one(
        &mut client,
        "select ab_track('ann', 'buy', event_type => 'exposure', experiment => 'e', variant => 'control')",
    );
    one(&mut client, "select ab_rollup()");
    assert_eq!(purchases(&mut client, "e"), "3");
    assert_eq!(purchases(&mut client, "draft"), "2");
    assert_eq!(purchases(&mut client, "f"), "2");
    // The exposure turns out to have been earlier: what happened since counts.
    one(&mut client, &exposure("ann", "f", "treatment", "now() - interval '5 hours'"));
    one(&mut client, "select ab_rollup()");
    assert_eq!(purchases(&mut client, "f"), "4");
    assert_eq!(
        one(&mut client, "select variant || ' ' || is_multiple from ab.exposure join ab.experiment using (experiment_id) where experiment = 'f'").as_deref(),
        Some("treatment true")
    );
}

#[test]
fn a_stopped_experiment_takes_late_arrivals_and_nothing_newer() {
    let database = Database::new();
    let mut client = database.connect();
    start(&mut client);
    one(&mut client, &exposure("ann", "e", "control", "now() - interval '3 hours'"));
    one(&mut client, &buy_at("ann", "now()"));
    // Dated into the future and counted before the stop is known.
    one(&mut client, &buy_at("ann", "now() + interval '2 hours'"));
    one(&mut client, &exposure("bob", "e", "control", "now() + interval '1 hour'"));
    one(&mut client, "select ab_rollup()");
    assert_eq!(purchases(&mut client, "e"), "2");
    one(&mut client, "select ab_stop('e')");
    one(&mut client, "select ab_rollup()");
    assert_eq!(purchases(&mut client, "e"), "1", "what is later than the stop does not count any more");
    assert_eq!(one(&mut client, "select string_agg(user_id, ' ') from ab.exposure").as_deref(), Some("ann"));
    one(&mut client, &buy_at("ann", "now()"));
    one(&mut client, &exposure("cy", "e", "control", "now()"));
    let stopped = "(select stopped_at from ab.experiment where experiment = 'e')";
    one(&mut client, &buy_at("ann", stopped));
    one(&mut client, "select ab_rollup()");
    assert_eq!(purchases(&mut client, "e"), "1");
    one(&mut client, &buy_at("ann", &format!("{stopped} - interval '1 microsecond'")));
    one(&mut client, &exposure("bob", "e", "treatment", "now() - interval '1 hour'"));
    one(&mut client, &buy_at("bob", "now() - interval '30 minutes'"));
    one(&mut client, "select ab_rollup()");
    assert_eq!(purchases(&mut client, "e"), "3", "earlier ones that arrive late do");
    assert_eq!(
        one(&mut client, "select string_agg(user_id, ' ' order by user_id) from ab.exposure").as_deref(),
        Some("ann bob")
    );
}

//! Counting is exact: whatever happens in whatever order, the state that `ab_rollup()` keeps is the one that the raw
//! events define. First by random histories, then by the cases that have to be built by hand.

#[path = "rollup/history.rs"]
mod history;

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use ab_tests::{Database, one, sql_error};
use history::{History, Stage, compare_state};
use postgres::Client;

/// How many at once, each with its own cluster: they wait for the disk more than for the processor.
const STAGES: u64 = 3;

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// `AB_HISTORIES` says how many histories to run; `AB_HISTORY_SEED` the seed of the first, as a failure prints it.
#[test]
fn any_history_counts_as_its_events_define() {
    let count = setting("AB_HISTORIES").unwrap_or(200);
    let first = setting("AB_HISTORY_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        now.as_micros() as u64 % 1_000_000_000
    });
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..STAGES.min(count) {
            scope.spawn(|| {
                let stage = Stage::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || !failures.lock().expect("the failures").is_empty() {
                        return;
                    }
                    if let Err(failure) = History::run(&stage, first + number) {
                        failures.lock().expect("the failures").push((first + number, failure));
                        return;
                    }
                }
            });
        }
    });
    if let Some((seed, failure)) = failures.lock().expect("the failures").first() {
        panic!(
            "{}\n\n{}\nseed {seed}: run it alone with AB_HISTORIES=1 AB_HISTORY_SEED={seed}",
            failure.script, failure.what
        );
    }
}

/// An experiment with two arms, given by exposures alone, and one metric of each kind over the events named `buy`.
fn prepare(client: &mut Client) {
    client
        .batch_execute(
            "select ab_create_experiment('e');
             select ab_start('e');
             select ab_create_metric('bought', 'buy'), ab_create_metric('purchases', 'buy', 'count'), ab_create_metric('spent', 'buy', 'sum');
             select ab_add_metric('e', 'bought'), ab_add_metric('e', 'purchases'), ab_add_metric('e', 'spent');
             select ab_rollup()",
        )
        .expect("an experiment");
}

/// An exposure of that user an hour ago.
fn expose(client: &mut Client, user: &str) {
    let statement = format!(
        "select ab_track('{user}', 'exposure', event_type => 'exposure', experiment => 'e', variant => 'control', \
         event_time => now() - interval '1 hour', event_id => gen_random_uuid())"
    );
    client.batch_execute(&statement).expect("an exposure");
}

fn buy(client: &mut Client, user: &str) {
    client.batch_execute(&format!("select ab_track('{user}', 'buy', 1.5)")).expect("an event");
}

fn purchases(client: &mut Client) -> String {
    one(client, "select coalesce(sum(event_count), 0) from ab.unit_metric join ab.metric using (metric_id) where metric = 'purchases'")
        .expect("a count")
}

fn roll_up(client: &mut Client) -> Option<String> {
    one(client, "select ab_rollup()")
}

fn assert_exact(client: &mut Client) {
    if let Err(difference) = compare_state(client, "default") {
        panic!("{difference}");
    }
}

#[test]
fn a_transaction_older_than_all_that_is_counted_is_counted_by_the_first_call_after_it() {
    // Its own cluster: no other transaction may end between the statements below.
    let stage = Stage::new();
    let connect = || stage.cluster.connect(&stage.database).expect("a connection");
    let (mut old, mut other, mut reader) = (connect(), connect(), connect());
    prepare(&mut other);
    expose(&mut other, "ann");
    old.batch_execute("begin").expect("begin");
    buy(&mut old, "ann");
    buy(&mut other, "ann");
    buy(&mut other, "ann");
    // Its transaction id is older than those of the events it counts here.
    roll_up(&mut old);
    old.batch_execute("commit").expect("commit");
    assert_eq!(roll_up(&mut reader).as_deref(), Some("1"));
    assert_eq!(purchases(&mut reader), "3");
    assert_eq!(roll_up(&mut reader).as_deref(), Some("0"));
    assert_exact(&mut reader);
}

#[test]
fn an_open_transaction_holds_nobody_up_and_loses_nothing() {
    let database = Database::new();
    let (mut old, mut other) = (database.connect(), database.connect());
    prepare(&mut other);
    expose(&mut other, "ann");
    old.batch_execute("begin").expect("begin");
    buy(&mut old, "ann");
    for expected in 1..=5 {
        buy(&mut other, "ann");
        assert!(roll_up(&mut other).is_some());
        assert_eq!(purchases(&mut other), expected.to_string());
    }
    buy(&mut old, "ann");
    old.batch_execute("commit").expect("commit");
    assert_eq!(roll_up(&mut other).as_deref(), Some("2"));
    assert_eq!(purchases(&mut other), "7");
    assert_exact(&mut other);
}

#[test]
fn a_transaction_may_roll_up_before_and_between_its_own_writes() {
    let database = Database::new();
    let (mut own, mut other) = (database.connect(), database.connect());
    prepare(&mut other);
    expose(&mut other, "ann");
    own.batch_execute("begin").expect("begin");
    roll_up(&mut own);
    buy(&mut own, "ann");
    roll_up(&mut own);
    own.batch_execute("savepoint s").expect("savepoint");
    buy(&mut own, "ann");
    roll_up(&mut own);
    own.batch_execute("rollback to s").expect("rollback to savepoint");
    buy(&mut own, "ann");
    assert_eq!(purchases(&mut own), "0", "what the transaction wrote itself is left to the next roll-up");
    own.batch_execute("commit").expect("commit");
    assert_eq!(roll_up(&mut other).as_deref(), Some("2"));
    assert_eq!(purchases(&mut other), "2");
    assert_exact(&mut other);
}

#[test]
fn a_rolled_back_roll_up_has_never_been() {
    let database = Database::new();
    let (mut own, mut other) = (database.connect(), database.connect());
    prepare(&mut other);
    expose(&mut other, "ann");
    buy(&mut other, "ann");
    own.batch_execute("begin").expect("begin");
    assert_eq!(roll_up(&mut own).as_deref(), Some("2"));
    own.batch_execute("rollback").expect("rollback");
    assert_eq!(purchases(&mut other), "0");
    assert_eq!(roll_up(&mut other).as_deref(), Some("2"));
    assert_exact(&mut other);
}

#[test]
fn repeatable_read_counts_up_to_its_snapshot_or_is_refused() {
    let database = Database::new();
    let (mut own, mut other) = (database.connect(), database.connect());
    prepare(&mut other);
    expose(&mut other, "ann");
    buy(&mut other, "ann");
    own.batch_execute("begin isolation level repeatable read; select 1").expect("begin");
    buy(&mut other, "ann");
    assert_eq!(roll_up(&mut own).as_deref(), Some("2"), "the event after the snapshot is not seen");
    assert_eq!(purchases(&mut own), "1");
    own.batch_execute("commit").expect("commit");
    assert_eq!(roll_up(&mut other).as_deref(), Some("1"));
    assert_eq!(purchases(&mut other), "2");
    // Somebody else has moved the cursor since the snapshot.
    own.batch_execute("begin isolation level repeatable read; select 1").expect("begin");
    buy(&mut other, "ann");
    roll_up(&mut other);
    assert_eq!(sql_error(own.simple_query("select ab_rollup()")).sqlstate, "40001");
    own.batch_execute("rollback").expect("rollback");
    roll_up(&mut own);
    assert_eq!(purchases(&mut other), "3");
    assert_exact(&mut other);
}

#[test]
fn who_does_not_want_to_wait_is_told_so() {
    let database = Database::new();
    let (mut own, mut other) = (database.connect(), database.connect());
    prepare(&mut other);
    own.batch_execute("begin").expect("begin");
    roll_up(&mut own);
    other.batch_execute("set lock_timeout = '100ms'").expect("a setting");
    assert_eq!(one(&mut other, "select ab_rollup(false)"), None);
    assert_eq!(sql_error(other.simple_query("select ab_rollup(true)")).sqlstate, "55P03");
    own.batch_execute("commit").expect("commit");
    assert!(one(&mut other, "select ab_rollup(false)").is_some());
}

#[test]
fn many_roll_ups_beside_many_senders_count_each_event_once() {
    let database = Database::new();
    let mut client = database.connect();
    prepare(&mut client);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let mut session = database.connect();
                scope.spawn(move || {
                    for round in 0..60 {
                        session.batch_execute("begin").expect("begin");
                        let user = format!("u{}", (sender + round) % 7);
                        if round % 5 == 0 {
                            expose(&mut session, &user);
                        }
                        buy(&mut session, &user);
                        if round % 9 == 0 {
                            roll_up(&mut session);
                            buy(&mut session, &user);
                        }
                        session
                            .batch_execute(if round % 11 == 3 { "rollback" } else { "commit" })
                            .expect("an end");
                    }
                })
            })
            .collect();
        for wait in ["true", "false", "true"] {
            let mut session = database.connect();
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    session.batch_execute(&format!("select ab_rollup({wait})")).expect("a roll-up");
                }
            });
        }
        for sender in senders {
            sender.join().expect("a sender");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    roll_up(&mut client);
    assert_exact(&mut client);
}

/// Making a partition moves events while they are counted: a reader that planned before and looks after would see them
/// in neither place.
#[test]
fn events_that_move_into_a_new_partition_are_counted() {
    let database = Database::new();
    let (mut own, mut other) = (database.connect(), database.connect());
    prepare(&mut other);
    let day = |days: i32| {
        format!(
            "select ab_internal.make_partitions((now() at time zone 'UTC')::date - {days}, (now() at time zone 'UTC')::date - {days})"
        )
    };
    let late = |client: &mut Client, days: i32| {
        let statement = format!(
            "select ab_track('ann', 'exposure', event_type => 'exposure', experiment => 'e', variant => 'control', event_time => now() - interval '{days} days', event_id => gen_random_uuid());
             select ab_track('ann', 'buy', 1, event_time => now() - interval '{days} days' + interval '1 second', event_id => gen_random_uuid())"
        );
        client.batch_execute(&statement).expect("late events");
    };
    own.batch_execute("begin").expect("begin");
    roll_up(&mut own);
    late(&mut other, 40);
    one(&mut other, &day(40));
    roll_up(&mut own);
    assert_eq!(purchases(&mut own), "1");
    own.batch_execute("commit").expect("commit");
    one(&mut other, &day(40));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let is_over = &is_over;
        let mut session = database.connect();
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                roll_up(&mut session);
            }
        });
        let mut mover = database.connect();
        for days in 41..51 {
            late(&mut other, days);
            late(&mut other, days);
            while one(&mut mover, &day(days)).as_deref() == Some("0") {}
        }
        is_over.store(true, Ordering::Relaxed);
    });
    roll_up(&mut other);
    assert_eq!(one(&mut other, "select count(*) from ab.event_overflow").as_deref(), Some("0"));
    assert_eq!(purchases(&mut other), "21");
    assert_exact(&mut other);
}

/// Partitions are made by whoever rolls up, too: that must not tie the two locks into a knot.
#[test]
fn a_transaction_that_made_partitions_may_roll_up_while_another_waits_to() {
    let database = Database::new();
    let (mut own, mut other) = (database.connect(), database.connect());
    // The first partitions of this database are made inside this transaction.
    own.batch_execute("begin; select ab_create_experiment('e')").expect("an experiment");
    other.batch_execute("set deadlock_timeout = '10ms'").expect("a setting");
    own.batch_execute("set deadlock_timeout = '10ms'").expect("a setting");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| other.simple_query("select ab_rollup()").map(drop));
        thread::sleep(std::time::Duration::from_millis(800));
        own.batch_execute("select ab_rollup(); commit")
            .expect("a roll-up in the transaction that made partitions");
        waiting.join().expect("the waiting roll-up").expect("the waiting roll-up");
    });
}

#[test]
fn a_stop_takes_back_what_later_exposures_have_done() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    prepare(&mut client);
    let expose_in = |client: &mut Client, user: &str, variant: &str, hours: i32| {
        let statement = format!(
            "select ab_track('{user}', 'exposure', event_type => 'exposure', experiment => 'e', variant => '{variant}', event_time => now() + interval '{hours} hours', event_id => gen_random_uuid())"
        );
        client.batch_execute(&statement).expect("an exposure");
    };
    // A clock runs ahead: ann sees a second variant after the stop, bob sees the experiment only after it.
    expose_in(&mut client, "ann", "control", -1);
    expose_in(&mut client, "ann", "treatment", 5);
    expose_in(&mut client, "bob", "treatment", 6);
    expose_in(&mut client, "cy", "treatment", -2);
    expose_in(&mut client, "cy", "control", -1);
    roll_up(&mut client);
    assert_eq!(one(&mut client, "select count(*) from ab.exposure where is_multiple").as_deref(), Some("2"));
    // The stop commits only after a roll-up that could not see it.
    other.batch_execute("begin; select ab_stop('e')").expect("a stop");
    buy(&mut client, "ann");
    roll_up(&mut client);
    assert_eq!(purchases(&mut client), "1");
    other.batch_execute("commit").expect("commit");
    roll_up(&mut client);
    assert_eq!(purchases(&mut client), "0");
    assert_eq!(
        one(&mut client, "select string_agg(user_id || ' ' || variant || ' ' || is_multiple, ', ' order by user_id) from ab.exposure").as_deref(),
        Some("ann control false, cy treatment true")
    );
    assert_exact(&mut client);
}

/// A roll-up that rebuilds must not wait for somebody who is about to stop an experiment, and who may roll up next.
#[test]
fn a_rebuild_does_not_wait_for_a_change_of_status() {
    let database = Database::new();
    let (mut own, mut other) = (database.connect(), database.connect());
    prepare(&mut other);
    expose(&mut other, "ann");
    roll_up(&mut other);
    own.batch_execute("begin; select ab_pause('e')").expect("a pause");
    other.batch_execute("set lock_timeout = '1s'; select ab_rebuild('e')").expect("a rebuild");
    own.batch_execute("commit").expect("commit");
}

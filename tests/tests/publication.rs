//! Other consumers get every event once, at their own pace, and keep it, whatever happens to partitions meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::Cluster;
use ab_tests::one;
use postgres::Client;

const PATIENCE: Duration = Duration::from_secs(60);

/// What docs/events.md tells a consumer to create.
const CONSUMER: &str = include_str!("../../docs/events.md");

/// Every event, however often it is there.
const EVENTS: &str = "select string_agg(event_name || ' ' || event_id, ', ' order by event_name, event_id) from (
    select * from ab.event_exposure union all select * from ab.event_conversion union all select * from ab.event_other union all select * from ab.event_overflow) e";

/// A publisher that has published nothing yet.
fn publisher() -> (Cluster, Client) {
    let cluster = Cluster::throwaway_with(&[("wal_level", "logical")]).expect("a cluster");
    cluster.create_database("shop", None).expect("a database");
    let mut client = cluster.connect("shop").expect("a connection");
    client
        .batch_execute(
            "create extension pg_ab; select ab_create_experiment('e'); select ab_start('e');
             create role lake login replication password 'secret'; select ab_grant('lake', 'analyst');
             create role boss; select ab_grant('boss', 'admin')",
        )
        .expect("the extension");
    (cluster, client)
}

fn subscriber(of: &Cluster) -> (Cluster, Client) {
    let cluster = Cluster::throwaway().expect("a cluster");
    cluster.create_database("lake", None).expect("a database");
    let mut client = cluster.connect("lake").expect("a connection");
    let tables =
        CONSUMER.split("```postgresql\n").nth(1).expect("a block").split("```").next().expect("an end");
    let script =
        tables.replace("host=shop.example dbname=shop user=lake", &of.url_as("lake", "secret", "shop"));
    assert_ne!(script, tables);
    cluster.psql("lake", &script).expect("what the document says");
    wait_for(&mut client, "select count(*) > 0 and bool_and(srsubstate = 'r') from pg_subscription_rel");
    (cluster, client)
}

fn wait_for(client: &mut Client, query: &str) {
    let deadline = Instant::now() + PATIENCE;
    while one(client, query).as_deref() != Some("t") {
        assert!(Instant::now() < deadline, "waited in vain for: {query}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the consumer has what has been committed, and compares it with `all` events there have been.
fn assert_consumed(publisher: &mut Client, subscriber: &mut Client, all: &[String]) {
    let end = one(publisher, "select pg_current_wal_insert_lsn()").expect("a place in the log");
    wait_for(
        publisher,
        &format!(
            "select coalesce(bool_and(confirmed_flush_lsn >= '{end}'), false) from pg_replication_slots where not temporary"
        ),
    );
    let mut all = all.to_vec();
    all.sort();
    assert_eq!(one(subscriber, EVENTS).unwrap_or_default(), all.join(", "));
}

/// Stores an event of so many days ago and notes it.
fn track(client: &mut Client, all: &mut Vec<String>, name: &str, event_type: &str, days: i32) {
    let more = if event_type == "exposure" { ", experiment => 'e', variant => 'control'" } else { "" };
    let statement = format!(
        "select ab_track('u', '{name}', event_type => '{event_type}', event_time => now() - interval '{days} days', event_id => gen_random_uuid(){more})"
    );
    all.push(format!("{name} {}", one(client, &statement).expect("an id")));
}

fn track_all_types(client: &mut Client, all: &mut Vec<String>, name: &str, days: i32) {
    for event_type in ["exposure", "purchase", "custom"] {
        track(client, all, &format!("{name}_{event_type}"), event_type, days);
    }
}

fn make_partition(client: &mut Client, days: i32) {
    let statement = format!(
        "select ab_internal.make_partitions((now() at time zone 'UTC')::date - {days}, (now() at time zone 'UTC')::date - {days})"
    );
    assert_eq!(one(client, &statement).as_deref(), Some("3"));
}

#[test]
fn a_consumer_gets_every_event_once_and_keeps_it() {
    let (shop, mut client) = publisher();
    let mut all = Vec::new();
    // In a partition and in the overflow, before anybody is there to consume them.
    track_all_types(&mut client, &mut all, "before", 0);
    track_all_types(&mut client, &mut all, "before_without_partition", 3);
    client
        .batch_execute(
            "set role boss; select ab_create_publication(); select ab_create_publication(); reset role",
        )
        .expect("a publication");
    let (lake, mut consumer) = subscriber(&shop);
    assert_consumed(&mut client, &mut consumer, &all);
    track_all_types(&mut client, &mut all, "today", 0);
    track_all_types(&mut client, &mut all, "without_partition", 4);
    assert_consumed(&mut client, &mut consumer, &all);
    // What lies in the overflow moves into partitions that are made later.
    make_partition(&mut client, 3);
    make_partition(&mut client, 4);
    assert_eq!(one(&mut client, "select count(*) from ab.event_overflow").as_deref(), Some("0"));
    track_all_types(&mut client, &mut all, "in_a_late_partition", 4);
    assert_consumed(&mut client, &mut consumer, &all);
    // All of that while the consumer is away: stored, moved, stored in what was made, counted and dropped.
    lake.stop().expect("a stop");
    track_all_types(&mut client, &mut all, "while_away", 5);
    make_partition(&mut client, 5);
    track_all_types(&mut client, &mut all, "while_away_again", 5);
    client.batch_execute("begin").expect("begin");
    track_all_types(&mut client, &mut all, "in_the_same_transaction", 6);
    make_partition(&mut client, 6);
    track_all_types(&mut client, &mut all, "in_the_same_transaction_again", 6);
    client.batch_execute("commit").expect("commit");
    client
        .batch_execute(
            "select ab_rollup(); update ab.event_retention set keep = '2 days'; select ab_rollup()",
        )
        .expect("a retention");
    let dropped = one(&mut client, "select count(*) from ab_maintain() where action = 'dropped'");
    assert_eq!(dropped.as_deref(), Some("12"), "four days of three tables");
    lake.start().expect("a start");
    let mut consumer = lake.connect("lake").expect("a connection");
    assert_consumed(&mut client, &mut consumer, &all);
    track_all_types(&mut client, &mut all, "after", 0);
    assert_consumed(&mut client, &mut consumer, &all);
    // Ends with a new installation, whose tables must be put into it again.
    client
        .batch_execute("drop extension pg_ab cascade; create extension pg_ab; select ab_create_publication()")
        .expect("another installation");
    assert_eq!(
        one(&mut client, "select string_agg(tablename, ' ' order by tablename) from pg_publication_tables where pubname = 'ab_events'").as_deref(),
        Some("event_conversion event_exposure event_other event_overflow")
    );
}

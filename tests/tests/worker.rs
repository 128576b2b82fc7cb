//! The background worker: without a gateway and without a scheduler results are there, and it is in nobody's way.

use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::Cluster;
use ab_tests::one;
use postgres::Client;

/// Longer than any of this takes; what is waited for is looked at many times meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

fn cluster(settings: &[(&str, &str)]) -> Cluster {
    let mut all = vec![("shared_preload_libraries", "pg_ab"), ("ab.rollup_database", "shop, later")];
    all.extend(settings);
    let cluster = Cluster::throwaway_with(&all).expect("a cluster");
    cluster.create_database("shop", None).expect("a database");
    cluster
}

fn install(client: &mut Client) {
    client
        .batch_execute(
            "create extension pg_ab; select ab_create_metric('bought', 'buy'); select ab_create_experiment('e', primary_metric => 'bought'); select ab_start('e')",
        )
        .expect("an experiment");
}

/// One user more buys, and the worker counts it.
fn assert_counted(client: &mut Client, user: &str) {
    let units = "coalesce((select sum(units) from ab_results('e')), 0)";
    client
        .batch_execute(&format!("select ab_expose('{user}', 'e'), ab_track('{user}', 'buy')"))
        .expect("events");
    wait_for(client, &format!("select exists (select from ab.unit_metric where user_id = '{user}')"));
    wait_for(client, &format!("select {units} = (select count(*) from ab.exposure)"));
}

fn wait_for(client: &mut Client, query: &str) {
    let deadline = Instant::now() + PATIENCE;
    while one(client, query).as_deref() != Some("t") {
        assert!(Instant::now() < deadline, "waited in vain for: {query}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn worker(client: &mut Client) -> Option<String> {
    one(
        client,
        "select pid from pg_stat_activity where backend_type = 'pg_ab roll-up' and datname = current_database()",
    )
}

fn log(cluster: &Cluster) -> String {
    std::fs::read_to_string(cluster.log_path()).expect("the server's log")
}

#[test]
fn results_come_by_themselves_wherever_the_extension_is() {
    let cluster = cluster(&[]);
    let mut client = cluster.connect("shop").expect("a connection");
    wait_for(
        &mut client,
        "select exists (select from pg_stat_activity where backend_type = 'pg_ab roll-up' and datname = 'shop')",
    );
    let pid = worker(&mut client);
    install(&mut client);
    assert_counted(&mut client, "ann");
    wait_for(
        &mut client,
        "select count(*) > 0 from pg_inherits where inhparent = 'ab.event_other'::regclass",
    );
    assert_eq!(worker(&mut client), pid, "it is the same process all the time");
    // Made anew, in another schema. A process that is at work in that moment fails, and another one begins.
    client.batch_execute("drop extension pg_ab cascade; create schema elsewhere; create extension pg_ab schema elsewhere; set search_path = elsewhere").expect("another installation");
    client
        .batch_execute("select ab_create_metric('bought', 'buy'); select ab_create_experiment('e', primary_metric => 'bought'); select ab_start('e')")
        .expect("an experiment");
    assert_counted(&mut client, "ann");
    // A database of the list that did not exist.
    cluster.create_database("later", None).expect("a database");
    let mut later = cluster.connect("later").expect("a connection");
    install(&mut later);
    assert_counted(&mut later, "ann");
    let log = log(&cluster);
    assert!(!log.contains("panicked") && !log.contains("XX000"), "{log}");
}

#[test]
fn functions_of_somebody_else_are_not_called() {
    let cluster = cluster(&[]);
    let mut client = cluster.connect("shop").expect("a connection");
    client
        .batch_execute(
            "create schema ab_internal;
             create table called (n integer);
             create function ab_internal.work_in_background(text) returns text language sql as 'insert into public.called values (1); select ''''::text';
             create function public.ab_rollup(boolean) returns bigint language sql as 'insert into public.called values (2); select 1::bigint'",
        )
        .expect("functions");
    wait_for(&mut client, "select xact_commit > 0 from pg_stat_database where datname = 'shop'");
    wait_for(
        &mut client,
        "select exists (select from pg_stat_activity where backend_type = 'pg_ab roll-up' and datname = 'shop' and now() - backend_start > '5 seconds')",
    );
    assert_eq!(one(&mut client, "select count(*) from called").as_deref(), Some("0"));
}

#[test]
fn what_fails_is_told_once_and_tried_again() {
    let cluster = cluster(&[]);
    let mut client = cluster.connect("shop").expect("a connection");
    install(&mut client);
    assert_counted(&mut client, "ann");
    let pid = worker(&mut client);
    client
        .batch_execute("alter table ab.exposure add constraint broken check (user_id <> 'bob')")
        .expect("a fault");
    client.batch_execute("select ab_expose('bob', 'e')").expect("an event");
    wait_for(&mut client, "select error like '%broken%' from ab_rollup_status()");
    let first = one(&mut client, "select failed_at from ab_rollup_status()").expect("a time");
    wait_for(&mut client, &format!("select failed_at > '{first}' from ab_rollup_status()"));
    client.batch_execute("alter table ab.exposure drop constraint broken").expect("the fault is gone");
    assert_counted(&mut client, "cid");
    assert_eq!(worker(&mut client), pid);
    let log = log(&cluster);
    assert_eq!(log.matches("the roll-up of database \"shop\" failed").count(), 1, "{log}");
    assert_eq!(log.matches("the roll-up of database \"shop\" works again").count(), 1, "{log}");
}

#[test]
fn it_is_turned_off_and_on_without_a_restart() {
    let cluster = cluster(&[("ab.rollup_interval", "0")]);
    let mut client = cluster.connect("shop").expect("a connection");
    install(&mut client);
    client.batch_execute("select ab_expose('ann', 'e')").expect("an event");
    wait_for(
        &mut client,
        "select exists (select from pg_stat_activity where backend_type = 'pg_ab roll-up' and datname = 'shop' and now() - backend_start > '4 seconds')",
    );
    assert_eq!(one(&mut client, "select ran_at is null from ab_rollup_status()").as_deref(), Some("t"));
    client.batch_execute("alter system set ab.rollup_interval = '1s'").expect("a setting");
    client.batch_execute("select pg_reload_conf()").expect("a reload");
    wait_for(&mut client, "select ran_at is not null from ab_rollup_status()");
    client.batch_execute("alter system set ab.rollup_interval = 0").expect("a setting");
    client.batch_execute("select pg_reload_conf()").expect("a reload");
    // It may have begun another one before it heard.
    let pause = "select clock_timestamp() - ran_at > '4 seconds' from ab_rollup_status()";
    wait_for(&mut client, pause);
}

#[test]
fn whatever_ends_it_it_comes_back_and_never_keeps_the_server() {
    let cluster = cluster(&[]);
    let mut client = cluster.connect("shop").expect("a connection");
    install(&mut client);
    assert_counted(&mut client, "ann");
    let first = worker(&mut client).expect("a worker");
    client.batch_execute(&format!("select pg_terminate_backend({first})")).expect("an end");
    wait_for(
        &mut client,
        &format!(
            "select exists (select from pg_stat_activity where backend_type = 'pg_ab roll-up' and datname = 'shop' and pid <> {first})"
        ),
    );
    assert_counted(&mut client, "bob");
    // In the middle of a roll-up, which waits for us.
    let mut other = cluster.connect("shop").expect("a connection");
    other.batch_execute("begin; lock table ab_internal.rollup_cursor").expect("a lock");
    wait_for(
        &mut client,
        "select exists (select from pg_stat_activity where backend_type = 'pg_ab roll-up' and datname = 'shop' and wait_event_type = 'Lock')",
    );
    let second = worker(&mut client).expect("a worker");
    client.batch_execute(&format!("select pg_terminate_backend({second})")).expect("an end");
    wait_for(&mut client, &format!("select not exists (select from pg_stat_activity where pid = {second})"));
    other.batch_execute("rollback").expect("the end of the lock");
    wait_for(
        &mut client,
        "select exists (select from pg_stat_activity where backend_type = 'pg_ab roll-up' and datname = 'shop')",
    );
    let third = worker(&mut client).expect("a worker");
    // Killed, it takes all sessions with it, as any process of the server does, and comes back with the server.
    let killed = std::process::Command::new("kill").args(["-9", &third]).status().expect("kill");
    assert!(killed.success());
    let deadline = Instant::now() + PATIENCE;
    let mut client = loop {
        assert!(Instant::now() < deadline, "the server does not come back");
        thread::sleep(Duration::from_millis(100));
        let Ok(mut client) = cluster.connect("shop") else { continue };
        if client.simple_query("select 1").is_ok() {
            break client;
        }
    };
    assert_counted(&mut client, "cid");
    drop(client);
    cluster.stop().expect("a fast shutdown");
    cluster.start().expect("a start");
    assert_counted(&mut cluster.connect("shop").expect("a connection"), "dan");
}

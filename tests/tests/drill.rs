//! What fails while events come: PostgreSQL, the gateway, both, the disk of the spool, the network, a whole primary.
//!
//! After each of it no acknowledged event is lost and none is there twice, results equal a rebuild, and nobody had to do
//! anything. `AB_DRILL_SECONDS` says how long the longer faults last.

use std::thread;
use std::time::Duration;

use ab_embedded::Cluster;
use ab_tests::drill::{Front, Traffic, assert_nothing_lost, eventually, open_shop, shop_url};
use ab_tests::one;
use ab_tests::proxy::{Proxy, Weather};

/// How long a fault lasts for which time itself matters.
fn while_it_lasts() {
    let seconds = std::env::var("AB_DRILL_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    thread::sleep(Duration::from_secs(seconds));
}

fn shop() -> Cluster {
    let cluster = Cluster::throwaway().expect("a throwaway cluster");
    open_shop(&cluster);
    cluster
}

#[test]
fn a_killed_server() {
    let cluster = shop();
    let front = Front::open(&shop_url(&cluster), &[]);
    let traffic = Traffic::during(&front, |traffic| {
        for _ in 0..2 {
            traffic.wait_for(300);
            cluster.kill().expect("the server is killed");
            // Nobody waits for it.
            traffic.wait_for(1_000);
            cluster.start().expect("the server starts again");
            traffic.wait_for(300);
        }
    });
    assert_nothing_lost(&cluster, &front, &traffic);
    assert!(front.log().contains("go to the spool"), "{}", front.log());
}

#[test]
fn a_killed_gateway() {
    let cluster = shop();
    let front = Front::open(&shop_url(&cluster), &[]);
    let traffic = Traffic::during(&front, |traffic| {
        for _ in 0..4 {
            traffic.wait_for(300);
            front.kill();
            front.reopen();
        }
        traffic.wait_for(300);
    });
    assert_nothing_lost(&cluster, &front, &traffic);
}

#[test]
fn both_killed() {
    let cluster = shop();
    let front = Front::open(&shop_url(&cluster), &[]);
    let traffic = Traffic::during(&front, |traffic| {
        traffic.wait_for(300);
        cluster.kill().expect("the server is killed");
        front.kill();
        // Without a database from its first moment, and killed with what it has taken.
        for _ in 0..2 {
            front.reopen();
            traffic.wait_for(300);
            front.kill();
        }
        front.reopen();
        cluster.start().expect("the server starts again");
        // In the middle of bringing it to the database.
        traffic.wait_for(100);
        front.kill();
        front.reopen();
        traffic.wait_for(300);
    });
    assert_nothing_lost(&cluster, &front, &traffic);
}

/// Fills the spool while the server is away, and lets it be emptied.
fn fill_the_spool(cluster: &Cluster, front: &Front) {
    let traffic = Traffic::during(front, |traffic| {
        traffic.wait_for(300);
        cluster.kill().expect("the server is killed");
        for _ in 0..2 {
            let refused = traffic.refused();
            eventually("the spool is full", || traffic.refused() > refused + 20);
        }
        assert!(front.is_running(), "the gateway lives on");
        cluster.start().expect("the server starts again");
        traffic.wait_for(1_000);
    });
    assert_nothing_lost(cluster, front, &traffic);
}

#[test]
fn a_full_spool() {
    let cluster = shop();
    let front = Front::open(&shop_url(&cluster), &[("AB_SPOOL_BYTES", "200000")]);
    fill_the_spool(&cluster, &front);
}

/// The spool on a disk of 256 KiB, where this user may make one, else no file may be larger than that.
#[test]
fn a_full_disk_under_the_spool() {
    const SMALL: &str = r#"
        if unshare -Urm true 2>/dev/null; then
            exec unshare -Urm sh -c 'mount -t tmpfs -o size=256k none "$0" && exec "$@"' "$0" "$@"
        fi
        trap '' XFSZ
        ulimit -f 512
        exec "$@"
    "#;
    let cluster = shop();
    let way = |spool: &str| ["sh", "-c", SMALL, spool].map(str::to_owned).to_vec();
    let front = Front::open_through(way, &shop_url(&cluster), &[]);
    fill_the_spool(&cluster, &front);
    assert!(front.log().contains("the spool cannot be written"), "{}", front.log());
}

#[test]
fn a_paused_server() {
    let cluster = shop();
    let front = Front::open(&shop_url(&cluster), &[("AB_WRITE_SECONDS", "2")]);
    let traffic = Traffic::during(&front, |traffic| {
        traffic.wait_for(300);
        cluster.pause();
        traffic.wait_for(1_000);
        while_it_lasts();
        cluster.resume();
        traffic.wait_for(300);
    });
    assert_nothing_lost(&cluster, &front, &traffic);
}

#[test]
fn a_cut_network() {
    let cluster = shop();
    let proxy = Proxy::new(cluster.port());
    let url = proxy.url(&shop_url(&cluster), cluster.port());
    let front = Front::open(&url, &[("AB_WRITE_SECONDS", "2")]);
    let traffic = Traffic::during(&front, |traffic| {
        traffic.wait_for(300);
        // Nothing gets through and nobody is told, then connections break, then all is well.
        for weather in [Weather::Silent, Weather::Stormy, Weather::Fair, Weather::Stormy, Weather::Silent] {
            proxy.set(weather);
            traffic.wait_for(300);
        }
        while_it_lasts();
        proxy.set(Weather::Fair);
        traffic.wait_for(300);
    });
    assert_nothing_lost(&cluster, &front, &traffic);
}

#[test]
fn a_promoted_standby() {
    let primary = shop();
    let standby = primary.standby().expect("a standby");
    // Only here: the standby, once promoted, has nobody to wait for.
    primary
        .psql("postgres", "alter system set synchronous_standby_names = 'standby'; select pg_reload_conf();")
        .expect("a setting");
    let mut client = primary.connect("postgres").expect("a connection");
    eventually("the standby is waited for", || {
        let states = "select string_agg(sync_state, ',') from pg_stat_replication";
        one(&mut client, states).as_deref() == Some("sync")
    });
    let ports = [primary.port(), standby.port()];
    let both = format!("127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1]);
    let url = shop_url(&primary).replace(&format!("127.0.0.1:{}", ports[0]), &both);
    let front = Front::open(&format!("{url}?target_session_attrs=read-write"), &[]);
    let traffic = Traffic::during(&front, |traffic| {
        traffic.wait_for(500);
        primary.kill().expect("the primary is killed");
        traffic.wait_for(500);
        standby.promote().expect("a new primary");
        front.wait_until_drained();
        traffic.wait_for(500);
    });
    assert_nothing_lost(&standby, &front, &traffic);
}

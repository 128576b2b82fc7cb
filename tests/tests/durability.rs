//! What was acknowledged is there, once: after a crash of the server, and after a dump and restore into another cluster,
//! where counting goes on with what had been tracked but not yet counted.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::Cluster;
use ab_tests::one;
use postgres::Client;

const SETTINGS: &[(&str, &str)] = &[("max_prepared_transactions", "10")];

fn cluster() -> Cluster {
    Cluster::throwaway_with(SETTINGS).expect("a throwaway cluster")
}

fn with_extension(cluster: &Cluster, database: &str) -> Client {
    cluster.create_database(database, None).expect("a database");
    let mut client = cluster.connect(database).expect("a connection");
    client.batch_execute("create extension pg_ab").expect("the extension");
    client
}

fn assert_writes_are_safe(client: &mut Client) {
    assert_eq!(one(client, "show fsync").as_deref(), Some("on"));
    assert_eq!(one(client, "show synchronous_commit").as_deref(), Some("on"));
    assert_eq!(one(client, "show full_page_writes").as_deref(), Some("on"));
}

#[test]
fn a_killed_server_keeps_every_acknowledged_event_once() {
    let cluster = cluster();
    let mut client = with_extension(&cluster, "shop");
    assert_writes_are_safe(&mut client);
    client
        .batch_execute(
            "select ab_create_experiment('e'); select ab_start('e');
             select ab_create_metric('purchases', 'buy', 'count'); select ab_add_metric('e', 'purchases');
             select ab_track('u' || n, 'exposure', event_type => 'exposure', experiment => 'e', variant => 'control',
                 event_time => now() - interval '1 hour', event_id => gen_random_uuid()) from generate_series(0, 4) n",
        )
        .expect("an experiment");
    drop(client);
    let acknowledged = Mutex::new(BTreeSet::new());
    let unanswered = Mutex::new(Vec::new());
    let number = AtomicU64::new(0);
    for _ in 0..3 {
        let enough = acknowledged.lock().expect("the ids").len() + 150;
        thread::scope(|scope| {
            for sender in 0..4_u64 {
                let (cluster, acknowledged, unanswered, number) =
                    (&cluster, &acknowledged, &unanswered, &number);
                scope.spawn(move || {
                    let mut session = cluster.connect("shop").expect("a connection");
                    loop {
                        let id = format!(
                            "0190163d-8694-739b-aea5-{:012x}",
                            number.fetch_add(1, Ordering::Relaxed)
                        );
                        let statement = format!(
                            "select ab_track('u{sender}', 'buy', 1, event_id => '{id}', event_time => now())"
                        );
                        // The time must be the same in a retry, so it is not the server's clock.
                        let statement = statement.replace("now()", "date_trunc('day', now())");
                        match session.simple_query(&statement) {
                            Ok(_) => acknowledged.lock().expect("the ids").insert(id),
                            Err(_) => {
                                unanswered.lock().expect("the statements").push((id, statement));
                                return;
                            }
                        };
                    }
                });
            }
            // A roll-up may be cut off, too.
            let cluster = &cluster;
            scope.spawn(move || {
                let mut session = cluster.connect("shop").expect("a connection");
                while session.simple_query("select ab_rollup()").is_ok() {}
            });
            let end = Instant::now() + Duration::from_secs(60);
            while acknowledged.lock().expect("the ids").len() < enough && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
            cluster.kill().expect("the server is killed");
        });
        cluster.start().expect("the server starts again");
    }
    let mut client = cluster.connect("shop").expect("a connection");
    assert_writes_are_safe(&mut client);
    let stored = |client: &mut Client| -> Vec<String> {
        let rows =
            client.query("select event_id::text from ab.event where event_name = 'buy' order by 1", &[]);
        rows.expect("the ids").iter().map(|row| row.get(0)).collect()
    };
    let ids = stored(&mut client);
    let distinct: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), distinct.len(), "no event is stored twice");
    let acknowledged = acknowledged.into_inner().expect("the ids");
    assert!(acknowledged.len() >= 450, "only {} were acknowledged", acknowledged.len());
    let lost: Vec<&String> = acknowledged.difference(&distinct).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let unanswered = unanswered.into_inner().expect("the statements");
    let unknown: BTreeSet<String> = unanswered.iter().map(|(id, _)| id.clone()).collect();
    assert!(distinct.iter().all(|id| acknowledged.contains(id) || unknown.contains(id)));
    // Who was not answered sends again, more than once.
    for (_, statement) in unanswered.iter().chain(&unanswered) {
        client.simple_query(statement).expect("a retry");
    }
    let all: BTreeSet<String> = acknowledged.union(&unknown).cloned().collect();
    assert_eq!(stored(&mut client), all.iter().cloned().collect::<Vec<_>>());
    // Those events are from midnight, the exposures from an hour ago: let them count whatever the time of day.
    client
        .batch_execute(
            "select ab_track('u' || n, 'exposure', event_type => 'exposure', experiment => 'e', variant => 'control',
                 event_time => now() - interval '2 days', event_id => gen_random_uuid()) from generate_series(0, 4) n",
        )
        .expect("earlier exposures");
    client.batch_execute("select ab_rollup()").expect("a roll-up");
    assert_eq!(
        one(&mut client, "select total from ab_results('e') where variant = 'control'"),
        Some(all.len().to_string())
    );
}

/// What must be the same after a restore.
const PICTURE: &str = "
    select string_agg(line, e'\\n' order by line) from (
        select format('result %s', r) as line from ab.experiment_results r
        union all select format('experiment %s', to_jsonb(x)) from ab.experiment x
        union all select format('variant %s', to_jsonb(v)) from ab.variant v
        union all select format('range %s', to_jsonb(v)) from ab.variant_range v
        union all select format('phase %s', to_jsonb(p)) from ab.phase p
        union all select format('layer %s', to_jsonb(m)) from ab.layer m
        union all select format('slice %s', to_jsonb(m)) from ab.layer_slice m
        union all select format('held out %s', to_jsonb(m)) from ab.holdout_experiment m
        union all select format('override %s', to_jsonb(m)) from ab.override m
        union all select format('segment %s', to_jsonb(m) - 'revision') from ab.segment m
        union all select format('member %s', to_jsonb(m)) from ab.segment_member m
        union all select format('sticky %s', to_jsonb(m)) from ab.sticky_assignment m
        union all select format('flag %s %s', to_jsonb(m), ab_flag('u1', m.flag)) from ab.flag m
        union all select format('published %s %s %s', c.kind, c.key, c.document - 'revision') from ab_config_changes() c
        union all select format('reason %s %s', n, ab_assign_reason('u' || n, 's')) from generate_series(1, 50) n
        union all select format('metric %s', to_jsonb(m)) from ab.metric m
        union all select format('attached %s', to_jsonb(m)) from ab.experiment_metric m
        union all select format('event %s', to_jsonb(e)) from ab.event e
        union all select format('lies %s %s', e.tableoid::regclass, count(*)) from ab.event_other e group by e.tableoid
        union all select format('lies %s %s', e.tableoid::regclass, count(*)) from ab.event_exposure e group by e.tableoid
        union all select format('overflow %s', count(*)) from ab.event_overflow
        union all select format('rejected %s', to_jsonb(r)) from ab.event_rejected r
        union all select format('staged %s', to_jsonb(s)) from ab.event_staging s
        union all select format('exposure %s', to_jsonb(s)) from ab.exposure s
        union all select format('unit %s', to_jsonb(s)) from ab.unit_metric s
        union all select format('assigned %s %s %s', n, ab_assign('u' || n, 'e'), ab_assign(n, 'f')) from generate_series(1, 200) n
    ) l";

fn fill(client: &mut Client) {
    client
        .batch_execute(
            "select ab_create_experiment('e', '{\"control\": 1, \"green\": 2}'), ab_create_experiment('f', '[{\"key\": \"a\", \"weight\": 1, \"config\": {\"x\": 1}}, {\"key\": \"b\", \"weight\": 3}]'), ab_create_experiment('draft');
             select ab_start('e'), ab_start('f');
             update ab.variant set weight = 7 where variant = 'b';
             select ab_create_segment('some', query => 'select ''u'' || n from generate_series(1, 9) n'), ab_create_segment('list');
             select ab_create_segment('both', '{\"operator\": \"in_segment\", \"values\": [\"some\", \"list\"]}'); select ab_add_members('list', '{u1,u30}'); select ab_opt_out('u31');
             select ab_create_flag('g', 'string', rules => '[{\"split\": [{\"value\": \"x\", \"weight\": 1}, {\"value\": \"y\", \"weight\": 2}]}]', prerequisites => '[{\"experiment\": \"e\", \"assigned\": true}]');
             select ab_set_flag('g', '[{\"split\": [{\"value\": \"x\", \"weight\": 2}, {\"value\": \"y\", \"weight\": 1}]}]');
             select ab_create_layer('l'); select ab_create_holdout('h', 10, layer => 'l');
             select ab_create_experiment('s', sticky => true, layer => 'l', layer_percent => 50, prerequisites => '[{\"flag\": \"g\", \"values\": [\"x\", \"y\"]}]',
                 targeting => '{\"not\": {\"operator\": \"in_segment\", \"values\": [\"both\"]}}');
             select ab_start('s'); select ab_override('s', 'control', segment => 'list'), ab_override('s', 'treatment', 'u2');
             select ab_expose('u' || n, 's') from generate_series(1, 60) n; select ab_set_weights('s', '{\"control\": 3, \"treatment\": 1}');
             select ab_create_experiment('over'); select ab_start('over'); select ab_stop('over', ship => 'treatment');
             select ab_create_metric('purchases', 'buy', 'count'), ab_create_metric('spent', 'buy', 'sum'), ab_create_metric('bought', 'buy');
             select ab_add_metric('e', 'purchases'), ab_add_metric('e', 'spent'), ab_add_metric('f', 'bought');
             select ab_expose('u' || n, 'e'), ab_expose(n, 'f') from generate_series(1, 60) n;
             select ab_track('u' || n % 80, 'buy', n / 8.0, event_type => (array['custom', 'purchase'])[1 + n % 2]) from generate_series(1, 300) n;
             select ab_track('u' || n, 'buy', 0.1, event_time => now() - interval '20 days', event_id => gen_random_uuid()) from generate_series(1, 10) n;
             select ab_ingest('[7, 8]'); insert into ab.event_staging (user_id, event_name) select 'u' || n, 'staged' from generate_series(1, 3) n",
        )
        .expect("experiments and events");
    client.batch_execute("select ab_rollup()").expect("a roll-up");
}

/// Total of a metric over all variants.
fn total(client: &mut Client, metric: &str) -> f64 {
    let query = format!("select coalesce(sum(total), 0) from ab_results('e') where metric = '{metric}'");
    one(client, &query).expect("a total").parse().expect("a number")
}

/// Events from before the restore that nobody has counted yet, and new ones, all count once.
fn assert_counting_goes_on(client: &mut Client, uncounted: f64) {
    let before = total(client, "purchases");
    let read = one(client, "select ab_rollup()");
    assert_eq!(total(client, "purchases"), before + uncounted, "a roll-up that read {read:?}");
    client.batch_execute("select ab_track('u1', 'buy', 2), ab_track('u2', 'buy', 2)").expect("new events");
    assert_eq!(one(client, "select ab_rollup()").as_deref(), Some("2"));
    assert_eq!(total(client, "purchases"), before + uncounted + 2.0);
    client
        .batch_execute("begin; select ab_rollup(); select ab_track('u1', 'buy', 2); commit")
        .expect("an event");
    assert_eq!(one(client, "select ab_rollup()").as_deref(), Some("1"));
    // Sent again, long after: still the same events.
    client
        .batch_execute(
            "select ab_track(e.user_id, e.event_name, e.value, event_type => e.event_type, event_time => e.event_time, event_id => e.event_id)
             from ab.event e where e.event_name = 'buy'",
        )
        .expect("retries");
    assert_eq!(one(client, "select ab_rollup()").as_deref(), Some("0"));
    let counted = picture(client);
    client.batch_execute("select ab_rebuild('e'), ab_rebuild('f')").expect("a rebuild");
    assert_eq!(counted, picture(client));
    // Configuring goes on, too: sequences are where they were.
    client
        .batch_execute("select ab_ingest('[9]'); insert into ab.event_staging (user_id) values ('v')")
        .expect("a rejected and a staged event");
    let key = one(client, "select 'later' || count(*) from ab.experiment").expect("a key");
    client
        .batch_execute(&format!("select ab_create_experiment('{key}'); select ab_start('{key}'); select ab_add_metric('{key}', 'spent')"))
        .expect("another experiment");
}

fn picture(client: &mut Client) -> String {
    one(client, PICTURE).expect("a picture")
}

/// `pg_dump | psql`, as the manual says.
fn dump_into(from: (&Cluster, &str), to: (&Cluster, &str)) {
    to.0.create_database(to.1, None).expect("a database");
    let mut dump = from.0.command("pg_dump", from.1).stdout(Stdio::piped()).spawn().expect("pg_dump");
    let script = dump.stdout.take().expect("what pg_dump writes");
    let restore =
        to.0.command("psql", to.1)
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null"])
            .stdin(script)
            .output()
            .expect("psql");
    assert!(dump.wait().expect("pg_dump").success());
    let said = String::from_utf8_lossy(&restore.stderr).into_owned();
    assert!(restore.status.success() && said.is_empty(), "the restore said: {said}");
}

/// A file in the directory for what tests leave behind.
fn dump_file() -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("dump-{}-{number}", std::process::id()))
}

/// `pg_dump -Fc` and `pg_restore`; in one job, because several do not keep the order of the configuration tables.
fn archive_into(from: (&Cluster, &str), to: (&Cluster, &str)) {
    to.0.create_database(to.1, None).expect("a database");
    let path = dump_file();
    let file = File::create(&path).expect("a file for the archive");
    let status = from.0.command("pg_dump", from.1).arg("-Fc").stdout(file).status();
    assert!(status.expect("pg_dump").success());
    let restore =
        to.0.command("pg_restore", to.1)
            .args(["--exit-on-error", "-d", to.1])
            .arg(&path)
            .output()
            .expect("pg_restore");
    fs::remove_file(&path).expect("the archive is removed");
    let said = String::from_utf8_lossy(&restore.stderr).into_owned();
    assert!(restore.status.success() && said.is_empty(), "the restore said: {said}");
}

#[test]
fn a_restore_into_a_new_cluster_keeps_everything_and_counts_on() {
    let (old, new, newest) = (cluster(), cluster(), cluster());
    let mut client = with_extension(&old, "shop");
    fill(&mut client);
    // Ids of the old cluster lie far ahead of those of the new one.
    client
        .batch_execute(
            "do $$ begin for n in 1..3000 loop perform pg_current_xact_id(); rollback; end loop; end $$",
        )
        .expect("transactions");
    // Tracked by a transaction that was still open at the last roll-up, by one after it, and by one that is prepared.
    let mut open = old.connect("shop").expect("a connection");
    open.batch_execute("begin; select ab_track('u3', 'buy', 1)").expect("an event");
    client.batch_execute("select ab_track('u3', 'buy', 1)").expect("an event");
    client.batch_execute("select ab_rollup()").expect("a roll-up");
    open.batch_execute("commit; begin; select ab_track('u3', 'buy', 1); prepare transaction 'undecided'")
        .expect("events");
    client.batch_execute("select ab_track('u4', 'buy', 1), ab_track('u5', 'buy', 1)").expect("events");
    let before = picture(&mut client);
    dump_into((&old, "shop"), (&new, "shop"));
    archive_into((&old, "shop"), (&new, "archived"));
    for database in ["shop", "archived"] {
        let mut restored = new.connect(database).expect("a connection");
        assert_eq!(picture(&mut restored), before, "{database}");
        assert_counting_goes_on(&mut restored, 3.0);
    }
    // A restore of the restore, and back home into the cluster that the first ids are from.
    let mut restored = new.connect("shop").expect("a connection");
    restored.batch_execute("select ab_track('u6', 'buy', 1)").expect("an event");
    let before = picture(&mut restored);
    dump_into((&new, "shop"), (&newest, "shop"));
    let mut again = newest.connect("shop").expect("a connection");
    assert_eq!(picture(&mut again), before);
    archive_into((&newest, "shop"), (&old, "home"));
    let mut home = old.connect("home").expect("a connection");
    assert_eq!(picture(&mut home), before);
    assert_counting_goes_on(&mut home, 1.0);
    assert_counting_goes_on(&mut again, 1.0);
}

#[test]
fn a_restore_beside_the_original_counts_on_by_itself() {
    let cluster = cluster();
    let mut client = with_extension(&cluster, "shop");
    fill(&mut client);
    let mut open = cluster.connect("shop").expect("a connection");
    open.batch_execute("begin; select ab_track('u3', 'buy', 1)").expect("an event");
    client.batch_execute("select ab_track('u3', 'buy', 1)").expect("an event");
    client.batch_execute("select ab_rollup()").expect("a roll-up");
    open.batch_execute("commit").expect("commit");
    client.batch_execute("select ab_track('u4', 'buy', 1)").expect("an event");
    let before = picture(&mut client);
    dump_into((&cluster, "shop"), (&cluster, "copy"));
    archive_into((&cluster, "shop"), (&cluster, "archived"));
    for database in ["copy", "archived"] {
        let mut restored = cluster.connect(database).expect("a connection");
        assert_eq!(picture(&mut restored), before, "{database}");
        assert_counting_goes_on(&mut restored, 2.0);
    }
    assert_counting_goes_on(&mut client, 2.0);
}

/// A physical copy of a cluster has its identifier and a life of its own: a dump of it brings ids that mean something
/// else in the original.
#[test]
fn a_dump_of_a_copied_cluster_restored_into_the_original_counts_on() {
    let old = cluster();
    let mut client = with_extension(&old, "shop");
    fill(&mut client);
    // The same as a copy that has run on: ids ahead of this cluster under its own identifier.
    client
        .batch_execute(
            "update ab.event_other set transaction_id = transaction_id + 1000000;
             update ab_internal.rollup_cursor set horizon = horizon + 1000000",
        )
        .expect("ids ahead");
    dump_into((&old, "shop"), (&old, "restored"));
    let mut restored = old.connect("restored").expect("a connection");
    assert_counting_goes_on(&mut restored, 0.0);
}

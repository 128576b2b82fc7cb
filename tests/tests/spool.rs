//! What callers meet while the database is away and events wait on disk, and what becomes of those it then refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ab_embedded::Gateway;
use ab_tests::drill::{Front, eventually};
use ab_tests::proxy::{Proxy, Weather};
use ab_tests::{Database, cluster, one};
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

/// Events of a day that is over, so that they are the same ones each time they are sent.
const TIME: &str = "2026-01-31T12:00:00Z";

/// A database with a running experiment, and a network in front of it.
struct Scene {
    database: Database,
    proxy: Proxy,
}

impl Scene {
    fn new() -> Scene {
        let database = Database::new();
        add_rejected_events(&database);
        database.psql("select ab_create_experiment('e'); select ab_start('e')");
        Scene { database, proxy: Proxy::new(cluster().port()) }
    }

    fn open(&self, settings: &[(&str, &str)]) -> Front {
        let front = Front::open(&self.proxy.url(&self.database.url(), cluster().port()), settings);
        eventually("the gateway is ready", || get(&front, "/health/ready").status().is_success());
        front
    }

    fn count(&self) -> String {
        one(&mut self.database.connect(), "select count(*) from ab.event").expect("a count")
    }

    /// The codes and users of the rejected events.
    fn rejected(&self) -> Vec<(String, String)> {
        let query = "select code, event::jsonb ->> 'user_id' from ab.event_rejected order by 1, 2";
        let rows = self.database.connect().query(query, &[]).expect("rejected events");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// Until the extension has them.
fn add_rejected_events(database: &Database) {
    let is_there = "select to_regprocedure('ab_reject_events(text[], text[], text[], text)') is not null";
    if one(&mut database.connect(), is_there).as_deref() == Some("t") {
        return;
    }
    database.psql(
        "create table ab.event_rejected (event text, code text, message text);
         create function ab_reject_events(events text[], codes text[], messages text[], workspace text default null)
             returns bigint language sql as $$
             with kept as (insert into ab.event_rejected select * from unnest(events, codes, messages) returning 1)
             select count(*) from kept $$",
    );
}

fn get(front: &Front, path: &str) -> Response {
    Client::new().get(format!("{}{path}", front.http())).send().expect("an answer")
}

fn post(front: &Front, path: &str, body: &Value) -> (u16, Value) {
    let answer = Client::new().post(format!("{}{path}", front.http())).json(body).send().expect("an answer");
    (answer.status().as_u16(), answer.json().expect("JSON"))
}

fn event(user: &str) -> Value {
    json!({"user_id": user, "event_name": "x", "event_id": "only", "timestamp": TIME})
}

fn series(front: &Front, name: &str) -> Option<f64> {
    let text = get(front, "/metrics").text().expect("metrics");
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn everything_goes_on_while_the_database_is_away() {
    let scene = Scene::new();
    let front = scene.open(&[]);
    assert_eq!(get(&front, "/health/ready").json::<Value>().expect("JSON")["spooling"], json!(false));
    assert_eq!(post(&front, "/api/v1/track", &event("before")).0, 202);
    scene.proxy.set(Weather::Stormy);

    assert_eq!(post(&front, "/api/v1/track", &event("single")).0, 202);
    // What is wrong with an event is told as ever.
    let batch = json!({"events": [event("one"), event(""), event("two"), event("one")]});
    let (status, answer) = post(&front, "/api/v1/track/batch", &batch);
    assert_eq!(
        (status, &answer["count"], &answer["errors"][0]["index"]),
        (202, &json!(3), &json!(1)),
        "{answer}"
    );
    let expose = json!({"user_id": "exposed", "experiments": ["e"], "expose": true});
    let answer = Client::new().post(format!("{}/api/v1/assign", front.http())).json(&expose).send();
    assert_eq!(answer.expect("an answer").headers()["ab-exposure"], "recorded");
    let lines: String = (0..5_000).map(|user| format!("{}\n", event(&format!("streamed_{user}")))).collect();
    let answer = Client::new()
        .post(format!("{}/api/v1/track/stream", front.http()))
        .header("content-type", "application/x-ndjson")
        .body(lines)
        .send();
    let answer = answer.expect("an answer").text().expect("lines");
    let summary: Value = serde_json::from_str(answer.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&summary["done"], &summary["accepted"]), (&json!(true), &json!(5_000)), "{summary}");

    let ready = get(&front, "/health/ready");
    assert_eq!(ready.status().as_u16(), 200);
    let ready: Value = ready.json().expect("JSON");
    assert_eq!(ready["spooling"], json!(true), "{ready}");
    assert_eq!(series(&front, "ab_events_spooled_total"), Some(5_005.0));
    assert!(series(&front, "ab_spool_bytes") > Some(500_000.0));
    assert!(series(&front, "ab_spool_oldest_seconds") > Some(0.0));
    for file in fs::read_dir(front.spool()).expect("the spool").flatten() {
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
    }

    scene.proxy.set(Weather::Fair);
    front.wait_until_drained();
    assert_eq!(scene.count(), "5005");
    assert_eq!(scene.rejected(), []);
    let accounted = || {
        ["ab_events_accepted_total", "ab_events_duplicate_total"]
            .map(|name| series(&front, name).unwrap_or(0.0))
    };
    assert_eq!(accounted(), [5_005.0, 1.0]);
    assert_eq!(series(&front, "ab_spool_bytes"), Some(0.0));
    let (status, _) = post(&front, "/api/v1/track", &event("after"));
    assert_eq!((status, scene.count().as_str()), (202, "5006"));
    assert_eq!(series(&front, "ab_events_spooled_total"), Some(5_005.0));
}

#[test]
fn what_the_database_refuses_later_is_kept_with_its_reason() {
    let scene = Scene::new();
    scene.database.psql("select ab_create_experiment('gone'); select ab_start('gone')");
    let front = scene.open(&[]);
    scene.proxy.set(Weather::Stormy);
    let of = |user: &str, experiment: &str| {
        let mut event = event(user);
        event["experiment_id"] = json!(experiment);
        event
    };
    let mut far = event("far");
    far["timestamp"] = json!("2020-01-01T00:00:00Z");
    // Nobody here can know that the experiment is new, or gone.
    let mut events = vec![of("a", "gone"), of("b", "new"), of("c", "nowhere"), far];
    events.extend((0..50).map(|user| event(&format!("user_{user}"))));
    events.push(event("poison"));
    let (status, answer) = post(&front, "/api/v1/track/batch", &json!({"events": events}));
    assert_eq!((status, &answer["count"]), (202, &json!(events.len())));
    scene.database.psql(
        "select ab_stop('gone'); delete from ab.experiment where experiment = 'gone'; select ab_create_experiment('new'); select ab_start('new');
         insert into ab_internal.event_expired (workspace_id, event_table, expired_before)
             select workspace_id, 'event_other', '2021-01-01' from ab.workspace;
         alter table ab.event_other add check (user_id <> 'poison') not valid;
         alter table ab.event_overflow add check (user_id <> 'poison') not valid",
    );
    scene.proxy.set(Weather::Fair);
    front.wait_until_drained();
    assert_eq!(scene.count(), "51");
    let expected = [
        ("event_expired", "far"),
        ("experiment_not_found", "a"),
        ("experiment_not_found", "c"),
        ("invalid_request", "poison"),
    ];
    let expected = expected.map(|(code, user)| (code.to_owned(), user.to_owned()));
    assert_eq!(scene.rejected(), expected);
    let message = "select message from ab.event_rejected where code = 'invalid_request'";
    let message = one(&mut scene.database.connect(), message).expect("a message");
    assert!(message.contains("violates check constraint"), "{message}");
    // It can be sent again as it is.
    let kept = "select event from ab.event_rejected where code = 'invalid_request'";
    let kept = one(&mut scene.database.connect(), kept).expect("an event");
    scene.database.psql(
        "do $$ declare c record; begin
             for c in select conrelid::regclass t, conname from pg_constraint where pg_get_constraintdef(oid) like '%poison%' and coninhcount = 0 loop
                 execute format('alter table %s drop constraint %I', c.t, c.conname);
             end loop; end $$",
    );
    let (status, answer) = post(&front, "/api/v1/track", &serde_json::from_str(&kept).expect("JSON"));
    assert_eq!((status, scene.count().as_str()), (202, "52"), "{answer}");
}

#[test]
fn a_database_that_is_not_set_up_rejects_nothing() {
    let scene = Scene::new();
    let front = scene.open(&[]);
    scene.database.psql("alter function ab_track_batch rename to away");
    let mut unknown = event("c");
    unknown["experiment_id"] = json!("nowhere");
    let batch = json!({"events": [event("a"), event("b"), unknown]});
    let (status, answer) = post(&front, "/api/v1/track/batch", &batch);
    assert_eq!((status, &answer["count"]), (202, &json!(3)));
    // An event that cannot be kept as a rejected one either stays where it is, and those beside it do not suffer.
    scene.database.psql(
        "alter function ab_reject_events rename to ab_reject_events_away; alter function away rename to ab_track_batch",
    );
    eventually("what can be stored is stored", || scene.count() == "2");
    assert_eq!(scene.rejected(), []);
    scene.database.psql("alter function ab_reject_events_away rename to ab_reject_events");
    front.wait_until_drained();
    assert_eq!(scene.rejected(), [("experiment_not_found".to_owned(), "c".to_owned())]);
    assert_eq!(scene.count(), "2");
}

#[test]
fn a_poison_event_is_told_and_kept_and_hurts_no_other() {
    let scene = Scene::new();
    scene.database.psql(
        "alter table ab.event_other add check (user_id <> 'poison') not valid;
         alter table ab.event_overflow add check (user_id <> 'poison') not valid",
    );
    // Kept also where there is no spool.
    let gateway = Gateway::start(&scene.database.url()).expect("a gateway");
    let front = scene.open(&[]);
    let users = (0..20).map(|user| format!("user_{user}")).chain(["poison".to_owned()]);
    let batch = json!({"events": users.map(|user| event(&user)).collect::<Vec<_>>()});
    for url in [gateway.url(), front.http()] {
        let answer = Client::new().post(format!("{url}/api/v1/track/batch")).json(&batch).send();
        let answer: Value = answer.expect("an answer").json().expect("JSON");
        assert_eq!((&answer["count"], &answer["errors"][0]["index"]), (&json!(20), &json!(20)), "{answer}");
        assert_eq!(scene.count(), "20");
    }
    let poison = ("invalid_request".to_owned(), "poison".to_owned());
    assert_eq!(scene.rejected(), [poison.clone(), poison]);
}

#[test]
fn a_full_queue_spills_into_the_spool() {
    let scene = Scene::new();
    let front = scene.open(&[("AB_QUEUE_KIB", "5"), ("AB_WRITERS", "1"), ("AB_WRITE_SECONDS", "60")]);
    let mut locker = scene.database.connect();
    let mut lock = locker.transaction().expect("a transaction");
    lock.batch_execute("lock table ab.event_other, ab.event_overflow in access exclusive mode")
        .expect("a lock");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let events: Vec<Value> = (0..5).map(|user| event(&format!("queued_{user}"))).collect();
            post(&front, "/api/v1/track/batch", &json!({ "events": events }))
        });
        eventually("the queue is full", || series(&front, "ab_queue_used_kib") == Some(5.0));
        assert_eq!(post(&front, "/api/v1/track", &event("spilled")).0, 202);
        assert_eq!(series(&front, "ab_events_spooled_total"), Some(1.0));
        lock.rollback().expect("the end of the lock");
        assert_eq!(waiting.join().expect("an answer").0, 202);
    });
    front.wait_until_drained();
    assert_eq!(scene.count(), "6");
}

#[test]
fn a_spool_is_one_gateways() {
    let scene = Scene::new();
    let front = scene.open(&[]);
    let output = Command::new(Gateway::binary().expect("a gateway"))
        .env("DATABASE_URL", scene.database.url())
        .env("AB_HTTP_ADDR", "127.0.0.1:0")
        .env("AB_SPOOL_DIR", front.spool())
        .output()
        .expect("a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("another gateway uses the spool directory"), "{said}");
}

#[test]
fn damage_is_told_and_kept_and_stands_in_nobodys_way() {
    let scene = Scene::new();
    let front = scene.open(&[]);
    scene.proxy.set(Weather::Stormy);
    let events: Vec<Value> = (0..100).map(|user| event(&format!("user_{user}"))).collect();
    assert_eq!(post(&front, "/api/v1/track/batch", &json!({ "events": events })).0, 202);
    front.kill();
    let files = || fs::read_dir(front.spool()).expect("the spool").flatten().map(|file| file.path());
    let segment =
        files().find(|path| path.extension().is_some_and(|found| found == "events")).expect("a segment");
    let mut bytes = fs::read(&segment).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    // And the beginning of a line that nobody was told was written.
    bytes.extend_from_slice(b"01234567 {\"user_id\":");
    fs::write(&segment, bytes).expect("a segment");
    front.reopen();
    scene.proxy.set(Weather::Fair);
    front.wait_until_drained();
    assert_eq!(scene.count(), "99");
    let kept = segment.with_added_extension("damaged");
    assert!(kept.exists(), "{:?}", files().collect::<Vec<_>>());
    let log = front.log();
    assert!(log.contains(&kept.display().to_string()) && log.contains("took off a line"), "{log}");
    // Each line is an event as POST /api/v1/track takes it.
    let kept = fs::read_to_string(kept).expect("text");
    let line: Value = serde_json::from_str(&kept.lines().next().expect("a line")[9..]).expect("JSON");
    let (status, answer) = post(&front, "/api/v1/track", &line);
    assert_eq!((status, scene.count().as_str()), (202, "99"), "{answer}");
}

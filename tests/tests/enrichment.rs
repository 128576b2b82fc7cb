//! What a gateway adds to events about who sent them, and that it keeps no address.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ab_embedded::Gateway;
use ab_tests::{Database, one};
use ipnet::IpNet;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::{Value, json};

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";

/// A file of two places, as MaxMind would write it.
fn places(name: &str) -> PathBuf {
    let english = |name: &str| json!({"en": name, "de": "anders"});
    let mut writer = mmdb_writer::Writer::new("Test-City");
    let berlin = json!({
        "country": {"iso_code": "DE", "names": english("Germany")},
        "subdivisions": [{"iso_code": "BE", "names": english("Land Berlin")}],
        "city": {"names": english("Berlin")},
    });
    let somewhere = json!({"country": {"iso_code": "NZ", "names": english("New Zealand")}});
    writer.insert("198.51.100.0/24".parse::<IpNet>().expect("a network"), &berlin).expect("an entry");
    writer.insert("2a00::/16".parse::<IpNet>().expect("a network"), &somewhere).expect("an entry");
    let path = std::env::temp_dir().join(format!("ab-places-{name}-{}.mmdb", std::process::id()));
    std::fs::write(&path, writer.to_bytes().expect("a database")).expect("a file");
    path
}

fn post(gateway: &Gateway, path: &str) -> RequestBuilder {
    Client::new().post(format!("{}{path}", gateway.url())).header("user-agent", FIREFOX)
}

fn send(request: RequestBuilder, body: &Value) {
    let answer = request.json(body).send().expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "{status}: {}", answer.text().unwrap_or_default());
}

/// The properties of each user's event.
fn stored(database: &Database) -> BTreeMap<String, Value> {
    let rows =
        database.connect().query("select user_id, properties::text from ab.event", &[]).expect("events");
    rows.iter()
        .map(|row| {
            let properties: String = row.get(1);
            (row.get(0), serde_json::from_str(&properties).expect("properties"))
        })
        .collect()
}

#[test]
fn events_say_where_they_come_from_and_not_from_whom() {
    let database = Database::new();
    database.psql("select ab_create_experiment('here'); select ab_start('here')");
    let file = places("events");
    let file = file.to_str().expect("a path");
    let settings = [("AB_GEOIP_DB", file), ("AB_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")];
    let gateway = Gateway::start_with(&database.url(), &settings).expect("a gateway");
    let (track, batch, assign) = ("/api/v1/track", "/api/v1/track/batch", "/api/v1/assign");
    let event = |user_id: &str| json!({"user_id": user_id, "event_name": "x"});
    let page = |path: &str, forwarded_for: &str| {
        post(&gateway, path).header("origin", "https://shop.example").header("x-forwarded-for", forwarded_for)
    };

    send(post(&gateway, track).header("x-forwarded-for", "198.51.100.7"), &event("a server"));
    send(page(track, "1.2.3.4, 198.51.100.7, 10.0.0.1"), &event("a page"));
    send(page(track, "unknown"), &event("a hidden page"));
    let mut told = event("told");
    told["ip"] = json!("2a00::1");
    told["user_agent"] = json!(IPHONE);
    told["properties"] = json!({"city": "Wellington", "os": null, "price": 1.5});
    send(post(&gateway, track), &told);
    told["user_id"] = json!("told by a page");
    send(page(batch, "198.51.100.7"), &json!({"events": [told, event("beside it")]}));
    send(
        page(assign, "198.51.100.8"),
        &json!({"user_id": "exposed", "experiments": ["here"], "expose": true}),
    );
    send(post(&gateway, assign), &json!({"user_id": "plain", "experiments": ["here"], "expose": true}));

    let firefox = json!({"browser": "Firefox", "browser_version": "132.0", "os": "Linux", "device": "desktop", "is_bot": false});
    let mut in_berlin = firefox.clone();
    for (key, value) in [("country", "DE"), ("region", "Land Berlin"), ("city", "Berlin")] {
        in_berlin[key] = json!(value);
    }
    let told = json!({
        "browser": "Safari", "browser_version": "17.5", "os": null, "device": "mobile", "is_bot": false,
        "country": "NZ", "city": "Wellington", "price": 1.5
    });
    let expected = [
        ("a server", json!({})),
        ("a page", in_berlin.clone()),
        ("a hidden page", firefox),
        ("told", told.clone()),
        ("told by a page", told),
        ("beside it", in_berlin.clone()),
        ("exposed", in_berlin),
        ("plain", json!({})),
    ];
    let stored = stored(&database);
    for (user_id, properties) in &expected {
        assert_eq!(stored.get(*user_id), Some(properties), "{user_id}");
    }
    assert_eq!(stored.len(), expected.len());

    let log = std::fs::read_to_string(gateway.log_path()).expect("the log");
    let rows =
        one(&mut database.connect(), "select string_agg(e::text, '') from ab.event e").expect("events");
    for address in ["198.51.100", "2a00", "1.2.3.4"] {
        assert!(!log.contains(address) && !rows.contains(address), "{address}");
    }
}

#[test]
fn nobody_is_believed_unasked() {
    let database = Database::new();
    let file = places("unasked");
    let settings = [("AB_GEOIP_DB", file.to_str().expect("a path"))];
    let gateway = Gateway::start_with(&database.url(), &settings).expect("a gateway");
    let request = post(&gateway, "/api/v1/track")
        .header("origin", "https://shop.example")
        .header("x-forwarded-for", "198.51.100.7");
    send(request, &json!({"user_id": "u", "event_name": "x"}));
    let properties = &stored(&database)["u"];
    assert_eq!((&properties["browser"], &properties["country"]), (&json!("Firefox"), &Value::Null));
}

#[test]
fn a_wrong_setting_is_said_at_the_start() {
    let database = Database::new();
    let mut other = mmdb_writer::Writer::new("Test-ASN");
    other
        .insert("198.51.100.0/24".parse::<IpNet>().expect("a network"), &json!({"as": 1}))
        .expect("an entry");
    let path = std::env::temp_dir().join(format!("ab-asn-{}.mmdb", std::process::id()));
    std::fs::write(&path, other.to_bytes().expect("a database")).expect("a file");
    let asn = path.to_str().expect("a path");
    for (name, value) in
        [("AB_GEOIP_DB", "/nowhere/places.mmdb"), ("AB_GEOIP_DB", asn), ("AB_TRUSTED_PROXIES", "proxies")]
    {
        let program = Gateway::binary().expect("the gateway");
        let output = std::process::Command::new(program)
            .env("DATABASE_URL", database.url())
            .env("AB_HTTP_ADDR", "127.0.0.1:0")
            .env(name, value)
            .output()
            .expect("the gateway");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(value), "{name}={value}: {said}");
    }
}

#[test]
fn a_page_gets_visits_and_a_wrong_clock_is_corrected() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let mut client = database.connect();
    let page = |path: &str| post(&gateway, path).header("origin", "https://shop.example");
    let event = |user_id: &str| json!({"user_id": user_id, "event_name": "x"});
    let mut told = event("a");
    told["session_id"] = json!("told");
    send(page("/api/v1/track"), &event("a"));
    send(page("/api/v1/track/batch"), &json!({"events": [event("a"), event("b"), told]}));
    send(post(&gateway, "/api/v1/track"), &event("a"));
    let visits = "select count(*) filter (where user_id = 'a' and session_id = 'told') || ' ' || count(*) filter (where session_id is null)
        || ' ' || (select string_agg(s.events::text, ',' order by s.user_id) from (
            select user_id, count(*) as events from ab.event where session_id <> 'told' group by user_id, session_id::uuid) s)
        from ab.event";
    assert_eq!(one(&mut client, visits).as_deref(), Some("1 1 2,1"));

    // The sender's clock is two hours behind; this happened at the moment of sending.
    let behind = one(
        &mut client,
        "select to_char(now() at time zone 'UTC' - interval '2 hours', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    );
    let mut late = event("late");
    late["timestamp"] = json!(behind);
    let mut known = late.clone();
    (known["user_id"], known["event_id"]) = (json!("known"), json!("order-1"));
    for _ in 0..2 {
        send(post(&gateway, "/api/v1/track/batch"), &json!({"sent_at": behind, "events": [known]}));
    }
    late["sent_at"] = json!(behind);
    send(post(&gateway, "/api/v1/track"), &late);
    let corrected =
        "select string_agg(user_id || ' ' || (now() - event_time > interval '1 hour'), ', ' order by user_id)
        from ab.event where user_id in ('late', 'known')";
    assert_eq!(one(&mut client, corrected).as_deref(), Some("known true, late false"));

    let refused = post(&gateway, "/api/v1/track/batch")
        .json(&json!({"sent_at": "2001-01-01T00:00:00Z", "events": [event("u")]}))
        .send()
        .expect("an answer");
    assert_eq!(refused.status().as_u16(), 400);
    let problem: Value = refused.json().expect("a problem");
    assert_eq!(problem["code"], "invalid_event_time");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("sent_at")), "{problem}");
}

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

//! Events streamed over HTTP, and what slow, silent and broken senders do to others: nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::Gateway;
use ab_tests::{Database, one};
use reqwest::blocking::{Body, Client, Response};
use serde_json::{Value, json};

const STREAM: &str = "/api/v1/track/stream";

fn send(gateway: &Gateway, encoding: Option<&str>, body: impl Into<Body>) -> Response {
    let mut request = Client::builder()
        .timeout(None)
        .build()
        .expect("a client")
        .post(format!("{}{STREAM}", gateway.url()))
        .header("content-type", "application/x-ndjson");
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    request.body(body).send().expect("an answer")
}

/// The lines of an answer; the last one is the summary.
fn lines(response: Response) -> Vec<Value> {
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().expect("lines");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn summary(response: Response) -> Value {
    lines(response).pop().expect("a last line")
}

fn counts(summary: &Value) -> [u64; 4] {
    let count = |name: &str| summary[name].as_u64().expect("a count");
    ["received", "accepted", "duplicate", "rejected"].map(count)
}

fn count(database: &Database) -> String {
    one(&mut database.connect(), "select count(*) from ab.event").expect("a count")
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Events that are the same ones each time they are sent.
fn events(users: std::ops::Range<usize>) -> String {
    let second = one(
        &mut ab_tests::cluster().connect("postgres").expect("a connection"),
        "select date_trunc('day', now() at time zone 'UTC')::text",
    );
    let day = second.expect("a day").replace(' ', "T");
    users
        .map(|user| {
            let event = json!({"user_id": format!("user_{user}"), "event_name": "x", "event_id": "only", "timestamp": format!("{day}Z")});
            format!("{event}\n")
        })
        .collect()
}

#[test]
fn each_line_is_an_event_or_an_error() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let long = format!("{{\"user_id\": \"u\", \"event_name\": \"{}\"}}", "x".repeat(140_000));
    let body = [
        r#"{"user_id": "a", "event_name": "x", "value": 2.5}"#,
        "",
        r#"{"user_id": "", "event_name": "x"}"#,
        &long,
        "nonsense",
        r#"{"user_id": "b", "event_name": "x", "experiment_id": "nowhere"}"#,
        r#"{"user_id": "b", "event_name": "x", "ip": "here"}"#,
        r#"{"user_id": "c", "event_name": "x"}"#,
    ]
    .join("\r\n");
    let summary = summary(send(&gateway, None, body));
    assert_eq!(counts(&summary), [7, 2, 0, 5], "{summary}");
    assert_eq!(summary["done"], true);
    let errors: Vec<(u64, &str)> = summary["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| (error["line"].as_u64().expect("a line"), error["code"].as_str().expect("a code")))
        .collect();
    let expected = [
        (3, "invalid_user_id"),
        (4, "body_too_large"),
        (5, "malformed_json"),
        (6, "experiment_not_found"),
        (7, "invalid_request"),
    ];
    assert_eq!(errors, expected);
    assert_eq!(count(&database), "2");
    let nothing = lines(send(&gateway, None, ""));
    assert_eq!(
        nothing,
        [json!({"received": 0, "accepted": 0, "duplicate": 0, "rejected": 0, "done": true, "errors": []})]
    );
}

#[test]
fn only_the_first_errors_are_told() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let summary = summary(send(&gateway, None, "{}\n".repeat(1_000)));
    assert_eq!(counts(&summary), [1_000, 0, 0, 1_000]);
    let errors = summary["errors"].as_array().expect("errors");
    assert_eq!((errors.len(), &errors[99]["line"]), (100, &json!(100)));
}

#[test]
fn a_stream_may_be_compressed_and_sent_again() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let plain = events(0..20_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain.as_bytes()).expect("gzip");
    let mut gzip = gzip.finish().expect("gzip");
    let zstd = zstd::encode_all(plain.as_bytes(), 3).expect("zstd");
    for (encoding, body) in [("gzip", gzip.clone()), ("zstd", zstd), ("identity", plain.into_bytes())] {
        let summary = summary(send(&gateway, Some(encoding), body));
        let [received, accepted, duplicate, rejected] = counts(&summary);
        assert_eq!((received, accepted + duplicate, rejected), (20_000, 20_000, 0), "{encoding}: {summary}");
        assert_eq!(summary["done"], true, "{encoding}");
        assert_eq!(count(&database), "20000", "{encoding}");
    }
    // The end is missing: what came is stored, and the answer does not say done.
    gzip.truncate(gzip.len() / 2);
    let summary = summary(send(&gateway, Some("gzip"), gzip));
    assert_eq!((&summary["done"], &summary["problem"]["code"]), (&json!(false), &json!("invalid_request")));
    assert!(counts(&summary)[0] > 0, "{summary}");
    // More memory than anybody should need to unpack it.
    let mut hungry = zstd::Encoder::new(Vec::new(), 3).expect("zstd");
    hungry.window_log(27).expect("a window");
    hungry.write_all(events(0..10).as_bytes()).expect("zstd");
    let summary = self::summary(send(&gateway, Some("zstd"), hungry.finish().expect("zstd")));
    assert_eq!(summary["done"], false, "{summary}");
}

#[test]
fn what_is_no_stream_is_refused_before_it_is_read() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let post = |content_type: &str, encoding: &str| {
        let request = Client::new().post(format!("{}{STREAM}", gateway.url()));
        let request = request.header("content-type", content_type).header("content-encoding", encoding);
        request.body("{}").send().expect("an answer").status().as_u16()
    };
    assert_eq!(post("application/json", "gzip"), 415);
    assert_eq!(post("application/x-ndjson", "br"), 415);
}

/// Writes the head of a request and the first part of its body.
fn begin(gateway: &Gateway, path: &str, content_type: &str, length: usize, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("a head");
    stream.write_all(body).expect("a body");
    stream
}

fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    // A connection that is reset while something was still to be read has said all it will say.
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn progress_is_told_meanwhile_and_a_cut_leaves_what_came() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let body = events(0..1_000);
    let mut stream = begin(&gateway, STREAM, "application/x-ndjson", body.len() + 1_000_000, body.as_bytes());
    let mut heard = String::new();
    let mut part = [0; 4_096];
    while !heard.contains(r#""accepted":1000"#) {
        let length = stream.read(&mut part).expect("progress");
        assert!(length > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    assert!(!heard.contains("done"), "{heard}");
    drop(stream);
    assert_eq!(count(&database), "1000");
    // The half of a line that a cut leaves is no event.
    let half = r#"{"user_id": "half", "event_name": "x"}"#;
    drop(begin(&gateway, STREAM, "application/x-ndjson", 10_000, half.as_bytes()));
    let again = summary(send(&gateway, None, events(0..1_100)));
    assert_eq!(counts(&again)[0], 1_100);
    assert_eq!(count(&database), "1100");
}

#[test]
fn curl_is_told_to_send_a_large_body() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    // From a megabyte on, curl waits for a 100 Continue.
    let body = events(0..30_000);
    assert!(body.len() > 1024 * 1024);
    let mut curl = Command::new("curl")
        .args([
            "-sS",
            "-T",
            "-",
            "-X",
            "POST",
            "-H",
            "content-type: application/x-ndjson",
            "-H",
            "expect: 100-continue",
        ])
        .arg(gateway.url() + STREAM)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl");
    let mut input = curl.stdin.take().expect("its input");
    let writer = thread::spawn(move || input.write_all(body.as_bytes()));
    let output = curl.wait_with_output().expect("its output");
    writer.join().expect("a thread").expect("all of it was taken");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains(r#""accepted":30000"#) && printed.contains(r#""done":true"#), "{printed}");
    assert_eq!(count(&database), "30000");
    // Who is refused is not told to send.
    let mut refused = begin(&gateway, STREAM, "text/plain\r\nexpect: 100-continue", 1_000_000, b"");
    let mut head = [0; 12];
    refused.read_exact(&mut head).expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 415");
}

#[test]
fn a_silent_sender_is_given_up_and_a_slow_one_is_not() {
    let database = Database::new();
    let settings = [("AB_BODY_SECONDS", "2"), ("AB_IDLE_SECONDS", "2")];
    let gateway = Gateway::start_with(&database.url(), &settings).expect("a gateway");
    let body = events(0..3);

    let silent = begin(&gateway, STREAM, "application/x-ndjson", 10_000, body.as_bytes());
    let mute = begin(&gateway, STREAM, "application/x-ndjson", 10_000, b"");
    let track = begin(&gateway, "/api/v1/track", "application/json", 100, b"{");
    let mut headless = TcpStream::connect(("127.0.0.1", gateway.port())).expect("a connection");
    headless.write_all(b"POST /api/v1/assign HTTP/1.1\r\nhost: ga").expect("half a head");
    let idle = TcpStream::connect(("127.0.0.1", gateway.port())).expect("a connection");

    // Slower in all than anybody may be silent.
    let event = br#"{"user_id":"slow","event_name":"x"}"#;
    let mut slow = begin(&gateway, "/api/v1/track", "application/json", event.len(), &event[..30]);
    for byte in &event[30..] {
        thread::sleep(Duration::from_millis(700));
        slow.write_all(&[*byte]).expect("a byte");
    }
    let answer = rest(slow);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");

    let answer = rest(silent);
    assert!(answer.contains(r#""accepted":3"#) && answer.contains(r#""code":"request_timeout""#), "{answer}");
    let answer = rest(track);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(r#""code":"request_timeout""#), "{answer}");
    let answer = rest(mute);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(r#""code":"request_timeout""#), "{answer}");
    rest(headless);
    rest(idle);
}

#[test]
fn a_thousand_idle_connections_are_not_noticed() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let idle: Vec<TcpStream> = (0..1_000)
        .map(|number| {
            let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).expect("a connection");
            match number % 3 {
                0 => {}
                1 => stream.write_all(b"POST /api/v1/track HT").expect("a part of a head"),
                _ => {
                    let head = b"POST /api/v1/track/stream HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-ndjson\r\ncontent-length: 9\r\n\r\n";
                    stream.write_all(head).expect("a head");
                }
            }
            stream
        })
        .collect();
    let event = json!({"user_id": "u", "event_name": "x"});
    for _ in 0..20 {
        let answer = Client::new().post(format!("{}/api/v1/track", gateway.url())).json(&event).send();
        assert_eq!(answer.expect("an answer").status().as_u16(), 202);
    }
    let summary = summary(send(&gateway, None, events(0..1_000)));
    assert_eq!(counts(&summary)[0], 1_000);
    drop(idle);
}

#[test]
fn a_full_queue_makes_a_stream_wait_and_not_fail() {
    let database = Database::new();
    let settings = [("AB_QUEUE_KIB", "10"), ("AB_WRITERS", "1")];
    let gateway = Gateway::start_with(&database.url(), &settings).expect("a gateway");
    let summary = summary(send(&gateway, None, events(0..20_000)));
    assert_eq!((&summary["done"], counts(&summary)[3]), (&json!(true), 0), "{summary}");
    assert_eq!(count(&database), "20000");
}

#[test]
fn a_gateway_that_stops_says_how_far_a_stream_came() {
    let database = Database::new();
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let body = events(0..10);
    let stream = begin(&gateway, STREAM, "application/x-ndjson", 10_000, body.as_bytes());
    eventually("the events arrive", || count(&database) == "10");
    gateway.terminate().expect("an end");
    let answer = rest(stream);
    assert!(answer.contains(r#""code":"shutting_down""#) && answer.contains(r#""accepted":10"#), "{answer}");
}

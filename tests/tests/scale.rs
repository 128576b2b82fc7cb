//! A workspace with thousands of things in it: what is changed costs what has changed, and nothing is lost on the way.

use std::fs;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::{Cluster, Gateway};
use ab_tests::one;
use postgres::Client;
use reqwest::blocking::{Client as Http, Response};
use serde_json::{Value, json};

const EXPERIMENTS: u32 = 2_000;
const FLAGS: u32 = 200;
const MEMBERS: u32 = 200_000;
const CONTEXT: &str = r#"{"country": "DE", "plan": "pro", "age": 70}"#;

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

/// A cluster with the database that all of this happens in.
fn big_cluster() -> Cluster {
    let cluster = Cluster::throwaway().expect("a cluster");
    cluster.create_database("big", None).expect("a database");
    let mut client = cluster.connect("big").expect("a connection");
    run(
        &mut client,
        &format!(
            r#"create extension pg_ab; select ab_create_segment('many');
            insert into ab.segment_member (segment_id, user_id)
                select segment_id, 'member_' || n from ab.segment, generate_series(1, {MEMBERS}) n where segment = 'many';
            insert into ab.experiment (experiment, targeting)
                select 'exp_' || n, case when n % 100 <> 0 then format(
                    '{{"all": [{{"attribute": "country", "operator": "in", "values": ["DE", "FR", "NZ"]}},
                        {{"attribute": "plan", "operator": "equals", "values": ["pro"]}},
                        {{"attribute": "age", "operator": "greater", "values": [%s]}}]}}', n % 50)::jsonb end
                from generate_series(1, {EXPERIMENTS}) n;
            insert into ab.variant (experiment_id, variant) select experiment_id, v from ab.experiment, unnest('{{control,treatment}}'::text[]) v order by 1, 2;
            update ab.experiment set status = 'running';
            select count(ab_create_flag('flag_' || n, rules => '[{{"when": {{"operator": "in_segment", "values": ["many"]}}, "value": true}}]'))
                from generate_series(1, {FLAGS}) n;
            analyze"#
        ),
    );
    cluster
}

/// What the gateway answers.
struct Asked<'a> {
    gateway: &'a Gateway,
}

static HTTP: LazyLock<Http> = LazyLock::new(Http::new);

impl Asked<'_> {
    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = HTTP.post(format!("{}/api/v1/{path}", self.gateway.url())).json(body).send();
        answer.and_then(Response::error_for_status).and_then(Response::json).expect("an answer")
    }

    fn reason(&self, user: &str, experiment: &str) -> String {
        let context: Value = serde_json::from_str(CONTEXT).expect("JSON");
        let body = json!({"user_id": user, "experiments": [experiment], "context": context});
        self.post("assign", &body)["assignments"][0]["reason"].as_str().expect("a reason").to_owned()
    }

    fn is_on(&self, user: &str, flag: &str) -> bool {
        self.post(&format!("flags/{flag}"), &json!({ "user_id": user }))["value"] == true
    }

    /// Lines of the log that hold this.
    fn logged(&self, text: &str) -> Vec<String> {
        let log = fs::read_to_string(self.gateway.log_path()).expect("the log");
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_change_among_thousands_reaches_the_gateway_and_loads_nothing_else() {
    let cluster = big_cluster();
    let mut client = cluster.connect("big").expect("a connection");
    let gateway =
        Gateway::start_with(&cluster.url("big"), &[("AB_LOG", "ab_gateway=debug")]).expect("a gateway");
    let asked = Asked { gateway: &gateway };
    assert_eq!(asked.reason("u", "exp_7"), "split");
    assert!(asked.is_on(&format!("member_{MEMBERS}"), "flag_200") && !asked.is_on("stranger", "flag_1"));
    let all = EXPERIMENTS as usize + FLAGS as usize + 2;
    assert_eq!(documents(&asked.logged("configuration loaded")), [all]);

    for (change, what) in [
        ("select ab_override('exp_7', 'treatment', 'u')", "override"),
        ("select ab_remove_override('exp_7', 'u'); select ab_set_traffic('exp_7', 0)", "traffic"),
        ("select ab_pause('exp_7')", "not_running"),
    ] {
        run(&mut client, change);
        soon(what, || asked.reason("u", "exp_7") == what);
        assert_eq!(
            one(&mut client, &format!("select ab_assign_reason('u', 'exp_7', '{CONTEXT}')")).as_deref(),
            Some(what)
        );
    }
    run(&mut client, "select ab_kill('flag_3')");
    soon("a kill", || !asked.is_on("member_1", "flag_3"));
    assert!(asked.is_on("member_1", "flag_4"));

    run(&mut client, "select ab_add_members('many', '{stranger}')");
    soon("a new member", || asked.is_on("stranger", "flag_1"));
    run(&mut client, "select ab_remove_members('many', '{stranger,member_77}')");
    soon("members less", || !asked.is_on("stranger", "flag_1") && !asked.is_on("member_77", "flag_200"));
    assert!(asked.is_on("member_78", "flag_1"));
    soon("the log of it", || asked.logged("configuration changed").len() >= 6);
    let changed = documents(&asked.logged("configuration changed"));
    assert!(changed.iter().all(|&documents| documents == 1), "{changed:?}");
    assert_eq!(asked.logged("configuration loaded").len(), 1, "and never everything again");

    // So many that the copy is made anew.
    run(
        &mut client,
        "insert into ab.segment_member (segment_id, user_id) select segment_id, 'later_' || n from ab.segment, generate_series(1, 20000) n where segment = 'many'",
    );
    soon("twenty thousand more", || asked.is_on("later_20000", "flag_1"));
    assert!(asked.is_on("later_1", "flag_1") && asked.is_on("member_1", "flag_1"));
    assert!(!asked.is_on("later_20001", "flag_1") && !asked.is_on("member_77", "flag_1"));

    // A change that the gateway has not heard of, because nobody could tell it.
    drop(client);
    cluster.restart().expect("a restart");
    let mut client = cluster.connect("big").expect("a connection");
    run(
        &mut client,
        "select ab_resume('exp_7'), ab_set_traffic('exp_7', 100), ab_remove_members('many', '{later_5}'), ab_add_members('many', '{stranger}')",
    );
    soon("what was changed after the restart", || {
        asked.reason("u", "exp_7") == "split"
            && !asked.is_on("later_5", "flag_1")
            && asked.is_on("stranger", "flag_1")
    });
    for (user, is_member) in [
        ("member_1", true),
        ("member_77", false),
        ("member_200000", true),
        ("later_4", true),
        ("later_5", false),
        ("later_20000", true),
        ("stranger", true),
        ("nobody", false),
    ] {
        assert_eq!(asked.is_on(user, "flag_9"), is_member, "{user}");
        let in_sql = one(&mut client, &format!("select ab_flag_enabled('{user}', 'flag_9')"));
        assert_eq!(in_sql.as_deref(), Some(if is_member { "t" } else { "f" }), "{user}");
    }
    assert!(!asked.is_on("member_1", "flag_3"), "killed it stays");
    assert_eq!(one(&mut client, "select members from ab.segment").as_deref(), Some("219999"));
    a_session_keeps_only_what_it_uses(&cluster);
}

/// How many documents each of these loads brought.
fn documents(lines: &[String]) -> Vec<usize> {
    let number = |line: &String| {
        let plain: String = strip_colours(line);
        let (_, rest) = plain.split_once("documents=").unwrap_or_else(|| panic!("no number in {plain}"));
        rest.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    };
    lines.iter().map(number).collect()
}

fn strip_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

fn a_session_keeps_only_what_it_uses(cluster: &Cluster) {
    let mut client = cluster.connect("big").expect("a connection");
    let process: i32 = client.query_one("select pg_backend_pid()", &[]).expect("a process").get(0);
    // The library itself and the first query of any sort are there before.
    client.query_one("select ab_bucket('a', 'b'), count(*) from ab.workspace", &[]).expect("a bucket");
    let before = anonymous_memory(process);
    for experiment in ["exp_1", "exp_2", "exp_3"] {
        let query = format!("select ab_assign('user_1'::text, '{experiment}', '{CONTEXT}')");
        assert!(one(&mut client, &query).is_some(), "{experiment}");
    }
    let grown = anonymous_memory(process).saturating_sub(before);
    println!("a session that used three experiments has grown by {grown} kB");
    assert!(grown < 1024, "{grown} kB");
}

/// What a process holds for itself alone, in kilobytes.
fn anonymous_memory(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

//! Sticky experiments, bandits, overrides and shipped variants: who keeps what they were given, and who is given what.

use std::thread;
use std::time::{Duration, Instant};

use ab_embedded::{Cluster, Gateway};
use ab_tests::{Database, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

fn code(client: &mut Client, statement: &str) -> String {
    sql_error(client.batch_execute(statement)).code
}

fn phases(client: &mut Client, experiment: &str) -> String {
    one(
        client,
        &format!(
            "select string_agg(concat_ws(' ', p.phase, trim_scale(p.traffic), p.reason, p.moved), ', ' order by p.phase)
             from ab.phase p join ab.experiment x using (experiment_id) where x.experiment = '{experiment}'"
        ),
    )
    .unwrap_or_default()
}

#[test]
fn a_phase_says_why_it_began_and_what_it_moved() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_experiment('x', traffic => 5); select ab_set_weights('x', '{"control": 1, "treatment": 1}', 'nobody is told in a draft');
           select ab_start('x'); select ab_set_traffic('x', 50, 'quiet so far'); update ab.experiment set traffic = 60;
           select ab_set_weights('x', '{"control": 3, "treatment": 1}', reason => 'careful');
           select ab_set_weights('x', '{"control": 30, "treatment": 10}')"#,
    );
    assert_eq!(
        phases(&mut client, "x"),
        "1 5 {}, 2 50 quiet so far {}, 3 60 {}, 4 60 careful {[750000,1000000)}, 5 60 {}"
    );
    let by = one(&mut client, "select string_agg(distinct changed_by, ' ') from ab.phase");
    assert_eq!(by.as_deref(), Some("postgres"));
}

#[test]
fn a_first_variant_given_elsewhere_is_kept_as_well() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        "select ab_create_experiment('x', sticky => true, traffic => 50); select ab_start('x');
         create table before as select n::text as id, ab_assign(n, 'x') as variant from generate_series(1, 1000) n;
         create table moved as
            select id, variant as was, case variant when 'control' then 'treatment' else 'control' end as variant from before where id::integer <= 50",
    );
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    // What this experiment itself gives changes nothing about it.
    run(&mut client, "select ab_expose(id, 'x') from before where id::integer > 900");
    assert_eq!(one(&mut client, "select has_foreign_assignments from ab.experiment").as_deref(), Some("f"));
    run(
        &mut client,
        "select ab_track(id, 'exposure', event_type => 'exposure', experiment => 'x', variant => variant) from moved",
    );
    let differing = "select count(*) from moved m where ab_assign(m.id, 'x') is distinct from m.variant or ab_expose(m.id, 'x') is distinct from m.variant
        or ab_assign_reason(m.id, 'x') is distinct from 'sticky'";
    assert_eq!(one(&mut client, differing).as_deref(), Some("0"));
    let others = "select count(*) from before b where not exists (select from moved m where m.id = b.id) and ab_assign(b.id, 'x') is distinct from b.variant";
    assert_eq!(one(&mut client, others).as_deref(), Some("0"));
    let version = one(&mut client, "select ab_config_version()");
    let http = reqwest::blocking::Client::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let ready: serde_json::Value = http
            .get(format!("{}/health/ready", gateway.url()))
            .send()
            .expect("an answer")
            .json()
            .expect("JSON");
        if Some(ready["config_version"].to_string()) == version {
            break;
        }
        assert!(Instant::now() < deadline, "{ready}");
        thread::sleep(Duration::from_millis(20));
    }
    for row in client.query("select id, variant from moved", &[]).expect("users") {
        let (id, variant): (String, String) = (row.get(0), row.get(1));
        let answer: serde_json::Value = http
            .post(format!("{}/api/v1/assign", gateway.url()))
            .json(&serde_json::json!({"user_id": id, "experiments": ["x"]}))
            .send()
            .expect("an answer")
            .json()
            .expect("JSON");
        assert_eq!(answer["assignments"][0]["variant_id"], variant, "{answer}");
    }
    assert_eq!(
        one(
            &mut client,
            "select count(*) from (select ab_rollup()) r cross join ab.exposure where is_multiple"
        )
        .as_deref(),
        Some("0"),
        "nobody has met a second variant"
    );
}

#[test]
fn traffic_alone_moves_nobody_whatever_weights_are_written_down() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_experiment('x', traffic => 50); select ab_start('x');
         create table before as select n::text as id, ab_assign(n, 'x') as variant from generate_series(1, 2000) n;
         insert into ab.variant (experiment_id, variant, weight) select experiment_id, 'z', 1 from ab.experiment;
         select ab_set_traffic('x', 60)",
    );
    let moved = "select count(*) from before where variant is not null and ab_assign(id, 'x') is distinct from variant";
    assert_eq!(one(&mut client, moved).as_deref(), Some("0"));
    assert_eq!(
        one(&mut client, "select count(*) from before where ab_assign(id, 'x') = 'z'").as_deref(),
        Some("0")
    );
    run(&mut client, r#"select ab_set_weights('x', '{"control": 1, "treatment": 1, "z": 1}')"#);
    let share: f64 = one(&mut client, "select count(*) / 12.0 from before where ab_assign(id, 'x') = 'z'")
        .unwrap()
        .parse()
        .unwrap();
    assert!((27.0..40.0).contains(&share), "{share} of a hundred have the new variant");
}

#[test]
fn users_of_a_sticky_experiment_keep_their_first_variant() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_experiment('x', sticky => true); select ab_create_experiment('plain'); select ab_start('x'), ab_start('plain');
           create table kept as select n, ab_expose(n, 'x') as variant from generate_series(1, 200) n;
           select ab_expose(n, 'plain') from generate_series(1, 200) n;
           select ab_set_weights('x', '{"control": 1, "treatment": 9}')"#,
    );
    let stored = one(
        &mut client,
        "select count(*) from ab.sticky_assignment s join kept k on s.user_id = k.n::text and s.variant = k.variant",
    );
    assert_eq!(stored.as_deref(), Some("200"));
    let changed = one(
        &mut client,
        "select count(*) from kept where variant <> ab_assign(n, 'x') or variant <> ab_expose(n, 'x')",
    );
    assert_eq!(changed.as_deref(), Some("0"));
    let newcomers = one(
        &mut client,
        "select count(*) filter (where ab_assign(n, 'x') = 'treatment') > 850 from generate_series(1001, 2000) n",
    );
    assert_eq!(newcomers.as_deref(), Some("t"));
    let document = one(&mut client, "select document -> 'sticky' from ab_config_changes() where key = 'x'");
    assert_eq!(document.as_deref(), Some(r#"{"traffic": 1000000, "contested": [[100000, 500000]]}"#));
    run(
        &mut client,
        r#"select ab_track('imported', 'exposure', event_type => 'exposure', experiment => 'x', variant => 'control');
           select ab_track('imported', 'exposure', event_type => 'exposure', experiment => 'x', variant => 'treatment');
           select ab_set_targeting('x', '{"attribute": "country", "operator": "equals", "values": ["DE"]}')"#,
    );
    assert_eq!(one(&mut client, "select ab_assign('imported', 'x')").as_deref(), Some("control"));
    let first = one(
        &mut client,
        "select string_agg(concat_ws(' ', user_id, experiment, variant), ', ') from ab_first_variants('{imported,nobody,1}', '{x,x,plain}')",
    );
    assert_eq!(first.as_deref(), Some("imported x control"));
    let reasons = one(
        &mut client,
        "select concat_ws(' ', ab_assign_reason('1', 'x'), ab_assign_reason('new', 'x'), ab_assign_reason('new', 'x', '{\"country\": \"DE\"}'))",
    );
    assert_eq!(reasons.as_deref(), Some("sticky not_targeted split"));
    assert_eq!(code(&mut client, "update ab.experiment set is_sticky = false"), "immutable");
    run(&mut client, "select ab_stop('x'); delete from ab.experiment where experiment = 'x'");
    assert_eq!(one(&mut client, "select count(*) from ab.sticky_assignment").as_deref(), Some("0"));
}

#[test]
fn of_two_first_exposures_at_once_one_decides() {
    let database = Database::new();
    let (mut first, mut second) = (database.connect(), database.connect());
    run(&mut first, "select ab_create_experiment('x', sticky => true); select ab_start('x')");
    let given = one(&mut first, "select ab_assign('u', 'x')").unwrap();
    let other = if given == "control" { "treatment" } else { "control" };
    run(
        &mut first,
        &format!(
            "begin; select ab_track('u', 'exposure', event_type => 'exposure', experiment => 'x', variant => '{other}')"
        ),
    );
    let waiting = thread::spawn(move || one(&mut second, "select ab_expose('u', 'x')"));
    thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished());
    run(&mut first, "commit");
    assert_eq!(waiting.join().expect("the other session").as_deref(), Some(other));
    let recorded = one(&mut first, "select string_agg(distinct variant, ' ') from ab.event_exposure");
    assert_eq!(recorded.as_deref(), Some(other), "nobody is in two arms");
}

#[test]
fn a_bandit_moves_towards_what_pays_and_keeps_a_floor() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_metric('orders', 'purchase'); select ab_create_experiment('b', '{"a": 1, "b": 1, "c": 1}', kind => 'bandit', primary_metric => 'orders', minimum_share => 10);
           select ab_start('b')"#,
    );
    let weights = |client: &mut Client| {
        one(client, "select string_agg(variant || ' ' || trim_scale(weight), ', ') from ab_rebalance('b')")
            .unwrap()
    };
    assert_eq!(weights(&mut client), "a 1, b 1, c 1", "nothing is counted yet");
    assert_eq!(phases(&mut client, "b"), "1 100 {}");
    run(
        &mut client,
        "create table shown as select n, ab_expose(n, 'b') as variant from generate_series(1, 600) n;
         select ab_track(n::text, 'purchase') from shown where variant = 'b' and n % 2 = 0",
    );
    run(&mut client, "select ab_rollup()");
    assert_eq!(
        weights(&mut client),
        "a 33.333333, b 33.333333, c 33.333333",
        "two have fewer conversions than a first decision needs"
    );
    run(
        &mut client,
        "select ab_track(user_id, 'purchase') from (select n::text as user_id, row_number() over (partition by variant) as place from shown where variant <> 'b') others where place <= 5",
    );
    run(&mut client, "select ab_rollup()");
    assert_eq!(weights(&mut client), "a 10, b 80, c 10");
    assert!(phases(&mut client, "b").contains(", 3 100 rebalanced {["), "{}", phases(&mut client, "b"));
    let kept = one(&mut client, "select count(*) from shown where variant <> ab_assign(n, 'b')");
    assert_eq!(kept.as_deref(), Some("0"), "a bandit is sticky");
    run(&mut client, "select ab_pause('b')");
    assert_eq!(code(&mut client, "select ab_rebalance('b')"), "wrong_status");
}

#[test]
fn a_bandit_says_what_it_cannot_reckon_with() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_metric('revenue', 'purchase', 'sum'); select ab_create_experiment('b', kind => 'bandit', primary_metric => 'revenue');
         select ab_start('b'); select ab_expose(n, 'b'), ab_track(n::text, 'purchase', 1e200) from generate_series(1, 20) n",
    );
    run(&mut client, "select ab_rollup()");
    let before = phases(&mut client, "b");
    let error = sql_error(client.batch_execute("select ab_rebalance('b')"));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_argument"));
    assert!(error.message.contains("\"b\"") && error.message.contains("\"revenue\""), "{}", error.message);
    assert!(error.hint.contains("ab_set_weights"), "{}", error.hint);
    assert_eq!(phases(&mut client, "b"), before);
}

#[test]
fn an_override_holds_whatever_else_does_and_counts_nowhere() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_experiment('x', traffic => 0); select ab_create_segment('team'); select ab_add_members('team', '{ann,bob}');
         select ab_override('x', 'treatment', segment => 'team'), ab_override('x', 'treatment', 'ann'), ab_override('x', 'control', 'ann')",
    );
    let answers = "select concat_ws(' ', ab_assign('ann', 'x'), ab_assign('bob', 'x'), coalesce(ab_assign('cat', 'x'), 'nothing'))";
    for state in ["select", "select ab_start('x')", "select ab_pause('x')"] {
        run(&mut client, state);
        assert_eq!(one(&mut client, answers).as_deref(), Some("control treatment nothing"), "{state}");
    }
    run(&mut client, "select ab_resume('x'); select ab_expose('ann', 'x'), ab_expose('bob', 'x')");
    assert_eq!(one(&mut client, "select count(*) from ab.event").as_deref(), Some("0"));
    run(&mut client, "select ab_remove_override('x', 'ann'), ab_remove_override('x', 'nobody')");
    assert_eq!(one(&mut client, answers).as_deref(), Some("treatment treatment nothing"));
    run(&mut client, "select ab_remove_override('x', segment => 'team')");
    assert_eq!(one(&mut client, answers).as_deref(), Some("nothing"));
    run(
        &mut client,
        "insert into ab.workspace (workspace) values ('other'); set ab.workspace = 'other'; select ab_create_segment('theirs'); reset ab.workspace",
    );
    let foreign = "insert into ab.override (experiment_id, segment_id, variant) select 1, segment_id, 'control' from ab.segment where segment = 'theirs'";
    assert_eq!(code(&mut client, foreign), "segment_not_found");
}

#[test]
fn two_who_change_one_experiment_at_once_lose_nothing() {
    let database = Database::new();
    let (mut first, mut second) = (database.connect(), database.connect());
    run(&mut first, "select ab_create_experiment('x'); select ab_start('x')");
    run(&mut first, "begin; select ab_override('x', 'control', 'ann')");
    let other =
        thread::spawn(move || second.batch_execute("select ab_set_traffic('x', 50)").expect("new traffic"));
    thread::sleep(Duration::from_millis(300));
    assert!(!other.is_finished(), "the second waits for the first");
    run(&mut first, "commit");
    other.join().expect("the other session");
    let published = one(
        &mut first,
        "select concat_ws(' ', document ->> 'traffic', document ->> 'overrides') from ab_config_changes() where key = 'x'",
    );
    assert_eq!(published.as_deref(), Some(r#"500000 [{"user_id": "ann", "variant": 0}]"#));
}

#[test]
fn what_a_stopped_experiment_ships_is_for_everybody() {
    let mut client = Database::new().connect();
    run(&mut client, "select ab_create_experiment('x', traffic => 1); select ab_start('x')");
    assert_eq!(code(&mut client, "update ab.experiment set shipped_variant = 'treatment'"), "wrong_status");
    run(&mut client, "select ab_stop('x', ship => 'treatment')");
    let distinct = "select string_agg(distinct coalesce(ab_assign(n, 'x'), 'nothing'), ' ') from generate_series(1, 100) n";
    assert_eq!(one(&mut client, distinct).as_deref(), Some("treatment"));
    run(&mut client, "select ab_expose('u', 'x')");
    assert_eq!(one(&mut client, "select count(*) from ab.event").as_deref(), Some("0"));
    run(&mut client, "update ab.experiment set shipped_variant = 'control'");
    assert_eq!(one(&mut client, distinct).as_deref(), Some("control"));
    assert_eq!(code(&mut client, "update ab.experiment set shipped_variant = 'nobody'"), "variant_not_found");
    run(&mut client, "update ab.experiment set shipped_variant = null");
    assert_eq!(one(&mut client, distinct).as_deref(), Some("nothing"));
}

#[test]
fn factors_make_every_combination_in_written_order() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_experiment('x', factors => '{"size": ["s", "l"], "colour": ["red", "blue"]}');
           select ab_create_experiment('y', factors => '{"a": ["1", "2"]}', control => '2'); select ab_start('x')"#,
    );
    let variants = one(
        &mut client,
        "select string_agg(concat_ws(' ', variant, trim_scale(weight), factors, case when is_control then '*' end), ', ' order by variant_id) from ab.variant",
    );
    assert_eq!(
        variants.as_deref(),
        Some(
            r#"s.red 1 {"size": "s", "colour": "red"} *, s.blue 1 {"size": "s", "colour": "blue"}, l.red 1 {"size": "l", "colour": "red"}, l.blue 1 {"size": "l", "colour": "blue"}, 1 1 {"a": "1"}, 2 1 {"a": "2"} *"#
        )
    );
}

/// The answer for `user` in experiment x over HTTP: variant, reason, and what the header says is unconfirmed.
fn answer(
    http: &reqwest::blocking::Client,
    gateway: &Gateway,
    user: &str,
) -> (String, String, Option<String>) {
    let response = http
        .post(format!("{}/api/v1/assign", gateway.url()))
        .json(&serde_json::json!({"user_id": user, "experiments": ["x"]}))
        .send()
        .and_then(reqwest::blocking::Response::error_for_status)
        .expect("an answer");
    let unconfirmed =
        response.headers().get("ab-unconfirmed").map(|keys| keys.to_str().expect("a text").to_owned());
    let answer: serde_json::Value = response.json().expect("JSON");
    let field = |name: &str| answer["assignments"][0][name].as_str().unwrap_or_default().to_owned();
    (field("variant_id"), field("reason"), unconfirmed)
}

#[test]
fn without_the_database_the_hash_answers_and_says_so_and_nothing_is_forgotten() {
    let cluster = Cluster::throwaway().expect("a cluster");
    cluster.create_database("shop", None).expect("a database");
    let mut client = cluster.connect("shop").expect("a connection");
    run(
        &mut client,
        r#"create extension pg_ab; select ab_create_experiment('x', sticky => true); select ab_start('x');
           select ab_expose(n, 'x') from generate_series(1, 300) n;
           select ab_set_weights('x', '{"control": 1, "treatment": 9}')"#,
    );
    let mut users = |condition: &str| -> Vec<String> {
        let query =
            format!("select user_id from ab.sticky_assignment where {condition} order by user_id::int");
        client.query(&query, &[]).expect("users").iter().map(|row| row.get(0)).collect()
    };
    // Their bucket has changed hands since, or has not.
    let moved = users(
        "variant = 'control' and ab_bucket('x:variant', user_id) < 500000 and ab_bucket('x:variant', user_id) >= 100000",
    );
    let unmoved =
        users("ab_bucket('x:variant', user_id) < 100000 or ab_bucket('x:variant', user_id) >= 500000");
    assert!(moved.len() > 50 && unmoved.len() > 50);
    let (cached, uncached) = moved.split_at(moved.len() / 2);
    let http = reqwest::blocking::Client::new();
    let kept = || ("control".to_owned(), "sticky".to_owned(), None);
    let by_hash = || ("treatment".to_owned(), "split".to_owned(), Some("x".to_owned()));

    let mut gateway = Gateway::start(&cluster.url("shop")).expect("a gateway");
    for user in cached {
        assert_eq!(answer(&http, &gateway, user), kept(), "{user}");
    }
    for is_crash in [false, true] {
        if is_crash {
            cluster.kill().expect("the server is killed");
        } else {
            cluster.stop().expect("the server is stopped");
        }
        for user in cached {
            assert_eq!(answer(&http, &gateway, user), kept(), "{user}, remembered");
        }
        for user in uncached {
            assert_eq!(answer(&http, &gateway, user), by_hash(), "{user}, not known");
        }
        for user in &unmoved {
            let (variant, reason, unconfirmed) = answer(&http, &gateway, user);
            assert!(
                !variant.is_empty() && reason == "split" && unconfirmed.is_none(),
                "{user}, never in doubt"
            );
        }
        cluster.start().expect("the server is back");
        let end = Instant::now() + Duration::from_secs(30);
        while answer(&http, &gateway, &uncached[0]) != kept() {
            assert!(Instant::now() < end, "the gateway never asked again");
            thread::sleep(Duration::from_millis(20));
        }
        for user in &moved {
            assert_eq!(answer(&http, &gateway, user), kept(), "{user}, once the database is back");
        }
        gateway.kill().expect("the gateway is killed");
        gateway = Gateway::start(&cluster.url("shop")).expect("another gateway");
        for user in cached {
            assert_eq!(answer(&http, &gateway, user), kept(), "{user}, after a restart");
        }
    }
}

//! Sessions change the configuration at random while others and the gateway answer by it: every answer must be the one
//! that some committed state gives, and a state that was in force while the question was open.
//!
//! `AB_TORTURE_SECONDS` says for how long (15 unless set), `AB_TORTURE_SEED` repeats what was chosen at random.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ab_core::context::JsonContext;
use ab_core::decision::{Environment, Evaluation, FirstVariant, Reason, Subject};
use ab_core::document::{ExperimentDocument, FlagDocument, SegmentDocument, WorkspaceDocument};
use ab_core::experiment::Experiment;
use ab_core::flag::{Flag, FlagReason};
use ab_core::segment::Segment;
use ab_core::workspace::Workspace;
use ab_embedded::Gateway;
use ab_tests::Database;
use postgres::Client;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::blocking::Client as Http;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const WRITERS: u64 = 4;
const SESSIONS: u64 = 8;
const HTTP_CLIENTS: u64 = 3;
/// How far behind the gateway may be here: the machine is shared, and what was really seen is printed.
const HTTP_TOLERANCE: Duration = Duration::from_secs(1);

const USERS: [&str; 12] = ["u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9", "ü10", ""];
const EXPERIMENTS: [&str; 8] = ["e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7"];
const FLAGS: [&str; 5] = ["f0", "f1", "f2", "f3", "f4"];
const LISTS: [&str; 3] = ["s0", "s1", "s2"];
const RULE_SEGMENTS: [&str; 2] = ["r0", "r1"];
const CONTEXTS: [&str; 4] = [
    "{}",
    r#"{"country": "NZ", "plan": {"seats": 12}}"#,
    r#"{"country": "DE", "plan": {"seats": 3}, "user_agent": "Mozilla/5.0"}"#,
    r#"{"country": "NZ", "user_agent": "Googlebot/2.1"}"#,
];

// --- what was committed

/// A state of the workspace at one version.
#[derive(Clone, Default)]
struct State {
    workspace: Arc<Workspace>,
    experiments: HashMap<String, Arc<Experiment>>,
    flags: HashMap<String, Arc<Flag>>,
    segments: HashMap<String, Arc<Segment>>,
    /// By the segments' ids.
    members: HashMap<i64, Arc<HashSet<String>>>,
}

impl Environment for State {
    fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    fn experiment(&self, key: &str) -> Option<Arc<Experiment>> {
        self.experiments.get(key).cloned()
    }

    fn flag(&self, key: &str) -> Option<Arc<Flag>> {
        self.flags.get(key).cloned()
    }

    fn segment(&self, key: &str) -> Option<Arc<Segment>> {
        self.segments.get(key).cloned()
    }

    fn is_member(&self, segment: &Segment, user_id: &str) -> bool {
        self.members.get(&segment.id).is_some_and(|members| members.contains(user_id))
    }

    fn first_variant(&self, _experiment: &Experiment, _unit: &str) -> FirstVariant {
        FirstVariant::None
    }
}

impl State {
    fn put(&mut self, kind: &str, key: &str, document: Option<&RawValue>) {
        let key = key.to_owned();
        macro_rules! put {
            ($map:ident, $kind:ident, $document:ident) => {
                match document {
                    None => drop(self.$map.remove(&key)),
                    Some(document) => {
                        let document: $document = serde_json::from_str(document.get()).expect("a document");
                        let compiled = $kind::compile(document).expect("a document that compiles");
                        self.$map.insert(key, Arc::new(compiled));
                    }
                }
            };
        }
        match kind {
            "experiment" => put!(experiments, Experiment, ExperimentDocument),
            "flag" => put!(flags, Flag, FlagDocument),
            "segment" => put!(segments, Segment, SegmentDocument),
            "workspace" => {
                let document = document.expect("a workspace that stays");
                let document: WorkspaceDocument = serde_json::from_str(document.get()).expect("a document");
                self.workspace = Arc::new(Workspace::compile(document).expect("a document that compiles"));
            }
            other => panic!("there is no kind {other}"),
        }
    }

    fn answer(&self, question: &Question) -> Answer {
        let context = RawValue::from_string(CONTEXTS[question.context].to_owned()).expect("JSON");
        let context = JsonContext::new(&context);
        let subject = Subject::new(USERS[question.user], &context, 0);
        let of_thing = |thing: &Thing| match thing {
            Thing::Experiment(key) => match self.experiments.get(EXPERIMENTS[*key]) {
                None => (None, Reason::NotFound.as_str().to_owned()),
                Some(experiment) => {
                    let decision = experiment.decide(&Evaluation::new(subject, self));
                    let variant = decision.variant.map(|index| json!(experiment.variants()[index].key));
                    (variant, decision.reason.as_str().to_owned())
                }
            },
            Thing::Flag(key) => match self.flags.get(FLAGS[*key]) {
                None => (None, FlagReason::NotFound.as_str().to_owned()),
                Some(flag) => {
                    let decision = flag.evaluate(&Evaluation::new(subject, self));
                    let value = serde_json::from_str(decision.value.get()).expect("JSON");
                    (Some(value), decision.reason.as_str().to_owned())
                }
            },
        };
        question.things.iter().map(of_thing).collect()
    }
}

/// One commit that changed something.
struct Commit {
    version: i64,
    /// When it was asked for, and when the answer was there.
    asked: Duration,
    returned: Duration,
}

/// Every state there was, with its commit; in order.
struct History {
    states: Vec<(Commit, State)>,
}

// --- what was answered

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    Experiment(usize),
    Flag(usize),
}

/// What was asked at once, to be answered by one state.
#[derive(Debug, Clone)]
struct Question {
    user: usize,
    context: usize,
    things: Vec<Thing>,
}

impl Question {
    fn random(random: &mut StdRng) -> Question {
        let things = (0..random.random_range(1..=3))
            .map(|_| {
                if random.random_ratio(2, 3) {
                    Thing::Experiment(random.random_range(0..EXPERIMENTS.len()))
                } else {
                    Thing::Flag(random.random_range(0..FLAGS.len()))
                }
            })
            .collect();
        Question {
            user: random.random_range(0..USERS.len()),
            context: random.random_range(0..CONTEXTS.len()),
            things,
        }
    }
}

/// Variant or value with its reason, for each thing that was asked about.
type Answer = Vec<(Option<Value>, String)>;

#[derive(Debug, Clone)]
struct Observation {
    question: Question,
    answer: Answer,
    begun: Duration,
    ended: Duration,
}

/// How the checker understands an observation.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The state was in force when the question was asked, or came after it.
    Fresh,
    /// The state had been replaced for so long when the question was asked.
    Stale(Duration),
    /// No state of the window gives this answer.
    Unexplained,
}

impl History {
    /// Looks for the newest state that gives this answer, among those that were in force at some moment from `tolerance`
    /// before the question to its answer.
    fn explain(&self, observation: &Observation, tolerance: Duration) -> Verdict {
        // Nothing that was not asked to be committed before the answer was there.
        let end = self.states.partition_point(|(commit, _)| commit.asked <= observation.ended);
        // The last commit that had returned by then is in force, or a later one.
        let earliest = observation.begun.saturating_sub(tolerance);
        let begin = self.states.partition_point(|(commit, _)| commit.returned <= earliest).max(1) - 1;
        for index in (begin..end).rev() {
            if self.states[index].1.answer(&observation.question) == observation.answer {
                return match self.states.get(index + 1) {
                    Some((next, _)) if next.returned < observation.begun => {
                        Verdict::Stale(observation.begun - next.returned)
                    }
                    _ => Verdict::Fresh,
                };
            }
        }
        Verdict::Unexplained
    }

    fn show(&self, observation: &Observation, tolerance: Duration) -> String {
        let end = self.states.partition_point(|(commit, _)| commit.asked <= observation.ended);
        let earliest = observation.begun.saturating_sub(tolerance);
        let begin = self.states.partition_point(|(commit, _)| commit.returned <= earliest).max(1) - 1;
        let mut shown = format!("{observation}\n");
        for (commit, state) in &self.states[begin.max(end.saturating_sub(8))..end] {
            shown += &format!(
                "    version {} ({:?}..{:?}): {:?}\n",
                commit.version,
                commit.asked,
                commit.returned,
                state.answer(&observation.question)
            );
        }
        shown
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "user {:?} with {} was answered {:?} for {:?} between {:?} and {:?}",
            USERS[self.question.user],
            CONTEXTS[self.question.context],
            self.answer,
            self.question.things,
            self.begun,
            self.ended
        )
    }
}

// --- those who change

fn rule(random: &mut StdRng, may_name_segments: bool) -> String {
    let rules = [
        r#"{"attribute": "country", "operator": "equals", "values": ["NZ"]}"#,
        r#"{"not": {"attribute": "country", "operator": "equals", "values": ["NZ"]}}"#,
        r#"{"attribute": "plan.seats", "operator": "greater", "values": [5]}"#,
        r#"{"any": [{"attribute": "country", "operator": "in", "values": ["DE", "AT"]}, {"attribute": "country", "operator": "not_exists"}]}"#,
        r#"{"operator": "in_segment", "values": ["s0"]}"#,
        r#"{"not": {"operator": "in_segment", "values": ["s1"]}}"#,
        r#"{"operator": "in_segment", "values": ["r0"]}"#,
        r#"{"all": [{"operator": "in_segment", "values": ["r1"]}, {"operator": "in_segment", "values": ["s2", "s0"]}]}"#,
    ];
    let choice = if may_name_segments { &rules[..] } else { &rules[..6] };
    choice.choose(random).expect("a rule").to_string()
}

fn flag_rules(random: &mut StdRng) -> String {
    let rules: Vec<String> = (0..random.random_range(0..3))
        .map(|_| {
            let when = match random.random_bool(0.5) {
                true => format!(r#""when": {}, "#, rule(random, true)),
                false => String::new(),
            };
            let serve = match random.random_range(0..3) {
                0 => format!(r#""value": "v{}""#, random.random_range(0..5)),
                1 => format!(
                    r#""split": [{{"value": "left", "weight": {}}}, {{"value": "right", "weight": {}}}]"#,
                    random.random_range(1..9),
                    random.random_range(1..9)
                ),
                // Not those that wait for a flag.
                _ => format!(r#""experiment": "e{}""#, random.random_range(0..4)),
            };
            let percent = match random.random_bool(0.3) {
                true => format!(r#""percent": {}, "#, random.random_range(0..=100)),
                false => String::new(),
            };
            format!("{{{when}{percent}{serve}}}")
        })
        .collect();
    format!("[{}]", rules.join(", "))
}

/// Something that somebody might do, also where it is not allowed in the state that is met.
fn change(random: &mut StdRng) -> String {
    let e = *EXPERIMENTS.choose(random).expect("an experiment");
    let f = *FLAGS.choose(random).expect("a flag");
    let s = *LISTS.choose(random).expect("a segment");
    let r = *RULE_SEGMENTS.choose(random).expect("a segment");
    let u = USERS[random.random_range(0..USERS.len() - 1)];
    let v = *["a", "b", "c"].choose(random).expect("a variant");
    match random.random_range(0..33) {
        0..=2 => format!(
            r#"select ab_create_experiment('{e}', '{{"a": 1, "b": {}, "c": 1}}', traffic => {}, targeting => {})"#,
            random.random_range(1..9),
            random.random_range(0..=100),
            if random.random_bool(0.3) { format!("'{}'", rule(random, true)) } else { "null".to_owned() }
        ),
        3..=6 => format!("select ab_start('{e}')"),
        7 => format!("select ab_pause('{e}')"),
        8 => format!("select ab_resume('{e}')"),
        9 if random.random_bool(0.5) => format!("select ab_stop('{e}', ship => '{v}')"),
        9 => format!("select ab_stop('{e}')"),
        10 if random.random_bool(0.3) => {
            format!("delete from ab.experiment where experiment = '{e}' and status in ('draft', 'stopped')")
        }
        10..=12 => format!("select ab_set_traffic('{e}', {})", random.random_range(0..=100)),
        13 | 14 => format!(
            r#"select ab_set_weights('{e}', '{{"a": {}, "b": {}, "c": 1}}')"#,
            random.random_range(1..9),
            random.random_range(1..9)
        ),
        15 | 16 => format!(
            "select ab_set_targeting('{e}', {})",
            if random.random_bool(0.7) { format!("'{}'", rule(random, true)) } else { "null".to_owned() }
        ),
        17 => format!("select ab_override('{e}', '{v}', '{u}')"),
        18 => format!("select ab_override('{e}', '{v}', segment => '{s}')"),
        19 if random.random_bool(0.5) => format!("select ab_remove_override('{e}', '{u}')"),
        19 => format!("select ab_remove_override('{e}', segment => '{s}')"),
        20 => format!("select ab_add_members('{s}', '{{{u}}}')"),
        21 => format!("select ab_remove_members('{s}', '{{{u}}}')"),
        22 => format!(
            "delete from ab.segment_member m using ab.segment s where m.segment_id = s.segment_id and s.segment = '{s}' and m.user_id like 'u%'"
        ),
        // So many that copies are made anew.
        23 if random.random_bool(0.1) => format!(
            "insert into ab.segment_member select segment_id, 'bulk' || n from ab.segment, generate_series(1, 10001) n where segment = '{s}' on conflict do nothing"
        ),
        23 => format!(
            "delete from ab.segment_member m using ab.segment s where m.segment_id = s.segment_id and s.segment = '{s}' and m.user_id like 'bulk%'"
        ),
        24 => format!("update ab.segment set rule = '{}' where segment = '{r}'", rule(random, false)),
        25 => format!(
            r#"select ab_create_flag('{f}', 'string', '"on"', off_value => '"off"', rules => '{}')"#,
            flag_rules(random)
        ),
        26 | 27 => format!("select ab_set_flag('{f}', '{}')", flag_rules(random)),
        28 => format!("select ab_kill('{f}')"),
        29 => format!("select ab_revive('{f}')"),
        30 if random.random_bool(0.2) => format!("select ab_delete_flag('{f}')"),
        30 => format!(
            "select ab_set_prerequisites('e7', '[{{\"flag\": \"{f}\", \"values\": [\"on\", \"v1\"]}}]')"
        ),
        31 => match random.random_range(0..5) {
            0 => format!("select ab_opt_out('{u}')"),
            1..=3 => format!("select ab_opt_in('{u}')"),
            _ => format!("select ab_exclude(bots => {})", random.random_bool(0.5)),
        },
        _ => format!("select ab_join_layer('{e}', 'l', {})", random.random_range(5..30)),
    }
}

/// Runs one transaction of random changes; its commit with the transaction's id, if it changed the configuration.
fn transaction(
    client: &mut Client,
    random: &mut StdRng,
    clock: Instant,
) -> Result<Option<(Commit, String)>, postgres::Error> {
    client.batch_execute("begin")?;
    for _ in 0..*[1, 1, 1, 2, 3, 5].choose(random).expect("a number") {
        client.batch_execute("savepoint s")?;
        let statement = change(random);
        match client.batch_execute(&statement) {
            Ok(()) if random.random_ratio(1, 8) => client.batch_execute("rollback to savepoint s")?,
            Ok(()) if random.random_bool(0.5) => client.batch_execute("release savepoint s")?,
            Ok(()) => {}
            Err(error) if is_to_be_repeated(&error) => return Err(error),
            Err(error) => {
                let refusal = error.as_db_error().unwrap_or_else(|| panic!("{statement}: {error}"));
                assert!(
                    refusal.detail().is_some_and(|detail| detail.starts_with("code=")),
                    "{statement}: {refusal} ({})",
                    refusal.code().code()
                );
                client.batch_execute("rollback to savepoint s")?;
            }
        }
    }
    if random.random_ratio(1, 6) {
        client.batch_execute("rollback")?;
        return Ok(None);
    }
    let raised = client.query_opt(
        "select version, changed_in::text from ab_internal.config_version where changed_in = pg_current_xact_id_if_assigned()",
        &[],
    )?;
    let asked = clock.elapsed();
    client.batch_execute("commit")?;
    let returned = clock.elapsed();
    Ok(raised.map(|row| (Commit { version: row.get(0), asked, returned }, row.get(1))))
}

fn is_to_be_repeated(error: &postgres::Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code(), "40P01" | "40001" | "55P03"))
}

fn write(
    database: &Database,
    seed: u64,
    clock: Instant,
    is_over: &AtomicBool,
) -> (Vec<(Commit, String)>, u32) {
    let mut client = database.connect();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut commits, mut repeated) = (Vec::new(), 0);
    while !is_over.load(Ordering::Relaxed) {
        match transaction(&mut client, &mut random, clock) {
            Ok(commit) => commits.extend(commit),
            Err(error) if is_to_be_repeated(&error) => {
                repeated += 1;
                client.batch_execute("rollback").expect("a rollback");
            }
            Err(error) => panic!("{error:?}"),
        }
        thread::sleep(Duration::from_micros(random.random_range(0..8_000)));
    }
    (commits, repeated)
}

// --- those who ask

fn ask_in_sql(database: &Database, seed: u64, clock: Instant, is_over: &AtomicBool) -> Vec<Observation> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut client = database.connect();
    let mut seen = Vec::new();
    'sessions: while !is_over.load(Ordering::Relaxed) {
        let kind = match random.random_range(0..4) {
            0 => Some("begin"),
            1 => Some("begin isolation level repeatable read"),
            _ => None,
        };
        if let Some(begin) = kind {
            client.batch_execute(begin).expect(begin);
        }
        for _ in 0..random.random_range(1..30) {
            let question = Question::random(&mut random);
            let (user, context) = (USERS[question.user], CONTEXTS[question.context]);
            let columns: Vec<String> = question
                .things
                .iter()
                .map(|thing| match thing {
                    Thing::Experiment(key) => {
                        let key = EXPERIMENTS[*key];
                        format!("ab_assign('{user}', '{key}', '{context}'), ab_assign_reason('{user}', '{key}', '{context}')")
                    }
                    Thing::Flag(key) => {
                        let key = FLAGS[*key];
                        format!("ab_flag('{user}', '{key}', '{context}'), ab_flag_reason('{user}', '{key}', '{context}')")
                    }
                })
                .collect();
            let statement = format!("select {}", columns.join(", "));
            let begun = clock.elapsed();
            let row = client.query_one(&statement, &[]).expect("an answer");
            let ended = clock.elapsed();
            let answer = question
                .things
                .iter()
                .enumerate()
                .map(|(index, thing)| {
                    let answer = match thing {
                        Thing::Experiment(_) => row.get::<_, Option<String>>(2 * index).map(Value::String),
                        Thing::Flag(_) => row.get(2 * index),
                    };
                    (answer, row.get(2 * index + 1))
                })
                .collect();
            seen.push(Observation { question, answer, begun, ended });
            // Those who change need their turn on a small machine.
            thread::sleep(Duration::from_micros(random.random_range(0..4_000)));
            if is_over.load(Ordering::Relaxed) {
                break 'sessions;
            }
        }
        if kind.is_some() {
            client
                .batch_execute(if random.random_bool(0.5) { "commit" } else { "rollback" })
                .expect("an end");
        }
        if random.random_ratio(1, 100) {
            client = database.connect();
        }
    }
    seen
}

fn ask_over_http(url: &str, seed: u64, clock: Instant, is_over: &AtomicBool) -> Vec<Observation> {
    let mut random = StdRng::seed_from_u64(seed);
    let http = Http::new();
    let mut seen = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let mut question = Question::random(&mut random);
        // One request is about experiments or about flags.
        let is_flag = matches!(question.things[0], Thing::Flag(_));
        question.things.retain(|thing| matches!(thing, Thing::Flag(_)) == is_flag);
        let keys: Vec<&str> = question
            .things
            .iter()
            .map(|thing| match thing {
                Thing::Experiment(key) => EXPERIMENTS[*key],
                Thing::Flag(key) => FLAGS[*key],
            })
            .collect();
        let context: Value = serde_json::from_str(CONTEXTS[question.context]).expect("JSON");
        let user = USERS[question.user];
        let (path, body) = match is_flag {
            true => ("flags", json!({"user_id": user, "flags": keys, "context": context})),
            false => ("assign", json!({"user_id": user, "experiments": keys, "context": context})),
        };
        let request = http.post(format!("{url}/api/v1/{path}")).json(&body);
        let begun = clock.elapsed();
        let answer = request.send().and_then(|response| response.error_for_status()).expect("an answer");
        let answer: Value = answer.json().expect("JSON");
        let ended = clock.elapsed();
        let (list, value) = if is_flag { ("flags", "value") } else { ("assignments", "variant_id") };
        let answer = answer[list]
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"))
            .iter()
            .map(|item| {
                let value = Some(item[value].clone()).filter(|value| !value.is_null());
                (value, item["reason"].as_str().expect("a reason").to_owned())
            })
            .collect();
        seen.push(Observation { question, answer, begun, ended });
        thread::sleep(Duration::from_micros(random.random_range(0..4_000)));
    }
    seen
}

// --- the two together

/// Puts the history together from what the database has published and what the writers know of their commits.
fn history(client: &mut Client, first_version: i64, commits: Vec<(Commit, String)>) -> History {
    let mut changes: BTreeMap<i64, Vec<(String, String, Option<String>)>> = BTreeMap::new();
    for row in client
        .query("select version, kind, key::text, document::text from ab.configuration order by version", &[])
        .expect("the history")
    {
        changes.entry(row.get(0)).or_default().push((row.get(1), row.get(2), row.get(3)));
    }
    let mut members: HashMap<String, Vec<(i64, String, bool)>> = HashMap::new();
    for row in client
        .query(
            "select changed_in::text, segment_id::bigint, user_id, is_member from member_log order by n",
            &[],
        )
        .expect("the members")
    {
        members.entry(row.get(0)).or_default().push((row.get(1), row.get(2), row.get(3)));
    }
    let mut state = State::default();
    let mut commits: BTreeMap<i64, (Commit, String)> =
        commits.into_iter().map(|commit| (commit.0.version, commit)).collect();
    let mut states = Vec::new();
    for (version, documents) in changes {
        for (kind, key, document) in documents {
            let document = document.map(|json| RawValue::from_string(json).expect("JSON"));
            state.put(&kind, &key, document.as_deref());
        }
        let commit = if version < first_version {
            continue;
        } else if version == first_version {
            Commit { version, asked: Duration::ZERO, returned: Duration::ZERO }
        } else {
            let (commit, transaction) = commits.remove(&version).expect("a commit for each version");
            for (segment, user, is_member) in members.remove(&transaction).unwrap_or_default() {
                let list = Arc::make_mut(state.members.entry(segment).or_default());
                if is_member {
                    list.insert(user)
                } else {
                    list.remove(&user)
                };
            }
            commit
        };
        states.push((commit, state.clone()));
    }
    // What changes nothing that is published was not a change; a commit of members always is one.
    assert!(members.is_empty(), "members changed without a version: {members:?}");
    for pair in states.windows(2) {
        assert!(pair[0].0.asked <= pair[1].0.returned, "versions are in the order of commits");
    }
    History { states }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_answer_is_that_of_a_committed_state_in_force() {
    let seconds = setting("AB_TORTURE_SECONDS").unwrap_or(15);
    let seed = setting("AB_TORTURE_SEED").unwrap_or_else(|| rand::rng().random());
    println!("AB_TORTURE_SEED={seed}");
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            r#"create table member_log (n bigserial, changed_in xid8, segment_id integer, user_id text, is_member boolean);
               create function log_member() returns trigger language plpgsql as $$
               begin
                   insert into public.member_log (changed_in, segment_id, user_id, is_member)
                   select pg_current_xact_id(), coalesce(new.segment_id, old.segment_id), coalesce(new.user_id, old.user_id), tg_op = 'INSERT';
                   return null;
               end $$;
               create trigger log_member after insert or delete on ab.segment_member for each row execute function log_member();
               select ab_create_segment(s) from unnest('{s0,s1,s2}'::text[]) s;
               select ab_create_segment(r, '{"attribute": "country", "operator": "equals", "values": ["NZ"]}') from unnest('{r0,r1}'::text[]) r;
               select ab_create_layer('l');
               select ab_create_experiment(e, '{"a": 1, "b": 1, "c": 1}') from unnest('{e0,e1,e2,e3,e4,e5,e6,e7}'::text[]) e;
               select ab_join_layer('e3', 'l', 20), ab_join_layer('e4', 'l', 30);
               select ab_start('e0'), ab_start('e1'), ab_start('e2'), ab_start('e3'), ab_start('e4');
               select ab_create_flag(f, 'string', '"on"', off_value => '"off"') from unnest('{f0,f1,f2,f3,f4}'::text[]) f"#,
        )
        .expect("a beginning");
    let first_version: i64 = client.query_one("select ab_config_version()", &[]).expect("a version").get(0);
    let gateway = Gateway::start(&database.url()).expect("a gateway");
    let (clock, is_over) = (Instant::now(), AtomicBool::new(false));
    let (mut commits, mut repeated) = (Vec::new(), 0);
    let (mut in_sql, mut over_http) = (Vec::new(), Vec::new());
    let url = gateway.url();
    thread::scope(|scope| {
        let (database, is_over, url) = (&database, &is_over, url.as_str());
        let start = |offset: u64| seed.wrapping_add(offset);
        let writers: Vec<_> =
            (0..WRITERS).map(|n| scope.spawn(move || write(database, start(n), clock, is_over))).collect();
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|n| scope.spawn(move || ask_in_sql(database, start(100 + n), clock, is_over)))
            .collect();
        let clients: Vec<_> = (0..HTTP_CLIENTS)
            .map(|n| scope.spawn(move || ask_over_http(url, start(200 + n), clock, is_over)))
            .collect();
        while clock.elapsed() < Duration::from_secs(seconds)
            && !writers.iter().any(|writer| writer.is_finished())
        {
            thread::sleep(Duration::from_millis(50));
        }
        is_over.store(true, Ordering::Relaxed);
        for writer in writers {
            let (mine, again) = writer.join().expect("a writer");
            commits.extend(mine);
            repeated += again;
        }
        sessions.into_iter().for_each(|session| in_sql.extend(session.join().expect("a session")));
        clients.into_iter().for_each(|client| over_http.extend(client.join().expect("a client")));
    });
    let history = history(&mut client, first_version, commits);

    let mut unexplained = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut staleness = Vec::new();
    for (observations, tolerance) in [(&in_sql, Duration::ZERO), (&over_http, HTTP_TOLERANCE)] {
        for observation in observations {
            for (_, reason) in &observation.answer {
                *seen.entry(reason.clone()).or_default() += 1;
            }
            match history.explain(observation, tolerance) {
                Verdict::Unexplained => unexplained.push(history.show(observation, tolerance)),
                Verdict::Fresh if tolerance > Duration::ZERO => staleness.push(Duration::ZERO),
                Verdict::Stale(by) => staleness.push(by),
                Verdict::Fresh => {}
            }
        }
    }
    staleness.sort_unstable();
    let percentile =
        |share: usize| staleness.get(staleness.len() * share / 1000).copied().unwrap_or_default();
    println!(
        "{} states, {repeated} transactions repeated, {} answers in SQL, {} over HTTP; behind over HTTP: p99 {:?}, p99.9 {:?}, most {:?}; reasons {seen:?}",
        history.states.len(),
        in_sql.len(),
        over_http.len(),
        percentile(990),
        percentile(999),
        staleness.last().copied().unwrap_or_default()
    );
    assert!(
        unexplained.is_empty(),
        "{} answers that no committed state explains (AB_TORTURE_SEED={seed}), as\n{}",
        unexplained.len(),
        unexplained.iter().take(5).cloned().collect::<String>()
    );
    for reason in
        ["split", "traffic", "not_targeted", "override", "opted_out", "layer", "killed", "rule", "shipped"]
    {
        assert!(seen.contains_key(reason), "the torture never came to {reason}");
    }
    assert!(history.states.len() > 50 && in_sql.len() > 1_000 && over_http.len() > 100);
}

/// A history in which flag `f0` is worth "old" from the beginning and "new" from a commit on that was asked for after 10 s
/// and returned after 11 s.
fn two_states() -> History {
    let flag = |value: &str| {
        RawValue::from_string(format!(
            r#"{{"workspace": "default", "key": "f0", "kind": "string", "salt": "f0", "default": "{value}", "off": "off", "rules": [], "layouts": []}}"#
        ))
        .expect("JSON")
    };
    let mut state = State::default();
    state.put("flag", "f0", Some(&flag("old")));
    let first = (Commit { version: 1, asked: Duration::ZERO, returned: Duration::ZERO }, state.clone());
    state.put("flag", "f0", Some(&flag("new")));
    let second = Commit { version: 2, asked: Duration::from_secs(10), returned: Duration::from_secs(11) };
    History { states: vec![first, (second, state)] }
}

#[test]
fn the_checker_tells_what_is_stale_from_what_is_not() {
    let history = two_states();
    let observed = |value: &str, begun: u64, ended: u64| Observation {
        question: Question { user: 0, context: 0, things: vec![Thing::Flag(0)] },
        answer: vec![(Some(json!(value)), "default".to_owned())],
        begun: Duration::from_millis(begun),
        ended: Duration::from_millis(ended),
    };
    let sql = |value, begun, ended| history.explain(&observed(value, begun, ended), Duration::ZERO);
    assert_eq!(sql("old", 9_000, 9_001), Verdict::Fresh);
    assert_eq!(sql("new", 9_000, 9_999), Verdict::Unexplained, "before anybody asked for it");
    for value in ["old", "new"] {
        assert_eq!(sql(value, 9_000, 10_500), Verdict::Fresh);
        assert_eq!(sql(value, 10_500, 10_600), Verdict::Fresh);
        assert_eq!(sql(value, 10_999, 12_000), Verdict::Fresh);
    }
    assert_eq!(sql("old", 11_001, 12_000), Verdict::Unexplained);
    assert_eq!(sql("new", 11_001, 12_000), Verdict::Fresh);
    assert_eq!(sql("never", 9_000, 12_000), Verdict::Unexplained);
    let http = |value, begun| history.explain(&observed(value, begun, begun + 1), Duration::from_secs(1));
    assert_eq!(http("old", 11_900), Verdict::Stale(Duration::from_millis(900)));
    assert_eq!(http("old", 12_001), Verdict::Unexplained);
    assert_eq!(http("new", 12_001), Verdict::Fresh);
}
